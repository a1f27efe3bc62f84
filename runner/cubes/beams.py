"""Synthesized beams as Gaussians: which can be reached from which, and by which kernel."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

FWHM_SIGMA: Final = math.sqrt(8 * math.log(2))
"""Full width at half maximum of a Gaussian over its standard deviation."""

_EQUAL: Final = 1e-4
"""Beams that differ by less, as a fraction, are the same: headers keep so many digits."""


class Covariance(NamedTuple):
    """Second moments of a Gaussian on the sky in arcsec^2; axes are east and north."""

    east: float
    both: float
    north: float


@dataclass(frozen=True)
class Beam:
    """A synthesized beam: full widths at half maximum, position angle from north through east."""

    major_arcsec: float
    minor_arcsec: float
    pa_deg: float = 0.0

    @property
    def area_arcsec2(self) -> float:
        """The beam's solid angle: pi / (4 ln 2) times both widths."""
        return math.pi / (4 * math.log(2)) * self.major_arcsec * self.minor_arcsec

    @property
    def covariance(self) -> Covariance:
        """Second moments."""
        angle = math.radians(self.pa_deg)
        sine, cosine = math.sin(angle), math.cos(angle)
        major2 = (self.major_arcsec / FWHM_SIGMA) ** 2
        minor2 = (self.minor_arcsec / FWHM_SIGMA) ** 2
        return Covariance(
            major2 * sine**2 + minor2 * cosine**2,
            (major2 - minor2) * sine * cosine,
            major2 * cosine**2 + minor2 * sine**2,
        )

    @property
    def words(self) -> str:
        """The beam for a message: ``52.3 x 45.1 arcsec at 12 deg``."""
        if math.isclose(self.major_arcsec, self.minor_arcsec, rel_tol=_EQUAL):
            return f"{self.major_arcsec:.4g} arcsec, round"
        return f"{self.major_arcsec:.4g} x {self.minor_arcsec:.4g} arcsec at {self.pa_deg:.3g} deg"


def kernel(old: Beam, new: Beam) -> Covariance | None:
    """Return the Gaussian that turns one beam into another one.

    The convolution of Gaussians adds their second moments, so the kernel has the difference of
    them (Wild 1970, Aust. J. Phys. 23, 113, eq. 6, in the form of covariances).

    Returns
    -------
    Covariance or None
        None where the new beam does not enclose the old one; all zero where they are the same.
    """
    wanted, have = new.covariance, old.covariance
    found = Covariance(*(a - b for a, b in zip(wanted, have, strict=True)))
    scale = have.east + have.north
    if max(abs(value) for value in found) <= 2 * _EQUAL * scale:
        return Covariance(0.0, 0.0, 0.0)
    narrow, wide = widths(found)
    if narrow < -2 * _EQUAL * scale or wide <= 0:
        return None
    return found


def widths(found: Covariance) -> tuple[float, float]:
    """Return the smaller and the larger eigenvalue of second moments, in arcsec^2."""
    middle = 0.5 * (found.east + found.north)
    reach = math.hypot(0.5 * (found.east - found.north), found.both)
    return middle - reach, middle + reach


def round_beam(around: Beam) -> float:
    """Return the width of the smallest round beam that encloses one: its major axis, in arcsec."""
    return around.major_arcsec
