"""check, plan, run and report as functions; the command line only puts words around them.

Names are imported when they are asked for: a static check must not pay for the engine.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .batch_jobs import BatchStatus, batch_status, cancel, requeue_here
    from .comparing import compare
    from .distributing import Distributed, distribute
    from .following import run_distributed
    from .observing import info
    from .opening import Options, Reduction, open_recipe, run_folder
    from .planning import Planned, plan
    from .plotting import plot
    from .running import RunResult, report, run
    from .sharing import bundle, describe, verify
    from .slice_report import report_slices
    from .slicing import do_slice
    from .submitting import Handed, submit
    from .surveying import dashboard
    from .viewing import view

__all__ = [
    "BatchStatus",
    "Distributed",
    "Handed",
    "Options",
    "Planned",
    "Reduction",
    "RunResult",
    "batch_status",
    "bundle",
    "cancel",
    "compare",
    "dashboard",
    "describe",
    "distribute",
    "do_slice",
    "info",
    "open_recipe",
    "plan",
    "plot",
    "report",
    "report_slices",
    "requeue_here",
    "run",
    "run_distributed",
    "run_folder",
    "submit",
    "verify",
    "view",
]

_HOME: Final = {
    "do_slice": "slicing",
    "report_slices": "slice_report",
    "run_distributed": "following",
    "distribute": "distributing",
    "Distributed": "distributing",
    "BatchStatus": "batch_jobs",
    "Handed": "submitting",
    "Options": "opening",
    "Planned": "planning",
    "Reduction": "opening",
    "RunResult": "running",
    "batch_status": "batch_jobs",
    "bundle": "sharing",
    "cancel": "batch_jobs",
    "compare": "comparing",
    "dashboard": "surveying",
    "describe": "sharing",
    "info": "observing",
    "open_recipe": "opening",
    "plan": "planning",
    "plot": "plotting",
    "report": "running",
    "requeue_here": "batch_jobs",
    "run": "running",
    "run_folder": "opening",
    "submit": "submitting",
    "verify": "sharing",
    "view": "viewing",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)
