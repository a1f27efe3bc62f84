"""Ctrl-C and SIGTERM: the first asks the run to stop, the second does not ask."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Final

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


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
        clock = threading.Timer(seconds, self.set, (reason,))
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
def stopping(flag: StopFlag) -> Iterator[StopFlag]:
    """Set `flag` on the first SIGINT, SIGTERM or SIGHUP; raise KeyboardInterrupt on the second.

    To be used in the main thread; the former handlers are put back at the end.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        if flag.is_set():
            raise KeyboardInterrupt
        flag.set(signal.Signals(number).name)

    old = {number: signal.signal(number, handle) for number in _SIGNALS}
    try:
        yield flag
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
