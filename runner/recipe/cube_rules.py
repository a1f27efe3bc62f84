"""What the keys of ``[[cube]]`` say about each other and about the images: needs no data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from ..errors import KeyPath, Problem
from ..quantities import parse
from .schema import shown

Document = Mapping[str, Any]

MOMENTS: Final = (-1, 0, 1, 2, 5, 6, 8, 9, 10, 11)
"""Moments that sums over planes give; medians (3, 4) and the mean deviation (7) need all of them
at once."""


def check(document: Document) -> Iterator[Problem]:
    """Yield what of the cubes does not fit together."""
    images = {
        table.get("name"): table
        for table in _tables(document.get("image"))
        if isinstance(table.get("name"), str)
    }
    cubes = _tables(document.get("cube"))
    if "dataset" not in document and not cubes:
        yield Problem("this key is required", ("dataset",))
    elif document.get("dataset") == [] and not cubes:
        yield Problem("expected at least 1 value, found 0", ("dataset",))
    for index, table in enumerate(cubes):
        key: KeyPath = ("cube", index)
        name, image = table.get("name"), table.get("image")
        if isinstance(name, str) and name in images:
            yield Problem(f"{shown(name)} is already the name of an [[image]]", (*key, "name"))
        if isinstance(image, str) and image in images:
            yield from _of_image(images[image], image, key)
        elif "targets" in table:
            message = "has no effect: the cube is a file's, and belongs to no target"
            yield Problem(message, (*key, "targets"), "warning", at_key=True)
        yield from _settings(table, key)


def _tables(found: object) -> list[dict[str, Any]]:
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _of_image(image: Document, name: str, key: KeyPath) -> Iterator[Problem]:
    """Yield why an image is no cube that can be processed."""
    if image.get("specmode", "mfs") != "cube":
        yield Problem(f'image {shown(name)} is no cube: specmode = "cube"', (*key, "image"))
    stokes = image.get("stokes", "I")
    if isinstance(stokes, str) and stokes not in ("I", "Q", "U", "V", "RR", "LL", "XX", "YY",
                                                  "pseudoI"):  # fmt: skip
        yield Problem(
            f"image {shown(name)} has the Stokes parameters {shown(stokes)}; cubes are processed "
            "with one: make an image of each",
            (*key, "image"),
        )


def _settings(table: Document, key: KeyPath) -> Iterator[Problem]:
    """Yield what is wrong with the tables of one cube."""
    for name in ("smooth", "mask"):
        part = table.get(name)
        if isinstance(part, dict):
            yield from _beam(part.get("beam"), (*key, name, "beam"))
    yield from _idle(table, key)
    moments = table.get("moments")
    for moment in moments if isinstance(moments, list) else ():
        if isinstance(moment, int) and -1 <= moment <= 11 and moment not in MOMENTS:
            yield Problem(
                f"moment {moment} needs all channels at once; plane by plane there are "
                f"{', '.join(map(str, MOMENTS))} (image.moments has the others)",
                (*key, "moments"),
            )
    if isinstance(table.get("mask"), dict) and moments in (None, []) and not table.get("stats", 1):
        yield Problem(
            "has no effect without moments and stats", (*key, "mask"), "warning", at_key=True
        )


def _idle(table: Document, key: KeyPath) -> Iterator[Problem]:
    """Yield settings that have no effect."""
    smooth, regrid, contsub = (table.get(name) for name in ("smooth", "regrid", "contsub"))
    if isinstance(smooth, dict) and "width" in smooth and smooth.get("spectral") != "boxcar":
        yield Problem(
            'has no effect without spectral = "boxcar"', (*key, "smooth", "width"), "warning",
            at_key=True,
        )  # fmt: skip
    if isinstance(contsub, dict) and "order" in contsub and not contsub.get("channels"):
        yield Problem(
            "has no effect without contsub.channels", (*key, "contsub", "order"), "warning",
            at_key=True,
        )  # fmt: skip
    if not isinstance(regrid, dict):
        return
    axis = [name for name in ("start", "width", "nchan") if regrid.get(name, "") not in ("", -1)]
    if axis == ["nchan"] and not regrid.get("template"):
        yield Problem(
            "has no effect without regrid.start or regrid.width", (*key, "regrid", "nchan"),
            "warning", at_key=True,
        )  # fmt: skip
    elif axis and regrid.get("template"):
        yield Problem(
            "regrid.template has the channels to take; give one or the other",
            (*key, "regrid", axis[0]),
        )


def _beam(wanted: object, key: KeyPath) -> Iterator[Problem]:
    """Yield what is wrong with three values of a beam; a single text is the schema's."""
    if not isinstance(wanted, list) or not all(isinstance(one, str) for one in wanted):
        return
    numbers = []
    for place, text in enumerate(wanted):
        try:
            numbers.append(parse(text, "angle"))
        except ValueError as error:
            yield Problem(str(error), (*key, place))
            return
    if len(numbers) > 1 and min(numbers[:2]) <= 0:
        yield Problem("the axes of a beam must be more than zero", key)
    elif len(numbers) > 1 and numbers[1] > numbers[0]:
        yield Problem("the first axis is the major one, the larger of both", key)
