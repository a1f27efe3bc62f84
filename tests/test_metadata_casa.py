"""Metadata of real MSs: what is read, what a split keeps, and what is refused."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from casarun.casa import integrity, metadata
from casarun.casa.tables import open_table
from casarun.errors import DataError
from casarun.observation import Observation
from support import skies

pytestmark = pytest.mark.casa

AGAIN = "get the data again, whole"


@pytest.fixture(scope="module")
def three_windows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give an MS whose target has no data in the first of three windows. Only read it."""
    folder = tmp_path_factory.mktemp("windows")
    windows = (skies.Spw(), skies.Spw(1.6e9, 2e6, 2), skies.Spw(1.7e9, 1e6, 3))
    skies.build(folder / "all.ms", skies.Sky(spws=windows, n_antennas=6))
    with open_table(folder / "all.ms") as table:
        part = table.query("!(FIELD_ID==2 && DATA_DESC_ID==0)")
        part.copy(str(folder / "some.ms"), deep=True).close()
        part.close()
    return folder / "some.ms"


def put(path: Path, column: str, row: int, value: Any) -> None:
    """Overwrite a cell, all its elements alike."""
    from casatools import table

    tool = table()
    tool.open(str(path), nomodify=False)
    old = tool.getcell(column, row)
    tool.putcell(column, row, np.full_like(old, value) if np.ndim(old) else value)
    tool.close()


def put_all(path: Path, column: str, value: Any) -> None:
    """Overwrite a column."""
    from casatools import table

    tool = table()
    tool.open(str(path), nomodify=False)
    tool.putcol(column, np.full_like(tool.getcol(column), value))
    tool.close()


def refusal(vis: Path) -> str:
    """Return why an MS is refused, without its name."""
    with pytest.raises(DataError) as caught:
        metadata.read(vis)
    said = str(caught.value)
    assert said.startswith(f"{vis}: ")
    return said.removeprefix(f"{vis}: ")


# -- what is read


@pytest.mark.parametrize("fields", [(2,), (1, 2), (2, 0)])
def test_part_is_what_split_makes(
    three_windows: Path, tmp_path: Path, fields: tuple[int, ...], casa: Any
) -> None:
    out = tmp_path / "out.ms"
    selected = ",".join(map(str, fields))
    casa("split", vis=str(three_windows), outputvis=str(out), field=selected, datacolumn="data",
         keepflags=False)  # fmt: skip
    real, part = metadata.read(out), metadata.read(three_windows).part(fields)
    assert part.fields == real.fields
    assert part.scans == real.scans
    assert [replace(spw, rest_hz=()) for spw in part.spws] == [
        replace(spw, rest_hz=()) for spw in real.spws
    ]
    assert [(a.id, a.name) for a in part.antennas] == [(a.id, a.name) for a in real.antennas]
    for name in ("columns", "n_rows", "start_mjd_s", "end_mjd_s", "telescope"):
        assert getattr(part, name) == getattr(real, name), name
    assert Observation.from_json(part.to_json()) == part


def test_part_of_fields_that_are_not_there(three_windows: Path) -> None:
    with pytest.raises(ValueError, match=r"no fields with all of the ids \[1, 9\]"):
        metadata.read(three_windows).part((9, 1))


def test_rest_frequencies(own_sky: Path, casa: Any) -> None:
    assert metadata.read(own_sky).spws[0].rest_hz == (1.4e9,)
    put(own_sky / "SOURCE", "REST_FREQUENCY", 0, 1420405752.0)
    put(own_sky / "SOURCE", "REST_FREQUENCY", 1, np.nan)
    put(own_sky / "SOURCE", "SPECTRAL_WINDOW_ID", 0, -1)
    assert metadata.read(own_sky).spws[0].rest_hz == (1.4e9, 1420405752.0)


def test_a_good_ms(sky: Any) -> None:
    found = metadata.read(sky[0])
    assert found.warnings == ()
    assert not found.has_model
    assert found.measures_until_mjd_s > 58849 * 86400  # 2020
    for field in found.fields:
        assert (field.not_finite_fraction, field.zero_fraction, field.no_weight_fraction) == (
            0,
        ) * 3


def test_what_the_values_are(own_sky: Path, casa: Any) -> None:
    with open_table(own_sky) as table:
        fields = table.getcol("FIELD_ID")
    first, second = (np.flatnonzero(fields == number) for number in (1, 2))
    for row in first[:3]:
        put(own_sky, "DATA", int(row), np.nan)
    for row in second[:6]:
        put(own_sky, "DATA", int(row), 0)
        put(own_sky, "WEIGHT", int(row), 0)
    put(own_sky, "DATA", int(second[10]), np.inf)
    put(own_sky, "FLAG", int(second[10]), True)
    _, one, two = metadata.read(own_sky).fields
    assert one.not_finite_fraction == pytest.approx(3 / len(first))
    assert two.not_finite_fraction == 0
    assert two.zero_fraction == pytest.approx(6 / (len(second) - 1))
    assert two.no_weight_fraction == pytest.approx(6 / (len(second) - 1))


