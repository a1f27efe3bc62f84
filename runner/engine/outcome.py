"""What came of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import Cause
from .resume import Decision


@dataclass(frozen=True)
class Failure:
    """Why a step failed for good.

    Attributes
    ----------
    cause : Cause
        The kind of its last failure.
    message, advice : str
        What happened and what to do.
    attempts : int
        How often it was tried in this run.
    logs : Path
        The folder of its last attempt's logs.
    """

    cause: Cause
    message: str
    advice: str
    attempts: int
    logs: Path


@dataclass
class Outcome:
    """What came of a run.

    Attributes
    ----------
    done : list of str
        Steps that ran and succeeded, in the order of their ends.
    skipped : dict of str to str
        Steps that did not need to run, and why.
    failed : dict of str to Failure
        Steps that failed for good.
    not_run : dict of str to str
        Steps that had to run and did not, and why.
    restored : list of str
        Products that went back to a state that was saved.
    removed : list of str
        Intermediates that were removed, because nothing needed them any more.
    removed_bytes, peak_disk_bytes : int
        How much disk that freed, and what the run folder held at its most; 0 where nothing ran.
    interrupted : bool
        The run was asked to stop.
    why : str
        By what: ``SIGTERM``, or a sentence.
    """

    done: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, Failure] = field(default_factory=dict)
    not_run: dict[str, str] = field(default_factory=dict)
    restored: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    removed_bytes: int = 0
    peak_disk_bytes: int = 0
    interrupted: bool = False
    why: str = ""

    @property
    def state(self) -> str:
        """``done``, ``failed`` or ``interrupted``."""
        return "interrupted" if self.interrupted else "failed" if self.failed else "done"

    def counts(self) -> dict[str, int]:
        """Return how many steps came to what."""
        return {
            "done": len(self.done),
            "skipped": len(self.skipped),
            "failed": len(self.failed),
            "not_run": len(self.not_run),
        }

    def summary(self) -> dict[str, str | int]:
        """Return what the journal keeps of it."""
        return {"state": self.state, **self.counts(), "peak_disk_bytes": self.peak_disk_bytes}

    def complete(self, decisions: Mapping[str, Decision], why: str) -> None:
        """Say of each step that it does not know yet that it was skipped, or why it did not run."""
        known = {*self.done, *self.failed, *self.not_run}
        for step_id, decision in decisions.items():
            if step_id in known or step_id in self.skipped:
                continue
            if decision.run:
                self.not_run[step_id] = why
            else:
                self.skipped[step_id] = decision.reason
