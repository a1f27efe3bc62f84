"""The datasets that faults are about: good ones to share, and ways to spoil a copy."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from support import skies

TWO_WINDOWS = (skies.Spw(1.4e9, 1e6, 16), skies.Spw(1.45e9, 1e6, 16))
GOOD = skies.Sky(spws=TWO_WINDOWS, phase_drift_deg=20, gain_phase_deg=30, gain_amp=0.1)
_FAR = replace(skies.PHASE_CAL, ra="18h00m00.0s", dec="+70d00m00.0s")
_NO_INTENTS = tuple(replace(one, intent="") for one in GOOD.fields)
_FAINT = replace(skies.PHASE_CAL, sources=(skies.Source(1e-5),))

SHARED: Final[Mapping[str, skies.Sky]] = {
    "good": GOOD,
    "second": replace(GOOD, seed=2, start="2020/03/02/08:00:00"),
    "stale": replace(GOOD, scans=(1, *[0] * 24, 2), spws=(skies.Spw(),), n_antennas=6),
    "far": replace(GOOD, fields=(skies.FLUX_CAL, _FAR, skies.TARGET), spws=(skies.Spw(),)),
    "nointents": replace(GOOD, fields=_NO_INTENTS, spws=(skies.Spw(),)),
    "nophase": replace(GOOD, fields=(skies.FLUX_CAL, skies.TARGET), scans=(0, 1),
                       spws=(skies.Spw(),)),
    "fluxgap": GOOD,
    "phasegap": GOOD,
    "calflagged": replace(GOOD, flagged_fields=(1,), spws=(skies.Spw(),)),
    "targetflagged": replace(GOOD, flagged_fields=(2,), spws=(skies.Spw(),)),
    "few": replace(GOOD, n_antennas=4, spws=(skies.Spw(),)),
    "faint": replace(GOOD, fields=(skies.FLUX_CAL, _FAINT, skies.TARGET), spws=(skies.Spw(),)),
    "future": replace(GOOD, start="2031/03/01/08:00:00", spws=(skies.Spw(),), n_antennas=6),
}  # fmt: skip
"""What is shared, by name; nothing of it may be changed."""

_GAPS = {"fluxgap": "!(FIELD_ID==0 && DATA_DESC_ID==1)",
         "phasegap": "!(FIELD_ID==1 && DATA_DESC_ID==1)"}  # fmt: skip


def build(folder: Path) -> None:
    """Make the shared datasets."""
    for name, sky in SHARED.items():
        path = folder / f"{name}.ms"
        if name in _GAPS:
            select(folder / "good.ms", path, _GAPS[name])
        else:
            skies.build(path, sky)


def select(source: Path, target: Path, rows: str) -> None:
    """Copy some rows of an MS."""
    with opened(source) as table:
        part = table.query(rows)
        part.copy(str(target), deep=True).close()
        part.close()


class opened:  # noqa: N801 a context, used like a function
    """Open a table of CASA, to be changed where asked."""

    def __init__(self, path: Path, *, change: bool = False) -> None:
        from casarun.casa.config import configure

        configure()
        from casatools import table

        self._table = table()
        self._table.open(str(path), nomodify=not change)

    def __enter__(self) -> Any:
        return self._table

    def __exit__(self, *_: object) -> None:
        self._table.close()


def copied(folder: Path, shared: Path, name: str = "good") -> Path:
    """Copy a shared dataset to ``bad.ms`` in a folder."""
    return Path(shutil.copytree(shared / f"{name}.ms", folder / "bad.ms"))


def without(*files: str) -> Any:
    """Return what copies the good MS without some of its files or folders."""

    def spoil(folder: Path, shared: Path) -> None:
        vis = copied(folder, shared)
        for file in files:
            path = vis / file
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return spoil


def column_file(vis: Path, column: str, subtable: str = "") -> Path:
    """Return the file that holds a column's cells."""
    with opened(vis / subtable if subtable else vis) as table:
        managers = table.getdminfo().values()
    sequence = next(m["SEQNR"] for m in managers if column in m["COLUMNS"])
    folder = vis / subtable
    for ending in (f"table.f{sequence}_TSM1", f"table.f{sequence}_TSM0", f"table.f{sequence}"):
        with suppress(FileNotFoundError):
            if (folder / ending).stat().st_size:
                return folder / ending
    raise FileNotFoundError(f"{column} of {vis}")


def truncated(column: str, subtable: str = "", keep: float = 0.5) -> Any:
    """Return what copies the good MS and cuts off the end of a column's file."""

    def spoil(folder: Path, shared: Path) -> None:
        vis = copied(folder, shared)
        file = column_file(vis, column, subtable)
        with file.open("r+b") as stream:
            stream.truncate(int(keep * file.stat().st_size))

    return spoil


def written(column: str, value: Any, rows: str = "", subtable: str = "") -> Any:
    """Return what copies the good MS and sets a column's cells to one value."""

    def spoil(folder: Path, shared: Path) -> None:
        vis = copied(folder, shared)
        with opened(vis / subtable if subtable else vis, change=True) as table:
            part = table.query(rows) if rows else table
            cells = part.getcol(column)
            cells[...] = value
            part.putcol(column, cells)
            if part is not table:
                part.close()

    return spoil


def one_nan(folder: Path, shared: Path) -> None:
    """Copy the good MS, with one visibility of the target that is not a number."""
    with opened(copied(folder, shared), change=True) as table:
        part = table.query("FIELD_ID==2 && ANTENNA1!=ANTENNA2")
        cell = part.getcell("DATA", 5)
        cell[:, 3] = np.nan
        part.putcell("DATA", 5, cell)
        part.close()


def no_rows(folder: Path, shared: Path) -> None:
    """Copy the good MS without its rows."""
    select(shared / "good.ms", folder / "bad.ms", "SCAN_NUMBER==99")


def no_column(column: str) -> Any:
    """Return what copies the good MS without a column."""

    def spoil(folder: Path, shared: Path) -> None:
        with opened(copied(folder, shared), change=True) as table:
            table.removecols([column])

    return spoil
