"""Steps as processes of this machine, each forked from one that has imported CASA already."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import connection, forkserver, resource_tracker
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import psutil

from ...errors import Cause
from ...files import is_alive, process_mark, remove_tree
from ...folder import RunFolder
from ...quantities import human_bytes, human_seconds
from .. import worker
from ..causes import MEMORY_ADVICE, cause_in
from ..holders import Holder, holders
from ..machine import look, oom_kills
from ..results import (
    CASA_LOG,
    STDOUT_LOG,
    attempt_folder,
    clear_result,
    failure,
    read_result,
    write_result,
)
from ..signals import SIGNALS
from . import ACTIONS, Ended, Job

PRELOAD: Final = ("casarun.casa.preload", ACTIONS)
"""Imported once, before the first step; all steps are forked from there."""

_LAST_WORDS: Final = "casarun.engine.executors.last_words"
_FROZEN: Final = "casarun.engine.executors.frozen"
_MEANWHILE: Final = "casarun.engine.executors.meanwhile"
_SAMPLE_S: Final = 0.5
_TREE_EVERY: Final = 4
_AFTER_DEATH_S: Final = 0.5
_TAIL_BYTES: Final = 65536
_FULL_BYTES: Final = 1_000_000
_LOCK_PATIENCE_S: Final = 60.0
_IDLE_CPU: Final = 0.02
_IDLE_BYTES: Final = 1_000_000
_LOCK_ADVICE: Final = "Close the table there, or end that process."
_LEAST_BYTES: Final = 2_000_000_000
"""Of memory; with ulimit -v, CASA's libraries alone map half of that."""

_SERVER_DIED: Final = 255
"""What multiprocessing says of a process whose fork server ended before it."""

_DISK_ADVICE: Final = "Free some space and run the same command to go on."


@dataclass
class _Running:
    """An attempt that is under way."""

    job: Job
    process: ForkServerProcess
    word: connection.Connection | None
    watched: psutil.Process | None
    deadline: float
    started: float
    ooms: int
    memory_bytes: int = 0
    peak_memory_bytes: int = 0
    samples: int = 0
    family: list[psutil.Process] = field(default_factory=list)
    killed: Cause | None = None
    stopped: bool = False
    leaving: bool = False
    busy: _Busy | None = None
    holders: list[Holder] = field(default_factory=list)

    def hear(self) -> None:
        """Take its one word: that it is done but for the disk; or its end without a word."""
        if self.word is None:
            return
        with contextlib.suppress(EOFError, OSError):
            self.word.recv_bytes()
            self.leaving = True
        self.word.close()
        self.word = None


@dataclass(frozen=True)
class _Busy:
    """When a process was last known to do something, and what it had done by then."""

    since: float
    cpu_s: float
    read_bytes: int


