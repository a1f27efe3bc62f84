"""Open casacore tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .config import configure


@contextmanager
def open_table(path: Path | str, *, change: bool = False) -> Iterator[Any]:
    """Open a casacore table, and close it in any case.

    Parameters
    ----------
    path : Path or str
        The table's folder.
    change : bool
        To change it; by default to read it.

    Yields
    ------
    casatools.table
        The open table.

    Raises
    ------
    RuntimeError
        From casacore, if it cannot be opened.
    """
    configure()
    from casatools import table

    tool = table()
    tool.open(str(path), nomodify=not change)
    try:
        yield tool
    finally:
        tool.close()
