"""Actions: what a failure of a task is said to be."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from casarun.engine import actions
from casarun.engine.scene import Scene
from casarun.errors import Cause, StepFailedError
from casarun.plan import Step

BEGIN = "2026-11-27 02:46:50\tINFO\tfluxscale::::casa\t##### Begin Task: fluxscale\n"
LOCKED = (
    "2026-11-27 02:47:19\tSEVERE\tfluxscale::Calibrater::fluxscale\tCaught Exception: Error "
    "(Resource deadlock avoided) when acquiring lock on /run/raw/day.ms/HISTORY/table.lock\n"
)
OTHER = "2026-11-27 02:47:19\tSEVERE\tfluxscale::::\tNo solutions for field 3\n"


@pytest.fixture
def fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that performs a step whose task logs some lines and raises an error."""

    def perform(log: str, error: Exception) -> None:
        scene = Scene(tmp_path, tmp_path / "casa.log", 1)

        def task(name: str, params: Mapping[str, Any]) -> None:
            scene.log_file.write_text(BEGIN + log)
            raise error

        monkeypatch.setattr(actions.invoke, "use_log", lambda path: None)
        monkeypatch.setattr(actions.invoke, "task", task)
        actions.perform(Step("s", "calibrate", "", "casa:fluxscale"), {}, scene)

    return perform


def test_the_log_tells_of_a_lock_where_the_exception_does_not(fails: Any) -> None:
    with pytest.raises(StepFailedError) as caught:
        fails(LOCKED, RuntimeError("Error in Calibrater::fluxscale."))
    assert caught.value.cause is Cause.TABLE_LOCK
    assert "when acquiring lock on /run/raw/day.ms/HISTORY/table.lock" in caught.value.message


def test_another_line_of_the_log_changes_nothing(fails: Any) -> None:
    with pytest.raises(RuntimeError, match=r"^Error in Calibrater::fluxscale\.$"):
        fails(OTHER, RuntimeError("Error in Calibrater::fluxscale."))


def test_an_exception_s_own_cause_goes_first(fails: Any) -> None:
    with pytest.raises(MemoryError):
        fails(LOCKED, MemoryError())
