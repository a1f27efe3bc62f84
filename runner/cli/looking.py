"""``casarun compare``, ``dashboard``, ``plot`` and ``view``: to look at what there is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

_F = TypeVar("_F", bound=Callable[..., Any])


@click.command()
@click.argument("a", metavar="RUN_A", type=click.Path(path_type=Path))
@click.argument("b", metavar="RUN_B", type=click.Path(path_type=Path))
@click.option(
    "--rtol",
    type=click.FloatRange(0),
    default=0.01,
    show_default=True,
    help="Numbers agree whose relative difference is no larger.",
)
@click.option(
    "--sigma",
    type=click.FloatRange(0),
    default=1.0,
    show_default=True,
    help="So do those that differ by no more than so many of their errors.",
)
@click.option(
    "--tolerance",
    "own",
    multiple=True,
    metavar="NAME=VALUE",
    help="For some numbers: dynamic_range=5%, peak*=3sigma. Repeatable.",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    help="Write a page to this folder: with pictures, and compare.json.",
)
@click.option("--all", "everything", is_flag=True, help="Show the numbers that are the same, too.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def compare(
    a: Path,
    b: Path,
    rtol: float,
    sigma: float,
    own: tuple[str, ...],
    output: Path | None,
    everything: bool,
    as_json: bool,
) -> int:
    """Say what differs between the runs in two folders.

    Recipes, chosen values, steps, versions, flags, calibration tables, fluxes, images. Exits with 0
    if they agree within the tolerances, with 3 if not.
    """
    from . import comparing

    allowed = (rtol, sigma, own)
    return comparing.compare(a, b, allowed, output, as_json=as_json, everything=everything)


@click.command()
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@click.option(
    "--output",
    "-o",
    default="dashboard",
    show_default=True,
    type=click.Path(path_type=Path),
    help="The folder of the page.",
)
def dashboard(runs: tuple[str, ...], output: Path) -> None:
    """Write one page over many runs: a table, thumbnails, trends, outliers.

    Each RUN is a run folder, a folder that holds some, or a glob. Beside the page,
    OUTPUT/index.html, are dashboard.csv and dashboard.json.
    """
    from .. import api

    page, number = api.dashboard(runs, output)
    click.echo(f"{page}: {number} run{'' if number == 1 else 's'}")


def _plot_options(command: _F) -> _F:
    """Add what says what to plot."""
    for name, metavar, said in reversed((
        ("--x", "AXIS", "The horizontal axis: time, uvdist, frequency, ..."),
        ("--field", "FIELD", "Fields, in CASA's syntax; and so the next ones."),
        ("--spw", "SPW", "Spectral windows and channels: 0:6~56."),
        ("--scan", "SCAN", "Scans."),
        ("--antenna", "ANTENNA", "Antennas, or baselines: ea01&ea02."),
        ("--correlation", "CORR", "Correlations: RR,LL."),
        ("--timerange", "TIME", "09:30:00~10:00:00"),
        ("--uvrange", "UV", "Projected baselines: 0~1000m, >1klambda."),
        ("--intent", "INTENT", "Scan intents."),
        ("--column", "COLUMN", "data, corrected, model, residual (corrected - model), data-model."),
        ("--colour", "BY", "Colours by antenna, baseline, spw, field, corr or scan."),
        ("--page", "BY", "A panel for each antenna, baseline, spw, field, corr or scan."),
        ("--avgtime", "TIME", "Average in time: 60s, or scan."),
        ("--avgchannel", "N", "Average so many channels, or all."),
        ("--x-range", "LOW~HIGH", "Show only this part; also --y-range."),
        ("--y-range", "LOW~HIGH", "Show only this part."),
    )):  # fmt: skip
        command = click.option(name, default="", metavar=metavar, help=said)(command)
    return command


@click.command()
@click.argument("vis", type=click.Path(path_type=Path))
@_plot_options
@click.option(
    "--y", multiple=True, metavar="AXIS", help="The vertical axis; again for more panels."
)
@click.option("--scalar", is_flag=True, help="Average amplitudes, not vectors.")
@click.option(
    "--out",
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    help="The picture: .png, .pdf, .svg.",
)
def plot(vis: Path, y: tuple[str, ...], scalar: bool, out: Path | None, **words: str) -> None:
    """Plot VIS, a MeasurementSet or calibration table, of any size.

    Any axis against any other; points where they are few, densities where they are many. A wrong
    axis is answered with a list of those there are.
    """
    from . import plotting

    plotting.plot(vis, out, words, y, scalar=scalar)


@click.command()
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
@click.option(
    "--with",
    "viewer",
    type=click.Choice(["ds9", "carta"]),
    default=None,
    help="The viewer. Default: what is installed.",
)
@click.option(
    "--regions",
    "-r",
    multiple=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="A region file to draw as well. Repeatable.",
)
@click.option("--no-regions", is_flag=True, help="Without casarun's own regions.")
@click.option("--new", is_flag=True, help="Start a DS9, even if one runs.")
@click.option("--url", default="", help="The address of a CARTA that runs, with its token.")
@click.option(
    "--top-level-folder",
    "top",
    default="/",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="That CARTA's top-level folder. Default: /.",
)
@click.option("--hdf5", is_flag=True, help="Give CARTA HDF5 files, quicker to browse if large.")
@click.option("--no-browser", is_flag=True, help="Print CARTA's address, and open no browser.")
@click.option("--dry-run", is_flag=True, help="Make the files, show the command, open nothing.")
def view(images: tuple[str, ...], *, no_regions: bool, no_browser: bool, **wish: Any) -> None:
    """Open images in DS9 or CARTA, with the clean mask and the primary beam drawn on them.

    IMAGE is a FITS file, a CASA image, or a run folder and behind it the names of images of its
    recipe: hi (of all targets), M31.hi, hi.residual. A run folder alone means all its images.
    """
    from ..share.viewing import Wish
    from . import viewing

    wish["viewer"] = wish["viewer"] or ""
    viewing.view(images, Wish(**wish, own_regions=not no_regions), browser=not no_browser)
