"""The commands. What is slow to import is imported in the command that needs it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

_F = TypeVar("_F", bound=Callable[..., Any])
_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class _RecipeOrCommand(click.Group):
    """Lets ``casarun RECIPE`` stand for ``casarun run RECIPE``."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        word = args[0]
        if self.get_command(ctx, word) is None and (word.endswith(".toml") or Path(word).exists()):
            return super().resolve_command(ctx, ["run", *args])
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # Options may come before the recipe: casarun --jobs 2 recipe.toml
        words = [arg for arg in args if not arg.startswith("-")]
        is_run = words and words[0] not in self.commands
        if is_run and args[0].startswith("-") and args[0] not in ("-h", "--help", "--version"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_RecipeOrCommand, context_settings=_CONTEXT)
@click.version_option(package_name="casarun", prog_name="casarun")
def cli() -> None:
    """Run recipes for radio interferometry on CASA.

    casarun RECIPE.toml checks, plans, runs (or goes on with) and reports.
    """


def recipe_options(command: _F) -> _F:
    """Add what all commands that take a recipe have."""
    return click.argument("recipe", type=click.Path(path_type=Path))(_over_recipe(command))


def _over_recipe(command: _F) -> _F:
    """Add what replaces a recipe's values."""
    for option in (
        click.option("--output", "-o", type=click.Path(path_type=Path), help="The run folder."),
        click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE",
                     help="Override a value: image.hi.niter=500. Repeatable."),
        click.option("--until", default="", metavar="STAGE",
                     help="Stop after this stage: import, flag, calibrate, ..., image."),
        click.option("--only", default="", metavar="DATASET", help="Only this dataset."),
    ):  # fmt: skip
        command = option(command)
    return command


executor_option = click.option(
    "--executor",
    type=click.Choice(["local", "slurm"]),
    default="local",
    show_default=True,
    help="slurm: cut the run into slices, each a job, and hand in all at once.",
)


def _volume(command: _F) -> _F:
    for option in (
        click.option("--quiet", "-q", is_flag=True, help="Only say what went wrong."),
        click.option("--verbose", "-v", is_flag=True, help="Say why each step runs."),
    ):
        command = option(command)
    return command


@cli.command()
@recipe_options
@click.option("--jobs", "-j", type=click.IntRange(1), help="How many steps may run at once.")
@click.option(
    "--walltime",
    default="",
    metavar="TIME",
    help="Stop in time to be gone on with: 2h. Exit code 75.",
)
@click.option(
    "--part",
    default="",
    metavar="I/N",
    help="Every N-th dataset, from the I-th on, in a run folder of its own.",
)
@click.option("--dry-run", is_flag=True, help="Show what would run, and why.")
@click.option("--fresh", is_flag=True, help="Forget what earlier runs left in the run folder.")
@executor_option
@click.option(
    "--requeue",
    is_flag=True,
    help="In a Slurm job: put it back into the queue when its time is over.",
)
@_volume
def run(
    recipe: Path, output: Path | None, overrides: tuple[str, ...], until: str, only: str,
    jobs: int | None, walltime: str, part: str, dry_run: bool, fresh: bool, executor: str,
    requeue: bool,
    quiet: bool, verbose: bool,
) -> int:  # fmt: skip
    """Run RECIPE, or go on with its run; then judge and report."""
    from .. import api
    from ..engine import signals
    from ..errors import LockedError
    from .terminal import terminal

    options = api.Options(output, overrides, jobs, until, only, fresh, part=_part(part))
    if dry_run:
        return _show_plan(recipe, options, "table")
    stop = signals.StopFlag()
    with (
        signals.stopping(stop),
        signals.walltime(stop, _seconds(walltime), walltime),
        signals.jobtime(stop),
        terminal(quiet=quiet, verbose=verbose) as screen,
    ):
        try:
            start = api.run_distributed if executor == "slurm" else api.run
            result = start(recipe, options, screen.tell, stop, screen.planned)
        except LockedError as error:
            if error.doubtful or not quiet:
                raise
            return int(error.exit_code)  # cron starts the next one while this one goes on
        screen.close(result)
    if requeue and (said := api.requeue_here(result.outcome)):
        click.echo(said)
    return int(result.exit_code)


def _part(text: str) -> tuple[int, int] | None:
    """Read the value of --part."""
    if not text:
        return None
    number, _, of = text.partition("/")
    if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of) <= 10_000):
        raise click.BadParameter(f"expected 2/4, found '{text}'", param_hint="--part")
    return int(number), int(of)


def _seconds(walltime: str) -> float | None:
    """Read the value of --walltime."""
    if not walltime:
        return None
    from ..quantities import parse

    try:
        return parse(walltime, "duration")
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--walltime") from None


@cli.command()
@click.argument("recipe", metavar="RECIPE...", nargs=-1, required=True,
                type=click.Path(path_type=Path))  # fmt: skip
@_over_recipe
@click.option("--static", is_flag=True, help="Check the recipe alone, without looking at data.")
@click.option(
    "--portable",
    is_flag=True,
    help="Like --static, and the files and environment that it names need not be here.",
)
@click.option("--explain", is_flag=True, help="Show each key, its value and where that came from.")
@click.option("--json", "as_json", is_flag=True,
              help="Machine-readable: each problem and warning by itself.")  # fmt: skip
