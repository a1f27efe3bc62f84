"""Actions without CASA, for tests of the engine: products are folders like casacore's.

A product is a folder with a file ``data`` that holds text, so that what a step made tells
from what it was made.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from multiprocessing import forkserver
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

from casarun.engine import worker, workplace
from casarun.engine.executors.local import LocalExecutor
from casarun.engine.policy import Budget, RetryPolicy
from casarun.engine.scene import Scene
from casarun.engine.scheduler import run
from casarun.engine.signals import StopFlag, stopping
from casarun.errors import Cause, StepFailedError
from casarun.folder import RunFolder
from casarun.lock import FolderLock
from casarun.plan import Plan, Step


def perform(step: Step, params: dict[str, Any], scene: Scene) -> dict[str, Any]:
    """Do what the fake action of a step does."""
    scene.log_file.write_text(f"begin {step.id}\n")
    outcome = _ACTIONS[step.action](step, params, scene)
    return {"action": step.action, **(outcome or {})}


def prove(
    step: Step, params: dict[str, Any], outcome: dict[str, Any], scene: Scene
) -> dict[str, Any]:
    """Find nothing, unless the step says what shall be found."""
    if params.get("unproven"):
        raise StepFailedError(Cause.POSTCONDITION, "all solutions are flagged", "Lower minsnr.")
    return {"warnings": params.get("warnings", []), "severe": [], "checks": {"ran": True}}


def idle(step: Step, params: dict[str, Any]) -> bool:
    """Find something to do in every step."""
    return False


def leaves(step: Step, path: str) -> frozenset[str]:
    """Leave no file of a product alone."""
    return frozenset()


def content(path: str | Path) -> str:
    """Return what a product holds."""
    return (Path(path) / "data").read_text()


def put(path: str | Path, text: str) -> None:
    """Make or change a product."""
    Path(path).mkdir(parents=True, exist_ok=True)
    (Path(path) / "data").write_text(text)


def _make(step: Step, params: dict[str, Any], scene: Scene) -> dict[str, Any]:
    """Write each product from all that is read, and change each that is updated."""
    said = params.get("say", "")
    read = "+".join(content(p) if Path(p).is_dir() else Path(p).read_text() for p in step.reads)
    absent = [path for path in step.writes if path in params.get("absent", ())]
    for path in step.writes:
        if path not in absent:
            put(path, f"{step.action}:{said}({read})")
    for path in step.updates:
        before = content(path)
        put(path, before + "|half")
        _hold(params, scene)
        put(path, f"{before}|{said}({read})")
    for path in params.get("leave", ()):
        put(path, "left over")
    if not step.updates:
        _hold(params, scene)
    return {"_absent": absent}


def _hold(params: dict[str, Any], scene: Scene) -> None:
    """Wait while the file ``hold`` is not there, having said so in the file ``at``."""
    if "at" in params:
        Path(params["at"]).write_text(str(os.getpid()))
    until = time.monotonic() + 120
    while "hold" in params and not Path(params["hold"]).exists():
        if time.monotonic() > until:
            raise TimeoutError("held for ever")
        time.sleep(0.005)
    time.sleep(float(params.get("sleep", 0)))


def _meet(step: Step, params: dict[str, Any], scene: Scene) -> dict[str, Any]:
    """Succeed only if another step runs at the same time."""
    Path(params["at"]).write_text("here")
    until = time.monotonic() + 120
    while not Path(params["other"]).exists():
        if time.monotonic() > until:
            raise StepFailedError(Cause.PARAMETER, "nobody came")
        time.sleep(0.005)
    return _make(step, {}, scene)


def _sync(step: Step, params: dict[str, Any], scene: Scene) -> dict[str, Any]:
    """Do as ``make``, with a disk that takes it only when the file ``hold`` is there."""
    sync = workplace.sync_trees

    def slow(paths: Iterable[Path]) -> None:
        _hold(params, scene)
        sync(paths)

    # The process is this step's own.
    workplace.sync_trees = slow
    return _make(step, {}, scene)


def _linger(step: Step, params: dict[str, Any], scene: Scene) -> dict[str, Any]:
    """Do as ``make`` with a lock on the file ``lock``; then end when the file ``until`` is there.

    With ``large`` it counts as one that holds much memory.
    """
    fcntl.lockf(os.open(params["lock"], os.O_RDWR | os.O_CREAT, 0o644), fcntl.LOCK_EX)
    end = os._exit

    def slow(code: int) -> NoReturn:
        while not Path(params["until"]).exists():
            time.sleep(0.005)
        end(code)

    # The process is this step's own.
    os._exit = slow
    if params.get("large"):
        worker._MUCH_BYTES = 0  # type: ignore[misc]
    return _make(step, {}, scene)


def _early(step: Step, params: dict[str, Any], scene: Scene) -> dict[str, Any]:
    """Do as ``make`` in a process that was forked while some modules were still to be imported."""
    sys.modules["casarun.engine.executors.meanwhile"] = SimpleNamespace(is_done=lambda: False)  # type: ignore[assignment]
    return _make(step, {}, scene)


def _once(step: Step, params: dict[str, Any], scene: Scene) -> dict[str, Any]:
    """Fail in the way of `how` for the first `times` attempts, then do as ``make``."""
    counter = Path(params["counter"])
    before = len(counter.read_text()) if counter.exists() else 0
    counter.write_text("x" * (before + 1))
    if before < params.get("times", 1):
        for path in step.updates:
            put(path, content(path) + "|broken")
        for path in step.writes:
            put(path, "broken")
        _break(params["how"])
    return _make(step, params, scene)


def _break(how: str) -> None:
    if how == "abort":
        os.abort()
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "exit":
        os._exit(3)
    if how == "bad_alloc":
        os.write(2, b"terminate called after throwing an instance of 'std::bad_alloc'\n")
        os.abort()
    if how == "hang":
        time.sleep(600)
    if how == "lock":
        raise RuntimeError("FileLocker: could not acquire a lock on table raw/x.ms")
    if how in {"ENOSPC", "EIO", "ESTALE"}:
        number = getattr(errno, how)
        raise OSError(number, os.strerror(number))
    if how == "memory":
        raise MemoryError
    if how == "parameter":
        raise AssertionError("{'standard': ['unallowed value']}")
    if how == "exception":
        raise RuntimeError("Error in Imager::clean")
    if how == "step":
        raise StepFailedError(Cause.SEVERE, "SEVERE line in the log", "Look at the log.")
    raise ValueError(how)


def _clean(step: Step, params: dict[str, Any], scene: Scene) -> dict[str, Any]:
    """Diverge above a gain of 0.1, abort above 1, else do as ``make`` and say the gain."""
    gain = params["tclean"]["gain"]
    for path in step.writes:
        put(path, "diverging")
    _hold(params, scene)
    if gain > 1:
        os.abort()
    if gain > 0.1:
        raise StepFailedError(Cause.DIVERGED, f"it diverged with gain = {gain}", "Lower the gain.")
    return _make(step, {"say": str(gain)}, scene)


def _eat(step: Step, params: dict[str, Any], scene: Scene) -> dict[str, Any]:
    """Use memory: `megabytes` of it, until it is let go."""
    eaten = bytearray(1024 * 1024 * params["megabytes"])
    eaten[::4096] = b"x" * len(eaten[::4096])  # so that the system gives it, page by page
    _hold(params, scene)
    return _make(step, {"say": str(len(eaten))}, scene)


def _work(step: Step, params: dict[str, Any], scene: Scene) -> dict[str, Any]:
    """Keep a core busy for some `seconds`."""
    until = time.monotonic() + params["seconds"]
    while time.monotonic() < until:
        pass
    return _make(step, {}, scene)


def _fill(step: Step, params: dict[str, Any], scene: Scene) -> dict[str, Any]:
    """Write until the disk is full, or up to `megabytes`."""
    for path in step.writes:
        Path(path).mkdir()
        with (Path(path) / "data").open("wb") as stream:
            for _ in range(params["megabytes"]):
                stream.write(bytes(1_000_000))
    return {}


def _look(step: Step, params: dict[str, Any], scene: Scene) -> dict[str, Any]:
    """Tell what is in the work folder."""
    seen = sorted(str(p.relative_to(scene.work)) for p in scene.work.rglob("*"))
    _make(step, {}, scene)
    return {"seen": seen, "cwd": str(Path.cwd()), "attempt": scene.attempt, "params": params}


def _replace(step: Step, params: dict[str, Any], scene: Scene) -> dict[str, Any]:
    """Put a new folder where the link to an updated product was."""
    for path in step.updates:
        Path(path).unlink()
        put(path, "another")
    return {}


def _print(step: Step, params: dict[str, Any], scene: Scene) -> dict[str, Any]:
    """Print from Python and past it."""
    print("from Python")
    os.write(1, b"from C++\n")
    os.write(2, b"errors too\n")
    return _make(step, {}, scene)


_ACTIONS = {
    "make": _make,
    "meet": _meet,
    "once": _once,
    "clean": _clean,
    "eat": _eat,
    "fill": _fill,
    "work": _work,
    "look": _look,
    "replace": _replace,
    "print": _print,
    "early": _early,
    "linger": _linger,
    "sync": _sync,
}


NAME = "support.fake_actions"
"""How the engine imports this module."""


@contextlib.contextmanager
def served() -> Iterator[None]:
    """Have a fork server that knows these actions, and let nobody have it afterwards."""
    old = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(Path(__file__).parent.parent)
    forkserver._forkserver._stop()  # type: ignore[attr-defined]
    yield
    forkserver._forkserver._stop()  # type: ignore[attr-defined]
    if old is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = old


def fake(step_id: str, action: str = "make", **what: Any) -> Step:
    """Build a step; `reads`, `writes` and `updates` may be text with spaces between paths."""
    for key in ("reads", "writes", "updates"):
        if isinstance(what.get(key), str):
            what[key] = tuple(what[key].split())
    return Step(step_id, what.pop("stage", "test"), step_id, action, **what)


def chain(flag: str = "f", solve: str = "s") -> tuple[Step, ...]:
    """Build a reduction in small: an MS made, flagged, solved from, calibrated, imaged."""
    return (
        fake("import", writes="raw/x.ms"),
        fake("flag", updates="raw/x.ms", params={"say": flag}),
        fake("solve", reads="raw/x.ms", writes="caltables/g", params={"say": solve}),
        fake("apply", reads="caltables/g", updates="raw/x.ms", params={"say": "a"}),
        fake("split", reads="raw/x.ms", writes="calibrated/x.ms"),
        fake("image", reads="calibrated/x.ms", writes="images/x", params={"say": "i"}),
        fake("export", reads="images/x", writes="images/x.fits"),
    )


def main(plan_file: str, root: str) -> int:
    """Run a plan of fake actions in a process of its own, to be killed by a test."""
    plan = Plan(tuple(Step.from_json(step) for step in json.loads(Path(plan_file).read_text())))
    folder = RunFolder(Path(root))
    executor = LocalExecutor(preload=(NAME,))
    with FolderLock(folder.lock), stopping(StopFlag()) as stop:
        try:
            outcome = run(
                plan,
                folder,
                executor,
                RetryPolicy(wait_s=0.01),
                Budget(2),
                lambda event: None,
                stop,
                actions=NAME,
            )
        finally:
            executor.close()
    return 75 if outcome.interrupted else 1 if outcome.failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
