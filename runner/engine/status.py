"""The heartbeat of a run: ``.casarun/status.json``, for people and programs that look on."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..files import is_alive, now, process_mark, seconds_since, write_json
from ..folder import RunFolder
from ..lock import SILENT_S

_EVERY_S: Final = 4.0
_AT_MOST_EVERY_S: Final = 0.25


@dataclass
class Attempt:
    """What is known of an attempt that is under way.

    Attributes
    ----------
    number : int
        Which it is, from 1.
    started, told : float
        When it was started and last told of, by the monotonic clock, in s.
    since : str
        When it was started, for a person.
    """

    number: int
    started: float
    since: str
    told: float

    def in_status(self, memory_bytes: int) -> dict[str, Any]:
        """Return what the status says of it."""
        return {"since": self.since, "attempt": self.number, "memory_bytes": memory_bytes}


class Heartbeat:
    """Writes the status file at transitions, and every few seconds.

    Parameters
    ----------
    folder : RunFolder
        Whose status it is.
    total : int
        How many steps the plan has.
    """

    def __init__(self, folder: RunFolder, total: int) -> None:
        self._path = folder.status
        self._fixed = {**process_mark(os.getpid()), "host": socket.gethostname(), "started": now()}
        self._total = total
        self._written = 0.0
        self._due = True

    def changed(self) -> None:
        """Say that something changed; it is written soon."""
        self._due = True

    def beat(
        self,
        counts: Mapping[str, int],
        running: Mapping[str, Mapping[str, Any]],
        state: str = "running",
    ) -> None:
        """Write the status if it is time to.

        Parameters
        ----------
        counts : mapping of str to int
            How many steps are `done`, `skipped`, `failed`, `not_run`.
        running : mapping
            By step id `since`, `attempt`, `memory_bytes` of the steps that run.
        state : {"running", "done", "failed", "interrupted"}
            All but the first are written at once.
        """
        since = time.monotonic() - self._written
        if state == "running" and since < (_AT_MOST_EVERY_S if self._due else _EVERY_S):
            return
        # A status that cannot be written must not end a run that can go on.
        with contextlib.suppress(OSError):
            write_json(
                self._path,
                {
                    "state": state,
                    **self._fixed,
                    "updated": now(),
                    "counts": {"total": self._total, "running": len(running), **counts},
                    "running": running,
                },
                durable=False,
            )
        self._written, self._due = time.monotonic(), False


def state_of(status: Mapping[str, Any]) -> str:
    """Tell how a run is from its heartbeat, which may be an old one, or edited by hand.

    Returns
    -------
    str
        As `Heartbeat.beat` has it; ``died`` for a run of this host whose process is no more,
        ``unheard`` for one of another host that wrote no heartbeat for long; empty where the
        heartbeat says nothing.
    """
    state = status.get("state")
    if state in ("done", "failed", "interrupted"):
        return str(state)
    if state != "running":
        return ""
    with contextlib.suppress(TypeError, ValueError, OverflowError):
        if is_alive({key: status.get(key) for key in ("host", "pid", "created")}):
            return "running"
    if status.get("host") == socket.gethostname():
        return "died"
    silent_s = seconds_since(status.get("updated"))
    return "unheard" if silent_s is None or silent_s > SILENT_S else "running"
