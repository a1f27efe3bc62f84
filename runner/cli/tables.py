"""Tables and listings for the terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from .. import api
from ..engine.journal import read_events
from ..engine.journal_state import journals
from ..engine.results import CASA_LOG, attempt_folder
from ..engine.status import state_of
from ..errors import DataError, did_you_mean, printable
from ..files import read_json, seconds_since
from ..folder import RunFolder
from ..observation import Observation
from ..plan import Plan, written
from ..quantities import human_bytes, human_frequency, human_seconds
from . import kinds
from .plain import MANY, escape, listed

if TYPE_CHECKING:  # its import takes 0.15 s, in which CASA is not imported yet
    from ..api import Planned
    from ..engine.doctor import Finding

_MJD_OF_UNIX = 40587 * 86400.0


def screen() -> Console:
    """Return a console; a wide one where no terminal says how wide it is."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 200
    return console


def bare_table(*columns: str, right: Sequence[str] = ()) -> Table:
    """Return an empty table without lines; columns in `right` are aligned to that side."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left")
    return table


def show_check(recipe: Path, planned: Planned) -> None:
    """Say that a recipe fits its data, and what to know before the run."""
    planned.need_machine()
    if planned.warnings:
        click.echo(planned.warned, err=True)
    for note in planned.notes:
        click.echo(printable(note), err=True)
    number = planned.n_warned
    warned = f", {number} warning{'s' if number > 1 else ''}" if number else ""
    click.echo(f"{recipe}: fine ({len(planned.plan.steps)} steps{warned})")
    click.echo(planned.forecast.summary())


def show_plan(planned: Planned, *, every: bool = False) -> None:
    """Print the steps, what each would do and why, and the values that casarun chose.

    Parameters
    ----------
    planned : Planned
        The plan.
    every : bool
        Each in a row of its own, however many are alike.
    """
    console = screen()
    console.print(f"run folder {planned.reduction.folder.root}", markup=False, soft_wrap=True)
    if planned.warnings:
        click.echo(planned.warned, err=True)
    for note in planned.notes:
        click.echo(printable(note), err=True)
    many = len(planned.plan.steps) > MANY and not every
    if many:
        steps = list(kinds.steps(planned.plan, planned.decided))
        columns: Sequence[str] = ("steps", "step", "of", "what", "why")
    else:
        steps = list(_steps(planned))
        columns = ("", "step", "what", "why")
    show_rows(console, columns, [row for _, row in steps], right=0,
              dim=[kept for kept, _ in steps])  # fmt: skip
    if planned.plan.autos:
        console.print("\nchosen by casarun", style="bold")
        autos, stars = planned.plan.autos, kinds.Stars(planned.plan)
        rows = kinds.choices(autos, stars) if many else _choices(planned.plan)
        show_rows(console, ("key", "of", "value", "because"), list(rows))
    if many:
        console.print("\neach step and choice by itself: casarun plan --all", style="dim")
    for restore in planned.decided.restores:
        console.print(f"\n{restore}", markup=False, soft_wrap=True)
    run = len(planned.decided.to_run)
    console.print(f"\n{len(planned.plan.steps)} steps, {run} to run: {planned.forecast.summary()}",
                  soft_wrap=True)  # fmt: skip
    for problem in planned.forecast.problems:
        console.print(f"would be refused here: {problem.message}", style="red", markup=False,
                      soft_wrap=True)  # fmt: skip


def _steps(planned: Planned) -> Iterator[tuple[bool, Sequence[str]]]:
    """Yield whether each step is kept, and its row."""
    for number, step in enumerate(planned.plan.steps, 1):
        decision = planned.decided.steps[step.id]
        why = decision.reason if decision.run else f"kept: {decision.reason}"
        yield not decision.run, (str(number), step.id, step.title, why)


def _choices(plan: Plan) -> Iterator[Sequence[str]]:
    for auto in plan.autos:
        yield auto.key, auto.subject, kinds.shown(auto.value), auto.reason


def show_rows(
    console: Console,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: int = -1,
    dim: Sequence[bool] = (),
) -> None:
    """Print a table; of many rows each in a line, for to fit them in takes its time.

    Parameters
    ----------
    console : Console
        Where.
    columns : sequence of str
        The heading.
    rows : sequence of sequence of str
        What is in it, as it is.
    right : int
        The column that is aligned to that side; by default none.
    dim : sequence of bool
        For each row whether it is of less account.
    """
    if len(rows) > MANY:
        heading, *lines = listed([columns, *rows], (right,))
        if console.is_terminal and not console.no_color:
            heading = click.style(heading, bold=True)
            shades = dim or [False] * len(lines)
            lines = [click.style(line, dim=True) if shade else line
                     for line, shade in zip(lines, shades, strict=True)]  # fmt: skip
        click.echo("\n".join((heading, *lines)))
        return
    table = bare_table(*columns, right=columns[right : right + 1] if right >= 0 else ())
    for place, row in enumerate(rows):
        style = "dim" if dim and dim[place] else ""
        table.add_row(*(escape(text) for text in row), style=style)
    console.print(table)


def mermaid(plan: Plan) -> str:
    """Return the plan's graph in Mermaid's language, transitive edges left out."""
    names = {step.id: f"s{number}" for number, step in enumerate(plan.steps)}
    reach: dict[str, frozenset[str]] = {}
    lines = ["flowchart TD"]
    for step in plan.steps:
        direct = plan.waits_for[step.id]
        behind = frozenset().union(*(reach[other] for other in direct)) if direct else frozenset()
        reach[step.id] = behind | direct
        text = f"{step.id}<br>{step.title}".replace('"', "'").replace("#", "")
        lines.append(f'    {names[step.id]}["{text}"]')
        lines += [f"    {names[o]} --> {names[step.id]}" for o in sorted(direct - behind)]
    return "\n".join(lines)


def _clock(mjd_s: float) -> str:
    return f"{datetime.fromtimestamp(mjd_s - _MJD_OF_UNIX, UTC):%Y-%m-%d %H:%M:%S}"


def show_observation(observation: Observation) -> None:
    """Print a dataset's metadata."""
    console = screen()
    o = observation
    hours = human_seconds(o.end_mjd_s - o.start_mjd_s)
    console.print(f"{escape(o.vis)}", style="bold", soft_wrap=True)
    table = bare_table("", "")
    for key, value in (
        ("telescope", f"{o.telescope}, observer {o.observer}"),
        ("time", f"{_clock(o.start_mjd_s)} to {_clock(o.end_mjd_s)} UTC ({hours})"),
        ("baselines", f"{o.shortest_baseline_m:.4g} to {o.longest_baseline_m:.4g} m, "
                      f"{len(o.antennas)} antennas"),
        ("rows", f"{o.n_rows:,}"),
        ("size", human_bytes(o.size_bytes)),
        ("columns", ", ".join(c for c in o.columns if c.endswith(("DATA", "SPECTRUM")))),
    ):  # fmt: skip
        table.add_row(key, escape(value))
    table.show_header = False
    console.print(table)
    _show_fields(console, o)
    _show_spws(console, o)
    _show_scans(console, o)
    _show_antennas(console, o)


