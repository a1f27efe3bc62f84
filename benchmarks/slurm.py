"""Many datasets of small work on a Slurm of this machine: how busy its slots are kept.

    python benchmarks/slurm.py --datasets 200 --slots 2 --scratch DIR

Starts a Slurm of its own (see ``tests/support/slurm_local.py``) with one node of one core a slot,
and hands in one run of so many small simulated datasets, each split and measured, or with --whole
flagged and calibrated before. Said are the share of the slots' time, from the start of the first
job to the end of the last one that reduces data, in which a job held the slot, and in which a step
was at work; the rest is Slurm's turnover, and the start of Python and CASA. Exits with 1 where
slots were held for less than 85 % of the time.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent / "tests"
sys.path.insert(0, str(TESTS))

from casarun.engine.journal import read_events  # noqa: E402
from support import crashes, skies  # noqa: E402
from support.slurm_local import LocalSlurm, lacking, local_slurm  # noqa: E402

BAR = 0.85
RECIPE = """casarun = 1
[project]
name = "many"
[[dataset]]
vis = "day*.ms"
calibrated = CALIBRATED
[split]
calibrators = false
[resources]
disk_factor = 0
[cluster]
cores = 1
memory = "1.5GB"
max_jobs = SLOTS
pack = "PACK"
escalate = 0
"""


def main() -> int:
    """Run the benchmark; see the module."""
    options = _options()
    reason = lacking()
    if reason:
        print(reason)
        return 1
    scratch = Path(tempfile.mkdtemp(prefix="casarun-slurm-", dir=options.scratch))
    try:
        with local_slurm(scratch / "slurm", n_nodes=options.slots, cpus=1) as slurm:
            return _measure(options, scratch, slurm)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _measure(options: argparse.Namespace, scratch: Path, slurm: LocalSlurm) -> int:
    recipe = _recipe(options, scratch)
    begun = time.monotonic()
    command = [sys.executable, "-m", "casarun", "submit", str(recipe), "--to", "slurm",
               "--executor", "slurm", "--output", str(scratch / "run")]  # fmt: skip
    said = subprocess.run(command, env=slurm.env, check=True, capture_output=True, text=True)
    print(f"handed in after {time.monotonic() - begun:.1f} s:", said.stdout.splitlines()[-1][:60])
    report = scratch / "run" / ".casarun" / "slices" / "report" / "result.json"
    while not report.is_file():
        if not slurm.run("squeue", "-h"):
            print("the jobs ended without a report")
            return 1
        time.sleep(1)
    code = json.loads(report.read_text())["more"]["exit_code"]
    jobs = _jobs(slurm)
    first, last = min(start for start, _ in jobs), max(end for _, end in jobs)
    there_s = options.slots * (last - first)
    held_s = sum(end - start for start, end in jobs)
    events = read_events(scratch / "run" / ".casarun" / "journal.jsonl")
    works_s = sum(
        e["wall_s"] for e in events if e["event"] == "step-done" and ".observe" not in e["step"]
    )
    held, works = held_s / there_s, works_s / there_s
    print(
        f"{options.datasets} datasets in {len(jobs)} jobs on {options.slots} slots: "
        f"{last - first:.0f} s, {works_s / options.datasets:.1f} s of steps a dataset; "
        f"slots held {held:.1%}, at work {works:.1%}; exit code {code}, "
        f"load {os.getloadavg()[1]:.1f}"
    )
    return 0 if held >= BAR and code in (0, 3) else 1


def _recipe(options: argparse.Namespace, scratch: Path) -> Path:
    """Simulate one observation, and copy it as often as there are datasets."""
    skies.build(scratch / "day0000.ms", crashes.SKY)
    for number in range(1, options.datasets):
        shutil.copytree(scratch / "day0000.ms", scratch / f"day{number:04}.ms")
    path = scratch / "many.toml"
    words = {"SLOTS": str(options.slots), "PACK": options.pack}
    words["CALIBRATED"] = "false" if options.whole else "true"
    text = RECIPE
    for word, value in words.items():
        text = text.replace(word, value)
    path.write_text(text)
    return path


def _jobs(slurm: LocalSlurm) -> list[tuple[float, float]]:
    """Return start and end, in s, of each job that reduced data, from Slurm's log of jobs."""
    log = (slurm.base / "jobcomp.log").read_text()
    found = re.findall(r"Name=casarun-many-(?!report)\S* .*?StartTime=(\S+) EndTime=(\S+)", log)
    return [tuple(datetime.fromisoformat(word).timestamp() for word in pair) for pair in found]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--datasets", type=int, default=200)
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--pack", default="2min", help="cluster.pack of the recipe")
    parser.add_argument("--whole", action="store_true", help="flag and calibrate, too")
    parser.add_argument("--scratch", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
