"""Batch systems: what a job asks for, and what a system must be able to do.

A batch system is known by `BatchSystem` only, so that another one is one more module.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from ...errors import CasarunError, ExitCode

WAITING = "waiting"
RUNNING = "running"
ENDED = "ended"
LOST = "lost"

MARK = "casarun-"
"""How the marks begin that jobs are found by."""


class BatchError(CasarunError):
    """The batch system cannot be asked, or says no."""

    exit_code = ExitCode.REFUSED


class TooLargeError(BatchError):
    """No node has what a job asks for."""


@dataclass(frozen=True)
class Ask:
    """What a job asks the batch system for.

    Attributes
    ----------
    name : str
        Of the job, for people.
    cores, memory_bytes, seconds : int, int, float
        On one node; `seconds` is the wall time.
    partition, account, qos, constraint, reservation : str
        Empty for the system's default.
    options : tuple of str
        The user's own further options, as the system spells them.
    setup : tuple of str
        Lines of the user's own for the script, before casarun starts.
    """

    name: str
    cores: int
    memory_bytes: int
    seconds: float
    partition: str = ""
    account: str = ""
    qos: str = ""
    constraint: str = ""
    reservation: str = ""
    options: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()


@dataclass(frozen=True)
class After:
    """What a job waits for.

    Attributes
    ----------
    ok : tuple of tuple of str
        Of each group, one job must have succeeded. At most one group of several jobs.
    failed : tuple of str
        Jobs that must have failed, all of them.
    ended : tuple of str
        Jobs that must have ended, however.
    """

    ok: tuple[tuple[str, ...], ...] = ()
    failed: tuple[str, ...] = ()
    ended: tuple[str, ...] = ()


NOTHING = After()


@dataclass(frozen=True)
class JobState:
    """What the batch system says of a job.

    Attributes
    ----------
    job : str
        Its number.
    phase : {"waiting", "running", "ended", "lost"}
        ``lost``: the system does not know it any more.
    state : str
        The system's own word: ``OUT_OF_MEMORY``.
    reason : str
        Why it waits, or why it ended so.
    nodes : str
        Where it runs or ran.
    since : str
        When it started, or is expected to; empty where that is not known.
    is_held : bool
        Whether it waits until it is let go, as after `hold`.
    """

    job: str
    phase: str
    state: str = ""
    reason: str = ""
    nodes: str = ""
    since: str = ""
    is_held: bool = False

    @property
    def is_live(self) -> bool:
        """Whether it may still do something."""
        return self.phase in (WAITING, RUNNING)

    def __str__(self) -> str:
        if self.phase == LOST:
            return "lost: the batch system does not know it any more"
        said = self.state.lower().replace("_", " ")
        if self.nodes:
            said += f" on {self.nodes}"
        if self.reason:
            said += f" ({self.reason})"
        if self.since:
            said += f", {'since' if self.phase == RUNNING else 'start'} {self.since}"
        return said


class BatchSystem(Protocol):
    """What a batch system must do for casarun."""

    name: str

    def script(
        self, ask: Ask, command: Sequence[str], log: Path, about: str, *, array: bool = False
    ) -> str:
        """Return the script of a job that ends by becoming `command`.

        In an `array`, the number of the task stands behind the last word of the command.
        """

    def most_cores(self, partition: str) -> int:
        """Return the cores of the largest node of a partition, else of all; 0 if unknown."""

    def submit(
        self,
        script: Path,
        after: After = NOTHING,
        *,
        array: str = "",
        hold: bool = False,
        mark: str = "",
        memory_bytes: int = 0,
    ) -> str:
        """Hand in a script; return the job's number.

        Parameters
        ----------
        script : Path
            The script.
        after : After
            What the job waits for.
        array : str
            Which tasks: ``0-9,12``, and after ``%`` how many of them run at once.
        hold : bool
            Do not let it go yet.
        mark : str
            To find it by; see `marked`.
        memory_bytes : int
            Over what the script asks for; 0 for that.

        Raises
        ------
        BatchError
            If the system refuses; `TooLargeError` if no node has as much.
        """

    def release(self, jobs: Collection[str]) -> None:
        """Let jobs go that were handed in with `hold`."""

    def states(self, jobs: Collection[str], mark: str = "") -> Mapping[str, JobState]:
        """Return what is known of each job; one that was handed in with another mark is lost."""

    def marked(self, mark: str) -> list[str]:
        """Return the jobs that wait or run and were handed in with this mark."""

    def cancel(self, jobs: Collection[str]) -> None:
        """End jobs, or take them out of the queue."""

    def requeue(self, job: str) -> None:
        """Put a running job back into the queue: it starts again with the same number."""


@runtime_checkable
class Forgetful(Protocol):
    """A batch system that drops what it knows of jobs some time after they have ended."""

    def keep(self, states: Mapping[str, JobState], folder: Path) -> dict[str, JobState]:
        """Save it to a folder; return the states, of dropped jobs as they were saved last."""
