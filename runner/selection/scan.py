"""The ``scan`` and ``observation`` selections: lists of numbers."""

from __future__ import annotations

from collections.abc import Sequence

from ..observation import Observation
from .error import SelectionError, numbers, scans_there
from .pattern import NUMBER, RANGE, backwards, bounded, parts


def scans(text: str, observation: Observation) -> tuple[int, ...]:
    """Resolve a ``scan`` selection.

    Parameters
    ----------
    text : str
        Numbers, ``1~3``, ``<3``, ``>=7``, ``>2&<5``, with commas between; empty for all. CASA has
        no negation of scans.
    observation : Observation
        The data.

    Returns
    -------
    tuple of int
        Scan numbers, sorted.

    Raises
    ------
    SelectionError
        If CASA cannot read it, or an item selects nothing.
    """
    there = sorted({scan.number for scan in observation.scans})
    return _numbers(text, there, "scan", scans_there(observation))


def observations(text: str, observation: Observation) -> tuple[int, ...]:
    """Resolve an ``observation`` selection, in the syntax of `scans`.

    Raises
    ------
    SelectionError
        If CASA cannot read it, or an item selects nothing.
    """
    there = sorted({scan.obs_id for scan in observation.scans})
    return _numbers(text, there, "observation", f"observation ids: {numbers(there)}")


def _numbers(text: str, there: Sequence[int], what: str, said: str) -> tuple[int, ...]:
    if not text.strip() or not there:
        return tuple(there)
    found: set[int] = set()
    for item in parts(text):
        bound = bounded(item, there, or_equal=True)
        span = RANGE.fullmatch(item)
        if bound is not None:
            chosen = set(bound)
        elif span is not None:
            low, high = int(span[1]), int(span[2])
            if low > high:
                raise backwards(item, low, high)
            chosen = {number for number in there if low <= number <= high}
        elif NUMBER.fullmatch(item):
            chosen = {int(item)} & set(there)
        else:
            raise SelectionError(f"CASA cannot read '{item}' as a {what}{_why(item)}; {said}")
        if not chosen:
            raise SelectionError(f"there is no {what} '{item}'; {said}")
        found |= chosen
    return tuple(sorted(found))


def _why(item: str) -> str:
    """Say why CASA does not take what people write."""
    if item.startswith("!"):
        return ": it has no negation here, name those to take"
    if "-" in item:
        return ": a range is written with '~'"
    return ""
