"""Eight datasets calibrated and imaged: casarun beside plain CASA, and beside the limit.

In turns, each from the start of its process to its end: a loop over datasets, as one writes first;
a ``multiprocessing.Pool`` over them; both with CASA's own number of threads, and with one thread,
for those who know to set it; such a pool with a process for each dataset, which is what ``Pool()``
comes to on a shared node, where Python counts the host's cores and not those that a job has; and
casarun with checks, journal, plots and report; and casarun with four times as many pixels, for
what it takes beside CASA's own work depends little on the size of the data.

The limit is the CPU time of the tasks over the cores: of casarun's own steps, as the run recorded
them, and of the loop with one thread, which has no overhead but the import of CASA.

    python benchmarks/eight.py --scratch DISK --times 3

The datasets are copies of the NGC 5921 data (casadata) whose targets have names of their own.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import casadata
import compare
import measuring
from measuring import CASARUN, Figure, Part, Sample

LOOP, LOOP_ONE = "script", "script, one thread"
POOL, POOL_ONE, POOL_EACH = "pool", "pool, one thread", "pool, a process a dataset"
OURS, LARGER = "casarun", "casarun, images of 512 x 512"
EVERYONE = (LOOP, LOOP_ONE, POOL, POOL_ONE, POOL_EACH, OURS, LARGER)
RECIPES = {OURS: "recipe.toml", LARGER: "larger.toml"}
EFFICIENCY, FASTER = 0.9, 3.0
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
LIMIT_S = 900.0
RECIPE = """casarun = 1
[project]
name = "eight"
[[dataset]]
vis = "*.fits"
[calibrators]
flux     = { field = "1331+305*", standard = "Perley-Butler 2017" }
bandpass = "1331+305*"
phase    = "1445+099*"
[targets]
fields = ["N5921*"]
[flag]
quack = "10s"
[calibrate]
spw    = "0:6~56"
refant = "15"
[[image]]
name      = "continuum"
spw       = "0:4~6;50~59"
imsize    = SIZE
cell      = "CELLarcsec"
niter     = 1000
threshold = "5mJy"
[[image]]
name      = "hi"
specmode  = "cube"
start     = 10
nchan     = 40
restfreq  = "1420.405752MHz"
imsize    = SIZE
cell      = "CELLarcsec"
niter     = 2000
threshold = "10mJy"
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 1 where a bar is missed or images differ."""
    options = measuring.parser(__doc__).parse_args(argv)
    part = Part(
        "b", "eight datasets calibrated and imaged: by plain CASA, and by casarun with report"
    )
    cores = len(os.sched_getaffinity(0))
    tasks: dict[str, list[float]] = {OURS: [], LARGER: []}
    peaks: dict[str, list[float]] = {}
    with measuring.scratch_folder(options) as scratch:
        data = datasets(scratch / "data", 2 if options.quick else 8)

        def turn(who: str, number: int) -> Sample:
            folder = scratch / f"{who}-{number}".replace(", ", "-").replace(" ", "-")
            sample = run(who, folder, data, cores)
            if who != LARGER:  # smaller pixels have other peaks
                peaks[who] = [peak(who, folder, number) for number in range(len(data))]
            if who in tasks:
                tasks[who].append(task_cpu_s(folder))
            shutil.rmtree(folder)
            return sample

        times = 1 if options.quick else options.times
        part.samples += measuring.in_turns(times, EVERYONE, turn)
    part.wrong = differences(peaks)
    limit_s = {who: statistics.median(found) / cores for who, found in tasks.items()}
    wall_s = part.median(OURS)
    part.figures = [
        Figure(
            "CPU time of its steps over cores and wall time",
            limit_s[OURS] / wall_s,
            least=EFFICIENCY,
        ),
        Figure(
            "the same with images of 512 x 512",
            limit_s[LARGER] / part.median(LARGER),
            least=EFFICIENCY,
        ),
        Figure(
            "CPU time of the script with one thread over cores and casarun's wall time",
            part.median(LOOP_ONE, "cpu_s") / cores / wall_s,
        ),
        Figure("times faster than the pool", part.ratio(POOL, OURS), least=FASTER),
        Figure(
            "times faster than the pool with a process a dataset",
            part.ratio(POOL_EACH, OURS),
            least=FASTER,
        ),
        Figure("times faster than the pool with one thread", part.ratio(POOL_ONE, OURS)),
        Figure("times faster than the script", part.ratio(LOOP, OURS)),
        Figure("times faster than the script with one thread", part.ratio(LOOP_ONE, OURS)),
    ]
    return measuring.finish([part], options)


def datasets(folder: Path, number: int) -> list[Path]:
    """Write copies of the NGC 5921 data whose targets have names of their own."""
    folder.mkdir()
    original = Path(casadata.datapath, "demo", "NGC5921.fits").read_bytes()
    for who, size, cell in ((OURS, "256", "15"), (LARGER, "512", "7.5")):
        (folder / RECIPES[who]).write_text(RECIPE.replace("SIZE", size).replace("CELL", cell))
    found = [folder / f"day{day}.fits" for day in range(number)]
    for day, path in enumerate(found):
        path.write_bytes(original.replace(b"N5921_2", b"N5921_%d" % day))
    return found


def run(who: str, folder: Path, data: Sequence[Path], cores: int) -> Sample:
    """Run one of them once."""
    if who in RECIPES:
        command = [*CASARUN, data[0].parent / RECIPES[who], "--output", folder]
        return measuring.timed(who, command, limit_s=LIMIT_S)
    env = measuring.bare_environment() | (ONE_THREAD if who in (LOOP_ONE, POOL_ONE) else {})
    processes = {POOL: cores, POOL_ONE: cores, POOL_EACH: len(data)}.get(who, 1)
    script = measuring.HERE / "eight_script.py"
    command = [sys.executable, script, folder, str(processes), *data]
    return measuring.timed(who, command, env=env, limit_s=LIMIT_S)


def task_cpu_s(folder: Path) -> float:
    """Return the CPU time of all steps of a run."""
    paths = (folder / "logs").glob("*/result.json")
    return sum(json.loads(path.read_text())["cpu_s"] for path in paths)


def peak(who: str, folder: Path, day: int) -> float:
    """Return the peak of a dataset's cube in Jy/beam."""
    ours, theirs = f"images/N5921_{day}.hi.fits", f"day{day}/images/day{day}.hi.image.fits"
    return compare.peak(folder / (ours if who == OURS else theirs))


def differences(peaks: dict[str, list[float]]) -> list[str]:
    """Return where casarun's cubes do not have the peaks of the others'."""
    return [
        f"day{day}: peak {ours:.6g} Jy/beam by casarun, {theirs:.6g} by {who}"
        for who, others in peaks.items()
        for day, (ours, theirs) in enumerate(zip(peaks[OURS], others, strict=True))
        if not abs(ours / theirs - 1) <= compare.TOLERANCE
    ]


if __name__ == "__main__":
    sys.exit(main())
