"""Measure what a range of a cube's channels holds in memory, beside what the model expects.

Each case runs in a process of its own: dirty image, two cycles of cleaning, restored. Printed is
the peak over that of a process that has CASA in it and does nothing, and what the model expects
(`casarun.stages.costs_images.memory_of`).

    python benchmarks/cube_memory.py MS --scratch DISK
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import sys
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

CASES: tuple[tuple[int, int, dict[str, Any]], ...] = (
    (256, 8, {}),
    (256, 46, {}),
    (512, 8, {}),
    (512, 32, {}),
    (1024, 4, {}),
    (1024, 16, {}),
    (2048, 4, {}),
    (512, 16, {"deconvolver": "clark"}),
    (512, 16, {"deconvolver": "multiscale", "scales": [0, 6, 18]}),
    (512, 16, {"usemask": "auto-multithresh"}),
    (512, 16, {"gridder": "wproject", "wprojplanes": 32}),
    (512, 16, {"stokes": "RRLL"}),
)


def main() -> int:
    """Measure all cases and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("ms", type=Path, help="of one field; opened read-only")
    parser.add_argument("--scratch", type=Path)
    options = parser.parse_args()
    from casarun.casa.config import configure

    configure()
    import casatasks  # noqa: F401
    from casarun.stages import costs_images

    sys.stdout.write("| side | channels | with | measured MB | model MB | s of CPU |\n")
    sys.stdout.write("|---|---|---|---|---|---|\n")
    for side, channels, more in CASES:
        params = _parameters(options.ms.resolve(), side, channels, more)
        with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
            peak, seconds = _in_a_process(params, channels, Path(folder))
        model = costs_images.memory_of(costs_images.shape_of(params, channels), params)
        words = ", ".join(str(value) for value in more.values()) or "hogbom"
        sys.stdout.write(
            f"| {side} | {channels} | {words} | {peak / 1e6:.0f} | {model / 1e6:.0f} | "
            f"{seconds:.1f} |\n"
        )
        sys.stdout.flush()
    return 0


def _parameters(vis: Path, side: int, channels: int, more: dict[str, Any]) -> dict[str, Any]:
    return {
        "vis": [str(vis)], "datacolumn": "data", "specmode": "cube", "imsize": [side, side],
        "cell": f"{4096 / side:g}arcsec", "weighting": "briggs", "robust": 0.5,
        "gridder": "standard", "deconvolver": "hogbom", "interactive": False, "start": 5,
        "nchan": channels, "restoringbeam": "common", "niter": 1000, "stokes": "I", **more,
    }  # fmt: skip


def _in_a_process(params: dict[str, Any], channels: int, folder: Path) -> tuple[float, float]:
    """Return peak memory over the base in bytes, and CPU time in s."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=_image, args=(params, channels, folder, theirs))
    process.start()
    base, peak, seconds = ours.recv()
    process.join()
    return peak - base, seconds


def _image(params: dict[str, Any], channels: int, folder: Path, answer: Connection) -> None:
    from casarun.casa import channel_range, invoke

    os.chdir(folder)
    invoke.use_log(folder / "casa.log")
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    given = {**params, "imagename": "range"}
    whole = channel_range.axis(given)
    with channel_range.ChannelRange(given, whole, 0, channels - 1, cleaning=True) as imaging:
        imaging.dirty()
        highest = imaging.peak().highest_jy
        imaging.update_mask()
        for fraction in (0.3, 0.15):
            imaging.peak()
            imaging.minor(fraction * highest, 1000)
            imaging.major()
    channel_range.restore({**given, "restoringbeam": ["60arcsec", "60arcsec", "0deg"]})
    usage = resource.getrusage(resource.RUSAGE_SELF)
    answer.send((base, usage.ru_maxrss * 1024, usage.ru_utime + usage.ru_stime))


if __name__ == "__main__":
    sys.exit(main())
