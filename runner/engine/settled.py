"""A run folder in which nothing had to run: the same question has the same answer.

What must run follows from the recipe, the software, the inputs, the records and how the products
are. Where all of these are as they were when nothing had to run, nothing must run now, and the plan
is the plan of then. So both are kept: a header that says what the answer was given for, and the
plan. That all products and inputs look as they did is asked of `casarun.engine.seen`, file by file.

The file may be lost at any time. It is written for plans of many products only.
"""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

from ..errors import Problem
from ..files import write_atomic
from ..folder import RunFolder
from ..plan import Auto, Check, Plan, Resources, Step, digest
from .ahead import LEAST
from .journal_state import journals
from .seen import Seen, all_same_ahead, is_looking_ahead, look

_ROW: Final = attrgetter(*(name for name in Step.__slots__ if name not in ("checks", "resources")))
_CHECK: Final = attrgetter("name", "params")
_RESOURCES: Final = attrgetter(*Resources.__slots__)
_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), check_circular=False)
_SOURCE: Final = str(Path(__file__).parents[1])
_CHECK_BYTES: Final = 9
_STEPS: Final = 500


@dataclass(frozen=True)
class Settled:
    """A header: what the answer was given for.

    Attributes
    ----------
    question : str
        A digest of it; see `question`.
    records : mapping of str to str
        How journals, ledgers and the memory of looks looked, by their paths in the run folder.
    absent : tuple of str
        Products and inputs that there were none of.
    warnings : tuple of Problem
        What recipe and data were warned of.
    """

    question: str
    records: Mapping[str, str]
    absent: tuple[str, ...]
    warnings: tuple[Problem, ...]


def question(*asked: object) -> str:
    """Return a digest of what is asked, by its `repr`, and of the source that answers it."""
    return digest([repr(asked), look(_SOURCE)[0]])


def is_worth_it(plan: Plan) -> bool:
    """Say whether a plan has so many products that to keep the answer spares more than it takes."""
    return sum(len(step.writes) for step in plan.steps) >= LEAST


def _touched(plan: Plan) -> set[str]:
    """Return the products of a plan, and the inputs that its steps read."""
    made = {path for step in plan.steps for path in (*step.writes, *step.updates)}
    return made | {path for step in plan.steps for path in step.reads if path.startswith("/")}


def _absent(folder: RunFolder, paths: Iterable[str]) -> list[str]:
    root = str(folder.root)
    return [path for path in paths if not os.path.lexists(os.path.join(root, path))]  # noqa: PTH118


def settle(folder: RunFolder, plan: Plan, asked: str, warnings: Sequence[Problem]) -> bool:
    """Keep that nothing of a whole plan must run, if all that it hangs on can be known again.

    The caller holds the folder, and has just found that out: what was changed in the seconds
    before is not remembered yet, and then nothing is kept.

    Returns
    -------
    bool
        Whether it was kept.
    """
    paths = _touched(plan)
    absent = _absent(folder, paths)
    memory = Seen(folder)
    if not memory.remembers(paths.difference(absent)):
        return False
    memory.keep()
    header = {
        "question": asked,
        "records": _records(folder),
        "absent": absent,
        "warnings": [asdict(problem) for problem in warnings],
    }
    with contextlib.suppress(OSError):
        write_atomic(folder.settled, _lines(header, plan), durable=False)
    return True


def _records(folder: RunFolder) -> dict[str, str]:
    paths = (*journals(folder.journal), folder.ledgers, folder.seen)
    return {os.path.relpath(path, folder.root): look(str(path))[0] for path in paths}


def settled(folder: RunFolder, asked: str) -> Settled | None:
    """Return the header if it is for this question and these records, all else unseen."""
    try:
        with folder.settled.open("rb") as stream:
            found = json.loads(_whole(stream.readline()))
        if found["question"] != asked or found["records"] != _records(folder):
            return None
        warnings = tuple(
            Problem(
                **{
                    **problem,
                    "key": tuple(problem["key"]),
                    "about": tuple((kind, name) for kind, name in problem["about"]),
                }
            )
            for problem in found["warnings"]
        )
        return Settled(asked, found["records"], tuple(found["absent"]), warnings)
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None


def still(folder: RunFolder, header: Settled) -> Plan | None:
    """Return the plan of then if all products and inputs look as they did, else nothing."""
    if not is_looking_ahead(folder):
        return None
    try:
        with folder.settled.open("rb") as stream:
            stream.readline()
            plan = _plan(stream)
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None
    none_came = len(_absent(folder, header.absent)) == len(header.absent)
    return plan if none_came and all_same_ahead(folder) else None


def _lines(header: Mapping[str, Any], plan: Plan) -> Iterator[bytes]:
    """Yield the file line by line, each with its check: header, plan, steps by the hundred."""
    steps = (plan.steps[n : n + _STEPS] for n in range(0, len(plan.steps), _STEPS))
    for content in chain((header, _head(plan)), map(_rows, steps)):
        text = _ENCODER.encode(content).encode()
        yield b"%08x %b\n" % (zlib.crc32(text), text)


def _whole(line: bytes) -> bytes:
    """Return what a line holds.

    Raises
    ------
    ValueError
        If it is not as it was written.
    """
    check, text = line[:_CHECK_BYTES], line[_CHECK_BYTES:-1]
    if int(check, 16) != zlib.crc32(text):
        raise ValueError("it was damaged")
    return text


def _head(plan: Plan) -> dict[str, Any]:
    return {
        "steps": len(plan.steps),
        "inputs": dict(plan.inputs),
        "versions": dict(plan.versions),
        "autos": [(auto.key, auto.subject, auto.value, auto.reason) for auto in plan.autos],
        "notes": plan.notes,
        "keep": plan.keep,
    }


def _rows(steps: Sequence[Step]) -> list[tuple[Any, ...]]:
    return [
        (_ROW(step), [_CHECK(check) for check in step.checks], _RESOURCES(step.resources))
        for step in steps
    ]


def _plan(lines: Iterable[bytes]) -> Plan:
    """Return the plan that lines hold.

    Raises
    ------
    ValueError, LookupError, TypeError
        If they are not as they were written.
    """
    head, *many = (_whole(line) for line in lines)
    data = json.loads(head)
    steps = tuple(_step(*row) for several in many for row in json.loads(several))
    if len(steps) != data["steps"]:
        raise ValueError("some are missing")
    return Plan(
        steps,
        data["inputs"],
        data["versions"],
        tuple(Auto(*auto) for auto in data["autos"]),
        tuple(data["notes"]),
        data["keep"],
    )


def _step(row: Sequence[Any], checks: Sequence[Any], resources: Sequence[Any]) -> Step:
    """Build a step from its row: its values in order, without checks and resources."""
    (
        step_id, stage, title, action, params, reads, writes, updates,
        dataset, target, image, fallbacks, intermediates,
    ) = row  # fmt: skip
    return Step(
        step_id, stage, title, action, params, tuple(reads), tuple(writes), tuple(updates),
        tuple([Check(*check) for check in checks]), Resources(*resources),
        dataset, target, image, tuple(fallbacks), tuple(intermediates),
    )  # fmt: skip
