"""Which files of a MeasurementSet a task leaves alone.

casacore keeps the columns of a table in files by their storage manager: ``table.f2_TSM1`` has
the data of the third one, which in most MSs has the DATA column alone. So a task that changes
flags writes a hundredth of an MS.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from .tables import open_table

_FLAGS: Final = frozenset({"FLAG", "FLAG_ROW", "FLAG_CATEGORY"})
_MODEL: Final = frozenset({"MODEL_DATA"})
_WEIGHTS: Final = frozenset({"WEIGHT", "SIGMA", "WEIGHT_SPECTRUM", "SIGMA_SPECTRUM"})

_COLUMNS: Final = {
    "applycal": _FLAGS | {"CORRECTED_DATA"},
    "clearcal": _MODEL | _WEIGHTS | {"CORRECTED_DATA"},
    "delmod": _MODEL,
    "flagdata": _FLAGS,
    "ft": _MODEL,
    "initweights": _WEIGHTS,
    "setjy": _MODEL,
    "statwt": _FLAGS | _WEIGHTS,
    "selfcal.apply": _FLAGS | {"CORRECTED_DATA"},
    "selfcal.finish": _FLAGS | _MODEL | {"CORRECTED_DATA"},
    "selfcal.predict": _MODEL,
}
"""The columns that tasks write, by task. Of any other task nothing is known."""

_SUBTABLES: Final = frozenset({"HISTORY", "SOURCE", "FLAG_CMD"})
"""The subtables that they write."""

_OF_A_MANAGER: Final = re.compile(r"table\.f(\d+)(?!\d)")


def left_alone(task: str, params: Mapping[str, Any], ms: Path) -> frozenset[str]:
    """Return the files of an MS that a task does not touch.

    Parameters
    ----------
    task : str
        Its name.
    params : mapping
        Its parameters.
    ms : Path
        The MS, as it is before the task runs.

    Returns
    -------
    frozenset of str
        Paths in the MS; none if it is not known what the task writes, or if it is no MS.
    """
    if task not in _COLUMNS or not (ms / "table.dat").is_file():
        return frozenset()
    with open_table(ms) as table:
        managers = table.getdminfo().values()
    columns = _COLUMNS[task]
    if task == "applycal" and np.any(params.get("calwt", True)):
        columns |= _WEIGHTS
    written = {
        int(manager["SEQNR"])
        for manager in managers
        if not columns.isdisjoint(str(column) for column in manager["COLUMNS"])
    }
    known = {int(manager["SEQNR"]) for manager in managers}
    found = set()
    for entry in os.scandir(ms):
        number = _OF_A_MANAGER.match(entry.name)
        if entry.is_dir(follow_symlinks=False):
            if entry.name not in _SUBTABLES and (ms / entry.name / "table.dat").is_file():
                found.update(_below(ms, ms / entry.name))
        elif number and int(number[1]) in known - written:
            found.add(entry.name)
    return frozenset(found)


def _below(ms: Path, folder: Path) -> set[str]:
    return {
        str((Path(root) / name).relative_to(ms))
        for root, _, names in os.walk(folder)
        for name in names
    }
