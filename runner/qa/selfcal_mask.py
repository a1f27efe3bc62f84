"""What of an image is emission: arrays in, masks and numbers out. No files, no CASA.

Before self-calibration most of what stands out of an image is artefact. A mask that holds
artefacts puts them into the model, and a solution to such a model keeps them for ever. So a mask
is made anew in each round, of what exceeds all that can be artefact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from .metrics import MAD_TO_SIGMA, MIN_PIXELS

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

SIGMAS = 5.0
"""Emission exceeds this many times the noise of what is off the mask."""

NEGATIVE = 2.5
"""Emission exceeds this many times the worst negative: what gain errors scatter about is as
often negative as positive."""

SIDELOBES = 1.2
"""Emission exceeds this many times the worst sidelobe of the brightest residual."""

BRIGHTEST = 0.8
"""But what exceeds this part of the brightest residual is emission for all its sidelobes: those of
a snapshot of a few antennas may be nearly as high."""

NEAR = (0.5, 5.0)
"""The near field: so many synthesized beams off the mask."""

MOST_SOURCES = 50
"""No more islands of a mask than these, the brightest, are told of one by one."""

_GROWN = 5
_BLOCK = np.ones((2, 2), bool)


@dataclass(frozen=True)
class Emission:
    """What stood out of a residual.

    Attributes
    ----------
    mask : array of bool, shape (n_y, n_x)
        Old mask and new pixels.
    level : float
        What new pixels exceeded, in Jy/beam.
    grew : bool
        Whether there are new ones.
    """

    mask: Bools
    level: float
    grew: bool


def noise(values: Floats) -> float | None:
    """Return 1.4826 times the median absolute deviation, or None of fewer than 100 values.

    Nothing is clipped: artefacts shall count.
    """
    if values.size < MIN_PIXELS:
        return None
    return MAD_TO_SIGMA * float(np.median(np.abs(values - np.median(values))))


def sidelobe(psf: Floats, width_pixels: float) -> float:
    """Return the largest absolute value of a PSF a synthesized beam or more off its peak.

    Parameters
    ----------
    psf : array, shape (n_y, n_x)
        With its peak of 1 at any place.
    width_pixels : float
        The synthesized beam's major axis (full width at half maximum) in pixels.
    """
    y, x = np.unravel_index(int(np.argmax(psf)), psf.shape)
    rows, columns = np.ogrid[: psf.shape[0], : psf.shape[1]]
    off = np.hypot(rows - y, columns - x) >= max(width_pixels, 1.0)
    return float(np.abs(psf[off]).max(initial=0.0))


def emission(residual: Floats, valid: Bools, mask: Bools, sidelobe: float) -> Emission:
    """Extend a mask by what stands out of a residual.

    New pixels exceed the largest of `SIGMAS` times the noise off the mask, `NEGATIVE` times the
    worst negative there, and `SIDELOBES` times `sidelobe` times the largest residual, or
    `BRIGHTEST` times that if it is less. They come in blocks of two by two at least, and are grown
    by five pixels.

    Parameters
    ----------
    residual : array, shape (n_y, n_x)
        In Jy/beam.
    valid : array of bool, shape (n_y, n_x)
        Where it is measured.
    mask : array of bool, shape (n_y, n_x)
        What is emission already.
    sidelobe : float
        The PSF's worst sidelobe.
    """
    off = residual[valid & ~mask]
    if off.size < MIN_PIXELS:
        return Emission(mask, math.inf, grew=False)
    level = max(
        SIGMAS * (noise(off) or 0.0),
        NEGATIVE * max(-float(off.min()), 0.0),
        min(SIDELOBES * sidelobe, BRIGHTEST) * float(np.abs(residual[valid]).max()),
    )
    found = ndimage.binary_opening((residual > level) & valid & ~mask, _BLOCK)
    if not found.any():
        return Emission(mask, level, grew=False)
    grown = ndimage.binary_dilation(found, iterations=_GROWN) & valid
    return Emission(mask | grown, level, grew=bool((grown & ~mask).any()))


def near_field(mask: Bools, valid: Bools, width_pixels: float) -> Bools:
    """Return the pixels about a mask, `NEAR` synthesized beams off it.

    Parameters
    ----------
    mask, valid : array of bool, shape (n_y, n_x)
        Emission, and where the image is measured.
    width_pixels : float
        The synthesized beam's major axis in pixels.
    """
    if not mask.any():
        return np.zeros_like(mask)
    away = ndimage.distance_transform_edt(~mask) / width_pixels
    return np.asarray((away > NEAR[0]) & (away < NEAR[1]) & valid)


def sources(image: Floats, mask: Bools) -> list[dict[str, float]]:
    """Return the peak of each island of a mask, the brightest first.

    Parameters
    ----------
    image : array, shape (n_y, n_x)
        The restored image, in Jy/beam.
    mask : array of bool, shape (n_y, n_x)
        Emission.

    Returns
    -------
    list of dict
        ``x``, ``y`` (pixels) and ``peak_jy_per_beam``, of `MOST_SOURCES` at most.
    """
    islands, number = ndimage.label(mask)
    places = ndimage.maximum_position(image, islands, range(1, number + 1)) if number else []
    found = [
        {"x": float(x), "y": float(y), "peak_jy_per_beam": float(image[y, x])} for y, x in places
    ]
    return sorted(found, key=lambda one: -one["peak_jy_per_beam"])[:MOST_SOURCES]
