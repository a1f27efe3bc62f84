"""The ``spw`` selection, with its channels."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from ..errors import did_you_mean
from ..observation import Observation, SpectralWindow
from ..quantities import UNITS
from .error import SelectionError, channels, frequencies_there, spws_there
from .pattern import NUMBER, RANGE, backwards, bounded, is_quoted, is_regex, matches, parts

_REAL = r"\d{1,12}(?:\.\d{0,12})?(?:[eE][+-]?\d{1,3})?"
_UNIT = r"Hz|kHz|KHz|MHz|GHz|THz"
_FREQUENCIES: Final = re.compile(
    rf"({_REAL})\s*({_UNIT})?\s*~\s*({_REAL})\s*({_UNIT})(?:\s*\^.*)?", re.ASCII
)
_FREQUENCY: Final = re.compile(rf"({_REAL})\s*({_UNIT})", re.ASCII)
_FREQUENCY_BOUND: Final = re.compile(rf"([<>])\s*({_REAL})\s*({_UNIT})", re.ASCII)
_CHANNELS: Final = re.compile(
    rf"({_REAL})(?:\s*~\s*({_REAL}))?(?:\s*\^\s*(\d{{1,9}}))?|\^\s*(\d{{1,9}})", re.ASCII
)
_VELOCITY: Final = re.compile(r".*\dk?m/s", re.DOTALL)


@dataclass(frozen=True)
class SpwChannels:
    """A spectral window and the channels of it that are selected, by index, sorted."""

    spw_id: int
    channels: tuple[int, ...]


@dataclass(frozen=True)
class _Windows:
    """The windows that an item means; `named` are those that it names one by one."""

    spws: tuple[SpectralWindow, ...]
    named: bool


def spws(text: str, observation: Observation) -> tuple[SpwChannels, ...]:
    """Resolve an ``spw`` selection.

    Parameters
    ----------
    text : str
        Ids, ``0~3``, ``<2``, names, wildcards or frequency ranges, with commas between; after a
        colon channels (``3~5;10``, ``0~60^2``) or frequencies; empty for all.
    observation : Observation
        The data. A frequency selects what it touches; CASA's rules for it are narrower.

    Returns
    -------
    tuple of SpwChannels
        The windows with their channels, by id.

    Raises
    ------
    SelectionError
        If CASA cannot read it, an item selects nothing, or a window that is named has no such
        channel: CASA would take the nearest one without a word. With a wildcard (``*:5~10``)
        windows that are too short give their last channel, as in CASA, if one is long enough.
    """
    if not text.strip():
        return tuple(SpwChannels(s.id, tuple(range(s.n_chan))) for s in observation.spws)
    found: dict[int, set[int]] = {}
    for item in parts(text):
        name, colon, inside = _halves(item)
        windows = _windows(name, observation, alone=not colon)
        for spw in windows.spws:
            found.setdefault(spw.id, set())
        if not colon:
            for spw in windows.spws:
                found[spw.id].update(range(spw.n_chan))
            continue
        for part in parts(inside, ";"):
            for spw_id, chosen in _channels(part, windows, item, observation).items():
                found[spw_id] |= chosen
    return tuple(SpwChannels(i, tuple(sorted(found[i]))) for i in sorted(found) if found[i])


def _halves(item: str) -> tuple[str, bool, str]:
    """Split an item at its colon, which may also stand in a quoted name."""
    end = item.index('"', 1) + 1 if item.startswith('"') else 0
    name, colon, inside = item[end:].partition(":")
    if ":" in inside:
        raise SelectionError(
            f"CASA cannot read '{item}': spws are separated by commas, channels by semicolons"
        )
    return (item[:end] + name).strip(), bool(colon), inside.strip()


def _windows(text: str, observation: Observation, *, alone: bool) -> _Windows:
    """Return the windows that the part before the colon means."""
    chosen: dict[int, SpectralWindow] = {}
    named = True
    for item in parts(text, ";"):
        found = _window(item, observation, alone=alone)
        if not found.spws:
            raise SelectionError(_no_window(item, observation))
        chosen |= {spw.id: spw for spw in found.spws}
        named = named and found.named
    return _Windows(tuple(chosen.values()), named)


def _window(item: str, observation: Observation, *, alone: bool) -> _Windows:
    there = observation.spws
    highest = max((spw.id for spw in there), default=-1)
    span = RANGE.fullmatch(item)
    if NUMBER.fullmatch(item):
        return _Windows(tuple(spw for spw in there if spw.id == int(item)), True)
    if span is not None:
        low, high = int(span[1]), int(span[2])
        if low > high:
            raise backwards(item, low, high)
        if high > highest:
            raise SelectionError(f"there is no spw '{high}' ('{item}'); {spws_there(observation)}")
        return _Windows(tuple(spw for spw in there if low <= spw.id <= high), True)
    by_frequency = _by_frequency(item, observation, alone=alone)
    if by_frequency is not None:
        return _Windows(by_frequency, False)
    bound = None if "&" in item else bounded(item, [spw.id for spw in there], or_equal=False)
    if bound is not None:
        return _Windows(tuple(spw for spw in there if spw.id in bound), False)
    if item.startswith("!"):
        raise SelectionError(
            f"CASA has no negation of spws ('{item}'): name those to take; "
            f"{spws_there(observation)}"
        )
    if is_regex(item):
        return _Windows(there, False)
    found = tuple(there[i] for i in matches(item, [spw.name for spw in there]))
    return _Windows(found, is_quoted(item) or not set("*?[{") & set(item))


def _no_window(item: str, observation: Observation) -> str:
    names = [spw.name for spw in observation.spws]
    said = f"there is no spw '{item}'; {spws_there(observation)}"
    return said + (did_you_mean(item, names) if not NUMBER.fullmatch(item) else "")


def _by_frequency(
    item: str, observation: Observation, *, alone: bool
) -> tuple[SpectralWindow, ...] | None:
    """Return the windows that touch a range of frequencies, or None if it is not one."""
    span, bound = _FREQUENCIES.fullmatch(item), _FREQUENCY_BOUND.fullmatch(item)
    if alone and _FREQUENCY.fullmatch(item):
        raise SelectionError(
            f"CASA finds no spw by the single frequency '{item}': write a range, '1.4~1.5GHz'"
        )
    if span is not None:
        low, high = _hertz(span)
    elif bound is not None:
        limit = float(bound[2]) * _factor(bound[3])
        low, high = (0.0, limit) if bound[1] == "<" else (limit, float("inf"))
    else:
        return None
    found = tuple(spw for spw in observation.spws if _touched(spw, low, high))
    if not found:
        raise SelectionError(f"no spw lies in '{item}'; {frequencies_there(observation)}")
    return found


def _channels(
    part: str, windows: _Windows, item: str, observation: Observation
) -> dict[int, set[int]]:
    """Return the channels that one item after the colon selects, by window."""
    frequency, span = _FREQUENCY.fullmatch(part), _FREQUENCIES.fullmatch(part)
    if span is not None:
        return _by_hertz(_hertz(span), windows, item, observation)
    if frequency is not None:
        hertz = float(frequency[1]) * _factor(frequency[2])
        return _by_hertz((hertz, hertz), windows, item, observation)
    if part == "-1":  # all of them, to CASA
        return {spw.id: set(range(spw.n_chan)) for spw in windows.spws}
    if _VELOCITY.fullmatch(part):
        raise SelectionError(
            f"CASA does not select by velocity ('{part}'): write channels or frequencies"
        )
    indices = _CHANNELS.fullmatch(part)
    if indices is None or (indices[3] and not indices[2]):
        raise SelectionError(
            f"CASA cannot read '{part}' in '{item}' as channels; write '3~10', '3~10^2', '3;5' or "
            f"'1.41~1.42GHz'; {spws_there(observation)}"
        )
    return _by_index(indices, windows, item, observation)


def _by_hertz(
    ends: tuple[float, float], windows: _Windows, item: str, observation: Observation
) -> dict[int, set[int]]:
    found = {spw.id: _touched(spw, *ends) for spw in windows.spws}
    if not any(found.values()):
        raise SelectionError(f"'{item}' has no channel; {frequencies_there(observation)}")
    return found


def _by_index(
    indices: re.Match[str], windows: _Windows, item: str, observation: Observation
) -> dict[int, set[int]]:
    if indices[4]:
        step = int(indices[4]) or 1
        return {spw.id: set(range(0, spw.n_chan, step)) for spw in windows.spws}
    low = int(float(indices[1]))
    high = int(float(indices[2])) if indices[2] else low
    if low > high:
        raise backwards(indices[0], low, high)
    found = {}
    short = [spw for spw in windows.spws if high >= spw.n_chan]
    if short and (windows.named or all(low >= spw.n_chan for spw in windows.spws)):
        spw = short[0]
        raise SelectionError(
            f"'{item}' asks for channel {high} of spw {spw.id}, which has "
            f"{channels(spw.n_chan)}, 0~{spw.n_chan - 1}: CASA would take the nearest one without "
            f"a word; {spws_there(observation)}"
        )
    for spw in windows.spws:
        last = spw.n_chan - 1
        first = min(low, last)
        found[spw.id] = set(range(first, min(high, last) + 1, int(indices[3] or 1) or 1))
    return found


def _hertz(span: re.Match[str]) -> tuple[float, float]:
    low = float(span[1]) * _factor(span[2] or span[4])
    high = float(span[3]) * _factor(span[4])
    if low > high:
        raise SelectionError(f"'{span[0]}' runs backwards: write the lower frequency first")
    return low, high


def _factor(unit: str) -> float:
    return {**UNITS["frequency"], "KHz": 1e3, "THz": 1e12}[unit]


def _touched(spw: SpectralWindow, low: float, high: float) -> set[int]:
    """Return the channels in a range of frequencies (Hz), with a channel to spare at its ends."""
    step = (spw.last_hz - spw.first_hz) / max(1, spw.n_chan - 1) or spw.chan_width_hz
    reach = max(abs(step), abs(spw.chan_width_hz))
    return {i for i in range(spw.n_chan) if low - reach <= spw.first_hz + i * step <= high + reach}
