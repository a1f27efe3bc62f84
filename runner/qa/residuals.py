"""What an image says of its cleaning: whether the residual is noise, and emission in a bowl."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .metrics import put

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

MIN_PIXELS: Final = 400
TAIL_SIGMA: Final = 4.0
RING_BEAMS: Final = 3.0
"""Width of the ring around emission in which a bowl shows."""


@dataclass
class Moments:
    """Sums of powers of residuals, plane by plane, each in units of its own noise.

    Attributes
    ----------
    sums : array, shape (5,)
        Number of pixels and sums of the first to fourth power.
    tail : int
        Pixels beyond `TAIL_SIGMA`.
    """

    sums: Floats = field(default_factory=lambda: np.zeros(5))
    tail: int = 0

    def add(self, pixels: Floats, sigma: float) -> None:
        """Add the pixels of a plane, of any shape, and its noise in the same unit."""
        if sigma <= 0 or not math.isfinite(sigma) or not pixels.size:
            return
        x = pixels / sigma
        square = x * x
        self.sums += [x.size, x.sum(), square.sum(), (square * x).sum(), (square * square).sum()]
        self.tail += int(np.count_nonzero(square > TAIL_SIGMA**2))

    def into(self, numbers: dict[str, Any], beam_pixels: float) -> None:
        """Write what was found; see ``schemas/metrics.schema.json``.

        Parameters
        ----------
        numbers : dict
            Is added to.
        beam_pixels : float
            Pixels of a synthesized beam: so many share one value.

        Notes
        -----
        Skewness g1 and excess kurtosis g2 of n independent Gaussian values have standard
        deviations sqrt(6/n) and sqrt(24/n) (Fisher 1930, Proc. R. Soc. A 130, 16).
        """
        reason = "too few pixels of the residual lie off source"
        n = self.sums[0]
        keys = ("residual_skewness", "residual_kurtosis", "residual_tail_ratio")
        if n < MIN_PIXELS:
            for key in keys:
                put(numbers, key, None, reason)
            return
        mean, second, third, fourth = self.sums[1:] / n
        variance = second - mean**2
        skew = (third - 3 * mean * second + 2 * mean**3) / variance**1.5
        kurtosis = (
            fourth - 4 * mean * third + 6 * mean**2 * second - 3 * mean**4
        ) / variance**2 - 3
        expected = math.erfc(TAIL_SIGMA / math.sqrt(2)) * n
        independent = n / max(1.0, beam_pixels)
        # A handful of pixels is expected at most in a small image: one beam more is no finding.
        ratio = self.tail / max(expected, beam_pixels, 1.0)
        for key, value in zip(keys, (skew, kurtosis, ratio), strict=True):
            put(numbers, key, float(value), reason)
        put(numbers, "residual_independent", float(independent), reason)


def ring(emission: Bools, width_pixels: float) -> Bools:
    """Return the pixels around emission, up to some pixels away, emission left out.

    Parameters
    ----------
    emission : array of bool, shape (n_y, n_x)
    width_pixels : float
        Half the side of the square by which emission grows.
    """
    half = max(1, round(width_pixels))
    grown = emission
    for axis in (0, 1):
        summed = np.cumsum(np.pad(grown.astype(np.int32), [
            (half + 1, half) if one == axis else (0, 0) for one in (0, 1)
        ]), axis=axis)  # fmt: skip
        length = emission.shape[axis]
        upper = np.take(summed, np.arange(2 * half + 1, 2 * half + 1 + length), axis=axis)
        grown = (upper - np.take(summed, np.arange(length), axis=axis)) > 0
    return np.asarray(grown & ~emission)


def bowl(
    pixels: Floats, valid: Bools, emission: Bools, beam_pixels: float, sigma: float
) -> tuple[float, float] | None:
    """Measure whether emission sits in a negative bowl.

    Parameters
    ----------
    pixels : array, shape (n_y, n_x)
        An image's plane.
    valid : array of bool, shape (n_y, n_x)
        Its unmasked pixels.
    emission : array of bool, shape (n_y, n_x)
        Where there is emission.
    beam_pixels : float
        Pixels of a synthesized beam.
    sigma : float
        The noise.

    Returns
    -------
    tuple of float or None
        Depth of the bowl in units of the noise (minus the mean of the ring against that of the
        rest, 0 for none), and by how many standard errors of the mean it is one. None without
        emission or ring.
    """
    width = RING_BEAMS * math.sqrt(beam_pixels)
    around = ring(emission, width) & valid
    near = ring(emission, max(1.0, width / 3)) & valid  # the emission's own edge
    around &= ~near
    rest = valid & ~emission & ~around & ~near
    if np.count_nonzero(around) < 4 * beam_pixels or np.count_nonzero(rest) < 4 * beam_pixels:
        return None
    depth = (float(np.median(pixels[rest])) - float(pixels[around].mean())) / sigma
    error = 1 / math.sqrt(np.count_nonzero(around) / beam_pixels)
    return max(0.0, depth), depth / error
