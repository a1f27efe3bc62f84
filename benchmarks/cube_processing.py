"""Smoothing a cube, and its moment 0, beside CASA's own tasks on the whole cube.

A cube of noise with sources, 1024 x 1024 x 256 pixels (1.07 GB) in CASA's own tiles, is smoothed to
a larger synthesized beam, and its moment 0 is made: by a script of one `imsmooth` or `immoments`,
and by casarun with a ``[[cube]]``, which has no more memory a step than `BOUND_MB`. Both from the
start of the process to the end: casarun's time has planning, checks, syncs and a report in it. The
products are compared.

    python benchmarks/cube_processing.py --scratch DISK
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import measuring
import numpy as np
from measuring import CASARUN, Figure, Part, Sample

SIDE, CHANNELS = 1024, 256
QUICK_SIDE, QUICK_CHANNELS = 256, 32
BOUND_MB = 500
FASTER = 1.7
SAME = 2e-6

MAKE = """
import sys
import numpy as np
from casarun.casa.config import configure
configure()
from casatools import coordsys, image
path, side, n_chan = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
axes = coordsys().newcoordsys(direction=True, spectral=True, stokes=["I"])
axes.setunits(["arcsec", "arcsec", "", "Hz"])
axes.setreferencepixel([side // 2, side // 2], "direction")
axes.setincrement([-2.0, 2.0], "direction")
axes.setreferencevalue([540000.0, 18000.0], "direction")
axes.setreferencevalue(1.4135e9, "spectral")
axes.setincrement(-2e4, "spectral")
axes.setrestfrequency("1420405752Hz")
tool = image()
tool.fromshape(path, [side, side, 1, n_chan], csys=axes.torecord())
rng = np.random.default_rng(1)
y, x = np.mgrid[:side, :side]
source = np.exp(-((x - side / 2) ** 2 + (y - side / 2) ** 2) / 40).T
for first in range(0, n_chan, 4):
    chunk = 0.01 * rng.standard_normal((side, side, 1, min(4, n_chan - first)), np.float32)
    tool.putchunk(chunk + source[:, :, None, None], [0, 0, 0, first])
tool.setbrightnessunit("Jy/beam")
tool.setrestoringbeam(major="8arcsec", minor="6arcsec", pa="30deg")
tool.done()
"""

TASKS = {
    "smooth": """
from casatasks import imsmooth
imsmooth(imagename={cube!r}, outfile={out!r}, major="14arcsec", minor="12arcsec", pa="0deg",
         targetres=True)
""",
    "moment": """
from casatasks import immoments
immoments(imagename={cube!r}, moments=[0], outfile={out!r})
""",
}
"""What a user would write."""

RECIPES = {
    "smooth": 'smooth = { beam = ["14arcsec", "12arcsec", "0deg"] }',
    "moment": "moments = [0]",
}
PRODUCTS = {"smooth": "made.image", "moment": "made.mom0"}
RECIPE = """casarun = 1
[[cube]]
name = "made"
image = "{cube}"
{what}
stats = false
fits = false
[resources]
memory_per_core = "{bound}MB"
"""

SETUP = """
from casarun.casa.config import configure
configure()
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 1 where a bar is missed or the products differ."""
    options = measuring.parser(__doc__).parse_args(argv)
    side, channels = (QUICK_SIDE, QUICK_CHANNELS) if options.quick else (SIDE, CHANNELS)
    times = 1 if options.quick else options.times
    part = Part("d", "cube processing, beside CASA's tasks on the whole cube")
    with measuring.scratch_folder(options) as scratch:
        cube = scratch / "cube.im"
        measuring.timed("making the cube", [sys.executable, "-c", MAKE, cube, side, channels])
        for what in TASKS:
            _compare(part, what, cube, scratch, times, quick=options.quick)
    part.notes.append(
        f"the cube: {side} x {side} x {channels} pixels, {4e-6 * side**2 * channels:.0f} MB; "
        f"casarun with --jobs {_cores()} and {BOUND_MB} MB a step; its intermediates stay"
    )
    return measuring.finish([part], options)


def _cores() -> int:
    return min(2, len(os.sched_getaffinity(0)))


def _compare(part: Part, what: str, cube: Path, scratch: Path, times: int, *, quick: bool) -> None:
    """Run one task and casarun in turns, and judge."""
    casa, ours = f"{what}: CASA", f"{what}: casarun"
    recipe = scratch / f"{what}.toml"
    recipe.write_text(RECIPE.format(cube=cube, what=RECIPES[what], bound=BOUND_MB))
    theirs, run = scratch / f"{what}.casa", scratch / f"{what}.run"
    script = SETUP + TASKS[what].format(cube=str(cube), out=str(theirs))
    commands: dict[str, list[str | Path]] = {
        casa: [sys.executable, "-c", script],
        ours: [*CASARUN, recipe, "--output", run, "--jobs", str(_cores())],
    }
    peaks: list[int] = []

    def once(who: str, _: int) -> Sample:
        shutil.rmtree(theirs if who == casa else run, ignore_errors=True)
        found = measuring.timed(who, commands[who], cwd=scratch, memory=True)
        if who == ours:
            peaks.append(_largest_step(run))
        return found

    part.samples += measuring.in_turns(times, [casa, ours], once)
    part.figures += [
        Figure(
            f"{what}: times faster than CASA's task", part.ratio(casa, ours),
            least=FASTER if what == "smooth" and not quick else None,
        ),
        Figure(f"{what}: CPU time over CASA's task", part.ratio(ours, casa, "cpu_s")),
        Figure(f"{what}: largest step over its bound", max(peaks) / (1e6 * BOUND_MB), most=1.0),
    ]  # fmt: skip
    difference = _difference(run / "images" / PRODUCTS[what], theirs)
    if not difference < SAME:
        part.wrong.append(f"{what}: the products differ by {difference:.2g} of the largest pixel")
    shutil.rmtree(theirs)
    shutil.rmtree(run)


def _largest_step(run: Path) -> int:
    """Return the largest peak memory of a run's steps, in bytes."""
    found = (run / "logs").glob("*/result.json")
    return max(int(json.loads(path.read_text())["peak_memory_bytes"]) for path in found)


def _difference(ours: Path, theirs: Path) -> float:
    """Return the largest difference of two images as a fraction of their largest pixel."""
    from casarun.casa.cube_file import CubeFile

    worst, largest = 0.0, 0.0
    with CubeFile(ours) as one, CubeFile(theirs) as other:
        for channel in range(one.header.n_chan):
            a, b = (cube.read(channel, channel + 1) for cube in (one, other))
            worst = max(worst, float(np.abs(a - b).max()))
            largest = max(largest, float(np.abs(b).max()))
    return worst / largest


if __name__ == "__main__":
    sys.exit(main())
