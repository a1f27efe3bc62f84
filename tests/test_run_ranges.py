"""Whole runs that make a cube by ranges: killed and gone on with, and a range that diverges."""

from __future__ import annotations

import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support import crashes, mishaps, ranges, skies
from support.cli import casarun, events, recipe

pytestmark = pytest.mark.casa

SOURCES = (skies.Source(1.0, 40.0, 30.0, -400.0),)
"""It falls from 1 Jy to 0.04 Jy within the band: only its first four channels are to be cleaned."""

RECIPE = """
[[dataset]]
vis = "day.ms"
calibrated = true
[[image]]
name = "c"
specmode = "cube"
imsize = 64
cell = "12arcsec"
threshold = "500mJy"
niter = 2000
chunk = 4
pbcor = false
"""
WILD = "tclean = { gain = 2.2, minpsffraction = 0.0, maxpsffraction = 0.001 }\n"
FALLBACK = "fallback = [{ gain = 0.05, maxpsffraction = 0.8 }]\n"
CUBE = ("image", "model", "residual", "psf", "pb", "sumwt")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("cube")
    field = replace(skies.TARGET, sources=SOURCES)
    window = skies.Spw(1.4e9, 1e6, 12)
    sky = skies.Sky(fields=(field,), scans=(0, 0), spws=(window,), n_antennas=10, noise_jy=0.02)
    skies.build(place / "day.ms", sky)
    return place


def same(one: Path, other: Path) -> None:
    for kind in CUBE:
        path = Path("images") / f"target.c.{kind}"
        assert np.array_equal(ranges.pixels(one / path), ranges.pixels(other / path)), kind


def started(run: Path) -> list[str]:
    return [e["step"] for e in events(run) if e["event"] == "step-started"]


@mishaps.in_time
def test_a_run_killed_within_a_range_ends_with_the_same_bits(folder: Path) -> None:
    path = recipe(folder, RECIPE)
    assert casarun(path, "--output", "whole", cwd=folder).returncode == 0
    shutil.rmtree(folder / "killed", ignore_errors=True)
    process = crashes.start(path, folder / "killed")
    placed = crashes.await_event(process, folder / "killed", "step-placed", "target.c.clean1.0")
    try:
        mishaps.hold(placed["pid"])
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    before = len(started(folder / "killed"))
    assert casarun(path, "--output", "killed", cwd=folder).returncode == 0
    again = started(folder / "killed")[before:]
    assert not [step for step in again if ".dirty." in step]
    assert "target.c.clean1.0" in again
    same(folder / "whole", folder / "killed")


def test_a_range_that_diverges_is_imaged_again_alone(folder: Path) -> None:
    path = recipe(folder, f"{RECIPE}{WILD}{FALLBACK}", "wild.toml")
    done = casarun(path, "--output", "wild", cwd=folder)
    assert done.returncode == 0, done.stderr
    times = {f"target.c.clean1.{i}": started(folder / "wild").count(f"target.c.clean1.{i}")
             for i in range(3)}  # fmt: skip
    assert times == {"target.c.clean1.0": 2, "target.c.clean1.1": 1, "target.c.clean1.2": 1}


def test_without_a_fallback_the_other_ranges_are_cleaned_all_the_same(folder: Path) -> None:
    path = recipe(folder, f"{RECIPE}{WILD}", "stuck.toml")
    done = casarun(path, "--output", "stuck", cwd=folder)
    assert done.returncode == 1
    failed = [e["step"] for e in events(folder / "stuck") if e["event"] == "step-failed"]
    assert set(failed) == {"target.c.clean1.0"}
    assert {"target.c.clean1.1", "target.c.clean1.2"} <= {
        e["step"] for e in events(folder / "stuck") if e["event"] == "step-done"
    }
    assert "image.c.fallback = [{ gain = 0.05 }]" in done.stdout + done.stderr


TOGETHER = """
[[dataset]]
name = "one"
vis = "one.ms"
calibrated = true
[[dataset]]
name = "two"
vis = "two.ms"
calibrated = true
[[image]]
name = "c"
specmode = "cube"
start = "1.401GHz"
width = "1MHz"
nchan = 12
imsize = 64
cell = "12arcsec"
threshold = "100mJy"
niter = 2000
pbcor = false
mask = "around.crtf"
"""
AROUND = "#CRTFv0\ncircle[[15h00m02.7s, +08d00m30s], 100arcsec] coord=J2000\n"


def test_datasets_windows_and_a_mask_by_ranges(tmp_path: Path) -> None:
    """Two datasets of two overlapping windows each, and a mask of a file: no seams."""
    field = replace(skies.TARGET, sources=(skies.Source(1.0, 40.0, 30.0, -3.0),))
    windows = (skies.Spw(1.4e9, 1e6, 8), skies.Spw(1.4065e9, 1e6, 8))
    for seed, name in enumerate(("one", "two")):
        sky = skies.Sky(
            fields=(field,), scans=(0, 0), spws=windows, n_antennas=10, noise_jy=0.05, seed=seed
        )
        skies.build(tmp_path / f"{name}.ms", sky)
    (tmp_path / "around.crtf").write_text(AROUND)
    for chunk in ('"none"', "6"):
        path = recipe(tmp_path, f"{TOGETHER}chunk = {chunk}\n", f"{chunk[1:-1] or chunk}.toml")
        done = casarun(path, "--output", path.stem, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
    whole, parts = tmp_path / "none", tmp_path / "6"
    assert {"target.c.clean1.0", "target.c.clean1.1"} <= set(started(parts))
    vis = json.loads((parts / "logs/target.c.clean1.0/result.json").read_text())["params"]
    assert len(vis["tclean"]["vis"]) == 2
    at = Path("images") / "target.c.noise.json"
    noise = json.loads((whole / at).read_text())["rms_jy_per_beam"]
    for kind in (*CUBE, "mask"):
        one, other = (ranges.pixels(run / "images" / f"target.c.{kind}") for run in (whole, parts))
        assert one.shape == other.shape
        assert one.shape[3] == 12
        allowed = 0.1 * noise if kind in ("image", "model", "residual") else 0.0
        assert np.abs(one - other).max() <= allowed, kind
    mask = ranges.pixels(parts / "images" / "target.c.mask")
    assert 0 < mask.mean() < 0.2
    model = ranges.pixels(parts / "images" / "target.c.model")
    assert model.any()
    assert not model[mask == 0].any()
