"""A recipe's file becomes a document: text, TOML, and no more of it than any recipe needs."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import tomli

from ..errors import Problem, RefusedError, did_you_mean
from . import bounds
from .positions import Source, refused
from .schema import shown

VERSION: Final = 1
"""Of the recipe language."""

_SYNTAX = re.compile(
    r"(?P<what>.*) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)"
)

_OF_VALUE = re.compile(r"Invalid value|Expected newline|Unclosed (array|inline table)")
_UNQUOTED = re.compile(r"""(?<=[=,\[{])\s*[^\s"'#=,\[\]{}][^"'#=,\[\]{}]*(?=[,\]}#]|$)""")
"""A value without quotes: of a key, in an array or an inline table."""


def read(path: Path, name: str = "", kind: str = "a recipe", most: int = bounds.BYTES) -> str:
    """Return the text of a recipe, or of a file that belongs to one.

    Parameters
    ----------
    path : Path
        The file.
    name : str
        What to call it in messages; by default its path.
    kind : str
        What it should be, with its article.
    most : int
        Bytes that it may have.

    Raises
    ------
    RefusedError
        If there is no text that could be that.
    """

    def unread(what: str) -> RefusedError:
        return refused([Problem(what)], Source("", name or str(path)))

    try:
        if path.is_dir():
            raise unread(f"{_what(path)}, not {kind}{_instead(path, name)}")
        if path.exists() and not path.is_file():
            raise unread("is not a regular file")
        with path.open("rb") as file:
            content = file.read(most + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise unread(f"no such file{near(path)}") from None
    except (OSError, ValueError) as error:
        raise unread(f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(content) > most:
        raise unread(f"is larger than {most // 1_000_000} MB: no {kind.partition(' ')[2]} is")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise unread(
            f"is not UTF-8 text: byte 0x{content[error.start]:02x} in line {line}"
        ) from None


def beside(source: Source, path: str) -> str:
    """Return what to call a file in messages that a file names by its path."""
    return os.path.normpath(Path(source.name).parent / path)


def named(folder: Path, text: str, inside: str, suffixes: Sequence[str]) -> Path:
    """Return the file that a recipe names by its path, if it is one that may be read.

    Parameters
    ----------
    folder : Path
        From which the path starts.
    text : str
        As the recipe has it.
    inside : str
        With the environment's variables replaced.
    suffixes : sequence of str
        One of which must end its name, and that of what it links to.

    Raises
    ------
    ValueError
        If there is none.
    """
    wanted = " or ".join(suffixes)
    path = folder / inside
    if "://" in text:
        raise ValueError(f"{shown(text)} is an address: casarun reads files, not the network")
    if path.suffix not in suffixes:
        raise ValueError(f"{shown(text)} is not named {wanted}")
    if not path.exists():
        hint = near(path) if path.parent.is_dir() else "; nor is there such a folder"
        raise ValueError(f"no such file: {shown(str(path), 300)}{hint}")
    if path.resolve().suffix not in suffixes:
        target = shown(str(path.resolve()), 300)
        raise ValueError(f"{shown(text)} is a link to {target}, which is not named {wanted}")
    return path


def _what(folder: Path) -> str:
    """Say what a folder is that was taken for a recipe."""
    if (folder / ".casarun" / "journal.jsonl").is_file():
        return "is a run folder"
    if (folder / "ASDM.xml").is_file():
        return "is an ASDM"
    subtables = (folder / "table.dat").is_file() and (folder / "ANTENNA").is_dir()
    return "is a MeasurementSet" if subtables else "is a folder"


def _instead(folder: Path, name: str) -> str:
    """Say what to do with a folder that was taken for a recipe."""
    shown_as = name or str(folder)
    return {
        "is a run folder": f": `casarun status {shown_as}` says how it is, and its recipe is "
        f"{shown_as}/scripts/recipe.toml",
        "is a folder": "",
    }.get(_what(folder), f": `casarun init {shown_as}` writes one for it")


def near(path: Path) -> str:
    """Suggest another file of that folder with that ending."""
    try:
        siblings = [one.name for one in path.parent.iterdir() if one.suffix == path.suffix]
    except OSError:
        return ""
    return did_you_mean(path.name, siblings)


def parse(source: Source) -> dict[str, Any]:
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
    raise refused([problem], source)


def _syntax(message: str, source: Source) -> Problem:
    match = _SYNTAX.fullmatch(message)
    if match is None:
        return Problem(message)
    if match["line"]:
        line, column = int(match["line"]), int(match["column"])
        if match["what"] == "Illegal character '\\n'":
            what = (
                "a text in quotes ends on the line on which it begins: the closing quote is missing"
            )
            return Problem(what, line=line, column=column)
        hint = _quotes(source.lines[line - 1], column - 1) if _OF_VALUE.match(message) else ""
        return Problem(match["what"] + hint, line=line, column=column)
    line = max(number for number, text in enumerate(source.lines, 1) if text or number == 1)
    return Problem(match["what"], line=line, column=len(source.lines[line - 1]) + 1)


def require_bounded(document: Mapping[str, Any], source: Source) -> None:
    """Refuse at once what would only cost time and memory.

    Raises
    ------
    RefusedError
        If the recipe is larger than any real one.
    """
    problems = bounds.beyond(document)
    if problems:
        raise refused(problems, source)


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


def require_known_version(document: Mapping[str, Any], source: Source) -> None:
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
        raise refused([problem], source)
