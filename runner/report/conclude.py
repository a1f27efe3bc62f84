"""The end of a run: metrics and verdict, the records, the report."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

from ..engine.journal import Event
from ..engine.journal_state import JournalState, StepRecord, read_state
from ..engine.scheduler import Outcome
from ..errors import DataError
from ..files import now, product_state, read_json, write_atomic, write_json
from ..folder import RunFolder, is_inside
from ..plan import Auto, Plan, Step, written
from ..recipe.load import LoadedRecipe
from ..recipe.standalone import as_run
from ..share.casa_script import Run, casa_script
from ..share.people import CITATION, CITATION_LIMIT_BYTES
from . import schemas
from .gathering import Results, gather
from .render import render

_RUN = "run.json"
_NO_RECORDS = (AttributeError, LookupError, TypeError, ValueError, ArithmeticError,
               RecursionError, TemplateError)  # fmt: skip
"""What reading records comes to that someone has edited: they may have any shape."""


def record_plan(folder: RunFolder, plan: Plan, loaded: LoadedRecipe) -> None:
    """Write what is about to be done: the recipe, as written and with overrides, and the plan."""
    text = as_run(loaded)
    write_atomic(folder.recipe_text, text)
    kept = folder.recipe_of(hashlib.sha256(text.encode()).hexdigest())
    if not kept.is_file():  # products that it does not change go on naming the one before
        write_atomic(kept, text, durable=False)
    _keep_citation(folder, loaded.source.folder / CITATION)
    folder.crate.unlink(missing_ok=True)  # it tells of the run before
    write_json(folder.recipe, loaded.document)
    write_atomic(folder.plan, _plan_text(plan))
    _note_state(folder, folder.plan)


def _keep_citation(folder: RunFolder, source: Path) -> None:
    """Keep what lies beside the recipe to say who its authors are; forget what lay there before."""
    kept = folder.citation
    if source.is_file() and source.stat().st_size <= CITATION_LIMIT_BYTES:
        content = source.read_bytes()
        if not kept.is_file() or kept.read_bytes() != content:
            write_atomic(kept, content)
    else:
        kept.unlink(missing_ok=True)


def script_before(plan: Plan, loaded: LoadedRecipe) -> str:
    """Return what a run would do as a CASA script, before the run."""
    project, name = loaded.recipe.project, Path(loaded.source.name).name
    return "".join(casa_script(plan, Run(project.title or project.name, name, known=False)))


def plan_json(plan: Plan) -> dict[str, Any]:
    """Return a plan as ``schemas/plan.schema.json`` describes it."""
    return {**_plan_head(plan), "steps": [_step_json(plan, step) for step in plan.steps]}


def _plan_head(plan: Plan) -> dict[str, Any]:
    return {
        "plan_version": 1,
        "versions": dict(plan.versions),
        "inputs": dict(plan.inputs),
        "autos": [asdict(auto) for auto in plan.autos],
        "notes": list(plan.notes),
    }


def _step_json(plan: Plan, step: Step) -> dict[str, Any]:
    return {
        **step.to_json(),
        "fingerprint": plan.fingerprints[step.id],
        "waits_for": sorted(plan.waits_for[step.id]),
    }


def _plan_text(plan: Plan) -> Iterator[str]:
    """Yield `plan_json` as text, piece by piece: a line a step."""
    yield json.dumps(_plan_head(plan), indent=1).removesuffix("\n}") + ',\n "steps": ['
    for number, step in enumerate(plan.steps):
        yield ("," if number else "") + "\n  " + json.dumps(_step_json(plan, step), default=str)
    yield "\n ]\n}\n"


def read_plan(folder: RunFolder) -> Plan:
    """Read back a plan that `record_plan` wrote.

    Raises
    ------
    DataError
        If there is none or it is damaged.
    """
    try:
        data = read_json(folder.plan)
        if not _is_as_left(folder, folder.plan):
            _as_described(data)
        known = Step.__dataclass_fields__
        return Plan(
            tuple(
                Step.from_json({key: value for key, value in step.items() if key in known})
                for step in data["steps"]
            ),
            data["inputs"],
            data["versions"],
            tuple(Auto(**auto) for auto in data["autos"]),
            tuple(data["notes"]),
        )
    except OSError as error:
        raise DataError(f"{folder.plan} is missing; run the recipe again") from error
    except (DataError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{folder.plan} is damaged: {error}; run the recipe again") from error


def _as_described(data: Any) -> None:
    """Hold what someone may have edited to ``schemas/plan.schema.json``.

    Raises
    ------
    DataError
        With the first place where it differs.
    """
    wrong = schemas.damage(data, "plan")
    if wrong:
        raise DataError(wrong)
    for step in data["steps"]:
        paths = [step["params"].get(key, "") for key in ("data", "out")]
        if step["action"].startswith("casa:"):
            continue
        if not all(isinstance(path, str) and is_inside(path) for path in paths):
            raise DataError(f"step {step['id']} leads out of the run folder")


def conclude(
    folder: RunFolder,
    plan: Plan,
    outcome: Outcome,
    loaded: LoadedRecipe,
    versions: Mapping[str, str],
) -> dict[str, Any]:
    """Judge a run, keep its records and render its report.

    A run in which nothing had to be done keeps the report that it has.

    Returns
    -------
    dict
        The content of ``qa/metrics.json``.
    """
    idle = not (outcome.done or outcome.failed or outcome.not_run)
    if idle and folder.report.is_file() and folder.script.is_file():
        kept = _kept(folder)
        if kept:
            return kept
    state = read_state(folder.journal)
    meta = {
        **about(loaded, versions),
        "started": _started(state),
        "ended": now(),
        "state": outcome.state,
        "peak_disk_bytes": _peak_disk(state),
        "steps": _steps(plan, outcome, state),
    }
    write_json(folder.root / "docs" / _RUN, meta)
    done = Run(meta["title"], meta["recipe_name"], Results(folder, plan), meta["steps"])
    write_atomic(folder.script, casa_script(plan, done))
    return _report(folder, plan, meta)


def about(loaded: LoadedRecipe, versions: Mapping[str, str]) -> dict[str, Any]:
    """Return what a report says of a run whatever came of it: its recipe and its software."""
    recipe = loaded.recipe
    name = Path(loaded.source.name).name
    return {
        "title": recipe.project.title or recipe.project.name,
        "name": recipe.project.name,
        "recipe_text": loaded.source.text if len(loaded.files) == 1 else as_run(loaded),
        "recipe_name": name,
        "versions": {**versions, "python": sys.version.split()[0]},
        "command": f"casarun {name}",
        "swept": {image: asdict(one) for image, one in loaded.swept.items()},
        "limits": {
            "max_flagged_fraction": recipe.qa.max_flagged_fraction,
            "min_dynamic_range": recipe.qa.min_dynamic_range,
        },
    }


def _kept(folder: RunFolder) -> dict[str, Any]:
    """Return the metrics that an earlier run left; nothing if they are not as it left them."""
    try:
        found: dict[str, Any] = read_json(folder.metrics)
        if _is_as_left(folder, folder.metrics):
            return found
        if not schemas.damage(found, "metrics"):
            _note_state(folder, folder.metrics)
            return found
    except (OSError, DataError):
        pass
    return {}


def _note_state(folder: RunFolder, record: Path) -> None:
    """Note that a record is in order as it is now: to look through it takes its time."""
    write_atomic(folder.left(record), product_state(record) or "", durable=False)


def _is_as_left(folder: RunFolder, record: Path) -> bool:
    note = folder.left(record)
    return note.is_file() and note.read_text() == product_state(record)


def render_again(folder: RunFolder) -> Path:
    """Judge and report a run again from its records alone.

    Returns
    -------
    Path
        The report's first page.

    Raises
    ------
    DataError
        If they are missing or damaged.
    """
    plan = read_plan(folder)
    record = folder.root / "docs" / _RUN
    try:
        meta = read_json(record)
    except OSError as error:
        raise DataError(f"{folder.root}: the run has not come to a report yet") from error
    try:
        _report(folder, plan, meta)
    except _NO_RECORDS as error:
        raise DataError(
            f"the records in {folder.root} do not fit together ({type(error).__name__}: {error}): "
            f"{record}, scripts/plan.json or qa/data was changed since the run; run the recipe "
            "again"
        ) from error
    return folder.report


def _report(folder: RunFolder, plan: Plan, meta: Mapping[str, Any]) -> dict[str, Any]:
    metrics = {**gather(folder, plan, meta), "run": {
        "name": meta["name"], "title": meta["title"], "state": meta["state"],
        "started": meta["started"], "ended": meta["ended"], "versions": meta["versions"],
        "peak_disk_bytes": meta.get("peak_disk_bytes", 0),
    }}  # fmt: skip
    write_json(folder.metrics, metrics)
    _note_state(folder, folder.metrics)
    render(folder, plan, Results(folder, plan), dict(meta))
    return metrics


def _steps(plan: Plan, outcome: Outcome, state: JournalState) -> dict[str, Any]:
    """Return what came of each step, now or in the run that made what it keeps."""
    done = set(outcome.done)
    found = {}
    for step in plan.steps:
        record = state.steps.get(step.id, StepRecord())
        if step.id in done:
            came, reason = "done", str(record.made.get("reason", ""))
        elif step.id in outcome.skipped:
            came, reason = "skipped", outcome.skipped[step.id]
        elif step.id in outcome.failed:
            came, reason = "failed", outcome.failed[step.id].message
        else:
            came = "not run"
            reason = outcome.not_run.get(step.id, "the run was stopped before")
        found[step.id] = said_of(record, came, reason)
    return found


def said_of(record: StepRecord, came: str, reason: str) -> dict[str, Any]:
    """Return what a report says of a step: what came of it and why, with its journal's numbers."""
    last = record.done or {}
    said = {
        "state": came,
        "reason": reason,
        "attempts": record.attempt,
        "ended": last.get("t"),
        "wall_s": last.get("wall_s"),
        "cpu_s": last.get("cpu_s"),
        "peak_memory_bytes": last.get("peak_memory_bytes"),
    }
    fell_back = record.fell_back if came == "failed" else last.get("fell_back")
    if fell_back and came != "not run":
        said["fell_back"] = [_fell_back(event) for event in fell_back]
    return said


def _fell_back(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a report says of an attempt that diverged, and of the one after it."""
    return {
        "attempt": int(event.get("attempt", 0)) - 1,
        "message": str(event["message"]),
        "parameters": written(event["fallback"]),
    }


def _started(state: JournalState) -> str:
    """Return when the run began that has just ended."""
    return str(next((event["t"] for event in _last_run(state)), now()))


def _peak_disk(state: JournalState) -> int:
    """Return the most that the run folder held in the run that has just ended, in bytes."""
    return max((int(event.get("peak_disk_bytes", 0)) for event in _last_run(state)), default=0)


def _last_run(state: JournalState) -> list[Event]:
    """Return what the journal says of the last run: imports and the rest, by one process."""
    by = [(event.get("pid"), event.get("created")) for event in state.runs]
    begun = [n for n, event in enumerate(state.runs) if event["event"] == "run-started"]
    first = next((n for n in begun if by[n] == by[begun[-1]]), 0)
    return state.runs[first:]
