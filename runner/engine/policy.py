"""When to try a failed step again, and how much may run at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ..errors import Cause
from ..plan import Step

AGAIN: Final = frozenset(
    {
        Cause.SIGNAL,
        Cause.TABLE_LOCK,
        Cause.IO,
        Cause.OUT_OF_MEMORY,
        Cause.UNKNOWN,
        Cause.DISK_FULL,
        Cause.LOST_PRODUCT,
    }
)
"""Causes for which doing the same again can help."""

_OVERTAKEN_A_CORE: Final = 4
"""So many steps, times the cores of the run, may start before an earlier one that waits."""


def fallback(step: Step, causes: Sequence[Cause]) -> dict[str, Any]:
    """Return what the next attempt of a step has laid over its parameters.

    Parameters
    ----------
    step : Step
        The step.
    causes : sequence of Cause
        Why its attempts so far failed.

    Returns
    -------
    dict
        The parameters under ``fallback``; empty where there are none.
    """
    times = causes.count(Cause.DIVERGED)
    return {"fallback": step.fallbacks[times - 1]} if times else {}


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how soon a failed step is tried again.

    Attributes
    ----------
    attempts : int
        How many attempts a step has in one run, the first included.
    wait_s : float
        The wait before the second attempt; it doubles from one to the next.
    max_wait_s : float
        The longest wait.
    by_cause : mapping of Cause to int
        How often a step may fail for one cause, where that is not `attempts`; 1 is never again.
    stop_at_failure : bool
        Start nothing more once a step has failed for good.
    """

    attempts: int = 3
    wait_s: float = 5.0
    max_wait_s: float = 300.0
    by_cause: Mapping[Cause, int] = field(default_factory=dict)
    stop_at_failure: bool = False

    def wait_before_next(self, causes: Sequence[Cause], fallbacks: int = 0) -> float | None:
        """Return how long to wait before the next attempt, or None if there is none.

        Parameters
        ----------
        causes : sequence of Cause
            Why the attempts so far failed, the last one last; not empty.
        fallbacks : int
            With how many other sets of parameters the step may be tried where it diverges. Such
            attempts use up none of those that other causes may have, nor the other way round.
        """
        last = causes[-1]
        if last is Cause.DIVERGED:
            return 0.0 if causes.count(last) <= fallbacks else None
        causes = [cause for cause in causes if cause is not Cause.DIVERGED]
        if last not in AGAIN or self._enough(causes):
            return None
        # A disk may have been full because of a neighbour; a second time it is our own.
        if last is Cause.DISK_FULL and causes.count(Cause.DISK_FULL) > 1:
            return None
        doubled: float = self.wait_s * 2.0 ** min(len(causes) - 1, 60)
        return min(doubled, self.max_wait_s)

    def _enough(self, causes: Sequence[Cause]) -> bool:
        """Say whether a step has had all its attempts."""
        last = causes[-1]
        if last in self.by_cause:
            return causes.count(last) >= self.by_cause[last]
        return sum(cause not in self.by_cause for cause in causes) >= self.attempts


@dataclass(frozen=True)
class Budget:
    """What all running steps together may use.

    Attributes
    ----------
    cores : int
        The sum of the cores of the steps that run at once.
    memory_bytes : int
        The sum of their memory; 0 for no limit.
    memory_per_step_bytes : int
        The memory of any one of them; 0 for no limit but that of all.
    disk_reserve_bytes : int
        Nothing starts while less disk is free than this; 0 for no reserve.
    """

    cores: int = 1
    memory_bytes: int = 0
    memory_per_step_bytes: int = 0
    disk_reserve_bytes: int = 0


class Room:
    """Keeps count of what is left of a budget.

    A step that needs more than the whole of it runs when nothing else does. Where a step finds
    no room, later ones may go before it, but only so often: then they wait until it has started.

    Parameters
    ----------
    budget : Budget
        What all steps inside together may use.
    order : iterable of str
        The ids of all steps in the order in which they go when several are ready.
    """

    def __init__(self, budget: Budget, order: Iterable[str] = ()) -> None:
        self._budget = budget
        self._place = {step_id: place for place, step_id in enumerate(order)}
        self._inside: dict[str, tuple[int, int]] = {}
        self._overtaken: dict[str, int] = {}
        self._turn = len(self._place)
        self._least: dict[str, int] = {}
        self._alone = False
        self._cores = 0
        self._memory_bytes = 0

    def farthest_over(self, used: Mapping[str, int]) -> str | None:
        """Return the step that is farthest over its share, where all together use too much.

        Parameters
        ----------
        used : mapping of str to int
            What each step inside uses, in bytes.
        """
        limit = self._budget.memory_bytes
        if not limit or sum(used.values()) <= limit:
            return None
        return max(used, key=lambda step_id: used[step_id] - self._inside[step_id][1])

    @property
    def full(self) -> bool:
        """Whether not even the smallest step fits."""
        return self._alone or self._cores >= self._budget.cores

    def learn(self, step_id: str, memory_bytes: int) -> None:
        """Keep in mind that a step needs at least so much memory."""
        self._least[step_id] = max(memory_bytes, self._least.get(step_id, 0))

    def forget_who_waits(self) -> None:
        """Begin anew to count how often steps were overtaken; some may come no more."""
        self._overtaken.clear()
        self._turn = len(self._place)

    def enter(self, step: Step, *, alone: bool = False) -> bool:
        """Take a step's share if there is room for it; say whether there was."""
        cores = max(1, step.resources.cores)
        memory_bytes = max(0, step.resources.memory_bytes, self._least.get(step.id, 0))
        limit = self._budget.memory_bytes
        fits = self._cores + cores <= self._budget.cores and (
            not limit or self._memory_bytes + memory_bytes <= limit
        )
        waits = self._place.get(step.id, 0) > self._turn
        if self._inside and (self._alone or alone or not fits or waits):
            if self._place:
                self._overtaken.setdefault(step.id, 0)
            return False
        self._inside[step.id] = (cores, memory_bytes)
        self._cores += cores
        self._memory_bytes += memory_bytes
        self._alone = alone
        self._count_overtaken(step.id)
        return True

    def _count_overtaken(self, step_id: str) -> None:
        """Count for each step that waits how many later ones went before it; find whose turn is.

        While nothing is inside nobody is kept out, so that a step which comes no more blocks no
        one.
        """
        self._overtaken.pop(step_id, None)
        place = self._place.get(step_id, 0)
        most = _OVERTAKEN_A_CORE * self._budget.cores
        self._turn = len(self._place)
        for other, times in self._overtaken.items():
            times += self._place[other] < place
            self._overtaken[other] = times
            if times >= most:
                self._turn = min(self._turn, self._place[other])

    def give_cores_back(self, step_id: str) -> None:
        """Take a step's cores back, which needs them no more; its memory stays its own."""
        cores, memory_bytes = self._inside[step_id]
        self._inside[step_id] = (0, memory_bytes)
        self._cores -= cores

    def leave(self, step_id: str) -> None:
        """Give a step's share back."""
        cores, memory_bytes = self._inside.pop(step_id)
        self._cores -= cores
        self._memory_bytes -= memory_bytes
        if not self._inside:
            self._alone = False
