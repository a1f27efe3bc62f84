"""Tables that are known before: how they stand in the plan, and the words where they cannot."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from casarun.errors import KeyPath
from casarun.observation import Observation
from casarun.plan import Step
from casarun.recipe.load import load
from casarun.recipe.model import (
    Calibrate,
    Calibrators,
    CalTable,
    CustomStep,
    Dataset,
    FluxCalibrator,
    Image,
    Priors,
    Recipe,
    Targets,
)
from casarun.stages.compile import Compiled, full
from support.caltables import caltable
from support.observations import spw, vla

GENCAL = CustomStep(
    task="gencal",
    before="calibrate",
    params={"caltable": "caltables/{dataset}.antpos", "caltype": "antpos", "antenna": "1",
            "parameter": (0.1, 0, 0)},
)  # fmt: skip


def compiled(
    *tables: CalTable,
    step: tuple[CustomStep, ...] = (),
    data: Observation | None = None,
    calibrated: bool = False,
    **more: Any,
) -> Compiled:
    recipe = Recipe(
        casarun=1,
        dataset=(Dataset(vis="/data/day1.fits", name="day1", calibrated=calibrated),),
        calibrators=Calibrators(
            flux=FluxCalibrator(field="1331*"), bandpass="1331*", phase=("1445*",)
        ),
        targets=Targets(fields=("N5921",)),
        image=(Image(name="continuum"),),
        calibrate=Calibrate(tables=tables, **more),
        step=step,
    )
    return full(recipe, {"day1": data or vla()})


def by_id(found: Compiled) -> dict[str, Step]:
    assert found.problems == ()
    return {step.id: step for step in found.steps}


def said(found: Compiled) -> list[tuple[str, KeyPath]]:
    return [(problem.message, problem.key) for problem in found.problems]


def test_tables_are_applied_in_every_solution_and_in_the_end(tmp_path: Path) -> None:
    own = caltable(tmp_path / "opacity")
    found = by_id(
        compiled(
            CalTable("caltables/{dataset}.antpos"),
            CalTable(str(own), interp="nearest", gainfield="nearest"),
            step=(GENCAL,),
        )
    )
    known = ["caltables/day1.antpos", "caltables/day1.known.opacity"]
    for step in found.values():
        if step.action in ("casa:gaincal", "casa:bandpass", "casa:applycal"):
            assert step.params["gaintable"][:2] == known
            assert step.params["gainfield"][:2] == ["", "nearest"]
            assert step.params["interp"][:2] == ["linear", "nearest"]
            assert set(known) <= set(step.reads)
    assert found["day1.known.opacity"].reads == (str(own),)
    assert found["day1.amp"].params["interp"] == ["linear", "nearest", "nearest", "nearest"]
    shown = found["day1.measure"].params["caltables"]
    assert [one.get("title") for one in shown[:3]] == [
        "known table day1.antpos", "known table opacity", None,
    ]  # fmt: skip
    assert [one.name for one in found["day1.step.gencal"].checks] == ["caltable", "known_table"]
    order = list(found)
    assert order.index("day1.step.gencal") < order.index("day1.phase0")


def test_without_tables_nothing_differs() -> None:
    params = by_id(compiled())["day1.apply.2"].params
    assert params["calwt"] == [False]
    assert params["spwmap"] == []
    assert "gaintable" not in by_id(compiled())["day1.phase0"].params


def test_weights_are_scaled_table_by_table(tmp_path: Path) -> None:
    tsys = CalTable(str(caltable(tmp_path / "tsys")), calwt="yes")
    other = CalTable(str(caltable(tmp_path / "other")))
    assert by_id(compiled(tsys, other))["day1.apply.2"].params["calwt"] == [
        True, False, False, False, False,
    ]  # fmt: skip
    assert by_id(compiled(tsys, calwt="yes"))["day1.apply.2"].params["calwt"] == [True]


def test_an_spwmap_stands_at_its_table(tmp_path: Path) -> None:
    two = vla(spws=(spw(0), spw(1)))
    one = CalTable(str(caltable(tmp_path / "first")), spwmap=(0, 0))
    params = by_id(compiled(one, data=two))["day1.apply.2"].params
    assert params["spwmap"] == [[0, 0], [], [], []]
    check = by_id(compiled(one, data=two))["day1.known.first"].checks[1]
    assert (check.name, check.params["spwmap"]) == ("known_table", [0, 0])


def test_two_tables_of_one_name_have_names_of_their_own(tmp_path: Path) -> None:
    first, second = (CalTable(str(caltable(tmp_path / day / "x.gc"))) for day in ("a", "b"))
    found = by_id(compiled(first, second))
    assert {"day1.known.x.gc", "day1.known.x.gc.2"} <= found.keys()


OUTSIDE = '; a table of your own is "{recipe}/antpos.cal", from the recipe\'s folder'


@pytest.mark.parametrize(
    ("name", "kind", "antennas", "message"),
    [
        ("no", None, 0, "no such calibration table: {path}; did you mean 'now'?"),
        ("x.ms", "Measurement Set", 27, "{path} is a MeasurementSet, not a calibration table"),
        ("x.im", "Image", 27, "{path} is an image, not a calibration table"),
        ("few", "Calibration", 3,
         "{path} is a table of 3 antennas, and dataset day1 has at least 5: it was made from "
         "other data"),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_the_datasets(
    tmp_path: Path, name: str, kind: str | None, antennas: int, message: str
) -> None:
    (tmp_path / "now").mkdir()
    path = tmp_path / name
    if kind:
        caltable(path, antennas, kind)
    assert said(compiled(CalTable(str(path)))) == [
        (message.format(path=path), ("calibrate", "tables", 0))
    ]


def test_a_folder_and_a_file_are_no_tables(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    found = compiled(CalTable(str(tmp_path / "folder")), CalTable(str(tmp_path / "file")))
    assert [message for message, _ in said(found)] == [
        f"{tmp_path}/folder is a folder without table.dat, not a calibration table",
        f"{tmp_path}/file is a file, not a calibration table",
    ]


def test_a_table_that_no_step_makes() -> None:
    key = ("calibrate", "tables", 0)
    assert said(compiled(CalTable("antpos.cal"))) == [(f"no step makes 'antpos.cal'{OUTSIDE}", key)]
    assert said(compiled(CalTable("caltables/day1.antpo"), step=(GENCAL,))) == [
        ("no step makes 'caltables/day1.antpo'; did you mean 'caltables/day1.antpos'?", key)
    ]


@pytest.mark.parametrize("after", ["calibrate", "apply"])
def test_a_table_that_is_made_too_late(after: str) -> None:
    late = CustomStep(task="gencal", after=after, params=GENCAL.params)
    assert said(compiled(CalTable("caltables/{dataset}.antpos"), step=(late,))) == [
        (
            "'day1.step.gencal' makes 'caltables/day1.antpos' only after 'day1.phase0', the first "
            'that applies it; place the step before = "calibrate"',
            ("calibrate", "tables", 0),
        )
    ]


@pytest.mark.parametrize("after", ["import", "flag"])
def test_a_step_after_import_or_flag_is_in_time(after: str) -> None:
    early = CustomStep(task="gencal", after=after, params=GENCAL.params)
    by_id(compiled(CalTable("caltables/{dataset}.antpos"), step=(early,)))


def test_an_spwmap_and_a_gainfield_of_other_data(tmp_path: Path) -> None:
    path = str(caltable(tmp_path / "x"))
    two = vla(spws=(spw(0), spw(1)))
    assert said(compiled(CalTable(path, spwmap=(0,)), data=two)) == [
        ("expected an entry for each of the 2 spws of dataset day1, found 1: entry i is the spw "
         "whose solutions spw i takes",
         ("calibrate", "tables", 0, "spwmap"))
    ]  # fmt: skip
    by_id(compiled(CalTable(path, spwmap=(0, 0, 1)), data=two))
    assert said(compiled(CalTable(path, spwmap=(4,)))) == [
        ("dataset day1 has no spw 4: the last is 0", ("calibrate", "tables", 0, "spwmap", 0))
    ]
    ((message, key),) = said(compiled(CalTable(path, gainfield="3C48")))
    assert message == "dataset day1: no field matches '3C48'; fields: 1331+305, 1445+099, N5921"
    assert key == ("calibrate", "tables", 0, "gainfield")


def test_the_recipe_says_it_shortly_or_in_full(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(
        'casarun = 1\n[[dataset]]\nvis = "/dev"\nname = "a"\n[calibrate]\n'
        'tables = ["caltables/x", "{recipe}/y/../z", { table = "{recipe}/{dataset}.t", '
        "calwt = true, spwmap = [0, 0] }]\n"
    )
    assert load(path).recipe.calibrate.tables == (
        CalTable("caltables/x"),
        CalTable(f"{tmp_path}/z"),
        CalTable(f"{tmp_path}/{{dataset}}.t", calwt="yes", spwmap=(0, 0)),
    )


def test_calibrated_data_take_no_tables() -> None:
    found = compiled(CalTable("caltables/x"), calibrated=True, priors=Priors(gaincurve="yes"))
    assert found.problems == ()
    assert [(w.message, w.key) for w in found.warnings] == [
        ("has no effect: all data come calibrated", ("calibrate", name))
        for name in ("priors", "tables")
    ]


def test_a_pipe_in_a_table_is_not_waited_for(tmp_path: Path) -> None:
    table = caltable(tmp_path / "x")
    for name in ("table.info", "ANTENNA/table.dat"):
        (table / name).unlink()
        os.mkfifo(table / name)
    assert said(compiled(CalTable(str(table)))) == [
        (f"{table} is another table, not a calibration table", ("calibrate", "tables", 0))
    ]
    (table / "table.info").unlink()
    (table / "table.info").write_text("Type = Calibration\n")
    by_id(compiled(CalTable(str(table))))
