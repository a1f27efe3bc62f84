"""The steps of a round of self-calibration that solve: predict the model, and solve for gains.

A round is decided when it comes to it: the state that the last one left says what is next, or why
there is nothing next. Then the step makes nothing and says so.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..casa import (
    gain_solutions,
    invoke,
    metadata,
    model_image,
    read,
    solution_snr,
    standing_imager,
)
from ..casa.image_copies import WEIGHTS, copy_images
from ..errors import Cause, StepFailedError
from ..files import read_json, write_product
from ..heuristics import central_antennas
from ..heuristics import selfcal as choice
from ..heuristics.selfcal_tables import composed
from . import selfcal_apply
from .results import SAID, SKIPPED
from .selfcal_apply import applied
from .selfcal_idle import idle, known_dead, unsolved

Params = Mapping[str, Any]
Outcome = dict[str, Any]

_FLUX_BIAS: Final = 0.83
"""Phases that are solved on noise raise a flux by this over the square of the signal to noise of a
solution (simulated: 7 to 43 antennas, signal to noise of 2 to 20)."""

_NO_SIGNAL: Final = 0.9
"""An antenna of which more than this fraction of the solutions failed, with enough signal to noise
predicted for it, has no signal."""

_FEW_DEAD: Final = 1 / 3
"""Where more than this fraction of the antennas seem dead, it is the model that is wrong."""


def _predict(params: Params) -> Outcome:
    """Write the model of the best image so far into MODEL_DATA.

    Works on a copy of the image's products, which CASA changes on the way.
    """
    state = read_json(Path(params["state"]))
    if why := idle(state):
        return {SKIPPED: why, "_absent": []}
    source = Path(params["prefixes"][str(state["best_round"])])
    scratch = Path("selfcal-predict")
    phases = state["next"]["calmode"] == "p"
    kinds = ("model", *WEIGHTS, *(() if phases else ("residual", "mask", "image")))
    copy_images(str(source), str(scratch), dict(zip(kinds, kinds, strict=True)))
    left_out = None if phases else model_image.leave_out_faint(scratch)
    settings = {
        **params["tclean"], "vis": list(params["vis"]), "imagename": str(scratch),
        "datacolumn": "data", "niter": 0, "calcres": False, "calcpsf": False,
        "restoration": False, "savemodel": "modelcolumn",
    }  # fmt: skip
    standing_imager.predict(settings)
    # Tasks that do the same. A virtual model would be believed instead of the column.
    called = [("delmod", {"vis": vis, "otf": True, "scr": False}) for vis in params["vis"]]
    called.append(("tclean", settings))
    for product in sorted(Path().glob(f"{scratch}.*")):
        shutil.rmtree(product)
    spw = _selection(params["tclean"].get("spw", ""))
    for number, vis in enumerate(params["vis"]):
        _require_model(vis, spw[number if len(spw) > 1 else 0], str(source))
    return {
        "model": f"{source}.model",
        "flux_fraction": left_out and left_out.flux_fraction,
        "how": {"source": str(source), "left_out": left_out and asdict(left_out)},
        "called": called,
    }


def _selection(spw: str | Sequence[str]) -> list[str]:
    return [spw] if isinstance(spw, str) else list(spw) or [""]


def _require_model(vis: str, spw: str, image: str) -> None:
    if not solution_snr.has_model(vis, spw):
        raise StepFailedError(
            Cause.POSTCONDITION,
            f"expected the model of {image} in MODEL_DATA of {vis}, found only zeros",
            "The image and the data may not overlap: look at selfcal.image and the spw that it "
            "selects.",
        )


def _solve(params: Params) -> Outcome:
    """Choose how to solve, solve, and measure what came of it."""
    state = read_json(Path(params["state"]))
    record = unsolved(int(params["round"]), state, float(params["minsnr"]))
    if why := idle(state):
        return _not_solved(params, record, why)
    powers = {name: _power(vis, params["spw"]) for name, vis in params["vis"].items()}
    chosen, tried, why = _choose(powers, state, float(params["limits"]["min_solution_snr"]))
    record["candidates"] = [
        {"solint": one.solint, "snr": _rounded(one.snr), "gaintype": one.gaintype,
         "combine": one.combine}
        for one in tried
    ]  # fmt: skip
    if chosen is None:
        return _not_solved(params, record, why)
    if offsets := _offsets_first(params, state, record, powers, chosen):
        chosen, why = offsets, "spectral windows differ in phase: each its own, before one for all"
    entry = {
        "round": params["round"], "calmode": state["next"]["calmode"], "interp": "linear",
        "gaintype": chosen.gaintype, "combine": chosen.combine,
    }  # fmt: skip
    record |= _described(chosen, powers, entry) | {"reason": why}
    record["apply"] = composed(state["apply"], entry)
    runs = [_run(name, params, chosen, record, powers[name]) for name in params["vis"]]
    if failed := [run["failed"] for run in runs if run.get("failed")]:
        record["apply"] = []
        return _not_solved(params, record, "; ".join(failed))
    _gather(record, runs)
    if why := _unchanged(params, state, record, runs):
        return _not_solved(params, record | {"apply": [], "unchanged": True}, why)
    record["tables"] = dict(params["tables"])
    write_product(params["out"], record)
    told = {key: record[key] for key in ("solint", "calmode", "gaintype", "combine")}
    called = [call for run in runs for call in run["called"]]
    return told | {"called": called, SAID: _said(record)}


_SOLVED: Final = {"p": "phases", "a": "amplitudes", "ap": "amplitudes and phases"}
_EACH: Final = {"int": "of each integration", "inf": "of each scan"}


def _said(record: Mapping[str, Any]) -> str:
    """Say what was solved for, and how well."""
    solint, combine = str(record["solint"]), str(record["combine"])
    each = _EACH.get(solint, f"of each {solint}")
    whole = solint == "inf" and "scan" in combine
    said = [_SOLVED[record["calmode"]], "over all scans" if whole else each]
    said += ["over all spws"] if "spw" in combine else []
    said += [f"by gaintype {record['gaintype']}"]
    snr = float(record["predicted_snr"]["median"])
    numbers = [f"predicted S/N {snr:.0f}" if snr >= 100 else f"predicted S/N {snr:.3g}"]
    if record["consistency"] is not None:
        numbers.append(f"consistency {record['consistency']:.2f}")
    numbers.append(f"{record['flagged_fraction']:.0%} failed")
    return f"{' '.join(said)}: {', '.join(numbers)}"


def _not_solved(params: Params, record: dict[str, Any], why: str) -> Outcome:
    for table in params["tables"].values():
        shutil.rmtree(table, ignore_errors=True)
    write_product(params["out"], record | {"skipped": why})
    return {SKIPPED: why, "_absent": list(params["tables"].values())}


def _power(vis: str, spw: str) -> solution_snr.SignalPower:
    return solution_snr.signal_power(vis, solution_snr.noise_by_spw(vis, spw), spw)


def _rounded(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(f"{value:.4g}")


def _choose(
    powers: Mapping[str, solution_snr.SignalPower], state: Mapping[str, Any], limit: float
) -> tuple[choice.Candidate | None, list[choice.Candidate], str]:
    """Choose interval, gaintype and combine: what, all that was considered, and why.

    The first way that carries the signal to noise in the weakest of the datasets.
    """
    wanted, first = state["next"], next(iter(powers.values()))
    auto = wanted["solint"] == "auto"
    key = "selfcal.min_solution_snr"
    if wanted["calmode"] != "p" and "entry" not in wanted and limit < choice.AMPLITUDE_SNR:
        limit, key = choice.AMPLITUDE_SNR, "of amplitudes; selfcal.calmode without 'a' ends before"
    longest = max(powers.values(), key=lambda power: power.integration_s)
    intervals = choice.solints(longest.integration_s, longest.time_s, longest.scan)
    ways = choice.ways(
        intervals if auto else [wanted["solint"]],
        wanted["gaintype"],
        wanted["combine"],
        max(len(power.spws) for power in powers.values()),
        len(set(first.scan.tolist())),
        min(power.hands for power in powers.values()),
    )
    tried = [_candidate(powers, *way) for way in ways]
    carried = [one for one in tried if one.snr >= limit]
    if carried:
        found = carried[0]
        return found, tried, f"predicted signal to noise of a solution {found.snr:.3g}"
    best = max(tried, key=lambda one: one.snr)
    joined = f" with combine='{best.combine}'" if best.combine else ""
    why = (
        f"the signal to noise of a solution would be {best.snr:.2g} at most (solint "
        f"{best.solint}{joined}), expected {limit:g} or more ({key})"
    )
    return None, tried, why


def _unchanged(
    params: Params,
    state: Mapping[str, Any],
    record: Mapping[str, Any],
    runs: Sequence[Mapping[str, Any]],
) -> str:
    """Say that new phases are as good as those applied, where they are: their image is known.

    Of a ladder that the recipe gives, every round is made.
    """
    replaced = [entry for entry in state["apply"] if entry not in record["apply"]]
    same_antennas = record["dead_by_dataset"] == known_dead(state)
    if "entry" in state["next"] or not (state["accepted"] and same_antennas):
        return ""
    if len(replaced) != 1 or record["calmode"] != "p":
        return ""
    changes = [
        gain_solutions.phase_change_rad(
            read.caltable(params["earlier"][str(replaced[0]["round"])][run["name"]]), run["table"]
        )
        for run in runs
    ]
    known = [change for change in changes if change is not None]
    image = state["image"] or {}
    noise, flux = (image.get(key) for key in ("rms_noise_jy_per_beam", "model_flux_jy"))
    if len(known) < len(runs) or not noise or not flux:
        return ""
    alive = min(len(run["found"].flagged_by_antenna) - len(run["dead"]) for run in runs)
    most_jy = choice.image_change_jy(max(known), flux, alive)
    if most_jy >= noise:
        return ""
    return (
        f"these phases are those of round {replaced[0]['round']} but for "
        f"{np.degrees(max(known)):.2g} deg, by which no place of the image would change by more "
        f"than {1e3 * most_jy:.2g} mJy/beam, less than its noise of {1e3 * noise:.2g}"
    )


_OFFSETS_RAD2: Final = 0.0076
"""Variance (5 deg squared) of phases between windows from which on they are solved first."""


def _offsets_first(
    params: Params,
    state: Mapping[str, Any],
    record: dict[str, Any],
    powers: Mapping[str, solution_snr.SignalPower],
    chosen: choice.Candidate,
) -> choice.Candidate | None:
    """Return how to solve for phases between the windows, where one for all would leave them.

    Only where windows are combined because one of them is too weak for short intervals, and
    nothing was solved for each window before. A trial tells whether they differ at all.
    """
    wanted = state["next"]
    each = any(one["calmode"] == "p" and "spw" not in one["combine"] for one in state["apply"])
    automatic = wanted["combine"] == "auto" and wanted["solint"] == "auto"
    if "spw" not in chosen.combine or wanted["calmode"] != "p" or not automatic:
        return None
    if each or record["offsets_tried"]:
        return None
    record["offsets_tried"] = True
    limit = float(params["limits"]["min_solution_snr"])
    for combine in ("", "scan"):
        found = _candidate(powers, "inf", "T", combine)
        if found.snr >= limit:
            differ = [_offsets(name, params, found, powers[name]) for name in params["vis"]]
            record["preparatory"] = bool(max(differ) > _OFFSETS_RAD2)
            return found if record["preparatory"] else None
    return None


def _offsets(
    name: str, params: Params, way: choice.Candidate, power: solution_snr.SignalPower
) -> float:
    """Return the variance of the phases between the windows of a dataset, in rad^2."""
    settings = _settings(name, params, way, {"calmode": "p", "apply": []})
    solved = _trials([settings | {"caltable": "selfcal-trial-0"}])
    by_window = {
        window: choice.middle(_snr(replace(power, power=power.power[[at]]), way.way))
        for at, window in enumerate(power.spws)
    }
    return gain_solutions.window_offsets_rad2(solved[0], by_window) if solved else 0.0


def _candidate(
    powers: Mapping[str, solution_snr.SignalPower], solint: str, gaintype: str, combine: str
) -> choice.Candidate:
    """Predict a way to solve in the dataset where it is weakest."""
    each = [
        choice.Candidate(solint, gaintype, combine, _snr(power, (solint, gaintype, combine)))
        for power in powers.values()
    ]
    return min(each, key=lambda one: one.snr)


def _snr(power: solution_snr.SignalPower, way: tuple[str, str, str]) -> npt.NDArray[np.float64]:
    """Predict the signal to noise of each antenna's solutions of one dataset."""
    solint, gaintype, combine = way
    return choice.solution_snr(
        power.power, power.time_s, power.scan, choice.seconds(solint), gaintype, combine
    )


