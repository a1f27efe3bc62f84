"""Self-calibration in a CASA script: its rounds are told, its result is applied."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from ..engine.results import SKIPPED
from ..plan import Step
from .late_source import late
from .python_source import comment, from_run

if TYPE_CHECKING:
    from .script_steps import Steps

Lines = list[str]

_TOLD: Final = ("calmode", "solint", "gaintype", "combine")


def _nothing(steps: Steps, step: Step) -> Lines:
    return []


def _solve(steps: Steps, step: Step) -> Lines:
    told = steps.outcome(step)
    if SKIPPED in told or not told:
        return []
    return comment("gaincal with " + ", ".join(f"{name}={told[name]!r}" for name in _TOLD))


def _judge(steps: Steps, step: Step) -> Lines:
    told = steps.outcome(step)
    if SKIPPED in told or not told:
        return []
    return comment(f"{'accepted' if told['accepted'] else 'not accepted'}: {told['reason']}")


def _finish(steps: Steps, step: Step) -> Lines:
    """Return the lines that apply the tables of the best round, as the run left the data."""
    if not steps.known:
        return [late("the tables of the rounds that are accepted").text]
    lines, taken = list[str](), list[str]()
    called: list[tuple[str, Mapping[str, Any]]] = steps.outcome(step).get("called", [])
    for task, params in called:
        for table in params.get("gaintable", ()):
            if table not in taken:
                taken.append(table)
                lines += from_run(table)
        lines += steps.call(task, params)
    return lines


ACTIONS: Final[Mapping[str, Callable[[Steps, Step], Lines]]] = {
    "selfcal.apply": _nothing,
    "selfcal.finish": _finish,
    "selfcal.image": _nothing,
    "selfcal.judge": _judge,
    "selfcal.plot": _nothing,
    "selfcal.predict": _nothing,
    "selfcal.solve": _solve,
}
