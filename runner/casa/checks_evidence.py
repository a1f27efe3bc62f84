"""What the post-conditions are given, and how they say that one does not hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import Cause, StepFailedError
from .logscan import LogFindings

Json = Any


@dataclass(frozen=True)
class Evidence:
    """What is known of a step that has run.

    Attributes
    ----------
    params : mapping
        The parameters that it ran with.
    outcome : mapping
        What its task returned; empty where that was no dictionary.
    findings : LogFindings
        What its log holds.
    """

    params: Mapping[str, Any] = field(default_factory=dict)
    outcome: Mapping[str, Any] = field(default_factory=dict)
    findings: LogFindings = field(default_factory=LogFindings)

    def log_says(self) -> str:
        """Return the first SEVERE line, or else the first WARN, to end a sentence with."""
        lines = (*self.findings.severe, *self.findings.warnings)
        return f" (CASA said: {lines[0]})" if lines else ""


CheckFunction = Callable[[Mapping[str, Any], Evidence], dict[str, Json]]


def failed(message: str, advice: str) -> StepFailedError:
    """Return the error of a post-condition that does not hold, to be raised."""
    return StepFailedError(Cause.POSTCONDITION, message, advice)


def diverged(message: str) -> StepFailedError:
    """Return the error of a clean that diverged, to be raised."""
    return StepFailedError(
        Cause.DIVERGED,
        message,
        "Lower the gain (image.tclean.gain), raise image.tclean.cyclefactor, mask the emission "
        "(image.mask), or use image.deconvolver = 'hogbom'.",
    )
