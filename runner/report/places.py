"""What the report reads of a run folder, and how it links to what lies there."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from ..errors import DataError
from ..files import read_json


def load(path: Path) -> dict[str, Any]:
    """Read a JSON object; an empty one where there is none that can be read."""
    try:
        found = read_json(path)
    except (OSError, DataError):
        return {}
    return found if isinstance(found, dict) else {}


def link(path: str) -> str:
    """Return the link from ``qa/index.html`` to a path of the run folder.

    Parameters
    ----------
    path : str
        Relative to the run folder; anything else gives no link.
    """
    pure = PurePosixPath(path)
    if not path or pure.is_absolute() or ".." in pure.parts:
        return ""
    return quote(f"../{pure}")


def relative(path: Path, folder: Path) -> str:
    """Return the link from a page in a folder to a file."""
    return quote(os.fsencode(os.path.relpath(path, folder)))


def require_own(output: Path, data: str, what: str) -> None:
    """Refuse to write a page of its own where something else is.

    Parameters
    ----------
    output : Path
        The folder of the page.
    data : str
        The file by which an earlier page is known.
    what : str
        What the page is.

    Raises
    ------
    DataError
        With what to do.
    """
    if output.exists() and not output.is_dir():
        raise DataError(f"{output} is not a folder; choose another with --output")
    if output.is_dir() and any(output.iterdir()) and not (output / data).is_file():
        raise DataError(
            f"{output} is not empty and holds no earlier {what}; choose another with --output"
        )
