"""Imports that spin for lack of memory are ended; nothing of that is left to the steps."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys

BEGIN = """
import json, resource, signal
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGXCPU})
before = resource.getrlimit(resource.RLIMIT_CPU)
from casarun.engine.executors import import_time
import_time._CPU_S = 1
from casarun.engine.executors import last_words
"""
SPIN = "while True: pass"
TELL = """
def told():
    blocked = signal.SIGXCPU in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    return [resource.getrlimit(resource.RLIMIT_CPU) == before, blocked]
during = told()
from casarun.engine.executors import frozen
print(json.dumps([during, told()]))
"""
MEMORY_BYTES = 2_000_000_000


def run(code: str, memory_bytes: int) -> subprocess.CompletedProcess[str]:
    """Run what the process that steps are forked from does, with some address space."""
    program = f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({memory_bytes},) * 2)"
    return subprocess.run(
        [sys.executable, "-c", f"{program}\n{BEGIN}\n{code}"],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


def test_imports_that_spin_where_memory_is_limited_are_ended() -> None:
    assert run(SPIN, MEMORY_BYTES).returncode == -signal.SIGXCPU


def test_after_the_imports_all_is_allowed_again() -> None:
    done = run(TELL, MEMORY_BYTES)
    assert json.loads(done.stdout) == [[False, False], [True, True]], done.stderr


def test_where_memory_has_no_limit_nothing_is_bound() -> None:
    done = run(TELL, resource.RLIM_INFINITY)
    assert json.loads(done.stdout) == [[True, True], [True, True]], done.stderr
