"""Work and waits of the engine grow with the number of steps, and no faster."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any
from unittest import mock

import pytest
from casarun.engine import journal, journal_state
from casarun.engine.chains import Chains
from casarun.engine.journal import last_event, read_events
from casarun.engine.journal_state import JournalState, read_state
from casarun.engine.policy import Budget, RetryPolicy
from casarun.engine.resume import decide, survey
from casarun.engine.scheduler import run
from casarun.engine.soundness import check_plan
from casarun.engine.walker import needs, turns
from casarun.folder import RunFolder
from casarun.plan import Plan, and_above, fingerprints, hazards
from hypothesis import given
from hypothesis import strategies as st
from support.big_plans import InstantExecutor, big_plan

SMALL, LARGE = 5, 25
FACTOR = LARGE / SMALL


def ran(root: Path, datasets: int) -> tuple[Plan, RunFolder]:
    """Run a plan in memory; return it anew, with nothing derived from it yet."""
    folder = RunFolder(root / str(datasets))
    outcome = run(big_plan(datasets), folder, InstantExecutor(), RetryPolicy(), Budget(4))
    assert outcome.state == "done"
    return big_plan(datasets), folder


def instructions(function: Callable[[], Any]) -> int:
    """Return how many of Python's instructions a call takes, whatever the machine."""
    count = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    and_above.cache_clear()
    before = sys.gettrace()
    # Python 3.12 tells of no instruction as long as no frame of the process has asked for them.
    sys._getframe().f_trace_opcodes = True
    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(before)
    return count


