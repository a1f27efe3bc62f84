"""Kill runs at random instants, go on until they are done, and compare all that they leave.

The run's own process, a step's, the one from which steps are forked, or the whole group is
killed by SIGKILL; some kills imitate a loss of power: the group dies, and what the journal and
the ledgers had not made durable yet is cut off or becomes NUL bytes. A run is killed two to eight
times, then left to end, and its MSs, tables, images, FITS files and numbers are held against
those of a run that nobody killed, value by value. Exits with 1 where they differ.

    python benchmarks/crash.py --kills 60 [--seed 1] [--recipe FILE] [--scratch DIR]

Without a recipe it is a small simulated observation, of which a run takes seconds.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parent.parent / "tests"
sys.path.insert(0, str(TESTS))

from casarun.engine.resume import decide, survey  # noqa: E402
from casarun.folder import RunFolder  # noqa: E402
from casarun.plan import Plan, Step  # noqa: E402
from support import crashes  # noqa: E402

WHOM = (*crashes.WHOM, "power")
MOST_KILLS_OF_A_RUN = 8


@dataclass
class Totals:
    """What a campaign came to.

    Attributes
    ----------
    reference_s, steps_s : float
        Wall time of the run that nobody killed, and of its steps.
    kills : Counter
        By whom.
    runs, resumes : int
        How many runs were killed and compared, and how often one was started again.
    redone : list of float
        For each kill that ended a run, the share of a full run's step time that was lost: steps
        that had been done and were done again, and the parts of those under way.
    useful_s : list of float
        For each resume, the time from its start to its first step, in s.
    mismatching : dict
        By run, what differs.
    failed : dict
        By run, the end of what it said where it did not end well.
    """

    reference_s: float = 0.0
    steps_s: float = 0.0
    kills: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    resumes: int = 0
    redone: list[float] = field(default_factory=list)
    useful_s: list[float] = field(default_factory=list)
    mismatching: dict[str, list[str]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


class Campaign:
    """Runs of one recipe.

    Parameters
    ----------
    recipe : Path
        What to run.
    scratch : Path
        Where.
    dice : random.Random
        Says whom to kill, and when.
    """

    def __init__(self, recipe: Path, scratch: Path, dice: random.Random) -> None:
        self._recipe = recipe
        self._scratch = scratch
        self._dice = dice
        self._wanted: dict[str, str] = {}
        self._plan = Plan(())
        self._step_s: dict[str, float] = {}
        self.totals = Totals()

    def refer(self) -> None:
        """Run once without a kill."""
        run = self._scratch / "reference"
        started = time.monotonic()
        process = crashes.start(self._recipe, run, crashes.SETTINGS)
        if process.wait():
            raise SystemExit(run.with_suffix(".said").read_text())
        self.totals.reference_s = time.monotonic() - started
        self._step_s = {
            e["step"]: e["wall_s"] for e in crashes.events(run) if e["event"] == "step-done"
        }
        self.totals.steps_s = sum(self._step_s.values())
        self._wanted = crashes.products(run)
        self._plan = _plan(run)
        _say(f"reference: {self.totals.reference_s:.1f} s, {len(self._wanted)} parts of products")

    def run_one(self, kills: int) -> None:
        """Start a run, kill it so often, let it end, and compare."""
        name = f"run-{self.totals.runs}"
        run = self._scratch / name
        process = crashes.start(self._recipe, run, crashes.SETTINGS)
        told = []
        for _ in range(kills):
            whom = self._dice.choice(WHOM)
            until = time.monotonic() + self._dice.uniform(0.0, 0.6 * self.totals.reference_s)
            while process.poll() is None and time.monotonic() < until:
                time.sleep(0.005)
            if process.poll() is not None:
                break
            seen = crashes.events(run)
            if not crashes.strike(process, "group" if whom == "power" else whom, self._dice):
                continue
            self.totals.kills[whom] += 1
            told.append(f"{whom} in {_under_way(seen) or 'no step'}")
            if process.poll() is None:
                continue
            if whom == "power":
                lose_power(run, self._dice)
            self._count_lost(seen, run)
            process = self._resume(run)
        for _ in range(2):
            if process.wait():
                # A user would run the same command again.
                told.append(f"ended with exit code {process.returncode}")
                process = self._resume(run)
        code = process.wait()
        self._judge(name, run, code, told)

    def _resume(self, run: Path) -> Any:
        """Start a run again, and take the time to its first step."""
        self.totals.resumes += 1
        before = len(crashes.events(run))
        started = time.monotonic()
        process = crashes.start(self._recipe, run, crashes.SETTINGS)
        while process.poll() is None and time.monotonic() - started < 120:
            if any(e["event"] == "step-started" for e in crashes.events(run)[before:]):
                self.totals.useful_s.append(time.monotonic() - started)
                break
            time.sleep(0.02)
        return process

    def _count_lost(self, seen: list[dict[str, Any]], run: Path) -> None:
        """Note what a kill cost: what was under way, and what must be done again."""
        doing = _under_way(seen).split(", ")
        again = _to_do_again(self._plan, run)
        lost = sum(self._step_s.get(step, 0.0) for step in again)
        # On average half of a step that is killed is done.
        lost += sum(self._step_s.get(step, 0.0) / 2 for step in doing if step not in again)
        self.totals.redone.append(lost / self.totals.steps_s)

    def _judge(self, name: str, run: Path, code: int, told: list[str]) -> None:
        self.totals.runs += 1
        said = run.with_suffix(".said").read_text()
        wrong = crashes.mismatches(self._wanted, crashes.products(run))
        if code:
            self.totals.failed[name] = said[-2000:]
        if wrong:
            self.totals.mismatching[name] = wrong
        end = "as the reference" if not wrong else f"DIFFERS in {', '.join(wrong[:5])}"
        _say(f"{name}: killed {'; '.join(told) or 'never'}: exit code {code}, {end}")
        if not (code or wrong):
            shutil.rmtree(run)


def lose_power(run: Path, dice: random.Random) -> None:
    """Do to journal and ledgers what a loss of power can do to bytes not yet durable.

    Placing a step is not made durable, so that line may go; the last line may be a part of
    itself, or NUL bytes where the file was longer than what reached the disk.
    """
    private = run / ".casarun"
    for path in (private / "journal.jsonl", *private.glob("ledgers/*.jsonl")):
        if not path.exists():
            continue
        lines = path.read_bytes().splitlines(keepends=True)
        while lines and b'"step-placed"' in lines[-1] and dice.random() < 0.7:
            lines.pop()
        rest = dice.choice([b"", b'{"t":"2026-01-01T00:00:00.000Z","ev', b"\0" * 300])
        path.write_bytes(b"".join(lines) + rest)
    status = private / "status.json"
    if status.exists() and dice.random() < 0.5:
        status.write_bytes(b"")


def _under_way(events: list[dict[str, Any]]) -> str:
    """Return the steps that had begun and not ended."""
    last = {e["step"]: e["event"] for e in events if "step" in e}
    return ", ".join(s for s, e in last.items() if e in {"step-started", "step-placed"})


def _plan(run: Path) -> Plan:
    """Return the plan that a run wrote down."""
    said = json.loads(RunFolder(run).plan.read_text())
    known = {f.name for f in fields(Step)}
    steps = [{k: v for k, v in step.items() if k in known} for step in said["steps"]]
    return Plan(tuple(map(Step.from_json, steps)), said["inputs"], said["versions"])


def _to_do_again(plan: Plan, run: Path) -> list[str]:
    """Return the steps of a plan that were done and must be done again."""
    found = survey(plan, RunFolder(run))
    done = {step for step, record in found.journal.steps.items() if record.done is not None}
    return [step for step in decide(plan, found).to_run if step in done]


def main() -> int:
    """Kill, resume, compare; 1 where a product differs or a run does not end well."""
    options = _options()
    dice = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="crash-", dir=options.scratch) as scratch:
        recipe = options.recipe.resolve() if options.recipe else crashes.small(Path(scratch))
        campaign = Campaign(recipe, Path(scratch), dice)
        campaign.refer()
        ends = time.monotonic() + options.minutes * 60
        while sum(campaign.totals.kills.values()) < options.kills and time.monotonic() < ends:
            left = options.kills - sum(campaign.totals.kills.values())
            campaign.run_one(min(left, dice.randint(2, MOST_KILLS_OF_A_RUN)))
    _say(summary(campaign.totals))
    return 1 if campaign.totals.mismatching or campaign.totals.failed else 0


def summary(totals: Totals) -> str:
    """Say in words what a campaign came to."""
    by = ", ".join(f"{number} of the {whom}" for whom, number in sorted(totals.kills.items()))
    lines = [
        f"{sum(totals.kills.values())} kills ({by})",
        f"{totals.runs} runs, {totals.resumes} resumes",
        f"{sum(map(len, totals.mismatching.values()))} mismatching products",
        f"{len(totals.failed)} runs that did not end well",
    ]
    if totals.redone:
        middle, most = statistics.median(totals.redone), max(totals.redone)
        lines.append(f"work redone: {middle:.1%} of a full run (median), at most {most:.1%}")
    if totals.useful_s:
        middle, most = statistics.median(totals.useful_s), max(totals.useful_s)
        lines.append(f"from restart to the first step: {middle:.2f} s (median), at most {most:.2f}")
    lines += [f"{name}: {', '.join(wrong)}" for name, wrong in totals.mismatching.items()]
    lines += [f"{name} said:\n{said}" for name, said in totals.failed.items()]
    return "\n".join(lines)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--kills", type=int, default=20, help="how many in all")
    parser.add_argument("--seed", type=int, default=1, help="of the random numbers")
    parser.add_argument("--recipe", type=Path, help="another recipe than the small one")
    parser.add_argument("--minutes", type=float, default=600.0, help="begin no run after these")
    parser.add_argument("--scratch", type=Path, help="folder to work in; the system's by default")
    return parser.parse_args()


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