def _described(
    chosen: choice.Candidate,
    powers: Mapping[str, solution_snr.SignalPower],
    entry: Mapping[str, Any],
) -> dict[str, Any]:
    """Return what is known of a round before it is solved."""
    by_antenna: dict[str, float] = {}
    for power in powers.values():
        snr = _snr(power, chosen.way)
        for name, value in zip(power.antennas, snr.tolist(), strict=True):
            if np.isfinite(value):
                by_antenna[name] = min(value, by_antenna.get(name, np.inf))
    seconds = choice.seconds(chosen.solint)
    integration = max(power.integration_s for power in powers.values())
    return {
        "calmode": entry["calmode"],
        "solint": chosen.solint,
        "solint_s": integration if seconds == 0 else seconds if np.isfinite(seconds) else None,
        "gaintype": chosen.gaintype,
        "combine": chosen.combine,
        "predicted_snr": {
            "median": _rounded(chosen.snr),
            "min": _rounded(min(by_antenna.values(), default=None)),
            "by_antenna": {name: _rounded(value) for name, value in by_antenna.items()},
        },
        "flux_bias_expected": _rounded(_FLUX_BIAS / chosen.snr**2),
    }


def _run(
    name: str,
    params: Params,
    chosen: choice.Candidate,
    record: Mapping[str, Any],
    power: solution_snr.SignalPower,
) -> dict[str, Any]:
    """Solve a dataset; say what failed, or the table's numbers and the consistency."""
    alive = set(np.asarray(power.antennas)[power.power.sum(axis=(0, 1, 2)) > 0].tolist())
    settings = _settings(name, params, chosen, record) | {
        "minblperant": max(1, min(4, len(alive) - 1))
    }
    invoke.task("gaincal", settings)
    caltable = settings["caltable"]
    if not Path(caltable).exists():
        return {"failed": f"gaincal found no solution in {name}"}
    called: list[tuple[str, Params]] = [("gaincal", settings)]
    if record["calmode"] != "p":
        divided = list(gain_solutions.normalize(caltable).items())
        called.append(("divide_gains", {"caltable": caltable, "by": divided}))
    table = read.caltable(caltable)
    found = gain_solutions.solutions(table, alive)
    if not found.spws:
        return {"failed": f"all solutions of {name} are below minsnr {params['minsnr']:g}"}
    known = record["dead_by_dataset"].get(name, [])
    limit = float(params["limits"]["min_solution_snr"])
    dead = _dead(found.flagged_by_antenna, power, chosen, limit, known)
    agreed, how = _consistency(settings, table, power, dead)
    return {
        "name": name, "found": found, "refant": settings["refant"], "dead": dead,
        "consistency": agreed, "how": how, "called": called, "table": table,
    }  # fmt: skip


