"""Steps as processes of this machine, each forked from one that has imported CASA already."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Mapping, Sequence
from multiprocessing import connection, forkserver
from multiprocessing.context import ForkServerProcess
from typing import Any, Final

import psutil

from ...errors import Cause
from ...files import is_alive, process_mark, remove_tree
from ...folder import RunFolder
from ...quantities import human_bytes
from .. import worker
from ..machine import look, oom_kills
from ..results import clear_result, failure, read_result, write_result
from . import ACTIONS, Ended, Job
from .attempt import Running, has_done, holders_of, kill_group, memory_of, pid_of
from .endings import explained
from .forking import Forked, anonymous_main, forked, have_folder, safe_path, signals_blocked

PRELOAD: Final = ("casarun.casa.preload", ACTIONS)
"""Imported once, before the first step; all steps are forked from there."""

_LAST_WORDS: Final = "casarun.engine.executors.last_words"
_FROZEN: Final = "casarun.engine.executors.frozen"
_MEANWHILE: Final = "casarun.engine.executors.meanwhile"
_SAMPLE_S: Final = 0.5
_AFTER_DEATH_S: Final = 0.5
_LOCK_PATIENCE_S: Final = 60.0
_IDLE_CPU: Final = 0.02
_IDLE_BYTES: Final = 1_000_000
_LEAST_BYTES: Final = 2_000_000_000
"""Of memory; with ulimit -v, CASA's libraries alone map half of that."""


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
        self._running: dict[str, Running] = {}
        self._ending: list[ForkServerProcess] = []
        self._ready: Forked | None = None
        self._whole = False
        self._sampled = 0.0

    def warm_up(self) -> None:
        """Begin the imports now, without waiting for them: planning can go on meanwhile."""
        have_folder()
        with signals_blocked(), safe_path():
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
            with signals_blocked(), anonymous_main():
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
        ready, self._ready = self._ready, None
        if ready is None or not ready.begin(job.to_json()):
            if ready is not None:
                ready.close()
            self.warm_up()
            ready = forked(self._context)
            ready.begin(job.to_json())  # where it died at once, its end will be told
        process, now = ready.process, time.monotonic()
        watched = None
        with contextlib.suppress(psutil.Error):
            watched = psutil.Process(process.pid)
        self._running[job.step.id] = Running(
            job, process, ready.word, watched, now + job.step.resources.time_limit_s, now, ooms
        )
        return process_mark(process.pid or 0)

    def _fork_ahead(self) -> None:
        """Have a process ready for the next attempt, as soon as it will lack no import."""
        if self._whole and self._ready is None:
            with contextlib.suppress(OSError, EOFError):
                self.warm_up()
                self._ready = forked(self._context)

    def wait(self, timeout_s: float) -> list[Ended]:
        """Return what ended; see `Executor.wait`."""
        self._watch()
        self._ending = [process for process in self._ending if not _is_gone(process)]
        sentinels = {r.process.sentinel: step_id for step_id, r in self._running.items()}
        words = {r.word: r for r in self._running.values() if r.word is not None}
        if not sentinels:
            time.sleep(max(timeout_s, 0.0))
            return []
        self._fork_ahead()
        until = min(r.deadline for r in self._running.values()) - time.monotonic()
        timeout = max(0.0, min(timeout_s, until))
        ready = connection.wait([*sentinels, *words], timeout)
        self._watch()
        for word, running in words.items():
            if word in ready:
                running.hear()
                self._whole = self._whole if running.whole is None else running.whole
        ended = [s for handle, s in sentinels.items() if handle in ready or self._running[s].over]
        return [self._end(step_id) for step_id in ended]

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
        kill_group(pid_of(running))

    def end_stale(self, placed: Mapping[str, Any]) -> None:
        """End an attempt of a runner that is no more; see `Executor.end_stale`."""
        mark = dict(placed)
        for _ in range(50):
            # Without the time of its start, it could be any process that has its number now.
            if "pid" not in mark or "created" not in mark or not is_alive(mark):
                return
            kill_group(int(mark["pid"]))
            time.sleep(0.1)

    def close(self) -> None:
        """End all attempts by force; see `Executor.close`."""
        for step_id in list(self._running):
            self.kill(step_id, None)
        for step_id in list(self._running):
            self._end(step_id)
        if self._ready is not None:
            self._ready.close()
            self._ready = None
        for process in self._ending:
            process.join()
            process.close()
        self._ending.clear()

    def _watch(self) -> None:
        """Sample memory, and end what is over a limit."""
        now = time.monotonic()
        for step_id, running in self._running.items():
            if now >= running.deadline and running.killed is None:
                running.holders = holders_of(running)
                self.kill(step_id, Cause.TIME_LIMIT)
        if now - self._sampled < _SAMPLE_S:
            return
        self._sampled = now
        for step_id, running in self._running.items():
            running.memory_bytes = memory_of(running)
            running.peak_memory_bytes = max(running.peak_memory_bytes, running.memory_bytes)
            limit = running.job.memory_limit_bytes
            if self._enforce_memory:
                limit = limit or running.job.step.resources.memory_bytes
            if 0 < limit < running.memory_bytes:
                self.kill(step_id, Cause.OUT_OF_MEMORY)
            elif self._waits_for_lock(running, now):
                self.kill(step_id, Cause.TABLE_LOCK)

    def _waits_for_lock(self, running: Running, now: float) -> bool:
        """Say whether a step has done nothing for long, and a lock of another process is why.

        CASA would wait for ever, without a word.
        """
        done = has_done(running, now)
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
            running.holders = holders_of(running)
            return bool(running.holders)
        return False

    def _end(self, step_id: str) -> Ended:
        """Take up what an attempt left, and put in words how it ended if it could not."""
        running = self._running.pop(step_id)
        process, job = running.process, running.job
        folder = job.run_folder
        result = read_result(folder, step_id, job.attempt) if running.over else None
        if result is None:
            process.join()
            result = read_result(folder, step_id, job.attempt)
        code = process.exitcode
        # What it has started itself must not outlive it.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid_of(running), signal.SIGKILL)
        if running.word is not None:
            running.word.close()
        if not _is_gone(process):
            self._ending.append(process)
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

    def _abnormal(self, running: Running, code: int | None) -> dict[str, Any]:
        cause, message, advice = explained(running, code)
        return {
            **failure(cause, message, advice),
            "fallback": running.job.fallback,
            "wall_s": round(time.monotonic() - running.started, 4),
            "peak_memory_bytes": running.peak_memory_bytes,
        }


def _is_gone(process: ForkServerProcess) -> bool:
    """Say whether a process has ended; give back what is held of it then."""
    if process.exitcode is None:
        return False
    process.close()
    return True
