"""Images that ``[matrix]`` made of one, against each other: what each value does to the image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from . import charts, words

_MEASURES: Final = (
    ("noise", "noise (mJy/beam)", 1e3),
    ("peak", "peak (mJy/beam)", 1e3),
    ("dynamic_range", "dynamic range", 1.0),
    ("beam", "beam's major axis (arcsec)", 1.0),
)
"""What is drawn: its name in an image's ``sort``, that of its axis, and the axis' unit over SI."""

_WIDTH: Final = 480.0

Row = dict[str, Any]


def sections(
    swept: Mapping[str, Mapping[str, Any]], images: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return a section for each image that was made with several values, and each target.

    Parameters
    ----------
    swept : mapping
        For each image that a sweep made what it was made ``of`` and its ``values``, by name.
    images : iterable of mapping
        The images as the report shows them.
    """
    found: dict[tuple[str, str], list[Row]] = {}
    for image in images:
        made = swept.get(image["name"])
        if made:
            row = {"image": image, "values": made["values"]}
            found.setdefault((image["target"], made["of"]), []).append(row)
    return [_section(target, of, rows) for (target, of), rows in found.items() if len(rows) > 1]


def _section(target: str, of: str, rows: Sequence[Row]) -> dict[str, Any]:
    keys = list(rows[0]["values"])
    return {
        "target": target,
        "of": of,
        "keys": keys,
        "rows": [
            {"image": row["image"], "values": [_written(row["values"].get(key)) for key in keys]}
            for row in rows
        ],
        "charts": [chart for chart in _charts(of, keys, rows) if chart],
    }


def _charts(of: str, keys: Sequence[str], rows: Sequence[Row]) -> list[dict[str, Any] | None]:
    """Draw each measure against the key that takes most numbers; the others make the lines."""
    numbers = {
        key: {row["values"].get(key) for row in rows} for key in keys if _is_number(key, rows)
    }
    if not numbers:
        return []
    along = max(numbers, key=lambda key: len(numbers[key]))
    drawn = []
    for measure, axis, scale in _MEASURES:
        series: dict[str, list[tuple[float, float | None]]] = {}
        for row in rows:
            value = row["image"].get("sort", {}).get(measure)
            point = (float(row["values"][along]), None if value is None else scale * value)
            series.setdefault(_line(of, along, row["values"]), []).append(point)
        label = f"{axis} of {of} against {along}"
        ordered = {name: sorted(points, key=lambda at: at[0]) for name, points in series.items()}
        drawn.append(charts.lines(ordered, label, (along, axis), width=_WIDTH))
    return drawn


def _is_number(key: str, rows: Sequence[Row]) -> bool:
    values = [row["values"].get(key) for row in rows]
    return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)


def _line(of: str, along: str, values: Mapping[str, Any]) -> str:
    """Name the line of a point: by the values of the keys that are not along the axis."""
    rest = [f"{key} {_written(value)}" for key, value in values.items() if key != along]
    return ", ".join(rest) or of


def _written(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_written, value)) or "[]"
    if value is None:
        return words.NONE
    return str(value).lower() if isinstance(value, bool) else str(value)
