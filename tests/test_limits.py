"""Limits that hold, and runs that nobody watches."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import casarun.engine.disk as disk
import psutil
import pytest
from casarun.api.beginning import time_total
from casarun.api.opening import Options, open_recipe
from casarun.engine.disk import reserve_bytes
from casarun.engine.executors import Ended, Job
from casarun.engine.executors.local import LocalExecutor
from casarun.engine.history import earlier, learnt_memory
from casarun.engine.machine import oom_kills
from casarun.engine.policy import Budget, RetryPolicy, Room
from casarun.engine.results import failure
from casarun.engine.resume import decide, survey
from casarun.engine.scheduler import Outcome, run
from casarun.engine.signals import StopFlag, jobtime, stopping, walltime
from casarun.engine.walker import Walker, needs
from casarun.errors import Cause, LockedError
from casarun.files import write_json
from casarun.folder import RunFolder
from casarun.lock import FolderLock, holder
from casarun.plan import Plan, Step
from casarun.plan import Resources as StepResources
from support import crashes, mishaps, skies
from support.cli import COMMAND, casarun, events, recipe
from support.fake_actions import NAME, chain, content, fake, served
from test_engine import MemoryExecutor, make, products

TESTS = str(Path(__file__).parent)
Events = list[dict[str, Any]]
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


@pytest.fixture
def server() -> Iterator[None]:
    """Have a fork server that knows the fake actions, and let no later test have it."""
    with served():
        yield


def go(
    folder: RunFolder,
    steps: Iterable[Step],
    behave: Any = None,
    told: Events | None = None,
    budget: Budget | None = None,
    **policy: Any,
) -> Outcome:
    listener = told.append if told is not None else None
    return run(
        Plan(tuple(steps)),
        folder,
        MemoryExecutor(behave),
        RetryPolicy(**{"wait_s": 0.0, **policy}),
        budget,
        listener,
    )


# --- disk


class Disk:
    """A disk whose free space a test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, free: int, total: int = 10**12) -> None:
        self.free, self.total = free, total
        monkeypatch.setattr(disk.shutil, "disk_usage", self.usage)

    def usage(self, path: Path) -> Usage:
        return Usage(self.total, self.total - self.free, self.free)


