"""What was handed to a batch system for a run folder, remembered in ``.casarun/batch.json``.

`engine` is the batch system, `mark` stands in each job's comment, `complete` says whether all jobs
were handed in (else those with the mark are to be taken back), and `jobs` lists them: `job` (its
number), `name` (of the run or of a slice), `attempt` (1, or more for a job that is there for
want of memory in the one before), `script`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from ..errors import DataError, LockedError
from ..files import now, read_json, write_json
from ..folder import RunFolder, is_file_safe, is_inside
from .executors.batch import LOST, RUNNING, BatchError, BatchSystem, JobState
from .executors.canfar import SUBMISSION, Canfar
from .executors.slurm import Slurm
from .slice_files import REPORT, result_of

SYSTEMS: Final[Mapping[str, Callable[[], BatchSystem]]] = {Slurm.name: Slurm, Canfar.name: Canfar}
"""The batch systems that there are, by the names that ``casarun submit --to`` knows."""

LOGS: Final = "logs/batch"
"""Where what batch jobs print is, in the run folder."""

WHOLE = "run"
"""Name of the job that does a whole run."""


@dataclass(frozen=True)
class SubmittedJob:
    """A job that was handed in.

    Attributes
    ----------
    job : str
        Its number.
    name : str
        `WHOLE`, or the slice that it does.
    script : str
        Its script, relative to the run folder.
    attempt : int
        1; 2 and so on where it has more memory than the one before, and runs if that failed.
    """

    job: str
    name: str
    script: str
    attempt: int = 1


@dataclass(frozen=True)
class Submission:
    """All that was handed in for a run folder.

    Attributes
    ----------
    engine : str
        The batch system.
    mark : str
        In each job's comment.
    plan : str
        A digest of the plan that the jobs are of; empty for a whole run, which makes its own.
    jobs : tuple of SubmittedJob
        In the order in which they were handed in.
    complete : bool
        Whether that came to its end.
    submitted : str
        When it began.
    """

    engine: str
    mark: str
    plan: str = ""
    jobs: tuple[SubmittedJob, ...] = ()
    complete: bool = False
    submitted: str = field(default_factory=now)

    def done(self, jobs: tuple[SubmittedJob, ...]) -> Submission:
        """Return it with all its jobs."""
        return replace(self, jobs=jobs, complete=True)

    def write(self, folder: RunFolder) -> None:
        """Remember it."""
        write_json(folder.batch, asdict(self))


def read_submission(folder: RunFolder) -> Submission | None:
    """Return what was handed in last for a run folder, or None.

    Raises
    ------
    DataError
        If that is damaged.
    """
    try:
        data = read_json(folder.batch)
    except FileNotFoundError:
        return None
    try:
        jobs = tuple(_job(job) for job in data.pop("jobs"))
        found = Submission(jobs=jobs, **data)
        if not (found.mark and all(map(_is_text, (found.engine, found.mark, found.submitted)))):
            raise ValueError("no mark")
        return found
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise DataError(
            f"{folder.batch} is damaged: see that no job of this run is in the queue, and remove it"
        ) from error


def _job(data: Mapping[str, Any]) -> SubmittedJob:
    job = SubmittedJob(**data)
    texts = all(map(_is_text, (job.job, job.name, job.script)))
    if not texts or not job.job.replace("_", "").isalnum() or not is_file_safe(job.name):
        raise ValueError(f"no job: {data}")
    if not is_inside(job.script):
        raise ValueError(f"not in the run folder: {data}")
    return job


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def system(engine: str) -> BatchSystem:
    """Return a batch system by its name.

    Raises
    ------
    DataError
        If there is none of that name.
    """
    if engine not in SYSTEMS:
        raise DataError(f"no batch system '{engine}' is known here")
    return SYSTEMS[engine]()


def job_states(submission: Submission, batch: BatchSystem | None = None) -> dict[str, JobState]:
    """Return what the batch system says of each job, by its number."""
    batch = batch or system(submission.engine)
    return dict(batch.states([job.job for job in submission.jobs], submission.mark))


def was_lost(folder: RunFolder, submission: Submission, states: Mapping[str, JobState]) -> bool:
    """Say whether a run in slices will not come to its end by the jobs that there are.

    A controller that was killed may have lost what it was told in its last seconds: then there are
    only some of the jobs, and without the one that reports there is no end.
    """
    reports = [states[job.job] for job in submission.jobs if job.name == REPORT]
    if not reports or result_of(folder, REPORT) is not None:
        return False
    at_work = any(state.phase == RUNNING for state in states.values())
    return not at_work and all(state.phase == LOST for state in reports)


def held_jobs(submission: Submission, states: Mapping[str, JobState]) -> list[SubmittedJob]:
    """Return the jobs that wait until they are let go, where no job is at work."""
    if any(state.phase == RUNNING for state in states.values()):
        return []
    return [job for job in submission.jobs if states[job.job].is_held]


def refuse_if_live(folder: RunFolder, but: str = "") -> None:
    """Refuse to work in a folder in which jobs of a batch system work, or will.

    Parameters
    ----------
    folder : RunFolder
        Which.
    but : str
        The job that asks.

    Raises
    ------
    LockedError
        With the job.
    """
    submission = read_submission(folder)
    if submission is None or submission.mark == os.environ.get(SUBMISSION):
        return
    try:
        states = job_states(submission)
    except BatchError:
        return  # asked from a machine that has no batch system; the folder's lock stays
    live = [state for job, state in states.items() if state.is_live and job != but]
    if live:
        more = f" and {len(live) - 1} more" if len(live) > 1 else ""
        raise LockedError(
            f"job {live[0].job}{more} of {submission.engine} works in {folder.root}, or will: "
            f"{live[0]}. `casarun status {folder.root}` says more, `casarun cancel {folder.root}` "
            "ends it"
        )
