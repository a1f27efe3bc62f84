"""Small pictures of images, read from their FITS files without CASA."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from astropy.io import fits
from matplotlib import colormaps
from PIL import Image

from ..qa.metrics import robust_noise
from ..qa.sky import extent
from ..qa.style import INTENSITY

Floats = npt.NDArray[np.float64]

SIDE: Final = 160
"""Pixels of a thumbnail's longer side, at most."""

_LARGEST_PIXELS: Final = 64_000_000
"""Of a larger plane only every n-th row and column is read."""

_BLANK: Final = 255
"""Index of the palette that is transparent: where there is no sky."""

_LOW_SIGMA, _HIGH_SIGMA = 2.0, 25.0
"""The scale goes from minus the one to the peak, and to the other at most."""


def make(image: Path, channel: int | None, target: Path) -> bool:
    """Write the thumbnail of an image, unless a newer one is there.

    Parameters
    ----------
    image : Path
        A FITS file whose first axes are those of the sky.
    channel : int or None
        The plane of a cube to show; the first by default.
    target : Path
        The PNG.

    Returns
    -------
    bool
        Whether there is one now; not of a file that cannot be read.
    """
    try:
        if target.is_file() and target.stat().st_mtime > image.stat().st_mtime:
            return True
        pixels = _shrunk(_plane(image, channel))
    except (OSError, ValueError, TypeError, IndexError, KeyError):
        return False  # someone else's file: a thumbnail is not worth an error
    if pixels is None:
        return False
    finite = pixels[np.isfinite(pixels)]
    low, high = _limits(finite)
    target.parent.mkdir(parents=True, exist_ok=True)
    _picture(pixels, low, high).save(target, transparency=_BLANK)
    return True


def _limits(finite: Floats) -> tuple[float, float]:
    """Return the brightness at the ends of the scale: what is faint shows beside what is not."""
    low, high = float(finite.min()), float(finite.max())
    noise = robust_noise(finite)
    if noise is None:
        return low, high
    middle = float(np.median(finite))
    return middle - _LOW_SIGMA * noise, middle + min(high - middle, _HIGH_SIGMA * noise)


def _plane(image: Path, channel: int | None) -> Floats:
    """Read one plane of the first Stokes parameter, shape (n_y, n_x).

    Raises
    ------
    ValueError
        If the file has no image.
    """
    with warnings.catch_warnings(), fits.open(image, memmap=True) as units:
        warnings.simplefilter("ignore")  # of a truncated file, whose reading fails
        unit: Any = units[0]
        shape = unit.shape
        if len(shape) < 2 or 0 in shape:
            raise ValueError("no image")
        leading = [0] * (len(shape) - 2)
        spectral = _spectral_axis(unit.header, len(shape))
        if channel is not None and spectral is not None and channel < shape[spectral]:
            leading[spectral] = max(0, channel)
        step = max(1, math.ceil(math.sqrt(shape[-1] * shape[-2] / _LARGEST_PIXELS)))
        return np.array(unit.data[(*leading, slice(None, None, step), slice(None, None, step))],
                        np.float64)  # fmt: skip


def _spectral_axis(header: Any, n_axes: int) -> int | None:
    """Return the index, in NumPy's order, of the axis of frequency or velocity."""
    for axis in range(3, n_axes + 1):
        if str(header.get(f"CTYPE{axis}", ""))[:4] in ("FREQ", "VRAD", "VOPT", "VELO", "WAVE"):
            return n_axes - axis
    return None


def _shrunk(pixels: Floats) -> Floats | None:
    """Return the brightest pixel of each block, north up; None where nothing is valid.

    The mean of a block would hide point sources.
    """
    if not np.isfinite(pixels).any():
        return None
    left, bottom, right, top = extent([pixels])
    pixels = pixels[bottom:top, left:right]
    finite = np.isfinite(pixels)
    block = max(1, math.ceil(max(pixels.shape) / SIDE))
    n_y, n_x = (math.ceil(side / block) for side in pixels.shape)
    padded = np.full((n_y * block, n_x * block), -np.inf)
    padded[: pixels.shape[0], : pixels.shape[1]] = np.where(finite, pixels, -np.inf)
    brightest = padded.reshape(n_y, block, n_x, block).max(axis=(1, 3))
    return np.where(np.isfinite(brightest), brightest, np.nan)[::-1]


def _picture(pixels: Floats, low: float, high: float) -> Image.Image:
    """Return pixels as a picture with a palette, which takes a third of the bytes of colours."""
    span = (high - low) or 1.0
    level = np.clip((pixels - low) / span, 0, 1) * (_BLANK - 1)
    index = np.where(np.isfinite(level), level, _BLANK).astype(np.uint8)
    colours = colormaps[INTENSITY](np.linspace(0, 1, _BLANK))[:, :3]
    palette = np.vstack([np.rint(255 * colours), [[0, 0, 0]]]).astype(np.uint8)
    made = Image.frombytes("P", (pixels.shape[1], pixels.shape[0]), index.tobytes())
    made.putpalette(palette.tobytes())
    return made
