"""What the stages write to while a recipe becomes a plan."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from operator import attrgetter
from os.path import isdir, isfile
from typing import Any, TypeVar

from ..errors import KeyPath, Problem
from ..folder import file_safe
from ..heuristics import Choice
from ..observation import Field, Observation
from ..plan import Auto, Check, Resources, Step
from ..quantities import parse
from ..recipe.model import Dataset, KeptDataset, Recipe

_T = TypeVar("_T")

ORDER = (
    "import",
    "flag",
    "calibrate",
    "apply",
    "split",
    "selfcal",
    "contsub",
    "image",
    "cube",
    "export",
    "measure",
)
"""The stages in the order of a reduction."""


@dataclass(frozen=True)
class Roles:
    """What each field of a dataset is for, by field id.

    `phase_of` gives for each target the calibrators that its phases come from, `mosaic_of` for
    each pointing of a mosaic the mosaic's name.
    """

    flux: tuple[int, ...] = ()
    bandpass: tuple[int, ...] = ()
    phase: tuple[int, ...] = ()
    targets: tuple[int, ...] = ()
    phase_of: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    mosaic_of: Mapping[int, str] = field(default_factory=dict)

    @cached_property
    def calibrators(self) -> tuple[int, ...]:
        """All calibrators, each once, by id."""
        return tuple(sorted({*self.flux, *self.bandpass, *self.phase}))


@dataclass(frozen=True)
class Subject:
    """A dataset with its metadata and the roles of its fields."""

    dataset: Dataset
    index: int
    observation: Observation
    roles: Roles

    @property
    def name(self) -> str:
        """The dataset's name."""
        return self.dataset.name

    @cached_property
    def pristine(self) -> str:
        """The MS as it came: imported, or the user's own, which is never changed."""
        return pristine(self.dataset)

    @property
    def working(self) -> str:
        """The copy that is flagged and calibrated."""
        return f"raw/{self.name}.ms"

    @property
    def calibrated(self) -> str:
        """The calibrators' calibrated data."""
        return f"calibrated/{self.name}.ms"

    def target_ms(self, target: str, *, contsub: bool = False, selfcal: bool = False) -> str:
        """Return the MS of a target's calibrated data.

        Parameters
        ----------
        target : str
            Its name.
        contsub, selfcal : bool
            Of the data without the continuum, or the copy that is self-calibrated.
        """
        kind = ".contsub" if contsub else ".selfcal" if selfcal else ""
        return f"calibrated/{self.name}.{file_safe(target)}{kind}.ms"

    @cached_property
    def targets(self) -> Mapping[str, tuple[int, ...]]:
        """The ids of each target's fields, by its name; those of one name or mosaic are one."""
        found: dict[str, tuple[int, ...]] = {}
        for one in self.fields(self.roles.targets):
            name = self.roles.mosaic_of.get(one.id, one.name)
            found[name] = (*found.get(name, ()), one.id)
        return found

    def fields(self, ids: tuple[int, ...]) -> tuple[Field, ...]:
        """Return the fields with these ids."""
        return tuple([self.observation.field(i) for i in ids])

    def names(self, ids: tuple[int, ...]) -> str:
        """Return the names of these fields for a person."""
        return ", ".join(field.name for field in self.fields(ids))


@dataclass
class Draft:
    """A plan in the making: steps, choices, problems and warnings, in order.

    `cubes` is the number of cubes that it images.
    """

    recipe: Recipe
    steps: list[Step] = field(default_factory=list)
    autos: list[Auto] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    cubes: int = 1
    _said: dict[Problem, int] = field(default_factory=dict)
    _about: dict[str, str] = field(default_factory=dict)

    @cached_property
    def _limited(self) -> Resources:
        """What a step needs of which the stages know no more than its limit."""
        return Resources(time_limit_s=parse(self.recipe.resources.time_per_step, "duration"))

    def choose(self, key: str, subject: str, choice: Choice) -> Any:
        """Record a value that casarun chose, and return it."""
        self.autos.append(Auto(key, subject, choice.value, choice.reason))
        return choice.value

    def each(
        self, kind: str, things: Iterable[_T], name: Callable[[_T], str] = attrgetter("name")
    ) -> Iterator[_T]:
        """Yield things; what is recorded before the next one is about the one that it names.

        Parameters
        ----------
        kind : str
            What they are: ``dataset``, ``target``, ``field``.
        things : iterable
            They, one after the other.
        name : callable
            Returns what messages call one.
        """
        try:
            for thing in things:
                self._about[kind] = name(thing)
                yield thing
        finally:
            self._about.pop(kind, None)

    def problem(self, message: str, key: KeyPath, **about: str) -> None:
        """Record something that is wrong with the recipe or the data.

        Parameters
        ----------
        message : str
            What, and the way out.
        key : KeyPath
            Where.
        **about : str
            Names in the message by their kinds, where they are not those of `each`.
        """
        self.take(Problem(message, key, about=tuple(about.items())))

    def warn(self, message: str, key: KeyPath, **about: str) -> None:
        """Record something that the user should know, but that does not refuse the recipe."""
        self.take(Problem(message, key, "warning", about=tuple(about.items())))

    def take(self, said: Problem) -> None:
        """Record a problem or a warning, once: of 1000 datasets, much is alike."""
        found = self.problems if said.severity == "error" else self.warnings
        said = replace(said, about=tuple((self._about | dict(said.about)).items()))
        place = self._said.setdefault(said, len(found))
        if place == len(found):
            found.append(said)
        elif found[place].about != said.about:  # of several: of those only that it names
            about = tuple(pair for pair in said.about if pair[1] in said.message)
            found[place] = replace(said, about=about)

    def add(self, step_id: str, action: str, params: Mapping[str, Any], **more: Any) -> None:
        """Add a step; `more` are further attributes of `Step`.

        Its `resources` are what the stage itself knows better than `stages.costs`.
        """
        known: Resources | None = more.pop("resources", None)
        limited = self._limited
        resources = limited if known is None else replace(known, time_limit_s=limited.time_limit_s)
        more["checks"] = tuple(more.get("checks", ()))
        for key in ("reads", "writes", "updates", "intermediates"):
            more[key] = tuple(more.get(key, ()))
        self.steps.append(Step(step_id, action=action, params=params, resources=resources, **more))


def pristine(dataset: Dataset) -> str:
    """Return the path of a dataset's MS as it came."""
    return dataset.vis if kind(dataset) == "ms" else f"raw/{dataset.name}.imported.ms"


def kind(dataset: Dataset) -> str:
    """Tell by its name what a dataset is: ``ms``, ``uvfits``, ``asdm`` or ``tar``.

    Only the name and the folder's own first files are looked at; what it really is, the step
    that reads it will tell. One whose files are gone is what it was.
    """
    if isinstance(dataset, KeptDataset):
        return dataset.form
    if isdir(dataset.vis):  # noqa: PTH112
        return "asdm" if isfile(f"{dataset.vis}/ASDM.xml") else "ms"  # noqa: PTH113
    if dataset.vis.lower().rstrip("/").endswith((".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")):
        return "tar"
    return "uvfits"


@lru_cache(maxsize=4096)
def ids(field_ids: tuple[int, ...]) -> str:
    """Write field ids as a CASA selection; ids are never mistaken for names."""
    return ",".join(str(i) for i in sorted(set(field_ids)))


def check(name: str, **params: Any) -> Check:
    """Return a post-condition."""
    return Check(name, params)
