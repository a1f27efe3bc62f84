"""The engine without processes: walker, policy, journal, ledger, decisions, scheduling."""

from __future__ import annotations

import contextlib
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from casarun.engine.causes import cause_of
from casarun.engine.executors import Ended, Job
from casarun.engine.journal import Journal, read_events
from casarun.engine.journal_state import read_state
from casarun.engine.late import resolve
from casarun.engine.ledger import Ledgers
from casarun.engine.policy import Budget, RetryPolicy, Room
from casarun.engine.results import failure
from casarun.engine.resume import Found, decide, survey
from casarun.engine.scheduler import Outcome, run
from casarun.engine.signals import StopFlag, walltime
from casarun.engine.walker import Walker
from casarun.errors import CasarunError, Cause, InterruptedRunError, StepFailedError
from casarun.files import read_json, signature
from casarun.folder import RunFolder
from casarun.plan import Plan, Resources, Step
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fake_actions import chain, fake

Behaviour = Callable[[Job], Mapping[str, Any]]


class MemoryExecutor:
    """Runs steps as calls, at the moment when their ends are waited for.

    It keeps products as files, whose text tells what they were made from.
    """

    def __init__(self, behave: Behaviour | None = None, *, newest_first: bool = False) -> None:
        self.behave = behave or make
        self.jobs: dict[str, Job] = {}
        self.started: list[str] = []
        self.killed: list[str] = []
        self.most = 0
        self.newest_first = newest_first

    def start(self, job: Job) -> Mapping[str, Any]:
        self.jobs[job.step.id] = job
        self.started.append(job.step.id)
        self.most = max(self.most, len(self.jobs))
        return {"host": "memory"}

    def wait(self, timeout_s: float) -> list[Ended]:
        if self.killed:
            ended = [Ended(step_id, stopped=True) for step_id in self.killed]
            self.killed.clear()
            return ended
        if not self.jobs:
            time.sleep(max(0.0, min(timeout_s, 0.01)))
            return []
        step_id = list(self.jobs)[-1 if self.newest_first else 0]
        job = self.jobs[step_id]
        result = self.behave(job)
        self.jobs.pop(step_id)
        return [Ended(step_id, result)]

    def usage(self) -> Mapping[str, int]:
        return {}

    def kill(self, step_id: str, cause: Cause | None) -> None:
        self.jobs.pop(step_id)
        self.killed.append(step_id)

    def leaving(self) -> list[str]:
        return []

    def end_stale(self, placed: Mapping[str, Any]) -> None:
        assert "host" in placed

    def close(self) -> None:
        self.jobs.clear()


def good(**more: Any) -> dict[str, Any]:
    return {**failure(Cause.UNKNOWN, ""), "ok": True, "cause": "", **more}


def make(job: Job) -> dict[str, Any]:
    """Do what a step does: what comes out depends on all that goes in."""
    step, root = job.step, job.folder
    read = "+".join((root / p).read_text() for p in step.reads)
    for path in step.writes:
        put(root / path, f"{step.params.get('say', '')}({read})")
    for path in step.updates:
        put(root / path, f"{(root / path).read_text()}|{step.params.get('say', '')}({read})")
    return good(writes={p: signature(root / p) for p in (*step.writes, *step.updates)})


