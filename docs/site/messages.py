"""What casarun says of each fault that its tests know, word for word."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from html import escape
from itertools import groupby
from pathlib import Path
from typing import Any, Final

sys.path.append(str(Path(__file__).parent.parent.parent / "tests"))
from faults.table import FAULTS

HEAD = """# What casarun says, and of what

Each fault of the tests (`tests/faults`), with the words in which casarun tells of it. Search this
page for a part of your message. `{here}` is the recipe's folder.
[Where something goes wrong](../troubleshooting.md) says what to do.
"""
WHERE: Final = {
    "static": "By the recipe alone (`casarun check --static`)",
    "check": "Against data and machine, before anything runs (`casarun check`)",
    "step": "By a step (exit code 1)",
}


def page() -> str:
    """Return the page as Markdown."""
    sections = [HEAD]
    by_place = sorted(FAULTS.values(), key=lambda fault: list(WHERE).index(fault.where))
    for where, faults in groupby(by_place, key=lambda fault: fault.where):
        sections.append(f"## {WHERE[where]}\n")
        sections += _rows(faults)
    return "\n".join(sections) + "\n"


def _rows(faults: Iterable[Any]) -> list[str]:
    rows = []
    for fault in faults:
        if not fault.not_yet:
            kind = " (a warning)" if fault.warns else ""
            rows.append(f"**{_sentence(fault.did)}**{kind}\n")
            rows += [f"<p><code>{escape(message)}</code></p>" for message in fault.said]
            rows.append("")
    return rows


def _sentence(text: str) -> str:
    return escape(text[0].upper() + text[1:]).replace("*", "\\*")
