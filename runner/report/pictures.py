"""The size of pictures, so that a page keeps its place while they load."""

from __future__ import annotations

import struct
from pathlib import Path, PurePosixPath
from typing import Any, Final

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_HEAD_BYTES: Final = 24


def give_sizes(shown: Any, qa: Path) -> None:
    """Give each picture in what a report shows its ``width`` and ``height`` in pixels.

    A page that does not know them jumps when a picture above comes in: who follows a link to a
    section, or is sent to one, ends up somewhere else.

    Parameters
    ----------
    shown : dict or list
        What a report shows; pictures are mappings with a ``file``, at any depth.
    qa : Path
        The folder that the files are relative to.
    """
    if isinstance(shown, dict):
        if "src" in shown and str(shown.get("file", "")).endswith(".png"):
            shown.update(size(qa / PurePosixPath(str(shown["file"]))))
        for key, inner in shown.items():
            if key != "shapes":  # of a chart: many, and none is a picture
                give_sizes(inner, qa)
    elif isinstance(shown, (list, tuple)):
        for inner in shown:
            give_sizes(inner, qa)


def size(path: Path) -> dict[str, int]:
    """Read ``width`` and ``height`` from the head of a PNG file; nothing where it is none.

    The header chunk comes first (PNG specification, third edition, section 11.2.1).
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return {}
    if len(head) < _HEAD_BYTES or not head.startswith(_SIGNATURE) or head[12:16] != b"IHDR":
        return {}
    width, height = struct.unpack(">II", head[16:24])
    return {"width": width, "height": height}
