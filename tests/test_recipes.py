"""The recipes that are shipped: each loads, plans and, where its data are at hand, runs."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import casarun
import numpy as np
import pytest
from astropy.io import fits
from casarun.cli.commands import cli
from casarun.errors import RefusedError
from casarun.observation import Observation
from casarun.plan import Step
from casarun.recipe.load import LoadedRecipe, load
from casarun.stages import compile as stages
from click.testing import CliRunner
from support import skies
from support.observations import vla

FOLDER = Path(casarun.__file__).parent / "recipes"
RECIPES = sorted(FOLDER.glob("*.toml"))
FOLDERS = ("vla-survey", "mosaic")
"""Starters that take all MSs of a folder."""
STARTERS = ("vla-continuum", "vla-line", *FOLDERS, "alma-continuum", "alma-line",
            "meerkat-continuum", "atca-continuum", "selfcal")  # fmt: skip
EPOCHS = ("jan03", "feb11")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Give a folder with what stands for two MSs and for the casadata package."""
    for name in EPOCHS:
        (tmp_path / f"{name}.ms").mkdir()
    (tmp_path / "demo").mkdir()
    for name in ("NGC5921.fits", "3C273XC1.fits"):
        (tmp_path / "demo" / name).touch()
    return tmp_path


def shipped(name: str, data: Path) -> LoadedRecipe:
    there = data if name in FOLDERS else data / "jan03.ms"
    return load(FOLDER / f"{name}.toml", environ={"DATA": str(there)}, demo_data=lambda: data)


def planned(name: str, data: Path, observation: Observation) -> list[Step]:
    recipe = shipped(name, data).recipe
    observations = {one.name: replace(observation, vis=one.vis) for one in recipe.dataset}
    compiled = stages.full(recipe, observations)
    assert compiled.problems == ()
    return list(compiled.steps)


def test_all_recipes_are_shipped() -> None:
    names = {path.stem for path in RECIPES}
    assert names == {"3c273", "ngc5921", *STARTERS}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipe_is_named_as_its_file_and_finds_its_schema(path: Path, data: Path) -> None:
    loaded = shipped(path.stem, data)
    assert loaded.recipe.project.name == path.stem
    assert loaded.recipe.project.title
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert first == "#:schema ../schemas/recipe.schema.json"
    assert (path.parent / first.removeprefix("#:schema ")).is_file()


@pytest.mark.parametrize("name", STARTERS)
def test_starter_says_what_it_needs(name: str) -> None:
    with pytest.raises(RefusedError) as refused:
        load(FOLDER / f"{name}.toml", environ={})
    messages = [
        problem.message for problem in refused.value.problems if problem.severity == "error"
    ]
    assert messages == ["the environment variable DATA is not set"]


@pytest.mark.parametrize("name", STARTERS)
def test_starter_warns_of_nothing_but_what_its_user_must_say(name: str, data: Path) -> None:
    warnings = [problem.message for problem in shipped(name, data).warnings]
    expected = ["no fitspec: all channels count as free of lines"] if name == "vla-line" else []
    assert warnings == expected


def test_continuum_starter_plans_from_intents(data: Path) -> None:
    steps = planned("vla-continuum", data, vla(intents=True))
    clean = next(step for step in steps if step.action == "clean")
    assert clean.params["tclean"]["deconvolver"] == "mtmfs"
    assert clean.target == "N5921"
    assert "images/N5921.continuum.pbcor.fits" in [path for s in steps for path in s.writes]


def test_line_starter_plans_a_cube_of_the_line_alone(data: Path) -> None:
    steps = planned("vla-line", data, vla(intents=True))
    cube = next(step for step in steps if step.id == "N5921.line.clean1.0")
    assert cube.params["tclean"]["specmode"] == "cube"
    assert cube.params["tclean"]["vis"] == ["calibrated/day1.N5921.contsub.ms"]
    assert {"N5921.line.mom0", "N5921.line.mom1"} <= {step.id for step in steps}