def check(
    recipe: tuple[Path, ...], output: Path | None, overrides: tuple[str, ...], until: str,
    only: str, static: bool, portable: bool, explain: bool, as_json: bool,
) -> int:  # fmt: skip
    """Check each RECIPE: everything that can be known before running, all at once."""
    from .. import api
    from . import checking

    options = api.Options(output, overrides, None, until, only, portable=portable)
    static = static or portable
    if as_json:
        if explain:
            raise click.UsageError("give either --explain or --json, not both")
        return checking.check_json(recipe, options, static=static)
    return checking.check(recipe, options, static=static, explained=explain)


@cli.command()
@click.argument("recipes", metavar="RECIPE...", nargs=-1, required=True,
                type=click.Path(path_type=Path))  # fmt: skip
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 if one would be changed.")
def fmt(recipes: tuple[Path, ...], check: bool) -> int:
    """Bring the blank space of recipes into casarun's style.

    Comments, order and values stay as they are.
    """
    from . import formatting

    return formatting.fmt(recipes, check=check)


@cli.command()
@recipe_options
@click.option("--format", "how", default="table",
              type=click.Choice(["table", "json", "mermaid", "script"]))  # fmt: skip
@click.option("--all", "every", is_flag=True,
              help="Each step in a row of its own, however many are alike.")  # fmt: skip
def plan(
    recipe: Path, output: Path | None, overrides: tuple[str, ...], until: str, only: str, how: str,
    every: bool,
) -> int:  # fmt: skip
    """Show the steps of RECIPE, and why each would run."""
    from .. import api

    return _show_plan(recipe, api.Options(output, overrides, None, until, only), how, every)


def _show_plan(recipe: Path, options: Any, how: str, every: bool = False) -> int:
    import json

    from .. import api
    from . import tables

    planned = api.plan(recipe, options)
    if how == "json":
        from ..report.conclude import plan_json

        click.echo(json.dumps(plan_json(planned.plan), indent=1))
    elif how == "script":
        from ..report.conclude import script_before

        click.echo(script_before(planned.plan, planned.reduction.loaded), nl=False)
    elif how == "mermaid":
        click.echo(tables.mermaid(planned.plan))
    else:
        tables.show_plan(planned, every=every)
    return 0


@cli.command()
@click.argument("run_folder", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def status(run_folder: Path, as_json: bool) -> None:
    """Show how far the run in folder RUN is."""
    from .. import api
    from . import tables

    tables.show_status(api.run_folder(run_folder), as_json)


@cli.command()
@click.argument("run_folder", metavar="RUN", type=click.Path(path_type=Path))
@click.argument("step", default="")
@click.option("--casa", is_flag=True, help="CASA's own log of the step.")
def log(run_folder: Path, step: str, casa: bool) -> None:
    """Show what happened in the run in folder RUN, or the log of one STEP."""
    from .. import api
    from . import tables

    tables.show_log(api.run_folder(run_folder), step, casa)


@cli.command()
@click.argument("run_folder", metavar="RUN", type=click.Path(path_type=Path))
def report(run_folder: Path) -> None:
    """Render the QA report of the run in folder RUN again."""
    from .. import api

    click.echo(api.report(run_folder))


@cli.command()
@click.argument("vis", type=click.Path(path_type=Path, exists=True))
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def info(vis: Path, as_json: bool) -> None:
    """Show the metadata of VIS: an MS, UVFITS, ASDM, or tar of one."""
    import json

    from .. import api
    from . import tables

    observation = api.info(vis)
    if as_json:
        click.echo(json.dumps(observation.to_json(), indent=1))
    else:
        tables.show_observation(observation)


@cli.command()
@click.argument("vis", nargs=-1, required=True)
@click.option(
    "--output",
    "-o",
    default="",
    metavar="FILE",
    help="Where to write it; - prints it. Default: NAME.toml in the current folder.",
)
@click.option("--name", default="", help="Name of the run. Default: that of the first dataset.")
@click.option("--force", is_flag=True, help="Overwrite the recipe if it is there already.")
def init(vis: tuple[str, ...], output: str, name: str, force: bool) -> None:
    """Write a complete recipe for the datasets VIS, from their own metadata.

    Each VIS is an MS, UVFITS, ASDM, or a tar of one; casadata:demo/NGC5921.fits is CASA's demo.
    What the metadata leave open is marked UNSURE in the recipe.
    """
    from . import starting

    starting.init(vis, output, name, force=force)


@cli.command()
@click.argument("name", default="")
def recipes(name: str) -> None:
    """List the recipes that come with casarun, or print the one called NAME.

    casarun recipes alma-line > my.toml makes a copy to edit; its lines marked <- say what to
    change.
    """
    from . import gallery

    gallery.show(name)


@cli.command()
@click.argument("folder", default=".", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def doctor(folder: Path, as_json: bool) -> int:
    """Say whether this machine is ready for runs in FOLDER (default: here).

    Looks at CASA, its data, cores, memory, disk and limits. Exits with 0 only if a run would work.
    """
    import json

    from ..engine import doctor as surgery
    from . import tables

    findings = surgery.examine(folder.absolute())
    if as_json:
        click.echo(json.dumps(surgery.as_json(findings), indent=1))
    else:
        tables.show_findings(findings)
    return 0 if surgery.ready(findings) else 1


@cli.command()
@click.argument("name", default="")
@click.option("--schema", "as_schema", is_flag=True, help="The JSON Schema of its parameters.")
def task(name: str, as_schema: bool) -> None:
    """List CASA's tasks, or show the parameters of one."""
    from . import task_page

    task_page.show(name, as_schema=as_schema)
