"""The CASA script of a plan: what it calls, what it says before a run, and hostile names."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from casarun.engine import actions
from casarun.plan import Auto, Plan, Step
from casarun.share.casa_script import Run, casa_script
from casarun.share.python_source import comment, literal, variables
from casarun.share.script_steps import Steps

HOSTILE = 'x"""\n\'; import os; os.system("touch owned") #\r\u2028\\'
LATE = {"$late": {"path": "images/n.json", "key": "rms_jy_per_beam", "times": 3.0, "unit": "Jy"}}

Called = list[tuple[str, dict[str, Any]]]


def task(name: str, task: str, params: Mapping[str, Any], **more: Any) -> Step:
    return Step(name, "image", f"do {name}", f"casa:{task}", params, **more)


def text(plan: Plan, states: Mapping[str, Any] = {}, results: Mapping[str, Any] = {},
         *, known: bool = True, title: str = "A run") -> str:  # fmt: skip
    done = {step.id: {"state": "done", "reason": ""} for step in plan.steps}
    return "".join(casa_script(plan, Run(title, "r.toml", results, {**done, **states}, known)))


def played(script: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> Called:
    """Run a script with a casatasks that notes what is called; return that."""
    called: Called = []

    class Fake(ModuleType):
        def __getattr__(self, name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            return lambda **params: called.append((name, params))

    fake = Fake("casatasks")
    fake.version_string = lambda: "6.7"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "casatasks", fake)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.chdir(place)
    exec(compile(script, "casa_script.py", "exec"), {"__file__": str(place / "scripts" / "s.py")})
    return called


def test_it_calls_what_the_run_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gaincal = {"vis": "/data/day.ms", "caltable": "caltables/g", "spw": '0:1~2', "solnorm": False,
               "interp": ("nearest", ""), "minsnr": 3.0, "spwmap": [[0, 1], []]}  # fmt: skip
    tclean = {"imagename": "images/n", "threshold": LATE, "niter": 9, "usemask": "user",
              "mask": "/data/m.crtf"}  # fmt: skip
    clean = Step(
        "n.clean", "image", "clean", "clean", {"dirty": "images/dirty/n", "tclean": tclean,
                                               "until": {"sigmas": 3.0, "suffix": ""}},
        reads=("images/dirty/n.psf", "images/dirty/n.residual", "/data/m.crtf"),
        writes=("images/n.image",), target="n", image="n",
    )  # fmt: skip
    make = Step("n.dirty", "image", "", "observe", writes=("images/dirty/n.psf",))
    plan = Plan(
        (task("g", "gaincal", gaincal, writes=("caltables/g",)), make, clean),
        {"/data/day.ms": "1", "/data/m.crtf": "2"}, {"casatasks": "6.7"},
    )  # fmt: skip
    used = {"dirty": "images/dirty/n", "tclean": {**tclean, "threshold": "0.5Jy"}, "until": {}}
    called = [{"niter": 4, "threshold": "0.2Jy"}]
    script = text(plan, results={"n.clean": {"params": used, "outcome": {"called": called}}})
    for kind in ("psf", "residual"):
        (tmp_path / "made" / f"n.{kind}").mkdir(parents=True)
    ready = script.replace("\n# n.clean: clean", "\nshutil.copytree('made', 'images/dirty', "
                           "dirs_exist_ok=True)")  # fmt: skip
    found = played(ready, tmp_path, monkeypatch)
    assert found == [
        ("gaincal", {**gaincal, "interp": ["nearest", ""]}),
        ("tclean", {**tclean, "threshold": "0.5Jy"}),
        ("tclean", {"imagename": "images/n", "threshold": "0.2Jy", "niter": 4, "usemask": "user"}),
    ]
    assert os.environ["OMP_NUM_THREADS"] == "1"
    assert (tmp_path / "images" / "n.residual").is_dir()
    assert 'DAY_MS = "/data/day.ms"' in script
    assert "vis=DAY_MS" in script
    assert "# threshold: 3 times rms_jy_per_beam of images/n.json, in Jy" in script
    with pytest.raises(SystemExit, match="has products already: run this in an empty folder"):
        played(script, tmp_path, monkeypatch)


def test_before_a_run_it_says_what_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = Plan((
        task("a", "split", {"vis": "v"}),
        task("m", "immoments", {"excludepix": [-1.0, LATE]}),
    ))  # fmt: skip
    script = text(plan, known=False)
    with pytest.raises(SystemExit) as stopped:
        played(script, tmp_path, monkeypatch)
    assert str(stopped.value) == (
        "known at run time: 3 times rms_jy_per_beam of images/n.json, in Jy; put it here, or take "
        "the script of a run"
    )
    assert "# What a run would do by the recipe r.toml" in script


def test_names_cannot_become_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params = {"vis": f"/data/{HOSTILE}", "field": HOSTILE, "info": {HOSTILE: [HOSTILE]}}
    step = task(HOSTILE, "split", params, dataset=HOSTILE, writes=(f"raw/{HOSTILE}/x",))
    odd = task("odd", "flagdata", {HOSTILE: 1, "lambda": 2})
    failed = Step("f", "flag", HOSTILE, "casa:flagdata")
    auto = Auto("calibrate.refant", HOSTILE, HOSTILE, HOSTILE)
    plan = Plan(
        (step, odd, failed), {f"/data/{HOSTILE}": ""}, {"casatasks": HOSTILE}, autos=(auto,)
    )
    states = {"f": {"state": "failed", "reason": HOSTILE}}
    found = played(text(plan, states, title=HOSTILE), tmp_path, monkeypatch)
    assert found == [("split", params), ("flagdata", {HOSTILE: 1, "lambda": 2})]
    assert not (tmp_path / "owned").exists()


def test_it_says_what_it_leaves_out() -> None:
    flag = task("flag", "flagdata", {"vis": "raw/x.ms"}, updates=("raw/x.ms",))
    piece = Step("c.piece", "cube", "smooth", "cube.piece", {"beam": 30},
                 writes=("images/c.fits",))  # fmt: skip
    seen = Step("c.measure", "measure", "look", "measure.cube", reads=("images/c.fits",))
    after = task("c.stat", "imstat", {"imagename": "images/c.fits"}, reads=("images/c.fits",))
    last = task("last", "imhead", {"imagename": "images/d"}, reads=("images/d",))
    why = {"flag": {"state": "failed", "reason": "no disk"}}
    said = text(Plan((flag, piece, after, seen, last)), why)
    assert "# NOT DONE: flag: do flag: no disk\n" in said
    assert '# NOT REPEATED: made by casarun\'s own code: cube.piece {"beam": 30}\n' in said
    assert "c.measure" not in said
    assert "# NOT REPEATED: c.stat: do c.stat: this script does not make images/c.fits\n" in said
    assert "from casatasks import imhead, imstat\n" in said
    assert "imstat(" not in said
    assert '\nimhead(imagename="images/d")\n' in said


def test_every_action_of_the_engine_has_its_place() -> None:
    steps = Steps({}, {}, known=True)
    modules = [name for names in actions._ELSEWHERE.values() for name in names]
    elsewhere = [import_module(f"casarun.engine.{name}").ACTIONS for name in modules]
    known = [*actions._ACTIONS, *(name for found in elsewhere for name in found)]
    assert {"clean", "ranges.clean", "selfcal.finish", "mask"} <= {*known}
    unknown = [name for name in known if not steps.repeats(Step("s", "", "", name))]
    assert [name for name in unknown if not name.startswith("cube.")] == []


def test_variables_are_named_after_files() -> None:
    assert variables(["/a/3c 286.ms", "/b/3c-286.ms", "/"]) == {
        "/a/3c 286.ms": "INPUT_3C_286_MS", "/b/3c-286.ms": "INPUT_3C_286_MS_2", "/": "INPUT",
    }  # fmt: skip


@pytest.mark.parametrize("value", ["0:6~56", "it's", 'a"b', "\\", "\n", "é", 1, 2.5, -1e-9, True,
                                   None, [1, [2]], {"a": {"b": []}}])  # fmt: skip
def test_literals_are_read_back_as_they_were(value: Any) -> None:
    source = literal(value)
    assert source.isascii()
    assert eval(source) == value


def test_comments_hold_in_their_lines() -> None:
    lines = comment(f"{'word ' * 40}\n{HOSTILE}")
    assert len(lines) > 2
    assert all(line.startswith("# ") and line.isprintable() for line in lines)
