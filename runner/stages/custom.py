"""``[[step]]``: any CASA task, put after or before a stage or another step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any

from ..casa.recipe_parameters import filled_in
from ..casa.task_paths import derive_paths
from ..casa.task_products import proofs
from ..casa.tasks import task, task_names
from ..errors import did_you_mean
from ..folder import file_safe
from ..recipe.model import CustomStep
from ..selection.error import listed
from . import confined
from .anchors import Places, Scope, in_order, label
from .draft import Draft, Subject
from .image import Picture, final


@dataclass(frozen=True)
class _Instance:
    """One run of a step: for a dataset, a target of one, an image, or the whole run.

    `names` are the placeholders but for ``vis`` of a dataset, which hangs on the place.
    """

    scope: Scope
    names: Mapping[str, str] = field(default_factory=dict)
    subject: Subject | None = None


def insert(draft: Draft, subjects: Iterable[Subject], pictures: Sequence[Picture]) -> None:
    """Put the recipe's own steps where they belong in the draft's list.

    Parameters
    ----------
    draft : Draft
        With all other steps.
    subjects : iterable of Subject
        The datasets.
    pictures : sequence of Picture
        The images.
    """
    subjects = list(subjects)
    places = Places(draft)
    # What names no task of the installed CASA is a problem of its own (preflight/parameters.py).
    known = [i for i, custom in enumerate(draft.recipe.step) if custom.task in task_names()]
    own: dict[str, int] = {}
    for index in in_order(draft, known):
        custom = draft.recipe.step[index]
        for instance in _instances(draft, index, subjects, pictures):
            where = places.find(custom, instance.scope)
            if where is None:
                places.unknown(custom, index)
                break
            step_id = _insert_one(draft, index, instance, where)
            own[step_id] = index
            if custom.after:
                places.behind.add(step_id)
    confined.check(draft, own, subjects)


def _instances(
    draft: Draft, index: int, subjects: Sequence[Subject], pictures: Sequence[Picture]
) -> list[_Instance]:
    """Return each run of a step, as far as ``only`` wants it."""
    custom = draft.recipe.step[index]
    if custom.per == "run":
        return [_Instance(Scope())]
    found: list[tuple[tuple[str, ...], _Instance]]
    if custom.per == "image":
        found = [((p.image.name, p.name), _of_picture(p)) for p in pictures]
    elif custom.per == "target":
        found = [
            ((name,), _of_target(draft, subject, name))
            for subject in subjects
            for name in subject.targets
        ]
    else:
        found = [((s.name,), _of_dataset(s)) for s in subjects]
    for pattern in custom.only:
        if not any(fnmatchcase(name, pattern) for names, _ in found for name in names):
            there = list(dict.fromkeys(names[0] for names, _ in found))
            draft.problem(
                f"no {custom.per} matches '{pattern}'; {custom.per}s: "
                f"{listed(there) or 'none'}{did_you_mean(pattern, there)}",
                ("step", index, "per" if custom.only == ("*",) else "only"),
            )
    return [
        instance
        for names, instance in found
        if any(fnmatchcase(name, pattern) for name in names for pattern in custom.only)
    ]


def _of_dataset(subject: Subject) -> _Instance:
    scope = Scope(subject.name, prefixes=(subject.name,))
    return _Instance(scope, {"dataset": subject.name}, subject)


def _of_target(draft: Draft, subject: Subject, target: str) -> _Instance:
    safe = file_safe(target)
    names = {"dataset": subject.name, "target": safe, "vis": subject.target_ms(target)}
    if draft.recipe.contsub is not None:
        names["contsub"] = subject.target_ms(target, contsub=True)
    prefixes = (f"{subject.name}.{safe}", subject.name)
    return _Instance(Scope(subject.name, target, prefixes=prefixes), names)


def _of_picture(picture: Picture) -> _Instance:
    names = {
        "target": file_safe(picture.target),
        "image": final(picture),
        "prefix": picture.prefix,
    }
    scope = Scope("", picture.target, picture.image.name, (picture.name,))
    return _Instance(scope, names)


def _insert_one(draft: Draft, index: int, instance: _Instance, where: int) -> str:
    """Add a step at a place of the list; return its id."""
    custom = draft.recipe.step[index]
    names = {**instance.names}
    if instance.subject is not None:
        names["vis"] = _current(draft, instance.subject, where)
    elif "vis" in names:
        names["vis"] = _self_calibrated(draft, names["vis"], where)
    unknown: set[str] = set()
    params = _filled(_completed(custom, names), names, unknown)
    derived = derive_paths(custom.task, params)
    chosen = (custom.reads, custom.writes, custom.updates)
    reads, writes, updates = (
        tuple(
            _plain(path)
            for path in (theirs if mine is None else _filled(list(mine), names, unknown))
        )
        for mine, theirs in zip(chosen, derived, strict=True)
    )
    for name in sorted(unknown):
        there = ", ".join("{" + known + "}" for known in names) or "none"
        draft.problem(
            f"'{{{name}}}' is not a placeholder with per = \"{custom.per}\"; known: {there}"
            f"{did_you_mean(name, names)}",
            ("step", index, "params"),
        )
    scope = instance.scope
    draft.add(
        _own_id(draft, custom, instance),
        f"casa:{custom.task}",
        params,
        stage="step",
        title=f"{custom.task} (step of the recipe)",
        reads=reads,
        writes=writes,
        updates=updates,
        checks=proofs(custom.task, params, writes, updates),
        dataset=scope.dataset,
        target=scope.target,
        image=scope.image,
    )
    added = draft.steps.pop()
    draft.steps.insert(where, added)
    return added.id


def _current(draft: Draft, subject: Subject, where: int) -> str:
    """Return the MS that stands for a dataset at a place of the list.

    The copy that is worked on, and from the split on the calibrated data of the calibrators.
    """
    made = {path for step in draft.steps[:where] for path in step.writes}
    for path in (subject.calibrated, subject.working):
        if path in made:
            return path
    return subject.pristine


def _self_calibrated(draft: Draft, vis: str, where: int) -> str:
    """Return the copy of a target's MS that is self-calibrated, where there is one by then."""
    copies = (step for step in draft.steps[:where] if step.stage == "selfcal")
    made = (step.writes[0] for step in copies if step.action == "copy" and vis in step.reads)
    return next(made, vis)


