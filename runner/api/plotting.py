"""Visibilities and calibration tables plotted by hand."""

from __future__ import annotations

from pathlib import Path

from ..errors import DataError
from ..qa.visibility_plot import Drawn, Request, draw

__all__ = ["Drawn", "Request", "plot"]


def plot(vis: Path, wanted: Request, out: Path | None = None) -> Drawn:
    """Plot an MS or a calibration table.

    Parameters
    ----------
    vis : Path
        The MS or table; it is not changed.
    wanted : Request
        Axes, selection, colours, pages, averaging.
    out : Path, optional
        The picture; by default one in the current folder, named after data and axes.

    Raises
    ------
    DataError
        If that cannot be plotted; the message says what could be.
    """
    if not (vis / "table.dat").is_file():
        what = "there is no" if not vis.exists() else "not a folder of"
        raise DataError(
            f"{vis}: {what} MeasurementSet or calibration table; casarun imports UVFITS, ASDMs and "
            "tars in a run"
        )
    return draw(vis, wanted, out)
