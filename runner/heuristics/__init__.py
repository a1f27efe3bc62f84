"""The ``auto`` values: each function returns a value and the reason for it."""

from __future__ import annotations

from .calibration import (
    CALIBRATOR_POSITIONS,
    MODEL_BANDS,
    calwt,
    delay,
    edge_channels,
    model_image,
    phase_calibrator,
    refant,
    solve_channels,
    spwmap,
)
from .choice import SPEED_OF_LIGHT, Choice
from .imaging import (
    automask,
    cell,
    friendly,
    imsize,
    primary_beam_arcsec,
    resolution_arcsec,
    scales,
)
from .sky import separation_deg

__all__ = [
    "CALIBRATOR_POSITIONS",
    "MODEL_BANDS",
    "SPEED_OF_LIGHT",
    "Choice",
    "automask",
    "calwt",
    "cell",
    "delay",
    "edge_channels",
    "friendly",
    "imsize",
    "model_image",
    "phase_calibrator",
    "primary_beam_arcsec",
    "refant",
    "resolution_arcsec",
    "scales",
    "separation_deg",
    "solve_channels",
    "spwmap",
]
