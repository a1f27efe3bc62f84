"""Rounds of a self-calibration that do not take place: why not, and what they leave.

Light, without CASA and arrays, for the runner does this itself (see `passing`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ..files import read_json, write_json
from ..qa import selfcal

Params = Mapping[str, Any]

_FOUND: Final = (
    "calmode", "solint", "solint_s", "gaintype", "combine", "minsnr", "refant", "consistency",
    "flagged_fraction", "solution_snr_median", "phase_rms_deg", "amplitude_rms",
    "flux_bias_expected",
)  # fmt: skip


def idle(state: Mapping[str, Any]) -> str:
    """Return why the round after a state does not take place, or nothing."""
    return "" if state["next"] else str(state["ended"] or "self-calibration has ended")


def why_not(params: Params, root: Path = Path()) -> str:
    """Return why a step of a round has nothing to do, or nothing.

    The round does not take place, or it was not solved. The first image has no round before it.

    Parameters
    ----------
    params : mapping
        `state` of the round before and `solve`, paths of JSON, as far as the step has them.
    root : Path
        Where these begin.
    """
    if not params.get("state"):
        return ""
    if why := idle(read_json(root / params["state"])):
        return why
    return str(read_json(root / params["solve"])["skipped"]) if params.get("solve") else ""


def known_dead(state: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the antennas that were found without signal so far, by dataset."""
    return dict((state["solve"] or {}).get("dead_by_dataset") or {})


def unsolved(round_: int, state: Mapping[str, Any], minsnr: float) -> dict[str, Any]:
    """Return what is known of a round's solutions before there are any.

    Parameters
    ----------
    round_ : int
        Its number.
    state : mapping
        Of the round before.
    minsnr : float
        Of the recipe.
    """
    return {
        "round": round_, "skipped": "", "candidates": [],
        "predicted_snr": {"median": None, "min": None, "by_antenna": {}},
        "flagged_by_antenna": {}, "dead_antennas": [], "dead_by_dataset": known_dead(state),
        "tables": {}, "apply": [], "preparatory": False, "unchanged": False,
        "offsets_tried": bool((state["solve"] or {}).get("offsets_tried")),
        **dict.fromkeys(_FOUND), "minsnr": minsnr,
    }  # fmt: skip


def no_image(params: Params, why: str) -> dict[str, Any]:
    """Return what is said in place of an image's numbers: why there is none."""
    return {"round": params["round"], "skipped": why}


def judged(params: Params, root: Path = Path()) -> dict[str, Any]:
    """Judge a round; see `selfcal_image.judge`."""
    states = [read_json(root / path) for path in params.get("states", ())]
    solve = read_json(root / params["solve"]) if params.get("solve") else None
    numbers = read_json(root / params["image"])
    return selfcal.judge(
        int(params["round"]), states, numbers, solve, params["limits"], params["ladder"]
    )


def no_judgement(params: Params, root: Path) -> str:
    """Leave the state of a round that did not take place; say why it did not, or nothing."""
    states = params.get("states", ())
    if not states or not _passed_over(params, root):
        return ""
    state = judged(params, root)
    write_json(root / params["out"], state)
    return str(state["skipped"])


def _passed_over(params: Params, root: Path) -> bool:
    ended = read_json(root / params["states"][-1])["next"] is None
    return bool(ended or read_json(root / params["solve"])["skipped"])


def no_solutions(params: Params, root: Path) -> str:
    """Leave the record of solutions that are not made; say why not, or nothing."""
    why = why_not(params, root)
    if why:
        state = read_json(root / params["state"])
        record = unsolved(int(params["round"]), state, float(params["minsnr"]))
        write_json(root / params["out"], record | {"skipped": why})
    return why


def no_picture(params: Params, root: Path) -> str:
    """Leave the numbers of an image that is not made; say why not, or nothing."""
    why = why_not(params, root)
    if why:
        write_json(root / params["out"], no_image(params, why))
    return why
