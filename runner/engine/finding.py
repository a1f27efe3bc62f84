"""What the doctor found of one thing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["good", "warn", "bad"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes
    ----------
    what : str
        Its name, for programs: ``casa``, ``measures``, ``memory``.
    state : {"good", "warn", "bad"}
        With something bad, a run would not work.
    text : str
        What was found, with its numbers.
    advice : str
        The way out, where it is not good.
    """

    what: str
    state: State
    text: str
    advice: str = ""
