"""What a run says while it goes: a live view on a terminal, lines with times elsewhere."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from ..errors import ExitCode, printable
from ..plan import written
from ..quantities import human_bytes, human_seconds
from ..recipe.alike import Line, once
from .plain import escape

if TYPE_CHECKING:  # its import takes 0.15 s, in which CASA is not imported yet
    from ..api import Planned, RunResult

_RULE: Final = re.compile(r"[-=*#]{4,}")
"""What CASA underlines and frames its messages with."""

_MOST_IMAGES: Final = 50
_TAIL_BYTES = 4096
_VERDICTS = {"pass": "bold green", "warn": "bold yellow", "fail": "bold red"}


class Lines:
    """One line an event, with the time: for logs, cron and pipes."""

    def __init__(self, console: Console, *, quiet: bool, verbose: bool) -> None:
        self.console = console
        self.quiet = quiet
        self.verbose = verbose
        self.titles: dict[str, str] = {}
        self.total = 0
        self.finished = 0
        self.noted: set[str] = set()
        self.pending: list[Mapping[str, Any]] = []

    def planned(self, planned: Planned) -> None:
        """Say what is about to be done, and what to know before."""
        self.flush()
        plan = planned.plan
        # From cron, every word is a mail: where nothing is done, nothing needs to be known.
        warned = planned.warned if planned.decided or not self.quiet else ""
        for line in warned.splitlines():
            self.say(line, "yellow")
        if planned.forecast.steps and not self.quiet:
            self.say(planned.forecast.summary())
        self.titles = {step.id: step.title for step in plan.steps}
        self.total, self.finished = len(plan.steps), 0
        for auto in plan.autos if self.verbose and not self.quiet else ():
            self.say(f"{auto.key} of {auto.subject} = {auto.value}: {auto.reason}")

    def say(self, text: str, style: str = "") -> None:
        """Print a line."""
        stamp = "" if self.console.is_terminal else f"{datetime.now():%Y-%m-%d %H:%M:%S} "
        self.console.print(printable(f"{stamp}{text}"), style=style, markup=False, highlight=False,
                           soft_wrap=True)  # fmt: skip

    def tell(self, event: Mapping[str, Any]) -> None:
        """Take an event of the run."""
        step, kind = str(event.get("step", "")), str(event["event"])
        if kind == "dataset-noted":
            self.pending.append(event)  # of many that come at once, much is alike
            return
        self.flush()
        if kind in ("step-done", "step-skipped"):
            self.finished += 1
        if not self._tell_trouble(kind, step, event) and not self.quiet:
            self._tell_progress(kind, step, event)

    def _tell_trouble(self, kind: str, step: str, event: Mapping[str, Any]) -> bool:
        """Say what is said of a run that is to be quiet, too; tell whether the event was such."""
        if kind == "step-failed":
            self.say(f"{step} failed ({event['cause']}): {event['message']}", "red")
            if event.get("advice"):
                self.say(f"  {event['advice']}")
        elif kind == "step-retry" and "fallback" in event:
            self.say(f"{step}: again with {written(event['fallback'])}, which the recipe declares "
                     "for a clean that diverged", "red")  # fmt: skip
        elif kind == "step-retry":
            self.say(f"{step}: again in {event['wait_s']:g} s ({event['cause']})", "yellow")
        elif kind == "run-waiting":
            self.say(f"{event['message']}; waiting for that, {human_seconds(event['wait_s'])} "
                     "at most", "yellow")  # fmt: skip
        elif kind in ("run-submitted", "jobs-lost", "job-held"):
            self._tell_jobs(event)
        elif kind == "notifier-failed":
            self.say(f"the notifier {event['name']} has told nobody: {event['message']}", "red")
        else:
            return False
        return True

    def _tell_progress(self, kind: str, step: str, event: Mapping[str, Any]) -> None:
        title = self.titles.get(step, "")
        name = f"{step}: {title}" if title else step
        if kind == "run-opened":
            self.say(f"run folder {event['folder']}")
        elif kind == "product-restored":
            self.say(str(event["said"]))
        elif kind == "step-started" and self.verbose:
            self.say(f"{name} ({event['reason']})")
        elif kind == "step-done":
            self._tell_done(name, event)
        elif kind == "step-skipped" and self.verbose:
            self.say(f"{name}: kept, {event['reason']}")

    def _tell_done(self, name: str, event: Mapping[str, Any]) -> None:
        took = human_seconds(float(event["wall_s"]))
        of = f"[{self.finished}/{self.total}] " if self.total else ""
        note = str(event.get("note", ""))
        if note:
            # Many steps may have nothing to do for one reason: all rounds after the last.
            if note not in self.noted or self.verbose:
                self.say(f"{of}{name}: nothing to do: {note}")
            self.noted.add(note)
        elif event.get("said"):
            self.say(f"{of}{name}: {event['said']} ({took})")
        else:
            self.say(f"{of}{name} ({took})")

    def flush(self) -> None:
        """Say what is to be said of datasets that came, wait or are gone."""
        noted, self.pending = self.pending, []
        lines = (
            (str(event["said"]), "", (("dataset", event["dataset"]), ("file", event["file"])))
            for event in noted
            if event["loud"] or not self.quiet
        )
        for line, _ in once(lines):
            self.say(line, "yellow")

    def _tell_jobs(self, event: Mapping[str, Any]) -> None:
        """Say what becomes of jobs of a batch system."""
        engine = event["engine"]
        if event["event"] == "jobs-lost":
            self.say(f"{engine} has lost jobs of this run: what is missing is handed in again",
                     "yellow")  # fmt: skip
        elif event["event"] == "job-held":
            job = event["job"]
            self.say(f"job {job} ({event['slice']}) of {engine} is held and waits until you let it "
                     f"go: scontrol release {job}", "yellow")  # fmt: skip
        elif not self.quiet:
            how = "handed to" if event["fresh"] else "already with"
            self.say(f"{how} {engine}: {event['jobs']} jobs")

    def close(self, result: RunResult) -> None:
        """Say what the run came to."""
        self.flush()
        outcome = result.outcome
        told = bool(result.aside) and not outcome.failed  # when they were set aside
        if self.quiet and (result.exit_code == ExitCode.DONE or told):
            return
        if not result.plan.steps and not outcome.interrupted:
            self.say("nothing to do: no dataset is there to be reduced yet")
            return
        if result.exit_code == ExitCode.INTERRUPTED:
            why = f" ({outcome.why})" if outcome.why else ""
            self.say(f"stopped{why}; run the same command to go on", "yellow")
            return
        if not (outcome.done or outcome.failed or outcome.restored or outcome.removed):
            self.say(f"nothing to do: all {len(outcome.skipped)} steps are up to date")
        if outcome.peak_disk_bytes or outcome.removed:
            self.say(_disk(result))
        for line, _ in once(
            (f"self-calibration of {target}: {numbers['reason']}", "", (("target", target),))
            for target, numbers in result.metrics.get("selfcal", {}).items()
            if not numbers["kept_first"]  # else a check says so
        ):
            self.say(line)
        images = images_table(result.metrics)
        if images is not None:
            self.console.print(images)
            number = sum(map(len, result.metrics["images"].values())) - images.row_count
            if number > 0:
                self.say(f"and {number} images more, whose dynamic range is higher: see the report")
        self._failures(result)
        verdict = result.metrics.get("verdict", "fail")
        if not outcome.failed:
            for line, passed in once(_not_passed(result.metrics)):
                self.say(line, _VERDICTS[passed])
        self.say(f"verdict: {verdict}", _VERDICTS.get(verdict, ""))
        self.say(f"report: {result.folder.report}")

    def _failures(self, result: RunResult) -> None:
        outcome = result.outcome
        for line, step_id in once(
            (f"{step_id} failed: {failure.message}", step_id, (("step", step_id),))
            for step_id, failure in outcome.failed.items()
        ):
            failure = outcome.failed[step_id]
            self.say(line, "red")
            if failure.advice:
                self.say(f"  {failure.advice}")
            self.say(f"  logs: {failure.logs}")
        if outcome.not_run:
            self.say(f"not run because of that: {len(outcome.not_run)} steps")


class Screen(Lines):
    """A live view: the steps that run, what CASA is doing, how far the run is."""

    def __init__(self, console: Console, *, quiet: bool, verbose: bool) -> None:
        super().__init__(console, quiet=quiet, verbose=verbose)
        self.running: dict[str, tuple[float, str]] = {}
        self.progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=40),
            MofNCompleteColumn(),
            TextColumn("steps"),
            TimeElapsedColumn(),
            console=console,
        )
        self.bar = self.progress.add_task("preparing", total=None)

    def __rich__(self) -> Group:
        """Draw the view."""
        now = time.monotonic()
        rows = []
        for step, (since, doing) in self.running.items():
            line = Text.assemble(("  ▸ ", "cyan"), step, "  ",
                                 (human_seconds(max(0.1, now - since)), "dim"), "  ",
                                 (doing, "dim"))  # fmt: skip
            line.truncate(max(20, self.console.width - 1), overflow="ellipsis")
            rows.append(line)
        return Group(self.progress, *rows)

    def planned(self, planned: Planned) -> None:
        """Say what is about to be done, and set the bar."""
        super().planned(planned)
        name = planned.reduction.loaded.recipe.project.name
        self.progress.update(self.bar, total=len(planned.plan.steps), completed=0,
                             description=escape(name))  # fmt: skip

    def tell(self, event: Mapping[str, Any]) -> None:
        """Take an event of the run."""
        step, kind = str(event.get("step", "")), event["event"]
        if kind == "step-started":
            self.running[step] = (time.monotonic(), self.titles.get(step, ""))
        elif kind == "step-progress":
            since, doing = self.running.get(step, (time.monotonic(), ""))
            self.running[step] = (since, last_line(Path(event["logs"]) / "casa.log") or doing)
        elif kind in ("step-done", "step-failed", "step-interrupted"):
            self.running.pop(step, None)
        super().tell(event)
        self.progress.update(self.bar, completed=self.finished)


@contextmanager
def terminal(*, quiet: bool, verbose: bool) -> Iterator[Lines]:
    """Give what shows a run: live on a terminal, else lines."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 200  # a log has room for whole file names
    if quiet or not console.is_terminal:
        with _flushed(Lines(console, quiet=quiet, verbose=verbose)) as lines:
            yield lines
        return
    screen = Screen(console, quiet=quiet, verbose=verbose)
    with Live(screen, console=console, refresh_per_second=5, transient=True) as live:
        closing = screen.close

        def close(result: RunResult) -> None:
            live.stop()
            closing(result)

        screen.close = close  # type: ignore[method-assign]
        with _flushed(screen):
            yield screen


