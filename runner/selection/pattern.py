"""What CASA's selections have in common: lists, quotes, wildcards, regular expressions."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Final

from .error import SelectionError

NUMBER: Final = re.compile(r"\d{1,9}", re.ASCII)
RANGE: Final = re.compile(r"(\d{1,9})\s*~\s*(\d{1,9})", re.ASCII)
_BOUND: Final = re.compile(r"([<>])(=?)\s*(\d{1,9})", re.ASCII)
# Only such expressions are tried: a recipe is not trusted, and groups can take for ever.
_HARMLESS: Final = re.compile(r"[^(){}|\\]{1,100}")


def parts(text: str, separator: str = ",") -> list[str]:
    """Split at a separator that stands outside of double quotes and of ``/.../``.

    Raises
    ------
    SelectionError
        If a quote is not closed or an item is empty.
    """
    items = [item.strip() for item in _split(text, separator)]
    if "" in items:
        raise SelectionError(
            f"'{text}' has an empty item: CASA takes no '{separator}' at the start, at the end, "
            "or twice"
        )
    return items


def _split(text: str, separator: str) -> Iterator[str]:
    item, inside = "", ""
    for char in text:
        if inside:
            inside = "" if char == inside else inside
        elif char == '"' or (char == "/" and not item.strip()):
            inside = char
        elif char == separator:
            yield item
            item = ""
            continue
        item += char
    if inside == '"':
        raise SelectionError(f"'{text}' opens a double quote that it does not close")
    yield item


def is_quoted(text: str) -> bool:
    """Tell whether an item is a name in double quotes."""
    return len(text) > 1 and text[0] == text[-1] == '"'


def is_regex(text: str) -> bool:
    """Tell whether an item is a regular expression, ``/.../``."""
    return len(text) > 1 and text[0] == text[-1] == "/"


def matches(text: str, names: Iterable[str]) -> list[int]:
    """Return the positions of the names that an item means.

    Parameters
    ----------
    text : str
        A name, with wildcards ``*``, ``?`` and ``[...]``, in double quotes or not, or a regular
        expression, which must match the whole name. One that is not harmless to try matches all.
    names : iterable of str
        What is there.
    """
    names = list(names)
    if is_regex(text):
        return _matched(text[1:-1], names)
    bare = text[1:-1] if is_quoted(text) else text
    exact = [i for i, name in enumerate(names) if name == bare]
    return exact or [i for i, name in enumerate(names) if fnmatchcase(name, bare)]


def _matched(expression: str, names: list[str]) -> list[int]:
    everything = list(range(len(names)))
    if not _HARMLESS.fullmatch(expression) or sum(expression.count(c) for c in "*+?") > 3:
        return everything
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of a [[
            compiled = re.compile(expression)
    except re.error:
        return everything
    return [i for i, name in enumerate(names) if compiled.fullmatch(name)]


def backwards(text: str, low: object, high: object) -> SelectionError:
    """Return the refusal of a range whose ends are exchanged."""
    return SelectionError(f"'{text}' runs backwards: write {high}~{low}")


def bounded(text: str, ids: Iterable[int], *, or_equal: bool) -> list[int] | None:
    """Return the ids that ``<n``, ``>n`` or ``>n&<m`` selects, or None if it is none of these.

    Parameters
    ----------
    text : str
        An item of a selection.
    ids : iterable of int
        What is there.
    or_equal : bool
        Whether CASA knows ``<=`` and ``>=`` here.
    """
    found = [_BOUND.fullmatch(part.strip()) for part in text.split("&")]
    bounds = [match for match in found if match is not None]
    if len(bounds) < len(found):
        return None
    if len(bounds) > 2 or (len(bounds) == 2 and [b[1] for b in bounds] != [">", "<"]):
        raise SelectionError(f"CASA cannot read '{text}'; write two bounds as '>2&<5'")
    if any(bound[2] for bound in bounds) and not or_equal:
        raise SelectionError(f"CASA cannot read '{text}': it knows < and > here, not <= and >=")
    return [number for number in ids if all(_within(bound, number) for bound in bounds)]


def _within(bound: re.Match[str], number: int) -> bool:
    limit = int(bound[3])
    if bound[2] and number == limit:
        return True
    return number < limit if bound[1] == "<" else number > limit
