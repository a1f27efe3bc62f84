"""check, plan, run and report as functions; the command line only puts words around them.

Names are imported when they are asked for: a static check must not pay for the engine.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .comparing import compare
    from .observing import info
    from .opening import Options, Reduction, open_recipe, run_folder
    from .planning import Planned, plan
    from .running import RunResult, report, run
    from .surveying import dashboard

__all__ = [
    "Options",
    "Planned",
    "Reduction",
    "RunResult",
    "compare",
    "dashboard",
    "info",
    "open_recipe",
    "plan",
    "report",
    "run",
    "run_folder",
]

_HOME: Final = {
    "Options": "opening",
    "Planned": "planning",
    "Reduction": "opening",
    "RunResult": "running",
    "compare": "comparing",
    "dashboard": "surveying",
    "info": "observing",
    "open_recipe": "opening",
    "plan": "planning",
    "report": "running",
    "run": "running",
    "run_folder": "opening",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)
