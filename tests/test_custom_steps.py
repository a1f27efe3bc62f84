"""``[[step]]``: where steps go, what they touch, and what is refused, without CASA."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from casarun.casa.recipe_parameters import static
from casarun.engine.soundness import check_plan
from casarun.errors import KeyPath, Problem
from casarun.plan import Check, Step
from casarun.recipe.load import load
from casarun.recipe.model import (
    Calibrators,
    Contsub,
    CustomStep,
    Dataset,
    FluxCalibrator,
    Image,
    Recipe,
    Targets,
)
from casarun.stages.compile import Compiled, full
from support.cli import recipe as written
from support.observations import vla

HI = Image(name="hi", specmode="cube", source="contsub", nchan=10, imsize=64, cell="15arcsec")
SMOOTH = {"kernel": "gauss", "major": "90arcsec", "minor": "90arcsec", "pa": "0deg"}


def compiled(*steps: CustomStep, days: int = 1, **tables: Any) -> Compiled:
    names = [f"day{day + 1}" for day in range(days)]
    given = {
        "dataset": tuple(Dataset(vis=f"/data/{name}.fits", name=name) for name in names),
        "calibrators": Calibrators(
            flux=FluxCalibrator(field="1331*"), bandpass="1331*", phase=("1445*",)
        ),
        "targets": Targets(fields=("N5921",)),
        "image": (Image(name="continuum", imsize=64, cell="15arcsec"),),
    }
    recipe = Recipe(casarun=1, step=steps, **{**given, **tables})
    return full(recipe, dict.fromkeys(names, vla()))


def plan(*steps: CustomStep, **tables: Any) -> list[Step]:
    result = compiled(*steps, **tables)
    assert result.problems == ()
    check_plan(result.plan({}, {}))
    return list(result.steps)


def own(*steps: CustomStep, **tables: Any) -> list[Step]:
    return [step for step in plan(*steps, **tables) if step.stage == "step"]


def around(steps: list[Step], step_id: str) -> tuple[str, str]:
    """Return the ids before and after a step's."""
    ids = ["", *(step.id for step in steps), ""]
    place = ids.index(step_id)
    return ids[place - 1], ids[place + 1]


def problems(*steps: CustomStep, **tables: Any) -> list[tuple[str, KeyPath]]:
    found: tuple[Problem, ...] = compiled(*steps, **tables).problems
    return [(problem.message, problem.key) for problem in found]


# Where


@pytest.mark.parametrize(
    ("where", "between"),
    [
        ({"after": "import"}, ("day1.copy", "day1.flag.basic")),
        ({"before": "flag"}, ("day1.copy", "day1.flag.basic")),
        ({"after": "calibrate"}, ("day1.fluxscale", "day1.apply.0")),
        ({"after": "bandpass"}, ("day1.bandpass", "day1.phase-int")),
        ({"before": "day1.bandpass"}, ("day1.phase0", "day1.bandpass")),
        ({"before": "split"}, ("day1.apply.2", "day1.split.calibrators")),
        # There is no continuum subtraction: what comes next is the image, of this dataset or all.
        ({"after": "contsub"}, ("day1.split.N5921", "day1.measure")),
        ({"after": "measure"}, ("N5921.continuum.measure", "")),
    ],
)
def test_a_step_goes_after_or_before_a_stage_or_a_step(
    where: dict[str, str], between: tuple[str, str]
) -> None:
    steps = plan(CustomStep("listobs", **where))
    assert around(steps, "day1.step.listobs") == between


def test_two_datasets_take_a_step_each_at_their_own_place() -> None:
    steps = plan(CustomStep("listobs", after="contsub"), days=2)
    assert around(steps, "day1.step.listobs")[0] == "day1.split.N5921"
    assert around(steps, "day2.step.listobs")[0] == "day2.split.N5921"


def test_steps_after_one_anchor_keep_the_order_of_the_recipe() -> None:
    steps = plan(
        CustomStep("listobs", after="apply"),
        CustomStep("visstat", after="listobs"),
        CustomStep("vishead", after="apply"),
    )
    ids = [step.id for step in steps]
    first = ids.index("day1.step.listobs")
    assert ids[first : first + 3] == ["day1.step.listobs", "day1.step.visstat", "day1.step.vishead"]


def test_steps_before_one_anchor_keep_the_order_of_the_recipe() -> None:
    ids = [step.id for step in plan(CustomStep("listobs", before="split"),
                                    CustomStep("visstat", before="split"))]  # fmt: skip
    assert ids.index("day1.step.listobs") + 1 == ids.index("day1.step.visstat")


