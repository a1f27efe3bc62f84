"""Words around batch jobs: what was handed in, how it is, what was ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click

from .. import api
from ..engine.executors.batch import RUNNING, WAITING
from ..engine.executors.canfar import Canfar
from ..engine.slice_files import DONE
from ..engine.submission import system
from ..errors import LockedError, printable

_MANY: Final = 24
"""Of more slices than these, those that are done are only counted."""


def submit(
    recipe: Path, options: api.Options, engine: str, *, replicas: int, dry_run: bool
) -> None:
    """Hand a run to a batch system, or show the script."""
    if replicas > 1 and engine != Canfar.name:
        raise click.BadParameter(f"{engine} has no such thing", param_hint="--replicas")
    to = Canfar(replicas=replicas) if engine == Canfar.name else system(engine)
    handed = api.submit(recipe, options, dry_run=dry_run, batch=to)
    for line in handed.said:
        click.echo(printable(line), err=dry_run)
    if dry_run:
        click.echo(printable(handed.script), nl=False)
        return
    click.echo(f"script: {handed.path}")
    click.echo(f"job {handed.job} of {handed.folder.root}; "
               f"`casarun status {handed.folder.root}` says how it is")  # fmt: skip


def distribute(recipe: Path, options: api.Options, *, dry_run: bool) -> None:
    """Hand a run to Slurm in slices, or show what would be handed in."""
    given = api.distribute(recipe, options, dry_run=dry_run)
    root = given.folder.root
    if dry_run:
        for one in given.slices:
            after = f", after {', '.join(one.after)}" if one.after else ""
            click.echo(
                printable(f"{one.name}: {one.title}, {len(one.steps)} steps{after}"), err=True
            )
        for name, text in given.scripts.items():
            click.echo(printable(f"--- {name}\n{text}"))
    elif given.submission is None:
        click.echo(f"nothing to do: all is up to date in {root}")
    elif not given.fresh:
        raise LockedError(
            f"the jobs of this run wait or run already: `casarun status {root}` says how they are"
        )
    else:
        click.echo(f"scripts: {root}/scripts/slurm")
        click.echo(f"{len(given.submission.jobs)} jobs of {root}; `casarun status {root}` says how "
                   "they are")  # fmt: skip


def do_slice(run: Path, name: str, jobs: int | None) -> int:
    """Do a slice of a run, in the job that is there for it."""
    from ..engine import signals
    from ..engine.slice_files import REPORT
    from .terminal import lines_only

    if name == REPORT:
        with lines_only() as screen:
            result = api.report_slices(run, listener=screen.tell)
            screen.close(result)
        return int(result.exit_code)
    stop = signals.StopFlag()
    with signals.stopping(stop), signals.jobtime(stop), lines_only() as screen:
        code, said, outcome = api.do_slice(run, name, jobs, screen.tell, stop)
    click.echo(
        printable(f"slice {name}: {said.state}{f': {said.message}' if said.message else ''}")
    )
    if again := api.requeue_here(outcome):
        click.echo(again)
    return int(code)


def cancel(run: Path) -> None:
    """End the jobs of a run."""
    jobs = api.cancel(run)
    if not jobs:
        click.echo("no job of this run waits or runs")
        return
    click.echo(f"ended: job{'s' if len(jobs) > 1 else ''} {', '.join(jobs)}; what is done is kept")


def lines(status: api.BatchStatus, heart: str) -> list[str]:
    """Say how the jobs of a run are.

    Parameters
    ----------
    status : BatchStatus
        From the batch system.
    heart : str
        How the run is by its heartbeat and by its jobs.
    """
    submission = status.submission
    said = f"handed to {submission.engine} at {submission.submitted[:19]} UTC"
    found = [said]
    if status.silent:
        name = submission.engine
        found.append(f"  {name} does not say how the jobs are: {status.silent}")
    elif not submission.complete:
        return [said, "  that came to no end: submit it again, or casarun cancel"]
    if status.slices:
        return [*found, *_slice_lines(status), *_go_on(heart)]
    found += [
        f"  job {job.job} ({job.name}): {status.states[job.job]}"
        for job in submission.jobs
        if job.job in status.states
    ]
    return found + _go_on(heart)


def _slice_lines(status: api.BatchStatus) -> list[str]:
    """Say how slices are; of many, those that are not done."""
    slices = status.slices
    done, total = (sum(getattr(one, name) for one in slices) for name in ("done", "total"))
    found = [f"  {len(slices) - 1} slices and the report, {done} of {total} steps done"]
    if len(slices) > _MANY:
        found[0] += f"; {sum(one.state == DONE for one in slices)} slices are done, the others:"
        slices = tuple(one for one in slices if one.state != DONE)
    return found + [_slice_line(one) for one in slices]


def _go_on(heart: str) -> list[str]:
    if heart not in ("lost", "not run"):
        return []
    return ["  the run did not come to its end there; submit it again to go on"]


def _slice_line(one: Any) -> str:
    steps = f", {one.done} of {one.total} steps" if one.total else ""
    job = f"job {one.job} " if one.state in (WAITING, RUNNING) else ""
    return f"  {one.name} ({one.title}{steps}): {job}{one.said}"


def as_json(status: api.BatchStatus) -> dict[str, Any]:
    """Return how the jobs of a run are as plain data."""
    return {
        "engine": status.submission.engine,
        "submitted": status.submission.submitted,
        "complete": status.submission.complete,
        "silent": status.silent,
        "slices": [asdict(one) for one in status.slices],
        "jobs": [_job_json(status, job) for job in status.submission.jobs],
    }


def _job_json(status: api.BatchStatus, job: Any) -> dict[str, Any]:
    state = status.states.get(job.job)
    known: dict[str, Any] = {"job": job.job, "name": job.name, "attempt": job.attempt}
    names: Sequence[str] = ("phase", "state", "reason", "nodes", "since")
    return known | {name: getattr(state, name) if state else None for name in names}
