"""When each step ran, on what: a chart of a run's steps, its memory and its cores against time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from ..quantities import human_bytes, human_seconds
from . import charts

MOST_BARS: Final = 1500
"""Of a longer run the longest steps are drawn."""

_LEFT, _RIGHT, _LANE = 62.0, 14.0, 16.0
_STRIP = 70.0

Row = Mapping[str, Any]


def chart(rows: Sequence[Row]) -> dict[str, Any] | None:
    """Draw the steps of a run as bars in time, with the memory and cores that they took.

    Parameters
    ----------
    rows : sequence of mapping
        Of `context.step_row`; of these ``ended`` (ISO 8601), ``wall_s``, ``cpu_s``,
        ``memory_bytes``, ``stage``, ``title`` and ``id``.

    Returns
    -------
    dict or None
        A chart; None where no step has said when it ran.
    """
    spans = _spans(rows)
    if not spans:
        return None
    zero = min(start for start, _, _ in spans)
    last = max(end for _, end, _ in spans) - zero
    lanes = _lanes(spans)
    n_lanes = max(lanes) + 1
    height = 26 + n_lanes * _LANE + 2 * (_STRIP + 14) + 30
    canvas = charts.Canvas(charts.WIDTH, height, "Steps against time, with memory and cores")
    x = charts.Scale(0.0, last or 1.0, _LEFT, charts.WIDTH - _RIGHT)
    drawn = {row["stage"] for _, _, row in spans}
    colours = _colours([row for row in rows if row["stage"] in drawn])
    canvas.legend = [(stage, colour) for stage, colour in colours.items()]
    for (start, end, row), lane in zip(spans, lanes, strict=True):
        left, right = x(start - zero), x(end - zero)
        canvas.rect(
            (left, 10 + lane * _LANE), (max(1.2, right - left - 0.4), _LANE - 3),
            colours[str(row["stage"])], _said(row),
        )  # fmt: skip
    canvas.text((_LEFT - 6, 22), "steps", "end")
    top = 20 + n_lanes * _LANE
    moving = [(start - zero, end - zero, row) for start, end, row in spans]
    memory = [(s, e, float(row.get("memory_bytes") or 0)) for s, e, row in moving]
    cores = [(s, e, _cores(row)) for s, e, row in moving]
    for name, values, unit in (("memory", memory, human_bytes), ("cores", cores, _one_digit)):
        _strip(canvas, x, (top, top + _STRIP), name, _summed(values), unit)
        top += _STRIP + 14
    for value in charts.ticks(0.0, last or 1.0, 8):
        canvas.text((x(value), top + 8), human_seconds(value) if value else "0")
    return canvas.drawn()


def _spans(rows: Sequence[Row]) -> list[tuple[float, float, Row]]:
    """Return start and end (Unix seconds) of each step that ran, in order of the start."""
    spans = []
    for row in rows:
        ended, wall = row.get("ended"), row.get("wall_s")
        if row["state"] != "done" or not ended or wall is None:
            continue
        try:
            end = datetime.fromisoformat(str(ended)).timestamp()
        except ValueError:
            continue
        spans.append((end - float(wall), end, row))
    longest = sorted(spans, key=lambda span: span[0] - span[1])[:MOST_BARS]
    return sorted(longest, key=lambda span: span[0])


def _lanes(spans: Sequence[tuple[float, float, Row]]) -> list[int]:
    """Give each span the first lane that is free when it starts."""
    free: list[float] = []
    lanes = []
    for start, end, _ in spans:
        lane = next((n for n, until in enumerate(free) if until <= start + 0.02), len(free))
        free[lane : lane + 1] = [end]
        lanes.append(lane)
    return lanes


def _colours(rows: Sequence[Row]) -> dict[str, str]:
    stages = list(dict.fromkeys(str(row["stage"]) for row in rows))
    return {stage: f"c{number % charts.N_COLOURS}" for number, stage in enumerate(stages)}


def _said(row: Row) -> str:
    parts = [f"{row['title']} ({row['id']}): {human_seconds(float(row['wall_s']))}"]
    if row.get("cpu_s"):
        parts.append(f"{human_seconds(float(row['cpu_s']))} of CPU")
    if row.get("memory_bytes"):
        parts.append(human_bytes(float(row["memory_bytes"])))
    return ", ".join(parts)


def _cores(row: Row) -> float:
    wall = float(row["wall_s"])
    return float(row.get("cpu_s") or 0.0) / wall if wall > 0 else 0.0


def _summed(values: Sequence[tuple[float, float, float]]) -> list[tuple[float, float]]:
    """Return the sum over what runs at a time as the corners of its steps."""
    changes: dict[float, float] = {}
    for start, end, value in values:
        changes[start] = changes.get(start, 0.0) + value
        changes[end] = changes.get(end, 0.0) - value
    corners, total = [], 0.0
    for time in sorted(changes):
        corners.append((time, total))
        total = max(0.0, total + changes[time])
        corners.append((time, total))
    return corners


def _strip(
    canvas: charts.Canvas,
    x: charts.Scale,
    span: tuple[float, float],
    name: str,
    corners: Sequence[tuple[float, float]],
    unit: Any,
) -> None:
    """Draw a sum against time; its largest value is written at the top."""
    top = max((value for _, value in corners), default=0.0)
    y = charts.Scale(0.0, top or 1.0, span[1], span[0] + 4)
    canvas.line([(x.start, span[1]), (x.end, span[1])], "axis")
    canvas.line([(x.start, y(top)), (x.end, y(top))], "grid")
    canvas.line([(x(time), y(value)) for time, value in corners], "c0 curve")
    canvas.text((_LEFT - 6, y(top) + 4), unit(top), "end")
    canvas.text((_LEFT - 6, span[1]), name, "end")


def _one_digit(value: float) -> str:
    return f"{value:.1f}"
