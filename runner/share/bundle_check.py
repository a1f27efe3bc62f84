"""Is a bundle as it was packed? Archives come from others: nothing in one is trusted."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import unquote

from ..errors import DataError
from ..files import nearest_existing, remove_tree, tree_size
from . import bundle, crate, manifest

_BLOCK: Final = 2**20
_MOST_FILES: Final = 1_000_000
_LARGEST_JSON: Final = 200_000_000
_NEEDED: Final = (crate.NAME, bundle.RECIPE, "scripts/plan.json")

Open = Callable[[], IO[bytes]]


@dataclass(frozen=True)
class Found:
    """What there is in a bundle.

    Attributes
    ----------
    files : mapping
        What opens a file, by its path.
    wrong : tuple of str
        What is there and may not be, in words.
    bytes : int
        How large all files are when they are unpacked.
    """

    files: Mapping[str, Open]
    wrong: tuple[str, ...]
    bytes: int


@contextmanager
def opened(path: Path) -> Iterator[Found]:
    """Look into a bundle, an archive or a folder that it was unpacked to.

    Raises
    ------
    DataError
        If it is neither.
    """
    if path.is_dir():
        yield _in_folder(path)
        return
    if path.exists() and not path.is_file():
        raise DataError(f"{path} is no regular file")
    try:
        with zipfile.ZipFile(path) as archive:
            yield _in_archive(archive)
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file or folder") from error
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise DataError(f"{path} is no bundle that can be read: {error}") from error


def _in_archive(archive: zipfile.ZipFile) -> Found:
    files: dict[str, Open] = {}
    wrong: list[str] = []
    entries = [entry for entry in archive.infolist() if entry.filename != ".casarun/"]
    if len(entries) > _MOST_FILES:
        raise DataError(f"the bundle has {len(entries)} files, more than {_MOST_FILES}")
    for entry in entries:
        why = manifest.why_unsafe(entry.filename)
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if why:
            wrong.append(f"{entry.filename!r} {why}")
        elif kind == stat.S_IFLNK:
            wrong.append(f"{entry.filename} is a symbolic link")
        elif kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            wrong.append(f"{entry.filename} is a device or a pipe")
        elif entry.filename in files:
            wrong.append(f"{entry.filename} is there twice")
        elif not entry.is_dir():
            files[entry.filename] = lambda entry=entry: archive.open(entry)  # type: ignore[misc]
    return Found(files, tuple(wrong), sum(entry.file_size for entry in entries))


def _in_folder(root: Path) -> Found:
    files: dict[str, Open] = {}
    wrong: list[str] = []
    for top, folders, names in os.walk(root):
        here = Path(top)
        if here == root:  # what was made again in it
            folders[:] = [name for name in folders if name != "runs"]
        if here == root / ".casarun":  # what casarun keeps for itself once it has looked into it
            folders[:], names[:] = [], [name for name in names if name == "journal.jsonl"]
        for name in [*folders, *names]:
            path = here / name
            relative, mode = str(path.relative_to(root)), path.lstat().st_mode
            if stat.S_ISLNK(mode):
                wrong.append(f"{relative} is a symbolic link")
            elif stat.S_ISREG(mode):
                files[relative] = lambda path=path: path.open("rb")  # type: ignore[misc]
            elif not stat.S_ISDIR(mode):
                wrong.append(f"{relative} is a device or a pipe")
    return Found(files, tuple(wrong), tree_size(root))


def problems(found: Found) -> list[str]:
    """Return what is wrong with a bundle; empty if it is as it was packed.

    Checked are paths and kinds of all entries, each file's checksum, that no file is missing or
    new, and that the description names the same checksums.
    """
    wrong = list(found.wrong)
    try:
        sums = manifest.read(_text(found, manifest.NAME, manifest.LARGEST_BYTES))
    except DataError as error:
        return [*wrong, str(error)]
    wrong += [f"{name} is not in the bundle" for name in _NEEDED if name not in sums]
    for name, wanted in sums.items():
        if name not in found.files:
            wrong.append(f"{name} is missing")
        elif _sha256(found.files[name]) != wanted:
            wrong.append(f"{name} is not as it was packed")
    extra = sorted(found.files.keys() - sums.keys() - {manifest.NAME})
    wrong += [f"{name} was not packed" for name in extra]
    return wrong or _described_wrong(found, sums)


def _sha256(open_: Open) -> str:
    digest = hashlib.sha256()
    try:
        with open_() as stream:
            while content := stream.read(_BLOCK):
                digest.update(content)
    except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, NotImplementedError) as error:
        return f"cannot be read: {error}"
    return digest.hexdigest()


def _text(found: Found, name: str, limit: int) -> str:
    if name not in found.files:
        raise DataError(f"it has no {name}: it is no bundle of casarun")
    with found.files[name]() as stream:
        content = stream.read(limit + 1)
    if len(content) > limit:
        raise DataError(f"{name} is larger than {limit // 1_000_000} MB")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{name} is no text: {error}") from None


def read(found: Found, name: str) -> Any:
    """Return what a JSON file of a bundle holds.

    Raises
    ------
    DataError
        If it holds none.
    """
    try:
        return json.loads(_text(found, name, _LARGEST_JSON))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name} does not hold JSON: {error}") from None


def _described_wrong(found: Found, sums: Mapping[str, str]) -> list[str]:
    """Return where the description is not that of these files."""
    try:
        graph = {one["@id"]: one for one in read(found, crate.NAME)["@graph"]}
        root = graph["./"]
        parts = [graph[one["@id"]] for one in _listed(root["hasPart"])]
        main = root["mainEntity"]["@id"]
    except (DataError, LookupError, TypeError) as error:
        return [f"{crate.NAME} is no description of a run: {error}"]
    wrong = [] if main == bundle.RECIPE else [f"{crate.NAME} does not name {bundle.RECIPE}"]
    for part in parts:
        name = unquote(str(part["@id"])).removeprefix("./")
        if name.endswith("/"):
            if not any(path.startswith(name) for path in sums):
                wrong.append(f"{crate.NAME} has {name}, which was not packed")
        elif sums.get(name) != part.get("sha256"):
            wrong.append(f"{crate.NAME} has another checksum of {name}")
    return wrong


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def unpack(found: Found, target: Path) -> None:
    """Write the files of a bundle that was found in order into a new folder.

    Each is held against its checksum once more while it is written.

    Raises
    ------
    DataError
        If the folder is there, or the bundle changed meanwhile.
    """
    sums = manifest.read(_text(found, manifest.NAME, manifest.LARGEST_BYTES))
    free = shutil.disk_usage(nearest_existing(target)).free
    if found.bytes > free:
        raise DataError(
            f"the bundle takes {found.bytes / 1e9:.3g} GB, and {free / 1e9:.3g} GB are free"
        )
    try:
        target.mkdir(parents=True)
    except FileExistsError as error:
        raise DataError(f"{target} is there already; name a new folder") from error
    try:
        for name, open_ in found.files.items():
            path = target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with open_() as source, path.open("xb") as stream:
                digest = bundle.copied(source, stream)
            if name != manifest.NAME and digest != sums.get(name):
                raise DataError(f"{name} changed while it was unpacked")
    except BaseException:
        remove_tree(target)
        raise
