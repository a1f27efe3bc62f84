"""The memory of how products looked: it spares reading them, and hides no alteration."""

from __future__ import annotations

import os
import time
from pathlib import Path
from unittest import mock

import pytest
from casarun.engine import seen
from casarun.engine.seen import Seen
from casarun.errors import DataError
from casarun.files import identity, product_state
from casarun.folder import RunFolder
from test_crash import CHANGING, alter

TABLE = "raw/x.ms"


@pytest.fixture(autouse=True)
def _hours_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written is old enough to be remembered."""
    now = time.time_ns
    monkeypatch.setattr(seen.time, "time_ns", lambda: now() + 3_600_000_000_000)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path)
    folder.private.mkdir()
    (tmp_path / TABLE / "ANTENNA").mkdir(parents=True)
    for name in ("table.dat", "table.lock", "table.f0", "ANTENNA/table.f0"):
        (tmp_path / TABLE / name).write_bytes(name.encode() * 100)
    return folder


def left(folder: RunFolder) -> str:
    """Return as what the table was left, and let it be remembered."""
    state = product_state(folder.root / TABLE) or ""
    memory = Seen(folder)
    assert memory.state(TABLE, [state]) == state
    memory.keep()
    assert folder.seen.is_file()
    return state


def test_what_looks_the_same_is_not_read(folder: RunFolder) -> None:
    state = left(folder)
    with mock.patch.object(seen, "state_now") as read:
        assert Seen(folder).state(TABLE, ["other", state]) == state
    read.assert_not_called()


@pytest.mark.parametrize("name", ["table.f0", "ANTENNA/table.f0", "table.dat"])
def test_content_altered_behind_the_back_of_the_clock_is_noticed(
    folder: RunFolder, name: str
) -> None:
    state = left(folder)
    alter(folder.root / TABLE / name)
    assert Seen(folder).state(TABLE, [state]) not in (state, None)


def test_files_that_come_and_go_are_noticed(folder: RunFolder) -> None:
    state = left(folder)
    (folder.root / TABLE / "table.f1").touch()
    assert Seen(folder).state(TABLE, [state]) != state
    (folder.root / TABLE / "table.f1").unlink()
    assert Seen(folder).state(TABLE, [state]) == state
    (folder.root / TABLE / "ANTENNA" / "table.f0").unlink()
    assert Seen(folder).state(TABLE, [state]) != state


def test_what_only_readers_write_does_not_count(folder: RunFolder) -> None:
    state = left(folder)
    (folder.root / TABLE / "table.lock").write_bytes(b"held")
    with mock.patch.object(seen, "state_now") as read:
        assert Seen(folder).state(TABLE, [state]) == state
    read.assert_not_called()
    dat = folder.root / TABLE / "table.dat"
    dat.write_bytes(bytes(reversed(dat.read_bytes())))
    assert Seen(folder).state(TABLE, [state]) == state


def test_a_state_that_is_not_known_any_more_is_not_believed(folder: RunFolder) -> None:
    state = left(folder)
    assert Seen(folder).state(TABLE, ["other"]) == state.partition(".")[0]


def test_a_product_that_is_gone(folder: RunFolder) -> None:
    state = left(folder)
    (folder.root / TABLE).rename(folder.root / "elsewhere")
    assert Seen(folder).state(TABLE, [state]) is None
    (folder.root / "elsewhere").rename(folder.root / TABLE)
    assert Seen(folder).state(TABLE, [state]) == state


def test_what_was_changed_just_now_is_not_remembered(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    state = product_state(folder.root / TABLE) or ""
    memory = Seen(folder)
    assert memory.state(TABLE, [state]) == state
    memory.keep()
    with mock.patch.object(seen, "state_now", return_value=state) as read:
        assert Seen(folder).state(TABLE, [state]) == state
    read.assert_called_once()


@pytest.mark.parametrize("text", [b"", b"\0" * 80, b"00000000\n{}", b"zz\n{}", b"[[[", b"1\n"])
def test_a_damaged_memory_is_none(folder: RunFolder, text: bytes) -> None:
    state = left(folder)
    folder.seen.write_bytes(text)
    assert Seen(folder).state(TABLE, [state]) == state


def test_a_memory_that_was_edited_is_none(folder: RunFolder) -> None:
    state = left(folder)
    (folder.root / TABLE / "table.f0").write_bytes(b"other")
    mark, _ = seen.look(str(folder.root / TABLE))
    was = folder.seen.read_text()
    old = was.split('"')[3]
    folder.seen.write_text(was.replace(old, mark))
    assert Seen(folder).state(TABLE, [state]) != state


def test_a_memory_that_cannot_be_written_is_no_matter(folder: RunFolder) -> None:
    memory = Seen(folder)
    memory.state(TABLE, [product_state(folder.root / TABLE) or ""])
    with mock.patch.object(seen, "write_atomic", side_effect=OSError):
        memory.keep()
    assert not folder.seen.exists()


def test_inputs_are_known_by_how_they_look_too(folder: RunFolder, tmp_path: Path) -> None:
    path = tmp_path / "x.uvfits"
    path.write_text("data")
    memory = Seen(folder)
    found = memory.identity(str(path))
    assert found == identity(path)
    memory.keep()
    with mock.patch.object(seen, "identity") as read:
        assert Seen(folder).identity(str(path)) == found
    read.assert_not_called()
    alter(path)
    assert Seen(folder).identity(str(path)) == identity(path) != found
    path.unlink()
    with pytest.raises(DataError):
        Seen(folder).identity(str(path))


def test_an_input_behind_a_link_is_looked_at_itself(folder: RunFolder, tmp_path: Path) -> None:
    real, link = tmp_path / "real.uvfits", tmp_path / "link.uvfits"
    real.write_text("data")
    link.symlink_to(real)
    memory = Seen(folder)
    before = memory.identity(str(link))
    memory.keep()
    time.sleep(CHANGING)
    real.write_text("more")
    assert Seen(folder).identity(str(link)) != before
    assert os.path.realpath(link) == str(real)
