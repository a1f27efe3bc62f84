"""TOML text: what came from data is written so that it can mean nothing but itself."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from typing import Final

WIDTH: Final = 100
"""Characters of a line of comment, at most."""
_SHORT: Final = {
    '"': '\\"',
    "\\": "\\\\",
    "\b": "\\b",
    "\t": "\\t",
    "\n": "\\n",
    "\f": "\\f",
    "\r": "\\r",
}
_GLOB: Final = re.compile(r"[*?\[]")


def string(text: str) -> str:
    r"""Write a text as a basic string of one line.

    Half a surrogate pair, which no UTF-8 file can hold, becomes U+FFFD.

    Examples
    --------
    >>> string('NGC 1068 "core"')
    '"NGC 1068 \\"core\\""'
    """
    return '"' + "".join(_character(one) for one in text) + '"'


def _character(one: str) -> str:
    if one in _SHORT:
        return _SHORT[one]
    if "\ud800" <= one <= "\udfff":
        return "\ufffd"
    # Separators that are no line breaks to TOML are some to editors and terminals.
    if one.isprintable():
        return one
    return f"\\u{ord(one):04X}" if ord(one) < 0x10000 else f"\\U{ord(one):08X}"


def plain(text: str) -> str:
    """Return a text on one line, with what neither comments nor terminals should get escaped."""
    return "".join(one if one in '"\\' else _character(one) for one in " ".join(text.split()))


def strings(texts: Iterable[str]) -> str:
    """Write texts as an array: on one line, or one each where that is too long."""
    parts = [string(text) for text in texts]
    line = f"[{', '.join(parts)}]"
    if len(line) <= WIDTH - 20:
        return line
    return "[\n" + "".join(f"    {part},\n" for part in parts) + "]"


def comment(text: str, mark: str = "") -> list[str]:
    """Write a text as comment lines; what no comment may hold is escaped as in strings.

    Parameters
    ----------
    text : str
        Of a person, or from data.
    mark : str
        What its first line begins with; those that follow are indented.
    """
    wrapped = textwrap.wrap(
        plain(text), WIDTH - 2 - len(mark), break_long_words=False, break_on_hyphens=False
    )
    indent = "  " if mark else ""
    return [f"# {mark if number == 0 else indent}{line}" for number, line in enumerate(wrapped)]


def pattern(name: str) -> str:
    """Return the glob that matches a name and nothing else.

    Examples
    --------
    >>> pattern("x[1]*")
    'x[[]1][*]'
    """
    return _GLOB.sub(lambda found: f"[{found[0]}]", name)
