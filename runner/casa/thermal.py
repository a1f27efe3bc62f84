"""What noise the visibilities of an image carry: their own scatter, and their number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from .read import Layout, layout
from .solution_snr import noise_by_spw, selected_channels
from .tables import open_table

NOISE_SAMPLES: Final = 80_000
"""Visibilities of a window that its noise is measured on here: good to a per cent."""
FLAG_SAMPLES: Final = 4_000_000
"""Flags in memory at a time."""
MOST_ROWS: Final = 2_000_000
"""Of a window with more, evenly spread chunks stand for all."""


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
    hertz : float
        Mean frequency.
    middle : str
        The middle one of the channels, as CASA selects it.
    """

    sigma_jy: float
    number: float
    channels: int
    width_hz: float
    integration_s: float
    telescope: str
    hertz: float
    middle: str = ""

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
        good, taken = _counted(part, about, ddid, channels)
        exposure = _integration_s(part)
    finally:
        part.close()
    hertz = float(np.mean(frequencies[channels]))
    width = abs(float(frequencies[1] - frequencies[0])) if frequencies.size > 1 else 0.0
    return Part(sigma_jy, good * n_rows / taken, len(channels), width, exposure, telescope, hertz)


def _integration_s(part: Any) -> float:
    """Return the length of an integration.

    What ``importuvfits`` writes as EXPOSURE is one number for all; where the times step by more,
    as far as no gap makes them, the steps are right.
    """
    exposure = float(np.median(part.getcol("EXPOSURE", 0, 100_000)))
    steps = np.diff(np.unique(np.round(part.getcol("TIME", 0, 1_000_000), 2)))
    step = float(np.median(steps)) if steps.size else 0.0
    return step if exposure < step <= 4 * exposure else exposure


def _counted(part: Any, about: Layout, ddid: int, channels: Any) -> tuple[float, int]:
    """Count the unflagged visibilities of the parallel hands, and the rows that were looked at."""
    n_rows = int(part.nrows())
    each = len(about.frequencies_hz[about.spw_of[ddid]]) * len(about.correlations_of[ddid])
    step = max(1, FLAG_SAMPLES // each)
    starts = np.arange(0, n_rows, step)
    most = max(1, MOST_ROWS // step)
    if len(starts) > most:
        starts = starts[np.linspace(0, len(starts) - 1, most).round().astype(int)]
    chosen = np.ix_(np.asarray(about.parallel_hands(ddid)[:2]), channels)
    good, taken = 0, 0
    for start in starts.tolist():
        flag = part.getcol("FLAG", start, step) | part.getcol("FLAG_ROW", start, step)
        good += int(np.count_nonzero(~flag[chosen]))
        taken += flag.shape[2]
    return float(good), taken


def image_noise(found: Sequence[Part], factor: float, width_hz: float = 0.0) -> float | None:
    """Return the thermal noise of an image in Jy/beam.

    Parameters
    ----------
    found : sequence of Part
        What is imaged.
    factor : float
        By how much the weighting raises the noise (`selfcal_image.noise_factor`).
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
