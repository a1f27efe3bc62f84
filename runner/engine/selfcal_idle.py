"""Rounds of a self-calibration that do not take place: why not, and what they leave.

Light, without CASA and arrays: what there is to do for such a round, the runner does itself. A
process for each of its steps would take 20 to 35 ms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from ..errors import Cause, StepFailedError
from ..files import product_state, read_json, remove_tree, write_json
from ..qa import selfcal
from .executors import Job
from .results import PARAMS, SKIPPED, attempt_folder, failure, write_result
from .untouched import check_products

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


def _no_judgement(params: Params, root: Path) -> str:
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


def _no_solutions(params: Params, root: Path) -> str:
    why = why_not(params, root)
    if why:
        state = read_json(root / params["state"])
        record = unsolved(int(params["round"]), state, float(params["minsnr"]))
        write_json(root / params["out"], record | {"skipped": why})
    return why


def _no_picture(params: Params, root: Path) -> str:
    why = why_not(params, root)
    if why:
        write_json(root / params["out"], no_image(params, why))
    return why


_LEAVING: Final[Mapping[str, Callable[[Params, Path], str]]] = {
    "selfcal.predict": why_not,
    "selfcal.solve": _no_solutions,
    "selfcal.apply": why_not,
    "selfcal.image": _no_picture,
    "selfcal.judge": _no_judgement,
}
"""What leaves what a step of a round that does not take place leaves, and says why it does not;
nothing where it does."""


def passed_over(job: Job) -> dict[str, Any] | None:
    """Do a step of a round that does not take place.

    Parameters
    ----------
    job : Job
        The step.

    Returns
    -------
    dict or None
        Its result, which is written. None where the step is for a process: there is something
        to do, something to clear away, or what it reads was altered.
    """
    step, root = job.step, job.folder
    leave = _LEAVING.get(step.action)
    if leave is None or any((root / path).exists() for path in step.writes):
        return None
    try:
        check_products(root, {p: s for p, s in job.states.items() if (root / p).is_file()})
        why = leave(step.params, root)
    except (OSError, StepFailedError):
        return None
    if not why:
        return None
    made = {path: product_state(root / path) for path in step.writes if (root / path).exists()}
    kept = {path: job.states[path] for path in step.updates if path in job.states}
    result = {
        **failure(Cause.UNKNOWN, ""), "ok": True, "cause": "", "outcome": {SKIPPED: why},
        "params": dict(step.params), "writes": {**made, **kept},
    }  # fmt: skip
    logs = attempt_folder(job.run_folder, step.id, job.attempt)
    remove_tree(job.run_folder.log(step.id))
    logs.mkdir(parents=True)
    write_json(logs / PARAMS, step.params, durable=False)
    write_result(job.run_folder, step.id, job.attempt, result)
    return result
