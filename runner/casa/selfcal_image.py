"""What the images of a self-calibration need of CASA besides tclean: planes, masks, weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from . import image_file, read
from .config import configure

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Plane:
    """The first plane of an image.

    Attributes
    ----------
    pixels : array, shape (n_y, n_x)
        Their values, 0 where they are not valid.
    valid : array of bool, shape (n_y, n_x)
        Where they are unmasked and finite.
    beam : tuple of float or None
        The synthesized beam: bmaj_arcsec, bmin_arcsec, bpa_deg.
    cell_arcsec : float
        The pixel.
    """

    pixels: Floats
    valid: Bools
    beam: tuple[float, float, float] | None
    cell_arcsec: float


def plane(path: Path | str) -> Plane:
    """Read the first plane of an image.

    Raises
    ------
    DataError
        If it cannot be opened.
    """
    with image_file.ImageFile(path) as image:
        pixels, valid = image.plane(0)
        header = image.header
        beam = header.beams[0] if header.beams else None
        cell = abs(header.increment_deg[1]) * 3600
    return Plane(np.where(valid, pixels, 0.0), valid.copy(), beam, cell)


def write_mask(template: Path | str, mask: Bools, path: Path | str) -> None:
    """Write a mask for tclean: an image of ones and zeros on another one's grid.

    Parameters
    ----------
    template : Path or str
        An image with one channel and one Stokes parameter.
    mask : array of bool, shape (n_y, n_x)
        What to clean.
    path : Path or str
        Where to; what is there is replaced.
    """
    configure()
    from casatools import image

    source = image()
    source.open(str(template))
    try:
        shape = source.shape()
        made = source.newimagefromimage(infile=str(template), outfile=str(path), overwrite=True)
        try:
            made.calcmask("T")
            made.putchunk(mask.T.astype(float).reshape(shape))
        finally:
            made.done()
    finally:
        source.done()


def stored(path: Path | str) -> Floats:
    """Return the pixels of an image of one plane as they are, shape (n_y, n_x)."""
    configure()
    from casatools import image

    tool = image()
    tool.open(str(path))
    try:
        return np.asarray(tool.getchunk(dropdeg=True)).T
    finally:
        tool.done()


def write_plane(path: Path | str, pixels: Floats | Bools) -> None:
    """Replace the pixels of an image of one plane.

    Parameters
    ----------
    path : Path or str
        The image.
    pixels : array, shape (n_y, n_x)
        What it shall hold.
    """
    configure()
    from casatools import image

    tool = image()
    tool.open(str(path))
    try:
        tool.putchunk(pixels.T.astype(float).reshape(tool.shape()))
    finally:
        tool.done()


def imaged_parts(vis: str, spw: str) -> dict[int, float]:
    """Return which part of each spectral window's channels a selection takes.

    Parameters
    ----------
    vis : str
        The MS.
    spw : str
        CASA's selection; empty for all.

    Returns
    -------
    dict
        Parts of 1 by id; windows that are not selected are left out.
    """
    about = read.layout(vis)
    if not spw:
        return dict.fromkeys(about.spw_of, 1.0)
    configure()
    from casatools import ms

    tool = ms()
    chosen = tool.msseltoindex(vis=vis, spw=spw)
    tool.done()
    found: dict[int, float] = {}
    for window, first, last, step in np.reshape(chosen["channel"], (-1, 4)).tolist():
        number = 1 + (last - first) // max(step, 1)
        total = len(about.frequencies_hz[window])
        found[window] = min(1.0, found.get(window, 0.0) + number / total)
    return found


def noise_factor(vis: list[str], tclean: Mapping[str, Any]) -> float:
    """Return by how much the weighting raises an image's noise above that of natural weighting.

    Parameters
    ----------
    vis : list of str
        The MSs that are imaged together; they are read only.
    tclean : mapping
        tclean's parameters: imsize, cell, weighting, robust, spw.

    Returns
    -------
    float
        At least 1; from the weights of the data and the density of the uv plane (CASA's
        imager, ``apparentsens``). 1 where CASA cannot tell.
    """
    weighting = str(tclean.get("weighting", "natural"))
    if weighting == "natural":
        return 1.0
    configure()
    from casatools import imager

    size = np.ravel(tclean["imsize"]).tolist()
    cell = np.ravel(tclean["cell"]).tolist()
    tool = imager()
    try:
        for one in vis:
            tool.selectvis(vis=one, spw=str(tclean.get("spw", "")), writeaccess=False)
        tool.defineimage(nx=size[0], ny=size[-1], cellx=str(cell[0]), celly=str(cell[-1]))
        tool.weight(
            type=weighting if weighting in ("uniform", "radial") else "briggs",
            rmode="none" if weighting == "uniform" else "norm",  # else it weighs by `robust`
            robust=float(tclean.get("robust", 0.5)),
        )
        good, _, factor = tool.apparentsens()
    except RuntimeError:
        return 1.0
    finally:
        tool.close()
    return max(1.0, float(factor)) if good and np.isfinite(factor) else 1.0
