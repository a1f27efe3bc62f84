"""CASA's parameters in recipes: every table at its key, and no complaint of what is right."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import casarun
import pytest
from casarun.casa.recipe_parameters import static
from casarun.errors import KeyPath, Problem
from casarun.preflight.parameters import refused
from casarun.recipe.load import load
from casarun.recipe.model import (
    Calibrate,
    Calibrators,
    Contsub,
    CustomStep,
    Dataset,
    Flag,
    FluxCalibrator,
    Image,
    Recipe,
    Targets,
)
from casarun.stages.compile import full
from support.observations import vla

SHIPPED = sorted((Path(casarun.__file__).parent / "recipes").glob("*.toml"))
MORE = (
    {},
    {"image": (Image("c", deconvolver="mtmfs"), Image("d", deconvolver="multiscale"))},
    {"image": (Image("c", deconvolver="asp", weighting="natural"),)},
    {"image": (Image("c", specmode="cube", moments=(0, 1, 2), mask="auto-multithresh"),)},
    {"image": (Image("c", niter=0), Image("q", stokes="IQUV", weighting="superuniform"))},
    {"flag": Flag(rfi="rflag", quack="10s", manual=("antenna='ea01'",))},
    {"calibrate": Calibrate(delay="yes", gaintype="T", calwt="yes")},
    {"contsub": Contsub(fitspec="0:0~9", fitorder=1)},
)


def recipe(**tables: Any) -> Recipe:
    given = {
        "dataset": (Dataset(vis="/data/day1.fits", name="day1"),),
        "calibrators": Calibrators(FluxCalibrator("1331*"), "1331*", ("1445*",)),
        "targets": Targets(("N5921",)),
    }
    return Recipe(casarun=1, **{**given, **tables})


def found(**tables: Any) -> list[tuple[str, str, KeyPath]]:
    return [(p.severity, p.message, p.key) for p in static(recipe(**tables))]


@pytest.mark.parametrize(
    ("tables", "message", "key"),
    [
        ({"image": (Image("c", tclean={"griddr": "wproject"}),)},
         "tclean has no parameter 'griddr'; did you mean 'gridder'?",
         ("image", 0, "tclean", "griddr")),
        ({"image": (Image("c"), Image("d", tclean={"wprojplanes": 2.5}))},
         "tclean: 'wprojplanes' must be a whole number, not 2.5",
         ("image", 1, "tclean", "wprojplanes")),
        ({"image": (Image("c", immoments={"chans": 5}),)},
         "immoments: 'chans' must be a string, not 5", ("image", 0, "immoments", "chans")),
        ({"calibrate": Calibrate(gaincal={"solnorm": "yes"})},
         "gaincal: 'solnorm' must be true or false, not 'yes'",
         ("calibrate", "gaincal", "solnorm")),
        ({"calibrate": Calibrate(bandpass={"bandtype": "C"})},
         "bandpass: 'bandtype' must be one of 'B', 'BPOLY', not 'C'",
         ("calibrate", "bandpass", "bandtype")),
        ({"calibrate": Calibrate(setjy={"scalebychan": 1})},
         "setjy: 'scalebychan' must be true or false, not 1",
         ("calibrate", "setjy", "scalebychan")),
        ({"calibrate": Calibrate(fluxscale={"fitordr": 2})},
         "fluxscale has no parameter 'fitordr'; did you mean 'fitorder'?",
         ("calibrate", "fluxscale", "fitordr")),
        ({"calibrate": Calibrate(applycal={"antena": "1"})},
         "applycal has no parameter 'antena'; did you mean 'antenna'?",
         ("calibrate", "applycal", "antena")),
        ({"flag": Flag(rfi="tfcrop", flagdata={"extendflags": "no"})},
         "flagdata: 'extendflags' must be true or false, not 'no'",
         ("flag", "flagdata", "extendflags")),
        ({"contsub": Contsub(uvcontsub={"fitmethd": "gsl"})},
         "uvcontsub has no parameter 'fitmethd'; did you mean 'fitmethod'?",
         ("contsub", "uvcontsub", "fitmethd")),
        ({"step": (CustomStep("statwtt", after="apply"),)},
         "the installed CASA has no task 'statwtt'; did you mean 'statwt'?", ("step", 0, "task")),
        ({"step": (CustomStep("gencal", after="apply", params={"caltype": "antpo"}),)},
         "gencal: 'caltype' must be one of 'amp', 'ph', 'sbd', 'mbd', 'antpos', 'antposvla', "
         "'tsys', 'evlagain', 'swpow', 'swpwts', 'rq', 'swp/rq', 'opac', 'gc', 'gceff', 'eff', "
         "'tecim', 'jyperk', 'eop', not 'antpo'; did you mean 'antpos'?",
         ("step", 0, "params", "caltype")),
        ({"step": (CustomStep("listobs", after="apply", params={"listfil": "{dataset}.txt"}),)},
         "listobs has no parameter 'listfil'; did you mean 'listfile'?",
         ("step", 0, "params", "listfil")),
    ],
)  # fmt: skip
def test_what_casa_would_refuse_is_refused_at_its_key(
    tables: dict[str, Any], message: str, key: KeyPath
) -> None:
    assert found(**tables) == [("error", message, key)]


@pytest.mark.parametrize(
    ("tables", "message", "key"),
    [
        ({"image": (Image("c", tclean={"sidelobethreshold": 2.0}),)},
         "has no effect with usemask='user': it counts with usemask='auto-multithresh'",
         ("image", 0, "tclean", "sidelobethreshold")),
        ({"image": (Image("c", tclean={"smallscalebias": 0.5}),)},
         "has no effect with deconvolver='hogbom': it counts with deconvolver='multiscale' or "
         "'mtmfs'", ("image", 0, "tclean", "smallscalebias")),
        ({"calibrate": Calibrate(gaincal={"npointaver": 5})},
         "has no effect with gaintype='K': it counts with gaintype='GSPLINE'",
         ("calibrate", "gaincal", "npointaver")),
        ({"flag": Flag(rfi="tfcrop", flagdata={"winsize": 5})},
         "has no effect with mode='tfcrop': it counts with mode='rflag'",
         ("flag", "flagdata", "winsize")),
        ({"step": (CustomStep("gaincal", after="apply", params={"solint": "60"}),)},
         "'60' has no unit and CASA takes it for seconds; write \"60s\"",
         ("step", 0, "params", "solint")),
        ({"step": (CustomStep("imsmooth", after="image", per="image",
                              params={"kernel": "image", "major": "3arcsec"}),)},
         "has no effect with kernel='image': it counts with kernel='gauss' or 'gaussian' or "
         "'g' or 'box' or 'boxcar' or 'b'", ("step", 0, "params", "major")),
    ],
)  # fmt: skip
def test_what_has_no_effect_or_no_unit_is_warned_of(
    tables: dict[str, Any], message: str, key: KeyPath
) -> None:
    assert found(**tables) == [("warning", message, key)]


@pytest.mark.parametrize(
    "tables",
    [
        {"image": (Image("c", tclean={"gridder": "wproject", "wprojplanes": 64}),)},
        {"image": (Image("c", gridder="wproject", tclean={"wprojplanes": 64}),)},
        {"image": (Image("c", tclean={"wprojplanes": 64}),)},  # the gridder is casarun's choice
        {"image": (Image("c", tclean={"cyclefactor": 1.5, "psfcutoff": 0.4}),)},  # clean, dirty
        {"image": (Image("c", mask="auto-multithresh", tclean={"noisethreshold": 4.0}),)},
        {"image": (Image("c", specmode="cube", tclean={"outframe": "LSRK"}),)},
        {"image": (Image("c", immoments={"excludepix": [-100.0, 0.009]}),)},
        {"flag": Flag(rfi="rflag", flagdata={"winsize": 5, "timecutoff": 3.5})},
        {"step": (CustomStep("flagdata", after="apply",
                             params={"mode": "{target}", "growtime": 20.0}),)},
        {"step": (CustomStep("phaseshift", after="split", per="target",
                             params={"outputvis": "{vis}.x", "phasecenter": "J2000 1h 2d"}),)},
    ],
)  # fmt: skip
def test_right_parameters_pass(tables: dict[str, Any]) -> None:
    assert found(**tables) == []


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_recipes_have_no_complaint_of_casa(path: Path, tmp_path: Path) -> None:
    for name in ("jan03.ms", "feb11.ms", "demo"):
        (tmp_path / name).mkdir()
    for name in ("NGC5921.fits", "3C273XC1.fits"):
        (tmp_path / "demo" / name).touch()
    there = tmp_path if path.stem in ("mosaic", "vla-survey") else tmp_path / "jan03.ms"
    loaded = load(path, environ={"DATA": str(there)}, demo_data=lambda: tmp_path)
    assert static(loaded.recipe) == []
    observation = vla(intents=True)
    given = {one.name: replace(observation, vis=one.vis) for one in loaded.recipe.dataset}
    plain = replace(loaded.recipe, calibrators=Calibrators(), targets=Targets())
    steps = full(plain, given).steps
    assert len(steps) > 10
    assert [(step.id, refused(step)) for step in steps if refused(step)] == []


@pytest.mark.parametrize("tables", MORE, ids=str)
def test_what_casarun_gives_to_tasks_is_never_refused(tables: dict[str, Any]) -> None:
    steps = full(recipe(**tables), {"day1": vla()}).steps
    assert [(step.id, refused(step)) for step in steps if refused(step)] == []


def test_a_value_that_another_casa_knows_is_refused_at_its_key() -> None:
    image = Image("c", deconvolver="fista", imsize=64, cell="15arcsec")  # type: ignore[arg-type]
    problems = full(recipe(image=(image,)), {"day1": vla()}).problems
    assert [(p.key, p.message.partition(", not ")[2]) for p in problems] == [
        (("image", 0, "deconvolver"), "'fista'")
    ]


def test_what_has_no_effect_with_casarun_s_choice_is_warned_of_in_the_plan() -> None:
    image = Image("c", imsize=64, cell="15arcsec", tclean={"wprojplanes": 64})
    warnings = full(recipe(image=(image,)), {"day1": vla()}).warnings
    (warning,) = [w for w in warnings if w.key == ("image", 0, "tclean", "wprojplanes")]
    assert warning.message.startswith("has no effect with gridder='standard': it counts with")
    wide = replace(image, gridder="wproject")
    assert [
        w for w in full(recipe(image=(wide,)), {"day1": vla()}).warnings if "tclean" in w.key
    ] == []


def test_problems_come_once_in_the_plan() -> None:
    step = CustomStep("statwtt", after="apply")
    problems = full(recipe(step=(step,)), {"day1": vla()}).problems
    message = "the installed CASA has no task 'statwtt'; did you mean 'statwt'?"
    assert problems == (Problem(message, ("step", 0, "task")),)


def test_no_casa_is_imported_for_it() -> None:
    code = (
        "import sys; from casarun.casa.recipe_parameters import static;"
        "from casarun.recipe.model import *;"
        "static(Recipe(1, (), step=(CustomStep('tclean', after='apply'),)));"
        "print([m for m in sys.modules if m.startswith(('casatasks', 'casatools'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
