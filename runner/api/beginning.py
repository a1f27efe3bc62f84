"""What a run begins with, before all else is imported: an executor, and the end of its time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..engine.executors.local import LocalExecutor
from ..engine.signals import StopFlag, walltime
from ..quantities import parse
from .opening import Reduction


@contextmanager
def executor_here() -> Iterator[LocalExecutor]:
    """Give an executor on this machine; its processes end with it."""
    executor = LocalExecutor()
    try:
        yield executor
    finally:
        executor.close()


@contextmanager
def time_total(reduction: Reduction, stop: StopFlag) -> Iterator[None]:
    """Ask a run to stop when it has had the time that its recipe gives it."""
    said = reduction.loaded.recipe.resources.time_total
    seconds = None if said == "none" else parse(said, "duration")
    with walltime(stop, seconds, f"{said} (resources.time_total)"):
        yield
