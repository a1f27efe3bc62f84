"""Files: atomic writes, states, copies, locks."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from casarun import files, lock
from casarun.errors import DataError, LockedError, RefusedError
from casarun.lock import FolderLock


def table(path: Path) -> Path:
    """Make a folder that looks like an MS."""
    (path / "HISTORY").mkdir(parents=True)
    (path / "ANTENNA").mkdir()
    (path / "table.dat").write_text("description")
    (path / "table.f0").write_text("data")
    (path / "table.lock").write_text("lock")
    (path / "ANTENNA" / "table.f0").write_text("antennas")
    (path / "HISTORY" / "table.f0").write_text("commands")
    return path


def later(path: Path) -> None:
    """Give a file a later modification time."""
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000))


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.json"
    files.write_json(path, {"x": 1})
    files.write_json(path, {"x": [2]})
    assert files.read_json(path) == {"x": [2]}
    assert [p.name for p in path.parent.iterdir()] == ["b.json"]


def test_a_write_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "b.json"
    files.write_json(path, 1)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device"):
        files.write_json(path, 2)
    assert files.read_json(path) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["b.json"]


def test_broken_json_is_named(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    path.write_text("{")
    with pytest.raises(DataError) as caught:
        files.read_json(path)
    assert str(caught.value).startswith(f"{path} does not hold JSON: ")


@pytest.mark.parametrize("file", ["table.f0", "ANTENNA/table.f0"])
def test_a_signature_tells_changed_data(tmp_path: Path, file: str) -> None:
    ms = table(tmp_path / "x.ms")
    before = files.signature(ms)
    later(ms / file)
    assert files.signature(ms) != before


@pytest.mark.parametrize("file", ["table.lock", "HISTORY/table.f0", "table.dat"])
def test_a_signature_overlooks_what_reading_changes(tmp_path: Path, file: str) -> None:
    ms = table(tmp_path / "x.ms")
    before = files.signature(ms)
    later(ms / file)
    assert files.signature(ms) == before


def test_a_signature_tells_new_keywords_and_new_files(tmp_path: Path) -> None:
    ms = table(tmp_path / "x.ms")
    before = files.signature(ms)
    (ms / "table.dat").write_text("DESCRIPTION")
    other = files.signature(ms)
    (ms / "table.f1").write_text("")
    assert len({before, other, files.signature(ms)}) == 3


def test_nothing_has_no_signature(tmp_path: Path) -> None:
    assert files.signature(tmp_path / "none") is None


def test_identity_is_of_the_content_and_not_of_the_name(tmp_path: Path) -> None:
    one, two, three = tmp_path / "1", tmp_path / "2", tmp_path / "3"
    one.write_text("visibilities")
    two.write_text("visibilities")
    later(two)
    three.write_text("VISIBILITIES")
    assert files.identity(one) == files.identity(two) != files.identity(three)


def test_identity_of_a_folder_survives_a_new_name(tmp_path: Path) -> None:
    ms = table(tmp_path / "x.ms")
    before = files.identity(ms)
    assert files.identity(ms.rename(tmp_path / "y.ms")) == before


def test_a_missing_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        files.identity(tmp_path / "none")
    assert str(caught.value) == f"cannot read {tmp_path / 'none'}: No such file or directory"


def test_a_copy_shares_nothing_with_its_source(tmp_path: Path) -> None:
    source = table(tmp_path / "x.ms")
    (tmp_path / "elsewhere").write_text("far")
    (source / "link").symlink_to(tmp_path / "elsewhere")
    (source / "table.f0").chmod(0o400)
    copy = tmp_path / "y.ms"
    files.copy_tree(source, copy)
    assert (copy / "table.f0").read_text() == "data"
    assert (copy / "ANTENNA" / "table.f0").read_text() == "antennas"
    assert not (copy / "link").is_symlink()
    for path in copy.rglob("*"):
        if path.is_file():
            assert path.stat().st_nlink == 1
            path.write_text("changed")
    assert (source / "table.f0").read_text() == "data"
    assert (tmp_path / "elsewhere").read_text() == "far"


def test_a_copy_of_a_single_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(range(256)) * 1000)
    files.copy_tree(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == (tmp_path / "a").read_bytes()


def test_a_copy_never_overwrites(tmp_path: Path) -> None:
    source = table(tmp_path / "x.ms")
    (tmp_path / "y.ms").mkdir()
    with pytest.raises(FileExistsError):
        files.copy_tree(source, tmp_path / "y.ms")


def test_a_copy_refuses_links_in_a_circle(tmp_path: Path) -> None:
    source = table(tmp_path / "x.ms")
    (source / "again").symlink_to(source)
    with pytest.raises(DataError, match="its links lead round in a circle"):
        files.copy_tree(source, tmp_path / "y.ms")


@pytest.mark.parametrize("what", ["pipe", "device"])
def test_a_copy_does_not_wait_for_what_is_no_file(tmp_path: Path, what: str) -> None:
    """Someone else's MS may hold a pipe, or a link to a device that never ends."""
    odd = table(tmp_path / "x.ms") / "odd"
    os.mkfifo(odd) if what == "pipe" else odd.symlink_to("/dev/zero")
    with pytest.raises(DataError) as refused:
        files.copy_tree(odd.parent, tmp_path / "y.ms")
    assert str(refused.value) == f"cannot copy {odd}: it is no regular file"


