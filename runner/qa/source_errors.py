"""Errors and true sizes of fitted Gaussians.

The noise of an image is correlated as far as its synthesized beam reaches (in a naturally weighted
one its autocorrelation is the dirty beam), and least squares know nothing of it. What that makes of
each parameter is computed here. The formulas of Condon 1997 (PASP 109, 166) come near: within 25 %
for a source twice as wide as a round beam; for point sources their positions are 1.3 times too
good for such a fit, and more along an elongated beam's minor axis (tests/test_sources.py).

Widths are full widths at half maximum. `beam` is (bmaj, bmin, bpa); position angles go from north
through east.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ellipse = tuple[float, float, float]
"""Major axis, minor axis (both in the same unit), position angle in degrees."""

FWHM: Final = math.sqrt(8 * math.log(2))
"""Full width at half maximum of a Gaussian over its standard deviation."""

CONFIDENCE: Final = 2.33
"""Sigmas by which a source must be wider than the beam to count as resolved: 98 % confidence, as
in Condon et al. 1998, AJ 115, 1693, section 5."""


@dataclass(frozen=True)
class Errors:
    """One standard deviation of each parameter; `east`, `north`, `major`, `minor` like widths."""

    peak: float
    flux: float
    east: float
    north: float
    major: float
    minor: float
    pa_deg: float


def covariance(
    slopes: Floats, fitted: Bools, noise: float, cells: tuple[float, float], beam: Ellipse
) -> Floats:
    """Return the covariance of parameters of an unweighted least-squares fit.

    With the derivatives J and the noise's covariance C it is (J'J)^-1 J'CJ (J'J)^-1, the error
    that noise makes of a linear estimator.

    Parameters
    ----------
    slopes : array, shape (pixels, parameters)
        J, for the pixels of `fitted`.
    fitted : array of bool, shape (n_y, n_x)
        The pixels that were fitted.
    noise : float
        Its standard deviation, in the unit of the pixels.
    cells : (float, float)
        Increments in x and y.
    beam : Ellipse
        Whose Gaussian is the noise's autocorrelation.

    Raises
    ------
    numpy.linalg.LinAlgError
        If parameters cannot be told apart.
    """
    n_y, n_x = fitted.shape
    lags = [np.fft.fftfreq(2 * length, 1 / (2 * length)) for length in (n_y, n_x)]
    east, north = np.meshgrid(lags[1] * cells[0], lags[0] * cells[1])
    p = precision(beam)
    known = np.exp(-0.5 * (p[0] * east**2 + 2 * p[1] * east * north + p[2] * north**2))
    planes = np.zeros((slopes.shape[1], 2 * n_y, 2 * n_x))
    planes[:, :n_y, :n_x][:, fitted] = slopes.T
    mixed = np.fft.irfft2(np.fft.rfft2(planes) * np.fft.rfft2(known), s=planes.shape[1:])
    inverse = np.linalg.inv(slopes.T @ slopes)
    middle = slopes.T @ mixed[:, :n_y, :n_x][:, fitted].T
    return np.asarray(noise**2 * inverse @ middle @ inverse)


def propagated(derive: Callable[[Floats], Floats], at: Floats, covariance: Floats) -> Floats:
    """Return the standard deviations of what is derived from parameters, to first order."""
    steps = 1e-4 * np.sqrt(np.diag(covariance))
    rows = [
        (derive(at + step * unit) - derive(at - step * unit)) / (2 * step)
        for step, unit in zip(steps, np.eye(len(at)), strict=True)
    ]
    slopes = np.array(rows).T
    return np.asarray(np.sqrt(np.einsum("ij,jk,ik->i", slopes, covariance, slopes)))


def precision(shape: Ellipse) -> tuple[float, float, float]:
    """Return the inverse second moments (east-east, east-north, north-north) of an ellipse."""
    major, minor = (FWHM / width for width in shape[:2])
    sine, cosine = math.sin(math.radians(shape[2])), math.cos(math.radians(shape[2]))
    return (
        (major * sine) ** 2 + (minor * cosine) ** 2,
        (major**2 - minor**2) * sine * cosine,
        (major * cosine) ** 2 + (minor * sine) ** 2,
    )


def widths(east: float, both: float, north: float) -> Ellipse:
    """Return widths at half maximum and position angle of second moments."""
    reach = math.hypot(0.5 * (east - north), both)
    middle = 0.5 * (east + north)
    pa_deg = 0.5 * math.degrees(math.atan2(2 * both, north - east)) % 180
    return FWHM * math.sqrt(middle + reach), FWHM * math.sqrt(max(0.0, middle - reach)), pa_deg


def deconvolved(shape: Ellipse, beam: Ellipse) -> Ellipse | None:
    """Return the Gaussian whose convolution with the beam gives a fitted one (Wild 1970).

    Returns
    -------
    Ellipse or None
        With a minor axis of 0 where it is narrower than the beam; None where both are.
    """
    a = b = c = 0.0
    for sign, (major, minor, pa_deg) in ((1, shape), (-1, beam)):
        sine, cosine = math.sin(math.radians(pa_deg)), math.cos(math.radians(pa_deg))
        a += sign * ((major * cosine) ** 2 + (minor * sine) ** 2)
        b += sign * ((major * sine) ** 2 + (minor * cosine) ** 2)
        c += sign * 2 * (major**2 - minor**2) * sine * cosine
    reach = math.hypot(a - b, c)
    if a + b + reach <= 0:
        return None
    pa_deg = 0.5 * math.degrees(math.atan2(c, a - b)) % 180
    return math.sqrt(0.5 * (a + b + reach)), math.sqrt(max(0.0, 0.5 * (a + b - reach))), pa_deg


@dataclass(frozen=True)
class TrueSize:
    """What is known of a source's own size.

    Attributes
    ----------
    size, errors : Ellipse or None
        The deconvolved Gaussian and its errors, NaN for a minor axis narrower than the beam; None
        where the source is not resolved.
    limit : float or None
        Its major axis at most, at 98 % confidence, where it is not resolved.
    """

    size: Ellipse | None
    errors: Ellipse | None
    limit: float | None


def true_size(shape: Ellipse, errors: Errors, beam: Ellipse) -> TrueSize:
    """Say whether a source is resolved, and how large it is or can be."""
    found = deconvolved(shape, beam)
    if found is not None and found[0] ** 2 > CONFIDENCE * 2 * shape[0] * errors.major:
        of_minor = shape[1] * errors.minor / found[1] if found[1] > 0 else math.nan
        return TrueSize(found, (shape[0] * errors.major / found[0], of_minor, errors.pa_deg), None)
    wider = deconvolved((shape[0] + CONFIDENCE * errors.major, shape[1], shape[2]), beam)
    return TrueSize(None, None, beam[0] if wider is None else wider[0])
