"""A slice of a run is done, in a batch job: on its node, by the local engine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from ..engine.executors.local import LocalExecutor
from ..engine.executors.slurm import job_here
from ..engine.machine import oom_kills
from ..engine.outcome import Outcome
from ..engine.scheduler import run as run_plan
from ..engine.signals import StopFlag
from ..engine.slice_files import (
    DONE,
    FAILED,
    INTERRUPTED,
    NOT_RUN,
    PATIENCE_S,
    SliceResult,
    lock_of,
    read_slice,
    result_of,
    write_result_of,
)
from ..engine.slices import Slice
from ..errors import CasarunError, Cause, ExitCode, InterruptedRunError
from ..files import read_json
from ..folder import RunFolder
from ..lock import FolderLock, patiently
from ..plan import Plan
from ..recipe.build import build
from ..recipe.model import Recipe
from .beginning import executor_here
from .opening import matplotlib_in
from .steps import Listener, budget_of, need_casa, policy_of

_CODES: Final = {
    DONE: ExitCode.DONE,
    FAILED: ExitCode.STEP_FAILED,
    NOT_RUN: ExitCode.STEP_FAILED,
    INTERRUPTED: ExitCode.INTERRUPTED,
}


def do_slice(
    root: Path,
    name: str,
    jobs: int | None = None,
    listener: Listener | None = None,
    stop: StopFlag | None = None,
    environ: Mapping[str, str] | None = None,
) -> tuple[ExitCode, SliceResult, Outcome]:
    """Do a slice of a run, or go on with it; say durably what came of it.

    Parameters
    ----------
    root : Path
        The run folder.
    name : str
        The slice.
    jobs : int, optional
        How many steps may run at once.
    listener : callable, optional
        Is told every event.
    stop : StopFlag, optional
        Asks it to stop.
    environ : mapping of str to str, optional
        Says which batch job this is; by default this process's own.

    Raises
    ------
    DataError
        If there is no such slice.
    LockedError
        If another job works on it.
    """
    environ = os.environ if environ is None else environ
    job = job_here(environ)
    attempt = f"{job or 'here'}.{environ.get('SLURM_RESTART_COUNT') or 0}"
    folder = RunFolder(root.absolute(), name, attempt)
    one, plan = read_slice(folder, name)
    before = result_of(folder, name)
    if before is not None and before.is_final:
        # There for want of memory in an earlier job, which has succeeded after all, or failed for
        # a reason that more memory does not mend.
        return _CODES[before.state], before, Outcome()
    stop = StopFlag() if stop is None else stop
    whole = RunFolder(folder.root)
    with patiently(FolderLock(whole.lock, whole.status), PATIENCE_S):
        pass  # nobody works in all of the folder, who could not know of this job
    with patiently(lock_of(folder), PATIENCE_S):
        result, outcome = _do(folder, one, plan, jobs, listener, stop, job)
        write_result_of(folder, name, result)
    return _CODES[result.state], result, outcome


def _do(
    folder: RunFolder,
    one: Slice,
    plan: Plan,
    jobs: int | None,
    listener: Listener | None,
    stop: StopFlag,
    job: str,
) -> tuple[SliceResult, Outcome]:
    """Do a slice whose lock is held."""
    lacks = _lacks(folder, one)
    if lacks:
        return SliceResult(NOT_RUN, lacks, job=job), Outcome()
    kills = oom_kills()
    outcome = Outcome()
    try:
        with matplotlib_in(folder.private / "matplotlib"), executor_here() as executor:
            outcome = _run(folder, one, plan, executor, jobs, listener, stop)
    except InterruptedRunError as error:
        return SliceResult(INTERRUPTED, str(error), job=job), outcome
    except CasarunError as error:
        cause = getattr(error, "cause", Cause.UNKNOWN)
        state = NOT_RUN if cause is Cause.LOST_PRODUCT else FAILED
        cause = Cause.OUT_OF_MEMORY if oom_kills() > kills else cause
        return SliceResult(state, str(error), str(cause), job), outcome
    return _judged(one, outcome, job, out_of_memory=oom_kills() > kills), outcome


def _lacks(folder: RunFolder, one: Slice) -> str:
    """Say which slice has not succeeded that this one needs; empty where all have."""
    for name in one.after:
        result = result_of(folder, name)
        if result is None or result.state != DONE:
            state = "has not come to its end" if result is None else f"is {result.state}"
            return f"it needs the slice {name}, which {state}"
    return ""


def _run(
    folder: RunFolder,
    one: Slice,
    plan: Plan,
    executor: LocalExecutor,
    jobs: int | None,
    listener: Listener | None,
    stop: StopFlag,
) -> Outcome:
    recipe: Recipe = build(read_json(folder.recipe), folder.recipe)
    executor.warm_up()
    need_casa(executor)
    policy = policy_of(recipe.retry)
    causes = {**policy.by_cause}
    # Alone in the job's memory there is nothing more to be had but in another job.
    causes[Cause.OUT_OF_MEMORY] = 1 if jobs == 1 else 2
    return run_plan(
        plan,
        folder,
        executor,
        replace(policy, by_cause=causes),
        # The memory is the job's, whatever the recipe allows a run on one machine.
        budget_of(replace(recipe.resources, memory="auto"), jobs, folder.root),
        listener,
        stop,
        mine=frozenset(one.steps),
    )


def _judged(one: Slice, outcome: Outcome, job: str, *, out_of_memory: bool) -> SliceResult:
    """Return what came of a slice."""
    failed: dict[str, dict[str, Any]] = {
        step: {**asdict(failure), "logs": str(failure.logs), "cause": str(failure.cause)}
        for step, failure in outcome.failed.items()
    }
    if failed:
        step, failure = next(iter(failed.items()))
        memory = out_of_memory or any(
            f["cause"] == str(Cause.OUT_OF_MEMORY) for f in failed.values()
        )
        cause = str(Cause.OUT_OF_MEMORY) if memory else failure["cause"]
        return SliceResult(FAILED, f"{step}: {failure['message']}", cause, job, failed=failed)
    if outcome.interrupted:
        return SliceResult(INTERRUPTED, outcome.why, job=job)
    left = [step for step in one.steps if step in outcome.not_run]
    if left:
        return SliceResult(FAILED, f"{left[0]}: {outcome.not_run[left[0]]}", "", job)
    return SliceResult(DONE, job=job)
