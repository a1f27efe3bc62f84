"""What plain CASA makes of the faults of ``tests/faults``, beside what casarun does.

Each fault is made in a scratch folder, first for the CASA tasks that its author would have
run, in a process of their own, then for casarun. A row each says whether CASA raised, returned
as if well, killed its process or hung, and where casarun caught it, how fast, in which words.

    python benchmarks/faults.py [--only ID ...] [--json FILE] [--scratch DIR]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parent.parent / "tests"
sys.path.insert(0, str(TESTS))

from casarun.casa.logscan import scan  # noqa: E402
from faults import stage  # noqa: E402
from faults.fault import Fault  # noqa: E402
from faults.table import FAULTS  # noqa: E402

LIMIT_S = 60.0
OUTCOMES = ("raises", "returns as if well", "kills the process", "hangs", "does not apply")


@dataclass(frozen=True)
class Row:
    """One fault: what plain CASA did, and what casarun did."""

    id: str
    did: str
    kind: str
    plain: str
    plain_said: str
    plain_s: float
    caught: str
    casarun_s: float
    casarun_said: str


def main() -> int:
    """Act out the faults; 1 where casarun did not catch one."""
    options = _options()
    if options.plain:
        return _plain_here(FAULTS[options.plain[0]], Path(options.plain[1]))
    if options.prepare:
        stage.prepare(options.prepare)
        return 0
    unknown = set(options.only) - set(FAULTS)
    if unknown:
        raise SystemExit(f"no such fault: {', '.join(sorted(unknown))}")
    rows = []
    with tempfile.TemporaryDirectory(prefix="faults-", dir=options.scratch) as scratch:
        shared = Path(scratch) / "shared"
        _again("--prepare", shared, cwd=Path(scratch), timeout_s=600)
        for name in options.only or FAULTS:
            row = _row(FAULTS[name], shared, Path(scratch))
            rows.append(row)
            sys.stdout.write(_line(row))
            sys.stdout.flush()
    totals = _totals(rows)
    sys.stdout.write(_summary(totals))
    if options.json:
        result = {"rows": [asdict(row) for row in rows], "totals": totals}
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    return 1 if totals["casarun"].get("not caught") else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--only", nargs="+", default=[], metavar="ID", help="these faults")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers there")
    parser.add_argument("--scratch", type=Path, help="folder to work in; the system's by default")
    parser.add_argument("--plain", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--prepare", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def _again(
    *arguments: str | Path, cwd: Path, timeout_s: float, environ: dict[str, str] | None = None
) -> tuple[int | None, str]:
    """Run this script in a process of its own; None for its exit code where it hung."""
    process = subprocess.Popen(
        [sys.executable, __file__, *map(str, arguments)],
        cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        env=os.environ | {"OMP_NUM_THREADS": "1"} | (environ or {}), start_new_session=True,
    )  # fmt: skip
    try:
        said, _ = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return None, ""
    if arguments[0] == "--prepare" and process.returncode:
        raise SystemExit(f"the shared datasets were not made:\n{said[-2000:]}")
    return process.returncode, said


def _row(fault: Fault, shared: Path, scratch: Path) -> Row:
    """Act out one fault, both ways."""
    outcome, said, plain_s = _plain(fault, shared, scratch)
    folder = stage.folder_of(fault, shared, scratch / "casarun")
    started = time.perf_counter()
    try:
        told = stage.act(fault, folder, shared, own_process=True)
    except OSError as error:  # no small filesystems here
        caught, words = "not tried", str(error)
    else:
        caught, words = _caught(fault, told), told.said[0] if told.said else ""
    casarun_s = time.perf_counter() - started
    shutil.rmtree(folder)
    return Row(fault.id, fault.did, fault.kind, outcome, said, plain_s, caught, casarun_s, words)


def _caught(fault: Fault, told: stage.Told) -> str:
    """Say where casarun caught a fault."""
    if told.exit_code != fault.exit_code or not told.said:
        return "not caught"
    if fault.where == "step":
        return f"step {fault.step}" if fault.step in told.failed else "not caught"
    if fault.warns:
        return "warned before the run" if "warning" in told.said[0] else "not caught"
    return {"static": "recipe alone", "check": "before any step"}[fault.where]


# -- plain CASA


def _plain(fault: Fault, shared: Path, scratch: Path) -> tuple[str, str, float]:
    """Run a fault's CASA tasks in a process of their own: outcome, words, seconds."""
    if fault.plain.lacks:
        return "does not apply", fault.plain.lacks, 0.0
    folder = scratch / "plain" / fault.id
    folder.mkdir(parents=True)
    if fault.build:
        fault.build(folder, shared)
    if "." not in fault.plain.vis:
        shutil.copytree(shared / f"{fault.plain.vis}.ms", folder / "data.ms")
    environ = {key: value.format(here=folder) for key, value in fault.environ.items()}
    started = time.perf_counter()
    with fault.during(folder):
        code, output = _again("--plain", fault.id, folder, cwd=folder, timeout_s=LIMIT_S,
                              environ=environ)  # fmt: skip
    seconds = time.perf_counter() - started
    outcome, said = _came_of(code, output, folder / "outcome.json")
    shutil.rmtree(folder)
    return outcome, said, seconds


