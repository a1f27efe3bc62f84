"""Who has a table locked: casacore says nothing of whom it waits for, the kernel does."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

_LOCK: Final = "table.lock"


@dataclass(frozen=True)
class Holder:
    """A process that has a table locked.

    Attributes
    ----------
    pid : int
        Its number.
    name, user : str
        Its name and whose it is; empty where that cannot be known.
    table : Path
        Which table, or the one that this is a part of.
    """

    pid: int
    name: str
    user: str
    table: Path

    def __str__(self) -> str:
        who = " of ".join(word for word in (self.name, self.user) if word)
        return f"process {self.pid}{f' ({who})' if who else ''}"


def holders(tables: Iterable[Path], group: int, proc: Path = Path("/proc")) -> list[Holder]:
    """Return the processes of this machine that have tables locked.

    casacore locks parts of the file ``table.lock`` of a table (`casacore::LockFile`), also while
    it only has a table open; the kernel lists such locks with the inodes (proc(5), ``locks``).

    Parameters
    ----------
    tables : iterable of Path
        Tables, with those in them, such as MeasurementSets.
    group : int
        A process group whose own locks do not count.
    proc : Path
        Where the kernel tells of processes.

    Returns
    -------
    list of Holder
        Each process once, in the order of their numbers.
    """
    tables_by_inode = {inode: table for table in tables for inode in _inodes(table)}
    found: dict[int, Holder] = {}
    for pid, inode in _locks(proc):
        table = tables_by_inode.get(inode)
        if table is None or pid in found or pid <= 0:
            continue
        with contextlib.suppress(OSError):
            if os.getpgid(pid) == group or not _has_open(proc, pid, table):
                continue
            found[pid] = Holder(pid, *_who(pid), table)
    return [found[pid] for pid in sorted(found)]


def _inodes(table: Path) -> Iterator[int]:
    """Yield the inodes of the lock files of a table and of those in it."""
    for folder, _, files in os.walk(table):
        if _LOCK in files:
            with contextlib.suppress(OSError):
                yield (Path(folder) / _LOCK).stat().st_ino


def _locks(proc: Path) -> Iterator[tuple[int, int]]:
    """Yield process and inode of each lock that is held."""
    try:
        lines = (proc / "locks").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        words = line.split()
        # "1: POSIX  ADVISORY  READ 5433 08:01:7864448 128 128"; one that waits has "->" second.
        if len(words) == 8:
            with contextlib.suppress(ValueError):
                yield int(words[4]), int(words[5].rpartition(":")[2])


def _has_open(proc: Path, pid: int, table: Path) -> bool:
    """Say whether a process has a file of a table open: inodes are of one filesystem only."""
    top = f"{table.resolve()}/"
    try:
        files = list((proc / str(pid) / "fd").iterdir())
    except PermissionError:  # another user's: the inode must do
        return True
    for file in files:
        with contextlib.suppress(OSError):
            if str(file.readlink()).startswith(top):
                return True
    return False


def _who(pid: int) -> tuple[str, str]:
    """Return a process's name and user."""
    try:
        process = psutil.Process(pid)
        return process.name(), process.username()
    except (psutil.Error, KeyError):
        return "", ""