def test_a_step_may_follow_one_that_stands_later_in_the_recipe() -> None:
    steps = plan(CustomStep("listobs", after="look"), CustomStep("vishead", "look", after="apply"))
    assert around(steps, "day1.step.listobs")[0] == "day1.step.look"


def test_steps_that_are_placed_by_each_other_are_refused() -> None:
    found = problems(
        CustomStep("listobs", after="vishead"), CustomStep("vishead", before="listobs")
    )
    assert found == [
        (
            "these steps are placed by each other, and none by a stage: 'listobs' after 'vishead', "
            "'vishead' before 'listobs'; place one by a stage, after = \"apply\" for example",
            ("step", 0, "after"),
        )
    ]


def test_an_unknown_anchor_is_refused_with_a_suggestion() -> None:
    assert problems(CustomStep("listobs", before="bandpas")) == [
        (
            "'bandpas' is neither a stage nor a step; stages: import, flag, calibrate, apply, "
            "split, selfcal, contsub, image, cube, export, measure; did you mean 'bandpass'?",
            ("step", 0, "before"),
        )
    ]


# For what


def test_per_dataset_vis_is_the_copy_until_the_split_and_then_the_calibrators() -> None:
    early, late = own(CustomStep("listobs", after="apply"), CustomStep("vishead", after="split"))
    assert early.params == {"vis": "raw/day1.ms"}
    assert late.params == {"vis": "calibrated/day1.ms"}


def test_per_dataset_vis_of_calibrated_data_is_what_the_user_named(tmp_path: Path) -> None:
    (tmp_path / "day1.ms").mkdir()
    dataset = (Dataset(vis=str(tmp_path / "day1.ms"), name="day1", calibrated=True),)
    (step,) = own(CustomStep("listobs", after="import"), dataset=dataset)
    assert step.reads == (str(tmp_path / "day1.ms"),)


def test_per_target() -> None:
    (step,) = own(
        CustomStep(
            "mstransform", after="contsub", per="target",
            params={"vis": "{contsub}", "outputvis": "calibrated/{dataset}.{target}.x.ms"},
        ),
        contsub=Contsub(fitspec="0:0~9"),
        image=(HI,),
    )  # fmt: skip
    assert step.id == "day1.N5921.step.mstransform"
    assert (step.dataset, step.target) == ("day1", "N5921")
    assert step.reads == ("calibrated/day1.N5921.contsub.ms",)
    assert step.writes == ("calibrated/day1.N5921.x.ms",)


def test_per_image_and_only_some() -> None:
    smooth = CustomStep(
        "imsmooth", after="image", per="image", only=("h*",),
        params={**SMOOTH, "outfile": "{prefix}.smooth"},
    )  # fmt: skip
    images = (Image(name="continuum", imsize=64, cell="15arcsec"), HI)
    (step,) = own(smooth, image=images, contsub=Contsub(fitspec="0:0~9"))
    assert step.id == "N5921.hi.step.imsmooth"
    assert step.params["imagename"] == "images/N5921.hi.image"
    assert step.writes == ("images/N5921.hi.smooth",)


def test_only_what_is_not_there_is_refused() -> None:
    assert problems(CustomStep("listobs", after="apply", only=("day2",))) == [
        (
            "no dataset matches 'day2'; datasets: day1; did you mean 'day1'?",
            ("step", 0, "only"),
        )
    ]


def test_per_image_without_an_image_is_refused() -> None:
    found = problems(CustomStep("imstat", after="split", per="image"), image=())
    assert found == [("no image matches '*'; images: none", ("step", 0, "per"))]


def test_per_run() -> None:
    (step,) = own(
        CustomStep(
            "concat", after="split", per="run",
            params={
                "vis": ["calibrated/day1.N5921.ms", "calibrated/day2.N5921.ms"],
                "concatvis": "calibrated/both.ms",
            },
        ),
        days=2,
    )  # fmt: skip
    assert (step.id, step.dataset) == ("step.concat", "")
    assert step.reads == ("calibrated/day1.N5921.ms", "calibrated/day2.N5921.ms")


def test_a_placeholder_that_the_step_does_not_have() -> None:
    params = {"vis": "{vis}", "listfile": "qa/{targt}.txt"}
    assert problems(CustomStep("listobs", after="split", per="target", params=params)) == [
        (
            "'{targt}' is not a placeholder with per = \"target\"; known: {dataset}, {target}, "
            "{vis}; did you mean 'target'?",
            ("step", 0, "params"),
        )
    ]


