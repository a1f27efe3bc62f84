"""Open CASA images and FITS files, and read them a plane at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from . import stored_planes
from .config import configure
from .kept_planes import Block, keep, recall

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Planes = tuple[npt.NDArray[np.float32], Bools]

CHUNK_PIXELS = 4_000_000
"""Pixels of an image in memory at a time (32 MB)."""

_DEGREES = {
    "rad": 180 / math.pi, "deg": 1.0, "arcmin": 1 / 60, "'": 1 / 60, "arcsec": 1 / 3600,
    '"': 1 / 3600,
}  # fmt: skip

_ARCSECONDS = {unit: 3600 * factor for unit, factor in _DEGREES.items()}

_HERTZ = {"Hz": 1.0, "kHz": 1e3, "MHz": 1e6, "GHz": 1e9}


@dataclass(frozen=True)
class ImageHeader:
    """Shape and coordinates of a CASA image with two direction axes.

    `reference_pixel` counts from 0. `beams` has a row (bmaj_arcsec, bmin_arcsec, bpa_deg)
    for the image or, where they differ, for each channel; none for an image without one.
    """

    path: str
    n_x: int
    n_y: int
    n_stokes: int
    n_chan: int
    unit: str
    frame: str
    projection: str
    projection_parameters: tuple[float, ...]
    reference_deg: tuple[float, float]
    reference_pixel: tuple[float, float]
    increment_deg: tuple[float, float]
    frequencies_hz: Floats
    spectral_frame: str
    rest_hz: float
    beams: tuple[tuple[float, float, float], ...]


class ImageFile:
    """An open CASA image, read a plane at a time.

    Parameters
    ----------
    path : Path or str
        The image.

    Raises
    ------
    DataError
        If it cannot be opened or has no direction axes.
    """

    def __init__(self, path: Path | str) -> None:
        self._tool, self._axes, self.header = open_image(path)
        shape = (0, self.header.n_y, self.header.n_x)
        nothing = (0, np.zeros(shape, np.float32), np.zeros(shape, bool))
        self._stored: stored_planes.StoredPlanes | None = None
        self._sought = False
        self._block = recall(self.header.path) or nothing

    def __enter__(self) -> ImageFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._tool.done()

    def plane(self, channel: int = 0) -> tuple[Floats, Bools]:
        """Read one plane of the first Stokes parameter.

        Neighbouring planes are read along with it and kept, up to `CHUNK_PIXELS`.

        Returns
        -------
        tuple of array
            Pixels and where they are valid (unmasked and finite), both of shape (n_y, n_x).
        """
        first, pixels, valid = self._block
        if not first <= channel < first + len(pixels):
            self._block = first, pixels, valid = self._read(channel)
        return pixels[channel - first].astype(np.float64), valid[channel - first]

    def _read(self, channel: int) -> Block:
        """Read the block of planes that holds a channel."""
        header = self.header
        length = max(1, CHUNK_PIXELS // (header.n_x * header.n_y))
        first = channel - channel % length
        last = min(first + length, header.n_chan)
        pixels, valid = self._direct(first, last) or self._through_casa(first, last)
        if len(pixels) == header.n_chan:
            keep(header.path, (first, pixels, valid))
        return first, pixels, valid

    def _direct(self, first: int, last: int) -> Planes | None:
        """Read channels from the tiles on disk, where that can be done."""
        if not self._sought and self.header.n_stokes == 1:
            self._stored = stored_planes.find(self.header.path, self._tool, self._axes)
        self._sought = True
        if self._stored is None:
            return None
        pixels, mask = self._stored.read(first, last)
        valid = np.isfinite(pixels)
        return pixels, valid if mask is None else valid & mask

    def _through_casa(self, first: int, last: int) -> Planes:
        """Read channels through CASA."""
        corner = [0] * len(self._tool.shape())
        end = [int(size) - 1 for size in self._tool.shape()]
        if self._axes["stokes"] is not None:
            end[self._axes["stokes"]] = 0
        if self._axes["spectral"] is not None:
            corner[self._axes["spectral"]] = first
            end[self._axes["spectral"]] = last - 1
        # As an image has them on disk: half the memory of what CASA hands out.
        pixels = self._ordered(self._tool.getchunk(corner, end), np.float32)
        valid = np.isfinite(pixels)
        if any(self._tool.maskhandler("default")):
            valid &= self._ordered(self._tool.getchunk(corner, end, getmask=True), bool)
        return pixels, valid

    def _ordered(self, chunk: Any, kind: Any) -> Any:
        """Return a chunk with the axes channel, y, x."""
        order = [self._axes[name] for name in ("spectral", "y", "x")]
        present = [axis for axis in order if axis is not None]
        moved = np.moveaxis(chunk, present, range(-len(present), 0))
        shaped = moved.reshape(-1, self.header.n_y, self.header.n_x)
        return np.ascontiguousarray(shaped, kind)


def open_image(path: Path | str) -> tuple[Any, dict[str, int | None], ImageHeader]:
    """Open a CASA image or a FITS file.

    Parameters
    ----------
    path : Path or str
        The image.

    Returns
    -------
    tuple
        CASA's image tool, to be closed by the caller; which axis is x, y, stokes and spectral;
        and what the image says of itself.

    Raises
    ------
    DataError
        If it cannot be opened or has no direction axes.
    """
    configure()
    from casatools import image

    tool = image()
    try:
        tool.open(str(path))
    except RuntimeError as error:
        raise DataError(f"{path}: cannot be opened as an image: {error}") from error
    coordinates = tool.coordsys()
    try:
        axes = image_axes(coordinates.axiscoordinatetypes(), str(path))
        return tool, axes, image_header(tool, coordinates, axes, str(path))
    finally:
        coordinates.done()


def image_axes(types: list[str], path: str) -> dict[str, int | None]:
    """Return which axis is x, y, stokes and spectral; raise `DataError` without a sky."""
    directions = [index for index, name in enumerate(types) if name == "Direction"]
    if len(directions) != 2:
        raise DataError(f"{path}: not an image of the sky: it has no two direction axes")
    found: dict[str, int | None] = {"x": directions[0], "y": directions[1]}
    for key in ("Stokes", "Spectral"):
        found[key.lower()] = types.index(key) if key in types else None
    return found


def image_header(
    tool: Any, coordinates: Any, axes: dict[str, int | None], path: str
) -> ImageHeader:
    """Return shape and coordinates of an open image."""
    shape = [int(length) for length in tool.shape()]
    x, y, stokes, spectral = axes["x"], axes["y"], axes["stokes"], axes["spectral"]
    units = coordinates.units()
    value = coordinates.referencevalue()["numeric"]
    pixel = coordinates.referencepixel()["numeric"]
    increment = coordinates.increment()["numeric"]
    projection = coordinates.projection()
    frequencies = np.zeros(0)
    if spectral is not None:
        offsets = np.arange(shape[spectral]) - pixel[spectral]
        scale = _HERTZ.get(units[spectral], 1.0)
        frequencies = (value[spectral] + offsets * increment[spectral]) * scale

    def degrees(numbers: Any) -> tuple[float, float]:
        return tuple(float(numbers[i] * _DEGREES[units[i]]) for i in (x, y))  # type: ignore

    return ImageHeader(
        path=path,
        n_x=shape[x],  # type: ignore[index]
        n_y=shape[y],  # type: ignore[index]
        n_stokes=1 if stokes is None else shape[stokes],
        n_chan=1 if spectral is None else shape[spectral],
        unit=str(tool.brightnessunit()),
        frame=str(coordinates.referencecode("direction")[0]),
        projection=str(projection["type"]),
        projection_parameters=tuple(float(p) for p in projection["parameters"]),
        reference_deg=degrees(value),
        reference_pixel=(float(pixel[x]), float(pixel[y])),
        increment_deg=degrees(increment),
        frequencies_hz=frequencies,
        spectral_frame="" if spectral is None else str(coordinates.referencecode("spectral")[0]),
        rest_hz=0.0 if spectral is None else _rest_frequency(coordinates),
        beams=_beams(tool.restoringbeam()),
    )


def _rest_frequency(coordinates: Any) -> float:
    rest = coordinates.restfrequency()
    return float(np.ravel(rest["value"])[0]) * _HERTZ.get(str(rest["unit"]), 1.0)


def _beams(beam: dict[str, Any]) -> tuple[tuple[float, float, float], ...]:
    """Return (bmaj_arcsec, bmin_arcsec, bpa_deg) once, or for each channel."""
    if not beam:
        return ()
    if "beams" not in beam:
        return (_beam(beam),)
    channels = sorted(beam["beams"], key=lambda key: int(key.lstrip("*")))
    return tuple(_beam(beam["beams"][channel]["*0"]) for channel in channels)


def _beam(beam: dict[str, Any]) -> tuple[float, float, float]:
    angle = beam.get("positionangle") or beam["pa"]
    return (
        float(beam["major"]["value"]) * _ARCSECONDS[beam["major"]["unit"]],
        float(beam["minor"]["value"]) * _ARCSECONDS[beam["minor"]["unit"]],
        float(angle["value"]) * _DEGREES[angle["unit"]],
    )
