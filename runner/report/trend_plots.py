"""Numbers of many runs against date, laid out for the template to draw as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from ..qa.sky import scaled
from . import words
from .survey import Row
from .trends import Outlier, Point, groups, outliers, written

FRAME: Final = {"width": 460, "height": 190, "left": 62, "right": 450, "top": 12, "bottom": 164}
"""A plot and the part of it inside the axes, in the SVG's units; y grows downwards."""

_SHOWN: Final = 7
"""Series of a plot; there are as many colours that colour-blind people can tell apart."""

_WIDE: Final = 20
"""Numbers that differ by more than this factor go on a logarithmic axis."""


def all_of(rows: Sequence[Row], date: str) -> tuple[list[dict[str, Any]], list[Outlier]]:
    """Return the plots of all quantities, and the outliers of all, the furthest off first."""
    plots: list[dict[str, Any]] = []
    odd_ones: list[Outlier] = []
    for key, title, numbers in groups(rows, date):
        odd = list(outliers(numbers, key, title))
        odd_ones += odd
        drawn = plot(numbers, key, {one.row for one in odd})
        if drawn is not None:
            plots.append({**drawn, "key": key, "title": title})
    return plots, sorted(odd_ones, key=lambda one: -abs(one.sigma))


def plot(numbers: Sequence[Point], key: str, odd: set[int]) -> dict[str, Any] | None:
    """Lay out a plot of numbers against date.

    Parameters
    ----------
    numbers : sequence of Point
        The numbers; those without a date are left out.
    key : str
        What they are, for `written`.
    odd : set of int
        Rows to mark.

    Returns
    -------
    dict or None
        ``marks`` (x, y, series, row, text, odd), ``x_ticks`` and ``y_ticks`` (place and
        text), ``unit``, ``legend``; None where there are fewer than two numbers.
    """
    dated = [(_moment(point.date), point) for point in numbers]
    known = [(when, point) for when, point in dated if when is not None]
    if len(known) < 2:
        return None
    names = list(dict.fromkeys(point.series for _, point in known))
    axes = _Axes.of([when for when, _ in known], [point.value for _, point in known])
    factor, unit = _unit(key, max(point.value for _, point in known))
    marks = [
        {
            "x": axes.x(when),
            "y": axes.y(point.value),
            "series": min(names.index(point.series), _SHOWN - 1),
            "row": point.row,
            "odd": point.row in odd,
            "text": f"{point.label}: {written(key, point.value)}, {_tick(when, 0.0)}",
        }
        for when, point in known
    ]
    return {
        "marks": marks,
        "legend": _legend(names),
        "x_ticks": axes.x_ticks(),
        "y_ticks": axes.y_ticks(factor),
        "unit": ", ".join(word for word in (unit, "logarithmic" * axes.logarithmic) if word),
    }


def _legend(names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the series and their names; those beyond the last colour share it."""
    if names == ["all"]:
        return []
    found: list[dict[str, Any]] = [
        {"series": index, "name": name} for index, name in enumerate(names[:_SHOWN])
    ]
    if len(names) > _SHOWN:
        found[-1]["name"] = f"{len(names) - _SHOWN + 1} others"
    return found


@dataclass(frozen=True)
class _Axes:
    """Maps times and values onto the plot."""

    times: tuple[float, float]
    values: tuple[float, float]
    logarithmic: bool

    @classmethod
    def of(cls, times: Sequence[float], values: Sequence[float]) -> _Axes:
        """Choose the axes: from 0, unless that would hide what differs."""
        low, high = min(values), max(values)
        logarithmic = low > 0 and high > _WIDE * low
        if logarithmic:
            low, high = math.log10(low), math.log10(high)
        elif 0 <= low < 0.6 * high:
            low = 0.0
        return cls((min(times), max(times)), (low, high), logarithmic)

    def x(self, when: float) -> float:
        """Return where a time is."""
        return _placed(when, self.times, FRAME["left"], FRAME["right"])

    def y(self, value: float) -> float:
        """Return where a value is."""
        at = math.log10(value) if self.logarithmic else value
        return _placed(at, self.values, FRAME["bottom"], FRAME["top"])

    def x_ticks(self) -> list[tuple[float, str]]:
        """Return place and text of the first time and the last."""
        span = self.times[1] - self.times[0]
        return [(self.x(when), _tick(when, span)) for when in dict.fromkeys(self.times)]

    def y_ticks(self, factor: float) -> list[tuple[float, str]]:
        """Return place and text of both ends and the middle, times a factor."""
        low, high = self.values
        found = []
        for at in dict.fromkeys((low, 0.5 * (low + high), high)):
            value = 10**at if self.logarithmic else at
            place = _placed(at, self.values, FRAME["bottom"], FRAME["top"])
            found.append((place, words.significant(value * factor)))
        return found


def _placed(at: float, ends: tuple[float, float], first: float, last: float) -> float:
    low, high = ends
    share = 0.5 if low == high else (at - low) / (high - low)
    return round(first + share * (last - first), 1)


def _unit(key: str, largest: float) -> tuple[float, str]:
    """Return what numbers are multiplied by for their axis, and the axis' unit."""
    if key == "flagged_fraction":
        return 100.0, "%"
    if key == "wall_s":
        return (1 / 3600, "h") if largest >= 7200 else (1.0, "s")
    if key == "flux_jy" or key.endswith("jy_per_beam"):
        factor, prefix = scaled(largest)
        return factor, f"{prefix}Jy" + ("" if key == "flux_jy" else "/beam")
    return 1.0, "arcsec" if key.endswith("arcsec") else ""


def _moment(date: str) -> float | None:
    try:
        return datetime.fromisoformat(date).astimezone(UTC).timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def _tick(moment: float, span_s: float) -> str:
    when = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=moment)
    return when.strftime("%Y-%m-%d" if span_s > 86400 * 2 else "%Y-%m-%d %H:%M")
