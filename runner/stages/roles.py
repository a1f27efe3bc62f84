"""Which field is the flux, bandpass and phase calibrator, and which are targets."""

from __future__ import annotations

from collections.abc import Iterable

from .. import heuristics
from ..errors import KeyPath, did_you_mean, dotted
from ..observation import Field, Observation
from ..recipe.model import Dataset
from ..selection import SelectionError, matching_fields
from ..selection import fields as selected
from .draft import Draft, Roles

_INTENTS = {
    "flux": ("CALIBRATE_FLUX", "CALIBRATE_AMPLI"),
    "bandpass": ("CALIBRATE_BANDPASS",),
    "phase": ("CALIBRATE_PHASE",),
    "targets": ("OBSERVE_TARGET", "TARGET"),
}


def resolve(draft: Draft, dataset: Dataset, observation: Observation) -> Roles:
    """Give each field of a dataset its role.

    Patterns of the recipe come first; a role that the recipe leaves out comes from the scan
    intents. What cannot be resolved is added to the draft's problems.
    """
    finder = _Finder(draft, dataset, observation)
    targets = finder.targets()
    finder.need_data(targets, ("targets", "fields"))
    mosaics = finder.mosaics(targets)
    if dataset.calibrated:
        return Roles(targets=_ids(targets), mosaic_of=mosaics)
    calibrators = draft.recipe.calibrators
    flux = finder.role("flux", ("calibrators", "flux"), [calibrators.flux.field])
    bandpass = finder.role("bandpass", ("calibrators", "bandpass"), [calibrators.bandpass])
    phase = finder.role("phase", ("calibrators", "phase"), calibrators.phase)
    taken = {field.id for field in (*flux, *bandpass, *phase)}
    for name, fields in (("flux", flux), ("bandpass", bandpass), ("phase", phase)):
        finder.need_data(fields, ("calibrators", name))
    if not draft.recipe.targets.fields:
        targets = tuple(field for field in targets if field.id not in taken)
    for field in targets:
        if field.id in taken:
            draft.problem(
                f"{field.name} of dataset {dataset.name} is named as a calibrator and as a target",
                ("targets", "fields"),
                field=field.name,
            )
    return Roles(
        flux=_ids(flux),
        bandpass=_ids(bandpass),
        phase=_ids(phase),
        targets=_ids(targets),
        phase_of=finder.pair(targets, phase),
        mosaic_of=mosaics,
    )


def _ids(fields: Iterable[Field]) -> tuple[int, ...]:
    return tuple(sorted({field.id for field in fields}))


