"""Radio sources of the celestial reference frame: the list that comes with CASA's measures data.

``ephemerides/Sources`` holds the ICRF (Ma et al. 1998), some 600 compact sources with places right
to a milliarcsecond, each by its names of B1950 and J2000. Many calibrators are among them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ..errors import DataError
from .read import opened

_TABLE = "ephemerides/Sources"


@dataclass(frozen=True)
class Source:
    """A source: its names, and its place (ICRS, degrees)."""

    names: tuple[str, ...]
    ra_deg: float
    dec_deg: float


@cache
def sources() -> tuple[Source, ...]:
    """Return the sources; none where the measures data hold no such list."""
    from casaconfig import config

    found: dict[tuple[float, float], list[str]] = {}
    try:
        with opened(Path(config.measurespath) / _TABLE) as table:
            rows = table.query('Type=="ICRS"')  # to get that column crashes casatools 6.7.0
            columns = [rows.getcol(name) for name in ("Name", "Long", "Lat")]
            rows.close()
        for name, ra, dec in zip(*columns, strict=True):
            found.setdefault((float(ra) % 360, float(dec)), []).append(str(name))
    except (DataError, RuntimeError, OSError):
        return ()
    return tuple(Source(tuple(sorted(names)), *place) for place, names in found.items())
