"""A recipe of many datasets, and an executor that does its steps at once, without CASA."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

from casarun.engine.executors import Ended, Job
from casarun.engine.results import CASA_LOG, PARAMS, RESULT, STDOUT_LOG, attempt_folder
from casarun.folder import RunFolder
from casarun.observation import Observation

from . import casa_files
from .big_plans import InstantExecutor
from .observations import antennas, vla

RECIPE = """casarun = 1
[project]
name = "survey"
[calibrators]
flux = { field = "1331*" }
bandpass = "1331*"
phase = "1445*"
[targets]
fields = ["T*"]
[resources]
disk_factor = 0
disk_reserve = "none"
keep = "KEEP"
[[image]]
name = "continuum"
imsize = 64
cell = "5arcsec"
"""
OBSERVED = replace(vla(), antennas=antennas(*(20.0 * n for n in range(1, 28))))


def write_recipe(folder: Path, datasets: int, keep: str = "all") -> Path:
    """Write a recipe of so many datasets, each with a target of its own; return its path."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    for number in range(datasets):
        (folder / "data" / f"day{number:04}.uvfits").write_text(str(number))
    tables = (
        f'[[dataset]]\nname = "day{n:04}"\nvis = "data/day{n:04}.uvfits"\n' for n in range(datasets)
    )
    path = folder / "survey.toml"
    path.write_text(RECIPE.replace("KEEP", keep) + "".join(tables))
    return path


class NoCasa(InstantExecutor):
    """Does steps in no time and leaves what they leave: products, numbers, logs.

    Parameters
    ----------
    real : bool
        Products have as many files as CASA's have, though small ones.
    """

    def __init__(self, real: bool = False) -> None:
        super().__init__()
        self._real = real
        if real:
            self._make = casa_files.make

    def start(self, job: Job) -> Mapping[str, Any]:
        """Do the step at once."""
        placed = super().start(job)
        _numbers(job)
        if self._real:
            _plots(job)
        (ended,) = self._ended[-1:]
        writes = {p: _state(job.folder / p) or was for p, was in ended.result["writes"].items()}
        result = {**ended.result, "writes": writes, "wall_s": 1.0, "peak_memory_bytes": 3e8}
        self._ended[-1] = Ended(ended.step_id, result)
        _logs(job, result)
        return placed

    def warm_up(self) -> None:
        """Have nothing to import."""

    def failure(self) -> str:
        """Have CASA, as it were."""
        return ""


def _state(path: Path) -> str | None:
    from casarun.files import product_state

    return product_state(path)


def _numbers(job: Job) -> None:
    """Write the metadata, or what was measured, of a dataset or an image."""
    from test_qa_verdict import dataset, image

    step = job.step
    if step.action == "observe":
        _write(job.folder / step.params["out"], _observation(step.dataset).to_json())
    elif step.action == "measure.dataset":
        plot = {
            "section": "uv",
            "file": f"plots/{step.dataset}/uv.png",
            "title": "uv",
            "caption": "",
        }
        _write(job.folder / step.params["data"], dataset(dataset=step.dataset, plots=[plot]))
        (job.folder / "qa" / plot["file"]).touch()
    elif step.action == "measure.image":
        names = {"target": step.target, "image": step.image, "fits": step.params["fits"]}
        _write(job.folder / step.params["data"], image(**names))


_PLOTS = {"measure.dataset": 10, "measure.image": 2}
"""How many plots an NGC 5921 run has of a dataset, and of an image."""


def _plots(job: Job) -> None:
    for path in job.step.writes:
        if path.startswith("qa/plots/"):
            for number in range(1, _PLOTS[job.step.action]):
                (job.folder / path / f"{number}.png").touch()


def _observation(name: str) -> Observation:
    *calibrators, target = OBSERVED.fields
    return replace(OBSERVED, vis=name, fields=(*calibrators, replace(target, name=f"T{name[3:]}")))


def _write(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data))


def _logs(job: Job, result: Mapping[str, Any]) -> None:
    logs = attempt_folder(RunFolder(job.folder), job.step.id, job.attempt)
    logs.mkdir(parents=True, exist_ok=True)
    for name in (CASA_LOG, STDOUT_LOG):
        (logs / name).touch()
    _write(logs / PARAMS, job.step.params)
    for place in (logs, logs.parent):
        _write(place / RESULT, result)


@contextmanager
def without_casa(real: bool = False) -> Iterator[None]:
    """Let the functions of `casarun.api` run steps in no time, and wait for no disk.

    Parameters
    ----------
    real : bool
        See `NoCasa`.
    """

    @contextmanager
    def executor_here() -> Iterator[NoCasa]:
        yield NoCasa(real)

    places = [f"casarun.api.{name}.executor_here" for name in ("running", "planning", "observing")]
    with mock.patch.object(os, "fdatasync"):
        patches = [mock.patch(place, executor_here) for place in places]
        for patch in patches:
            patch.start()
        try:
            yield
        finally:
            for patch in patches:
                patch.stop()