@pytest.mark.parametrize(
    ("wish", "total", "found"),
    [
        ("auto", 10**12, 1_000_000_000),
        ("auto", 10**9, 20_000_000),
        ("10GB", 10**9, 10_000_000_000),
        ("none", 10**12, 0),
    ],
)
def test_what_must_stay_free(
    wish: str, total: int, found: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Disk(monkeypatch, 0, total)
    assert reserve_bytes(wish, tmp_path / "not" / "there") == found


def test_nothing_starts_below_the_reserve_and_the_run_can_be_gone_on_with(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Disk(monkeypatch, 2_000)

    def behave(job: Job) -> Mapping[str, Any]:
        here.free = 500
        return make(job)

    told: Events = []
    steps = [fake("a", writes="qa/a"), fake("b", writes="qa/b")]
    budget = Budget(disk_reserve_bytes=1_000)
    outcome = go(folder, steps, behave, told, budget, max_wait_s=0.05)
    why = f"less than 1 kB of disk is free in {folder.root} (resources.disk_reserve): free some"
    assert outcome.done == ["a"]
    assert (outcome.interrupted, outcome.state, outcome.why) == (True, "interrupted", why)
    assert outcome.not_run == {"b": f"nothing more was started: {why}"}
    waits = [event for event in told if event["event"] == "run-waiting"]
    assert [(event["message"], event["wait_s"]) for event in waits] == [(why, 0.05)]
    here.free = 2_000
    assert go(folder, steps, None, None, budget).done == ["b"]


def test_a_run_waits_for_the_disk_and_goes_on(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Disk(monkeypatch, 500)
    told: Events = []

    class Listener(list[dict[str, Any]]):
        def append(self, event: dict[str, Any]) -> None:
            if event["event"] == "run-waiting":
                here.free = 2_000
            told.append(event)

    budget = Budget(disk_reserve_bytes=1_000)
    outcome = go(folder, chain(), None, Listener(), budget, max_wait_s=60.0)
    assert outcome.state == "done"
    assert [e["event"] for e in told].count("run-waiting") == 1


def test_what_need_not_run_needs_no_disk(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    go(folder, chain())
    Disk(monkeypatch, 0)
    outcome = go(folder, chain(), None, None, Budget(disk_reserve_bytes=1), max_wait_s=0.0)
    assert (outcome.state, len(outcome.skipped)) == ("done", len(chain()))


def test_a_disk_that_is_full_twice_stops_the_run_and_fails_nothing(folder: RunFolder) -> None:
    def behave(job: Job) -> Mapping[str, Any]:
        return failure(Cause.DISK_FULL, "full") if job.step.id == "solve" else make(job)

    told: Events = []
    outcome = go(folder, [*chain(), fake("z", writes="qa/z")], behave, told)
    assert (outcome.interrupted, outcome.failed) == (True, {})
    assert outcome.why == f"the disk of {folder.root} is full: free some"
    assert [e["attempt"] for e in told if e["event"] == "step-failed"] == [1, 2]
    plan = Plan(chain())
    reasons = decide(plan, survey(plan, folder)).steps
    assert reasons["solve"].reason == "it failed: full"
    assert go(folder, [*chain(), fake("z", writes="qa/z")]).state == "done"


# --- what a failure takes along


def readers() -> tuple[Step, ...]:
    """Build a reduction in which a step reads the MS before two others change it."""
    return (
        fake("import", writes="raw/x.ms"),
        fake("gencal", reads="raw/x.ms", writes="caltables/tsys"),
        fake("flag", updates="raw/x.ms", params={"say": "f"}),
        fake("apply", reads="caltables/tsys", writes="calibrated/x.ms"),
        fake("clip", updates="raw/x.ms", params={"say": "c"}),
        fake("image", reads="raw/x.ms", writes="images/x"),
    )


def broken(*ids: str, cause: Cause = Cause.SEVERE) -> Any:
    def behave(job: Job) -> Mapping[str, Any]:
        return failure(cause, "broken") if job.step.id in ids else make(job)

    return behave


def test_who_waits_is_not_always_who_needs() -> None:
    plan = Plan(readers())
    assert plan.waits_for["flag"] == {"import", "gencal"}
    assert needs(plan)["flag"] == {"import"}
    assert needs(plan)["apply"] == {"gencal"}
    assert needs(plan)["clip"] == {"flag"}


def test_a_folder_and_what_lies_in_it_overlap() -> None:
    steps = (
        fake("one", writes="qa/all/one"),
        fake("two", reads="qa", writes="caltables/t"),
        fake("three", reads="qa/all/one/part", writes="caltables/u"),
    )
    assert [needs(Plan(steps))[step] for step in ("two", "three")] == [{"one"}, {"one"}]


def test_a_reader_that_failed_does_not_stop_who_changes_what_it_read(folder: RunFolder) -> None:
    outcome = go(folder, readers(), broken("gencal"))
    assert outcome.done == ["import", "flag", "clip", "image"]
    assert list(outcome.failed) == ["gencal"]
    assert outcome.not_run == {"apply": "it needs gencal, which failed"}
    # The reader is given the product as it was: it is made again, and all that follows.
    again = go(folder, readers())
    assert again.state == "done"
    assert {"import", "gencal", "flag", "apply", "clip"} <= set(again.done)
    fresh = RunFolder(folder.root.parent / "fresh")
    go(fresh, readers())
    assert products(folder, readers()) == products(fresh, readers())
    assert go(folder, readers()).done == []


def test_a_reader_that_is_tried_again_keeps_what_it_reads(folder: RunFolder) -> None:
    """Until it has failed for good, nobody changes the product."""
    left = [1]

    def behave(job: Job) -> Mapping[str, Any]:
        if job.step.id == "gencal" and left[0]:
            left[0] -= 1
            return failure(Cause.IO, "stale")
        return make(job)

    outcome = go(folder, readers(), behave)
    assert outcome.state == "done"
    assert outcome.done.count("import") == 1
    assert products(folder, readers())["caltables/tsys"] == "(())"


def test_for_a_step_that_failed_for_good_nothing_is_made_again(folder: RunFolder) -> None:
    """A second pass, for another step, leaves the product as it is."""
    left = [1]

    def behave(job: Job) -> Mapping[str, Any]:
        if job.step.id == "gencal":
            return failure(Cause.SEVERE, "broken")
        if job.step.id == "other-flag" and left[0]:
            left[0] -= 1
            return failure(Cause.IO, "stale")
        return make(job)

    steps = [
        *readers(),
        fake("other", writes="raw/y.ms"),
        fake("other-flag", updates="raw/y.ms", params={"say": "f"}),
    ]
    told: Events = []
    outcome = go(folder, steps, behave, told)
    started = [event["step"] for event in told if event["event"] == "step-started"]
    assert started.count("other") == 2
    assert started.count("import") == 1
    assert list(outcome.failed) == ["gencal"]
    assert outcome.not_run == {"apply": "it needs gencal, which failed"}


def test_two_failures_release_a_step_once() -> None:
    waits = {"a": frozenset(), "b": frozenset("a"), "c": frozenset(), "d": frozenset("bc")}
    only = {"a": frozenset(), "b": frozenset("a"), "c": frozenset(), "d": frozenset("c")}
    walker = Walker("abcd", waits, only)
    assert walker.take() == "a"
    assert walker.fail("a") == ["b"]
    assert walker.fail("b") == []
    assert walker.take() == "c"
    assert walker.take() is None
    walker.finish("c")
    assert walker.take() == "d"


# --- memory


def test_a_step_that_uses_more_than_a_step_may_ends(
    folder: RunFolder, server: None, tmp_path: Path
) -> None:
    held = {"megabytes": 300, "hold": str(tmp_path / "never")}
    greedy = fake("greedy", "eat", writes="qa/x", params=held)
    modest = fake("modest", "eat", writes="qa/y", params={"megabytes": 10, "sleep": 1})
    executor = LocalExecutor((NAME,))
    budget = Budget(1, memory_per_step_bytes=200_000_000)
    try:
        outcome = run(Plan((greedy, modest)), folder, executor, RetryPolicy(1), budget,
                      actions=NAME)  # fmt: skip
    finally:
        executor.close()
    assert outcome.done == ["modest"]
    assert outcome.failed["greedy"].cause is Cause.OUT_OF_MEMORY
    assert outcome.failed["greedy"].message.endswith(
        "of memory; resources.memory_per_step is 200 MB"
    )


def test_kills_for_memory_are_counted_where_the_run_is(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/vmstat").write_text("pgfault 9\noom_kill 7\n")
    assert oom_kills(tmp_path) == 7
    (tmp_path / "proc/self/cgroup").write_text("0::/job/step\n")
    (tmp_path / "proc/self/mountinfo").write_text(
        "30 23 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw\n"
    )
    group = tmp_path / "sys/fs/cgroup/job/step"
    group.mkdir(parents=True)
    assert oom_kills(tmp_path) == 7
    (group / "memory.events").write_text("low 0\noom 3\noom_kill 2\noom_group_kill 0\n")
    assert oom_kills(tmp_path) == 2
    assert oom_kills(tmp_path / "nowhere") == 0


def test_kills_for_memory_are_counted_in_a_cgroup_of_version_1(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("4:memory:/job\n0::/\n")
    (tmp_path / "proc/self/mountinfo").write_text(
        "31 23 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    )
    group = tmp_path / "sys/fs/cgroup/memory/job"
    group.mkdir(parents=True)
    (group / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n")
    assert oom_kills(tmp_path) == 3


def sized(step_id: str, gigabytes: float, cores: int = 1) -> Step:
    resources = StepResources(memory_bytes=int(gigabytes * 1e9), cores=cores)
    return fake(step_id, writes=f"qa/{step_id}", resources=resources)


class Together(MemoryExecutor):
    """Ends a step when it is asked to wait, the first first; notes what ran together."""

    def __init__(self) -> None:
        super().__init__()
        self.inside: dict[str, Job] = {}
        self.most_bytes = 0
        self.order: list[str] = []

    def start(self, job: Job) -> Mapping[str, Any]:
        self.inside[job.step.id] = job
        self.order.append(job.step.id)
        together = sum(job.step.resources.memory_bytes for job in self.inside.values())
        self.most_bytes = max(self.most_bytes, together)
        return {"host": "memory"}

    def wait(self, timeout_s: float) -> list[Ended]:
        if not self.inside:
            return []
        step_id = next(iter(self.inside))
        return [Ended(step_id, make(self.inside.pop(step_id)))]


def run_together(folder: RunFolder, steps: Iterable[Step], budget: Budget) -> Together:
    executor = Together()
    outcome = run(Plan(tuple(steps)), folder, executor, RetryPolicy(), budget)
    assert outcome.state == "done"
    return executor


def test_steps_never_exceed_the_budget_together(folder: RunFolder) -> None:
    steps = [sized(f"s{n}", 1 + n % 5) for n in range(40)]
    done = run_together(folder, steps, Budget(8, int(10e9)))
    assert 9e9 <= done.most_bytes <= 10e9


def test_a_small_step_starts_while_a_large_one_waits(folder: RunFolder) -> None:
    steps = [sized("a", 5), sized("large", 8), sized("small", 2)]
    assert run_together(folder, steps, Budget(2, int(10e9))).order == ["a", "small", "large"]


def test_a_large_step_is_not_overtaken_for_ever(folder: RunFolder) -> None:
    """Four steps for each core may go before it."""
    steps = [sized("first", 3), sized("large", 9), *(sized(f"s{n:02}", 3) for n in range(60))]
    order = run_together(folder, steps, Budget(2, int(10e9))).order
    assert order.index("large") == 1 + 4 * 2


def test_a_step_for_which_others_wait_need_not_come() -> None:
    room = Room(Budget(2, 10), ("a", "big", "b", "c"))
    small, big = (replace(fake(""), resources=StepResources(memory_bytes=n)) for n in (6, 9))
    assert room.enter(replace(small, id="a"))
    assert not room.enter(replace(big, id="big"))
    for _ in range(20):
        room.leave("a")
        assert room.enter(replace(small, id="a"))
    room.leave("a")
    assert room.enter(replace(small, id="c"))


def test_what_killed_a_step_is_kept_for_its_next_attempt() -> None:
    room = Room(Budget(4, 10), ("a", "b"))
    room.learn("a", 7)
    one = StepResources(memory_bytes=1)
    assert room.enter(replace(fake("a"), resources=one))
    assert not room.enter(replace(fake("b"), resources=StepResources(memory_bytes=4)))
    assert room.enter(replace(fake("b"), resources=StepResources(memory_bytes=3)))


def held(job: Job, memory_bytes: int) -> dict[str, Any]:
    return {**make(job), "peak_memory_bytes": memory_bytes}


def test_needs_are_learnt_from_the_journal(folder: RunFolder) -> None:
    steps = (sized("same", 1), sized("other", 1))
    plan = Plan(steps)
    run(plan, folder, MemoryExecutor(lambda job: held(job, int(3e9))), None, Budget(1))
    write_json(folder.plan, {"steps": [
        {**step.to_json(), "fingerprint": plan.fingerprints[step.id]} for step in steps
    ]})  # fmt: skip
    like = fake("new", writes="qa/new", resources=StepResources(memory_bytes=int(2e9)))
    unlike = fake("no", "look", writes="qa/no", resources=StepResources(memory_bytes=int(2e9)))
    modest = sized("same", 4)
    next_plan = Plan((modest, like, unlike))
    learnt = learnt_memory(next_plan, next_plan.steps, earlier(folder))
    assert learnt == {"new": int(6e9)}
    assert learnt_memory(plan, steps, earlier(folder)) == {"same": int(3e9), "other": int(3e9)}


def test_what_a_failed_step_held_says_something_if_it_failed_for_that(folder: RunFolder) -> None:
    def behave(job: Job) -> Mapping[str, Any]:
        cause = Cause.OUT_OF_MEMORY if job.step.id == "greedy" else Cause.SEVERE
        return {**failure(cause, "broken"), "peak_memory_bytes": 5_000_000_000}

    steps = (sized("greedy", 1), sized("broken", 1))
    go(folder, steps, behave, attempts=1)
    assert learnt_memory(Plan(steps), steps, earlier(folder)) == {"greedy": 5_000_000_000}


# --- signals and time


@pytest.mark.parametrize(("said", "stopped"), [("0.05s", True), ("1h", False), ("none", False)])
def test_a_run_has_the_time_that_its_recipe_gives_it(
    tmp_path: Path, said: str, stopped: bool
) -> None:
    (tmp_path / "x.ms").mkdir()
    path = recipe(tmp_path, f'[[dataset]]\nvis = "x.ms"\n[resources]\ntime_total = "{said}"\n')
    stop = StopFlag()
    with time_total(open_recipe(path, Options(output=tmp_path / "run")), stop):
        until = time.monotonic() + (60 if stopped else 0.2)
        while not stop and time.monotonic() < until:
            time.sleep(0.01)
    wanted = "its wall time of 0.05s (resources.time_total) is over" if stopped else ""
    assert stop.reason == wanted


def test_of_two_wall_times_the_shorter_counts() -> None:
    stop = StopFlag()
    with walltime(stop, 0.05, "3min"), walltime(stop, 1e30, "1h (resources.time_total)"):
        until = time.monotonic() + 60
        while not stop and time.monotonic() < until:
            time.sleep(0.01)
    assert stop.reason == "its wall time of 3min is over"


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU])
def test_a_batch_systems_warning_stops_the_run(number: signal.Signals) -> None:
    with stopping(StopFlag()) as stop:
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)  # as often as it likes
        assert stop.reason == number.name


def test_a_second_sigterm_insists() -> None:
    with stopping(StopFlag()) as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.reason == "SIGTERM"
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_run_ends_before_its_slurm_job() -> None:
    stop = StopFlag()
    end = int(time.time()) + 59
    with jobtime(stop, {"SLURM_JOB_END_TIME": str(end)}):
        while not stop and time.time() < end:
            time.sleep(0.01)
    said = f"{datetime.fromtimestamp(end, UTC):%Y-%m-%d %H:%M:%S} UTC"
    assert stop.reason == f"its job ends at {said} (SLURM_JOB_END_TIME)"


@pytest.mark.parametrize("said", ["", "soon", "-5", "1000000000", "9" * 30])
def test_an_end_that_says_nothing_stops_nothing(said: str) -> None:
    stop = StopFlag()
    with jobtime(stop, {"SLURM_JOB_END_TIME": said}):
        time.sleep(0.05)
    assert not stop


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP])
def test_a_signal_to_all_processes_fails_no_step(
    folder: RunFolder, tmp_path: Path, number: signal.Signals
) -> None:
    """As systemd, Docker and Slurm send it: to each process of the group, in any order."""
    at, plan = tmp_path / "at", tmp_path / "plan.json"
    hold = {"at": str(at), "hold": str(tmp_path / "never")}
    plan.write_text(json.dumps([fake("a", writes="qa/a", params=hold).to_json()]))
    with subprocess.Popen(
        [sys.executable, "-m", NAME, str(plan), str(folder.root)],
        env={**os.environ, "PYTHONPATH": TESTS},
    ) as runner:
        until = time.monotonic() + 120
        while not at.exists() and time.monotonic() < until:
            time.sleep(0.01)
        family = psutil.Process(runner.pid).children(recursive=True)
        assert family
        for process in (*reversed(family), psutil.Process(runner.pid)):
            process.send_signal(number)
        assert runner.wait(120) == 75
    told = [json.loads(line) for line in folder.journal.read_text().splitlines()]
    assert [e["event"] for e in told][-2:] == ["step-interrupted", "run-ended"]
    assert not psutil.wait_procs(family, timeout=60)[1]


# --- locks of tables

LOCKS = """import fcntl, sys, time
with open(sys.argv[1], "r+b") as stream:
    fcntl.lockf(stream, fcntl.LOCK_SH if sys.argv[2] == "read" else fcntl.LOCK_EX, 1)
    print("held", flush=True)
    time.sleep(600)
"""


@contextmanager
def locked(table: Path, how: str) -> Iterator[int]:
    """Have another process hold a lock on a table; give its number."""
    (table / "table.lock").touch()
    command = [sys.executable, "-c", LOCKS, str(table / "table.lock"), how]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        try:
            yield other.pid
        finally:
            other.kill()


@pytest.mark.parametrize("how", ["read", "write"])
def test_a_step_that_does_nothing_while_another_has_its_table(
    folder: RunFolder, server: None, how: str
) -> None:
    """It is ended long before its time limit, and tried again."""
    executor = LocalExecutor((NAME,), lock_patience_s=1.5)
    image = fake("image", reads="raw/x.ms", writes="images/x", params={"sleep": 300})
    steps = (fake("import", writes="raw/x.ms"), image)
    told: Events = []
    try:
        run(Plan(steps[:1]), folder, executor, None, None, actions=NAME)
        with locked(folder.root / "raw/x.ms", how) as pid:
            name, user = psutil.Process(pid).name(), psutil.Process(pid).username()
            run(Plan(steps), folder, executor, RetryPolicy(1), None, told.append, actions=NAME)
    finally:
        executor.close()
    found = [(e["cause"], e["message"], e["advice"]) for e in told if e["event"] == "step-failed"]
    assert found == [
        (
            "table-lock",
            f"waited and did nothing; process {pid} ({name} of {user}) has raw/x.ms locked",
            "Close the table there, or end that process.",
        )
    ]


def test_a_lock_on_a_table_does_not_end_a_step_that_works(folder: RunFolder, server: None) -> None:
    executor = LocalExecutor((NAME,), lock_patience_s=2)
    work = fake("work", "work", reads="raw/x.ms", writes="images/x", params={"seconds": 5})
    steps = (fake("import", writes="raw/x.ms"), work)
    try:
        run(Plan(steps[:1]), folder, executor, None, None, actions=NAME)
        with locked(folder.root / "raw/x.ms", "read"):
            outcome = run(Plan(steps), folder, executor, RetryPolicy(1), None, actions=NAME)
    finally:
        executor.close()
    assert outcome.done == ["work"]


def test_a_step_may_do_nothing_where_nobody_has_a_lock(folder: RunFolder, server: None) -> None:
    executor = LocalExecutor((NAME,), lock_patience_s=0.5)
    steps = (fake("a", writes="raw/x.ms", params={"sleep": 2}),)
    try:
        assert run(Plan(steps), folder, executor, RetryPolicy(1), actions=NAME).done == ["a"]
    finally:
        executor.close()


# --- the lock


def another(path: Path, minutes: float, host: str = "node7") -> str:
    """Write a lock file of another host's run."""
    since = datetime.now(UTC) - timedelta(minutes=minutes)
    said = since.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"host": host, "pid": 17, "since": said}))
    return said


