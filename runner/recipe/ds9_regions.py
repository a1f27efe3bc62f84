"""DS9 region files (``.reg``), read line by line.

Every line that a mask or a measurement cannot use is told with its number. What the shapes mean on
an image's pixels says `casarun.qa.drawn`.

Source: the SAOImage DS9 reference manual, "Regions", format 4.1.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

SUFFIX: Final = ".reg"
LARGEST_BYTES: Final = 5_000_000
"""Beyond that a region file is not read."""

_FRAMES: Final[Mapping[str, str]] = {
    "fk5": "fk5", "j2000": "fk5", "icrs": "icrs", "fk4": "fk4", "b1950": "fk4",
    "galactic": "galactic", "image": "image", "physical": "image",
}  # fmt: skip
_OTHER_FRAMES: Final = re.compile(r"ecliptic|linear|amplifier|detector|wcs[a-z]?")
_ANNOTATIONS: Final = ("line", "vector", "text", "ruler", "compass", "projection", "segment")
_WITHOUT_ANGLE: Final = ("circle", "annulus", "polygon", "point")
_SHAPES: Final = (*_WITHOUT_ANGLE, "ellipse", "box", "rotbox")
_PIES: Final = ("panda", "epanda", "bpanda", "pie", "cpanda")

_COMMAND: Final = re.compile(r"(?P<sign>[+!-]?)\s*(?P<word>[A-Za-z]\w*)\s*(?P<rest>.*)", re.DOTALL)
_ARGUMENTS: Final = re.compile(r"\(?(?P<list>[^()]*)\)?\s*(?P<joint>\|\||&&)?", re.DOTALL)
_MOST_PIXELS: Final = 1e7
_MOST_DEG: Final = 360.0
_NUMBER: Final = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_VALUE: Final = re.compile(rf"({_NUMBER})([\"'drpi]?)")
_SEXAGESIMAL: Final = re.compile(r"([+-]?)(\d+)([:hd])(\d+)[:m](\d+\.?\d*)s?")
_LABEL: Final = re.compile(r"\btext\s*=\s*(?:\{([^}]*)\}|\"([^\"]*)\"|'([^']*)')")
_TAG: Final = re.compile(r"\btag\s*=\s*\{([^}]*)\}")
_INCLUDE: Final = re.compile(r"\binclude\s*=\s*([01])")
_PER_DEG: Final[Mapping[str, float]] = {
    "": 1.0, "d": 1.0, "'": 1 / 60, '"': 1 / 3600, "r": math.degrees(1),
}  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """A region with an area, or a point.

    Attributes
    ----------
    line : int
        Where it stands in the file, from 1.
    kind : str
        ``circle``, ``annulus``, ``ellipse``, ``box``, ``polygon`` or ``point``.
    frame : str
        ``fk5``, ``icrs``, ``fk4``, ``galactic``, or ``image`` for pixels.
    points : tuple of (float, float)
        Its centre or its corners: in deg; in pixels counted from 1, as FITS does.
    sizes : tuple of float
        In deg or pixels. Of a circle its radius; of an annulus the inner and the outer one; of an
        ellipse two half axes; of a box width and height. An ellipse and a box that are rings have
        four: those of the hole, then those of the whole.
    angle_deg : float
        How far an ellipse or a box is turned, counter-clockwise from the first axis.
    include : bool
        False if it takes away.
    label : str
        What its author wrote beside it.
    tag : str
        The first group that it belongs to.
    """

    line: int
    kind: str
    frame: str
    points: tuple[tuple[float, float], ...]
    sizes: tuple[float, ...] = ()
    angle_deg: float = 0.0
    include: bool = True
    label: str = ""
    tag: str = ""

    @property
    def reach(self) -> float:
        """How far it extends from its centre at most, in the unit of its sizes."""
        corner = math.hypot(*self.sizes[-2:]) / 2 if self.kind == "box" else 0.0
        return max(corner, *self.sizes, 0.0)


@dataclass
class RegionFile:
    """What a file holds.

    Attributes
    ----------
    shapes : list of Shape
        In the order of the file.
    unusable : list of (int, str)
        Numbers of lines, and why they cannot be used.
    """

    shapes: list[Shape] = field(default_factory=list)
    unusable: list[tuple[int, str]] = field(default_factory=list)

    @property
    def included(self) -> list[Shape]:
        """The shapes that do not take away."""
        return [shape for shape in self.shapes if shape.include]

    def complaints(self, most: int = 5) -> list[str]:
        """Return what is wrong with the file, line by line; of many lines the first ones."""
        found = [f"line {number}: {why}" for number, why in self.unusable[:most]]
        left = len(self.unusable) - len(found)
        return [*found, f"and {left} more lines that cannot be used"] if left else found


def is_ds9(path: str) -> bool:
    """Tell by its name whether a file is one of DS9's."""
    return path.lower().endswith(SUFFIX)


