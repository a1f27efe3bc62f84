"""A recipe and its data become a plan, and what of it would run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..engine.chains import chains_of
from ..engine.forecast import Forecast
from ..engine.resume import Decided, decide_part
from ..errors import DataError, Problem
from ..files import read_json
from ..observation import Observation
from ..plan import Plan
from ..recipe.positions import as_told, render
from ..stages import compile as stages
from .beginning import executor_here
from .looking import held_while_looked_at, require_inside
from .observing import cube_headers, observe
from .opening import Options, Reduction, judged, open_recipe, uncollected
from .standing import standing
from .steps import Listener, as_plan, expect
from .watching import Watch


@dataclass(frozen=True)
class Planned:
    """A plan, and what of it would run.

    Attributes
    ----------
    reduction : Reduction
        The recipe and its run folder.
    plan : Plan
        The steps that were asked for.
    decided : Decided
        For each step whether it would run, and why.
    forecast : Forecast
        What that will take of this machine, and whether the machine has it.
    warnings : tuple of Problem
        What the user should know before the run.
    notes : tuple of str
        Of datasets that come one after the other: which wait, are gone or were refused.
    compiled : tuple of Problem
        Those of the warnings that recipe and data gave when they became the plan.
    """

    reduction: Reduction
    plan: Plan
    decided: Decided
    forecast: Forecast = field(default_factory=Forecast)
    warnings: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    compiled: tuple[Problem, ...] = ()

    @property
    def warned(self) -> str:
        """The warnings in words, each at its place in the recipe."""
        return render(self.warnings, self.reduction.loaded.source)

    @property
    def n_warned(self) -> int:
        """How many warnings that makes: of many datasets, those that are alike are one."""
        return len(as_told(self.warnings, self.reduction.loaded.source))

    def need_machine(self) -> None:
        """Refuse what this machine cannot do.

        Raises
        ------
        RefusedError
            With the numbers and the knob to turn.
        """
        if self.forecast.problems:
            raise self.reduction.refused([*self.forecast.problems, *self.warnings])


def prepare(
    reduction: Reduction, observations: Mapping[str, Observation], *, fresh: bool = False
) -> Planned:
    """Compile the plan, take the part that was asked for, decide what of it must run.

    Parameters
    ----------
    reduction : Reduction
        The recipe; its folder is held by the caller.
    observations : mapping of str to Observation
        Metadata by dataset name.
    fresh : bool
        Decide as if the folder were empty.

    Raises
    ------
    RefusedError
        Where recipe and data do not fit, with each problem at its place in the recipe.
    """
    with uncollected():
        return _prepared(reduction, observations, fresh)


def _prepared(
    reduction: Reduction, observations: Mapping[str, Observation], fresh: bool
) -> Planned:
    options = reduction.options
    compiled = stages.full(reduction.loaded.recipe, observations, cube_headers(reduction))
    if compiled.problems:
        raise reduction.refused([*compiled.problems, *_warnings(reduction, compiled.warnings)])
    whole = as_plan(compiled, reduction.folder)
    part = stages.asked_for(whole, options.only, options.until)
    chains = chains_of(part)  # held, for deciding and the forecast both ask for them
    decided = decide_part(reduction.folder, whole, part, fresh=fresh)
    planned = as_found(reduction, part, decided, tuple(compiled.warnings))
    del chains
    return planned


def as_found(
    reduction: Reduction, part: Plan, decided: Decided, compiled: tuple[Problem, ...]
) -> Planned:
    """Return a plan with what will be done of it, and what there is to say of that.

    Raises
    ------
    RefusedError
        If something in the run folder leads elsewhere.
    """
    require_inside(reduction.folder)
    expected = expect(reduction, part, decided.to_run)
    warnings = (*_warnings(reduction, compiled), *expected.warnings)
    return Planned(reduction, part, decided, expected, warnings, compiled=compiled)


def _warnings(reduction: Reduction, compiled: Sequence[Problem]) -> tuple[Problem, ...]:
    mine = (*reduction.loaded.warnings, *_of_another(reduction), *compiled)
    return tuple(dict.fromkeys(mine))


def _of_another(reduction: Reduction) -> list[Problem]:
    """Warn where the run folder holds the run of a recipe by another name."""
    try:
        name = read_json(reduction.folder.root / "docs" / "run.json")["name"]
    except (OSError, ValueError, KeyError, TypeError, DataError):
        return []
    mine = reduction.loaded.recipe.project.name
    if name == mine:
        return []
    said = (
        f"{reduction.folder.root} holds the run of '{name}', not of '{mine}': what differs will be "
        "made again in its place; choose another folder with --output to keep both"
    )
    return [Problem(said, ("project", "output"), "warning")]


def plan(recipe: Path, options: Options, listener: Listener | None = None) -> Planned:
    """Plan a run. Data that must be imported for their metadata are, once.

    Raises
    ------
    RefusedError
        With all that is wrong with the recipe, by itself or against the data.
    """
    reduction = judged(open_recipe(recipe, options))
    with held_while_looked_at(reduction), executor_here() as executor:
        watch = Watch(reduction)
        if watch.idle:
            return Planned(watch.reduction, Plan(()), Decided({}), notes=tuple(watch.notes))
        kept = standing(reduction)
        if kept is not None:
            return kept
        observations, _ = watch.through(lambda now: observe(now, executor, listener), unread=True)
        planned = watch.through(lambda now: prepare(now, observations, fresh=options.fresh))
        return replace(planned, notes=tuple(watch.notes))
