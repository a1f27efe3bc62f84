"""What noise the visibilities of an image carry: their own scatter, their number, their weighting.

Reads UVW, flags and weights, and a sample of the visibilities for their noise.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .read import Layout, layout
from .solution_snr import noise_by_spw, selected_channels
from .tables import open_table

Floats = npt.NDArray[np.float64]

NOISE_SAMPLES: Final = 240_000
"""Visibilities of a window that its noise is measured on here: good to half a per cent."""
FLAG_SAMPLES: Final = 4_000_000
"""Flags in memory at a time."""
MOST_ROWS: Final = 2_000_000
"""Of a window with more, evenly spread chunks stand for all."""

_LIGHT_M_S: Final = 299792458.0


@dataclass(frozen=True)
class Part:
    """One spectral window of one MS, as far as it is imaged.

    Attributes
    ----------
    sigma_jy : float
        Noise of the real, as of the imaginary, part of a visibility.
    number : float
        Unflagged visibilities of the parallel hands.
    channels : int
        Channels that are selected.
    width_hz, integration_s : float
        Width of a channel and length of an integration.
    telescope : str
        Its name in the MS.
    hertz, n_rows : float, int
        Mean frequency; rows.
    u_lambda, v_lambda, weight : array, shape (rows,)
        At the mean frequency; the weight times the number of a row's visibilities.
    """

    sigma_jy: float
    number: float
    channels: int
    width_hz: float
    integration_s: float
    telescope: str
    hertz: float
    n_rows: int
    u_lambda: Floats
    v_lambda: Floats
    weight: Floats

    @property
    def information(self) -> float:
        """Sum of 1/sigma^2 over the visibilities, in 1/Jy^2."""
        return self.number / self.sigma_jy**2


def parts(vis: Sequence[str], spw: str, column: str) -> list[Part]:
    """Measure the windows that an image takes; those without enough data to tell are left out.

    Parameters
    ----------
    vis : sequence of str
        The MSs that are imaged together.
    spw : str
        CASA's selection; empty for all.
    column : str
        Column of visibilities.
    """
    found = []
    for one in vis:
        about, channels = layout(one), selected_channels(one, spw)
        noise = noise_by_spw(one, "", column, samples=NOISE_SAMPLES)  # neighbours are needed
        telescope = _telescope(one)
        with open_table(one) as main:
            for ddid, window in enumerate(about.spw_of):
                if noise.get(window) and window in channels:
                    part = _part(main, about, ddid, channels[window], noise[window], telescope)
                    found += [part] if part is not None else []
    return found


def _telescope(vis: str) -> str:
    with open_table(f"{vis}/OBSERVATION") as table:
        return str(table.getcell("TELESCOPE_NAME", 0)) if table.nrows() else ""


def _part(
    main: Any, about: Layout, ddid: int, channels: Any, sigma_jy: float, telescope: str
) -> Part | None:
    frequencies = about.frequencies_hz[about.spw_of[ddid]]
    part = main.query(f"DATA_DESC_ID=={ddid} AND ANTENNA1!=ANTENNA2")
    try:
        n_rows = int(part.nrows())
        if not n_rows:
            return None
        chunks = list(_chunks(part, about, ddid, channels))
        taken = sum(int(chunk[2].size) for chunk in chunks)
        uvw, weight, good = (
            np.concatenate([chunk[i] for chunk in chunks], axis=-1) for i in range(3)
        )
        exposure = _integration_s(part)
    finally:
        part.close()
    hertz = float(np.mean(frequencies[channels]))
    width = abs(float(frequencies[1] - frequencies[0])) if frequencies.size > 1 else 0.0
    return Part(
        sigma_jy, float(good.sum()) * n_rows / taken, len(channels), width, exposure, telescope,
        hertz, n_rows, uvw[0] * hertz / _LIGHT_M_S, uvw[1] * hertz / _LIGHT_M_S, weight * good,
    )  # fmt: skip


def _integration_s(part: Any) -> float:
    """Return the length of an integration.

    What ``importuvfits`` writes as EXPOSURE is one number for all; where the times step by more,
    as far as no gap makes them, the steps are right.
    """
    exposure = float(np.median(part.getcol("EXPOSURE", 0, 100_000)))
    steps = np.diff(np.unique(np.round(part.getcol("TIME", 0, 1_000_000), 2)))
    step = float(np.median(steps)) if steps.size else 0.0
    return step if exposure < step <= 4 * exposure else exposure


def _chunks(
    part: Any, about: Layout, ddid: int, channels: Any
) -> Iterator[tuple[Floats, Floats, Floats]]:
    """Yield UVW, weight and number of unflagged visibilities of rows."""
    n_rows = int(part.nrows())
    each = len(about.frequencies_hz[about.spw_of[ddid]]) * len(about.correlations_of[ddid])
    step = max(1, FLAG_SAMPLES // each)
    starts = np.arange(0, n_rows, step)
    most = max(1, MOST_ROWS // step)
    if len(starts) > most:
        starts = starts[np.linspace(0, len(starts) - 1, most).round().astype(int)]
    hands = np.asarray(about.parallel_hands(ddid)[:2])
    for start in starts.tolist():
        flag = part.getcol("FLAG", start, step) | part.getcol("FLAG_ROW", start, step)
        good = np.count_nonzero(~flag[np.ix_(hands, channels)], axis=(0, 1)).astype(float)
        weight = part.getcol("WEIGHT", start, step)[hands].mean(axis=0)
        yield part.getcol("UVW", start, step), weight, good


def weighting_factor(
    found: Sequence[Part], size: Sequence[int], cell_rad: float, weighting: str, robust: float
) -> float | None:
    """Return by how much the weighting raises the noise above that of natural weighting.

    Parameters
    ----------
    found : sequence of Part
        What is imaged.
    size : sequence of int
        Width and height of the image in pixels.
    cell_rad : float
        Its cell.
    weighting : str
        ``natural``, ``uniform`` or one of ``briggs``.
    robust : float
        For ``briggs``.

    Returns
    -------
    float or None
        At least 1; None for another weighting.

    Notes
    -----
    With natural weights W and imaging weights w the noise of the sum is sqrt(sum(w^2/W)) /
    sum(w) (Briggs 1995, section 3.2). A window's channels are taken at its mean frequency, where
    CASA's ``apparentsens`` grids each by itself.
    """
    if weighting == "natural":
        return 1.0
    if not weighting.startswith("briggs") and weighting != "uniform":
        return None
    u, v, natural = (
        np.concatenate([getattr(part, name) for part in found])
        for name in ("u_lambda", "v_lambda", "weight")
    )
    used = natural > 0
    u, v, natural = u[used], v[used], natural[used]
    if not natural.size:
        return None
    lower = v < 0
    u, v = np.where(lower, -u, u), np.where(lower, -v, v)
    x, y = (np.rint(axis * side * cell_rad) for axis, side in ((u, size[0]), (v, size[-1])))
    _, place = np.unique(x * 1e6 + y, return_inverse=True)
    density = np.bincount(place, weights=natural)
    if weighting == "uniform":
        weight = natural / density[place]
    else:
        scale = (5 * 10.0**-robust) ** 2 / (np.sum(density**2) / np.sum(natural))
        weight = natural / (1 + density[place] * scale)
    noise = math.sqrt(float(np.sum(weight**2 / natural))) / float(np.sum(weight))
    return max(1.0, noise * math.sqrt(float(np.sum(natural))))


def image_noise(found: Sequence[Part], factor: float, width_hz: float = 0.0) -> float | None:
    """Return the thermal noise of an image in Jy/beam.

    Parameters
    ----------
    found : sequence of Part
        What is imaged.
    factor : float
        Of `weighting_factor`.
    width_hz : float
        Width of a cube's channel; 0 for all that is selected together.
    """
    information = 0.0
    for part in found:
        share = 1.0
        if width_hz and part.width_hz:
            share = min(1.0, width_hz / (part.width_hz * part.channels))
        information += share * part.information
    return factor / math.sqrt(information) if information > 0 else None


def settings(tclean: Mapping[str, Any]) -> tuple[list[int], str, float]:
    """Return image size, weighting and robust of tclean's parameters."""
    size = [int(side) for side in np.ravel(tclean["imsize"])]
    return size, str(tclean.get("weighting", "natural")), float(tclean.get("robust", 0.5))
