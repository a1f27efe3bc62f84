"""Files and folders made proof against a loss of power, many at once."""

from __future__ import annotations

import contextlib
import ctypes
import os
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Final

_WRITE: Final = 2
"""SYNC_FILE_RANGE_WRITE of Linux: begin to write what is not on the disk, and do not wait."""

_ALONE_S: Final = 0.01
_AT_ONCE: Final = 16
"""So many files wait together for a disk, or a server, that takes its time with each."""


def begin_to_sync(paths: Iterable[Path]) -> None:
    """Have files, and all in folders, written to the disk from now on, without waiting for it.

    It promises nothing: `sync_trees` does. But that waits for less then, and once: the content of
    all files is on its way together, and belongs to one transaction of the filesystem.
    """
    _begin_all(place for path in paths for place in _to_sync(path))


def sync_trees(paths: Iterable[Path]) -> None:
    """Make files, and folders with all in them, survive a loss of power."""
    left = [place for path in paths for place in _to_sync(path)]
    _begin_all(left)
    until = None
    while left and (until is None or time.monotonic() < until):
        _sync(left.pop())
        # The first one has waited for the content of all. The rest take 0.1 ms each where the disk
        # is near; threads would take more time of a core than that.
        until = until or time.monotonic() + _ALONE_S
    if left:
        _sync_together(left)


def _begin_all(places: Iterable[Path]) -> None:
    begin = _begin()
    for place in places:
        with contextlib.suppress(OSError), _opened(place) as descriptor:
            begin(descriptor)


def _sync_together(places: list[Path]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    try:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(_sync, places))
    except RuntimeError:  # no room for the stack of another thread (ulimit -v)
        for place in places:
            _sync(place)


def _to_sync(path: Path) -> Iterator[Path]:
    """Yield a file, or a folder and all in it, without links."""
    if path.is_dir():
        with os.scandir(path) as entries:
            for entry in entries:
                if not entry.is_symlink():
                    yield from _to_sync(Path(entry.path))
        yield path
    elif path.is_file():
        yield path


def _sync(path: Path) -> None:
    with _opened(path) as descriptor:
        os.fsync(descriptor)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@cache
def _begin() -> Callable[[int], object]:
    """Return what begins to write an open file; where the system has nothing, what does nothing."""
    try:
        call = ctypes.CDLL(None).sync_file_range
    except (OSError, AttributeError):
        return lambda descriptor: None
    call.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return lambda descriptor: call(descriptor, 0, 0, _WRITE)
