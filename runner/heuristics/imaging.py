"""The ``auto`` values of the imaging.

Pure: metadata in, choice out. Formulae carry their source.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Final

from ..observation import Field, Observation
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


def imsize(
    diameter_m: float, lowest_hz: float, cell_arcsec: float, *, cube: bool,
    spread_arcsec: float = 0.0,
) -> Choice:  # fmt: skip
    """Choose the image's side in pixels from the primary beam, FFT-friendly.

    Continuum images span two primary beams, so that confusing sources in the wings are
    cleaned; cubes one and a half. A mosaic takes what its outermost pointings are apart, too.
    """
    width = primary_beam_arcsec(diameter_m, lowest_hz)
    beams = 1.5 if cube else 2.0
    value = friendly(math.ceil((beams * width + spread_arcsec) / cell_arcsec))
    apart = f" and {spread_arcsec / 60:.3g} arcmin between the pointings" if spread_arcsec else ""
    reason = (
        f"{beams:g} primary beams of {width / 60:.3g} arcmin "
        f"({diameter_m:g} m antennas, {human_frequency(lowest_hz)}){apart} in pixels of "
        f"{cell_arcsec:g} arcsec, rounded up to a product of 2, 3, 5"
    )
    return Choice(value, reason)


def phasecenter(pointings: Sequence[Field]) -> Choice:
    """Choose a mosaic's centre: that of its pointings on the sky."""
    vectors = [
        (
            math.cos(math.radians(f.dec_deg)) * math.cos(math.radians(f.ra_deg)),
            math.cos(math.radians(f.dec_deg)) * math.sin(math.radians(f.ra_deg)),
            math.sin(math.radians(f.dec_deg)),
        )
        for f in pointings
    ]
    x, y, z = (math.fsum(axis) for axis in zip(*vectors, strict=True))
    ra, dec = math.degrees(math.atan2(y, x)) % 360, math.degrees(math.atan2(z, math.hypot(x, y)))
    return Choice(
        f"J2000 {ra:.7f}deg {dec:.7f}deg", f"the centre of the {len(pointings)} pointings"
    )


_W_LIMIT_RAD: Final = 1.0
_SPREAD_OF_DISHES: Final = 1.1


def w_phase_rad(radius_arcsec: float, longest_baseline_m: float, hertz: float) -> float:
    """Return the largest phase that a two-dimensional transform gets wrong, pi theta^2 B/lambda.

    At an angle theta from the phase centre, on the longest baseline, where all of it points
    along the line of sight. At half the primary beam's power it is lambda B / D^2, to within
    a hundredth.

    Source: Cornwell, Golap & Bhatnagar 2008, IEEE J. Sel. Top. Signal Process. 2, 647,
    section II.
    """
    theta = math.radians(radius_arcsec / 3600)
    return math.pi * theta**2 * longest_baseline_m * hertz / SPEED_OF_LIGHT


def gridder(
    diameters_m: Collection[float], longest_baseline_m: float, lowest_hz: float,
    radius_arcsec: float, *, pointings: int = 1,
) -> Choice:  # fmt: skip
    """Choose the gridder: ``mosaic``, ``wproject`` or ``standard``.

    Several pointings, or dishes of several sizes, take ``mosaic``, the only one of the three that
    knows each visibility's primary beam. Else it is the w-term's phase error at half the primary
    beam's power, or at the image's edge if that is nearer: past a radian, sources are moved
    and smeared, and w-projection pays for its time (some 7 times the standard gridder's).

    Parameters
    ----------
    diameters_m : collection of float
        Of the antennas.
    longest_baseline_m, lowest_hz : float
        The w-term is worst in the widest field, at the lowest frequency.
    radius_arcsec : float
        Half of the image's longer side.
    pointings : int
        How many different ones.
    """
    if pointings > 1:
        return Choice("mosaic", f"{pointings} pointings are imaged together")
    smallest, largest = min(diameters_m), max(diameters_m)
    if largest > _SPREAD_OF_DISHES * smallest:
        return Choice("mosaic", f"antennas of {smallest:g} to {largest:g} m")
    half = 0.5 * primary_beam_arcsec(smallest, lowest_hz)
    radius = min(radius_arcsec, half)
    where = "at half the primary beam's power" if half <= radius_arcsec else "at the image's edge"
    phase = w_phase_rad(radius, longest_baseline_m, lowest_hz)
    reason = (
        f"the w-term's phase error reaches {phase:.2g} rad {where}, {radius / 60:.3g} arcmin out "
        f"(pi theta^2 B/lambda; 1 rad is harmless)"
    )
    return Choice("wproject" if phase > _W_LIMIT_RAD else "standard", reason)


_SYNCHROTRON: Final = -0.7
_WIDE: Final = 0.10


