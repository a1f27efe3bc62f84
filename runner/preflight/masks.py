"""Whether a clean mask can be used, and falls on its image.

A mask's region file is part of the recipe, and the one file that the preflight reads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ..observation import Field
from ..recipe import ds9_regions, regions
from ..stages.draft import Draft
from ..stages.picture import Picture

_FRAMES: Final = ("J2000", "ICRS", "FK5")
_FITS: Final = b"SIMPLE  ="


def check(draft: Draft, picture: Picture, centre: Field | None) -> None:
    """Hold an image's mask against the image.

    Parameters
    ----------
    draft : Draft
        Takes the problems and warnings.
    picture : Picture
        The image.
    centre : Field or None
        Its phase centre, where that is known.
    """
    mask, key = picture.image.mask, picture.key("mask")
    if mask in ("none", "auto-multithresh"):
        return
    path = Path(mask)
    if path.is_dir():
        if not (path / "table.dat").is_file():
            draft.problem(f"{mask} is a folder, and no CASA image: it has no table.dat", key)
        return
    try:
        with path.open("rb") as file:
            content = file.read(ds9_regions.LARGEST_BYTES)
    except OSError:
        return  # that it is not there the recipe's paths say, or the step
    if content.startswith(_FITS):
        draft.problem(
            f"{mask} is a FITS image: tclean takes CASA images; make one with importfits, or a "
            "region file (.crtf)",
            key,
        )
        return
    text = content.decode("utf-8", "replace")
    if ds9_regions.is_ds9(mask):
        _ds9(draft, picture, centre, text)
    elif text.lstrip().startswith(regions.HEADER):
        _crtf(draft, picture, centre, text)
    else:
        draft.problem(
            f"{mask} is no CRTF region file: its first line does not begin with "
            f"{regions.HEADER}v0; save the region in CASA's format, or as a DS9 region file whose "
            f"name ends with {ds9_regions.SUFFIX}",
            key,
        )


def check_measured(draft: Draft, picture: Picture) -> None:
    """Read the region files over which an image is measured; one may lie beside an image."""
    for place, file in enumerate(picture.image.regions):
        key, name = picture.key("regions", place), Path(file).name
        if not ds9_regions.is_ds9(file):
            draft.problem(f"{name}: only DS9 region files ({ds9_regions.SUFFIX}) are read", key)
            continue
        try:
            with Path(file).open("rb") as opened:
                content = opened.read(ds9_regions.LARGEST_BYTES)
        except OSError:
            continue  # that it is not there the recipe's paths say, or the step
        found = ds9_regions.read(content.decode("utf-8", "replace"))
        for complaint in found.complaints():
            draft.problem(f"{name}: {complaint}", key)
        if not found.shapes and not found.unusable:
            draft.problem(f"{name} has no region: there is nothing to measure", key)


def _crtf(draft: Draft, picture: Picture, centre: Field | None, text: str) -> None:
    """Hold a region file of CASA's against the image."""
    key, name = picture.key("mask"), Path(picture.image.mask).name
    try:
        areas = regions.regions(text)
    except ValueError as error:
        draft.warn(f"{name}: {error}", key)
        return
    if not areas:
        draft.problem(
            f"{name} has no region with an area: tclean would take it for an empty mask, and not "
            "clean",
            key,
        )
        return
    _place(draft, picture, centre, areas)


def _ds9(draft: Draft, picture: Picture, centre: Field | None, text: str) -> None:
    """Hold a region file of DS9's against the image: what tclean never sees must be right here."""
    key, name = picture.key("mask"), Path(picture.image.mask).name
    found = ds9_regions.read(text)
    for complaint in found.complaints():
        draft.problem(f"{name}: {complaint}", key)
    if found.unusable:
        return
    if not found.shapes:
        draft.problem(f"{name} has no region: nothing would be cleaned", key)
        return
    if not found.included:
        draft.warn(f"{name} only takes away: all the rest of the image is cleaned", key)
        return
    _place(draft, picture, centre, [_area(shape) for shape in found.included])


def _area(shape: ds9_regions.Shape) -> regions.Region:
    """Return a region of DS9's as one of CASA's: in its frame, its pixels counted from 0."""
    if shape.frame != "image":
        return regions.Region(shape.kind, shape.points, shape.reach, shape.frame.upper())
    points = tuple((x - 1, y - 1) for x, y in shape.points)
    return regions.Region(shape.kind, points, shape.reach, "pix")


def _place(
    draft: Draft, picture: Picture, centre: Field | None, areas: Sequence[regions.Region]
) -> None:
    key = picture.key("mask")
    places = [_offset(area, centre, picture) for area in areas]
    if any(place is None for place in places):
        return
    known = [place for place in places if place is not None]
    half = tuple(0.5 * side * picture.cell_arcsec for side in picture.sides)
    if any(abs(x) <= half[0] + reach and abs(y) <= half[1] + reach for x, y, reach in known):
        return
    x, y, _ = min(known, key=lambda place: math.hypot(place[0], place[1]))
    draft.problem(
        f"no region of {Path(picture.image.mask).name} falls on the image of {picture.target}: the "
        f"nearest is {math.hypot(x, y) / 60:.4g} arcmin from its centre, and the image reaches "
        f"{min(half) / 60:.3g} arcmin; check the region's coordinates, imsize and cell",
        key,
    )


def _offset(
    area: regions.Region, centre: Field | None, picture: Picture
) -> tuple[float, float, float] | None:
    """Return offsets of a region from the image's centre, and its reach, in arcsec.

    None where that cannot be told. The reach of a box or polygon is that of its corners.
    """
    x, y = area.centre
    corners = [math.hypot(px - x, py - y) for px, py in area.points]
    if area.frame == "pix":
        cell = picture.cell_arcsec
        middle = tuple(side // 2 for side in picture.sides)
        reach = max(area.reach, *corners) * cell
        return (x - middle[0]) * cell, (y - middle[1]) * cell, reach
    if centre is None or area.frame not in _FRAMES or math.isnan(y):
        return None
    lon = math.radians(x - centre.ra_deg)
    lat, lat0 = math.radians(y), math.radians(centre.dec_deg)
    # Orthographic (SIN) projection, that of tclean's images.
    east = math.cos(lat) * math.sin(lon)
    north = math.sin(lat) * math.cos(lat0) - math.cos(lat) * math.sin(lat0) * math.cos(lon)
    ahead = math.sin(lat) * math.sin(lat0) + math.cos(lat) * math.cos(lat0) * math.cos(lon)
    scale = math.degrees(1) * 3600
    if ahead <= 0:  # behind the tangent point: as far as a half turn of the sky
        east, north = math.pi, math.pi
    return east * scale, north * scale, 3600 * max(area.reach, *corners)


def direction(longitude: str, latitude: str) -> tuple[float, float]:
    """Return a direction as CASA writes one in deg; NaN where that is ambiguous.

    Raises
    ------
    ValueError
        If it is none.
    """
    return regions.place(longitude, 0), regions.place(latitude, 1)
