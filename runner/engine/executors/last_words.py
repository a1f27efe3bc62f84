"""Imported first in the process that steps are forked from: where it fails, it ends.

Without memory for the imports it would hang in the handlers that libraries have for the end of a
process, and whoever asks it for a step would wait for ever. Nor may it take too long for them
(`import_time`). And no garbage is looked for until
`frozen` is imported: while nothing but imports goes on that takes an eighth of their time.
"""

from __future__ import annotations

import gc
import os
import sys
import traceback
from types import TracebackType

from . import import_time


def end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Say what went wrong, and end this process at once."""
    try:
        traceback.print_exception(kind, error, trace)
        sys.stderr.flush()
    finally:
        os._exit(1)


sys.excepthook = end
gc.disable()
import_time.bound()
