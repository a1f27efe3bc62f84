"""Imports what only some steps need, in the process that steps are forked from, while it waits.

The first steps import and flag data. They need CASA and not what plots, which takes another half
a second to import: so they start sooner, and that half second goes by beside them. A step that
comes too early for an import does it by itself.
"""

from __future__ import annotations

import contextlib
import gc
import selectors
from collections import deque
from importlib import import_module
from multiprocessing import forkserver
from types import SimpleNamespace
from typing import Any, Final

from .frozen import freeze
from .import_time import memory_is_limited

LATER: Final = (
    "casarun.casa.earth_rotation",
    "astropy.utils",
    "astropy.units",
    "astropy.table",
    "astropy.coordinates",
    "astropy.wcs",
    "matplotlib",
    "matplotlib.text",
    "matplotlib.image",
    "matplotlib.axes",
    "matplotlib.projections",
    "matplotlib.figure",
    "contourpy",
    "PIL.JpegImagePlugin",
    "astropy.visualization.wcsaxes",
    "scipy.special",
    "scipy.ndimage",
    "scipy.linalg",
    "scipy.spatial",
    "scipy.optimize",
    "casarun.engine.measures",
    "casarun.engine.ranges",
    "casarun.engine.cube_join",
    "casarun.engine.selfcal_image",
    "casarun.engine.selfcal_solve",
    "casarun.engine.selfcal_plots",
)
"""In this order, a tenth of a second at most each: so long may a step have to wait for one."""

PATIENCE_S: Final = 0.03
"""Nothing is imported so soon after a step began or ended: the next one may be just behind it."""

_left = deque(() if memory_is_limited() else LATER)
"""What is not imported yet. With little memory an import could go on for ever (`import_time`), and
no step could be forked meanwhile: so each step does its own."""


class WaitsAndImports(selectors.DefaultSelector):
    """Waits as its base class does, but imports something wherever it would have to wait."""

    def select(self, timeout: float | None = None) -> Any:
        """Return what is ready; see `selectors.BaseSelector.select`."""
        while _left:
            ready = super().select(PATIENCE_S)
            if ready:
                return ready
            import_next()
        return super().select(timeout)


def is_done() -> bool:
    """Say whether nothing is left to be imported."""
    return not _left


def import_next() -> None:
    """Import the next module; the step that needs one which fails will say so."""
    gc.disable()
    with contextlib.suppress(Exception):
        import_module(_left.popleft())
    freeze()


# The server of multiprocessing has no place for work of its own. Where a later version waits by
# other means, steps do these imports by themselves.
forkserver.selectors = SimpleNamespace(  # type: ignore[attr-defined]
    DefaultSelector=WaitsAndImports, EVENT_READ=selectors.EVENT_READ
)
