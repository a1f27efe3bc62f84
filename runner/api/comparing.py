"""Two runs side by side."""

from __future__ import annotations

from pathlib import Path

from ..compare import page
from ..compare.comparison import Comparison
from ..compare.comparison import compare as compare_runs
from ..compare.judged import Tolerances
from ..report import runs
from .opening import run_folder


def compare(
    a: Path, b: Path, tolerances: Tolerances, output: Path | None = None
) -> tuple[Comparison, Path | None]:
    """Compare two runs.

    Parameters
    ----------
    a, b : Path
        The run folders.
    tolerances : Tolerances
        What counts as the same.
    output : Path, optional
        The folder to write a page to; by default none is written.

    Returns
    -------
    tuple of Comparison and Path or None
        What was found, and the page.

    Raises
    ------
    DataError
        If one is no run folder, has no numbers to compare, or both are one.
    LockedError
        If one of the runs goes on.
    """
    found = compare_runs(runs.read(run_folder(a)), runs.read(run_folder(b)), tolerances)
    return found, None if output is None else page.write(found, output.absolute())
