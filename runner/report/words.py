"""Numbers as a person reads them: with a unit, and no more digits than they deserve."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

from ..quantities import human_bytes, human_frequency, human_seconds

_CAUSES = {
    "parameter": "a wrong parameter",
    "postcondition": "its product is not what it should be",
    "diverged": "the clean diverged",
    "severe": "CASA says SEVERE",
    "exception": "an error of the task",
    "abort": "CASA aborted",
    "signal": "it was killed",
    "time-limit": "out of time",
    "out-of-memory": "out of memory",
    "table-lock": "a table is locked",
    "io": "reading or writing failed",
    "disk-full": "the disk is full",
    "lost-input": "what it reads is gone",
    "lost-product": "what it changes is gone",
    "input-changed": "what it reads was changed",
    "unknown": "",
}

MJD_UNIX_EPOCH_S = 40587 * 86400.0

UNKNOWN = "unknown"
NONE = "\N{EN DASH}"
BY = "\N{MULTIPLICATION SIGN}"


def brightness(value: float | None, unit: str = "Jy/beam") -> str:
    """Write a brightness or flux density with the prefix that suits it.

    Examples
    --------
    >>> brightness(0.00213)
    '2.13 mJy/beam'
    """
    if value is None:
        return UNKNOWN
    size = abs(value)
    for factor, prefix in ((1.0, ""), (1e3, "m"), (1e6, "µ"), (1e9, "n")):
        if size * factor >= 0.9995 or prefix == "n":
            return f"{significant(value * factor)} {prefix}{unit}"
    return f"{value:g} {unit}"


def significant(value: float, digits: int = 3) -> str:
    """Write a number with some significant digits and without an exponent."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    rounded = float(f"{value:.{digits - 1}e}")  # 0.9996 is 1.00, not 1.000
    places = max(0, digits - 1 - math.floor(math.log10(abs(rounded))))
    return f"{value:.{places}f}"


def percent(fraction: float | None) -> str:
    """Write a fraction in per cent: ``25.1 %``."""
    return UNKNOWN if fraction is None else f"{100 * fraction:.1f} %"


def count(number: int | None) -> str:
    """Write a whole number with thin spaces between the thousands."""
    return UNKNOWN if number is None else f"{number:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def angle(value: float | None, unit: str = "″") -> str:
    """Write an angle in arcsec (or another unit)."""
    return UNKNOWN if value is None else f"{significant(value)}{unit}"


def synthesized_beam(numbers: dict[str, Any]) -> str:
    """Write a synthesized beam: axes in arcsec and position angle."""
    if numbers.get("bmaj_arcsec") is None:
        return UNKNOWN
    axes = f"{angle(numbers['bmaj_arcsec'])} {BY} {angle(numbers['bmin_arcsec'])}"
    turn = numbers.get("bpa_deg")
    return axes if turn is None else f"{axes}, PA {turn:.0f}°"


def right_ascension(degrees: float) -> str:
    """Write a right ascension as hours, minutes and seconds: ``15:21:59.99``."""
    hundredths = round(degrees % 360 / 15 * 360000) % (24 * 360000)
    seconds, hundredth = divmod(hundredths, 100)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{hundredth:02d}"


def declination(degrees: float) -> str:
    """Write a declination as degrees, minutes and seconds: ``+05:04:00.0``."""
    tenths = round(abs(degrees) * 36000)
    seconds, tenth = divmod(tenths, 10)
    sign = "-" if degrees < 0 else "+"
    return f"{sign}{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{tenth}"


def instant(mjd_s: float, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Write a time given as MJD seconds (UTC)."""
    return datetime.fromtimestamp(mjd_s - MJD_UNIX_EPOCH_S, UTC).strftime(form)


def cause(name: str) -> str:
    """Write why a step failed (`errors.Cause`)."""
    return _CAUSES.get(name, name)


def moment(iso: str) -> str:
    """Write an ISO 8601 time to the second: ``2026-11-22 16:50:00 UTC``."""
    try:
        found = datetime.fromisoformat(iso)
    except ValueError:
        return iso
    return found.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def duration(start: str, end: str) -> str:
    """Write the time between two ISO 8601 times."""
    try:
        span = datetime.fromisoformat(end) - datetime.fromisoformat(start)
    except (ValueError, TypeError):
        return UNKNOWN
    return human_seconds(max(0.0, span.total_seconds()))


def seconds(value: float | None) -> str:
    """Write a duration, or a dash for none."""
    return NONE if value is None else human_seconds(value)


def memory(value: float | None) -> str:
    """Write a number of bytes, or a dash for none."""
    return human_bytes(value) if value else NONE


def frequency_range(low: float | None, high: float | None) -> str:
    """Write a range of frequencies, or the one frequency."""
    if low is None or high is None:
        return UNKNOWN
    if math.isclose(low, high, rel_tol=1e-9):
        return human_frequency(low)
    first, last = human_frequency(low).split(), human_frequency(high).split()
    same = first[1] == last[1]
    return f"{first[0]} to {' '.join(last)}" if same else f"{' '.join(first)} to {' '.join(last)}"
