"""What regions that a person drew are on an image's pixels.

A pixel counts if its centre lies inside. All regions of a file are taken together, and all that it
excludes is taken from them, whatever their order. A file that only excludes begins with the whole
image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import regions
from astropy import units
from astropy.coordinates import FK4, SkyCoord
from astropy.wcs import WCS

from ..recipe.ds9_regions import Shape

Bools = npt.NDArray[np.bool_]

_BLOCK_PIXELS = 1_000_000
"""Pixels that are looked at together."""

_FK4 = FK4(equinox="B1950", obstime="J2000")
"""FK4 turns against FK5 by some 3 mas a year. DS9 takes the date of the image, or, where it has
none, J2000. Astropy would take 1950: 0.15 arcsec off for sources that do not move."""


def mask(shapes: Sequence[Shape], wcs: WCS, size: tuple[int, int]) -> Bools:
    """Return which pixels of an image the regions of a file take.

    Parameters
    ----------
    shapes : sequence of Shape
        The regions.
    wcs : WCS
        The image's celestial coordinates.
    size : tuple of int
        Its height and width: n_y, n_x.

    Returns
    -------
    array of bool, shape (n_y, n_x)
        Where a pixel's centre lies in the regions.

    Raises
    ------
    ValueError
        If a polygon goes beyond the sky that the image's projection can show.
    """
    taken = np.full(size, not any(shape.include for shape in shapes))
    for shape in sorted(shapes, key=lambda shape: not shape.include):
        for box, inside in _inside(shape, wcs, size):
            taken[box] = taken[box] | inside if shape.include else taken[box] & ~inside
    return taken


def _inside(
    shape: Shape, wcs: WCS, size: tuple[int, int]
) -> Iterator[tuple[tuple[slice, slice], Bools]]:
    """Give parts of the image, and which of their pixels lie in a region."""
    area = region(shape, wcs, size)
    corners = area.vertices if shape.kind == "polygon" else area.center
    known = np.isfinite(np.ravel([corners.x, corners.y]))
    if not known.all():
        if known.any():
            raise ValueError(
                f"line {shape.line}: the polygon goes beyond the sky that the image can show"
            )
        return  # on the other half of the sky
    if shape.kind == "point":
        x, y = (int(np.floor(value + 0.5)) for value in (area.center.x, area.center.y))
        limits = (x, x + 1, y, y + 1)
    else:
        bounds = area.bounding_box
        limits = (bounds.ixmin, bounds.ixmax, bounds.iymin, bounds.iymax)
    left, right = (int(np.clip(value, 0, size[1])) for value in limits[:2])
    bottom, top = (int(np.clip(value, 0, size[0])) for value in limits[2:])
    if left >= right:
        return
    rows = max(1, _BLOCK_PIXELS // (right - left))
    for first in range(bottom, top, rows):
        box = slice(first, min(first + rows, top)), slice(left, right)
        y, x = np.mgrid[box]
        inside = np.ones(x.shape, bool)
        if shape.kind != "point":
            inside = np.asarray(area.contains(regions.PixCoord(x, y)))
        yield box, inside


def region(shape: Shape, wcs: WCS, size: tuple[int, int]) -> Any:
    """Return a region of the package of that name, in pixels counted from 0.

    As DS9 draws it: its place is exact, its size is in pixels of the image's reference and its
    angle from the north in the image's middle. The package's own conversion takes scale and north
    at the region. A box drawn 5 deg from the middle of an image at a declination of 60 deg would
    be turned by 8 deg.
    """
    places = np.array(shape.points).T
    scale, turn = 1.0, 0.0
    if shape.frame == "image":
        x, y = places - 1
    else:
        frame = _FK4 if shape.frame == "fk4" else shape.frame
        x, y = wcs.world_to_pixel(SkyCoord(*places, unit="deg", frame=frame))
        scale = float(np.sqrt(abs(np.linalg.det(wcs.pixel_scale_matrix))))
        turn = _north_deg(wcs, size, frame) - 90
    if shape.kind == "polygon":
        return regions.PolygonPixelRegion(regions.PixCoord(x, y))
    where = regions.PixCoord(x[0], y[0])
    if shape.kind == "point":
        return regions.PointPixelRegion(where)
    sizes = [size / scale for size in shape.sizes]
    if shape.kind in ("circle", "annulus"):
        if len(sizes) == 2 and sizes[0] > 0:
            return regions.CircleAnnulusPixelRegion(where, *sizes)
        return regions.CirclePixelRegion(where, sizes[-1])
    return _turned(shape.kind, where, sizes, (shape.angle_deg + turn) * units.deg)


def _turned(kind: str, where: Any, sizes: Sequence[float], angle: Any) -> Any:
    """Return an ellipse or a box, or a ring of that form."""
    if kind == "box":
        whole, ring = regions.RectanglePixelRegion, regions.RectangleAnnulusPixelRegion
    else:  # of which the package takes whole axes, DS9 half ones
        whole, ring = regions.EllipsePixelRegion, regions.EllipseAnnulusPixelRegion
        sizes = [2 * size for size in sizes]
    if len(sizes) == 2:
        return whole(where, *sizes, angle)
    hole_width, hole_height, width, height = sizes
    return ring(where, hole_width, width, hole_height, height, angle)


def _north_deg(wcs: WCS, size: tuple[int, int], frame: Any) -> float:
    """Return the angle of a frame's north in an image's middle, from its first axis."""
    middle = np.array([size[1] / 2 - 1, size[0] / 2 - 1])
    sky = wcs.pixel_to_world(*middle)
    own = SkyCoord(0, 0, unit="deg", frame=frame).frame.replicate_without_data()
    there = SkyCoord(sky.frame.transform_to(own))
    step = float(np.sqrt(abs(np.linalg.det(wcs.pixel_scale_matrix)))) * units.deg
    north = wcs.world_to_pixel(there.directional_offset_by(0 * units.deg, step))
    return float(np.degrees(np.arctan2(north[1] - middle[1], north[0] - middle[0])))
