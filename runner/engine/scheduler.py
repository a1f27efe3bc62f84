"""Running a plan: what must run is run, in order, as much at once as there is room for."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from ..errors import Cause
from ..files import now, process_mark, remove_tree, tree_size
from ..folder import RunFolder
from ..plan import Plan
from .disk import DiskUse, DiskWatch
from .executors import ACTIONS, Ended, Executor, Job
from .foresight import Foresight
from .holdings import Holdings
from .intermediates import Intermediates
from .journal import Journal, recording
from .journal_state import read_state
from .outcome import Failure, Outcome
from .passing import passed_over
from .policy import Budget, RetryPolicy, Room, fallback
from .results import SAID, SKIPPED, attempt_folder
from .resume import Decision, Restore, decide, survey
from .seen import products_change
from .signals import StopFlag
from .slices import of_slice
from .soundness import check_plan
from .status import Attempt
from .telling import Listener, Telling
from .walker import Walker, needs, turns

__all__ = ["Failure", "Listener", "Outcome", "run"]

_TICK_S: Final = 0.25
_LOOK_AHEAD: Final = 64
_OF_A_STOP: Final = (Cause.SIGNAL, Cause.UNKNOWN)
"""How steps end that were sent the signal which asked the run to stop."""


def run(
    plan: Plan,
    folder: RunFolder,
    executor: Executor,
    policy: RetryPolicy | None = None,
    budget: Budget | None = None,
    listener: Listener | None = None,
    stop: StopFlag | None = None,
    *,
    fresh: bool = False,
    actions: str = ACTIONS,
    about: Mapping[str, Any] | None = None,
    seconds: Mapping[str, float] | None = None,
    mine: Collection[str] | None = None,
) -> Outcome:
    """Bring a run folder to what a plan wants.

    The caller holds the folder's lock and closes the executor.

    Parameters
    ----------
    plan : Plan
        What is wanted.
    folder : RunFolder
        Where.
    executor : Executor
        Runs the attempts.
    policy : RetryPolicy, optional
        When to try again.
    budget : Budget, optional
        How much may run at once; by default one core.
    listener : callable, optional
        Is told every event; see `casarun.engine.journal`.
    stop : StopFlag, optional
        Asks the run to stop.
    fresh : bool
        Run every step, whatever there is.
    actions : str
        The module that knows what steps do.
    about : mapping, optional
        More to be said in the ``run-started`` event.
    seconds : mapping of str to float, optional
        How long steps take, where that is known better than the plan knows it: what the longest
        work waits for goes first.
    mine : collection of str, optional
        The only steps that may run, by their ids; the others are those of other slices of the
        run, which must have made what these need.

    Returns
    -------
    Outcome
        What came of it. A step that failed does not keep those from running that do not
        depend on it.

    Raises
    ------
    CasarunError
        If the plan is unsound; see `check_plan`.
    InterruptedRunError, StepFailedError
        If the journal or a ledger cannot be written, because the disk is full or for another
        reason, or if a step that is not `mine` would have to run. All that runs is ended first.
    """
    check_plan(plan)
    products_change(folder)
    with recording(folder):
        journal = Journal(folder.journal)
    with journal:
        engine = _Run(
            plan,
            folder,
            executor,
            policy or RetryPolicy(),
            budget or Budget(),
            Telling(folder, journal, listener, len(plan.steps)),
            StopFlag() if stop is None else stop,
            actions,
            seconds or {},
            mine,
        )
        try:
            return engine.go(fresh, about or {})
        finally:
            engine.end_all()


class _Run:
    """One call of `run`.

    It goes in passes. A step that failed while it changed a product in place cannot simply
    be tried again: what it changed must be made again first. So at the end of a pass such
    steps are thought over with all the rest, as at the start of a run.
    """

    def __init__(
        self,
        plan: Plan,
        folder: RunFolder,
        executor: Executor,
        policy: RetryPolicy,
        budget: Budget,
        telling: Telling,
        stop: StopFlag,
        actions: str,
        seconds: Mapping[str, float],
        mine: Collection[str] | None,
    ) -> None:
        self._mine = mine
        self._plan = plan
        self._folder = folder
        self._executor = executor
        self._policy = policy
        self._stop = stop
        self._actions = actions
        self._holdings = Holdings(plan, folder)
        self._turns = turns(plan, budget.cores, seconds)
        self._room = Room(budget, self._turns)
        self._foresight = Foresight(plan, self._turns, budget.cores, seconds)
        self._running: dict[str, Attempt] = {}
        self._causes: dict[str, list[Cause]] = {}
        self._later: dict[str, float] = {}
        self._next_pass: dict[str, float] = {}
        self._outcome = Outcome()
        self._done: set[str] = set()
        self._telling = telling
        self._walker = Walker((), {})
        self._decisions: Mapping[str, Decision] = {}
        self._restores: tuple[Restore, ...] = ()
        self._removals: tuple[str, ...] = ()
        self._intermediates = Intermediates(plan, folder)
        self._disk_use = DiskUse(0)
        self._needs = needs(plan)
        self._memory_limit = budget.memory_per_step_bytes
        self._disk = DiskWatch(folder.root, budget.disk_reserve_bytes, policy.max_wait_s)
        self._halt = ""
        self._out_of_disk = ""

    def go(self, fresh: bool, about: Mapping[str, Any]) -> Outcome:
        """Run to the end."""
        self._end_stale()
        with recording(self._folder):
            remove_tree(self._folder.works)
            self._holdings.repair(self._mine)
        self._think(fresh=fresh)
        self._telling.tell(
            "run-started",
            {
                **process_mark(os.getpid()),
                "steps": len(self._plan.steps),
                "to_run": sum(decision.run for decision in self._decisions.values()),
                "versions": dict(self._plan.versions),
                **about,
            },
        )
        self._disk_use = DiskUse(tree_size(self._folder.root))
        self._restore()
        self._pass()
        while self._next_pass and not self._stop.is_set() and not self._halt:
            self._sleep_until(max(self._next_pass.values()))
            self._next_pass.clear()
            self._think()
            self._restore()
            self._pass()
        self._outcome.interrupted = self._stop.is_set() or bool(self._out_of_disk)
        self._outcome.why = self._stop.reason or self._out_of_disk
        self._outcome.complete(self._decisions, self._halt or "the run was asked to stop")
        self._outcome.peak_disk_bytes = self._disk_use.peak_bytes
        self._telling.tell("run-ended", self._outcome.summary())
        self._telling.end(self._outcome)
        return self._outcome

    def end_all(self) -> None:
        """End what still runs, without a word in the journal (it may be what failed)."""
        for step_id in self._running:
            self._executor.kill(step_id, None)
        until = time.monotonic() + 10
        while self._running and time.monotonic() < until:
            for ended in self._executor.wait(_TICK_S):
                self._running.pop(ended.step_id, None)

    def _end_stale(self) -> None:
        """End attempts of a runner that was killed; they would write into our products."""
        for record in read_state(self._folder.journal, alone=True).steps.values():
            if record.placed is not None:
                self._executor.end_stale(record.placed)

    def _think(self, *, fresh: bool = False) -> None:
        """Decide what runs in the next pass."""
        found = survey(self._plan, self._folder)
        self._holdings.look(found)
        self._room.forget_who_waits()
        order = [step.id for step in self._plan.steps]
        self._walker = Walker(order, self._plan.waits_for, self._needs, self._turns)
        lost = {failed: self._walker.fail(failed) for failed in self._outcome.failed}
        given_up = set(lost).union(*lost.values())
        decided = decide(self._plan, found, fresh=fresh, given_up=given_up)
        self._intermediates.look(decided.to_run)
        if self._mine is not None:
            decided = of_slice(self._plan, decided, self._mine)
        self._decisions, self._restores = decided.steps, decided.restores
        self._removals = decided.removals
        self._outcome.not_run.clear()
        for failed, steps in lost.items():
            self._lose(failed, steps)

    def _restore(self) -> None:
        """Bring products back to states that were saved, where that is the shortest way."""
        while self._restores and not self._stop.is_set():
            for restore in self._restores:
                with recording(self._folder):
                    told = self._holdings.go_back(restore)
                if told:
                    self._outcome.restored.append(restore.state.unit)
                    self._telling.tell("product-restored", told)
            self._think()

    def _pass(self) -> None:
        """Walk the plan until nothing more can be done in this pass."""
        self._clean(self._removals)
        while self._walker or self._running:
            if self._stop.is_set():
                self._stop_all()
                return
            waits = self._start_ready()
            if not self._running and not self._later and not waits:
                return
            for ended in self._executor.wait(self._patience()):
                self._take(ended)
            for step_id in self._executor.leaving():
                self._room.give_cores_back(step_id)
            self._report_progress()

    def _patience(self) -> float:
        """Return how long to wait for an end, in s."""
        if not self._later:
            return _TICK_S
        return max(0.0, min(_TICK_S, min(self._later.values()) - time.monotonic()))

    def _start_ready(self) -> bool:
        """Start what is ready and fits; say whether all wait for free disk and nothing runs."""
        if self._halt:
            self._later.clear()
            return False
        for again in [s for s, due in self._later.items() if due <= time.monotonic()]:
            del self._later[again]
            self._walker.put_back(again)
        waiting: list[str] = []
        short, leaving = False, self._executor.leaving()
        while len(waiting) < _LOOK_AHEAD and not self._stop.is_set():
            step_id = self._walker.take()
            if step_id is None:
                break
            if not self._decisions[step_id].run:
                self._skip(step_id)
            elif (
                self._room.full
                or (short := short or self._disk.short())
                or self._foresight.better_waits(step_id, self._started_s(), leaving)
                or not self._room.enter(self._plan.by_id[step_id], alone=self._alone(step_id))
            ):
                waiting.append(step_id)
            else:
                self._start(step_id)
        for step_id in waiting:
            self._walker.put_back(step_id)
        if not short or self._running:
            return False
        self._wait_for_disk()
        return True

    def _wait_for_disk(self) -> None:
        """Begin to wait for free disk, with a word, or give it up when that took too long."""
        if self._disk.begin_wait():
            self._telling.tell("run-waiting", self._disk.describe())
        if self._disk.waited_enough():
            self._end_for_disk(self._disk.message)

    def _end_for_disk(self, why: str) -> None:
        """Start nothing more: the run can be gone on with when there is more disk."""
        self._out_of_disk = self._out_of_disk or why
        self._halt = self._halt or f"nothing more was started: {why}"

    def _alone(self, step_id: str) -> bool:
        """Say whether a step must have the machine for itself: it ran out of memory before."""
        return self._causes.get(step_id, [])[-1:] == [Cause.OUT_OF_MEMORY]

    def _started_s(self) -> dict[str, float]:
        """Return when each step that runs was started."""
        return {step_id: attempt.started for step_id, attempt in self._running.items()}

    def _skip(self, step_id: str) -> None:
        self._walker.finish(step_id)
        self._foresight.over(step_id)
        if step_id in self._outcome.skipped or step_id in self._done:
            return
        reason = self._decisions[step_id].reason
        self._outcome.skipped[step_id] = reason
        self._telling.pass_on("step-skipped", {"step": step_id, "reason": reason})

    def _start(self, step_id: str) -> None:
        """Start an attempt; what it changes in place is marked first."""
        step = self._plan.by_id[step_id]
        number = len(self._causes.get(step_id, ())) + 1
        self._outcome.skipped.pop(step_id, None)
        laid = fallback(step, self._causes.get(step_id, ()))
        # If a loss of power takes this line, the ledger still says what was begun.
        reason = self._decisions[step_id].reason
        said = {**self._holdings.described(step, number, reason), **laid}
        self._telling.tell("step-started", said, durable=False)
        with recording(self._folder):
            self._holdings.begin(step_id)
        step = step.over(laid.get("fallback", {}))
        job = Job(
            step,
            self._folder.root,
            number,
            self._actions,
            self._memory_limit,
            saves=self._holdings.saves(step_id),
            states=self._holdings.left(step),
            inputs=self._holdings.inputs(step),
            place=(self._folder.part, self._folder.attempt),
            fingerprint=self._plan.fingerprints[step_id],
            **laid,
        )
        result = passed_over(job) if self._actions == ACTIONS else None
        placed = self._executor.start(job) if result is None else {}
        started = time.monotonic()
        self._running[step_id] = Attempt(number, started, now(), started)
        if result is None:
            self._telling.tell("step-placed", {"step": step_id, **placed}, durable=False)
        else:
            self._take(Ended(step_id, result))

    def _take(self, ended: Ended) -> None:
        """Take note of the end of an attempt."""
        attempt = self._running.pop(ended.step_id, None)
        if attempt is None:
            return
        self._room.leave(ended.step_id)
        result = ended.result
        said = {
            "step": ended.step_id,
            "fingerprint": self._plan.fingerprints[ended.step_id],
            "attempt": attempt.number,
            "wall_s": result.get("wall_s", 0.0),
            "cpu_s": result.get("cpu_s", 0.0),
            "peak_memory_bytes": result.get("peak_memory_bytes", 0),
        }
        if ended.stopped or (self._stop.is_set() and result.get("cause") in _OF_A_STOP):
            self._telling.tell("step-interrupted", said)
        elif result.get("ok"):
            said["grown_bytes"] = result.get("grown_bytes", 0)
            self._disk_use.change(attempt.started, said["grown_bytes"])
            self._succeed(ended.step_id, result, said)
        else:
            self._fail(ended.step_id, attempt.number, result, said)

    def _succeed(self, step_id: str, result: Mapping[str, Any], said: dict[str, Any]) -> None:
        with recording(self._folder):
            self._holdings.end(step_id, result)
        warnings = len(result.get("warnings", ()))
        outcome = result.get("outcome", {})
        words = {"note": outcome.get(SKIPPED), "said": outcome.get(SAID)}
        more = {key: str(value) for key, value in words.items() if value}
        self._telling.tell(
            "step-done", {**said, "writes": result.get("writes", {}), "warnings": warnings, **more}
        )
        if step_id not in self._done:
            self._done.add(step_id)
            self._outcome.done.append(step_id)
        self._walker.finish(step_id)
        self._foresight.over(step_id, float(result.get("wall_s", 0.0)))
        self._clean(self._intermediates.freed(step_id))

    def _clean(self, units: Iterable[str]) -> None:
        """Remove intermediates that nothing needs any more."""
        for unit in units:
            n_bytes = self._intermediates.size(unit)
            self._telling.tell(
                "product-removed", {"product": unit, "bytes": n_bytes}, durable=False
            )
            with recording(self._folder):
                self._intermediates.remove(unit)
            self._disk_use.change(time.monotonic(), -n_bytes)
            self._outcome.removed.append(unit)
            self._outcome.removed_bytes += n_bytes

    def _fail(
        self, step_id: str, number: int, result: Mapping[str, Any], said: dict[str, Any]
    ) -> None:
        cause = Cause(result.get("cause") or Cause.UNKNOWN)
        message, advice = str(result.get("message", "")), str(result.get("advice", ""))
        causes = self._causes.setdefault(step_id, [])
        causes.append(cause)
        if cause is Cause.OUT_OF_MEMORY:
            self._room.learn(step_id, int(said["peak_memory_bytes"]))
        self._telling.tell(
            "step-failed", {**said, "cause": str(cause), "message": message, "advice": advice}
        )
        step = self._plan.by_id[step_id]
        wait_s = self._policy.wait_before_next(causes, len(step.fallbacks))
        wait_s = None if self._stop.is_set() else wait_s
        if wait_s is None and cause is Cause.DISK_FULL:
            self._walker.fail(step_id, again=True)
            self._end_for_disk(f"the disk of {self._folder.root} is full: free some")
            return
        if wait_s is None:
            logs = attempt_folder(self._folder, step_id, number)
            self._outcome.failed[step_id] = Failure(cause, message, advice, number, logs)
            self._lose(step_id, self._walker.fail(step_id))
            if self._policy.stop_at_failure:
                why = f"nothing was started after {step_id} failed (retry.on_failure)"
                self._halt = self._halt or why
            return
        again = {"step": step_id, "attempt": number + 1, "wait_s": wait_s, "cause": str(cause)}
        again |= fallback(step, causes) if cause is Cause.DIVERGED else {}
        self._telling.tell("step-retry", again)
        due = time.monotonic() + wait_s
        # What was lost is made again in the next pass, too.
        if step.updates or cause is Cause.LOST_PRODUCT:
            self._next_pass[step_id] = due
            self._walker.fail(step_id, again=True)
        else:
            self._later[step_id] = due

    def _lose(self, failed: str, lost: Iterable[str]) -> None:
        """Say of the steps that a failed one keeps from running, why they did not run."""
        for step_id in lost:
            if self._decisions[step_id].run:
                self._outcome.not_run[step_id] = f"it needs {failed}, which failed"

    def _stop_all(self) -> None:
        """End all that runs, because the run was asked to stop."""
        for step_id in list(self._running):
            self._executor.kill(step_id, None)
        while self._running:
            for ended in self._executor.wait(_TICK_S):
                self._take(ended)

    def _sleep_until(self, due: float) -> None:
        while time.monotonic() < due and not self._stop.is_set():
            time.sleep(max(0.0, min(_TICK_S, due - time.monotonic())))
            self._report_progress()

    def _report_progress(self) -> None:
        """Tell listeners and the status file what runs; end what takes too much memory for all."""
        used = self._executor.usage() if self._running else {}
        greedy = self._room.farthest_over(used)
        if greedy:
            self._executor.kill(greedy, Cause.OUT_OF_MEMORY)
        self._telling.progress(self._outcome.counts(), self._running, used)
