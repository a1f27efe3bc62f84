"""The table of a self-calibration's rounds, as ``qa/metrics.json`` keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Numbers = Mapping[str, Any]

IMAGE = (
    "peak_jy_per_beam", "rms_noise_jy_per_beam", "near_rms_noise_jy_per_beam", "snr", "near_snr",
    "min_jy_per_beam", "residual_max_jy_per_beam", "bmaj_arcsec", "bmin_arcsec", "bpa_deg",
    "beam_area_arcsec2", "model_flux_jy", "mask_pixels", "empty", "thermal_noise_jy_per_beam",
    "threshold_jy", "iterations", "prefix",
)  # fmt: skip
SOLVE = (
    "calmode", "solint", "solint_s", "gaintype", "combine", "minsnr", "refant", "candidates",
    "predicted_snr", "consistency", "flagged_fraction", "flagged_by_antenna",
    "solution_snr_median", "phase_rms_deg", "amplitude_rms", "flux_bias_expected",
    "dead_antennas", "tables",
)  # fmt: skip
CHECK = ("name", "value", "limit", "verdict")
APPLY = ("round", "calmode", "interp", "gaintype", "combine")


def table(summary: Numbers) -> dict[str, Any]:
    """Return a target's table of rounds.

    Parameters
    ----------
    summary : mapping
        What the step ``selfcal.finish`` wrote.

    Returns
    -------
    dict
        After ``schemas/metrics.schema.json``; a number that is not known is None.
    """
    return {
        "datasets": list(summary.get("datasets") or ()),
        "best_round": int(summary.get("best_round") or 0),
        "kept_first": bool(summary.get("kept_first")),
        "reason": str(summary.get("reason") or ""),
        "rounds": [_round(state) for state in summary["rounds"]],
        "before": _part(summary.get("before"), IMAGE),
        "after": _part(summary.get("after"), IMAGE),
        "apply": [_part(entry, APPLY) for entry in summary.get("apply") or ()],
        "tables": dict(summary.get("tables") or {}),
        "dead_antennas": list(summary.get("dead_antennas") or ()),
        "script": str(summary.get("script") or ""),
        "mask": str(summary.get("mask") or ""),
    }


def applied(summary: Numbers) -> list[Numbers]:
    """Return how the tables were solved that are applied in the end."""
    rounds = {int(entry["round"]) for entry in summary.get("apply") or ()}
    return [
        state["solve"]
        for state in summary["rounds"]
        if int(state["round"]) in rounds and state.get("solve")
    ]


def n_accepted(summary: Numbers) -> int:
    """Return how many rounds of solving were accepted and kept."""
    if summary.get("kept_first"):
        return 0
    return sum(bool(state.get("accepted")) and state["round"] > 0 for state in summary["rounds"])


def _round(state: Numbers) -> dict[str, Any]:
    return {
        "round": int(state["round"]),
        "accepted": bool(state.get("accepted")),
        "skipped": str(state.get("skipped") or ""),
        "reason": str(state.get("reason") or ""),
        "ended": str(state.get("ended") or ""),
        "checks": [_part(check, CHECK) for check in state.get("checks") or ()],
        "image": _part(state.get("image"), IMAGE),
        "solve": _part(state.get("solve"), SOLVE),
    }


def _part(numbers: Numbers | None, keys: tuple[str, ...]) -> dict[str, Any] | None:
    """Return some of the numbers; None for what was not made.

    A solve that was skipped for too little S/N is kept: that S/N is why.
    """
    predicted = ((numbers or {}).get("predicted_snr") or {}).get("median")
    if not numbers or (numbers.get("skipped") and predicted is None):
        return None
    return {key: numbers.get(key) for key in keys}
