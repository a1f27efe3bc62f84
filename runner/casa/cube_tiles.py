"""The tiles of a casacore array on disk, read and written directly.

``image.getchunk`` gives doubles and takes 20 to 60 ms a megapixel, ``putchunk`` 40 ms; the tiles
themselves can be read in 3. casacore's tiled storage managers (casacore note 260, "The
Tiled Storage Managers") keep an array as equal tiles, one after the other, those of the first axis
next to each other; numbers in the table's byte order, Booleans as bits. What is read so is held
against ``getchunk`` when a cube is opened (`cube_file`), and another layout is read through CASA.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from .tables import open_table

_MANAGERS: Final = ("TiledCellStMan", "TiledShapeStMan", "TiledColumnStMan")


@dataclass(frozen=True)
class Tiles:
    """A stored array of three axes: x, y and channel; axes of length 1 do not count.

    Attributes
    ----------
    file : Path
        Where the tiles are.
    shape, tile : tuple of int
        Of the array and of a tile: x, y, channel.
    dtype : numpy dtype
        Of a number, with its byte order; ``bool`` for bits.
    bucket_bytes : int
        From a tile to the next.
    """

    file: Path
    shape: tuple[int, int, int]
    tile: tuple[int, int, int]
    dtype: np.dtype[Any]
    bucket_bytes: int

    @property
    def counts(self) -> tuple[int, int, int]:
        """How many tiles there are along x, y and channel."""
        x, y, channel = (math.ceil(n / t) for n, t in zip(self.shape, self.tile, strict=True))
        return x, y, channel

    def read(self, first: int, last: int, low: int, high: int) -> npt.NDArray[Any]:
        """Read channels and rows from the first up to, and without, the last.

        No more is held than a row of tiles besides.

        Returns
        -------
        array, shape (channels, rows, n_x)
        """
        n_x = self.shape[0]
        _, t_y, t_c = self.tile
        out = np.empty((last - first, high - low, n_x), self.dtype.newbyteorder("="))
        with self.file.open("rb") as file:
            for layer in range(first // t_c, (last - 1) // t_c + 1):
                some = slice(max(first, layer * t_c), min(last, (layer + 1) * t_c))
                for row in range(low // t_y, (high - 1) // t_y + 1):
                    file.seek(self._place(layer, row))
                    tiles = self._numbers(file.read(self.counts[0] * self.bucket_bytes))
                    rows = slice(max(low, row * t_y), min(high, (row + 1) * t_y))
                    part = tiles[:, _moved(some, -layer * t_c), _moved(rows, -row * t_y)]
                    line = part.transpose(1, 2, 0, 3).reshape(*part.shape[1:3], -1)
                    out[_moved(some, -first), _moved(rows, -low)] = line[..., :n_x]
        return out

    def write(self, layer: int, row: int, planes: npt.NDArray[Any]) -> None:
        """Write rows of the planes of a layer of tiles; the file must be there.

        Parameters
        ----------
        layer, row : int
            Of tiles: where the first plane and the first line are.
        planes : array, shape (channels, lines, n_x)
            Whole tiles, but at the ends of the array.
        """
        n_x = self.shape[0]
        t_x, t_y, t_c = self.tile
        with self.file.open("r+b") as file:
            file.seek(self._place(layer, row))
            for start in range(0, planes.shape[1], t_y):
                part = planes[:, start : start + t_y]
                line = np.zeros((t_c, t_y, self.counts[0] * t_x), part.dtype)
                line[: len(part), : part.shape[1], :n_x] = part
                tiles = line.reshape(t_c, t_y, self.counts[0], t_x).transpose(2, 0, 1, 3)
                file.write(self._bytes(tiles))

    def _place(self, layer: int, row: int) -> int:
        return (layer * self.counts[1] + row) * self.counts[0] * self.bucket_bytes

    def _numbers(self, content: bytes) -> npt.NDArray[Any]:
        """Return a row of tiles, shape (tiles, channels, y, x) of a tile."""
        t_x, t_y, t_c = self.tile
        if self.dtype != np.bool_:
            return np.frombuffer(content, self.dtype).reshape(-1, t_c, t_y, t_x)
        packed = np.frombuffer(content, np.uint8).reshape(-1, self.bucket_bytes)
        bits = np.unpackbits(packed, axis=1, count=t_x * t_y * t_c, bitorder="little")
        return bits.reshape(-1, t_c, t_y, t_x).astype(bool)

    def _bytes(self, tiles: npt.NDArray[Any]) -> bytes:
        if self.dtype != np.bool_:
            return tiles.astype(self.dtype).tobytes()
        packed = np.packbits(tiles.reshape(len(tiles), -1), axis=1, bitorder="little")
        whole = np.zeros((len(tiles), self.bucket_bytes), np.uint8)
        whole[:, : packed.shape[1]] = packed
        return whole.tobytes()


def find(table: Path, column: str, axes: tuple[int, int, int | None], *, bits: bool) -> Tiles:
    """Find the tiles of the one array in a table.

    Parameters
    ----------
    table : Path
        An image, or a mask in it.
    column : str
        ``map`` of an image, ``PagedArray`` of a mask.
    axes : tuple of int
        Which axes are x, y and channel; None for a cube without channels.
    bits : bool
        Whether it holds Booleans.

    Raises
    ------
    DataError
        If they are not stored as is expected.
    """
    with open_table(table) as opened:
        managers = [one for one in opened.getdminfo().values() if column in one["COLUMNS"]]
        order = {"little": "<", "big": ">"}.get(str(opened.endianformat()))
    if len(managers) != 1 or managers[0]["TYPE"] not in _MANAGERS or order is None:
        raise DataError(f"{table}: not one array in tiles")
    spec = managers[0]["SPEC"]
    cubes = spec["HYPERCUBES"]
    if len(cubes) != 1:
        raise DataError(f"{table}: tiles of several shapes")
    cube = next(iter(cubes.values()))
    shape, tile = [int(n) for n in cube["CubeShape"]], [int(n) for n in cube["TileShape"]]
    others = set(range(len(shape))) - set(axes)
    if any(shape[axis] != 1 for axis in others) or not in_order(axes):
        raise DataError(f"{table}: not a cube of x, y and channel")
    dtype = np.dtype(bool) if bits else np.dtype(f"{order}f4")
    found = Tiles(
        _file(table, int(spec["SEQNR"])), _three(shape, axes), _three(tile, axes), dtype,
        int(cube["BucketSize"]),
    )  # fmt: skip
    if found.file.stat().st_size < math.prod(found.counts) * found.bucket_bytes:
        raise DataError(f"{found.file}: shorter than its tiles")
    return found


def _moved(some: slice, by: int) -> slice:
    return slice(some.start + by, some.stop + by)


def in_order(axes: tuple[int, int, int | None]) -> bool:
    """Tell whether x comes before y, and both before the channels, as almost everywhere."""
    x, y, channel = axes
    return x < y and (channel is None or y < channel)


def _three(sides: list[int], axes: tuple[int, int, int | None]) -> tuple[int, int, int]:
    x, y, channel = (1 if axis is None else sides[axis] for axis in axes)
    return x, y, channel


def _file(table: Path, number: int) -> Path:
    """Return the file of tiles; managers of cells of many shapes count their files from 1."""
    found = [path for path in table.glob(f"table.f{number}_TSM*") if path.stat().st_size]
    if len(found) != 1:
        raise DataError(f"{table}: not one file of tiles")
    return found[0]