def _show_fields(console: Console, o: Observation) -> None:
    console.print("\nfields", style="bold")
    table = bare_table("id", "name", "RA deg", "Dec deg", "rows", "intents",
                   right=("id", "RA deg", "Dec deg", "rows"))  # fmt: skip
    for f in o.fields:
        intents = ", ".join(f.intents) or "none"
        table.add_row(str(f.id), escape(f.name), f"{f.ra_deg:.5f}", f"{f.dec_deg:+.5f}",
                      f"{f.n_rows:,}", escape(intents))  # fmt: skip
    console.print(table)


def _show_spws(console: Console, o: Observation) -> None:
    console.print("\nspectral windows", style="bold")
    right = ("id", "channels", "width kHz", "bandwidth MHz")
    table = bare_table("id", "name", "channels", "first", "last", "width kHz", "bandwidth MHz",
                   "frame", "correlations", right=right)  # fmt: skip
    for s in o.spws:
        table.add_row(str(s.id), escape(s.name), str(s.n_chan), human_frequency(s.first_hz),
                      human_frequency(s.last_hz), f"{s.chan_width_hz / 1e3:.6g}",
                      f"{s.bandwidth_hz / 1e6:.5g}", s.frame, " ".join(s.correlations))  # fmt: skip
    console.print(table)


