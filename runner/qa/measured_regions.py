"""Numbers of an image over regions that a person drew."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from astropy.wcs import WCS

from ..casa import image_file
from ..recipe.ds9_regions import Shape
from . import region_files
from .metrics import put

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Beam = tuple[float, float, float] | None

_C_KM_S: Final = 299_792.458
ALL: Final = "all"
"""The name of all regions of a file together."""


@dataclass
class _Area:
    """A region, and what has been found in it so far; lists are by channel."""

    file: str
    name: str
    mask: Bools
    seen: Bools = field(init=False)
    fluxes: list[float] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    total: float = 0.0
    number: int = 0
    lowest: float = math.inf
    peak: float = -math.inf
    peak_channel: int = 0

    def __post_init__(self) -> None:
        self.seen = np.zeros_like(self.mask)

    def take(self, channel: int, values: Floats, valid: Bools, response: Floats) -> None:
        """Take a channel's pixels in.

        The flux density is the sum of pixels over the primary beam's response, its variance that
        of the sum of as many independent numbers as there are synthesized beams. Both are in
        pixels of 1 Jy/beam and of the noise; `close` knows the beam.
        """
        chosen = self.mask & valid
        self.seen |= chosen
        found, weight = values[chosen], 1 / response[chosen]
        self.fluxes.append(float(np.sum(found * weight)) if found.size else math.nan)
        self.errors.append(float(np.sqrt(np.sum(weight**2))) if found.size else math.nan)
        if not found.size:
            return
        self.total += float(found.sum())
        self.number += found.size
        self.lowest = min(self.lowest, float(found.min()))
        if found.max() > self.peak:
            self.peak, self.peak_channel = float(found.max()), channel


def measure(
    files: Sequence[str], images: tuple[str, str], known: tuple[Floats, Beam], wcs: WCS
) -> list[dict[str, Any]]:
    """Measure an image over the regions of files.

    Parameters
    ----------
    files : sequence of str
        DS9 region files.
    images : tuple of str
        The image and its primary beam, which may not be there.
    known : tuple
        The noise of each channel in Jy/beam, NaN where there is none; and the synthesized beam
        (bmaj_arcsec, bmin_arcsec, bpa_deg), or None.
    wcs : WCS
        The image's celestial coordinates.

    Returns
    -------
    list of dict
        For each file and each region that it includes, as ``regions`` of an image in
        ``schemas/metrics.schema.json``.

    Raises
    ------
    StepFailedError
        If a file cannot be used.
    """
    path, pb = images
    with image_file.ImageFile(path) as image:
        header = image.header
        areas = list(_areas(files, wcs, (header.n_y, header.n_x)))
        beam = image_file.ImageFile(pb) if Path(pb).exists() else None
        try:
            for channel in range(header.n_chan):
                values, valid = image.plane(channel)
                response = np.ones_like(values)
                if beam is not None:
                    plane, known_there = beam.plane(min(channel, beam.header.n_chan - 1))
                    valid = valid & known_there & (plane > 0)
                    response = np.where(valid, plane, 1.0)
                for area in areas:
                    area.take(channel, values, valid, response)
        finally:
            if beam is not None:
                beam.__exit__()
    return [_numbers(area, header, *known) for area in areas]


def _areas(files: Sequence[str], wcs: WCS, size: tuple[int, int]) -> Iterator[_Area]:
    """Give all of each file and, where there are several, each region less what is excluded."""
    for path in files:
        found, name = region_files.read(path), Path(path).name
        whole = region_files.taken(found.shapes, wcs, size, path)
        yield _Area(name, ALL, whole)
        if len(found.included) < 2:
            continue
        for shape in found.included:
            own = region_files.taken([shape], wcs, size, path) & whole
            yield _Area(name, _name(shape), own)


def _name(shape: Shape) -> str:
    return shape.label or f"line {shape.line}"


def _numbers(
    area: _Area, header: image_file.ImageHeader, rms: Floats, beam: Beam
) -> dict[str, Any]:
    """Return what was found in a region."""
    numbers: dict[str, Any] = {"file": area.file, "region": area.name}
    numbers["n_pixels"] = int(np.count_nonzero(area.seen))
    none = "no valid pixel of the image lies in it"
    nothing = area.number == 0
    put(numbers, "mean_jy_per_beam", None if nothing else area.total / area.number, none)
    put(numbers, "min_jy_per_beam", None if nothing else area.lowest, none)
    put(numbers, "peak_jy_per_beam", None if nothing else area.peak, none)
    pixels = np.array([_beam_pixels(header, beam, channel) for channel in range(header.n_chan)])
    fluxes = np.array(area.fluxes) / pixels
    errors = np.array(area.errors) * rms / np.sqrt(pixels)
    why = none if nothing else "the image has no synthesized beam"
    if header.n_chan > 1:
        numbers["peak_channel"] = area.peak_channel
        numbers["flux_jy_by_channel"] = [_finite(value) for value in fluxes]
        width = _width_km_s(header)
        why_line = why if width else "the image has no rest frequency"
        seen = np.isfinite(fluxes)
        line = float(np.nansum(fluxes)) * width if width and seen.any() else None
        error = float(np.sqrt(np.nansum(errors**2))) * width if line is not None else None
        put(numbers, "line_flux_jy_km_s", line, why_line)
        put(numbers, "line_flux_error_jy_km_s", error, why_line)
        why = "it is a cube: flux_jy_by_channel has the spectrum"
        fluxes = errors = np.array([math.nan])
    put(numbers, "flux_jy", _finite(fluxes[0]), why)
    put(numbers, "flux_error_jy", _finite(errors[0]), why)
    return numbers


def _beam_pixels(header: image_file.ImageHeader, beam: Beam, channel: int) -> float:
    """Return the pixels of a synthesized beam: pi/(4 ln 2) FWHM x FWHM; NaN without one."""
    own = header.beams[channel] if len(header.beams) == header.n_chan else beam
    if own is None or min(own[:2]) <= 0:
        return math.nan
    area = abs(header.increment_deg[0] * header.increment_deg[1]) * 3600**2
    return math.pi / (4 * math.log(2)) * own[0] * own[1] / area


def _width_km_s(header: image_file.ImageHeader) -> float:
    """Return the width of a channel in radio velocity; 0 without a rest frequency."""
    if not header.rest_hz or len(header.frequencies_hz) < 2:
        return 0.0
    step = abs(header.frequencies_hz[1] - header.frequencies_hz[0])
    return float(_C_KM_S * step / header.rest_hz)


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
