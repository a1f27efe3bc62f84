"""Regions in CASA's text format (CRTF), as far as placing them on an image needs.

Source: CASA Docs, "CASA Region File Format", version 0.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

HEADER: Final = "#CRTF"
"""What the first line of a region file begins with."""

_SHAPES: Final = ("circle", "annulus", "ellipse", "centerbox", "rotbox", "box", "poly")
_POINTS: Final = ("symbol", "text", "vector", "line")
_REGION: Final = re.compile(
    rf"(?P<sign>[+-]?)\s*(?P<note>ann\s+)?(?P<shape>{'|'.join(_SHAPES + _POINTS)})\s*"
    r"(?P<places>\[.*?\])\s*(?:,?\s*(?P<more>[A-Za-z]+\s*=.*))?$",
    re.IGNORECASE,
)
_PAIR: Final = re.compile(r"\[\s*([^\[\],]+?)\s*,\s*([^\[\],]+?)\s*\]")
_FRAME: Final = re.compile(r"\bcoord\s*=\s*['\"]?([A-Za-z0-9_]+)", re.IGNORECASE)
_ANGLE: Final = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([A-Za-z\"']+)")
_HOURS: Final = re.compile(r"([+-]?)(\d+)[h:](\d+)[m:](\d+\.?\d*)s?")
_DEGREES: Final = re.compile(r"([+-]?)(\d+)[d.](\d+)[m.](\d+\.?\d*)s?")
_PER_DEG: Final[Mapping[str, float]] = {
    "deg": 1.0, "rad": math.degrees(1), "arcmin": 1 / 60, "arcsec": 1 / 3600, "'": 1 / 60,
    '"': 1 / 3600, "mas": 1 / 3.6e6,
}  # fmt: skip


@dataclass(frozen=True)
class Region:
    """An area that a mask takes in.

    Attributes
    ----------
    shape : str
        ``circle``, ``box``, ``poly``, ...
    points : tuple of (float, float)
        Its centre, or its corners: right ascension and declination in deg; pixels (counted
        from 0) where `frame` is ``pix``.
    reach : float
        How far it may extend from its centre, in the unit of the points.
    frame : str
        ``J2000``, ``B1950``, ... in capitals; ``pix`` for pixels.
    """

    shape: str
    points: tuple[tuple[float, float], ...]
    reach: float
    frame: str

    @property
    def centre(self) -> tuple[float, float]:
        """The mean of the points; of right ascensions, across 0 h too."""
        first = self.points[0][0]
        turn = 360.0 if self.frame != "pix" else math.inf
        apart = [x - first for x, _ in self.points]
        if math.isfinite(turn):
            apart = [(x + 180) % turn - 180 for x in apart]
        x = first + math.fsum(apart) / len(apart)
        return x, math.fsum(y for _, y in self.points) / len(self.points)


def regions(text: str) -> tuple[Region, ...]:
    """Read the areas of a region file.

    Annotations, single points and regions that are taken out (``-circle...``) are passed over.

    Parameters
    ----------
    text : str
        The file's text.

    Raises
    ------
    ValueError
        If a line is no region. The message says which.
    """
    return tuple(_areas(text))


def _areas(text: str) -> Iterator[Region]:
    frame = "J2000"
    for number, whole in enumerate(text.splitlines(), 1):
        line = whole.split("#", 1)[0].strip() if not whole.startswith(HEADER) else ""
        if not line:
            continue
        if line.lower().startswith("global"):
            found = _FRAME.search(line)
            frame = found[1].upper() if found else frame
            continue
        match = _REGION.match(line)
        if match is None:
            raise ValueError(f"line {number} is no CRTF region: {line[:60]}")
        if match["note"] or match["sign"] == "-" or match["shape"].lower() in _POINTS:
            continue
        found = _FRAME.search(match["more"] or "")
        try:
            yield _region(match["shape"].lower(), match["places"], found[1] if found else frame)
        except (ValueError, IndexError, KeyError):
            raise ValueError(f"line {number} cannot be read: {line[:60]}") from None


def _region(shape: str, places: str, frame: str) -> Region:
    pairs = _PAIR.findall(places)
    pixels = any(value.endswith("pix") for pair in pairs for value in pair)
    if shape in ("box", "poly"):
        points = pairs
        sizes: list[str] = []
    else:
        points = pairs[:1]
        sizes = [value for pair in pairs[1:] for value in pair]
        sizes += re.findall(r",\s*([^\[\],]+)\s*\]$", places)
    if not points:
        raise ValueError(places)
    where = tuple((place(x, 0), place(y, 1)) for x, y in points)
    reach = max((_size(size) for size in sizes if _is_size(size)), default=0.0)
    return Region(shape, where, reach, "pix" if pixels else frame.upper())


def _is_size(text: str) -> bool:
    """Tell sizes from the position angle, which is in degrees of its own."""
    return not text.strip().endswith(("deg", "rad")) or text.strip().endswith("arcsec")


def _size(text: str) -> float:
    match = _ANGLE.fullmatch(text.strip())
    if match is None:
        raise ValueError(text)
    return float(match[1]) * (1.0 if match[2] == "pix" else _PER_DEG[match[2]])


def place(text: str, axis: int) -> float:
    """Return a coordinate in deg or pixels: 15h00m00.0s, 15:00:00, +08d00m00s, 225deg, 12pix.

    NaN for a declination with colons, which is read as hours or as degrees, by whom one asks.
    """
    text = text.strip()
    if axis == 1 and ":" in text:
        return math.nan
    for pattern, scale in ((_HOURS, 15.0), (_DEGREES, 1.0)):
        match = pattern.fullmatch(text)
        if match:
            parts = [float(match[i]) / 60**k for k, i in enumerate((2, 3, 4))]
            return (-1.0 if match[1] == "-" else 1.0) * scale * math.fsum(parts)
    return _size(text)
