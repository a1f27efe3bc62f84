"""A plan of which nothing had to run stands as long as all that it follows from is as it was."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest
from casarun.api import Options, opening, plan, run, standing
from casarun.engine import seen, settled
from casarun.errors import Problem
from casarun.folder import RunFolder
from casarun.report.conclude import plan_json
from casarun.stages import compile as stages
from support.many_datasets import without_casa, write_recipe
from test_crash import alter

PRODUCT = "caltables/day0000.amp"


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let few products be many, and what is new be old enough to be remembered."""
    now = seen.time.time_ns
    monkeypatch.setattr(seen, "spare_cores", lambda products, waiting: 1 if products else 0)
    monkeypatch.setattr(seen.time, "time_ns", lambda: now() + 3_600_000_000_000)
    monkeypatch.setattr(settled, "LEAST", 10)
    with without_casa(real=True):
        yield


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with a recipe, whose data it names by whole paths, and its run."""
    place = tmp_path_factory.mktemp("settled")
    recipe = write_recipe(place, 1)
    _edit(recipe, "data/", f"{place}/data/")
    with without_casa(real=True):
        run(*asked(place))
    RunFolder(place / "run").seen.unlink()
    return place


@pytest.fixture
def place(original: Path, tmp_path: Path) -> Iterator[Path]:
    """Give a copy of recipe and run, of which it is known that nothing must run."""
    shutil.copytree(original / "run", tmp_path / "run")
    shutil.copy(original / "survey.toml", tmp_path)
    (tmp_path / "data").symlink_to(original / "data")
    assert run(*asked(tmp_path)).outcome.done == []
    assert RunFolder(tmp_path / "run").settled.is_file()
    yield tmp_path
    (original / "data" / "day0000.uvfits").write_text("0")


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def asked(place: Path) -> tuple[Path, Options]:
    return place / "survey.toml", Options(output=place / "run")


def compiled(work: Callable[[], object]) -> bool:
    """Say whether the plan was made anew."""
    with mock.patch.object(stages, "full", side_effect=stages.full) as full:
        work()
    return full.called


def test_nothing_is_made_anew_where_nothing_changed(place: Path) -> None:
    result, planned = [], []
    assert not compiled(lambda: result.append(run(*asked(place))))
    assert not compiled(lambda: planned.append(plan(*asked(place))))
    kept, (ended,) = planned[0], result
    RunFolder(place / "run").settled.unlink()
    new = plan(*asked(place))
    assert json.dumps(plan_json(kept.plan)) == json.dumps(plan_json(new.plan))
    assert kept.decided == new.decided
    assert kept.warnings == new.warnings
    about = [warning.about for warning in new.warnings]
    assert [warning.about for warning in kept.warnings] == about == [(("target", "T0000"),)]
    assert (kept.plan.keep, kept.plan.needed_later) == (new.plan.keep, new.plan.needed_later)
    assert list(ended.outcome.skipped) == [step.id for step in new.plan.steps]
    assert ended.metrics == run(*asked(place)).metrics


def test_a_report_that_was_removed_is_made_again(place: Path) -> None:
    folder, found = RunFolder(place / "run"), []
    for stands in (True, False):
        folder.report.unlink()
        assert compiled(lambda: run(*asked(place))) is not stands
        found.append(re.findall("<h[1-4].*|<t[dh].*", folder.report.read_text()))
        folder.settled.unlink()
    assert len(found[0]) == len(found[1]) > 50


def test_warnings_are_kept(place: Path) -> None:
    folder, recipe_plan = RunFolder(place / "run"), plan(*asked(place)).plan
    warning = Problem("this is odd", ("image", 0, "niter"), "warning")
    assert settled.settle(folder, recipe_plan, "asked", [warning])
    header = settled.settled(folder, "asked")
    assert header is not None
    assert header.warnings == (warning,)
    assert settled.settled(folder, "otherwise") is None


CHANGES: dict[str, Callable[[Path], object]] = {
    "a file of the same size and time": lambda p: alter(p / "run" / PRODUCT / "table.f0"),
    "a file in a folder": lambda p: os.utime(p / "run" / PRODUCT / "ANTENNA" / "table.f0", (9, 9)),
    "a file more": lambda p: (p / "run" / PRODUCT / "table.f1").touch(),
    "a file less": lambda p: (p / "run" / PRODUCT / "FIELD" / "table.f0i").unlink(),
    "a folder more": lambda p: (p / "run" / PRODUCT / "FIELD" / "x").mkdir(),
    "a product gone": lambda p: shutil.rmtree(p / "run" / PRODUCT),
    "another in its place": lambda p: (
        shutil.rmtree(p / "run" / PRODUCT),
        shutil.copytree(p / "run" / "caltables" / "day0000.phase-int", p / "run" / PRODUCT),
    ),
    "an MS": lambda p: os.utime(p / "run" / "raw" / "day0000.ms" / "table.f2_TSM1", (9, 9)),
    "a FITS file": lambda p: alter(p / "run" / "images" / "T0000.continuum.fits"),
    "an input": lambda p: (p / "data" / "day0000.uvfits").write_text("9"),
    "an input gone": lambda p: (p / "data" / "day0000.uvfits").unlink(),
    "a parameter": lambda p: _edit(p / "survey.toml", "imsize = 64", "imsize = 128"),
    "a flag": lambda p: _edit(p / "survey.toml", "[targets]", "[flag]\nquack = '5s'\n[targets]"),
    "no journal": lambda p: (p / "run" / ".casarun" / "journal.jsonl").unlink(),
    "a ledger": lambda p: [
        path.unlink() for path in (p / "run" / ".casarun" / "ledgers").glob("day0000*")
    ],
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_is_noticed(place: Path, change: str) -> None:
    CHANGES[change](place)
    found = _answer(place)
    RunFolder(place / "run").settled.unlink()
    assert found == _answer(place)
    assert isinstance(found, str) or any(decision.run for decision in found.values())


def _answer(place: Path) -> object:
    """Return what is decided of each step, or why the recipe is refused."""
    try:
        return dict(plan(*asked(place)).decided.steps)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def test_a_journal_that_goes_on_is_noticed(place: Path) -> None:
    with RunFolder(place / "run").journal.open("a") as stream:
        stream.write('{"t":"","event":"run-ended"}\n')
    assert compiled(lambda: plan(*asked(place)))


def test_other_software_is_noticed(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = {**opening.versions(), "casatasks": "6.8.0"}
    for module in (standing, plan.__globals__["as_plan"].__globals__):
        if isinstance(module, dict):
            monkeypatch.setitem(module, "versions", lambda: other)
        else:
            monkeypatch.setattr(module, "versions", lambda: other)
    reasons = {decision.reason for decision in plan(*asked(place)).decided.steps.values()}
    assert "another version of casatasks" in reasons


def test_other_source_is_noticed(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "source").mkdir()
    monkeypatch.setattr(settled, "_SOURCE", str(tmp_path / "source"))
    assert compiled(lambda: run(*asked(place)))
    assert not compiled(lambda: run(*asked(place)))
    (tmp_path / "source" / "new.py").touch()
    assert compiled(lambda: plan(*asked(place)))


def test_a_product_that_comes_is_noticed(place: Path) -> None:
    """A step may make less than it may; what appears in its place is no product of its."""
    folder, recipe_plan = RunFolder(place / "run"), plan(*asked(place)).plan
    (place / "run" / PRODUCT).rename(place / "aside")
    assert settled.settle(folder, recipe_plan, "asked", [])
    same = dict.fromkeys(("is_looking_ahead", "all_same_ahead"), lambda folder: True)
    with mock.patch.multiple(settled, **same):
        header = settled.settled(folder, "asked")
        assert header is not None
        assert header.absent == (PRODUCT,)
        assert settled.still(folder, header) is not None
        (place / "aside").rename(place / "run" / PRODUCT)
        assert settled.still(folder, header) is None


@pytest.mark.parametrize("damage", ["cut", "empty", "bits", "header", "gone"])
def test_a_damaged_answer_is_none(place: Path, damage: str) -> None:
    path = RunFolder(place / "run").settled
    content = path.read_bytes()
    other = {
        "cut": content[: len(content) // 2],
        "empty": b"",
        "bits": content.replace(b"T0000", b"T0001"),
        "header": content[:20] + content[21:],
    }
    path.unlink()
    if damage in other:
        path.write_bytes(other[damage])
    assert compiled(lambda: plan(*asked(place)))
    assert run(*asked(place)).outcome.done == []
    assert not compiled(lambda: plan(*asked(place)))


def test_processes_that_are_killed_make_it_be_found_anew(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alter(place / "run" / PRODUCT / "table.f0")
    fork = os.fork

    def killed() -> int:
        pid = fork()
        if pid:
            os.kill(pid, signal.SIGKILL)
        return pid

    monkeypatch.setattr(os, "fork", killed)
    steps = plan(*asked(place)).decided.steps
    assert steps["day0000.amp"].reason == f"its product {PRODUCT} was altered"


def test_parts_of_a_plan_have_answers_of_their_own(place: Path) -> None:
    recipe, options = asked(place)
    part = replace(options, until="calibrate")
    steps = len(plan(recipe, options).plan.steps)
    assert len(run(recipe, part).plan.steps) < steps
    assert len(plan(recipe, options).plan.steps) == steps
    assert {
        d.reason for d in plan(recipe, replace(options, fresh=True)).decided.steps.values()
    } == {"a fresh run was asked for"}


def test_nothing_is_kept_of_what_was_changed_just_now(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, recipe_plan = RunFolder(place / "run"), plan(*asked(place)).plan
    monkeypatch.setattr(seen.time, "time_ns", lambda: 0)
    assert settled.settle(folder, recipe_plan, "asked", [])
    alter(place / "run" / PRODUCT / "table.f0")
    seen.Seen(folder).state(PRODUCT, ())
    assert not settled.settle(folder, recipe_plan, "again", [])


def test_few_products_are_not_worth_it(original: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe_plan = plan(*asked(original)).plan
    assert settled.is_worth_it(recipe_plan)
    monkeypatch.setattr(settled, "LEAST", 1000)
    assert not settled.is_worth_it(recipe_plan)
