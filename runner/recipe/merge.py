"""Several documents become one: what comes later wins, key by key.

Tables merge key by key. Of an array of tables that has names (`overrides.ARRAYS`) those of the
same name merge, the others follow. Everything else is replaced, other arrays, too. ``remove``
takes away what the documents before have given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ..errors import KeyPath, Problem, did_you_mean
from .extends import Part
from .naming import label
from .overrides import ARRAYS, entry, parts_of, set_shorthand
from .positions import Origin
from .schema import shown

NOT_MERGED: Final = ("extends", "remove", "vars")
"""Keys of a file that are its own affair."""


@dataclass
class Merged:
    """What several files say together.

    Attributes
    ----------
    origin : Origin
        Where each value stands; the document itself is the last file's.
    document : dict
        The document.
    """

    origin: Origin
    document: dict[str, Any] = field(default_factory=dict)

    def lay(self, part: Part) -> list[Problem]:
        """Lay a file's document over what there is.

        Returns
        -------
        list of Problem
            What cannot be removed, with keys of that file.
        """
        removed = part.document.get("remove", [])
        problems = [
            problem
            for index, name in enumerate(removed)
            for problem in self._remove(name, ("remove", index))
        ]
        own = {k: value for k, value in part.document.items() if k not in NOT_MERGED}
        for name, value in own.items():
            here = Origin(part.source, (name,))
            if name in ARRAYS and _is_of_tables(value):
                if not _is_of_tables(self.document.get(name)):
                    self.document[name] = []
                    self.origin.below[name] = Origin(here.source, here.key)
                self._rows(name, value, here)
            else:
                self._value(self.document, self.origin, name, value, here)
        return problems

    def _value(
        self, into: dict[str, Any], around: Origin, name: str, value: Any, here: Origin
    ) -> None:
        """Set one value of a table, or merge it with the table that is there."""
        if isinstance(value, dict) and isinstance(into.get(name), str):
            set_shorthand(into, here.key)
            text = around.below[name]
            around.below[name] = Origin(text.source, text.key, below={"field": text})
        old = into.get(name)
        if not isinstance(value, dict):
            into[name], around.below[name] = value, here
            return
        if not isinstance(old, dict):
            into[name], around.below[name] = {}, here
        self._table(into[name], around.below[name], value, here)

    def _table(self, into: dict[str, Any], at: Origin, table: dict[str, Any], here: Origin) -> None:
        at.source, at.key = here.source, here.key
        for name, value in table.items():
            self._value(into, at, name, value, Origin(here.source, (*here.key, name)))

    def _rows(self, array: str, rows: list[dict[str, Any]], here: Origin) -> None:
        """Merge an array of tables by their names."""
        into, at = self.document[array], self.origin.below[array]
        names = {label(array, row): index for index, row in enumerate(into)}
        names.pop("", None)
        for number, row in enumerate(rows):
            origin = Origin(here.source, (*here.key, number))
            index = names.pop(label(array, row), len(into))
            if index == len(into):
                into.append({})
                at.below[index] = origin
            self._table(into[index], at.below[index], row, origin)

    def _remove(self, name: str, key: KeyPath) -> list[Problem]:
        """Take away what a dotted key means; of an array of tables by its name."""
        parts = parts_of(name)
        table: Any = self.document
        at = self.origin
        try:
            if len(parts) > 1 and parts[0] in ARRAYS:
                array = parts[0]
                index, (_, *parts, _) = entry(self.document, [*parts, ""])
                if not parts:
                    return self._remove_row(array, index)
                table, at = table[array][index], at.below[array].below[index]
            for part in parts[:-1]:
                table, at = _inside(table, at, part, name)
            _require_in(table, parts[-1], name)
        except ValueError as error:
            return [Problem(str(error), key)]
        del table[parts[-1]], at.below[parts[-1]]
        return []

    def _remove_row(self, array: str, index: int) -> list[Problem]:
        del self.document[array][index]
        at = self.origin.below[array]
        kept = [at.below[i] for i in range(len(at.below)) if i != index]
        at.below = dict(enumerate(kept))
        return []


def _inside(table: Any, at: Origin, part: str, name: str) -> tuple[Any, Origin]:
    _require_in(table, part, name)
    return table[part], at.below[part]


def _require_in(table: Any, part: str, name: str) -> None:
    """Refuse to take away what is not there.

    Raises
    ------
    ValueError
        With what is there instead.
    """
    known: Sequence[str] = list(table) if isinstance(table, dict) else []
    if part not in known:
        near = did_you_mean(part, known)
        raise ValueError(f"nothing that is extended gives {shown(name)}{near}")


def _is_of_tables(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(row, dict) for row in value)