def _came_of(code: int | None, output: str, result: Path) -> tuple[str, str]:
    """Say in words how a process of plain CASA ended."""
    if code is None:
        return "hangs", f"nothing for {LIMIT_S:.0f} s"
    if code < 0 or code in (134, 139):
        return "kills the process", signal.Signals(-code if code < 0 else code - 128).name
    if result.is_file():
        found = json.loads(result.read_text())
        return found["outcome"], found["said"]
    lines = [line for line in output.splitlines() if line.strip()]
    return "raises", lines[-1] if lines else f"exit code {code}"


def _plain_here(fault: Fault, folder: Path) -> int:
    """Run a fault's tasks in this process; write what came of it."""
    _configure()
    import casatasks

    log = folder / "casa.log"
    casatasks.casalog.setlogfile(str(log))
    vis = fault.plain.vis if "." in fault.plain.vis else "data.ms"
    outcome, said = "returns as if well", ""
    for one in fault.plain.calls:
        params = {key: _filled(value, vis) for key, value in one.params.items()}
        try:
            result = getattr(casatasks, one.task)(**params)
        except Exception as error:
            outcome, said = "raises", f"{type(error).__name__}: {error}"
            break
        said = _made(params, result)
    if outcome != "raises" and log.is_file() and scan(log).severe:
        said += ", SEVERE in the log"
    words = " ".join(said.split())
    (folder / "outcome.json").write_text(json.dumps({"outcome": outcome, "said": words}))
    return 0


def _configure() -> None:
    """Configure CASA as a user without a ``~/.casa`` has to."""
    arguments, sys.argv = sys.argv, sys.argv[:1]  # casaconfig reads the command line
    import casadata
    from casaconfig import config

    sys.argv = arguments
    config.measurespath, config.datapath = casadata.datapath, [casadata.datapath]
    config.measures_auto_update = config.data_auto_update = False
    config.nogui = config.agg = True
    config.casaconfig_verbose = 0


def _filled(value: Any, vis: str) -> Any:
    if not isinstance(value, str):
        return value
    return value.replace("{vis}", vis).replace("{{", "{").replace("}}", "}")


def _made(params: dict[str, Any], result: Any) -> str:
    """Say what a task left behind that returned."""
    if "caltable" in params and "fluxtable" not in params:
        return _table(Path(params["caltable"]))
    if "imagename" in params and "specmode" in params:
        return _image(Path(f"{params['imagename']}.image"), result)
    for key in ("outputvis", "outfile", "fluxtable", "fitsfile"):
        if key in params:
            return f"{params[key]} is {'there' if Path(params[key]).exists() else 'not there'}"
    return f"returned {str(result)[:60]}"


def _table(path: Path) -> str:
    from casatools import table

    if not path.exists():
        return "no table"
    tool = table()
    tool.open(str(path))
    flags = [tool.getcell("FLAG", row).mean() for row in range(tool.nrows())]
    tool.close()
    return f"a table, {100 * sum(flags) / max(1, len(flags)):.0f} % of it flagged"


def _image(path: Path, result: Any) -> str:
    import numpy as np
    from casatools import image

    if not path.exists():
        return "no image"
    tool = image()
    tool.open(str(path))
    pixels = tool.getchunk()
    tool.done()
    if not np.isfinite(pixels).any():
        return "an image of NaN"
    peak = float(np.nanmax(np.abs(pixels)))
    code = result.get("stopcode") if isinstance(result, dict) else None
    done = f", {result.get('iterdone')} iterations, stop code {code}" if code is not None else ""
    return f"an image of {'zeros' if peak == 0 else f'peak {peak:.3g} Jy/beam'}{done}"


# -- words


def _line(row: Row) -> str:
    return (
        f"{row.id}: {row.did}\n"
        f"    CASA     {row.plain}: {row.plain_said[:150]}\n"
        f"    casarun  {row.caught} ({row.casarun_s:.1f} s): {row.casarun_said[:150]}\n"
    )


def _totals(rows: Sequence[Row]) -> dict[str, Any]:
    plain = Counter(row.plain for row in rows)
    caught = Counter("by a step" if r.caught.startswith("step ") else r.caught for r in rows)
    return {
        "faults": len(rows),
        "plain": {outcome: plain[outcome] for outcome in OUTCOMES},
        "casarun": dict(caught),
        "slowest_before_a_step_s": max(
            (r.casarun_s for r in rows if not r.caught.startswith("step ")), default=0.0
        ),
    }


def _summary(totals: dict[str, Any]) -> str:
    lines = [f"{totals['faults']} faults", "plain CASA:"]
    lines += [f"    {number:4} {outcome}" for outcome, number in totals["plain"].items()]
    lines += ["casarun:", *(f"    {n:4} {how}" for how, n in totals["casarun"].items())]
    lines.append(
        f"the slowest that was caught before a step took {totals['slowest_before_a_step_s']:.1f} s"
    )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
