"""The steps of a plan are run on the engine, in a folder that is held."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..engine import machine
from ..engine.arrivals import remembered
from ..engine.disk import reserve_bytes
from ..engine.doctor_casa import advice
from ..engine.executors.local import LocalExecutor
from ..engine.forecast import Forecast, forecast
from ..engine.policy import Budget, RetryPolicy
from ..engine.scheduler import Outcome
from ..engine.scheduler import run as run_plan
from ..engine.seen import Seen
from ..engine.signals import StopFlag
from ..errors import Cause, Problem, refuse, with_advice
from ..files import tree_size
from ..folder import RunFolder
from ..plan import Plan, Step
from ..quantities import parse
from ..recipe.model import Resources, Retry
from ..stages import compile as stages
from .looking import require_inside
from .opening import Reduction, versions

Listener = Callable[[dict[str, Any]], None]


def input_identities(plan_steps: Sequence[Step], folder: RunFolder) -> dict[str, str]:
    """Return the identity of each path outside of the run folder that steps read.

    Of a dataset that was reduced and is gone, what it was then.
    """
    paths = {path for step in plan_steps for path in step.reads if path.startswith("/")}
    kept, seen = remembered(folder), Seen(folder)
    found = {
        path: kept.get(path) or seen.identity(path)
        for path in sorted(paths)
        if path in kept or Path(path).exists()
    }
    seen.keep()
    return found


def as_plan(compiled: stages.Compiled, folder: RunFolder) -> Plan:
    """Return the plan of compiled steps, with today's inputs and software.

    The `folder` is where it will run, and has a memory of how the inputs looked.
    """
    return compiled.plan(input_identities(compiled.steps, folder), versions())


def need_casa(executor: LocalExecutor) -> None:
    """Wait until steps can be run; meanwhile, make ready what the end of a run needs.

    Raises
    ------
    RefusedError
        If CASA cannot be imported: with the reason and, where it is known, the way out.
    """
    from ..report.render import make_ready

    executor.warm_up()
    make_ready()
    text = executor.failure()
    if text:
        reason = text.strip().splitlines()[-1].removeprefix("casarun.errors.DataError: ")
        way = "" if "pip install" in reason else advice(text)
        said = with_advice(f"CASA cannot be imported: {reason}", way)
        raise refuse(f"{said}\n`casarun doctor` says more.")


def disk_problem(reduction: Reduction, plan: Plan) -> Problem | None:
    """Say that there is too little free disk for a plan, or return None."""
    size = sum(tree_size(Path(path)) for path in plan.inputs)
    factor = reduction.loaded.recipe.resources.disk_factor
    return machine.disk_problem(reduction.folder.root, size, factor)


def expect(reduction: Reduction, plan: Plan, to_run: Collection[str]) -> Forecast:
    """Hold what the steps that must run will need against this machine."""
    if not to_run:  # nothing to look up the sizes of inputs and the journals of neighbours for
        return Forecast()
    recipe = reduction.loaded.recipe
    return forecast(
        plan,
        to_run,
        reduction.folder,
        machine.budget(recipe.resources, reduction.options.jobs),
        sum(tree_size(Path(path)) for path in plan.inputs),
        recipe.resources.disk_factor,
        [image.name for image in recipe.image],
        own_memory=recipe.resources.memory != "auto",
    )


def run_steps(
    reduction: Reduction,
    planned: Plan,
    executor: LocalExecutor,
    listener: Listener | None,
    stop: StopFlag | None,
    expected: Forecast | None = None,
) -> Outcome:
    """Run what must run of a plan; the caller holds the folder.

    Parameters
    ----------
    reduction, planned, executor, listener, stop
        As in `casarun.engine.scheduler.run`.
    expected : Forecast, optional
        What the steps will need and take, corrected by earlier runs.
    """
    require_inside(reduction.folder)
    recipe = reduction.loaded.recipe
    expected = expected or Forecast()
    return run_plan(
        _with_memory(planned, expected.learnt_memory),
        reduction.folder,
        executor,
        policy_of(recipe.retry),
        budget_of(recipe.resources, reduction.options.jobs, reduction.folder.root),
        listener,
        stop,
        seconds=expected.steps,
    )


def _with_memory(plan: Plan, memory: Mapping[str, int]) -> Plan:
    """Return a plan whose steps ask for the memory that they need; all else is the same."""
    if not memory:
        return plan
    return replace(
        plan,
        steps=tuple(
            step.needing(replace(step.resources, memory_bytes=memory[step.id]))
            if step.id in memory
            else step
            for step in plan.steps
        ),
    )


def budget_of(wishes: Resources, jobs: int | None, root: Path) -> Budget:
    """Return what the steps may use of this machine, together and each."""
    per_step = wishes.memory_per_step
    return replace(
        machine.budget(wishes, jobs),
        memory_per_step_bytes=0 if per_step == "auto" else int(parse(per_step, "size")),
        disk_reserve_bytes=reserve_bytes(wishes.disk_reserve, root),
    )


def policy_of(retry: Retry) -> RetryPolicy:
    """Return when to try a step again."""
    return RetryPolicy(
        retry.attempts,
        parse(retry.wait, "duration"),
        parse(retry.max_wait, "duration"),
        {
            Cause(cause.replace("_", "-")): tries
            for cause, tries in vars(retry.causes).items()
            if tries
        },
        stop_at_failure=retry.on_failure == "stop",
    )
