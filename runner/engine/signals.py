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

    def is_set(self) -> bool:
        """Say whether the run shall stop."""
        return self._event.is_set()

    def __bool__(self) -> bool:
        return self._event.is_set()


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
