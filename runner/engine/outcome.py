"""What came of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..errors import Cause


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
