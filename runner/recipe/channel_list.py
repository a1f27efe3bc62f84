"""Lists of a cube's channels as recipes write them: ``0~5;40~45``."""

from __future__ import annotations

import re
from typing import Final

_RANGE: Final = re.compile(r"\s*(\d{1,7})\s*(?:~\s*(\d{1,7})\s*)?", re.ASCII)


def channels(text: str) -> tuple[int, ...]:
    """Read a list of channels.

    Returns
    -------
    tuple of int
        In order, each once.

    Raises
    ------
    ValueError
        With a message for the recipe's author.
    """
    found: set[int] = set()
    for part in text.split(";"):
        match = _RANGE.fullmatch(part)
        if match is None:
            raise ValueError(
                f"'{part.strip()}' is no range of channels; write for example \"0~5;40~45\", "
                "counted from 0 in the cube"
            )
        first = int(match[1])
        last = first if match[2] is None else int(match[2])
        if last < first:
            raise ValueError(f"'{part.strip()}' ends before it begins")
        found.update(range(first, last + 1))
    return tuple(sorted(found))
