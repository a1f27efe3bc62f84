"""What journal, ledgers and deciding cost.

Measures, each in a process of its own:

- a run of 10,000 steps (500 datasets of 20) that an executor in memory does at once, with real
  journal, ledgers and small real products: what the engine takes a step, and for what;
- the same plan and one twice as long when nothing must run: time and memory of finding that out;
- a recipe of 834 datasets and 20,016 steps from its TOML to its report, without CASA, whose
  products have as many files as real ones (570,000, most of them empty; 1.1 GB of disk): run, then
  the command line, as whole processes from start to end, when nothing must run and to plan;
- ``recipes/ngc5921.toml`` with CASA: the share that journal and ledgers have in a real run.

    python benchmarks/journal.py [--datasets 500] [--no-recipe] [--only-many] [--cold]
                                 [--scratch DIR] [--json FILE]

With ``--cold`` (root only), also when nothing of the run folder is in memory any more: the system
drops all that it has read from the disk, which slows down all that runs beside.

Exits with 1 where a bar is missed. Waiting for the disk is most of what the journal costs: work in
a folder (``--scratch``) on the disk that runs will be on.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RECIPE = HERE.parent / "recipes" / "ngc5921.toml"
sys.path.insert(0, str(HERE.parent / "tests"))

CORES = 4
RECORD_BAR_S_A_STEP = 0.005
SHARE_BAR = 0.02
IDLE_DATASETS = 1000
MANY_DATASETS = 834
IDLE_BAR_S = 3.0
IDLE_BAR_BYTES = 300_000_000
RECORDS = ("journal", "journal: disk", "ledgers", "ledgers: disk")
PARTS = (*RECORDS, "status file", "graph and fingerprints", "survey", "decide", "products")


class Clock:
    """Adds up the time spent in functions, without that in others which it watches, too."""

    def __init__(self) -> None:
        self.spent_s: dict[str, float] = defaultdict(float)
        self.calls: dict[str, int] = defaultdict(int)
        self._inside: list[str] = []
        self._since = 0.0
        self._thread = threading.get_ident()

    def watch(self, owner: Any, name: str, part: str) -> None:
        """Count a function, or one that waits for the disk, which belongs to who called it."""
        function: Callable[..., Any] = getattr(owner, name)

        @functools.wraps(function)
        def counted(*given: Any, **named: Any) -> Any:
            if threading.get_ident() != self._thread:
                return function(*given, **named)
            self._enter(part if part != "disk" else self._of_caller())
            try:
                return function(*given, **named)
            finally:
                self._leave()

        setattr(owner, name, counted)

    def _of_caller(self) -> str:
        caller = self._inside[-1] if self._inside else "rest"
        return f"{caller}: disk" if caller in RECORDS else caller

    def _enter(self, part: str) -> None:
        self._charge()
        self._inside.append(part)
        self.calls[part] += 1

    def _leave(self) -> None:
        self._charge()
        self._inside.pop()

    def _charge(self) -> None:
        moment = time.perf_counter()
        if self._inside:
            self.spent_s[self._inside[-1]] += moment - self._since
        self._since = moment


def watch_engine(clock: Clock) -> None:
    """Count what the engine does in this process, by what it is for."""
    from casarun.engine import chains, resume, scheduler
    from casarun.engine.journal import Journal
    from casarun.engine.ledger import Ledgers
    from casarun.engine.status import Heartbeat

    for owner in (resume, scheduler):
        clock.watch(owner, "read_state", "journal")
    clock.watch(Journal, "append", "journal")
    for name in ("states", "begin", "end", "repair"):
        clock.watch(Ledgers, name, "ledgers")
    for name in ("fsync", "fdatasync"):
        clock.watch(os, name, "disk")
    clock.watch(Heartbeat, "beat", "status file")
    clock.watch(chains.Chains, "__init__", "graph and fingerprints")
    for name in ("check_plan", "needs"):
        clock.watch(scheduler, name, "graph and fingerprints")
    watch_graph(clock)
    clock.watch(scheduler, "survey", "survey")
    clock.watch(scheduler, "decide", "decide")


def watch_graph(clock: Clock) -> None:
    """Count what plans derive from their steps."""
    from casarun import plan

    for name in ("hazards", "fingerprints"):
        clock.watch(plan, name, "graph and fingerprints")


def full_run(folder: Path, datasets: int) -> dict[str, Any]:
    """Run a plan from the start; return what it took, and for what."""
    from casarun.engine.policy import Budget, RetryPolicy
    from casarun.engine.scheduler import run
    from casarun.folder import RunFolder
    from support.big_plans import InstantExecutor, big_plan

    clock = Clock()
    watch_engine(clock)
    clock.watch(InstantExecutor, "start", "products")
    plan = big_plan(datasets)
    begin = time.perf_counter()
    outcome = run(plan, RunFolder(folder), InstantExecutor(), RetryPolicy(), Budget(CORES))
    wall_s = time.perf_counter() - begin
    if len(outcome.done) != len(plan.steps):
        raise SystemExit(f"only {len(outcome.done)} of {len(plan.steps)} steps ran")
    return {"steps": len(plan.steps), **_said(clock, wall_s)}


def idle_run(folder: Path, datasets: int) -> dict[str, Any]:
    """Find out that nothing must run, as a run does; return what that took."""
    from casarun.engine.resume import decide, survey
    from casarun.folder import RunFolder
    from support.big_plans import big_plan

    plan = big_plan(datasets)
    before_bytes = _peak_bytes()
    begin = time.perf_counter()
    found = survey(plan, RunFolder(folder))
    surveyed = time.perf_counter()
    decided = decide(plan, found)
    end = time.perf_counter()
    if decided:
        raise SystemExit(f"{len(decided.to_run)} steps must run again")
    return {
        "steps": len(plan.steps),
        "wall_s": end - begin,
        "survey_s": surveyed - begin,
        "decide_s": end - surveyed,
        "plan_bytes": before_bytes,
        "peak_bytes": _peak_bytes(),
    }


def recipe_run(folder: Path, datasets: int) -> dict[str, Any]:
    """Run a recipe with CASA; return the time that its records took in casarun's own process."""
    begin = time.perf_counter()
    from casarun.cli import main as casarun

    clock = Clock()
    watch_engine(clock)
    code = _code(casarun, [str(RECIPE), "--output", str(folder), "--quiet"])
    wall_s = time.perf_counter() - begin
    if code:
        raise SystemExit(f"the run ended with {code}")
    lines = (folder / ".casarun" / "journal.jsonl").read_text().splitlines()
    steps = sum(json.loads(line)["event"] == "step-done" for line in lines)
    return {"steps": steps, **_said(clock, wall_s)}


