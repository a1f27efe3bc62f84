"""Each key of a recipe with its value, and where that came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from ..errors import KeyPath
from . import written
from .load import LoadedRecipe
from .naming import label
from .overrides import ARRAYS
from .paths import REFERENCE
from .schema import resolved, schema
from .standalone import where

DEFAULT: Final = "default"
_COMPOSING: Final = ("extends", "remove", "vars", "matrix", "log")
"""Keys of which nothing is left in a recipe in one piece."""


@dataclass(frozen=True)
class Explained:
    """A value of a recipe.

    Attributes
    ----------
    key : str
        As ``--set`` names it: ``image.hi.niter``.
    plain : str
        The same without the table's name: ``image.niter``.
    label : str
        That name.
    value : str
        As TOML; empty where a key left out means something of its own.
    where : str
        ``recipe.toml:12``, the option, or ``default``.
    """

    key: str
    plain: str
    label: str
    value: str
    where: str


def explain(loaded: LoadedRecipe) -> list[Explained]:
    """Return all keys of a recipe in one piece, in the order of the reference.

    Parameters
    ----------
    loaded : LoadedRecipe
        The recipe.
    """
    rows: list[Explained] = []
    for name, node in schema()["properties"].items():
        item = loaded.document.get(name)
        if name in _COMPOSING:
            continue
        if name in ARRAYS:
            inner = resolved(resolved(node)["items"])
            tables: Sequence[Any] = item or ()
            for index, table in enumerate(tables):
                named = label(name, table) or str(index)
                rows += _table(table, inner, (name, index), name, named, loaded)
        elif isinstance(item, dict) or resolved(node).get("default") == {}:
            rows += _table(item or {}, resolved(node), (name,), name, "", loaded)
        elif item is not None:
            rows.append(_row(item, (name,), name, "", loaded))
    given = {
        "project.name": loaded.recipe.project.name,
        "project.output": loaded.recipe.project.output,
    }
    return [
        replace(row, value=written.value(given[row.key])) if row.key in given else row
        for row in rows
    ]


def _table(
    table: Mapping[str, Any], node: Mapping[str, Any], key: KeyPath, plain: str, named: str,
    loaded: LoadedRecipe,
) -> Iterator[Explained]:  # fmt: skip
    """Yield the keys of a table that are given, then those that are left out."""
    known: Mapping[str, Any] = node.get("properties", {})
    for name, item in table.items():
        here, said = (*key, name), f"{plain}.{written.key(name)}"
        if isinstance(item, dict) and item:
            yield from _table(item, _of_table(known.get(name, {})), here, said, named, loaded)
        else:
            yield _row(item, here, said, named, loaded)
    for name, child in known.items():
        if name not in table and name not in _COMPOSING:
            default = resolved(child).get("default")
            value = "" if default in (None, "", [], {}) else written.value(default)
            said = f"{plain}.{name}"
            yield Explained(_with_label(said, named), said, named, value, DEFAULT)


def _of_table(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the alternative of a schema node that is a table."""
    whole = resolved(node)
    choices = [resolved(choice) for choice in whole.get("anyOf", [whole])]
    return next((choice for choice in choices if choice.get("type") == "object"), {})


def _row(item: Any, key: KeyPath, plain: str, named: str, loaded: LoadedRecipe) -> Explained:
    said = _with_label(plain, named)
    return Explained(said, plain, named, written.value(item), _where(loaded, key))


def _where(loaded: LoadedRecipe, key: KeyPath) -> str:
    """Say where a value stands, and where the variables in it have theirs."""
    said = where(loaded.source, key)
    origin = loaded.source.origin(key)
    span = origin.span()
    if span is None or said.startswith("--set"):
        return said
    raw = origin.source.lines[span.line - 1][span.column - 1 : span.end - 1]
    for escape, name, _ in REFERENCE.findall(raw):
        if not escape and name in loaded.variables:
            place = loaded.variables[name].place
            by = place if isinstance(place, str) else where(place.source, place.key)
            said += f", {name} {by}"
    return said


def _with_label(plain: str, named: str) -> str:
    """Put a table's name behind that of its array."""
    if not named:
        return plain
    array, _, rest = plain.partition(".")
    return f"{array}.{named}.{rest}"
