"""A cube by channel ranges, with CASA: the same pixels however it is divided."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from casarun.casa import channel_range, invoke, range_images
from support import ranges, skies

pytestmark = pytest.mark.casa

N_CHAN = 12
NOISE_JY = 0.05
SOURCES = (skies.Source(1.0, 40.0, 30.0, -3.0), skies.Source(0.3, -120.0, -60.0))
SETTINGS: dict[str, Any] = {"imsize": 96, "cell": "12arcsec", "threshold": "15mJy", "niter": 5000}
SHIFTED = {"start": "1.4005GHz", "nchan": 10, "width": "1MHz"}
"""Channels half way between those of the data."""

ROUNDING = 4 * float(np.finfo(np.float32).eps)
"""Of the peak: CASA adds what belongs to a channel in another order at the edge of a range."""

WEIGHTS = ("psf", "pb", "sumwt")
RESULTS = ("image", "model", "residual")


@pytest.fixture(scope="module")
def ms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cube") / "target.ms"
    field = replace(skies.TARGET, sources=SOURCES)
    window = skies.Spw(1.4e9, 1e6, N_CHAN)
    skies.build(path, skies.Sky(fields=(field,), scans=(0, 0), spws=(window,), noise_jy=NOISE_JY))
    return path


@pytest.fixture(scope="module")
def whole(ms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("whole")
    ranges.make(place, ms, chunk="none", **SETTINGS)
    return place


@pytest.fixture(scope="module")
def plain(ms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder of the same cube by one tclean, with the parameters of the plan."""
    place = tmp_path_factory.mktemp("plain")
    (place / "images").mkdir()
    clean = next(step for step in ranges.steps(ms, **SETTINGS) if ".clean1." in step.id)
    name = str(place / "images" / "target.c")
    invoke.use_log(place / "casa.log")
    invoke.task("tclean", {**clean.params["tclean"], "vis": [str(ms)], "imagename": name})
    invoke.use_log(Path("/dev/null"))
    return place


@pytest.mark.parametrize("chunk", [6, pytest.param(3, marks=pytest.mark.long)])
def test_the_pixels_do_not_depend_on_the_ranges(
    ms: Path, whole: Path, tmp_path: Path, chunk: int
) -> None:
    ranges.make(tmp_path, ms, chunk=chunk, **SETTINGS)
    for kind in WEIGHTS:
        assert ranges.apart(whole, tmp_path, kind) == 0, kind
    for kind in RESULTS:
        assert ranges.apart(whole, tmp_path, kind) <= ROUNDING, kind


def test_a_clean_that_restores_makes_what_a_step_of_its_own_makes(
    ms: Path, whole: Path, tmp_path: Path
) -> None:
    chunks = Path("images/chunks")
    assert (whole / chunks / "target.c.0.clean1.image").exists()
    assert not (whole / chunks / "target.c.0.restored.image").exists()
    told = ranges.make(tmp_path, ms, {"restores": False}, chunk="none", **SETTINGS)
    assert not (tmp_path / chunks / "target.c.0.clean1.image").exists()
    assert (tmp_path / chunks / "target.c.0.restored.image").exists()
    for kind in (*RESULTS, "mask"):
        assert ranges.apart(whole, tmp_path, kind) == 0, kind
    beams = [range_images.beams(at / "images/target.c.image") for at in (whole, tmp_path)]
    assert beams[0] == beams[1]
    assert told["restore.0"]["how"]["source"] == f"{chunks}/target.c.0.clean1"


def test_a_cube_is_that_of_one_tclean_but_for_where_cycles_end(whole: Path, plain: Path) -> None:
    for kind in WEIGHTS:
        assert ranges.apart(whole, plain, kind) == 0, kind
    noise = json.loads((whole / "images" / "target.c.noise.json").read_text())["rms_jy_per_beam"]
    assert ranges.apart(whole, plain, "image") < noise
    left, right = (ranges.pixels(at / "images" / "target.c.image") for at in (whole, plain))
    assert float(np.sqrt(np.mean((left - right) ** 2))) < 0.1 * noise
    for kind in ("psf", "image"):
        frequencies = [range_images.frequencies_hz(at / f"images/target.c.{kind}")
                       for at in (whole, plain)]  # fmt: skip
        assert frequencies[0] == frequencies[1]


def test_all_channels_have_the_beam_that_is_common_to_them(whole: Path, plain: Path) -> None:
    ours, theirs = (
        range_images.beams(at / "images/target.c.image")[0]["*0"] for at in (whole, plain)
    )
    for axis in ("major", "minor"):
        assert ours[axis]["value"] == theirs[axis]["value"]


def test_shifted_channels_show_no_seams(ms: Path, tmp_path: Path) -> None:
    settings = {**SETTINGS, **SHIFTED}
    ranges.make(tmp_path / "one", ms, chunk="none", **settings)
    ranges.make(tmp_path / "two", ms, chunk=5, **settings)
    path = tmp_path / "one" / "images" / "target.c.noise.json"
    noise = json.loads(path.read_text())["rms_jy_per_beam"]
    for kind in WEIGHTS:
        assert ranges.apart(tmp_path / "one", tmp_path / "two", kind) == 0, kind
    for kind in ("image", "residual"):
        assert ranges.apart(tmp_path / "one", tmp_path / "two", kind) < 0.1 * noise, kind


