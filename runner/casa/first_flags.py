"""The flags that an MS had before self-calibration, kept in it so that a round can be undone.

Solutions that failed and antennas without signal become flags in the working MS. Each round
begins with the flags as they first were: what a rejected one flagged is data again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from .tables import open_table

COLUMNS: Final = {"FLAG": "SELFCAL_FIRST_FLAG", "FLAG_ROW": "SELFCAL_FIRST_FLAG_ROW"}
"""The columns with flags, and where they are kept."""

_ROWS: Final = 20_000


def keep_or_restore(vis: Path | str) -> None:
    """Keep the flags of an MS if that was not done before; else put them back.

    Parameters
    ----------
    vis : Path or str
        The MS; it is changed.
    """
    with open_table(vis, change=True) as main:
        kept = set(COLUMNS.values()) <= set(main.colnames())
        for column, copy in COLUMNS.items():
            if not kept:
                _add_column(main, column, copy)
        for part in _windows(main):
            for start in range(0, int(part.nrows()), _ROWS):
                _transfer(part, start, back=kept)


def unchanged(vis: Path | str) -> bool:
    """Tell whether the flags of an MS are known to be those before self-calibration.

    Parameters
    ----------
    vis : Path or str
        The MS; it is read only.
    """
    with open_table(vis) as main:
        if not set(COLUMNS.values()) <= set(main.colnames()):
            return False
        return all(
            np.array_equal(part.getcol(column, start, _ROWS), part.getcol(copy, start, _ROWS))
            for part in _windows(main)
            for start in range(0, int(part.nrows()), _ROWS)
            for column, copy in COLUMNS.items()
        )


def _add_column(main: Any, column: str, copy: str) -> None:
    if copy in main.colnames():
        return
    description = main.getcoldesc(column)
    description["comment"] = f"{column} before self-calibration"
    manager = {"NAME": copy, "TYPE": "StandardStMan", "SPEC": {}, "COLUMNS": [copy]}
    main.addcols({copy: description}, {"*1": manager})


def _windows(main: Any) -> Iterator[Any]:
    """Yield the rows of each data description: of one shape."""
    for ddid in sorted(set(main.getcol("DATA_DESC_ID").tolist())):
        part = main.query(f"DATA_DESC_ID=={ddid}")
        try:
            yield part
        finally:
            part.close()


def _transfer(part: Any, start: int, *, back: bool) -> None:
    pairs: Sequence[tuple[str, str]] = list(COLUMNS.items())
    for column, copy in pairs:
        source, target = (copy, column) if back else (column, copy)
        part.putcol(target, part.getcol(source, start, _ROWS), start, _ROWS)
