"""What the report shows, as plain data: the template only lays it out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Any

from ..engine.results import SKIPPED
from ..folder import RunFolder
from ..plan import Plan, Step
from . import citation, cubes, flags, logs, measured, selfcal, sweeps, timing, viewers, words
from . import notes as telling
from .judging import attention, checks, failed_sections
from .pictures import give_sizes
from .places import link, load

Results = Mapping[str, Mapping[str, Any]]
Meta = Mapping[str, Any]

_WORDS = {"pass": "passed", "warn": "passed with warnings", "fail": "failed"}
RUNNING = "running"
"""The state of a run that has not ended."""
_MADE = ("done", "skipped")
MAX_LINES = 50


def context(
    folder: RunFolder,
    plan: Plan,
    results: Results,
    meta: Meta,
    metrics: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Gather all that the report shows.

    Parameters
    ----------
    folder : RunFolder
        The run's folder; its ``qa`` holds the numbers and plots.
    plan : Plan
        The plan of the run.
    results : mapping
        Result of each step's last attempt, by step id.
    meta : mapping
        About the run: ``title``, ``recipe_text``, ``versions``, ``started``, ``ended``,
        ``command``, ``state``, and ``steps`` (state, reason, attempts, wall_s,
        peak_memory_bytes by step id).
    metrics : mapping, optional
        What ``qa/metrics.json`` holds, or the part of it that is to be shown.

    Returns
    -------
    dict
        For ``templates/report.html``.
    """
    metrics = load(folder.metrics) if metrics is None else metrics
    steps = [step_row(folder, step, results.get(step.id, {}), meta) for step in plan.steps]
    _say_once(steps)
    judged = checks(metrics)
    datasets = list(_datasets(folder, plan, results, meta, metrics))
    selfcals = list(selfcal.sections(folder, plan, meta))
    images = list(_images(folder, plan, meta, steps))
    made_of_cubes = list(_cubes(folder, plan, meta))
    looked_at = (*datasets, *selfcals, *images, *made_of_cubes)
    give_sizes(looked_at, folder.root / "qa")
    return {
        "title": meta.get("title") or meta.get("name") or folder.root.name,
        "home": "",
        "run": run_of(meta, metrics, steps),
        "checks": judged,
        "marked": dict(failed_sections(judged)),
        "attention": [{**one, "page": ""} for one in attention(metrics, steps)],
        "failures": [_failure(row) for row in steps if row["state"] == "failed"],
        "fallbacks": [row for row in steps if row["fell_back"] and row["state"] in _MADE],
        "notes": telling.notes(plan),
        "autos": autos(plan),
        "viewers": viewers.script(any(map(_has_viewers, looked_at))),
        "datasets": datasets,
        "selfcals": selfcals,
        "images": images,
        "sweeps": sweeps.sections(meta.get("swept", {}), images),
        "cubes": made_of_cubes,
        "steps": steps,
        "totals": {**_totals(steps), "disk": _disk(meta)},
        "timing": timing.chart(steps),
        "warning_groups": logs.groups(steps),
        "log_page": "",
        "citation": citation.text(plan, meta.get("versions", {})),
        "versions": dict(meta.get("versions", {})),
        "recipe_text": meta.get("recipe_text", ""),
        "recipe_name": PurePosixPath(str(meta.get("recipe_name", "recipe.toml"))).name,
    }


def _has_viewers(shown: Mapping[str, Any]) -> bool:
    tables = shown.get("caltables", ())
    return bool(shown["viewers"] or any(table["viewers"] for table in tables))