def _settings(
    name: str, params: Params, chosen: choice.Candidate, record: Mapping[str, Any]
) -> dict[str, Any]:
    """Return gaincal's parameters: against the original data, under the tables that stay."""
    vis = params["vis"][name]
    earlier = [table for table in record["apply"] if table["round"] != params["round"]]
    paths = {number: tables[name] for number, tables in params["earlier"].items()}
    refant = str(params["refant"])
    if refant == "auto":
        refant = str(central_antennas(metadata.antennas(Path(vis))).value)
    return {
        "vis": vis, "caltable": params["tables"][name], "spw": params["spw"],
        "uvrange": params.get("uvrange", ""), "solint": chosen.solint,
        "combine": chosen.combine, "refant": refant, "minsnr": params["minsnr"],
        "calmode": record["calmode"], "gaintype": chosen.gaintype, "solnorm": False,
        **applied(vis, earlier, paths),
    }  # fmt: skip


_FEW_FAILED: Final = 0.02
"""With no more failed solutions than this a table can tell its consistency itself; else those that
failed must count, too."""


def _consistency(
    settings: Mapping[str, Any],
    table: read.CalTable,
    power: solution_snr.SignalPower,
    dead: Sequence[str],
) -> tuple[gain_solutions.Consistency, str]:
    """Compare phases that were solved from independent halves of the data."""
    trial = {**settings, "calmode": "p", "minsnr": 0.0, "caltable": "selfcal-trial-1"}
    if power.hands > 1:
        living = gain_solutions.solutions(table, set(power.antennas) - set(dead))
        whole = settings["calmode"] == "p" and settings["gaintype"] == "G"
        enough = whole and living.flagged_fraction < _FEW_FAILED
        solved = [table] if enough else _trials([trial | {"gaintype": "G"}])
        if solved:
            agreed = gain_solutions.of_polarizations(solved[0], dead)
            if agreed.value is not None:
                return agreed, "polarizations"
    halves = solution_snr.halves(settings["vis"], settings["spw"])
    if halves is None:
        return gain_solutions.Consistency(None, 0), "one polarization and one channel"
    parts = [{"spw": half, "caltable": f"selfcal-trial-{n}"} for n, half in enumerate(halves, 1)]
    solved = _trials([trial | {"gaintype": "T"} | part for part in parts])
    if len(solved) < 2:
        return gain_solutions.Consistency(None, 0), "no solutions of half of the channels"
    return gain_solutions.of_halves(solved[0], solved[1], dead), "halves of the channels"


