"""What is written of a ``[[cube]]`` for the report's viewer: as of an image, in little memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from casarun.casa import invoke
from casarun.qa import viewer_images
from casarun.qa.viewer_data import HALF_PRECISION
from casarun.qa.viewer_images import Banded, Cut, Layer, Whole, valid_box
from casarun.recipe.build import build
from casarun.stages import measure
from casarun.stages.draft import Draft
from support import cubes
from support.browser import browser, needs_browser
from support.cli import casarun
from support.viewers import Picture
from test_viewer_images import content, pixels

N_CHAN, N_Y, N_X = 24, 80, 96


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    invoke.use_log(tmp_path / "casa.log")
    monkeypatch.setattr(viewer_images, "_BAND_PIXELS", 11 * N_X)
    return tmp_path


@pytest.mark.casa
def test_bands_are_read_as_whole_planes_are(folder: Path) -> None:
    cubes.make(folder / "holes.im")
    whole, banded = Whole("holes.im"), Banded("holes.im")
    box = valid_box(whole, [0, 2])
    assert box == valid_box(banded, [0, 2]) == (0, 0, N_X, N_Y)
    for factor in (1, 2, 3, 7):
        cut = Cut((5, 3, 90, 77), factor, (0,))
        for channel in range(3):
            theirs, ours = whole.cut(channel, cut), banded.cut(channel, cut)
            assert ours.shape == (-(-74 // factor), -(-85 // factor))
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)
    whole.close()
    banded.close()


@pytest.mark.casa
@pytest.mark.parametrize("kind", ["image", "fits"])
def test_the_viewer_of_a_cube_holds_cube_mask_and_moments(folder: Path, kind: str) -> None:
    cubes.make(folder / "in.im")
    made = cubes.process(folder, folder / "in.im", {"mask": {}, "moments": [0, 1], "smooth": {
        "beam": "10arcsec"}}, pieces=2)  # fmt: skip
    shown = f"{made}.image" if kind == "image" else f"{made}.fits"
    layers = [Layer("image", "cube", shown), Layer("mask", "mask", f"{made}.mask", "mask"),
              *(Layer(f"mom{n}", f"moment {n}", f"{made}.mom{n}") for n in (0, 1))]  # fmt: skip
    header = Banded(shown).header
    path = viewer_images.write(folder / "viewer", layers, header, 11, {"title": "a"}, opened=Banded)
    about = content(path)
    assert [layer["key"] for layer in about["layers"]] == ["image", "mask", "mom0", "mom1"]
    assert about["channel"] == 11
    for layer, name in zip(about["layers"], ("image", "mask", "mom0", "mom1"), strict=True):
        left, bottom = layer["corner"]
        wide, high = layer["size"]
        ours = pixels(layer, folder / "viewer")
        theirs = cubes.read(f"{made}.{name}")[:, bottom : bottom + high, left : left + wide]
        if name == "mask":
            np.testing.assert_array_equal(ours, theirs > 0)
        else:
            largest = np.nanmax(np.abs(theirs))
            np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs))
            close = np.abs(ours - theirs) <= HALF_PRECISION * np.abs(theirs) + 1e-8 * largest
            assert (close | np.isnan(theirs)).all()
    assert about["sky"]["shape"] == [N_X, N_Y]
    assert len(about["spectral"]["frequencies_hz"]) == N_CHAN


def steps(document: dict[str, Any]) -> dict[str, Any]:
    return measure._viewer(Draft(build({"casarun": 1, **document}, Path("r.toml"))))


def test_the_recipe_says_how_much_there_is_to_look_at() -> None:
    assert steps({}) == {}
    assert steps({"qa": {"viewer": "4MB"}}) == {}
    assert steps({"qa": {"viewer": "none"}}) == {"viewer_bytes": 0}
    assert steps({"qa": {"viewer": "20MB"}}) == {"viewer_bytes": 20_000_000}


RECIPE = """
casarun = 1
[[cube]]
name = "line"
image = "in.im"
rebin = { channels = 2 }
mask = {}
moments = [0, 1]
"""


@needs_browser
@pytest.mark.casa
def test_a_run_s_cube_is_looked_at_closer_in_its_report(folder: Path) -> None:
    cubes.make(folder / "in.im")
    (folder / "r.toml").write_text(RECIPE)
    done = casarun("r.toml", "--output", "run", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    data = cubes.read(folder / "run/images/line.image")
    channel = json.loads((folder / "run/qa/data/cubes/line.json").read_text())["peak_channel"]
    with browser() as page:
        page.look(1300, 1000)
        page.open(folder / "run/qa/index.html", "#cubes")
        viewer = Picture(page)
        assert viewer.run("me.about.layers.map((one) => one.title)") == [
            "cube", "mask", "moment 0", "moment 1",
        ]  # fmt: skip
        assert viewer.run("me.channel") == channel
        for x, y in ((48, 40), (20, 31)):
            read = viewer.point(x, y)
            assert read["value"] == pytest.approx(data[channel, y, x], rel=HALF_PRECISION)
        assert page.said == []
        assert [address for address in page.asked if not address.startswith("file:")] == []
    again = casarun("r.toml", "--output", "run", "--set", "qa.viewer=none", cwd=folder)
    assert again.returncode == 0, again.stdout + again.stderr
    assert not list((folder / "run/qa/plots").rglob("viewer"))
    assert "<script>" not in (folder / "run/qa/index.html").read_text()
