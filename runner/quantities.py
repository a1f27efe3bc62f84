"""Numbers with units, as recipes write them: ``"10s"``, ``"2arcsec"``, ``"8GB"``.

CASA takes a bare ``cell="8"`` for 8 radians and a bare threshold for Jy, without
a word. In a recipe a number that has a unit must say so.
"""

from __future__ import annotations

import math
import re
from typing import Final

_ARCSEC: Final = math.pi / 180 / 3600

UNITS: Final[dict[str, dict[str, float]]] = {
    "duration": {"ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0},
    "angle": {
        "marcsec": 1e-3 * _ARCSEC,
        "mas": 1e-3 * _ARCSEC,
        "arcsec": _ARCSEC,
        "arcmin": 60 * _ARCSEC,
        "deg": 3600 * _ARCSEC,
        "rad": 1.0,
    },
    "flux": {"nJy": 1e-9, "uJy": 1e-6, "mJy": 1e-3, "Jy": 1.0},
    "frequency": {"Hz": 1.0, "kHz": 1e3, "MHz": 1e6, "GHz": 1e9},
    "velocity": {"m/s": 1.0, "km/s": 1e3},
    "size": {
        "B": 1,
        "kB": 1e3,
        "KB": 1e3,
        "MB": 1e6,
        "GB": 1e9,
        "TB": 1e12,
        "KiB": 2.0**10,
        "MiB": 2.0**20,
        "GiB": 2.0**30,
        "TiB": 2.0**40,
    },
}
"""Units by dimension; the factors lead to s, rad, Jy, Hz, m/s and bytes."""

_NUMBER: Final = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(.*?)\s*", re.ASCII)
_EXAMPLES: Final = {
    "duration": "10s",
    "angle": "2arcsec",
    "flux": "0.1mJy",
    "frequency": "1.42GHz",
    "velocity": "5km/s",
    "size": "8GB",
}


def split(text: str) -> tuple[float, str]:
    """Split ``"2 arcsec"`` into ``(2.0, "arcsec")``.

    Raises
    ------
    ValueError
        If the text does not begin with a finite number.
    """
    match = _NUMBER.fullmatch(text)
    if match is None or not math.isfinite(float(match[1])):
        raise ValueError(f"'{text}' does not begin with a number")
    return float(match[1]), match[2]


def parse(text: str, dimension: str) -> float:
    """Read a number with a unit.

    Parameters
    ----------
    text : str
        For example ``"2arcsec"``.
    dimension : {"duration", "angle", "flux", "frequency", "velocity", "size"}
        What the number measures.

    Returns
    -------
    float
        The value in s, rad, Jy, Hz, m/s or bytes.

    Raises
    ------
    ValueError
        If there is no number, no unit, or a unit of something else.
    """
    units = UNITS[dimension]
    example = _EXAMPLES[dimension]
    kind = f"{'an' if dimension[0] in 'aeiou' else 'a'} {dimension}"
    try:
        value, unit = split(text)
    except ValueError:
        raise ValueError(f"'{text}' is not {kind}; write for example \"{example}\"") from None
    if not unit:
        raise ValueError(
            f"'{text}' has no unit; write for example \"{example}\" (units: {', '.join(units)})"
        )
    if unit not in units:
        raise ValueError(
            f"'{unit}' in '{text}' is not a unit of {dimension}; use one of {', '.join(units)}"
        )
    result = value * units[unit]
    if not math.isfinite(result):
        raise ValueError(f"'{text}' is too large")
    return result


def arcsec(radians: float) -> float:
    """Convert radians to arcseconds."""
    return radians / _ARCSEC


def human_bytes(number: float) -> str:
    """Write a number of bytes for a person, in powers of 1000."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(number) < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"


def human_seconds(seconds: float) -> str:
    """Write a duration for a person: ``0.42 s``, ``12 s``, ``3 min 05 s``, ``2 h 10 min``."""
    if seconds < 10:
        return f"{seconds:.2g} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def human_frequency(hertz: float) -> str:
    """Write a frequency for a person, in MHz or GHz."""
    return f"{hertz / 1e9:.6g} GHz" if hertz >= 1e10 else f"{hertz / 1e6:.7g} MHz"