def _trials(settings: Sequence[Mapping[str, Any]]) -> list[read.CalTable]:
    """Solve into tables that are no products; return those that gaincal made."""
    tables = []
    for one in settings:
        invoke.task("gaincal", one)
        path = Path(str(one["caltable"]))
        if path.exists():
            tables.append(read.caltable(path))
            shutil.rmtree(path)
    return tables


def _gather(record: dict[str, Any], runs: Sequence[Mapping[str, Any]]) -> None:
    """Put the numbers of all datasets together, the weakest deciding."""
    found = [run["found"] for run in runs]
    values = [run["consistency"].value for run in runs]
    refants = {run["refant"] for run in runs}
    flagged: dict[str, float] = {}
    for one in found:
        for antenna, fraction in one.flagged_by_antenna.items():
            flagged[antenna] = max(fraction, flagged.get(antenna, 0.0))
    record |= {
        "refant": refants.pop() if len(refants) == 1 else
        "; ".join(f"{run['name']}: {run['refant']}" for run in runs),
        "consistency": _rounded(min((v for v in values if v is not None), default=None)),
        "consistency_of": "; ".join(sorted({str(run["how"]) for run in runs})),
        "flagged_fraction": _rounded(float(np.mean([one.flagged_fraction for one in found]))),
        "flagged_by_antenna": {name: _rounded(value) for name, value in flagged.items()},
        "solution_snr_median": _least(one.snr_median for one in found),
        "phase_rms_deg": _largest(one.phase_rms_deg for one in found),
        "amplitude_rms": _largest(one.amplitude_rms for one in found),
        "dead_by_dataset": {run["name"]: run["dead"] for run in runs},
        "dead_antennas": sorted({name for run in runs for name in run["dead"]}),
    }  # fmt: skip


def _least(values: Any) -> float | None:
    return _rounded(min((v for v in values if v is not None), default=None))


def _largest(values: Any) -> float | None:
    return _rounded(max((v for v in values if v is not None), default=None))


def _dead(
    flagged: Mapping[str, float], power: solution_snr.SignalPower, chosen: choice.Candidate,
    limit: float, known: Sequence[str],
) -> list[str]:  # fmt: skip
    """Name the antennas without signal: found now or before, for they stay flagged meanwhile."""
    predicted = dict(zip(power.antennas, _snr(power, chosen.way).tolist(), strict=True))
    found = {
        name
        for name, fraction in flagged.items()
        if fraction > _NO_SIGNAL and predicted[name] >= limit
    }
    if len(found) > _FEW_DEAD * len(flagged):
        found = set()
    return sorted(found | set(known))


ACTIONS: Final[dict[str, Callable[[Params], Outcome]]] = {
    "selfcal.predict": _predict,
    "selfcal.solve": _solve,
    "selfcal.apply": selfcal_apply.apply,
    "selfcal.finish": selfcal_apply.finish,
}
