"""Whatever is killed, cut, deleted or altered: what comes out is what a fresh run makes."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from unittest import mock

import pytest
from casarun.engine.executors import Ended, Job
from casarun.engine.executors.local import LocalExecutor
from casarun.engine.intermediates import Intermediates
from casarun.engine.policy import Budget, RetryPolicy
from casarun.engine.results import failure
from casarun.engine.resume import decide, survey
from casarun.engine.saved import SavedStates
from casarun.engine.scheduler import run
from casarun.errors import Cause
from casarun.files import process_mark, product_state, state_now
from casarun.folder import RunFolder
from casarun.plan import Plan, Step
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from support import crashes
from support.cli import casarun, digests
from support.fake_actions import chain, fake

CHANGING = 0.02
"""Longer than a tick of the clock of a filesystem, in s."""


# --- what tells that a product is as it was left


def alter(path: Path) -> None:
    """Change a file's content, and neither its size nor its modification time."""
    time.sleep(CHANGING)
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "x.ms"
    (path / "ANTENNA").mkdir(parents=True)
    for name in ("table.dat", "table.lock", "table.f0", "ANTENNA/table.f0"):
        (path / name).write_bytes(name.encode() * 100)
    return path


@pytest.mark.parametrize("name", ["table.f0", "ANTENNA/table.f0"])
def test_content_altered_behind_the_back_of_the_clock_is_noticed(table: Path, name: str) -> None:
    left = product_state(table)
    assert left is not None
    assert state_now(table, [left]) == left
    alter(table / name)
    assert state_now(table, [left]) not in (left, None)


def test_a_byte_of_a_large_file_counts_where_it_is_sampled(tmp_path: Path) -> None:
    """The end of a file of 40 MB: what a crash of the machine takes first."""
    path = tmp_path / "x.fits"
    path.write_bytes(bytes(40_000_000))
    left = product_state(path) or ""
    time.sleep(CHANGING)
    before = path.stat()
    with path.open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        stream.write(b"x")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert state_now(path, [left]) != left


def test_owners_modes_and_copies_are_no_alterations(table: Path, tmp_path: Path) -> None:
    left = product_state(table) or ""
    time.sleep(CHANGING)
    for path in table.rglob("*"):
        path.chmod(0o750)
    assert product_state(table) != left
    assert state_now(table, [left]) == left
    copy = Path(shutil.copytree(table, tmp_path / "copy"))
    assert state_now(copy, ["", "0" * 32, left]) == left


def test_a_lock_and_what_only_readers_write_do_not_count(table: Path) -> None:
    left = product_state(table) or ""
    time.sleep(CHANGING)
    (table / "table.lock").write_bytes(b"held")
    dat = table / "table.dat"
    dat.write_bytes(bytes(reversed(dat.read_bytes())))
    assert state_now(table, [left]) == left


def test_a_signature_alone_is_believed(table: Path, tmp_path: Path) -> None:
    """Journals of before hold no more."""
    quick = (product_state(table) or "").partition(".")[0]
    assert state_now(table, [quick]) == quick
    assert state_now(tmp_path / "none", [quick]) is None


# --- any history


class Killed(BaseException):
    """Stands for SIGKILL to the runner."""


class Doer:
    """Runs steps as calls, and is killed or fails in the middle of one of them.

    Parameters
    ----------
    at : int
        Which one, counted from 0.
    how : {"kill", "fail", "late"}
        Killed in the middle of the step; failed in the middle; or killed when all that it
        makes is in place, and nobody was told.
    """

    def __init__(self, at: int = -1, how: str = "") -> None:
        self._left = at
        self._how = how
        self._jobs: list[Job] = []
        self._killed: list[Ended] = []

    def start(self, job: Job) -> Mapping[str, Any]:
        self._jobs.append(job)
        return {"host": "memory"}

    def wait(self, timeout_s: float) -> list[Ended]:
        if self._killed or not self._jobs:
            ended, self._killed = self._killed, []
            return ended
        job = self._jobs.pop(0)
        struck, self._left = self._left == 0, self._left - 1
        if struck and self._how != "late":
            do(job, halfway=True)
            if self._how == "kill":
                raise Killed
            return [Ended(job.step.id, failure(Cause.SEVERE, "broken"))]
        result = do(job)
        if struck:
            raise Killed
        return [Ended(job.step.id, result)]

    def usage(self) -> Mapping[str, int]:
        return {}

    def kill(self, step_id: str, cause: Cause | None) -> None:
        self._jobs.clear()
        self._killed.append(Ended(step_id, failure(Cause.SIGNAL, "killed"), stopped=True))

    def leaving(self) -> list[str]:
        return []

    def end_stale(self, placed: Mapping[str, Any]) -> None:
        """There is nothing to end."""

    def close(self) -> None:
        self._jobs.clear()


