"""What asks a run to stop: Ctrl-C, SIGTERM, a batch system's signals, the end of its time."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from types import FrameType
from typing import Final

SIGNALS: Final = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    # Batch systems warn with these: Slurm with the one of its --signal, Grid Engine's -notify
    # with both, LSF with either or with that for CPU time.
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGXCPU,
)
"""The signals that ask a run to stop; its steps are not to hear them."""

_INSISTENT: Final = (signal.SIGINT, signal.SIGTERM)
_JOB_MARGIN_S: Final = 60.0


class StopFlag:
    """Asks a run to stop at the next safe point; may be set from anywhere."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.reason = ""

    def set(self, reason: str = "stopped") -> None:
        """Ask the run to stop."""
        self.reason = self.reason or reason
        self._event.set()

    def set_after(self, seconds: float, reason: str) -> threading.Timer:
        """Ask the run to stop when so many seconds have passed; return the clock, which runs."""
        clock = threading.Timer(min(seconds, threading.TIMEOUT_MAX), self.set, (reason,))
        clock.daemon = True
        clock.start()
        return clock

    def is_set(self) -> bool:
        """Say whether the run shall stop."""
        return self._event.is_set()

    def __bool__(self) -> bool:
        return self._event.is_set()


@contextlib.contextmanager
def walltime(flag: StopFlag, seconds: float | None, said: str) -> Iterator[None]:
    """Set `flag` when a run has had its time.

    Parameters
    ----------
    flag : StopFlag
        Is set then.
    seconds : float or None
        The time from now; None for no limit.
    said : str
        The limit as the user wrote it.
    """
    if seconds is None:
        yield
        return
    clock = flag.set_after(seconds, f"its wall time of {said} is over")
    try:
        yield
    finally:
        clock.cancel()


@contextlib.contextmanager
def jobtime(flag: StopFlag, environ: Mapping[str, str] | None = None) -> Iterator[None]:
    """Set `flag` a minute before the Slurm job ends that a run is in.

    Slurm says when in ``SLURM_JOB_END_TIME``, in s since 1970 (sbatch manual, "Output
    environment variables"). An end that is past is that of another job, from whose
    environment this process was started.

    Parameters
    ----------
    flag : StopFlag
        Is set then.
    environ : mapping of str to str, optional
        The environment; by default this process's own.
    """
    said = (os.environ if environ is None else environ).get("SLURM_JOB_END_TIME", "")
    left = int(said) - time.time() if said.isascii() and said.isdecimal() else 0.0
    if not 0.0 < left < threading.TIMEOUT_MAX:
        yield
        return
    end = f"{datetime.fromtimestamp(int(said), UTC):%Y-%m-%d %H:%M:%S} UTC"
    clock = flag.set_after(
        max(0.0, left - _JOB_MARGIN_S), f"its job ends at {end} (SLURM_JOB_END_TIME)"
    )
    try:
        yield
    finally:
        clock.cancel()


@contextlib.contextmanager
def stopping(flag: StopFlag) -> Iterator[StopFlag]:
    """Set `flag` on the first of `SIGNALS`; raise KeyboardInterrupt on SIGINT or SIGTERM after.

    To be used in the main thread; the former handlers are put back at the end.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        if flag.is_set() and number in _INSISTENT:
            raise KeyboardInterrupt
        flag.set(signal.Signals(number).name)

    old = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield flag
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
