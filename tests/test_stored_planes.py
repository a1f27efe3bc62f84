"""Planes that are read from an image's tiles are those that CASA reads."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from casarun.casa import cube_tiles, image_file, image_planes, stored_planes

pytestmark = pytest.mark.casa

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Return what makes an image of noise with some NaN and, if asked, a mask."""
    monkeypatch.setattr(stored_planes, "LEAST_PIXELS", 1)

    def made(shape: tuple[int, ...], *, masked: bool = False) -> Path:
        from casarun.casa.config import configure

        configure()
        from casatools import coordsys, image

        path = tmp_path / "made.im"
        pixels = np.random.default_rng(3).normal(size=shape)
        pixels.reshape(-1)[::97] = np.nan
        tool, axes = image(), coordsys()
        stokes = ["I", "Q"][: shape[2]] if len(shape) > 2 else []
        system = axes.newcoordsys(direction=True, stokes=stokes, spectral=len(shape) > 3)
        tool.fromarray(str(path), pixels, csys=system.torecord())
        if masked:
            tool.calcmask(f'"{path}" > -0.5', name="mask0")
        tool.done()
        return path

    return made


def through_casa(path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """Return all planes, and their numbers, as CASA gives them."""
    with monkeypatch.context() as context:
        context.setattr(stored_planes, "LEAST_PIXELS", 10**12)
        image_planes._planes_of.cache_clear()
        numbers = image_planes.read_planes(path)
        with image_file.ImageFile(path) as image:
            found = [image.plane(channel) for channel in range(image.header.n_chan)]
            assert image._stored is None
    image_planes._planes_of.cache_clear()
    return found, numbers


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    "shape", [(40, 30), (64, 64, 1, 1), (129, 70, 1, 5), (33, 257, 1, 21), (500, 3, 1, 2)]
)
def test_tiles_hold_what_casa_reads(
    make: Make, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], masked: bool
) -> None:
    path = make(shape, masked=masked)
    theirs, numbers = through_casa(path, monkeypatch)
    with image_file.ImageFile(path) as image:
        ours = [image.plane(channel) for channel in range(image.header.n_chan)]
        assert image._stored is not None
    assert len(ours) == (shape[3] if len(shape) > 3 else 1)
    for (pixels, valid), (wanted, where) in zip(ours, theirs, strict=True):
        assert np.array_equal(pixels, wanted, equal_nan=True)
        assert np.array_equal(valid, where)
        assert not valid.all()
        assert valid.any()
    assert image_planes.read_planes(path) == numbers
    assert (numbers.n_not_finite > 0) is not masked  # calcmask masks NaN, too


def test_two_polarizations_are_left_to_casa(make: Make) -> None:
    with image_file.ImageFile(make((40, 30, 2, 3))) as image:
        image.plane()
        assert image._stored is None


def test_tiles_that_are_read_otherwise_are_left_to_casa(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make((64, 64, 1, 4), masked=True)
    theirs, numbers = through_casa(path, monkeypatch)
    whole = cube_tiles.Tiles.read

    def swapped(self: Any, first: int, last: int, low: int, high: int) -> Any:
        return whole(self, first, last, low, high)[..., ::-1]

    monkeypatch.setattr(cube_tiles.Tiles, "read", swapped)
    with image_file.ImageFile(path) as image:
        assert np.array_equal(image.plane(2)[0], theirs[2][0], equal_nan=True)
        assert image._stored is None
    assert image_planes.read_planes(path) == numbers


def test_an_image_that_has_agreed_is_tried_again_only_when_it_was_changed(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, tried = make((40, 30, 1, 3)), []
    agrees = stored_planes._agrees

    def counted(found: stored_planes.StoredPlanes, *rest: Any) -> bool:
        tried.append(found.pixels.file)
        return agrees(found, *rest)

    monkeypatch.setattr(stored_planes, "_agrees", counted)
    for changes in (False, False, True, False):
        if changes:
            tiles = tried[0]
            content = bytearray(tiles.read_bytes())
            content[-8:-4], content[-4:] = content[-4:], content[-8:-4]
            tiles.write_bytes(content)
            os.utime(tiles, (0, 0))  # a clock that ticks too seldom must not hide it
        with image_file.ImageFile(path) as image:
            image.plane()
            assert image._stored is not None
    assert len(tried) == 2
