"""From a recipe and the datasets' metadata to the plan. Pure: no CASA, no side effects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .. import preflight
from ..cubes.chain import Cube as CubeHeader
from ..errors import Problem, dotted
from ..observation import Observation
from ..plan import Auto, Plan, Step
from ..recipe.model import Recipe
from . import (
    applied_tables,
    apply,
    average,
    calibrate,
    contsub,
    costs,
    cube,
    custom,
    export,
    flag,
    image,
    ingest,
    known_tables,
    measure,
    roles,
    selfcal,
    split,
)
from .draft import ORDER, Draft, Subject
from .picture import Picture


@dataclass(frozen=True)
class Compiled:
    """What compiling a recipe gave: steps and choices, or problems."""

    steps: tuple[Step, ...]
    autos: tuple[Auto, ...] = ()
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    keep: str = "all"
    needed_later: frozenset[str] = frozenset()

    def plan(self, inputs: Mapping[str, str], versions: Mapping[str, str]) -> Plan:
        """Return the plan, once the identities of inputs and software are known."""
        notes = tuple(
            f"{dotted(warning.key)}: {warning.message}" if warning.key else warning.message
            for warning in self.warnings
        )
        return Plan(self.steps, inputs, versions, self.autos, notes, self.keep, self.needed_later)


def imports(recipe: Recipe) -> Compiled:
    """Compile the steps that need no metadata: import, and reading the metadata.

    What they make is needed by the steps that will be known then.
    """
    draft = Draft(recipe)
    for dataset in recipe.dataset:
        ingest.steps(draft, dataset)
    cube.inspections(draft)
    later = frozenset(path for step in draft.steps for path in step.intermediates)
    return Compiled(tuple(draft.steps), keep=recipe.resources.keep, needed_later=later)


def full(
    recipe: Recipe,
    observations: Mapping[str, Observation],
    headers: Mapping[str, CubeHeader] | None = None,
) -> Compiled:
    """Compile the whole recipe.

    Parameters
    ----------
    recipe : Recipe
        The checked recipe.
    observations : mapping of str to Observation
        Metadata by dataset name, one for each dataset of the recipe.
    headers : mapping of str to Cube, optional
        What the cubes are that exist already, by the name of their ``[[cube]]``.

    Returns
    -------
    Compiled
        All steps in order; with problems where recipe and data do not fit.
    """
    draft = Draft(recipe)
    subjects = []
    tables: dict[str, applied_tables.Tables] = {}
    numbered = enumerate(recipe.dataset)
    for index, dataset in draft.each("dataset", numbered, lambda one: one[1].name):
        observation = observations[dataset.name]
        subject = Subject(dataset, index, observation, roles.resolve(draft, dataset, observation))
        subjects.append(subject)
        tables[dataset.name] = _dataset(draft, subject)
    pictures = image.pictures(draft, subjects)
    loops = selfcal.loops(draft, subjects, pictures)
    for loop in loops:
        selfcal.steps(draft, loop)
    pictures = selfcal.knowing(draft, pictures, loops)
    for subject in subjects:
        contsub.steps(draft, subject)
        measure.dataset(draft, subject, tables[subject.name])
    _images(draft, pictures)
    cube.inspections(draft)
    products = cube.products(draft, pictures, headers or {})
    for product in products:
        cube.steps(draft, product)
        measure.product(draft, product)
    for loop in loops:
        measure.selfcal(draft, loop)
    custom.insert(draft, subjects, pictures)
    known_tables.in_time(draft, subjects)
    _clashes(draft)
    preflight.check(draft, subjects, pictures, loops, products)
    if not draft.problems:
        draft.steps[:] = costs.estimated(draft.steps, subjects)
    return _compiled(draft)


def _compiled(draft: Draft) -> Compiled:
    return Compiled(
        tuple(draft.steps),
        tuple(draft.autos),
        tuple(draft.problems),
        tuple(draft.warnings),
        draft.recipe.resources.keep,
    )


def _images(draft: Draft, pictures: Sequence[Picture]) -> None:
    """Add the steps of all images."""
    average.steps(draft, pictures)
    draft.cubes = sum(picture.cube for picture in pictures)
    for picture in pictures:
        image.steps(draft, picture)
        export.steps(draft, picture)
        measure.picture(draft, picture)


def _clashes(draft: Draft) -> None:
    """Refuse names that differ only in what files cannot be called: ``a,b`` and ``a_b``."""
    makers: dict[str, Step] = {}
    for step in draft.steps:
        for path in step.writes:
            other = makers.setdefault(path, step)
            if other is not step and step.stage != "step":
                draft.problem(
                    f"two steps would make {path}: '{other.title}' and '{step.title}'; choose "
                    "targets whose names differ in letters or digits, or rename datasets or images",
                    ("targets", "fields"),
                )
                return


def asked_for(plan: Plan, only: str = "", until: str = "") -> Plan:
    """Return the part of a plan that one dataset, or the stages up to one, ask for.

    Parameters
    ----------
    plan : Plan
        The whole plan.
    only : str
        A dataset's name. An image has no dataset of its own: it is made where all its data are.
    until : str
        The last stage.
    """
    if only:
        plan = plan.part(lambda step: step.dataset in (only, ""))
    if until:
        before = ORDER[: ORDER.index(until) + 1]
        plan = plan.part(lambda step: step.stage in (*before, "step"))
    return plan


def _dataset(draft: Draft, subject: Subject) -> applied_tables.Tables:
    """Add the steps of one dataset from import to split; return its calibration tables."""
    ingest.steps(draft, subject.dataset)
    tables: applied_tables.Tables = {}
    if not subject.dataset.calibrated:
        ingest.copy(draft, subject)
        flag.steps(draft, subject)
        tables = calibrate.steps(draft, subject)
        apply.steps(draft, subject, tables)
    split.steps(draft, subject)
    return tables


__all__ = ["ORDER", "Compiled", "asked_for", "full", "imports"]