def test_survey_starter_calibrates_epochs_apart_and_images_them_together(data: Path) -> None:
    steps = planned("vla-survey", data, vla(intents=True))
    tables = {path for step in steps for path in step.writes if path.startswith("caltables/")}
    for epoch in EPOCHS:
        assert f"caltables/{epoch}.bandpass" in tables
    cleans = [step.params["tclean"]["vis"] for step in steps if step.action == "clean"]
    assert cleans == [[f"calibrated/{epoch}.N5921.ms" for epoch in sorted(EPOCHS)]]


def test_recipes_are_listed() -> None:
    done = CliRunner().invoke(cli, ["recipes"])
    assert done.exit_code == 0
    lines = done.output.splitlines()
    assert [line.split()[0] for line in lines[: len(RECIPES)]] == [path.stem for path in RECIPES]
    assert "alma-line          ALMA spectral line" in lines


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_that_is_printed_can_be_used(path: Path, data: Path) -> None:
    done = CliRunner().invoke(cli, ["recipes", path.stem])
    assert done.exit_code == 0
    assert "#:schema" not in done.output
    copy = data / "copy.toml"
    copy.write_text(done.output)
    there = data if path.stem in FOLDERS else data / "jan03.ms"
    copied = load(copy, environ={"DATA": str(there)}, demo_data=lambda: data).recipe
    assert copied == shipped(path.stem, data).recipe


def test_a_recipe_that_there_is_not_is_told() -> None:
    with pytest.raises(RefusedError, match="no recipe 'alma-lin' comes with casarun; did you mean"):
        CliRunner().invoke(cli, ["recipes", "alma-lin"], catch_exceptions=False)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_in_the_gallery(path: Path) -> None:
    page = Path(__file__).parent.parent / "docs" / "gallery.md"
    assert f"| `{path.stem}` | " in page.read_text(encoding="utf-8")


@pytest.mark.casa
@pytest.mark.parametrize("name", ["vla-continuum", "vla-line", "vla-survey"])
def test_starter_checks_clean(
    name: str,
    sky: tuple[Path, skies.Truth],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for epoch in EPOCHS:
        shutil.copytree(sky[0], tmp_path / "data" / f"{epoch}.ms")
    there = tmp_path / "data" if name == "vla-survey" else tmp_path / "data" / "jan03.ms"
    monkeypatch.setenv("DATA", str(there))
    recipe = FOLDER / f"{name}.toml"
    done = CliRunner().invoke(cli, ["check", str(recipe), "--output", "run"])
    assert done.exit_code == 0, done.output
    assert f"{recipe}: fine (" in done.output


@pytest.mark.casa
def test_3c273_shows_core_and_jet(tmp_path: Path) -> None:
    run = tmp_path / "run"
    recipe = str(FOLDER / "3c273.toml")
    done = CliRunner().invoke(cli, [recipe, "--output", str(run)], standalone_mode=False)
    assert done.exception is None, done.output
    metrics: dict[str, Any] = json.loads((run / "qa" / "metrics.json").read_text())
    assert metrics["verdict"] == "pass"
    image = metrics["images"]["3C273"]["continuum"]
    assert image["peak_jy_per_beam"] == pytest.approx(29.9, rel=0.02)
    assert image["dynamic_range"] > 5000
    pixels = np.squeeze(fits.getdata(run / image["fits"]))
    # The jet ends 21 arcsec from the core at a position angle of 222 deg (Conway et al. 1993,
    # A&A 267, 347): to the south-west, that is at lower y and higher x.
    core_y, core_x = np.unravel_index(np.argmax(pixels), pixels.shape)
    beyond = pixels.copy()
    y, x = np.indices(pixels.shape)
    beyond[np.hypot(y - core_y, x - core_x) < 10 / image["cell_arcsec"]] = 0
    jet_y, jet_x = np.unravel_index(np.argmax(beyond), pixels.shape)
    south, west = (core_y - jet_y) * 0.4, (jet_x - core_x) * 0.4
    assert np.hypot(south, west) == pytest.approx(21, abs=2)
    assert np.degrees(np.arctan2(west, south)) + 180 == pytest.approx(222, abs=4)
    assert beyond.max() > 1
