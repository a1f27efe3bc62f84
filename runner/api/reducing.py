"""The run of a recipe in a folder that is held: metadata, plan, steps, judgement, report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from ..engine.executors.local import LocalExecutor
from ..engine.journal import recording
from ..engine.scheduler import Outcome
from ..engine.signals import StopFlag
from ..errors import ExitCode
from ..plan import Plan
from ..report.conclude import about, conclude, record_plan
from ..report.live import Live
from .observing import observe
from .opening import Reduction, versions
from .planning import Planned, prepare
from .running import RunResult
from .standing import keep_standing, standing
from .steps import Listener, need_casa, run_steps
from .watching import Watch

NONE_ASIDE: Final[Mapping[str, str]] = {}


def run_held(
    reduction: Reduction,
    executor: LocalExecutor,
    listener: Listener | None,
    stop: StopFlag | None,
    ready: Callable[[Planned], None] | None,
) -> RunResult:
    """Run in a folder that is held: metadata, plan, steps, judgement, report."""
    folder, watch = reduction.folder, Watch(reduction, listener)
    if watch.idle:
        code = ExitCode.STEP_FAILED if watch.aside else ExitCode.DONE
        return RunResult(code, Outcome(), Plan(()), folder, aside=watch.aside)
    planned, imported = standing(watch.reduction), list[str]()
    stands = planned is not None
    if planned is None:
        observations, imported = watch.through(
            lambda now: observe(now, executor, listener, stop), unread=True
        )
        if stop:
            return RunResult(
                ExitCode.INTERRUPTED, Outcome(interrupted=True, why=stop.reason), Plan(()), folder
            )
        planned = watch.through(lambda now: prepare(now, observations))
    if ready:
        ready(planned)
    listener = watch.taking(planned, listener)
    if planned.decided:
        outcome = _run_steps(planned, executor, listener, stop)
    else:
        outcome = Outcome(skipped={step: d.reason for step, d in planned.decided.steps.items()})
    outcome.done[:0] = [step for step in imported if outcome.skipped.pop(step, "")]
    with recording(folder):
        metrics = conclude(folder, planned.plan, outcome, planned.reduction.loaded, versions())
        if outcome.state == "done" and not stands:
            keep_standing(planned)
    code = exit_code(outcome, metrics, watch.aside)
    return RunResult(code, outcome, planned.plan, folder, metrics, watch.aside)


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


def exit_code(
    outcome: Outcome, metrics: Mapping[str, Any], aside: Mapping[str, str] = NONE_ASIDE
) -> ExitCode:
    """Return the exit code of a run; `aside` are datasets that were set aside, and why."""
    if outcome.interrupted:
        return ExitCode.INTERRUPTED
    if outcome.failed or aside:
        return ExitCode.STEP_FAILED
    return ExitCode.QA_FAILED if metrics.get("verdict") == "fail" else ExitCode.DONE
