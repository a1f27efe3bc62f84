"""What the report reads of a run folder, and how it links to what lies there."""

from __future__ import annotations

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
