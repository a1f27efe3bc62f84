"""How an attempt ended that left no result: what its process's end and its logs tell."""

from __future__ import annotations

import os
import re
import shutil
import signal
from pathlib import Path
from typing import Final

from ...errors import Cause
from ...folder import RunFolder
from ...quantities import human_bytes, human_seconds
from .. import worker
from ..causes import MEMORY_ADVICE, cause_in
from ..machine import oom_kills
from ..results import CASA_LOG, STDOUT_LOG, attempt_folder
from .attempt import Running

_TAIL_BYTES: Final = 65536
_FULL_BYTES: Final = 1_000_000
_LOCK_ADVICE: Final = "Close the table there, or end that process."
_DISK_ADVICE: Final = "Free some space and run the same command to go on."

_SERVER_DIED: Final = 255
"""What multiprocessing says of a process whose fork server ended before it."""


def explained(running: Running, code: int | None) -> tuple[Cause, str, str]:
    """Say what ended a process that left no result: cause, message, advice."""
    resources = running.job.step.resources
    if running.killed is Cause.TIME_LIMIT:
        said = f"ran longer than its time limit of {human_seconds(resources.time_limit_s)}"
        if running.holders:
            return Cause.TIME_LIMIT, f"{said}; {_locked(running)}", _LOCK_ADVICE
        advice = "Raise resources.time_per_step, or give the step less to do."
        return Cause.TIME_LIMIT, said, advice
    if running.killed is Cause.TABLE_LOCK:
        return Cause.TABLE_LOCK, f"waited and did nothing; {_locked(running)}", _LOCK_ADVICE
    if running.killed is Cause.OUT_OF_MEMORY:
        used, advice = human_bytes(running.peak_memory_bytes), MEMORY_ADVICE
        if 0 < running.job.memory_limit_bytes < running.peak_memory_bytes:
            limit = f"resources.memory_per_step is {human_bytes(running.job.memory_limit_bytes)}"
            advice = advice.replace("resources.memory ", "resources.memory_per_step ")
        elif 0 < resources.memory_bytes < running.peak_memory_bytes:
            limit = f"{human_bytes(resources.memory_bytes)} were expected"
        else:
            limit = "the steps together used more than they may"
        return Cause.OUT_OF_MEMORY, f"used {used} of memory; {limit}", advice
    if running.killed is not None:
        return running.killed, f"was killed: {running.killed}", ""
    # On a disk too full for the next write CASA aborts, and its log cannot say why.
    if code == worker.DISK_FULL_EXIT or (code != 0 and _is_full(running.job.folder)):
        return Cause.DISK_FULL, f"the disk of {running.job.folder} is full", _DISK_ADVICE
    if oom_kills() > running.ooms and code in (-signal.SIGKILL, _SERVER_DIED):
        said = "was killed by the system, which ran out of memory"
        return Cause.OUT_OF_MEMORY, said, MEMORY_ADVICE
    if code == _SERVER_DIED:
        return Cause.SIGNAL, "ended with the process that steps are forked from, which died", ""
    logs = attempt_folder(RunFolder(running.job.folder), running.job.step.id, running.job.attempt)
    stdout = _tail(logs / STDOUT_LOG)
    told = cause_in(stdout + _tail(logs / CASA_LOG))
    where = f"see {STDOUT_LOG} and {CASA_LOG} in {logs}"
    if code == -signal.SIGABRT:
        cause = Cause.OUT_OF_MEMORY if told is Cause.OUT_OF_MEMORY else Cause.ABORT
        why = _last_words(stdout)
        return cause, f"CASA aborted the process (exit code 134){why}; {where}", ""
    if code is not None and code < 0:
        return Cause.SIGNAL, f"was ended by signal {_signal_name(-code)}; {where}", ""
    return Cause.UNKNOWN, f"ended with exit code {code} and without a result; {where}", ""


def _last_words(stdout: str) -> str:
    """Return what C++ said before it aborted, to be put behind a message; it may be nothing."""
    found = re.findall(r"^terminate called.*?'(.+?)'|^\s*what\(\):\s*(.+)$", stdout, re.M)
    words = [kind or what for kind, what in found[-2:]]
    return f": {': '.join(words)}" if words else ""


def _locked(running: Running) -> str:
    """Say who has locked what the step needs."""
    first = running.holders[0]
    table = first.table.relative_to(running.job.folder)
    others = len(running.holders) - 1
    more = f" and {others} other{'s' if others > 1 else ''}" if others else ""
    return f"{first}{more} has {table} locked"


def _is_full(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < _FULL_BYTES
    except OSError:
        return False


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def _tail(path: Path) -> str:
    """Return the end of a log."""
    try:
        with path.open("rb") as stream:
            stream.seek(0, os.SEEK_END)
            stream.seek(max(0, stream.tell() - _TAIL_BYTES))
            return stream.read().decode("utf-8", "replace")
    except OSError:
        return ""
