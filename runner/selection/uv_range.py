"""The ``uvrange`` selection."""

from __future__ import annotations

import re
from typing import Final

from ..observation import Observation
from .error import SelectionError
from .pattern import parts

_SPEED_OF_LIGHT: Final = 299792458.0
_REAL = r"\d{1,12}(?:\.\d{0,9})?(?:[eE][+-]?\d{1,2})?"
_UNIT = r"m|M|km|(?i:[kM]lambda)|lambda"
_TAIL = rf"\s*({_UNIT})?\s*(?::\s*(\d{{1,3}}(?:\.\d*)?)\s*%)?"
_SPAN: Final = re.compile(rf"({_REAL})\s*~\s*({_REAL}){_TAIL}", re.ASCII)
_BOUND: Final = re.compile(rf"([<>])\s*({_REAL}){_TAIL}", re.ASCII)
_SINGLE: Final = re.compile(rf"{_REAL}{_TAIL}", re.ASCII)
_FORM: Final = (
    "write '0~1000m', '>1klambda' or '<5km', the unit once at the end; several with commas"
)
# Below this share of the shortest baseline no projection leads above the horizon's haze.
_SHORTEST_PROJECTION: Final = 0.1
_LONGEST_PROJECTION: Final = 1.01


def uvrange(text: str, observation: Observation) -> tuple[tuple[float, float], ...]:
    """Resolve a ``uvrange`` selection.

    Parameters
    ----------
    text : str
        ``0~1000`` (m without a unit), ``>1klambda``, ``2~5km``, also with a percentage by which
        it is widened (``5~10klambda:5%``), with commas between; empty for all.
    observation : Observation
        The data. Wavelengths become metres generously: by all spectral windows.

    Returns
    -------
    tuple of (float, float)
        The shortest and longest projected baseline of each range in m.

    Raises
    ------
    SelectionError
        If CASA cannot read it, or no baseline can lie in a range.
    """
    if not text.strip():
        return ((0.0, float("inf")),)
    return tuple(_item(item, observation) for item in parts(text))


def _item(item: str, observation: Observation) -> tuple[float, float]:
    span, bound = _SPAN.fullmatch(item), _BOUND.fullmatch(item)
    if span is not None:
        low, high = float(span[1]), float(span[2])
        if low >= high:
            raise SelectionError(f"'{item}' is empty: write the shorter length first")
        unit, percent = span[3], span[4]
    elif bound is not None:
        limit = float(bound[2])
        low, high = (0.0, limit) if bound[1] == "<" else (limit, float("inf"))
        unit, percent = bound[3], bound[4]
    elif _SINGLE.fullmatch(item):
        raise SelectionError(f"no baseline is exactly '{item}' long: {_FORM}")
    else:
        raise SelectionError(f"CASA cannot read the uvrange '{item}'; {_FORM}")
    wider = float(percent or 0) / 100
    shortest, longest = _metres(unit or "m", observation)
    result = (low * (1 - wider) * shortest, high * (1 + wider) * longest)
    _need_baselines(item, result, observation, unit)
    return result


def _metres(unit: str, observation: Observation) -> tuple[float, float]:
    """Return the least and the greatest length of a unit in m."""
    if not unit.lower().endswith("lambda"):
        factor = 1e3 if unit == "km" else 1.0
        return factor, factor
    factor = {"k": 1e3, "m": 1e6}.get(unit.lower().removesuffix("lambda"), 1.0)
    edges = [hertz for spw in observation.spws for hertz in (spw.first_hz, spw.last_hz)]
    if not edges or min(edges) <= 0:
        return 0.0, float("inf")
    return factor * _SPEED_OF_LIGHT / max(edges), factor * _SPEED_OF_LIGHT / min(edges)


def _need_baselines(
    item: str, span: tuple[float, float], observation: Observation, unit: str | None
) -> None:
    shortest, longest = observation.shortest_baseline_m, observation.longest_baseline_m
    too_long = 0 < longest * _LONGEST_PROJECTION < span[0]
    too_short = span[1] < shortest * _SHORTEST_PROJECTION
    if not (too_long or too_short):
        return
    there = f"baselines are {shortest:.0f} m to {longest:.0f} m long"
    edges = [hertz for spw in observation.spws for hertz in (spw.first_hz, spw.last_hz)]
    if edges and min(edges) > 0:
        klambda = [1e-3 / _SPEED_OF_LIGHT * hertz for hertz in (min(edges), max(edges))]
        there += f", {shortest * klambda[0]:.3g} to {longest * klambda[1]:.3g} klambda"
    hint = "; a number without a unit is in m" if unit is None else ""
    raise SelectionError(f"no baseline lies in uvrange '{item}': {there}{hint}")
