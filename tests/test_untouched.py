"""Products that a step reads are looked at again where a table seems to have changed."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from casarun.engine import untouched
from casarun.errors import Cause, StepFailedError
from casarun.files import product_state


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table as CASA leaves one."""
    path = tmp_path / "images" / "x.pb"
    path.mkdir(parents=True)
    (path / "table.dat").write_bytes(b"columns")
    (path / "table.f0").write_bytes(b"pixels")
    return path


def test_a_table_that_is_just_being_written_anew_is_not_taken_for_a_changed_one(
    table: Path, tmp_path: Path
) -> None:
    states = {"images/x.pb": product_state(table) or ""}
    (table / "table.dat").write_bytes(b"")

    def write_again() -> None:
        time.sleep(0.08)
        (table / "table.dat").write_bytes(b"columns")

    writer = threading.Thread(target=write_again)
    writer.start()
    untouched.check_products(tmp_path, states)
    writer.join()


def test_a_table_that_stays_changed_is_told(table: Path, tmp_path: Path) -> None:
    states = {"images/x.pb": product_state(table) or ""}
    (table / "table.f0").write_bytes(b"other pixels")
    with pytest.raises(StepFailedError, match=r"images/x\.pb, which the step needs, is no") as told:
        untouched.check_products(tmp_path, states)
    assert told.value.cause is Cause.LOST_PRODUCT
