"""What happens in a run, told as it happens: to its journal, its listener and its status file."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from ..files import now
from ..folder import RunFolder
from .journal import Event, Journal, recording
from .outcome import Outcome
from .results import attempt_folder
from .status import Attempt, Heartbeat

Listener = Callable[[Event], None]

_PROGRESS_S: Final = 1.0


class Telling:
    """Tells what happens in a run.

    Parameters
    ----------
    folder : RunFolder
        Whose run.
    journal : Journal
        Where what happens is recorded.
    listener : callable or None
        Is told every event; see `casarun.engine.journal`.
    steps : int
        How many the plan has.
    """

    def __init__(
        self, folder: RunFolder, journal: Journal, listener: Listener | None, steps: int
    ) -> None:
        self._folder = folder
        self._journal = journal
        self._listener = listener or (lambda event: None)
        self._heartbeat = Heartbeat(folder, steps)

    def tell(self, event: str, content: Mapping[str, Any], *, durable: bool = True) -> None:
        """Write an event to the journal, then tell the listener.

        Raises
        ------
        InterruptedRunError, StepFailedError
            If the journal cannot be written; see `casarun.engine.journal.recording`.
        """
        with recording(self._folder):
            entry = self._journal.append(event, durable=durable, **content)
        self._heartbeat.changed()
        self._listener(entry)

    def pass_on(self, event: str, content: Mapping[str, Any]) -> None:
        """Tell the listener of an event that is not kept."""
        self._listener({"t": now(), "event": event, **content})

    def progress(
        self, counts: Mapping[str, int], running: Mapping[str, Attempt], used: Mapping[str, int]
    ) -> None:
        """Say what runs: of each attempt to the listener every second, of all to the status file.

        Parameters
        ----------
        counts : mapping of str to int
            Of `Outcome.counts`.
        running : mapping of str to Attempt
            The attempts that are under way, by step.
        used : mapping of str to int
            Memory in bytes by step, where it is known.
        """
        for step_id, attempt in running.items():
            moment = time.monotonic()
            if moment - attempt.told >= _PROGRESS_S:
                attempt.told = moment
                content = {
                    "step": step_id,
                    "wall_s": round(moment - attempt.started, 1),
                    "memory_bytes": used.get(step_id, 0),
                    "logs": str(attempt_folder(self._folder, step_id, attempt.number)),
                }
                self.pass_on("step-progress", content)
        status = {step: attempt.in_status(used.get(step, 0)) for step, attempt in running.items()}
        self._heartbeat.beat(counts, status)

    def end(self, outcome: Outcome) -> None:
        """Say in the status file that the run is over."""
        self._heartbeat.beat(outcome.counts(), {}, outcome.state)
