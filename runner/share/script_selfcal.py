"""Self-calibration in a CASA script: its rounds, as they went.

What a round decided stands as numbers in its calls. The functions that the lines call beside
CASA's tasks stand in ``templates/casa_script_selfcal.txt``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from ..engine.results import SKIPPED
from ..errors import DataError
from ..plan import Step
from .late_source import late
from .python_source import argument, comment, filled, literal, quoted, variables

if TYPE_CHECKING:
    from .script_steps import Steps

Lines = list[str]

TASKS: Final = ("applycal", "clearcal", "delmod", "flagdata", "gaincal", "tclean")
_OWN: Final = ("divide_gains", "first_flags")
"""Functions of the template that a run calls."""

_TOLD: Final = ("calmode", "solint", "gaintype", "combine")
_MODEL: Final = "selfcal-predict"
_GOING_ON: Final = {"calcpsf": False, "calcres": False}


def _unknown(steps: Steps, step: Step, what: str) -> Lines | None:
    """Return the lines of a step of which no record says how it went; None where one does."""
    if not steps.known:
        return comment(f"Known at run time: {what}.")
    told = steps.outcome(step)
    if SKIPPED in told:
        return []
    if not {"how", "called"} & {*told}:  # as of a run of before this was kept
        return comment(f"NOT REPEATED: {step.id}: no record says how it was done")
    return None


def _image(steps: Steps, step: Step) -> Lines:
    """Clean in one mask after another, down to one depth after the other, and restore."""
    lines = _unknown(steps, step, "the masks and depths of the clean, if the round takes place")
    if lines is not None:
        return lines
    told = steps.outcome(step)
    how, noise = told["how"], told.get("rms_noise_jy_per_beam")
    prefix = str(step.params["prefix"])
    name = f"SELFCAL_{variables([prefix])[prefix]}"
    said = [] if noise is None else comment(f"rms_noise_jy_per_beam = {noise!r}")
    lines = [*said, *steps.call(f"{name} = dict", how["tclean"])]
    lines += _tclean(steps, name, {"niter": 0, "restoration": False})
    lines.append(f"keep_dirty({quoted(prefix)})")
    drawn = None
    for clean in how["cleans"]:
        if drawn != clean["mask"]:
            lines += _with_rectangles("write_mask", [prefix, _suffix(step)], clean["mask"])
        drawn = clean["mask"]
        if "tclean" in clean:
            more = {**clean["tclean"], "usemask": "user", **_GOING_ON, "restoration": False}
            lines += _tclean(steps, name, more)
        else:
            lines += filled("clean_in_cycles", [name, *map(_cycle, clean["cycles"])])
    return lines + _tclean(steps, name, {"niter": 0, **_GOING_ON})


def _cycle(cycle: Sequence[float] | None) -> str:
    """Return a cycle of a clean as an argument: depth and iterations, or None for a major one."""
    return "None" if cycle is None else f"({cycle[0]!r}, {cycle[1]!r})"


def _tclean(steps: Steps, settings: str, more: Mapping[str, Any]) -> Lines:
    """Return a call of tclean with an image's settings and more over them."""
    words = [argument(name, value, steps.names) for name, value in more.items()]
    lines = filled("tclean(**dict", [settings, *words])
    return [*lines[:-1], f"{lines[-1]})"]


def _with_rectangles(
    function: str, given: Sequence[Any], rectangles: Sequence[Sequence[int]]
) -> Lines:
    """Return a call whose last arguments are rectangles of pixels."""
    return filled(function, [*map(literal, given), *map(literal, rectangles)])


def _suffix(step: Step) -> str:
    """Return what the name of an image of the first Taylor term ends in."""
    return ".tt0" if step.params["tclean"].get("deconvolver") == "mtmfs" else ""


def _predict(steps: Steps, step: Step) -> Lines:
    """Write the model of the best image so far into MODEL_DATA, from a copy of it."""
    lines = _unknown(steps, step, "which image's model, and which of its components")
    if lines is not None:
        return lines
    told = steps.outcome(step)
    given, left = [told["how"]["source"], _MODEL, _suffix(step)], told["how"]["left_out"]
    faint = [left["below_jy"]] if left else []
    lines = _with_rectangles("copy_model", [*given, *faint], left["islands"] if left else [])
    return [*lines, *_called(steps, step), f"remove_images({quoted(_MODEL)})"]


def _solve(steps: Steps, step: Step) -> Lines:
    lines = _unknown(steps, step, "whether, and how, gains are solved for")
    if lines is not None:
        return lines
    told = steps.outcome(step)
    chosen = ", ".join(f"{name}={told[name]!r}" for name in _TOLD)
    return [*comment(f"casarun chose: {chosen}"), *_called(steps, step)]


def _apply(steps: Steps, step: Step) -> Lines:
    lines = _unknown(steps, step, "which tables are applied")
    return _called(steps, step) if lines is None else lines


def _judge(steps: Steps, step: Step) -> Lines:
    told = steps.outcome(step)
    if SKIPPED in told or not told:
        return []
    verdict, reason = "accepted" if told["accepted"] else "not accepted", str(told["reason"])
    return comment(reason if reason.startswith(verdict) else f"{verdict}: {reason}")


def _finish(steps: Steps, step: Step) -> Lines:
    """Return the lines that apply the tables of the best round, as the run left the data."""
    if not steps.known:
        return [late("the rounds, and the tables of those that are accepted").text]
    return _called(steps, step)


def _called(steps: Steps, step: Step) -> Lines:
    """Return what a step called, in order.

    Raises
    ------
    DataError
        If its record has something else: that may be someone else's.
    """
    calls: list[tuple[str, Mapping[str, Any]]] = steps.outcome(step).get("called", [])
    for function, _ in calls:
        if function not in (*TASKS, *_OWN):
            raise DataError(f"{function!r} is no task of {step.id}: its record in logs/ was edited")
    return [line for function, params in calls for line in steps.call(function, params)]


def _nothing(steps: Steps, step: Step) -> Lines:
    return []


def _dirty(steps: Steps, step: Step) -> Lines:
    """Make anew what the run took over from a round: tclean makes the same of the same data."""
    return steps.call("tclean", step.params["tclean"])


ACTIONS: Final[Mapping[str, Callable[[Steps, Step], Lines]]] = {
    "selfcal.apply": _apply,
    "selfcal.dirty": _dirty,
    "selfcal.finish": _finish,
    "selfcal.image": _image,
    "selfcal.judge": _judge,
    "selfcal.plot": _nothing,
    "selfcal.predict": _predict,
    "selfcal.solve": _solve,
}
