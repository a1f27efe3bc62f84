"""A small run folder to describe and pack, and the validator of crates."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from casarun.folder import RunFolder
from casarun.plan import Auto, Plan, Step
from casarun.qa.verdict import assemble
from casarun.report.conclude import plan_json

from .run_folders import LIMITS

VALIDATOR = os.environ.get("CASARUN_CRATE_VALIDATOR", "") or (
    sys.executable if importlib.util.find_spec("rocrate_validator") else ""
)
needs_validator = pytest.mark.skipif(
    not VALIDATOR, reason="no roc-validator here, nor named by CASARUN_CRATE_VALIDATOR"
)
AT = "2026-03-01T10:00:0{}.000Z"
ABOUT = {"name": "small", "title": "A small run", "state": "done", "started": AT.format(0),
         "ended": AT.format(9), "versions": {"casarun": "0.1", "casatasks": "6.7"}}  # fmt: skip
METRICS = {**assemble({}, [], LIMITS, []), "run": {**ABOUT, "peak_disk_bytes": 0}}
RECIPE = """casarun = 1
[project]
name = "small"
title = "A small run"
output = "{output}"
[[dataset]]
name = "day"
vis = "{vis}"   # where it lay
"""


def invalid(crate: Path) -> str:
    """Return what the validator has against a crate's folder; nothing if it passes."""
    script = Path(__file__).with_name("crate_validator.py")
    done = subprocess.run(
        [VALIDATOR, str(script), str(crate)], capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr[-3000:]
    assert bool(done.stdout.strip()) == bool(done.returncode), done.stderr[-3000:]
    return done.stdout.strip()


def small_run(place: Path, project: dict[str, Any] | None = None) -> tuple[RunFolder, Plan]:
    """Make a run folder of two steps by hand: an MS that was split, an image that was exported."""
    folder = RunFolder(place / "run")
    vis = place / "data" / "day one.ms"
    for path, content in {
        vis / "table.dat": "input", vis / "FIELD" / "table.dat": "input",
        folder.root / "calibrated" / "day.ms" / "table.dat": "ms",
        folder.root / "caltables" / "day.B" / "table.dat": "table",
        folder.root / "images" / "n.fits": "pixels", folder.root / "images" / "n.noise.json": "{}",
        folder.root / "qa" / "index.html": "report", folder.metrics: json.dumps(METRICS),
        folder.root / "qa" / "plots" / "n.png": "plot", folder.root / "logs" / "a" / "x.log": "log",
        folder.recipe_text: RECIPE.format(vis=vis, output=folder.root),
    }.items():  # fmt: skip
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    split = Step("day.split", "split", "split day", "casa:split", {"vis": str(vis)},
                 reads=(str(vis),), writes=("calibrated/day.ms",), dataset="day")  # fmt: skip
    export = Step("n.export", "export", "write n.fits", "casa:exportfits", {},
                  reads=("images/n.image",), writes=("images/n.fits",), target="n")  # fmt: skip
    plan = Plan((split, export), {str(vis): "1"}, {"casarun": "0.1"},
                (Auto("calibrate.refant", "day", "ea01", "it is in the middle"),))  # fmt: skip
    steps = {step.id: {"state": "done", "reason": ""} for step in plan.steps}
    meta = {**ABOUT, "steps": steps}
    document = {"casarun": 1, "project": {"name": "small", **(project or {})}}
    for path, data in (
        (folder.plan, plan_json(plan)), (folder.root / "docs" / "run.json", meta),
        (folder.recipe, document),
    ):  # fmt: skip
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(data))
    folder.private.mkdir()
    events = [
        {"t": AT.format(2 + number), "event": event, "step": step.id, "attempt": 1,
         "fingerprint": plan.fingerprints[step.id], "wall_s": 0.5, "cpu_s": 0.5,
         "peak_memory_bytes": 1, "writes": {}}
        for number, step in enumerate(plan.steps) for event in ("step-started", "step-done")
    ]  # fmt: skip
    folder.journal.write_text("".join(json.dumps(event) + "\n" for event in events))
    return folder, plan
