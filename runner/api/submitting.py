"""A whole run is handed to a batch system as one job."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from .. import __version__
from ..configuration import configured
from ..engine import asking
from ..engine.executors.batch import MARK, Ask, BatchError, BatchSystem
from ..engine.executors.canfar import Canfar
from ..engine.executors.slurm import Slurm
from ..engine.forecast import Forecast, forecast
from ..engine.policy import Budget
from ..engine.submission import LOGS, WHOLE, Submission, SubmittedJob, refuse_if_live
from ..errors import RefusedError, dotted
from ..files import now, write_atomic
from ..folder import RunFolder
from ..lock import FolderLock
from .opening import Options, Reduction, held, judged, open_recipe, wipe
from .planning import Planned
from .planning import plan as make_plan
from .watching import require_nothing_lost

SCRIPTS: Final = "scripts/slurm"
"""Where batch scripts are, in the run folder."""


@dataclass(frozen=True)
class Handed:
    """What was, or would be, handed to a batch system.

    Attributes
    ----------
    folder : RunFolder
        Of the run.
    script : str
        The batch script's text.
    path : Path
        Where it is.
    said : tuple of str
        What was chosen for the job, and why.
    job : str
        Its number; empty where nothing was handed in.
    """

    folder: RunFolder
    script: str
    path: Path
    said: tuple[str, ...] = ()
    job: str = ""


def submit(
    recipe: Path, options: Options, *, dry_run: bool = False, batch: BatchSystem | None = None
) -> Handed:
    """Hand a run to a batch system as one job, on one node.

    Parameters
    ----------
    recipe : Path
        The recipe's file; it must stay where it is until the job has started.
    options : Options
        What is added to it.
    dry_run : bool
        Only say what would be handed in; nothing is written.
    batch : BatchSystem, optional
        By default Slurm.

    Raises
    ------
    RefusedError
        If the recipe, or the data as far as they are looked at, cannot work.
    LockedError
        If the run is going on, or is in the queue.
    BatchError
        If the batch system refuses.
    """
    batch = batch or Slurm()
    reduction = judged(open_recipe(recipe, options))
    folder = reduction.folder
    if isinstance(batch, Canfar):
        ask, said = asking.session(job_name(reduction), reduction.loaded.recipe.cluster, batch.own)
        command = _command(recipe, options, folder, ["casarun"], options.jobs or ask.cores)
    else:
        ask, said = _asked(recipe, options, reduction, batch)
        here = [sys.executable, "-m", "casarun"]
        command = [*_command(recipe, options, folder, here, options.jobs or ask.cores), "--requeue"]
    path = folder.root / "scripts" / batch.name / f"{WHOLE}.sh"
    log = folder.root / LOGS / "%x-%j.log"
    script = batch.script(ask, command, log, _about(reduction, batch, path))
    handed = Handed(folder, script, path, tuple(said))
    if dry_run:
        return handed
    with FolderLock(folder.private / "submit.lock"):
        with held(folder):
            refuse_if_live(folder)
            if options.fresh:
                require_nothing_lost(reduction)
                wipe(folder, but="submit.lock")
            (folder.root / LOGS).mkdir(parents=True, exist_ok=True)
            write_atomic(handed.path, script)
        return replace(handed, job=_hand_in(handed, batch))


def _asked(
    recipe: Path, options: Options, reduction: Reduction, batch: BatchSystem
) -> tuple[Ask, list[str]]:
    """Return what a job asks Slurm for, and what of it was chosen."""
    own = own_settings()
    cluster = reduction.loaded.recipe.cluster
    needed = None if asking.says_all(cluster) else _needed(recipe, options, batch, own)
    return asking.ask("", job_name(reduction), cluster, own, needed)


def _hand_in(handed: Handed, batch: BatchSystem) -> str:
    """Submit a script and remember its job, whatever happens in between."""
    submission = Submission(batch.name, new_mark())
    submission.write(handed.folder)
    try:
        job = batch.submit(handed.path, mark=submission.mark)
    except BatchError:
        handed.folder.batch.unlink()
        raise
    script = str(handed.path.relative_to(handed.folder.root))
    jobs = tuple(SubmittedJob(one, WHOLE, script) for one in job.split(","))
    submission.done(jobs).write(handed.folder)
    return job


def new_mark() -> str:
    """Return a mark by which the jobs of one submission are known."""
    return f"{MARK}{uuid.uuid4().hex[:16]}"


def own_settings() -> Mapping[str, Any]:
    """Return what the user's own configuration says of Slurm.

    Raises
    ------
    RefusedError
        If it is wrong.
    """
    configuration = configured()
    own: Mapping[str, Any] = configuration.document.get("slurm", {})
    problems = list(asking.wrong_settings(own))
    if problems:
        said = "\n".join(f"{dotted(p.key)}: {p.message}" for p in problems)
        raise RefusedError(problems, f"{configuration.path}: {said}")
    return own


def job_name(reduction: Reduction) -> str:
    """Return the name of a run's jobs."""
    return f"casarun-{reduction.loaded.recipe.project.name}"


def _needed(
    recipe: Path, options: Options, batch: BatchSystem, own: Mapping[str, Any]
) -> asking.Need:
    """Plan a run, for what it is expected to need."""
    planned = make_plan(recipe, options)
    expected = elsewhere(planned)
    cluster = planned.reduction.loaded.recipe.cluster
    return asking.need(
        planned.plan,
        expected.steps,
        expected.learnt_memory,
        None if cluster.cores == "auto" else int(cluster.cores),
        batch.most_cores(cluster.partition or str(own.get("partition", ""))),
    )


def elsewhere(planned: Planned) -> Forecast:
    """Return what a plan will take of a machine that is large enough."""
    reduction = planned.reduction
    return forecast(
        planned.plan,
        planned.decided.to_run,
        reduction.folder,
        Budget(asking.MOST_CORES),
        0,
        0.0,
    )


def _command(
    recipe: Path, options: Options, folder: RunFolder, casarun: Sequence[str], jobs: int
) -> list[str]:
    """Return the command that the job becomes."""
    command = [*casarun, "run", str(recipe.absolute()), "--output", str(folder.root)]
    command += ["--jobs", str(jobs)] if jobs else []
    for override in options.overrides:
        command += ["--set", override]
    for name in ("until", "only"):
        if getattr(options, name):
            command += [f"--{name}", getattr(options, name)]
    return command


def _about(reduction: Reduction, batch: BatchSystem, path: Path) -> str:
    """Say in a script what it is."""
    lines = [
        f"Runs {reduction.loaded.source.name} in {reduction.folder.root},",
        f"or goes on with its run. Written by casarun {__version__} on {now()[:19]} UTC.",
    ]
    if batch.name == Slurm.name:
        lines += [
            "Before its wall time is over the run stops, and the job goes back into the queue.",
            f"By hand: sbatch {path}",
        ]
    return "\n".join(lines)