def read(text: str) -> RegionFile:
    """Read a region file.

    Texts, lines, vectors and other annotations have no area and are passed over.

    Parameters
    ----------
    text : str
        The file's text.
    """
    found, state = RegionFile(), _State()
    for number, line in enumerate(text.splitlines(), 1):
        try:
            found.shapes += list(_shapes(line.strip(), number, state))
        except ValueError as error:
            found.unusable.append((number, str(error)))
    return found


@dataclass
class _State:
    """What earlier lines said that holds for later ones; no frame: one that cannot be used."""

    frame: str = "image"
    include: bool = True


def _shapes(line: str, number: int, state: _State) -> Iterator[Shape]:
    for command, about in _commands(line):
        match = _COMMAND.fullmatch(command)
        if match is None:
            raise ValueError(f"'{_shown(command)}' is no region")
        word, rest = match["word"].lower(), match["rest"].strip()
        if word in _ANNOTATIONS:
            return  # what a text says may look like anything
        if word == "global":
            given = _INCLUDE.search(rest)
            state.include = given is None or given[1] == "1"
        elif word in _FRAMES and not rest:
            state.frame = _FRAMES[word]
        elif _OTHER_FRAMES.fullmatch(word):
            state.frame = ""
            raise ValueError(
                f"regions in '{word}' coordinates cannot be used: save them as fk5, icrs, fk4, "
                "galactic or image"
            )
        elif word != "tile" and (state.frame or word not in _SHAPES):
            yield _shape(word, rest, number, state, (match["sign"], about))


def _commands(line: str) -> Iterator[tuple[str, str]]:
    """Give the commands of a line, each with what is said of it behind a ``#``."""
    told, _, about = line.partition("#")
    for command in told.split(";"):
        if command.strip():
            yield command.strip(), about


def _shape(word: str, rest: str, number: int, state: _State, said: tuple[str, str]) -> Shape:
    if word in _PIES:
        raise ValueError(f"'{word}' cannot be used: draw its outline as a polygon")
    if word not in _SHAPES:
        raise ValueError(
            f"'{_shown(word)}' is none of circle, ellipse, box, polygon, annulus, point"
        )
    match = _ARGUMENTS.fullmatch(rest)
    if match is None:
        raise ValueError(f"'{_shown(rest)}' cannot be read")
    if match["joint"] == "&&":
        raise ValueError("'&&' cannot be used: draw the common area as a polygon")
    values = [value for value in re.split(r"[\s,]+", match["list"]) if value]
    kind = "box" if word == "rotbox" else word
    points, sizes, angle = _geometry(kind, values, state.frame)
    sign, about = said
    given, label = _INCLUDE.search(about), _LABEL.search(about)
    include = state.include if given is None else given[1] == "1"
    if sign:
        include = sign == "+"
    text = next((part for part in label.groups() if part), "") if label else ""
    tag = _TAG.search(about)
    return Shape(
        number, kind, state.frame, points, sizes, angle, include, text.strip(),
        tag[1].strip() if tag else "",
    )  # fmt: skip


Geometry = tuple[tuple[tuple[float, float], ...], tuple[float, ...], float]


