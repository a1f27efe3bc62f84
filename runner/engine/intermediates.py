"""Intermediates: products that are only there for later steps, removed when these are done.

The journal has the line first, then the product is moved out of the way in one rename, then
removed. Killed anywhere in between, what is left is either whole and in its place, or in the
folder of work that the next run clears; and no step holds for want of an intermediate.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection

from ..files import remove_tree, tree_size
from ..folder import RunFolder
from ..plan import Plan, Step
from .chains import chains_of
from .saved import SavedStates


class Intermediates:
    """Knows which intermediates steps that will run still need.

    Parameters
    ----------
    plan : Plan
        What is run.
    folder : RunFolder
        Where.
    """

    def __init__(self, plan: Plan, folder: RunFolder) -> None:
        self._folder = folder
        self._saved = SavedStates(folder)
        self._touched: dict[str, list[str]] = {}
        self._users: dict[str, set[str]] = {}
        if plan.keep == "products":
            for unit, chain in chains_of(plan).by_unit.items():
                if chain.intermediate and unit not in plan.needed_later:
                    self._users[unit] = {step_id for step_id, _ in chain.touched_by}
                    for step_id in self._users[unit]:
                        self._touched.setdefault(step_id, []).append(unit)
        self._open: dict[str, int] = {}
        self._count = 0

    def look(self, to_run: Collection[str]) -> None:
        """Take note of what will run."""
        running = frozenset(to_run)
        self._open = {unit: len(users & running) for unit, users in self._users.items()}

    def freed(self, step_id: str) -> list[str]:
        """Return what nothing needs any more now that a step that ran is done."""
        found = []
        for unit in self._touched.get(step_id, ()):
            self._open[unit] -= 1
            if self._open[unit] == 0:
                found.append(unit)
        return found

    def size(self, unit: str) -> int:
        """Return the bytes of a product and its saved states; 0 where there is nothing."""
        return tree_size(self._folder.root / unit) + self._saved.size(unit)

    def remove(self, unit: str) -> None:
        """Remove a product and its saved states: it is there whole, or not at all.

        What cannot be removed is in nobody's way; the next run tries again.
        """
        self._count += 1
        aside = self._folder.work(f".removed-{self._count}")
        with contextlib.suppress(OSError):
            aside.parent.mkdir(parents=True, exist_ok=True)
            (self._folder.root / unit).rename(aside)
            remove_tree(aside)
        with contextlib.suppress(OSError):
            self._saved.forget_all(unit)


def peak_bytes(plan: Plan, steps: Collection[Step], keep: str = "") -> int:
    """Return how much disk steps are expected to take at the most, in the plan's order.

    Parameters
    ----------
    plan : Plan
        The plan.
    steps : collection of Step
        Those of it that run, in its order.
    keep : {"", "all", "products"}
        Whether intermediates stay; by default as the plan says.

    Notes
    -----
    Where several run at once, the intermediates of as many may be there at a time.
    """
    if (keep or plan.keep) == "all":
        return sum(step.resources.disk_bytes for step in steps)
    chains = chains_of(plan)
    last: dict[str, int] = {}
    for place, step in enumerate(steps):
        for unit, _ in chains.of_step[step.id]:
            last[unit] = place
    passing = {path for step in plan.steps for path in step.intermediates} - plan.needed_later
    freed: dict[int, int] = {}
    for step in steps:
        units = {unit for unit, _ in chains.changed_by[step.id]}
        if units and units <= passing:
            end = max(last[unit] for unit in units)
            freed[end] = freed.get(end, 0) + step.resources.disk_bytes
    held = most = 0
    for place, step in enumerate(steps):
        held += step.resources.disk_bytes
        most = max(most, held)
        held -= freed.get(place, 0)
    return most
