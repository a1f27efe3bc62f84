"""What all sections of a starter recipe are written from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ..observation import Observation
from ..plan import Auto
from .images import Setup
from .roles import Guess
from .toml import comment

_MOST: Final = 4
"""Choices of one key that are shown; of a survey there could be hundreds."""


@dataclass(frozen=True)
class Page:
    """Datasets, what was guessed of them, and what `auto` would give.

    Attributes
    ----------
    name : str
        Of the run.
    observations, vis, names, guesses
        Of each dataset: metadata, path in the recipe, name, roles of its fields.
    setups : tuple of Setup
        The targets by their windows.
    autos : mapping of str to sequence of Auto
        By key: what casarun chooses.
    unsure : list of str
        Takes the sentences about what is unsure, in the order of the recipe.
    """

    name: str
    observations: Sequence[Observation]
    vis: Sequence[str]
    names: Sequence[str]
    guesses: Sequence[Guess]
    setups: Sequence[Setup]
    autos: Mapping[str, Sequence[Auto]]
    unsure: list[str] = field(default_factory=list)

    @property
    def calibrated(self) -> bool:
        """Tell whether there is nothing to calibrate."""
        return all(found.calibrated for found in self.guesses)

    def doubt(self, text: str) -> list[str]:
        """Note what is unsure, and return it as a comment."""
        self.unsure.append(text)
        return comment(text, "UNSURE: ")

    def doubts(self, role: str) -> list[str]:
        """Note the doubts about a role, of each dataset, and return them as comments."""
        found = []
        for name, one in zip(self.names, self.guesses, strict=True):
            if role in one.doubts:
                where = f"{name}: " if len(self.names) > 1 else ""
                found += self.doubt(where + one.doubts[role])
        return found

    def reasons(self, role: str) -> str:
        """Return why fields have a role, of all datasets."""
        found = [one.reasons[role] for one in self.guesses if role in one.reasons]
        return "; ".join(dict.fromkeys(found))

    def chosen(self, key: str) -> list[str]:
        """Return comments that say what `auto` gives for a key, dataset by dataset."""
        chosen = list(self.autos.get(key, ()))
        lines = []
        for auto in chosen[:_MOST]:
            lines += comment(f"{auto.value} ({auto.subject}: {auto.reason})", "auto is ")
        if len(chosen) > _MOST:
            lines += comment(f"and {len(chosen) - _MOST} more; `casarun plan` shows them all")
        return lines

    def chosen_for(self, key: str, image: str) -> list[str]:
        """Return comments that say what `auto` gives for a key of an image's first target."""
        mine = [a for a in self.autos.get(key, ()) if a.subject.endswith(f".{image}")]
        return [
            line
            for auto in mine[:1]
            for line in comment(f"{auto.value} ({auto.reason})", "auto is ")
        ]
