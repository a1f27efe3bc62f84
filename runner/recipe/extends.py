"""The files that a recipe is made of: what it extends, what that extends, and the recipe itself.

A recipe may be someone else's, so what it may read is narrow: files named ``.toml``, also behind
links, that say ``casarun = 1``; nothing of another file is ever shown or used.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from ..errors import Problem, did_you_mean
from .paths import expanded
from .positions import Source, refused
from .reading import beside, named, parse, read, require_bounded, require_known_version
from .schema import against, schema, shown

PRESET: Final = "casarun:"
"""Begins the name of a recipe that comes with casarun."""
SUFFIX: Final = ".toml"
DEEPEST: Final = 10
"""Recipes that extend one another in a chain."""
MOST: Final = 50
"""Files of a recipe."""
_BYTES: Final = 1_000_000
"""Of all files together."""


@dataclass(frozen=True)
class Part:
    """One file of a recipe.

    Attributes
    ----------
    source : Source
        Its text, with the folder from which its relative paths start.
    document : dict
        As read from TOML.
    """

    source: Source
    document: dict[str, Any]


def gather(path: Path, environ: Mapping[str, str]) -> list[Part]:
    """Read a recipe and all that it extends.

    Parameters
    ----------
    path : Path
        The recipe's file.
    environ : mapping of str to str
        What ``${VAR}`` and ``~`` in ``extends`` stand for.

    Returns
    -------
    list of Part
        What is extended comes before what extends it, and the recipe last. A file that is
        reached in several ways is there once, where it is first.

    Raises
    ------
    RefusedError
        If a file cannot be read, is no recipe, or extends itself.
    """
    gatherer = _Gatherer(environ)
    gatherer.add(path, str(path), ())
    return gatherer.parts


@dataclass
class _Gatherer:
    environ: Mapping[str, str]
    parts: list[Part] = field(default_factory=list)
    known: set[Path] = field(default_factory=set)
    left: int = _BYTES

    def add(self, path: Path, name: str, chain: tuple[tuple[Path, str], ...]) -> None:
        """Add a file behind all that it extends.

        Parameters
        ----------
        path : Path
            The file.
        name : str
            What to call it in messages.
        chain : tuple of (Path, str)
            The files that led to it, with their names.
        """
        # Links in the recipe's own path stay, as the user wrote them.
        folder = Path(os.path.abspath(path)).parent  # noqa: PTH100
        source = Source(read(path, name), name, folder=folder)
        self._count(source, chain)
        document = parse(source)
        if chain:
            _require_recipe(document, source)
        require_bounded(document, source)
        require_known_version(document, source)
        chain = (*chain, (path.resolve(), name))
        self._bases(Part(source, document), chain)
        self.known.add(path.resolve())
        self.parts.append(Part(source, document))

    def _count(self, source: Source, chain: Sequence[tuple[Path, str]]) -> None:
        self.left -= len(source.text.encode(errors="replace"))
        if chain and self.left < 0:
            larger = f"larger than {_BYTES // 1_000_000} MB with all that it extends"
            raise refused([Problem(f"makes the recipe {larger}")], source)
        if len(self.parts) >= MOST:
            raise refused([Problem(f"makes the recipe one of more than {MOST} files")], source)

    def _bases(self, part: Part, chain: tuple[tuple[Path, str], ...]) -> None:
        given = part.document.get("extends", [])
        problems = against(given, schema()["properties"]["extends"], ("extends",))
        if problems:
            raise refused(problems, part.source)
        wanted: list[tuple[Path, str]] = []
        for index, text in enumerate([given] if isinstance(given, str) else given):
            key = ("extends",) if isinstance(given, str) else ("extends", index)
            try:
                found = self._find(text, part.source)
                _require_no_circle(found, chain)
            except ValueError as error:
                problems += [Problem(message, key) for message in error.args]
            else:
                wanted.append(found)
        if problems:
            raise refused(problems, part.source)
        for path, name in wanted:
            if path.resolve() not in self.known:
                self.add(path, name, chain)

    def _find(self, text: str, source: Source) -> tuple[Path, str]:
        """Return the file that an entry of ``extends`` means, and what to call it.

        Raises
        ------
        ValueError
            If there is none, or none that may be read.
        """
        if text.startswith(PRESET):
            name = text.removeprefix(PRESET).removesuffix(SUFFIX)
            return preset(name), f"{PRESET}{name}"
        inside = expanded(text, self.environ)
        path = named(source.folder, text, inside, [SUFFIX])
        return path, beside(source, inside)


def presets() -> dict[str, Path]:
    """Return the recipes that come with casarun: their files, by name."""
    folder = Path(str(files(__package__.partition(".")[0]).joinpath("recipes")))
    return {path.stem: path for path in sorted(folder.glob(f"*{SUFFIX}"))}


def preset(name: str) -> Path:
    """Return the file of a recipe that comes with casarun.

    Raises
    ------
    ValueError
        If there is none of that name.
    """
    known = presets()
    if name not in known:
        there = did_you_mean(name, known) or f"; there is {', '.join(known)}"
        raise ValueError(f"no recipe {shown(name)} comes with casarun{there}")
    return known[name]


def _require_no_circle(found: tuple[Path, str], chain: Sequence[tuple[Path, str]]) -> None:
    """Refuse a file that is extended by itself, or at the end of too long a chain.

    Raises
    ------
    ValueError
        With the chain.
    """
    said = " -> ".join(name for _, name in (*chain, found))
    if found[0].resolve() in [path for path, _ in chain]:
        raise ValueError(f"a recipe cannot extend itself: {said}")
    if len(chain) > DEEPEST:
        raise ValueError(f"more than {DEEPEST} recipes extend one another: {said}")


def _require_recipe(document: Mapping[str, Any], source: Source) -> None:
    """Refuse a TOML file that is something else, before anything of it is shown.

    Raises
    ------
    RefusedError
        If it does not say which version of the recipe language it is written in.
    """
    if "casarun" not in document:
        raise refused(
            [Problem("is no recipe that can be extended: it does not say casarun = 1")], source
        )
