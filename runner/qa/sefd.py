"""System equivalent flux densities of arrays, band by band, with where they come from.

They are typical values at high elevation and in good weather: what an array should come to, to
within some ten per cent, and at the edges of bands less well. Arrays whose noise depends on the
weather as ALMA's are left out; there the visibilities' own noise is the better measure. Each
`Array.source` says where its values are from, and which of them could be held against nothing:
they serve for a warning with a wide limit and no more.
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
            Band("K", 18e9, 26.5e9, 500), Band("Ka", 26.5e9, 40e9, 600),
            Band("Q", 40e9, 50e9, 1300),
        ),
        "VLA Observational Status Summary, SEFDs by band as observers quote them; 8-bit samplers, "
        "0.93; R. Perley's tests of 2008 had 310 Jy at C and 320 Jy at X band",
    ),
    Array(
        ("MeerKAT",), 0.96,
        (
            Band("UHF", 0.544e9, 0.856e9, 550), Band("L", 0.856e9, 1.75e9, 420),
            Band("S", 1.75e9, 3.5e9, 450),
        ),
        "L band: the average of SARAO's continuum sensitivity calculator (MeerKAT Cookbook); "
        "CARACal weights by 405 to 580 Jy, most below 1 GHz; UHF and S band as commonly quoted: "
        "their ratio of 1.22 is that of SARAO's table of expected noise (11.9 uJy for UHF, 6.9 "
        "and 7.1 uJy for S1 and S4 in an hour), whose absolute values depend on its weighting",
    ),
    Array(
        ("GMRT", "UGMRT"), 1.0,
        (
            Band("150 MHz", 0.12e9, 0.18e9, 1400), Band("235 MHz", 0.18e9, 0.25e9, 870),
            Band("3", 0.25e9, 0.5e9, 300), Band("4", 0.55e9, 0.85e9, 270),
            Band("5", 0.98e9, 1.5e9, 330),
        ),
        "GMRT's exposure time calculator: gain over system temperature, off the Galactic plane, in "
        "the middle of each band (half as much again and more at its edges); before the "
        "upgrade a fifth more at 610 MHz and a third more at 150 MHz, by the manual of 2013",
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
