"""Jobs that were handed to a batch system: how they are, and their end."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..engine.executors.batch import BatchError, BatchSystem, Forgetful, JobState
from ..engine.executors.slurm import Slurm, job_here
from ..engine.submission import LOGS, Submission, job_states, read_submission, system
from ..errors import DataError
from ..folder import RunFolder
from .opening import run_folder

if TYPE_CHECKING:
    from .running import RunResult

_TIME_IS_OVER: Final = ("SIGUSR1", "its job ends at")
"""How the reason of a stop begins that came because the job's time is over."""


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
    """

    submission: Submission
    states: Mapping[str, JobState] = field(default_factory=dict)
    silent: str = ""

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
        return BatchStatus(submission, _kept_states(folder, submission, batch))
    except BatchError as error:
        return BatchStatus(submission, silent=str(error))


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

    Raises
    ------
    DataError
        If none was ever handed in.
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
    if not submission.complete:
        live.update(batch.marked(submission.mark))
    batch.cancel(sorted(live))
    return sorted(live)


def requeue_here(
    result: RunResult,
    environ: Mapping[str, str] | None = None,
    batch: BatchSystem | None = None,
) -> str:
    """Put the job that a run was stopped in back into the queue, if its time was over.

    Parameters
    ----------
    result : RunResult
        What the run came to.
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
    job, outcome = job_here(environ), result.outcome
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
