"""What is only there for later steps goes when these are done, and comes back when it is needed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from casarun.engine.disk import DiskUse
from casarun.engine.intermediates import peak_bytes
from casarun.engine.policy import Budget, RetryPolicy
from casarun.engine.results import failure
from casarun.engine.resume import Decided, decide, survey
from casarun.engine.saved import Save, SavedStates
from casarun.engine.scheduler import run
from casarun.engine.soundness import check_plan
from casarun.errors import CasarunError, Cause
from casarun.files import tree_size
from casarun.folder import RunFolder
from casarun.plan import Plan, Resources, Step
from support.fake_actions import fake
from test_engine import MemoryExecutor, make

WORKING, DIRTY = "raw/x.ms", "images/dirty/x"


def steps_of(flag: str = "f", gain: str = "g") -> tuple[Step, ...]:
    """Return a reduction whose working MS and dirty image are intermediates."""
    return (
        fake("copy", writes=WORKING, intermediates=(WORKING,)),
        fake("flag", updates=WORKING, params={"say": flag}),
        fake("solve", reads=WORKING, writes="caltables/g"),
        fake("apply", reads="caltables/g", updates=WORKING, params={"say": "a"}),
        fake("split", reads=WORKING, writes="calibrated/x.ms"),
        fake("dirty", reads="calibrated/x.ms", writes=DIRTY, intermediates=(DIRTY,)),
        fake("clean", reads=f"calibrated/x.ms {DIRTY}", writes="images/x", params={"say": gain}),
        fake("export", reads="images/x", writes="images/x.fits"),
    )


def plan_of(*says: str, keep: str = "products") -> Plan:
    return Plan(steps_of(*says), keep=keep)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


def go(folder: RunFolder, plan: Plan, behave: Any = make) -> tuple[Any, list[dict[str, Any]]]:
    events: list[dict[str, Any]] = []
    policy = RetryPolicy(1, 0.0)
    outcome = run(plan, folder, MemoryExecutor(behave), policy, Budget(1), events.append)
    return outcome, events


def why(decided: Decided) -> dict[str, str]:
    return {step: one.reason for step, one in decided.steps.items() if one.run}


def look(folder: RunFolder, plan: Plan) -> Decided:
    return decide(plan, survey(plan, folder))


def there(folder: RunFolder, paths: Iterable[str] = (WORKING, DIRTY)) -> list[str]:
    return [path for path in paths if (folder.root / path).exists()]


def told(events: Iterable[dict[str, Any]]) -> list[str]:
    """Return the ends of steps and the removals, in order."""
    wanted = {"step-done": "step", "product-removed": "product"}
    return [str(e[wanted[e["event"]]]) for e in events if e["event"] in wanted]


def test_an_intermediate_goes_when_its_last_reader_is_done(folder: RunFolder) -> None:
    outcome, events = go(folder, plan_of())
    assert told(events) == [
        "copy", "flag", "solve", "apply", "split", WORKING, "dirty", "clean", DIRTY, "export",
    ]  # fmt: skip
    assert outcome.removed == [WORKING, DIRTY]
    assert outcome.removed_bytes > 0
    assert there(folder) == []
    assert not look(folder, plan_of())
    assert go(folder, plan_of())[0].done == []


def test_with_keep_all_they_stay(folder: RunFolder) -> None:
    outcome, _ = go(folder, plan_of(keep="all"))
    assert outcome.removed == []
    assert there(folder) == [WORKING, DIRTY]


def test_an_edit_makes_again_what_it_needs_and_no_more(folder: RunFolder) -> None:
    go(folder, plan_of())
    edited = plan_of("f", "h")
    assert why(look(folder, edited)) == {
        "dirty": f"{DIRTY} was removed when nothing needed it; makes it again",
        "clean": "parameters changed: say",
        "export": "its input images/x changed (step clean runs again)",
    }
    outcome, _ = go(folder, edited)
    assert outcome.done == ["dirty", "clean", "export"]
    assert there(folder) == []
    assert (folder.root / "images/x").read_text().startswith("h(")


def test_a_lost_table_takes_the_changes_before_it_and_none_after(folder: RunFolder) -> None:
    go(folder, plan_of())
    (folder.root / "caltables/g").unlink()
    assert why(look(folder, plan_of())) == {
        "copy": f"{WORKING} was removed when nothing needed it; makes it again",
        "flag": f"{WORKING} is made again (step copy)",
        "solve": "its product caltables/g is gone",
    }
    outcome, _ = go(folder, plan_of())
    assert outcome.done == ["copy", "flag", "solve"]
    assert there(folder) == []
    assert not look(folder, plan_of())


def test_what_failed_keeps_what_it_needs(folder: RunFolder) -> None:
    def behave(job: Any) -> Any:
        return failure(Cause.SEVERE, "broken") if job.step.id == "clean" else make(job)

    outcome, _ = go(folder, plan_of(), behave)
    assert list(outcome.failed) == ["clean"]
    assert there(folder) == [DIRTY]
    outcome, _ = go(folder, plan_of())
    assert outcome.done == ["clean", "export"]
    assert there(folder) == []


def test_a_part_of_a_plan_leaves_what_the_rest_needs(folder: RunFolder) -> None:
    wanted = {"copy", "flag", "solve"}
    part = plan_of().part(lambda step: step.id in wanted)
    assert part.needed_later == {WORKING}
    go(folder, part)
    assert there(folder) == [WORKING]
    outcome, _ = go(folder, plan_of())
    assert outcome.done == ["apply", "split", "dirty", "clean", "export"]


def test_what_reads_a_part_of_an_intermediate_or_the_folder_above_needs_it() -> None:
    maker = fake("a", writes="images/x", intermediates=("images/x",))
    for path in ("images/x/table.f0", "images/x", "images"):
        plan = Plan((maker, fake("b", reads=path, writes="qa/y")), keep="products")
        assert plan.part(lambda step: step.id == "a").needed_later == {"images/x"}
    other = Plan((maker, fake("b", reads="images/x.fits", writes="qa/y")), keep="products")
    assert other.part(lambda step: step.id == "a").needed_later == set()


def test_changing_ones_mind(folder: RunFolder) -> None:
    go(folder, plan_of(keep="all"))
    assert look(folder, plan_of()).removals == (DIRTY, WORKING)
    outcome, _ = go(folder, plan_of())
    assert (outcome.done, outcome.removed) == ([], [DIRTY, WORKING])
    assert there(folder) == []
    assert not look(folder, plan_of())
    reasons = why(look(folder, plan_of(keep="all")))
    assert reasons["dirty"] == f"{DIRTY} was removed when nothing needed it; makes it again"
    assert list(reasons) == ["copy", "flag", "apply", "dirty"]
    go(folder, plan_of(keep="all"))
    assert there(folder) == [WORKING, DIRTY]


def test_a_broken_intermediate_is_no_reason_to_run_anything(folder: RunFolder) -> None:
    """A kill, or somebody, left a part of it."""
    go(folder, plan_of())
    (folder.root / DIRTY).write_text("a part")
    assert look(folder, plan_of()) == replace(look(folder, plan_of()), removals=(DIRTY,))
    assert why(look(folder, plan_of())) == {}
    outcome, _ = go(folder, plan_of("f", "h"))
    assert outcome.done == ["dirty", "clean", "export"]


def test_saved_states_go_with_the_product(folder: RunFolder) -> None:
    def saving(job: Any) -> Any:
        for save in job.saves:
            SavedStates(folder).save(Save(save.unit, save.holds, save.seconds), lambda: ())
        return make(job)

    go(folder, plan_of(keep="all"), saving)
    assert list(folder.saved.glob("*/*.json"))
    go(folder, plan_of())
    assert not list(folder.saved.iterdir())


def test_an_intermediate_must_be_made_by_its_step() -> None:
    step = replace(fake("a", writes="images/x"), intermediates=("images/y",))
    with pytest.raises(CasarunError) as error:
        check_plan(Plan((step,)))
    assert str(error.value) == (
        "the plan is unsound:\na: calls images/y an intermediate and does not make it"
    )


# --- how much disk


def test_what_a_step_adds_counts_from_its_start() -> None:
    use = DiskUse(100)
    use.change(2.0, 50)  # ends last, started second
    use.change(1.0, 10)
    use.change(3.0, -40)
    use.change(4.0, 20)
    assert use.peak_bytes == 160


def test_the_peak_is_what_the_folder_held(folder: RunFolder) -> None:
    def sized(job: Any) -> Any:
        before = tree_size(folder.root)
        result = dict(make(job))
        for path in job.step.writes:
            (folder.root / path).write_text("x" * 1000)
        return {**result, "grown_bytes": tree_size(folder.root) - before}

    steps = (
        fake("a", writes="raw/a", intermediates=("raw/a",)),
        fake("b", reads="raw/a", writes="raw/b", intermediates=("raw/b",)),
        fake("c", reads="raw/b", writes="raw/c"),
    )
    records = 5000  # the journal grows, too, and counts at the start of a run
    outcome, _ = go(folder, Plan(steps, keep="products"), sized)
    assert 2000 <= outcome.peak_disk_bytes < 2000 + records
    outcome, _ = go(RunFolder(folder.root.parent / "all"), Plan(steps), sized)
    assert outcome.peak_disk_bytes >= 2000


def test_the_expected_peak_counts_what_is_there_at_a_time() -> None:
    def sized(step: Step) -> Step:
        return replace(step, resources=Resources(disk_bytes=10))

    steps = tuple(sized(step) for step in steps_of())
    # copy, flag, solve, apply, split: 50; without copy, flag and apply 20; dirty, clean 40
    assert peak_bytes(Plan(steps, keep="products"), steps) == 50
    assert peak_bytes(Plan(steps), steps) == 80
    later = Plan(steps, keep="products", needed_later=frozenset({WORKING, DIRTY}))
    assert peak_bytes(later, steps) == 80
