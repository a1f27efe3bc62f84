"""Images that a run made, measured with astropy and numpy alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from .skies import ARCSEC, SkyField, Source


def place(field: SkyField, source: Source) -> SkyCoord:
    """Return where a source of a field is: its offsets are direction cosines."""
    centre = SkyCoord(field.ra, field.dec)
    east, north = (np.sin(v * ARCSEC) for v in (source.east_arcsec, source.north_arcsec))
    offset = SkyCoord(np.arctan2(east, np.sqrt(1 - east**2 - north**2)), np.arcsin(north),
                      unit="rad", frame=centre.skyoffset_frame())  # fmt: skip
    return offset.transform_to("icrs")


class Sky:
    """A FITS image of one plane, measured with astropy and numpy alone.

    Of a cube, `channel` is the plane.
    """

    def __init__(self, path: Path, channel: int | None = None) -> None:
        data, self.header = fits.getdata(path, header=True)
        planes = np.squeeze(data).astype(float)
        self.data: npt.NDArray[np.float64] = planes if channel is None else planes[channel]
        self.wcs = WCS(self.header).celestial
        self.bmin_arcsec = 3600 * float(self.header.get("BMIN", np.nan))

    def pixel(self, position: SkyCoord) -> tuple[float, float]:
        x, y = self.wcs.world_to_pixel(position)
        return float(x), float(y)

    def peak(self, position: SkyCoord) -> tuple[float, float]:
        """Return the peak near a position (Jy/beam) and its distance from there (arcsec)."""
        height, found = self.summit(position)
        return height, float(found.separation(position).arcsec)

    def summit(self, position: SkyCoord) -> tuple[float, SkyCoord]:
        """Return the peak near a position (Jy/beam) and where it is."""
        x, y = (round(value) for value in self.pixel(position))
        box = self.data[y - 1 : y + 2, x - 1 : x + 2]
        # A paraboloid through nine pixels; its mixed term counts where the beam lies oblique.
        slope = 0.5 * np.array([box[1, 2] - box[1, 0], box[2, 1] - box[0, 1]])
        mixed = 0.25 * (box[2, 2] + box[0, 0] - box[2, 0] - box[0, 2])
        along = [box[1, 2] + box[1, 0] - 2 * box[1, 1], box[2, 1] + box[0, 1] - 2 * box[1, 1]]
        shift = -np.linalg.solve([[along[0], mixed], [mixed, along[1]]], slope)
        found = self.wcs.pixel_to_world(x + shift[0], y + shift[1])
        height = box[1, 1] + 0.5 * slope @ shift
        return float(height), found

    def noise(self) -> float:
        """Return the robust standard deviation in Jy/beam."""
        good = self.data[np.isfinite(self.data)]
        return float(1.4826 * np.median(np.abs(good - np.median(good))))