def many_run(folder: Path, datasets: int) -> dict[str, Any]:
    """Run a recipe of many datasets from its TOML to its report, without CASA."""
    from casarun import api
    from casarun.cli import collect_rarely
    from support.many_datasets import without_casa, write_recipe

    folder.mkdir()
    recipe = write_recipe(folder, datasets)
    collect_rarely()
    begin = time.perf_counter(), time.process_time()
    with without_casa(real=True):
        result = api.run(recipe, api.Options(output=folder / "run"))
    return {
        "steps": len(result.plan.steps),
        "wall_s": time.perf_counter() - begin[0],
        "cpu_s": time.process_time() - begin[1],
        "peak_bytes": _peak_bytes(),
    }


MANY_COMMANDS: dict[str, tuple[str, ...]] = {
    "nothing to do, first time": ("run",),
    "nothing to do": ("run",),
    "planned": ("plan",),
    "found anew": ("run",),
    "planned, a parameter changed": ("plan", "--set", "image.continuum.niter=77"),
    "nothing to do, not in memory": ("run",),
    "planned, not in memory": ("plan",),
}
COLD = ("nothing to do, not in memory", "planned, not in memory")
ANEW = "found anew"


def many_commands(folder: Path, times: int, cold: bool) -> dict[str, Any]:
    """Call the command line on what `many_run` left; return each command's median."""
    found = {}
    for name, arguments in MANY_COMMANDS.items():
        if name in COLD and not cold:
            continue
        several = []
        for _ in range(1 if name in (*COLD, "nothing to do, first time") else times):
            if name == ANEW:
                (folder / "run" / ".casarun" / "settled.json").unlink(missing_ok=True)
            if name in COLD:
                os.sync()
                Path("/proc/sys/vm/drop_caches").write_text("3")
            several.append(_command(folder, arguments))
        found[name] = sorted(several, key=lambda one: one["wall_s"])[len(several) // 2]
    return found


def _command(folder: Path, arguments: tuple[str, ...]) -> dict[str, Any]:
    """Run the command line from start to end: its time, that of all its processes, its memory."""
    what, *options = arguments
    program = str(Path(sys.executable).with_name("casarun"))
    given = [program, what, str(folder / "survey.toml"), "--output", str(folder / "run"), *options]
    with Path(os.devnull).open("w") as nowhere:
        begin = time.perf_counter()
        process = subprocess.Popen(given, stdout=nowhere, stderr=nowhere)
        _, status, used = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - begin
    if status:
        raise SystemExit(f"{' '.join(given)} ended with {os.waitstatus_to_exitcode(status)}")
    cpu_s = used.ru_utime + used.ru_stime
    return {"wall_s": wall_s, "cpu_s": cpu_s, "peak_bytes": used.ru_maxrss * 1024}


PROCESSES = {
    "full": full_run,
    "idle": idle_run,
    "recipe": recipe_run,
    "many": many_run,
}


def _code(casarun: Callable[[], Any], arguments: list[str]) -> int:
    """Call the command line in this process; return its exit code."""
    sys.argv = ["casarun", *arguments]
    try:
        code = casarun()
    except SystemExit as ended:
        code = ended.code
    return int(code or 0)


def _said(clock: Clock, wall_s: float) -> dict[str, Any]:
    parts_s = {part: clock.spent_s[part] for part in PARTS}
    return {
        "wall_s": wall_s,
        "parts_s": {**parts_s, "rest": wall_s - sum(parts_s.values())},
        "syncs": sum(number for part, number in clock.calls.items() if part.endswith(": disk")),
        "records_s": sum(parts_s[part] for part in RECORDS),
        "disk_s": sum(parts_s[part] for part in RECORDS if part.endswith(": disk")),
        "peak_bytes": _peak_bytes(),
    }


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(what: str, folder: Path, datasets: int = 0) -> dict[str, Any]:
    """Measure in a process of its own."""
    result = folder.with_name(f"{folder.name}-{what}.json")
    command = [sys.executable, __file__, "--inside", what, str(folder), str(datasets), str(result)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{what} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    found: dict[str, Any] = json.loads(result.read_text())
    return found


def all_of(scratch: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Measure everything that is wanted."""
    found = {}
    if not options.only_many:
        small, large = scratch / "small", scratch / "large"
        found["full"] = measure("full", small, options.datasets)
        found["idle"] = measure("idle", small, options.datasets)
        measure("full", large, IDLE_DATASETS)
        found["idle of 20,000"] = measure("idle", large, IDLE_DATASETS)
        if not options.no_recipe:
            found["recipe"] = measure("recipe", scratch / "ngc5921")
    return found | of_many(scratch / "survey", options.times, options.cold)


def of_many(survey: Path, times: int, cold: bool) -> dict[str, Any]:
    """Run a recipe of many datasets without CASA, then call the command line on it."""
    many = measure("many", survey, MANY_DATASETS)
    commands = many_commands(survey, times, cold)
    peak_bytes = max(one["peak_bytes"] for one in (many, *commands.values()))
    return {"many": many, "many commands": commands, "many peak_bytes": peak_bytes}


def missed(found: Mapping[str, Any]) -> list[str]:
    """Return the bars that are missed."""
    wrong = _missed_by_records(found) if "full" in found else []
    commands = found["many commands"]
    for what, one in commands.items():
        if one["wall_s"] >= IDLE_BAR_S and what not in COLD:
            wrong.append(f"{what}: {one['wall_s']:.1f} s, not under {IDLE_BAR_S:.0f} s")
    most_bytes = found["many peak_bytes"]
    if most_bytes >= IDLE_BAR_BYTES:
        wrong.append(f"many: {most_bytes / 1e6:.0f} MB, not under 300 MB")
    return wrong


def _missed_by_records(found: Mapping[str, Any]) -> list[str]:
    """Return the bars that journal, ledgers and deciding miss."""
    full, idle, recipe = found["full"], found["idle of 20,000"], found.get("recipe")
    wrong = []
    a_step = full["records_s"] / full["steps"]
    if a_step >= RECORD_BAR_S_A_STEP:
        bar = f"{1e3 * RECORD_BAR_S_A_STEP:.0f} ms"
        disk = 1e3 * full["disk_s"] / full["steps"]
        wrong.append(
            f"journal and ledgers take {1e3 * a_step:.2f} ms a step, not under {bar}; "
            f"{disk:.2f} ms of it they wait for the disk"
        )
    if idle["wall_s"] >= IDLE_BAR_S:
        wrong.append(f"deciding that nothing must run takes {idle['wall_s']:.1f} s, not under 3 s")
    if idle["peak_bytes"] >= IDLE_BAR_BYTES:
        wrong.append(f"and {idle['peak_bytes'] / 1e6:.0f} MB, not under 300 MB")
    if recipe and recipe["records_s"] >= SHARE_BAR * recipe["wall_s"]:
        share = recipe["records_s"] / recipe["wall_s"]
        wrong.append(f"journal and ledgers are {share:.1%} of the NGC 5921 run, not under 2 %")
    return wrong


def table(found: Mapping[str, Any]) -> str:
    """Return the measurements for a person."""
    lines = []
    for name, title in (("full", "a run of steps done at once"), ("recipe", "NGC 5921 with CASA")):
        if name in found:
            lines += [*_parts(title, found[name]), ""]
    if "idle" in found:
        head = f"{'nothing to do':28}{'survey s':>10}{'decide s':>10}{'all s':>8}{'peak MB':>9}"
        lines.append(head)
    for one in (found[name] for name in ("idle", "idle of 20,000") if name in found):
        lines.append(
            f"{one['steps']:8} steps{'':14}{one['survey_s']:10.2f}{one['decide_s']:10.2f}"
            f"{one['wall_s']:8.2f}{one['peak_bytes'] / 1e6:9.0f}"
        )
    many = found["many"]
    lines += ["", f"{many['steps']} steps, no CASA{'':15}{'wall s':>10}{'CPU s':>10}{'peak MB':>9}"]
    for name, one in {"run, in the process": many, **found["many commands"]}.items():
        lines.append(
            f"{name:34}{one['wall_s']:10.2f}{one['cpu_s']:10.2f}{one['peak_bytes'] / 1e6:9.0f}"
        )
    lines.append("")
    lines.append(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} at the end")
    return "\n".join(lines)


def _parts(title: str, one: Mapping[str, Any]) -> list[str]:
    """Return what a run took by part, in all, a step, and as a share."""
    rows = {**one["parts_s"], "journal and ledgers": one["records_s"], "all": one["wall_s"]}
    wait_ms = 1e3 * one["disk_s"] / max(1, one["syncs"])
    head = f"{title}, {one['steps']} steps; {one['syncs']} waits of {wait_ms:.2f} ms for the disk"
    return [
        head,
        f"{'':28}{'s':>10}{'ms a step':>12}{'share':>9}",
        *(
            f"{part:28}{took:10.3f}{1e3 * took / one['steps']:12.3f}{took / one['wall_s']:9.2%}"
            for part, took in rows.items()
        ),
    ]


def main() -> int:
    """Measure and print; 1 where a bar is missed."""
    if sys.argv[1:2] == ["--inside"]:
        what, folder, datasets, result = sys.argv[2:]
        said = PROCESSES[what](Path(folder), int(datasets))
        Path(result).write_text(json.dumps(said))
        return 0
    options = _options()
    with tempfile.TemporaryDirectory(prefix="journal-", dir=options.scratch) as scratch:
        found = all_of(Path(scratch), options)
    found["missed"] = missed(found)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    sys.stdout.write("\n".join([table(found), *(found["missed"] or ["all bars are kept"])]) + "\n")
    return 1 if found["missed"] else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--datasets", type=int, default=500, help="of 20 steps each (500)")
    parser.add_argument("--no-recipe", action="store_true", help="leave out the run with CASA")
    parser.add_argument("--only-many", action="store_true", help="the recipe of many datasets only")
    parser.add_argument("--cold", action="store_true", help="also with nothing in memory (root)")
    parser.add_argument("--times", type=int, default=3, help="of which the median is told (3)")
    parser.add_argument("--scratch", type=Path, help="folder to work in; the system's by default")
    parser.add_argument("--json", type=Path, help="write all numbers there, too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
