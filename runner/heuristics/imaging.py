"""The ``auto`` values of the imaging.

Pure: metadata in, choice out. Formulae carry their source.
"""

from __future__ import annotations

import math

from ..observation import Observation
from ..quantities import arcsec, human_frequency
from .choice import SPEED_OF_LIGHT, Choice

_NICE = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)


def resolution_arcsec(longest_baseline_m: float, highest_hz: float) -> float:
    """Return lambda/B in arcsec: the width of the synthesized beam to within some 20 %.

    Source: Thompson, Moran & Swenson, Interferometry and Synthesis in Radio Astronomy, 3rd
    ed., section 5.
    """
    return arcsec(SPEED_OF_LIGHT / highest_hz / longest_baseline_m)


def cell(longest_baseline_m: float, highest_hz: float) -> Choice:
    """Choose the pixel: a quarter of lambda/B at the highest frequency, rounded down.

    Four pixels across lambda/B leave 4 to 6 across the synthesized beam whatever the
    weighting; two would be the sampling theorem's limit.
    """
    resolution = resolution_arcsec(longest_baseline_m, highest_hz)
    value = _round_down(resolution / 4)
    reason = (
        f"a quarter of lambda/B = {resolution:.3g} arcsec "
        f"(longest baseline {longest_baseline_m:.0f} m, {human_frequency(highest_hz)})"
    )
    return Choice(f"{value:g}arcsec", reason)


def primary_beam_arcsec(diameter_m: float, hertz: float) -> float:
    """Return the primary beam's full width at half maximum in arcsec, 1.13 lambda/D.

    Source: ALMA Technical Handbook, section 3.2 (1.13 lambda/D for a 10 dB edge taper); the
    VLA's measured 42 arcmin GHz is 10 % less (EVLA Memo 195).
    """
    return arcsec(1.13 * SPEED_OF_LIGHT / hertz / diameter_m)


def imsize(diameter_m: float, lowest_hz: float, cell_arcsec: float, *, cube: bool) -> Choice:
    """Choose the image's side in pixels from the primary beam, FFT-friendly.

    Continuum images span two primary beams, so that confusing sources in the wings are
    cleaned; cubes one and a half.
    """
    width = primary_beam_arcsec(diameter_m, lowest_hz)
    beams = 1.5 if cube else 2.0
    value = friendly(math.ceil(beams * width / cell_arcsec))
    reason = (
        f"{beams:g} primary beams of {width / 60:.3g} arcmin "
        f"({diameter_m:g} m antennas, {human_frequency(lowest_hz)}) in pixels of "
        f"{cell_arcsec:g} arcsec, rounded up to a product of 2, 3, 5"
    )
    return Choice(value, reason)


def scales(deconvolver: str, resolution_arcsec: float, cell_arcsec: float) -> Choice:
    """Choose the scales of a multi-scale clean, in pixels.

    Points, one and three synthesized beams (CASA Docs, Synthesis Imaging, "Multi-Scale Clean"
    advises a geometric series from the beam on). Taylor terms get points alone: with scales,
    a point source's flux comes out in wider ones, and its peak too low.
    """
    if deconvolver == "mtmfs":
        return Choice([0], "points alone: with Taylor terms, scales spread point sources")
    beam = max(1, round(resolution_arcsec / cell_arcsec))
    reason = f"points, one and three times lambda/B = {resolution_arcsec:.3g} arcsec, in pixels"
    return Choice([0, beam, 3 * beam], reason)


def friendly(number: int) -> int:
    """Return the next even number with no prime factor above 5, at least 32.

    CASA's FFT is fast for such sizes, and tclean warns about others.
    """
    number = max(32, number + number % 2)
    while not _smooth(number):
        number += 2
    return number


def _smooth(number: int) -> bool:
    for prime in (2, 3, 5):
        while number % prime == 0:
            number //= prime
    return number == 1


def _round_down(value: float) -> float:
    """Round down to one of 1, 1.2, 1.5, 2, 2.5, ... times a power of ten."""
    exponent = math.floor(math.log10(value))
    scaled = value / 10**exponent
    best = max(nice for nice in _NICE if nice <= scaled + 1e-9)
    return float(f"{best * 10**exponent:.6g}")


_AUTOMASK = {
    "ALMA 7m": (1.25, 5.0, 2.0, 0.1),
    "short": (2.0, 4.25, 1.5, 0.3),
    "long": (3.0, 5.0, 1.5, 0.3),
}
_AUTOMASK_KEYS = ("sidelobethreshold", "noisethreshold", "lownoisethreshold", "minbeamfrac")


def automask(observation: Observation) -> Choice:
    """Choose the auto-multithresh parameters for the array.

    Source: CASA Docs, Synthesis Imaging, "Masks for deconvolution", the table of recommended
    parameters by ALMA array; other arrays take those of the 12 m array with short baselines,
    and arrays with baselines over 300 m at 3 mm and shorter those for long ones.
    """
    diameter = min((antenna.diameter_m for antenna in observation.antennas), default=25.0)
    wavelength = SPEED_OF_LIGHT / max(spw.highest_hz for spw in observation.spws)
    if observation.telescope == "ALMA" and diameter < 10:
        kind = "ALMA 7m"
    elif wavelength < 4e-3 and observation.longest_baseline_m > 300:
        kind = "long"
    else:
        kind = "short"
    names = {"ALMA 7m": "the ALMA 7 m array", "short": "short baselines", "long": "long baselines"}
    return Choice(
        dict(zip(_AUTOMASK_KEYS, _AUTOMASK[kind], strict=True)),
        f"CASA's recommendation for {names[kind]}",
    )
