"""Numbers of many runs against date, and those that fall out of line."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any, Final

from ..qa.sky import scaled
from . import words
from .survey import Row

MAX_SIGMA: Final = 5.0
"""A number further than so many sigma from the median of its like is an outlier."""

MIN_NUMBER: Final = 5
"""Of fewer numbers nobody knows what is usual."""

MIN_SPREAD: Final = 0.01
"""Sigma is at least this share of the median: numbers that are all but equal have no outliers."""

_MAD_TO_SIGMA: Final = 1.4826
_SHOWN: Final = 7
"""Series of a plot; there are as many colours that colour-blind people can tell apart."""

WIDTH, HEIGHT = 460, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 10, 12, 26


@dataclass(frozen=True)
class Quantity:
    """A number of a row, and among which rows it is comparable.

    Attributes
    ----------
    key : str
        The row's attribute.
    title : str
        In words.
    of_target : bool
        Rows of one target are comparable only; else all rows with the image's name.
    of_dataset : bool
        The number is of the data, not of an image.
    """

    key: str
    title: str
    of_target: bool
    of_dataset: bool = False


QUANTITIES: Final = (
    Quantity("rms_noise_jy_per_beam", "noise", of_target=False),
    Quantity("peak_jy_per_beam", "peak", of_target=True),
    Quantity("dynamic_range", "dynamic range", of_target=True),
    Quantity("bmaj_arcsec", "synthesized beam, major axis", of_target=False),
    Quantity("flagged_fraction", "flagged", of_target=False, of_dataset=True),
    Quantity("wall_s", "time taken", of_target=False, of_dataset=True),
)


@dataclass(frozen=True)
class Point:
    """A number of a row: `row` is the row's index."""

    row: int
    series: str
    value: float
    date: str
    label: str


@dataclass(frozen=True)
class Outlier:
    """A number that is not like the others.

    Attributes
    ----------
    row : int
        Index of its row.
    what, label, series : str
        The quantity, the row and the series in words.
    value, usual : str
        The number and the median of its like, written.
    sigma : float
        By how many sigma it is off; negative if it is low.
    """

    row: int
    what: str
    label: str
    series: str
    value: str
    usual: str
    sigma: float


def points(rows: Sequence[Row], quantity: Quantity, date: str) -> list[Point]:
    """Return the numbers of one quantity.

    Parameters
    ----------
    rows : sequence of Row
        All rows.
    quantity : Quantity
        Which number.
    date : {"observed", "ended"}
        The row's date that counts.
    """
    found: dict[tuple[str, ...], Point] = {}
    for index, row in enumerate(rows):
        value = getattr(row, quantity.key)
        if value is None or (not row.image and not quantity.of_dataset):
            continue
        point = Point(index, _series(row, quantity), value, getattr(row, date), label(row))
        # Images of one target, or of one run, share numbers of their data.
        shared = {"flagged_fraction": (row.run, row.target), "wall_s": (row.run,)}
        found.setdefault(shared.get(quantity.key, (str(index),)), point)
    return list(found.values())


def _series(row: Row, quantity: Quantity) -> str:
    if quantity.of_dataset:
        return "all"
    return f"{row.target}, {row.image}" if quantity.of_target else row.image


def label(row: Row) -> str:
    """Name a row in a sentence."""
    return ", ".join(part for part in (row.run, row.target, row.image) if part)


def flux_points(rows: Sequence[Row], date: str) -> list[Point]:
    """Return the flux densities of the calibrators, once a run and field."""
    found: dict[tuple[str, str, float], Point] = {}
    for index, row in enumerate(rows):
        for source, value in row.fluxes_jy.items():
            point = Point(index, source, value, getattr(row, date), f"{row.run}, {source}")
            found.setdefault((row.run, source, value), point)
    return list(found.values())


def outliers(numbers: Sequence[Point], key: str, title: str) -> Iterator[Outlier]:
    """Yield the numbers that are `MAX_SIGMA` from the median of their series, or more.

    Sigma is 1.4826 times the median absolute deviation: a few outliers do not widen it.
    """
    by_series: dict[str, list[Point]] = {}
    for point in numbers:
        by_series.setdefault(point.series, []).append(point)
    for series, mine in by_series.items():
        if len(mine) < MIN_NUMBER:
            continue
        middle = median(point.value for point in mine)
        spread = _MAD_TO_SIGMA * median(abs(point.value - middle) for point in mine)
        sigma = max(spread, MIN_SPREAD * abs(middle))
        for point in mine:
            off = (point.value - middle) / sigma if sigma else 0.0
            if abs(off) >= MAX_SIGMA:
                yield Outlier(point.row, title, point.label, "" if series == "all" else series,
                              written(key, point.value), written(key, middle), off)  # fmt: skip


def written(key: str, value: float | None) -> str:
    """Write a number of a row for a person."""
    if value is None:
        return words.NONE
    if key == "flagged_fraction":
        return words.percent(value)
    if key == "wall_s":
        return words.seconds(value)
    if key == "flux_jy":
        return words.brightness(value, "Jy")
    if key.endswith("jy_per_beam"):
        return words.brightness(value)
    if key.endswith("arcsec"):
        return words.angle(value)
    return words.significant(value)


