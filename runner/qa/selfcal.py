"""Self-calibration judged: was a round's image better, and what comes next. Pure.

A round is accepted if nothing that is measured got worse than its limit allows. The limits that
are no recipe keys leave room for the scatter of the measurement itself, no more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..heuristics.selfcal_tables import composed
from . import selfcal_ladder

Numbers = Mapping[str, Any]
State = dict[str, Any]

WORSE = 0.98
"""An S/N may fall to this part of the best so far: a MAD of few beams scatters by 1 to 2 %."""

DEEPER = 1.1
"""The worst negative and the largest residual may grow by this factor beyond the peak ..."""

NOISE_PEAKS = 6.0
"""... and are held for noise below this many times the noise."""

UNEXPLAINED = 1.05
"""The peak may rise by this factor more than what the solved phases had cost."""

_KEPT = ("best_round", "apply", "thermal_noise_jy_per_beam")


def judge(
    round_: int,
    states: Sequence[Numbers],
    image: Numbers,
    solve: Numbers | None,
    limits: Numbers,
    ladder: Numbers,
) -> State:
    """Judge a round, and say what comes next.

    Parameters
    ----------
    round_ : int
        Its number; 0 is the image before any solution.
    states : sequence of mapping
        The states of all rounds before, in their order.
    image, solve : mapping
        What `selfcal.image` and `selfcal.solve` found; `solve` is None for round 0.
    limits : mapping
        `improvement`, `flux_loss`, `beam_growth`, `flagged`, `consistency` and
        `min_solution_snr`.
    ladder : mapping
        `solint`, `calmode` (``auto`` or lists), `gaintype`, `combine` and `rounds`.

    Returns
    -------
    dict
        The state: `accepted`, `skipped`, `reason`, `checks`, `best_round`, `apply`, `next`,
        `ended`, the numbers it was judged by, and `thermal_noise_jy_per_beam`, that of the first
        image.
    """
    state: State = {
        "round": round_, "accepted": False, "skipped": "", "reason": "", "checks": [],
        "best_round": 0, "apply": [], "next": None, "ended": "",
        "thermal_noise_jy_per_beam": image.get("thermal_noise_jy_per_beam"),
        "image": dict(image), "solve": None if solve is None else dict(solve),
    }  # fmt: skip
    if not states:
        return state | _first(image, limits, ladder)
    before = states[-1]
    state |= {key: before.get(key) for key in _KEPT}
    if before["next"] is None:
        state["skipped"] = state["reason"] = str(before["ended"])
        return state | _on(state, states, limits, ladder)
    if solve is None or solve.get("skipped"):
        why = str((solve or {}).get("skipped") or "nothing was solved")
        state["skipped"] = state["reason"] = why
        return state | _on(state, states, limits, ladder)
    return _weighed(state, states, limits, ladder)


def _weighed(state: State, states: Sequence[Numbers], limits: Numbers, ladder: Numbers) -> State:
    """Judge a round that was solved and imaged against the best before it."""
    before, image, solve = states[-1], state["image"], state["solve"]
    best = next(s for s in states if s["round"] == before["best_round"])
    state["checks"] = _checks(best, image, solve, limits)
    failed = [check for check in state["checks"] if check["verdict"] == "fail"]
    state["accepted"] = not failed
    if state["accepted"]:
        kind = {key: solve.get(key, "") for key in ("calmode", "gaintype", "combine")}
        table = {"round": state["round"], **kind}
        state["apply"] = composed(before["apply"], {**table, "interp": "linear"})
        state["best_round"] = state["round"]
    state["reason"] = _reason(best["image"], image, solve, failed)
    changed = selfcal_ladder.unsettled([*states, state]) if state["accepted"] else None
    if changed is not None:
        found = "is new" if changed == 1 else f"changed by {changed:.0%} against the brightest"
        state["reason"] += f", a source {found}"
    return state | _on(state, states, limits, ladder)


def _on(
    state: Numbers, states: Sequence[Numbers], limits: Numbers, ladder: Numbers
) -> dict[str, Any]:
    """Return what comes after a round: `next`, or why it `ended`."""
    following, ended = selfcal_ladder.after(state, states, limits, ladder)
    return {"next": following, "ended": ended}


def _first(image: Numbers, limits: Numbers, ladder: Numbers) -> dict[str, Any]:
    """Tell whether the image before any solution has emission to calibrate on."""
    if image.get("skipped"):
        why = str(image["skipped"])
        return {"skipped": why, "reason": why, "ended": why}
    peak, noise = image["peak_jy_per_beam"], image["rms_noise_jy_per_beam"]
    if image["empty"]:
        why = (
            f"nothing stands out of the image: its peak is {_times(image['snr'])} times its noise "
            f"of {_jy(noise)}/beam, no more than noise and sidelobes explain; nothing to "
            "calibrate on"
        )
        return {"reason": why, "ended": why}
    reason = f"the image before: peak {_jy(peak)}/beam, near-field S/N {_times(image['near_snr'])}"
    state = {"round": 0, "accepted": True, "solve": None, "image": image, "skipped": ""}
    following, ended = selfcal_ladder.after(state, (), limits, ladder)
    return {"accepted": True, "reason": reason, "next": following, "ended": ended}


def _checks(
    best_round: Numbers, now: Numbers, solve: Numbers, limits: Numbers
) -> list[dict[str, Any]]:
    """Hold a round's numbers against those of the best so far; none for what is not known."""
    best = best_round["image"]
    found: list[dict[str, Any]] = []

    def least(name: str, value: float | None, limit: float | None) -> None:
        found.extend(_check(name, value, limit, lambda a, b: a >= b))

    def most(name: str, value: float | None, limit: float | None) -> None:
        found.extend(_check(name, value, limit, lambda a, b: a <= b))

    least("emission", float(not now["empty"]), 1.0)
    median = (solve.get("predicted_snr") or {}).get("median")
    least("predicted_solution_snr", median, limits["min_solution_snr"])
    least("consistency", solve.get("consistency"), limits["consistency"])
    least("near_snr", now["near_snr"], _product(WORSE, best["near_snr"]))
    least("snr", now["snr"], _product(WORSE, best["snr"]))
    growths = [_ratio(now[key], best[key]) for key in ("model_flux_jy", "peak_jy_per_beam")]
    known = [one for one in growths if one is not None]
    # Artefacts that leave the mask take flux, too, and what is spread leaves the peak: only
    # where both fall, or rise, is it the source.
    least("flux_ratio", max(known, default=None), 1 - limits["flux_loss"])
    most("flux_growth", min(known, default=None), _explained(solve, limits))
    area = _ratio(now["beam_area_arcsec2"], best["beam_area_arcsec2"])
    dead = set(solve.get("dead_antennas") or ())
    if dead <= set((best_round.get("solve") or {}).get("dead_antennas") or ()):
        # Else the beam is that of fewer antennas, those that have a signal.
        most("beam_area_ratio", area, 1 + limits["beam_growth"])
    flagged = (solve.get("flagged_by_antenna") or {}).items()
    alive = [share for name, share in flagged if name not in dead and share is not None]
    most("flagged_solutions", max(alive, default=None), limits["flagged"])
    # Artefacts scale with the source: what brings back its peak brings up what is left of them.
    rise = max(1.0, _ratio(now["peak_jy_per_beam"], best["peak_jy_per_beam"]) or 1.0)
    for name, sign in (("min_jy_per_beam", -1), ("residual_max_jy_per_beam", 1)):
        noise = _product(NOISE_PEAKS, now["rms_noise_jy_per_beam"])
        allowed = [_product(sign * DEEPER * rise, best[name]), noise]
        limit = max((one for one in allowed if one is not None), default=None)
        called = name.removesuffix("_jy_per_beam") + "_depth_jy_per_beam"
        most(called, _product(sign, now[name]), limit)
    return found


