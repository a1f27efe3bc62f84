"""The batch script of a Slurm job: readable, and good to be submitted by hand as well."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from ...errors import refuse
from .batch import Ask

STOP_S: Final = 120.0
"""So long before its wall time a job is asked to stop, in s; see `stop_margin_s`."""

_MEBIBYTE: Final = 2**20


def script(ask: Ask, command: Sequence[str], log: Path, about: str, *, array: bool = False) -> str:
    """Return the batch script of a job.

    Parameters
    ----------
    ask : Ask
        What it asks for.
    command : sequence of str
        What the job becomes at the end: Slurm's signals reach only the process of the script.
    log : Path
        Where what it prints goes; ``%j`` stands for the job's number there.
    about : str
        What the job does, for its reader; lines.
    array : bool
        It is one task of an array: its number stands behind the last word of the command.
    """
    task = '"$SLURM_ARRAY_TASK_ID"' if array else ""
    lines = ["#!/bin/bash", *(f"# {line}".rstrip() for line in about.splitlines())]
    lines += [f"#SBATCH {option}" for option in _options(ask, log)]
    lines += ["", "set -eu"]
    if ask.setup:
        lines += ["", "# From your own configuration:", *ask.setup]
    lines += ["", f"exec {shlex.join(command)}{task}", ""]
    return "\n".join(lines)


def _options(ask: Ask, log: Path) -> Iterator[str]:
    """Yield the options of ``sbatch``; the user's own are last, so that they win."""
    yield f"--job-name={ask.name}"
    for option in ("partition", "account", "qos", "constraint", "reservation"):
        if value := getattr(ask, option):
            yield f"--{option}={value}"
    yield "--nodes=1"
    yield "--ntasks=1"
    yield f"--cpus-per-task={ask.cores}"
    yield f"--mem={mebibytes(ask.memory_bytes)}M"
    yield f"--time={slurm_time(ask.seconds)}"
    yield f"--signal=B:USR1@{round(stop_margin_s(ask.seconds))}"
    yield "--requeue"
    yield "--open-mode=append"
    yield f"--output={_quoted(log)}"
    yield from ask.options


def mebibytes(n_bytes: int) -> int:
    """Return a memory in the unit that Slurm calls M, rounded up."""
    return math.ceil(n_bytes / _MEBIBYTE)


def stop_margin_s(seconds: float) -> float:
    """Return how long before its wall time a job is asked to stop: 120 s, of short ones less."""
    return min(STOP_S, seconds / 4)


def slurm_time(seconds: float) -> str:
    """Write a wall time as Slurm reads it, in whole minutes.

    Examples
    --------
    >>> slurm_time(90), slurm_time(90000)
    ('00:02:00', '1-01:00:00')
    """
    minutes = max(1, math.ceil(seconds / 60))
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{f'{days}-' if days else ''}{hours:02d}:{minutes:02d}:00"


def _quoted(path: Path) -> str:
    """Write a path into an ``#SBATCH`` line, which takes double quotes.

    Raises
    ------
    RefusedError
        If Slurm cannot be told of it.
    """
    text = str(path)
    if any(char in text for char in '"\\\n\r') or "%" in str(path.parent):
        raise refuse(
            f'{path.parent}: Slurm takes no paths with ", \\, % or line breaks; choose another run '
            "folder with --output"
        )
    return f'"{text}"' if " " in text or "#" in text or "'" in text else text
