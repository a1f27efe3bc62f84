"""Products looked at ahead of who asks, by processes of their own, while a plan is made.

To ask a file for its times takes a microsecond or two, and a run of a thousand datasets has half
a million files. That can be done beside all else that a start does: what is compared are the looks
that products had when they were last looked at (`casarun.engine.seen`), and what comes back is a
byte a product. A process that is killed has said what it has said; the rest is looked at by who
asks.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Never

from .signals import SIGNALS

LEAST: Final = 1000
"""Products; a process for fewer takes longer than it spares."""

_BATCH: Final = 128
"""Products that are told of at once, in one write that is whole or not there."""

_MOST_WORKERS: Final = 4
_SAME: Final = 1
_LINE: Final = 65536

Look = Callable[[str], tuple[str, int]]


def spare_cores(products: int, waiting: bool) -> int:
    """Return how many processes are worth it: none for few products.

    With `waiting` the one that is looked for does little meanwhile.
    """
    spare = len(os.sched_getaffinity(0)) - (not waiting)
    return min(spare, _MOST_WORKERS) if products >= LEAST else 0


class Ahead:
    """Compares how products look with how they looked, in processes beside this one.

    Parameters
    ----------
    marks : mapping of str to str
        How each product looked, by its absolute path, in the order in which they will be asked for.
    look : callable
        Returns how a product looks now, given its path.
    also : callable
        What else to do there, after that; returns a line of text.
    workers : int
        How many processes.
    """

    def __init__(
        self, marks: Mapping[str, str], look: Look, also: Callable[[], str], workers: int
    ) -> None:
        self._marks = marks
        self._place = {path: place for place, path in enumerate(marks)}
        todo = list(marks.items())
        batches = [todo[n : n + _BATCH] for n in range(0, len(todo), _BATCH)]
        self._workers: list[_Worker] = []
        try:
            for n in range(workers):
                last = also if n == workers - 1 else str
                self._workers.append(_Worker(batches[n::workers], look, last))
        except OSError:  # too many processes, or no memory for one more
            self.close()

    def __bool__(self) -> bool:
        """Whether anything is looked at."""
        return bool(self._workers)

    def is_same(self, path: str, mark: str) -> bool:
        """Say whether a product looks as it did; also no where that is not known."""
        if not self._workers or self._marks.get(path) != mark:
            return False
        batch, place = divmod(self._place[path], _BATCH)
        round_, worker = divmod(batch, len(self._workers))
        return self._workers[worker].told(round_)[place : place + 1] == bytes((_SAME,))

    def all_same(self) -> bool:
        """Say whether all products look as they did; also no where that is not known of one."""
        return bool(self._workers) and all(worker.all_same() for worker in self._workers)

    def said(self) -> str | None:
        """Return the line that was made there, waiting for it; None if it never came."""
        return self._workers[-1].said() if self._workers else None

    def close(self) -> None:
        """End the processes; from now on nothing is known."""
        for worker in self._workers:
            worker.end()
        self._workers = []


class _Worker:
    """A process that looks at products, and what it has told of them.

    Parameters
    ----------
    batches : sequence of sequence of (str, str)
        Absolute paths and marks.
    look, also : callable
        See `Ahead`.
    """

    def __init__(
        self, batches: Sequence[Sequence[tuple[str, str]]], look: Look, also: Callable[[], str]
    ) -> None:
        self._told: list[bytes] = []
        self._said = b""
        self._lengths = [len(batch) for batch in batches]
        self._receive, send = os.pipe()
        try:
            self.pid = os.fork()
        except OSError:
            os.close(self._receive)
            raise
        else:
            if not self.pid:
                _work(batches, look, also, send)
        finally:
            os.close(send)

    def told(self, number: int) -> bytes:
        """Return a byte for each product of a batch, waiting for it; none if they never came."""
        while len(self._told) <= number:
            wanted = self._lengths[len(self._told)]
            said = os.read(self._receive, wanted)
            if len(said) != wanted:  # it is no more
                self._told += [b""] * (len(self._lengths) - len(self._told))
            else:
                self._told.append(said)
        return self._told[number]

    def all_same(self) -> bool:
        """Say whether all of its products look as they did, waiting for it."""
        return all(
            self.told(number) == bytes((_SAME,)) * wanted
            for number, wanted in enumerate(self._lengths)
        )

    def said(self) -> str | None:
        """Return the line that came after all batches; None if it never came."""
        if self._lengths:
            self.told(len(self._lengths) - 1)
        while part := os.read(self._receive, _LINE):
            self._said += part
        return self._said[:-1].decode() if self._said.endswith(b"\n") else None

    def end(self) -> None:
        """End the process, if it still runs."""
        os.close(self._receive)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


def _work(
    batches: Sequence[Sequence[tuple[str, str]]], look: Look, also: Callable[[], str], send: int
) -> Never:
    """Look and tell, in a process that holds nothing of who made it: neither lock nor pipe.

    It ends when nobody listens any more.
    """
    try:
        gc.disable()
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        for file in [int(place.name) for place in Path("/proc/self/fd").iterdir()]:
            if file > 2 and file != send:
                with contextlib.suppress(OSError):  # of the listing itself
                    os.close(file)
        for batch in batches:
            os.write(send, bytes(_looks(path, look) == mark for path, mark in batch))
        os.write(send, f"{also()}\n".encode())
    except BaseException:
        os._exit(1)
    os._exit(0)


def _looks(path: str, look: Look) -> str:
    try:
        return look(path)[0]
    except OSError:
        return ""
