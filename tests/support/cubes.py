"""Simulated spectral cubes, and their processing without the engine's processes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from casarun.casa.config import configure
from casarun.casa.cube_file import CubeFile
from casarun.cubes.chain import Cube
from casarun.engine import actions, cube_setup
from casarun.recipe import model
from casarun.recipe.build import build
from casarun.stages import cube as stage
from casarun.stages.draft import Draft

REST_HZ = 1420405752.0
CELL = 2.0


def make(
    path: Path,
    shape: tuple[int, int, int] = (24, 80, 96),
    *,
    beams: list[tuple[float, float, float]] | None = None,
    masked: bool = True,
    continuum: float = 0.0,
    data: np.ndarray | None = None,
    frame: str = "LSRK",
    seed: int = 1,
) -> np.ndarray:
    """Write a cube as a CASA image; return channel, y, x.

    By default it is of noise of 0.01 with a rotating source of 1 Jy/beam, and a continuum source.
    Where `masked`, one pixel in 200 is, and a channel in a corner.
    """
    configure()
    from casatools import coordsys, image

    n_chan, n_y, n_x = shape
    rng = np.random.default_rng(seed)
    data = _sky(shape, rng, continuum) if data is None else data
    data = data.astype(np.float32)
    axes = coordsys().newcoordsys(direction=True, spectral=True, stokes=["I"])
    axes.setunits(["arcsec", "arcsec", "", "Hz"])
    axes.setreferencepixel([n_x // 2, n_y // 2], "direction")
    axes.setincrement([-CELL, CELL], "direction")
    axes.setreferencevalue([3600 * 15 * 10.0, 3600 * 5.0], "direction")
    axes.setreferencecode(frame, "spectral")
    axes.setreferencevalue(1.4135e9, "spectral")
    axes.setincrement(-2e4, "spectral")
    axes.setrestfrequency(f"{REST_HZ}Hz")
    tool = image()
    tool.fromshape(str(path), [n_x, n_y, 1, n_chan], csys=axes.torecord(), overwrite=True)
    tool.putchunk(data.transpose(2, 1, 0)[:, :, None, :])
    tool.setbrightnessunit("Jy/beam")
    for channel, beam in enumerate(beams or [(8.0, 6.0, 30.0)]):
        more = {"channel": channel, "polarization": 0} if beams and len(beams) > 1 else {}
        tool.setrestoringbeam(
            major=f"{beam[0]}arcsec", minor=f"{beam[1]}arcsec", pa=f"{beam[2]}deg", **more
        )
    if masked:
        good = rng.random(shape) > 0.005
        good[3, :10, :10] = False
        tool.calcmask("T")
        region = good.transpose(2, 1, 0)[:, :, None, :]
        tool.putregion(pixelmask=region, region={})
        data[~good] = np.nan
    tool.done()
    return data


def _sky(shape: tuple[int, int, int], rng: np.random.Generator, continuum: float) -> np.ndarray:
    n_chan, n_y, n_x = shape
    y, x = np.mgrid[:n_y, :n_x]
    data = 0.01 * rng.standard_normal(shape)
    for channel in range(n_chan):
        middle = n_x / 2 + 0.5 * (channel - n_chan / 2)
        line = np.exp(-0.5 * ((channel - n_chan / 2) / (n_chan / 8)) ** 2)
        data[channel] += line * np.exp(-((x - middle) ** 2 + (y - n_y / 2) ** 2) / 40)
        slope = 1 + 0.02 * (channel - n_chan / 2)
        data[channel] += continuum * slope * np.exp(-((x - 20) ** 2 + (y - 20) ** 2) / 30)
    return data


def read(path: Path | str) -> np.ndarray:
    """Return an image's pixels through CASA, NaN where they are masked; channel, y, x."""
    with CubeFile(path) as cube:
        header = cube.header
        return cube._through_casa(0, header.n_chan, 0, header.n_y)


def header(path: Path | str) -> Cube:
    """Return what a cube is."""
    with CubeFile(path) as cube:
        return cube_setup.cube_of(cube.header)


def product(source: Path, table: dict[str, Any], memory: float = 1e9) -> stage.Product:
    """Return what a ``[[cube]]`` asks for of a file."""
    document = {"casarun": 1, "cube": [{"name": "made", "image": str(source), **table}]}
    cube: model.Cube = build(document, Path("r.toml")).cube[0]
    return stage.Product(cube, 0, str(source), header(source), memory)


def process(
    folder: Path, source: Path, table: dict[str, Any], pieces: int = 1, memory: float = 1e9
) -> Path:
    """Process a cube in the current folder, which is `folder`; return ``images/made``."""
    shutil.rmtree(folder / "images", ignore_errors=True)
    (folder / "images").mkdir()
    made = product(source, table, memory)
    made.__dict__["n_pieces"] = pieces
    made.__dict__["n_fits"] = min(pieces, made.like.n_y)
    draft = Draft(build({"casarun": 1}, Path("r.toml")))
    stage.steps(draft, made)
    for step in draft.steps:
        task = step.action.removeprefix("casa:")
        if task != step.action:
            actions.call(task, step.params)
        else:
            actions.named(task)(step.params)
    return folder / "images" / "made"
