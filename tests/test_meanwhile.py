"""What the process that steps are forked from imports while it waits."""

from __future__ import annotations

import gc
import selectors
import socket
import subprocess
import sys
from collections import deque
from importlib.util import find_spec
from multiprocessing import forkserver

import pytest


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> selectors.DefaultSelector:
    """A selector with two modules still to import, the first of which does not exist."""
    monkeypatch.setattr(forkserver, "selectors", selectors)  # importing `meanwhile` changes it
    from casarun.engine.executors import meanwhile

    monkeypatch.setattr(meanwhile, "_left", deque(["casarun.no_such_module", "this"]))
    monkeypatch.setattr(meanwhile, "PATIENCE_S", 0.001)
    monkeypatch.setattr(meanwhile, "freeze", gc.enable)
    monkeypatch.delitem(sys.modules, "this", raising=False)
    return meanwhile.WaitsAndImports()


def test_all_that_is_imported_later_is_there() -> None:
    code = "from casarun.engine.executors.meanwhile import LATER; print(*LATER)"
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert [name for name in said.stdout.split() if find_spec(name) is None] == []
    assert "casarun.engine.measures" in said.stdout.split()


def test_who_asks_for_a_step_goes_first(waiting: selectors.DefaultSelector) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, waiting:
        waiting.register(ours, selectors.EVENT_READ)
        theirs.send(b"fork")
        assert [key.fileobj for key, _ in waiting.select()] == [ours]
    assert "this" not in sys.modules


def test_it_imports_while_it_waits_and_a_failure_harms_nobody(
    waiting: selectors.DefaultSelector, capsys: pytest.CaptureFixture[str]
) -> None:
    from casarun.engine.executors import meanwhile

    with waiting:
        assert not meanwhile.is_done()
        assert waiting.select(0) == []
    assert meanwhile.is_done()
    assert "this" in sys.modules
    assert gc.isenabled()
    assert "Zen" in capsys.readouterr().out
