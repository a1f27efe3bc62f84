"""A calibrator's place held against a catalogue of positions."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

NEAR_ARCSEC: Final = 60.0
"""A source of the catalogue this near is the calibrator: by chance one is there of 50,000."""

_NAME: Final = re.compile(r"J(\d{4})([+-]\d{4})")


class Source(Protocol):
    """A source of the catalogue."""

    @property
    def names(self) -> tuple[str, ...]:
        """Its names."""

    @property
    def ra_deg(self) -> float:
        """Its right ascension (ICRS)."""

    @property
    def dec_deg(self) -> float:
        """Its declination."""


def offset_arcsec(ra_deg: float, dec_deg: float, source: Source) -> tuple[float, float]:
    """Return how far to the east and north of a source a place is (small angles)."""
    turn = (ra_deg - source.ra_deg + 180) % 360 - 180
    east = turn * math.cos(math.radians(source.dec_deg)) * 3600
    return east, (dec_deg - source.dec_deg) * 3600


def find(name: str, place: tuple[float, float], known: Sequence[Source]) -> Source | None:
    """Return the source of a catalogue that a calibrator is.

    Parameters
    ----------
    name : str
        Of the field.
    place : tuple of float
        Its right ascension and declination (J2000, degrees).
    known : sequence of Source
        The catalogue.

    Returns
    -------
    Source or None
        The nearest within `NEAR_ARCSEC`; else the one that a name like J1445+0958 is of, wherever
        the field is said to be.
    """
    near = [(math.hypot(*offset_arcsec(*place, one)), one) for one in known]
    distance, nearest = min(near, key=lambda pair: pair[0], default=(math.inf, None))
    if distance <= NEAR_ARCSEC:
        return nearest
    asked = _short(name)
    named = [one for one in known if asked and asked in map(_short, one.names)]
    return named[0] if len(named) == 1 else None


def _short(name: str) -> str:
    """Return the hours and minutes, degrees and minutes of a name: J144516.4+095836, J1445+0958."""
    full = re.fullmatch(r"J(\d{4})\d\d(?:\.\d+)?([+-]\d{4})\d\d", name)
    found = full or _NAME.fullmatch(name.strip().upper())
    return f"J{found[1]}{found[2]}" if found else ""


def into(
    numbers: dict[str, Any], name: str, place: Sequence[float] | None, known: Sequence[Source]
) -> None:
    """Add to a calibrator's numbers how far it is from its place in a catalogue.

    Parameters
    ----------
    numbers : dict
        Of `calibrators.numbers`; is added to.
    name : str
        Of the field.
    place : sequence of float or None
        Right ascension and declination of its phase centre (J2000, degrees).
    known : sequence of Source
        The catalogue.
    """
    source = find(name, (place[0], place[1]), known) if place else None
    found: Mapping[str, Any] | None = None
    if source is not None and place:
        east, north = offset_arcsec(place[0], place[1], source)
        fitted = numbers.get("east_arcsec"), numbers.get("north_arcsec")
        found = {
            "name": " ".join(source.names),
            "ra_deg": source.ra_deg,
            "dec_deg": source.dec_deg,
            "east_arcsec": None if fitted[0] is None else east + fitted[0],
            "north_arcsec": None if fitted[1] is None else north + fitted[1],
        }
    numbers["catalogue"] = found
    if found is None:
        why = "the catalogue has no source there" if known else "there is no catalogue"
        numbers["catalogue_reason"] = why
