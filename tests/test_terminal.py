"""What a run says while it goes: what steps found, and what there was nothing to do for."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from casarun.api.running import RunResult
from casarun.cli import tables
from casarun.cli.tables import _event_line, show_rows
from casarun.cli.terminal import Lines, images_table, last_line
from casarun.engine.outcome import Failure, Outcome
from casarun.errors import Cause, ExitCode
from casarun.folder import RunFolder
from casarun.plan import Plan, Step
from rich.console import Console

JUDGED = {
    "event": "step-done", "step": "t.selfcal.1.judge", "wall_s": 0.5, "t": "2026-01-01T00:00:00Z",
    "said": "accepted: near-field S/N 110 -> 8785",
}  # fmt: skip


def idle(step: str, note: str) -> dict[str, Any]:
    return {"event": "step-done", "step": step, "wall_s": 0.0, "note": note}


def said(*events: dict[str, Any], verbose: bool = False) -> list[str]:
    """Return the lines for events, without their times."""
    out = StringIO()
    lines = Lines(Console(file=out, width=200), quiet=False, verbose=verbose)
    lines.titles, lines.total = {"t.selfcal.1.judge": "judge round 1 of t"}, 9
    for event in events:
        lines.tell(event)
    return [line.split(" ", 2)[2] for line in out.getvalue().splitlines()]


def test_a_step_says_what_it_found() -> None:
    assert said(JUDGED) == [
        "[1/9] t.selfcal.1.judge: judge round 1 of t: accepted: near-field S/N 110 -> 8785 (0.5 s)"
    ]


def test_the_journal_says_it_too() -> None:
    assert _event_line(JUDGED).endswith("in 0.5 s, 0 B: accepted: near-field S/N 110 -> 8785")


@pytest.mark.parametrize("verbose", [False, True])
def test_why_there_is_nothing_to_do_is_said_once(verbose: bool) -> None:
    """Five steps of each round after the last one have nothing to do, all for one reason."""
    ended = [idle(f"t.selfcal.2.{name}", "the noise is reached") for name in ("predict", "solve")]
    lines = said(*ended, idle("other", "no such channels"), verbose=verbose)
    first, last = (
        "[1/9] t.selfcal.2.predict: nothing to do: the noise is reached",
        "[3/9] other: nothing to do: no such channels",
    )
    again = "[2/9] t.selfcal.2.solve: nothing to do: the noise is reached"
    assert lines == ([first, again, last] if verbose else [first, last])


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("-------------------- Run Major Cycle 2 --------------------", "Run Major Cycle 2"),
        ("Peak -0.03 Jy\n{head}##########################################", "Peak -0.03 Jy"),
        ("[a.psf] beam : 53 x 47 arcsec\nno line of CASA's", "[a.psf] beam : 53 x 47 arcsec"),
        ("====================", ""),
        ("colour \x1b[31mred", "colour [31mred"),
    ],
)
def test_the_live_view_shows_what_the_log_says_last_without_rules(
    tmp_path: Path, written: str, shown: str
) -> None:
    head = "2026-11-27 13:00:00\tINFO\ttclean::::\t"
    log = tmp_path / "casa.log"
    log.write_text(head + written.replace("{head}", head) + "\n")
    assert last_line(log) == shown


def test_the_live_view_shows_nothing_of_a_log_that_is_not_there(tmp_path: Path) -> None:
    assert last_line(tmp_path / "casa.log") == ""


def test_of_many_images_those_of_the_lowest_dynamic_range_are_shown() -> None:
    images = {f"T{n:03}": {"map": {"dynamic_range": float(n)}} for n in reversed(range(60))}
    images["T999"] = {"map": {"dynamic_range": None}}
    table = images_table({"images": images})
    assert table is not None
    assert list(table.columns[0].cells) == ["T999", *(f"T{n:03}" for n in range(49))]
    few = images_table({"images": {"b": {"map": {}}, "a": {"map": {"dynamic_range": 1.0}}}})
    assert few is not None
    assert list(few.columns[0].cells) == ["b", "a"]


def closed(outcome: Outcome, exit_code: ExitCode, **metrics: Any) -> list[str]:
    """Return the last lines of a run, without their times."""
    out = StringIO()
    result = RunResult(exit_code, outcome, Plan((step("a"),), {}), RunFolder(Path("/r")), metrics)
    Lines(Console(file=out, width=200), quiet=False, verbose=False).close(result)
    return [line.split(" ", 2)[2] for line in out.getvalue().splitlines()]


def step(name: str) -> Step:
    return Step(name, "step", name, "do", {})


@pytest.mark.parametrize("number", [1, 5, 40])
def test_steps_that_failed_in_one_way_are_one_line_if_they_are_many(number: int) -> None:
    failed = {
        f"day{n}.amp": Failure(
            Cause.POSTCONDITION, f"{n} of 9 scans lost", "Do.", 1, Path(f"/l/{n}")
        )
        for n in range(number)
    }
    lines = closed(Outcome(failed=failed, not_run={"x": "y"}), ExitCode.STEP_FAILED)
    told = [f"day{n}.amp failed: {n} of 9 scans lost" for n in range(number)]
    if number > 5:
        told = ["each of 40 steps (day0.amp, day1.amp, day2.amp and 37 more) failed: 0 to 39 of 9 "
                "scans lost"]  # fmt: skip
    said = [line for n, one in enumerate(told) for line in (one, "  Do.", f"  logs: /l/{n}")]
    assert lines == [*said, "not run because of that: 1 steps", "verdict: fail",
                     "report: /r/qa/index.html"]  # fmt: skip


def test_checks_that_many_do_not_pass_are_one_line() -> None:
    def check(subject: str, value: float, verdict: str = "warn") -> dict[str, Any]:
        return {"name": "flagged", "subject": subject, "verdict": verdict, "value": value,
                "limit": 0.5, "text": "of the data"}  # fmt: skip

    checks = [check(f"day{n}, amp", 0.6 + n / 100) for n in range(20)]
    checks += [
        check("T0, c", 0.4, "pass"),
        check("T1, c", 0.7, "fail"),
        check("T2, c", 0.8, "fail"),
    ]
    selfcal = {f"T{n}": {"kept_first": n == 3, "reason": f"S/N {n + 10}"} for n in range(9)}
    metrics = {"checks": checks, "datasets": {f"day{n}": {} for n in range(20)},
               "verdict": "fail", "selfcal": selfcal}  # fmt: skip
    assert closed(Outcome(done=["a"]), ExitCode.QA_FAILED, **metrics) == [
        "self-calibration of each of 8 targets (T0, T1, T2, T4, T5, T6, T7, T8): S/N 10 to 18",
        "warn: each of 20 datasets (day0, day1, day2 and 17 more), amp: flagged: 0.6 to 0.79 of "
        "the data (limit 0.5)",
        "fail: T1, c: flagged: 0.7 of the data (limit 0.5)",
        "fail: T2, c: flagged: 0.8 of the data (limit 0.5)",
        "verdict: fail",
        "report: /r/qa/index.html",
    ]


@pytest.mark.parametrize("number", [2, 40])
def test_what_is_noted_of_many_datasets_is_one_line(number: int) -> None:
    noted = [
        {"event": "dataset-noted", "said": f"/d/day{n}.ms is left for the next time: {n} s old",
         "loud": False, "dataset": f"day{n}", "file": f"/d/day{n}.ms"} for n in range(number)
    ]  # fmt: skip
    lines = said(*noted, {"event": "run-opened", "folder": "/r"})
    told = [str(event["said"]) for event in noted]
    if number > 5:
        told = ["each of 40 files (/d/day0.ms, /d/day1.ms, /d/day2.ms and 37 more) is left for the "
                "next time: 0 to 39 s old"]  # fmt: skip
    assert lines == [*told, "run folder /r"]


def shown_rows(rows: list[tuple[str, ...]], capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the lines of a table of two columns, the first to the right."""
    console = Console(width=200, highlight=False)
    show_rows(console, ("", "what"), rows, right=0, dim=[False] * len(rows))
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def test_a_table_of_many_rows_looks_as_one_of_few(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [("1", "[bold]first\x1b[31m"), ("10", "two\nlines"), ("100", "日本 and\ttab")]
    few = shown_rows(rows, capsys)
    monkeypatch.setattr(tables, "MANY", 2)
    assert shown_rows(rows, capsys) == few
    assert few == [
        "     what",
        "  1  [bold]first\\x1b[31m",
        " 10  two\\nlines",
        "100  日本 and\\ttab",
    ]


def test_rows_are_not_cut_where_there_are_many(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "MANY", 0)
    assert shown_rows([("1", "x" * 300)], capsys)[1] == "1  " + "x" * 300
