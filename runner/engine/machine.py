"""What of this machine a run may use: cores, memory, disk."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import psutil

from ..errors import Problem
from ..files import nearest_existing
from ..quantities import human_bytes, parse
from ..recipe.model import Resources
from .policy import Budget

_MEMORY_SHARE = 0.8


def allowed_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0))


def budget(resources: Resources, jobs: int | None = None) -> Budget:
    """Return what the steps of a run may use together.

    Parameters
    ----------
    resources : Resources
        The recipe's wishes. ``auto`` cores are all that are allowed less one, no more than
        have `memory_per_core` each, and at least one; ``auto`` memory is four fifths of what
        is free.
    jobs : int, optional
        How many steps may run at once, over the recipe.
    """
    if resources.memory == "auto":
        memory = int(_MEMORY_SHARE * psutil.virtual_memory().available)
    else:
        memory = int(parse(resources.memory, "size"))
    fed = int(memory // parse(resources.memory_per_core, "size"))
    auto = max(1, min(allowed_cores() - 1, fed))
    cores = jobs or (auto if resources.cores == "auto" else int(resources.cores))
    return Budget(cores, memory)


def disk_problem(folder: Path, input_bytes: int, factor: float) -> Problem | None:
    """Say that there is too little free disk for a run, or return None.

    Parameters
    ----------
    folder : Path
        The run folder, which need not be there yet.
    input_bytes : int
        Size of all inputs.
    factor : float
        ``resources.disk_factor``: how many times the input a run may need.
    """
    free = shutil.disk_usage(nearest_existing(folder)).free
    needed = factor * input_bytes
    if free >= needed:
        return None
    return Problem(
        f"{human_bytes(free)} are free in {folder}, a run may need {human_bytes(needed)} "
        f"({factor:g} times the input of {human_bytes(input_bytes)}): free some, choose another "
        "folder with --output, or lower resources.disk_factor",
        ("resources", "disk_factor"),
    )
