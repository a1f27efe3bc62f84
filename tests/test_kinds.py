"""A plan of many datasets is shown by kinds of steps and choices; each by itself where asked."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from casarun.cli import kinds, tables
from casarun.engine.forecast import Forecast
from casarun.engine.resume import Decided, Decision
from casarun.folder import RunFolder
from casarun.plan import Auto, Plan, Step
from test_recipe_alike import survey

CHOSEN = "because it is so"


def decided(plan: Plan, run: tuple[str, ...] = (), why: str = "it is new") -> Decided:
    return Decided(
        {step.id: Decision(step.id in run, why if step.id in run else "unchanged")
         for step in plan.steps}
    )  # fmt: skip


def plan_of(*autos: Auto, steps: tuple[Step, ...] = ()) -> Plan:
    return Plan(steps, {}, {}, autos)


def test_what_is_done_to_all_datasets_is_one_row() -> None:
    plan = survey(12).plan({}, {})
    rows = [row for _, row in kinds.steps(plan, decided(plan))]
    assert sum(int(row[0]) for row in rows) == len(plan.steps)
    assert {row[0] for row in rows} == {"12"}
    assert ("12", "*.import", "all", "import *.ms", "kept: unchanged") in rows
    assert ("12", "*.split.*", "all", "split *", "kept: unchanged") in rows
    assert ("12", "*.continuum.dirty", "all", "dirty image 'continuum' of *", "kept: unchanged"
            ) in rows  # fmt: skip


def test_a_few_steps_have_their_own_rows_and_many_the_first_of_their_names() -> None:
    plan = survey(40).plan({}, {})
    some = tuple(f"day{n}.bandpass" for n in range(0, 40, 4))
    few = tuple(f"day{n}.amp" for n in (3, 17))
    why = "its input raw/day3.ms changed (step day3.flag.basic runs again)"
    rows = [row for kept, row in kinds.steps(plan, decided(plan, (*some, *few), why)) if not kept]
    assert rows == [
        ("10", "*.bandpass", "day0, day4, day8 and 7 more", "bandpass of 1331+305",
         "its input raw/*.ms changed (step *.flag.basic runs again)"),
        ("1", "day3.amp", "", "amplitudes of 1331+305, 1445+099", why),
        ("1", "day17.amp", "", "amplitudes of 1331+305, 1445+099", why),
    ]  # fmt: skip


def test_names_with_dots_and_names_within_words() -> None:
    def step(name: str) -> Step:
        title = f"label {name}, alma of {name}: {name}.ms"
        return Step(f"{name}.split.T", "split", title, "split", {}, dataset=name, target="a")

    plan = plan_of(steps=tuple(step(f"2019.1.S{n}_a") for n in range(9)))
    assert list(kinds.steps(plan, decided(plan))) == [
        (True, ("9", "*.split.T", "all", "label *, alma of *: *.ms", "kept: unchanged"))
    ]


def test_choices_of_one_reason_are_one_row() -> None:
    autos = [Auto("calibrate.refant", f"day{n}", "ea05" if n % 3 else "ea09", f"ea05 is {n} m away")
             for n in range(12)]  # fmt: skip
    autos += [Auto("image.cell", f"T{n}", f"{n}arcsec", CHOSEN) for n in range(9)]
    autos += [Auto("image.nterms", f"T{n}", 2, CHOSEN) for n in range(8)]
    assert list(kinds.choices(autos)) == [
        ("calibrate.refant", "day0, day1, day2 and 9 more", "ea05 (8), ea09 (4)",
         "ea05 is 0 to 11 m away"),
        ("image.cell", "T0, T1, T2 and 6 more",
         "0arcsec (1), 1arcsec (1), 2arcsec (1) and 6 other values", CHOSEN),
        *(("image.nterms", f"T{n}", "2", CHOSEN) for n in range(8)),
    ]  # fmt: skip


@pytest.mark.parametrize("every", [False, True])
def test_each_step_is_shown_where_asked(
    every: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = survey(12).plan({}, {})
    monkeypatch.setattr(tables, "MANY", len(plan.steps) - 1)
    planned = SimpleNamespace(
        plan=plan, decided=decided(plan), forecast=Forecast(), warnings=(), notes=(),
        reduction=SimpleNamespace(folder=RunFolder(Path("/run"))),
    )  # fmt: skip
    tables.show_plan(planned, every=every)  # type: ignore[arg-type]
    out = capsys.readouterr().out
    assert ("day7.bandpass" in out) is every
    assert ("*.bandpass" in out) is not every
    assert ("each step and choice by itself: casarun plan --all" in out) is not every
    monkeypatch.setattr(tables, "MANY", len(plan.steps))
    tables.show_plan(planned)  # type: ignore[arg-type]
    assert "day7.bandpass" in capsys.readouterr().out