def _show_scans(console: Console, o: Observation) -> None:
    names = {f.id: f.name for f in o.fields}
    console.print("\nscans", style="bold")
    table = bare_table("scan", "start UTC", "duration", "field", "spw", "integration", "intents",
                   right=("scan", "duration", "integration"))  # fmt: skip
    for s in o.scans:
        table.add_row(
            str(s.number), _clock(s.start_mjd_s), human_seconds(s.end_mjd_s - s.start_mjd_s),
            escape(", ".join(names.get(i, str(i)) for i in s.field_ids)),
            ",".join(str(i) for i in s.spw_ids), f"{s.integration_s:g} s",
            escape(", ".join(s.intents) or "none"),
        )  # fmt: skip
    console.print(table)


def _show_antennas(console: Console, o: Observation) -> None:
    console.print("\nantennas", style="bold")
    table = bare_table("id", "name", "station", "diameter m", "from centre m", "flagged",
                   right=("id", "diameter m", "from centre m", "flagged"))  # fmt: skip
    for a in o.antennas:
        table.add_row(str(a.id), escape(a.name), escape(a.station), f"{a.diameter_m:g}",
                      f"{a.distance_m:.0f}", f"{a.flagged_fraction:.1%}")  # fmt: skip
    console.print(table)


def show_status(folder: RunFolder, as_json: bool) -> None:
    """Print how far a run is, from its heartbeat and from what a batch system says of its jobs."""
    jobs = api.batch_status(folder)
    try:
        status = read_json(folder.status)
    except (OSError, ValueError) as error:
        if jobs is None:
            raise DataError(f"{folder.root}: no status is kept here yet") from error
        status = {}
    try:
        _say_status(folder, status, jobs, as_json)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{folder.status} is damaged: the next run writes it anew") from error


def _say_status(
    folder: RunFolder, status: dict[str, Any], jobs: api.BatchStatus | None, as_json: bool
) -> None:
    from . import batch

    state, parts = state_of(status), _parts(folder)
    if jobs is not None:
        state = _with_jobs(status, state, jobs)
    if parts and state in ("", "not run", "lost"):
        state = status["state"] = _of_parts(parts)
    if state == "died":
        status["state"] = state
    if as_json:
        said: dict[str, Any] = {} if jobs is None else {"batch": batch.as_json(jobs)}
        said |= {"parts": parts} if parts else {}
        click.echo(json.dumps(status | said, indent=1))
        return
    own = jobs is None or (status.get("counts") and not jobs.slices)
    lines = _heart_lines(status) if own else []
    lines.insert(0, f"{folder.root}: {status['state']}")
    if jobs is not None:
        lines += batch.lines(jobs, state)
    lines += [f"  {name}: {of_part or 'not begun'}" for name, of_part in parts.items()]
    if state == "unheard":
        lines.append("it may be no more: a run writes its status every few seconds")
    elif state == "died":
        lines.append("the run was killed; the same command goes on with it")
    elif folder.report.is_file() and status["state"] not in ("running", "waiting"):
        lines.append(f"report: {folder.report}")
    for line in lines:
        click.echo(printable(line).replace("\n", "\\n"))


def _with_jobs(status: dict[str, Any], heart: str, jobs: api.BatchStatus) -> str:
    """Correct how a run is by its heartbeat by what the batch system says of its jobs."""
    from ..engine.executors.batch import RUNNING, WAITING

    phases = {state.phase for state in jobs.states.values()}
    if RUNNING in phases:
        status["state"] = "running"
        return heart if heart == "running" else "running"
    if WAITING in phases:
        status["state"] = "waiting"
        return "waiting"
    if jobs.slices:
        status["state"] = _of_report(jobs)
        return str(status["state"])
    if phases and heart not in ("done", "failed", "interrupted"):
        status["state"] = "lost" if heart else "not run"
    status.setdefault("state", "handed in")
    return str(status["state"])


