"""What every heuristic gives: a value with the reason for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

SPEED_OF_LIGHT: Final = 299_792_458.0


@dataclass(frozen=True)
class Choice:
    """A value and the reason for it."""

    value: Any
    reason: str
