"""The flags of two MeasurementSets, visibility by visibility."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from ..casa.read import Layout, Rows


@dataclass
class FlagDifference:
    """How the flags of two MSs differ; only cross-correlations count.

    Attributes
    ----------
    subject : str
        The dataset.
    visibilities, only_a, only_b : int
        All, those flagged in one of the two only.
    antennas : dict
        By antenna name: visibilities, only in A, only in B.
    note : str
        Why they could not be compared.
    """

    subject: str
    visibilities: int = 0
    only_a: int = 0
    only_b: int = 0
    antennas: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    note: str = ""

    @property
    def identical(self) -> bool:
        """Whether all flags are the same."""
        return not self.note and not self.only_a and not self.only_b


def compare(
    subject: str, a: tuple[Layout, Iterable[Rows]], b: tuple[Layout, Iterable[Rows]]
) -> FlagDifference:
    """Compare the flags of two MSs with the same rows, a chunk at a time.

    Parameters
    ----------
    subject : str
        What they are of.
    a, b : tuple
        The layout and the rows of each (`casarun.casa.read`).
    """
    found = FlagDifference(subject)
    about, other = a[0], b[0]
    alike = (about.n_rows, about.antennas, about.spw_of) == (
        other.n_rows, other.antennas, other.spw_of,
    )  # fmt: skip
    if not alike:
        found.note = f"their rows differ: {about.n_rows} and {other.n_rows}"
        return found
    counts = np.zeros((len(about.antennas), 3), np.int64)
    for mine, its in zip(a[1], b[1], strict=True):
        if not _same_rows(mine, its):
            found.note = "their rows are not the same ones"
            return found
        cross = mine.cross
        only_a = (mine.flag & ~its.flag)[:, :, cross].sum(axis=(0, 1))
        only_b = (its.flag & ~mine.flag)[:, :, cross].sum(axis=(0, 1))
        found.visibilities += mine.flag[:, :, cross].size
        found.only_a += int(only_a.sum())
        found.only_b += int(only_b.sum())
        each = mine.flag.shape[0] * mine.flag.shape[1]
        for antenna in (mine.antenna1[cross], mine.antenna2[cross]):
            np.add.at(counts[:, 0], antenna, each)
            np.add.at(counts[:, 1], antenna, only_a)
            np.add.at(counts[:, 2], antenna, only_b)
    found.antennas = {
        name: (int(total), int(first), int(second))
        for name, (total, first, second) in zip(about.antennas, counts.tolist(), strict=True)
        if total
    }
    return found


def _same_rows(a: Rows, b: Rows) -> bool:
    if a.flag.shape != b.flag.shape or a.ddid != b.ddid:
        return False
    pairs = ((a.antenna1, b.antenna1), (a.antenna2, b.antenna2), (a.time_s, b.time_s))
    return all(np.array_equal(x, y) for x, y in pairs)
