"""Imported once by the server that forks a process for each step.

CASA takes 1.5 s to import and must not be paid a step. Nothing here may start work, open
files or log: every step inherits what this module leaves behind.
"""

from .config import configure

configure()

import casatasks  # noqa: E402, F401
import casatools  # noqa: E402, F401

from ..qa import collect  # noqa: E402, F401