def spectral_error(low_hz: float, high_hz: float, terms: int) -> float:
    """Return what `terms` Taylor terms leave of a spectrum at the band's edge, relative.

    The first term left out of (nu/nu0)^alpha about the band's centre, binomial(alpha, terms)
    x^terms with x half the fractional bandwidth and alpha = -0.7, optically thin synchrotron.

    Source: Rau & Cornwell 2011, A&A 532, A71, section 2 (the Taylor expansion of the spectrum).
    """
    x = (high_hz - low_hz) / (high_hz + low_hz)
    factor = 1.0
    for k in range(terms):
        factor *= (_SYNCHROTRON - k) / (k + 1)
    return abs(factor) * x**terms


def deconvolver(low_hz: float, high_hz: float, *, cube: bool) -> Choice:
    """Choose the deconvolver: ``mtmfs`` for a wide band, else ``hogbom``.

    From a fractional bandwidth of a tenth on, where the spectrum of a source of index -0.7 is
    off by 3.5 % at the band's edges, its sidelobes limit the dynamic range to some hundreds. The
    ALMA pipeline takes Taylor terms from the same bandwidth on (ALMA Science Pipeline User's
    Guide, hif_makeimages). Whether the sky is extended, metadata do not say: ``multiscale`` is
    the author's choice.
    """
    if cube:
        return Choice("hogbom", "the channels of a cube are deconvolved one by one")
    width = 2 * (high_hz - low_hz) / (high_hz + low_hz)
    wide = width >= _WIDE
    reason = (
        f"the fractional bandwidth is {width:.2g}: a spectrum of index {_SYNCHROTRON:g} is off by "
        f"{spectral_error(low_hz, high_hz, 1):.2g} of itself at the band's edges"
    )
    return Choice("mtmfs" if wide else "hogbom", reason)


def nterms(low_hz: float, high_hz: float) -> Choice:
    """Choose the number of Taylor terms: 2 for a wide band, else 1.

    More than two raise the noise of every term, and pay only for sources of some thousand times
    the noise (Rau & Cornwell 2011, section 4): the author's choice.
    """
    width = 2 * (high_hz - low_hz) / (high_hz + low_hz)
    terms = 2 if width >= _WIDE else 1
    reason = (
        f"the fractional bandwidth is {width:.2g}; with {terms} of them a spectrum of index "
        f"{_SYNCHROTRON:g} is off by {spectral_error(low_hz, high_hz, terms):.2g} of itself "
        "at the band's edges"
    )
    return Choice(terms, reason)


LINES_HZ: Final = {
    "HI": 1420.405752e6,
    "OH 1612": 1612.2310e6,
    "OH 1665": 1665.4018e6,
    "OH 1667": 1667.3590e6,
    "OH 1720": 1720.5300e6,
    "CH3OH 6.7": 6668.5192e6,
    "CH3OH 12.2": 12178.597e6,
    "H2O": 22235.080e6,
    "NH3 (1,1)": 23694.4955e6,
    "NH3 (2,2)": 23722.6333e6,
    "SiO 1-0 v=1": 43122.09e6,
    "SiO 1-0 v=2": 42820.57e6,
    "HCN 1-0": 88631.6023e6,
    "HCO+ 1-0": 89188.5247e6,
    "C18O 1-0": 109782.1734e6,
    "13CO 1-0": 110201.3541e6,
    "CO 1-0": 115271.2018e6,
    "CO 2-1": 230538.0e6,
    "CO 3-2": 345795.9899e6,
}
"""Rest frequencies of the lines most observed (Lovas 2004, J. Phys. Chem. Ref. Data 33, 177)."""

_BLUEST_M_S: Final = -5e5
_REDDEST_M_S: Final = 3e6


def restfreq(known_hz: Collection[float], low_hz: float, high_hz: float) -> Choice:
    """Choose a cube's rest frequency: the data's own, else that of a line in the band.

    A line is in the band if some channel lies between -500 and +3000 km/s of it (radio
    convention), which takes in the nearby galaxies. Where several are, or none, there is no
    choice.

    Parameters
    ----------
    known_hz : collection of float
        Rest frequencies that the SOURCE table gives.
    low_hz, high_hz : float
        Edges of the band.

    Returns
    -------
    Choice
        For example ``"1420.405752MHz"``; an empty string where the choice is not clear.
    """
    own = sorted(hertz for hertz in set(known_hz) if hertz > 0)
    if len(own) == 1:
        return Choice(_megahertz(own[0]), "the data's SOURCE table gives it")
    if own:
        listed = ", ".join(human_frequency(hertz) for hertz in own)
        return Choice("", f"the data's SOURCE table gives several: {listed}")
    found = [
        name
        for name, rest in LINES_HZ.items()
        if SPEED_OF_LIGHT * (1 - low_hz / rest) > _BLUEST_M_S
        and SPEED_OF_LIGHT * (1 - high_hz / rest) < _REDDEST_M_S
    ]
    if len(found) != 1:
        return Choice("", f"lines in the band: {', '.join(found) or 'none known'}")
    return Choice(
        _megahertz(LINES_HZ[found[0]]), f"the {found[0]} line is the only one known in the band"
    )


def _megahertz(hertz: float) -> str:
    return f"{hertz / 1e6:.10g}MHz"


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
