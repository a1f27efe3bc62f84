"""Images of different synthesized beams brought to one, so that brightness is comparable."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Beam = tuple[float, float, float]

_FWHM_TO_SIGMA = 1 / math.sqrt(8 * math.log(2))


def common_fwhm_arcsec(*beams: Beam) -> float:
    """Return the FWHM of the smallest circular beam that all beams can be smoothed to."""
    return max(beam[0] for beam in beams)


def smooth(plane: Floats, beam: Beam, cell_arcsec: float, east: int, fwhm_arcsec: float) -> Floats:
    """Smooth an image to a circular synthesized beam, in Jy per that beam.

    The kernel is the Gaussian whose covariance is the difference of those of the two beams;
    it is applied in the Fourier plane, where it is exact however narrow it is.

    Parameters
    ----------
    plane : array, shape (n_y, n_x)
        The image in Jy/beam; NaN where there is no sky, which counts as 0 and stays NaN.
    beam : tuple of float
        Its synthesized beam: bmaj_arcsec, bmin_arcsec, bpa_deg (from north through east).
    cell_arcsec : float
        Side of a pixel.
    east : {-1, 1}
        Along which direction of x east is.
    fwhm_arcsec : float
        Of the circular beam; at least bmaj.

    Returns
    -------
    array, shape (n_y, n_x)
        The smoothed image.
    """
    n_y, n_x = plane.shape
    y, x = np.fft.fftfreq(n_y)[:, None], np.fft.rfftfreq(n_x)[None, :]
    turn = math.radians(beam[2])
    along = (math.sin(turn) * east, math.cos(turn))  # the major axis, in x and y
    wide, high = (
        (fwhm_arcsec**2 - axis**2) * (_FWHM_TO_SIGMA / cell_arcsec) ** 2 for axis in beam[:2]
    )
    major, minor = along[0] * x + along[1] * y, along[1] * x - along[0] * y
    kernel = np.exp(-2 * math.pi**2 * (wide * major**2 + high * minor**2))
    known = np.isfinite(plane)
    seen = np.fft.irfft2(np.fft.rfft2(np.where(known, plane, 0.0)) * kernel, s=plane.shape)
    per_beam = fwhm_arcsec**2 / (beam[0] * beam[1])
    return np.where(known, seen * per_beam, np.nan)
