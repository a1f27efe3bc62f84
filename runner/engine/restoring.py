"""Products go back to states that were saved, with a word in their ledgers."""

from __future__ import annotations

from typing import Any

from ..errors import DataError
from ..files import product_state
from ..folder import RunFolder
from .ledger import Ledgers
from .resume import Restore
from .saved import SavedStates


def go_back(
    restore: Restore, states: SavedStates, ledgers: Ledgers, folder: RunFolder
) -> dict[str, Any]:
    """Bring a product back to a saved state; until that is complete, its ledger says so.

    Returns
    -------
    dict
        What the journal keeps of it; empty where the state cannot be had after all. Then it is
        forgotten, and the product is in no state.

    Raises
    ------
    OSError
        If product or ledger cannot be written.
    """
    state = restore.state
    ledgers.begin(state.unit, (), state.holds[-1], "")
    try:
        states.restore(state)
    except DataError:
        states.forget(state)
        return {}
    left = product_state(folder.root / state.unit) or ""
    ledgers.end(state.unit, state.holds, restore.after, left)
    return {
        "product": state.unit,
        "after": restore.after,
        "whole": state.whole,
        "reason": restore.reason,
        "said": str(restore),
    }
