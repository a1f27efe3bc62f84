"""The step that takes the atmosphere's opacity from the weather and the season."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from ..casa import invoke
from ..casa.tables import open_table
from ..errors import Cause, StepFailedError
from ..files import write_product

Params = Mapping[str, Any]

_WEATHER: Final = "half from the weather station's temperature and dew point, half from the season"
_SEASON: Final = "from the season alone: no weather came with the data"


def opacity(params: Params) -> dict[str, Any]:
    """Ask CASA's plotweather for the opacity at the zenith in each window.

    It weighs the model of the weather and that of the season alike, unless it is told otherwise
    (Marvil 2010, EVLA Memo 143).

    Raises
    ------
    StepFailedError
        If what it gives is no number.
    """
    values = invoke.task("plotweather", {"vis": params["vis"], "doPlot": False})
    wanted = [float(values[spw]) for spw in params["spws"]]
    if not all(math.isfinite(value) and value > 0 for value in wanted):
        raise StepFailedError(
            Cause.POSTCONDITION,
            f"CASA's plotweather gives opacities of {', '.join(f'{v:.4g}' for v in wanted)}",
            "Look at the WEATHER table, or give values (calibrate.priors.opacity).",
        )
    origin = _WEATHER if _has_weather(Path(params["vis"])) else _SEASON
    outcome = {"opacity": wanted, "spws": params["spws"], "origin": origin}
    write_product(params["out"], outcome)
    return outcome


def _has_weather(vis: Path) -> bool:
    """Tell whether there is weather, as plotweather does."""
    if not (vis / "WEATHER").is_dir():
        return False
    with open_table(vis / "WEATHER") as table:
        return bool(table.nrows())


ACTIONS: Final[Mapping[str, Callable[[Params], dict[str, Any]]]] = {"opacity": opacity}
