"""What the images of a cube's ranges say of themselves, and what the cube joined from them says.

CASA's ``imageconcat`` says the same of cubes whose ranges follow each other, which the tests hold
this to. Whatever is not as it is in the ranges of one cube is refused here, and left to CASA.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from ..errors import DataError
from . import cube_tiles
from .config import configure
from .cube_tiles import Tiles
from .tables import open_table

_KNOWN: Final = frozenset(
    {"ATTRGROUPS", "Image_defaultmask", "coords", "imageinfo", "logtable", "masks", "miscinfo",
     "units"}
)  # fmt: skip
_INFO: Final = frozenset({"imagetype", "objectname", "perplanebeams", "restoringbeam"})
_AXES: Final = (0, 1, 3)
_STOKES: Final = 2
_MAPS: Final = {"direction": [0, 1], "stokes": [2], "spectral": [3]}
_PIXELS_APART: Final = 1e-6
MASK: Final = "mask0"
"""As CASA calls an image's first mask."""

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Header:
    """What an image of axes x, y, Stokes and channel says of itself.

    Attributes
    ----------
    path : Path
        The image.
    pixels : Tiles
        Where they are.
    mask : Tiles or None
        Where that is; None without a mask.
    keywords : mapping
        Of its table.
    """

    path: Path
    pixels: Tiles
    mask: Tiles | None
    keywords: Record

    @property
    def n_chan(self) -> int:
        """How many channels it has."""
        return self.pixels.shape[2]

    @property
    def plane(self) -> tuple[int, ...]:
        """What a channel has: columns, rows, Stokes parameters."""
        return (*self.pixels.shape[:2], self.pixels.stokes[0])


def read(path: Path) -> Header:
    """Read what an image says of itself.

    Raises
    ------
    DataError
        If it is not as the images of a cube are.
    """
    with open_table(path) as opened:
        plain = opened.nrows() == 1 and list(opened.colnames()) == ["map"]
        if not plain or opened.getcoldesc("map")["valueType"] != "float":
            raise DataError(f"{path}: not one array of single precision")
        if len(opened.getcoldesc("map").get("shape", ())) not in (0, 4):
            raise DataError(f"{path}: not of four axes")
        pixels = cube_tiles.of_table(opened, path, "map", _AXES, bits=False, stokes=_STOKES)
        keywords = opened.getkeywords()
    if set(keywords) - _KNOWN or keywords.get("ATTRGROUPS") or "coords" not in keywords:
        raise DataError(f"{path}: says more of itself than is known of images")
    return Header(path, pixels, _mask(path, keywords, pixels), keywords)


def _mask(path: Path, keywords: Record, pixels: Tiles) -> Tiles | None:
    """Return where an image's mask is."""
    name, masks = str(keywords.get("Image_defaultmask", "")), keywords.get("masks", {})
    if not name and not masks:
        return None
    if list(masks) != [name] or masks[name].get("name") != "LCPagedMask":
        raise DataError(f"{path}: several masks, or one that is not stored with it")
    found = cube_tiles.find(path / name, "PagedArray", _AXES, bits=True, stokes=_STOKES)
    if (found.shape, found.stokes[0]) != (pixels.shape, pixels.stokes[0]):
        raise DataError(f"{path}: its mask is not of its shape")
    return found


def joined(headers: Sequence[Header]) -> dict[str, Any]:
    """Return what the cube joined from ranges says of itself.

    Returns
    -------
    dict
        `coords`, `imageinfo`, `miscinfo`, `units`, as keywords of an image.

    Raises
    ------
    DataError
        If they do not follow each other, or CASA's own rules are needed to say it.
    """
    first, offset = headers[0], 0
    for header in headers:
        if header.plane != first.plane:
            raise DataError(f"{header.path}: its planes are not of the shape of the first's")
        _require_next(first, header, offset)
        offset += header.n_chan
    units = {str(header.keywords.get("units", "")) for header in headers}
    if len(units) > 1:
        raise DataError(f"{first.path}: the ranges have several units")
    return {
        "coords": first.keywords["coords"],
        "imageinfo": _info(headers, offset),
        "miscinfo": _misc(headers),
        "units": units.pop(),
    }


def _require_next(first: Header, header: Header, offset: int) -> None:
    """Refuse a range that does not begin where those before it end."""
    ours, (other, pixel) = _without_place(first), _without_place(header)
    if not _same(ours[0], other) or abs(ours[1] - offset - pixel) > _PIXELS_APART:
        raise DataError(f"{header.path}: its coordinates do not follow those before it")


