"""The lock of a run folder: one run at a time works in it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from .errors import LockedError, refuse
from .files import Json, is_alive, now, process_mark, seconds_since
from .quantities import human_seconds

SILENT_S: Final = 300.0
"""A run of another host that wrote no heartbeat for so long may be no more."""

_NO_FLOCK: Final = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP})


class FolderLock:
    """The right to work in a run folder; one process at a time has it.

    The kernel gives the lock back when its holder dies, however it dies. The file's text
    only says who holds it. Where a filesystem has no such locks, a second file holds the
    folder by being there: one that a dead process of this host left is taken over, one of
    another host has to be removed by hand.

    Parameters
    ----------
    path : Path
        The lock file; its folder is made if need be.
    heartbeat : Path, optional
        The holder's status file, which says when it was last heard of.
    of : str, optional
        What is held, for people; by default the run folder that the file is of.
    """

    def __init__(self, path: Path, heartbeat: Path | None = None, of: str = "") -> None:
        self._path = path
        self._heartbeat = heartbeat
        self._of = of or str(path.parent.parent)
        self._claim = path.with_name(f"{path.name}.held")
        self._claimed = False
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock, at once or not at all.

        Raises
        ------
        LockedError
            If another process holds it; the message says which.
        RefusedError
            If the folder cannot be written.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            folder = self._path.parent.parent
            raise refuse(
                f"cannot write in the run folder {folder}: {error.strerror}; "
                "choose another one with --output"
            ) from error
        try:
            self._flock(descriptor)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(_myself()).encode(), 0)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock back."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None
        if self._claimed:
            self._claim.unlink(missing_ok=True)
            self._claimed = False

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()

    def _flock(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise self._held(self._path) from None
        except OSError as error:
            if error.errno not in _NO_FLOCK:
                raise
            self._make_claim()

    def _make_claim(self) -> None:
        """Take the lock by making a file that must not be there, which NFS does as one."""
        if self._claim.exists():
            self._remove_stale_claim()
        try:
            descriptor = os.open(self._claim, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            raise self._held(self._claim) from None
        self._claimed = True
        try:
            os.write(descriptor, json.dumps(_myself()).encode())
        finally:
            os.close(descriptor)

    def _remove_stale_claim(self) -> None:
        """Remove the file of a process of this host that is no more."""
        other = holder(self._claim)
        if other.get("host") != socket.gethostname() or is_alive(other):
            raise self._held(self._claim)
        aside = self._claim.with_name(f".{self._claim.name}.{os.getpid()}")
        with contextlib.suppress(FileNotFoundError):
            self._claim.rename(aside)
            # Another run may have taken it over since it was read.
            if holder(aside) != other:
                aside.rename(self._claim)
            aside.unlink(missing_ok=True)

    def _held(self, file: Path) -> LockedError:
        """Return an error that says by whom the folder is held, and what to do if it is not."""
        other = holder(file)
        said = f"another run works in {self._of}"
        if not other and file == self._path:
            return LockedError(said)  # it has just been taken, and says so in a moment
        if other:
            said += (
                f": process {other.get('pid')} on {other.get('host')}, since {other.get('since')}"
            )
        if other.get("host", "") == socket.gethostname():
            return LockedError(said)
        silent_s = self._silent_s(other)
        if silent_s is not None:
            said += f", last heard of {human_seconds(silent_s)} ago"
        doubtful = silent_s is None or silent_s > SILENT_S
        if doubtful:
            said += f". If that run is no more, remove {file} and run the same command again"
        return LockedError(said, doubtful=doubtful)

    def _silent_s(self, other: dict[str, Json]) -> float | None:
        """Return how long ago, in s, the holder was heard of."""
        times = [seconds_since(other.get("since"))]
        if self._heartbeat is not None:
            times.append(seconds_since(holder(self._heartbeat).get("updated")))
        return min((time for time in times if time is not None), default=None)


@contextlib.contextmanager
def patiently(lock: FolderLock, seconds: float) -> Iterator[None]:
    """Hold a lock; wait for one that is about to be given back.

    Parameters
    ----------
    lock : FolderLock
        Which.
    seconds : float
        How long to wait for it, at most.

    Raises
    ------
    LockedError
        If another process still holds it then.
    """
    until = time.monotonic() + seconds
    while True:
        try:
            lock.acquire()
        except LockedError:
            left_s = until - time.monotonic()
            if left_s <= 0:
                raise
            time.sleep(min(0.2, left_s))
        else:
            break
    try:
        yield
    finally:
        lock.release()


def _myself() -> dict[str, Json]:
    return {"since": now(), **process_mark(os.getpid())}


def holder(path: Path) -> dict[str, Json]:
    """Read who holds, or last held, a `FolderLock`: host, pid, created, since."""
    try:
        with path.open(encoding="utf-8") as stream:
            found = json.loads(stream.read(4096))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
