"""Files that survive a crash: atomic writes, states of files and folders, copies.

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
import re
import shutil
import socket
import stat
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import psutil

from .errors import DataError

Json = Any
"""What JSON can hold."""

CONTENT_LIMIT_BYTES: Final = 64_000_000
"""Up to this size a single file is identified by its content."""

JSON_LIMIT_BYTES: Final = 256_000_000
"""No JSON file of a run comes near: a plan of 10,000 steps has 20 MB."""

SAYS_NOTHING: Final = frozenset({"table.lock", "HISTORY"})
"""What CASA changes in tables that it only reads: the lock, and an MS's list of commands."""

_BY_WORDS: Final = frozenset({"table.dat", "table.info"})
"""Small files that CASA (``impbcor`` is one) writes again in tables that it only reads.

They say the same, with keywords in another order and other lengths of records noted: so their size
and the letters of their words are compared, sorted.
"""

_WORDS: Final = re.compile(rb"[ -~]{4,}")
_LETTERS: Final = tuple(bytes((code,)) for code in range(ord(" "), ord("~") + 1))

RACY_NS: Final = 2_000_000_000
"""What changed so short a time before it was looked at may change again within the same tick."""

_NOT_COUNTED: Final = SAYS_NOTHING | _BY_WORDS

_SAMPLES: Final = 64
_SAMPLE_BYTES: Final = 262_144
"""A file up to the product of these two is read whole to know its content."""

_FICLONE: Final = 0x40049409


def now() -> str:
    """Return the present time as ISO 8601 text in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds_since(moment: Json) -> float | None:
    """Return how long ago, in s, a time as `now` gives it was; None where it is no such time."""
    try:
        then = datetime.fromisoformat(str(moment))
        return max(0.0, (datetime.now(UTC) - then).total_seconds())
    except (ValueError, TypeError):
        return None


def sync_folder(path: Path) -> None:
    """Make the entries of a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomic(
    path: Path, content: str | bytes | Iterable[str | bytes], *, durable: bool = True
) -> None:
    """Write a file so that a reader finds the old content or the new, never a part.

    Parameters
    ----------
    path : Path
        The file; its folder is made if need be.
    content : str, bytes or iterable of them
        All of it, or piece by piece; text is written as UTF-8.
    durable : bool
        Wait until it would survive a loss of power. A heartbeat need not.
    """
    pieces = (content,) if isinstance(content, str | bytes) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        temporary.unlink(missing_ok=True)  # of a process of this number that was killed
        with temporary.open("xb") as stream:
            for piece in pieces:
                stream.write(piece.encode() if isinstance(piece, str) else piece)
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


def write_product(path: str | Path, data: Json) -> None:
    """Write data as JSON that a step makes: it becomes durable where all its products do."""
    write_json(Path(path), data, durable=False)


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
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            content = stream.read(min(size, JSON_LIMIT_BYTES) + 1)
            if len(content) > size:  # it grows, or has no size
                content += stream.read(JSON_LIMIT_BYTES)
        if len(content) > JSON_LIMIT_BYTES:
            raise ValueError(f"it is larger than {JSON_LIMIT_BYTES // 1_000_000} MB")
        return json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
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
    lines = sorted(_states(os.fspath(path))) if stat.S_ISDIR(top.st_mode) else [_state("", top)]
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()[:32]


def product_state(path: Path) -> str | None:
    """Tell a product from any other that could come to be in its place.

    Returns
    -------
    str or None
        Three parts with points between: its `signature`; when any of its files was last
        changed in any way (``st_ctime_ns``, which nobody can set back); a digest of its
        content, for files of more than 16 MB from samples. None if there is nothing at `path`.
    """
    quick = signature(path)
    return None if quick is None else f"{quick}.{_last_change(path)}.{_digest(path)}"


def state_now(path: Path, known: Iterable[str]) -> str | None:
    """Return which of the states that a product is known to have had it is in now.

    Content is read only where sizes and modification times are those of a known state, and
    a file was changed since: by someone who set the modification time back, but as well by
    a copy of the run folder, or a change of owner or mode.

    Parameters
    ----------
    path : Path
        The product.
    known : iterable of str
        What `product_state` returned; `signature`, too, which is believed.

    Returns
    -------
    str or None
        One of `known`; else any other text; None if there is nothing at `path`.
    """
    quick = signature(path)
    alike = [state for state in known if state.partition(".")[0] == quick]
    if quick is None or not alike:
        return quick
    changed = _last_change(path)
    for state in alike:
        if state == quick or state.split(".")[1] == changed:
            return state
    content = _digest(path)
    same = (state for state in alike if state.rpartition(".")[2] == content)
    return next(same, f"{quick}.{changed}.{content}")


def _counted(path: Path) -> Iterator[Path]:
    """Yield the files below a path that no task changes which only reads them."""
    if path.is_symlink() or not path.is_dir():
        yield path
        return
    with os.scandir(path) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name not in _NOT_COUNTED:
                yield from _counted(Path(entry.path))


def _last_change(path: Path) -> str:
    return str(max(_changes(os.fspath(path)), default=0))


