"""What runs in the process of a step: one attempt, from its work folder to its result."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from ..errors import Cause, StepFailedError
from ..files import tree_size, write_json
from ..folder import RunFolder
from ..plan import Step
from .causes import cause_of, in_words
from .late import resolve
from .results import CASA_LOG, PARAMS, STDOUT_LOG, attempt_folder, failure, write_result
from .saved import Save, SavedState, SavedStates
from .scene import Scene
from .untouched import check_inputs, check_products
from .workplace import Workplace

NO_RESULT_EXIT: Final = 74
"""Exit code of a process that could not even write its result."""

DISK_FULL_EXIT: Final = 73
"""Exit code of one that could not because the disk is full."""

LEAVING: Final = b"leaving"
"""Word of a process: nothing is left to do but what waits for the disk."""

WHOLE: Final = b", whole"
"""Follows `LEAVING`: processes that are forked from now on lack no import."""

OVER: Final = b"over"
"""Word of a process: its result is there, and it has no file open any more."""

_PR_SET_PDEATHSIG: Final = 1
_MUCH_BYTES: Final = 1_000_000_000
_STDERR: Final = 2


def main(jobs: Connection, word: Connection) -> None:
    """Wait for an attempt, run it and leave the process.

    Parameters
    ----------
    jobs : Connection
        Where the attempt comes from, as `casarun.engine.executors.Job.to_json` gives it. It may
        take its time, and where the other end is closed there is nothing to do.
    word : Connection
        Is told `LEAVING`, and `OVER` where the process's own end need not be waited for.
    """
    code = NO_RESULT_EXIT

    def leave() -> None:
        with contextlib.suppress(OSError):
            word.send_bytes(LEAVING + (WHOLE if _is_whole() else b""))

    try:
        _be_a_child()
        job = _awaited(jobs)
        run(job, leave)
        code = 0
    except BaseException as error:
        if cause_of(error) is Cause.DISK_FULL:
            code = DISK_FULL_EXIT
        with contextlib.suppress(OSError):
            traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        if code == 0:
            _say_over(word)
        # CASA's own handlers at exit can hang or abort, and must not change the outcome.
        os._exit(code)


def _awaited(jobs: Connection) -> dict[str, Any]:
    """Return the attempt that comes, or leave the process where none does."""
    try:
        with jobs:
            job: dict[str, Any] = jobs.recv()
    except (EOFError, OSError):
        os._exit(0)
    return job


def _is_whole() -> bool:
    """Say whether the process that this one was forked from had all its imports done by then."""
    meanwhile = sys.modules.get(f"{__package__}.executors.meanwhile")
    return meanwhile is None or meanwhile.is_done()


def _say_over(word: Connection) -> None:
    """Close all files, and say that it is over: the system takes some ms to end a process.

    With its files it gives up its locks of tables. What it holds of memory the next step may need,
    so where that is much, its end is waited for.
    """
    if _peak_bytes() > _MUCH_BYTES:
        return
    with contextlib.suppress(OSError):
        for file in [int(place.name) for place in Path("/proc/self/fd").iterdir()]:
            if file > _STDERR and file != word.fileno():
                with contextlib.suppress(OSError):
                    os.close(file)
        word.send_bytes(OVER)


def tell_failure(pipe: Connection, module: str) -> None:
    """Send why a preloaded module could not do its imports (its ``FAILURE``), and leave."""
    pipe.send_bytes(getattr(sys.modules.get(module), "FAILURE", "").encode())
    pipe.close()
    # CASA's own handlers at exit can hang or abort.
    os._exit(0)


def _be_a_child() -> None:
    """Take a process group of its own and die with the runner."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.setpgid(0, 0)
    # multiprocessing writes None for the current folder of a runner whose folder is gone.
    sys.path[:] = [path for path in sys.path if isinstance(path, str)]
    # The fork server ends when nobody holds this end of its pipe. Steps would hold it too, and
    # both would outlive a runner that was killed.
    with contextlib.suppress(OSError, TypeError, AttributeError):
        os.close(forkserver._forkserver._forkserver_alive_fd)  # type: ignore[attr-defined]
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    runner = multiprocessing.parent_process()
    if runner is not None and not runner.is_alive():
        os._exit(NO_RESULT_EXIT)


