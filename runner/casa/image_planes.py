"""Images read a channel at a time: peaks, blank and broken pixels, synthesized beams."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from ..files import signature
from .image_file import image_axes
from .stored_planes import StoredPlanes, find

_CHANNELS: Final = 16
"""So many are read together: tiles hold some channels each."""


@dataclass(frozen=True)
class Planes:
    """Numbers of an image's channels.

    Attributes
    ----------
    shape : tuple of int
        Of the image.
    peak : list of float
        Largest absolute value of each channel's valid, finite pixels; 0 where there are none.
    largest : float
        Largest value.
    n_not_finite : int
        Valid pixels that are NaN or infinite.
    n_nonzero : int
        Valid, finite pixels that are not 0.
    """

    shape: tuple[int, ...]
    peak: list[float]
    largest: float
    n_not_finite: int
    n_nonzero: int


@contextmanager
def open_image(path: Path) -> Iterator[Any]:
    """Open a CASA image for reading, and close it however the block ends."""
    from casatools import image as image_tool

    tool = image_tool()
    tool.open(str(path))
    try:
        yield tool
    finally:
        tool.close()


def read_planes(path: Path) -> Planes:
    """Read an image a channel at a time; axes are x, y, then Stokes and channel in any order.

    An image that is as it was when it was last read is not read again.
    """
    return _planes_of(path.absolute(), signature(path) or "")


@lru_cache(maxsize=64)
def _planes_of(path: Path, _state: str) -> Planes:
    peak: list[float] = []
    largest, not_finite, nonzero = -math.inf, 0, 0
    with open_image(path) as tool:
        shape = tuple(int(side) for side in tool.shape())
        for finite in _valid_pixels(path, tool, shape):
            low, high = finite.min(initial=math.inf), finite.max(initial=-math.inf)
            if not (math.isfinite(low) and math.isfinite(high)) and finite.size:
                good = finite[np.isfinite(finite)]
                not_finite += finite.size - good.size
                finite = good
                low, high = finite.min(initial=math.inf), finite.max(initial=-math.inf)
            nonzero += int(np.count_nonzero(finite))
            peak.append(float(max(-low, high)) if finite.size else 0.0)
            largest = max(largest, float(high))
    return Planes(shape, peak, largest, not_finite, nonzero)


def _valid_pixels(
    path: Path, tool: Any, shape: tuple[int, ...]
) -> Iterator[npt.NDArray[np.floating[Any]]]:
    """Yield the pixels of each channel that are not masked."""
    types = tool.coordsys().axiscoordinatetypes()
    axis = types.index("Spectral") if "Spectral" in types else None
    number = 1 if axis is None else shape[axis]
    stored = _stored(path, tool, types)
    if stored is not None:
        for first in range(0, number, _CHANNELS):
            pixels, mask = stored.read(first, min(first + _CHANNELS, number))
            for channel, plane in enumerate(pixels):
                yield plane.ravel() if mask is None else plane[mask[channel]]
        return
    masked = any(tool.maskhandler("default"))
    for channel in range(number):
        blc, trc = [0] * len(shape), [side - 1 for side in shape]
        if axis is not None:
            blc[axis] = trc[axis] = channel
        plane = tool.getchunk(blc, trc)
        yield plane[tool.getchunk(blc, trc, getmask=True)] if masked else plane


def _stored(path: Path, tool: Any, types: list[str]) -> StoredPlanes | None:
    """Return where the planes are, if they can be read from there."""
    try:
        return find(path, tool, image_axes(types, str(path)))
    except DataError:  # no image of the sky
        return None


def shape_and_peak(path: Path) -> tuple[tuple[int, ...], float]:
    """Return an image's shape and the largest absolute value of its valid pixels."""
    planes = read_planes(path)
    return planes.shape, max(planes.peak)


def read_beams(
    path: Path,
) -> tuple[list[tuple[float, float, float]], float, tuple[int, ...]]:
    """Return an image's synthesized beams (arcsec, arcsec, deg), its pixel (arcsec) and shape."""
    with open_image(path) as tool:
        shape = tuple(int(side) for side in tool.shape())
        record = tool.restoringbeam()
        increment = tool.coordsys().increment(type="direction", format="n")["numeric"]
    beams = []
    for beam in _flat(record):
        major, minor = (beam[axis] for axis in ("major", "minor"))
        angle = beam.get("positionangle", beam.get("pa"))
        beams.append(
            (_in(major, "arcsec"), _in(minor, "arcsec"), _in(angle, "deg") if angle else 0.0)
        )
    return beams, float(np.degrees(np.abs(increment)).min() * 3600), shape


def _flat(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the beams in what ``image.restoringbeam`` gives, in the order of channels."""
    if "major" in record:
        return [record]
    channels = record.get("beams", {})
    ordered = sorted(channels.items(), key=lambda item: int(item[0].lstrip("*")))
    return [next(iter(stokes.values())) for _, stokes in ordered]


def _in(quantity: Mapping[str, Any], unit: str) -> float:
    """Return a CASA quantity of an angle in arcsec or deg."""
    per_deg = {"deg": 1.0, "arcmin": 1 / 60, "arcsec": 1 / 3600, "rad": math.degrees(1)}
    degrees = float(quantity["value"]) * per_deg[str(quantity["unit"])]
    return degrees * 3600 if unit == "arcsec" else degrees
