"""What tables say of themselves in their plain files, read without CASA."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Final

_HEAD: Final = struct.Struct(">4sI I5s II")
"""Of ``table.dat``: magic, length, length and text of the type, its version, number of rows."""
_MAGIC: Final = b"\xbe\xbe\xbe\xbe"
_ROWS_OF_32_BITS: Final = 2
"""Up to this version of the head, which casacore writes unless there are more rows."""


def what_instead(path: Path) -> str:
    """Say what a path is if it is no calibration table; empty if it is one.

    Parameters
    ----------
    path : Path
        Of something that exists.
    """
    if not path.is_dir():
        return "a file"
    if not (path / "table.dat").is_file():
        return "a folder without table.dat"
    found = table_type(path) or ""
    if found == "Calibration":
        return ""
    return {"Measurement Set": "a MeasurementSet", "Image": "an image"}.get(
        found, f"a table of the type '{found}'" if found else "another table"
    )


def rows(path: Path) -> int | None:
    """Return the number of rows of a table; None where its head is not what casacore writes.

    The head of ``table.dat`` in casacore's AipsIO (casacore, ``PlainTable.cc``).
    """
    try:
        head = _begin(path / "table.dat", _HEAD.size)
    except OSError:
        return None
    if len(head) < _HEAD.size:
        return None
    magic, _, _, kind, version, count = _HEAD.unpack(head)
    known = magic == _MAGIC and kind == b"Table" and version <= _ROWS_OF_32_BITS
    return int(count) if known else None


def table_type(path: Path) -> str | None:
    """Return the type in a table's ``table.info``; None where it has no such file to be read."""
    try:
        text = _begin(path / "table.info", 1000).decode("utf-8", "replace")
    except OSError:
        return None
    match = re.match(r"Type = (.*)", text)
    return match[1].strip() if match else ""


def _begin(path: Path, size: int) -> bytes:
    """Return the first bytes of a file.

    Raises
    ------
    OSError
        If it cannot be read; also of a pipe, on which a reader waits for ever.
    """
    if not path.is_file():
        raise FileNotFoundError(path)
    with path.open("rb") as stream:
        return stream.read(size)
