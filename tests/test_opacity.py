"""The step that asks CASA's plotweather: what it takes over, and what it does not believe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from casarun.engine import opacity
from casarun.errors import StepFailedError


def asked(monkeypatch: pytest.MonkeyPatch, folder: Path, values: list[float]) -> dict[str, Any]:
    """Perform the step with a plotweather that gives these values."""
    calls = []

    def task(name: str, params: dict[str, Any]) -> list[float]:
        calls.append((name, params))
        return values

    monkeypatch.setattr(opacity.invoke, "task", task)
    out = folder / "opacity.json"
    done = opacity.opacity({"vis": str(folder), "spws": [0, 2], "out": str(out)})
    assert calls == [("plotweather", {"vis": str(folder), "doPlot": False})]
    assert json.loads(out.read_text()) == done
    return done


def test_opacities_of_the_windows_that_are_wanted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    done = asked(monkeypatch, tmp_path, [0.05, 0.06, 0.07])
    assert done["opacity"] == [0.05, 0.07]
    assert done["origin"] == "from the season alone: no weather came with the data"


@pytest.mark.parametrize("value", [float("nan"), 0.0, -0.1])
def test_what_is_no_opacity_is_not_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: float
) -> None:
    with pytest.raises(StepFailedError) as failed:
        asked(monkeypatch, tmp_path, [0.05, 0.06, value])
    assert failed.value.message == f"CASA's plotweather gives opacities of 0.05, {value:.4g}"
    assert failed.value.advice == (
        "Look at the WEATHER table, or give values (calibrate.priors.opacity)."
    )