class _Finder:
    """Finds fields of one dataset and notes what it cannot find."""

    def __init__(self, draft: Draft, dataset: Dataset, observation: Observation) -> None:
        self.draft = draft
        self.dataset = dataset
        self.observation = observation
        self.without_data: set[int] = set()

    def match(self, pattern: str, key: KeyPath) -> tuple[Field, ...]:
        """Return the fields that a pattern of the recipe means; note it where there is none."""
        fields = tuple(f for f in matching_fields(pattern, self.observation) if f.n_rows > 0)
        if not fields:
            self.draft.problem(self._unmatched(pattern), key)
        return fields

    def _unmatched(self, pattern: str) -> str:
        """Say that a pattern means no field; of a list, which of it does not."""
        if "," in pattern:
            try:
                selected(pattern, self.observation)
            except SelectionError as error:
                return f"dataset {self.dataset.name}: {error}"
        names = [field.name for field in self.observation.fields if field.n_rows > 0]
        return (
            f"no field of dataset {self.dataset.name} matches '{pattern}'; "
            f"fields: {', '.join(names)}{did_you_mean(pattern, names)}"
        )

    def need_data(self, fields: Iterable[Field], key: KeyPath) -> None:
        """Note fields that came with all their data flagged, each once."""
        for field in fields:
            if field.flagged_fraction >= 1 and field.id not in self.without_data:
                self.without_data.add(field.id)
                self.draft.problem(
                    f"all data of {field.name} in dataset {self.dataset.name} are flagged; "
                    f"choose another field ({dotted(key)}) or restore its flags",
                    key,
                    field=field.name,
                )

    def role(self, role: str, key: KeyPath, patterns: Iterable[str]) -> tuple[Field, ...]:
        """Return the fields of a calibrator's role."""
        patterns = [pattern for pattern in patterns if pattern]
        if patterns:
            return tuple(field for pattern in patterns for field in self.match(pattern, key))
        fields: tuple[Field, ...] = ()
        for word in _INTENTS[role]:
            fields = fields or self._with_intent(word)
        if fields:
            names = ", ".join(field.name for field in fields)
            choice = heuristics.Choice(names, f"its scans have the intent {_INTENTS[role][0]}")
            self.draft.choose(f"calibrators.{role}", self.dataset.name, choice)
        else:
            self.draft.problem(
                f"dataset {self.dataset.name} has no scan intent {_INTENTS[role][0]}: name the "
                f"{role} calibrator (calibrators.{role}), or set dataset.calibrated = true if the "
                f"data are calibrated; fields: "
                f"{', '.join(field.name for field in self.observation.fields)}",
                ("calibrators",),
            )
        return fields

    def targets(self) -> tuple[Field, ...]:
        """Return the target fields."""
        patterns = self.draft.recipe.targets.fields
        if patterns:
            key: KeyPath = ("targets", "fields")
            if len(patterns) == 1 or len(self.draft.recipe.dataset) == 1:
                return tuple(field for pattern in patterns for field in self.match(pattern, key))
            return self._some_of(patterns, key)
        fields = self._with_intent("OBSERVE_TARGET") or self._with_intent("TARGET")
        if not fields and self.dataset.calibrated and len(self.observation.fields) == 1:
            return self.observation.fields
        if fields:
            names = ", ".join(field.name for field in fields)
            choice = heuristics.Choice(names, "its scans have the intent OBSERVE_TARGET")
            self.draft.choose("targets.fields", self.dataset.name, choice)
        else:
            names = ", ".join(field.name for field in self.observation.fields)
            self.draft.problem(
                f"dataset {self.dataset.name} has no scan intent OBSERVE_TARGET: name the targets "
                f"(targets.fields); fields: {names}",
                ("targets",),
            )
        return fields

    def _some_of(self, patterns: tuple[str, ...], key: KeyPath) -> tuple[Field, ...]:
        """Return the targets of a dataset of several, each of which may lack some of them."""
        found = [f for p in patterns for f in matching_fields(p, self.observation) if f.n_rows > 0]
        if not found:
            self.match(", ".join(patterns), key)
        return tuple(found)

    def mosaics(self, targets: tuple[Field, ...]) -> dict[int, str]:
        """Return the mosaic of each target field that is a pointing of one."""
        found: dict[int, str] = {}
        for name, patterns in self.draft.recipe.targets.mosaics.items():
            key: KeyPath = ("targets", "mosaics", name)
            members = [
                field
                for pattern in patterns
                for field in matching_fields(pattern, self.observation)
                if field in targets
            ]
            if not members and len(self.draft.recipe.dataset) == 1:
                self.draft.problem(
                    f"no target of dataset {self.dataset.name} matches "
                    f"'{', '.join(patterns)}'; targets: {', '.join(f.name for f in targets)}",
                    key,
                )
            for field in members:
                if found.setdefault(field.id, name) != name:
                    self.draft.problem(
                        f"{field.name} is named as a pointing of {found[field.id]} and of {name}",
                        key,
                        field=field.name,
                    )
            self._own_name(name, targets, found, key)
        return found

    def _own_name(
        self, name: str, targets: tuple[Field, ...], mosaic_of: dict[int, str], key: KeyPath
    ) -> None:
        """Refuse a mosaic of the name of a target that is no part of it."""
        for field in targets:
            if field.name == name and mosaic_of.get(field.id) != name:
                self.draft.problem(
                    f"'{name}' is a target of dataset {self.dataset.name} that is no pointing of "
                    "this mosaic: give the mosaic another name, or add the field to it",
                    key,
                )

    def _with_intent(self, word: str) -> tuple[Field, ...]:
        return tuple(f for f in self.observation.fields_with_intent(word) if f.n_rows > 0)

    def pair(
        self, targets: tuple[Field, ...], phase: tuple[Field, ...]
    ) -> dict[int, tuple[int, ...]]:
        """Give each target the calibrators that its phases come from."""
        named = self.draft.recipe.targets.phase
        pairs: dict[int, tuple[int, ...]] = {}
        for target in targets:
            explicit = [
                cal
                for pattern, cal in named.items()
                if target in matching_fields(pattern, self.observation)
            ]
            if explicit:
                key: KeyPath = ("targets", "phase")
                pairs[target.id] = _ids(f for cal in explicit for f in self.match(cal, key))
            elif phase:
                choice = heuristics.phase_calibrator(target, phase)
                self.draft.choose("targets.phase", f"{self.dataset.name}.{target.name}", choice)
                pairs[target.id] = _ids(f for f in phase if f.name == choice.value)
        return pairs
