"""Load a recipe: read, override, check, resolve; all problems at once."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import tomli

from ..errors import KeyPath, Problem, RefusedError, did_you_mean
from . import bounds, rules, schema
from .build import build
from .model import Recipe
from .overrides import override
from .paths import Paths, casadata_folder
from .positions import Source, in_order, render

VERSION: Final = 1
"""Of the recipe language."""

_SYNTAX = re.compile(
    r"(?P<what>.*) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)"
)

_OF_VALUE = re.compile(r"Invalid value|Expected newline|Unclosed (array|inline table)")
_UNQUOTED = re.compile(r"""(?<=[=,\[{])\s*[^\s"'#=,\[\]{}][^"'#=,\[\]{}]*(?=[,\]}#]|$)""")
"""A value without quotes: of a key, in an array or an inline table."""


@dataclass(frozen=True)
class LoadedRecipe:
    """A recipe that is free of errors, as far as can be told without its data.

    Attributes
    ----------
    recipe : Recipe
        Typed and frozen; paths are absolute.
    source : Source
        Its text, to render problems with that show later.
    warnings : tuple of Problem
        What its author should know.
    document : dict
        The TOML document with overrides, before shorthands and globs were written out.
    """

    recipe: Recipe
    source: Source
    warnings: tuple[Problem, ...]
    document: dict[str, Any]

    @property
    def warned(self) -> str:
        """The warnings in words, each at its place."""
        return render(self.warnings, self.source)


def load(
    path: Path,
    overrides: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    demo_data: Callable[[], Path] | None = None,
    *,
    output: Path | None = None,
) -> LoadedRecipe:
    """Load a recipe.

    Parameters
    ----------
    path : Path
        The TOML file.
    overrides : sequence of str
        Values in place of the file's, each ``KEY=VALUE``: ``image.hi.niter=500``.
    environ : mapping of str to str, optional
        What ``${VAR}`` in paths stands for; by default the process's environment.
    demo_data : callable, optional
        Returns the folder that ``casadata:`` stands for; by default that of the casadata package.
    output : Path, optional
        The run folder, over the recipe's.

    Returns
    -------
    LoadedRecipe
        Without errors.

    Raises
    ------
    RefusedError
        With every problem, rendered.
    """
    source = Source(_read(path), str(path))
    document = _parse(source)
    given = override(document, overrides)
    source = Source(source.text, source.name, given.sources)
    _bounded(document, source)
    _known_version(document, source)
    problems = [*given.problems, *_static(document)]
    # One mistake has one message: what the schema or a rule said of a key is enough.
    said = {problem.key for problem in problems if problem.severity == "error"}
    paths = Paths(
        Path(os.path.abspath(path)).parent,  # noqa: PTH100 (links in it stay, as the user wrote them)
        os.environ if environ is None else environ,
        demo_data or casadata_folder,
    )
    resolved = paths.resolve(document)
    # Who runs a recipe may have the run where they like; who wrote it may not.
    if output is None and source.override(("project", "output")) is None:
        paths.keep_inside(document)
    problems += [problem for problem in paths.problems if problem.key not in said]
    if any(problem.severity == "error" for problem in problems):
        problems = in_order(problems, source)
        raise RefusedError(problems, render(problems, source))
    source = Source(source.text, source.name, given.sources, _really_moved(paths.moved))
    return LoadedRecipe(build(resolved, path), source, tuple(problems), document)


def _static(document: dict[str, Any]) -> list[Problem]:
    """Return what is wrong with a document by itself."""
    reserved = rules.reserved(document)
    names = {problem.key for problem in reserved}
    against = [problem for problem in schema.check(document) if problem.key not in names]
    return [*reserved, *against, *rules.check(document)]


def _really_moved(moved: Mapping[KeyPath, KeyPath]) -> dict[KeyPath, KeyPath]:
    return {new: old for new, old in moved.items() if new != old}


def _read(path: Path) -> str:
    """Return the text of a recipe's file.

    Raises
    ------
    RefusedError
        If there is no text that could be a recipe.
    """

    def refused(what: str) -> RefusedError:
        source = Source("", str(path))
        problem = Problem(what)
        return RefusedError([problem], render([problem], source))

    try:
        if path.is_dir():
            raise refused("is a folder, not a recipe")
        if path.exists() and not path.is_file():
            raise refused("is not a regular file")
        with path.open("rb") as file:
            content = file.read(bounds.BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise refused(f"no such file{_near(path)}") from None
    except (OSError, ValueError) as error:
        raise refused(f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(content) > bounds.BYTES:
        raise refused(f"is larger than {bounds.BYTES // 1_000_000} MB: no recipe is")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise refused(
            f"is not UTF-8 text: byte 0x{content[error.start]:02x} in line {line}"
        ) from None


def _near(path: Path) -> str:
    try:
        siblings = [entry.name for entry in path.parent.iterdir() if entry.suffix == ".toml"]
    except OSError:
        return ""
    return did_you_mean(path.name, siblings)


def _parse(source: Source) -> dict[str, Any]:
    """Return the document of a TOML text.

    Raises
    ------
    RefusedError
        With the one syntax error that ends the reading.
    """
    try:
        return tomli.loads(source.text)
    except tomli.TOMLDecodeError as error:
        problem = _syntax(str(error), source)
    except RecursionError:
        problem = Problem("the values are nested too deeply")
    except ValueError:  # Python refuses to read thousands of digits
        problem = Problem("a number has too many digits")
    raise RefusedError([problem], render([problem], source))


def _syntax(message: str, source: Source) -> Problem:
    match = _SYNTAX.fullmatch(message)
    if match is None:
        return Problem(message)
    if match["line"]:
        line, column = int(match["line"]), int(match["column"])
        hint = _quotes(source.lines[line - 1], column - 1) if _OF_VALUE.match(message) else ""
        return Problem(match["what"] + hint, line=line, column=column)
    line = max(number for number, text in enumerate(source.lines, 1) if text or number == 1)
    return Problem(match["what"], line=line, column=len(source.lines[line - 1]) + 1)


def _bounded(document: Mapping[str, Any], source: Source) -> None:
    """Refuse at once what would only cost time and memory.

    Raises
    ------
    RefusedError
        If the recipe is larger than any real one.
    """
    problems = bounds.beyond(document)
    if problems:
        raise RefusedError(problems, render(problems, source))


def _quotes(line: str, place: int) -> str:
    """Say that text goes in quotes, where the value in which TOML's reader stopped has none."""
    found = next((m for m in _UNQUOTED.finditer(line) if m.start() <= place <= m.end()), None)
    text = found[0].strip() if found else ""
    plain = text.casefold()
    if not any(letter.isalpha() for letter in text):
        return ""
    if plain in ("true", "false"):
        return f": write {plain}" if text != plain else ""
    return f': text goes in quotes: "{text}"'


def _known_version(document: Mapping[str, Any], source: Source) -> None:
    """Refuse a newer language at once: its other keys would only seem to be wrong.

    Raises
    ------
    RefusedError
        If the recipe needs a newer casarun.
    """
    version = document.get("casarun")
    if isinstance(version, int) and not isinstance(version, bool) and version > VERSION:
        problem = Problem(
            f"the recipe is written in version {version} of the recipe language, "
            f"this casarun reads version {VERSION}: it takes a newer casarun",
            ("casarun",),
        )
        raise RefusedError([problem], render([problem], source))
