"""Cubes made by the plan's own steps, one after the other, in this process."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from casarun.casa import checks, invoke, metadata
from casarun.casa.image_planes import open_image
from casarun.engine import late, ranges
from casarun.engine.results import SKIPPED
from casarun.plan import Step
from casarun.recipe.model import Dataset, Image, Recipe, Targets
from casarun.stages.compile import full

Floats = npt.NDArray[np.float64]
MS = "calibrated/day.target.ms"


def steps(ms: Path, **settings: Any) -> list[Step]:
    """Return the steps of a cube of an MS that holds one target alone."""
    recipe = Recipe(
        casarun=1,
        dataset=(Dataset(vis=str(ms), name="day", calibrated=True),),
        targets=Targets(fields=("target",)),
        image=(Image(name="c", specmode="cube", **settings),),
    )
    compiled = full(recipe, {"day": metadata.read(ms)})
    assert compiled.problems == ()
    return [step for step in compiled.steps if step.action.startswith("ranges.")]


def make(
    place: Path, ms: Path, over: Mapping[str, Any] | None = None, **settings: Any
) -> dict[str, Mapping[str, Any]]:
    """Make a cube in a folder; return what came of each step by its name.

    What is `over` is laid over the parameters of steps that have them.
    """
    (place / "calibrated").mkdir(parents=True)
    (place / MS).symlink_to(ms)
    (place / "images" / "chunks").mkdir(parents=True)
    (place / "images" / "dirty").mkdir(parents=True)
    before = Path.cwd()
    os.chdir(place)
    invoke.use_log(place / "casa.log")
    try:
        return {
            step.id.removeprefix("target.c."): _done(step, over or {})
            for step in steps(ms, **settings)
        }
    finally:
        os.chdir(before)
        invoke.use_log(Path("/dev/null"))


def _done(step: Step, over: Mapping[str, Any]) -> Mapping[str, Any]:
    params = late.resolve(step.params, Path())
    params |= {name: value for name, value in over.items() if name in params}
    outcome = ranges.ACTIONS[step.action](params)
    if SKIPPED not in outcome:
        for check in step.checks:
            checks.run(check, params, outcome)
    made = {path for path in step.writes if Path(path).exists()}
    assert {*step.writes} - made <= {*outcome.get("_absent", ())}
    return outcome


def pixels(path: Path) -> Floats:
    """Return the pixels of an image."""
    with open_image(path) as image:
        return np.asarray(image.getchunk())


def apart(one: Path, other: Path, kind: str) -> float:
    """Return the largest difference of two cubes' pixels."""
    left, right = (pixels(place / "images" / f"target.c.{kind}") for place in (one, other))
    return float(np.abs(left - right).max())
