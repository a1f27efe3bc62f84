"""``casarun crate``, ``bundle`` and ``verify``."""

from __future__ import annotations

from pathlib import Path

import click

from .. import api
from ..errors import ExitCode, printable

_RUN = click.argument("run", metavar="RUN", type=click.Path(path_type=Path))


@click.command()
@_RUN
def crate(run: Path) -> None:
    """Describe the run in folder RUN as an RO-Crate, for archives and catalogues.

    Written is ro-crate-metadata.json, with checksums of all products and of the data.
    """
    click.echo(printable(f"crate: {api.describe(run)}"))


@click.command()
@_RUN
@click.option("--output", "-o", type=click.Path(path_type=Path), metavar="FILE",
              help="The archive. Default: <name of RUN>.crate.zip here.")  # fmt: skip
@click.option("--data", is_flag=True, help="Pack the data that it was made from, too.")
@click.option("--all", "everything", is_flag=True,
              help="Pack MeasurementSets and CASA images, too.")  # fmt: skip
def bundle(run: Path, output: Path | None, data: bool, everything: bool) -> None:
    """Pack the run in folder RUN into an archive that others check and run again.

    In it are the recipe, plan and CASA script, the report with its numbers, logs, calibration
    tables and FITS files, described as an RO-Crate.
    """
    out = api.bundle(run, output, everything=everything, data=data)
    click.echo(printable(f"bundle: {out.absolute()} ({out.stat().st_size / 1e6:.3g} MB)"))


@click.command()
@click.argument("path", metavar="BUNDLE", type=click.Path(path_type=Path))
@click.option("--unpack", type=click.Path(path_type=Path), metavar="FOLDER",
              help="Unpack it into this new folder, if it is in order.")  # fmt: skip
def verify(path: Path, unpack: Path | None) -> ExitCode:
    """Check that all in BUNDLE, an archive or the folder of one unpacked, is as it was packed."""
    found = api.verify(path, unpack)
    for problem in found.problems:
        click.echo(printable(f"{path}: {problem}"))
    if found.problems:
        number = len(found.problems)
        click.echo(f"{number} problem{'s' if number > 1 else ''}; files looked at: {found.files}")
        return ExitCode.DIFFER
    click.echo(printable(f"{path}: {found.files} files, all as they were packed"))
    if unpack is not None:
        click.echo(printable(f"unpacked: {unpack.absolute()}"))
    return ExitCode.DONE
