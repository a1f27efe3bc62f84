"""Tars are unpacked, and nothing of them outside, with Python's filters and without."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest
from casarun.engine.unpacking import MemberError, unpack

BOTH = pytest.mark.parametrize("filters", [True, False])


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.linkname, found.size = kind, link, 0
    return found


def pack(place: Path, *members: tarfile.TarInfo) -> Path:
    path = place / "inner" / "a.tar"
    path.parent.mkdir()
    with tarfile.open(path, "w") as archive:
        for one in members:
            archive.addfile(one, io.BytesIO(b""))
    return path


@BOTH
def test_files_folders_and_links_within_are_unpacked(tmp_path: Path, filters: bool) -> None:
    source = tmp_path / "source" / "a.ms"
    (source / "FIELD").mkdir(parents=True)
    (source / "table.dat").write_text("main")
    (source / "FIELD" / "table.dat").write_text("field")
    (source / "run.sh").touch(mode=0o777)
    (source / "again").symlink_to("FIELD/table.dat")
    (source / "FIELD" / "up").symlink_to("../table.dat")
    os.link(source / "table.dat", source / "hard")
    path = tmp_path / "a.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(source, "a.ms")
    unpack(path, tmp_path / "heap", filters=filters)
    made = tmp_path / "heap" / "a.ms"
    assert {str(one.relative_to(made)) for one in made.rglob("*")} == {
        "table.dat", "FIELD", "FIELD/table.dat", "run.sh", "again", "FIELD/up", "hard",
    }  # fmt: skip
    assert (made / "again").read_text() == "field"
    assert (made / "FIELD" / "up").read_text() == (made / "hard").read_text() == "main"
    assert made.joinpath("table.dat").stat().st_uid == os.geteuid()
    assert not made.joinpath("run.sh").stat().st_mode & 0o022  # nobody else may write it


WRONG = {
    "out": (member("../../x"), "'../../x' leads out of the tar"),
    "out within": (member("a/../../x"), "'a/../../x' leads out of the tar"),
    "device": (member("a/x", tarfile.CHRTYPE), "'a/x' is no plain file or folder"),
    "pipe": (member("a/x", tarfile.FIFOTYPE), "'a/x' is no plain file or folder"),
    "link": (member("a/x", tarfile.SYMTYPE, "/etc/passwd"), "'a/x' is a link to an absolute path"),
    "link out": (
        member("a/x", tarfile.SYMTYPE, "../../y"), "'a/x' is a link that leads out of the tar",
    ),
    "hard link": (
        member("a/x", tarfile.LNKTYPE, "/etc/passwd"), "'a/x' is a link to an absolute path",
    ),
    "hard link out": (
        member("a/x", tarfile.LNKTYPE, "../y"), "'a/x' is a link that leads out of the tar",
    ),
}  # fmt: skip


@BOTH
@pytest.mark.parametrize("kind", WRONG)
def test_what_leads_out_is_refused(tmp_path: Path, kind: str, filters: bool) -> None:
    bad, said = WRONG[kind]
    path = pack(tmp_path, member("a", tarfile.DIRTYPE), bad)
    with pytest.raises(MemberError) as error:
        unpack(path, path.parent / "heap", filters=filters)
    assert str(error.value) == f"its member {said}"
    assert {one.name for one in tmp_path.rglob("*")} <= {"inner", "a.tar", "heap", "a"}


@BOTH
def test_an_absolute_path_comes_to_nothing_outside(tmp_path: Path, filters: bool) -> None:
    target = tmp_path / "precious"
    path = pack(tmp_path, member(str(target)))
    if filters:  # which takes the slash away
        unpack(path, path.parent / "heap", filters=True)
    else:
        with pytest.raises(MemberError, match="has an absolute path"):
            unpack(path, path.parent / "heap", filters=False)
    assert not target.exists()


def test_nothing_goes_through_a_link_that_the_tar_has_made(tmp_path: Path) -> None:
    (tmp_path / "inner" / "heap").mkdir(parents=True)
    for second in (member("a/link/x"), member("b", tarfile.SYMTYPE, "a/link/../../..")):
        path = tmp_path / "inner" / "a.tar"
        with tarfile.open(path, "w") as archive:
            archive.addfile(member("a", tarfile.DIRTYPE))
            archive.addfile(member("a/link", tarfile.SYMTYPE, "."))
            archive.addfile(second)
        with pytest.raises(MemberError, match="leads out of the tar"):
            unpack(path, tmp_path / "inner" / "heap", filters=False)
        for left in ("a/link", "a"):
            one = tmp_path / "inner" / "heap" / left
            one.unlink() if one.is_symlink() else one.rmdir()