def put(path: Path, text: str) -> None:
    """Make a file new, so that its modification time tells even within a tick of the clock."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_text(text)


def products(folder: RunFolder, steps: Iterable[Step]) -> dict[str, str]:
    paths = {p for step in steps for p in step.writes}
    return {p: (folder.root / p).read_text() for p in paths if (folder.root / p).exists()}


def go(
    folder: RunFolder,
    steps: Iterable[Step],
    behave: Behaviour | None = None,
    events: list[dict[str, Any]] | None = None,
    **more: Any,
) -> Outcome:
    listener = events.append if events is not None else None
    return run(
        Plan(tuple(steps)),
        folder,
        MemoryExecutor(behave),
        RetryPolicy(wait_s=0.0),
        Budget(1),
        listener,
        **more,
    )


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


def why(folder: RunFolder, steps: Iterable[Step], **more: Any) -> dict[str, str]:
    """Return the reasons of the steps that would run."""
    plan = Plan(tuple(steps), **more)
    return {s: d.reason for s, d in decide(plan, survey(plan, folder)).steps.items() if d.run}


# --- the walker


def test_steps_are_handed_out_in_plan_order_when_ready() -> None:
    walker = Walker(
        "abcd", {"a": frozenset(), "b": frozenset("a"), "c": frozenset(), "d": frozenset("bc")}
    )
    assert [walker.take(), walker.take(), walker.take()] == ["a", "c", None]
    walker.finish("c")
    assert walker.take() is None
    walker.finish("a")
    assert walker.take() == "b"
    walker.finish("b")
    assert walker.take() == "d"
    walker.finish("d")
    assert not walker


def test_a_failure_takes_along_only_what_depends_on_it() -> None:
    waits = {
        "a": frozenset(),
        "b": frozenset("a"),
        "c": frozenset(),
        "d": frozenset("b"),
        "e": frozenset("cd"),
    }
    walker = Walker("abcde", {k: frozenset(v) for k, v in waits.items()})
    walker.take()
    assert walker.fail("a") == ["b", "d", "e"]
    assert walker.left == {"c"}
    assert walker.take() == "c"


def test_a_run_starts_first_what_the_longest_work_waits_for(folder: RunFolder) -> None:
    steps = (
        fake("export", writes="images/x.fits", resources=Resources(seconds=2)),
        fake("dirty", writes="images/y", resources=Resources(seconds=1)),
        fake("clean", reads="images/y", writes="images/z", resources=Resources(seconds=9)),
    )
    assert go(folder, steps).done == ["dirty", "clean", "export"]
    known = {"export": 90.0, "dirty": 1.0, "clean": 9.0}
    assert go(folder, steps, fresh=True, seconds=known).done == ["export", "dirty", "clean"]


# --- retries and room


@pytest.mark.parametrize(
    ("causes", "wait_s"),
    [
        ([Cause.SIGNAL], 5.0),
        ([Cause.SIGNAL, Cause.IO], 10.0),
        ([Cause.SIGNAL, Cause.IO, Cause.IO], None),
        ([Cause.OUT_OF_MEMORY], 5.0),
        ([Cause.UNKNOWN], 5.0),
        ([Cause.TABLE_LOCK], 5.0),
        ([Cause.DISK_FULL], 5.0),
        ([Cause.DISK_FULL, Cause.DISK_FULL], None),
        ([Cause.PARAMETER], None),
        ([Cause.POSTCONDITION], None),
        ([Cause.SEVERE], None),
        ([Cause.EXCEPTION], None),
        ([Cause.ABORT], None),
        ([Cause.TIME_LIMIT], None),
        ([Cause.LOST_INPUT], None),
    ],
)
def test_the_cause_decides_about_another_attempt(causes: list[Cause], wait_s: float | None) -> None:
    assert RetryPolicy(3, 5.0).wait_before_next(causes) == wait_s


def test_a_cause_may_have_a_number_of_attempts_of_its_own() -> None:
    policy = RetryPolicy(3, 5.0, by_cause={Cause.TABLE_LOCK: 4, Cause.OUT_OF_MEMORY: 1})
    assert policy.wait_before_next([Cause.OUT_OF_MEMORY]) is None
    locks = [Cause.TABLE_LOCK] * 3
    assert policy.wait_before_next(locks) == 20.0
    assert policy.wait_before_next([*locks, Cause.TABLE_LOCK]) is None
    # Waiting for a lock uses up nothing of what other causes may have.
    assert policy.wait_before_next([*locks, Cause.IO, Cause.IO]) == 80.0
    assert policy.wait_before_next([*locks, Cause.IO, Cause.IO, Cause.IO]) is None


def test_waits_grow_up_to_a_limit() -> None:
    policy = RetryPolicy(5000, 5.0, 60.0)
    waits = [policy.wait_before_next([Cause.IO] * n) for n in (1, 2, 3, 4, 5, 4000)]
    assert waits == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]


def test_room_counts_cores_and_memory() -> None:
    room = Room(Budget(3, 100))
    small = fake("small", resources=Resources(1, 60))
    large = fake("large", resources=Resources(1, 60))
    light = fake("light", resources=Resources(2, 0))
    assert room.enter(small)
    assert not room.enter(large)
    assert room.enter(light)
    assert room.full
    room.leave("small")
    assert room.enter(large)


def test_cores_are_given_back_before_the_memory() -> None:
    room = Room(Budget(1, 100))
    assert room.enter(fake("first", resources=Resources(1, 60)))
    assert room.full
    room.give_cores_back("first")
    room.give_cores_back("first")
    assert not room.enter(fake("large", resources=Resources(1, 60)))
    assert room.enter(fake("small", resources=Resources(1, 40)))
    assert room.full
    room.leave("first")
    assert room.full
    assert room.farthest_over({"small": 101}) == "small"


def test_what_needs_more_than_there_is_runs_alone() -> None:
    room = Room(Budget(2, 100))
    huge = fake("huge", resources=Resources(8, 900))
    small = fake("small")
    assert room.enter(small)
    assert not room.enter(huge)
    room.leave("small")
    assert room.enter(huge)
    assert not room.enter(small)


def test_nothing_enters_beside_a_step_that_wants_to_be_alone() -> None:
    room = Room(Budget(4))
    assert room.enter(fake("one"), alone=True)
    assert room.full
    assert not room.enter(fake("two"))
    room.leave("one")
    assert room.enter(fake("two"))
    assert not room.enter(fake("one"), alone=True)


# --- journal and ledger


def test_a_journal_drops_an_unfinished_last_line(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.append("step-started", step="a")
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"t":"2026","event":"step-do')
    assert [e["event"] for e in read_events(path)] == ["step-started"]
    with Journal(path) as journal:
        journal.append("step-done", step="a")
    assert [e["event"] for e in read_events(path)] == ["step-started", "step-done"]
    assert path.read_bytes().startswith(whole)


@given(st.integers(0, 400))
@settings(max_examples=60, deadline=None)
def test_a_journal_cut_anywhere_keeps_its_whole_lines(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = tmp_path_factory.mktemp("cut") / "journal.jsonl"
    with Journal(path) as journal:
        for number in range(4):
            journal.append("step-started", step=str(number))
    content = path.read_bytes()[:cut]
    path.write_bytes(content)
    with Journal(path) as journal:
        journal.append("step-started", step="new")
    steps = [e["step"] for e in read_events(path)]
    assert steps == [*(str(n) for n in range(content.count(b"\n"))), "new"]


def test_a_line_that_is_no_event_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b'\xff\xfe\n[1]\n{"event":"run-started"}\n')
    assert [e["event"] for e in read_events(path)] == ["run-started"]
    assert list(read_events(tmp_path / "none")) == []


def test_a_write_that_fails_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.append("run-started")
        before = path.read_bytes()

        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("casarun.engine.journal.os.fdatasync", full)
        with pytest.raises(OSError, match="No space left"):
            journal.append("step-started", step="a")
        assert path.read_bytes() == before


def test_a_ledger_tells_what_a_product_holds(tmp_path: Path) -> None:
    ledgers = Ledgers(tmp_path / "ledgers")
    assert ledgers.states() == {}
    ledgers.begin("raw/x.ms", ["m"], "u1", "flag")
    state = Ledgers(tmp_path / "ledgers").states()["raw/x.ms"]
    assert (state.holds, state.doing, state.step, state.fingerprint) == (("m",), "u1", "flag", None)
    ledgers.end("raw/x.ms", ["m", "u1"], "flag", "sig")
    ledgers.begin("raw/y.ms", [], "m2", "import")
    states = ledgers.states()
    assert states["raw/x.ms"].fingerprint == "u1"
    assert states["raw/x.ms"].signature == "sig"
    assert states["raw/y.ms"].fingerprint is None


def test_products_of_one_name_have_ledgers_of_their_own(tmp_path: Path) -> None:
    ledgers = Ledgers(tmp_path)
    ledgers.end("a/x.ms", ["1"], "s", "")
    ledgers.end("b/x.ms", ["2"], "s", "")
    assert {p: s.fingerprint for p, s in ledgers.states().items()} == {"a/x.ms": "1", "b/x.ms": "2"}


# --- decisions


def test_in_an_empty_folder_everything_runs(folder: RunFolder) -> None:
    assert why(folder, chain()) == {step.id: "never run" for step in chain()}
    assert not folder.root.exists()


def test_a_second_run_does_nothing(folder: RunFolder) -> None:
    first = go(folder, chain())
    assert first.done == [step.id for step in chain()]
    before = folder.journal.read_bytes()
    second = go(folder, chain())
    assert second.done == []
    assert second.skipped == {step.id: "unchanged" for step in chain()}
    added = folder.journal.read_bytes()[len(before) :].splitlines()
    assert [json.loads(line)["event"] for line in added] == ["run-started", "run-ended"]


def test_only_what_depends_on_an_edit_runs_again(folder: RunFolder) -> None:
    go(folder, chain())
    steps = list(chain())
    steps[5] = replace(steps[5], params={"say": "i", "niter": 10})
    assert why(folder, steps) == {
        "image": "parameters changed: niter",
        "export": "its input images/x changed (step image runs again)",
    }


def test_an_edit_before_later_changes_makes_the_product_again(folder: RunFolder) -> None:
    go(folder, chain())
    again = why(folder, chain(solve="new"))
    assert again == {
        "import": "raw/x.ms must be made again: it already holds later changes",
        "flag": "raw/x.ms is made again (step import)",
        "solve": "parameters changed: say",
        "apply": "its input caltables/g changed (step solve runs again)",
        "split": "its input raw/x.ms changed (step apply runs again)",
        "image": "its input calibrated/x.ms changed (step split runs again)",
        "export": "its input images/x changed (step image runs again)",
    }


def test_a_lost_table_brings_its_ms_back_to_where_it_was_solved(folder: RunFolder) -> None:
    go(folder, chain())
    before = products(folder, chain())
    (folder.root / "caltables/g").unlink()
    assert why(folder, chain()) == {
        "import": "raw/x.ms must be made again: it already holds later changes",
        "flag": "raw/x.ms is made again (step import)",
        "solve": "its product caltables/g is gone",
        "apply": "raw/x.ms is made again (step import)",
    }
    go(folder, chain())
    assert products(folder, chain()) == before
    assert why(folder, chain()) == {}


def test_a_lost_product_after_all_changes_leaves_them_alone(folder: RunFolder) -> None:
    go(folder, chain())
    (folder.root / "calibrated/x.ms").unlink()
    assert why(folder, chain()) == {"split": "its product calibrated/x.ms is gone"}


def test_altered_products_are_made_again(folder: RunFolder) -> None:
    go(folder, chain())
    put(folder.root / "images/x", "by hand")
    put(folder.root / "raw/x.ms", "by hand")
    assert why(folder, chain()) == {
        "import": "its product raw/x.ms was altered",
        "flag": "raw/x.ms is made again (step import)",
        "apply": "raw/x.ms is made again (step import)",
        "image": "its product images/x was altered",
    }


def test_a_deleted_ms_that_was_changed_in_place(folder: RunFolder) -> None:
    go(folder, chain())
    (folder.root / "raw/x.ms").unlink()
    assert list(why(folder, chain())) == ["import", "flag", "apply"]
    assert why(folder, chain())["import"] == "its product raw/x.ms is gone"


def test_lost_ledgers_cost_work_and_not_correctness(folder: RunFolder) -> None:
    go(folder, chain())
    for file in folder.ledgers.iterdir():
        file.unlink()
    assert list(why(folder, chain())) == ["import", "flag", "apply"]


def test_a_change_added_at_the_end_runs_alone(folder: RunFolder) -> None:
    go(folder, chain()[:2])
    assert why(folder, [*chain()[:2], fake("more", updates="raw/x.ms")]) == {"more": "never run"}


def test_the_first_change_of_a_product_needs_no_ledger_before(folder: RunFolder) -> None:
    go(folder, chain()[:1])
    assert not folder.ledgers.exists()
    assert why(folder, chain()[:2]) == {"flag": "never run"}


def test_a_change_taken_away_makes_the_product_again(folder: RunFolder) -> None:
    go(folder, chain()[:2])
    assert why(folder, chain()[:1]) == {
        "import": "raw/x.ms must be made again: it already holds later changes"
    }
    go(folder, chain()[:1])
    assert products(folder, chain()[:1]) == {"raw/x.ms": "()"}
    assert why(folder, chain()[:1]) == {}
    assert why(folder, chain()[:2]) == {"flag": "raw/x.ms does not hold it yet"}


def test_reasons_name_inputs_versions_checks_and_actions(folder: RunFolder) -> None:
    reader = fake("import", reads="/in/x", writes="raw/x.ms")
    outcome = run(
        Plan((reader,), {"/in/x": "1"}, {"casatasks": "6.6"}),
        folder,
        MemoryExecutor(lambda job: make(Job(replace(job.step, reads=()), job.folder))),
    )
    assert outcome.done == ["import"]
    inputs, versions = {"/in/x": "1"}, {"casatasks": "6.6"}
    assert why(folder, [reader], inputs=inputs, versions=versions) == {}
    assert why(folder, [reader], inputs={"/in/x": "2"}, versions=versions) == {
        "import": "its input /in/x changed"
    }
    assert why(folder, [reader], inputs=inputs, versions={"casatasks": "6.7"}) == {
        "import": "another version of casatasks"
    }
    other = replace(reader, action="other")
    assert why(folder, [other], inputs=inputs, versions=versions) == {
        "import": "another action: other instead of make"
    }
    more = replace(reader, writes=("raw/x.ms", "raw/y.ms"))
    assert why(folder, [more], inputs=inputs, versions=versions) == {
        "import": "what it reads, writes or updates changed"
    }


def test_a_fresh_run_runs_everything(folder: RunFolder) -> None:
    go(folder, chain())
    decisions = decide(Plan(chain()), Found(), fresh=True).steps
    assert {d.reason for d in decisions.values()} == {"a fresh run was asked for"}
    assert go(folder, chain(), fresh=True).done == [step.id for step in chain()]


def test_a_failed_step_says_so_the_next_time(folder: RunFolder) -> None:
    def fail(job: Job) -> Mapping[str, Any]:
        return failure(Cause.SEVERE, "no solutions") if job.step.id == "solve" else make(job)

    outcome = go(folder, chain(), fail)
    assert outcome.state == "failed"
    assert outcome.failed["solve"].message == "no solutions"
    assert outcome.not_run == dict.fromkeys(
        ("apply", "split", "image", "export"), "it needs solve, which failed"
    )
    reasons = why(folder, chain())
    assert list(reasons) == ["solve", "apply", "split", "image", "export"]
    assert reasons["solve"] == "it failed: no solutions"
    assert reasons["apply"] == "never run"


# --- any history of edits, failures and losses ends as a fresh run


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["f", "g"]),
            st.sampled_from(["s", "t"]),
            st.integers(1, 7),
            st.integers(0, 8),
            st.sampled_from([None, "raw/x.ms", "caltables/g", "images/x", "calibrated/x.ms"]),
            st.booleans(),
        ),
        max_size=4,
    )
)
@settings(max_examples=60, deadline=None)
def test_any_history_ends_as_a_fresh_run(
    tmp_path_factory: pytest.TempPathFactory, history: list[tuple[Any, ...]]
) -> None:
    used = RunFolder(tmp_path_factory.mktemp("used") / "run")
    for flag, solve, length, crash_at, lost, half in history:
        calls = 0

        def behave(job: Job, crash_at: int = crash_at, half: bool = half) -> Mapping[str, Any]:
            nonlocal calls
            calls += 1
            if calls - 1 == crash_at:
                for path in job.step.updates:
                    put(job.folder / path, "half")
                if half:
                    raise KeyboardInterrupt
                return failure(Cause.SEVERE, "broken")
            return make(job)

        with contextlib.suppress(KeyboardInterrupt):
            go(used, chain(flag, solve)[:length], behave)
        if lost and (used.root / lost).exists():
            (used.root / lost).unlink()
    assert go(used, chain()).state == "done"
    fresh = RunFolder(tmp_path_factory.mktemp("fresh") / "run")
    go(fresh, chain())
    assert products(used, chain()) == products(fresh, chain())
    assert why(used, chain()) == {}


# --- scheduling


def test_every_event_reaches_listener_and_journal(folder: RunFolder) -> None:
    events: list[dict[str, Any]] = []
    go(folder, [fake("a", writes="qa/a")], events=events)
    kinds = ["run-started", "step-started", "step-placed", "step-done", "run-ended"]
    assert [e["event"] for e in events] == kinds
    assert json.loads(json.dumps(events)) == list(read_events(folder.journal))
    assert events[1]["reason"] == "never run"
    assert set(events[3]["writes"]) == {"qa/a"}
    events.clear()
    go(folder, [fake("a", writes="qa/a")], events=events)
    assert [(e["event"], e.get("reason")) for e in events][1] == ("step-skipped", "unchanged")


def test_steps_that_may_overlap_do_within_the_budget(folder: RunFolder) -> None:
    steps = [fake(f"s{i}", writes=f"qa/{i}") for i in range(6)]
    executor = MemoryExecutor(newest_first=True)
    run(Plan(tuple(steps)), folder, executor, budget=Budget(3))
    assert executor.most == 3
    assert executor.started == [s.id for s in steps]


def test_memory_limits_what_overlaps(folder: RunFolder) -> None:
    steps = [fake(f"s{i}", writes=f"qa/{i}", resources=Resources(1, 50)) for i in range(6)]
    executor = MemoryExecutor()
    run(Plan(tuple(steps)), folder, executor, budget=Budget(6, 100))
    assert executor.most == 2


def test_a_small_step_passes_a_large_one_that_must_wait(folder: RunFolder) -> None:
    steps = (
        fake("first", writes="qa/1"),
        fake("large", writes="qa/2", resources=Resources(2)),
        fake("small", writes="qa/3"),
    )
    executor = MemoryExecutor()
    run(Plan(steps), folder, executor, budget=Budget(2))
    assert executor.started == ["first", "small", "large"]


def test_a_failure_stops_only_what_needs_it(folder: RunFolder) -> None:
    steps = [
        fake("a", writes="qa/a"),
        fake("b", reads="qa/a", writes="qa/b"),
        fake("c", reads="qa/b", writes="qa/c"),
        fake("d", writes="qa/d"),
    ]
    outcome = go(
        folder,
        steps,
        lambda job: failure(Cause.PARAMETER, "bad") if job.step.id == "a" else make(job),
    )
    assert outcome.done == ["d"]
    assert list(outcome.failed) == ["a"]
    assert outcome.failed["a"].attempts == 1
    assert outcome.failed["a"].logs == folder.root / "logs" / "a" / "attempt-1"
    assert outcome.not_run == {
        "b": "it needs a, which failed",
        "c": "it needs a, which failed",
    }


def test_after_a_failure_nothing_more_starts_if_the_recipe_says_so(folder: RunFolder) -> None:
    steps = [
        fake("a", writes="qa/a"),
        fake("b", reads="qa/a", writes="qa/b"),
        fake("c", writes="qa/c"),
    ]
    executor = MemoryExecutor(
        lambda job: failure(Cause.PARAMETER, "bad") if job.step.id == "a" else make(job)
    )
    outcome = run(
        Plan(tuple(steps)), folder, executor, RetryPolicy(stop_at_failure=True), Budget(1)
    )
    assert executor.started == ["a"]
    assert outcome.not_run == {
        "b": "it needs a, which failed",
        "c": "nothing was started after a failed (retry.on_failure)",
    }
    assert (outcome.state, outcome.interrupted) == ("failed", False)
    assert go(folder, steps).done == ["a", "b", "c"]


def flaky(times: int, cause: Cause, step_id: str) -> Behaviour:
    """Fail the first attempts of one step."""
    left = [times]

    def behave(job: Job) -> Mapping[str, Any]:
        if job.step.id == step_id and left[0]:
            left[0] -= 1
            for path in job.step.updates:
                put(job.folder / path, "broken")
            return failure(cause, "for once")
        return make(job)

    return behave


def test_a_step_is_tried_again_and_says_so(folder: RunFolder) -> None:
    events: list[dict[str, Any]] = []
    outcome = go(folder, chain(), flaky(2, Cause.TABLE_LOCK, "solve"), events)
    assert outcome.state == "done"
    assert [e["attempt"] for e in events if e["event"] == "step-retry"] == [2, 3]
    assert [e["attempt"] for e in events if e.get("step") == "solve" and "attempt" in e][-1] == 3


def test_attempts_end(folder: RunFolder) -> None:
    outcome = go(folder, chain(), flaky(9, Cause.IO, "solve"))
    assert outcome.failed["solve"].attempts == 3
    assert outcome.failed["solve"].cause is Cause.IO


def test_a_change_in_place_is_tried_again_on_a_product_made_again(folder: RunFolder) -> None:
    events: list[dict[str, Any]] = []
    outcome = go(folder, chain(), flaky(1, Cause.SIGNAL, "apply"), events)
    assert outcome.state == "done"
    started = [e["step"] for e in events if e["event"] == "step-started"]
    first = ["import", "flag", "solve", "apply"]
    assert started == [*first, "import", "flag", "apply", "split", "image", "export"]
    assert sorted(outcome.done) == sorted(s.id for s in chain())
    assert products(folder, chain())["raw/x.ms"] == "()|f()|a(s(()|f()))"


def test_a_step_that_ran_out_of_memory_runs_alone(folder: RunFolder) -> None:
    beside: list[tuple[int, int]] = []
    executor = MemoryExecutor()
    inner = flaky(1, Cause.OUT_OF_MEMORY, "s0")

    def behave(job: Job) -> Mapping[str, Any]:
        if job.step.id == "s0":
            beside.append((job.attempt, len(executor.jobs) - 1))
        return inner(job)

    executor.behave = behave
    steps = tuple(fake(f"s{i}", writes=f"qa/{i}") for i in range(4))
    outcome = run(Plan(steps), folder, executor, RetryPolicy(wait_s=0), Budget(4))
    assert outcome.state == "done"
    assert beside == [(1, 3), (2, 0)]


def test_a_stop_ends_the_run_and_the_next_one_goes_on(folder: RunFolder) -> None:
    stop = StopFlag()

    def behave(job: Job) -> Mapping[str, Any]:
        if job.step.id == "flag":
            stop.set("SIGINT")
        return make(job)

    outcome = go(folder, chain(), behave, stop=stop)
    assert outcome.interrupted
    assert outcome.state == "interrupted"
    assert outcome.done == ["import", "flag"]
    assert outcome.not_run["solve"] == "the run was asked to stop"
    assert read_json(folder.status)["state"] == "interrupted"
    assert go(folder, chain()).done == ["solve", "apply", "split", "image", "export"]


@pytest.mark.timeout(300)
def test_a_run_stops_when_its_wall_time_is_over(folder: RunFolder) -> None:
    stop = StopFlag()

    def last(job: Job) -> dict[str, Any]:
        until = time.monotonic() + 20
        while not stop and time.monotonic() < until:
            time.sleep(0.005)
        return make(job)

    with walltime(stop, 0.05, "2h"):
        outcome = go(folder, chain(), last, stop=stop)
    assert outcome.interrupted
    assert outcome.why == "its wall time of 2h is over"
    assert go(folder, chain()).state == "done"


def test_a_wall_time_that_was_enough_leaves_no_mark() -> None:
    stop = StopFlag()
    with walltime(stop, 0.05, "2h"):
        pass
    time.sleep(0.1)
    assert not stop


def test_a_stop_cuts_a_wait_short(folder: RunFolder) -> None:
    stop = StopFlag()

    def behave(job: Job) -> Mapping[str, Any]:
        return failure(Cause.IO, "stale")

    def listen(event: dict[str, Any]) -> None:
        if event["event"] == "step-retry":
            stop.set()

    plan = Plan((fake("a", writes="qa/a"),))
    outcome = run(plan, folder, MemoryExecutor(behave), RetryPolicy(wait_s=600), None, listen, stop)
    assert outcome.interrupted
    assert outcome.not_run == {"a": "the run was asked to stop"}


def test_a_listener_that_breaks_leaves_a_folder_to_go_on_in(folder: RunFolder) -> None:
    def listen(event: dict[str, Any]) -> None:
        if event["event"] == "step-done" and event["step"] == "flag":
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        run(Plan(chain()), folder, MemoryExecutor(), None, None, listen)
    assert go(folder, chain()).done == ["solve", "apply", "split", "image", "export"]


def test_a_journal_that_cannot_be_written_stops_the_run(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def behave(job: Job) -> Mapping[str, Any]:
        def full(descriptor: int, data: bytes) -> int:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("casarun.engine.journal.os.write", full)
        return make(job)

    with pytest.raises(InterruptedRunError) as caught:
        go(folder, chain(), behave)
    assert str(caught.value) == (
        f"cannot write the records of the run in {folder.root}: No space left on device. What was "
        "done is kept: mend that, and run the same command to go on."
    )
    assert caught.value.exit_code == 75
    monkeypatch.undo()
    assert go(folder, chain()).state == "done"


def test_the_status_tells_what_runs(folder: RunFolder) -> None:
    seen: list[dict[str, Any]] = []

    def behave(job: Job) -> Mapping[str, Any]:
        time.sleep(0.3)
        return make(job)

    def listen(event: dict[str, Any]) -> None:
        if folder.status.exists():
            seen.append(read_json(folder.status))

    steps = (fake("a", writes="qa/a"), fake("b", reads="qa/a", writes="qa/b"))
    run(Plan(steps), folder, MemoryExecutor(behave), listener=listen)
    last = read_json(folder.status)
    assert last["state"] == "done"
    assert last["counts"] == {
        "total": 2,
        "running": 0,
        "done": 2,
        "skipped": 0,
        "failed": 0,
        "not_run": 0,
    }
    assert {"pid", "host", "started", "updated"} <= set(last)
    assert any(status["counts"]["done"] == 1 for status in seen)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([fake("a"), fake("a")], "a: two steps have this id"),
        ([fake("a/b")], "a/b: not safe as a file name"),
        ([fake("a", writes="/etc/x")], "a: changes /etc/x, outside the run folder"),
        ([fake("a", updates="/in/x.ms")], "a: changes /in/x.ms, outside the run folder"),
        ([fake("a", writes="../x")], "a: '../x' is not a plain path"),
        ([fake("a", reads="raw//x")], "a: 'raw//x' is not a plain path"),
        (
            [fake("a", writes=".casarun/lock")],
            "a: changes .casarun/lock, which casarun keeps for itself",
        ),
        ([fake("a", reads="x", writes="x")], "a: makes x new and needs what was there"),
        ([fake("a", updates="x")], "a: changes x, which no earlier step makes"),
    ],
)
def test_an_unsound_plan_is_refused(folder: RunFolder, steps: list[Step], message: str) -> None:
    with pytest.raises(CasarunError) as caught:
        go(folder, steps)
    assert message in str(caught.value).splitlines()
    assert not folder.root.exists()


@pytest.mark.timeout(120)
def test_a_plan_of_thousands_of_steps_runs_and_rests(folder: RunFolder) -> None:
    steps = tuple(
        fake(f"s{i}", reads=f"qa/{i - 100}" if i >= 100 else "", writes=f"qa/{i}")
        for i in range(2_000)
    )
    outcome = run(Plan(steps), folder, MemoryExecutor(lambda job: good()), budget=Budget(50))
    assert len(outcome.done) == 2_000
    assert len(read_state(folder.journal).steps) == 2_000
    assert len(go(folder, steps).skipped) == 2_000


# --- late values and causes


def test_late_values_are_read_when_the_step_runs(tmp_path: Path) -> None:
    noise = {"rms": 1.23456789e-3, "spw": [{"n": 2}], "mask": "a.crtf"}
    (tmp_path / "noise.json").write_text(json.dumps(noise))

    def late(**spec: Any) -> dict[str, Any]:
        return {"$late": {"path": "noise.json", **spec}}

    params = {
        "threshold": late(key="rms", times=3, unit="Jy"),
        "deep": [{"n": late(key="spw.0.n", times=2, unit="")}],
        "mask": late(key="mask", times=1, unit=""),
        "plain": 5,
    }
    assert resolve(params, tmp_path) == {
        "threshold": "0.00370370367Jy",
        "deep": [{"n": 4.0}],
        "mask": "a.crtf",
        "plain": 5,
    }


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"path": "n.json", "key": "peak"}, "n.json has no peak"),
        ({"path": "n.json", "key": "rms.x"}, "n.json has no rms.x"),
        ({"path": "n.json", "key": "none", "times": 3}, "none in n.json is no number: None"),
    ],
)
def test_late_values_that_are_not_there(tmp_path: Path, spec: dict[str, Any], message: str) -> None:
    (tmp_path / "n.json").write_text('{"rms": 1, "none": null}')
    with pytest.raises(StepFailedError) as caught:
        resolve({"x": {"$late": spec}}, tmp_path)
    assert caught.value.message == message
    assert caught.value.cause is Cause.LOST_INPUT


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (StepFailedError(Cause.SEVERE, "x"), Cause.SEVERE),
        (OSError(28, "No space left on device"), Cause.DISK_FULL),
        (OSError(5, "Input/output error"), Cause.IO),
        (OSError(116, "Stale file handle"), Cause.IO),
        (OSError(2, "No such file or directory"), Cause.EXCEPTION),
        (MemoryError(), Cause.OUT_OF_MEMORY),
        (RuntimeError("std::bad_alloc"), Cause.OUT_OF_MEMORY),
        (RuntimeError("RegularFileIO: No space left on device"), Cause.DISK_FULL),
        (AssertionError("{'standard': ['unallowed value']}"), Cause.PARAMETER),
        (ValueError("spw 7 is not there"), Cause.EXCEPTION),
        (RuntimeError("could not acquire a lock on table x.ms"), Cause.TABLE_LOCK),
        (RuntimeError("table x.ms is locked by another process"), Cause.TABLE_LOCK),
        (RuntimeError("Error (...) when acquiring lock on x.ms/table.lock"), Cause.TABLE_LOCK),
        (RuntimeError("no block of data"), Cause.EXCEPTION),
    ],
)
def test_errors_have_causes(error: BaseException, cause: Cause) -> None:
    assert cause_of(error) is cause


def test_a_library_that_finds_no_room_ran_out_of_memory_if_that_is_limited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    error = ImportError("libgfortran.so.5: failed to map segment from shared object")
    for limit, cause in ((resource.RLIM_INFINITY, Cause.EXCEPTION), (10**9, Cause.OUT_OF_MEMORY)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, limit=limit: (limit, limit))
        assert cause_of(error) is cause


def test_an_error_of_a_process_that_had_filled_its_address_space_is_its_memory_s() -> None:
    """C code without memory can leave Python with anything."""
    script = """if True:
        import mmap, resource
        from pathlib import Path
        from casarun.engine.causes import cause_of
        error = SystemError("error return without exception set")
        used = int(Path("/proc/self/statm").read_text().split()[0]) * mmap.PAGESIZE
        limit = used + 300_000_000
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        print(cause_of(error))
        held = mmap.mmap(-1, 290_000_000)
        held.close()
        print(cause_of(error), cause_of(ValueError("cannot lock")), cause_of(AssertionError()))
    """
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["exception", "out-of-memory", "table-lock", "parameter"]
