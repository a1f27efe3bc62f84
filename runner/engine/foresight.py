"""Whether a core had better wait a moment for a step that is about to be ready."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from ..plan import Plan
from .walker import AHEAD, paths_s

SHARE: Final = 0.15
"""A step waits at most so much of its own time for others that are better to start first."""

_LATE: Final = 1.5
"""A step that takes so much longer than expected is not counted on: it may take for ever."""


class Foresight:
    """Knows which steps are ready soon, and whether starting another one now would delay them.

    Cores take what is ready, in the order of what hangs on it. That alone is short-sighted: a long
    step that is ready now would keep a core from one that is ready in a moment and on which the
    end of the run depends.

    Parameters
    ----------
    plan : Plan
        The plan.
    turns : sequence of str
        Its steps in the order in which they go; see `casarun.engine.walker.turns`.
    cores : int
        How many steps run at once.
    seconds : mapping of str to float
        How long each step takes, where that is known better than the plan knows it.
    clock : callable
        The time in s.
    """

    def __init__(
        self,
        plan: Plan,
        turns: Sequence[str],
        cores: int,
        seconds: Mapping[str, float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._plan = plan
        self._turn = {step_id: turn for turn, step_id in enumerate(turns)}
        self._cores = cores
        self._clock = clock
        self._expected = {s.id: seconds.get(s.id, s.resources.seconds) for s in plan.steps}
        self._paths = paths_s(plan, self._expected)
        self._after: dict[str, list[str]] = {step.id: [] for step in plan.steps}
        for step in plan.steps:
            for before in plan.waits_for[step.id]:
                self._after[before].append(step.id)
        self._left_s = sum(self._expected.values())
        self._done: set[str] = set()
        self._taken_s, self._foreseen_s = 0.0, 0.0
        self._waits: dict[str, float] = {}

    def over(self, step_id: str, wall_s: float | None = None) -> None:
        """Take note that a step is over, and of how long it took where it ran."""
        if step_id in self._done:
            return
        self._done.add(step_id)
        self._left_s -= self._expected[step_id]
        if wall_s is not None:
            self._taken_s += wall_s
            self._foreseen_s += self._expected[step_id]

    def better_waits(
        self, step_id: str, running: Mapping[str, float], leaving: Collection[str] = ()
    ) -> bool:
        """Say whether a ready step should leave its core free for now.

        Parameters
        ----------
        step_id : str
            The step.
        running : mapping of str to float
            When each of the steps that run was started, by `clock`.
        leaving : collection of str
            Those of them that are about to end and need no core for that.
        """
        now = self._clock()
        horizon = SHARE * self._seconds(step_id)
        if not running or now - self._waits.get(step_id, now) > horizon:
            return False
        soon, ending = self._soon(step_id, running, leaving, now, horizon)
        free = self._cores - len(running) - 1 + ending
        if soon <= free:
            return False
        self._waits.setdefault(step_id, now)
        return True

    def _seconds(self, step_id: str) -> float:
        """Return how long a step will take, by what the run's steps took so far."""
        rate = self._taken_s / self._foreseen_s if self._foreseen_s else 1.0
        return rate * self._expected[step_id]

    def _soon(
        self,
        step_id: str,
        running: Mapping[str, float],
        leaving: Collection[str],
        now: float,
        horizon: float,
    ) -> tuple[int, int]:
        """Return how many better steps are ready in time, and how many that run have ended."""
        ends: dict[str, float] = dict.fromkeys(leaving, 0.0)
        for one, started in running.items():
            passed, expected = now - started, self._seconds(one)
            if one not in ends and passed <= _LATE * expected:
                ends[one] = max(0.0, expected - passed)
        todo = [one for one, end in ends.items() if end <= horizon]
        ending, soon = len(todo), 0
        for one in todo:
            for after in self._after[one]:
                waits_for = [b for b in self._plan.waits_for[after] if b not in self._done]
                if after in ends or any(b not in ends for b in waits_for):
                    continue
                ready = max((ends[b] for b in waits_for), default=0.0)
                ends[after] = ready + self._seconds(after)
                if ready <= horizon and self._goes_before(after, step_id):
                    soon += 1
                if ends[after] <= horizon:
                    todo.append(after)
        return soon, ending

    def _goes_before(self, one: str, other: str) -> bool:
        """Say whether the end of the run depends on a step, and more than on another."""
        decides = AHEAD * self._cores * self._paths[one] >= self._left_s
        return decides and self._turn[one] < self._turn[other]
