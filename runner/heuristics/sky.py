"""Angles on the sky."""

from __future__ import annotations

import math

from ..observation import Field


def separation_deg(a: Field, b: Field) -> float:
    """Return the angle between two fields in degrees (Vincenty's formula, exact on a sphere)."""
    lon = math.radians(b.ra_deg - a.ra_deg)
    lat1, lat2 = math.radians(a.dec_deg), math.radians(b.dec_deg)
    across = math.hypot(
        math.cos(lat2) * math.sin(lon),
        math.cos(lat1) * math.sin(lat2) - math.sin(lat1) * math.cos(lat2) * math.cos(lon),
    )
    along = math.sin(lat1) * math.sin(lat2) + math.cos(lat1) * math.cos(lat2) * math.cos(lon)
    return math.degrees(math.atan2(across, along))
