"""Products looked at by other processes: no alteration goes unnoticed, come what may."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from unittest import mock

import pytest
from casarun.engine import ahead, seen
from casarun.engine.ahead import Ahead
from casarun.engine.seen import Seen, look, look_ahead, products_change, said_ahead
from casarun.files import product_state
from casarun.folder import RunFolder
from test_crash import alter

PRODUCTS = [f"images/{number:03}.image" for number in range(160)]
ALTERED = (0, 127, 128, 159)


@pytest.fixture(autouse=True)
def _hours_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written is old enough to be remembered."""
    now = seen.time.time_ns
    monkeypatch.setattr(seen.time, "time_ns", lambda: now() + 3_600_000_000_000)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunFolder]:
    """Give a run folder whose products were looked at before; few are enough to do it again."""
    monkeypatch.setattr(seen, "spare_cores", lambda products, waiting: 2)
    folder = RunFolder(tmp_path)
    folder.private.mkdir()
    memory = Seen(folder)
    for product in PRODUCTS:
        path = tmp_path / product
        (path / "logtable").mkdir(parents=True)
        for name in ("table.dat", "table.f0", "table.lock", "logtable/table.f0"):
            (path / name).write_bytes(name.encode())
        state = left(folder, product)
        assert memory.state(product, [state]) == state
    memory.keep()
    yield folder
    products_change(folder)


def left(folder: RunFolder, product: str) -> str:
    return product_state(folder.root / product) or ""


def changed(folder: RunFolder, states: dict[str, str]) -> list[int]:
    """Return the places of the products that are not in the states that they were left in."""
    memory = Seen(folder)
    return [
        place
        for place, path in enumerate(PRODUCTS)
        if memory.state(path, [states[path]]) != states[path]
    ]


@pytest.fixture
def states(folder: RunFolder) -> dict[str, str]:
    return {path: left(folder, path) for path in PRODUCTS}


def test_what_looks_the_same_is_not_looked_at_here(
    folder: RunFolder, states: dict[str, str]
) -> None:
    assert look_ahead(folder, PRODUCTS[-3:], str)
    with mock.patch.object(seen, "look") as here:
        assert changed(folder, states) == []
    here.assert_not_called()


@pytest.mark.parametrize("name", ["table.f0", "logtable/table.f0", "table.dat"])
def test_a_file_altered_to_the_same_size_and_time_is_noticed(
    folder: RunFolder, states: dict[str, str], name: str
) -> None:
    for place in ALTERED:
        alter(folder.root / PRODUCTS[place] / name)
    look_ahead(folder, (), str)
    assert changed(folder, states) == list(ALTERED)


def test_files_and_products_that_come_and_go_are_noticed(
    folder: RunFolder, states: dict[str, str]
) -> None:
    first, second, third, fourth = (folder.root / PRODUCTS[place] for place in ALTERED)
    (first / "table.f1").touch()
    (second / "logtable" / "table.f0").unlink()
    (third / "mask0").mkdir()
    fourth.rename(folder.root / "elsewhere")
    look_ahead(folder, (), str)
    assert changed(folder, states) == list(ALTERED)


@pytest.mark.parametrize("when", ["before", "after"])
def test_processes_that_are_killed_hide_nothing(
    folder: RunFolder, states: dict[str, str], when: str
) -> None:
    for place in ALTERED:
        alter(folder.root / PRODUCTS[place] / "table.f0")
    look_ahead(folder, (), str)
    workers = seen._ahead[folder.root]._workers
    if when == "after":
        workers[0].told(0)
    for worker in workers:
        os.kill(worker.pid, signal.SIGKILL)
    assert changed(folder, states) == list(ALTERED)


def test_where_no_process_can_be_made_all_is_looked_at_here(
    folder: RunFolder, states: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fork, made = os.fork, []

    def limited() -> int:
        if made:
            raise BlockingIOError
        made.append(fork())
        return made[0]

    files = sorted(place.name for place in Path("/proc/self/fd").iterdir())
    monkeypatch.setattr(os, "fork", limited)
    assert not look_ahead(folder, (), str)
    assert said_ahead(folder) is None
    alter(folder.root / PRODUCTS[0] / "table.f0")
    assert changed(folder, states) == [0]
    products_change(folder)
    assert sorted(place.name for place in Path("/proc/self/fd").iterdir()) == files
    with pytest.raises(ProcessLookupError):
        os.kill(made[0], 0)


def test_what_changes_after_it_was_looked_at_ahead_is_asked_again(
    folder: RunFolder, states: dict[str, str]
) -> None:
    look_ahead(folder, (), str)
    assert changed(folder, states) == []
    products_change(folder)
    for place in ALTERED:
        alter(folder.root / PRODUCTS[place] / "table.f0")
    assert changed(folder, states) == list(ALTERED)


def test_what_is_remembered_otherwise_since_is_looked_at_here(folder: RunFolder) -> None:
    product = folder.root / PRODUCTS[0]
    with closing(Ahead({str(product): look(str(product))[0]}, look, str, 1)) as process:
        assert process.is_same(str(product), look(str(product))[0])
        assert not process.is_same(str(product), "0" * 32)
        assert not process.is_same(str(folder.root / PRODUCTS[1]), "0" * 32)


def test_what_else_is_done_there(folder: RunFolder) -> None:
    assert said_ahead(folder) is None
    look_ahead(folder, (), lambda: "found é")
    assert said_ahead(folder) == "found é"
    products_change(folder)
    assert said_ahead(folder) is None


def test_what_else_was_to_be_done_and_fails_is_not_done(folder: RunFolder) -> None:
    def fail() -> str:
        raise OSError

    look_ahead(folder, (), fail)
    assert said_ahead(folder) is None


def test_no_process_is_left_and_none_has_a_file_of_ours(folder: RunFolder) -> None:
    receive, send = os.pipe()
    look_ahead(folder, (), lambda: str(Path(f"/proc/self/fd/{send}").exists()))
    assert said_ahead(folder) == "False"
    pids = [worker.pid for worker in seen._ahead[folder.root]._workers]
    products_change(folder)
    os.close(receive)
    os.close(send)
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.parametrize(("cores", "spare", "waiting"), [(1, 0, 1), (2, 1, 2), (64, 4, 4)])
def test_as_many_processes_as_there_are_cores_to_spare(
    monkeypatch: pytest.MonkeyPatch, cores: int, spare: int, waiting: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)))
    assert ahead.spare_cores(ahead.LEAST, False) == spare
    assert ahead.spare_cores(ahead.LEAST, True) == waiting
    assert ahead.spare_cores(ahead.LEAST - 1, True) == 0
