"""What no recipe needs: a recipe that would cost memory and time is refused before it does.

A recipe may come from anyone. These bounds are far from any real one, and keep reading and
checking it within a second or two; what is checked later may then be written plainly.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from ..errors import KeyPath, Problem

BYTES: Final = 1_000_000
"""Of a recipe's text."""

VALUES: Final = 20_000
"""Keys and array elements of a recipe, all together."""

DEPTH: Final = 50
"""Tables and arrays within each other."""

CHARACTERS: Final = 20_000
"""Of a single text, or of a key."""

_BITS: Final = 63
"""Of an integer, as TOML promises it: more than CASA takes anywhere."""


def beyond(document: Mapping[str, Any]) -> list[Problem]:
    """Return what makes a document too large to be looked at further.

    Parameters
    ----------
    document : mapping
        As read from TOML, with overrides.

    Returns
    -------
    list of Problem
        Empty for any real recipe.
    """
    problems: list[Problem] = []
    for number, (key, value) in enumerate(_values(document)):
        if number >= VALUES:
            return [Problem(f"has more than {VALUES:,} values: no recipe has")]
        if len(key) > DEPTH:
            return [Problem("the values are nested too deeply")]
        if isinstance(value, int) and value.bit_length() > _BITS:
            problems.append(Problem("a number has too many digits", key))
        if max(len(text) for text in (value, key[-1], "") if isinstance(text, str)) > CHARACTERS:
            problems.append(
                Problem(f"has more than {CHARACTERS:,} characters: nothing has", key[:1])
            )
    return problems


def _values(document: Mapping[str, Any]) -> Iterator[tuple[KeyPath, Any]]:
    """Yield each value with its key, without recursion: the depth is not known yet."""
    waiting: list[tuple[KeyPath, Any]] = [((), document)]
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, (dict, list)) and len(key) <= DEPTH:
            inner = value.items() if isinstance(value, dict) else enumerate(value)
            for name, item in inner:
                yield (*key, name), item
                if isinstance(item, (dict, list)):
                    waiting.append(((*key, name), item))