def run_of(meta: Meta, metrics: Mapping[str, Any], steps: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what the report says of the whole run; of each of the steps the `state` counts."""
    state = str(meta.get("state", ""))
    verdict, headline, sentence = _judgement(state, metrics)
    started, ended = str(meta.get("started", "")), str(meta.get("ended", ""))
    counted = [
        (sum(row["state"] == name for row in steps), "unchanged" if name == "skipped" else name)
        for name in ("done", "skipped", "failed", "not run")
    ]
    return {
        "verdict": verdict,
        "headline": headline,
        "sentence": sentence,
        "running": state == RUNNING,
        "counts": ", ".join(f"{number} {word}" for number, word in counted if number),
        "started": words.moment(started),
        "ended": words.moment(ended),
        "duration": words.duration(started, ended),
        "command": meta.get("command", ""),
    }


def _judgement(state: str, metrics: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return the verdict on a whole run, its headline, and a sentence about its state."""
    if state == "done" and metrics:
        verdict = str(metrics["verdict"])
        return verdict, f"QA {_WORDS[verdict]}", "The run is complete."
    if state == RUNNING:
        return "idle", "running", "What follows is what there is so far; this page renews itself."
    if state == "interrupted":
        return "warn", "interrupted", "The run is not complete: the same command goes on with it."
    if state == "done":
        return "fail", "no QA numbers", "The run is complete, but nothing was measured."
    return "fail", "a step failed", "The run is not complete; what does not need the step is below."


def autos(plan: Plan) -> list[dict[str, str]]:
    """Return what casarun chose, with the values as they would stand in a recipe."""
    return [
        {
            "key": auto.key,
            "subject": auto.subject,
            "value": _value(auto.value),
            "reason": auto.reason,
        }
        for auto in plan.autos
    ]


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} = {_value(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_value(item) for item in value)
    return str(value)


def step_row(
    folder: RunFolder, step: Step, result: Mapping[str, Any], meta: Meta
) -> dict[str, Any]:
    """Return one line of the table of steps."""
    said = meta.get("steps", {}).get(step.id, {})
    state, reason = str(said.get("state", "not run")), str(said.get("reason", ""))
    kept = state == "skipped" and reason in ("", "unchanged")
    attempts = int(said.get("attempts") or 0)
    # The journal's numbers of a step that failed are those of the time that it was done before.
    took = result if state == "failed" else {**result, **said}
    wall, memory = took.get("wall_s"), took.get("peak_memory_bytes")
    warnings = [str(line) for line in result.get("warnings", ())]
    idle = str((result.get("outcome") or {}).get(SKIPPED, "")) if state in _MADE else ""
    return {
        "id": step.id,
        "stage": step.stage,
        "title": step.title,
        "task": step.action.removeprefix("casa:"),
        "state": state,
        "word": "unchanged" if kept else "nothing to do" if idle else state,
        "idle": bool(idle),
        "reason": reason,
        "remark": idle or ("" if state == "done" or kept else reason),
        "attempts": attempts,
        "ended": said.get("ended"),
        "cpu_s": took.get("cpu_s"),
        "wall_s": wall,
        "wall": words.seconds(wall),
        "memory_bytes": memory or 0,
        "memory": words.memory(memory),
        "warnings": warnings[:MAX_LINES],
        "n_warnings": len(warnings),
        "log": _log(folder, step.id, attempts),
        "fell_back": [dict(one) for one in said.get("fell_back", ())],
        "cause": words.cause(str(result.get("cause", ""))),
        "message": str(result.get("message", "")),
        "advice": str(result.get("advice", "")),
    }


def _say_once(rows: list[dict[str, Any]]) -> None:
    """Leave out the reason of a step with nothing to do where the row above has the same."""
    for above, row in reversed(list(pairwise(rows))):
        if row["idle"] and above["remark"] == row["remark"]:
            row["remark"] = ""


def _log(folder: RunFolder, step_id: str, attempts: int) -> str:
    """Return the link to the log of a step's last attempt, or to the folder of its logs."""
    logs = folder.log(step_id)
    last = logs / f"attempt-{attempts}" / "casa.log"
    for path in (last, logs):
        if path.exists():
            return link(path.relative_to(folder.root).as_posix())
    return ""


def _failure(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "message": row["message"] or row["reason"] or "no reason is known"}


def _disk(meta: Meta) -> str:
    """Say how much disk the run folder held at its most; nothing where that is not known."""
    return words.memory(meta["peak_disk_bytes"]) if meta.get("peak_disk_bytes") else ""


def _totals(steps: list[dict[str, Any]]) -> dict[str, Any]:
    """Return sums over the steps, and give each its share of the longest one's time."""
    longest = max((row["wall_s"] or 0.0 for row in steps), default=0.0)
    for row in steps:
        row["share"] = round(100 * (row["wall_s"] or 0.0) / longest, 1) if longest else 0
    return {
        "wall": words.seconds(sum(row["wall_s"] or 0.0 for row in steps)),
        "memory": words.memory(max((row["memory_bytes"] for row in steps), default=0)),
        "warnings": sum(row["n_warnings"] for row in steps),
    }


def _measured(
    folder: RunFolder, plan: Plan, meta: Meta, action: str
) -> Iterator[tuple[Step, dict[str, Any], str]]:
    """Yield each measuring step, what it wrote, and else why it wrote nothing."""
    for step in plan.steps:
        if step.action != action:
            continue
        said = meta.get("steps", {}).get(step.id, {})
        if said.get("state") in _MADE:
            found = load(folder.root / str(step.params["data"]))
            yield step, found, "" if found else f"{step.params['data']} cannot be read"
        else:
            reason = said.get("reason") or "the run did not come so far"
            yield step, {}, f"{said.get('state', 'not run')}; {reason}"


def _datasets(
    folder: RunFolder, plan: Plan, results: Results, meta: Meta, metrics: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    observed = {
        step.dataset: load(folder.root / str(step.params["out"]))
        for step in plan.steps
        if step.action == "observe"
    }
    for step, numbers, missing in _measured(folder, plan, meta, "measure.dataset"):
        name = step.dataset or str(step.params.get("dataset", ""))
        about = observed.get(name, {})
        fields = {str(field["id"]): str(field["name"]) for field in about.get("fields", ())}
        flagging = flags.by_step(plan.steps, name, results, fields)
        yield {
            **measured.dataset(
                name, about, numbers, step.params.get("fields", {}), _models(metrics, name)
            ),
            "flags": flags.section(about, numbers, list(flagging)),
            "missing": missing,
        }


def _models(metrics: Mapping[str, Any], dataset: str) -> Mapping[str, Any]:
    """Return the flux densities that were set in a dataset, as the metrics have them."""
    found: Mapping[str, Any] = metrics.get("datasets", {}).get(dataset, {})
    return found.get("model_flux_jy") or {}


def _images(
    folder: RunFolder, plan: Plan, meta: Meta, rows: list[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    fell_back = {
        (step.target, step.image): row["fell_back"][-1]["parameters"]
        for step, row in zip(plan.steps, rows, strict=True)
        if row["fell_back"] and row["state"] in _MADE
    }
    files = _fits_files(plan, meta)
    for step, numbers, missing in _measured(folder, plan, meta, "measure.image"):
        own = files.get((step.target, step.image), [])
        yield {
            **measured.image(step.target, step.image, numbers, link),
            "files": [{"path": path, "link": link(path)} for path in own],
            "missing": missing,
            "fallback": fell_back.get((step.target, step.image), ""),
        }


def _fits_files(plan: Plan, meta: Meta) -> dict[tuple[str, str], list[str]]:
    """Return the FITS files that were written of each image: as cleaned, corrected, moments."""
    found: dict[tuple[str, str], list[str]] = {}
    for step in plan.steps:
        made = meta.get("steps", {}).get(step.id, {}).get("state") in _MADE
        if made and step.image:
            fits = [path for path in step.writes if path.endswith(".fits")]
            found.setdefault((step.target, step.image), []).extend(fits)
    return found


def _cubes(folder: RunFolder, plan: Plan, meta: Meta) -> Iterator[dict[str, Any]]:
    for step, numbers, missing in _measured(folder, plan, meta, "measure.cube"):
        yield {**cubes.cube(step.target, step.image, numbers, link), "missing": missing}
