"""Chains: for each product the steps that make and change it, in order.

A *unit* is a product as resuming sees it: the outermost path that steps of a plan write or
update. What they do to a path inside it changes the unit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from weakref import WeakValueDictionary

from ..plan import Plan, Step, and_above, nested_in


@dataclass(slots=True)
class Chain:
    """The steps that make and change one unit.

    Attributes
    ----------
    unit : str
        Its path, relative to the run folder.
    steps : list of str
        Ids in plan order.
    makes : list of bool
        Whether each makes the unit anew, whatever there was before.
    touched_by : list of (str, int)
        All steps that read or change the unit, with how many of `steps` come before each.
    intermediate : bool
        Whether it is removed when no step needs it any more, and need not be there then.
    """

    unit: str
    steps: list[str] = field(default_factory=list)
    makes: list[bool] = field(default_factory=list)
    touched_by: list[tuple[str, int]] = field(default_factory=list)
    intermediate: bool = False

    @property
    def in_place(self) -> bool:
        """Whether the unit is changed after it was made."""
        return len(self.steps) > 1 or not self.makes[0]

    def maker(self, index: int) -> int:
        """Return the index of the last step, up to and with `index`, that makes the unit anew."""
        for candidate in range(index, -1, -1):
            if self.makes[candidate]:
                return candidate
        return 0


class Chains:
    """The chains of a plan.

    Parameters
    ----------
    plan : Plan
        Whose products they are.

    Attributes
    ----------
    by_unit : dict of str to Chain
        In alphabetical order.
    of_step : dict of str to list of (str, int)
        For each step the units it touches, with how many changes come before it.
    changed_by : dict of str to list of (str, int)
        For each step the units that it makes or changes, with its index in the chain.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.of_step: dict[str, list[tuple[str, int]]] = {}
        self.changed_by: dict[str, list[tuple[str, int]]] = {}
        changed = {path for step in plan.steps for path in (*step.writes, *step.updates)}
        self._nested = nested_in(plan.steps)
        inner = changed & self._nested
        self._outer = {path: _outermost(path, changed) for path in inner}
        self._below: dict[str, list[str]] = {}
        self.by_unit: dict[str, Chain] = {}
        for unit in sorted(changed.difference(inner).union(self._outer.values())):
            self.by_unit[unit] = Chain(unit)
            if unit in self._nested:
                for above in and_above(unit)[1:]:
                    self._below.setdefault(above, []).append(unit)
        for step in plan.steps:
            self._take(step, plan.keep == "products")

    def _take(self, step: Step, removing: bool) -> None:
        """Take note of what a step touches, and of what it makes and changes."""
        units, places = self._changed(step), []
        for unit in self._touched(step, units):
            chain = self.by_unit[unit]
            places.append((unit, len(chain.steps)))
            chain.touched_by.append((step.id, len(chain.steps)))
        places.sort()
        self.of_step[step.id] = places
        self.changed_by[step.id] = [place for place in places if place[0] in units]
        for unit in units:
            chain = self.by_unit[unit]
            chain.steps.append(step.id)
            chain.makes.append(unit in step.writes)
            if removing and unit in step.intermediates:
                chain.intermediate = True

    def _changed(self, step: Step) -> dict[str, None]:
        """Return the units that a step makes or changes, each once."""
        return dict.fromkeys([self._outer.get(path, path) for path in step.writes + step.updates])

    def _touched(self, step: Step, changed: dict[str, None]) -> dict[str, None]:
        """Return the units that a step reads, makes or changes, each once."""
        touched = changed.copy()
        for path in step.reads:
            if path not in self._nested:
                if path in self.by_unit:
                    touched[path] = None
                continue
            for above in and_above(path):
                if above in self.by_unit:
                    touched[above] = None
            for below in self._below.get(path, ()):
                touched[below] = None
        return touched


_held: WeakValueDictionary[int, Chains] = WeakValueDictionary()
"""Those that somebody holds, by the `id` of their plans, which they hold."""


def chains_of(plan: Plan) -> Chains:
    """Return the chains of a plan: as long as somebody holds them, the same for all that ask.

    Leave them as they are.
    """
    found = _held.get(id(plan))
    if found is None:
        found = _held[id(plan)] = Chains(plan)
    return found


def _outermost(path: str, paths: set[str]) -> str:
    """Return the outermost of `paths` that is `path` or lies above it."""
    return next(above for above in reversed(and_above(path)) if above in paths)