class LocalExecutor:
    """Runs each attempt in a fresh process of this machine.

    Parameters
    ----------
    preload : sequence of str
        Modules that are imported once, in the process that all others are forked from.
    enforce_memory : bool
        End a step that uses more than its `memory_bytes`, where it has such a limit.
    lock_patience_s : float
        End a step that does nothing for so long while another process has a table locked that
        it needs.
    """

    def __init__(
        self,
        preload: Sequence[str] = PRELOAD,
        *,
        enforce_memory: bool = False,
        lock_patience_s: float = _LOCK_PATIENCE_S,
    ) -> None:
        self._context = multiprocessing.get_context("forkserver")
        modules = [_LAST_WORDS, *preload, "casarun.engine.worker", _FROZEN]
        if tuple(preload) == PRELOAD:
            modules.append(_MEANWHILE)
        self._context.set_forkserver_preload(modules)
        self._enforce_memory = enforce_memory
        self._lock_patience_s = lock_patience_s
        self._first = preload[0] if preload else ""
        self._running: dict[str, _Running] = {}
        self._sampled = 0.0

    def warm_up(self) -> None:
        """Begin the imports now, without waiting for them: planning can go on meanwhile."""
        _have_folder()
        with _signals_blocked(), _safe_path():
            forkserver.ensure_running()

    def failure(self) -> str:
        """Wait for the imports; return why they failed, with the traceback, or nothing."""
        try:
            return self._ask_server()
        except (EOFError, OSError):
            # Killed from outside, maybe: one that cannot import CASA dies a second time. Its
            # files close before it counts as ended, and until then it would be asked again.
            time.sleep(_AFTER_DEATH_S)
        try:
            return self._ask_server()
        except (EOFError, OSError) as error:
            said = f"the process that imports it died ({error or 'without a word'})"
            limit = look().memory
            least = limit.value < _LEAST_BYTES
            return f"{said}; {limit.source} leaves {human_bytes(limit.value)}" if least else said

    def _ask_server(self) -> str:
        """Return what the process with the imports says of them."""
        receive, send = self._context.Pipe(duplex=False)
        try:
            self.warm_up()
            process = self._context.Process(
                target=worker.tell_failure, args=(send, self._first), daemon=True
            )
            with _signals_blocked(), _anonymous_main():
                process.start()
            send.close()
            told = receive.recv_bytes().decode()
            process.join()
        finally:
            send.close()
            receive.close()
        return told

    def start(self, job: Job) -> Mapping[str, Any]:
        """Begin an attempt; see `Executor.start`."""
        ooms = oom_kills()
        clear_result(RunFolder(job.folder), job.step.id, job.attempt)
        self.warm_up()
        receive, send = self._context.Pipe(duplex=False)
        process = self._context.Process(target=worker.main, args=(job.to_json(), send), daemon=True)
        with send, _signals_blocked(), _anonymous_main():
            process.start()
        now = time.monotonic()
        watched = None
        with contextlib.suppress(psutil.Error):
            watched = psutil.Process(process.pid)
        self._running[job.step.id] = _Running(
            job, process, receive, watched, now + job.step.resources.time_limit_s, now, ooms
        )
        return process_mark(process.pid or 0)

    def wait(self, timeout_s: float) -> list[Ended]:
        """Return what ended; see `Executor.wait`."""
        self._watch()
        sentinels = {r.process.sentinel: step_id for step_id, r in self._running.items()}
        words = {r.word: r for r in self._running.values() if r.word is not None}
        if not sentinels:
            time.sleep(max(timeout_s, 0.0))
            return []
        until = min(r.deadline for r in self._running.values()) - time.monotonic()
        timeout = max(0.0, min(timeout_s, until))
        ready = connection.wait([*sentinels, *words], timeout)
        self._watch()
        for word, running in words.items():
            if word in ready:
                running.hear()
        return [self._end(sentinels[handle]) for handle in ready if isinstance(handle, int)]

    def usage(self) -> Mapping[str, int]:
        """Return the memory in use by step; see `Executor.usage`."""
        return {step_id: running.memory_bytes for step_id, running in self._running.items()}

    def leaving(self) -> list[str]:
        """Return the steps that need no core any more; see `Executor.leaving`."""
        return [step_id for step_id, running in self._running.items() if running.leaving]

    def kill(self, step_id: str, cause: Cause | None) -> None:
        """End an attempt by force; see `Executor.kill`."""
        running = self._running.get(step_id)
        if running is None or running.killed is not None or running.stopped:
            return
        running.killed, running.stopped = cause, cause is None
        _kill_group(_pid(running))

    def end_stale(self, placed: Mapping[str, Any]) -> None:
        """End an attempt of a runner that is no more; see `Executor.end_stale`."""
        mark = dict(placed)
        for _ in range(50):
            # Without the time of its start, it could be any process that has its number now.
            if "pid" not in mark or "created" not in mark or not is_alive(mark):
                return
            _kill_group(int(mark["pid"]))
            time.sleep(0.1)

    def close(self) -> None:
        """End all attempts by force; see `Executor.close`."""
        for step_id in list(self._running):
            self.kill(step_id, None)
        for step_id in list(self._running):
            self._end(step_id)

    def _watch(self) -> None:
        """Sample memory, and end what is over a limit."""
        now = time.monotonic()
        for step_id, running in self._running.items():
            if now >= running.deadline and running.killed is None:
                running.holders = _holders(running)
                self.kill(step_id, Cause.TIME_LIMIT)
        if now - self._sampled < _SAMPLE_S:
            return
        self._sampled = now
        for step_id, running in self._running.items():
            running.memory_bytes = _memory(running)
            running.peak_memory_bytes = max(running.peak_memory_bytes, running.memory_bytes)
            limit = running.job.memory_limit_bytes
            if self._enforce_memory:
                limit = limit or running.job.step.resources.memory_bytes
            if 0 < limit < running.memory_bytes:
                self.kill(step_id, Cause.OUT_OF_MEMORY)
            elif self._waits_for_lock(running, now):
                self.kill(step_id, Cause.TABLE_LOCK)

    def _waits_for_lock(self, running: _Running, now: float) -> bool:
        """Say whether a step has done nothing for long, and a lock of another process is why.

        CASA would wait for ever, without a word.
        """
        done = _done(running, now)
        if done is None or running.killed is not None:
            return False
        before = running.busy or done
        running.busy = before
        if (
            done.cpu_s - before.cpu_s > _IDLE_CPU * (now - before.since) + _IDLE_CPU
            or done.read_bytes - before.read_bytes > _IDLE_BYTES
        ):
            running.busy = done
        elif now - before.since >= self._lock_patience_s:
            running.busy = done
            running.holders = _holders(running)
            return bool(running.holders)
        return False

    def _end(self, step_id: str) -> Ended:
        """Take up what an attempt left, and put in words how it ended if it could not."""
        running = self._running.pop(step_id)
        running.process.join()
        code = running.process.exitcode
        job = running.job
        folder = job.run_folder
        # What it has started itself must not outlive it.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(_pid(running), signal.SIGKILL)
        running.process.close()
        if running.word is not None:
            running.word.close()
        result = read_result(folder, step_id, job.attempt)
        if result is None:
            with contextlib.suppress(OSError):
                remove_tree(folder.work(step_id))
            result = self._abnormal(running, code)
            if not running.stopped:
                with contextlib.suppress(OSError):
                    write_result(folder, step_id, job.attempt, result)
        peak = max(int(result.get("peak_memory_bytes", 0)), running.peak_memory_bytes)
        return Ended(
            step_id,
            {**result, "peak_memory_bytes": peak},
            stopped=running.stopped and not result["ok"],
        )

    def _abnormal(self, running: _Running, code: int | None) -> dict[str, Any]:
        cause, message, advice = _explain(running, code)
        return {
            **failure(cause, message, advice),
            "fallback": running.job.fallback,
            "wall_s": round(time.monotonic() - running.started, 4),
            "peak_memory_bytes": running.peak_memory_bytes,
        }


