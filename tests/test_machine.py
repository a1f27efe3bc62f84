"""What of the machine a run takes."""

from __future__ import annotations

from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
from casarun.engine import machine
from casarun.engine.policy import Budget
from casarun.recipe.model import Resources

Usage = namedtuple("Usage", "total used free")


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = namedtuple("memory", "available")(10_000_000_000)
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda pid: set(range(8)))
    monkeypatch.setattr(machine.psutil, "virtual_memory", lambda: memory)


@pytest.mark.parametrize(
    ("resources", "jobs", "expected"),
    [
        (Resources(memory_per_core="1GB"), None, Budget(7, 8_000_000_000)),
        (Resources(memory_per_core="2GB"), None, Budget(4, 8_000_000_000)),
        (Resources(memory_per_core="50GB"), None, Budget(1, 8_000_000_000)),
        (Resources(cores=3, memory="1GB"), None, Budget(3, 1_000_000_000)),
        (Resources(cores=3), 6, Budget(6, 8_000_000_000)),
    ],
)
def test_budget(resources: Resources, jobs: int | None, expected: Budget) -> None:
    assert machine.budget(resources, jobs) == expected


def test_too_little_disk_is_said_with_the_numbers_and_the_knob(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def usage(path: Any) -> Usage:
        return Usage(100, 0, 4_000_000_000)

    monkeypatch.setattr(machine.shutil, "disk_usage", usage)
    folder = tmp_path / "runs" / "x"
    assert machine.disk_problem(folder, 800_000_000, 5.0) is None
    problem = machine.disk_problem(folder, 1_000_000_000, 5.0)
    assert problem is not None
    assert problem.message == (
        f"4 GB are free in {folder}, a run may need 5 GB (5 times the input of 1 GB): free some, "
        "choose another folder with --output, or lower resources.disk_factor"
    )
    assert problem.key == ("resources", "disk_factor")
