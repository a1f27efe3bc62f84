"""Executors: where steps run. The scheduler knows them by this protocol only."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ...errors import Cause
from ...folder import RunFolder
from ...plan import Step
from ..saved import Save

ACTIONS = "casarun.engine.actions"
"""The module that knows what steps do: it has `perform`, `prove`, `idle` and `leaves`."""


@dataclass(frozen=True)
class Job:
    """One attempt of one step.

    Attributes
    ----------
    step : Step
        What to do.
    folder : Path
        The run folder, absolute.
    attempt : int
        1 for the first attempt of this run.
    actions : str
        Name of the module with `perform`, `prove`, `idle` and `leaves`.
    memory_limit_bytes : int
        The attempt is ended when it uses more memory; 0 for no limit.
    fallback : mapping
        What was laid over the plan's parameters to give those of `step`; empty for nothing.
    saves : tuple of Save
        What it changes in place, to be saved first.
    states : mapping of str to str
        As what products it reads and changes were left, by path; see `product_state`.
    inputs : mapping of str to str
        Identities of what it reads from outside of the run folder.
    place : tuple of str
        Slice and attempt that it is a part of; see `casarun.folder.RunFolder`.
    fingerprint : str
        Of the step, which its products may carry.
    """

    step: Step
    folder: Path
    attempt: int = 1
    actions: str = ACTIONS
    memory_limit_bytes: int = 0
    fallback: Mapping[str, Any] = field(default_factory=dict)
    saves: tuple[Save, ...] = ()
    states: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    place: tuple[str, str] = ("", "")
    fingerprint: str = ""

    @property
    def run_folder(self) -> RunFolder:
        """The run folder, with the slice that works there."""
        return RunFolder(self.folder, *self.place)

    def to_json(self) -> dict[str, Any]:
        """Return the job as plain data, as `casarun.engine.worker.main` takes it."""
        return {
            "step": self.step.to_json(),
            "folder": str(self.folder),
            "attempt": self.attempt,
            "actions": self.actions,
            "states": dict(self.states),
            "inputs": dict(self.inputs),
            "saves": [save.to_json() for save in self.saves],
            "fallback": self.fallback,
            "place": list(self.place),
            "fingerprint": self.fingerprint,
        }


@dataclass(frozen=True)
class Ended:
    """An attempt that is over.

    Attributes
    ----------
    step_id : str
        Whose attempt.
    result : mapping
        As in ``result.json``; see `casarun.engine.results`.
    stopped : bool
        It was killed because the run was asked to stop; it has neither failed nor succeeded.
    """

    step_id: str
    result: Mapping[str, Any] = field(default_factory=dict)
    stopped: bool = False


class Executor(Protocol):
    """Runs attempts and reports their ends."""

    def start(self, job: Job) -> Mapping[str, Any]:
        """Begin an attempt; return where it runs (`host`, `pid`, `created`, or a job number)."""

    def wait(self, timeout_s: float) -> list[Ended]:
        """Return the attempts that ended; wait for the first one at most so long."""

    def usage(self) -> Mapping[str, int]:
        """Return the memory in bytes that each running step uses, where it is known."""

    def leaving(self) -> Collection[str]:
        """Return the running steps that are done but for the disk, and need no core for that."""

    def kill(self, step_id: str, cause: Cause | None) -> None:
        """End an attempt by force; `wait` reports it with this cause, or as stopped if None."""

    def end_stale(self, placed: Mapping[str, Any]) -> None:
        """End an attempt of a runner that is no more, known by what `start` returned."""

    def close(self) -> None:
        """End all attempts by force and give back what is held."""
