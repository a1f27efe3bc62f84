"""The ``correlation`` selection."""

from __future__ import annotations

import re

from ..errors import did_you_mean
from ..observation import Observation
from .error import SelectionError, listed

_PLAIN = re.compile(r"[RLXY]{2}", re.IGNORECASE)


def correlations(text: str, observation: Observation) -> tuple[str, ...]:
    """Resolve a ``correlation`` selection.

    Parameters
    ----------
    text : str
        ``RR,LL`` or ``XX``, in capitals or not; empty for all. Stokes parameters and flagdata's
        expressions (``ABS_ALL``) are not looked into: they select all.
    observation : Observation
        The data.

    Returns
    -------
    tuple of str
        The correlations that are selected, sorted.

    Raises
    ------
    SelectionError
        If a correlation is in no spectral window.
    """
    there = sorted({name for spw in observation.spws for name in spw.correlations})
    items = [item.strip().upper() for item in re.split("[,;]", text) if item.strip()]
    if not there or not items or not all(_PLAIN.fullmatch(item) for item in items):
        return tuple(there)
    for item in items:
        if item not in there:
            raise SelectionError(
                f"the data have no correlation '{item}'; correlations: {listed(there)}"
                f"{did_you_mean(item, there)}"
            )
    return tuple(sorted(set(items)))
