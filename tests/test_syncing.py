"""Products made proof against a loss of power: every file, whatever the disk takes for each."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from casarun import syncing

SLOW, NO_THREADS, NEAR = "slow", "slow, no threads", "near"


def tree(folder: Path) -> list[Path]:
    """Make 40 files in two folders, one in the other, with a link; return all but the link."""
    inner = folder / "x.ms" / "ANTENNA"
    inner.mkdir(parents=True)
    made = [folder / "x.ms", inner]
    for number in range(40):
        made.append((inner if number % 2 else folder / "x.ms") / f"table.f{number}")
        made[-1].write_text("data")
    (inner / "link").symlink_to(folder)
    return made


def refuse(self: object) -> None:
    """Start no thread."""
    raise RuntimeError("can't start new thread")


@pytest.fixture(params=[NEAR, SLOW, NO_THREADS])
def disk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return of what kind the disk is: a slow one is left to threads after the first file."""
    monkeypatch.setattr(syncing, "_ALONE_S", 600.0 if request.param == NEAR else -1.0)
    if request.param != SLOW:
        monkeypatch.setattr("threading.Thread.start", refuse)
    return str(request.param)


def test_every_file_is_synced_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disk: str
) -> None:
    synced: list[str] = []
    made = tree(tmp_path)
    monkeypatch.setattr(
        os, "fsync", lambda fd: synced.append(str(Path(f"/proc/self/fd/{fd}").readlink()))
    )
    syncing.sync_trees([tmp_path / "x.ms", tmp_path / "absent"])
    assert sorted(synced) == sorted(map(str, made))


def test_a_file_that_the_disk_does_not_take_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disk: str
) -> None:
    tree(tmp_path)

    def full(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink().name == "table.f17":
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device"):
        syncing.sync_trees([tmp_path / "x.ms"])


def test_writing_begins_for_all_files_before_the_first_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    made = tree(tmp_path)
    monkeypatch.setattr(syncing, "_begin", lambda: lambda fd: events.append("begin"))
    monkeypatch.setattr(os, "fsync", lambda fd: events.append("sync"))
    syncing.sync_trees([tmp_path / "x.ms"])
    assert events == ["begin"] * len(made) + ["sync"] * len(made)
    syncing.begin_to_sync([tmp_path / "x.ms", tmp_path / "absent"])
    assert events[2 * len(made) :] == ["begin"] * len(made)


def test_the_system_takes_what_is_begun(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"x" * 100_000)
    with (tmp_path / "data").open("rb") as stream:
        assert syncing._begin()(stream.fileno()) in (0, None)
