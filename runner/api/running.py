"""A recipe is run, or its run gone on with; then it is judged and reported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..engine.executors.local import LocalExecutor
from ..engine.journal import recording
from ..engine.scheduler import Outcome
from ..engine.signals import StopFlag
from ..errors import ExitCode
from ..folder import RunFolder
from ..plan import Plan
from ..report.conclude import about, conclude, record_plan, render_again
from ..report.live import Live
from .observing import observe
from .opening import Options, Reduction, held, judged, open_recipe, run_folder, versions, wipe
from .planning import Planned, prepare
from .steps import Listener, executor_here, need_casa, run_steps, time_total
from .telling import told


@dataclass
class RunResult:
    """What a run came to.

    Attributes
    ----------
    exit_code : ExitCode
        For the shell.
    outcome : Outcome
        Of its steps.
    plan : Plan
        What was wanted.
    metrics : dict
        The content of ``qa/metrics.json``; empty where there is none.
    folder : RunFolder
        Where.
    """

    exit_code: ExitCode
    outcome: Outcome
    plan: Plan
    folder: RunFolder
    metrics: dict[str, Any] = field(default_factory=dict)


def run(
    recipe: Path,
    options: Options,
    listener: Listener | None = None,
    stop: StopFlag | None = None,
    ready: Callable[[Planned], None] | None = None,
) -> RunResult:
    """Run a recipe, or go on with its run; then judge and report.

    Parameters
    ----------
    recipe : Path
        The recipe's file.
    options : Options
        What is added to it.
    listener : callable, optional
        Is told every event.
    stop : StopFlag, optional
        Asks the run to stop.
    ready : callable, optional
        Is told when the plan is made, before its steps run.

    Returns
    -------
    RunResult
        With the exit code.

    Raises
    ------
    RefusedError
        If the recipe, the data or the machine cannot work.
    LockedError
        If another run holds the folder.
    """
    reduction = judged(open_recipe(recipe, options))
    stop = StopFlag() if stop is None else stop
    with time_total(reduction, stop), held(reduction.folder), executor_here() as executor:
        if listener:
            listener({"event": "run-opened", "folder": str(reduction.folder.root)})
        if options.fresh:
            wipe(reduction.folder)
        if not reduction.folder.journal.exists():
            executor.warm_up()  # steps will run: CASA is imported meanwhile
        return told(
            reduction, listener, lambda: _run_held(reduction, executor, listener, stop, ready)
        )


def _run_held(
    reduction: Reduction,
    executor: LocalExecutor,
    listener: Listener | None,
    stop: StopFlag | None,
    ready: Callable[[Planned], None] | None,
) -> RunResult:
    """Run in a folder that is held: metadata, plan, steps, judgement, report."""
    folder = reduction.folder
    observations, imported = observe(reduction, executor, listener, stop)
    if stop:
        return RunResult(
            ExitCode.INTERRUPTED, Outcome(interrupted=True, why=stop.reason), Plan(()), folder
        )
    planned = prepare(reduction, observations)
    if ready:
        ready(planned)
    if planned.decided:
        outcome = _run_steps(planned, executor, listener, stop)
    else:
        outcome = Outcome(skipped={step: d.reason for step, d in planned.decided.steps.items()})
    outcome.done[:0] = [step for step in imported if outcome.skipped.pop(step, "")]
    with recording(folder):
        metrics = conclude(folder, planned.plan, outcome, reduction.loaded, versions())
    return RunResult(_exit_code(outcome, metrics), outcome, planned.plan, folder, metrics)


def _run_steps(
    planned: Planned,
    executor: LocalExecutor,
    listener: Listener | None,
    stop: StopFlag | None,
) -> Outcome:
    """Record the plan and run what must run of it."""
    reduction = planned.reduction
    if planned.decided.to_run:
        planned.need_machine()
        need_casa(executor)
    with recording(reduction.folder):
        record_plan(reduction.folder, planned.plan, reduction.loaded)
    skipped = {step: decision.reason for step, decision in planned.decided.steps.items()}
    live = Live(reduction.folder, planned.plan, about(reduction.loaded, versions()), skipped)

    def told(event: dict[str, Any]) -> None:
        live(event)
        if listener:
            listener(event)

    return run_steps(reduction, planned.plan, executor, told, stop, planned.forecast)


def _exit_code(outcome: Outcome, metrics: Mapping[str, Any]) -> ExitCode:
    if outcome.interrupted:
        return ExitCode.INTERRUPTED
    if outcome.failed:
        return ExitCode.STEP_FAILED
    return ExitCode.QA_FAILED if metrics.get("verdict") == "fail" else ExitCode.DONE


def report(run: Path) -> Path:
    """Render the report of a run again from what its folder holds.

    Raises
    ------
    DataError
        If the folder holds no run.
    """
    folder = run_folder(run)
    with held(folder):
        return render_again(folder)
