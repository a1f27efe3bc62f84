"""A run that was done in slices is judged and reported, in the last of its jobs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..engine.executors.slurm import job_here
from ..engine.journal import recording
from ..engine.outcome import Failure, Outcome
from ..engine.slice_files import (
    DONE,
    FAILED,
    PATIENCE_S,
    REPORT,
    SliceResult,
    absorb,
    read_slice,
    result_of,
    write_result_of,
)
from ..engine.submission import read_submission
from ..errors import Cause, DataError
from ..files import read_json, tree_size
from ..folder import RunFolder
from ..plan import Plan, digest
from ..report.conclude import conclude
from .beginning import executor_here
from .observing import observe
from .opening import Options, held, judged, open_recipe, versions
from .planning import Planned, prepare
from .reducing import exit_code
from .running import RunResult
from .steps import Listener
from .telling import told


def report_slices(
    root: Path, environ: Mapping[str, str] | None = None, listener: Listener | None = None
) -> RunResult:
    """Judge and report what the slices of a run came to.

    The `listener`, if there is one, is told of notifiers that fail.

    Raises
    ------
    DataError
        If the folder has no slices.
    RefusedError
        If the recipe cannot be read any more.
    """
    environ = os.environ if environ is None else environ
    folder = RunFolder(root.absolute())
    try:
        asked = read_json(folder.slices / REPORT / "slice.json")
    except OSError as error:
        raise DataError(f"{root} has no slices to report") from error
    options = Options(folder.root, tuple(asked["overrides"]), None, asked["until"], asked["only"])
    reduction = judged(open_recipe(Path(asked["recipe"]), options))
    with held(folder, PATIENCE_S), executor_here() as executor:
        absorb(folder)

        def work() -> RunResult:
            observations, _ = observe(reduction, executor)
            planned = prepare(reduction, observations)
            outcome = _outcome(folder, planned)
            with recording(folder):
                metrics = conclude(folder, planned.plan, outcome, reduction.loaded, versions())
            code = exit_code(outcome, metrics)
            return RunResult(code, outcome, planned.plan, folder, metrics)

        result = told(reduction, listener, work)
    _keep(folder, result, job_here(environ))
    return result


def _keep(folder: RunFolder, result: RunResult, job: str) -> None:
    """Say durably that the report is there, and what the run came to."""
    outcome = asdict(result.outcome)
    for failure in outcome["failed"].values():
        failure["logs"], failure["cause"] = str(failure["logs"]), str(failure["cause"])
    more = {"exit_code": int(result.exit_code), "outcome": outcome}
    write_result_of(folder, REPORT, SliceResult(DONE, job=job, more=more))


def outcome_from(data: Mapping[str, Any]) -> Outcome:
    """Build an outcome from what the report's result holds."""
    plain = dict(data)
    plain["failed"] = {step: _failure(failure) for step, failure in data["failed"].items()}
    return Outcome(**plain)


def _failure(data: Mapping[str, Any]) -> Failure:
    return Failure(**{**data, "cause": Cause(data["cause"]), "logs": Path(data["logs"])})


def _outcome(folder: RunFolder, planned: Planned) -> Outcome:
    """Return what the slices came to, all together."""
    plan, decided = planned.plan, planned.decided
    submission = read_submission(folder)
    outcome = Outcome(peak_disk_bytes=tree_size(folder.root))
    changed = submission is None or submission.plan != digest(dict(plan.fingerprints))
    names = sorted({job.name for job in submission.jobs} - {REPORT}) if submission else []
    by_step = _by_step(folder, names)
    for step, decision in decided.steps.items():
        name, result = by_step.get(step, ("", None))
        if not decision.run:
            if name or not names:  # without slices it is a report that was lost
                outcome.done.append(step)
            else:
                outcome.skipped[step] = decision.reason
        elif result is not None and step in result.failed:
            outcome.failed[step] = _failure(result.failed[step])
        elif changed:
            outcome.not_run[step] = "the recipe was changed after the jobs were handed in"
        elif result is not None and result.message:
            outcome.not_run[step] = f"slice {name}: {result.message}"
        else:
            outcome.not_run[step] = f"slice {name} did not come to its end" if name else "no job"
    _say_why(outcome, plan, by_step)
    return outcome


def _say_why(
    outcome: Outcome, plan: Plan, by_step: Mapping[str, tuple[str, SliceResult | None]]
) -> None:
    """Say whether a run that is not complete has failed or can be gone on with."""
    if outcome.not_run and not outcome.failed:
        names = sorted({by_step[step][0] for step in outcome.not_run if step in by_step})
        for step in outcome.not_run:
            result = by_step.get(step, ("", None))[1]
            if result is not None and result.state == FAILED:
                cause = Cause(result.cause or Cause.UNKNOWN)
                outcome.failed[step] = Failure(cause, result.message, "", 1, Path())
                del outcome.not_run[step]
                return
        outcome.interrupted = True
        outcome.why = f"not done: slice{'s' if len(names) > 1 else ''} {', '.join(names)}"


def _by_step(folder: RunFolder, names: list[str]) -> dict[str, tuple[str, SliceResult | None]]:
    """Return for each step its slice and what came of that."""
    found = {}
    for name in names:
        result = result_of(folder, name)
        for step in read_slice(folder, name)[0].steps:
            found[step] = (name, result)
    return found
