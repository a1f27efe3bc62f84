"""Plans cut into slices, and what slices do of a plan: without CASA, without a batch system."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from casarun.engine.journal import Journal, read_events
from casarun.engine.journal_state import journals, read_state
from casarun.engine.policy import Budget
from casarun.engine.resume import Decided, Decision, decide, survey
from casarun.engine.scheduler import run
from casarun.engine.slice_files import (
    SliceResult,
    absorb,
    read_slice,
    result_of,
    write_result_of,
    write_slice,
)
from casarun.engine.slices import Slice, around, divide, grouped, of_slice
from casarun.errors import DataError, LockedError, StepFailedError
from casarun.files import remove_tree
from casarun.folder import RunFolder
from casarun.lock import FolderLock
from casarun.plan import Plan, Resources, Step
from support.big_plans import InstantExecutor


def step(
    name: str,
    reads: Sequence[str] = (),
    updates: Sequence[str] = (),
    *,
    dataset: str = "",
    target: str = "",
    image: str = "",
    stage: str = "",
    intermediate: bool = False,
) -> Step:
    writes = () if updates else (f"raw/{name}",)
    return Step(
        name, stage or ("image" if image else "calibrate"), name, "x", {}, tuple(reads), writes,
        tuple(updates), resources=Resources(seconds=10.0), dataset=dataset, target=target,
        image=image, intermediates=writes if intermediate else (),
    )  # fmt: skip


def survey_plan(n: int) -> Plan:
    """Return the plan of so many datasets, each with an image, and one image of all."""
    steps: list[Step] = []
    for day in range(n):
        d = f"d{day}"
        steps += [step(f"{d}.copy", dataset=d), step(f"{d}.cal", [f"raw/{d}.copy"], dataset=d),
                  step(f"{d}.map", [f"raw/{d}.cal"], target=f"t{day}", image="map")]  # fmt: skip
    steps.append(
        step("all.map", [f"raw/d{day}.cal" for day in range(n)], target="all", image="map")
    )
    return Plan(tuple(steps))


def seconds(plan: Plan, value: float = 10.0) -> dict[str, float]:
    return dict.fromkeys(plan.by_id, value)


def names(slices: Iterable[Slice]) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    return {one.name: (one.steps, one.after) for one in slices}


def test_steps_of_a_dataset_and_of_an_image_belong_together() -> None:
    plan = survey_plan(2)
    assert names(divide(plan, seconds(plan), 0.0, 10)) == {
        "calibrate-0": (("d0.copy", "d0.cal"), ()),
        "calibrate-1": (("d1.copy", "d1.cal"), ()),
        "image-0": (("d0.map",), ("calibrate-0",)),
        "image-1": (("d1.map",), ("calibrate-1",)),
        "image-2": (("all.map",), ("calibrate-0", "calibrate-1")),
    }


def test_what_is_short_joins_what_it_waits_for_and_is_packed() -> None:
    plan = survey_plan(8)
    found = divide(plan, seconds(plan), 60.0, 2)
    # An image joins its dataset (20 + 10 s); of these go two together, until 60 s are full.
    assert [one.steps for one in found[:-1]] == [
        (*(f"d{n}.{what}" for what in ("copy", "cal", "map")),
         *(f"d{n + 1}.{what}" for what in ("copy", "cal", "map")))
        for n in (0, 2, 4, 6)
    ]  # fmt: skip
    assert found[0].title == "calibrate d0, t0 map, d1 and 1 more"
    assert found[-1].after == tuple(one.name for one in found[:-1])


def test_where_there_is_little_to_do_more_runs_at_once() -> None:
    plan = survey_plan(8)
    assert len(divide(plan, seconds(plan), 60.0, 100)) == 9


def cube_plan(n: int) -> Plan:
    """Return the plan of a cube in so many ranges, of which one round is cleaned."""

    def part(name: str, action: str, reads: Sequence[str]) -> Step:
        one = step(f"t.c.{name}", [f"raw/t.c.{path}" for path in reads], target="t", image="c")
        return replace(one, action=action)

    ranges = range(n)
    steps = [part("axis", "ranges.axis", [])]
    steps += [part(f"dirty.{k}", "ranges.dirty", ["axis"]) for k in ranges]
    steps += [part("noise", "ranges.gather", [f"dirty.{k}" for k in ranges])]
    steps += [part(f"clean1.{k}", "ranges.clean", [f"dirty.{k}", "noise"]) for k in ranges]
    return Plan((*steps, part("join", "ranges.join", [f"clean1.{k}" for k in ranges])))


def test_ranges_of_a_long_cube_are_spread_over_nodes_and_wait_for_each_other() -> None:
    plan = cube_plan(4)
    whole = divide(plan, seconds(plan), 60.0, 10)
    assert len(whole) == 1
    # 8 steps of 150 s: 1200 s are two jobs of ten times 60 s.
    found = divide(plan, seconds(plan, 150.0), 60.0, 10)
    assert [(one.title, one.steps) for one in found] == [
        ("image t c", ("t.c.axis",)),
        ("image t c, part 1 of 2", ("t.c.dirty.0", "t.c.dirty.1")),
        ("image t c, part 2 of 2", ("t.c.dirty.2", "t.c.dirty.3")),
        ("image t c", ("t.c.noise",)),
        ("image t c, part 1 of 2", ("t.c.clean1.0", "t.c.clean1.1")),
        ("image t c, part 2 of 2", ("t.c.clean1.2", "t.c.clean1.3")),
        ("image t c", ("t.c.join",)),
    ]
    assert [one.after for one in found[3:]] == [
        ("image-1", "image-2"), ("image-1", "image-3"), ("image-2", "image-3"),
        ("image-4", "image-5"),
    ]  # fmt: skip


def test_only_what_runs_is_in_slices_and_waits_through_what_does_not() -> None:
    steps = (step("a", dataset="d"), step("b", ["raw/a"], target="t", image="m"),
             step("c", ["raw/b"], dataset="d"))  # fmt: skip
    plan = Plan(steps)
    assert names(divide(plan, {"a": 1.0, "c": 1.0}, 0.0, 1)) == {"calibrate-0": (("a", "c"), ())}
    whole = divide(plan, dict.fromkeys("abc", 1.0), 0.0, 1)
    assert names(whole) == {
        "calibrate-0": (("a",), ()),
        "image-0": (("b",), ("calibrate-0",)),
        "calibrate-1": (("c",), ("image-0",)),
    }


def test_slices_that_are_alike_make_one_array() -> None:
    plan = survey_plan(3)
    groups = grouped(divide(plan, seconds(plan), 0.0, 10))
    assert [[one.name for one in group] for group in groups] == [
        ["calibrate-0", "calibrate-1", "calibrate-2"], ["image-0"], ["image-1"], ["image-2"],
        ["image-3"],
    ]  # fmt: skip


def test_the_part_around_a_slice_has_the_fingerprints_of_the_whole() -> None:
    steps = (step("copy", dataset="d"), step("flag", updates=["raw/copy"], dataset="d"),
             step("map", ["raw/copy"], target="t", image="m"),
             step("weigh", updates=["raw/copy"], dataset="d"),
             step("other", dataset="e"))  # fmt: skip
    plan = Plan(steps, {}, {"casa": "6"})
    part = around(plan, ["map"])
    # What changes what it reads later belongs to it, so that it is not taken for an alteration.
    assert [one.id for one in part.steps] == ["copy", "flag", "map", "weigh"]
    assert part.fingerprints == {one: plan.fingerprints[one] for one in part.by_id}


# -- run in slices


PARTS = (("d0.copy", "d0.cal"), ("d1.copy", "d1.cal"), ("d0.map",), ("d1.map",), ("all.map",))


def do(folder: RunFolder, plan: Plan, mine: Sequence[str], name: str) -> list[str]:
    """Do a slice; return the steps that ran."""
    part = RunFolder(folder.root, name, "1.0")
    outcome = run(
        around(plan, mine), part, InstantExecutor(), budget=Budget(4), mine=frozenset(mine)
    )
    return outcome.done


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    (tmp_path / "run" / ".casarun").mkdir(parents=True)
    return RunFolder(tmp_path / "run")


def test_slices_one_after_the_other_make_what_the_whole_plan_makes(folder: RunFolder) -> None:
    plan = survey_plan(2)
    for number, mine in enumerate(PARTS):
        assert do(folder, plan, mine, f"s-{number}") == list(mine)
        assert not (folder.root / ".casarun" / "journal.jsonl").exists()
    assert decide(plan, survey(plan, folder)).to_run == []
    # Done again, a slice has nothing to do.
    assert do(folder, plan, PARTS[0], "s-0") == []
    absorb(folder)
    assert [path.name for path in journals(folder.journal)] == ["journal.jsonl"]
    assert decide(plan, survey(plan, folder)).to_run == []
    assert len([e for e in read_events(folder.journal) if e["event"] == "step-done"]) == 7


def test_a_slice_whose_inputs_are_missing_runs_nothing(folder: RunFolder) -> None:
    plan = survey_plan(2)
    do(folder, plan, PARTS[0], "s-0")
    with pytest.raises(StepFailedError) as missing:
        do(folder, plan, PARTS[4], "s-4")
    assert str(missing.value) == (
        "what this slice needs of d1.cal, a step of another one, is not there: never run. Run the "
        "same command again: it hands in what is missing."
    )
    do(folder, plan, PARTS[1], "s-1")
    remove_tree(folder.root / "raw" / "d0.cal")
    with pytest.raises(StepFailedError, match=r"needs of d0\.cal, a step of another one"):
        do(folder, plan, PARTS[4], "s-4")


def test_what_others_do_to_products_that_a_slice_does_not_touch_is_no_matter() -> None:
    plan = Plan((step("a", dataset="d"), step("b", ["raw/a"], dataset="d"),
                 step("c", ["raw/b"], target="t", image="m")))  # fmt: skip
    runs, kept = Decision(True, "altered"), Decision(False, "unchanged")
    decided = Decided({"a": runs, "b": kept, "c": runs})
    assert of_slice(plan, decided, {"c"}).to_run == ["c"]
    with pytest.raises(StepFailedError, match="of b, a step of another one, is not there: altered"):
        of_slice(plan, Decided({"a": kept, "b": runs, "c": runs}), {"c"})


def test_intermediates_stay_while_another_slice_needs_them(folder: RunFolder) -> None:
    steps = (step("a", dataset="d", intermediate=True),
             step("b", ["raw/a"], target="t", image="m"),
             step("c", ["raw/a"], target="t", image="n"))  # fmt: skip
    plan = Plan(steps, keep="products")
    do(folder, plan, ["a"], "s-0")
    do(folder, plan, ["b"], "s-1")
    assert (folder.root / "raw" / "a").exists()
    do(folder, plan, ["c"], "s-2")
    assert decide(plan, survey(plan, folder)).to_run == []


# -- what is kept of slices


def test_a_slice_is_read_as_it_was_written(folder: RunFolder) -> None:
    plan = survey_plan(2)
    one = Slice("image-0", "image", "image t0 map", ("d0.map",), ("calibrate-0",))
    write_slice(folder, one, around(plan, one.steps))
    found, part = read_slice(folder, "image-0")
    assert found == one
    assert part.fingerprints == around(plan, one.steps).fingerprints
    with pytest.raises(DataError, match="has no slice 'image-9'"):
        read_slice(folder, "image-9")
    (folder.slices / "image-0" / "slice.json").write_text("{}")
    with pytest.raises(DataError, match=r"slice\.json is damaged"):
        read_slice(folder, "image-0")


def test_results_say_whether_more_memory_can_help(folder: RunFolder) -> None:
    assert result_of(folder, "x") is None
    write_result_of(folder, "x", SliceResult("failed", "m", "out-of-memory"))
    found = result_of(folder, "x")
    assert found is not None
    assert not found.is_final
    assert SliceResult("failed", "m", "parameter").is_final
    assert SliceResult("done").is_final
    assert not SliceResult("interrupted").is_final
    assert not SliceResult("not run").is_final


def test_journals_are_read_together_and_absorbed_once(folder: RunFolder) -> None:
    for name in ("a", "b"):
        part = RunFolder(folder.root, name)
        with Journal(part.journal) as journal:
            journal.append("step-started", step=name, fingerprint="0", attempt=1)
            journal.append("step-done", step=name, fingerprint="0", writes={})
        with part.journal.open("a") as stream:
            stream.write('{"t":"half')
    folder.journal.write_text('{"t":"x","event":"run-started"}\n{"half')
    for path in (folder.journal, RunFolder(folder.root, "a").journal):
        assert set(read_state(path).steps) == {"a", "b"}
    assert set(read_state(RunFolder(folder.root, "a").journal, alone=True).steps) == {"a"}
    lock = FolderLock(RunFolder(folder.root, "b").lock)
    with lock, pytest.raises(LockedError):
        absorb(folder)
    absorb(folder)
    events = [(e["event"], e.get("step")) for e in read_events(folder.journal)]
    assert events == [
        ("run-started", None), ("step-started", "a"), ("step-done", "a"), ("step-started", "b"),
        ("step-done", "b"),
    ]  # fmt: skip
    assert set(read_state(folder.journal).steps) == {"a", "b"}


def test_a_run_folder_may_be_called_slices(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "slices")
    assert journals(folder.journal) == [folder.journal]