@contextmanager
def lines_only() -> Iterator[Lines]:
    """Give what shows a run in lines, on a terminal too."""
    console = Console(highlight=False, width=200)
    with _flushed(Lines(console, quiet=False, verbose=False)) as lines:
        yield lines


@contextmanager
def _flushed(lines: Lines) -> Iterator[Lines]:
    """Give what shows a run; at the end, however it ends, nothing is left unsaid."""
    try:
        yield lines
    finally:
        lines.flush()


def last_line(log: Path) -> str:
    """Return the message of the last line of a CASA log that says something; no ruled lines."""
    try:
        with log.open("rb") as stream:
            stream.seek(0, 2)
            stream.seek(max(0, stream.tell() - _TAIL_BYTES))
            lines = stream.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    for line in reversed(lines):
        parts = line.split("\t")
        said = _RULE.sub("", parts[-1]).strip() if len(parts) > 2 else ""
        if said:
            return "".join(char for char in said if char.isprintable())[:120]
    return ""


def images_table(metrics: Mapping[str, Any]) -> Table | None:
    """Return the table of a run's images, or None where there are none.

    Of many, those of the lowest dynamic range.
    """
    rows = [
        (target, name, numbers)
        for target, images in metrics.get("images", {}).items()
        for name, numbers in images.items()
    ]
    if not rows:
        return None
    if len(rows) > _MOST_IMAGES:
        rows = sorted(rows, key=lambda row: _dynamic_range(row[2]))[:_MOST_IMAGES]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("target", "image"):
        table.add_column(name)
    for name in ("peak\nmJy/beam", "noise\nmJy/beam", "dynamic\nrange", "synthesized beam\narcsec"):
        table.add_column(name, justify="right")
    table.add_column("FITS")
    for target, name, numbers in rows:
        table.add_row(
            escape(target),
            escape(name),
            _number(numbers.get("peak_jy_per_beam"), 1e3),
            _number(numbers.get("rms_noise_jy_per_beam"), 1e3),
            _number(numbers.get("dynamic_range"), 1, "{:.0f}"),
            f"{_number(numbers.get('bmaj_arcsec'))} x {_number(numbers.get('bmin_arcsec'))}",
            escape(str(numbers.get("fits") or "")),
        )
    return table


