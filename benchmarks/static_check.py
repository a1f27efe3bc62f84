"""How long ``casarun check --static`` takes on a recipe of 100 lines.

Runs it in turns with an interpreter that does nothing, and with an import of casatasks, each
from the start of its process to the end, and prints medians and ratios:

    python benchmarks/static_check.py --times 5
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COMMANDS = {
    "python, nothing": [sys.executable, "-c", "pass"],
    "casarun check --static": [sys.executable, "-m", "casarun", "check", "--static", "recipe.toml"],
    "import casatasks": [
        sys.executable,
        "-c",
        "from casarun.casa.config import configure; configure(); import casatasks",
    ],
}
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


def seconds(command: list[str], folder: Path) -> float:
    """Return how long a command takes."""
    begin = time.monotonic()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return time.monotonic() - begin


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--times", type=int, default=5, help="rounds")
    times = parser.parse_args().times
    found: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory(prefix="casarun-benchmark-") as scratch:
        folder = Path(scratch)
        (folder / "recipe.toml").write_text(recipe())
        for turn in range(times + 1):
            for name, command in COMMANDS.items():
                took = seconds(command, folder)
                if turn:  # the first round fills caches
                    found[name].append(took)
    base = statistics.median(found["python, nothing"])
    for name, took in found.items():
        middle = statistics.median(took)
        print(f"{name:24} {middle:6.3f} s   {middle / base:5.1f} times an empty interpreter")


if __name__ == "__main__":
    main()
