"""Paths that can be told to other programs, whatever they make of special characters.

XPA and SAMP carry commands as text, which DS9 reads with rules of its own for blanks, quotes,
braces and brackets. So no name is quoted there: a path that is not plain gets a plain one, a
symbolic link in a folder that belongs to this user alone.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
from pathlib import Path
from typing import Final

from ..errors import DataError
from ..folder import file_safe

_PLAIN: Final = re.compile(r"/[A-Za-z0-9_./+-]*")


def plain(path: Path) -> Path:
    """Return a path of letters, digits and ``_ . / + -`` that leads to a file.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    DataError
        If there is no place for a link.
    """
    path = path.absolute()
    if _PLAIN.fullmatch(str(path)):
        return path
    folder = _own_folder()
    mark = hashlib.sha256(str(path).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    link = folder / mark / file_safe(path.name)
    link.parent.mkdir(exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(path)
    return link


def _own_folder() -> Path:
    folder = Path(tempfile.gettempdir()).resolve() / f"casarun-view-{os.getuid()}"
    if not _PLAIN.fullmatch(str(folder)):
        raise DataError(f"{folder}: set TMPDIR to a folder without special characters in its path")
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise DataError(f"{folder} belongs to somebody else: remove it, or set TMPDIR")
    return folder
