"""Fixtures that several test modules share."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from casarun.casa.logscan import LogFindings, scan
from hypothesis import HealthCheck, settings
from support import skies

# How long an example takes says how busy the machine is, and a suite that draws new examples each
# time fails when nothing has changed. To look for more: --hypothesis-profile=search.
_UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("search", _UNHURRIED)
settings.register_profile("same", _UNHURRIED, derandomize=True)
settings.load_profile("same")

_LONGEST = ("test_run_", "test_custom_steps_casa", "test_starter", "test_costs", "test_faults")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is `long`, unless it is asked for; begin with the files that take longest.

    Else one process is left with one of them at the end.
    """
    if "long" not in config.option.markexpr:
        left_out = [item for item in items if item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]

    def rank(item: pytest.Item) -> int:
        if item.path.name.startswith(_LONGEST):
            return 0
        return 1 if item.get_closest_marker("casa") else 2

    first: dict[Path, int] = {}
    for item in items:
        first[item.path] = min(first.get(item.path, 2), rank(item))
    items.sort(key=lambda item: first[item.path])


CasaTask = Callable[..., tuple[Any, LogFindings]]


@pytest.fixture
def casa(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CasaTask]:
    """Call a CASA task in a folder of its own; gives what it returned and what it logged.

    Where the task raises, the exception stands in for what it returned.
    """
    from casarun.casa import invoke

    monkeypatch.chdir(tmp_path)
    calls = 0

    def call(name: str, **params: Any) -> tuple[Any, LogFindings]:
        nonlocal calls
        calls += 1
        log = tmp_path / f"casa-{calls}.log"
        invoke.use_log(log)
        outcome: Any
        try:
            outcome = invoke.task(name, params)
        except Exception as error:
            outcome = error
        return outcome, scan(log)

    yield call
    invoke.use_log(Path("/dev/null"))


@pytest.fixture(scope="session")
def sky(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, skies.Truth]:
    """Give a small observation of two calibrators and a target, with its truth. Only read it."""
    path = tmp_path_factory.mktemp("sky") / "sky.ms"
    return path, skies.build(path)


@pytest.fixture
def own_sky(sky: tuple[Path, skies.Truth], tmp_path: Path) -> Path:
    """Give a copy of the small observation to change."""
    return Path(shutil.copytree(sky[0], tmp_path / "own.ms"))
