"""When to try a failed step again, and how much may run at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

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
    }
)
"""Causes for which doing the same again can help."""


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

    def wait_before_next(self, causes: Sequence[Cause]) -> float | None:
        """Return how long to wait before the next attempt, or None if there is none.

        Parameters
        ----------
        causes : sequence of Cause
            Why the attempts so far failed, the last one last; not empty.
        """
        last = causes[-1]
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

    A step that needs more than the whole of it runs when nothing else does.
    """

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._inside: dict[str, tuple[int, int]] = {}
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

    def enter(self, step: Step, *, alone: bool = False) -> bool:
        """Take a step's share if there is room for it; say whether there was."""
        cores = max(1, step.resources.cores)
        memory_bytes = max(0, step.resources.memory_bytes)
        limit = self._budget.memory_bytes
        fits = self._cores + cores <= self._budget.cores and (
            not limit or self._memory_bytes + memory_bytes <= limit
        )
        if self._inside and (self._alone or alone or not fits):
            return False
        self._inside[step.id] = (cores, memory_bytes)
        self._cores += cores
        self._memory_bytes += memory_bytes
        self._alone = alone
        return True

    def leave(self, step_id: str) -> None:
        """Give a step's share back."""
        cores, memory_bytes = self._inside.pop(step_id)
        self._cores -= cores
        self._memory_bytes -= memory_bytes
        if not self._inside:
            self._alone = False
