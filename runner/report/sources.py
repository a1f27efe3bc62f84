"""The catalogue of an image's sources as the report shows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from . import words

MOST: Final = 30
"""Sources that the report lists, the brightest; the tables hold all."""

_KINDS: Final = {".ecsv": "ECSV", ".xml": "VOTable", ".reg": "DS9 regions"}
_SAID: Final = {
    "gaussian": "",
    "beam": "shape of the beam",
    "moments": "no Gaussian: sums over its pixels",
}


def table(numbers: Mapping[str, Any], link: Callable[[str], str]) -> dict[str, Any] | None:
    """Return the rows of a catalogue in words; None where there is none.

    Parameters
    ----------
    numbers : mapping
        What `measure_image` wrote.
    link : callable
        Turns a path of the run folder into a link.
    """
    if "sources" not in numbers:
        return None
    found = numbers["sources"]
    if found is None:
        return {"none": f"No catalogue: {numbers['sources_reason']}.", "rows": [], "files": []}
    files = [
        {"name": _KINDS[path[path.rindex(".") :]], "link": link(path)} for path in found["files"]
    ]
    limit = f"{words.significant(found['threshold_sigma'], 2)} times the local noise"
    if not found["number"]:
        return {"none": f"No source is above {limit}.", "rows": [], "files": files}
    return {
        "none": "",
        "number": found["number"],
        "limit": limit,
        "frame": found["frame"],
        "rows": [_row(one, found["frame"]) for one in _in_order(found["brightest"])],
        "files": files,
    }


def _in_order(brightest: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return those that are listed, by the numbers that the pictures show."""
    return sorted(brightest[:MOST], key=lambda one: int(one["id"]))


def _row(one: Mapping[str, Any], frame: str) -> dict[str, str]:
    galactic = frame == "GALACTIC"
    first, second = one["ra_deg"], one["dec_deg"]
    return {
        "id": str(one["id"]),
        "ra": f"{first:.5f}°" if galactic else words.right_ascension(first),
        "dec": f"{second:+.5f}°" if galactic else words.declination(second),
        "error": f"{words.angle(one['ra_error_arcsec'])}, {words.angle(one['dec_error_arcsec'])}",
        "flux": _with_error(one["flux_jy"], one["flux_error_jy"], "Jy"),
        "peak": _with_error(one["peak_jy_per_beam"], one["peak_error_jy_per_beam"], "Jy/beam"),
        "size": _size(one),
        "snr": words.significant(one["snr"]),
        "beam": words.significant(one["primary_beam"], 2),
        "remark": _SAID[one["method"]],
    }


def _with_error(value: float, error: float | None, unit: str) -> str:
    """Write a brightness and its error with the prefix of the brightness."""
    written, _, of_unit = words.brightness(value, unit).partition(" ")
    if error is None or not value:
        return f"{written} {of_unit}"
    scale = float(written) / value if float(written) else 1.0
    return f"{written} ± {words.significant(error * scale, 2)} {of_unit}"


def _size(one: Mapping[str, Any]) -> str:
    """Write the size behind the beam, or how large it can be."""
    if one["resolved"]:
        major, minor = one["own_major_arcsec"], one["own_minor_arcsec"]
        error = words.significant(one["own_major_error_arcsec"], 2)
        narrow = words.angle(minor) if minor else "unresolved"
        return f"{words.angle(major)} ± {error} {words.BY} {narrow}, PA {one['own_pa_deg']:.0f}°"
    if one["own_major_limit_arcsec"] is not None:
        return f"< {words.angle(one['own_major_limit_arcsec'])}"
    if one["method"] == "moments":
        return f"{words.angle(one['major_arcsec'])} {words.BY} {words.angle(one['minor_arcsec'])}"
    return words.NONE
