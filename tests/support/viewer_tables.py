"""A calibration table without CASA."""

from __future__ import annotations

import numpy as np
from casarun.casa.read import CalTable

EPOCH_S = 40587 * 86400.0
"""The beginning of Unix time, as CASA counts seconds (MJD)."""


def caltable(name: str = "ea01", field: str = "cal") -> CalTable:
    """Return a bandpass of three antennas, two feeds, four channels and four times."""
    random = np.random.default_rng(1)
    shape = (2, 4, 12)
    # Those of one antenna, feed and channel are far enough apart to be pointed at.
    drift = np.repeat(np.arange(4), 3) - 1.5
    amplitude = 1 + 0.1 * drift + 0.01 * random.normal(size=shape)
    values = amplitude * np.exp(1j * (drift + 0.1 * random.normal(size=shape)))
    return CalTable(
        path="b", type="B Jones", values=values, flag=random.random(shape) < 0.1,
        snr=100 * random.random(shape),
        time_s=EPOCH_S + 797_764_500.0 + 60.0 * np.repeat(np.arange(4), 3),
        antenna=np.tile(np.arange(3), 4), field=np.zeros(12, int), spw=np.zeros(12, int),
        scan=np.repeat(np.arange(1, 5), 3), antennas=(name, "ea02", "ea03"), fields=(field,),
        frequencies_hz=(1.4e9 + 1e6 * np.arange(4),),
    )  # fmt: skip
