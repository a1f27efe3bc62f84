"""What the visibilities of an MS look like, from a sample of bounded size.

One NaN blanks an image, zeros pull it down, and weights of zero leave nothing: better known
before the first step than after the last.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..errors import DataError

SAMPLE_LIMIT: Final = 16_000_000
"""Visibilities read at most; of a larger MS, pieces evenly spread from first row to last."""
_PIECE: Final = 500_000
_COLUMNS: Final = ("DATA", "CORRECTED_DATA", "FLOAT_DATA")


@dataclass
class Sample:
    """Counts by field id, of unflagged cross-correlations and of rows that have any."""

    n: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    not_finite: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    zero: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    rows: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    no_weight: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    has_uvw: bool = False

    def fractions(self, field_id: int) -> dict[str, float]:
        """Return the attributes of `casarun.observation.Field` that come from the sample."""
        n, rows = max(1, self.n[field_id]), max(1, self.rows[field_id])
        return {
            "not_finite_fraction": self.not_finite[field_id] / n,
            "zero_fraction": self.zero[field_id] / n,
            "no_weight_fraction": self.no_weight[field_id] / rows,
        }


def take(
    main: Any, n_parts: int, column: str = "", shapes: Sequence[tuple[int, int]] = ()
) -> Sample:
    """Sample the visibilities of an open MS.

    Parameters
    ----------
    main : casatools.table
        Its open MAIN table.
    n_parts : int
        How many data descriptions there are.
    column : str
        What to sample; by default DATA or, without it, another column of visibilities.
    shapes : sequence of (int, int)
        Correlations and channels that each data description should have; empty: any.

    Raises
    ------
    DataError
        If visibilities have another shape.
    RuntimeError
        From casacore, where a file is damaged.
    """
    sample = Sample()
    columns = main.colnames()
    column = column or next((name for name in _COLUMNS if name in columns), "")
    if column not in columns:
        return sample
    for number in range(n_parts):
        part = main.query(f"DATA_DESC_ID=={number}") if n_parts > 1 else main
        try:
            if part.nrows() and part.iscelldefined(column, 0):
                shape = tuple(int(side) for side in part.getcell(column, 0).shape)
                if shapes:
                    _require_shape(shape, shapes[number], number)
                for rows in _pieces(int(part.nrows()), shape, n_parts):
                    _add(sample, part, column, rows)
        finally:
            if part is not main:
                part.close()
    return sample


def _pieces(n_rows: int, shape: tuple[int, ...], n_parts: int) -> Iterator[tuple[int, int]]:
    """Yield first row and number of rows of the pieces to read."""
    samples = max(1, math.prod(shape))
    step = max(1, _PIECE // samples)
    n_pieces = -(-n_rows // step)
    most = max(2, SAMPLE_LIMIT // n_parts // (step * samples))
    chosen = np.unique(np.linspace(0, n_pieces - 1, min(n_pieces, most)).round().astype(int))
    for number in chosen.tolist() if n_rows else ():
        yield number * step, min(step, n_rows - number * step)


def _add(sample: Sample, part: Any, column: str, rows: tuple[int, int]) -> None:
    """Count a piece: first row and number of rows."""
    if not part.iscelldefined(column, sum(rows) - 1):
        return
    data, flag = part.getcol(column, *rows), part.getcol("FLAG", *rows)
    unflagged = ~(flag | part.getcol("FLAG_ROW", *rows))
    unflagged &= part.getcol("ANTENNA1", *rows) != part.getcol("ANTENNA2", *rows)
    per_row = unflagged.sum(axis=(0, 1))
    finite = np.isfinite(data)
    bad = (unflagged & ~finite).sum(axis=(0, 1))
    zero = (unflagged & (data == 0)).sum(axis=(0, 1))
    weight = part.getcol("WEIGHT", *rows)
    weightless = ~((weight > 0) & np.isfinite(weight)).any(axis=0) & (per_row > 0)
    sample.has_uvw |= bool(part.getcol("UVW", *rows)[:, per_row > 0].any())
    _count(sample, part.getcol("FIELD_ID", *rows), per_row, bad, zero, weightless)


def _count(
    sample: Sample,
    fields: npt.NDArray[Any],
    per_row: npt.NDArray[Any],
    bad: npt.NDArray[Any],
    zero: npt.NDArray[Any],
    weightless: npt.NDArray[Any],
) -> None:
    """Add the numbers of rows to those of their fields."""
    for number in np.unique(fields).tolist():
        mine = fields == number
        sample.n[number] += int(per_row[mine].sum())
        sample.not_finite[number] += int(bad[mine].sum())
        sample.zero[number] += int(zero[mine].sum())
        sample.rows[number] += int((per_row[mine] > 0).sum())
        sample.no_weight[number] += int(weightless[mine].sum())


def _require_shape(found: tuple[int, ...], wanted: tuple[int, int], number: int) -> None:
    """Refuse visibilities that are not of the shape that the subtables tell."""
    if found != wanted:
        raise DataError(
            f"a broken MeasurementSet: expected {wanted[0]} correlations x {wanted[1]} channels in "
            f"data description {number}, found {' x '.join(map(str, found))}: main table and "
            "subtables come from different datasets, or a copy was mixed up: get the data again, "
            "whole"
        )
