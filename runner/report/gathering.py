"""What the measuring steps of a run wrote, gathered and judged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..engine.results import read_last_result
from ..errors import DataError
from ..files import read_json
from ..folder import RunFolder
from ..plan import Plan, Step
from ..qa.verdict import assemble
from .context import RUNNING
from .selfcal import FINISH as SELFCAL


class Results(Mapping[str, Mapping[str, Any]]):
    """The result of each step's last attempt, read when it is asked for."""

    def __init__(self, folder: RunFolder, plan: Plan) -> None:
        self._folder = folder
        self._plan = plan

    def __getitem__(self, step_id: str) -> Mapping[str, Any]:
        return read_last_result(self._folder, step_id) or {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._plan.by_id)

    def __len__(self) -> int:
        return len(self._plan.by_id)


def gather(folder: RunFolder, plan: Plan, meta: Mapping[str, Any]) -> dict[str, Any]:
    """Gather what the measuring steps wrote, name what they could not, and judge it.

    Of a run that goes on, what has not been measured yet is not missing.
    """
    datasets: dict[str, Any] = {}
    images: list[Any] = []
    cubes: list[Any] = []
    selfcal: dict[str, Any] = {}
    missing: list[dict[str, str]] = []
    setting = _setting(plan)
    for step in plan.steps:
        if not (step.action.startswith("measure.") or step.action == SELFCAL):
            continue
        said = meta["steps"][step.id]
        subject = _subject(step)
        if said["state"] not in ("done", "skipped"):
            if meta.get("state") == RUNNING and said["state"] != "failed":
                continue
            missing.append({"subject": subject, "reason": said["reason"]})
            continue
        path = step.params["out" if step.action == SELFCAL else "data"]
        try:
            numbers = read_json(folder.root / path)
        except (OSError, DataError):
            reason = f"{path} is gone; run the recipe again"
            missing.append({"subject": subject, "reason": reason})
            continue
        if step.action == SELFCAL:
            selfcal[step.target] = numbers
        elif step.action == "measure.dataset":
            models = _models(folder, setting.get(step.dataset, ()))
            datasets[step.dataset] = {**numbers, "model_flux_jy": models}
        elif step.action == "measure.cube":
            cubes.append(numbers)
        else:
            images.append(numbers)
    if not missing:  # a run that failed has not passed, even where nothing was to be measured
        missing = [
            {"subject": step, "reason": said["reason"]}
            for step, said in meta["steps"].items()
            if said["state"] == "failed"
        ]
    fallbacks = list(_fallbacks(plan, meta))
    return assemble(datasets, images, meta["limits"], missing, fallbacks, selfcal, cubes)


def _subject(step: Step) -> str:
    """Return of what a measuring step is, as checks name it."""
    whose = [word for word in (step.target, step.image or "self-calibration") if word]
    return step.dataset or ", ".join(whose)


def _setting(plan: Plan) -> dict[str, list[str]]:
    """Return the steps that set flux densities, by dataset."""
    found: dict[str, list[str]] = {}
    for step in plan.steps:
        if step.action == "casa:setjy":
            found.setdefault(step.dataset, []).append(step.id)
    return found


def _models(folder: RunFolder, setting: Iterable[str]) -> dict[str, dict[str, float]]:
    """Return the flux densities (Jy) that steps of ``setjy`` set, by field name and window."""
    found: dict[str, dict[str, float]] = {}
    for step_id in setting:
        outcome = (read_last_result(folder, step_id) or {}).get("outcome") or {}
        for entry in outcome.values():
            if not isinstance(entry, Mapping) or "fieldName" not in entry:
                continue
            for spw, one in entry.items():
                if isinstance(one, Mapping) and "fluxd" in one:
                    flux = float(one["fluxd"][0])
                    found.setdefault(str(entry["fieldName"]), {})[str(spw)] = flux
    return found


def _fallbacks(plan: Plan, meta: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the images that were made with other parameters than the recipe's first ones."""
    for step in plan.steps:
        said = meta["steps"][step.id]
        fell_back = said.get("fell_back")
        if fell_back and said["state"] in ("done", "skipped"):
            yield {
                "subject": f"{step.target}, {step.image}" if step.image else step.id,
                "diverged": len(fell_back),
                "parameters": fell_back[-1]["parameters"],
            }