def _without_place(header: Header) -> tuple[Record, float]:
    """Return coordinates without the reference pixel of the linear spectral axis, and that."""
    coords = dict(header.keywords["coords"])
    for kind, axes in _MAPS.items():
        number = next((key.removeprefix(kind) for key in coords if key.startswith(kind)), "")
        if not number or list(coords.get(f"pixelmap{number}", ())) != axes:
            raise DataError(f"{header.path}: not of the axes of the sky, Stokes and channel")
        if kind == "spectral":
            axis = coords[f"spectral{number}"]
            if "wcs" not in axis or "tabular" in axis:
                raise DataError(f"{header.path}: its channels are not evenly spaced")
            linear = {key: value for key, value in axis["wcs"].items() if key != "crpix"}
            coords[f"spectral{number}"] = {**axis, "wcs": linear}
            place = float(axis["wcs"]["crpix"])
    return coords, place


def _same(one: Any, other: Any) -> bool:
    """Tell whether two records have the same values."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    return type(one) is type(other) and np.array_equal(one, other)


def _misc(headers: Sequence[Header]) -> dict[str, Any]:
    """Return all that the ranges say; what several say under the same name gets a number."""
    found: dict[str, Any] = {}
    for header in headers:
        for key, value in header.keywords.get("miscinfo", {}).items():
            name, number = key, 0
            while name in found:
                number += 1
                name = f"{key}_{number}"
            found[name] = value
    return found


def _info(headers: Sequence[Header], n_chan: int) -> dict[str, Any]:
    """Return kind, object and beams of the cube."""
    each = [dict(header.keywords.get("imageinfo", {})) for header in headers]
    own = [{key: one.get(key, "") for key in ("imagetype", "objectname")} for one in each]
    if any(one.keys() - _INFO for one in each) or any(one != own[0] for one in own):
        raise DataError(f"{headers[0].path}: the ranges are not of one kind and object")
    found: dict[str, Any] = {"imagetype": own[0]["imagetype"] or "Intensity"}
    found["objectname"] = own[0]["objectname"]
    whole = [one.get("restoringbeam") for one in each]
    if whole[0] and all(_same(beam, whole[0]) for beam in whole):
        return found | {"restoringbeam": whole[0]}
    if not any("restoringbeam" in one or "perplanebeams" in one for one in each):
        return found
    return found | {"perplanebeams": _planes(headers, each, n_chan)}


def _planes(headers: Sequence[Header], each: Sequence[Record], n_chan: int) -> dict[str, Any]:
    """Return the beams of all planes; CASA counts them channel by channel, then Stokes."""
    n_stokes = headers[0].plane[2]
    found: dict[str, Any] = {"nChannels": n_chan, "nStokes": n_stokes}
    offset = 0
    for header, info in zip(headers, each, strict=True):
        for stokes, channel, beam in _beams(header, info):
            found[f"*{stokes * n_chan + offset + channel}"] = beam
        offset += header.n_chan
    if len(found) != 2 + n_chan * n_stokes:
        raise DataError(f"{headers[0].path}: some planes of the ranges have no beam")
    return found


def _beams(header: Header, info: Record) -> Iterator[tuple[int, int, Any]]:
    """Yield Stokes parameter, channel and beam of each plane of a range."""
    n_chan, n_stokes = header.n_chan, header.plane[2]
    planes = info.get("perplanebeams", {})
    if planes and (planes.get("nChannels"), planes.get("nStokes")) != (n_chan, n_stokes):
        raise DataError(f"{header.path}: its beams are not of its planes")
    if not planes and (n_stokes > 1 or "restoringbeam" not in info):
        raise DataError(f"{header.path}: one beam beside ranges of many, or none")
    for stokes in range(n_stokes):
        for channel in range(n_chan):
            key = f"*{stokes * n_chan + channel}"
            yield stokes, channel, planes[key] if planes else info["restoringbeam"]


def write_empty(headers: Sequence[Header], out: Path) -> None:
    """Write the cube of all ranges without their pixels.

    Raises
    ------
    DataError
        If CASA must join them (see `joined`).
    """
    about = joined(headers)
    configure()
    from casatools import image

    n_chan = sum(header.n_chan for header in headers)
    tool = image()
    try:
        shape = [*headers[0].plane, n_chan]
        tool.fromshape(str(out), shape, csys=about["coords"], overwrite=True, log=False)
        if any(header.mask for header in headers):
            tool.calcmask("T", name=MASK)
    finally:
        tool.done()
    with open_table(out, change=True) as opened:
        opened.putkeywords({key: about[key] for key in ("imageinfo", "miscinfo", "units")})
    _write_history(headers, out)


def _write_history(headers: Sequence[Header], out: Path) -> None:
    """Give the cube the histories of its ranges, and say what it is joined of."""
    from casatools import image

    log = str(out / "logtable")
    with open_table(log, change=True) as opened:
        if opened.nrows():
            opened.removerows(list(range(opened.nrows())))
    for header in headers:
        with open_table(header.path / "logtable") as opened:
            if opened.nrows():
                opened.copyrows(log)
    tool = image()
    try:
        tool.open(str(out))
        names = ", ".join(header.path.name for header in headers)
        tool.sethistory("casarun", [f"Joined {len(headers)} ranges of channels: {names}"])
    finally:
        tool.done()
