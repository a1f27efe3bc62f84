"""The tiles of a casacore array on disk, read and written directly.

``image.getchunk`` gives doubles and takes 20 to 60 ms a megapixel, ``putchunk`` 40 ms; the tiles
themselves can be read in 3. casacore's tiled storage managers (casacore note 260, "The
Tiled Storage Managers") keep an array as equal tiles, one after the other, those of the first axis
next to each other; numbers in the table's byte order, Booleans as bits. What is read so is held
against ``getchunk`` when a cube is opened (`cube_file`), and another layout is read through CASA.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from io import FileIO
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from .tables import open_table

_MANAGERS: Final = ("TiledCellStMan", "TiledShapeStMan", "TiledColumnStMan")


@dataclass(frozen=True)
class Tiles:
    """A stored array of the axes x, y, Stokes and channel; other axes of length 1 do not count.

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
    stokes : tuple of int
        How many Stokes parameters there are, and how many in a tile.
    """

    file: Path
    shape: tuple[int, int, int]
    tile: tuple[int, int, int]
    dtype: np.dtype[Any]
    bucket_bytes: int
    stokes: tuple[int, int] = (1, 1)

    @property
    def counts(self) -> tuple[int, int, int]:
        """How many tiles there are along x, y and channel."""
        x, y, channel = (math.ceil(n / t) for n, t in zip(self.shape, self.tile, strict=True))
        return x, y, channel

    @property
    def holds_tiles(self) -> bool:
        """Whether from a tile to the next there is what a tile takes."""
        bits = 1 if self._bits else 8 * self.dtype.itemsize
        return self.bucket_bytes == math.ceil(self._tile_size * bits / 8)

    @property
    def size_bytes(self) -> int:
        """How long the file is."""
        return math.prod(self.counts) * self._stokes_tiles * self.bucket_bytes

    def read(self, first: int, last: int, low: int, high: int) -> npt.NDArray[Any]:
        """Read channels and rows from the first up to, and without, the last.

        No more is held than a row of tiles besides. Of the first Stokes parameter.

        Returns
        -------
        array, shape (channels, rows, n_x)
        """
        sides = (last - first, self.stokes[0], high - low, self.shape[0])
        out = np.empty(sides, self.dtype.newbyteorder("="))
        self.fill(out, first, low)
        return out[:, 0]

    def fill(self, out: npt.NDArray[Any], first: int, low: int) -> None:
        """Read channels and rows, from the first channel and row on, into an array.

        Parameters
        ----------
        out : array, shape (channels, Stokes, rows, n_x)
            To be filled.
        first, low : int
            Where to begin.
        """
        last, high = first + len(out), low + out.shape[2]
        _, t_y, t_c = self.tile
        with self.file.open("rb", buffering=0) as file:
            for layer in range(first // t_c, (last - 1) // t_c + 1):
                some = slice(max(first, layer * t_c), min(last, (layer + 1) * t_c))
                for plane in range(self._stokes_tiles):
                    for row in range(low // t_y, (high - 1) // t_y + 1):
                        file.seek(self._place(layer, plane, row))
                        tiles = self._numbers(file.read(self.counts[0] * self.bucket_bytes))
                        rows = slice(max(low, row * t_y), min(high, (row + 1) * t_y))
                        into = out[_moved(some, -first), self._of(plane), _moved(rows, -low)]
                        own = _moved(some, -layer * t_c), _moved(rows, -row * t_y)
                        for number, tile in enumerate(tiles):
                            line = into[..., self._columns(number)]
                            line[:] = tile[own[0], : line.shape[1], own[1], : line.shape[3]]

    def write(self, layer: int, row: int, planes: npt.NDArray[Any]) -> None:
        """Write rows of the planes of a layer of tiles; the file must be there.

        Parameters
        ----------
        layer, row : int
            Of tiles: where the first plane and the first line are.
        planes : array, shape (channels, lines, n_x) or (channels, Stokes, lines, n_x)
            Whole tiles, but at the ends of the array.
        """
        if planes.ndim == 3:
            planes = planes[:, None]
        t_x, t_y, t_c = self.tile
        with self.file.open("r+b", buffering=0) as file:
            for plane in range(self._stokes_tiles):
                for start in range(0, planes.shape[2], t_y):
                    part = planes[:, self._of(plane), start : start + t_y]
                    sides = (self.counts[0], t_c, self.stokes[1], t_y, t_x)
                    tiles = np.zeros(sides, np.bool_ if self._bits else self.dtype)
                    for number, tile in enumerate(tiles):
                        line = part[..., self._columns(number)]
                        channels, stokes, lines, columns = line.shape
                        tile[:channels, :stokes, :lines, :columns] = line
                    file.seek(self._place(layer, plane, row + start // t_y))
                    _write_all(file, self._bytes(tiles))

    def in_bytes(self) -> Tiles | None:
        """Return the same bits taken eight at a time along x; None where tiles hold no whole ones.

        Of the last byte of a line those beyond the end of the line mean nothing.
        """
        (n_x, n_y, n_chan), (t_x, t_y, t_c) = self.shape, self.tile
        if not self._bits or t_x % 8 or self.bucket_bytes * 8 != self._tile_size:
            return None
        shape, tile = (math.ceil(n_x / 8), n_y, n_chan), (t_x // 8, t_y, t_c)
        return replace(self, shape=shape, tile=tile, dtype=np.dtype(np.uint8))

    @property
    def _tile_size(self) -> int:
        return math.prod(self.tile) * self.stokes[1]

    @property
    def _bits(self) -> bool:
        return self.dtype == np.bool_

    @property
    def _stokes_tiles(self) -> int:
        return math.ceil(self.stokes[0] / self.stokes[1])

    def _of(self, plane: int) -> slice:
        """Return the Stokes parameters of a plane of tiles."""
        return slice(plane * self.stokes[1], min((plane + 1) * self.stokes[1], self.stokes[0]))

    def _columns(self, number: int) -> slice:
        """Return what a tile of a row has of a line."""
        return slice(number * self.tile[0], min((number + 1) * self.tile[0], self.shape[0]))

    def _place(self, layer: int, plane: int, row: int) -> int:
        before = (layer * self._stokes_tiles + plane) * self.counts[1] + row
        return before * self.counts[0] * self.bucket_bytes

    def _numbers(self, content: bytes) -> npt.NDArray[Any]:
        """Return a row of tiles, shape (tiles, channels, Stokes, y, x) of a tile."""
        t_x, t_y, t_c = self.tile
        sides = (-1, t_c, self.stokes[1], t_y, t_x)
        if len(content) != self.counts[0] * self.bucket_bytes:
            raise DataError(f"{self.file}: shorter than its tiles")
        if not self._bits:
            return np.frombuffer(content, self.dtype).reshape(sides)
        packed = np.frombuffer(content, np.uint8).reshape(-1, self.bucket_bytes)
        bits = np.unpackbits(packed, axis=1, count=self._tile_size, bitorder="little")
        return bits.reshape(sides).view(np.bool_)

    def _bytes(self, tiles: npt.NDArray[Any]) -> memoryview:
        if not self._bits:
            return tiles.reshape(-1).view(np.uint8).data
        packed = np.packbits(tiles.reshape(len(tiles), -1), axis=1, bitorder="little")
        whole = np.zeros((len(tiles), self.bucket_bytes), np.uint8)
        whole[:, : packed.shape[1]] = packed
        return whole.reshape(-1).data


def _write_all(file: FileIO, content: memoryview) -> None:
    """Write all of it: a write may take a part only."""
    while content:
        content = content[file.write(content) :]


def find(
    table: Path,
    column: str,
    axes: tuple[int, int, int | None],
    *,
    bits: bool,
    stokes: int | None = None,
) -> Tiles:
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
    stokes : int, optional
        Which axis may have several Stokes parameters: one between y and channel.

    Raises
    ------
    DataError
        If they are not stored as is expected.
    """
    with open_table(table) as opened:
        return of_table(opened, table, column, axes, bits=bits, stokes=stokes)


def of_table(
    opened: Any,
    table: Path,
    column: str,
    axes: tuple[int, int, int | None],
    *,
    bits: bool,
    stokes: int | None = None,
) -> Tiles:
    """Find the tiles of the one array in an open table; see `find`."""
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
    others = set(range(len(shape))) - {*axes, stokes}
    if any(shape[axis] != 1 for axis in others) or not in_order(axes):
        raise DataError(f"{table}: not a cube of x, y and channel")
    dtype = np.dtype(bool) if bits else np.dtype(f"{order}f4")
    found = Tiles(
        _file(table, int(spec["SEQNR"])), _three(shape, axes), _three(tile, axes), dtype,
        int(cube["BucketSize"]), (1, 1) if stokes is None else (shape[stokes], tile[stokes]),
    )  # fmt: skip
    if not found.holds_tiles:
        raise DataError(f"{table}: its tiles are not of the size that they should be")
    if found.file.stat().st_size < found.size_bytes:
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
