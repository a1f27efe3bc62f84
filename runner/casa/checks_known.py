"""Post-condition of calibration tables that come from outside: they are of these data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from ..errors import Cause, StepFailedError, listing
from .checks_evidence import Evidence, Json, failed
from .tables import open_table

_OF_ANY_SPW: Final = ("KAntPos Jones",)
"""Tables with solutions of one window, which CASA applies to all."""
_SAME_FREQUENCY: Final = 1e-3
"""Frames of reference differ by less."""


def known_table(given: Mapping[str, Any], evidence: Evidence) -> dict[str, Json]:
    """Check that a calibration table was made from a dataset's antennas and windows.

    CASA goes by ids: it applies the gains of antenna 3 to antenna 3, whatever their names, and
    leaves windows that a table lacks as they are, without a word.

    Parameters
    ----------
    given : mapping
        ``path``; ``source``, where it came from; ``key``, of the recipe; ``antennas``, names by
        id; ``spws``, first and last frequency in Hz by id; ``spwmap``.
    evidence : Evidence
        Not looked at.

    Returns
    -------
    dict
        ``type`` of the table.

    Raises
    ------
    StepFailedError
        If an antenna or a window is another one, or a window has no solutions.
    """
    path, source = Path(given["path"]), str(given["source"])
    with open_table(path) as table:
        kind = str(table.getkeyword("VisCal"))
        solved = {int(spw) for spw in np.unique(table.getcol("SPECTRAL_WINDOW_ID"))}
    with open_table(path / "ANTENNA") as table:
        names = [str(name) for name in table.getcol("NAME")]
    for message in (
        *_antennas(names, given["antennas"]),
        *_frequencies(path, given["spws"], solved),
        *(_windows(given, solved) if kind not in _OF_ANY_SPW else ()),
    ):
        raise failed(f"{source}: {message}", f"Look at {given['key']} in the recipe.")
    return {"type": kind}


def _antennas(names: Sequence[str], wanted: Mapping[str, str]) -> Iterator[str]:
    """Yield that antennas of the table are not those of the data."""
    for number, name in wanted.items():
        found = names[int(number)] if int(number) < len(names) else ""
        if found != name:
            there = f"is {found} in the table" if found else "is not in the table"
            yield (
                f"antenna {number}, {name} in the data, {there} of {len(names)} antennas: it was "
                "made from other data"
            )


def _frequencies(
    path: Path, wanted: Mapping[str, Sequence[float]], solved: set[int]
) -> Iterator[str]:
    """Yield that windows of the table are at other frequencies than those of the data."""
    with open_table(path / "SPECTRAL_WINDOW") as table:
        rows = range(table.nrows())
        centres = {i: float(np.mean(table.getcell("CHAN_FREQ", i))) for i in rows if i in solved}
    for spw, (first, last) in wanted.items():
        centre = centres.get(int(spw))
        if centre is None:
            continue
        low, high = sorted((first, last))
        slack = max(high - low, _SAME_FREQUENCY * high)
        if not low - slack <= centre <= high + slack:
            yield (
                f"spw {spw} is at {(low + high) / 2e9:.6g} GHz in the data and at "
                f"{centre / 1e9:.6g} GHz in the table: it was made from other data"
            )


def _windows(given: Mapping[str, Any], solved: set[int]) -> Iterator[str]:
    """Yield that windows of the data would stay as they are."""
    spwmap = given["spwmap"]
    lost = [
        spw for spw in given["spws"] if (spwmap[int(spw)] if spwmap else int(spw)) not in solved
    ]
    if lost:
        yield (
            f"the table has no solutions for spw {listing(lost)}, only for "
            f"{listing([str(spw) for spw in sorted(solved)])}: CASA would leave these data as they "
            "are; say with spwmap whose solutions they take"
        )


_CAUGHT: Final = "Caught Exception: "
_NEEDS: Final = {
    "rq": "SYSPOWER",
    "swpow": "SYSPOWER",
    "swp/rq": "SYSPOWER",
    "evlagain": "SYSPOWER",
    "tsys": "SYSCAL",
}
"""The subtable of the MS that gencal makes a table from, by ``caltype``."""


def explain_gencal(params: Mapping[str, Any], severe: Sequence[str]) -> StepFailedError | None:
    """Say why gencal failed, whose exception is "Error in Calibrater::specifycal.".

    Parameters
    ----------
    params : mapping
        Its parameters.
    severe : sequence of str
        SEVERE lines of its log.

    Returns
    -------
    StepFailedError or None
        None where the log does not say it either.
    """
    vis, needed = str(params.get("vis", "")), _NEEDS.get(str(params.get("caltype", "")), "")
    if needed and not (Path(vis) / needed).is_dir():
        return StepFailedError(
            Cause.PARAMETER,
            f"{vis} has no {needed} table, of which caltype '{params['caltype']}' is made: it was "
            "not recorded, or not imported",
        )
    for line in severe:
        if _CAUGHT in line:
            said = line.partition(_CAUGHT)[2].strip().rstrip(".")
            return StepFailedError(Cause.PARAMETER, f"gencal: {said}")
    return None
