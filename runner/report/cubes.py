"""What was made of cubes as the report shows it: rows of words made from measured numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from . import words
from .measured import plots, viewers


def cube(
    target: str, name: str, numbers: Mapping[str, Any], link: Callable[[str], str]
) -> dict[str, Any]:
    """Return what the report shows of what was made of a cube.

    Parameters
    ----------
    target, name : str
        Whose cube it is (empty for a file's), and the name of the ``[[cube]]``.
    numbers : mapping
        What `collect.measure_cube` wrote, or nothing.
    link : callable
        Turns a path of the run folder into a link.
    """
    title = f"{target}: {name}" if target else name
    shown: dict[str, Any] = {
        "target": target,
        "name": name,
        "title": title,
        "anchor": f"cube-{quote(f'{target}.{name}', safe='')}",
        "plots": plots(numbers).get("cube", []),
        "viewers": viewers(numbers, "cube", "image"),
    }
    if not numbers:
        return shown
    fits = str(numbers.get("fits") or "")
    unit = str(numbers.get("unit", ""))
    return shown | {
        "summary": {
            "peak": _brightness(numbers, "peak", unit),
            "noise": _brightness(numbers, "rms_noise", unit),
            "beam": words.synthesized_beam(dict(numbers)),
        },
        "done": [str(one) for one in numbers.get("done", ())],
        "of": str(numbers.get("of", "")),
        "rows": _rows(numbers),
        "products": [
            {"path": str(path), "link": link(str(path))} for path in numbers.get("products", ())
        ],
        "fits": fits,
        "fits_link": link(fits),
    }


def _rows(numbers: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return (what, value, remark) for the table of a cube's numbers."""
    n_x, n_y, _, n_chan = numbers["shape"]
    unit = str(numbers.get("unit", ""))
    channel = numbers.get("peak_channel")
    rows = [
        ("size", f"{n_x} {words.BY} {n_y} pixels, {n_chan} channels", ""),
        ("peak", _brightness(numbers, "peak", unit),
         "" if channel is None else f"in channel {channel}, counted from 0"),
        ("noise", _brightness(numbers, "rms_noise", unit), "median over channels"),
        ("synthesized beam", words.synthesized_beam(dict(numbers)),
         "of the median channel" if numbers.get("beams_differ_by_channel") else ""),
    ]  # fmt: skip
    if "line_flux_jy_km_s" in numbers:
        flux = numbers["line_flux_jy_km_s"]
        value = words.UNKNOWN if flux is None else f"{words.significant(flux)} Jy km/s"
        rows.append(("flux in the mask", value, "integrated over velocity"))
    reasons = {"peak": "peak", "noise": "rms_noise", "synthesized beam": "bmaj_arcsec",
               "flux in the mask": "line_flux_jy_km_s"}  # fmt: skip
    return [
        (what, value, str(numbers.get(f"{reasons.get(what, '')}_reason") or remark))
        for what, value, remark in rows
    ]


def _brightness(numbers: Mapping[str, Any], key: str, unit: str) -> str:
    return words.brightness(numbers.get(key), unit)
