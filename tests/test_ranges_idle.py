"""Rounds of a cube that are not needed leave, without a process, what one would leave."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from casarun.engine import range_cleaning
from casarun.engine.executors import Job
from casarun.engine.passing import passed_over
from casarun.engine.results import SKIPPED, read_result
from casarun.folder import RunFolder
from casarun.plan import Step

ENDED = {
    "next": "end", "reason": "the threshold is reached", "threshold_jy": 0.008,
    "thresholds_jy": [0.008], "iterations": 12, "earlier_iterations": 0, "rungs": None,
    "stopcode": 2,
}  # fmt: skip
AXIS = {"csys": {}, "n_chan": 8, "frequencies_hz": [1e9 + n for n in range(8)]}
CLEAN = {
    "axis": "axis.json", "first": 4, "last": 7, "margin": 0, "start": "noise.json",
    "state": "1.json", "rounds": {}, "prefix": "clean2", "out": "clean2.json",
    "products": ["clean2.model"], "tclean": {}, "dirty": "dirty", "own": "own.json",
}  # fmt: skip
SETTLE = {
    "round": 2, "last": 3, "ranges": [["clean2.json"]], "state": "1.json", "sigmas": 0.0,
    "niter": 100, "out": "2.json",
}  # fmt: skip


def put(folder: Path, **files: Any) -> None:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / f"{name.removeprefix('_')}.json").write_text(json.dumps(content))


def step(action: str, params: dict[str, Any], *writes: str) -> Step:
    return Step(f"T.cube.{action}", "image", "a step", action, params, writes=writes)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Two folders alike: for a process, and for the runner."""
    for name in ("apart", "within"):
        put(tmp_path / name, axis=AXIS, noise={}, _1=ENDED)
    return tmp_path / "apart", tmp_path / "within"


def test_a_round_that_is_not_needed_leaves_the_same(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    apart, within = folders
    monkeypatch.chdir(apart)
    outcomes = [range_cleaning.clean(CLEAN), range_cleaning.settle(SETTLE)]
    steps = [
        step("ranges.clean", CLEAN, "clean2.model", "clean2.json"),
        step("ranges.settle", SETTLE, "2.json"),
    ]
    for one, outcome in zip(steps, outcomes, strict=True):
        result = passed_over(Job(one, within))
        assert result is not None
        assert result["ok"]
        assert result["outcome"][SKIPPED] == outcome[SKIPPED] == "the threshold is reached"
        assert set(result["writes"]) == {one.params["out"]}
        assert read_result(RunFolder(within), one.id, 1) == result
    for name in ("clean2.json", "2.json"):
        assert (within / name).read_text() == (apart / name).read_text()


@pytest.mark.parametrize("going_on", ["clean", "again"])
def test_a_round_that_may_be_needed_is_for_a_process(
    folders: tuple[Path, Path], going_on: str
) -> None:
    _, within = folders
    put(within, _1=ENDED | {"next": going_on})
    assert passed_over(Job(step("ranges.clean", CLEAN, "clean2.json"), within)) is None
    assert passed_over(Job(step("ranges.settle", SETTLE, "2.json"), within)) is None
    assert not (within / "clean2.json").exists()


def test_the_first_round_is_for_a_process(folders: tuple[Path, Path]) -> None:
    _, within = folders
    first = step("ranges.clean", CLEAN | {"state": ""}, "clean2.json")
    assert passed_over(Job(first, within)) is None
    settle = step("ranges.settle", SETTLE | {"state": ""}, "2.json")
    assert passed_over(Job(settle, within)) is None


def test_channels_that_the_cube_has_not_are_for_a_process_to_tell(
    folders: tuple[Path, Path],
) -> None:
    _, within = folders
    beyond = step("ranges.clean", CLEAN | {"first": 8, "last": 11}, "clean2.json")
    assert passed_over(Job(beyond, within)) is None


def test_a_state_that_was_altered_is_for_a_process_to_refuse(folders: tuple[Path, Path]) -> None:
    _, within = folders
    one = step("ranges.settle", SETTLE, "2.json")
    assert passed_over(Job(one, within, states={"1.json": "another"})) is None
