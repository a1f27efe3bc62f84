"""Self-calibrations as the report shows them: the table of rounds, its plots, what was made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote

from ..folder import RunFolder, is_inside
from ..plan import Plan, Step
from ..qa import selfcal_table
from . import measured, words
from .places import link, load

Numbers = Mapping[str, Any]
Meta = Mapping[str, Any]

FINISH: Final = "selfcal.finish"
"""The action that sums a self-calibration up."""

_PLOTS = "selfcal.plots"
_MADE = ("done", "skipped")
_CALMODES = {"p": "phase", "a": "amplitude", "ap": "amplitude and phase"}
_CHECKS = {
    "emission": ("emission found", ""),
    "predicted_solution_snr": ("predicted S/N of a solution", "at least"),
    "consistency": ("consistency of the polarizations", "at least"),
    "near_snr": ("near-field S/N", "at least"),
    "snr": ("dynamic range", "at least"),
    "flux_ratio": ("flux against the best so far", "at least"),
    "flux_growth": ("growth of the flux", "at most"),
    "beam_area_ratio": ("area of the synthesized beam against the best so far", "at most"),
    "flagged_solutions": ("flagged solutions of the worst antenna", "at most"),
    "min_depth_jy_per_beam": ("depth of the worst negative (Jy/beam)", "at most"),
    "residual_max_depth_jy_per_beam": ("largest residual (Jy/beam)", "at most"),
}
"""What the judgement calls its numbers, and on which side of the limit they must be."""


def sections(folder: RunFolder, plan: Plan, meta: Meta) -> Iterator[dict[str, Any]]:
    """Yield what the report shows of each target's self-calibration.

    Parameters
    ----------
    folder : RunFolder
        The run's folder.
    plan : Plan
        Its plan.
    meta : mapping
        About the run; see `casarun.report.context.context`.
    """
    for step in plan.steps:
        if step.action == FINISH:
            yield _section(folder, plan, step, meta)


def _section(folder: RunFolder, plan: Plan, step: Step, meta: Meta) -> dict[str, Any]:
    target = step.target or str(step.params.get("target", ""))
    said = meta.get("steps", {}).get(step.id, {})
    numbers: Numbers = {}
    if said.get("state") in _MADE:
        numbers = load(folder.root / str(step.params["out"]))
        missing = "" if numbers else f"{step.params['out']} cannot be read"
    else:
        reason = said.get("reason") or "the run did not come so far"
        missing = f"{said.get('state', 'not run')}; {reason}"
    table = selfcal_table.table(numbers or {"rounds": list(_so_far(folder, plan, step, meta))})
    drawn = _drawn(folder, plan, target, meta) if numbers else {}
    declined = bool(numbers) and not selfcal_table.n_accepted(numbers)
    return {
        "target": target,
        "anchor": f"selfcal-{quote(target, safe='')}",
        "missing": missing,
        "headline": _headline(numbers, table) if numbers else "",
        "declined": declined,
        "facts": _facts(table) if numbers else [],
        "rounds": list(_rounds(table)),
        "plots": drawn.get("selfcal", []),
        "viewers": [{**one, "kind": "image"} for one in drawn.get("selfcal-viewer", ())],
        "before": next(iter(drawn.get("before", ())), None),
        "after": next(iter(drawn.get("after", ())), None),
        "products": list(_products(table, step)) if numbers and not declined else [],
    }


def _so_far(folder: RunFolder, plan: Plan, finish: Step, meta: Meta) -> Iterator[Numbers]:
    """Yield the rounds that this run has judged, where it did not come to the end."""
    made = {
        path
        for step in plan.steps
        if meta.get("steps", {}).get(step.id, {}).get("state") in _MADE
        for path in step.writes
    }
    for path in finish.params.get("states", ()):
        if path in made and is_inside(path):
            state = load(folder.root / path)
            if "round" in state:
                yield state


def _drawn(
    folder: RunFolder, plan: Plan, target: str, meta: Meta
) -> dict[str, list[dict[str, str]]]:
    """Return the plots of a target by section; none where they were not made."""
    for step in plan.steps:
        mine = step.action == _PLOTS and step.target == target
        if mine and meta.get("steps", {}).get(step.id, {}).get("state") in _MADE:
            return measured.plots(load(folder.root / str(step.params["out"]) / "plots.json"))
    return {}


def _arrows(text: str) -> str:
    return text.replace(" -> ", " \N{RIGHTWARDS ARROW} ")


def _headline(numbers: Numbers, table: Numbers) -> str:
    accepted = selfcal_table.n_accepted(numbers)
    if not accepted:
        return f"Declined: {table['reason']}"
    tried = sum(state["round"] > 0 and not state["skipped"] for state in table["rounds"])
    reason = _arrows(table["reason"])
    return f"{accepted} of {tried} rounds accepted. {reason[:1].upper()}{reason[1:]}".strip()


def _facts(table: Numbers) -> list[tuple[str, str]]:
    """Return the numbers of the first image and of the best, side by side."""
    before, after = table["before"] or {}, table["after"] or {}
    if table["kept_first"]:
        after = {}
    rows = [
        ("dynamic range", _plain(before, "snr"), _plain(after, "snr")),
        ("near-field S/N", _plain(before, "near_snr"), _plain(after, "near_snr")),
        ("peak", *(_flux(part, "peak_jy_per_beam") for part in (before, after))),
        ("noise", *(_flux(part, "rms_noise_jy_per_beam") for part in (before, after))),
        ("flux density in the model",
         *(_flux(part, "model_flux_jy", "Jy") for part in (before, after))),
        ("synthesized beam", *(words.synthesized_beam(dict(part)) for part in (before, after))),
    ]  # fmt: skip
    facts = [
        (what, f"{first} \N{RIGHTWARDS ARROW} {last}" if after and first != last else first)
        for what, first, last in rows
        if first != words.UNKNOWN or (after and last != words.UNKNOWN)
    ]
    thermal = (after or before).get("thermal_noise_jy_per_beam")
    return [*facts, ("thermal noise", words.brightness(thermal))] if thermal else facts


def _plain(numbers: Numbers | None, key: str) -> str:
    value = (numbers or {}).get(key)
    return words.UNKNOWN if value is None else words.significant(float(value))


def _flux(numbers: Numbers | None, key: str, unit: str = "Jy/beam") -> str:
    return words.brightness((numbers or {}).get(key), unit)


def _rounds(table: Numbers) -> Iterator[dict[str, Any]]:
    """Yield the lines of the table; rounds skipped for one reason are one line."""
    last: dict[str, Any] = {}
    for line in (_round(state, table) for state in table["rounds"]):
        alike = ("word", "reason", "solved")
        if line["word"] == "skipped" and all(last.get(key) == line[key] for key in alike):
            last["number"] = f"{last['first']} to {line['first']}"
            continue
        if last:
            yield last
        last = line
    if last:
        yield last


def _round(state: Numbers, table: Numbers) -> dict[str, Any]:
    """Return one line of the table of rounds."""
    image, solve = state["image"], state["solve"]
    skipped = state["skipped"]
    verdict = "idle" if skipped else "pass" if state["accepted"] else "fail"
    word = "skipped" if skipped else "accepted" if state["accepted"] else "rejected"
    if not state["round"] and not skipped:
        verdict, word = ("pass", "first image") if state["accepted"] else ("fail", "declined")
    return {
        "first": state["round"],
        "number": str(state["round"]),
        "kept": state["round"] == table["best_round"] and not table["kept_first"],
        "verdict": verdict,
        "word": word,
        "reason": _arrows(skipped or state["reason"]),
        "ended": _arrows(state["ended"] if state["ended"] != (skipped or state["reason"]) else ""),
        "checks": [_check(check) for check in state["checks"]],
        "made": bool(image),
        "solved": _solved(solve) if solve else None,
        "peak": _flux(image, "peak_jy_per_beam"),
        "noise": _flux(image, "rms_noise_jy_per_beam"),
        "snr": _plain(image, "snr"),
        "near_snr": _plain(image, "near_snr"),
        "model": _flux(image, "model_flux_jy", "Jy"),
    }


def _solved(solve: Numbers) -> dict[str, str]:
    calmode = str(solve["calmode"] or "")
    how = [str(solve["gaintype"] or "")]
    if solve["combine"]:
        how.append(f"combine {solve['combine']}")
    predicted = solve["predicted_snr"] or {}
    least = predicted.get("min")
    bias, alike = solve["flux_bias_expected"], solve["consistency"]
    return {
        "calmode": _CALMODES.get(calmode, calmode),
        "solint": str(solve["solint"] or ""),
        "how": ", ".join(part for part in how if part),
        "predicted": _plain(predicted, "median"),
        "least": "" if least is None else f"at least {words.significant(float(least))}",
        "consistency": words.NONE if alike is None else f"{alike:.2f}",
        "flagged": words.percent(solve["flagged_fraction"]),
        "worst": _worst(solve["flagged_by_antenna"] or {}),
        "dead": ", ".join(solve["dead_antennas"] or ()),
        "bias": "" if bias is None or bias < 0.001 else words.percent(bias),
    }


def _worst(by_antenna: Numbers) -> str:
    """Name the antenna that lost most of its solutions, if one lost any."""
    name = max(by_antenna, key=lambda one: by_antenna[one] or 0.0, default="")
    value = by_antenna.get(name) or 0.0
    return f"{name}: {words.percent(value)}" if value else ""


def _check(check: Numbers) -> dict[str, str]:
    name = str(check["name"])
    title, side = _CHECKS.get(name, (name.replace("_", " "), "limit"))
    return {
        "title": title,
        "value": _number(check["value"]),
        "limit": f"{side} {_number(check['limit'])}" if side else "",
        "verdict": str(check["verdict"]),
    }


def _number(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    return words.NONE if value is None else words.significant(float(value))


def _products(table: Numbers, step: Step) -> Iterator[tuple[str, str, str]]:
    """Yield what a person takes along: what it is, its path, and a link to a file."""
    for dataset, path in (step.params.get("vis") or {}).items():
        yield f"self-calibrated data of {dataset}", str(path), ""
    for dataset, paths in table["tables"].items():
        for path in paths:
            yield f"calibration table of {dataset}", str(path), ""
    if table["script"]:
        yield "the applycal commands as a CASA script", table["script"], link(table["script"])
    if table["mask"]:
        yield "clean mask", table["mask"], ""