def do(job: Job, *, halfway: bool = False) -> dict[str, Any]:
    """Make and change files; what comes out depends on all that goes in."""
    step, root = job.step, job.folder
    for save in job.saves:
        SavedStates(RunFolder(root)).save(save, lambda: ())
    read = "+".join((root / path).read_text() for path in step.reads)
    texts = {path: f"{step.params.get('say', '')}({read})" for path in step.writes}
    for path in step.updates:
        texts[path] = f"{(root / path).read_text()}|{step.params.get('say', '')}({read})"
    for path, text in texts.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        if path in step.updates:
            (root / path).write_text(text[:-2] if halfway else text)
        else:
            (root / path).unlink(missing_ok=True)
            (root / path).write_text(text)
        if halfway:
            break
    writes = {path: product_state(root / path) for path in texts}
    return {**failure(Cause.UNKNOWN, ""), "ok": True, "cause": "", "writes": writes}


def plan_of(says: tuple[str, str, str], keep: str = "all") -> Plan:
    """Build a reduction in small, with an image that has two parts; two products pass."""
    flag, solve, image = says
    steps: list[Step] = list(chain(flag, solve))
    steps[0] = replace(steps[0], intermediates=("raw/x.ms",))
    steps[5] = fake("image", reads="calibrated/x.ms", writes="images/x images/x.psf",
                    params={"say": image}, intermediates=("images/x",))  # fmt: skip
    return Plan(tuple(steps), keep=keep)


PATHS = ("raw/x.ms", "caltables/g", "calibrated/x.ms", "images/x", "images/x.psf", "images/x.fits")
SAYS = st.tuples(*(st.sampled_from(pair) for pair in (("f", "g"), ("s", "t"), ("i", "j"))))
KEEP = st.sampled_from(["all", "products"])
TAILS = st.sampled_from([b"", b"\0" * 50, b'{"t":"2026","event":"step-do', b"\xff\n", b"{}\n"])


class History(RuleBasedStateMachine):
    """Anything that can befall a run folder, in any order."""

    @initialize()
    def begin(self) -> None:
        self.place = Path(mkdtemp(prefix="history-"))
        self.folder = RunFolder(self.place / "run")
        self.plan = plan_of(("f", "s", "i"))
        self.synced = mock.patch("casarun.engine.journal.os.fdatasync")
        self.synced.start()

    def go(self, folder: RunFolder, doer: Doer, plan: Plan | None = None) -> str:
        try:
            return run(plan or self.plan, folder, doer, RetryPolicy(1, 0.0), Budget(1)).state
        except Killed:
            return "killed"

    @rule(says=SAYS, keep=KEEP)
    def edit(self, says: tuple[str, str, str], keep: str) -> None:
        self.plan = plan_of(says, keep)

    @rule(until=st.integers(1, 6), at=st.integers(0, 7), how=st.sampled_from(["", "kill"]))
    def run_a_part(self, until: int, at: int, how: str) -> None:
        wanted = {step.id for step in self.plan.steps[:until]}
        part = self.plan.part(lambda step: step.id in wanted)
        self.go(self.folder, Doer(at if how else -1, how), part)

    @rule(at=st.integers(0, 3))
    def run_and_kill_while_removing(self, at: int) -> None:
        with mock.patch.object(Intermediates, "remove", _killed_at(at)):
            self.go(self.folder, Doer())

    @rule(at=st.integers(0, 7), how=st.sampled_from(["kill", "fail", "late"]))
    def run_and_break(self, at: int, how: str) -> None:
        self.go(self.folder, Doer(at, how))

    @rule(path=st.sampled_from(PATHS))
    def delete(self, path: str) -> None:
        (self.folder.root / path).unlink(missing_ok=True)

    @rule(path=st.sampled_from(PATHS))
    def alter(self, path: str) -> None:
        if (self.folder.root / path).exists():
            alter(self.folder.root / path)

    @rule(back=st.integers(0, 4000), tail=TAILS)
    def cut_the_journal(self, back: int, tail: bytes) -> None:
        _cut(self.folder.journal, back, tail)

    @rule(back=st.integers(0, 900), tail=TAILS)
    def cut_the_ledger(self, back: int, tail: bytes) -> None:
        for path in self.folder.ledgers.glob("*.jsonl"):
            _cut(path, back, tail)

    @rule()
    def finish(self) -> None:
        assert self.go(self.folder, Doer()) == "done"
        fresh = RunFolder(self.place / "fresh")
        shutil.rmtree(fresh.root, ignore_errors=True)
        assert self.go(fresh, Doer()) == "done"
        for path in PATHS:
            mine, other = self.folder.root / path, fresh.root / path
            assert mine.exists() == other.exists(), path
            assert not mine.exists() or mine.read_text() == other.read_text(), path
        gone = {path for path in PATHS if not (fresh.root / path).exists()}
        assert gone == ({"raw/x.ms", "images/x"} if self.plan.keep == "products" else set())
        decided = decide(self.plan, survey(self.plan, self.folder))
        assert not decided

    @invariant()
    def a_plan_can_always_be_made(self) -> None:
        if hasattr(self, "folder"):
            assert set(decide(self.plan, survey(self.plan, self.folder)).steps) == set(
                self.plan.by_id
            )

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            try:
                self.finish()
            finally:
                self.synced.stop()
                shutil.rmtree(self.place)


