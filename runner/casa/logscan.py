"""Read a CASA log: which SEVERE and WARN messages a step left, without the harmless ones.

Lines are ``YYYY-MM-DD HH:MM:SS<tab>LEVEL<tab>origin<tab>message``; a message of several lines
goes on in lines whose origin ends in ``+``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TextIO

_LINE = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\t([A-Z0-9]+) *\t([^\t]*)\t?(.*)", re.S)
# A number on its own: antenna and agent names (ea05, Manual_3) and what is quoted stay apart.
_NUMBER = re.compile(r"(?<![\w.\"'])\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_LONGEST_LINE: Final = 4096
_LONGEST_MESSAGE: Final = 1000
_MOST_GROUPS: Final = 200

HARMLESS: Final = (
    # casadata's leap seconds end at its release; old observations are not touched by it.
    re.compile(r"Leap second table TAI_UTC seems out-of-date"),
    # UVFITS and simulated MSs have no PROCESSOR rows.
    re.compile(r"PROCESSOR sub-table is empty\. Assuming CORRELATOR type"),
    # Every dirty image; the post-condition of a cleaned one looks at the model itself.
    re.compile(r"Restoring with an empty model image"),
    # Said on every cube of a line that does not fill the band.
    re.compile(r"No regions found by automasking"),
)
"""Messages of good runs."""

_TRIED: Final = {"getcell::TIME": "Checking for unpopulated POINTING table"}
"""Errors that a task provokes to find something out, by their origin, and what it says before.

tclean of several MSs asks each for its first pointing; UVFITS and simulated MSs have none.
"""


@dataclass(frozen=True)
class LogFindings:
    """What a log holds that a person should see.

    Attributes
    ----------
    severe, warnings : tuple of str
        Messages in the order of their first appearance. Messages that differ in numbers only
        stand once, with how often they came.
    """

    severe: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass
class _Groups:
    """Messages of one level, those that differ in numbers only together."""

    counts: dict[str, int] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)
    left_out: int = 0

    def add(self, message: str) -> None:
        """Count a message."""
        key = _NUMBER.sub("0", message)
        if key in self.counts:
            self.counts[key] += 1
        elif len(self.counts) < _MOST_GROUPS:
            self.counts[key] = 1
            self.first[key] = message
        else:
            self.left_out += 1

    def lines(self) -> tuple[str, ...]:
        """Return the messages, each with its count where that is more than one."""
        found = [
            message + (f" ({self.counts[key]} times)" if self.counts[key] > 1 else "")
            for key, message in self.first.items()
        ]
        return tuple(found + ([f"{self.left_out} more messages"] if self.left_out else []))


def scan(path: Path) -> LogFindings:
    """Collect the SEVERE and WARN messages of a CASA log.

    Memory stays bounded, however long the log or its lines are.

    Parameters
    ----------
    path : Path
        The log. One that does not exist has no messages.

    Raises
    ------
    OSError
        If the log is there but cannot be read.
    """
    groups = {"SEVERE": _Groups(), "WARN": _Groups()}
    try:
        with path.open(encoding="utf-8", errors="replace") as stream:
            for level, message in _messages(stream):
                if message and not any(pattern.search(message) for pattern in HARMLESS):
                    groups[level].add(message)
    except FileNotFoundError:
        return LogFindings()
    return LogFindings(groups["SEVERE"].lines(), groups["WARN"].lines())


def _messages(stream: TextIO) -> Iterator[tuple[str, str]]:
    """Yield level and whole message of each SEVERE and WARN record."""
    level, message, open_origin, before = "", "", "", ""
    for line in _lines(stream):
        match = _LINE.match(line)
        origin = match[3].strip() if match else ""
        if match and origin in _TRIED and before.startswith(_TRIED[origin]):
            before = ""
            continue
        before = match[4].strip() if match else before
        if match and not (origin.endswith("+") and origin[:-1].strip() == open_origin):
            if level:
                yield level, message
            level = match[2] if match[2] in {"SEVERE", "WARN"} else ""
            message, open_origin = match[4].strip()[:_LONGEST_MESSAGE], origin
        elif level and len(message) < _LONGEST_MESSAGE:
            more = (match[4] if match else line).strip()
            message = f"{message} {more}".strip()[:_LONGEST_MESSAGE]
    if level:
        yield level, message


def _lines(stream: TextIO) -> Iterator[str]:
    """Yield lines without their ends; of a very long one only the beginning."""
    beginning = True
    while piece := stream.readline(_LONGEST_LINE):
        if beginning:
            yield piece.rstrip("\r\n")
        beginning = piece.endswith("\n")
