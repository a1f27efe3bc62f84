"""The ``intent`` selection."""

from __future__ import annotations

import re

from ..errors import did_you_mean
from ..observation import Observation
from .error import SelectionError, listed
from .pattern import matches, parts

_STATES = re.compile(r"\d{1,9}(~\d{1,9})?|[<>]=?\d{1,9}", re.ASCII)


def intents(text: str, observation: Observation) -> tuple[str, ...]:
    """Resolve an ``intent`` selection.

    Parameters
    ----------
    text : str
        Intents, with wildcards, with commas between; empty for all. Each item must match an
        intent as a whole: ``OBSERVE_TARGET`` alone does not match ``OBSERVE_TARGET#ON_SOURCE``.
        Numbers are ids of the STATE table, which the metadata do not hold: they select all.
    observation : Observation
        The data.

    Returns
    -------
    tuple of str
        The intents that are selected, sorted.

    Raises
    ------
    SelectionError
        If CASA cannot read it, or an item selects nothing.
    """
    there = _there(observation)
    if not text.strip():
        return tuple(there)
    if not there:
        raise SelectionError(f"the data have no scan intents, so intent '{text}' selects nothing")
    found: set[str] = set()
    for item in parts(text):
        if item.startswith("!"):
            raise SelectionError(
                f"CASA has no negation of intents ('{item}'): name those to take; "
                f"intents: {listed(there)}"
            )
        chosen = _item(item, there)
        if not chosen:
            hint = did_you_mean(item, there)
            if any(name.startswith(f"{item}#") for name in there):
                hint = f"; write '{item}*': an intent is matched as a whole"
            raise SelectionError(f"no intent matches '{item}'; intents: {listed(there)}{hint}")
        found |= chosen
    return tuple(sorted(found))


def _there(observation: Observation) -> list[str]:
    of_fields = (intent for field in observation.fields for intent in field.intents)
    of_scans = (intent for scan in observation.scans for intent in scan.intents)
    return sorted({*of_fields, *of_scans})


def _item(item: str, there: list[str]) -> set[str]:
    if _STATES.fullmatch(item) or set(item) & set("{}&;"):
        return set(there)
    return {there[i] for i in matches(item, there)}
