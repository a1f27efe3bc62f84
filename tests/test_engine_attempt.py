"""What an attempt's process has started itself."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest
from casarun.engine.executors.attempt import below

_TWO_LEVELS = """
import subprocess, sys, threading
code = "import subprocess as s; c = s.Popen(['sleep', '60']); print('up', flush=True); c.wait()"
made = []
def start():
    made.append(subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True))
    made[-1].stdout.readline()
threads = [threading.Thread(target=start) for _ in range(2)]
[t.start() for t in threads]
[t.join() for t in threads]
print("up", flush=True)
sys.stdin.read()
for one in made:
    one.kill()
"""


@pytest.fixture
def parent() -> Iterator[psutil.Popen]:
    """A process with two children, each with one of its own, all of whom have started."""
    made = psutil.Popen(
        [sys.executable, "-c", _TWO_LEVELS],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert made.stdout.readline() == "up\n"
    family = made.children(recursive=True)
    yield made
    for process in (*family, made):
        process.kill()
    psutil.wait_procs([*family, made], timeout=10)
    made.stdin.close()
    made.stdout.close()


def test_children_and_theirs_are_found(parent: psutil.Popen) -> None:
    wanted = {process.pid for process in parent.children(recursive=True)}
    assert len(wanted) == 4
    assert {process.pid for process in below(psutil.Process(parent.pid))} == wanted


def test_a_process_without_children() -> None:
    with psutil.Popen(["sleep", "60"]) as alone:
        assert below(psutil.Process(alone.pid)) == []
        alone.kill()


def test_a_process_that_is_gone_is_an_error() -> None:
    with psutil.Popen(["sleep", "60"]) as gone:
        watched = psutil.Process(gone.pid)
        gone.kill()
        gone.wait()
        with pytest.raises(psutil.Error):
            below(watched)
