"""The steps of a plan are run on the engine, in a folder that is held."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..engine import machine
from ..engine.executors.local import LocalExecutor
from ..engine.policy import RetryPolicy
from ..engine.scheduler import Outcome
from ..engine.scheduler import run as run_plan
from ..engine.signals import StopFlag
from ..errors import Problem
from ..files import identity, tree_size
from ..plan import Plan
from ..quantities import parse
from ..stages import compile as stages
from .opening import Reduction, versions

Listener = Callable[[dict[str, Any]], None]


def input_identities(plan_steps: Sequence[Any]) -> dict[str, str]:
    """Return the identity of each path outside of the run folder that steps read."""
    paths = {path for step in plan_steps for path in step.reads if path.startswith("/")}
    return {path: identity(Path(path)) for path in sorted(paths) if Path(path).exists()}


def as_plan(compiled: stages.Compiled) -> Plan:
    """Return the plan of compiled steps, with today's inputs and software."""
    return compiled.plan(input_identities(compiled.steps), versions())


@contextmanager
def executor_here() -> Iterator[LocalExecutor]:
    """Give an executor on this machine; its processes end with it."""
    executor = LocalExecutor()
    try:
        yield executor
    finally:
        executor.close()


def disk_problem(reduction: Reduction, plan: Plan) -> Problem | None:
    """Say that there is too little free disk for a plan, or return None."""
    size = sum(tree_size(Path(path)) for path in plan.inputs)
    factor = reduction.loaded.recipe.resources.disk_factor
    return machine.disk_problem(reduction.folder.root, size, factor)


def run_steps(
    reduction: Reduction,
    planned: Plan,
    executor: LocalExecutor,
    listener: Listener | None,
    stop: StopFlag | None,
) -> Outcome:
    """Run what must run of a plan; the caller holds the folder."""
    recipe = reduction.loaded.recipe
    return run_plan(
        planned,
        reduction.folder,
        executor,
        RetryPolicy(recipe.retry.attempts, parse(recipe.retry.wait, "duration")),
        machine.budget(recipe.resources, reduction.options.jobs),
        listener,
        stop,
    )
