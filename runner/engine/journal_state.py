"""What a journal comes to, step by step: read fast, whatever its length.

Most of a journal is what steps were made from, and where they ran. That is asked for only where
a step must run again, or an attempt may still be under way: of such lines the beginning is
looked at, and the rest read when it is asked for.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ..folder import SLICES
from .journal import LONGEST_LINE, Event, event_of

_BEGINNING: Final = re.compile(
    rb'\{"t":"[^"\\\x00-\x1f]*","event":"(?:step-(placed)|step-started)",'
    rb'"step":"(?!\.{1,2}")([^"/\\\x00-\x1f]+)",'
    rb'(?(1)|"fingerprint":"([0-9a-f]+)","attempt":([0-9]+),)'
)
_BUFFER: Final = 1 << 18
_OF_DONE: Final[tuple[str, ...]] = (
    "t", "fingerprint", "wall_s", "cpu_s", "peak_memory_bytes", "writes",
)  # fmt: skip


class Entry:
    """An event of a journal, or where in a file it is.

    Parameters
    ----------
    event : Event, optional
        The event.
    path : Path, optional
        Else, the file.
    place : tuple of int
        Offset and length of its line, in bytes.
    """

    __slots__ = ("_event", "_path", "_place")

    def __init__(
        self, event: Event | None = None, path: Path | None = None, place: tuple[int, int] = (0, 0)
    ) -> None:
        self._event = event
        self._path = path
        self._place = place

    def read(self) -> Event:
        """Return the event; an empty one where it is no longer there, or was never whole."""
        if self._event is not None or self._path is None:
            return self._event or {}
        offset, length = self._place
        try:
            descriptor = os.open(self._path, os.O_RDONLY)
        except OSError:
            return {}
        try:
            return event_of(os.pread(descriptor, length, offset)) or {}
        except OSError:
            return {}
        finally:
            os.close(descriptor)


@dataclass(slots=True)
class StepRecord:
    """What the journal says of one step.

    Attributes
    ----------
    done : Event or None
        Of its last ``step-done`` `t`, `fingerprint`, `wall_s`, `cpu_s`, `peak_memory_bytes` and
        `writes`, with the `fell_back` of its own series of attempts.
    last : str
        The name of its last event.
    message : str
        Why it failed last.
    fingerprint, attempt : str, int
        Of its last ``step-started``.
    fell_back : list of Event
        The ``step-retry`` with a fallback of its last series of attempts, each with the `message`
        of the failure before it.
    made_by, placed_by : Entry or None
        See `made` and `placed`.
    """

    done: Event | None = None
    last: str = ""
    message: str = ""
    fingerprint: str = ""
    attempt: int = 0
    fell_back: list[Event] = field(default_factory=list)
    started_by: Entry | None = None
    made_by: Entry | None = None
    placed_by: Entry | None = None

    @property
    def made(self) -> Event:
        """What the ``step-started`` of its last success said; empty where there is none."""
        return self.made_by.read() if self.made_by else {}

    @property
    def placed(self) -> Event | None:
        """Where its last attempt runs or ran, as long as no end of it is known."""
        return (self.placed_by.read() if self.placed_by else None) or None


@dataclass
class JournalState:
    """What a journal comes to.

    Attributes
    ----------
    steps : dict of str to StepRecord
        By step id.
    runs : list of Event
        All ``run-started`` and ``run-ended``.
    removed : set of str
        Intermediates that were removed when nothing needed them, and not made again since.
    """

    steps: dict[str, StepRecord] = field(default_factory=dict)
    runs: list[Event] = field(default_factory=list)
    removed: set[str] = field(default_factory=set)

    def take(self, event: Event) -> None:
        """Go on by one event."""
        kind = event["event"]
        if kind in {"run-started", "run-ended"}:
            self.runs.append(event)
        elif kind == "product-removed":
            self.removed.add(str(event.get("product", "")))
        if "step" not in event:
            return
        step, entry = event["step"], Entry(event)
        if kind == "step-started":
            self._start(step, entry, event.get("fingerprint", ""), event.get("attempt", 0))
        elif kind == "step-placed":
            self._place(step, entry)
        else:
            self._end(self._record(step, kind), event)

    def _record(self, step: str, kind: str) -> StepRecord:
        record = self.steps.get(step)
        if record is None:
            record = self.steps[step] = StepRecord()
        record.last = kind
        return record

    def _start(self, step: str, entry: Entry, fingerprint: str, attempt: int) -> None:
        record = self._record(step, "step-started")
        record.started_by, record.placed_by = entry, None
        record.fingerprint, record.attempt = fingerprint, attempt
        if attempt == 1:
            record.fell_back = []

    def _place(self, step: str, entry: Entry) -> None:
        self._record(step, "step-placed").placed_by = entry

    def _end(self, record: StepRecord, event: Event) -> None:
        """Take an event that tells how an attempt ended, or that there will be another."""
        kind = record.last
        if kind == "step-done":
            record.done = {key: event[key] for key in _OF_DONE if key in event}
            record.done["fell_back"] = record.fell_back
            record.made_by, record.placed_by = record.started_by, None
            if self.removed:
                self.removed.difference_update(event.get("writes", ()))
        elif kind == "step-failed":
            record.message, record.placed_by = str(event.get("message", "")), None
        elif kind == "step-retry" and "fallback" in event:
            record.fell_back = [*record.fell_back, {**event, "message": record.message}]
        elif kind == "step-interrupted":
            record.placed_by = None

    def take_line(self, line: bytes, path: Path, offset: int) -> None:
        """Go on by one whole line of a file; what is no event is left out."""
        begins = _BEGINNING.match(line)
        if begins is None or not line.endswith(b"}\n"):
            event = event_of(line)
            if event is not None:
                self.take(event)
            return
        step, entry = begins[2].decode(), Entry(path=path, place=(offset, len(line)))
        if begins[1]:
            self._place(step, entry)
        else:
            self._start(step, entry, begins[3].decode(), int(begins[4]))

    @classmethod
    def of(cls, events: Iterable[Event]) -> JournalState:
        """Sum up events."""
        state = cls()
        for event in events:
            state.take(event)
        return state


_last: list[tuple[tuple[Any, ...], JournalState]] = []


def read_state(path: Path, *, alone: bool = False) -> JournalState:
    """Sum up a run's journal; see `casarun.engine.journal.read_events` for what is left out.

    What was read last is kept: a run asks again for a journal that has not grown since. It is
    nobody's to change.

    Parameters
    ----------
    path : Path
        The journal of a run or of one of its slices.
    alone : bool
        Read this file only; by default the run's journal and those of all its slices are summed
        up together. A step is in one of these that is still written, so their order is of no
        account.
    """
    files = [path] if alone else journals(path)
    key = tuple(_mark(file) for file in files)
    if not _last or _last[0][0] != key:
        state = JournalState()
        for file in files:
            _read(state, file)
        _last[:] = [(key, state)]
    return _last[0][1]


def journals(path: Path) -> list[Path]:
    """Return the journal of a run, and those of its slices, from any one of them."""
    above = path.parent
    if above.name != ".casarun" and above.parent.name == SLICES:
        above = above.parent.parent
    return [above / path.name, *sorted((above / SLICES).glob(f"*/{path.name}"))]


def _mark(path: Path) -> tuple[Any, ...]:
    """Return what changes with a file's content."""
    try:
        there = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return (path,)
    return (path, there.st_ino, there.st_size, there.st_mtime_ns, there.st_ctime_ns)


def _read(state: JournalState, path: Path) -> None:
    try:
        stream = path.open("rb", buffering=_BUFFER)
    except (FileNotFoundError, NotADirectoryError):
        return
    offset = 0
    with stream:
        while line := stream.readline(LONGEST_LINE):
            if line.endswith(b"\n"):
                state.take_line(line, path, offset)
            offset += len(line)
