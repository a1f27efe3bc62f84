"""The ``antenna`` selection: antennas, stations and baselines."""

from __future__ import annotations

import re
from typing import Final

from ..errors import did_you_mean
from ..observation import Antenna, Observation
from .error import SelectionError, antennas_there, quoted_hint
from .pattern import NUMBER, RANGE, backwards, is_quoted, is_regex, matches, parts

_BASELINE: Final = re.compile(r'((?:"[^"]*"|[^&"])*)(&{1,3})(.*)', re.DOTALL)
_LENGTH: Final = re.compile(r"([<>])\s*(\d{1,12}(?:\.\d{0,9})?)\s*(k?m|)", re.ASCII)
# CASA ends an unquoted name before these.
_ENDS_A_NAME: Final = set(" ()|^~\\{}")


def antennas(text: str, observation: Observation) -> tuple[int, ...]:
    """Resolve an ``antenna`` selection.

    Parameters
    ----------
    text : str
        Baselines with semicolons between, each with ``!`` for all others: names, wildcards, ids,
        stations (``@N12``, ``ea01@N12``) with commas between, ``a&b`` for the baselines between
        two lists, ``a&&b`` with autocorrelations, ``a&&&`` for autocorrelations alone, or a length
        (``<100m``). Empty for all. A name comes before an id.
    observation : Observation
        The data, with the antennas that have any.

    Returns
    -------
    tuple of int
        The antennas that are named, or, after ``!``, all that are left.

    Raises
    ------
    SelectionError
        If CASA cannot read it, a name or id has no data, or nothing is selected.
    """
    everyone = {antenna.id for antenna in observation.antennas}
    if not text.strip() or not everyone:
        return tuple(sorted(everyone))
    terms = parts(text, ";")
    found = set(everyone) if terms[0].startswith("!") else set()
    for term in terms:
        negated = term.startswith("!")
        body = term[1:].strip() if negated else term
        named, whole = _term(body, observation)
        if not negated:
            found |= named
        elif whole:
            found -= named
    if not found:
        raise SelectionError(f"antenna '{text}' leaves nothing; {antennas_there(observation)}")
    return tuple(sorted(found))


def _term(body: str, observation: Observation) -> tuple[set[int], bool]:
    """Return the antennas of a term, and whether it stands for all their baselines."""
    length = _LENGTH.fullmatch(body)
    if length is not None:
        return _by_length(length, observation), False
    baseline = _BASELINE.fullmatch(body)
    if baseline is None:
        return _list(body, observation), True
    left, operator, right = baseline[1].strip(), baseline[2], baseline[3].strip()
    if "&" in right.split('"')[0] or (operator == "&&&" and right) or not left:
        raise SelectionError(
            f"CASA cannot read '{body}'; write 'a&b' for baselines between a and b, 'a&&b' with "
            "autocorrelations, 'a&&&' for autocorrelations alone, and ';' between several"
        )
    first = _list(left, observation)
    second = _list(right, observation) if right else first
    if operator == "&" and len(first | second) == 1:
        name = next(a.name for a in observation.antennas if a.id in first)
        raise SelectionError(
            f"'{body}' is no baseline: both ends are {name}; '{name}&&&' are its autocorrelations"
        )
    return first | second, False


def _by_length(length: re.Match[str], observation: Observation) -> set[int]:
    """Return all antennas, unless no baseline is that long."""
    metres = float(length[2]) * (1e3 if length[3] == "km" else 1.0)
    longest = observation.longest_baseline_m
    if length[1] == ">" and 0 < longest * 1.01 < metres:
        raise SelectionError(
            f"no baseline is '{length[0]}': the longest is {longest:.0f} m "
            "(a number without a unit is in m)"
        )
    return {antenna.id for antenna in observation.antennas}


def _list(text: str, observation: Observation) -> set[int]:
    """Return the antennas that a list with commas names."""
    found: set[int] = set()
    for item in parts(text):
        chosen = _item(item, observation)
        if not chosen:
            raise _nothing(item, observation)
        found |= chosen
    return found


def _item(item: str, observation: Observation) -> set[int]:
    there = observation.antennas
    span = RANGE.fullmatch(item)
    if span is not None:
        low, high = int(span[1]), int(span[2])
        if low > high:
            raise backwards(item, low, high)
        return _between(low, high, there)
    if item.startswith("!"):
        raise SelectionError(
            f"CASA cannot read '{item}' in a list: one '!' at its start holds for the whole list, "
            "'!ea01,ea02', and ';' stands between lists"
        )
    bare = is_quoted(item) or is_regex(item)
    if not bare and "@" in item:
        name, _, station = item.partition("@")
        return _named(name.strip(), there) & _stationed(station.strip(), there)
    if NUMBER.fullmatch(item):
        return _named(item, there) or {a.id for a in there if a.id == int(item)}
    if not bare and _ENDS_A_NAME & set(item):
        hint = quoted_hint(item, [antenna.name for antenna in there])
        raise SelectionError(
            f"CASA cannot read '{item}' as an antenna{hint}; {antennas_there(observation)}"
        )
    return _named(item, there) or _stationed(item, there)


def _between(low: int, high: int, there: tuple[Antenna, ...]) -> set[int]:
    """Return the antennas of a range of ids; a name that is such a number comes first."""
    by_name = {int(a.name): a.id for a in there if NUMBER.fullmatch(a.name)}
    found = {antenna_id for number, antenna_id in by_name.items() if low <= number <= high}
    return found | {a.id for a in there if low <= a.id <= high and a.id not in by_name}


def _named(text: str, there: tuple[Antenna, ...]) -> set[int]:
    """Return the antennas with this name; without a name, all."""
    if not text:
        return {antenna.id for antenna in there}
    return {there[i].id for i in matches(text, [antenna.name for antenna in there])}


def _stationed(text: str, there: tuple[Antenna, ...]) -> set[int]:
    return {there[i].id for i in matches(text, [antenna.station for antenna in there])}


def _nothing(item: str, observation: Observation) -> SelectionError:
    names = [antenna.name for antenna in observation.antennas]
    bare = item.strip("\"'@")
    if item.startswith("@"):
        names = [antenna.station for antenna in observation.antennas]
    # ea02 is no misspelt ea03.
    others = [name for name in names if not _another(bare, name)]
    return SelectionError(
        f"there is no antenna '{item}' with data; {antennas_there(observation)}"
        f"{did_you_mean(bare, others)}"
    )


def _another(name: str, other: str) -> bool:
    """Tell whether two names differ in their numbers."""
    found = [[int(number) for number in re.findall(r"\d{1,9}", text)] for text in (name, other)]
    return found[0] != found[1]
