"""Every fault of the table is caught where it must be, in exactly these words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from . import stage
from .fault import Fault, messages
from .table import FAULTS

pytestmark = pytest.mark.casa
PRODUCTS = ("caltables", "calibrated", "images", "qa")


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the shared datasets, with their metadata read."""
    folder = tmp_path_factory.mktemp("faults") / "shared"
    stage.prepare(folder)
    return folder


def case(fault: Fault) -> Any:
    """Return a fault as a parameter of the test; one that is not caught yet must fail."""
    marks = [pytest.mark.xfail(reason=fault.not_yet, strict=True)] if fault.not_yet else []
    return pytest.param(fault, id=fault.id, marks=marks)


@pytest.fixture(params=[case(fault) for fault in FAULTS.values()])
def told(
    request: pytest.FixtureRequest, shared: Path, tmp_path: Path
) -> Iterator[tuple[Fault, stage.Told, Path]]:
    """Act out a fault."""
    fault: Fault = request.param
    folder = stage.folder_of(fault, shared, tmp_path)
    try:
        yield fault, stage.act(fault, folder, shared), folder
    except OSError as error:
        if not fault.inside:
            raise
        pytest.skip(str(error))


def test_fault(told: tuple[Fault, stage.Told, Path], shared: Path) -> None:
    fault, found, folder = told
    assert found.said == fault.said
    assert found.exit_code == fault.exit_code
    if fault.where == "step":
        assert found.said[0].startswith(f"{fault.step} failed (")
        assert found.failed & found.done == set()
        assert not fault.goes_on or fault.goes_on in found.done
        return
    assert found.marks == fault.marks(shared)
    assert {step.rsplit(".", 1)[-1] for step in found.started} <= {"import", "observe"}
    assert not [path for name in PRODUCTS for path in (folder / "run" / name).glob("*")]


def test_there_are_enough_and_of_every_kind() -> None:
    assert len(FAULTS) >= 75
    assert {fault.kind for fault in FAULTS.values()} == {"recipe", "data", "casa", "machine"}
    assert {fault.where for fault in FAULTS.values()} == {"static", "check", "step"}


def test_every_message_belongs_to_a_fault() -> None:
    assert set(messages()) == set(FAULTS)
