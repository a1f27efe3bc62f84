"""What is kept of slices: what each is to do, what came of it, and their journals.

In ``.casarun/slices/<name>/``: ``slice.json`` (kind, title, `steps`, `after`, and the part of the
plan that it needs), ``result.json`` (what came of it: it has succeeded when that says so),
``journal.jsonl``, ``lock``, ``status.json``. Nobody but the slice's own job writes the last four.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from ..errors import Cause, DataError
from ..files import now, read_json, remove_tree, sync_folder, write_json
from ..folder import RunFolder
from ..lock import FolderLock, patiently
from ..plan import Plan, Step
from .journal import Journal
from .slices import Slice

DONE: Final = "done"
FAILED: Final = "failed"
INTERRUPTED: Final = "interrupted"
NOT_RUN: Final = "not run"

REPORT: Final = "report"
"""Name of the slice that judges and reports; it has no steps."""

PATIENCE_S: Final = 60.0
"""How long to wait for a job that is about to end: before it was put back into the queue, or since
its batch system has forgotten it and ends it."""

_COPY_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class SliceResult:
    """What came of a slice.

    Attributes
    ----------
    state : {"done", "failed", "interrupted", "not run"}
        ``not run``: what it needs is not there.
    message : str
        Why, where it is not done.
    cause : str
        Of the failure; see `casarun.errors.Cause`.
    job : str
        The batch job that did it.
    ended : str
        When.
    failed : mapping of str to mapping
        By step, the fields of `casarun.engine.outcome.Failure`.
    more : mapping
        Of the report: its ``exit_code``.
    """

    state: str
    message: str = ""
    cause: str = ""
    job: str = ""
    ended: str = field(default_factory=now)
    failed: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_final(self) -> bool:
        """Whether more memory would not help: it is done, or failed for another reason."""
        return self.state == DONE or (
            self.state == FAILED and self.cause != Cause.OUT_OF_MEMORY
        )  # fmt: skip


def write_slice(folder: RunFolder, one: Slice, part: Plan) -> None:
    """Keep what a slice is to do, with the part of the plan that it needs."""
    plan = {
        "steps": [step.to_json() for step in part.steps],
        "inputs": dict(part.inputs),
        "versions": dict(part.versions),
        "keep": part.keep,
        "needed_later": sorted(part.needed_later),
    }
    # A loss of power ends the submission, too: the next one writes it again.
    path = folder.slices / one.name / "slice.json"
    write_json(path, {**asdict(one), "plan": plan}, durable=False)


def read_slice(folder: RunFolder, name: str) -> tuple[Slice, Plan]:
    """Return what a slice is to do.

    Raises
    ------
    DataError
        If there is no such slice, or its file is damaged.
    """
    path = folder.slices / name / "slice.json"
    try:
        data = read_json(path)
        plan = data.pop("plan")
        part = Plan(
            tuple(Step.from_json(step) for step in plan["steps"]),
            plan["inputs"],
            plan["versions"],
            keep=plan["keep"],
            needed_later=frozenset(plan["needed_later"]),
        )
        data["steps"], data["after"] = tuple(data["steps"]), tuple(data["after"])
        return Slice(**data), part
    except FileNotFoundError as error:
        raise DataError(f"{folder.root} has no slice '{name}'") from error
    except (DataError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(f"{path} is damaged: {error}") from error


def write_result_of(folder: RunFolder, name: str, result: SliceResult) -> None:
    """Say durably what came of a slice."""
    write_json(folder.slices / name / "result.json", asdict(result))


def result_of(folder: RunFolder, name: str) -> SliceResult | None:
    """Return what came of a slice; None where it has not come to an end."""
    try:
        return SliceResult(**read_json(folder.slices / name / "result.json"))
    except (OSError, DataError, TypeError):
        return None


def forget_slices(folder: RunFolder) -> None:
    """Remove all that is kept of slices, after `absorb`."""
    remove_tree(folder.slices)


def lock_of(part: RunFolder) -> FolderLock:
    """Return the lock of the slice that a `RunFolder` with a `part` is of."""
    return FolderLock(part.lock, part.status, f"the slice {part.part} of {part.root}")


def absorb(folder: RunFolder, patience_s: float = 0.0) -> None:
    """Append the journals of slices to that of the run, whose lock the caller holds.

    A crash in between leaves events twice, which come to the same.

    Parameters
    ----------
    folder : RunFolder
        The run's.
    patience_s : float
        How long to wait for a slice that is at work, in s.

    Raises
    ------
    LockedError
        If a slice is still at work.
    """
    for path in sorted(folder.slices.glob("*/journal.jsonl")):
        with patiently(lock_of(replace(folder, part=path.parent.name)), patience_s):
            _append(path, folder.journal)
            path.unlink()


def _append(source: Path, target: Path) -> None:
    """Append a file's whole lines to another, durably."""
    Journal(target).close()  # of a run that was killed, it may end in half a line
    with source.open("rb") as events, target.open("ab") as journal:
        for line in _whole(events.read(), _COPY_BYTES):
            journal.write(line)
        journal.flush()
        os.fsync(journal.fileno())
    sync_folder(target.parent)


def _whole(content: bytes, n_bytes: int) -> Iterator[bytes]:
    """Yield all whole lines of a journal, some bytes at a time."""
    content = content[: content.rfind(b"\n") + 1]
    for first in range(0, len(content), n_bytes):
        yield content[first : first + n_bytes]