@pytest.mark.parametrize("virtual", [True, False])
def test_a_model_of_an_earlier_calibration(own_sky: Path, casa: Any, virtual: bool) -> None:
    casa("setjy", vis=str(own_sky), field="0", usescratch=not virtual)
    assert metadata.read(own_sky).has_model
    casa("delmod", vis=str(own_sky), otf=True, scr=True)
    assert not metadata.read(own_sky).has_model


def test_oddities(own_sky: Path, casa: Any) -> None:
    put(own_sky / "ANTENNA", "NAME", 1, "ea01")
    with open_table(own_sky / "ANTENNA") as table:
        place = table.getcell("POSITION", 2)
    from casatools import table as table_tool

    tool = table_tool()
    tool.open(str(own_sky / "ANTENNA"), nomodify=False)
    tool.putcell("POSITION", 3, place)
    tool.close()
    put_all(own_sky, "UVW", 0)
    assert metadata.read(own_sky).warnings == (
        "several antennas are called ea01: a selection by that name takes them all; select by id",
        "antennas ea03, ea04 stand at the same place",
        "all uvw coordinates are 0: no image can be made; compute them with CASA's fixvis",
    )


# -- what is refused


def test_what_is_no_ms(tmp_path: Path, own_sky: Path, casa: Any) -> None:
    assert refusal(tmp_path / "gone.ms") == "not a MeasurementSet: it is not a folder"
    empty = tmp_path / "empty.ms"
    empty.mkdir()
    assert refusal(empty) == (
        f"not a MeasurementSet: the folder is empty; the copy failed: {AGAIN}"
    )
    (empty / "Main.xml").touch()
    assert refusal(empty) == (
        f"not a MeasurementSet: it looks like an ASDM, but its ASDM.xml is missing: {AGAIN}"
    )
    holder = tmp_path / "holder"
    holder.mkdir()
    shutil.copytree(own_sky, holder / "inner.ms")
    assert refusal(holder) == (
        f"not a MeasurementSet: it has no table.dat; did you mean '{holder}/inner.ms'?"
    )
    notes = tmp_path / "notes"
    notes.mkdir()
    for name in "dcba":
        (notes / name).touch()
    assert refusal(notes) == ("not a MeasurementSet: it has no table.dat, only a, b, c and 1 more")


def test_other_tables(tmp_path: Path, own_sky: Path, casa: Any) -> None:
    casa("gaincal", vis=str(own_sky), caltable="cal", field="0", refant="ea01", solint="inf")
    casa("tclean", vis=str(own_sky), imagename="i", niter=0, imsize=32, cell="20arcsec", field="2",
         datacolumn="data")  # fmt: skip
    assert refusal(tmp_path / "cal") == (
        "not a MeasurementSet: it is a calibration table; name the MS that it was solved from"
    )
    assert refusal(tmp_path / "i.residual") == (
        "not a MeasurementSet: it is a CASA image; name the MS that it was made from"
    )


def test_a_selection_that_refers_to_another_ms(own_sky: Path, tmp_path: Path) -> None:
    with open_table(own_sky) as table:
        table.query("FIELD_ID==1", name=str(tmp_path / "ref.ms")).close()
    assert refusal(tmp_path / "ref.ms").startswith(
        "a MeasurementSet without subtables: a selection of another one that was saved as a "
        "reference to it"
    )
    shutil.copytree(own_sky / "FIELD", tmp_path / "ref.ms" / "FIELD")
    for name in integrity.REQUIRED_SUBTABLES:
        shutil.copytree(own_sky / name, tmp_path / "ref.ms" / name, dirs_exist_ok=True)
    assert refusal(tmp_path / "ref.ms") == (
        f"its subtable ANTENNA is that of {own_sky}: what was saved is a selection of that MS, or "
        "paths are mixed up; make a copy that stands alone with CASA's split"
    )


@pytest.mark.parametrize("name", ["SOURCE", "STATE", "POINTING", "HISTORY"])
def test_a_subtable_that_is_named_but_gone(own_sky: Path, name: str) -> None:
    shutil.rmtree(own_sky / name)
    assert refusal(own_sky) == (
        f"a broken MeasurementSet: its main table names a subtable {name}, which is not there, and "
        f"CASA tasks stop for that: {AGAIN}"
    )


def test_required_subtables(own_sky: Path) -> None:
    shutil.rmtree(own_sky / "FIELD")
    assert refusal(own_sky) == (
        f"a broken MeasurementSet: subtable FIELD is missing; the copy is incomplete: {AGAIN}"
    )


def _tiles(vis: Path, column: str) -> Path:
    """Return the file that holds a tiled column."""
    with open_table(vis) as table:
        info = table.getdminfo()
    entry = next(e for e in info.values() if column in list(e["COLUMNS"]))
    return Path(vis / f"table.f{entry['SEQNR']}_TSM1")


