"""What a plan expects its steps to cost, held against what they took."""

from __future__ import annotations

from pathlib import Path

from casarun.engine.results import SKIPPED, read_last_result
from casarun.files import read_json
from casarun.folder import RunFolder

from . import cli


def hold(run: Path) -> None:
    """Assert for a run of all steps: disk to 1.5, memory of each step to 2, time in all to 3."""
    done = {e["step"]: e for e in cli.events(run) if e["event"] == "step-done"}
    plan = read_json(RunFolder(run).plan)
    seconds = {"expected": 0.0, "taken": 0.0}
    for step in plan["steps"]:
        expected, event = step["resources"], done[step["id"]]
        result = read_last_result(RunFolder(run), step["id"])
        assert result is not None
        if SKIPPED in result["outcome"] and not event["peak_memory_bytes"]:
            continue  # the runner passed over it, without a process
        ratio = expected["memory_bytes"] / event["peak_memory_bytes"]
        # A round of cleaning that is not needed takes what an idle process does.
        most = 4 if SKIPPED in result["outcome"] else 2
        assert 0.6 < ratio < most, (step["id"], ratio)
        seconds["expected"] += expected["seconds"]
        seconds["taken"] += event["cpu_s"]
    assert 1 / 3 < seconds["expected"] / seconds["taken"] < 3
    held = sum(path.stat().st_size for path in run.rglob("*") if path.is_file())
    disk = sum(step["resources"]["disk_bytes"] for step in plan["steps"])
    assert 1 / 1.5 < disk / held < 1.5
