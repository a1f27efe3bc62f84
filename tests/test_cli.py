"""How the command line ends."""

from __future__ import annotations

import subprocess
import sys

import pytest


def ended(work: str) -> subprocess.CompletedProcess[str]:
    """Run a command line in a process of its own that does some work and returns 7."""
    script = (
        "import atexit, sys, threading, time, types\n"
        "from casarun import cli\n"
        f"def run(arguments):\n    {work}\n    return 7\n"
        "cli.run = run\ncli.main()\n"
    )
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "work",
    [
        "print('said', end='')",
        "atexit.register(print, 'said', end='')",
        "threading.Thread(target=lambda: (time.sleep(0.2), print('said', end=''))).start()",
        "sys.modules['casatools'] = types; print('said', end='')",
    ],
)
def test_all_that_was_begun_is_done_before_the_process_leaves(work: str) -> None:
    done = ended(work)
    assert (done.returncode, done.stdout, done.stderr) == (7, "said", "")


def test_a_bug_outside_of_the_command_is_seen() -> None:
    done = ended("raise SystemError('broken')")
    assert done.returncode == 1
    assert done.stderr.endswith("SystemError: broken\n")
