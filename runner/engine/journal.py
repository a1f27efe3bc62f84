"""The journal: the append-only record of everything that happened in a run folder.

One JSON object a line, made durable before the run goes on. Every event has `t` (ISO 8601,
UTC) and `event`; the others by event:

``run-started``
    `pid`, `host`, `created` (of the process), `steps` (how many), `to_run`, `versions`,
    `casarun`.
``step-started``
    `step`, `fingerprint`, `attempt` (in this order: they can be had without reading the rest of the
    line), `reason` (why it runs), and what the fingerprint was
    made from: `action`, `params`, `checks`, `versions`, `inputs` (identities by path),
    `fallbacks` where it has any. `fallback`: what is laid over `params` this time, because the
    step diverged before.
``step-placed``
    `step` and where it runs: `host`, `pid`, `created`; or a batch system's job.
``step-done``
    `step`, `fingerprint`, `attempt`, `wall_s`, `cpu_s`, `peak_memory_bytes`, `writes`
    (signature by path), `warnings` (how many), `note` (why there was nothing to do after all),
    `said` (what it found or decided, in words), `grown_bytes` (how much more disk its products
    and their saved states take than before).
``step-failed``
    As ``step-done`` without `writes`, with `cause`, `message`, `advice`.
``step-retry``
    `step`, `attempt` (the next one), `wait_s`, `cause`; `fallback` as that attempt's.
``step-interrupted``
    `step`, `fingerprint`, `attempt`: the run was asked to stop while it ran.
``product-restored``
    `product`, `after` (the step whose change it holds last now), `whole` (from a snapshot, not
    by undoing), `reason`, `said` (all that in words).
``product-removed``
    `product`, an intermediate that nothing needs any more, `bytes`. It may not have come to
    that: the line is written first.
``run-ended``
    `state` (``done``, ``failed``, ``interrupted``), `done`, `skipped`, `failed`, `not_run`
    (how many of each), `peak_disk_bytes` (what the run folder held at its most).

Listeners of a run get the same events, and some that are not kept: ``step-skipped``
(`step`, `reason`), ``step-progress`` (`step`, `wall_s`, `memory_bytes`, `log`).
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Never, Self

from ..errors import Cause, InterruptedRunError, StepFailedError, with_advice
from ..files import now, sync_folder
from ..folder import RunFolder
from .causes import cause_of

Event = dict[str, Any]

LONGEST_LINE: Final = 64_000_000
"""Bytes of a line; a longer one is read, and left out, in pieces."""

_NAME_BYTES: Final = 80
"""Among so many first bytes of a line is the name of its event."""

_END_BYTES: Final = 65_536
"""Where the last event is looked for first: a ledger's lines have some hundred bytes."""

_TYPES: Final[Mapping[str, type | tuple[type, ...]]] = {
    **dict.fromkeys(("fingerprint", "reason", "action", "cause", "message", "advice"), str),
    **dict.fromkeys(("state", "host", "path", "doing", "signature", "casarun"), str),
    **dict.fromkeys(("attempt", "pid", "steps", "to_run", "skipped", "failed", "not_run"), int),
    **dict.fromkeys(("params", "inputs", "writes", "fallback"), dict),
    **dict.fromkeys(("checks", "holds", "fallbacks"), list),
    **dict.fromkeys(("wall_s", "cpu_s", "wait_s", "peak_memory_bytes"), (int, float)),
    **dict.fromkeys(("grown_bytes", "peak_disk_bytes", "bytes"), (int, float)),
}
"""What else an event may hold, as far as it is relied on."""


