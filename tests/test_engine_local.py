"""The engine with processes: work folders, logs, crashes, limits, killed runners."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import psutil
import pytest
from casarun.engine.executors import Ended, Job
from casarun.engine.executors.local import LocalExecutor
from casarun.engine.journal import read_events
from casarun.engine.policy import Budget, RetryPolicy
from casarun.engine.results import failure, read_result, write_result
from casarun.engine.scheduler import Outcome, run
from casarun.engine.signals import StopFlag, stopping
from casarun.errors import Cause
from casarun.files import read_json
from casarun.folder import RunFolder
from casarun.plan import Plan, Resources, Step
from support.fake_actions import NAME, chain, content, fake, served

TESTS = str(Path(__file__).parent)
Events = list[dict[str, Any]]


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[None]:
    """Have a fork server that knows the fake actions, and let no later test have it."""
    with served():
        yield


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


def go(
    folder: RunFolder,
    steps: Iterable[Step],
    events: Events | None = None,
    *,
    cores: int = 2,
    attempts: int = 3,
    stop: StopFlag | None = None,
    enforce_memory: bool = False,
    memory_bytes: int = 0,
    inputs: dict[str, str] | None = None,
) -> Outcome:
    executor = LocalExecutor((NAME,), enforce_memory=enforce_memory)
    try:
        return run(
            Plan(tuple(steps), inputs or {}),
            folder,
            executor,
            RetryPolicy(attempts, 0.01),
            Budget(cores, memory_bytes),
            events.append if events is not None else None,
            stop,
            actions=NAME,
        )
    finally:
        executor.close()


def test_a_step_that_diverges_falls_back(folder: RunFolder) -> None:
    own, low = {"tclean": {"gain": 0.9, "niter": 9}}, {"tclean": {"gain": 0.05}}
    step = fake("clean", "clean", writes="images/x", params=own, fallbacks=(low,))
    assert go(folder, [step]).state == "done"
    assert content(folder.root / "images/x") == "clean:0.05()"
    first, second = (
        read_json(folder.log("clean") / f"attempt-{n}" / "result.json") for n in (1, 2)
    )
    assert (first["cause"], first["message"]) == ("diverged", "it diverged with gain = 0.9")
    assert (first["fallback"], first["params"]) == ({}, own)
    assert second["fallback"] == low
    assert second["params"] == {"tclean": {"gain": 0.05, "niter": 9}}
    used = read_json(folder.log("clean") / "attempt-2" / "params.json")
    assert used == second["params"]


def test_an_attempt_that_aborts_tells_its_fallback(folder: RunFolder) -> None:
    own, high = {"tclean": {"gain": 0.9}}, {"tclean": {"gain": 1.5}}
    step = fake("clean", "clean", writes="images/x", params=own, fallbacks=(high,))
    failed = go(folder, [step]).failed["clean"]
    assert (failed.cause, failed.attempts) == (Cause.ABORT, 2)
    assert result(folder, "clean")["fallback"] == high


def result(folder: RunFolder, step_id: str) -> dict[str, Any]:
    found: dict[str, Any] = read_json(folder.log(step_id) / "result.json")
    return found


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.01)


def state(folder: RunFolder, steps: Iterable[Step]) -> dict[str, str]:
    return {p: content(folder.root / p) for step in steps for p in step.writes}


def test_a_chain_runs_and_runs_no_more(folder: RunFolder) -> None:
    assert go(folder, chain()).done == [s.id for s in chain()]
    assert content(folder.root / "images/x.fits") == (
        "make:(make:i(make:(make:()|f()|a(make:s(make:()|f())))))"
    )
    assert go(folder, chain()).done == []
    assert not (folder.private / "work").exists()


def test_independent_steps_run_at_the_same_time(folder: RunFolder, tmp_path: Path) -> None:
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    steps = [
        fake("a", "meet", writes="qa/a", params={"at": one, "other": two}),
        fake("b", "meet", writes="qa/b", params={"at": two, "other": one}),
    ]
    assert go(folder, steps).state == "done"


def test_a_step_that_waits_for_the_disk_leaves_its_core_to_another(
    folder: RunFolder, tmp_path: Path
) -> None:
    began = str(tmp_path / "began")
    slow = fake("slow", "sync", writes="qa/slow", params={"hold": began})
    other = fake("other", writes="qa/other", params={"at": began})
    after = fake("after", reads="qa/slow qa/other", writes="qa/after")
    events: Events = []
    assert go(folder, [slow, other, after], events, cores=1).state == "done"
    told = [(e["event"], e["step"]) for e in events if e["event"] in ("step-started", "step-done")]
    assert told[:2] == [("step-started", "slow"), ("step-started", "other")]
    # What needs its product still waits until that is on the disk.
    assert told[-2:] == [("step-started", "after"), ("step-done", "after")]


def test_a_step_that_dies_leaves_no_word(folder: RunFolder) -> None:
    executor = LocalExecutor((NAME,))
    job = Job(fake("a", "once", writes="qa/a", params={"how": "kill", "counter": "/dev/null"}),
              folder.root, actions=NAME)  # fmt: skip
    try:
        executor.start(job)
        ended: list[Ended] = []
        while not ended:
            assert executor.leaving() == []
            ended = executor.wait(10.0)
    finally:
        executor.close()
    assert ended[0].result["cause"] == Cause.SIGNAL
    assert executor.leaving() == []


def test_nobody_waits_until_the_system_has_ended_a_process(
    folder: RunFolder, tmp_path: Path
) -> None:
    executor, lock = LocalExecutor((NAME,)), tmp_path / "lock"
    params = {"lock": str(lock), "until": str(tmp_path / "never")}
    try:
        executor.start(Job(fake("a", "linger", writes="qa/a", params=params), folder.root,
                           actions=NAME))  # fmt: skip
        ended: list[Ended] = []
        while not ended:
            ended = executor.wait(10.0)
        assert ended[0].result["ok"]
        # Its locks went before it said so.
        with lock.open("w") as stream:
            fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        executor.close()


def finished(executor: LocalExecutor, job: Job) -> int:
    """Have a step done; return the number of its process."""
    pid = int(executor.start(job)["pid"])
    ended = executor.wait(0.0)
    while not ended:
        ended = executor.wait(10.0)
    assert ended[0].result["ok"], ended[0].result["message"]
    return pid


def ready(executor: LocalExecutor) -> ForkServerProcess:
    """Return the process that waits for the next step."""
    assert executor._ready is not None
    return executor._ready.process


def test_a_process_is_ready_for_the_next_step(folder: RunFolder) -> None:
    executor = LocalExecutor((NAME,))
    jobs = [Job(fake(name, writes=f"qa/{name}"), folder.root, actions=NAME) for name in "abcd"]
    try:
        finished(executor, jobs[0])  # only now it is known that all imports are done
        finished(executor, jobs[1])
        pid = ready(executor).pid
        assert finished(executor, jobs[2]) == pid
        # One that was killed meanwhile does no harm.
        killed = ready(executor)
        pid = killed.pid or 0
        os.kill(pid, signal.SIGKILL)
        connection.wait([killed.sentinel])
        assert finished(executor, jobs[3]) != pid
        pid = ready(executor).pid or 0
    finally:
        executor.close()
    assert not psutil.pid_exists(pid)


def test_no_process_is_ready_that_would_lack_imports(folder: RunFolder) -> None:
    executor = LocalExecutor((NAME,))
    try:
        finished(executor, Job(fake("a", "early", writes="qa/a"), folder.root, actions=NAME))
        executor.start(Job(fake("b", writes="qa/b"), folder.root, actions=NAME))
        executor.wait(0.0)
        assert executor._ready is None
    finally:
        executor.close()


def test_the_end_of_a_large_process_is_waited_for(folder: RunFolder, tmp_path: Path) -> None:
    executor, end = LocalExecutor((NAME,)), tmp_path / "end"
    params = {"lock": str(tmp_path / "lock"), "until": str(end), "large": True}
    step = fake("a", "linger", writes="qa/a", params=params)
    try:
        executor.start(Job(step, folder.root, actions=NAME))
        until(lambda: executor.wait(0.01) == [] and read_result(folder, "a", 1) is not None)
        assert executor.wait(0.1) == []
        end.touch()
        ended: list[Ended] = []
        while not ended:
            ended = executor.wait(10.0)
        assert ended[0].result["ok"]
    finally:
        executor.close()


def test_a_step_sees_what_it_declared_and_nothing_else(folder: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("in")
    steps = [
        fake("one", writes="raw/x.ms raw/y.ms caltables/g"),
        fake("look", "look", reads=f"raw/x.ms {tmp_path}/in.txt", writes="images/i"),
    ]
    go(folder, steps)
    outcome = result(folder, "look")["outcome"]
    assert outcome["seen"] == ["images", "raw", "raw/x.ms"]
    assert outcome["cwd"] == str(folder.work("look"))
    assert content(folder.root / "images/i") == "look:(make:()+in)"


def test_a_step_may_write_into_a_folder_that_it_reads(folder: RunFolder) -> None:
    steps = [
        fake("one", writes="qa/all"),
        fake("two", "look", reads="qa", writes="qa/more"),
    ]
    (folder.root / "qa").mkdir(parents=True)
    (folder.root / "qa" / "data").write_text("old")
    assert go(folder, steps).state == "done"
    assert result(folder, "two")["outcome"]["seen"] == ["qa", "qa/all", "qa/data"]
    assert content(folder.root / "qa/more") == "look:(old)"
    assert (folder.root / "qa" / "data").read_text() == "old"


def test_all_that_a_step_prints_is_in_its_log(folder: RunFolder, capfd: Any) -> None:
    go(folder, [fake("p", "print", writes="qa/p", params={"warnings": ["w"]})])
    logs = folder.log("p") / "attempt-1"
    assert sorted((logs / "stdout.log").read_text().splitlines()) == [
        "errors too",
        "from C++",
        "from Python",
    ]
    assert (logs / "casa.log").read_text() == "begin p\n"
    assert read_json(logs / "params.json") == {"warnings": ["w"]}
    assert read_json(logs / "result.json") == result(folder, "p")
    assert capfd.readouterr() == ("", "")


def test_a_result_tells_what_was_used(folder: RunFolder) -> None:
    events: Events = []
    go(folder, [fake("e", "eat", writes="qa/e", params={"megabytes": 80, "sleep": 1})], events)
    found = result(folder, "e")
    assert found["ok"] is True
    assert found["checks"] == {"ran": True}
    assert found["peak_memory_bytes"] > 80e6
    assert 1 <= found["wall_s"] < 300  # not in ms
    assert found["cpu_s"] > 0
    done = next(e for e in events if e["event"] == "step-done")
    assert done["peak_memory_bytes"] > 80e6
    assert done["writes"] == found["writes"]


def test_a_result_is_on_the_disk_before_its_step_counts_as_done(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(
        os, "fsync", lambda fd: synced.append(Path(f"/proc/self/fd/{fd}").readlink())
    )
    write_result(folder, "a", 1, failure(Cause.UNKNOWN, ""))
    logs = folder.log("a")
    assert [path.name.startswith(".result.json.") for path in synced] == [True, False, False]
    assert synced[0].parent == logs
    assert synced[1:] == [logs, logs.parent]


def test_late_values_are_resolved_in_the_work_folder(folder: RunFolder) -> None:
    steps = [
        fake("noise", writes="qa/noise.json"),
        fake(
            "look",
            "look",
            reads="qa/noise.json",
            writes="images/i",
            params={"threshold": {"$late": {"path": "qa/noise.json", "key": "x"}}},
        ),
    ]
    outcome = go(folder, steps)
    assert outcome.failed["look"].cause is Cause.LOST_INPUT
    assert outcome.failed["look"].message.startswith("cannot read x from qa/noise.json: ")


@pytest.mark.parametrize(
    ("how", "cause", "attempts", "message"),
    [
        ("abort", Cause.ABORT, 1, "CASA aborted the process (exit code 134); see stdout.log"),
        ("kill", Cause.SIGNAL, 2, "was ended by signal SIGKILL; see stdout.log"),
        ("exit", Cause.UNKNOWN, 2, "ended with exit code 3 and without a result; see stdout.log"),
        ("bad_alloc", Cause.OUT_OF_MEMORY, 2, "CASA aborted the process (exit code 134): std::"),
        ("lock", Cause.TABLE_LOCK, 2, "FileLocker: could not acquire a lock on table raw/x.ms"),
        ("ENOSPC", Cause.DISK_FULL, 2, "[Errno 28] No space left on device"),
        ("EIO", Cause.IO, 2, "[Errno 5] Input/output error"),
        ("memory", Cause.OUT_OF_MEMORY, 2, "memory ran out (MemoryError)"),
        ("parameter", Cause.PARAMETER, 1, "{'standard': ['unallowed value']}"),
        ("exception", Cause.EXCEPTION, 1, "Error in Imager::clean"),
        ("step", Cause.SEVERE, 1, "SEVERE line in the log"),
    ],
)
def test_failures_have_a_cause_and_are_tried_again_if_that_helps(
    folder: RunFolder, tmp_path: Path, how: str, cause: Cause, attempts: int, message: str
) -> None:
    params = {"how": how, "times": 1, "counter": str(tmp_path / "n")}
    events: Events = []
    steps = [fake("bad", "once", writes="qa/x", params=params), fake("good", writes="qa/y")]
    outcome = go(folder, steps, events)
    failed = next(e for e in events if e["event"] == "step-failed")
    assert (failed["cause"], failed["message"][: len(message)]) == (str(cause), message)
    assert read_json(folder.log("bad") / "attempt-1" / "result.json")["cause"] == str(cause)
    assert (tmp_path / "n").read_text() == "x" * attempts
    assert "good" in outcome.done
    if attempts == 2:
        assert outcome.state == "done"
        assert content(folder.root / "qa/x") == "once:()"
    else:
        assert outcome.failed["bad"].cause is cause
        assert not (folder.root / "qa/x").exists()


def test_a_step_ends_at_its_time_limit(folder: RunFolder, tmp_path: Path) -> None:
    params = {"how": "hang", "counter": str(tmp_path / "n")}
    slow = fake("slow", "once", writes="qa/x", params=params, resources=Resources(time_limit_s=0.5))
    failed = go(folder, [slow]).failed["slow"]
    assert failed.cause is Cause.TIME_LIMIT
    assert failed.message == "ran longer than its time limit of 0.5 s"
    assert failed.attempts == 1


def test_a_step_ends_at_its_memory_limit_if_that_is_enforced(
    folder: RunFolder, tmp_path: Path
) -> None:
    limit = Resources(memory_bytes=100_000_000)
    params = {"megabytes": 300, "hold": str(tmp_path / "never")}
    greedy = fake("greedy", "eat", writes="qa/x", params=params, resources=limit)
    failed = go(folder, [greedy], attempts=1, enforce_memory=True).failed["greedy"]
    assert failed.cause is Cause.OUT_OF_MEMORY
    assert failed.message.startswith("used ")
    assert failed.message.endswith("of memory; 100 MB were expected")


def test_steps_that_use_too_much_together_are_not_left_to_the_kernel(
    folder: RunFolder, tmp_path: Path
) -> None:
    """The one farthest over its share ends; alone it has room."""

    class Heard(list[dict[str, Any]]):
        """The events; both steps may end once one of them has failed."""

        def append(self, event: dict[str, Any]) -> None:
            super().append(event)
            if event["event"] == "step-failed":
                (tmp_path / "over").touch()

    events = Heard()
    hold = {"hold": str(tmp_path / "over")}
    declared = Resources(memory_bytes=400_000_000)
    modest = fake("modest", "eat", writes="qa/m", params={"megabytes": 300, **hold},
                  resources=declared)  # fmt: skip
    greedy = fake("greedy", "eat", writes="qa/g", params={"megabytes": 500, **hold})
    outcome = go(folder, [modest, greedy], events, memory_bytes=700_000_000)
    failures = [e for e in events if e["event"] == "step-failed"]
    assert [(e["step"], e["cause"]) for e in failures] == [("greedy", "out-of-memory")]
    assert failures[0]["message"].endswith("of memory; the steps together used more than they may")
    assert outcome.state == "done"
    ends = [e["step"] for e in events if e["event"] == "step-done"]
    assert ends == ["modest", "greedy"]


def test_an_unproven_step_leaves_nothing(folder: RunFolder) -> None:
    failed = go(folder, [fake("a", writes="caltables/g", params={"unproven": True})]).failed["a"]
    assert (failed.cause, failed.message) == (Cause.POSTCONDITION, "all solutions are flagged")
    assert failed.advice == "Lower minsnr."
    assert not (folder.root / "caltables").exists()


def test_a_product_that_was_promised_must_be_there(folder: RunFolder) -> None:
    steps = [fake("a", "print", writes="qa/a"), fake("b", "replace", writes="qa/b qa/c")]
    outcome = go(folder, steps)
    assert outcome.failed["b"].message == (
        "the step ended without an error and did not make qa/b, qa/c"
    )
    assert outcome.failed["b"].cause is Cause.POSTCONDITION


def test_a_product_may_be_absent_if_the_action_says_so(folder: RunFolder) -> None:
    step = fake("a", writes="images/x images/x.mask", params={"absent": ["images/x.mask"]})
    assert go(folder, [step]).state == "done"
    assert list(result(folder, "a")["writes"]) == ["images/x"]
    assert go(folder, [step]).done == []


def test_an_absent_product_takes_its_older_self_away(folder: RunFolder) -> None:
    go(folder, [fake("a", writes="images/x images/x.mask")])
    assert (folder.root / "images/x.mask").exists()
    go(folder, [fake("a", writes="images/x images/x.mask", params={"absent": ["images/x.mask"]})])
    assert not (folder.root / "images/x.mask").exists()


def test_what_was_not_declared_is_named_and_removed(folder: RunFolder) -> None:
    step = fake("a", writes="images/x", params={"leave": ["images/x.psf", "tmp/deep"]})
    assert go(folder, [step]).state == "done"
    assert result(folder, "a")["undeclared"] == ["images/x.psf", "tmp"]
    assert sorted(p.name for p in (folder.root / "images").iterdir()) == ["x"]
    assert not folder.work("a").exists()


def test_a_product_changed_in_place_must_not_be_replaced(folder: RunFolder) -> None:
    steps = [fake("a", writes="raw/x.ms"), fake("b", "replace", updates="raw/x.ms")]
    failed = go(folder, steps).failed["b"]
    assert failed.message == "the step replaced raw/x.ms instead of changing it"
    assert content(folder.root / "raw/x.ms") == "make:()"


def test_a_link_out_of_the_run_folder_is_refused(folder: RunFolder, tmp_path: Path) -> None:
    away = tmp_path / "away"
    away.mkdir()
    folder.root.mkdir()
    (folder.root / "raw").symlink_to(away)
    failed = go(folder, [fake("a", writes="raw/x.ms")]).failed["a"]
    assert failed.cause is Cause.PARAMETER
    assert failed.message == f"raw/x.ms leads out of the run folder, to {away}/x.ms"
    assert not any(away.iterdir())


def test_a_change_that_was_killed_is_done_again_on_what_was_saved(
    folder: RunFolder, tmp_path: Path
) -> None:
    steps = [
        fake("import", writes="raw/x.ms"),
        fake(
            "flag",
            "once",
            updates="raw/x.ms",
            params={"how": "kill", "counter": str(tmp_path / "n"), "say": "f"},
        ),
    ]
    events: Events = []
    assert go(folder, steps, events).state == "done"
    assert content(folder.root / "raw/x.ms") == "make:()|f()"
    started = [(e["step"], e["reason"]) for e in events if e["event"] == "step-started"]
    assert [s for s, _ in started] == ["import", "flag", "flag"]
    assert started[2][1] == "a previous attempt was interrupted"
    assert [e["reason"] for e in events if e["event"] == "product-restored"] == [
        "a change was under way when the last run ended (step flag)"
    ]


def test_a_stop_kills_what_runs_and_the_next_run_goes_on(folder: RunFolder, tmp_path: Path) -> None:
    stop = StopFlag()
    at = tmp_path / "at"

    def steps(**params: Any) -> list[Step]:
        return [
            fake("import", writes="raw/x.ms"),
            fake("flag", updates="raw/x.ms", params={"say": "f", **params}),
            fake("image", reads="raw/x.ms", writes="images/x"),
        ]

    held = steps(at=str(at), hold=str(tmp_path / "never"))
    executor = LocalExecutor((NAME,))
    events: Events = []

    def listen(event: dict[str, Any]) -> None:
        events.append(event)
        if event["event"] == "step-placed" and event["step"] == "flag":
            until(at.exists)
            os.kill(os.getpid(), signal.SIGINT)

    with stopping(stop):
        outcome = run(Plan(tuple(held)), folder, executor, None, None, listen, stop, actions=NAME)
    assert stop.reason == "SIGINT"
    assert outcome.interrupted
    assert outcome.failed == {}
    assert outcome.not_run == dict.fromkeys(("flag", "image"), "the run was asked to stop")
    assert [e["event"] for e in events][-2:] == ["step-interrupted", "run-ended"]
    assert gone(int(at.read_text()))
    assert content(folder.root / "raw/x.ms") == "make:()|half"
    assert not folder.work("flag").exists()
    (tmp_path / "never").touch()
    assert go(folder, held).done == ["flag", "image"]
    assert content(folder.root / "images/x") == "make:(make:()|f())"


def gone(pid: int) -> bool:
    """Say whether a process has ended, even if nobody has asked how."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


