"""What a run did as one flat CASA script, which needs casatasks and casatools but no casarun.

Written from the plan and what its steps recorded: the values that were measured meanwhile stand in
it as numbers, and what casarun decided on the way is what the script does. Before a run they are
not known, and the script says so in their place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import PurePosixPath
from typing import Any, Final

from ..plan import Auto, Plan, Step, and_above
from . import script_parts
from .python_source import comment, quoted, variables
from .script_steps import Steps

_RULE: Final = "# " + "-" * 78
_NEW_FOLDER: Final = """\
if any(os.path.exists(folder) for folder in FOLDERS):
    raise SystemExit(f"{os.getcwd()} has products already: run this in an empty folder")
for folder in FOLDERS:
    os.makedirs(folder)
"""
_OTHER_VERSION: Final = """\
if casatasks.version_string() != CASATASKS:
    print(f"casatasks is {casatasks.version_string()}, not {CASATASKS}: bits may differ")
"""
_ONE_THREAD: Final = """\
# One thread, as casarun gives CASA: sums of several threads may differ in their last bits.
os.environ["OMP_NUM_THREADS"] = "1"
"""


@dataclass(frozen=True)
class Run:
    """What is known of a run beside its plan.

    Attributes
    ----------
    title, recipe : str
        The project's title, and the name of the recipe's file.
    results : mapping
        Result of each step's last attempt, by step id.
    states : mapping
        Of each step its `state` (``done``, ``skipped``, ``failed``, ``not run``) and `reason`.
    known : bool
        Whether the run took place; before it nothing is known but the plan.
    """

    title: str
    recipe: str
    results: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    states: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    known: bool = True


def casa_script(plan: Plan, run: Run) -> Iterator[str]:
    """Yield the script piece by piece.

    Parameters
    ----------
    plan : Plan
        Of the run.
    run : Run
        What came of it.
    """
    steps = Steps(variables(plan.inputs), run.results, known=run.known)
    doing = [step for step in plan.steps if _is_done(step, run)]
    yield from _lines(_head(plan, run, doing))
    yield from _lines(_set_up(plan, run, doing, steps))
    for part in script_parts.definitions(doing, known=run.known):
        yield f"\n\n{part}"
    yield from _body(plan, run, steps)


def _is_done(step: Step, run: Run) -> bool:
    return not run.known or run.states[step.id]["state"] in ("done", "skipped")


def _lines(lines: list[str]) -> Iterator[str]:
    yield "\n".join(lines) + "\n"


def _head(plan: Plan, run: Run, doing: list[Step]) -> list[str]:
    """Say what this is, how it is run, and what of it is equal to the bit."""
    versions = ", ".join(f"{name} {version}" for name, version in plan.versions.items())
    when = "What the run did" if run.known else "What a run would do"
    lines = [
        "#!/usr/bin/env python3",
        *comment(run.title),
        "#",
        *comment(f"{when} by the recipe {run.recipe}, step by step, as plain CASA: {versions}."),
        *comment(
            "Run it in an empty folder with a Python that has casatasks and casatools and that "
            "finds CASA's measures data (~/.casa/config.py). It needs no casarun, and proves "
            "nothing of what CASA makes: casarun did, step by step."
        ),
        "#",
    ]
    for said in script_parts.claims(doing, known=run.known):
        lines += comment(said)
    return lines


def _set_up(plan: Plan, run: Run, doing: list[Step], steps: Steps) -> list[str]:
    """Return imports, the inputs by name, and the folders of products."""
    plain, from_casa = script_parts.imports(doing)
    lines = ["", *(f"import {name}" for name in plain), "", _ONE_THREAD, *from_casa, ""]
    if "casatasks" in plan.versions:
        lines += [f"CASATASKS = {quoted(plan.versions['casatasks'])}", _OTHER_VERSION]
    lines += ["# Inputs: on another machine, change these lines.", *steps.inputs, ""]
    folders = {str(PurePosixPath(path).parent) for step in doing for path in step.writes}
    wanted = sorted(folder for folder in folders if script_parts.has_products(folder))
    lines += [f"FOLDERS = [{', '.join(map(quoted, wanted))}]", _NEW_FOLDER.rstrip()]
    return lines


def _body(plan: Plan, run: Run, steps: Steps) -> Iterator[str]:
    """Yield the steps, a heading over each chapter, and the reasons of what was chosen."""
    chosen: dict[str, list[Auto]] = {}
    for auto in plan.autos:
        chosen.setdefault(auto.subject.partition(".spw")[0], []).append(auto)
    unmade: set[str] = set()
    for (whose, stage), group in groupby(plan.steps, _chapter):
        pieces = [piece for step in group if (piece := _step(step, run, steps, unmade))]
        reasons = [line for name in _subjects(whose) for auto in chosen.pop(name, ())
                   for line in comment(f"  {auto.key} of {auto.subject} = {_shown(auto.value)}: "
                                       f"{auto.reason}")]  # fmt: skip
        if not pieces:
            continue
        heading = ["", "", _RULE, *comment(f"{'.'.join(whose)}: {stage}"), _RULE]
        if reasons:
            heading += ["# casarun chose:", *reasons]
        yield from _lines(heading)
        for piece in pieces:
            yield from _lines(["", *piece])


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)


def _chapter(step: Step) -> tuple[tuple[str, ...], str]:
    whose = (step.dataset,) if step.dataset else (step.target, step.image)
    return tuple(name for name in whose if name), step.stage


def _subjects(whose: tuple[str, ...]) -> list[str]:
    """Return the names under which choices for a dataset, target or image are noted."""
    return [".".join(whose), *whose]


def _step(step: Step, run: Run, steps: Steps, unmade: set[str]) -> list[str]:
    """Return the lines of a step; those that say why not, where it cannot be repeated."""
    if not _is_done(step, run):
        unmade.update(step.writes)
        return comment(f"NOT DONE: {step.id}: {step.title}: {run.states[step.id]['reason']}")
    missing = _missing(step, unmade)
    if missing and steps.repeats(step):
        unmade.update(step.writes)
        return (
            []
            if steps.is_silent(step)
            else comment(
                f"NOT REPEATED: {step.id}: {step.title}: this script does not make {missing}"
            )
        )
    lines = steps.of(step)
    if not steps.repeats(step):
        unmade.update(path for path in step.writes if not path.endswith(".json"))
    return [*comment(f"{step.id}: {step.title}"), *lines] if lines else []


def _missing(step: Step, unmade: set[str]) -> str:
    """Return a path that a step needs and that the script does not make; else nothing."""
    if not unmade:
        return ""
    needed = [path for path in (*step.reads, *step.updates) if not path.endswith(".json")]
    return next((path for path in needed if not unmade.isdisjoint(and_above(path))), "")
