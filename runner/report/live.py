"""The report of a run that goes on: written again now and then, as steps end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from jinja2 import TemplateError

from ..engine.journal_state import JournalState, StepRecord, read_state
from ..errors import CasarunError
from ..files import now
from ..folder import RunFolder
from ..plan import Plan
from .conclude import said_of
from .context import RUNNING
from .gathering import Results, gather
from .render import render

FIRST_S: Final = 30.0
"""A run that is over sooner has its report at its end only."""
EVERY_S: Final = 30.0
MOST_SHARE: Final = 0.01
"""Of the run's time that goes into writing the report again."""

_ENDS: Final = {"step-done": "done", "step-failed": "failed", "step-skipped": "skipped"}
_ANYTHING: Final = (
    OSError, CasarunError, TemplateError, AttributeError, LookupError, TypeError, ValueError,
    ArithmeticError,
)  # fmt: skip
"""A page that cannot be written now is no reason to end a run; that at its end says why."""


class Live:
    """Listens to a run and renders its report as far as it has come.

    Parameters
    ----------
    folder : RunFolder
        The run's folder.
    plan : Plan
        What is run.
    about : mapping
        Of `conclude.about`.
    skipped : mapping
        Why each step that need not run does not; the others, why they run.
    clock : callable
        Returns seconds.
    """

    def __init__(
        self,
        folder: RunFolder,
        plan: Plan,
        about: Mapping[str, Any],
        skipped: Mapping[str, str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder, self._plan, self._about, self._reasons = folder, plan, about, skipped
        self._clock = clock
        self._came: dict[str, tuple[str, str]] = {}
        self._started = now()
        self._due = clock() + FIRST_S

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Take an event of the run; render where it is time to."""
        kind = str(event.get("event", ""))
        if kind in _ENDS:
            said = str(event.get("message") or event.get("reason") or "")
            self._came[str(event["step"])] = (_ENDS[kind], said)
        elif kind == "step-started":
            self._came[str(event["step"])] = ("not run", "it runs now")
        if kind in _ENDS and self._clock() >= self._due:
            begun = self._clock()
            with suppress(*_ANYTHING):
                self._render()
            took = self._clock() - begun
            self._due = self._clock() + max(EVERY_S, took / MOST_SHARE)

    def _render(self) -> None:
        state = read_state(self._folder.journal)
        meta = {
            **self._about,
            "started": self._started,
            "ended": now(),
            "state": RUNNING,
            "steps": {step.id: self._said(step.id, state) for step in self._plan.steps},
        }
        metrics = gather(self._folder, self._plan, meta)
        render(self._folder, self._plan, Results(self._folder, self._plan), meta, metrics)

    def _said(self, step_id: str, state: JournalState) -> dict[str, Any]:
        came, reason = self._came.get(step_id, ("not run", "it waits for its turn"))
        if came == "done":
            reason = self._reasons.get(step_id, "")
        return said_of(state.steps.get(step_id, StepRecord()), came, reason)
