"""What corrected visibilities of a calibrator say of the calibration: flux, position, phases.

A calibrator is a point as a rule, so its visibilities tell what an image would: a flux density, a
position as the slope of the phase over the uv plane, and how much the phases scatter. Arrays in,
numbers out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .metrics import MAD_TO_SIGMA, put

Floats = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex128]

MIN_ROWS: Final = 20
MOST_ROWS: Final = 100_000
"""Of more, evenly spread ones are taken."""
MIN_SNR: Final = 2.0
"""In one integration of one baseline; below it the phases show noise more than anything else."""
RESOLVED_SIGMA: Final = 5.0
METHOD: Final = (
    "a point fitted to the corrected visibilities, averaged over channels: flux density from their "
    "mean, extrapolated to zero spacing where they fall with uv distance by more than 5 sigma; "
    "position from the slope of the phase over the uv plane"
)

_RAD_TO_ARCSEC: Final = 180 / math.pi * 3600


@dataclass(frozen=True)
class Point:
    """A point fitted to visibilities; offsets are from the phase centre, errors one sigma."""

    flux_jy: float
    flux_error_jy: float
    east_arcsec: float
    north_arcsec: float
    position_error_arcsec: float
    phase_rms_deg: float
    phase_excess_deg: float | None
    resolved: bool
    resolution_arcsec: float


def point(u_lambda: Floats, v_lambda: Floats, visibility: Complexes) -> Point | None:
    """Fit a point source to visibilities.

    Parameters
    ----------
    u_lambda, v_lambda : array, shape (rows,)
        In wavelengths.
    visibility : array of complex, shape (rows,)
        In Jy; NaN where there is none.

    Returns
    -------
    Point or None
        None for fewer than `MIN_ROWS` visibilities, or where they hold no signal.

    Notes
    -----
    A point of flux density S at (l, m) has V = S exp(2 pi i (u l + v m)), with the sign that UVW
    of a MeasurementSet has as CASA images it (Thompson, Moran & Swenson 2017, section 3.1, have
    the other one). Phases are fitted linearly about the position of the turn before, four times,
    without what is further than 5 sigma off. The error is that of the linear fit.
    """
    good = np.isfinite(visibility)
    u, v, vis = u_lambda[good], v_lambda[good], visibility[good]
    if vis.size < MIN_ROWS:
        return None
    every = math.ceil(vis.size / MOST_ROWS)
    u, v, vis = u[::every], v[::every], vis[::every]
    plane = 2 * np.pi * np.stack([u, v], axis=1)
    found = _position(plane, vis)
    if found is None:
        return None
    place, error = found
    turned = vis * np.exp(-1j * (plane @ place))
    flux, flux_error, resolved = _flux(np.real(turned), np.hypot(u, v))
    if flux <= 0:
        return None
    return Point(
        flux, flux_error, float(place[0]) * _RAD_TO_ARCSEC, float(place[1]) * _RAD_TO_ARCSEC,
        error * _RAD_TO_ARCSEC, math.degrees(_scatter(np.angle(turned))),
        _excess(turned, flux, resolved), resolved,
        _RAD_TO_ARCSEC / float(np.hypot(u, v).max()),
    )  # fmt: skip


def _position(plane: Floats, vis: Complexes) -> tuple[Floats, float] | None:
    """Return the place (rad) whose phases fit best, and its error; None where nothing can tell."""
    place, error = np.zeros(2), 0.0
    for _ in range(4):
        phase = np.angle(vis * np.exp(-1j * (plane @ place)))
        kept = np.abs(phase) <= 5 * max(_scatter(phase), 1e-6)
        if np.count_nonzero(kept) < MIN_ROWS:
            return None
        chosen = plane[kept]
        try:
            inverse = np.linalg.inv(chosen.T @ chosen)
        except np.linalg.LinAlgError:
            return None
        place = place + inverse @ (chosen.T @ phase[kept])
        rms = float(np.sqrt(np.mean(phase[kept] ** 2)))
        error = rms * math.sqrt(float(np.trace(inverse)) / 2)
    return place, error


def _scatter(values: Floats) -> float:
    """Return the robust scatter of values about 0."""
    return MAD_TO_SIGMA * float(np.median(np.abs(values)))


def _flux(real: Floats, distance: Floats) -> tuple[float, float, bool]:
    """Return flux density and error, and whether the source is resolved.

    The real part falls with the square of the uv distance where a source is little resolved.
    """
    middle = float(np.median(real))
    kept = np.abs(real - middle) <= 5 * max(_scatter(real - middle), 1e-12)
    y, x = real[kept], (distance[kept] / distance.max()) ** 2
    spread = float(np.std(y))
    slope, at_zero = np.polyfit(x, y, 1)
    width = float(np.std(x))
    slope_error = spread / (width * math.sqrt(y.size)) if width else math.inf
    if slope < -RESOLVED_SIGMA * slope_error and slope < -0.02 * at_zero:
        error = spread / math.sqrt(y.size) * math.sqrt(1 + (float(np.mean(x)) / width) ** 2)
        return float(at_zero), error, True
    return float(np.mean(y)), spread / math.sqrt(y.size), False


def _excess(turned: Complexes, flux: float, resolved: bool) -> float | None:
    """Return by how much the phases scatter more than noise does, in degrees.

    Noise scatters the component along the source as much as that across it, so the scatter of
    the amplitudes is taken off in quadrature. None where the noise hides the phases.
    """
    amplitude = np.abs(turned)
    middle = float(np.median(amplitude))
    noise = _scatter(amplitude - middle) / max(middle, 1e-30)
    if flux <= 0 or noise > 1 / MIN_SNR:
        return None
    phase = _scatter(np.angle(turned))
    share = 0.0 if resolved else noise
    return math.degrees(math.sqrt(max(0.0, phase**2 - share**2)))


def numbers(
    by_spw: Mapping[str, tuple[Floats, Floats, Complexes]],
) -> dict[str, Any]:
    """Return the numbers of one calibrator.

    Parameters
    ----------
    by_spw : mapping
        By spectral window id u, v (wavelengths, shape (rows,)) and visibilities (Jy, shape
        (rows,)).

    Returns
    -------
    dict
        ``flux_jy``, ``flux_error_jy`` and ``resolved`` by window; offsets, ``phase_rms_deg`` and
        ``phase_excess_deg`` over all windows; null with a reason where there is none.
    """
    points = {spw: point(*arrays) for spw, arrays in by_spw.items()}
    found: dict[str, Any] = {
        "method": METHOD,
        "flux_jy": {spw: one.flux_jy if one else None for spw, one in points.items()},
        "flux_error_jy": {spw: one.flux_error_jy if one else None for spw, one in points.items()},
        "resolved": {spw: one.resolved if one else None for spw, one in points.items()},
    }
    whole = None
    if by_spw:
        u, v, vis = (np.concatenate([one[i] for one in by_spw.values()]) for i in range(3))
        whole = point(u, v, vis)
    none = "too few visibilities, or no signal in them"
    for key in ("east_arcsec", "north_arcsec", "position_error_arcsec", "resolution_arcsec",
                "phase_rms_deg"):  # fmt: skip
        put(found, key, getattr(whole, key) if whole else None, none)
    weak = "too weak in one integration of one baseline: its phases show noise" if whole else none
    put(found, "phase_excess_deg", whole.phase_excess_deg if whole else None, weak)
    return found
