"""Products that a step reads are looked at again where a table seems to have changed."""

from __future__ import annotations

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
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = {"images/x.pb": product_state(table) or ""}
    (table / "table.dat").write_bytes(b"")
    waits: list[float] = []

    def write_again_at_the_second(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            (table / "table.dat").write_bytes(b"columns")

    monkeypatch.setattr(untouched.time, "sleep", write_again_at_the_second)
    untouched.check_products(tmp_path, states)
    assert len(waits) == 2
    assert min(waits) > 0


def test_a_table_that_stays_changed_is_told(table: Path, tmp_path: Path) -> None:
    states = {"images/x.pb": product_state(table) or ""}
    (table / "table.f0").write_bytes(b"other pixels")
    with pytest.raises(StepFailedError, match=r"images/x\.pb, which the step needs, is no") as told:
        untouched.check_products(tmp_path, states)
    assert told.value.cause is Cause.LOST_PRODUCT
