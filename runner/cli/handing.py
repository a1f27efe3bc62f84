"""The commands for batch systems: a run is handed in, a slice of one done, its jobs ended."""

from __future__ import annotations

from pathlib import Path

import click

from .commands import executor_option, recipe_options


@click.command()
@recipe_options
@click.option(
    "--to",
    "engine",
    type=click.Choice(["slurm", "canfar"]),
    required=True,
    help="The batch system.",
)
@executor_option
@click.option("--jobs", "-j", type=click.IntRange(1), help="How many steps may run at once.")
@click.option("--fresh", is_flag=True, help="Forget what earlier runs left in the run folder.")
@click.option(
    "--replicas",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    help="CANFAR: sessions that share the datasets, each with a run of its own.",
)
@click.option("--dry-run", is_flag=True, help="Show the batch script; hand in nothing.")
def submit(
    recipe: Path, output: Path | None, overrides: tuple[str, ...], until: str, only: str,
    engine: str, executor: str, jobs: int | None, fresh: bool, replicas: int, dry_run: bool,
) -> None:  # fmt: skip
    """Hand a run of RECIPE to a batch system, as one job, or as one for each slice.

    Cores, memory and time come from [cluster] in the recipe, else from the plan. When the job's
    time is over the run stops, and goes on in the queue.
    """
    from .. import api
    from . import batch

    options = api.Options(output, overrides, jobs, until, only, fresh)
    if executor == "slurm":
        if engine != "slurm":
            raise click.BadParameter(f"{engine} runs no slices", param_hint="--executor")
        batch.distribute(recipe, options, dry_run=dry_run)
    else:
        batch.submit(recipe, options, engine, replicas=replicas, dry_run=dry_run)


@click.command(name="slice", hidden=True)
@click.option("--jobs", "-j", type=click.IntRange(1), help="How many steps may run at once.")
@click.argument("run_folder", metavar="RUN", type=click.Path(path_type=Path))
@click.argument("name")
def slice_(run_folder: Path, name: str, jobs: int | None) -> int:
    """Do the slice NAME of the run in folder RUN: what its batch jobs call."""
    from . import batch

    return batch.do_slice(run_folder, name, jobs)


@click.command()
@click.argument("run_folder", metavar="RUN", type=click.Path(path_type=Path))
def cancel(run_folder: Path) -> None:
    """End the batch jobs of the run in folder RUN, or take them out of the queue."""
    from . import batch

    batch.cancel(run_folder)
