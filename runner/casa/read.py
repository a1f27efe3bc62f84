"""Read MeasurementSets and calibration tables into NumPy arrays, a piece at a time.

Plain frozen classes come out, so that what measures and plots them needs no CASA. Arrays
keep casacore's axis order: correlation, channel, row.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from .tables import open_table

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Complexes = npt.NDArray[np.complex128]

CHUNK_SAMPLES = 1_000_000
"""Visibilities in memory at a time (16 MB): rows times channels times correlations."""


SAMPLE_LIMIT = 200_000_000
"""Of a larger MS only evenly spread chunks have their visibilities read."""

_CORRELATIONS = {
    1: "I", 2: "Q", 3: "U", 4: "V", 5: "RR", 6: "RL", 7: "LR", 8: "LL",
    9: "XX", 10: "XY", 11: "YX", 12: "YY",
}  # fmt: skip
_PARALLEL = {"RR", "LL", "XX", "YY", "I"}


@dataclass(frozen=True)
class Layout:
    """What an MS's subtables say about its rows.

    Attributes
    ----------
    fields, antennas : tuple of str
        Names by id.
    spw_of : tuple of int
        Spectral window by data description id.
    correlations_of : tuple of tuple of str
        Correlations by data description id.
    frequencies_hz : tuple of array
        Channel centres by spectral window, each of shape (channels,).
    n_rows : int
        Rows of MAIN.
    columns : tuple of str
        Columns of MAIN.
    """

    fields: tuple[str, ...]
    antennas: tuple[str, ...]
    spw_of: tuple[int, ...]
    correlations_of: tuple[tuple[str, ...], ...]
    frequencies_hz: tuple[Floats, ...]
    n_rows: int
    columns: tuple[str, ...]

    def parallel_hands(self, ddid: int) -> list[int]:
        """Return the indices of the parallel-hand correlations (all, if there is none)."""
        names = self.correlations_of[ddid]
        found = [index for index, name in enumerate(names) if name in _PARALLEL]
        return found or list(range(len(names)))


@dataclass(frozen=True)
class Rows:
    """Some rows of one data description of an MS.

    `uvw_m` has shape (3, rows), `flag` and `data` (correlations, channels, rows); `flag`
    includes FLAG_ROW. `data` is None where only the flags were read.
    """

    ddid: int
    spw: int
    time_s: Floats
    antenna1: Ints
    antenna2: Ints
    field: Ints
    scan: Ints
    uvw_m: Floats
    flag: Bools
    data: Complexes | None

    @property
    def cross(self) -> Bools:
        """True for the rows that are no autocorrelations; shape (rows,)."""
        return np.not_equal(self.antenna1, self.antenna2)


@dataclass(frozen=True)
class CalTable:
    """A calibration table: one row a solution of an antenna.

    `values` (complex, or float for delays in ns), `flag` and `snr` have shape (feeds,
    channels, rows); `time_s` (MJD seconds, UTC), `antenna`, `field`, `spw` and `scan` have
    shape (rows,). `frequencies_hz` holds the channel centres by spectral window.
    """

    path: str
    type: str
    values: Complexes | Floats
    flag: Bools
    snr: Floats
    time_s: Floats
    antenna: Ints
    field: Ints
    spw: Ints
    scan: Ints
    antennas: tuple[str, ...]
    fields: tuple[str, ...]
    frequencies_hz: tuple[Floats, ...]


@contextmanager
def opened(path: Path | str) -> Iterator[Any]:
    """Open a table to read it; raise `DataError` where that fails."""
    with ExitStack() as stack:
        try:
            table = stack.enter_context(open_table(path))
        except RuntimeError as error:
            raise DataError(f"{path}: cannot be opened as a casacore table: {error}") from error
        yield table


def layout(ms: Path | str) -> Layout:
    """Read the subtables of an MS that its rows point to.

    Raises
    ------
    DataError
        If the MS or one of these subtables cannot be opened.
    """
    with opened(ms) as main:
        n_rows, columns = int(main.nrows()), tuple(main.colnames())
    with opened(f"{ms}/FIELD") as table:
        fields = tuple(str(name) for name in table.getcol("NAME"))
    with opened(f"{ms}/ANTENNA") as table:
        antennas = tuple(str(name) for name in table.getcol("NAME"))
    with opened(f"{ms}/DATA_DESCRIPTION") as table:
        spws = tuple(int(i) for i in table.getcol("SPECTRAL_WINDOW_ID"))
        polarizations = [int(i) for i in table.getcol("POLARIZATION_ID")]
    with opened(f"{ms}/POLARIZATION") as table:
        products = [
            tuple(_CORRELATIONS.get(int(c), str(int(c))) for c in table.getcell("CORR_TYPE", row))
            for row in range(table.nrows())
        ]
    return Layout(
        fields=fields,
        antennas=antennas,
        spw_of=spws,
        correlations_of=tuple(products[i] for i in polarizations),
        frequencies_hz=frequencies(ms),
        n_rows=n_rows,
        columns=columns,
    )


def frequencies(parent: Path | str) -> tuple[Floats, ...]:
    """Return the channel centres by spectral window, in Hz."""
    with opened(f"{parent}/SPECTRAL_WINDOW") as table:
        return tuple(
            np.asarray(table.getcell("CHAN_FREQ", row), float) for row in range(table.nrows())
        )


def rows(ms: Path | str, about: Layout, column: str = "") -> Iterator[Rows]:
    """Read the rows of an MS in chunks of at most `CHUNK_SAMPLES` visibilities.

    Parameters
    ----------
    ms : Path or str
        The MeasurementSet.
    about : Layout
        Its layout.
    column : str, optional
        The visibilities to read, for instance ``CORRECTED_DATA``; by default only flags.
        Where there are more than `SAMPLE_LIMIT`, only evenly spread chunks carry them.

    Yields
    ------
    Rows
        Of one data description, in the order of the MS.

    Raises
    ------
    DataError
        If the MS cannot be opened.
    """
    with opened(ms) as main:
        for ddid in range(len(about.spw_of)):
            part = main if len(about.spw_of) == 1 else main.query(f"DATA_DESC_ID=={ddid}")
            try:
                yield from _rows_of(part, about, ddid, column)
            finally:
                if part is not main:
                    part.close()


def _rows_of(part: Any, about: Layout, ddid: int, column: str) -> Iterator[Rows]:
    spw = about.spw_of[ddid]
    n_rows = int(part.nrows())
    row_samples = len(about.frequencies_hz[spw]) * len(about.correlations_of[ddid])
    step = max(1, CHUNK_SAMPLES // row_samples)
    share = len(about.spw_of) * n_rows * row_samples / SAMPLE_LIMIT
    every = max(1, math.ceil(share))
    for number, start in enumerate(range(0, n_rows, step)):
        take = column if number % every == 0 else ""
        flag = part.getcol("FLAG", start, step) | part.getcol("FLAG_ROW", start, step)
        yield Rows(
            ddid=ddid,
            spw=spw,
            time_s=part.getcol("TIME", start, step),
            antenna1=part.getcol("ANTENNA1", start, step),
            antenna2=part.getcol("ANTENNA2", start, step),
            field=part.getcol("FIELD_ID", start, step),
            scan=part.getcol("SCAN_NUMBER", start, step),
            uvw_m=part.getcol("UVW", start, step),
            flag=flag,
            data=part.getcol(take, start, step) if take else None,
        )


def caltable(path: Path | str) -> CalTable:
    """Read a calibration table.

    Spectral windows of unequal width are padded with flagged channels.

    Raises
    ------
    DataError
        If the table cannot be opened or has no solutions.
    """
    with opened(path) as table:
        n_rows = int(table.nrows())
        if n_rows == 0:
            raise DataError(f"{path}: the calibration table has no solutions")
        name = "CPARAM" if "CPARAM" in table.colnames() else "FPARAM"
        plain = {
            column: table.getcol(column)
            for column in ("TIME", "ANTENNA1", "FIELD_ID", "SPECTRAL_WINDOW_ID", "SCAN_NUMBER")
        }
        windows = plain["SPECTRAL_WINDOW_ID"]
        values, flag, snr = (_padded(table, column, windows) for column in (name, "FLAG", "SNR"))
        kind = str(table.getkeyword("VisCal"))
    with opened(f"{path}/ANTENNA") as table:
        antennas = tuple(str(item) for item in table.getcol("NAME"))
    with opened(f"{path}/FIELD") as table:
        fields = tuple(str(item) for item in table.getcol("NAME"))
    return CalTable(
        path=str(path),
        type=kind,
        values=values,
        flag=flag,
        snr=snr,
        time_s=plain["TIME"],
        antenna=plain["ANTENNA1"],
        field=plain["FIELD_ID"],
        spw=plain["SPECTRAL_WINDOW_ID"],
        scan=plain["SCAN_NUMBER"],
        antennas=antennas,
        fields=fields,
        frequencies_hz=frequencies(path),
    )


def _padded(table: Any, column: str, windows: npt.NDArray[np.int64]) -> Any:
    """Read a column of (feeds, channels) cells, padding narrower windows to the widest.

    Cells of one shape at a time: over several, ``getcol`` may write past its memory.
    """
    parts = {}
    for window in np.unique(windows):
        rows = np.flatnonzero(windows == window)
        part = table.selectrows(rows.tolist())
        parts[int(window)] = rows, part.getcol(column)
        part.close()
    if len(parts) == 1:
        return next(values for _, values in parts.values())
    shape = np.max([values.shape[:2] for _, values in parts.values()], axis=0)
    first = next(values for _, values in parts.values())
    whole = np.full((*shape, len(windows)), column == "FLAG", dtype=first.dtype)
    for rows, values in parts.values():
        whole[: values.shape[0], : values.shape[1], rows] = values
    return whole