def _explained(solve: Numbers, limits: Numbers) -> float | None:
    """Return by which factor the peak may rise in a round.

    Phases that scatter by sigma about their mean leave exp(-sigma^2) of a baseline's amplitude
    (both antennas' variances in the exponent, halved), which a phase solution gives back. An
    amplitude round has nothing to give.
    """
    if solve.get("calmode") != "p":
        return 1 + float(limits["flux_loss"])
    degrees = solve.get("phase_rms_deg")
    return None if degrees is None else UNEXPLAINED * math.exp(math.radians(degrees) ** 2)


def _check(name: str, value: Any, limit: Any, holds: Any) -> list[dict[str, Any]]:
    if value is None or limit is None:
        return []
    verdict = "pass" if holds(value, limit) else "fail"
    return [{"name": name, "value": value, "limit": limit, "verdict": verdict}]


_WORDS = {
    "emission": "nothing stands out of the image any more",
    "predicted_solution_snr": "predicted S/N of a solution {value:.3g}, under {limit:.3g}",
    "consistency": "polarizations solved apart agree to {value:.2f} only, under {limit:.2f}",
    "near_snr": "near-field S/N fell to {value:.4g}, under {limit:.4g}",
    "snr": "S/N fell to {value:.4g}, under {limit:.4g}",
    "flux_ratio": "flux and peak fell to {value:.3f} of before, under {limit:.3f}",
    "flux_growth": "flux and peak rose by the factor {value:.3f}; the solutions explain "
    "{limit:.3f}",
    "beam_area_ratio": "the synthesized beam's area grew by the factor {value:.3f}, over "
    "{limit:.3f}",
    "flagged_solutions": "{value:.0%} of an antenna's solutions failed, over {limit:.0%}",
    "min_depth_jy_per_beam": "the worst negative is -{value:.3g} Jy/beam, beyond -{limit:.3g}",
    "residual_max_depth_jy_per_beam": "the largest residual is {value:.3g} Jy/beam, over "
    "{limit:.3g}",
}


def _reason(best: Numbers, now: Numbers, solve: Numbers, failed: Sequence[Numbers]) -> str:
    """Say why a round was accepted or rejected."""
    if failed:
        return "rejected: " + "; ".join(_WORDS[one["name"]].format(**one) for one in failed)
    told = [f"near-field S/N {_times(best['near_snr'])} -> {_times(now['near_snr'])}"]
    flux = _ratio(now["model_flux_jy"], best["model_flux_jy"])
    if flux is not None:
        told.append(f"{abs(flux - 1):.1%} {'more' if flux >= 1 else 'less'} flux")
    if solve.get("consistency") is not None:
        told.append(f"consistency {solve['consistency']:.2f}")
    return "accepted: " + ", ".join(told)


def _ratio(now: float | None, before: float | None) -> float | None:
    return None if now is None or before is None or before <= 0 else now / before


def _product(factor: float, value: float | None) -> float | None:
    return None if value is None else factor * value


def _times(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _jy(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3g} Jy"
