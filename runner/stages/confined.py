"""What the recipe's own steps touch: inside the run folder, made before, in nobody's way."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from ..casa.task_paths import roles
from ..errors import KeyPath, did_you_mean
from ..plan import Step, and_above
from .draft import Draft, Subject

PLACEHOLDER = re.compile(r"\{([a-z]+)\}")
_OPEN = ("raw", "caltables", "calibrated", "images", "qa")
_PLACES = ", ".join(f"{folder}/" for folder in _OPEN)
_TAKEN = ("qa/index.html", "qa/metrics.json")
"""What the report writes, which is no step."""


def check(draft: Draft, own: Mapping[str, int], subjects: Iterable[Subject]) -> None:
    """Refuse steps that leave the run folder, need what is not there, or overwrite.

    Parameters
    ----------
    draft : Draft
        With all steps, the recipe's own among them.
    own : mapping of str to int
        Index in the recipe of each of its own steps, by id.
    subjects : iterable of Subject
        The datasets, whose data as they came are never changed.
    """
    pristine = {subject.pristine for subject in subjects}
    for place, step in enumerate(draft.steps):
        if step.id not in own:
            continue
        index = own[step.id]
        escaping = dict(_escaping(step))
        problems = (
            *escaping.items(),
            *_unmade(draft.steps, place, escaping, pristine),
            *_clashes(draft.steps, place, escaping, own),
        )
        for path, message in problems:
            if PLACEHOLDER.search(path):
                continue  # one that stands for nothing has its message already
            draft.problem(message, _key(draft, index, step, path))


def _escaping(step: Step) -> Iterator[tuple[str, str]]:
    """Yield paths that leave the run folder or the part of it that is for products."""
    inputs = {key for key, role in roles(step.action.removeprefix("casa:")).items()
              if role == "reads"}  # fmt: skip
    for path in (*step.writes, *step.updates):
        pure = PurePosixPath(path)
        if _leaves(path):
            yield path, f"'{path}' is outside of the run folder: a step writes below it only"
        elif pure.parts[:1] and (pure.parts[0] not in _OPEN or path in (*_OPEN, *_TAKEN)):
            yield (
                path,
                (
                    f"'{path}' is not a place for products; a step writes below {_PLACES}: "
                    f"images/{pure.name}, for example"
                ),
            )
    for path in step.reads:
        if ".." in PurePosixPath(path).parts:
            yield path, f"'{path}' goes up with '..': write the path without"
    # A task may have outputs that its definition does not tell from other texts.
    for key, value in step.params.items():
        for text in _texts(value) if key not in inputs else ():
            if _leaves(text) and text not in (*step.reads, *step.writes, *step.updates):
                yield text, f"'{text}' is outside of the run folder: a step writes below it only"


def _leaves(path: str) -> bool:
    return path.startswith(("/", "~/")) or path == "~" or ".." in path.split("/")


def _texts(value: Any) -> Iterator[str]:
    """Yield all strings in a parameter's value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)


def _unmade(
    steps: Sequence[Step], place: int, escaping: Mapping[str, str], pristine: set[str]
) -> Iterator[tuple[str, str]]:
    """Yield what a step needs and no step before it makes."""
    step = steps[place]
    before = [path for other in steps[:place] for path in other.writes]
    for path in step.updates:
        if path in pristine and path not in escaping:
            yield (
                path,
                (
                    f"'{path}' are the data as they came, which are never changed; place the step "
                    'after = "import" or later and use {vis}'
                ),
            )
        elif path not in escaping and not _within(path, before):
            yield path, _missing(path, steps[place + 1 :], before, "changes")
    for path in step.reads:
        if path in escaping:
            continue
        if path.startswith("/"):
            if not Path(path).exists():
                yield path, f"no such file: {path}"
        elif not (_within(path, before) or any(path in and_above(made) for made in before)):
            yield path, _missing(path, steps[place + 1 :], before, "reads")


def _within(path: str, made: Iterable[str]) -> bool:
    """Tell whether a path is one of those that are made, or lies in one."""
    return not {*and_above(path)}.isdisjoint(made)


def _missing(path: str, later: Sequence[Step], before: Sequence[str], does: str) -> str:
    """Say that a path is not there when the step runs, and what to do."""
    maker = next((other for other in later if _within(path, other.writes)), None)
    if maker is not None:
        return (
            f"the step {does} '{path}', which '{maker.id}' makes only later; "
            f'place it after = "{maker.stage if maker.stage != "step" else maker.id}"'
        )
    own = '; a file of your own is "{recipe}/..." from the recipe\'s folder, or an absolute path'
    return (
        f"the step {does} '{path}', which no step before it makes"
        f"{did_you_mean(path, before) or (own if does == 'reads' else '')}"
    )


def _clashes(
    steps: Sequence[Step], place: int, escaping: Mapping[str, str], own: Mapping[str, int]
) -> Iterator[tuple[str, str]]:
    """Yield what a step would write over."""
    step = steps[place]
    for path in step.writes:
        if path in escaping:
            continue
        if _overlap(path, (*step.reads, *step.updates)):
            yield path, f"the step makes '{path}' new and needs what is there: give another name"
            continue
        for number, other in enumerate(steps):
            # Of two steps of the recipe the later one is to blame.
            blamed = number != place and (other.id not in own or number < place)
            if blamed and _overlap(path, other.writes):
                yield (
                    path,
                    (
                        f"the step would write over '{path}', which '{other.id}' makes; "
                        "give another name"
                    ),
                )
                break


def _overlap(path: str, others: Iterable[str]) -> bool:
    """Tell whether a path is, contains or lies in one of others."""
    above = and_above(path)
    return any(other in above or path in and_above(other) for other in others)


def _key(draft: Draft, index: int, step: Step, path: str) -> KeyPath:
    """Return the key of the recipe that a path comes from."""
    custom = draft.recipe.step[index]
    for name in ("writes", "updates", "reads"):
        if getattr(custom, name) is not None and path in getattr(step, name):
            return ("step", index, name)
    for name, value in step.params.items():
        found = any(text == path or PurePosixPath(text) == PurePosixPath(path)
                    for text in _texts(value))  # fmt: skip
        if found and name in custom.params:
            return ("step", index, "params", name)
    return ("step", index, "params") if custom.params else ("step", index)
