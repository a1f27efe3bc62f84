"""The ``timerange`` selection."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final

from ..observation import Observation
from .error import SelectionError
from .pattern import parts

_EPOCH: Final = datetime(1858, 11, 17)
_TIME: Final = re.compile(
    r"(?:(\d{4})/(\d{1,2})/(\d{1,2})(?:/|$))?"
    r"(?:(?:(\d{1,4}):)?(?:(\d{1,2}):))?(\d{1,4}(?:\.\d{0,9})?)?",
    re.ASCII,
)
_LENGTH: Final = re.compile(r"(?:(?:(\d{1,4}):)?(\d{1,4}):)?(\d{1,9}(?:\.\d{0,9})?)", re.ASCII)
_FORM: Final = "write YYYY/MM/DD/hh:mm:ss~hh:mm:ss"
_DATE: Final = re.compile(r"\d{4}/\d{1,2}/\d{1,2}", re.ASCII)
_DAY_S: Final = 86400.0


def timerange(text: str, observation: Observation) -> tuple[tuple[float, float], ...]:
    """Resolve a ``timerange`` selection.

    Parameters
    ----------
    text : str
        ``t0~t1``, ``t0+length``, ``>t0``, ``<t1`` or one time, with commas between; empty for
        all. A time is ``YYYY/MM/DD/hh:mm:ss`` in UTC; what is left out comes, as in CASA, from
        the first time of the data, and after ``~`` from the time before it. To CASA ``08:05`` is
        five seconds past eight minutes. Wildcards select all.
    observation : Observation
        The data.

    Returns
    -------
    tuple of (float, float)
        Begin and end of each range in MJD seconds.

    Raises
    ------
    SelectionError
        If CASA cannot read it, or no data lie in a range.
    """
    whole = (observation.start_mjd_s, observation.end_mjd_s)
    if not text.strip():
        return (whole,)
    found = []
    for item in parts(text):
        span = whole if "*" in item or "[" in item else _span(item, observation)
        _need_a_day(item, span, observation)
        _need_data(item, span, observation)
        found.append(span)
    return tuple(found)


def casa_time(mjd_s: float) -> str:
    """Write MJD seconds as CASA does: ``2020/03/01/08:00:52``."""
    return f"{_EPOCH + timedelta(seconds=round(mjd_s)):%Y/%m/%d/%H:%M:%S}"


def _span(item: str, observation: Observation) -> tuple[float, float]:
    first = observation.start_mjd_s + 0.5 * _integration(observation)
    if item[0] in "<>":
        limit = _time(item[1:].strip(), first, item)
        return (limit, float("inf")) if item[0] == ">" else (0.0, limit)
    if "~" in item:
        texts = [text.strip() for text in item.split("~")]
        if len(texts) != 2:
            raise _unreadable(item)
        begin = _time(texts[0], first, item)
        end = _time(texts[1], begin if "/" in texts[0] else first, item)
        if end < begin:
            raise SelectionError(
                f"'{item}' runs backwards: it ends at {casa_time(end)}, before it begins at "
                f"{casa_time(begin)}{_short_hint(item)}"
            )
        return begin, end
    if "+" in item:
        start, _, length = (text.strip() for text in item.partition("+"))
        begin = _time(start, first, item)
        return begin, begin + _length(length, item)
    middle = _time(item, first, item)
    # One time takes the integration that it falls into.
    half = 0.5 * max((scan.integration_s for scan in observation.scans), default=0.0)
    return middle - half, middle + half


def _time(text: str, default: float, item: str) -> float:
    """Return a time in MJD seconds; what it leaves out is taken from another."""
    match = _TIME.fullmatch(text)
    if match is None or not text:
        raise _unreadable(item)
    year, month, day, hours, minutes, seconds = match.groups()
    midnight = default - default % _DAY_S
    if year:
        if not 1 <= int(month) <= 12 or not 0 <= int(day) <= 31 or int(year) < 1859:
            raise _unreadable(item)
        date = datetime(int(year), int(month), 1) + timedelta(days=int(day) - 1)
        midnight = (date - _EPOCH).total_seconds()
    if seconds is None:
        return midnight + default % _DAY_S
    if minutes is None:
        return midnight + (default % _DAY_S) // 60 * 60 + float(seconds)
    if int(minutes) > 60 or float(seconds) > 60:
        raise _unreadable(item)
    # CASA reads what has two parts as minutes and seconds.
    return midnight + 3600.0 * int(hours or 0) + 60.0 * int(minutes) + float(seconds)


def _length(text: str, item: str) -> float:
    """Return a duration in s: ``hh:mm:ss`` or seconds; a date and time counts as its time."""
    match = _LENGTH.fullmatch(text.rsplit("/", 1)[-1])
    if match is None:
        raise _unreadable(item)
    if "/" in text:  # CASA takes it; what it makes of it has no use
        return float("inf")
    hours, minutes, seconds = match.groups()
    return 3600.0 * int(hours or 0) + 60.0 * int(minutes or 0) + float(seconds)


def _need_data(item: str, span: tuple[float, float], observation: Observation) -> None:
    """Refuse a range in which nothing was observed, with an integration's margin."""
    margin = _integration(observation)
    spans = [(scan.start_mjd_s, scan.end_mjd_s) for scan in observation.scans]
    spans = spans or [(observation.start_mjd_s, observation.end_mjd_s)]
    if any(begin <= span[1] + margin and end >= span[0] - margin for begin, end in spans):
        return
    there = f"the data are from {casa_time(spans[0][0])} to {casa_time(max(e for _, e in spans))}"
    inside = span[0] < max(end for _, end in spans) and span[1] > spans[0][0]
    why = ", and no scan lies in it" if inside else ""
    raise SelectionError(f"no data in timerange '{item}': {there}{why}{_short_hint(item)}")


def _need_a_day(item: str, span: tuple[float, float], observation: Observation) -> None:
    """Refuse a date alone, of which CASA takes one integration, where there is more of that day.

    Measured (6.7.0.31 and 6.7.5.18): ``2020/03/01`` selects the rows at the time of day of the
    first row.
    """
    dates = {text.strip() for text in item.split("~")}
    if len(dates) > 1 or not all(_DATE.fullmatch(date) for date in dates):
        return
    midnight = span[0] - span[0] % _DAY_S
    outside = [
        scan
        for scan in observation.scans
        if scan.end_mjd_s > midnight
        and scan.start_mjd_s < midnight + _DAY_S
        and (scan.start_mjd_s < span[0] - 1 or scan.end_mjd_s > span[1] + 1)
    ]
    if outside:
        (date,) = dates
        raise SelectionError(
            f"timerange '{item}' is a date without a time: CASA takes the time of the first data, "
            f"{casa_time(observation.start_mjd_s)[-8:]}, and so one integration; write "
            f"'{date}/00:00:00~24:00:00' for the whole day"
        )


def _integration(observation: Observation) -> float:
    return max((scan.integration_s for scan in observation.scans), default=0.0)


def _short_hint(item: str) -> str:
    """Say what CASA makes of ``08:05``, where the item has such a time."""
    for text in re.split(r"[~<>+]", item):
        clock = text.strip().rsplit("/", 1)[-1]
        if re.fullmatch(r"\d{1,2}:\d{1,2}(\.\d*)?", clock, re.ASCII):
            return f"; CASA reads '{clock}' as minutes and seconds: write '{clock}:00'"
    return ""


def _unreadable(item: str) -> SelectionError:
    return SelectionError(f"CASA cannot read the time '{item}'; {_FORM}")
