"""Calibration tables that were known before: in words, and which of them are worth a plot."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..casa.read import CalTable
from ..errors import listing
from ..files import read_json
from . import solutions
from .metrics import put

Floats = npt.NDArray[np.float64]

PLOTTED: Final[Mapping[str, Sequence[str]]] = {
    "G Jones": ("amplitude", "phase"),
    "T Jones": ("amplitude", "phase"),
    "B Jones": ("amplitude", "phase"),
    "K Jones": ("delay",),
    "B TSYS": ("amplitude",),
}
"""What is plotted of tables by CASA's name of their type."""

ZENITH_ANGLES_DEG: Final = (10.0, 70.0)
"""Between these a gain curve is looked at."""
_NOT_SOLVED: Final = "known before, not solved for"
_MANY: Final = 8


def summary(table: CalTable, alive: npt.NDArray[np.bool_], beside: str = "") -> dict[str, Any]:
    """Summarize a table that was known before.

    Parameters
    ----------
    table : CalTable
        The table.
    alive : array of bool, shape (antennas,)
        Antennas that have unflagged data.
    beside : str
        A JSON file that says under ``origin`` where its numbers come from, if there is one.

    Returns
    -------
    dict
        As `solutions.summary`, with ``told``, sentences on what it holds. What was not solved for
        has no signal-to-noise ratio.
    """
    origin = [str(read_json(Path(beside))["origin"])] if beside else []
    found = solutions.summary(table, "", alive) | {"told": [*told(table, alive), *origin]}
    if not has_times(table):
        found |= {"antennas": {}, "against": {}, "outliers": []}
        put(found, "median_snr", None, _NOT_SOLVED)
    return found


def has_times(table: CalTable) -> bool:
    """Tell whether solutions are of a time: those that CASA's gencal was told are of none."""
    return bool((table.time_s > 0).any())


def told(table: CalTable, alive: npt.NDArray[np.bool_]) -> Iterator[str]:
    """Yield what a table holds, in sentences.

    Parameters
    ----------
    table : CalTable
        The table.
    alive : array of bool, shape (antennas,)
        Antennas that have unflagged data.
    """
    tell = _TELLERS.get(table.type)
    rows = alive[table.antenna] & ~table.flag.all(axis=(0, 1))
    if tell is not None and rows.any():
        yield from tell(table, rows)


def _opacities(table: CalTable, rows: npt.NDArray[np.bool_]) -> Iterator[str]:
    by_spw = {
        int(spw): float(np.median(np.real(table.values[0, 0, rows & (table.spw == spw)])))
        for spw in np.unique(table.spw[rows])
    }
    said = [f"{value:.4g} in spw {spw}" for spw, value in by_spw.items()]
    yield f"zenith opacity (nepers): {listing(said, _MANY)}"


def _positions(table: CalTable, rows: npt.NDArray[np.bool_]) -> Iterator[str]:
    moved = [
        f"{table.antennas[int(table.antenna[row])]} by "
        f"({', '.join(f'{1e3 * value:+.2f}' for value in np.real(table.values[:3, 0, row]))}) mm"
        for row in np.flatnonzero(rows)
        if np.any(table.values[:3, 0, row] != 0)
    ]
    yield f"moved, in ITRF: {listing(moved, _MANY) or 'none'}"


def _curves(table: CalTable, rows: npt.NDArray[np.bool_]) -> Iterator[str]:
    """Tell how power falls with elevation: a polynomial of zenith angle in degrees, of voltage."""
    low, high = ZENITH_ANGLES_DEG
    powers = np.array([[z**k for k in range(4)] for z in (low, high)])
    for spw in np.unique(table.spw[rows]):
        mine = rows & (table.spw == spw)
        gain = powers @ np.real(table.values[:4, 0, mine])
        ratio = (gain[1] / gain[0]) ** 2
        yield (
            f"spw {int(spw)}: at {90 - high:.0f} deg elevation {np.median(ratio):.3g} "
            f"of the power at {90 - low:.0f} deg ({ratio.min():.3g} to {ratio.max():.3g} "
            "by antenna)"
        )


_TELLERS: Final[
    Mapping[str, Callable[[CalTable, npt.NDArray[np.bool_]], Iterator[str]]]
] = {
    "TOpac": _opacities,
    "KAntPos Jones": _positions,
    "EGainCurve": _curves,
}  # fmt: skip