def _changes(path: str) -> Iterator[int]:
    """Yield the change times of the files that `_counted` yields, in ns."""
    status = os.lstat(path)
    if not stat.S_ISDIR(status.st_mode):
        yield status.st_ctime_ns
        return
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.name in _NOT_COUNTED:
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _changes(entry.path)
            else:
                yield entry.stat(follow_symlinks=False).st_ctime_ns


def _digest(path: Path) -> str:
    """Return a digest of a product's content.

    A checksum for each file is enough against mishaps, and eight times faster than a
    cryptographic one. (Whoever means harm can write the journal, too.)
    """
    whole = hashlib.sha256()
    for file in _counted(path):
        if file.is_file():
            sums = [zlib.crc32(part) for part in _samples(file)]
            whole.update(f"{file.relative_to(path)}\0{sums}\n".encode("utf-8", "surrogateescape"))
    return whole.hexdigest()[:32]


def _samples(file: Path) -> Iterator[bytes]:
    """Yield a file's content; of a large one, evenly spaced parts with both ends."""
    with file.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        if size <= _SAMPLES * _SAMPLE_BYTES:
            while part := stream.read(_SAMPLE_BYTES):
                yield part
            return
        for number in range(_SAMPLES):
            stream.seek(number * (size - _SAMPLE_BYTES) // (_SAMPLES - 1))
            yield stream.read(_SAMPLE_BYTES)


def _state(name: str, status: os.stat_result) -> str:
    return f"{name}\0{status.st_size}\0{status.st_mtime_ns}"


def _states(folder: str, prefix: str = "") -> Iterator[str]:
    """Yield one line for each file, link and folder below `folder`."""
    with os.scandir(folder) as entries:
        for entry in entries:
            name = prefix + entry.name
            if entry.name in SAYS_NOTHING:
                continue
            if entry.is_dir(follow_symlinks=False):
                yield f"{name}/"
                yield from _states(entry.path, f"{name}/")
            elif entry.name in _BY_WORDS and entry.is_file(follow_symlinks=False):
                yield f"{name}\0{_said(entry.path, entry.stat(follow_symlinks=False))}"
            else:
                yield _state(name, entry.stat(follow_symlinks=False))


def _said(path: str, status: os.stat_result) -> str:
    """Return size and letters of a small file; a step looks twice and reads once, if it may."""
    changed_ns = status.st_ctime_ns
    read = _read_words if changed_ns < time.time_ns() - RACY_NS else _read_words.__wrapped__
    return read(path, status.st_ino, status.st_size, status.st_mtime_ns, changed_ns)


@lru_cache(maxsize=1024)
def _read_words(path: str, *look: int) -> str:
    """Return how many bytes a file has, and a digest of the letters of its words, sorted."""
    with Path(path).open("rb", buffering=0) as stream:
        content = stream.read()
    count = b"".join(_WORDS.findall(content)).count
    letters = b"".join([letter * count(letter) for letter in _LETTERS])
    return f"{len(content)}\0{hashlib.sha256(letters).hexdigest()}"


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
        If links in `source` lead round in a circle, or in it is a pipe or a device.
    """
    if source.is_dir():
        _copy_folder(source, target, ())
    else:
        copy_file(source, target)


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
                copy_file(Path(entry.path), target / entry.name)


def copy_file(source: Path, target: Path) -> None:
    """Copy the content of a file, by reflink where the filesystem can.

    Raises
    ------
    FileExistsError
        If there is something at `target`.
    DataError
        If `source` is a pipe or a device: to read one may take for ever.
    """
    if not source.is_file():
        raise DataError(f"cannot copy {source}: it is no regular file")
    if not clone_file(source, target):
        shutil.copyfile(source, target)


def clone_file(source: Path, target: Path) -> bool:
    """Make a file that shares another's content on disk until either is changed (a reflink).

    Returns
    -------
    bool
        Whether the filesystem can; if not, `target` is there, and empty.

    Raises
    ------
    FileExistsError
        If there is something at `target`.
    """
    with source.open("rb") as old, target.open("xb") as new:
        try:
            fcntl.ioctl(new.fileno(), _FICLONE, old.fileno())
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EIO}:
                raise
            return False
    return True


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


def walk(folder: Path, visit: Callable[[Path], bool]) -> None:
    """Visit all entries below a folder, in order; descend where `visit` says so.

    Links are visited and never followed.
    """
    for path in sorted(folder.iterdir()):
        if visit(path) and path.is_dir() and not path.is_symlink():
            walk(path, visit)


def tree_size(path: Path) -> int:
    """Return the size in bytes of a file, or of all files in a folder; 0 if it is not there."""
    if not path.is_dir():
        return path.stat().st_size if path.exists() else 0
    size, waiting = 0, [os.fspath(path)]
    while waiting:
        # What goes away meanwhile has no size.
        with contextlib.suppress(FileNotFoundError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                elif entry.is_file():
                    size += entry.stat(follow_symlinks=False).st_size
    return size


def nearest_existing(path: Path) -> Path:
    """Return a path, or the nearest folder above it that exists."""
    return next(place for place in (path, *path.parents) if place.exists())
