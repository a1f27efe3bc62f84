"""The convolution of planes with a Gaussian, by Fourier transform in single precision."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from .beams import Covariance, widths

Plane = npt.NDArray[np.float32]

_REACH: Final = 5.0
"""Beyond so many standard deviations a Gaussian is 4e-6 of its peak: planes wrap around there."""

_FLOATS: Final = 5
"""Padded planes that a convolution holds: input, transform, product, output, kernel."""


class Smoother:
    """Smooths planes of one shape by one Gaussian.

    As CASA's imsmooth does, what is masked counts as zero, so does all beyond the edges, and
    what was masked stays so. The transform of the kernel is exact, so kernels narrower than a
    pixel smooth by what they should. Where the brightness is given by beam, it is scaled to the
    new beam.

    Parameters
    ----------
    shape : tuple of int
        Of a plane: n_y, n_x.
    cell_arcsec : tuple of float
        The pixel's step to the east along x and to the north along y; the first is negative on
        most images.
    gaussian : Covariance
        The kernel, of unit integral.
    scale : float
        What the result is multiplied with: the ratio of the beams' areas.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        cell_arcsec: tuple[float, float],
        gaussian: Covariance,
        scale: float = 1.0,
    ) -> None:
        self._shape = shape
        self._padded = padded_shape(shape, cell_arcsec, gaussian)
        self._transform = self._of(cell_arcsec, gaussian) * np.float32(scale)

    def _of(self, cell_arcsec: tuple[float, float], gaussian: Covariance) -> Plane:
        """Return the kernel's Fourier transform, exp(-2 pi^2 k C k); shape (p_y, p_x // 2 + 1)."""
        east = np.fft.rfftfreq(self._padded[1], cell_arcsec[0])[None, :]
        north = np.fft.fftfreq(self._padded[0], cell_arcsec[1])[:, None]
        form = gaussian.east * east**2 + gaussian.north * north**2
        form += 2 * gaussian.both * east * north
        return np.exp(-2 * np.pi**2 * form).astype(np.float32)

    def __call__(self, plane: Plane) -> Plane:
        """Return a plane smoothed; it is left as it is."""
        from scipy import fft

        valid = np.isfinite(plane)
        n_y, n_x = self._shape
        padded = np.zeros(self._padded, np.float32)
        whole = bool(valid.all())
        padded[:n_y, :n_x] = plane if whole else np.where(valid, plane, np.float32(0))
        waves = fft.rfft2(padded, overwrite_x=True)
        waves *= self._transform
        smooth = fft.irfft2(waves, s=self._padded, overwrite_x=True)[:n_y, :n_x]
        result: Plane = np.array(smooth, np.float32)
        if not whole:
            result[~valid] = np.nan
        return result


def padded_shape(
    shape: tuple[int, int], cell_arcsec: tuple[float, float], gaussian: Covariance
) -> tuple[int, int]:
    """Return the sides that a plane is padded to, so that no edge reaches around to the other."""
    from scipy import fft

    wide = max(0.0, widths(gaussian)[1]) ** 0.5
    sides = []
    for side, cell in zip(shape, (cell_arcsec[1], cell_arcsec[0]), strict=True):
        least = side + int(np.ceil(_REACH * wide / abs(cell)))
        sides.append(int(fft.next_fast_len(least, real=True)))
    return sides[0], sides[1]


def memory_bytes(padded: tuple[int, int]) -> int:
    """Return what a convolution of planes padded to a shape takes at its most."""
    return _FLOATS * 4 * padded[0] * (padded[1] + 2)