def _explain(running: _Running, code: int | None) -> tuple[Cause, str, str]:
    """Say what ended a process that left no result: cause, message, advice."""
    resources = running.job.step.resources
    if running.killed is Cause.TIME_LIMIT:
        said = f"ran longer than its time limit of {human_seconds(resources.time_limit_s)}"
        if running.holders:
            return Cause.TIME_LIMIT, f"{said}; {_locked(running)}", _LOCK_ADVICE
        advice = "Raise resources.time_per_step, or give the step less to do."
        return Cause.TIME_LIMIT, said, advice
    if running.killed is Cause.TABLE_LOCK:
        return Cause.TABLE_LOCK, f"waited and did nothing; {_locked(running)}", _LOCK_ADVICE
    if running.killed is Cause.OUT_OF_MEMORY:
        used, advice = human_bytes(running.peak_memory_bytes), MEMORY_ADVICE
        if 0 < running.job.memory_limit_bytes < running.peak_memory_bytes:
            limit = f"resources.memory_per_step is {human_bytes(running.job.memory_limit_bytes)}"
            advice = advice.replace("resources.memory ", "resources.memory_per_step ")
        elif 0 < resources.memory_bytes < running.peak_memory_bytes:
            limit = f"{human_bytes(resources.memory_bytes)} were expected"
        else:
            limit = "the steps together used more than they may"
        return Cause.OUT_OF_MEMORY, f"used {used} of memory; {limit}", advice
    if running.killed is not None:
        return running.killed, f"was killed: {running.killed}", ""
    # On a disk too full for the next write CASA aborts, and its log cannot say why.
    if code == worker.DISK_FULL_EXIT or (code != 0 and _is_full(running.job.folder)):
        return Cause.DISK_FULL, f"the disk of {running.job.folder} is full", _DISK_ADVICE
    if oom_kills() > running.ooms and code in (-signal.SIGKILL, _SERVER_DIED):
        said = "was killed by the system, which ran out of memory"
        return Cause.OUT_OF_MEMORY, said, MEMORY_ADVICE
    if code == _SERVER_DIED:
        return Cause.SIGNAL, "ended with the process that steps are forked from, which died", ""
    logs = attempt_folder(RunFolder(running.job.folder), running.job.step.id, running.job.attempt)
    stdout = _tail(logs / STDOUT_LOG)
    told = cause_in(stdout + _tail(logs / CASA_LOG))
    where = f"see {STDOUT_LOG} and {CASA_LOG} in {logs}"
    if code == -signal.SIGABRT:
        cause = Cause.OUT_OF_MEMORY if told is Cause.OUT_OF_MEMORY else Cause.ABORT
        why = _last_words(stdout)
        return cause, f"CASA aborted the process (exit code 134){why}; {where}", ""
    if code is not None and code < 0:
        return Cause.SIGNAL, f"was ended by signal {_signal_name(-code)}; {where}", ""
    return Cause.UNKNOWN, f"ended with exit code {code} and without a result; {where}", ""


