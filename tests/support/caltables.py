"""Folders that look like calibration tables without CASA."""

from __future__ import annotations

import struct
from pathlib import Path


def caltable(folder: Path, antennas: int = 27, kind: str = "Calibration") -> Path:
    """Write what the plan reads of a calibration table."""
    head = struct.pack(">4sI I5s II", b"\xbe" * 4, 99, 5, b"Table", 2, antennas)
    (folder / "ANTENNA").mkdir(parents=True)
    for part in (folder, folder / "ANTENNA"):
        (part / "table.dat").write_bytes(head)
    (folder / "table.info").write_text(f"Type = {kind}\nSubType = B Jones\n")
    return folder
