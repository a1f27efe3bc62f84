"""Tables of which the recipe has one and the run several: rows of a log, values of a sweep."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from .positions import Origin, Source


@dataclass
class Expanded:
    """An array of tables that is made anew, with where each table stands.

    Attributes
    ----------
    array : str
        Its name.
    tables : list
        The tables.
    made_of : list of int
        For each the index of the table in the document that it is made of.
    origins : list of Origin
        Where each stands.
    """

    array: str
    tables: list[Any] = field(default_factory=list)
    made_of: list[int] = field(default_factory=list)
    origins: list[Origin] = field(default_factory=list)

    def add(self, index: int, table: Any, source: Source, origin: Origin | None = None) -> None:
        """Add a table that is made of that at an index of the document."""
        self.tables.append(table)
        self.made_of.append(index)
        self.origins.append(origin or source.origin((self.array, index)))

    def finish(self, document: dict[str, Any], source: Source) -> tuple[dict[str, Any], Source]:
        """Return the document with these tables in place of its own, and where it all stands."""
        old = source.origins or Origin(source)
        array = old.find((self.array,))
        at = Origin(array.source, array.key, below=dict(enumerate(self.origins)))
        origins = Origin(old.source, old.key, below={**old.below, self.array: at})
        overrides = {
            key: said
            for key, said in source.overrides.items()
            if len(key) < 2 or key[0] != self.array
        }
        for new, index in enumerate(self.made_of):
            for key, said in source.overrides.items():
                if key[:2] == (self.array, index):
                    overrides[self.array, new, *key[2:]] = said
        return (
            document | {self.array: self.tables},
            replace(source, origins=origins, overrides=overrides),
        )
