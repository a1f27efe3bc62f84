"""Time casarun against a straight-line CASA script of the same tasks.

Runs ``ngc5921_script.py`` and ``casarun recipes/ngc5921.toml`` in turns, each from the start
of its process to the end, casarun with all that it does besides: checks, journal, plots,
report. Prints wall and CPU times and the ratios of the medians, and fails where the two do not
find the same images.

    python benchmarks/compare.py --times 5 --scratch DIR
    python benchmarks/compare.py -- --jobs 1            # options for casarun

The script runs once as people run it, with CASA's default of as many threads as there are cores,
and once with one thread.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import measuring
import numpy as np
from astropy.io import fits
from measuring import Figure, Part, Sample

SCRIPT, ONE_THREAD, CASARUN = "script", "script, one thread", "casarun"
IMAGES = ("N5921_2.continuum", "N5921_2.hi")
TOLERANCE = 0.01
MOST = 1.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the comparison; 1 where the bar is missed or the images differ."""
    parser = measuring.parser(__doc__)
    parser.add_argument("casarun", nargs="*", help="options for casarun, after --: -- --jobs 2")
    options = parser.parse_args(argv)
    part = Part("a", "NGC 5921 end to end: a straight-line CASA script, and casarun with report")
    with measuring.scratch_folder(options) as scratch:
        peaks: dict[str, list[float]] = {}

        def turn(who: str, number: int) -> Sample:
            folder = scratch / f"{who}-{number}"
            sample = run(who, folder, options.casarun)
            peaks[who] = [peak(folder / "images" / f"{image}.fits") for image in IMAGES]
            shutil.rmtree(folder)
            return sample

        times = 1 if options.quick else options.times
        part.samples += measuring.in_turns(times, (SCRIPT, ONE_THREAD, CASARUN), turn)
        part.wrong = differences(peaks)
    part.figures = [
        Figure("wall time over the script's", part.ratio(CASARUN, SCRIPT), most=MOST),
        Figure("CPU time over the script's", part.ratio(CASARUN, SCRIPT, "cpu_s")),
        Figure("wall time over the script's with one thread", part.ratio(CASARUN, ONE_THREAD)),
    ]
    return measuring.finish([part], options)


def run(who: str, folder: Path, more: Sequence[str] = ()) -> Sample:
    """Run one of them once."""
    if who == CASARUN:
        return measuring.timed(
            who, [*measuring.CASARUN, measuring.RECIPE, "--output", folder, *more]
        )
    env = measuring.bare_environment()
    if who == ONE_THREAD:
        env |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    script = measuring.HERE / "ngc5921_script.py"
    return measuring.timed(who, [sys.executable, script, folder], env=env)


def peak(path: Path) -> float:
    """Return the peak of an image in Jy/beam."""
    return float(np.nanmax(fits.getdata(path)))


def differences(peaks: dict[str, list[float]]) -> list[str]:
    """Return where casarun's images do not have the peaks of the script's."""
    return [
        f"{image}: peak {ours:.6g} Jy/beam by casarun, {theirs:.6g} Jy/beam by the {who}"
        for who in (SCRIPT, ONE_THREAD)
        for image, ours, theirs in zip(IMAGES, peaks[CASARUN], peaks[who], strict=True)
        if not abs(ours / theirs - 1) <= TOLERANCE
    ]


if __name__ == "__main__":
    sys.exit(main())
