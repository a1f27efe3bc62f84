"""check, plan, run and report as functions; the command line only puts words around them."""

from __future__ import annotations

from .observing import info
from .opening import Options, Reduction, open_recipe, run_folder
from .planning import Planned, plan
from .running import RunResult, report, run

__all__ = [
    "Options",
    "Planned",
    "Reduction",
    "RunResult",
    "info",
    "open_recipe",
    "plan",
    "report",
    "run",
    "run_folder",
]
