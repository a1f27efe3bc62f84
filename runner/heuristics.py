"""The ``auto`` values: each function returns a value and the reason for it.

Pure: metadata in, choice out. Formulae carry their source.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from .observation import Antenna, Field, Observation, SpectralWindow
from .quantities import arcsec, human_frequency

SPEED_OF_LIGHT: Final = 299_792_458.0

_NICE = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)

CALIBRATOR_POSITIONS: Final = {
    "3C48": (24.4221, 33.1598),
    "3C138": (80.2912, 16.6394),
    "3C147": (85.6506, 49.8520),
    "3C286": (202.7845, 30.5092),
}
"""J2000 positions (deg) of the standards that CASA has images of (VLA calibrator list)."""

MODEL_BANDS: Final = (
    ("P", 0.23e9, 0.47e9),
    ("L", 1e9, 2e9),
    ("S", 2e9, 4e9),
    ("C", 4e9, 8e9),
    ("X", 8e9, 12e9),
    ("U", 12e9, 18e9),
    ("K", 18e9, 26.5e9),
    ("A", 26.5e9, 40e9),
    ("Q", 40e9, 50e9),
)
"""VLA bands of the calibrators' model images, in Hz."""


@dataclass(frozen=True)
class Choice:
    """A value and the reason for it."""

    value: Any
    reason: str


def refant(observation: Observation, count: int = 3) -> Choice:
    """Choose reference antennas: central, unflagged, present throughout.

    Antennas are ranked by distance from the array's centre, as a fraction of the largest
    one, plus the flagged fraction, plus the share of scans without data. The list lets CASA
    fall back where the first has no solution.

    Parameters
    ----------
    observation : Observation
        Metadata with the antennas that have data.
    count : int
        How many to name.

    Returns
    -------
    Choice
        Comma-separated antenna names, best first.
    """
    farthest = max((antenna.distance_m for antenna in observation.antennas), default=0.0) or 1.0

    def score(antenna: Antenna) -> tuple[float, int]:
        badness = antenna.distance_m / farthest + antenna.flagged_fraction
        return round(badness + 2 * (1 - antenna.present_fraction), 9), antenna.id

    ranked = sorted(observation.antennas, key=score)[:count]
    if not ranked:
        return Choice("", "the dataset has no antenna with cross-correlations")
    best = ranked[0]
    reason = (
        f"{best.name} is {best.distance_m:.0f} m from the array's centre, "
        f"{best.flagged_fraction:.0%} flagged, present in {best.present_fraction:.0%} of the scans"
    )
    return Choice(",".join(antenna.name for antenna in ranked), reason)


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


def edge_channels(spw: SpectralWindow) -> Choice:
    """Choose how many channels to flag at each edge: a twentieth, none under 16 channels."""
    if spw.n_chan < 16:
        return Choice(0, f"spw {spw.id} has only {spw.n_chan} channels")
    number = max(1, round(spw.n_chan * 0.05))
    return Choice(number, f"5 % of the {spw.n_chan} channels of spw {spw.id} at each edge")


def solve_channels(spws: Iterable[SpectralWindow]) -> Choice:
    """Choose the channels for gain solutions: the central 80 % of each spectral window."""
    parts = []
    for spw in spws:
        skip = spw.n_chan // 10
        parts.append(
            f"{spw.id}:{skip}~{spw.n_chan - 1 - skip}" if spw.n_chan >= 10 else f"{spw.id}"
        )
    return Choice(",".join(parts), "the central 80 % of the channels, clear of the band's edges")


def delay(spws: Iterable[SpectralWindow]) -> Choice:
    """Choose whether to solve for delays: where a spectral window is 16 MHz wide or more.

    A residual delay of 5 ns turns the phase by 29 degrees over 16 MHz; in narrower windows
    the bandpass takes it.
    """
    widest = max((spw.bandwidth_hz for spw in spws), default=0.0)
    verdict = "yes" if widest >= 16e6 else "no"
    return Choice(verdict, f"the widest spectral window spans {widest / 1e6:.4g} MHz")


def calwt(telescope: str) -> Choice:
    """Choose whether calibration scales the weights: only where they were calibrated.

    The VLA's weights carry no system temperature (VLA CASA guides recommend calwt=False);
    ALMA's do.
    """
    if telescope.upper().startswith(("VLA", "EVLA", "MEERKAT", "ATCA")):
        return Choice("no", f"{telescope} data carry weights without system temperatures")
    return Choice("yes", f"{telescope} data carry weights from system temperatures")


def separation_deg(a: Field, b: Field) -> float:
    """Return the angle between two fields in degrees (Vincenty's formula, exact on a sphere)."""
    lon = math.radians(b.ra_deg - a.ra_deg)
    lat1, lat2 = math.radians(a.dec_deg), math.radians(b.dec_deg)
    across = math.hypot(
        math.cos(lat2) * math.sin(lon),
        math.cos(lat1) * math.sin(lat2) - math.sin(lat1) * math.cos(lat2) * math.cos(lon),
    )
    along = math.sin(lat1) * math.sin(lat2) + math.cos(lat1) * math.cos(lat2) * math.cos(lon)
    return math.degrees(math.atan2(across, along))


def phase_calibrator(target: Field, calibrators: Sequence[Field]) -> Choice:
    """Choose the phase calibrator that is nearest to a target on the sky."""
    nearest = min(calibrators, key=lambda field: (separation_deg(target, field), field.id))
    return Choice(
        nearest.name,
        f"nearest on the sky, {separation_deg(target, nearest):.2f} deg from {target.name}",
    )


def spwmap(
    wanted: Iterable[int], solved: Iterable[int], spws: Mapping[int, SpectralWindow]
) -> list[int]:
    """Map each spectral window to one that has solutions; empty where each has its own.

    Parameters
    ----------
    wanted : iterable of int
        Spectral windows to be corrected.
    solved : iterable of int
        Spectral windows that have solutions.
    spws : mapping
        All spectral windows by id.

    Returns
    -------
    list of int
        CASA's ``spwmap``: entry i is the window whose solutions serve window i. A window
        without solutions of its own takes those of the nearest in frequency.
    """
    wanted, solved = set(wanted), set(solved)
    if not solved or wanted <= solved:
        return []

    def nearest(spw_id: int) -> int:
        here = spws[spw_id].centre_hz
        return min(solved, key=lambda other: (abs(spws[other].centre_hz - here), other))

    return [
        i if i in solved or i not in spws else nearest(i) for i in range(max(wanted | solved) + 1)
    ]


def model_image(field: Field, hertz: float, standard: str) -> Choice:
    """Choose the model image of a flux standard, by position and band.

    Parameters
    ----------
    field : Field
        The flux calibrator.
    hertz : float
        Centre frequency.
    standard : str
        CASA's name of the flux standard; only the Perley ones scale the VLA's images.

    Returns
    -------
    Choice
        Name of a model image such as ``3C286_L.im``, or an empty string for a point source.
    """
    if not standard.startswith("Perley"):
        return Choice("", f"{standard} is used with a point source")
    for name, (ra, dec) in CALIBRATOR_POSITIONS.items():
        if separation_deg(field, Field(-1, name, ra, dec)) < 0.02:
            for band, low, high in MODEL_BANDS:
                if low <= hertz < high:
                    return Choice(f"{name}_{band}.im", f"{field.name} is {name}, {band} band")
    return Choice("", f"no model image for {field.name} at {human_frequency(hertz)}: point source")


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
