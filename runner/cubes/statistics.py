"""Numbers of a plane."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from ..qa.metrics import robust_noise
from .convolve import Plane

SAMPLE: Final = 250_000
"""Pixels that the noise is measured on at most, evenly spread: it is then known to 0.2 %."""

COLUMNS: Final = (
    "channel", "frequency_hz", "velocity_km_s", "n_pixels", "min", "max", "mean", "rms", "sigma",
    "noise", "sum", "flux_jy", "max_x", "max_y",
)  # fmt: skip
"""Columns of the table of statistics."""


def noise(plane: Plane) -> float | None:
    """Measure the noise of a plane robustly (`casarun.qa.metrics.robust_noise`)."""
    every = max(1, math.ceil(math.sqrt(plane.size / SAMPLE)))
    return robust_noise(np.asarray(plane[::every, ::every], np.float64))


def of_plane(plane: Plane, beam_pixels: float | None) -> dict[str, Any]:
    """Return the numbers of a plane, as CASA's imstat defines them.

    Parameters
    ----------
    plane : array, shape (n_y, n_x)
        NaN where it is masked.
    beam_pixels : float or None
        The synthesized beam's area in pixels; None where the flux density cannot be told.

    Returns
    -------
    dict
        ``n_pixels``, ``min``, ``max``, ``mean``, ``rms``, ``sigma`` (about the mean, with n - 1),
        ``noise``, ``sum``, ``flux_jy``, ``max_x`` and ``max_y`` (pixels from 0); None for what a
        plane without valid pixels does not have.
    """
    valid = np.isfinite(plane)
    values = plane.ravel() if valid.all() else plane[valid]
    if not values.size:
        return {"n_pixels": 0} | dict.fromkeys(COLUMNS[4:])
    total = float(values.sum(dtype=np.float64))
    squares = float(np.einsum("i,i->", values, values, dtype=np.float64))
    number, mean = values.size, total / values.size
    variance = max(0.0, squares - number * mean**2) / (number - 1) if number > 1 else None
    y, x = np.unravel_index(int(np.nanargmax(plane)), plane.shape)
    return {
        "n_pixels": int(number),
        "min": float(values.min()),
        "max": float(values.max()),
        "mean": mean,
        "rms": math.sqrt(squares / number),
        "sigma": None if variance is None else math.sqrt(variance),
        "noise": noise(plane),
        "sum": total,
        "flux_jy": None if beam_pixels is None else total / beam_pixels,
        "max_x": int(x),
        "max_y": int(y),
    }
