"""Open casacore tables to read them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .config import configure


@contextmanager
def open_table(path: Path | str) -> Iterator[Any]:
    """Open a casacore table to read it, and close it in any case.

    Parameters
    ----------
    path : Path or str
        The table's folder.

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
    tool.open(str(path))
    try:
        yield tool
    finally:
        tool.close()
