"""CASA's configuration: one thread in each process, whatever the environment says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from casarun.casa import config
from casarun.engine.executors.local import LocalExecutor
from casarun.engine.policy import Budget
from casarun.engine.results import read_last_result
from casarun.engine.scheduler import run
from casarun.folder import RunFolder
from casarun.plan import Plan
from support import thread_actions
from support.fake_actions import fake, served


def test_threads_of_the_environment_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in config.THREAD_VARIABLES:
        monkeypatch.setenv(name, "8")
    config.one_thread_a_process()
    assert {os.environ[name] for name in config.THREAD_VARIABLES} == {"1"}


@pytest.mark.casa
def test_every_step_has_one_thread_of_each_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in config.THREAD_VARIABLES:
        monkeypatch.setenv(name, "4")
    folder = RunFolder(tmp_path / "run")
    steps = (fake("first"), fake("second"))
    with served():
        executor = LocalExecutor()
        try:
            done = run(Plan(steps), folder, executor, None, Budget(2), actions=thread_actions.NAME)
        finally:
            executor.close()
    assert sorted(done.done) == ["first", "second"]
    for step in done.done:
        found = (read_last_result(folder, step) or {})["outcome"]
        assert {name.partition("-")[0] for name in found["libraries"]} >= {
            "libgomp.so.1",
            "libscipy_openblas64_",
            "libscipy_openblas",
        }
        assert set(found["libraries"].values()) == {1}
        assert found["started"] == 0
        assert found["frozen"] > 50_000  # what CASA brought along (86,000) is not collected
