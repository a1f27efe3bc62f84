"""System equivalent flux densities of arrays, band by band, with where they come from.

They are typical values at high elevation and in good weather: what an array should come to, to
within some ten per cent. Arrays whose noise depends on the weather as ALMA's are left out; there
the visibilities' own noise is the better measure. Those of the VLA before the EVLA were held
against the document that is named; the others are as commonly quoted from theirs, which could not
be had when this was written, so they serve for a warning with a wide limit and no more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Band:
    """A band of an array: frequency range (Hz), SEFD of one antenna and hand (Jy), source."""

    name: str
    low_hz: float
    high_hz: float
    sefd_jy: float


@dataclass(frozen=True)
class Array:
    """An array: telescope names as MSs have them, correlator's efficiency, bands, source."""

    names: tuple[str, ...]
    efficiency: float
    bands: tuple[Band, ...]
    source: str


def _vla(name: str, low_ghz: float, high_ghz: float, tsys_k: float, percent: float) -> Band:
    """Return a band of 25 m dishes: SEFD = 5.62 Tsys / efficiency (VLA OSS, section 3.2)."""
    return Band(name, low_ghz * 1e9, high_ghz * 1e9, 5.62 * tsys_k / (percent / 100))


ARRAYS: Final = (
    Array(
        ("VLA",), 0.79,
        (
            _vla("P", 0.29, 0.35, 165, 40), _vla("L", 1.2, 1.75, 35, 55),
            _vla("C", 4.2, 5.1, 45, 69), _vla("X", 7.9, 8.9, 35, 63),
            _vla("U", 14.0, 15.7, 120, 58), _vla("K", 21.0, 25.0, 65, 40),
            _vla("Q", 39.0, 51.0, 80, 35),
        ),
        "VLA Observational Status Summary 2009, table 5 (system temperatures and efficiencies "
        "before the EVLA); three-level correlator, 0.79",
    ),
    Array(
        ("EVLA", "JVLA"), 0.93,
        (
            Band("P", 0.2e9, 0.5e9, 2790), Band("L", 1e9, 2e9, 420), Band("S", 2e9, 4e9, 370),
            Band("C", 4e9, 8e9, 310), Band("X", 8e9, 12e9, 250), Band("Ku", 12e9, 18e9, 320),
            Band("K", 18e9, 26.5e9, 515), Band("Ka", 26.5e9, 40e9, 710),
            Band("Q", 40e9, 50e9, 1260),
        ),
        "VLA Observational Status Summary, section on sensitivity: fiducial SEFDs; 8-bit "
        "samplers, 0.93",
    ),
    Array(
        ("MeerKAT",), 0.96,
        (
            Band("UHF", 0.544e9, 0.856e9, 550), Band("L", 0.856e9, 1.75e9, 425),
            Band("S", 1.75e9, 3.5e9, 450),
        ),
        "MeerKAT's Tsys over efficiency of some 28, 22 and 23 K (SARAO's MeerKAT specifications; "
        "Jonas et al. 2016, PoS(MeerKAT2016)001) on 13.5 m dishes",
    ),
    Array(
        ("GMRT",), 0.9,
        (
            Band("150", 0.12e9, 0.18e9, 615 / 0.33), Band("235", 0.2e9, 0.26e9, 237 / 0.33),
            Band("325", 0.28e9, 0.4e9, 106 / 0.32), Band("610", 0.5e9, 0.8e9, 102 / 0.32),
            Band("L", 1.0e9, 1.5e9, 73 / 0.22),
        ),
        "GMRT Observer's Manual 2013, section 2.2: system temperature over gain, off the "
        "Galactic plane",
    ),
)  # fmt: skip


def find(telescope: str, hertz: float) -> tuple[Array, Band] | None:
    """Return the array and band of a telescope at a frequency, or None where none is known."""
    for array in ARRAYS:
        if telescope.strip().upper() in {name.upper() for name in array.names}:
            for band in array.bands:
                if band.low_hz <= hertz <= band.high_hz:
                    return array, band
    return None


def visibility_noise_jy(
    sefd_jy: float, efficiency: float, width_hz: float, integration_s: float
) -> float:
    """Return the noise of the real, as of the imaginary, part of a visibility of one hand.

    SEFD / (efficiency sqrt(2 width time)) (Thompson, Moran & Swenson 2017, section 6.2).
    """
    return sefd_jy / (efficiency * math.sqrt(2 * width_hz * integration_s))
