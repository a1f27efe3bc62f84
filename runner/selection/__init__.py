"""CASA's data selection syntax, read and resolved against metadata. Pure: no CASA.

Each function takes a selection as a recipe or a task has it and says what it selects in an
observation. What CASA refuses, what it takes for something else without a word (channel 100 of
16 is its last channel to CASA), and what selects nothing raises `SelectionError`, whose text says
what is there instead. Where the metadata do not tell, the answer is the generous one.

The rules are measured with CASA 6.7 (``ms.msselect``, ``ms.msseltoindex``), which differs from
its documentation in places; ``tests/test_selection_casa.py`` holds them to it.
"""

from __future__ import annotations

from .antenna import antennas
from .channels import SpwChannels, spws
from .checks import SELECTIONS, check
from .correlation import correlations
from .error import SelectionError
from .field import fields, matching_fields
from .intent import intents
from .scan import observations, scans
from .time_range import timerange
from .uv_range import uvrange

__all__ = [
    "SELECTIONS",
    "SelectionError",
    "SpwChannels",
    "antennas",
    "check",
    "correlations",
    "fields",
    "intents",
    "matching_fields",
    "observations",
    "scans",
    "spws",
    "timerange",
    "uvrange",
]
