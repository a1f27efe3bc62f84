"""Imported last in the process that steps are forked from: what it holds by now, it keeps.

The garbage collector passes over it in every step. Without that, the first full collection in
a step writes to all objects of CASA, Matplotlib and astropy, and the system must copy their pages:
40 MB and a tenth of the CPU time of a step that plots.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys

from . import import_time


def freeze() -> None:
    """Keep all that there is; look for garbage from now on among what comes later."""
    gc.freeze()
    gc.enable()


freeze()
import_time.lift()
if (words := sys.modules.get(f"{__package__}.last_words")) and sys.excepthook is words.end:
    # Only in the process that steps are forked from. CASA's own handlers at exit can hang.
    atexit.register(os._exit, 0)