def plot(numbers: Sequence[Point], key: str, odd: set[int]) -> dict[str, Any] | None:
    """Lay out a plot of numbers against date, for the template to draw as SVG.

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
    shown = {name: min(index, _SHOWN - 1) for index, name in enumerate(names)}
    times = [when for when, _ in known]
    values = [point.value for _, point in known]
    logarithmic = min(values) > 0 and max(values) > 20 * min(values)
    across = _Scale.of(min(times), max(times), _LEFT, WIDTH - _RIGHT)
    up = _Scale.of(*_limits(values, logarithmic), HEIGHT - _BOTTOM, _TOP)
    factor, unit = _unit(key, max(values))
    marks = [
        {
            "x": round(across.at(when), 1),
            "y": round(up.at(math.log10(point.value) if logarithmic else point.value), 1),
            "series": shown[point.series],
            "row": point.row,
            "odd": point.row in odd,
            "text": f"{point.label}: {written(key, point.value)}, {_day(when)}",
        }
        for when, point in known
    ]
    legend = [
        {"series": index, "name": name if index < _SHOWN - 1 or len(names) <= _SHOWN
         else f"{len(names) - _SHOWN + 1} others"}
        for index, name in enumerate(names[:_SHOWN]) if names != ["all"]
    ]  # fmt: skip
    return {
        "marks": marks,
        "legend": legend,
        "x_ticks": [(round(across.at(t), 1), _tick(t, max(times) - min(times)))
                    for t in sorted({min(times), max(times)})],
        "y_ticks": [(round(up.at(v), 1), words.significant((10**v if logarithmic else v) * factor))
                    for v in _ticks(up.low, up.high)],
        "unit": f"{unit}, logarithmic" if unit and logarithmic else unit,
    }  # fmt: skip


@dataclass(frozen=True)
class _Scale:
    """Maps values onto a range of the plot."""

    low: float
    high: float
    first: float
    last: float

    @classmethod
    def of(cls, low: float, high: float, first: float, last: float) -> _Scale:
        if low == high:
            half = abs(low) / 2 or 0.5
            return cls(low - half, high + half, first, last)
        return cls(low, high, first, last)

    def at(self, value: float) -> float:
        return self.first + (value - self.low) / (self.high - self.low) * (self.last - self.first)


def _limits(values: Sequence[float], logarithmic: bool) -> tuple[float, float]:
    """Return the ends of the vertical axis: from 0, unless that would hide what differs."""
    if logarithmic:
        return math.log10(min(values)), math.log10(max(values))
    low, high = min(values), max(values)
    return (0.0 if 0 <= low < 0.6 * high else low), high


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


def _ticks(low: float, high: float) -> list[float]:
    return [low, 0.5 * (low + high), high]


def _moment(date: str) -> float | None:
    try:
        return datetime.fromisoformat(date).astimezone(UTC).timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def _day(moment: float) -> str:
    return _tick(moment, 0.0)


def _tick(moment: float, span_s: float) -> str:
    when = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=moment)
    return when.strftime("%Y-%m-%d" if span_s > 86400 * 2 else "%Y-%m-%d %H:%M")


def date_of(rows: Sequence[Row]) -> str:
    """Return which date tells more: of the observations, where these differ, else of the runs."""
    return "observed" if len({row.observed for row in rows if row.observed}) > 1 else "ended"


def all_of(rows: Sequence[Row], date: str) -> tuple[list[dict[str, Any]], list[Outlier]]:
    """Return the plots of all quantities, and the outliers of all, the furthest off first."""
    plots: list[dict[str, Any]] = []
    odd_ones: list[Outlier] = []
    groups: list[tuple[str, str, list[Point]]] = [
        (quantity.key, quantity.title, points(rows, quantity, date)) for quantity in QUANTITIES
    ]
    groups.append(("flux_jy", "flux density of calibrators", flux_points(rows, date)))
    for key, title, numbers in groups:
        odd = list(outliers(numbers, key, title))
        odd_ones += odd
        drawn = plot(numbers, key, {one.row for one in odd})
        if drawn is not None:
            plots.append({**drawn, "key": key, "title": title})
    return plots, sorted(odd_ones, key=lambda one: -abs(one.sigma))


def counted(rows: Sequence[Row]) -> Mapping[str, int]:
    """Count runs by what became of them, in the order in which a reader asks."""
    by_run = {row.run: outcome(row) for row in rows}
    order = ("fail", "failed", "warn", "pass", "running", "interrupted", "died", "unheard",
             "unknown")  # fmt: skip
    found = {name: sum(value == name for value in by_run.values()) for name in order}
    return {name: number for name, number in found.items() if number}


def outcome(row: Row) -> str:
    """Return the verdict of a run that is done, else its state."""
    return (row.verdict or "unknown") if row.state == "done" else row.state
