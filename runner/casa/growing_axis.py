"""Axes of histograms whose range grows with the values, without losing any."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Counts = npt.NDArray[np.uint32]
Values = npt.NDArray[Any]


class Growing:
    """An axis of equal cells whose range doubles as often as values need it.

    Parameters
    ----------
    cells : int
        How many, at most; an even number of them where the axis can grow.
    span : (float, float), optional
        The range, where it is known; it still grows unless `fixed`.
    fixed : bool
        Values outside are left out.
    whole : bool
        Values are whole numbers: no cell is narrower than 1.
    from_zero : bool
        Values are never negative.
    """

    def __init__(
        self,
        cells: int,
        span: tuple[float, float] | None,
        *,
        fixed: bool = False,
        whole: bool = False,
        from_zero: bool = False,
    ) -> None:
        self.fixed = fixed
        self.low = self.width = np.nan
        self.cells = cells + cells % 2
        self._whole, self._from_zero = whole, from_zero
        if span is not None:
            self._begin(*span)

    def _begin(self, low: float, high: float) -> None:
        if self._whole:
            # Cells begin between two numbers, and hold the same number of them.
            low = np.floor(low) + 0.5 if low != np.floor(low) else low - 0.5
            self.width = max(1.0, np.ceil((high - low) / self.cells))
            if self.fixed:
                self.cells = max(1, int(np.ceil((high - low) / self.width)))
        else:
            spare = 0.0 if self.fixed else 1e-9 * max(abs(low), abs(high), high - low) or 1e-12
            low, high = low - (0.0 if self._from_zero else spare), high + spare
            self.width = (high - low) / self.cells
        self.low = low

    @property
    def high(self) -> float:
        """The upper end."""
        return float(self.low + self.cells * self.width)

    @property
    def edges(self) -> Floats:
        """The cells' edges, shape (cells + 1,)."""
        return np.asarray(self.low + np.arange(self.cells + 1) * self.width)

    def grow(self, lowest: float, highest: float) -> tuple[int, int]:
        """Let the range hold two values; say by how much the old cells were put together.

        Returns
        -------
        tuple of int
            How many old cells are one now, and at which cell the old range begins.
        """
        if np.isnan(self.low):
            # With some space: what the first block has, later ones exceed a little.
            space = 0.0 if self._whole else 0.1 * (highest - lowest)
            self._begin(0.0 if self._from_zero else lowest - space, highest + space)
        if self.fixed:
            return 1, 0
        factor, offset = 1, 0
        while lowest < self.low or highest >= self.high:
            offset //= 2
            if lowest < self.low:
                self.low -= self.cells * self.width
                offset += self.cells // 2
            self.width *= 2
            factor *= 2
        return factor, offset

    def index(self, values: Values) -> Ints:
        """Return the cell of each value; outside of a fixed range, -1."""
        with np.errstate(invalid="ignore"):  # what is flagged may be anything
            cells = ((values - self.low) * (1.0 / self.width)).astype(np.int64)
            if self.fixed:
                inside = (values >= self.low) & (values <= self.high)
                cells = np.where(inside, np.minimum(cells, self.cells - 1), -1)
        return cells

    def halve(self) -> None:
        """Make the cells twice as wide."""
        self.cells = (self.cells + 3) // 4 * 2
        self.width *= 2


def put_together(counts: Values, axis: int, factor: int, offset: int) -> Values:
    """Add up cells along an axis, `factor` of them, and put the sums where the range is now."""
    if factor == 1:
        return counts
    cells = counts.shape[axis]
    moved = np.moveaxis(counts, axis, -1)
    # A range that grew very far has the old one inside a single cell.
    edges = np.arange(0, cells, factor)
    whole = np.zeros_like(moved)
    whole[..., offset : offset + len(edges)] = np.add.reduceat(moved, edges, axis=-1)
    return np.ascontiguousarray(np.moveaxis(whole, -1, axis))


def halved(counts: Counts, number: int, axis: Growing) -> Counts:
    """Make the cells of an axis twice as wide."""
    old = axis.cells
    axis.halve()
    shape = list(counts.shape)
    shape[number] = 2 * axis.cells - old
    padded = np.concatenate([counts, np.zeros(shape, np.uint32)], axis=number)
    return np.add.reduceat(padded, np.arange(0, 2 * axis.cells, 2), axis=number, dtype=np.uint32)
