"""What steps are expected to cost, against what was measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from casarun.observation import Field, Observation
from casarun.plan import Resources, Step, fingerprints
from casarun.recipe.model import (
    Calibrate,
    Calibrators,
    CustomStep,
    Dataset,
    FluxCalibrator,
    Image,
    Recipe,
    Targets,
)
from casarun.stages import costs, costs_images, costs_known
from casarun.stages.compile import full
from support import cli, expectations
from support.observations import spw, vla

RECIPES = Path(__file__).parent.parent / "recipes"
MB = 1e6


def observed(**changes: Any) -> Observation:
    """Return metadata of the size of the NGC 5921 data: 2.85 million visibilities."""
    rows = {0: 4509, 1: 5292, 2: 12852}
    made = vla(spws=[spw(0, n_chan=63)], columns=("DATA", "FLAG", "WEIGHT_SPECTRUM"))
    fields = tuple(
        Field(f.id, f.name, f.ra_deg, f.dec_deg, f.intents, rows[f.id]) for f in made.fields
    )
    return replace(made, fields=fields, n_rows=22653, size_bytes=36_500_000, **changes)


def steps(observation: Observation | None = None, **tables: Any) -> dict[str, Step]:
    given: dict[str, Any] = {
        "dataset": (Dataset(vis="/data/day1.fits", name="day1"),),
        "calibrators": Calibrators(
            flux=FluxCalibrator(field="1331*"), bandpass="1331*", phase=("1445*",)
        ),
        "targets": Targets(fields=("N5921",)),
        "image": (Image(name="continuum", imsize=512, cell="10arcsec"),),
    }
    compiled = full(Recipe(casarun=1, **{**given, **tables}), {"day1": observation or observed()})
    assert compiled.problems == ()
    return {step.id: step for step in compiled.steps}


def test_every_step_has_a_cost_and_keeps_its_fingerprint() -> None:
    found = list(steps().values())
    first = {"day1.import", "day1.observe", "day1.copy"}  # before what plots is imported
    for step in found:
        least = 1.9e8 if step.id in first else 2.3e8
        assert step.resources.memory_bytes > least, step.id
        assert step.resources.seconds > 0, step.id
    bare = [replace(step, resources=Resources()) for step in found]
    assert fingerprints(found, {}, {}) == fingerprints(bare, {}, {})


def test_the_limit_of_time_stays_the_recipes() -> None:
    assert {step.resources.time_limit_s for step in steps().values()} == {86400.0}


def test_data_are_as_large_as_was_measured() -> None:
    """In MB, of the run of ngc5921.toml: copy, CORRECTED_DATA, split of the target."""
    found = steps()
    assert found["day1.import"].resources.disk_bytes == 36_500_000
    assert found["day1.copy"].resources.disk_bytes == 36_500_000
    assert found["day1.apply.0"].resources.disk_bytes / MB == pytest.approx(22.8, rel=0.01)
    assert found["day1.apply.2"].resources.disk_bytes == 0
    assert found["day1.split.N5921"].resources.disk_bytes / MB == pytest.approx(27.7, rel=0.05)
    assert found["day1.setjy.0"].resources.disk_bytes == 0
    assert found["day1.flag.basic"].resources.disk_bytes == 0


def test_a_model_column_is_as_large_as_the_data() -> None:
    found = steps(calibrate=Calibrate(setjy={"usescratch": True}))
    assert found["day1.setjy.0"].resources.disk_bytes / MB == pytest.approx(22.8, rel=0.01)


def test_twice_the_pixels_cost_twice() -> None:
    small = steps(image=(Image(name="i", imsize=2000, cell="1arcsec", niter=0),))["N5921.i.dirty"]
    large = steps(image=(Image(name="i", imsize=(4000, 2000), cell="1arcsec", niter=0),))
    one, two = small.resources, large["N5921.i.dirty"].resources
    assert two.disk_bytes == pytest.approx(2 * one.disk_bytes, rel=0.02)
    assert two.memory_bytes - one.memory_bytes == pytest.approx(60 * 4e6)
    assert two.seconds > 1.5 * one.seconds


def test_a_cube_without_nchan_has_the_channels_of_the_data() -> None:
    given = steps(image=(Image(name="i", specmode="cube", imsize=256, cell="10arcsec", nchan=63),))
    auto = steps(image=(Image(name="i", specmode="cube", imsize=256, cell="10arcsec"),))
    assert auto["N5921.i.dirty.0"].resources == given["N5921.i.dirty.0"].resources


def test_a_moment_is_one_plane() -> None:
    image = Image(
        name="i", specmode="cube", imsize=256, cell="10arcsec", nchan=40, moments=(0,),
        restfreq="1.4GHz",
    )  # fmt: skip
    found = steps(image=(image,))
    cube, moment = (found[f"N5921.i.{name}"].resources for name in ("pbcor", "mom0"))
    assert cube.disk_bytes / MB == pytest.approx(40 * 0.27, rel=0.1)
    assert moment.disk_bytes / MB == pytest.approx(0.41, rel=0.1)


def test_a_step_of_the_recipe_costs_what_it_reads() -> None:
    custom = CustomStep(
        task="mstransform", after="split", per="target",
        params={"vis": "{vis}", "outputvis": "calibrated/x.ms", "datacolumn": "data"},
    )  # fmt: skip
    found = steps(step=(custom,))
    made = next(step for step in found.values() if step.action == "casa:mstransform")
    assert made.resources.disk_bytes == found["day1.split.N5921"].resources.disk_bytes


MEASURED = {
    # parameters: peak less 270 MB of an idle process (MB), seconds
    "mfs512": ({"imsize": 512}, 46, 1.6),
    "mfs2048": ({"imsize": 2048}, 249, 4.1),
    "mfs4096": ({"imsize": 4096}, 684, 12.4),
    "mfs4096clean": ({"imsize": 4096, "niter": 200}, 994, 38.7),
    "multiscale1024": (
        {"imsize": 1024, "niter": 200, "deconvolver": "multiscale", "scales": [0, 6, 18]},
        263,
        20.1,
    ),
    "multiscale2048": (
        {"imsize": 2048, "niter": 200, "deconvolver": "multiscale", "scales": [0, 6, 18]},
        763,
        72.6,
    ),
    "mtmfs2-1024": (
        {"imsize": 1024, "niter": 200, "deconvolver": "mtmfs", "nterms": 2, "scales": [0]},
        320,
        16.0,
    ),
    "mtmfs2-2048dirty": ({"imsize": 2048, "deconvolver": "mtmfs", "nterms": 2}, 556, 12.4),
    "mtmfs2-2048": (
        {"imsize": 2048, "niter": 200, "deconvolver": "mtmfs", "nterms": 2, "scales": [0, 6, 18]},
        1137,
        55.2,
    ),
    "mtmfs3-1024": (
        {"imsize": 1024, "niter": 200, "deconvolver": "mtmfs", "nterms": 3, "scales": [0]},
        443,
        16.9,
    ),
    "cube256": ({"imsize": 256, "specmode": "cube", "nchan": 46}, 193, 6.3),
    "cube512": ({"imsize": 512, "specmode": "cube", "nchan": 46}, 688, 10.9),
    "cube1024": ({"imsize": 1024, "specmode": "cube", "nchan": 46}, 2613, 49.7),
    "cube1024of10": ({"imsize": 1024, "specmode": "cube", "nchan": 10}, 603, 10.6),
    "cube512clean": ({"imsize": 512, "specmode": "cube", "nchan": 46, "niter": 500}, 689, 26.1),
    "wproject1024": ({"imsize": 1024, "gridder": "wproject", "wprojplanes": 32}, 177, 8.4),
    "wproject2048": ({"imsize": 2048, "gridder": "wproject", "wprojplanes": 32}, 607, 26.0),
    "wproject128": ({"imsize": 1024, "gridder": "wproject", "wprojplanes": 128}, 379, 17.2),
    "mosaic512": ({"imsize": 512, "gridder": "mosaic"}, 2744, 27.4),
    "mosaic2048": ({"imsize": 2048, "gridder": "mosaic"}, 4196, 73.6),
    "mosaic-cube": (
        {"imsize": 256, "gridder": "mosaic", "specmode": "cube", "nchan": 46}, 2933, 70.5,
    ),
    "automask2048": (
        {"imsize": 2048, "niter": 100, "usemask": "auto-multithresh"}, 453, 26.4,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MEASURED)
def test_tclean_against_measurements(name: str) -> None:
    """On the target of NGC 5921, one thread: memory to a factor of 1.6, time to one of 3."""
    params, memory_mb, seconds = MEASURED[name]
    shape = costs_images.shape_of(params, 63)
    assert 1 / 1.3 < costs_images.memory_of(shape, params, {"VLA"}) / (memory_mb * MB) < 1.6
    assert 1 / 3 < costs_images.seconds_of(shape, params, 1.62e6, {"VLA"}) / seconds < 3


@pytest.mark.parametrize(("side", "memory_mb", "seconds"), [(320, 26, 1.2), (640, 54, 1.8)])
def test_a_mosaic_of_alma_against_measurements(side: int, memory_mb: float, seconds: float) -> None:
    """Over the 260 MB of a process that does nothing; 8448 visibilities, dirty."""
    params = {"imsize": side, "gridder": "mosaic"}
    shape = costs_images.shape_of(params, 8)
    assert costs_images.memory_of(shape, params, {"ALMA"}) < 4 * memory_mb * MB
    assert 1 / 3 < costs_images.seconds_of(shape, params, 8448, {"ALMA"}) / seconds < 3


def test_averages_cost_what_is_left() -> None:
    """Of 20 s and 4 channels of a quarter of the size: an eighth of the visibilities."""
    observation = vla(spws=(spw(0),))
    known = costs_known.Known({"a.ms": costs_known.Visibilities.of(observation)})
    step = Step("s", "image", "", "casa:mstransform", {
        "vis": "a.ms", "outputvis": "b.ms", "datacolumn": "data", "usewtspectrum": True,
        "timeaverage": True, "timebin": "20s", "chanaverage": True, "chanbin": [4],
    })  # fmt: skip
    cost = costs._new_ms(step, known)
    whole, made = known.visibilities["a.ms"], known.visibilities["b.ms"]
    assert made.n_values == pytest.approx(whole.n_values / 8)
    assert (made.channels, made.integration_s) == (16, 20.0)
    assert cost.disk_bytes == pytest.approx(4e5 + 1500 * 140 + whole.n_values / 8 * (16 + 1 / 8))


@pytest.mark.parametrize(
    ("given", "share"),
    [
        ({"chanaverage": True, "chanbin": 4}, 1 / 4),
        ({"chanaverage": True, "chanbin": [4]}, 1 / 4),
        ({"chanaverage": True}, 1),
        ({"timeaverage": True}, 1),
        ({"timeaverage": True, "timebin": "two minutes"}, 1),
    ],
)
def test_averages_of_a_step_of_the_recipe_are_as_casa_takes_them(
    given: dict[str, Any], share: float
) -> None:
    known = costs_known.Known({"a.ms": costs_known.Visibilities.of(vla(spws=(spw(0),)))})
    params = {"vis": "a.ms", "outputvis": "b.ms", **given}
    costs._new_ms(Step("s", "step", "", "casa:mstransform", params), known)
    whole, made = known.visibilities["a.ms"], known.visibilities["b.ms"]
    assert made.n_values == pytest.approx(whole.n_values * share)


@pytest.mark.parametrize(
    ("stokes", "planes"),
    [("I", 1), ("IQUV", 4), ("IV", 2), ("RR", 1), ("RRLL", 2), ("XXYY", 2), ("pseudoI", 1)],
)
def test_planes_of_polarizations(stokes: str, planes: int) -> None:
    shape = costs_images.shape_of({"imsize": [100, 50], "stokes": stokes}, 1)
    assert shape.pixels == 5000 * planes


def test_a_cube_larger_than_memory_is_taken_in_pieces() -> None:
    params = {"imsize": 4000, "specmode": "cube"}
    held = [
        costs_images.memory_of(costs_images.shape_of(params | {"nchan": n}, 1), params)
        for n in (1, 2, 1000)
    ]
    assert held[0] == pytest.approx(4e7 + 60 * 16e6)
    assert held[1] == pytest.approx(4e7 + 2 * 60 * 16e6)
    assert held[2] == pytest.approx(4e7 + 4e9)


@pytest.mark.parametrize("odd", [{"imsize": "x"}, {"imsize": []}, {"imsize": -3}, {"nchan": "4"}])
def test_odd_parameters_are_no_crash(odd: dict[str, Any]) -> None:
    shape = costs_images.shape_of({"specmode": "cube", **odd}, 7)
    assert shape.pixels > 0


@pytest.mark.casa
def test_against_a_real_run(tmp_path: Path) -> None:
    """That of NGC 5921 is held against its plan in test_run_ngc5921."""
    run = tmp_path / "run"
    cli.casarun("run", RECIPES / "3c273.toml", "--output", run, "--jobs", "1", cwd=tmp_path)
    expectations.hold(run)
