"""Words around batch jobs: what was handed in, how it is, what was ended."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from .. import api
from ..engine.executors.canfar import Canfar
from ..engine.submission import system
from ..errors import printable


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
    if status.silent:
        return [said, f"  {submission.engine} does not say how the jobs are: {status.silent}"]
    if not submission.complete:
        return [said, "  that came to no end: submit it again, or casarun cancel"]
    found = [said]
    for job in submission.jobs:
        state = status.states[job.job]
        found.append(f"  job {job.job} ({job.name}): {state}")
    if heart in ("lost", "not run"):
        found.append("  the run did not come to its end there; submit it again to go on")
    return found


def as_json(status: api.BatchStatus) -> dict[str, Any]:
    """Return how the jobs of a run are as plain data."""
    return {
        "engine": status.submission.engine,
        "submitted": status.submission.submitted,
        "complete": status.submission.complete,
        "silent": status.silent,
        "jobs": [_job_json(status, job) for job in status.submission.jobs],
    }


def _job_json(status: api.BatchStatus, job: Any) -> dict[str, Any]:
    state = status.states.get(job.job)
    known: dict[str, Any] = {"job": job.job, "name": job.name, "attempt": job.attempt}
    names: Sequence[str] = ("phase", "state", "reason", "nodes", "since")
    return known | {name: getattr(state, name) if state else None for name in names}
