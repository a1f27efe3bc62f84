"""An action that tells what a step finds in its process: threads of libraries, frozen objects."""

from __future__ import annotations

import ctypes
import gc
from pathlib import Path
from typing import Any

from casarun.engine.scene import Scene
from casarun.plan import Step

NAME = "support.thread_actions"
_ASKED = {
    "libgomp": ("omp_get_max_threads",),
    "openblas": (
        "openblas_get_num_threads",
        "scipy_openblas_get_num_threads",
        "scipy_openblas_get_num_threads64_",
    ),
}


def perform(step: Step, params: dict[str, Any], scene: Scene) -> dict[str, Any]:
    """Return threads by library, and how many there are after a matrix product."""
    import casatasks  # noqa: F401 - the server has it; in a process without, this would load it
    import numpy as np
    import scipy.linalg  # noqa: F401 - has an OpenBLAS of its own

    before = _threads()
    np.ones((600, 600)) @ np.ones((600, 600))
    started = _threads() - before
    return {"libraries": _libraries(), "started": started, "frozen": gc.get_freeze_count()}


def _threads() -> int:
    return sum(1 for _ in Path("/proc/self/task").iterdir())


def _libraries() -> dict[str, int]:
    mapped = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines()}
    found = {}
    for path in sorted(mapped):
        for kind, names in _ASKED.items():
            if kind not in Path(path).name:
                continue
            library = ctypes.CDLL(path)
            for name in names:
                if hasattr(library, name):
                    found[Path(path).name] = int(getattr(library, name)())
    return found


def prove(step: Step, params: dict[str, Any], outcome: Any, scene: Scene) -> dict[str, Any]:
    """Find nothing."""
    return {}


def idle(step: Step, params: dict[str, Any]) -> bool:
    """Find something to do."""
    return False


def leaves(step: Step, path: str) -> frozenset[str]:
    """Leave no file alone."""
    return frozenset()
