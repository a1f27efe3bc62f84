"""``[[step]]``: any CASA task, put after or before a stage or another step."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ..casa.task_paths import derive_paths
from ..casa.tasks import check_parameters, task_names
from ..errors import did_you_mean
from ..folder import file_safe
from ..plan import Step
from ..recipe.model import CustomStep
from .draft import ORDER, Draft, Subject, check
from .split import targets as targets_of

_PLACEHOLDER = re.compile(r"\{([a-z]+)\}")
_MAKES_BACKUPS = ("applycal", "flagcmd", "flagdata")
_BEFORE_SPLIT = ("import", "flag", "calibrate", "apply")


def insert(draft: Draft, subjects: Iterable[Subject]) -> None:
    """Put the recipe's own steps where they belong in the draft's list."""
    subjects = list(subjects)
    for index, custom in enumerate(draft.recipe.step):
        if custom.task not in task_names():
            draft.problem(
                f"the installed CASA has no task '{custom.task}'"
                f"{did_you_mean(custom.task, task_names())}",
                ("step", index, "task"),
            )
            continue
        for names in _instances(custom, subjects):
            _insert_one(draft, custom, index, names)


def _instances(custom: CustomStep, subjects: list[Subject]) -> list[dict[str, str]]:
    """Return the placeholders' values of each instance of a step."""
    early = (custom.after or custom.before) in _BEFORE_SPLIT
    if custom.per == "run":
        return [{}]
    if custom.per == "target":
        return [
            {"dataset": s.name, "target": file_safe(name), "vis": s.target_ms(name)}
            for s in subjects
            for name in targets_of(s)
        ]
    return [{"dataset": s.name, "vis": s.working if early else s.calibrated} for s in subjects]


def _insert_one(draft: Draft, custom: CustomStep, index: int, names: Mapping[str, str]) -> None:
    unknown: set[str] = set()
    params = _filled(dict(custom.params), names, unknown)
    if custom.task in _MAKES_BACKUPS:
        # A backup would be a product beside the MS that nobody declared.
        params.setdefault("flagbackup", False)
    derived = derive_paths(custom.task, params)
    chosen = (custom.reads, custom.writes, custom.updates)
    reads, writes, updates = (
        theirs if mine is None else tuple(_filled(path, names, unknown) for path in mine)
        for mine, theirs in zip(chosen, derived, strict=True)
    )
    problems = [
        *_unknown_placeholders(unknown, names),
        *check_parameters(custom.task, params),
        *_outside((*writes, *updates)),
    ]
    for message in problems:
        draft.problem(message, ("step", index, "params"))
    where = _position(draft.steps, custom, names)
    if where is None:
        _unknown_anchor(draft, custom, index)
        return
    draft.add(
        _own_id(draft, custom, names),
        f"casa:{custom.task}",
        params,
        stage="step",
        title=f"{custom.task} (step of the recipe)",
        reads=reads,
        writes=writes,
        updates=updates,
        checks=tuple(check("exists", path=path) for path in writes),
        dataset=names.get("dataset", ""),
        target=names.get("target", ""),
    )
    draft.steps.insert(where, draft.steps.pop())


def _own_id(draft: Draft, custom: CustomStep, names: Mapping[str, str]) -> str:
    """Return an id that no other step has."""
    parts = (names.get("dataset"), names.get("target"), "step", custom.name or custom.task)
    step_id = ".".join(part for part in parts if part)
    taken = {step.id for step in draft.steps}
    while step_id in taken:
        step_id += "+"
    return step_id


def _unknown_placeholders(unknown: Iterable[str], names: Mapping[str, str]) -> list[str]:
    known = ", ".join("{" + name + "}" for name in names) or "none"
    return [f"'{{{name}}}' is not a placeholder here; known: {known}" for name in sorted(unknown)]


def _outside(paths: Iterable[str]) -> list[str]:
    """Say which paths leave the run folder."""
    return [
        f"'{path}' is outside of the run folder: a step writes below it only"
        for path in paths
        if path.startswith("/") or ".." in path.split("/")
    ]


def _unknown_anchor(draft: Draft, custom: CustomStep, index: int) -> None:
    anchor = custom.after or custom.before
    known = sorted({*ORDER, *(step.id for step in draft.steps)})
    draft.problem(
        f"'{anchor}' is neither a stage nor a step; stages: {', '.join(ORDER)}"
        f"{did_you_mean(anchor, known)}",
        ("step", index, "after" if custom.after else "before"),
    )


def _filled(value: Any, names: Mapping[str, str], unknown: set[str]) -> Any:
    """Replace ``{dataset}``, ``{vis}`` and ``{target}`` in strings, at any depth."""
    if isinstance(value, str):
        unknown.update(name for name in _PLACEHOLDER.findall(value) if name not in names)
        return _PLACEHOLDER.sub(lambda match: names.get(match[1], match[0]), value)
    if isinstance(value, Mapping):
        return {key: _filled(item, names, unknown) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_filled(item, names, unknown) for item in value]
    return value


def _position(steps: list[Step], custom: CustomStep, names: Mapping[str, str]) -> int | None:
    """Return where in the list a step goes, or None where its anchor is unknown."""
    anchor = _filled(custom.after or custom.before, names, set())
    own = [
        i
        for i, step in enumerate(steps)
        if (step.stage == anchor and step.dataset in (names.get("dataset", step.dataset), ""))
        or step.id in (anchor, f"{names.get('dataset', '')}.{anchor}",
                       f"{names.get('dataset', '')}.step.{anchor}")
    ]  # fmt: skip
    if own:
        return own[-1] + 1 if custom.after else own[0]
    if anchor in ORDER:  # a stage that has no steps in this recipe
        later = ORDER[ORDER.index(anchor) + (1 if custom.after else 0) :]
        return next((i for i, step in enumerate(steps) if step.stage in later), len(steps))
    return None
