"""What happens to runs on real machines, done to a run that is under way."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ParamSpec

import psutil
from casarun.engine.results import STDOUT_LOG

from . import crashes
from .cli import COMMAND, casarun

P = ParamSpec("P")
TRIES = 5
SETTINGS = ("retry.wait=0.1s", "retry.max_wait=0.5s", "resources.cores=2")


class TooLateError(Exception):
    """The moment had passed before anything could be done to the run; on a busy machine it may."""


def in_time(test: Callable[P, None]) -> Callable[P, None]:
    """Make a test begin again where it came too late; it must start from nothing each time."""

    @functools.wraps(test)
    def tried(*args: P.args, **kwargs: P.kwargs) -> None:
        for _ in range(TRIES - 1):
            with contextlib.suppress(TooLateError):
                return test(*args, **kwargs)
        return test(*args, **kwargs)

    return tried


def hold(pid: int) -> None:
    """Stop a process, and see that it had not ended before.

    Raises
    ------
    TooLateError
        If it had.
    """
    try:
        os.kill(pid, signal.SIGSTOP)
        while psutil.Process(pid).status() != psutil.STATUS_STOPPED:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                raise TooLateError
            time.sleep(0.001)
    except (ProcessLookupError, psutil.NoSuchProcess):
        raise TooLateError from None


class Run:
    """A run of a small reduction in a process of its own, of which most is done already.

    Parameters
    ----------
    recipe : Path
        Of the reduction.
    folder : Path
        The run folder.
    settings : sequence of str
        What is set beside `SETTINGS`.
    inside : sequence of str
        A command that runs the command given after it.
    """

    def __init__(
        self,
        recipe: Path,
        folder: Path,
        settings: Sequence[str] = (),
        inside: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self._passed = len(crashes.events(self.folder)) if self.folder.exists() else 0
        settings = (*SETTINGS, *settings)
        command = [*inside, *COMMAND, str(recipe), "--output", str(folder)]
        command += [word for setting in settings for word in ("--set", setting)]
        self._place = folder.parent / f"{folder.name}.said"
        self._said = self._place.open("w+")
        self.process = subprocess.Popen(
            command, cwd=recipe.parent, stdin=subprocess.DEVNULL, stdout=self._said,
            stderr=self._said, start_new_session=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    def events(self) -> list[dict[str, Any]]:
        """Return what the journal has of this run so far."""
        return crashes.events(self.folder)[self._passed :]

    def await_step(self, step: str, event: str = "step-placed") -> dict[str, Any]:
        """Wait until the journal has an event of a step, and return it."""
        return crashes.await_event(self.process, self.folder, event, step, self._passed)

    @contextlib.contextmanager
    def frozen(self, step: str, *, at_work: bool = False) -> Iterator[int]:
        """Hold a step's process when it has just begun; give its number.

        With `at_work` it has begun to write its log: before, in its first millisecond, it still
        has ends of pipes that it was forked with.
        """
        if at_work:
            out = Path(f"/proc/{self.await_step(step)['pid']}/fd/1")
            pid = self.when(step, lambda: out.readlink().name == STDOUT_LOG)
        else:
            pid = int(self.await_step(step)["pid"])
            hold(pid)
        try:
            yield pid
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def when(self, step: str, met: Callable[[], bool]) -> int:
        """Hold a step's process as soon as something is the case; return its number."""
        pid = int(self.await_step(step)["pid"])
        until = time.monotonic() + 60
        while time.monotonic() < until and self.process.poll() is None:
            try:
                now = met()
            except OSError:
                raise TooLateError from None
            if now:
                hold(pid)
                return pid
            time.sleep(0.001)
        raise AssertionError(f"it never came to that in {step}:\n{self.said()}")

    def server(self) -> psutil.Process:
        """Return the process that steps are forked from."""
        found = crashes.servers_of(self.process)
        assert found, "there is no fork server"
        return found[0]

    def end(self, timeout: float = 200) -> int:
        """Wait for the end of the run; return its exit code."""
        return self.process.wait(timeout)

    def said(self) -> str:
        """Return all that the run has printed."""
        return self._place.read_text()

    def failures(self) -> list[tuple[str, str, str, str]]:
        """Return step, cause, message and advice of each attempt that failed."""
        return [
            (e["step"], e["cause"], e["message"], e["advice"])
            for e in self.events()
            if e["event"] == "step-failed"
        ]

    def close(self) -> None:
        """End what may still run."""
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self._said.close()


def go_on(recipe: Path, folder: Path) -> None:
    """Run again until all is done; fail where it is not."""
    words = [word for setting in SETTINGS for word in ("--set", setting)]
    done = casarun(recipe, "--output", folder, *words, cwd=recipe.parent)
    assert done.returncode == 0, done.stdout + done.stderr


def without(run: Path, folder: Path, *gone: str) -> Path:
    """Copy a finished run without some of its products; return the copy.

    Parameters
    ----------
    run : Path
        The run folder.
    folder : Path
        The copy; not there yet.
    gone : str
        Products that shall be made again, or folders of them.
    """
    shutil.copytree(run, folder, symlinks=True)
    for product in gone:
        path = folder / product
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return folder
