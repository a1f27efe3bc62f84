"""All selections among a task's parameters at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from ..observation import Observation
from .antenna import antennas
from .channels import spws
from .correlation import correlations
from .error import SelectionError
from .field import fields
from .intent import intents
from .scan import observations, scans
from .time_range import timerange
from .uv_range import uvrange

SELECTIONS: Final[Mapping[str, Callable[[str, Observation], object]]] = {
    "field": fields,
    "spw": spws,
    "antenna": antennas,
    "scan": scans,
    "intent": intents,
    "timerange": timerange,
    "uvrange": uvrange,
    "observation": observations,
    "correlation": correlations,
}
"""The function that resolves each selection parameter, by CASA's name of it."""


def check(params: Mapping[str, Any], observation: Observation) -> dict[str, str]:
    """Say what is wrong with the selections among a task's parameters.

    Parameters
    ----------
    params : mapping
        Parameters of a task by name; those that select nothing of their own are passed over, and
        so are values that are no text (the check of types says so).
    observation : Observation
        The data.

    Returns
    -------
    dict of str to str
        By parameter: what is wrong. Empty where all is well.
    """
    wrong: dict[str, str] = {}
    if params.keys().isdisjoint(SELECTIONS):
        return wrong
    for name, resolve in SELECTIONS.items():
        text = params.get(name)
        if isinstance(text, int) and not isinstance(text, bool):
            text = str(text)
        if isinstance(text, str):
            try:
                resolve(text, observation)
            except SelectionError as error:
                wrong[name] = str(error)
    return wrong
