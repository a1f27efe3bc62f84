"""CASA's parameters in a recipe, held against the installed CASA's own task definitions.

What a recipe passes through (``image.tclean``, ``calibrate.gaincal``, ...) and the parameters
of each ``[[step]]`` need no data to be checked; what casarun itself gives to CASA is
checked in the steps of the plan, for a value may be one that only another CASA knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from ..casa.recipe_parameters import static
from ..casa.task_checks import idle, wrong
from ..errors import KeyPath, Problem
from ..plan import Step
from ..recipe.model import Calibrate, Image, Recipe
from ..stages.draft import Draft
from ..stages.split import selfcal_of

_OWN_ACTIONS = {"clean": "tclean", "fluxscale": "fluxscale", "selfcal.image": "tclean"}
"""Actions of casarun that call a task with parameters of the recipe."""


def check(draft: Draft) -> None:
    """Add to a draft what is wrong with the parameters of tasks.

    Parameters
    ----------
    draft : Draft
        With all steps of the plan.
    """
    found = static(draft.recipe)
    said = {str(problem.key[-1]) for problem in found if problem.key}
    for problem in found:
        draft.take(problem)
    for step in draft.steps:
        if step.stage == "step":
            continue
        for name, message in refused(step).items():
            if name not in said:
                draft.problem(message, _key(draft.recipe, step, name))
    _in_vain(draft)


def _in_vain(draft: Draft) -> None:
    """Warn of parameters of tclean that have no effect with what casarun chose."""
    for index, image in enumerate(draft.recipe.image):
        calls = [
            idle("tclean", params)
            for step in draft.steps
            if step.image == image.name and step.stage == "image"
            for name, params in [_call(step)]
            if name == "tclean"
        ]
        for parameter in image.tclean:
            if calls and all(parameter in call for call in calls):
                key: KeyPath = ("image", index, "tclean", parameter)
                warning = Problem(calls[-1][parameter], key, "warning", at_key=True)
                if all(known.key != key for known in draft.warnings):
                    draft.warnings.append(warning)


def refused(step: Step) -> dict[str, str]:
    """Return what CASA would refuse of a step, by parameter; empty for what calls no task."""
    name, params = _call(step)
    return wrong(name, params) if name else {}


def _call(step: Step) -> tuple[str, Mapping[str, Any]]:
    """Return the task that a step calls, with its parameters; no name where it calls none."""
    name = step.action.removeprefix("casa:")
    if name != step.action:
        return name, step.params
    name = _OWN_ACTIONS.get(name, "")
    return name, step.params.get(name, step.params)


def _key(recipe: Recipe, step: Step, parameter: str) -> KeyPath:
    """Return the key of the recipe that a parameter of a built-in step comes from."""
    if step.image:
        names = {attribute.name for attribute in fields(Image)}
        index = next((i for i, im in enumerate(recipe.image) if im.name == step.image), 0)
        return ("image", index, parameter) if parameter in names else ("image", index)
    if step.stage == "selfcal":
        place = selfcal_of(recipe, step.target)
        return ("selfcal",) if place is None else ("selfcal", place)
    names = {attribute.name for attribute in fields(Calibrate)}
    if step.stage == "calibrate" and parameter in names:
        return ("calibrate", parameter)
    return (step.stage,) if step.stage in ("calibrate", "flag", "contsub") else ()