def looks(function: Callable[[], Any]) -> Counter[str]:
    """Return how often a call asks the filesystem, by what it asks."""
    found: Counter[str] = Counter()

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        if event == "c_call" and argument.__module__ in {"posix", "io", "_io"}:
            found[argument.__name__] += 1

    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(None)
    return +Counter({name: found[name] for name in ("stat", "lstat", "scandir", "open")})


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for the disk."""
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: None)


PURE: dict[str, Callable[[Plan], Any]] = {
    "hazards": lambda plan: hazards(plan.steps),
    "fingerprints": lambda plan: fingerprints(plan.steps, plan.inputs, plan.versions),
    "chains": Chains,
    "of_step": lambda plan: Chains(plan).of_step,
    "changed_by": lambda plan: Chains(plan).changed_by,
    "needs": needs,
    "turns": lambda plan: turns(plan, 2),
    "check_plan": check_plan,
}


@pytest.mark.parametrize("name", PURE)
def test_what_follows_from_a_plan_takes_work_in_proportion_to_its_steps(name: str) -> None:
    small = instructions(partial(PURE[name], big_plan(SMALL)))
    large = instructions(partial(PURE[name], big_plan(LARGE)))
    assert large < 1.1 * FACTOR * small


def test_finding_that_nothing_must_run_takes_work_in_proportion(tmp_path: Path) -> None:
    work = []
    for datasets in (SMALL, LARGE):
        plan, folder = ran(tmp_path, datasets)
        assert not decide(plan, survey(plan, folder))
        plan = big_plan(datasets)
        work.append(instructions(lambda: decide(plan, survey(plan, folder))))  # noqa: B023
    assert work[1] < 1.1 * FACTOR * work[0]


def test_a_survey_looks_at_each_file_a_fixed_number_of_times(tmp_path: Path) -> None:
    asked = []
    for datasets in (SMALL, LARGE):
        plan, folder = ran(tmp_path, datasets)
        asked.append(looks(lambda: survey(plan, folder)))  # noqa: B023
    products = {path for step in big_plan(LARGE).steps for path in step.writes}
    assert asked[0].keys() == asked[1].keys()
    assert asked[1].total() < 1.1 * FACTOR * asked[0].total()
    assert len(products) < asked[1].total() < 15 * len(products)


def test_deciding_looks_at_no_file(tmp_path: Path) -> None:
    plan, folder = ran(tmp_path, SMALL)
    found = survey(plan, folder)
    assert not looks(lambda: decide(plan, found))


def test_a_run_works_and_waits_in_proportion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, waits = [], []
    for datasets in (SMALL, LARGE):
        synced: list[int] = []
        monkeypatch.setattr(os, "fdatasync", synced.append)
        root = tmp_path / str(datasets)
        work.append(instructions(lambda: ran(root, datasets)))  # noqa: B023
        waits.append(len(synced))
    assert work[1] < 1.1 * FACTOR * work[0]
    changed_in_place = 7  # the changes of a dataset's MS, and its making
    assert waits[1] <= LARGE * 2 * (20 + changed_in_place) + 2


def told(state: JournalState) -> dict[str, Any]:
    """Return all that a journal says of its steps."""
    return {
        step: (r.done, r.last, r.message, r.fingerprint, r.attempt, r.fell_back, r.made, r.placed)
        for step, r in state.steps.items()
    }


def test_a_journal_read_by_its_beginnings_says_the_same(tmp_path: Path) -> None:
    _, folder = ran(tmp_path, SMALL)
    fast, whole = read_state(folder.journal), JournalState.of(read_events(folder.journal))
    assert told(fast) == told(whole)
    assert fast.runs == whole.runs
    made = [record.made for record in fast.steps.values()]
    assert {"vis", "niter"} <= made[0]["params"].keys()
    assert len(made) == 20 * SMALL


def test_what_steps_were_made_from_is_not_read_unless_asked_for(tmp_path: Path) -> None:
    _, folder = ran(tmp_path, SMALL)
    with mock.patch.object(journal_state, "event_of", wraps=journal_state.event_of) as read:
        state = read_state(folder.journal)
        assert read.call_count == 20 * SMALL + 2  # the ends of steps, and both of the run's own
        assert state.steps["day0000.flag"].made["action"] == "casa:flagdata"
        assert read.call_count == 20 * SMALL + 3


PLACED = {"t": "1", "event": "step-placed", "step": "a", "host": "h", "pid": 1, "created": 2.0}
STARTED = {"t": "1", "event": "step-started", "step": "a", "fingerprint": "0f", "attempt": 2,
           "reason": "never run", "params": {"x": [1]}}  # fmt: skip


@pytest.mark.parametrize(
    "event",
    [
        PLACED,
        STARTED,
        {**STARTED, "step": ".."},
        {**STARTED, "step": "a/b"},
        {**STARTED, "step": "\u00e4"},
        {**STARTED, "fingerprint": "x"},
        {**STARTED, "attempt": "2"},
        {**STARTED, "params": 1},
        {key: STARTED[key] for key in sorted(STARTED)},
        {**PLACED, "step": "."},
        {**PLACED, "pid": "x"},
        {**PLACED, "event": "step-other"},
    ],
)
def test_lines_of_any_make_are_taken_alike(tmp_path: Path, event: dict[str, Any]) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text(json.dumps(event, separators=(",", ":")) + "\n" + "{}\n" + '{"t":"')
    fast, whole = read_state(path), JournalState.of(read_events(path))
    if event.get("params") != 1 and event.get("pid") != "x":
        assert told(fast) == told(whole)
    else:  # known too late to be left out; nothing is made of it
        (record,) = fast.steps.values()
        assert (record.made, record.placed) == ({}, None)


def test_a_line_that_is_broken_in_its_middle_comes_to_nothing(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    done = {"t": "1", "event": "step-done", "step": "a", "fingerprint": "0f"}
    broken = json.dumps(STARTED, separators=(",", ":")).replace('"params"', '"par')
    path.write_text(broken + "\n" + json.dumps(done) + "\n")
    record = read_state(path).steps["a"]
    assert (record.last, record.done, record.made) == (
        "step-done",
        {"t": "1", "fingerprint": "0f", "fell_back": []},
        {},
    )


LINES = st.lists(
    st.sampled_from(
        [b'{"event":"a"}', b'{"event":"bb"}', b'{"event":', b"\0\0", b"", b'{"t":1}', b"\xff"]
    ),
    max_size=12,
)


@given(LINES, st.booleans(), st.integers(1, 80))
def test_the_last_event_is_the_last_of_all(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], whole: bool, end_bytes: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "lines.jsonl"
    path.write_bytes(b"\n".join(lines) + (b"\n" if whole else b""))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal, "_END_BYTES", end_bytes)
        assert last_event(path) == (list(read_events(path)) or [None])[-1]


def test_a_missing_ledger_has_no_last_event(tmp_path: Path) -> None:
    assert last_event(tmp_path / "none.jsonl") is None
