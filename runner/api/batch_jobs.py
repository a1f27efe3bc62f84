"""Jobs that were handed to a batch system: how they are, and their end."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..engine.executors.batch import (
    LOST,
    RUNNING,
    BatchError,
    BatchSystem,
    Forgetful,
    JobState,
)
from ..engine.executors.slurm import Slurm, job_here
from ..engine.journal_state import read_state
from ..engine.slice_files import REPORT, read_slice, result_of
from ..engine.slices import Slice
from ..engine.submission import LOGS, WHOLE, Submission, job_states, read_submission, system
from ..errors import DataError
from ..folder import RunFolder
from .opening import run_folder

if TYPE_CHECKING:
    from ..engine.outcome import Outcome

_TIME_IS_OVER: Final = ("SIGUSR1", "its job ends at")
"""How the reason of a stop begins that came because the job's time is over."""


@dataclass(frozen=True)
class SliceStatus:
    """How a slice of a run is.

    Attributes
    ----------
    name, title : str
        The slice, and what it does.
    state : str
        ``done``, ``failed``, ... where it has come to an end; else what is known of its job.
    said : str
        More of that, for a person.
    job : str
        The job that did it, does it or will.
    done, total : int
        How many of its steps are done, and how many it has.
    """

    name: str
    title: str
    state: str
    said: str
    job: str
    done: int
    total: int


@dataclass(frozen=True)
class BatchStatus:
    """How the jobs of a run are.

    Attributes
    ----------
    submission : Submission
        What was handed in.
    states : mapping of str to JobState
        By the job's number; empty where the batch system cannot be asked.
    silent : str
        Why it cannot.
    slices : tuple of SliceStatus
        Of a run that is cut into slices, the report last.
    """

    submission: Submission
    states: Mapping[str, JobState] = field(default_factory=dict)
    silent: str = ""
    slices: tuple[SliceStatus, ...] = ()

    @property
    def is_live(self) -> bool:
        """Whether a job waits or runs."""
        return any(state.is_live for state in self.states.values())


def batch_status(folder: RunFolder, batch: BatchSystem | None = None) -> BatchStatus | None:
    """Return how the jobs of a run are; None where none was ever handed in."""
    submission = read_submission(folder)
    if submission is None:
        return None
    try:
        states, silent = _kept_states(folder, submission, batch), ""
    except BatchError as error:
        states, silent = {}, str(error)
    return BatchStatus(submission, states, silent, tuple(_slices(folder, submission, states)))


def _slices(
    folder: RunFolder, submission: Submission, states: Mapping[str, JobState]
) -> Iterator[SliceStatus]:
    """Yield how each slice is, from its result, its journal and its jobs."""
    by_name: dict[str, list[str]] = {}
    for job in submission.jobs:
        by_name.setdefault(job.name, []).append(job.job)
    records = read_state(folder.journal).steps
    for name, jobs in by_name.items():
        if name == WHOLE:
            continue
        one = Slice(name, REPORT, REPORT, ()) if name == REPORT else read_slice(folder, name)[0]
        title, steps = one.title, one.steps
        done = sum(step in records and records[step].last == "step-done" for step in steps)
        result = result_of(folder, name)
        live = [states[job] for job in jobs if job in states and states[job].is_live]
        began = [state for state in live if state.phase == RUNNING]
        at = next(iter(began or live), None)
        if at is not None and not (result and result.is_final):
            yield SliceStatus(name, title, at.phase, str(at), at.job, done, len(steps))
        elif result is not None:
            said = f"{result.state}{f': {result.message}' if result.message else ''}"
            yield SliceStatus(name, title, result.state, said, result.job, done, len(steps))
        else:
            ends = [states[job] for job in jobs if job in states]
            said = "; ".join(f"job {state.job} {state}" for state in ends) or "not known"
            state = LOST if ends else "unknown"
            yield SliceStatus(name, title, state, said, jobs[0], done, len(steps))


def _kept_states(
    folder: RunFolder, submission: Submission, batch: BatchSystem | None
) -> dict[str, JobState]:
    """Return how jobs are; what their system will forget of them is saved in the run folder."""
    batch = batch or system(submission.engine)
    states = job_states(submission, batch)
    if states and isinstance(batch, Forgetful):
        try:
            return batch.keep(states, folder.root / LOGS)
        except OSError as error:
            raise BatchError(f"what it says cannot be saved: {error}") from error
    return states


def cancel(run: Path, batch: BatchSystem | None = None) -> list[str]:
    """End the jobs of a run, or take them out of the queue; return their numbers.

    A job that runs stops as on SIGTERM: what is done is kept, and the run can be gone on with.
    Only those are ended that bear the mark of the run: the folder may be somebody else's, with the
    numbers of other jobs in it.

    Raises
    ------
    DataError
        If none was ever handed in, or those that are live do not bear its mark.
    BatchError
        If the batch system cannot be asked.
    """
    folder = run_folder(run)
    submission = read_submission(folder)
    if submission is None:
        raise DataError(f"{run}: no job was handed to a batch system for this run")
    batch = batch or system(submission.engine)
    states = _kept_states(folder, submission, batch)
    live = {job for job, state in states.items() if state.is_live}
    marked = set(batch.marked(submission.mark)) if live or not submission.complete else set()
    ours = {job for job in live if {job, job.partition("_")[0]} & marked}
    batch.cancel(sorted(ours if submission.complete else ours | marked))
    if strange := sorted(live - ours):
        raise DataError(
            f"{run}: job{'s' if len(strange) > 1 else ''} {', '.join(strange)} of "
            f"{submission.engine} do not bear this run's mark, so they may be others: end them "
            "yourself if they are its own"
        )
    return sorted(ours if submission.complete else ours | marked)


def requeue_here(
    outcome: Outcome,
    environ: Mapping[str, str] | None = None,
    batch: BatchSystem | None = None,
) -> str:
    """Put the job that a run was stopped in back into the queue, if its time was over.

    Parameters
    ----------
    outcome : Outcome
        What came of the run, or of a slice of it.
    environ : mapping of str to str, optional
        By default this process's own.
    batch : BatchSystem, optional
        By default Slurm.

    Returns
    -------
    str
        What was done, for the log; empty where the run was not stopped for that.
    """
    environ = os.environ if environ is None else environ
    job = job_here(environ)
    if not job or not outcome.interrupted or not outcome.why.startswith(_TIME_IS_OVER):
        return ""
    again = int(environ.get("SLURM_RESTART_COUNT") or 0)
    if again and not (outcome.done or outcome.restored):
        return (
            f"job {job} is not put back into the queue: no step came to its end in its time; raise "
            "cluster.time"
        )
    # Slurm ends what is still there of the job, by SIGTERM, as soon as it is asked.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        (batch or Slurm()).requeue(job)
    except BatchError as error:
        return f"job {job} could not be put back into the queue: {error}"
    return f"job {job} goes back into the queue, and on from here when it starts again"
