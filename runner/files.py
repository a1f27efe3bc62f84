"""Files that survive a crash: atomic writes, states of files and folders, copies, locks.

Whatever is written here is either there whole or not there. Hard links are never made:
casacore writes through them into the data they were made from.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import socket
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import psutil

from .errors import DataError, LockedError, refuse

Json = Any
"""What JSON can hold."""

CONTENT_LIMIT_BYTES: Final = 64_000_000
"""Up to this size a single file is identified by its content."""

_SAYS_NOTHING: Final = frozenset({"table.lock", "HISTORY"})
"""What CASA changes in tables that it only reads: the lock, and an MS's list of commands."""

_BY_BYTES: Final = frozenset({"table.dat", "table.info"})
"""Small files that CASA (``impbcor`` is one) writes again in tables that it only reads.

They say the same, with keywords in another order: so their bytes are compared, sorted.
"""

_FICLONE: Final = 0x40049409


def now() -> str:
    """Return the present time as ISO 8601 text in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def sync_folder(path: Path) -> None:
    """Make the entries of a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomic(path: Path, content: str | bytes, *, durable: bool = True) -> None:
    """Write a file so that a reader finds the old content or the new, never a part.

    Parameters
    ----------
    path : Path
        The file; its folder is made if need be.
    content : str or bytes
        All of it; text is written as UTF-8.
    durable : bool
        Wait until it would survive a loss of power. A heartbeat need not.
    """
    data = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            if durable:
                os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)


def write_json(path: Path, data: Json, *, durable: bool = True) -> None:
    """Write data as indented JSON, atomically; see `write_atomic`."""
    write_atomic(path, json.dumps(data, indent=1, default=str) + "\n", durable=durable)


def read_json(path: Path) -> Json:
    """Read a JSON file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DataError
        If it does not hold JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} does not hold JSON: {error}") from error


def identity(path: Path) -> str:
    """Tell an input from any other, whatever its name or place.

    Parameters
    ----------
    path : Path
        A file or folder. A file of up to 64 MB is known by its content, a larger one and a
        folder by the sizes and modification times of the files in it (without table.lock).

    Returns
    -------
    str
        32 hexadecimal digits.

    Raises
    ------
    DataError
        If it does not exist or cannot be read.
    """
    try:
        size = path.stat().st_size
        if path.is_file() and size <= CONTENT_LIMIT_BYTES:
            with path.open("rb") as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest()[:32]
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    found = signature(path)
    if found is None:
        raise DataError(f"cannot read {path}: it disappeared")
    return found


def signature(path: Path) -> str | None:
    """Tell quickly whether a product is still as it was left.

    Returns
    -------
    str or None
        32 hexadecimal digits from the names, sizes and modification times of all files below
        `path`, or None if there is nothing at `path`. What CASA touches in tables that it only
        reads does not count: table.lock, HISTORY, and the times of table.dat and table.info.
    """
    try:
        top = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    lines = sorted(_states(path)) if stat.S_ISDIR(top.st_mode) else [_state("", top)]
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _state(name: str, status: os.stat_result) -> str:
    return f"{name}\0{status.st_size}\0{status.st_mtime_ns}"


def _states(folder: Path, prefix: str = "") -> Iterator[str]:
    """Yield one line for each file, link and folder below `folder`."""
    with os.scandir(folder) as entries:
        for entry in entries:
            name = prefix + entry.name
            if entry.name in _SAYS_NOTHING:
                continue
            if entry.is_dir(follow_symlinks=False):
                yield f"{name}/"
                yield from _states(Path(entry.path), f"{name}/")
            elif entry.name in _BY_BYTES and entry.is_file(follow_symlinks=False):
                content = bytes(sorted(Path(entry.path).read_bytes()))
                yield f"{name}\0{hashlib.sha256(content).hexdigest()}"
            else:
                yield _state(name, entry.stat(follow_symlinks=False))


def copy_tree(source: Path, target: Path) -> None:
    """Copy a file or folder: content only, by reflink where the filesystem can.

    Symbolic links are replaced by what they point to, so that no change of the copy can
    reach the source. Owners, modes and times are not kept.

    Parameters
    ----------
    source, target : Path
        `target` must not exist.

    Raises
    ------
    FileExistsError
        If there is something at `target`.
    DataError
        If links in `source` lead round in a circle.
    """
    if source.is_dir():
        _copy_folder(source, target, ())
    else:
        _copy_file(source, target)


def _copy_folder(source: Path, target: Path, above: tuple[Path, ...]) -> None:
    real = source.resolve()
    if real in above:
        raise DataError(f"cannot copy {source}: its links lead round in a circle")
    target.mkdir(parents=not above)
    with os.scandir(source) as entries:
        for entry in entries:
            if entry.is_dir():
                _copy_folder(Path(entry.path), target / entry.name, (*above, real))
            else:
                _copy_file(Path(entry.path), target / entry.name)


def _copy_file(source: Path, target: Path) -> None:
    with source.open("rb") as old, target.open("xb") as new:
        try:
            fcntl.ioctl(new.fileno(), _FICLONE, old.fileno())
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EIO}:
                raise
        else:
            return
    shutil.copyfile(source, target)


def remove_tree(path: Path) -> None:
    """Remove a file, a folder with all in it, or a link; never what a link points to."""
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    if stat.S_ISDIR(mode):
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


class FolderLock:
    """The right to work in a run folder; one process at a time has it.

    The kernel gives the lock back when its holder dies, however it dies. The file's text
    only says who holds it.

    Parameters
    ----------
    path : Path
        The lock file; its folder is made if need be.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
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
            raise self._held(holder(self._path)) from None
        except OSError as error:
            # Some cluster filesystems have no flock: then the text has to do.
            if error.errno not in {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}:
                raise
            other = holder(self._path)
            if other and (other.get("host") != socket.gethostname() or is_alive(other)):
                raise self._held(other) from None

    def _held(self, other: dict[str, Json]) -> LockedError:
        folder = self._path.parent.parent
        if not other:
            return LockedError(f"another run works in {folder}")
        return LockedError(
            f"another run works in {folder}: process {other.get('pid')} on "
            f"{other.get('host')}, since {other.get('since')}"
        )


