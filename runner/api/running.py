"""A recipe is run, or its run gone on with; then it is judged and reported.

The process that steps are forked from is started as soon as the recipe is read: what else a run
needs is imported while CASA is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..engine.seen import products_change
from ..engine.signals import StopFlag
from ..errors import ExitCode
from ..folder import RunFolder
from .beginning import executor_here, time_total
from .looking import held_while_looked_at, require_inside
from .opening import Options, Reduction, held, judged, open_recipe, run_folder, wipe

if TYPE_CHECKING:
    from ..engine.scheduler import Outcome
    from ..plan import Plan
    from .planning import Planned
    from .steps import Listener


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
    aside : mapping of str to str
        Datasets that were refused while others went on, and why.
    """

    exit_code: ExitCode
    outcome: Outcome
    plan: Plan
    folder: RunFolder
    metrics: dict[str, Any] = field(default_factory=dict)
    aside: Mapping[str, str] = field(default_factory=dict)


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
    with time_total(reduction, stop), held_while_looked_at(reduction), executor_here() as executor:
        _no_job(reduction.folder)
        if listener:
            listener({"event": "run-opened", "folder": str(reduction.folder.root)})
        if options.fresh:
            _begin_anew(reduction)
        if not (reduction.folder.journal.exists() or reduction.loaded.watching):
            executor.warm_up()  # steps will run: CASA is imported meanwhile
        from .reducing import run_held
        from .telling import told

        return told(
            reduction, listener, lambda: run_held(reduction, executor, listener, stop, ready)
        )


def _no_job(folder: RunFolder) -> None:
    """Refuse a folder in which a batch job works, or will, other than the one that we are.

    What the slices of an earlier run wrote comes into the journal.

    Raises
    ------
    LockedError
        With the job.
    """
    if folder.batch.is_file():
        from ..engine.executors.slurm import job_here
        from ..engine.submission import refuse_if_live

        refuse_if_live(folder, but=job_here(os.environ))
    if folder.slices.is_dir():
        from ..engine.slice_files import absorb

        absorb(folder)


def _begin_anew(reduction: Reduction) -> None:
    """Empty the run folder, where nothing is lost by that."""
    _require_nothing_lost(reduction)
    require_inside(reduction.folder)
    products_change(reduction.folder)
    wipe(reduction.folder)


def _require_nothing_lost(reduction: Reduction) -> None:
    if reduction.loaded.watching:
        from .watching import require_nothing_lost

        require_nothing_lost(reduction)


def report(run: Path) -> Path:
    """Render the report of a run again from what its folder holds.

    Raises
    ------
    DataError
        If the folder holds no run.
    """
    from ..report.conclude import render_again

    folder = run_folder(run)
    with held(folder):
        return render_again(folder)
