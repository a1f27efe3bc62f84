"""What a plan was warned of and what failed, as a report tells it: what is alike, once.

``scripts/plan.json`` and ``docs/run.json`` have each by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from ..errors import Problem
from ..plan import Plan
from ..recipe.alike import once, together

_WORD: Final = re.compile(r"[^\s,:;()'\"]+")


def notes(plan: Plan) -> list[str]:
    """Return the notes on a plan; those that differ in datasets, targets and numbers as one."""
    return [one.message for one in together(about(plan))]


def about(plan: Plan) -> Iterator[Problem]:
    """Yield the notes on a plan with the datasets and targets that they name."""
    kinds = {step.target: "target" for step in plan.steps}
    kinds |= {step.dataset: "dataset" for step in plan.steps}
    for note in plan.notes:
        words = dict.fromkeys(word.rstrip(".") for word in _WORD.findall(note))
        named = tuple((kinds[word], word) for word in words if kinds.get(word))
        yield Problem(note, about=named)


def failures(failed: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield steps that failed, the first of many that failed in one way for all of them.

    Parameters
    ----------
    failed : iterable of mapping
        Each with the `id` of the step and its `message`.
    """
    rows = {str(row["id"]): row for row in failed}
    lines = ((str(row["message"]), step_id, (("step", step_id),)) for step_id, row in rows.items())
    for message, step_id in once(lines):
        yield {**rows[step_id], "message": message}


__all__ = ["about", "failures", "notes"]
