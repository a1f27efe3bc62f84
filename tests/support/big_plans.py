"""Plans of many steps, and an executor that does them at once: what the engine itself costs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from casarun.engine.executors import Ended, Job
from casarun.engine.results import failure
from casarun.errors import Cause
from casarun.files import process_mark, product_state
from casarun.plan import Check, Plan, Step

STEPS_PER_DATASET = 20
_IMAGES = ("image", "mask", "model", "pb", "psf", "residual", "sumwt")
_DIRTY = ("pb", "psf", "residual", "sumwt")


def big_plan(datasets: int) -> Plan:
    """Return a plan of 20 steps a dataset: calibrated in place, split, imaged, measured."""
    names = [f"day{number:04}" for number in range(datasets)]
    steps = tuple(step for name in names for step in (*_calibrated(name), *_imaged(name)))
    assert len(steps) == STEPS_PER_DATASET * datasets
    inputs = {f"/data/{name}.uvfits": f"{number:032x}" for number, name in enumerate(names)}
    return Plan(steps, inputs, {"casarun": "0.1.0", "casatasks": "6.7.0.31"})


def _calibrated(name: str) -> tuple[Step, ...]:
    """Return the steps of one dataset up to its split: one MS changed six times, four tables."""
    ms = f"raw/{name}.ms"
    quick, bandpass, phase, amp = (f"caltables/{name}.{t}" for t in ("G0", "B0", "G1", "G2"))
    flux, kept = f"caltables/{name}.flux", f"raw/{name}.observation.json"
    return (
        _step(name, "import", "casa:importuvfits", f"/data/{name}.uvfits", writes=ms),
        _step(name, "observe", "observe", ms, writes=kept),
        _step(name, "flag", "casa:flagdata", updates=ms),
        _step(name, "flag.quack", "casa:flagdata", updates=ms),
        _step(name, "setjy", "casa:setjy", updates=ms),
        _step(name, "quick", "casa:gaincal", ms, writes=quick),
        _step(name, "bandpass", "casa:bandpass", f"{ms} {quick}", writes=bandpass),
        _step(name, "phase", "casa:gaincal", f"{ms} {bandpass}", writes=phase),
        _step(name, "amp", "casa:gaincal", f"{ms} {bandpass} {phase}", writes=amp),
        _step(name, "fluxscale", "casa:fluxscale", f"{ms} {amp}", writes=f"{flux} {flux}.json"),
        _step(name, "apply.own", "casa:applycal", f"{bandpass} {phase} {flux}", updates=ms),
        _step(name, "apply.target", "casa:applycal", f"{bandpass} {phase} {flux}", updates=ms),
        _step(name, "statwt", "casa:statwt", updates=ms),
        _step(name, "split", "casa:split", ms, writes=f"calibrated/{name}.target.ms"),
    )


def _imaged(name: str) -> tuple[Step, ...]:
    """Return the steps of one dataset from its split data to a measured image."""
    data, image = f"calibrated/{name}.target.ms", f"images/{name}.map"
    dirty = " ".join(f"images/dirty/{name}.map.{kind}" for kind in _DIRTY)
    clean = " ".join(f"{image}.{kind}" for kind in _IMAGES)
    numbers = f"qa/data/{name}.map.json qa/plots/{name}.map"
    return (
        _step(name, "dirty", "casa:tclean", data, writes=dirty),
        _step(name, "noise", "noise", dirty, writes=f"{image}.noise.json"),
        _step(name, "clean", "clean", f"{data} {dirty} {image}.noise.json", writes=clean),
        _step(name, "pbcor", "casa:impbcor", f"{image}.image {image}.pb", writes=f"{image}.pbcor"),
        _step(name, "export", "casa:exportfits", f"{image}.image", writes=f"{image}.fits"),
        _step(name, "measure", "measure.image", f"{clean} {image}.fits", writes=numbers),
    )


def _step(
    dataset: str, what: str, action: str, reads: str = "", writes: str = "", updates: str = ""
) -> Step:
    """Build a step with as many parameters and checks as those of recipes have."""
    params = {
        "vis": reads or updates,
        "field": "1331+305*",
        "spw": "0:6~56",
        "solint": "inf",
        "refant": "ea10,ea05,ea12,ea21,ea01",
        "gaintable": reads.split(),
        "interp": ["linear", "nearest", "nearest"],
        "niter": 10000,
        "cell": ["8arcsec"],
        "scales": [0, 6, 18],
        "threshold": {"$late": {"path": "x.json", "key": "rms", "times": 3.0, "unit": "Jy"}},
    }
    return Step(
        f"{dataset}.{what}",
        what,
        f"{what} of {dataset}",
        action,
        params,
        tuple(reads.split()),
        tuple(writes.split()),
        tuple(updates.split()),
        (Check("table", {"path": writes or updates, "spw": [0], "fields": [0, 1]}),),
        dataset=dataset,
    )


class InstantExecutor:
    """Does steps in no time: products are small files, and folders of two for casacore's."""

    def __init__(self) -> None:
        self._ended: list[Ended] = []
        self._placed = process_mark(1)
        self._make = make

    def start(self, job: Job) -> Mapping[str, Any]:
        """Do the step at once."""
        writes = {}
        for path in job.step.writes:
            self._make(job.folder, path, job.step.id)
        for path in job.step.updates:
            (job.folder / path / "table.f0").write_text(job.step.id)
        for path in (*job.step.writes, *job.step.updates):
            writes[path] = product_state(job.folder / path)
        result = {**failure(Cause.UNKNOWN, ""), "ok": True, "cause": "", "writes": writes}
        self._ended.append(Ended(job.step.id, result))
        return self._placed

    def wait(self, timeout_s: float) -> list[Ended]:
        """Return all that was started."""
        ended, self._ended = self._ended, []
        return ended

    def usage(self) -> Mapping[str, int]:
        """Know nothing."""
        return {}

    def kill(self, step_id: str, cause: Cause | None) -> None:
        """Have nothing to end."""

    def leaving(self) -> list[str]:
        return []

    def end_stale(self, placed: Mapping[str, Any]) -> None:
        """Have nothing to end."""

    def close(self) -> None:
        """Have nothing to close."""


def make(root: Path, product: str, text: str) -> None:
    """Make a product: a file, or a folder of two."""
    path = root / product
    if path.suffix in {".json", ".fits"}:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(text))
        return
    path.mkdir(parents=True, exist_ok=True)
    (path / "table.dat").write_text("table")
    (path / "table.f0").write_text(text)