def _killed_at(at: int) -> Callable[[Intermediates, str], None]:
    """Return what removes intermediates and is killed before, or after, one of them is gone."""
    remove, calls = Intermediates.remove, itertools.count()

    def killed(self: Intermediates, unit: str) -> None:
        call = next(calls)
        if call == at // 2 and at % 2:
            raise Killed
        remove(self, unit)
        if call == at // 2:
            raise Killed

    return killed


def _cut(path: Path, back: int, tail: bytes) -> None:
    """Take bytes from the end of a file, if there is one, and put others there."""
    if path.exists():
        content = path.read_bytes()
        path.write_bytes(content[: max(0, len(content) - back)] + tail)


TestHistory = History.TestCase
TestHistory.settings = settings(
    max_examples=60,
    stateful_step_count=10,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestHistory.pytestmark = [pytest.mark.timeout(300)]


# --- processes


def test_a_number_of_a_process_without_its_start_is_nobody_to_kill() -> None:
    """It may be anyone's by now."""
    mark = process_mark(os.getpid())
    del mark["created"]
    LocalExecutor(()).end_stale(mark)  # we are still here to see the end of it


def test_a_server_that_was_killed_is_started_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    executor = LocalExecutor(())
    answers: list[BaseException | str] = [EOFError("unexpected EOF"), ""]

    def ask() -> str:
        answer = answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    monkeypatch.setattr(executor, "_ask_server", ask)
    assert executor.failure() == ""
    answers[:] = [EOFError("unexpected EOF"), ConnectionRefusedError(111, "refused")]
    assert executor.failure() == "the process that imports it died ([Errno 111] refused)"


# --- real runs

OPTIONS = [option for setting in crashes.SETTINGS for option in ("--set", setting)]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a small observation and its recipe; give the recipe's path."""
    return crashes.small(tmp_path_factory.mktemp("crash"))


@pytest.fixture(scope="module")
def wanted(small: Path) -> dict[str, str]:
    """Give what a run leaves that nobody kills."""
    done = casarun(small, "--output", "whole", *OPTIONS, cwd=small.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    return crashes.products(small.parent / "whole")


@pytest.fixture(scope="module")
def killed(small: Path, wanted: dict[str, str]) -> Path:
    """Kill one run in each of the steps where it hurts; give its folder when it is done."""
    raw = digests(small.parent / "day.ms")
    place, dice = small.parent / "killed", random.Random(4)
    process = crashes.start(small, place, crashes.SETTINGS)
    for whom, step in (
        ("runner", "day.flag.basic"),
        ("group", "day.apply.1"),
        ("worker", "day.split.target"),
        ("server", "target.mfs.dirty"),
        ("runner", "target.mfs.clean"),
    ):
        crashes.await_event(process, place, "step-placed", step)
        time.sleep(dice.uniform(0.0, 0.2))
        while not crashes.strike(process, whom, dice):  # between two steps there is no worker
            assert process.poll() is None, (whom, step)
        if whom in {"runner", "group"}:
            process = crashes.start(small, place, crashes.SETTINGS)
    assert process.wait(300) == 0, place.with_suffix(".said").read_text()
    assert digests(small.parent / "day.ms") == raw
    return place


@pytest.mark.casa
@pytest.mark.timeout(600)
def test_a_run_killed_where_it_hurts_leaves_the_same(killed: Path, wanted: dict[str, str]) -> None:
    assert len(wanted) > 500
    assert crashes.mismatches(wanted, crashes.products(killed)) == []
    assert not any((killed / ".casarun" / "work").glob("*"))
    failed = {e["step"] for e in crashes.events(killed) if e["event"] == "step-failed"}
    # One of the two that run at once, or on a quick machine what came after them.
    assert failed - {"target.mfs.dirty"}


@pytest.mark.casa
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [1, 2])
def test_a_loss_of_power_leaves_a_folder_to_go_on_in(
    killed: Path, small: Path, wanted: dict[str, str], seed: int
) -> None:
    """Journal and ledgers cut anywhere, half lines and NUL bytes at the end, an empty status."""
    dice = random.Random(seed)
    private = killed / ".casarun"
    for path in (private / "journal.jsonl", *private.glob("ledgers/*.jsonl")):
        _cut(path, dice.randrange(path.stat().st_size // 3), dice.choice([b"\0" * 4096, b'{"t":']))
    (private / "status.json").write_bytes(b"")
    done = casarun(small, "--output", "killed", *OPTIONS, cwd=small.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    assert crashes.mismatches(wanted, crashes.products(killed)) == []


@pytest.mark.casa
@pytest.mark.timeout(600)
def test_a_table_altered_behind_the_back_of_the_clock_is_made_again(
    killed: Path, small: Path, wanted: dict[str, str]
) -> None:
    alter(killed / "images" / "target.mfs.pbcor" / "table.f0_TSM0")
    assert crashes.mismatches(wanted, crashes.products(killed))
    before = len(crashes.events(killed))
    done = casarun(small, "--output", "killed", *OPTIONS, cwd=small.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    started = [e for e in crashes.events(killed)[before:] if e["event"] == "step-started"]
    reason = "its product images/target.mfs.pbcor was altered"
    assert (started[0]["step"], started[0]["reason"]) == ("target.mfs.pbcor", reason)
    assert crashes.mismatches(wanted, crashes.products(killed)) == []


@pytest.mark.casa
@pytest.mark.timeout(600)
def test_with_products_only_the_products_are_the_same(small: Path, wanted: dict[str, str]) -> None:
    """Also where an edit needs what was removed; a second run makes nothing."""
    place, only = small.parent / "products", ("--set", "resources.keep=products", *OPTIONS)
    edited = ("--set", "image.mfs.niter=50", *only)
    for options in (edited, only):
        done = casarun(small, "--output", "products", *options, cwd=small.parent)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "that nothing needs" in done.stdout
    events = crashes.events(place)
    last = max(n for n, event in enumerate(events) if event["event"] == "run-started")
    started = [event for event in events[last:] if event["event"] == "step-started"]
    again = {e["step"]: e["reason"] for e in started if e["step"] == "target.mfs.dirty"}
    why = "was removed when nothing needed it; makes it again"
    assert again == {"target.mfs.dirty": f"images/dirty/target.mfs.pb {why}"}
    assert not any(e["step"] in {"day.copy", "day.split.target"} for e in started)
    passing = ("raw/day.ms", "images/dirty/")
    left = {name: was for name, was in wanted.items() if not name.startswith(passing)}
    assert len(left) < len(wanted)
    assert crashes.mismatches(left, crashes.products(place)) == []
    done = casarun(small, "--output", "products", *only, cwd=small.parent)
    assert "nothing to do: all" in done.stdout
