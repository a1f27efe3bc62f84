"""When which field was observed: the scans of a dataset against time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from . import charts, words

MOST_FIELDS: Final = 30
_ROW = 20.0
_COLOURS: Final = {"flux": "c1", "bandpass": "c5", "phase": "c0", "target": "c2"}


def chart(observed: Mapping[str, Any], fields: list[dict[str, str]]) -> dict[str, Any] | None:
    """Draw the scans of a dataset, a row a field.

    Parameters
    ----------
    observed : mapping
        Its metadata (`Observation.to_json`).
    fields : list of dict
        Rows of `measured.dataset`: ``id``, ``name`` and ``roles``.
    """
    scans = observed.get("scans", ())
    if not scans:
        return None
    seen = {number for scan in scans for number in scan["field_ids"]}
    shown = [field for field in fields if int(field["id"]) in seen]
    if not shown or len(shown) > MOST_FIELDS:
        return None
    place = {int(field["id"]): number for number, field in enumerate(shown)}
    left = 20 + 7.2 * min(24, max(len(field["name"]) for field in shown))
    canvas = charts.Canvas(charts.WIDTH, 10 + _ROW * len(shown) + 44, "Scans against time")
    start = min(scan["start_mjd_s"] for scan in scans)
    end = max(scan["end_mjd_s"] for scan in scans)
    x = charts.Scale(start, end, left, charts.WIDTH - 14)
    for number, field in enumerate(shown):
        y = 10 + _ROW * number
        canvas.line([(left, y + _ROW), (charts.WIDTH - 14, y + _ROW)], "grid")
        canvas.text((left - 8, y + 14), charts.short(field["name"], 24), "end")
    for scan in scans:
        for field_id in scan["field_ids"]:
            if field_id not in place:
                continue
            field = shown[place[field_id]]
            begin, stop = x(scan["start_mjd_s"]), x(scan["end_mjd_s"])
            canvas.rect(
                (begin, 13 + _ROW * place[field_id]), (max(2.0, stop - begin), _ROW - 6),
                _colour(field["roles"]),
                f"scan {scan['number']}: {field['name']} ({field['roles']}), "
                f"{words.instant(scan['start_mjd_s'], '%H:%M:%S')} to "
                f"{words.instant(scan['end_mjd_s'], '%H:%M:%S')}, "
                f"integrations of {scan['integration_s']:g} s",
            )  # fmt: skip
    _time_axis(canvas, x, 10 + _ROW * len(shown))
    return canvas.drawn()


def _time_axis(canvas: charts.Canvas, x: charts.Scale, foot: float) -> None:
    """Draw round times below the rows."""
    span = x.high - x.low
    step = next((s for s in _STEPS if span / s <= 9), 86400.0)
    first = -(-x.low // step) * step
    while first <= x.high:
        canvas.line([(x(first), foot), (x(first), foot + 5)], "axis")
        canvas.text((x(first), foot + 18), words.instant(first, "%H:%M"))
        first += step
    date = words.instant(x.low, "%Y-%m-%d")
    canvas.text(((x.start + charts.WIDTH) / 2, foot + 36), f"time (UTC) from {date}")


_STEPS: Final = (60.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 14400.0, 43200.0)


def _colour(roles: str) -> str:
    return next((colour for role, colour in _COLOURS.items() if role in roles), "c6")
