"""Steps that have nothing to do, for what they are part of has ended: the runner passes over them.

A process for each would take 20 to 35 ms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from ..errors import Cause, StepFailedError
from ..files import product_state, remove_tree, write_json
from . import ranges_idle, selfcal_idle
from .executors import Job
from .results import PARAMS, SKIPPED, attempt_folder, failure, write_result
from .untouched import check_products

_LEAVING: Final[Mapping[str, Callable[[Mapping[str, Any], Path], str]]] = {
    "ranges.clean": ranges_idle.no_clean,
    "ranges.settle": ranges_idle.no_depth,
    "selfcal.predict": selfcal_idle.why_not,
    "selfcal.solve": selfcal_idle.no_solutions,
    "selfcal.apply": selfcal_idle.why_not,
    "selfcal.image": selfcal_idle.no_picture,
    "selfcal.judge": selfcal_idle.no_judgement,
}
"""What leaves what a step leaves that has nothing to do, and says why it has not; nothing where
it has."""


def passed_over(job: Job) -> dict[str, Any] | None:
    """Do a step that has nothing to do.

    Parameters
    ----------
    job : Job
        The step.

    Returns
    -------
    dict or None
        Its result, which is written. None where the step is for a process: there is something
        to do, something to clear away, or what it reads was altered.
    """
    step, root = job.step, job.folder
    leave = _LEAVING.get(step.action)
    if leave is None or any((root / path).exists() for path in step.writes):
        return None
    try:
        check_products(root, {p: s for p, s in job.states.items() if (root / p).is_file()})
        why = leave(step.params, root)
    except (OSError, StepFailedError):
        return None
    if not why:
        return None
    made = {path: product_state(root / path) for path in step.writes if (root / path).exists()}
    kept = {path: job.states[path] for path in step.updates if path in job.states}
    result = {
        **failure(Cause.UNKNOWN, ""), "ok": True, "cause": "", "outcome": {SKIPPED: why},
        "params": dict(step.params), "writes": {**made, **kept},
    }  # fmt: skip
    logs = attempt_folder(job.run_folder, step.id, job.attempt)
    remove_tree(job.run_folder.log(step.id))
    logs.mkdir(parents=True)
    write_json(logs / PARAMS, step.params, durable=False)
    write_result(job.run_folder, step.id, job.attempt, result)
    return result
