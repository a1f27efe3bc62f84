"""Names that tables have where the recipe gives none."""

from __future__ import annotations

from typing import Any, Final

from ..folder import file_safe

_SUFFIXES: Final = (
    ".gz",
    ".bz2",
    ".xz",
    ".tar",
    ".tgz",
    ".ms",
    ".fits",
    ".uvfits",
    ".uvf",
    ".asdm",
    ".csv",
    ".ecsv",
)
LONGEST: Final = 64
"""Characters of a name, at most."""


def stem(filename: str) -> str:
    """Return a name for the dataset in a file, safe in file names.

    Examples
    --------
    >>> stem("day1.ms.tar.gz")
    'day1'
    >>> stem("12A-256.sb9826039.56051.3")
    '12A-256.sb9826039.56051.3'
    """
    shorter = filename
    while True:
        suffix = next((s for s in _SUFFIXES if shorter.lower().endswith(s)), "")
        if not suffix or len(suffix) == len(shorter):
            return safe(shorter)
        shorter = shorter[: -len(suffix)]


def safe(text: str) -> str:
    """Return a text as a name: file-safe and not too long."""
    return file_safe(text).lstrip("-")[:LONGEST] or "_"


def label(array: str, table: Any) -> str:
    """Return the name by which a table of an array is known, as far as the document tells."""
    if not isinstance(table, dict):
        return ""
    log = table.get("log") if array == "dataset" else None
    name = table.get("name") if log is None else ""  # of each row, not of the table
    if isinstance(name, str) and name:
        return name
    key = {"dataset": "vis", "step": "task", "selfcal": "target"}.get(array, "")
    other = table.get(key) if log is None else log
    if not isinstance(other, str):
        return ""
    return stem(other.rstrip("/").rpartition("/")[2]) if array == "dataset" else other