def test_backups_of_flags_are_not_made() -> None:
    (step,) = own(CustomStep("statwt", after="split", per="target"))
    assert step.params == {"vis": "calibrated/day1.N5921.ms", "flagbackup": False}


# What it touches


def test_reads_writes_and_updates_can_be_said() -> None:
    (step,) = own(
        CustomStep(
            "listobs", after="apply", reads=("{vis}",), writes=("qa/{dataset}.txt",), updates=(),
        )
    )  # fmt: skip
    assert (step.reads, step.writes) == (("raw/day1.ms",), ("qa/day1.txt",))


def test_paths_are_written_plainly() -> None:
    (step,) = own(CustomStep("listobs", after="apply", params={"listfile": "./qa//obs.txt"}))
    assert step.writes == ("qa/obs.txt",)


@pytest.mark.parametrize(
    ("task", "params", "message", "key"),
    [
        ("listobs", {"listfile": "../x.txt"}, "'../x.txt' is outside of the run folder: a step "
         "writes below it only", ("params", "listfile")),
        ("listobs", {"listfile": "/tmp/x.txt"}, "'/tmp/x.txt' is outside of the run folder: a "
         "step writes below it only", ("params", "listfile")),
        ("listobs", {"listfile": "qa/../../x"}, "'qa/../../x' is outside of the run folder: a "
         "step writes below it only", ("params", "listfile")),
        ("flagdata", {"mode": "summary", "name": "/etc/x"}, "'/etc/x' is outside of the run "
         "folder: a step writes below it only", ("params", "name")),
        ("listobs", {"listfile": "obs.txt"}, "'obs.txt' is not a place for products; a step "
         "writes below raw/, caltables/, calibrated/, images/, qa/: images/obs.txt, for example",
         ("params", "listfile")),
        ("listobs", {"listfile": ".casarun/lock"}, "'.casarun/lock' is not a place for products; "
         "a step writes below raw/, caltables/, calibrated/, images/, qa/: images/lock, for "
         "example", ("params", "listfile")),
        ("listobs", {"listfile": "qa/index.html"}, "'qa/index.html' is not a place for products; "
         "a step writes below raw/, caltables/, calibrated/, images/, qa/: images/index.html, for "
         "example", ("params", "listfile")),
        ("gaincal", {"caltable": "caltables/day1.bandpass"}, "the step would write over "
         "'caltables/day1.bandpass', which 'day1.bandpass' makes; give another name",
         ("params", "caltable")),
        ("listobs", {"listfile": "raw/day1.ms/notes.txt"}, "the step makes "
         "'raw/day1.ms/notes.txt' new and needs what is there: give another name",
         ("params", "listfile")),
        ("listobs", {"vis": "calibrated/day1.N5921.ms"}, "the step reads "
         "'calibrated/day1.N5921.ms', which 'day1.split.N5921' makes only later; place it "
         'after = "split"', ("params", "vis")),
        ("flagdata", {"vis": "raw/day1.imported.ms"}, "'raw/day1.imported.ms' are the data as they "
         'came, which are never changed; place the step after = "import" or later and use {vis}',
         ("params", "vis")),
        ("flagdata", {"vis": "/data/other.ms"}, "'/data/other.ms' is outside of the run folder: a "
         "step writes below it only", ("params", "vis")),
        ("listobs", {"vis": "raw/day.ms"}, "the step reads 'raw/day.ms', which no step before it "
         "makes; did you mean 'raw/day1.ms'?", ("params", "vis")),
        ("listobs", {"vis": "/nowhere/x.ms"}, "no such file: /nowhere/x.ms", ("params", "vis")),
        ("gencal", {"caltable": "caltables/o", "caltype": "gc", "infile": "my_curves.txt"},
         "the step reads 'my_curves.txt', which no step before it makes; a file of your own is "
         '"{recipe}/..." from the recipe\'s folder, or an absolute path', ("params", "infile")),
    ],
)  # fmt: skip
def test_a_step_that_leaves_the_run_folder_or_gets_in_the_way_is_refused(
    task: str, params: dict[str, Any], message: str, key: tuple[str, str]
) -> None:
    found = problems(CustomStep(task, after="apply", params=params))
    assert found == [(message, ("step", 0, *key))]


def test_of_two_steps_that_make_the_same_the_later_is_refused() -> None:
    params = {"listfile": "qa/same.txt"}
    found = problems(
        CustomStep("listobs", after="apply", params=params),
        CustomStep("listobs", "again", after="split", params=params),
    )
    assert found == [
        (
            "the step would write over 'qa/same.txt', which 'day1.step.listobs' makes; "
            "give another name",
            ("step", 1, "params", "listfile"),
        )
    ]


