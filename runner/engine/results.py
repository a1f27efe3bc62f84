"""Results of attempts: where they are kept and what they say.

``logs/<step>/attempt-<n>/result.json``, and a copy of the last one a folder above it, hold

`ok` : bool
`cause`, `message`, `advice` : str
    Why it failed; empty if it did not.
`outcome` : object
    What the action returned.
`params` : object
    The parameters as used.
`fallback` : object
    Those of them that were laid over the plan's own, because the step diverged with these.
`warnings`, `severe` : list of str
    Lines of the log.
`checks` : object
    What the post-conditions found.
`wall_s`, `cpu_s` : float
`spent_s` : object
    Seconds of `wall_s` by what they were spent for: ``prepare``, ``save`` (what is changed in
    place), ``perform`` (the action itself), ``prove``, ``place`` (products synced and moved).
`peak_memory_bytes` : int
`writes` : object
    Signature of each product, made or changed, by path.
`grown_bytes` : int
    How much more disk the products and their saved states take than before.
`undeclared` : list of str
    What the step left behind without having declared it; it was removed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ..errors import Cause, DataError
from ..files import read_json, sync_folder, write_json
from ..folder import RunFolder

SKIPPED: Final = "_skipped"
"""Key of an outcome: why there was nothing to do after all."""

SAID: Final = "_said"
"""Key of an outcome: what a step found or decided, in words for whoever watches the run."""

CASA_LOG: Final = "casa.log"
STDOUT_LOG: Final = "stdout.log"
PARAMS: Final = "params.json"
RESULT: Final = "result.json"


def attempt_folder(folder: RunFolder, step_id: str, attempt: int) -> Path:
    """Return the folder of one attempt's logs."""
    return folder.log(step_id) / f"attempt-{attempt}"


def failure(cause: Cause, message: str, advice: str = "") -> dict[str, Any]:
    """Return the result of an attempt that could not write one itself."""
    return {
        "ok": False,
        "cause": str(cause),
        "message": message,
        "advice": advice,
        "outcome": {},
        "params": {},
        "fallback": {},
        "warnings": [],
        "severe": [],
        "checks": {},
        "wall_s": 0.0,
        "cpu_s": 0.0,
        "spent_s": {},
        "peak_memory_bytes": 0,
        "writes": {},
        "grown_bytes": 0,
        "undeclared": [],
    }


def write_result(folder: RunFolder, step_id: str, attempt: int, result: Mapping[str, Any]) -> None:
    """Write an attempt's result, and, durably, its copy as the step's.

    A step that was done is not run again, and the report has numbers from nowhere else.
    """
    write_json(attempt_folder(folder, step_id, attempt) / RESULT, result, durable=False)
    write_json(folder.log(step_id) / RESULT, result)
    sync_folder(folder.log(step_id).parent)


def read_result(folder: RunFolder, step_id: str, attempt: int) -> dict[str, Any] | None:
    """Read an attempt's result, or None if it wrote none that is whole."""
    try:
        found = read_json(attempt_folder(folder, step_id, attempt) / RESULT)
    except (OSError, DataError):
        return None
    return found if isinstance(found, dict) and "ok" in found else None


def clear_result(folder: RunFolder, step_id: str, attempt: int) -> None:
    """Remove the result that an attempt of this number left in an earlier run, if any."""
    (attempt_folder(folder, step_id, attempt) / RESULT).unlink(missing_ok=True)


def read_last_result(folder: RunFolder, step_id: str) -> dict[str, Any] | None:
    """Read the result of a step's last attempt, or None if there is none that is whole."""
    try:
        found = read_json(folder.log(step_id) / RESULT)
    except (OSError, DataError):
        return None
    return found if isinstance(found, dict) else None
