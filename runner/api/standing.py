"""Whether a recipe's plan stands as it was when nothing of it had to run."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from ..engine import settled
from ..engine.resume import UP_TO_DATE, Decided, Decision, decide, survey
from .opening import Reduction, uncollected, versions

if TYPE_CHECKING:
    from .planning import Planned


def _asked(reduction: Reduction) -> str:
    """Return what the answer is for; nothing where it hangs on more than can be looked at."""
    options, loaded = reduction.options, reduction.loaded
    parted = options.only or options.until or options.fresh
    if parted or loaded.watching or reduction.folder.watched.exists():
        return ""
    return settled.question(loaded.recipe, versions())


def answer(reduction: Reduction) -> settled.Settled | None:
    """Return what was found when nothing had to run, if recipe and records are those of then."""
    if not reduction.folder.settled.exists():
        return None
    asked = _asked(reduction)
    return settled.settled(reduction.folder, asked) if asked else None


def standing(reduction: Reduction) -> Planned | None:
    """Return the plan of then, if all products and inputs are as they were, too."""
    found = answer(reduction)
    if found is None:
        return None
    with uncollected():
        plan = settled.still(reduction.folder, found)
    if plan is None:
        return None
    from .planning import as_found

    kept = Decision(False, UP_TO_DATE)
    decided = Decided({step.id: kept for step in plan.steps})
    return as_found(reduction, plan, decided, found.warnings)


def keep_standing(planned: Planned) -> None:
    """Keep that nothing of a plan must run any more, if that is so; the caller holds the folder."""
    reduction, plan = planned.reduction, planned.plan
    asked = _asked(reduction) if settled.is_worth_it(plan) else ""
    if asked and planned.decided:
        gc.collect()  # what the run and its report took, before the plan is thought over again
    if not asked or (planned.decided and decide(plan, survey(plan, reduction.folder))):
        return
    settled.settle(reduction.folder, plan, asked, planned.compiled)
