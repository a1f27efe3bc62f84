"""Text from data on its way to rich: no markup of rich in it, nothing that drives a terminal."""

from __future__ import annotations

from rich import markup

from ..errors import printable


def escape(text: str) -> str:
    """Return a text as it is to be seen, whatever is in it."""
    return markup.escape(printable(text).replace("\n", "\\n").replace("\t", "\\t"))
