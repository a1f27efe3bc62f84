"""Casarun's own regions of an image, as a DS9 region file: clean mask, primary beam, sources."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..casa import image_file
from ..errors import DataError
from .outlines import outlines
from .pictures import Picture

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

SYSTEMS = {"J2000": "fk5", "ICRS": "icrs", "B1950": "fk4", "GALACTIC": "galactic"}
"""DS9's names of CASA's frames."""

MASK, BEAM, SOURCES = "clean_mask", "primary_beam", "sources"
"""Tags; DS9 takes no more than a word."""
_HEAD = """# Region file format: DS9 version 4.1
global color=cyan width=1 font="helvetica 10 normal roman" select=1 edit=1 move=1 delete=1 include=1
"""
_CATALOGUE = "sources.reg"
_FRAME = re.compile("|".join(SYSTEMS.values()))
_SOURCE = re.compile(r'ellipse\([0-9.,"+-]+\) # text=\{\w+\}')
_CORNERS = 180
"""A primary beam's outline has at most so many corners."""


def sources(picture: Picture) -> list[Path]:
    """Return the images of which the regions of a picture are made; none where there are none."""
    return [path for path in map(picture.beside, ("mask", "pb", _CATALOGUE)) if path is not None]


def write(picture: Picture, path: Path) -> None:
    """Write the regions of a picture's run to a file; see `text`."""
    path.write_text(text(picture), encoding="ascii")


def text(picture: Picture) -> str:
    """Return the regions of a picture, in its own frame on the sky.

    The mask of a cube is that of any of its channels: a region is on all channels in DS9. Each
    region has a tag, by which DS9 selects all of its kind.

    Raises
    ------
    DataError
        If an image cannot be read.
    """
    lines = []
    mask, beam = picture.beside("mask"), picture.beside("pb")
    if mask is not None:
        with image_file.ImageFile(mask) as image:
            lines += list(_mask(image))
    if beam is not None:
        with image_file.ImageFile(beam) as image:
            lines += list(_beam(image))
    catalogue = picture.beside(_CATALOGUE)
    if catalogue is not None:
        lines += list(_sources(catalogue.read_text("ascii", "replace")))
    return _HEAD + "".join(f"{line}\n" for line in lines)


def _mask(image: image_file.ImageFile) -> Iterator[str]:
    """Give the outlines of a mask."""
    header = image.header
    taken: Bools = np.zeros((header.n_y, header.n_x), bool)
    for channel in range(header.n_chan):
        pixels, valid = image.plane(channel)
        taken |= valid & (pixels > 0.5)
    if taken.all():
        return  # cleaned everywhere: there is nothing to see
    try:
        corners = outlines(taken)
    except ValueError:
        return
    yield from _polygons(header, corners, f"tag={{{MASK}}}")


def _beam(image: image_file.ImageFile) -> Iterator[str]:
    """Give the outline of where the primary beam has fallen to half."""
    from contourpy import contour_generator

    header = image.header
    pixels, valid = image.plane(header.n_chan // 2)
    # What lies beyond is less than half: so the outline is closed at the image's edge, too.
    response = np.pad(np.where(valid, pixels, 0.0), 1)
    corners = []
    for line in contour_generator(z=response).lines(0.5):
        step = max(1, len(line) // _CORNERS)
        corners.append(np.asarray(line)[:-1:step] - 1)
    about = f"color=yellow dash=1 edit=0 move=0 tag={{{BEAM}}}"
    yield from _polygons(header, [each for each in corners if len(each) > 2], about)


def _sources(text: str) -> Iterator[str]:
    """Give the ellipses of a catalogue of sources, with a colour of their own."""
    for line in text.splitlines():
        if _FRAME.fullmatch(line):
            yield line
        elif _SOURCE.fullmatch(line):
            yield f"{line} color=magenta tag={{{SOURCES}}}"


def _polygons(
    header: image_file.ImageHeader, corners: Sequence[Floats], about: str
) -> Iterator[str]:
    from ..qa.images import sky_of

    system = SYSTEMS.get(header.frame)
    if system is None:
        raise DataError(f"{header.path}: DS9 has no frame for {header.frame}")
    wcs = sky_of(header, None).wcs()
    yield system
    for each in corners:
        places = np.column_stack(wcs.wcs_pix2world(each[:, 0], each[:, 1], 0))
        if np.isfinite(places).all():
            # 1e-9 deg is 4 microarcsec: no corner comes near another pixel's centre.
            yield f"polygon({','.join(f'{value:.9f}' for value in places.ravel())}) # {about}"
