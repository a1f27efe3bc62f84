"""Walking the graph of a plan: what is ready, what goes first, what came of it, what is in vain."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence, Set
from typing import Final

from ..plan import Plan, Step, and_above

AHEAD: Final = 2.0
"""A step goes first when what hangs on it takes the cores' time for the rest over this, or more."""


class Walker:
    """Hands out steps whose predecessors are finished, those first whose turn is first.

    Parameters
    ----------
    order : sequence of str
        Step ids in plan order.
    waits_for : mapping of str to frozenset of str
        For each step the ids that it waits for directly.
    needs : mapping of str to frozenset of str, optional
        Which of those must have succeeded; by default all. See `needs`.
    turns : sequence of str, optional
        The same ids in the order in which they go when several are ready; by default plan order.
        See `turns`.
    """

    def __init__(
        self,
        order: Sequence[str],
        waits_for: Mapping[str, frozenset[str]],
        needs: Mapping[str, frozenset[str]] | None = None,
        turns: Sequence[str] | None = None,
    ) -> None:
        self._needs = waits_for if needs is None else needs
        self._turns = order if turns is None else turns
        self._turn = {step_id: turn for turn, step_id in enumerate(self._turns)}
        self._place = {step_id: place for place, step_id in enumerate(order)}
        self._open = {step_id: len(waits_for[step_id]) for step_id in order}
        self._next: dict[str, list[str]] = {step_id: [] for step_id in order}
        for step_id in order:
            for before in waits_for[step_id]:
                self._next[before].append(step_id)
        self._ready = [turn for turn, step_id in enumerate(self._turns) if not self._open[step_id]]
        self._left = set(order)

    @property
    def left(self) -> frozenset[str]:
        """The steps that are neither finished nor failed nor in vain."""
        return frozenset(self._left)

    def __bool__(self) -> bool:
        return bool(self._left)

    def take(self) -> str | None:
        """Hand out the next ready step, or None."""
        while self._ready:
            step_id = self._turns[heapq.heappop(self._ready)]
            if step_id in self._left:
                return step_id
        return None

    def put_back(self, step_id: str) -> None:
        """Take back a step that was handed out; it is ready again."""
        heapq.heappush(self._ready, self._turn[step_id])

    def finish(self, step_id: str) -> None:
        """Say that a step succeeded or did not need to run."""
        self._left.discard(step_id)
        for after in self._next[step_id]:
            self._open[after] -= 1
            if self._open[after] == 0 and after in self._left:
                heapq.heappush(self._ready, self._turn[after])

    def fail(self, step_id: str, *, again: bool = False) -> list[str]:
        """Say that a step failed; return, in plan order, those that it keeps from running.

        Parameters
        ----------
        step_id : str
            Which.
        again : bool
            It will be tried again: then all that waits for it is kept, also what would only
            have changed what it reads.
        """
        if step_id not in self._left:
            return []
        self._left.discard(step_id)
        lost: list[str] = []
        todo = [step_id]
        for given_up in todo:
            for after in self._next[given_up]:
                if after in self._left and (again or given_up in self._needs[after]):
                    self._left.discard(after)
                    lost.append(after)
                    todo.append(after)
        if not again:
            for given_up in todo:
                self.finish(given_up)
        return sorted(lost, key=self._place.__getitem__)


def turns(plan: Plan, cores: int, seconds: Mapping[str, float] | None = None) -> list[str]:
    """Return the steps of a plan in the order in which they go when several are ready.

    Parameters
    ----------
    plan : Plan
        The plan.
    cores : int
        How many steps run at once.
    seconds : mapping of str to float, optional
        How long each step takes, where that is known better than the plan knows it.

    Returns
    -------
    list of str
        All ids; none stands before one that it waits for.

    Notes
    -----
    What decides when the last step ends is its critical path: the longest one of steps of which
    each waits for the one before. So the step goes first on which the longest path hangs, itself
    included; of equal ones that which is first in the plan. But only once that path is as long as
    the cores' time for all that is left, over `AHEAD`. Before that any order ends as soon, and the
    plan's own finishes one dataset after the other: with a thousand of them the first products
    come early, and what lies on disk between import and image is that of a few.
    """
    times = {s.id: (seconds or {}).get(s.id, s.resources.seconds) for s in plan.steps}
    paths = paths_s(plan, times)
    by_plan, by_path = list(times), sorted(times, key=lambda step_id: -paths[step_id])
    left_s = sum(times.values())
    found: dict[str, None] = {}
    following = iter(by_plan)
    longest = 0
    while len(found) < len(times):
        while by_path[longest] in found:
            longest += 1
        goes = by_path[longest]
        if AHEAD * cores * paths[goes] < left_s:
            goes = next(step_id for step_id in following if step_id not in found)
        found[goes] = None
        left_s -= times[goes]
    return list(found)


def paths_s(plan: Plan, times: Mapping[str, float]) -> dict[str, float]:
    """Return the longest path of steps that begins with each step, in s of their `times`."""
    paths = dict.fromkeys(times, 0.0)
    for step in reversed(plan.steps):
        paths[step.id] += times[step.id]
        for before in plan.waits_for[step.id]:
            paths[before] = max(paths[before], paths[step.id])
    return paths


def needs(plan: Plan) -> dict[str, frozenset[str]]:
    """Return for each step which of those that it waits for must have succeeded.

    A step that changes a product waits for those that read its former state, and can do
    without their success; it cannot do without those that make or change what it touches.
    """
    found: dict[str, frozenset[str]] = {}
    for step in plan.steps:
        touched = [and_above(path) for path in (*step.reads, *step.writes, *step.updates)]
        exact = {paths[0] for paths in touched}
        above = {path for paths in touched for path in paths}
        found[step.id] = frozenset(
            before
            for before in plan.waits_for[step.id]
            if _changes(plan.by_id[before], exact, above)
        )
    return found


def _changes(step: Step, exact: Set[str], above: Set[str]) -> bool:
    """Say whether a step changes one of some paths, or what lies below or above it."""
    return any(
        and_above(path)[0] in above or not exact.isdisjoint(and_above(path))
        for path in (*step.writes, *step.updates)
    )
