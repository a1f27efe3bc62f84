"""An attempt that is under way in a process of this machine: what it says, does and uses."""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass, field
from multiprocessing import connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Final

import psutil

from ...errors import Cause
from ..holders import Holder, holders
from ..worker import OVER, WHOLE
from . import Job

_TREE_EVERY: Final = 4


@dataclass
class Running:
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
    over: bool = False
    whole: bool | None = None
    busy: Busy | None = None
    holders: list[Holder] = field(default_factory=list)

    def hear(self) -> None:
        """Take what it says: that it is done but for the disk, or over; or its end in silence."""
        if self.word is None:
            return
        try:
            said = self.word.recv_bytes()
            self.leaving = True
            self.over = said == OVER
            self.whole = self.whole if self.over else said.endswith(WHOLE)
        except (EOFError, OSError):
            self.word.close()
            self.word = None


@dataclass(frozen=True)
class Busy:
    """When a process was last known to do something, and what it had done by then."""

    since: float
    cpu_s: float
    read_bytes: int


def pid_of(running: Running) -> int:
    """Return an attempt's process id; started processes always have one."""
    pid = running.process.pid
    if pid is None:
        raise RuntimeError("the process of an attempt was never started")
    return pid


def kill_group(pid: int) -> None:
    """Kill a process and its group; none of it may be there any more."""
    if pid <= 0:
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
        return
    # It may not have come as far as to have a group of its own.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def holders_of(running: Running) -> list[Holder]:
    """Return the processes that have tables locked that a step reads or changes."""
    step, folder = running.job.step, running.job.folder
    paths = dict.fromkeys((*step.updates, *step.reads))
    tables = [folder / path for path in paths if not path.startswith("/")]
    return holders([table for table in tables if table.is_dir()], pid_of(running))


def has_done(running: Running, now: float) -> Busy | None:
    """Return what a step's process has done; None where it works by others, or waits for a disk."""
    if running.watched is None or running.family:
        return None
    with contextlib.suppress(psutil.Error, AttributeError):
        process = running.watched
        if process.status() == psutil.STATUS_DISK_SLEEP:
            return None
        times = process.cpu_times()
        return Busy(now, times.user + times.system, process.io_counters().read_chars)
    return None


def below(process: psutil.Process) -> list[psutil.Process]:
    """Return the processes that a process has started, and those that these have.

    Linux lists them by thread (proc(5)): 0.02 ms. Where it does not, psutil reads the whole table
    of processes: 25 ms with 2000 of them, as on a shared node.

    Raises
    ------
    psutil.Error
        If the process is gone.
    """
    found: list[psutil.Process] = []
    left = [process.pid]
    try:
        while left:
            threads = f"/proc/{left.pop()}/task"
            for thread in Path(threads).iterdir():
                pids = (thread / "children").read_text().split()
                found += [psutil.Process(int(pid)) for pid in pids]
                left += map(int, pids)
    except (OSError, psutil.NoSuchProcess):  # no such lists here, or one ended meanwhile
        return process.children(recursive=True)
    return found


def memory_of(running: Running) -> int:
    """Return the memory in bytes of an attempt's process and those below it.

    What is mapped from files does not count: the system takes it back when it needs it.
    """
    if running.watched is None:
        return 0
    if running.samples % _TREE_EVERY == 0:
        with contextlib.suppress(psutil.Error):
            running.family = below(running.watched)
    running.samples += 1
    total = 0
    for process in (running.watched, *running.family):
        with contextlib.suppress(psutil.Error):
            memory = process.memory_info()
            total += max(0, int(memory.rss) - int(memory.shared))
    return total
