"""Angles on the sky."""

from __future__ import annotations

from .. import standards
from ..observation import Field


def separation_deg(a: Field, b: Field) -> float:
    """Return the angle between two fields in degrees."""
    return standards.separation_deg(a.ra_deg, a.dec_deg, b.ra_deg, b.dec_deg)
