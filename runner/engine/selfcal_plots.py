"""The action that draws a target's self-calibration, once it is finished."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..files import read_json, write_product
from ..qa import selfcal_plots, viewer_data

Params = Mapping[str, Any]
Outcome = dict[str, Any]

PLOTS = "plots.json"
"""In the folder of the plots: what each of them shows."""


def draw(params: Params) -> Outcome:
    """Draw the rounds of a self-calibration.

    Parameters
    ----------
    params : mapping
        ``summary`` (what ``selfcal.finish`` wrote), ``prefixes`` (of the images, by round),
        ``tables`` (paths of the calibration tables, by round and dataset), ``out`` (the folder
        to make: PNGs and `PLOTS`). Images and tables of rounds that did not take place are not
        there.

    Returns
    -------
    dict
        ``plots``, how many were drawn.
    """
    folder = Path(params["out"])
    drawn = selfcal_plots.draw(
        read_json(Path(params["summary"])), params["prefixes"], params["tables"], folder,
        viewer_data.most_bytes(params),
    )  # fmt: skip
    write_product(folder / PLOTS, {"plots": drawn})
    return {"plots": len(drawn)}


ACTIONS: dict[str, Callable[[Params], Outcome]] = {"selfcal.plots": draw}
