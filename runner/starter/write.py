"""Writes the recipe: every section with what it does, and what casarun would choose."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..observation import Observation
from ..plan import Auto
from ..recipe.build import build
from ..recipe.naming import safe, stem
from ..stages import compile as stages
from . import fields, head, pictures, reduction
from .images import setups
from .page import Page
from .roles import guess
from .toml import comment, plain


@dataclass(frozen=True)
class Starter:
    """A recipe's text, and what it is unsure of: sentences for a person."""

    text: str
    unsure: tuple[str, ...]


def write(observations: Sequence[Observation], vis: Sequence[str], name: str) -> Starter:
    """Write a complete recipe for datasets. Pure: metadata in, text out.

    Parameters
    ----------
    observations : sequence of Observation
        The metadata of each dataset.
    vis : sequence of str
        What the recipe shall say for `vis` of each: paths from the recipe's folder.
    name : str
        Of the run.

    Returns
    -------
    Starter
        The recipe, and the sentences that stand in it after ``UNSURE``.

    Raises
    ------
    ValueError
        If there is no dataset, or one has no field with good data.
    """
    if not observations or len(observations) != len(vis):
        raise ValueError("there must be a path for each of one or more datasets")
    guesses = [guess(observation) for observation in observations]
    empty = [path for path, found in zip(vis, guesses, strict=True) if not found.targets]
    if empty:
        raise ValueError(f"no field of {', '.join(empty)} has a visibility that is not flagged")
    names = _names(vis)
    page = Page(safe(name), observations, vis, names, guesses, setups(observations, guesses), {})
    compiled = _compiled(page, _text(page))
    autos: dict[str, list[Auto]] = {}
    for auto in compiled.autos:
        autos.setdefault(auto.key, []).append(auto)
    page = replace(page, autos=autos, unsure=[])
    troubles = [one.message for one in (*compiled.problems, *compiled.warnings)]
    text = _text(page, troubles)
    return Starter(text, tuple(dict.fromkeys(map(plain, (*troubles, *page.unsure)))))


def _compiled(page: Page, text: str) -> stages.Compiled:
    """Compile the recipe against its data, to know what `auto` gives and what is wrong."""
    document = tomllib.loads(text)
    recipe = build(document, Path(f"{page.name}.toml"))
    return stages.full(recipe, dict(zip(page.names, page.observations, strict=True)))


def _text(page: Page, troubles: Sequence[str] = ()) -> str:
    """Return the recipe's text."""
    sections = [
        head.head(page),
        [line for text in troubles for line in comment(text, "UNSURE: ")],
        *head.datasets(page),
        fields.calibrators(page),
        fields.targets(page),
        *([] if page.calibrated else [reduction.flag(page), reduction.calibrate(page)]),
        pictures.contsub(page),
        *pictures.images(page),
        reduction.rest(),
    ]
    return "\n".join("\n".join(section) + "\n" for section in sections if section)


def _names(vis: Sequence[str]) -> list[str]:
    """Return a name for each dataset, each once."""
    names: list[str] = []
    for path in vis:
        base = stem(path.rstrip("/").rpartition("/")[2].removeprefix("casadata:"))
        name, number = base, 1
        while name in names:
            number += 1
            name = f"{base[:58]}-{number}"
        names.append(name)
    return names