def _geometry(kind: str, values: list[str], frame: str) -> Geometry:
    """Return the points, sizes and angle of a shape."""
    many = len(values) if kind == "polygon" else 2
    if len(values) < 2 or many % 2 or (kind == "polygon" and many < 6):
        raise ValueError(f"a {kind} of {len(values)} values")
    points = tuple(
        (_place(values[i], 0, frame), _place(values[i + 1], 1, frame)) for i in range(0, many, 2)
    )
    rest = [value for value in values[many:] if not value.startswith("n=")]
    if kind in ("polygon", "point"):
        return points, (), 0.0
    angle = 0.0
    if kind in ("ellipse", "box") and len(rest) % 2:
        angle = _angle(rest.pop())
    return points, _sizes(kind, tuple(_size(value, frame) for value in rest)), angle


def _sizes(kind: str, sizes: tuple[float, ...]) -> tuple[float, ...]:
    """Return the sizes of a shape; of several rings, the hole and the whole."""
    each = 1 if kind in ("circle", "annulus") else 2
    few, most = {"circle": (1, 1), "annulus": (2, math.inf)}.get(kind, (2, math.inf))
    if not few <= len(sizes) <= most:
        raise ValueError(f"a {kind} of {len(sizes)} sizes")
    outer, inner = sizes[-each:], sizes[:each] if len(sizes) > each else ()
    if not all(size > 0 for size in outer):
        raise ValueError(f"a {kind} without an area")
    if inner and not all(0 <= low < high for low, high in zip(inner, outer, strict=True)):
        raise ValueError(f"the inside of this {kind} is not smaller than its outside")
    if inner and not all(inner):
        if kind == "annulus":
            return (0.0, *outer)
        return outer  # rings from the middle on
    return (*inner, *outer)


def _place(text: str, axis: int, frame: str) -> float:
    """Return a coordinate in deg, or in pixels."""
    sexagesimal, plain = _SEXAGESIMAL.fullmatch(text), _VALUE.fullmatch(text)
    if sexagesimal and frame != "image":
        sign, whole, mark, minutes, seconds = sexagesimal.groups()
        degrees = float(whole) + float(minutes) / 60 + float(seconds) / 3600
        hours = mark == "h" or (mark == ":" and axis == 0 and frame != "galactic")
        value = degrees * (15 if hours else 1) * (-1 if sign == "-" else 1)
    elif plain and plain[2] in (("", "p", "i") if frame == "image" else ("", "d", "r")):
        scale = 1.0 if frame == "image" else _PER_DEG[plain[2]]
        value = float(plain[1]) * scale
    else:
        raise ValueError(f"'{_shown(text)}' is no coordinate in {frame}")
    most = _MOST_PIXELS if frame == "image" else _MOST_DEG if axis == 0 else 90.0
    if not abs(value) <= most:
        raise ValueError(f"'{_shown(text)}' is no place in {frame}")
    return value


def _size(text: str, frame: str) -> float:
    """Return a size in deg, or in pixels."""
    match = _VALUE.fullmatch(text)
    if match is None:
        raise ValueError(f"'{_shown(text)}' is no size")
    pixels = match[2] in ("p", "i")
    if frame == "image":
        if not pixels and match[2]:
            raise ValueError(f"the place is in pixels, but '{_shown(text)}' is an angle")
        size, most = float(match[1]), _MOST_PIXELS
    elif pixels:
        raise ValueError(f"the place is on the sky, but '{_shown(text)}' is in pixels")
    else:
        size, most = float(match[1]) * _PER_DEG[match[2]], _MOST_DEG
    if not size <= most:
        raise ValueError(f"'{_shown(text)}' is no size")
    return size


def _angle(text: str) -> float:
    match = _VALUE.fullmatch(text)
    if match is None or match[2] not in ("", "d", "r") or not math.isfinite(float(match[1])):
        raise ValueError(f"'{_shown(text)}' is no angle")
    return float(match[1]) * _PER_DEG[match[2]]


def _shown(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:37]}..."
