"""The logs of a run: warnings in groups, and a page on which all logs can be searched."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment
from markupsafe import Markup

from ..folder import RunFolder
from .viewers import template_text

PAGE: Final = "logs.html"
"""The page of all logs, beside the first page."""
MOST_LINES: Final = 400
"""Of a longer log the last lines are on the page, and all lines that warn."""
MOST_BYTES: Final = 6_000_000
"""So much text the page holds at most; later logs are linked to only."""
MOST_GROUPS: Final = 60
_MOST_KINDS: Final = 5000
"""Groups that are told apart at most."""
MOST_LOGS: Final = 3000
"""Steps whose logs the page holds at most: a browser should open it at once."""

_WARNS: Final = re.compile(r"\b(WARN|SEVERE)\b")
_PREFIX: Final = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\s+(WARN|SEVERE|INFO)?\s*")
_NUMBER: Final = re.compile(r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")

Row = Mapping[str, Any]


class Groups:
    """Warnings that differ only in their numbers, together; of steps that come one by one."""

    def __init__(self) -> None:
        self._found: dict[str, dict[str, Any]] = {}

    def add(self, row: Row) -> None:
        """Take the warnings of a step, a row of `context.step_row`."""
        of_step = set()
        for line in row["warnings"]:
            text = _PREFIX.sub("", line)
            key = _NUMBER.sub("#", text)
            if key not in self._found and len(self._found) == _MOST_KINDS:
                continue
            one = self._found.setdefault(key, {"text": text, "n": 0, "n_steps": 0, "steps": []})
            one["n"] += 1
            if key not in of_step:
                of_step.add(key)
                one["n_steps"] += 1
                one["steps"] += [(row["id"], row["log"])] if len(one["steps"]) < 4 else []

    def ranked(self) -> list[dict[str, Any]]:
        """Return the groups, the most frequent first."""
        return sorted(self._found.values(), key=lambda one: -one["n"])[:MOST_GROUPS]


def groups(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Group the warnings of steps, the most frequent first."""
    found = Groups()
    for row in rows:
        found.add(row)
    return found.ranked()


_TOLD: Final = ("id", "title", "log", "state", "attempts", "n_warnings")


def told(row: Row) -> dict[str, Any]:
    """Return what the page of logs needs of a step."""
    return {key: row[key] for key in _TOLD}


def telling_first(rows: Iterable[Row]) -> list[Row]:
    """Return steps in the order in which their logs matter: failed, with warnings, the others."""
    return sorted(rows, key=lambda row: (row["state"] != "failed", not row["n_warnings"]))


def pages(folder: RunFolder, rows: Iterable[Row]) -> Iterator[dict[str, Any]]:
    """Yield for each step with a log its lines, as the page of logs shows them."""
    room = MOST_BYTES
    for row in islice(rows, MOST_LOGS):
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


def page(
    environment: Environment, folder: RunFolder, title: str, rows: Sequence[Row], home: str = ""
) -> str:
    """Return the page on which the logs of steps can be searched.

    Parameters
    ----------
    environment : Environment
        Of the templates.
    folder : RunFolder
        Of the run.
    title : str
        Of the run.
    rows : sequence of mapping
        Of `told`, or `context.step_row`; the first ones are there, as far as there is room.
    home : str
        Where the others are, in words.
    """
    script = template_text("logs.js")
    shown = list(pages(folder, rows))
    with_log = sum(bool(row["log"]) for row in rows)
    return environment.get_template("logs.html").render(
        title=title,
        logs=shown,
        missing=max(0, with_log - len(shown)),
        home=home,
        script=Markup(script),  # noqa: S704 (casarun's own file)
        script_hash=b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _tail(path: Path, most: int = 400_000) -> str | None:
    """Return the end of a file, or None where there is none that can be read."""
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(0, size - most))
            return stream.read().decode("utf-8", errors="replace")
    except OSError:
        return None
