"""Time casarun against a straight-line CASA script of the same tasks.

Runs ``ngc5921_script.py`` and ``casarun recipes/ngc5921.toml`` in turns, each from the start
of its process to the end, casarun with all that it does besides: checks, journal, plots,
report. Prints wall and CPU times and the ratios of the medians, and fails where the two do not
find the same images.

    python benchmarks/compare.py --times 3 --scratch DIR
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

HERE = Path(__file__).resolve().parent
RECIPE = HERE.parent / "recipes" / "ngc5921.toml"
IMAGES = ("N5921_2.continuum", "N5921_2.hi")
TOLERANCE = 0.01
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


@dataclass(frozen=True)
class Timing:
    """What one run took, in seconds; `cpu_s` counts all of its processes."""

    who: str
    wall_s: float
    cpu_s: float


def main() -> int:
    """Run the comparison; 1 where the images differ."""
    options = _options()
    _adopt_orphans()
    timings: list[Timing] = []
    differences: list[str] = []
    with tempfile.TemporaryDirectory(prefix="compare-", dir=options.scratch) as scratch:
        for turn in range(options.times):
            folders = {who: Path(scratch) / f"{who}-{turn}" for who in ("script", "casarun")}
            for who, folder in folders.items():
                timings.append(_run(who, _command(who, folder, options.casarun)))
            differences += _differences(folders)
            for folder in folders.values():
                shutil.rmtree(folder)
    result = _summary(timings) | {"differences": differences}
    sys.stdout.write(json.dumps(result, indent=1) + "\n" if options.json else _table(result))
    return 1 if differences else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--times", type=int, default=3, help="how often each is run (3)")
    parser.add_argument("--scratch", type=Path, help="folder to work in; the system's by default")
    parser.add_argument("--json", action="store_true", help="machine-readable")
    parser.add_argument("casarun", nargs="*", help="options for casarun, after --: -- --jobs 2")
    return parser.parse_args()


def _adopt_orphans() -> None:
    """Have the system hand over orphaned grandchildren, so that their CPU time is counted.

    casarun's steps are forked from a server process that outlives casarun by a moment.
    """
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def _command(who: str, folder: Path, more: Sequence[str]) -> list[str]:
    if who == "script":
        return [sys.executable, str(HERE / "ngc5921_script.py"), str(folder)]
    start = "import sys; from casarun.cli import main; sys.exit(main())"
    return [sys.executable, "-P", "-c", start, str(RECIPE), "--output", str(folder), *more]


def _run(who: str, command: Sequence[str]) -> Timing:
    """Time one process with its children; show what it said where it fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    wall_s = time.perf_counter() - started
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{who} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Timing(who, wall_s, cpu_s)


def _differences(folders: dict[str, Path]) -> list[str]:
    """Return where the two runs' images do not have the same peak."""
    found = []
    for image in IMAGES:
        peaks = {who: _peak(folder / "images" / f"{image}.fits") for who, folder in folders.items()}
        ratio = peaks["casarun"] / peaks["script"]
        if not abs(ratio - 1) <= TOLERANCE:
            found.append(
                f"{image}: peak {peaks['casarun']:.6g} Jy/beam by casarun, "
                f"{peaks['script']:.6g} Jy/beam by the script"
            )
    return found


def _peak(path: Path) -> float:
    return float(np.nanmax(fits.getdata(path)))


def _summary(timings: Sequence[Timing]) -> dict[str, Any]:
    medians = {
        who: {
            key: statistics.median(getattr(t, key) for t in timings if t.who == who)
            for key in ("wall_s", "cpu_s")
        }
        for who in ("script", "casarun")
    }
    return {
        "runs": [asdict(timing) for timing in timings],
        "medians": medians,
        "wall_ratio": medians["casarun"]["wall_s"] / medians["script"]["wall_s"],
        "cpu_ratio": medians["casarun"]["cpu_s"] / medians["script"]["cpu_s"],
        "cores": len(os.sched_getaffinity(0)),
        "load_average": os.getloadavg()[0],
    }


def _table(result: dict[str, Any]) -> str:
    rows = [(run["who"], run["wall_s"], run["cpu_s"]) for run in result["runs"]]
    rows += [(f"median {who}", m["wall_s"], m["cpu_s"]) for who, m in result["medians"].items()]
    lines = [f"{'':16}{'wall s':>9}{'CPU s':>9}"]
    lines += [f"{who:16}{wall:9.2f}{cpu:9.2f}" for who, wall, cpu in rows]
    lines.append(f"{'ratio':16}{result['wall_ratio']:9.2f}{result['cpu_ratio']:9.2f}")
    lines.append(f"{result['cores']} cores, load average {result['load_average']:.1f} at the end")
    lines += result["differences"] or ["both find the same peaks, within 1 %"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
