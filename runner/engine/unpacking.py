"""A tar is unpacked, with nothing of it outside, and nothing in it but files and folders.

Python has filters for that since 3.11.4. Debian 12 has 3.11.2: there each member is looked at
here, and any link is refused that the filter would look through further.
"""

from __future__ import annotations

import os
import tarfile
from pathlib import Path
from typing import Final

_FILTERS: Final = hasattr(tarfile, "data_filter")
_BAD: Final = {
    "AbsolutePathError": "has an absolute path",
    "OutsideDestinationError": "leads out of the tar",
    "AbsoluteLinkError": "is a link to an absolute path",
    "LinkOutsideDestinationError": "is a link that leads out of the tar",
}


class MemberError(Exception):
    """A member of a tar is none that is unpacked; the message says which, and why."""


def unpack(archive: Path, heap: Path, *, filters: bool = _FILTERS) -> None:
    """Unpack a tar into a folder.

    Parameters
    ----------
    archive : Path
        The tar.
    heap : Path
        The folder; it need not be there.
    filters : bool
        Whether this Python's `tarfile` has filters.

    Raises
    ------
    MemberError
        If a member leads out, or is no plain file or folder.
    tarfile.TarError, OSError
        If it cannot be unpacked.
    """
    with tarfile.open(archive) as tar:
        if not filters:
            _unpack_checked(tar, heap)
            return
        try:
            tar.extractall(heap, filter="data")
        except tarfile.FilterError as error:
            why = _BAD.get(type(error).__name__, "is no plain file or folder")
            raise MemberError(f"its member {error.tarinfo.name!r} {why}") from error


def _unpack_checked(tar: tarfile.TarFile, heap: Path) -> None:
    """Unpack member by member, each after a look; modes are those of plain files."""
    links: set[str] = set()
    for member in tar:
        why = _wrong(member, links)
        if why:
            raise MemberError(f"its member {member.name!r} {why}")
        member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
        member.uid = member.gid = -1
        member.uname = member.gname = ""
        tar.extract(member, heap, set_attrs=not member.issym())
        if member.issym():
            links.add(os.path.normpath(member.name))


def _wrong(member: tarfile.TarInfo, links: set[str]) -> str:
    """Say what is wrong with a member; `links` are those that came before it."""
    if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
        return "is no plain file or folder"
    if member.name.startswith("/"):
        return _BAD["AbsolutePathError"]
    path = os.path.normpath(member.name)
    if _leads_out(path) or any(above in links for above in _above(path)):
        return _BAD["OutsideDestinationError"]
    if member.issym() or member.islnk():
        if member.linkname.startswith("/"):
            return _BAD["AbsoluteLinkError"]
        # A symbolic link starts from its own folder, a hard one from the top.
        start = os.path.dirname(path) if member.issym() else ""  # noqa: PTH120 - may be empty
        target = os.path.normpath(f"{start}/{member.linkname}" if start else member.linkname)
        if _leads_out(target) or any(above in links for above in (target, *_above(target))):
            return _BAD["LinkOutsideDestinationError"]
    return ""


def _leads_out(path: str) -> bool:
    return path == ".." or path.startswith("../")


def _above(path: str) -> list[str]:
    """Return the folders that a path goes through."""
    parts = path.split("/")
    return ["/".join(parts[:n]) for n in range(1, len(parts))]
