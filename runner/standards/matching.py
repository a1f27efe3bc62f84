"""Which calibrator a field is: by its name, by its place, and as ``setjy`` sees it."""

from __future__ import annotations

import math
import re
from functools import cache, lru_cache
from typing import Final

from .catalogue import CALIBRATORS, PLANETARY, Calibrator

SETJY_RADIUS_DEG: Final = 1 / 3600
"""How far from its catalogued position ``setjy`` still knows a source whose name it doesn't."""

_NOT_BY_PLACE: Final = frozenset({"J0133-3629"})
"""CASA's table of positions calls it by another name, under which it is then not found."""


@lru_cache(maxsize=4096)
def by_name(name: str) -> Calibrator | None:
    """Return the calibrator that a field's name tells of.

    Reads names as observers write them: ``3C286``, ``3c286``, ``1331+305=3C286``,
    ``J1331+3030``, ``1331+30500002_0``, ``CasA``. A longer number is another source:
    ``3C4839`` is not 3C48. What ``setjy`` makes of a name is `as_setjy`.
    """
    for calibrator in CALIBRATORS:
        if _pattern(calibrator.aliases).search(name):
            return calibrator
    return None


@cache
def _pattern(aliases: tuple[str, ...]) -> re.Pattern[str]:
    """Return what finds an alias as a word of its own; digits may go on after a position."""
    words = []
    for alias in aliases:
        position = "+" in alias or "-" in alias[1:]
        before = r"(?<![0-9])" if alias[0].isdigit() or position else r"(?<![A-Za-z0-9])"
        after = "" if position and alias[-1].isdigit() else r"(?![A-Za-z0-9])"
        words.append(before + re.escape(alias) + after)
    return re.compile("|".join(words), re.IGNORECASE)


@lru_cache(maxsize=4096)
def by_position(ra_deg: float, dec_deg: float, within_deg: float = 0.02) -> Calibrator | None:
    """Return the calibrator nearest to a J2000 position, or None where none is so near."""
    found = [
        (separation_deg(ra_deg, dec_deg, one.ra_deg, one.dec_deg), one)
        for one in CALIBRATORS
        if not one.moves and abs(one.dec_deg - dec_deg) <= 1.001 * within_deg
    ]
    distance, nearest = min(found, key=lambda pair: pair[0], default=(math.inf, None))
    return nearest if distance <= within_deg else None


def as_setjy(name: str, ra_deg: float, dec_deg: float, standard: str) -> Calibrator | None:
    """Return the source that ``setjy`` takes a field for, or None where it knows none.

    Parameters
    ----------
    name : str
        The field's name.
    ra_deg, dec_deg : float
        Its J2000 position in degrees.
    standard : str
        CASA's name of the flux standard; decides only whether the solar system is searched.

    Returns
    -------
    Calibrator or None
        Whether the standard has a flux density for it, its `standards` say. For a standard of
        the solar system the field must be called like the body. For the others an alias
        anywhere in the name is enough, whatever stands around it (``3C489`` is taken for
        3C48); failing that, a catalogued position within an arcsecond.
    """
    capitals = name.upper()
    if standard in PLANETARY:
        return next((one for one in CALIBRATORS if one.moves and capitals in one.aliases), None)
    for one in CALIBRATORS:
        if not one.moves and any(alias in capitals for alias in one.aliases):
            return one
    near = by_position(ra_deg, dec_deg, SETJY_RADIUS_DEG)
    return near if near is not None and near.name not in _NOT_BY_PLACE else None


def separation_deg(ra1: float, dec1: float, ra2: float, dec2: float) -> float:
    """Return the angle between two positions in degrees (Vincenty's formula, exact)."""
    lon = math.radians(ra2 - ra1)
    lat1, lat2 = math.radians(dec1), math.radians(dec2)
    across = math.hypot(
        math.cos(lat2) * math.sin(lon),
        math.cos(lat1) * math.sin(lat2) - math.sin(lat1) * math.cos(lat2) * math.cos(lon),
    )
    along = math.sin(lat1) * math.sin(lat2) + math.cos(lat1) * math.cos(lat2) * math.cos(lon)
    return math.degrees(math.atan2(across, along))
