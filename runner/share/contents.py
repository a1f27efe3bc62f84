"""What of a run folder leaves it: files, and CASA's tables as folders."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..errors import DataError
from ..folder import RunFolder

LIGHT: Final = ("scripts", "docs", "qa", "logs", "caltables")
"""Folders of which all goes along; of the others, what is not large."""

HEAVY: Final = ("raw", "calibrated", "images")
_LIGHT_FILES: Final = (".fits", ".json", ".ecsv", ".xml", ".reg")
_FOLDERS: Final = ("logs", "qa/data", "qa/plots", "docs/recipes")
"""Folders of many small files, which are told as one."""

_SCRATCH: Final = ("images/chunks", "images/pieces")
_BLOCK: Final = 2**20


@dataclass(frozen=True)
class Part:
    """A file or, with all that is in it, a folder.

    Attributes
    ----------
    name : str
        Its path from the run folder; a folder's ends in ``/``.
    path : Path
        Where it is.
    """

    name: str
    path: Path

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return self.name.endswith("/")

    def files(self) -> Iterator[tuple[str, Path]]:
        """Yield its files with their paths from the run folder, in order.

        Raises
        ------
        DataError
            If something in it is neither file nor folder.
        """
        if not self.is_folder:
            yield self.name, self.path
            return
        for path in _walk(self.path):
            yield f"{self.name}{path.relative_to(self.path)}", path


def parts(folder: RunFolder, *, everything: bool) -> list[Part]:
    """Return what leaves a run, in the order of its names.

    Parameters
    ----------
    folder : RunFolder
        Of the run.
    everything : bool
        With MeasurementSets and CASA's images, not FITS files alone.

    Raises
    ------
    DataError
        If something is neither file nor folder, such as a symbolic link.
    """
    found: list[Part] = []
    for top in (*LIGHT, *HEAVY):
        if (folder.root / top).is_dir():
            whole = everything or top in LIGHT
            found += [part for part in _below(folder.root, top) if whole or _is_light(part)]
    journal = folder.journal  # with which what was unpacked is a run that can be compared
    found += [Part(str(journal.relative_to(folder.root)), journal)] if journal.is_file() else []
    return sorted(found, key=lambda part: part.name)


def _is_light(part: Part) -> bool:
    return part.name.endswith(_LIGHT_FILES)


def _below(root: Path, folder: str) -> Iterator[Part]:
    path = root / folder
    if folder in _FOLDERS or (path / "table.dat").is_file():
        yield Part(f"{folder}/", path)
        return
    if folder in _SCRATCH:
        return
    for entry in sorted(path.iterdir()):
        if entry.name.startswith("."):
            continue
        name = f"{folder}/{entry.name}"
        if _is_folder(entry):
            yield from _below(root, name)
        else:
            yield Part(name, entry)


def _walk(folder: Path) -> Iterator[Path]:
    for entry in sorted(folder.iterdir()):
        if _is_folder(entry):
            yield from _walk(entry)
        else:
            yield entry


def _is_folder(path: Path) -> bool:
    """Tell a folder from a file.

    Raises
    ------
    DataError
        If it is neither.
    """
    mode = path.lstat().st_mode
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        what = "a symbolic link" if stat.S_ISLNK(mode) else "no regular file"
        raise DataError(f"{path} is {what}, which cannot leave a run; remove it")
    return stat.S_ISDIR(mode)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest(part: Part) -> str:
    """Return the SHA-256 of a part; of a folder, of the lines that ``sha256sum`` writes of it.

    That is ``cd FOLDER && find . -type f | LC_ALL=C sort | xargs sha256sum | sha256sum``.
    """
    if not part.is_folder:
        return sha256(part.path)
    lines = hashlib.sha256()
    files = [(os.fsencode(path.relative_to(part.path)), path) for path in _walk(part.path)]
    for name, path in sorted(files):
        lines.update(sha256(path).encode("ascii") + b"  ./" + name + b"\n")
    return lines.hexdigest()


def size(part: Part) -> int:
    """Return the bytes of a part."""
    return sum(path.stat().st_size for _, path in part.files())
