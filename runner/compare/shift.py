"""By how much one image of sources is shifted against another, and how much brighter it is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

SOURCE_SIGMA: Final = 5.0
"""Above so many sigma, in either image, a pixel counts as source."""

FIT_PIXELS: Final = 2048
"""Side of the part of a large image in which the shift is looked for, around the peak."""


@dataclass(frozen=True)
class Shift:
    """Where the sources of a second image are, and how bright, against a first one.

    Attributes
    ----------
    pixels : tuple of float
        By how many pixels they stand further along x and y.
    error_pixels : tuple of float
        One sigma of these.
    ratio, ratio_error : float
        Of their brightness.
    """

    pixels: tuple[float, float]
    error_pixels: tuple[float, float]
    ratio: float
    ratio_error: float


def measure(a: Floats, b: Floats, noise: float, beam_pixels: float | None) -> Shift | None:
    """Measure shift and brightness ratio.

    First by whole pixels, where the sources of both fit best; then by least squares of
    B - A = s M - d . grad M, where M is the mean of both: second orders in s and d cancel.

    Parameters
    ----------
    a, b : array, shape (n_y, n_x)
        The images, on one grid; NaN where there is no sky.
    noise : float
        Sigma of their noise, in their unit.
    beam_pixels : float or None
        Solid angle of the synthesized beam in pixels.

    Returns
    -------
    Shift or None
        None where there is no source to measure it by.
    """
    first, second = (_around_peak(plane, a) for plane in (a, b))
    bright = [np.where(np.nan_to_num(p) > SOURCE_SIGMA * noise, p, 0.0) for p in (first, second)]
    if not all(plane.any() for plane in bright):
        return None
    whole = _whole_shift(*bright)
    moved: Floats = np.roll(second, (-whole[0], -whole[1]), axis=(0, 1))
    mean = 0.5 * (first + moved)
    design = np.stack([-_slope(mean, 1), -_slope(mean, 0), mean])
    usable = (np.nan_to_num(mean) > SOURCE_SIGMA * noise) & np.isfinite(design).all(axis=0)
    solved = _least_squares(design, moved - first, usable, beam_pixels)
    if solved is None:
        return None
    (dx, dy, gain), error = solved
    return Shift(
        (dx + whole[1], dy + whole[0]),
        (float(error[0]), float(error[1])),
        (1 + 0.5 * gain) / (1 - 0.5 * gain),
        float(error[2]),
    )


def _around_peak(plane: Floats, brightest: Floats) -> Floats:
    """Return the part of a large plane around the brightest pixel of another."""
    y, x = np.unravel_index(int(np.nanargmax(brightest)), brightest.shape)
    half = FIT_PIXELS // 2
    return plane[max(0, y - half) : y + half, max(0, x - half) : x + half]


def _slope(plane: Floats, axis: int) -> Floats:
    """Return the derivative along an axis per pixel, exact to fourth order; NaN at the edges."""
    near = np.roll(plane, -1, axis) - np.roll(plane, 1, axis)
    far = np.roll(plane, -2, axis) - np.roll(plane, 2, axis)
    slope = np.moveaxis((8 * near - far) / 12, axis, 0)
    slope[:2] = slope[-2:] = np.nan
    return np.moveaxis(slope, 0, axis)


def _least_squares(
    design: Floats, wanted: Floats, usable: Bools, beam_pixels: float | None
) -> tuple[tuple[float, float, float], Floats] | None:
    """Solve for three unknowns; return them and their errors, or None where that cannot be.

    The noise of neighbouring pixels is correlated as a Gaussian of twice the synthesized beam's
    area; with C for that, the errors are those of (J'J)^-1 J'CJ (J'J)^-1.
    """
    from scipy.ndimage import gaussian_filter

    used = design[:, usable].T
    if len(used) < 2 * len(design):
        return None
    solved, _, rank, _ = np.linalg.lstsq(used, wanted[usable], rcond=None)
    if rank < len(design):
        return None
    area = max(1.0, beam_pixels or 1.0)
    left = wanted[usable] - used @ solved
    variance = float(left @ left) / max(1.0, len(used) - len(design) * area)
    width = math.sqrt(area / math.pi)  # sigma: a beam of this area, and half its width more
    planes = np.where(usable, design, 0.0)
    seen = [2 * area * gaussian_filter(plane, width, mode="constant") for plane in planes]
    inverse = np.linalg.inv(used.T @ used)
    correlated = used.T @ np.stack([plane[usable] for plane in seen], axis=1)
    error = np.sqrt(variance * np.diag(inverse @ correlated @ inverse))
    return (float(solved[0]), float(solved[1]), float(solved[2])), error


def _whole_shift(a: Floats, b: Floats) -> tuple[int, int]:
    """Return by how many pixels (y, x) B's sources stand from A's: where both fit best."""
    product = np.fft.irfft2(np.fft.rfft2(b) * np.conj(np.fft.rfft2(a)), s=a.shape)
    y, x = np.unravel_index(int(product.argmax()), product.shape)
    n_y, n_x = a.shape
    return int(y - n_y if y > n_y // 2 else y), int(x - n_x if x > n_x // 2 else x)
