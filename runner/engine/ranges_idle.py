"""Rounds of a cube's cleaning that are not needed: why not, and what they leave.

Light, without CASA and arrays, for the runner does this itself (see `passing`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..files import read_json, write_json

Params = Mapping[str, Any]

_GOES_ON = ("clean", "again")


def no_clean(params: Params, root: Path) -> str:
    """Leave the numbers of a round that a range does not take part in; say why it does not.

    Whether it has iterations too many, or the cube no such channels, is for a process to find.
    """
    state = read_json(root / params["state"]) if params["state"] else {"next": "clean"}
    if state["next"] in _GOES_ON or _is_empty(params, root):
        return ""
    write_json(root / params["out"], {"skipped": str(state["reason"])})
    return str(state["reason"])


def _is_empty(params: Params, root: Path) -> bool:
    return bool(params["first"] >= read_json(root / params["axis"])["n_chan"])


def no_depth(params: Params, root: Path) -> str:
    """Leave the state of a round that did not take place: that of the round before."""
    before = read_json(root / params["state"]) if params["state"] else {"next": "clean"}
    if before["next"] != "end":
        return ""
    write_json(root / params["out"], before)
    return str(before["reason"])
