"""A bound for the CPU time of imports where memory may be too little for them.

OpenBLAS asks for memory without end where ``ulimit -v`` leaves it none, and whoever waits for the
process that imports it would wait for ever.
"""

from __future__ import annotations

import resource
import signal
from typing import Final

_CPU_S: Final = 20
"""The imports take a tenth of that."""

_ALLOWED: Final = resource.getrlimit(resource.RLIMIT_CPU)
_BLOCKED: Final = signal.pthread_sigmask(signal.SIG_BLOCK, ())


def memory_is_limited() -> bool:
    """Say whether a process may not ask for all memory that there is."""
    return resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY


def bound() -> None:
    """Have the system end this process if it takes longer; only where memory is limited.

    By SIGXCPU, which is let in for that (see `forking.signals_blocked`): CASA catches SIGPROF.
    """
    if not memory_is_limited():
        return
    soft, hard = _ALLOWED
    least = _CPU_S if soft == resource.RLIM_INFINITY else min(_CPU_S, soft)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGXCPU,))
    resource.setrlimit(resource.RLIMIT_CPU, (least, hard))


def lift() -> None:
    """Allow this process, and all that are forked from it, what it was allowed before."""
    resource.setrlimit(resource.RLIMIT_CPU, _ALLOWED)
    signal.pthread_sigmask(signal.SIG_SETMASK, _BLOCKED)
