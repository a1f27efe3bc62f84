"""Is a calibration table of these data? On tables that CASA made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from casarun.casa import checks, invoke
from casarun.casa.config import configure
from casarun.errors import StepFailedError
from casarun.plan import Check
from support import skies

pytestmark = pytest.mark.casa
SPWS = {"0": [1.400e9, 1.403e9], "1": [1.450e9, 1.453e9]}
ANTENNAS = {str(number): f"ea{number + 1:02d}" for number in range(6)}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    configure()
    folder = tmp_path_factory.mktemp("tables")
    sky = skies.Sky(
        spws=(skies.Spw(1.40e9), skies.Spw(1.45e9)), n_antennas=6, integrations=1, scans=(0, 1)
    )
    skies.build(folder / "x.ms", sky)
    for name, params in {
        "antpos": {"caltype": "antpos", "antenna": "ea02", "parameter": [0.1, 0.0, 0.0]},
        "opac": {"caltype": "opac", "parameter": [0.1]},
    }.items():
        given = {"vis": str(folder / "x.ms"), "caltable": str(folder / name)}
        invoke.task("gencal", {**given, **params})
    invoke.task("gaincal", {"vis": str(folder / "x.ms"), "caltable": str(folder / "gains"),
                            "spw": "0", "refant": "ea01"})  # fmt: skip
    return folder


def check(path: Path, **given: Any) -> dict[str, Any]:
    about = {"path": str(path), "source": "mine", "key": "calibrate.tables[0]",
             "antennas": ANTENNAS, "spws": SPWS, "spwmap": [], **given}  # fmt: skip
    return checks.run(Check("known_table", about), {}, {})


def test_tables_of_the_data_are_taken(place: Path) -> None:
    assert check(place / "opac") == {"type": "TOpac"}
    assert check(place / "antpos") == {"type": "KAntPos Jones"}
    assert check(place / "gains", spwmap=[0, 0]) == {"type": "G Jones"}


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("opac", {"antennas": {**ANTENNAS, "3": "ea09"}},
         "mine: antenna 3, ea09 in the data, is ea04 in the table of 6 antennas: it was made from "
         "other data"),
        ("opac", {"antennas": {**ANTENNAS, "6": "ea07"}},
         "mine: antenna 6, ea07 in the data, is not in the table of 6 antennas: it was made from "
         "other data"),
        ("opac", {"spws": {**SPWS, "1": [4.0e9, 4.1e9]}},
         "mine: spw 1 is at 4.05 GHz in the data and at 1.4515 GHz in the table: it was made from "
         "other data"),
        ("gains", {},
         "mine: the table has no solutions for spw 1, only for 0: CASA would leave these data as "
         "they are; say with spwmap whose solutions they take"),
    ],
)  # fmt: skip
def test_a_table_of_other_data_is_refused(
    place: Path, name: str, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(StepFailedError) as failed:
        check(place / name, **given)
    assert failed.value.message == message
    assert failed.value.advice == "Look at calibrate.tables[0] in the recipe."