class Journal:
    """Appends events to a journal file.

    Opening it cuts off a last line that a crash left unfinished.

    Parameters
    ----------
    path : Path
        The file; it and its folder are made if need be.

    Raises
    ------
    OSError
        From `append` and on opening, where the file cannot be written. What could not be
        written whole is taken back.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = not path.exists()
        self._path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        _cut_unfinished(self._descriptor)
        if fresh:
            sync_folder(path.parent)

    def append(self, event: str, *, durable: bool = True, **content: Any) -> Event:
        """Write one event and return it.

        Parameters
        ----------
        event : str
            Its name.
        durable : bool
            Wait until it would survive a loss of power.
        **content
            What else it says, as JSON.
        """
        entry: Event = {"t": now(), "event": event, **content}
        if durable:
            self._be_there()
        append_line(self._descriptor, entry, durable=durable)
        return entry

    def _be_there(self) -> None:
        """See that nobody took the file away: a later run would find none, or another one."""
        mine = os.fstat(self._descriptor)
        try:
            there = self._path.stat()
        except FileNotFoundError:
            there = None
        if there is None or not os.path.samestat(mine, there):
            raise FileNotFoundError(
                errno.ENOENT, "the journal was removed, or the folder moved, while the run went on"
            )

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), default=list)


@contextlib.contextmanager
def recording(folder: RunFolder) -> Iterator[None]:
    """Say in words that the run's records cannot be written; a full disk is no bug."""
    try:
        yield
    except OSError as error:
        cause = cause_of(error)
        message = f"cannot write the records of the run in {folder.root}: {error.strerror}."
        advice = "What was done is kept: mend that, and run the same command to go on."
        if cause is Cause.DISK_FULL:
            raise InterruptedRunError(with_advice(message, advice)) from error
        raise StepFailedError(cause, message, advice) from error


def append_line(descriptor: int, entry: Mapping[str, Any], *, durable: bool = True) -> None:
    """Append one JSON line to an open file, whole or not at all."""
    line = _ENCODER.encode(entry).encode() + b"\n"
    end = os.fstat(descriptor).st_size
    try:
        written = os.write(descriptor, line)
        while written < len(line):
            written += os.write(descriptor, line[written:])
        if durable:
            os.fdatasync(descriptor)
    except OSError:
        os.ftruncate(descriptor, end)
        raise


def _cut_unfinished(descriptor: int) -> None:
    """Cut a file back to the end of its last whole line."""
    size = os.fstat(descriptor).st_size
    end = size
    while end > 0:
        start = max(0, end - 65536)
        newline = os.pread(descriptor, end - start, start).rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    if end != size:
        os.ftruncate(descriptor, end)
        os.fsync(descriptor)


def read_events(path: Path, but: str = "") -> Iterator[Event]:
    """Read a journal's events, the oldest first; but for those of one name, unread.

    A line that is not whole (a crash, or a run that is writing just now) or not an event as
    it is written here (someone has edited it) is left out; no journal means no events.
    """
    try:
        stream = path.open("rb")
    except (FileNotFoundError, NotADirectoryError):
        return
    unwanted = f'"event":"{but}"'.encode()
    with stream:
        while line := stream.readline(LONGEST_LINE):
            if not line.endswith(b"\n") or (but and unwanted in line[:_NAME_BYTES]):
                continue
            entry = event_of(line)
            if entry is not None:
                yield entry


def last_event(path: Path) -> Event | None:
    """Return the last event of a file of events, without reading what is far before it."""
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            start = max(0, size - _END_BYTES)
            stream.seek(start)
            *lines, _ = stream.read(size - start).split(b"\n")
    except (FileNotFoundError, NotADirectoryError):
        return None
    for line in reversed(lines[1:] if start else lines):
        entry = event_of(line)
        if entry is not None:
            return entry
    last = None
    for last in read_events(path) if start else ():  # noqa: B007 - the last one is wanted
        pass
    return last


def _no_number(name: str) -> Never:
    raise ValueError(f"{name} is no JSON")


_DECODER: Final = json.JSONDecoder(parse_constant=_no_number)


def event_of(line: bytes) -> Event | None:
    """Return the event that a whole line holds, or None."""
    try:
        entry = _DECODER.decode(line.decode())
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) and _is_event(entry) else None


def _is_event(entry: Mapping[str, Any]) -> bool:
    """Say whether a JSON object has what readers of its event rely on."""
    event, step = entry.get("event"), entry.get("step", "x")
    if not isinstance(event, str) or not isinstance(entry.get("t", ""), str):
        return False
    if not isinstance(step, str) or step in ("", ".", "..") or "/" in step or "\0" in step:
        return False  # a step's id names a folder
    if "step" not in entry and event.startswith("step-"):
        return False
    for key, value in entry.items():
        types = _TYPES.get(key)
        if types is not None and not isinstance(value, types):
            return False
        if type(value) is float and types is not None and math.isinf(value):
            return False
    return True