def test_a_task_lacking_its_input_is_refused() -> None:
    assert problems(CustomStep("imstat", after="image", per="run")) == [
        (
            "imstat needs 'imagename' (Name of the input image), and the step gives none",
            ("step", 0),
        )
    ]


@pytest.mark.parametrize(
    ("custom", "checks"),
    [
        (CustomStep("gencal", after="apply", params={"caltable": "caltables/o", "caltype": "opac"}),
         (Check("caltable", {"path": "caltables/o"}),)),
        (CustomStep("gaincal", after="apply",
                    params={"caltable": "caltables/o", "gaintype": "GSPLINE"}),
         (Check("exists", {"path": "caltables/o"}),)),
        (CustomStep("split", after="apply", params={"outputvis": "calibrated/x.ms"}),
         (Check("ms", {"path": "calibrated/x.ms"}),)),
        (CustomStep("statwt", after="apply"), (Check("ms", {"path": "raw/day1.ms"}),)),
        (CustomStep("statwt", after="apply", params={"preview": True}), ()),
        (CustomStep("exportfits", after="image", per="image",
                    params={"fitsimage": "{prefix}.x.fits"}),
         (Check("fits", {"path": "images/N5921.continuum.x.fits"}),)),
        (CustomStep("imstat", after="image", per="image", params={"logfile": "qa/s.txt"}),
         (Check("exists", {"path": "qa/s.txt"}),)),
        (CustomStep("immath", after="image", per="image",
                    params={"outfile": "images/x", "expr": "2 * IM0"}),
         (Check("image_table", {"path": "images/x"}),)),
    ],
)  # fmt: skip
def test_products_are_proven_by_their_kind(custom: CustomStep, checks: tuple[Check, ...]) -> None:
    (step,) = own(custom)
    assert step.checks == checks


# The user's own files

RECIPE = """
[[dataset]]
vis = "day1.fits"
[[step]]
task   = "gencal"
after  = "import"
params = { caltable = "caltables/gc", caltype = "gc", infile = "%s", antenna = "%s" }
"""


@pytest.mark.parametrize(
    ("written_so", "meant"),
    [
        ("{recipe}/curves.txt", "/here/curves.txt"),
        ("{recipe}/../curves.txt", "/curves.txt"),
        ("~/curves.txt", "/home/me/curves.txt"),
        ("${TABLES}/curves.txt", "/tables/curves.txt"),
        ("/a/./b//curves.txt", "/a/b/curves.txt"),
        ("caltables/curves", "caltables/curves"),
    ],
)
def test_files_from_elsewhere_become_absolute(tmp_path: Path, written_so: str, meant: str) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "day1.fits").touch()
    path = written(tmp_path / "here", RECIPE % (written_so, "1 & 2"))
    loaded = load(path, environ={"HOME": "/home/me", "TABLES": "/tables"})
    params = loaded.recipe.step[0].params
    assert str(params["infile"]).removeprefix(str(tmp_path)) == meant
    assert params["antenna"] == "1 & 2"


def test_a_variable_that_is_not_set_is_refused_at_its_place(tmp_path: Path) -> None:
    (tmp_path / "day1.fits").touch()
    path = written(tmp_path, RECIPE % ("${NOWHERE}/x", "1"))
    with pytest.raises(Exception, match="the environment variable NOWHERE is not set") as caught:
        load(path, environ={})
    (problem,) = [p for p in caught.value.problems if p.severity == "error"]  # type: ignore[attr-defined]
    assert problem.key == ("step", 0, "params", "infile")


PAGE = Path(__file__).parent.parent / "docs" / "steps.md"
EXAMPLES = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: text.split('"')[1])
def test_examples_of_the_manual_are_right(tmp_path: Path, example: str) -> None:
    (tmp_path / "day1.fits").touch()
    path = written(tmp_path, f'[[dataset]]\nvis = "day1.fits"\n{example}')
    assert static(load(path, environ={}).recipe) == []


def test_an_example_of_the_manual_plans(tmp_path: Path) -> None:
    (tmp_path / "day1.fits").touch()
    smooth = next(text for text in EXAMPLES if "imsmooth" in text)
    path = written(tmp_path, f'[[dataset]]\nvis = "day1.fits"\n{smooth}')
    images = (Image(name="continuum", imsize=64, cell="15arcsec"), HI)
    steps = own(*load(path).recipe.step, image=images, contsub=Contsub(fitspec="0:0~9"))
    assert [step.id for step in steps] == [
        "N5921.hi.step.imsmooth", "N5921.continuum.step.imregrid",
    ]  # fmt: skip
