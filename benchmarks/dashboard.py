"""How long ``casarun dashboard`` takes over many runs.

Makes run folders like a real one (its records with other numbers; its FITS files are shared, so
they come from memory and not from the disk), and writes the page twice: without thumbnails of an
earlier page, and with them.

    python benchmarks/dashboard.py --run runs/ngc5921 --runs 500
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from support import run_folders  # noqa: E402

CASARUN = [sys.executable, "-m", "casarun"]


def seconds(command: Sequence[str | Path]) -> float:
    """Run a command to its end; return how long it took."""
    begin = time.monotonic()
    subprocess.run([*map(str, command)], check=True, capture_output=True)
    return time.monotonic() - begin


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--run", type=Path, help="a run folder; by default NGC 5921 is reduced")
    parser.add_argument("--runs", type=int, default=500, help="how many")
    parser.add_argument("--keep", type=Path, help="leave runs and page in this folder")
    told = parser.parse_args(argv)
    scratch = told.keep or Path(tempfile.mkdtemp(prefix="casarun-benchmark-"))
    try:
        real = told.run or scratch / "real"
        if told.run is None:
            seconds([*CASARUN, ROOT / "recipes" / "ngc5921.toml", "--output", real])
        for number in range(told.runs):
            run_folders.variation(real, scratch / "runs" / f"night{number:04d}", number)
        command = [*CASARUN, "dashboard", scratch / "runs", "--output", scratch / "page"]
        for what in ("first", "again"):
            print(f"{told.runs} runs, {what}: {seconds(command):.1f} s")
        page = scratch / "page" / "index.html"
        size = sum(path.stat().st_size for path in (scratch / "page").rglob("*.png"))
        print(f"page {page.stat().st_size / 1e6:.2f} MB, thumbnails {size / 1e6:.2f} MB")
    finally:
        if told.keep is None:
            shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