def test_removing_stops_at_links(tmp_path: Path) -> None:
    away = table(tmp_path / "away.ms")
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "x.ms").symlink_to(away)
    files.remove_tree(folder)
    assert not folder.exists()
    assert (away / "table.f0").read_text() == "data"
    (tmp_path / "link").symlink_to(away)
    files.remove_tree(tmp_path / "link")
    files.remove_tree(tmp_path / "link")
    assert (away / "table.f0").exists()


def test_what_changed_just_now_is_read_again(tmp_path: Path) -> None:
    """The clock of the filesystem need not have moved on between two changes."""
    path = table(tmp_path / "x.ms")
    seen = {files.signature(path)}
    for word in ("DESCRIPTION", "Description", "descriptioN"):
        (path / "table.dat").write_text(word)
        seen.add(files.signature(path))
    assert len(seen) == 4


def test_small_files_are_read_once_as_long_as_they_look_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "RACY_NS", -(10**12))
    path = table(tmp_path / "x.ms")
    files._read_words.cache_clear()
    first = files.signature(path)
    assert files.signature(path) == first
    assert (files._read_words.cache_info().hits, files._read_words.cache_info().misses) == (1, 1)
    (path / "table.dat").write_text("another, longer description")
    assert files.signature(path) != first
    assert files._read_words.cache_info().misses == 2


def test_a_lock_tells_who_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "run" / ".casarun" / "lock"
    with FolderLock(path):
        held = lock.holder(path)
        with pytest.raises(LockedError) as caught:
            FolderLock(path).acquire()
        assert str(caught.value) == (
            f"another run works in {tmp_path / 'run'}: process {os.getpid()} on "
            f"{socket.gethostname()}, since {held['since']}"
        )
    with FolderLock(path):
        pass


def test_a_lock_dies_with_its_holder(tmp_path: Path) -> None:
    path = tmp_path / ".casarun" / "lock"
    code = (
        "import sys, os, signal; from pathlib import Path; from casarun.lock import FolderLock;"
        "FolderLock(Path(sys.argv[1])).acquire(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert ended.returncode == -9
    assert json.loads(path.read_text())["host"] == socket.gethostname()
    with FolderLock(path):
        assert lock.holder(path)["pid"] == os.getpid()


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with read_only(run), pytest.raises(RefusedError) as caught:
        FolderLock(run / ".casarun" / "lock").acquire()
    assert str(caught.value) in {
        f"cannot write in the run folder {run}: {why}; choose another one with --output"
        for why in ("Permission denied", "Read-only file system")
    }


@contextlib.contextmanager
def read_only(folder: Path):  # type: ignore[no-untyped-def]
    """Make a folder that cannot be written, even by root."""
    folder.mkdir()
    if os.geteuid() != 0:
        folder.chmod(0o500)
        yield
        folder.chmod(0o700)
        return
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "ro,size=1m", "tmpfs", str(folder)],
        check=False,
        capture_output=True,
    )
    if mounted.returncode != 0:
        pytest.skip("root may write anywhere, and mounting is not allowed here")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_process_is_known_by_more_than_its_number() -> None:
    mark = files.process_mark(os.getpid())
    assert files.is_alive(mark)
    assert not files.is_alive({**mark, "created": mark["created"] - 1000})
    assert not files.is_alive({**mark, "host": "elsewhere"})
    assert not files.is_alive({})
