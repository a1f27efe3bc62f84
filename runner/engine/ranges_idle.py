"""Rounds of a cube's cleaning that are not needed: why not, and what they leave.

Light, without CASA and arrays, for the runner does this itself (see `passing`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..files import read_json, write_json

Params = Mapping[str, Any]


def ended(state: Params) -> str:
    """Return why cleaning has ended with a state (see `range_cleaning.settle`), or nothing."""
    return str(state["reason"]) if state.get("next") == "end" else ""


def no_clean(params: Params, root: Path) -> str:
    """Leave the numbers of a round that a range does not take part in; say why it does not.

    Whether it has iterations too many, or the cube no such channels, is for a process to find.
    """
    why = ended(_before(params, root))
    if not why or params["first"] >= read_json(root / params["axis"])["n_chan"]:
        return ""
    write_json(root / params["out"], {"skipped": why})
    return why


def no_depth(params: Params, root: Path) -> str:
    """Leave the state of a round that did not take place: that of the round before."""
    before = _before(params, root)
    why = ended(before)
    if why:
        write_json(root / params["out"], before)
    return why


def _before(params: Params, root: Path) -> dict[str, Any]:
    """Return the state of the round before; nothing before the first."""
    found: dict[str, Any] = read_json(root / params["state"]) if params["state"] else {}
    return found
