"""A run that is with a batch system is followed to its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from ..engine.executors.batch import BatchSystem, JobState
from ..engine.executors.slurm import Slurm
from ..engine.journal import event_of
from ..engine.outcome import Outcome
from ..engine.signals import StopFlag
from ..engine.slice_files import REPORT, result_of
from ..engine.submission import Submission, job_states
from ..errors import DataError, ExitCode
from ..files import read_json
from ..folder import RunFolder
from ..plan import Plan
from .distributing import Distributed, distribute
from .opening import Options
from .planning import Planned
from .reducing import exit_code
from .running import RunResult
from .slice_report import outcome_from
from .steps import Listener

_POLL_S: Final = 2.0
_TOLD: Final = frozenset(
    {"step-started", "step-done", "step-failed", "step-retry", "step-interrupted",
     "product-restored"}
)  # fmt: skip


def run_distributed(
    recipe: Path,
    options: Options,
    listener: Listener | None = None,
    stop: StopFlag | None = None,
    ready: Callable[[Planned], None] | None = None,
    batch: BatchSystem | None = None,
) -> RunResult:
    """Hand a run to Slurm in slices, or find it there, and follow it to its end.

    When it is asked to stop, it follows no more; the jobs go on.

    Parameters
    ----------
    recipe, options, listener, stop, ready
        As of `casarun.api.run`.
    batch : BatchSystem, optional
        By default Slurm.

    Raises
    ------
    RefusedError, LockedError, BatchError
        As `casarun.api.distributing.distribute` does.
    """
    batch = batch or Slurm()
    tell = listener or (lambda event: None)
    stop = StopFlag() if stop is None else stop
    given = distribute(recipe, options, listener=listener, batch=batch)
    tell({"event": "run-opened", "folder": str(given.folder.root)})
    plan, kept = Plan(()), {}
    if given.planned is not None:
        plan, decided = given.planned.plan, given.planned.decided
        kept = {step: d.reason for step, d in decided.steps.items() if not d.run}
        if ready:
            ready(given.planned)
        for step, reason in kept.items():
            tell({"event": "step-skipped", "step": step, "reason": reason})
    if given.submission is None:
        return _nothing_to_do(given.folder, plan, kept)
    tell({"event": "run-submitted", "engine": batch.name, "fresh": given.fresh,
          "jobs": len(given.submission.jobs)})  # fmt: skip
    states = _follow(given, given.submission, tell, stop, batch)
    return _result(given.folder, plan, states, stop)


def _nothing_to_do(folder: RunFolder, plan: Plan, kept: dict[str, str]) -> RunResult:
    outcome, metrics = Outcome(skipped=kept), _metrics(folder)
    return RunResult(exit_code(outcome, metrics), outcome, plan, folder, metrics)


def _follow(
    given: Distributed,
    submission: Submission,
    tell: Listener,
    stop: StopFlag,
    batch: BatchSystem,
) -> dict[str, JobState]:
    """Tell what happens until no job waits or runs any more."""
    tails: dict[Path, int] = {}
    states: dict[str, JobState] = {}
    while not stop:
        for event in _news(given.folder, tails):
            tell(event)
        if result_of(given.folder, REPORT) is not None:
            return states
        states = job_states(submission, batch)
        if not any(state.is_live for state in states.values()):
            break
        until = time.monotonic() + _POLL_S
        while not stop and time.monotonic() < until:
            time.sleep(0.1)
    return states


def _news(folder: RunFolder, tails: dict[Path, int]) -> Iterator[dict[str, Any]]:
    """Yield the events that slices have added to their journals, each once."""
    for path in sorted(folder.slices.glob("*/journal.jsonl")):
        try:
            with path.open("rb") as stream:
                stream.seek(tails.get(path, 0))
                content = stream.read()
        except FileNotFoundError:
            continue
        whole = content[: content.rfind(b"\n") + 1]
        tails[path] = tails.get(path, 0) + len(whole)
        for line in whole.splitlines(keepends=True):
            event = event_of(line)
            if event is not None and event["event"] in _TOLD:
                yield event


def _result(
    folder: RunFolder, plan: Plan, states: dict[str, JobState], stop: StopFlag
) -> RunResult:
    """Return what a run came to."""
    report = result_of(folder, REPORT)
    if report is not None:
        outcome = outcome_from(report.more["outcome"])
        code = ExitCode(int(report.more["exit_code"]))
        return RunResult(code, outcome, plan, folder, _metrics(folder))
    if stop:
        why = f"{stop.reason}; the jobs go on, `casarun cancel {folder.root}` ends them"
    else:
        ends = sorted({str(state) for state in states.values() if state.state != "COMPLETED"})
        why = f"the jobs ended without a report: {'; '.join(ends)}"
    return RunResult(ExitCode.INTERRUPTED, Outcome(interrupted=True, why=why), plan, folder)


def _metrics(folder: RunFolder) -> dict[str, Any]:
    try:
        found = read_json(folder.metrics)
    except (OSError, DataError):
        return {}
    return found if isinstance(found, dict) else {}
