"""What products looked like when they were last looked at, so that unchanged ones are not read.

`casarun.files.state_now` reads the small files that CASA writes again in tables that it only
reads, and content where a change time is new. A product all of whose files have the sizes,
modification and change times that they had when its state was last found is in that state still:
nobody can set a change time back. The memory is a file of its own, which may be lost at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import time
import zlib
from collections.abc import Callable, Collection
from pathlib import Path

from ..files import RACY_NS, SAYS_NOTHING, identity, state_now, write_atomic
from ..folder import RunFolder
from .ahead import Ahead, spare_cores


class Seen:
    """Finds the states of products, with a memory.

    Parameters
    ----------
    folder : RunFolder
        Whose products.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._root = folder.root
        self._path = folder.seen
        self._now = _read(folder.seen)
        self._ahead = _ahead.get(folder.root)
        self._changed = False

    def state(self, path: str, known: Collection[str]) -> str | None:
        """Return which of its known states a product is in; see `casarun.files.state_now`."""
        whole = f"{self._root}/{path}"
        before = self._now.get(path)
        if before is not None and before[1] in known and self._is_same(whole, before[0]):
            return before[1]
        mark, newest_ns = look(whole)
        if before is not None and before[0] == mark and before[1] in known:
            return before[1]
        self._changed |= bool(mark) or before is not None
        self._now.pop(path, None)
        if not mark:
            return None
        found = state_now(self._root / path, known)
        if found in known and newest_ns < time.time_ns() - RACY_NS:
            self._now[path] = [mark, str(found)]
        return found

    def identity(self, path: str) -> str:
        """Return the identity of an input, by its absolute path; see `casarun.files.identity`.

        Raises
        ------
        DataError
            If it does not exist or cannot be read.
        """
        real = os.path.realpath(path)
        before = self._now.get(path)
        if before is not None and self._is_same(real, before[0]):
            return before[1]
        mark, newest_ns = look(real)
        if before is not None and before[0] == mark:
            return before[1]
        self._changed = True
        self._now.pop(path, None)
        found = identity(Path(path))
        if newest_ns < time.time_ns() - RACY_NS:
            self._now[path] = [mark, found]
        return found

    def _is_same(self, path: str, mark: str) -> bool:
        """Say whether it is known already that a path looks as it did."""
        return self._ahead is not None and self._ahead.is_same(path, mark)

    def remembers(self, paths: Collection[str]) -> bool:
        """Forget all but some products and inputs; say whether these are all remembered."""
        strange = [path for path in self._now if path not in paths]
        for path in strange:
            del self._now[path]
        self._changed |= bool(strange)
        return len(self._now) == len(paths)

    def keep(self) -> None:
        """Write the memory, if it is another now; that it cannot be written is no matter."""
        if self._changed and self._path.parent.is_dir():
            text = json.dumps(self._now, separators=(",", ":")).encode()
            with contextlib.suppress(OSError):
                write_atomic(self._path, b"%08x\n%b" % (zlib.crc32(text), text), durable=False)
                _last[:] = [(_key(self._path), self._now)]


_ahead: dict[Path, Ahead] = {}
"""Who looks at the products of a run folder ahead of who asks, while nothing changes them."""


def look_ahead(
    folder: RunFolder, first: Collection[str], also: Callable[[], str], *, waiting: bool = False
) -> bool:
    """Look at all that is remembered of a run folder, beside what the caller does meanwhile.

    The caller holds the folder, and sees to it that `products_change` is called.

    Parameters
    ----------
    folder : RunFolder
        Whose products and inputs.
    first : collection of str
        Which of them are asked for first, as plans name them.
    also : callable
        What else to do there, after that; see `casarun.engine.ahead.Ahead`.
    waiting : bool
        The caller does little meanwhile, so that all cores may look.

    Returns
    -------
    bool
        Whether it is worth it, and begun.
    """
    known = _read(folder.seen)
    workers = spare_cores(len(known), waiting)
    if workers:
        marks = {}
        for path in dict.fromkeys((*(path for path in first if path in known), *known)):
            place = os.path.realpath(path) if path.startswith("/") else f"{folder.root}/{path}"
            marks[place] = known[path][0]
        _ahead[folder.root] = Ahead(marks, look, also, workers)
    return is_looking_ahead(folder)


def is_looking_ahead(folder: RunFolder) -> bool:
    """Say whether what a run folder holds is looked at beside what is done here."""
    return bool(_ahead.get(folder.root))


def all_same_ahead(folder: RunFolder) -> bool:
    """Say whether all that is remembered looks as it did; also no where nobody looked ahead."""
    return folder.root in _ahead and _ahead[folder.root].all_same()


def said_ahead(folder: RunFolder) -> str | None:
    """Return what else was done ahead; None if it was not done."""
    return _ahead[folder.root].said() if folder.root in _ahead else None


def products_change(folder: RunFolder) -> None:
    """Forget what was looked at ahead: from now on products change."""
    if folder.root in _ahead:
        _ahead.pop(folder.root).close()


_last: list[tuple[tuple[object, ...], dict[str, list[str]]]] = []
"""What was read or written last, and the file that it is of: a run asks several times."""


def _key(path: Path) -> tuple[object, ...]:
    there = path.stat()
    return (path, there.st_ino, there.st_size, there.st_mtime_ns, there.st_ctime_ns)


def _read(path: Path) -> dict[str, list[str]]:
    """Return what was seen before; nothing where that is not as it was written."""
    try:
        key = _key(path)
        if not _last or _last[0][0] != key:
            _last[:] = [(key, _parsed(path))]
    except OSError:
        return {}
    return _last[0][1]


def _parsed(path: Path) -> dict[str, list[str]]:
    try:
        check, _, text = path.read_bytes().partition(b"\n")
        found: dict[str, list[str]] = json.loads(text) if int(check, 16) == zlib.crc32(text) else {}
    except (ValueError, RecursionError):
        return {}
    return found


def look(path: str) -> tuple[str, int]:
    """Return a digest of how all files of a product look, and when any was last changed, in ns.

    Without ``table.lock`` and ``HISTORY``, which tasks change that only read a table. Empty where
    there is nothing.
    """
    try:
        top = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return "", 0
    lines = [f"\0{top.st_mode}\0{top.st_ino}"]
    newest_ns = top.st_ctime_ns
    if stat.S_ISDIR(top.st_mode):
        waiting = [(path, "")]
        while waiting:
            folder, prefix = waiting.pop()
            with os.scandir(folder) as entries:
                for entry in entries:
                    name = entry.name
                    if name in SAYS_NOTHING:
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        lines.append(f"{prefix}{name}/")
                        waiting.append((entry.path, f"{prefix}{name}/"))
                        continue
                    found = entry.stat(follow_symlinks=False)
                    changed_ns = found.st_ctime_ns
                    if changed_ns > newest_ns:  # faster than max, of half a million files
                        newest_ns = changed_ns
                    lines.append(
                        f"{prefix}{name}\0{found.st_size}\0{found.st_mtime_ns}\0{changed_ns}"
                    )
        lines.sort()
    else:
        lines.append(f"{top.st_size}\0{top.st_mtime_ns}\0{top.st_ctime_ns}")
    text = "\n".join(lines).encode("utf-8", "surrogateescape")
    return hashlib.blake2b(text, digest_size=16).hexdigest(), newest_ns
