"""``[matrix]``: an image for each combination of values that are to be compared.

Only keys of an ``[[image]]`` are swept: one calibration serves all images, so that they differ in
nothing else. Another calibration is another run, by a recipe that extends this one.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..errors import KeyPath, Problem
from ..folder import file_safe
from .expanded import Expanded
from .naming import LONGEST, label
from .overrides import entry, parts_of
from .positions import Origin, Source, refused
from .schema import against, schema, shown
from .variables import placed

MOST: Final = 100
"""Images that one image may become."""


@dataclass(frozen=True)
class Sweep:
    """The values that a key of an image takes.

    Attributes
    ----------
    image : int
        Index of the image.
    key : tuple of str
        The key in its table.
    values : list
        What it takes.
    at : KeyPath
        Where the values stand in the document.
    """

    image: int
    key: tuple[str, ...]
    values: Sequence[Any]
    at: KeyPath


@dataclass(frozen=True)
class Swept:
    """What one of the images that a sweep makes has of it.

    Attributes
    ----------
    of : str
        Name of the image that it is made of.
    values : mapping of str to value
        What the swept keys are in this one, by key.
    """

    of: str
    values: Mapping[str, Any]


def with_matrix(
    document: dict[str, Any], source: Source
) -> tuple[dict[str, Any], Source, dict[str, Swept]]:
    """Return a document in which each combination of swept values is an image, and which those are.

    Raises
    ------
    RefusedError
        If something else than an image's key is swept, or there are too many combinations.
    """
    if "matrix" not in document:
        return document, source, {}
    node = schema()["properties"]["matrix"]
    problems = against(document["matrix"], node, ("matrix",))
    sweeps: list[Sweep] = []
    if not problems:
        for parts, values, at in _leaves(document["matrix"], ("matrix",)):
            try:
                sweeps.append(_sweep(document, parts, values, at))
            except ValueError as error:
                problems.append(Problem(str(error), at, at_key=True))
    result = Expanded("image")
    swept: dict[str, Swept] = {}
    images = document.get("image")
    for index, table in enumerate(images if isinstance(images, list) else ()):
        mine = [sweep for sweep in sweeps if sweep.image == index]
        number = 1
        for sweep in mine:
            number *= len(sweep.values)
        if number > MOST:
            message = f"makes {number:,} images of one, where {MOST} are enough"
            problems.append(Problem(message, mine[-1].at, at_key=True))
        elif mine:
            swept |= _add(result, index, table, mine, source)
        else:
            result.add(index, table, source)
    if problems:
        raise refused(problems, source)
    rest = {key: value for key, value in document.items() if key != "matrix"}
    return (*result.finish(rest, source), swept)


def _leaves(
    table: Mapping[str, Any], at: KeyPath, parts: tuple[str, ...] = ()
) -> Iterator[tuple[list[str], Any, KeyPath]]:
    """Yield the keys that are swept, dotted ones of one name and those of tables alike."""
    for name, value in table.items():
        here = (*parts, *(parts_of(name) if not parts else (name,)))
        if isinstance(value, dict):
            yield from _leaves(value, (*at, name), here)
        else:
            yield list(here), value, (*at, name)


def _sweep(document: dict[str, Any], parts: list[str], values: Any, at: KeyPath) -> Sweep:
    """Return what is to be swept.

    Raises
    ------
    ValueError
        If that cannot be.
    """
    if parts[0] != "image":
        raise ValueError(
            "only keys of an [[image]] are swept, such as image.NAME.robust: for another "
            "calibration, write a recipe that extends this one, and compare the runs"
        )
    if len(parts) < 3:
        raise ValueError("expected image.NAME.KEY, such as image.continuum.robust")
    index, rest = entry(document, parts)
    if len(rest) < 2 or rest[1] == "name":
        raise ValueError("expected image.NAME.KEY, such as image.continuum.robust")
    if not isinstance(values, list) or not values:
        raise ValueError("expected an array of the values to compare, such as [-0.5, 0.5, 2]")
    twice = next((v for place, v in enumerate(values) if v in values[:place]), None)
    if twice is not None:
        raise ValueError(f"{shown(twice)} stands here twice")
    return Sweep(index, tuple(rest[1:]), values, at)


def _add(
    result: Expanded, index: int, table: dict[str, Any], sweeps: Sequence[Sweep], source: Source
) -> dict[str, Swept]:
    """Add the images that one becomes, and say which: the last key changes fastest."""
    combinations = list(itertools.product(*(enumerate(sweep.values) for sweep in sweeps)))
    of = label("image", table)
    names = _names(of, sweeps, combinations)
    for name, combination in zip(names, combinations, strict=True):
        image = copy.deepcopy(table)
        origin = source.origin(("image", index))
        origin = Origin(origin.source, origin.key, below=dict(origin.below))
        for sweep, (place, value) in zip(sweeps, combination, strict=True):
            stands = source.origin((*sweep.at, place))
            if isinstance(value, str) and stands.source.folder != source.folder:
                value = placed(value, ("image", index, *sweep.key), stands.source.folder)
            _put(image, sweep.key, value)
            _set_origin(origin, sweep.key, stands)
        image["name"] = name
        result.add(index, image, source, origin)
    keys = [".".join(sweep.key) for sweep in sweeps]
    return {
        name: Swept(of, dict(zip(keys, (value for _, value in combination), strict=True)))
        for name, combination in zip(names, combinations, strict=True)
    }


def _put(table: dict[str, Any], key: Sequence[str], value: Any) -> None:
    for part in key[:-1]:
        inner = table.get(part)
        table[part] = inner if isinstance(inner, dict) else {}
        table = table[part]
    table[key[-1]] = value


def _set_origin(origin: Origin, key: Sequence[str], new: Origin) -> None:
    for part in key[:-1]:
        old = origin.find((part,))
        origin.below[part] = Origin(old.source, old.key, below=dict(old.below))
        origin = origin.below[part]
    origin.below[key[-1]] = new


def _names(
    name: str, sweeps: Sequence[Sweep], combinations: Sequence[Sequence[tuple[int, Any]]]
) -> list[str]:
    """Return a name for each combination, as file names may be: ``continuum.robust_-0.5``."""
    said = [
        ".".join(
            [name, *(f"{s.key[-1]}_{_word(v)}" for s, (_, v) in zip(sweeps, values, strict=True))]
        )
        for values in combinations
    ]
    if len(set(said)) < len(said) or max(map(len, said)) > LONGEST:
        return [f"{name}.{number}" for number in range(1, len(said) + 1)]
    return said


def _word(value: Any) -> str:
    if isinstance(value, list):
        return "-".join(map(_word, value))
    return file_safe(str(value).lower() if isinstance(value, bool) else str(value))
