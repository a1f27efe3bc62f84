"""How long it takes to start: ``--help``, ``check --static``, and ``plan`` of data that are known.

Runs them in turns with an interpreter that does nothing, and with an import of casatasks, each
from the start of its process to the end:

    python benchmarks/start.py --times 5

The static check is of a recipe of 100 lines. The plan is of ``recipes/ngc5921.toml``, whose
metadata an earlier plan has read.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import measuring
from measuring import CASARUN, RECIPE, Figure, Part

NOTHING, IMPORT = "python -c pass", "import casatasks"
HELP, CHECK, PLAN = "casarun --help", "casarun check --static", "casarun plan"
MOST_S = 1.0
HEAD = """casarun = 1
[[dataset]]
name = "day"
vis = "casadata:demo/NGC5921.fits"
[calibrators]
flux = "1331*"
bandpass = "1331*"
phase = "1445*"
[targets]
fields = ["N5921*"]
"""
IMAGE = """[[image]]
name = "map{number}"
imsize = {size}
cell = "10arcsec"
weighting = "briggs"
robust = 0.5
niter = 1000
threshold = "5sigma"
tclean = {{ uvtaper = ["30arcsec"], cyclefactor = 1.5, gain = 0.1 }}
"""


def recipe(lines: int = 100) -> str:
    """Return a recipe of so many lines: one observation and several images."""
    text, number = HEAD, 0
    while text.count("\n") + IMAGE.count("\n") <= lines:
        number += 1
        text += IMAGE.format(number=number, size=128 * number)
    return text + "# a comment\n" * (lines - text.count("\n"))


def commands(folder: Path) -> dict[str, list[str | Path]]:
    """Return what is started, by name."""
    configured = "from casarun.casa.config import configure; configure(); import casatasks"
    return {
        NOTHING: [sys.executable, "-c", "pass"],
        HELP: [*CASARUN, "--help"],
        CHECK: [*CASARUN, "check", "--static", folder / "recipe.toml"],
        PLAN: [*CASARUN, "plan", RECIPE, "--output", folder / "run"],
        IMPORT: [sys.executable, "-c", configured],
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 1 where one takes too long."""
    options = measuring.parser(__doc__, times=7).parse_args(argv)
    part = Part("f", "from the start of a process to its end")
    with measuring.scratch_folder(options) as scratch:
        (scratch / "recipe.toml").write_text(recipe())
        started = commands(scratch)
        for name, command in started.items():  # fills caches; imports the data to be planned
            measuring.timed(name, command)
        part.samples += measuring.in_turns(
            2 if options.quick else options.times,
            list(started),
            lambda name, turn: measuring.timed(name, started[name]),
        )
    for name in (HELP, CHECK, PLAN):
        part.figures += [
            Figure(name, part.median(name), "s", most=MOST_S),
            Figure(f"{name}, over an empty interpreter", part.ratio(name, NOTHING)),
            Figure(f"{name}, over import casatasks", part.ratio(name, IMPORT), most=1.0),
        ]
    return measuring.finish([part], options)


if __name__ == "__main__":
    sys.exit(main())
