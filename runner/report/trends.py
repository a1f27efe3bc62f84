"""Numbers of many runs, and those that fall out of line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from . import words
from .survey import Row

MAX_SIGMA: Final = 5.0
"""A number further than so many sigma from the median of its like is an outlier."""

MIN_NUMBER: Final = 5
"""Of fewer numbers nobody knows what is usual."""

MIN_SPREAD: Final = 0.01
"""Sigma is at least this share of the median: numbers that are all but equal have no outliers."""

_MAD_TO_SIGMA: Final = 1.4826


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


def date_of(rows: Sequence[Row]) -> str:
    """Return which date tells more: of the observations, where these differ, else of the runs."""
    return "observed" if len({row.observed for row in rows if row.observed}) > 1 else "ended"


def groups(rows: Sequence[Row], date: str) -> Iterator[tuple[str, str, list[Point]]]:
    """Yield the numbers of all quantities: key, title and points of each."""
    for quantity in QUANTITIES:
        yield quantity.key, quantity.title, points(rows, quantity, date)
    yield "flux_jy", "flux density of calibrators", flux_points(rows, date)


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