def run(job: Mapping[str, Any], leave: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """Run one attempt, write its result and return it.

    It changes the current folder and where standard output goes, so it is for a process of
    its own.

    Parameters
    ----------
    job : mapping
        As of `main`.
    leave : callable
        Is called when its products are made and proven, and go to the disk.
    """
    step = Step.from_json(job["step"])
    folder = RunFolder(Path(job["folder"]), *job.get("place", ()))
    attempt = int(job["attempt"])
    logs = attempt_folder(folder, step.id, attempt)
    if attempt == 1:
        shutil.rmtree(folder.log(step.id), ignore_errors=True)
    logs.mkdir(parents=True, exist_ok=True)
    _redirect(logs / STDOUT_LOG)
    started = time.monotonic()
    place = Workplace(folder.root, folder.work(step.id), step)
    result = {**failure(Cause.UNKNOWN, ""), "fallback": job["fallback"]}
    try:
        _attempt(job, step, place, logs, result, leave)
    except BaseException as error:
        # On a full disk the log cannot grow either.
        with contextlib.suppress(OSError):
            traceback.print_exc()
        result.update(_failed(_because(error, job, step)))
    with contextlib.suppress(OSError):
        os.chdir(folder.root)
        # First, so that a full disk has room for the result.
        place.remove()
    result.update(_usage(started))
    write_result(folder, step.id, attempt, result)
    return result


def _attempt(
    job: Mapping[str, Any],
    step: Step,
    place: Workplace,
    logs: Path,
    result: dict[str, Any],
    leave: Callable[[], None],
) -> None:
    """Do the step, prove it and move its products into place; fill in its result."""
    root, spent = Path(job["folder"]), _Spent(result["spent_s"])
    place.make()
    os.chdir(place.work)
    params = resolve(dict(step.params), place.work)
    result["params"] = params
    write_json(logs / PARAMS, params, durable=False)
    module = importlib.import_module(str(job["actions"]))
    recipe = RunFolder(root).recipe_text
    scene = Scene(
        place.work, logs / CASA_LOG, int(job["attempt"]), recipe, str(job.get("fingerprint", ""))
    )
    states = SavedStates(RunFolder(root))
    idle = module.idle(step, params)
    check_products(root, _looked_at(root, job["states"], idle=idle))
    wanted = [] if idle else [Save.from_json(save) for save in job["saves"]]
    before = _disk(root, step, states)
    spent.on("prepare")
    saved = [_save(states, save, module, step) for save in wanted]
    spent.on("save")
    outcome = module.perform(step, params, scene)
    spent.on("perform")
    result["outcome"] = outcome
    place.begin_to_sync()
    findings = module.prove(step, params, outcome, scene)
    result.update({key: findings.get(key, result[key]) for key in ("warnings", "severe", "checks")})
    if not idle:
        _check_read(job, step)
    spent.on("prove")
    leave()
    absent = outcome.get("_absent", ()) if isinstance(outcome, Mapping) else ()
    os.chdir(place.work)
    result["writes"] = place.place(absent, touched=not idle)
    result["undeclared"] = place.undeclared()
    for state in saved:
        if state is not None and states.find(state.unit, state.holds) is None:
            print(f"{state.unit}: the step touched what it should leave alone; not saved")
            states.forget(state)
    result.update(ok=True, cause="", grown_bytes=_disk(root, step, states) - before)
    spent.on("place")


def _looked_at(root: Path, states: Mapping[str, str], *, idle: bool) -> Mapping[str, str]:
    """Return the products that a step looks at: to find that there is nothing to do, files only."""
    return {p: s for p, s in states.items() if (root / p).is_file()} if idle else states


def _disk(root: Path, step: Step, states: SavedStates) -> int:
    """Return the bytes of what a step makes and changes, and of its saved states."""
    products = sum(tree_size(root / path) for path in (*step.writes, *step.updates))
    return products + sum(states.size(path) for path in step.updates)


class _Spent:
    """Keeps account of the time, in s, by what it was spent for."""

    def __init__(self, found: dict[str, float]) -> None:
        self._found = found
        self._since = time.monotonic()

    def on(self, what: str) -> None:
        """Say what the time since the last call was spent for."""
        now = time.monotonic()
        self._found[what] = round(now - self._since, 4)
        self._since = now


def _save(states: SavedStates, wanted: Save, module: Any, step: Step) -> SavedState | None:
    """Save a product before the step changes it; do without where that cannot be done."""
    try:
        return states.save(wanted, lambda: module.leaves(step, wanted.unit))
    except OSError as error:
        print(f"{wanted.unit} is not saved before it is changed: {error}")
    return None


def _check_read(job: Mapping[str, Any], step: Step) -> None:
    """See that nothing changed what the step has read."""
    changed = {*step.updates}
    read = {path: state for path, state in job["states"].items() if path not in changed}
    check_products(Path(job["folder"]), read)
    check_inputs(job["inputs"])


def _because(error: BaseException, job: Mapping[str, Any], step: Step) -> BaseException:
    """Return what explains an error: that what the step reads was changed, or the error itself."""
    try:
        _check_read(job, step)
    except (StepFailedError, OSError) as found:
        if isinstance(found, StepFailedError):
            return found
    return error


def _failed(error: BaseException) -> dict[str, Any]:
    """Return what a result says of the error that ended its attempt."""
    message, advice = in_words(error)
    cause = cause_of(error)
    return {"ok": False, "cause": str(cause), "message": message, "advice": advice}


def _usage(started: float) -> dict[str, Any]:
    """Return what the attempt used: time in s, memory in bytes."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    below = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = usage.ru_utime + usage.ru_stime + below.ru_utime + below.ru_stime
    return {
        "wall_s": round(time.monotonic() - started, 4),
        "cpu_s": round(cpu, 4),
        "peak_memory_bytes": _peak_bytes(),
    }


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _redirect(path: Path) -> None:
    """Send all that this process prints, in Python or in C++, to a file."""
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    with path.open("ab") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
