"""Is a plan fit to be run at all? What is refused here is a bug in a stage."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import CasarunError
from ..folder import is_file_safe
from ..plan import Plan, Step, and_above


def check_plan(plan: Plan) -> None:
    """Refuse a plan that could do harm, or could not be resumed.

    Raises
    ------
    CasarunError
        With all that is wrong: ids that are not unique or not safe as file names; paths that
        lead out of the run folder; paths both read and made by one step; changes of a path
        that no earlier step makes; intermediates that the step does not make.
    """
    wrong = list(_problems(plan))
    if wrong:
        raise CasarunError("the plan is unsound:\n" + "\n".join(wrong))


def _problems(plan: Plan) -> Iterator[str]:
    ids: set[str] = set()
    made: set[str] = set()
    for step in plan.steps:
        if step.id in ids:
            yield f"{step.id}: two steps have this id"
        if not is_file_safe(step.id):
            yield f"{step.id}: not safe as a file name"
        ids.add(step.id)
        for problem in _path_problems(step, made):
            yield f"{step.id}: {problem}"
        made.update(step.writes)


def _path_problems(step: Step, made: set[str]) -> Iterator[str]:
    for path in (*step.reads, *step.writes, *step.updates):
        parts = path.split("/")
        if and_above(path)[0] != path or ".." in parts or path in {"", "."}:
            yield f"'{path}' is not a plain path"
        elif path.startswith("/") and path not in step.reads:
            yield f"changes {path}, outside the run folder"
        elif parts[0] == ".casarun" and path not in step.reads:
            yield f"changes {path}, which casarun keeps for itself"
    for path in sorted({*step.reads, *step.updates} & {*step.writes}):
        yield f"makes {path} new and needs what was there"
    for path in sorted({*step.intermediates} - {*step.writes}):
        yield f"calls {path} an intermediate and does not make it"
    for path in step.updates:
        if made.isdisjoint(and_above(path)):
            yield f"changes {path}, which no earlier step makes"
