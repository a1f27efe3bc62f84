"""How much averaging in time and frequency costs a source far from the phase centre.

The amplitude of a point source at an angle theta from the phase centre, in an image whose
synthesized beam is theta_b wide, both along a circle of baselines that turn with the Earth under
a source at the pole. Where the field is elsewhere, less is lost to time (Bridle & Schwab).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ..quantities import arcsec
from .choice import SPEED_OF_LIGHT
from .imaging import primary_beam_arcsec

EARTH_RAD_S: Final = 7.2921e-5
"""How fast the Earth turns."""

_UNIFORM: Final = 0.8
"""The synthesized beam of uniform weighting in lambda/B, the narrowest that there is."""

_ROOT_LN2: Final = math.sqrt(math.log(2))


def amplitude(beta: float) -> float:
    """Return what is left of a point source's peak, for beta synthesized beams of smearing.

    sqrt(pi) / (2 sqrt(ln 2) beta) erf(sqrt(ln 2) beta): a square band, or a stretch of time, and
    a Gaussian synthesized beam. For little smearing it is 1 - beta^2 ln(2)/3.

    Source: Bridle & Schwab 1999, in Synthesis Imaging in Radio Astronomy II (ASP Conf. 180),
    chapter 18: section 2 for a square bandpass (1.064/beta erf(0.833 beta)), and section 3 for
    time, 1 - 1.22e-9 (theta/theta_b)^2 tau^2, which is the same with beta = omega tau
    theta/theta_b. Thompson, Moran & Swenson, 3rd ed., section 6.4, has both by visibility.

    Examples
    --------
    >>> round(amplitude(0.0), 3), round(amplitude(0.2), 4), round(amplitude(1.0), 3)
    (1.0, 0.9908, 0.810)
    """
    scaled = _ROOT_LN2 * beta
    return 1.0 if scaled < 1e-4 else math.sqrt(math.pi) / 2 * math.erf(scaled) / scaled


def largest_beta(loss: float) -> float:
    """Return the smearing in synthesized beams at which a source has lost a fraction."""
    low, high = 0.0, 100.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if 1 - amplitude(middle) <= loss else (low, middle)
    return low


@dataclass(frozen=True)
class Reach:
    """The farthest source of a field, in the narrowest beam that its data can have.

    Attributes
    ----------
    theta_arcsec : float
        From the phase centre to the edge of what is imaged.
    beam_arcsec : float
        Width of the synthesized beam.
    hertz : float
        The frequency.
    """

    theta_arcsec: float
    beam_arcsec: float
    hertz: float

    @property
    def beams(self) -> float:
        """The angle in synthesized beams."""
        return self.theta_arcsec / self.beam_arcsec

    def of_width(self, width_hz: float) -> float:
        """Return the smearing of a channel, in synthesized beams."""
        return width_hz / self.hertz * self.beams

    def of_time(self, seconds: float) -> float:
        """Return the smearing of an integration, in synthesized beams."""
        return EARTH_RAD_S * seconds * self.beams

    def loss(self, width_hz: float, seconds: float) -> float:
        """Return the fraction that a source loses to channel and integration together."""
        return 1 - amplitude(self.of_width(width_hz)) * amplitude(self.of_time(seconds))


def reach(
    edge_arcsec: float, diameter_m: float, longest_baseline_m: float,
    low_hz: float, high_hz: float, *, pblimit: float,
) -> Reach:  # fmt: skip
    """Return how far out a source is imaged, and in how narrow a beam.

    Parameters
    ----------
    edge_arcsec : float
        From a pointing to the image's farthest corner.
    diameter_m, longest_baseline_m : float
        Of the antennas, the smallest; and of the array.
    low_hz, high_hz : float
        Edges of the band: the primary beam is widest at the one, the synthesized beam
        narrowest at the other.
    pblimit : float
        tclean's: below this response of the primary beam nothing is imaged; everything is,
        where it is not positive.
    """
    theta = edge_arcsec
    width = primary_beam_arcsec(diameter_m, low_hz) if diameter_m > 0 else math.nan
    if 0 < pblimit < 1 and not math.isnan(width):
        theta = min(theta, 0.5 * width * math.sqrt(math.log2(1 / pblimit)))
    beam = _UNIFORM * arcsec(SPEED_OF_LIGHT / high_hz / longest_baseline_m)
    return Reach(theta, beam, high_hz)


def channels(far: Reach, n_chan: int, width_hz: float, loss: float) -> int:
    """Return how many channels may be averaged: a divisor of all, at most `loss` of a source."""
    each = far.of_width(width_hz)
    most = largest_beta(max(loss, 0.0)) / each if each else n_chan
    return max((n for n in range(1, n_chan + 1) if n_chan % n == 0 and n <= most), default=1)


def seconds(far: Sequence[Reach], integration_s: float, scan_s: float, loss: float) -> float:
    """Return how long an average may be: whole integrations, no longer than a scan."""
    steepest = max(EARTH_RAD_S * one.beams for one in far)
    longest = min(largest_beta(loss) / steepest if steepest else scan_s, scan_s)
    return integration_s * max(1, math.floor(longest / integration_s + 1e-6))