def _parts(folder: RunFolder) -> dict[str, str]:
    """Return how the runs are that share a recipe's datasets (``--part``), by their names."""
    found = {}
    for path in sorted(folder.root.glob("part-*-of-*")):
        try:
            found[path.name] = state_of(read_json(RunFolder(path).status))
        except (OSError, ValueError):
            found[path.name] = ""
    return found


def _of_parts(parts: Mapping[str, str]) -> str:
    """Tell how several runs are, in the word for the worst of them."""
    worst = ("died", "failed", "unheard", "interrupted", "running", "")
    return next((word for word in worst if word in parts.values()), "done") or "interrupted"


def _of_report(jobs: api.BatchStatus) -> str:
    """Tell how a run in slices is, none of whose jobs is left."""
    states = {one.state for one in jobs.slices}
    for state in ("failed", "unknown", "interrupted", "lost"):
        if state in states:
            return state
    return "interrupted" if "not run" in states else "done"


def _heart_lines(status: Mapping[str, Any]) -> list[str]:
    """Say what the heartbeat of a run says."""
    counts = status["counts"]
    silent_s = seconds_since(status["updated"]) or 0.0
    return [
        f"{counts.get('done', 0) + counts.get('skipped', 0)} of {counts['total']} steps done, "
        f"{counts.get('running', 0)} running, {counts.get('failed', 0)} failed, "
        f"{counts.get('not_run', 0)} not run",
        f"on {status['host']}, process {status['pid']}, started {status['started']}, "
        f"last heard of {human_seconds(silent_s)} ago",
        *(
            f"  {step}, attempt {running['attempt']}, since {running['since']}, "
            f"{human_bytes(running['memory_bytes'])}"
            for step, running in status.get("running", {}).items()
        ),
    ]


def show_log(folder: RunFolder, step: str, casa: bool) -> None:
    """Print the journal for a person, or one step's log."""
    events = [event for path in journals(folder.journal) for event in read_events(path)]
    events.sort(key=lambda event: str(event.get("t")))
    if not step:
        for event in events:
            click.echo(_event_line(event))
        return
    attempts = [event for event in events if event.get("step") == step]
    if not attempts:
        known = dict.fromkeys(event["step"] for event in events if "step" in event)
        raise DataError(f"no step '{step}' has run in {folder.root}{did_you_mean(step, known)}")
    for event in attempts:
        click.echo(_event_line(event))
    number = max(int(event.get("attempt", 0)) for event in attempts)
    logs = attempt_folder(folder, step, number)
    click.echo(f"\nlogs in {logs}")
    log = logs / CASA_LOG
    if casa and log.is_file():
        click.echo(printable(log.read_text(encoding="utf-8", errors="replace")))


def _event_line(event: Mapping[str, Any]) -> str:
    kind, step = event["event"], event.get("step", "")
    details = {
        "run-started": lambda: f"{event.get('to_run')} of {event.get('steps')} steps to run",
        "step-started": lambda: f"attempt {event.get('attempt')}: {event.get('reason')}",
        "step-done": lambda: (
            f"in {human_seconds(event.get('wall_s', 0))}, "
            f"{human_bytes(event.get('peak_memory_bytes', 0))}"
            + (f": {event['said']}" if event.get("said") else "")
        ),
        "step-failed": lambda: f"{event.get('cause')}: {event.get('message')}",
        "step-retry": lambda: (
            f"in {event.get('wait_s', 0):g} s"
            if "fallback" not in event
            else f"with {written(event['fallback'])}"
        ),
        "run-ended": lambda: f"{event.get('state')}",
    }
    said = details[kind]() if kind in details else ""
    return printable(f"{str(event.get('t'))[:19]} {kind:<16} {step} {said}".rstrip())


def show_findings(findings: Sequence[Finding]) -> None:
    """Print what the doctor found."""
    console = screen()
    marks = {"good": ("ok", "green"), "warn": ("!", "yellow"), "bad": ("x", "bold red")}
    for finding in findings:
        mark, style = marks[finding.state]
        console.print(f"[{style}]{mark:>2}[/] {escape(finding.text)}", soft_wrap=True)
        if finding.advice:
            console.print(f"     {escape(finding.advice)}", soft_wrap=True)
