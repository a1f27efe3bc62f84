"""The ``auto`` values: each function returns a value and the reason for it."""

from __future__ import annotations

from .calibration import (
    MODEL_BANDS,
    calwt,
    coherence_s,
    delay,
    edge_channels,
    model_image,
    phase_calibrator,
    refant,
    solint,
    solve_channels,
    spwmap,
)
from .choice import SPEED_OF_LIGHT, Choice
from .imaging import (
    LINES_HZ,
    automask,
    cell,
    deconvolver,
    friendly,
    gridder,
    imsize,
    nterms,
    phasecenter,
    primary_beam_arcsec,
    resolution_arcsec,
    restfreq,
    scales,
    spectral_error,
    w_phase_rad,
)
from .sky import separation_deg

__all__ = [
    "LINES_HZ",
    "MODEL_BANDS",
    "SPEED_OF_LIGHT",
    "Choice",
    "automask",
    "calwt",
    "cell",
    "coherence_s",
    "deconvolver",
    "delay",
    "edge_channels",
    "friendly",
    "gridder",
    "imsize",
    "model_image",
    "nterms",
    "phase_calibrator",
    "phasecenter",
    "primary_beam_arcsec",
    "refant",
    "resolution_arcsec",
    "restfreq",
    "scales",
    "separation_deg",
    "solint",
    "solve_channels",
    "spectral_error",
    "spwmap",
    "w_phase_rad",
]
