"""Masks for tclean: as images of ones and zeros, and as rectangles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from .config import configure
from .image_file import image_axes


def write(template: Path | str, mask: npt.NDArray[np.bool_], path: Path | str) -> None:
    """Write a mask of one channel on another image's pixels; tclean takes it for all channels.

    Parameters
    ----------
    template : Path or str
        An image with these pixels, of any number of channels.
    mask : array of bool, shape (n_y, n_x)
        What to clean.
    path : Path or str
        Where to; what is there is replaced.
    """
    configure()
    from casatools import image

    source, made = image(), image()
    source.open(str(template))
    try:
        coordinates = source.coordsys()
        axes = image_axes(coordinates.axiscoordinatetypes(), str(template))
        shape = [int(side) for side in source.shape()]
        if axes["spectral"] is not None:
            shape[axes["spectral"]] = 1
        record = coordinates.torecord()
        coordinates.done()
        made.fromshape(outfile=str(path), shape=shape, csys=record, overwrite=True)
        plane = mask.T.reshape([*mask.T.shape, *[1] * (len(shape) - 2)])
        made.putchunk(np.broadcast_to(plane, shape).astype(float))
    finally:
        made.done()
        source.done()


def rectangles(mask: npt.NDArray[np.bool_]) -> list[tuple[int, int, int, int]]:
    """Divide a mask into rectangles: equal runs of pixels in rows that follow each other are one.

    Parameters
    ----------
    mask : array of bool, shape (n_y, n_x)
        Pixels.

    Returns
    -------
    list of tuple of int
        ``x_first, y_first, x_last, y_last`` of each, all included, from below.
    """
    found, growing = list[tuple[int, int, int, int]](), dict[tuple[int, int], int]()
    for y, row in enumerate(mask):
        edges = np.flatnonzero(np.diff(row, prepend=False, append=False))
        runs = list(zip(edges[::2].tolist(), (edges[1::2] - 1).tolist(), strict=True))
        for run in [run for run in growing if run not in runs]:
            found.append((run[0], growing.pop(run), run[1], y - 1))
        for run in runs:
            growing.setdefault(run, y)
    found += [(first, y, last, len(mask) - 1) for (first, last), y in growing.items()]
    return sorted(found, key=lambda one: (one[1], one[0]))