@pytest.fixture
def no_flock(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, what: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("casarun.lock.fcntl.flock", refuse)


def test_without_kernel_locks_one_run_has_the_folder(folder: RunFolder, no_flock: None) -> None:
    with FolderLock(folder.lock, folder.status):
        with pytest.raises(LockedError) as caught:
            FolderLock(folder.lock, folder.status).acquire()
        held = holder(folder.lock)
        assert str(caught.value) == (
            f"another run works in {folder.root}: process {os.getpid()} on {held['host']}, "
            f"since {holder(folder.private / 'lock.held')['since']}"
        )
    assert not (folder.private / "lock.held").exists()
    with FolderLock(folder.lock):
        pass


def test_without_kernel_locks_a_dead_run_of_this_host_is_succeeded(
    folder: RunFolder, no_flock: None
) -> None:
    with subprocess.Popen(["true"]) as ended:
        pass
    claim = folder.private / "lock.held"
    claim.parent.mkdir(parents=True)
    claim.write_text(json.dumps({"host": os.uname().nodename, "pid": ended.pid, "created": 1.0}))
    with FolderLock(folder.lock):
        assert holder(claim)["pid"] == os.getpid()
    assert sorted(path.name for path in folder.private.iterdir()) == ["lock"]


def test_a_silent_run_of_another_host_may_be_taken_over_by_hand(
    folder: RunFolder, no_flock: None
) -> None:
    claim = folder.private / "lock.held"
    since = another(claim, 90)
    write_json(folder.status, {"updated": since})
    with pytest.raises(LockedError) as caught:
        FolderLock(folder.lock, folder.status).acquire()
    assert str(caught.value) == (
        f"another run works in {folder.root}: process 17 on node7, since {since}, last heard of "
        f"1 h 30 min ago. If that run is no more, remove {claim} and run the same command again"
    )
    claim.unlink()
    with FolderLock(folder.lock, folder.status):
        pass


def test_a_run_of_another_host_that_is_heard_of_is_left_alone(
    folder: RunFolder, no_flock: None
) -> None:
    since = another(folder.private / "lock.held", 90)
    write_json(folder.status, {"updated": datetime.now(UTC).isoformat()})
    with pytest.raises(LockedError) as caught:
        FolderLock(folder.lock, folder.status).acquire()
    said, _, ago = str(caught.value).rpartition(", ")
    assert said == f"another run works in {folder.root}: process 17 on node7, since {since}"
    assert ago.startswith("last heard of ")
    assert ago.endswith(" s ago")


@pytest.mark.parametrize(
    ("minutes", "last"),
    [
        (1, r"on node7, process 17, started [^ ]+, last heard of 1 min \d\d s ago"),
        (60, "it may be no more: a run writes its status every few seconds"),
    ],
)
def test_the_status_of_another_hosts_run(folder: RunFolder, minutes: int, last: str) -> None:
    folder.private.mkdir(parents=True)
    folder.journal.touch()
    then = (datetime.now(UTC) - timedelta(minutes=minutes)).isoformat()
    counts = {"total": 9, "done": 2}
    write_json(folder.status, {"state": "running", "host": "node7", "pid": 17, "started": then,
                               "updated": then, "counts": counts, "running": {}})  # fmt: skip
    said = casarun("status", folder.root, cwd=folder.root).stdout.splitlines()
    assert said[0] == f"{folder.root}: running"
    assert re.fullmatch(last, said[-1])


# --- nobody watches


@pytest.fixture(scope="module")
def sky(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with a small MS and its recipe; only read it."""
    place = tmp_path_factory.mktemp("sky")
    skies.build(place / "good.ms")
    recipe(place, '[[dataset]]\nvis = "good.ms"\n[[image]]\nname = "i"\nimsize = 64\nniter = 10\n')
    return place


@pytest.mark.casa
@pytest.mark.timeout(300)
def test_a_run_by_cron(sky: Path, tmp_path: Path) -> None:
    """No terminal, no PATH, no HOME, no input or output, a strict umask, a poor locale."""
    home, gone = tmp_path / "home", tmp_path / "gone"
    home.mkdir()
    gone.mkdir()
    run_folder = tmp_path / "run"
    script = 'rmdir "$1" && umask 077 && shift && exec "$@" <&- >&- 2>&-'
    ended = subprocess.run(
        ["/bin/sh", "-c", script, "sh", str(gone), *COMMAND, str(sky / "recipe.toml"),
         "--output", str(run_folder)],
        cwd=gone, env={"PATH": "/usr/bin:/bin", "LANG": "C", "HOME": str(home)},
        timeout=280, check=False,
    )  # fmt: skip
    assert ended.returncode == 0
    assert events(run_folder)[-1]["state"] == "done"
    assert (run_folder / "qa" / "index.html").is_file()
    assert list(home.iterdir()) == []


@pytest.mark.casa
@pytest.mark.timeout(600)
@mishaps.in_time
def test_sigterm_ends_a_run_that_a_step_would_hold_up_and_the_next_goes_on(
    sky: Path, tmp_path: Path
) -> None:
    place = tmp_path / "run"
    shutil.rmtree(place, ignore_errors=True)
    runner = crashes.start(sky / "recipe.toml", place)
    placed = crashes.await_event(runner, place, "step-placed", "good.bandpass")
    try:
        mishaps.hold(placed["pid"])
        runner.send_signal(signal.SIGTERM)
        assert runner.wait(120) == 75
    finally:
        runner.kill()
        runner.wait()
    said = place.with_suffix(".said").read_text()
    assert said.splitlines()[-1].endswith("stopped (SIGTERM); run the same command to go on")
    done = casarun(sky / "recipe.toml", "--output", place, cwd=tmp_path)
    assert done.returncode == 0
    started = [e["step"] for e in events(place) if e["event"] == "step-done"]
    assert len(started) == len(set(started))


@pytest.mark.parametrize("relative", [True, False])
def test_a_current_folder_that_is_gone(tmp_path: Path, relative: bool) -> None:
    """Nothing that starts from there can be found."""
    gone = tmp_path / "gone"
    gone.mkdir()
    (tmp_path / "x.ms").mkdir()
    path = recipe(tmp_path, '[[dataset]]\nvis = "x.ms"\n')
    script = 'rmdir "$1" && shift && exec "$@"'
    said = "../recipe.toml" if relative else str(path)
    ended = subprocess.run(
        ["/bin/sh", "-c", script, "sh", str(gone), *COMMAND, said],
        cwd=gone, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.stderr == (
        "the current folder was removed: go to another, or name all by absolute paths\n"
    )
    assert ended.returncode == 2


def test_content_of_a_run_is_what_it_was(folder: RunFolder, server: None) -> None:
    """Disk reserve and limits change nothing of what a run makes."""
    executor = LocalExecutor((NAME,))
    budget = Budget(2, 10**10, 10**10, 1)
    try:
        outcome = run(Plan(chain()), folder, executor, RetryPolicy(), budget, actions=NAME)
    finally:
        executor.close()
    assert outcome.state == "done"
    assert content(folder.root / "raw/x.ms") == "make:()|f()|a(make:s(make:()|f()))"
