"""``--set KEY=VALUE``: values that replace, or add to, those of the document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, time
from typing import Any, Final

import tomli

from ..errors import KeyPath, Problem, did_you_mean
from .naming import label
from .schema import kind, shown

ARRAYS: Final = ("dataset", "selfcal", "image", "cube", "step")
"""Tables of which a recipe has several, addressed by their names or, from 0 on, their numbers."""

_LONGEST: Final = 100


@dataclass
class Overridden:
    """What overrides did: where each key came from, and what was wrong with them."""

    sources: dict[KeyPath, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def refuse(self, option: str, message: str) -> None:
        """Note a problem of an option itself."""
        self.problems.append(Problem(f"{said(option)}: {message}"))


def override(document: dict[str, Any], options: Sequence[str]) -> Overridden:
    """Apply overrides to a document, in their order.

    Parameters
    ----------
    document : dict
        As read from TOML; changed in place.
    options : sequence of str
        Each ``KEY=VALUE``: ``calibrate.refant=15``, ``image.hi.niter=500``, ``selfcal.0.rounds=3``.
        A value that is not TOML is a string.
    """
    result = Overridden()
    for option in options:
        name, equals, text = option.partition("=")
        parts = parts_of(name.strip())
        if not equals or not all(parts):
            result.refuse(option, "expected KEY=VALUE, for example calibrate.refant=15")
            continue
        try:
            key = _set(document, parts, value_of(text.strip()))
        except ValueError as error:
            result.refuse(option, str(error))
        else:
            result.sources[key] = said(option)
    return result


def said(option: str) -> str:
    """Write an option for a message, not longer than a line."""
    short = option if len(option) <= _LONGEST else f"{option[: _LONGEST - 1]}…"
    return f"--set {short}"


def parts_of(name: str) -> list[str]:
    """Split a dotted key; names of images need no quotes, whatever is in them."""
    if '"' not in name and "'" not in name:
        return [part.strip() for part in name.split(".")]
    try:
        table: Any = tomli.loads(f"{name} = 0")
    except (tomli.TOMLDecodeError, RecursionError):
        return [""]
    parts = []
    while isinstance(table, dict):
        part, table = next(iter(table.items()))
        parts.append(part)
    return parts


def value_of(text: str) -> Any:
    """Read a value as TOML, else take it as the string that it is."""
    try:
        table = tomli.loads(f"value = {text}")
    except (tomli.TOMLDecodeError, ValueError, RecursionError):
        return text
    value = table["value"]
    return text if len(table) > 1 or isinstance(value, (date, time)) else value


def _set(document: dict[str, Any], parts: list[str], value: Any) -> KeyPath:
    """Set one value.

    Returns
    -------
    KeyPath
        The key that was set, with the array's index where the option had a name; or the
        outermost table that was made for it.

    Raises
    ------
    ValueError
        If there is no such table.
    """
    key: KeyPath = ()
    table: Any = document
    if len(parts) > 1 and parts[0] in ARRAYS:
        index, parts = entry(document, parts)
        key = (parts[0], index)
        table = document[parts[0]][index]
        parts = parts[1:]
    made: KeyPath = ()
    for part in parts[:-1]:
        key = (*key, part)
        set_shorthand(table, key)
        made = made or (() if part in table else key)
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise ValueError(f"{'.'.join(map(str, key))} is {kind(table)}, not a table")
    table[parts[-1]] = value
    return made or (*key, parts[-1])


def set_shorthand(table: dict[str, Any], key: KeyPath) -> None:
    """Write out a text that stands for a table, before something is set in that."""
    if key == ("calibrators", "flux") and isinstance(table.get("flux"), str):
        table["flux"] = {"field": table["flux"]}


def entry(document: dict[str, Any], parts: list[str]) -> tuple[int, list[str]]:
    """Find the table of an array by its name.

    Returns
    -------
    int
        Its index.
    list of str
        The key without the name.
    """
    array = parts[0]
    tables = document.get(array)
    if not isinstance(tables, list):
        tables = []
    names = {label(array, table): index for index, table in enumerate(tables)}
    # A name may hold dots.
    for length in range(len(parts) - 1, 1, -1):
        name = ".".join(parts[1:length])
        if name in names:
            return names[name], [array, *parts[length:]]
    if not names:
        raise ValueError(f"the recipe has no [[{array}]]")
    wanted = parts[1]
    if wanted in map(str, range(len(tables))) and isinstance(tables[int(wanted)], dict):
        return int(wanted), [array, *parts[2:]]
    known = ", ".join(shown(name) for name in names)
    raise ValueError(
        f"no [[{array}]] is named {shown(wanted)}; there is {known}{did_you_mean(wanted, names)}"
    )
