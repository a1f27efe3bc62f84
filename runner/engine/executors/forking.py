"""What the processes of steps, and the one that they are forked from, are to be spared."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from types import ModuleType
from typing import Any

from .. import worker
from ..signals import SIGNALS


@dataclass(frozen=True)
class Forked:
    """A process that was forked for an attempt, and waits for it.

    Attributes
    ----------
    process : ForkServerProcess
        Itself.
    jobs : Connection
        What it is told to do.
    word : Connection
        What it says.
    """

    process: ForkServerProcess
    jobs: Connection
    word: Connection

    def begin(self, job: dict[str, Any]) -> bool:
        """Have it run an attempt; say whether it was there to hear that."""
        if self.process.exitcode is not None:
            return False
        try:
            with self.jobs:
                self.jobs.send(job)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Let it go, with nothing to do."""
        self.jobs.close()
        self.word.close()
        self.process.join()
        self.process.close()


def forked(context: ForkServerContext) -> Forked:
    """Return a new process, from a server that runs."""
    word, says = context.Pipe(duplex=False)
    comes, jobs = context.Pipe(duplex=False)
    process = context.Process(target=worker.main, args=(comes, says), daemon=True)
    with says, comes, signals_blocked(), anonymous_main():
        process.start()
    return Forked(process, jobs, word)


def have_folder() -> None:
    """Leave a current folder that was removed: multiprocessing cannot start a process in it."""
    try:
        Path.cwd()
    except FileNotFoundError:
        os.chdir("/")


@contextlib.contextmanager
def anonymous_main() -> Iterator[None]:
    """Hide the runner's main module, else every step would import it again."""
    main = sys.modules.get("__main__")
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        if main is not None:
            sys.modules["__main__"] = main


@contextlib.contextmanager
def safe_path() -> Iterator[None]:
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
def signals_blocked() -> Iterator[None]:
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
