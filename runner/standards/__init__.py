"""Flux standards and the calibrators that are known by name and place."""

from __future__ import annotations

from .catalogue import CALIBRATORS, PLANETARY, STANDARDS, Calibrator
from .matching import as_setjy, by_name, by_position, separation_deg

__all__ = [
    "CALIBRATORS",
    "PLANETARY",
    "STANDARDS",
    "Calibrator",
    "as_setjy",
    "by_name",
    "by_position",
    "separation_deg",
]
