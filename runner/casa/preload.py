"""Imported once by the server that forks a process for each step.

CASA takes more than a second to import and must not be paid a step. Nothing here may start work,
open files or log: every step inherits what this module leaves behind. What plots need is imported
when nobody waits for it, see `casarun.engine.executors.meanwhile`.
"""

from __future__ import annotations

import traceback

from .config import configure

FAILURE = ""
"""Why CASA cannot be imported, with the traceback; empty where it was."""

try:
    configure()

    import casatasks  # noqa: F401
    import casatools  # noqa: F401
except BaseException:  # whatever it is: a server that ends here could not say why
    FAILURE = traceback.format_exc()
