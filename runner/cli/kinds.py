"""The steps and choices of a large plan by their kinds: what is done to all datasets is one row."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ..errors import Problem
from ..folder import file_safe
from ..plan import Auto, Plan, Step
from ..recipe.alike import ALL_NAMED, NAMED, alike, few, sentence

if TYPE_CHECKING:
    from ..engine.resume import Decided

_TOKEN: Final = re.compile(r"[^\s/,:;()'\"]+")


@dataclass
class _Kind:
    """Steps that differ in the names of datasets and targets only."""

    row: tuple[str, str, str]
    kept: bool
    steps: list[tuple[int, Step, str]] = field(default_factory=list)


class Stars:
    """Writes a star in place of each name of a dataset or target of a plan.

    Parameters
    ----------
    plan : Plan
        Whose names.
    """

    def __init__(self, plan: Plan) -> None:
        self._names = {step.dataset for step in plan.steps}
        targets = {step.target for step in plan.steps}
        self._names |= targets | set(map(file_safe, targets))
        self._names.discard("")
        self._known: dict[str, str] = {}

    def __call__(self, text: str) -> str:
        """Return a text with stars."""
        if text not in self._known:
            self._known[text] = _TOKEN.sub(lambda found: self._token(found[0]), text)
        return self._known[text]

    def _token(self, token: str) -> str:
        if token in self._names or "." not in token:
            return "*" if token in self._names else token
        parts, at, said = token.split("."), 0, []
        while at < len(parts):  # names may have dots, too
            ends = range(len(parts), at, -1)
            end = next((n for n in ends if ".".join(parts[at:n]) in self._names), None)
            said.append(parts[at] if end is None else "*")
            at = at + 1 if end is None else end
        return ".".join(said)


def steps(plan: Plan, decided: Decided) -> Iterator[tuple[bool, Sequence[str]]]:
    """Yield for each kind of steps whether they are kept, and a row; for a few each its own.

    The row has how many, their id, whose they are, what they do and why.
    """
    stars = Stars(plan)
    kinds: dict[tuple[str, str, str], _Kind] = {}
    for number, step in enumerate(plan.steps, 1):
        decision = decided.steps[step.id]
        why = decision.reason if decision.run else f"kept: {decision.reason}"
        row = (stars(step.id), stars(step.title), stars(why))
        kind = kinds.setdefault(row, _Kind(row, not decision.run))
        kind.steps.append((number, step, why))
    owners = {_owner(step) for step in plan.steps}
    every = [{one for one in owners if one[0] == sort} for sort in ("dataset", "target")]
    for kind in kinds.values():
        if len(kind.steps) <= ALL_NAMED:
            for _, step, why in kind.steps:
                yield kind.kept, ("1", step.id, "", step.title, why)
            continue
        names = dict.fromkeys(_owner(step) for _, step, _ in kind.steps)
        said = "all" if names.keys() in every else few([name for _, name in names])
        what, title, why = kind.row
        yield kind.kept, (f"{len(kind.steps):,}", what, said, title, why)


def _owner(step: Step) -> tuple[str, str]:
    """Return whose a step is: a dataset's, or a target's."""
    return ("dataset", step.dataset) if step.dataset else ("target", step.target)


def shown(value: object) -> str:
    """Write a value that was chosen."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    return str(value)


def choices(
    autos: Iterable[Auto],
    stars: Callable[[str], str] = str,
    shown: Callable[[object], str] = shown,
) -> Iterator[Sequence[str]]:
    """Yield a row for each choice, and one for those of many that have one reason.

    Parameters
    ----------
    autos : iterable of Auto
        The choices.
    stars : callable
        Takes the names out of reasons of many: `Stars`.
    shown : callable
        Writes a value.
    """
    found = [
        Problem(auto.reason, (auto.key, shown(auto.value)), about=(("subject", auto.subject),))
        for auto in autos
    ]
    for group in alike(found, lambda problem: problem.key[0]):
        if len(group) <= ALL_NAMED:
            for one, _ in group:
                yield str(one.key[0]), one.about[0][1], str(one.key[1]), one.message
            continue
        subjects = few(list(dict.fromkeys(one.about[0][1] for one, _ in group)))
        key = str(group[0][0].key[0])
        values = _values(str(one.key[1]) for one, _ in group)
        yield key, subjects, values, stars(sentence(group))


def _values(found: Iterable[str]) -> str:
    """Write the most frequent of many values, with how often they were chosen."""
    counted = Counter(found).most_common()
    if len(counted) == 1:
        return counted[0][0]
    said = [f"{value} ({number:,})" for value, number in counted]
    others = len(said) - NAMED
    return ", ".join(said[:NAMED]) + (f" and {others:,} other values" if others > 0 else "")
