"""What casarun takes a step beside CASA's own work, and what plans and runs of 20,000 steps take.

Runs ``recipes/ngc5921.toml`` one step at a time and adds up, from the journal and the steps' own
accounts, what was not spent in the action itself: the fork, the journal, the scheduler, the work
folder, saved states, proofs (which read what was made), syncs. Then the same command once more,
which has nothing to do; and commands on a recipe of 834 datasets and 20,000 steps that were run
without CASA: none must run, all are planned, one parameter is another.

    python benchmarks/overhead.py --scratch DISK
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import journal
import measuring
from measuring import CASARUN, RECIPE, Figure, Part

MOST_S = 0.05
OUTSIDE = "fork, journal, scheduler"
FIRST, AGAIN = "one step at a time", "again: nothing to do"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 1 where a bar is missed."""
    options = measuring.parser(__doc__).parse_args(argv)
    times = 1 if options.quick else options.times
    part = Part("e", "what a step costs beside its action, and a run that has nothing to do")
    overheads: list[dict[str, float]] = []
    with measuring.scratch_folder(options) as scratch:
        for turn in range(times):
            folder = scratch / f"run{turn}"
            command = [*CASARUN, RECIPE, "--output", folder]
            part.samples.append(measuring.timed(FIRST, [*command, "--jobs", "1"]))
            overheads += beside_actions(folder)
            part.samples += [measuring.timed(AGAIN, command) for _ in range(times)]
        sums = [sum(one.values()) for one in overheads]
        bare = 1e3 * statistics.mean(sum(one.values()) - one["prove"] for one in overheads)
        part.figures = [
            Figure("beside action and proofs a step takes, mean", bare, "ms", 1e3 * MOST_S),
            Figure("with proofs, median", 1e3 * statistics.median(sums), "ms", 1e3 * MOST_S),
            Figure("with proofs, mean", 1e3 * statistics.mean(sums), "ms"),
            *(
                Figure(
                    f"of it {what}",
                    1e3 * statistics.mean(o[what] for o in overheads),
                    "ms",
                    1e3 * MOST_S if what == OUTSIDE else None,
                )
                for what in (OUTSIDE, "prepare", "save", "prove", "place", "rest")
            ),
            Figure("a run that has nothing to do", part.median(AGAIN), "s"),
            Figure("over the run itself", part.ratio(AGAIN, FIRST)),
        ]
        if not options.quick:
            part.figures += many(scratch, times)
    return measuring.finish([part], options)


def beside_actions(folder: Path) -> list[dict[str, float]]:
    """Return for each step of a run what it took beside its action, in s, by what for.

    Steps that need no process, for there was nothing to do in them, do not count.
    """
    started: dict[str, datetime] = {}
    found = []
    lines = (folder / ".casarun" / "journal.jsonl").read_text().splitlines()
    for event in map(json.loads, lines):
        moment = datetime.fromisoformat(event["t"])
        if event["event"] == "step-started":
            started[event["step"]] = moment
        elif event["event"] == "step-done":
            path = folder / "logs" / event["step"] / "result.json"
            spent: dict[str, float] = json.loads(path.read_text())["spent_s"]
            if "perform" not in spent:
                continue
            took = (moment - started[event["step"]]).total_seconds()
            of_action = spent.pop("perform")
            outside = took - event["wall_s"]
            rest = event["wall_s"] - of_action - sum(spent.values())
            found.append({OUTSIDE: outside, **spent, "rest": rest})
    return found


def many(scratch: Path, times: int) -> list[Figure]:
    """Return what commands on a recipe of 20,000 steps take, from start to end of their process.

    Its run was made without CASA, from its TOML to its report.
    """
    found = journal.of_many(scratch / "survey", times, cold=False)
    steps = f"{found['many']['steps']:,} steps"
    most_mb, peak_mb = journal.IDLE_BAR_BYTES / 1e6, found["many peak_bytes"] / 1e6
    return [
        *(
            Figure(f"{steps}, {what}", one["wall_s"], "s", journal.IDLE_BAR_S)
            for what, one in found["many commands"].items()
        ),
        Figure("the most memory of these and of the run", peak_mb, "MB", most_mb),
    ]


if __name__ == "__main__":
    sys.exit(main())
