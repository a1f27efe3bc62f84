"""The checks in words: what was measured, against what, what to do, and what to look at first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from . import words

Check = Mapping[str, Any]

FAILED_FIRST: Final = ("fail", "warn", "pass")
MOST_TO_SEE: Final = 3

_CHECKS: Final = {
    "product_made": "product made",
    "flagged_fraction": "flagged visibilities",
    "antennas_lost": "antennas lost",
    "antenna_outliers": "antennas that stand out",
    "solutions_flagged": "flagged solutions",
    "fluxscale": "flux scale",
    "fluxscale_consistency": "flux scale across windows",
    "flux_closure": "calibrator's flux density",
    "astrometry": "calibrator's position",
    "phase_rms": "scatter of phases",
    "dynamic_range": "dynamic range",
    "thermal_noise": "noise against what the data allow",
    "array_noise": "noise against the array's SEFD",
    "gaussian_residuals": "residual like noise",
    "negative_bowl": "negative bowl",
    "model_not_empty": "cleaned",
    "residual_peak": "largest residual",
    "beam_sampling": "beam sampling",
    "fallbacks_used": "fallbacks used",
    "selfcal_accepted": "self-calibrated",
    "selfcal_flux_bias": "flux bias of self-calibration",
    "selfcal_dead_antennas": "antennas without solutions",
}
_FRACTIONS: Final = (
    "flagged_fraction", "solutions_flagged", "fluxscale", "fluxscale_consistency", "flux_closure",
    "selfcal_flux_bias",
)  # fmt: skip
_UNITS: Final = {
    "astrometry": " λ/B", "phase_rms": "°", "residual_peak": " sigma", "negative_bowl": " sigma",
    "thermal_noise": " times", "array_noise": " times", "beam_sampling": " cells",
}  # fmt: skip
"""What a check's numbers are counted in, where that is not a fraction or nothing."""
_GOES_ON: Final = (
    "flagged_fraction", "solutions_flagged", "fluxscale", "fluxscale_consistency", "dynamic_range",
    "selfcal_accepted", "selfcal_flux_bias", "residual_peak", "beam_sampling",
)  # fmt: skip
"""Checks whose text goes on from the value."""
_SMALL: Final = 1e-3
"""A number this far below its limit needs no digits."""
_AT_LEAST: Final = ("dynamic_range", "beam_sampling", "selfcal_accepted")
_WHERE: Final = {
    "product_made": "steps",
    "flagged_fraction": "flagging",
    "antennas_lost": "flagging",
    "antenna_outliers": "calibration",
    "solutions_flagged": "calibration",
    "fluxscale": "fluxscale",
    "fluxscale_consistency": "fluxscale",
    "flux_closure": "fluxscale",
    "astrometry": "visibilities",
    "phase_rms": "visibilities",
    "fallbacks_used": "images",
    "selfcal_accepted": "selfcal",
    "selfcal_flux_bias": "selfcal",
    "selfcal_dead_antennas": "selfcal",
}
"""The section in which to look; of images their own."""


def checks(metrics: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the checks with their numbers written, the worst first."""
    rows = [_row(check) for check in metrics.get("checks", ())]
    return sorted(rows, key=lambda row: FAILED_FIRST.index(row["verdict"]))


def _row(check: Check) -> dict[str, str]:
    name = str(check["name"])
    return {
        "title": _CHECKS.get(name, name.replace("_", " ")),
        "subject": check["subject"],
        "verdict": check["verdict"],
        "value": _value(name, check["value"], check["limit"]),
        "limit": _limit(name, check["limit"]),
        "text": check["text"],
        "key": str(check.get("key", "")),
        "advice": str(check.get("advice", "")),
        "section": _section(name, str(check["subject"])),
    }


def _section(name: str, subject: str) -> str:
    """Return the anchor of what a check is about."""
    if name in _WHERE:
        return _WHERE[name]
    target, _, image = subject.rpartition(", ")
    return f"image-{quote(f'{target}.{image}', safe='')}"


def attention(
    metrics: Mapping[str, Any], steps: Sequence[Mapping[str, Any]] = ()
) -> list[dict[str, str]]:
    """Return what to look at first: at most three things, each of another kind.

    Steps that failed come first, then checks that failed or warn, then those that passed and
    came nearest to their limits.

    Parameters
    ----------
    metrics : mapping
        The content of ``qa/metrics.json``.
    steps : sequence of mapping
        Rows of `context.step_row`.
    """
    found = [
        {
            "title": f"{step['title']} failed", "subject": "", "verdict": "fail",
            "text": str(step["message"] or step["reason"] or "no reason is known"),
            "advice": str(step["advice"]), "key": "", "section": "steps", "why": "", "limit": "",
        }
        for step in steps if step["state"] == "failed"
    ]  # fmt: skip
    ranked = sorted(metrics.get("checks", ()), key=_urgency)
    seen: set[str] = set()
    for check in ranked:
        name, passed = str(check["name"]), check["verdict"] == "pass"
        if name in seen or (passed and nearness(check) == 0.0) or (found and name in _FOLLOWS):
            continue
        seen.add(name)
        row = _row(check)
        found.append({**row, "why": row["value"] + ("" if name in _GOES_ON else ":")})
    return found[:MOST_TO_SEE]


_FOLLOWS: Final = ("product_made",)
"""Checks that only repeat that a step failed."""


def _urgency(check: Check) -> tuple[int, float]:
    return FAILED_FIRST.index(check["verdict"]), -nearness(check)


def nearness(check: Check) -> float:
    """Return how near a number is to its limit: 1 at it, 0 for no number or far away."""
    value, limit = check["value"], check["limit"]
    numbers = [x for x in (value, limit) if x is not None and not isinstance(x, bool)]
    if len(numbers) < 2 or (value <= 0 and limit <= 0):
        return 0.0
    part, whole = (limit, value) if check["name"] in _AT_LEAST else (value, limit)
    return abs(float(part) / float(whole)) if whole else 2.0


def _value(name: str, value: Any, limit: Any) -> str:
    """Write a measured number; one far below its limit with no digits of its own."""
    if name in _UNITS and value and limit and abs(value) < _SMALL * abs(limit):
        return f"< {_written(name, _SMALL * abs(limit), 1)}"
    return _written(name, value)


def _written(name: str, value: Any, digits: int = 3) -> str:
    if value is None:
        return words.UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name in _FRACTIONS:
        return words.percent(value)
    number = str(value) if isinstance(value, int) else words.significant(float(value), digits)
    return f"{number}{_UNITS.get(name, '')}"


def _limit(name: str, limit: Any) -> str:
    if isinstance(limit, bool) or limit is None:
        return ""
    side = "at least" if name in _AT_LEAST else "at most"
    whole = int(limit) if name not in _FRACTIONS and float(limit).is_integer() else limit
    return f"{side} {_written(name, whole)}"


def failed_sections(rows: Sequence[Mapping[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield each section that holds something that did not pass, and its worst verdict."""
    for row in reversed(rows):  # the worst last, so that it stays
        if row["verdict"] != "pass":
            yield row["section"], row["verdict"]