def _dynamic_range(numbers: Mapping[str, Any]) -> float:
    """Return an image's dynamic range; one that could not be measured comes first."""
    value = numbers.get("dynamic_range")
    return -math.inf if value is None else float(value)


def _number(value: float | None, times: float = 1, how: str = "{:.3g}") -> str:
    return "?" if value is None else how.format(value * times)


def _disk(result: RunResult) -> str:
    """Say how much disk the run folder held at its most, and what was removed of it."""
    outcome = result.outcome
    most = f"disk: {human_bytes(outcome.peak_disk_bytes)} at the most"
    if not outcome.removed:
        return most
    number = len(outcome.removed)
    what = "1 intermediate" if number == 1 else f"{number} intermediates"
    return f"{most}; removed {what} ({human_bytes(outcome.removed_bytes)}) that nothing needs"


def _not_passed(metrics: Mapping[str, Any]) -> Iterator[Line]:
    """Yield for each check that did not pass a line, its verdict, and whom it is about."""
    for check in metrics.get("checks", ()):
        if check["verdict"] != "pass":
            name = str(check["subject"]).partition(", ")[0]
            kind = "dataset" if name in metrics.get("datasets", {}) else "target"
            line = f"{check['verdict']}: {check['subject']}: {_said(check)}"
            yield line, check["verdict"], ((kind, name),)


def _said(check: Mapping[str, Any]) -> str:
    """Say a check's result in a line."""
    value, limit = check.get("value"), check.get("limit")
    text = check.get("text") or check.get("message") or ""
    if isinstance(value, float) and limit:
        text = f"{value:.3g} {text} (limit {limit:g})"
    return f"{check['name']}: {text}"