def _myself() -> dict[str, Json]:
    return {"since": now(), **process_mark(os.getpid())}


def process_mark(pid: int) -> dict[str, Json]:
    """Describe a process so that `is_alive` can tell it from a later one with its number."""
    mark: dict[str, Json] = {"host": socket.gethostname(), "pid": pid}
    with contextlib.suppress(psutil.Error):
        mark["created"] = psutil.Process(pid).create_time()
    return mark


def is_alive(mark: dict[str, Json]) -> bool:
    """Say whether the process of a `process_mark` still runs on this host."""
    if mark.get("host") != socket.gethostname():
        return False
    try:
        process = psutil.Process(int(mark["pid"]))
        created = process.create_time()
        ended = process.status() == psutil.STATUS_ZOMBIE
    except (psutil.Error, KeyError, TypeError, ValueError):
        return False
    return not ended and abs(created - float(mark.get("created", created))) < 0.1


def holder(path: Path) -> dict[str, Json]:
    """Read who holds, or last held, a `FolderLock`: host, pid, created, since."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def walk(folder: Path, visit: Callable[[Path], bool]) -> None:
    """Visit all entries below a folder, in order; descend where `visit` says so.

    Links are visited and never followed.
    """
    for path in sorted(folder.iterdir()):
        if visit(path) and path.is_dir() and not path.is_symlink():
            walk(path, visit)


def tree_size(path: Path) -> int:
    """Return the size in bytes of a file, or of all files in a folder; 0 if it is not there."""
    if path.is_dir():
        return sum(entry.lstat().st_size for entry in path.rglob("*") if entry.is_file())
    return path.stat().st_size if path.exists() else 0


def nearest_existing(path: Path) -> Path:
    """Return a path, or the nearest folder above it that exists."""
    return next(place for place in (path, *path.parents) if place.exists())
