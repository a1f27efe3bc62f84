"""Walking the graph of a plan: what is ready, what came of it, what is now in vain."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence


class Walker:
    """Hands out steps whose predecessors are finished, in plan order.

    Parameters
    ----------
    order : sequence of str
        Step ids in plan order.
    waits_for : mapping of str to frozenset of str
        For each step the ids that it waits for directly.
    """

    def __init__(self, order: Sequence[str], waits_for: Mapping[str, frozenset[str]]) -> None:
        self._order = order
        self._place = {step_id: place for place, step_id in enumerate(order)}
        self._open = {step_id: len(waits_for[step_id]) for step_id in order}
        self._next: dict[str, list[str]] = {step_id: [] for step_id in order}
        for step_id in order:
            for before in waits_for[step_id]:
                self._next[before].append(step_id)
        self._ready = [place for place, step_id in enumerate(order) if not self._open[step_id]]
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
            step_id = self._order[heapq.heappop(self._ready)]
            if step_id in self._left:
                return step_id
        return None

    def put_back(self, step_id: str) -> None:
        """Take back a step that was handed out; it is ready again."""
        heapq.heappush(self._ready, self._place[step_id])

    def finish(self, step_id: str) -> None:
        """Say that a step succeeded or did not need to run."""
        self._left.discard(step_id)
        for after in self._next[step_id]:
            self._open[after] -= 1
            if self._open[after] == 0 and after in self._left:
                heapq.heappush(self._ready, self._place[after])

    def fail(self, step_id: str) -> list[str]:
        """Say that a step failed; return, in plan order, those that it keeps from running."""
        self._left.discard(step_id)
        lost: list[str] = []
        todo = [step_id]
        while todo:
            for after in self._next[todo.pop()]:
                if after in self._left:
                    self._left.discard(after)
                    lost.append(after)
                    todo.append(after)
        return sorted(lost, key=self._place.__getitem__)
