"""A cube of the user's or of the run, CASA image or FITS, read some channels at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from . import cube_tiles, stored_planes
from .image_file import open_image

Plane = npt.NDArray[np.float32]
Block = npt.NDArray[np.float32]
"""Of shape (channels, n_y, n_x); NaN where it is masked."""

_Reader = Callable[[int, int, int, int], Block]
"""Reads channels, and rows, from the first up to, and without, the last."""


class CubeFile:
    """An open cube of one Stokes parameter.

    Its tiles, or the numbers of a FITS file, are read directly where that gives what CASA
    gives: that is tried on some of them when it is opened. Else it is read through CASA.

    Parameters
    ----------
    path : Path or str
        A CASA image or a FITS file.

    Raises
    ------
    DataError
        If it cannot be opened, has no two direction axes, or more than one Stokes parameter.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._tool, self.axes, self.header = open_image(path)
        if self.header.n_stokes > 1:
            self._tool.done()
            raise DataError(
                f"{path}: has {self.header.n_stokes} Stokes parameters; cubes are processed with "
                "one: make a cube of each"
            )
        self._read = self._fastest()

    def __enter__(self) -> CubeFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._tool.done()

    @property
    def direct(self) -> bool:
        """Whether the file is read without CASA."""
        return self._read != self._through_casa

    def read(self, first: int, last: int) -> Block:
        """Read channels from the first up to, and without, the last."""
        return self._read(first, last, 0, self.header.n_y)

    def read_rows(self, channel: int, low: int, high: int) -> Plane:
        """Read rows of a channel from the first up to, and without, the last."""
        plane: Plane = self._read(channel, channel + 1, low, high)[0]
        return plane

    def box(self, channel: int, x: tuple[int, int], y: tuple[int, int]) -> Plane:
        """Read a part of a channel through CASA; `x` and `y` end before their second number."""
        plane: Plane = self._boxed(channel, channel + 1, x, y)[0]
        return plane

    def spectrum(self, x: int, y: int) -> npt.NDArray[np.float32]:
        """Read all channels of a pixel."""
        return self._boxed(0, self.header.n_chan, (x, x + 1), (y, y + 1)).ravel()

    def _fastest(self) -> _Reader:
        try:
            read = self._of_fits() if self.path.is_file() else self._of_tiles()
            if self._agrees(read):
                return read
        except (DataError, OSError, ValueError, RuntimeError, KeyError):
            pass
        return self._through_casa

    def _of_tiles(self) -> _Reader:
        found = stored_planes.of_image(self.path, self._tool, self.axes)
        pixels, mask = found.pixels, found.mask

        def read(first: int, last: int, low: int, high: int) -> Block:
            block: Block = pixels.read(first, last, low, high)
            if mask is not None:
                block[~mask.read(first, last, low, high)] = np.nan
            return _finite(block)

        return read

    def _of_fits(self) -> _Reader:
        from astropy.io import fits

        with fits.open(self.path, memmap=True, lazy_load_hdus=True) as file:
            header = file[0].header
            if header["BITPIX"] != -32 or not cube_tiles.in_order(self._three):
                raise DataError("not single precision in the usual order")
            start = file[0].fileinfo()["datLoc"]
        n_y, n_x = self.header.n_y, self.header.n_x

        def read(first: int, last: int, low: int, high: int) -> Block:
            block = np.empty((last - first, high - low, n_x), np.float32)
            with self.path.open("rb") as file:
                for channel in range(first, last):
                    file.seek(start + 4 * n_x * (channel * n_y + low))
                    plane = np.fromfile(file, ">f4", (high - low) * n_x)
                    block[channel - first] = plane.reshape(-1, n_x)
            return _finite(block)

        return read

    @property
    def _three(self) -> tuple[int, int, int | None]:
        x, y = self.axes["x"], self.axes["y"]
        if x is None or y is None:  # image_axes has found them
            raise DataError(f"{self.path}: no direction axes")
        return x, y, self.axes["spectral"]

    def _agrees(self, read: _Reader) -> bool:
        """Hold small boxes of the first and the last channel against what CASA says."""
        header = self.header
        for channel in {0, header.n_chan // 2, header.n_chan - 1}:
            block = read(channel, channel + 1, 0, header.n_y)[0]
            for y in (0, header.n_y // 2, max(0, header.n_y - 8)):
                for x in (0, header.n_x // 2, max(0, header.n_x - 8)):
                    ours = block[y : y + 8, x : x + 8]
                    theirs = self.box(channel, (x, x + 8), (y, y + 8))
                    if not np.array_equal(ours, theirs, equal_nan=True):
                        return False
        return True

    def _through_casa(self, first: int, last: int, low: int, high: int) -> Block:
        return self._boxed(first, last, (0, self.header.n_x), (low, high))

    def _boxed(self, first: int, last: int, x: tuple[int, int], y: tuple[int, int]) -> Block:
        """Read a box through CASA: from the first channel, x and y up to, and without, the last."""
        shape = [int(side) for side in self._tool.shape()]
        corner, end = [0] * len(shape), [side - 1 for side in shape]
        for name, (low, high) in {"x": x, "y": y, "spectral": (first, last)}.items():
            axis = self.axes[name]
            if axis is not None:
                corner[axis], end[axis] = low, min(high, shape[axis]) - 1
        pixels = self._ordered(self._tool.getchunk(corner, end)).astype(np.float32)
        valid = self._ordered(self._tool.getchunk(corner, end, getmask=True))
        pixels[~valid.astype(bool)] = np.nan
        return _finite(pixels)

    def _ordered(self, chunk: Any) -> Any:
        """Return a chunk with the axes channel, y, x."""
        order = [self.axes[name] for name in ("spectral", "y", "x")]
        present = [axis for axis in order if axis is not None]
        moved = np.moveaxis(chunk, present, range(-len(present), 0))
        return np.ascontiguousarray(moved.reshape(-1, *moved.shape[-2:]))


def _finite(block: Block) -> Block:
    """Return a block in which what is infinite is masked, too."""
    infinite = np.isinf(block)
    if infinite.any():
        block[infinite] = np.nan
    return block
