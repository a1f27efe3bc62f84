"""Tiles on disk, without CASA: what is written is read back, at all edges."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from casarun.casa.cube_tiles import Tiles, in_order

SHAPE = (37, 29, 10)
TILE = (8, 5, 4)


def tiles(path: Path, dtype: str, bucket: int) -> Tiles:
    found = Tiles(path, SHAPE, TILE, np.dtype(dtype), bucket)
    x, y, channel = found.counts
    path.write_bytes(bytes(x * y * channel * bucket))
    return found


@pytest.mark.parametrize(("dtype", "bucket"), [("<f4", 640), (">f4", 640), ("bool", 20)])
@pytest.mark.parametrize("together", [1, 2, 6])
def test_round_trip(tmp_path: Path, dtype: str, bucket: int, together: int) -> None:
    rng = np.random.default_rng(1)
    data = rng.standard_normal(SHAPE[::-1]).astype(np.float32)
    data = data > 0 if dtype == "bool" else data
    made = tiles(tmp_path / "tiles", dtype, bucket)
    assert made.counts == (5, 6, 3)
    for layer in range(3):
        for row in range(0, 6, together):
            rows = slice(row * 5, (row + together) * 5)
            made.write(layer, row, data[layer * 4 : layer * 4 + 4, rows])
    np.testing.assert_array_equal(made.read(0, 10, 0, 29), data)
    np.testing.assert_array_equal(made.read(3, 9, 4, 26), data[3:9, 4:26])
    np.testing.assert_array_equal(made.read(9, 10, 28, 29), data[9:, 28:])


def test_the_first_axis_runs_fastest(tmp_path: Path) -> None:
    made = tiles(tmp_path / "tiles", "<f4", 640)
    made.write(0, 0, np.arange(4 * 5 * 37, dtype=np.float32).reshape(4, 5, 37))
    stored = np.fromfile(tmp_path / "tiles", "<f4")
    assert stored[:8].tolist() == list(range(8))
    assert stored[8:16].tolist() == list(range(37, 45))
    assert stored[160:168].tolist() == list(range(8, 16))


def test_bits_begin_with_the_lowest(tmp_path: Path) -> None:
    made = tiles(tmp_path / "tiles", "bool", 20)
    planes = np.zeros((4, 5, 37), bool)
    planes[0, 0, :2] = planes[0, 1, 0] = True
    made.write(0, 0, planes)
    assert (tmp_path / "tiles").read_bytes()[:3] == bytes([0b11, 0b1, 0])


def test_axes_in_another_order_are_left_to_casa() -> None:
    assert in_order((0, 1, 3))
    assert in_order((0, 1, None))
    assert not in_order((1, 2, 0))
