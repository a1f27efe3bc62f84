"""Plot a MeasurementSet of ten million rows, and a million visibilities: time and peak memory.

The large MS is the demo's NGC 5921 averaged to three channels, its rows repeated with later times.

    python benchmarks/plotting.py --scratch DISK
    python benchmarks/plotting.py --quick
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

import measuring

ROWS = 10_000_000
PLOTS = {
    "amplitude against uv distance": ("--x", "uvdist", "--y", "amp", "--colour", "corr"),
    "both by antenna": ("--x", "time", "--y", "amp", "--page", "antenna", "--colour", "corr"),
    "averages of a scan": (
        "--x", "time", "--y", "amp", "--y", "phase", "--avgtime", "scan", "--avgchannel", "all",
    ),
    "one field of three": ("--x", "uvwave", "--y", "amp", "--field", "1445*"),
}  # fmt: skip


def main() -> int:
    """Measure all plots and print a table."""
    options = measuring.parser(__doc__, times=1).parse_args()
    with measuring.scratch_folder(options) as scratch:
        demo, large = scratch / "demo.ms", scratch / "large.ms"
        _build(demo, large, 100_000 if options.quick else ROWS)
        found = [_measure(name, large, words, scratch, options) for name, words in PLOTS.items()]
        million = ("--field", "N5921*", "--spw", "0:6~56", *PLOTS["amplitude against uv distance"])
        found.append(_measure("a million visibilities", demo, million, scratch, options))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    bad = [one for one in found if one["peak_memory_bytes"] > 1e9]
    return 1 if bad else 0


def _measure(
    name: str, ms: Path, words: tuple[str, ...], scratch: Path, options: argparse.Namespace
) -> dict[str, Any]:
    command = [str(Path(sys.executable).parent / "casarun"), "plot", str(ms), *words,
               "--out", str(scratch / "plot.png")]  # fmt: skip
    samples = [
        measuring.timed(name, command, cwd=scratch, memory=True) for _ in range(options.times)
    ]
    wall, cpu = (statistics.median(getattr(one, key) for one in samples)
                 for key in ("wall_s", "cpu_s"))  # fmt: skip
    peak = max(one.peak_memory_bytes for one in samples)
    sys.stdout.write(f"{name}: {wall:.1f} s, {cpu:.1f} s of CPU, {peak / 1e6:.0f} MB\n")
    sys.stdout.flush()
    return {"name": name, "wall_s": wall, "cpu_s": cpu, "peak_memory_bytes": peak}


def _build(demo: Path, large: Path, n_rows: int) -> None:
    """Import the demo, average it, and repeat its rows."""
    from casarun.casa.config import configure, packaged_data

    configure()
    import casatasks

    data = packaged_data()
    if data is None:
        raise SystemExit("pip install casadata: its demo is what is plotted")
    casatasks.importuvfits(str(data / "demo/NGC5921.fits"), str(demo))
    casatasks.split(str(demo), str(large), datacolumn="data", width=16)
    _grow(large, n_rows)


def _grow(ms: Path, n_rows: int) -> None:
    """Repeat the rows of an MS, each time later, with scans of their own."""
    from casarun.casa.tables import open_table

    with open_table(ms, change=True) as main:
        once = int(main.nrows())
        filled = [name for name in main.colnames() if main.iscelldefined(name, 0)]
        first = {name: main.getcol(name) for name in filled}
        span = float(first["TIME"].max() - first["TIME"].min()) + 600.0
        scans = int(first["SCAN_NUMBER"].max())
        main.addrows(n_rows - once)
        for turn, start in enumerate(range(0, n_rows, once)):
            number = min(once, n_rows - start)
            for name, values in first.items():
                more = values[..., :number]
                if name in ("TIME", "TIME_CENTROID"):
                    more = more + turn * span
                elif name == "SCAN_NUMBER":
                    more = more + turn * scans
                main.putcol(name, more, start, number)


if __name__ == "__main__":
    raise SystemExit(main())
