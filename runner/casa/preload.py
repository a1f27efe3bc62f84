"""Imported once by the server that forks a process for each step.

CASA takes more than a second to import and must not be paid a step. Nothing here may start work,
open files or log: every step inherits what this module leaves behind. What plots need is imported
when nobody waits for it, see `casarun.engine.executors.meanwhile`.
"""

from __future__ import annotations

import sys
import traceback

from .config import configure, keep_little_freed_memory
from .stand_ins import standing_in
from .task_definitions import trust

FAILURE = ""
"""Why CASA cannot be imported, with the traceback; empty where it was."""

try:
    configure()

    import casatools  # noqa: F401

    try:
        with standing_in():
            import casatasks
    except Exception:  # a casatasks that needs more than stand-ins are
        for name in [name for name in sys.modules if name.partition(".")[0] == "casatasks"]:
            del sys.modules[name]
        import casatasks  # noqa: F401
    trust()
    keep_little_freed_memory()
except BaseException:  # whatever it is: a server that ends here could not say why
    FAILURE = traceback.format_exc()
