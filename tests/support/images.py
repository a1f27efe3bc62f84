"""Images that a run made, measured with astropy and numpy alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS


class Sky:
    """A FITS image of one plane, measured with astropy and numpy alone."""

    def __init__(self, path: Path) -> None:
        data, self.header = fits.getdata(path, header=True)
        self.data: npt.NDArray[np.float64] = np.squeeze(data).astype(float)
        self.wcs = WCS(self.header).celestial
        self.bmin_arcsec = 3600 * float(self.header.get("BMIN", np.nan))

    def pixel(self, position: SkyCoord) -> tuple[float, float]:
        x, y = self.wcs.world_to_pixel(position)
        return float(x), float(y)

    def peak(self, position: SkyCoord) -> tuple[float, float]:
        """Return the peak near a position (Jy/beam) and its distance from there (arcsec)."""
        x, y = (round(value) for value in self.pixel(position))
        box = self.data[y - 1 : y + 2, x - 1 : x + 2]
        # A parabola through three pixels along each axis.
        shift, height = [], box[1, 1]
        for low, middle, high in (box[1], box[:, 1]):
            shift.append(0.5 * (low - high) / (low - 2 * middle + high))
            height -= 0.25 * (low - high) * shift[-1]
        found = self.wcs.pixel_to_world(x + shift[0], y + shift[1])
        return float(height), float(found.separation(position).arcsec)

    def noise(self) -> float:
        """Return the robust standard deviation in Jy/beam."""
        good = self.data[np.isfinite(self.data)]
        return float(1.4826 * np.median(np.abs(good - np.median(good))))
