"""What a recipe passes to CASA's tasks, held against the installed CASA's own definitions.

The tables of parameters (``image.tclean``, ``calibrate.gaincal``, ...) and those of each
``[[step]]``. No data are needed for it, and little time: a definition is read in milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..configuration import configured
from ..errors import KeyPath, Problem, RefusedError, did_you_mean
from ..recipe.model import CustomStep, Image, Recipe
from .hidden_code import asks_network, runs_code
from .task_checks import idle, without_unit, wrong
from .task_paths import roles
from .tasks import definitions_folder, task, task_names

Params = Mapping[str, Any]

_NOT_IN_A_COMMAND = frozenset(
    ("vis", "inpfile", "flagbackup", "tbuff", "cmdreason", "savepars", "outfile", "display",
     "action", "overwrite", "writeflags")
)  # fmt: skip
"""Parameters of flagdata that stand beside its commands, not in them."""

_GOVERNING = ("gridder", "deconvolver", "weighting", "specmode", "niter", "usemask", "restoration")
"""Parameters of tclean whose values decide which others have an effect."""

_FILLED_IN = {
    "dataset": {"vis": "vis"},
    "target": {"vis": "vis"},
    "image": {"imagename": "image"},
    "run": dict[str, str](),
}
"""The input that a ``[[step]]`` need not name, with its placeholder, by what it runs once for."""


def static(recipe: Recipe) -> list[Problem]:
    """Return what is wrong with the parameters of tasks in a recipe, without its data.

    Parameters
    ----------
    recipe : Recipe
        The checked recipe.

    Returns
    -------
    list of Problem
        Errors and warnings, each at its key; empty also where CASA is not installed.
    """
    try:
        definitions_folder()
    except RefusedError:
        return []
    found = [
        problem
        for key, name, params, settings in _passed_through(recipe)
        if params
        for problem in _table(key, name, params, settings)
    ]
    found += _flag_commands(recipe)
    return found + [problem for i in range(len(recipe.step)) for problem in _step(recipe, i)]


def _flag_commands(recipe: Recipe) -> Iterator[Problem]:
    """Yield what is wrong with flag commands whatever the data."""
    if not recipe.flag.manual:
        return
    from ..selection import flag_command

    for index, command in enumerate(recipe.flag.manual):
        message = flag_command.syntax(command, *flag_command_words())
        if message:
            yield Problem(message, ("flag", "manual", index))


def flag_command_words() -> tuple[frozenset[str], frozenset[str]]:
    """Return the parameters and the modes that a flag command may have."""
    spec = task("flagdata")
    modes = frozenset(spec.by_name["mode"].allowed) - {"list"}
    return frozenset(spec.by_name) - _NOT_IN_A_COMMAND, modes


def _passed_through(recipe: Recipe) -> Iterator[tuple[KeyPath, str, Params, Sequence[Params]]]:
    """Yield each table of parameters with its key and task, and what casarun sets beside it.

    One table may serve several calls: a parameter has no effect if it has none in all of them.
    """
    for index, image in enumerate(recipe.image):
        calls = _imaging(image)
        yield ("image", index, "tclean"), "tclean", image.tclean, calls
        for place, fallback in enumerate(image.fallback if image.niter else ()):
            key = ("image", index, "fallback", place)
            yield key, "tclean", fallback, [{**calls[-1], **image.tclean}]
        yield ("image", index, "immoments"), "immoments", image.immoments, [{}]
    for index, selfcal in enumerate(recipe.selfcal):
        # What of the image's settings they go with is known when the image is.
        later: Params = {n: {"$late": {}} for n in _GOVERNING if n not in selfcal.tclean}
        yield ("selfcal", index, "tclean"), "tclean", selfcal.tclean, [later]
    calibrate, flux = recipe.calibrate, recipe.calibrators.flux
    standard = "manual" if flux.fluxdensity else flux.standard
    solved: list[Params] = [{"gaintype": calibrate.gaintype}]
    if calibrate.delay != "no":
        solved.append({"gaintype": "K"})
    settings: Mapping[str, Sequence[Params]] = {
        "setjy": [{"standard": standard}],
        "gaincal": solved,
        "bandpass": [{"bandtype": "B"}],
        "fluxscale": [{}],
        "applycal": [{}],
    }
    for name, sets in settings.items():
        yield ("calibrate", name), name, getattr(calibrate, name), sets
    modes = [{"mode": mode} for mode in ("tfcrop", recipe.flag.rfi) if mode != "none"]
    yield ("flag", "flagdata"), "flagdata", recipe.flag.flagdata, modes
    if recipe.contsub is not None:
        yield ("contsub", "uvcontsub"), "uvcontsub", recipe.contsub.uvcontsub, [{}]


def _imaging(image: Image) -> list[Params]:
    """Return what casarun gives to tclean for the dirty image, and for the clean one."""
    shared: dict[str, Any] = {
        key: {"$late": {}} if value == "auto" else value
        for key, value in (
            ("specmode", image.specmode),
            ("gridder", image.gridder),
            ("deconvolver", image.deconvolver),
            ("weighting", image.weighting),
        )
    }
    dirty = {**shared, "niter": 0, "restoration": image.niter == 0}
    if not image.niter:
        return [dirty]
    usemask = "auto-multithresh" if image.mask == "auto-multithresh" else "user"
    return [dirty, {**shared, "niter": image.niter, "usemask": usemask, "calcpsf": False}]


def _table(
    key: KeyPath, name: str, params: Params, settings: Sequence[Params]
) -> Iterator[Problem]:
    """Yield what is wrong with a table of parameters, and what of it is in vain."""
    bad = wrong(name, params) or runs_code(name, params)
    for parameter, message in bad.items():
        unknown = parameter not in task(name).by_name
        there = (*key, parameter) if parameter in params else key
        yield Problem(message, there, at_key=unknown)
    good = {parameter: value for parameter, value in params.items() if parameter not in bad}
    calls = [idle(name, {**chosen, **good}) for chosen in settings]
    for parameter in good:
        if calls and all(parameter in call for call in calls):
            yield Problem(calls[-1][parameter], (*key, parameter), "warning", at_key=True)
    for parameter, message in without_unit(good).items():
        yield Problem(message, (*key, parameter), "warning")


def _step(recipe: Recipe, index: int) -> Iterator[Problem]:
    """Yield what is wrong with the task and the parameters of a ``[[step]]``."""
    step = recipe.step[index]
    key: KeyPath = ("step", index)
    if step.task not in task_names():
        message = f"the installed CASA has no task '{step.task}'"
        yield Problem(message + did_you_mean(step.task, task_names()), (*key, "task"))
        return
    yield from _network(step, key)
    yield from _lacks_input(step, key)
    # What a placeholder stands for may be any text.
    plain = {name: value for name, value in step.params.items() if not _has_placeholder(value)}
    later: dict[str, Any] = {name: {"$late": {}} for name in step.params if name not in plain}
    yield from _table((*key, "params"), step.task, plain, [later])
    for name, message in wrong(step.task, later).items():
        yield Problem(message, (*key, "params", name), at_key=True)
    filled = {name: value for name, value in step.params.items() if name not in plain}
    for name, message in runs_code(step.task, {"inpmode": "list", **filled}).items():
        yield Problem(message, (*key, "params", name))


def _network(step: CustomStep, key: KeyPath) -> Iterator[Problem]:
    """Yield that a step would reach the network, unless the user lets this task do it."""
    asked = asks_network(step.task, step.params)
    own = configured() if asked else None
    if own is not None and step.task not in own.network:
        yield Problem(
            f"CASA's {step.task} asks a server on the network, which a recipe may not, for "
            f'{asked}; or allow it in your own {own.path}: allow.network = ["{step.task}"]',
            (*key, "task"),
        )


def filled_in(step: CustomStep) -> dict[str, str]:
    """Return the input that goes without saying in a ``[[step]]``.

    Parameters
    ----------
    step : CustomStep
        The step; its task is one of the installed CASA's.

    Returns
    -------
    dict of str to str
        The placeholder by the parameter that it fills; empty where the step names its input.
    """
    known = roles(step.task)
    return {
        parameter: name
        for parameter, name in _FILLED_IN[step.per].items()
        if known.get(parameter) in ("reads", "updates") and parameter not in step.params
    }


def _lacks_input(step: CustomStep, key: KeyPath) -> Iterator[Problem]:
    """Yield that a step lacks its task's first input."""
    first = next(iter(task(step.task).parameters), None)
    if first is None or not first.must_exist or first.default not in ("", [], None):
        return
    if not step.params.get(first.name) and first.name not in filled_in(step):
        what = f"{step.task} needs '{first.name}' ({first.description.rstrip('.')})"
        yield Problem(f"{what}, and the step gives none", (*key, "params") if step.params else key)


def _has_placeholder(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(_has_placeholder(item) for item in value.values())
    if isinstance(value, (list, tuple)):
        return any(_has_placeholder(item) for item in value)
    return isinstance(value, str) and "{" in value
