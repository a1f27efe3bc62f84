"""One page over many runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..report import dashboard as page
from ..report import runs


def dashboard(names: Sequence[str], output: Path) -> tuple[Path, int]:
    """Write one page over many runs.

    Parameters
    ----------
    names : sequence of str
        Run folders, folders that hold some, or globs.
    output : Path
        The folder of the page.

    Returns
    -------
    tuple of Path and int
        The page, and of how many runs it is.

    Raises
    ------
    DataError
        If a name leads to no run folder, or `output` holds something else.
    """
    found = [runs.read(folder) for folder in runs.find(names)]
    return page.write(found, output.absolute()), len(found)
