"""A run that is with a batch system is followed to its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from ..engine.executors.batch import BatchSystem, JobState
from ..engine.executors.slurm import Slurm
from ..engine.journal import event_of
from ..engine.outcome import Outcome
from ..engine.signals import StopFlag
from ..engine.slice_files import REPORT, result_of
from ..engine.submission import Submission, held_jobs, job_states, was_lost
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
_AGAIN: Final = 2
"""How often a run is handed in again whose jobs were lost, while it is followed."""

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
    for again in range(_AGAIN + 1):
        given = distribute(recipe, options, listener=listener, batch=batch)
        if not again:
            tell({"event": "run-opened", "folder": str(given.folder.root)})
        plan, kept = _told_plan(given, tell, ready)
        if given.submission is None:
            return _nothing_to_do(given.folder, plan, kept)
        tell({"event": "run-submitted", "engine": batch.name, "fresh": given.fresh,
              "jobs": len(given.submission.jobs)})  # fmt: skip
        states = _follow(given, given.submission, tell, stop, batch)
        if stop or not was_lost(given.folder, given.submission, states):
            break
        tell({"event": "jobs-lost", "engine": batch.name})
        options = replace(options, fresh=False)
    return _result(given.folder, plan, states, stop)


def _told_plan(
    given: Distributed, tell: Listener, ready: Callable[[Planned], None] | None
) -> tuple[Plan, dict[str, str]]:
    """Tell what is kept; return the plan, and why steps are kept."""
    if given.planned is None:
        return Plan(()), {}
    decided = given.planned.decided
    kept = {step: d.reason for step, d in decided.steps.items() if not d.run}
    if ready:
        ready(given.planned)
    for step, reason in kept.items():
        tell({"event": "step-skipped", "step": step, "reason": reason})
    return given.planned.plan, kept


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
    """Tell what happens until no job waits or runs any more, or there is none to report."""
    news = _News(given.folder)
    states: dict[str, JobState] = {}
    lost = 0
    held: set[str] = set()
    while not stop:
        reported = result_of(given.folder, REPORT) is not None
        for event in news:
            tell(event)
        if reported:
            return states
        states = job_states(submission, batch)
        # Asked twice: a controller that has just come up may know less for a moment.
        lost = lost + 1 if was_lost(given.folder, submission, states) else 0
        if lost > 1 or not any(state.is_live for state in states.values()):
            break
        for job in held_jobs(submission, states):
            if job.job not in held:
                tell({"event": "job-held", "engine": batch.name, "job": job.job, "slice": job.name})
                held.add(job.job)
        until = time.monotonic() + _POLL_S
        while not stop and time.monotonic() < until:
            time.sleep(0.1)
    for event in news:
        tell(event)
    return states


class _News:
    """What slices add to their journals, wherever it is by the time that it is looked for.

    The report's job moves these journals into that of the run.

    Parameters
    ----------
    folder : RunFolder
        The run's. What its own journal has already is no news.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._tails: dict[Path, int] = {}
        if folder.journal.is_file():
            self._tails[folder.journal] = folder.journal.stat().st_size
        self._told: set[bytes] = set()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield the events since the last time, each once."""
        slices = sorted(self._folder.slices.glob("*/journal.jsonl"))
        # The run's own last: a journal that has just left its slice is in it.
        for path in (*slices, self._folder.journal):
            for line in self._added(path):
                mark = blake2b(line, digest_size=8).digest()
                event = event_of(line)
                if event is not None and event["event"] in _TOLD and mark not in self._told:
                    self._told.add(mark)
                    yield event

    def _added(self, path: Path) -> list[bytes]:
        """Return the whole lines that a journal has more than the last time."""
        try:
            with path.open("rb") as stream:
                stream.seek(self._tails.get(path, 0))
                content = stream.read()
        except FileNotFoundError:
            return []
        whole = content[: content.rfind(b"\n") + 1]
        self._tails[path] = self._tails.get(path, 0) + len(whole)
        return whole.splitlines(keepends=True)


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
