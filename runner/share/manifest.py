"""The list of checksums of a bundle, as ``sha256sum`` writes and checks it: ``SHA256SUMS``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from ..errors import DataError

NAME: Final = "SHA256SUMS"
LARGEST_BYTES: Final = 100_000_000
_JOURNAL: Final = ".casarun/journal.jsonl"
_LINE: Final = re.compile(r"([0-9a-f]{64})  (.+)")


def written(sums: Mapping[str, str]) -> str:
    """Write checksums by path, a line each."""
    return "".join(f"{digest}  {path}\n" for path, digest in sorted(sums.items()))


def read(text: str) -> dict[str, str]:
    """Read checksums by path.

    Raises
    ------
    DataError
        If a line is none, or a path stands there twice.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        match = _LINE.fullmatch(line)
        if match is None or match[2] in found:
            raise DataError(f"{NAME}:{number}: no line of checksum and path, or one path twice")
        found[match[2]] = match[1]
    return found


def why_unsafe(name: str) -> str:
    """Say why a path may not be unpacked; empty if it may."""
    parts = name.rstrip("/").split("/")
    if name.startswith("/") or "\\" in name or ":" in parts[0]:
        return "is no path from the bundle's own folder"
    if any(part in ("", ".", "..") for part in parts):
        return "leads out of the bundle"
    if not name.isprintable():
        return "has characters that cannot be seen"
    if parts[0].startswith(".") and name != _JOURNAL:
        return "is hidden: casarun packs nothing of the kind"
    return ""