def test_a_multiple_of_the_noise_is_settled_over_all_ranges(ms: Path, tmp_path: Path) -> None:
    settings = {**SETTINGS, "threshold": "4sigma"}
    one = ranges.make(tmp_path / "one", ms, chunk="none", **settings)
    two = ranges.make(tmp_path / "two", ms, chunk=6, **settings)
    assert one["settle4"]["thresholds_jy"] == pytest.approx(two["settle4"]["thresholds_jy"])
    assert one["settle4"]["iterations"] == two["settle4"]["iterations"]
    assert ranges.apart(tmp_path / "one", tmp_path / "two", "image") <= ROUNDING


def test_the_limit_of_iterations_is_that_of_all_channels(ms: Path, tmp_path: Path) -> None:
    settings = {**SETTINGS, "threshold": "5mJy", "niter": 300}
    one = ranges.make(tmp_path / "one", ms, chunk="none", **settings)
    two = ranges.make(tmp_path / "two", ms, chunk=6, **settings)
    assert one["settle2"]["stopcode"] == two["settle2"]["stopcode"] == 1
    assert one["settle2"]["iterations"] == two["settle2"]["iterations"] >= 300
    assert ranges.apart(tmp_path / "one", tmp_path / "two", "image") <= ROUNDING


def test_a_dirty_cube_is_that_of_tclean(ms: Path, tmp_path: Path) -> None:
    ranges.make(tmp_path / "ranges", ms, chunk=5, **{**SETTINGS, "niter": 0})
    step = next(s for s in ranges.steps(ms, **{**SETTINGS, "niter": 0}) if ".dirty." in s.id)
    name = str(tmp_path / "plain")
    invoke.use_log(tmp_path / "casa.log")
    invoke.task(
        "tclean", {**step.params["tclean"], "vis": [str(ms)], "imagename": name, "niter": 0}
    )
    invoke.use_log(Path("/dev/null"))
    for kind in ("image", "residual"):
        ours = ranges.pixels(tmp_path / "ranges" / "images" / "dirty" / f"target.c.{kind}")
        assert np.abs(ours - ranges.pixels(Path(f"{name}.{kind}"))).max() == 0, kind


def test_a_lost_plane_is_noticed(ms: Path, whole: Path, tmp_path: Path) -> None:
    parts = [whole / "images/target.c.image"]
    assert range_images.lost_planes(parts, whole / "images/target.c.image") == []
    assert range_images.lost_planes(parts, whole / "images/target.c.residual") == [0, N_CHAN - 1]


def test_channels_are_where_tclean_would_put_them(ms: Path) -> None:
    tclean = ranges.steps(ms, **SETTINGS)[0].params["tclean"] | {"vis": [str(ms)]}
    found = channel_range.axis({**tclean, "nchan": -1})
    assert found.n_chan == N_CHAN
    assert np.diff(found.frequencies_hz) == pytest.approx(1e6, rel=1e-3)


OTHER_WAYS = (
    ({"deconvolver": "multiscale", "scales": (0, 4)}, 1e-6),
    ({"deconvolver": "clark"}, 1e-6),
    ({"stokes": "RRLL"}, 1e-6),
    ({"mask": "auto-multithresh"}, 1e-3),
    ({"weighting": "natural", "tclean": {"uvtaper": ["30arcsec"]}}, 1e-6),
    (
        {
            "start": "1.4005GHz",
            "nchan": 10,
            "width": "1MHz",
            "tclean": {"interpolation": "nearest"},
        },
        1e-6,
    ),
)


@pytest.mark.long
@pytest.mark.parametrize(("more", "tolerance"), OTHER_WAYS)
def test_other_ways_to_clean_are_the_same_by_ranges(
    ms: Path, tmp_path: Path, more: dict[str, Any], tolerance: float
) -> None:
    """The tolerance is a part of the peak; masks of CASA's own follow the beams of a range."""
    ranges.make(tmp_path / "one", ms, chunk="none", **{**SETTINGS, **more})
    ranges.make(tmp_path / "two", ms, chunk=6, **{**SETTINGS, **more})
    for kind in WEIGHTS:
        assert ranges.apart(tmp_path / "one", tmp_path / "two", kind) == 0, kind
    for kind in RESULTS:
        assert ranges.apart(tmp_path / "one", tmp_path / "two", kind) <= tolerance, kind


def test_a_range_with_nothing_to_clean_has_an_empty_model(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    """A line in a few channels: most ranges of most cubes hold none."""
    path = tmp_path_factory.mktemp("line") / "target.ms"
    field = replace(skies.TARGET, sources=(skies.Source(1.0, 40.0, 30.0, -1000.0),))
    window = skies.Spw(1.4e9, 1e6, 8)
    skies.build(path, skies.Sky(fields=(field,), scans=(0,), spws=(window,), noise_jy=0.02))
    done = ranges.make(tmp_path, path, chunk=4, **{**SETTINGS, "threshold": "500mJy"})
    assert done["clean1.0"]["iterdone"] > 0
    assert done["clean1.1"]["iterdone"] == 0
    model = ranges.pixels(tmp_path / "images" / "target.c.model")
    assert model.shape[3] == 8
    assert model[..., :4].any()
    assert not model[..., 4:].any()