def _last_words(stdout: str) -> str:
    """Return what C++ said before it aborted, to be put behind a message; it may be nothing."""
    found = re.findall(r"^terminate called.*?'(.+?)'|^\s*what\(\):\s*(.+)$", stdout, re.M)
    words = [kind or what for kind, what in found[-2:]]
    return f": {': '.join(words)}" if words else ""


def _locked(running: _Running) -> str:
    """Say who has locked what the step needs."""
    first = running.holders[0]
    table = first.table.relative_to(running.job.folder)
    others = len(running.holders) - 1
    more = f" and {others} other{'s' if others > 1 else ''}" if others else ""
    return f"{first}{more} has {table} locked"


def _holders(running: _Running) -> list[Holder]:
    """Return the processes that have tables locked that a step reads or changes."""
    step, folder = running.job.step, running.job.folder
    paths = dict.fromkeys((*step.updates, *step.reads))
    tables = [folder / path for path in paths if not path.startswith("/")]
    return holders([table for table in tables if table.is_dir()], _pid(running))


def _done(running: _Running, now: float) -> _Busy | None:
    """Return what a step's process has done; None where it works by others, or waits for a disk."""
    if running.watched is None or running.family:
        return None
    with contextlib.suppress(psutil.Error, AttributeError):
        process = running.watched
        if process.status() == psutil.STATUS_DISK_SLEEP:
            return None
        times = process.cpu_times()
        return _Busy(now, times.user + times.system, process.io_counters().read_chars)
    return None


def _is_full(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < _FULL_BYTES
    except OSError:
        return False


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def _memory(running: _Running) -> int:
    """Return the memory in bytes of an attempt's process and those below it.

    What is mapped from files does not count: the system takes it back when it needs it.
    """
    if running.watched is None:
        return 0
    # Looking for children reads the whole process table, so it is done now and then.
    if running.samples % _TREE_EVERY == 0:
        with contextlib.suppress(psutil.Error):
            running.family = running.watched.children(recursive=True)
    running.samples += 1
    total = 0
    for process in (running.watched, *running.family):
        with contextlib.suppress(psutil.Error):
            memory = process.memory_info()
            total += max(0, int(memory.rss) - int(memory.shared))
    return total


def _have_folder() -> None:
    """Leave a current folder that was removed: multiprocessing cannot start a process in it."""
    try:
        Path.cwd()
    except FileNotFoundError:
        os.chdir("/")


def _kill_group(pid: int) -> None:
    """Kill a process and its group; none of it may be there any more."""
    if pid <= 0:
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
        return
    # It may not have come as far as to have a group of its own.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def _tail(path: Path) -> str:
    """Return the end of a log."""
    try:
        with path.open("rb") as stream:
            stream.seek(0, os.SEEK_END)
            stream.seek(max(0, stream.tell() - _TAIL_BYTES))
            return stream.read().decode("utf-8", "replace")
    except OSError:
        return ""


@contextlib.contextmanager
def _anonymous_main() -> Iterator[None]:
    """Hide the runner's main module, else every step would import it again."""
    main = sys.modules.get("__main__")
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        if main is not None:
            sys.modules["__main__"] = main


@contextlib.contextmanager
def _safe_path() -> Iterator[None]:
    """Keep a process started here from importing what lies in the current folder."""
    old = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        if old is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = old


@contextlib.contextmanager
def _signals_blocked() -> Iterator[None]:
    """Keep from the processes started here what asks the run to stop; the runner answers it.

    A batch system sends its signals to all processes of a job.
    """
    # When this starts, it unblocks some signals, and would do so just after they were blocked.
    resource_tracker.ensure_running()
    old = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)


def _pid(running: _Running) -> int:
    """Return an attempt's process id; started processes always have one."""
    pid = running.process.pid
    if pid is None:
        raise RuntimeError("the process of an attempt was never started")
    return pid
