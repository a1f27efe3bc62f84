"""A run folder is looked through while its plan is made: products, and folders of logs.

Both are hundreds of thousands of files in a run of many datasets. What is done beside the
planning is asked for before any step runs, and before the folders of logs are written or read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ..engine.seen import look_ahead, products_change, said_ahead
from ..folder import RECORDS, RunFolder, strange_in
from ..stages import compile as stages
from .opening import Reduction, held, keep_inside
from .standing import answer

_LOGS: Final = "logs"
_unknown: set[Path] = set()
"""Run folders whose logs nobody here has looked through yet."""
_OTHERS: Final = tuple(name for name in RECORDS if name != _LOGS)


@contextmanager
def held_while_looked_at(reduction: Reduction) -> Iterator[None]:
    """Hold a run folder as `held` does; begin to look at what it holds.

    Raises
    ------
    RefusedError, LockedError
        As `held`.
    """
    folder = reduction.folder
    with held(folder, records=_OTHERS):
        try:
            _begin(reduction)
            yield
        finally:
            products_change(folder)
            _unknown.discard(folder.root)


def _begin(reduction: Reduction) -> None:
    folder = reduction.folder
    imports = stages.imports(reduction.loaded.recipe).steps
    first = [path for step in imports for path in step.reads if path.startswith("/")]
    first += [path for step in imports for path in step.writes]

    def strange() -> str:
        return "" if strange_in(folder, (_LOGS,)) is None else "strange"

    _unknown.add(folder.root)
    waiting = answer(reduction) is not None
    if not look_ahead(folder, first, strange, waiting=waiting):
        require_inside(folder)


def require_inside(folder: RunFolder) -> None:
    """Refuse a run folder in whose logs something leads elsewhere, before they are used.

    Raises
    ------
    RefusedError
        With what it is, and where it leads.
    """
    if folder.root in _unknown:
        if said_ahead(folder) != "":
            keep_inside(folder, (_LOGS,))
        _unknown.discard(folder.root)