@pytest.mark.parametrize("column", ["DATA", "WEIGHT", "SIGMA"])
def test_a_column_cut_short(own_sky: Path, column: str) -> None:
    file = _tiles(own_sky, column)
    os.truncate(file, file.stat().st_size // 3)
    said = refusal(own_sky)
    assert said.startswith(f"a broken MeasurementSet: the column {column} cannot be read in row ")
    assert said.endswith(f"; its file is truncated or damaged: {AGAIN}")


@pytest.mark.parametrize("file", ["table.f0", "table.f1", "table.f2", "table.dat"])
@pytest.mark.parametrize("size", [0, 100])
def test_other_files_cut_short(own_sky: Path, file: str, size: int) -> None:
    os.truncate(own_sky / file, size)
    said = refusal(own_sky)
    assert said.startswith("a broken MeasurementSet")
    assert said.endswith(AGAIN)


def test_no_rows(sky: Any, tmp_path: Path) -> None:
    with open_table(sky[0]) as table:
        table.copy(str(tmp_path / "empty.ms"), deep=True, norows=True).close()
    assert refusal(tmp_path / "empty.ms") == (
        "the MeasurementSet has no rows: a selection or an import left nothing; get the data "
        "again, or name another MS"
    )


def test_all_flagged(tmp_path: Path) -> None:
    skies.build(tmp_path / "f.ms", skies.Sky(flagged_fields=(-1,), n_antennas=6))
    assert refusal(tmp_path / "f.ms") == (
        "all data are flagged: restore the flags as they were (CASA's flagmanager), or get the "
        "data again"
    )


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("FIELD_ID", 7, "FIELD_ID is 7 in its main table, but FIELD has 3 rows"),
        ("FIELD_ID", -1, "FIELD_ID is -1 in its main table, but FIELD has 3 rows"),
        ("ANTENNA2", 12, "ANTENNA2 is 12 in its main table, but ANTENNA has 12 rows"),
        ("DATA_DESC_ID", 1, "DATA_DESC_ID is 1 in its main table, but DATA_DESCRIPTION has 1 row"),
        ("STATE_ID", 3, "STATE_ID is 3 in its main table, but STATE has 3 rows"),
    ],
)
def test_ids_out_of_range(own_sky: Path, column: str, value: int, said: str) -> None:
    put(own_sky, column, 5, value)
    assert refusal(own_sky) == (
        f"a broken MeasurementSet: {said}, counted from 0: main table and subtables come from "
        f"different datasets, or a copy was mixed up: {AGAIN}"
    )


def test_a_state_that_is_not_known_is_no_fault(own_sky: Path) -> None:
    put(own_sky, "STATE_ID", 3, -1)  # CASA's msmetadata would kill the process
    found = metadata.read(own_sky)
    assert (
        {field.intents for field in found.fields} == {scan.intents for scan in found.scans} == {()}
    )
    assert found.warnings == (
        "some rows have no scan intent (STATE_ID is -1), so casarun takes none; name the "
        "calibrators and targets in the recipe",
    )


def test_subtables_of_another_dataset(own_sky: Path, three_windows: Path) -> None:
    for name in ("SPECTRAL_WINDOW", "DATA_DESCRIPTION", "POLARIZATION"):
        shutil.rmtree(own_sky / name)
        shutil.copytree(three_windows / name, own_sky / name)
    put(own_sky / "DATA_DESCRIPTION", "SPECTRAL_WINDOW_ID", 0, 1)
    assert refusal(own_sky) == (
        "a broken MeasurementSet: expected 2 correlations x 2 channels in data description 0, "
        "found 2 x 4: main table and subtables come from different datasets, or a copy was mixed "
        f"up: {AGAIN}"
    )


_HOLD = """
import fcntl, sys
file = open(sys.argv[1], "r+b")
fcntl.lockf(file, int(sys.argv[2]), 1, 0)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def hold(own_sky: Path) -> Callable[[str, int], subprocess.Popen[str]]:
    def start(table: str, kind: int) -> subprocess.Popen[str]:
        lock = own_sky / table / "table.lock"
        process = subprocess.Popen(
            [sys.executable, "-c", _HOLD, str(lock), str(kind)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        return process

    return start


@pytest.mark.parametrize("table", ["", "FIELD"])
def test_another_process_writes_to_it(own_sky: Path, table: str, hold: Any) -> None:
    with hold(table, fcntl.LOCK_EX) as process:
        what = table or own_sky.name
        assert refusal(own_sky) == (
            f"process {process.pid} is writing to {what} and holds its lock: CASA would wait for "
            "it without end; let it finish or close it, then run again"
        )
        process.stdin.close()
    assert metadata.read(own_sky).n_rows


def test_another_process_reads_it(own_sky: Path, hold: Any) -> None:
    with hold("", fcntl.LOCK_SH) as process:
        assert metadata.read(own_sky).n_rows
        process.stdin.close()
