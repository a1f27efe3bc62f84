"""The logs of a run: warnings in groups, and a page on which all logs can be searched."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ..folder import RunFolder

MOST_LINES: Final = 400
"""Of a longer log the last lines are on the page, and all lines that warn."""
MOST_BYTES: Final = 6_000_000
"""So much text the page holds at most; later logs are linked to only."""
MOST_GROUPS: Final = 60

_WARNS: Final = re.compile(r"\b(WARN|SEVERE)\b")
_PREFIX: Final = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\s+(WARN|SEVERE|INFO)?\s*")
_NUMBER: Final = re.compile(r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")

Row = Mapping[str, Any]


def groups(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Group the warnings of steps that differ only in their numbers, the most frequent first.

    Parameters
    ----------
    rows : sequence of mapping
        Of `context.step_row`.
    """
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        for line in row["warnings"]:
            text = _PREFIX.sub("", line)
            one = found.setdefault(_NUMBER.sub("#", text), {"text": text, "n": 0, "steps": {}})
            one["n"] += 1
            one["steps"][row["id"]] = row["log"]
    ranked = sorted(found.values(), key=lambda one: -one["n"])[:MOST_GROUPS]
    return [
        {**one, "n_steps": len(one["steps"]), "steps": list(one["steps"].items())[:4]}
        for one in ranked
    ]


def pages(folder: RunFolder, rows: Iterable[Row]) -> Iterator[dict[str, Any]]:
    """Yield for each step with a log its lines, as the page of logs shows them."""
    room = MOST_BYTES
    for row in rows:
        path = folder.log(row["id"]) / f"attempt-{row['attempts']}" / "casa.log"
        text = _tail(path) if room > 0 else None
        if text is None:
            continue
        room -= len(text)
        lines = text.splitlines()
        kept = lines[-MOST_LINES:]
        before = [line for line in lines[:-MOST_LINES] if _WARNS.search(line)][:MOST_LINES]
        yield {
            "id": row["id"],
            "title": row["title"],
            "log": row["log"],
            "state": row["state"],
            "left_out": len(lines) - len(kept) - len(before),
            "lines": [(line, bool(_WARNS.search(line))) for line in (*before, *kept)],
        }


def _tail(path: Path, most: int = 400_000) -> str | None:
    """Return the end of a file, or None where there is none that can be read."""
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(0, size - most))
            return stream.read().decode("utf-8", errors="replace")
    except OSError:
        return None
