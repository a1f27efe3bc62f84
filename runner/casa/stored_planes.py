"""Planes of a CASA image read from its tiles, where that gives what CASA gives.

``image.getchunk`` takes 14 ns for a pixel and as much for its mask: with a cube of some million
pixels most of the time of measuring and proving it. Its tiles are read in a fifth of that, see
`cube_tiles`; some lines are held against ``getchunk`` first.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from . import cube_tiles
from .cube_tiles import Tiles

Axes = dict[str, int | None]

_AGREED: Final[set[tuple[int, ...]]] = set()
"""What has agreed in this process: a step opens the same images several times."""

LEAST_PIXELS: Final = 1_000_000
"""With fewer, finding the tiles and trying them takes longer than reading through CASA."""


@dataclass(frozen=True)
class StoredPlanes:
    """Where the planes of an image are; `mask` is None where it has none."""

    pixels: Tiles
    mask: Tiles | None

    def read(
        self, first: int, last: int
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_] | None]:
        """Read channels from the first up to, and without, the last.

        Returns
        -------
        tuple of array, shape (channels, n_y, n_x)
            Pixels, and where they are not masked; None for everywhere.
        """
        n_y = self.pixels.shape[1]
        mask = None if self.mask is None else self.mask.read(first, last, 0, n_y)
        return self.pixels.read(first, last, 0, n_y), mask


def find(path: Path | str, tool: Any, axes: Axes) -> StoredPlanes | None:
    """Find the planes of an open image.

    Parameters
    ----------
    path : Path or str
        The image.
    tool : casatools.image
        Has it open.
    axes : dict
        Which axis is x, y and spectral; others must have a length of 1.

    Returns
    -------
    StoredPlanes or None
        None where it is too small to be worth it, not stored as expected, or found to be read
        otherwise than CASA does.
    """
    if np.prod(tool.shape(), dtype=np.int64) < LEAST_PIXELS or not Path(path).is_dir():
        return None
    try:
        found = of_image(Path(path), tool, axes)
        mark = (*_mark(found.pixels), *(_mark(found.mask) if found.mask else ()))
        if mark not in _AGREED:
            if not _agrees(found, tool, axes):
                return None
            _AGREED.add(mark)
        return found
    except (DataError, OSError, ValueError, RuntimeError, KeyError):
        return None


def of_image(path: Path, tool: Any, axes: Axes) -> StoredPlanes:
    """Find the planes of an open image, untried.

    Raises
    ------
    DataError
        If they are not stored as is expected.
    """
    x, y = axes["x"], axes["y"]
    if x is None or y is None:  # whoever found the axes has found these
        raise DataError(f"{path}: no direction axes")
    three = (x, y, axes["spectral"])
    pixels = cube_tiles.find(path, "map", three, bits=False)
    names = [str(name) for name in np.ravel(tool.summary(list=False)["defaultmask"])]
    if not (names and names[0]):
        return StoredPlanes(pixels, None)
    return StoredPlanes(pixels, cube_tiles.find(path / names[0], "PagedArray", three, bits=True))


def _mark(tiles: Tiles) -> tuple[int, ...]:
    """Tell stored tiles from any others, and from what they are when somebody changed them."""
    status = tiles.file.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _agrees(found: StoredPlanes, tool: Any, axes: Axes) -> bool:
    """Hold two lines of three places of three channels against what CASA says."""
    _, n_y, n_chan = found.pixels.shape
    for channel in {0, n_chan // 2, n_chan - 1}:
        for low in {0, n_y // 2, max(0, n_y - 2)}:
            lines = (channel, channel + 1, low, min(low + 2, n_y))
            box = _box(tool, axes, lines)
            theirs = np.squeeze(tool.getchunk(*box)).astype(np.float32)
            ours = np.squeeze(found.pixels.read(*lines)).T
            if not np.array_equal(ours, theirs, equal_nan=True):
                return False
            valid = np.squeeze(tool.getchunk(*box, getmask=True))
            mask = True if found.mask is None else np.squeeze(found.mask.read(*lines)).T
            if not np.all(mask == valid):
                return False
    return True


def _box(tool: Any, axes: Axes, lines: tuple[int, int, int, int]) -> tuple[list[int], list[int]]:
    """Return the first and the last pixel of some lines of a channel."""
    shape = [int(side) for side in tool.shape()]
    corner, end = [0] * len(shape), [side - 1 for side in shape]
    first, _, low, high = lines
    for name, (start, stop) in {"y": (low, high), "spectral": (first, first + 1)}.items():
        axis = axes[name]
        if axis is not None:
            corner[axis], end[axis] = start, stop - 1
    return corner, end
