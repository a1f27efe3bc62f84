"""The pixels of a cube's ranges, copied into the joined cube's tiles and held against them.

Tiles of a range and of the cube have different shapes, for casacore takes them by the shape of
the whole array. A few megabytes at a time go from the ones to the others, bit by bit as they are:
a NaN stays the NaN that it was.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .cube_tiles import Tiles
from .range_header import Header

_BLOCK_BYTES: Final = 4_000_000
"""So much of the cube is in memory at a time."""

Planes = npt.NDArray[Any]


@dataclass(frozen=True)
class Arrays:
    """An array of the cube, and those of its ranges; None for a range that has none.

    Attributes
    ----------
    cube : Tiles
        Pixels or mask of the cube.
    ranges : tuple of Tiles or None
        Those of its ranges, in order.
    lengths : tuple of int
        How many channels each has.
    spare : int
        Of the last number of a line so many bits mean nothing.
    """

    cube: Tiles
    ranges: tuple[Tiles | None, ...]
    lengths: tuple[int, ...]
    spare: int = 0

    def blocks(self) -> Iterator[tuple[int, int, Planes]]:
        """Yield layer and row of tiles of the cube, and what the ranges have there."""
        cube = self.cube
        (n_x, n_y, n_chan), (_, t_y, t_c) = cube.shape, cube.tile
        line = t_c * cube.stokes[0] * n_x * cube.dtype.itemsize
        together = max(1, _BLOCK_BYTES // (line * t_y))
        whole = self._rows_together()
        if together > whole:
            together -= together % whole
        for layer in range(cube.counts[2]):
            channels = min(t_c, n_chan - layer * t_c)
            for row in range(0, cube.counts[1], together):
                rows = min(together * t_y, n_y - row * t_y)
                block = np.empty((channels, cube.stokes[0], rows, n_x), cube.dtype)
                self._fill(block, layer * t_c, row * t_y)
                yield layer, row, block

    def _rows_together(self) -> int:
        """Return how many rows of the cube's tiles hold whole tiles of all ranges."""
        height = self.cube.tile[1]
        sides = [one.tile[1] for one in self.ranges if one is not None]
        return math.lcm(height, *sides) // height

    def _fill(self, block: Planes, first: int, low: int) -> None:
        """Fill channels and rows from the ranges that they are of."""
        start = 0
        for tiles, length in zip(self.ranges, self.lengths, strict=True):
            begin, end = max(first, start), min(first + len(block), start + length)
            if begin < end:
                part = block[begin - first : end - first]
                if tiles is None:
                    part[:] = np.iinfo(np.uint8).max if part.dtype == np.uint8 else True
                else:
                    tiles.fill(part, begin - start, low)
            start += length


def of(cube: Header, ranges: Sequence[Header]) -> list[Arrays]:
    """Return the arrays of a cube: pixels, and a mask where it has one."""
    lengths = tuple(header.n_chan for header in ranges)
    found = [Arrays(cube.pixels, tuple(header.pixels for header in ranges), lengths)]
    if cube.mask is not None:
        found.append(_masks(cube.mask, tuple(header.mask for header in ranges), lengths))
    return found


def _masks(cube: Tiles, ranges: tuple[Tiles | None, ...], lengths: tuple[int, ...]) -> Arrays:
    """Return masks, their bits eight at a time where all tiles hold them so."""
    in_bytes = cube.in_bytes()
    parts = tuple(None if one is None else one.in_bytes() for one in ranges)
    mixed = any(one is None for one, bits in zip(parts, ranges, strict=True) if bits is not None)
    if in_bytes is None or mixed:
        return Arrays(cube, ranges, lengths)
    return Arrays(in_bytes, parts, lengths, -cube.shape[0] % 8)


def copy(arrays: Arrays) -> None:
    """Write what the ranges have into the cube."""
    for layer, row, block in arrays.blocks():
        arrays.cube.write(layer, row, block)


def lost(arrays: Arrays) -> set[int]:
    """Return the channels of the cube that are not what the ranges have."""
    wrong: set[int] = set()
    cube = arrays.cube
    for layer, row, block in arrays.blocks():
        there = np.empty_like(block)
        first = layer * cube.tile[2]
        cube.fill(there, first, row * cube.tile[1])
        ours, theirs = _bits(block, arrays.spare), _bits(there, arrays.spare)
        if not np.array_equal(_wide(ours), _wide(theirs)):
            wrong.update(
                first + number
                for number in range(len(block))
                if not np.array_equal(ours[number], theirs[number])
            )
    return wrong


def _bits(block: Planes, spare: int) -> Planes:
    """Return what is to be compared: bits, for NaN is not equal to itself."""
    if spare:
        block[..., -1] &= np.iinfo(np.uint8).max >> spare
    return block.view(np.uint32) if block.dtype.itemsize == 4 else block


def _wide(bits: Planes) -> Planes:
    """Return bits in as few numbers as there can be, which compares them sooner."""
    flat = bits.reshape(-1)
    return flat if flat.nbytes % 8 else flat.view(np.uint64)