def _completed(custom: CustomStep, names: Mapping[str, str]) -> dict[str, Any]:
    """Return a step's parameters with the input that goes without saying."""
    filled = {key: "{" + name + "}" for key, name in filled_in(custom).items() if name in names}
    params = filled | dict(custom.params)
    if "flagbackup" in task(custom.task).by_name:
        # A backup would be a product beside the MS that nobody declared.
        params.setdefault("flagbackup", False)
    return params


def _own_id(draft: Draft, custom: CustomStep, instance: _Instance) -> str:
    """Return an id that no other step has."""
    prefix = instance.scope.prefixes[0] if instance.scope.prefixes else ""
    step_id = ".".join(part for part in (prefix, "step", label(custom)) if part)
    taken = {step.id for step in draft.steps}
    while step_id in taken:
        step_id += "+"
    return step_id


def _plain(path: str) -> str:
    """Write a path as the plan does: without ``./``, doubled or closing slashes."""
    return str(PurePosixPath(path))


def _filled(value: Any, names: Mapping[str, str], unknown: set[str]) -> Any:
    """Replace placeholders in strings, at any depth; collect those that are not known."""
    if isinstance(value, str):
        unknown.update(name for name in confined.PLACEHOLDER.findall(value) if name not in names)
        return confined.PLACEHOLDER.sub(lambda match: names.get(match[1], match[0]), value)
    if isinstance(value, Mapping):
        return {key: _filled(item, names, unknown) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_filled(item, names, unknown) for item in value]
    return value