class Runner:
    """A run in a process of its own, to be killed."""

    def __init__(self, folder: RunFolder, steps: Iterable[Step], tmp_path: Path) -> None:
        plan = tmp_path / "plan.json"
        plan.write_text(json.dumps([step.to_json() for step in steps]))
        self.process = subprocess.Popen(
            [sys.executable, "-m", NAME, str(plan), str(folder.root)],
            env={**os.environ, "PYTHONPATH": TESTS},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        self.process.communicate(timeout=120)
        return self.process.returncode


def held_steps(tmp_path: Path) -> list[Step]:
    steps = list(chain())
    steps[3] = fake(
        "apply",
        reads="caltables/g",
        updates="raw/x.ms",
        params={"say": "a", "at": str(tmp_path / "at"), "hold": str(tmp_path / "go")},
    )
    return steps


def test_a_runner_killed_in_the_middle_of_a_change(folder: RunFolder, tmp_path: Path) -> None:
    steps = held_steps(tmp_path)
    runner = Runner(folder, steps, tmp_path)
    until((tmp_path / "at").exists)
    until(lambda: (tmp_path / "at").read_text() != "")
    child = int((tmp_path / "at").read_text())
    assert runner.end(signal.SIGKILL) == -9
    until(lambda: gone(child))
    assert content(folder.root / "raw/x.ms").endswith("|half")
    with folder.journal.open("ab") as stream:
        stream.write(b'{"t":"2026-01-01T00:00:00Z","event":"step-do')
    (tmp_path / "go").touch()
    events: Events = []
    assert go(folder, steps, events).state == "done"
    reasons = {e["step"]: e["reason"] for e in events if e["event"] == "step-started"}
    assert list(reasons) == ["apply", "split", "image", "export"]
    assert reasons["apply"] == "a previous attempt was interrupted"
    fresh = RunFolder(tmp_path / "fresh")
    go(fresh, steps)
    assert state(folder, steps) == state(fresh, steps)
    assert go(folder, steps).done == []


def test_sigterm_ends_a_runner_with_its_exit_code(folder: RunFolder, tmp_path: Path) -> None:
    runner = Runner(folder, held_steps(tmp_path), tmp_path)
    until((tmp_path / "at").exists)
    assert runner.end(signal.SIGTERM) == 75
    last = list(read_events(folder.journal))[-1]
    assert (last["event"], last["state"]) == ("run-ended", "interrupted")


def test_a_process_left_by_a_killed_runner_is_ended_first(
    folder: RunFolder, tmp_path: Path
) -> None:
    with subprocess.Popen(["sleep", "100"], start_new_session=True) as left:
        try:
            created = psutil.Process(left.pid).create_time()
            host = os.uname().nodename
            lines = [
                {"event": "step-started", "step": "a", "fingerprint": "x"},
                {"event": "step-placed", "step": "a", "pid": left.pid, "created": created}
                | {"host": host},
            ]
            folder.private.mkdir(parents=True)
            folder.journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
            assert go(folder, [fake("a", writes="qa/a")]).done == ["a"]
            assert left.wait(60) == -signal.SIGKILL
        finally:
            left.kill()


def test_a_second_runner_is_told_who_was_first(folder: RunFolder, tmp_path: Path) -> None:
    first = Runner(folder, held_steps(tmp_path), tmp_path)
    until((tmp_path / "at").exists)
    second = Runner(folder, chain(), tmp_path)
    said, _ = second.process.communicate(timeout=120)
    assert second.process.returncode == 1
    assert f"another run works in {folder.root}: process {first.process.pid} on " in said
    first.end(signal.SIGKILL)


def test_a_full_disk_is_named_and_a_larger_one_goes_on(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(small)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        folder = RunFolder(small / "run")
        steps = [
            fake("one", writes="qa/one"),
            fake("big", "fill", writes="qa/big", params={"megabytes": 20}),
            fake("two", reads="qa/one", writes="qa/two"),
        ]
        # One at a time: beside the one that fills the disk, any other could find it full.
        events: Events = []
        outcome = go(folder, steps, events, cores=1)
        failures = [e for e in events if e["event"] == "step-failed"]
        assert [(e["step"], e["attempt"], e["cause"], e["message"]) for e in failures] == [
            ("big", attempt, "disk-full", "[Errno 28] No space left on device")
            for attempt in (1, 2)
        ]
        # A full disk is no failure of the recipe.
        assert (outcome.interrupted, outcome.failed) == (True, {})
        assert outcome.why == f"the disk of {folder.root} is full: free some"
        assert outcome.not_run == {"big": f"nothing more was started: {outcome.why}"}
        assert outcome.done == ["one", "two"]
        assert not folder.work("big").exists()
        remount = ["mount", "-o", "remount,size=40m", str(small)]
        subprocess.run(remount, check=True)
        assert go(folder, steps).done == ["big"]
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_logs_of_an_earlier_run_are_not_taken_for_new_ones(
    folder: RunFolder, tmp_path: Path
) -> None:
    params = {"how": "kill", "times": 2, "counter": str(tmp_path / "n")}
    stale = folder.log("a") / "attempt-1"
    stale.mkdir(parents=True)
    (stale / "result.json").write_text('{"ok": true, "writes": {}}')
    outcome = go(folder, [fake("a", "once", writes="qa/a", params=params)], attempts=1)
    assert outcome.failed["a"].cause is Cause.SIGNAL


def test_a_main_module_is_not_imported_again_in_steps(tmp_path: Path) -> None:
    script = tmp_path / "main.py"
    script.write_text(
        "import sys\n"
        f"open({str(tmp_path / 'imports')!r}, 'a').write('x')\n"
        "from support.fake_actions import fake, main\n"
        "if __name__ == '__main__':\n"
        "    sys.exit(main(*sys.argv[1:]))\n"
    )
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps([fake("a", writes="qa/a").to_json()]))
    command = [sys.executable, str(script), str(plan), str(tmp_path / "run")]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": TESTS})
    assert (tmp_path / "imports").read_text() == "x"
    assert content(tmp_path / "run" / "qa" / "a") == "make:()"


def test_nothing_is_imported_from_the_current_folder(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('hijacked')\n")
    plan = tmp_path / "plan"
    plan.write_text(json.dumps([fake("a", writes="qa/a").to_json()]))
    code = f"import runpy; runpy.run_module({NAME!r}, run_name='__main__')"
    ended = subprocess.run(
        [sys.executable, "-P", "-c", code, str(plan), str(tmp_path / "run")],
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": TESTS},
        capture_output=True,
        text=True,
    )
    assert "hijacked" not in ended.stderr
    assert ended.returncode == 0
