"""What must run: the plan against what the run folder already holds.

`survey` looks (journal, ledgers, products); `decide` thinks, and touches nothing.

A step holds if its last success had the fingerprint that the plan gives it now and its
products are as it left them. A product that is changed in place is further needed by each
step that runs in exactly the state that the plan gives it there; a product that already
holds later changes, or a part of one, is made again from its first step on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field

from ..files import state_now
from ..folder import RunFolder
from ..plan import Json, Plan, Step, digest
from .chains import Chain, Chains
from .journal import Event, JournalState, StepRecord, read_state
from .ledger import Ledgers, LedgerState


@dataclass(frozen=True)
class Decision:
    """Whether a step runs, and why.

    Attributes
    ----------
    run : bool
        It runs, or what it made is kept.
    reason : str
        A phrase for a person: ``parameters changed: solint``.
    """

    run: bool
    reason: str


@dataclass(frozen=True)
class Found:
    """What a run folder holds.

    Attributes
    ----------
    journal : JournalState
        What happened so far.
    ledgers : mapping of str to LedgerState
        By path, for products that are changed in place.
    products : mapping of str to str
        State of each product that exists, by its path; see `casarun.files.state_now`.
    """

    journal: JournalState = field(default_factory=JournalState)
    ledgers: Mapping[str, LedgerState] = field(default_factory=dict)
    products: Mapping[str, str] = field(default_factory=dict)


UP_TO_DATE = "unchanged"


def survey(plan: Plan, folder: RunFolder) -> Found:
    """Look at what a run folder holds of a plan's products. Changes nothing."""
    journal, ledgers = read_state(folder.journal), Ledgers(folder.ledgers).states()
    known: dict[str, list[str]] = {path: [state.signature] for path, state in ledgers.items()}
    for record in journal.steps.values():
        for path, state in (record.done or {}).get("writes", {}).items():
            known.setdefault(path, []).append(str(state))
    products = {}
    for path in dict.fromkeys(p for step in plan.steps for p in (*step.writes, *step.updates)):
        now = state_now(folder.root / path, known.get(path, ()))
        if now is not None:
            products[path] = now
    return Found(journal, ledgers, products)


def decide(
    plan: Plan, found: Found, *, fresh: bool = False, given_up: Collection[str] = ()
) -> dict[str, Decision]:
    """Decide for each step of a plan whether it runs, and say why.

    Parameters
    ----------
    plan : Plan
        What is wanted.
    found : Found
        What there is; see `survey`.
    fresh : bool
        Run everything, whatever there is.
    given_up : collection of str
        Steps that failed for good in this run, and those that need them: nothing is brought
        into the state that they would need.

    Returns
    -------
    dict of str to Decision
        By step id, in plan order.
    """
    reasons = (
        {step.id: "a fresh run was asked for" for step in plan.steps}
        if fresh
        else _Decider(plan, found, given_up).reasons()
    )
    return {
        step.id: Decision(step.id in reasons, reasons.get(step.id, UP_TO_DATE))
        for step in plan.steps
    }


def decide_part(
    folder: RunFolder, whole: Plan, part: Plan, *, fresh: bool = False
) -> dict[str, Decision]:
    """Decide what of a part of the plan must run.

    Data that already hold the changes of later steps need not be made again for a part of
    which nothing must run.
    """
    decisions = decide(whole, survey(whole, folder), fresh=fresh)
    kept = {step.id: decisions[step.id] for step in part.steps}
    if part.steps == whole.steps or not any(decision.run for decision in kept.values()):
        return kept
    return decide(part, survey(part, folder), fresh=fresh)


class _Decider:
    """Finds the smallest set of steps that brings every product to its planned state."""

    def __init__(self, plan: Plan, found: Found, given_up: Collection[str] = ()) -> None:
        self._plan = plan
        self._given_up = frozenset(given_up)
        self._found = found
        self._chains = Chains(plan)
        self._reasons: dict[str, str] = {}
        self._changed: deque[str] = deque()
        self._held: dict[str, int] = {}

    def reasons(self) -> dict[str, str]:
        """Return why each step that runs does so."""
        for step in self._plan.steps:
            reason = self._own_reason(step)
            if reason:
                self._run(step.id, reason)
        for chain in self._chains.by_unit.values():
            self._hold(chain)
        while self._changed:
            step_id = self._changed.popleft()
            for unit, before in self._chains.of_step[step_id]:
                self._require(self._chains.by_unit[unit], step_id, before)
        return self._reasons

    def _run(self, step_id: str, reason: str) -> None:
        if step_id not in self._reasons:
            self._reasons[step_id] = reason
            if step_id not in self._given_up:
                self._changed.append(step_id)

    def _own_reason(self, step: Step) -> str:
        """Say why a step cannot be kept, apart from the state of its products."""
        record = self._found.journal.steps.get(step.id, StepRecord())
        if record.done is None:
            return _unfinished(record) or "never run"
        if record.done.get("fingerprint") == self._plan.fingerprints[step.id]:
            return self._lost_product(step, record.done)
        return _unfinished(record, step, self._plan) or self._difference(step, record.done)

    def _lost_product(self, step: Step, done: Event) -> str:
        """Say which product is not as this step, the only one to touch it, left it."""
        for unit, _ in self._chains.changed_by[step.id]:
            chain = self._chains.by_unit[unit]
            if chain.in_place or unit in self._found.ledgers:
                continue
            recorded = done.get("writes", {}).get(unit)
            present = self._found.products.get(unit)
            # A product that the step legitimately did not make has no signature either.
            if recorded != present:
                return f"its product {unit} {'is gone' if present is None else 'was altered'}"
        return ""

    def _difference(self, step: Step, done: Event) -> str:
        """Say what makes a step's fingerprint another than that of its last success."""
        if done.get("action") != step.action:
            return f"another action: {step.action} instead of {done.get('action')}"
        keys = differing(done.get("params", {}), step.params)
        if keys:
            return f"parameters changed: {', '.join(keys)}"
        keys = differing(done.get("versions", {}), self._plan.versions)
        if keys:
            return f"another version of {', '.join(keys)}"
        for path, state in done.get("inputs", {}).items():
            if self._plan.inputs.get(path, state) != state:
                return f"its input {path} changed"
        if digest(done.get("checks", [])) != digest([asdict(check) for check in step.checks]):
            return "its post-conditions changed"
        return self._upstream(step) or "what it reads, writes or updates changed"

    def _upstream(self, step: Step) -> str:
        """Name a product that this step needs and that another step makes otherwise now."""
        for unit, before in self._chains.of_step[step.id]:
            chain = self._chains.by_unit[unit]
            if before:
                maker = chain.steps[before - 1]
                # The plan's order guarantees that reasons of earlier steps are known by now.
                if maker in self._reasons:
                    return f"its input {unit} changed (step {maker} runs again)"
        return ""

    def _hold(self, chain: Chain) -> None:
        """Find how many of a chain's changes its product holds; run all the others."""
        held, why = self._position(chain)
        self._held[chain.unit] = held
        unit = chain.unit
        if held:
            for step_id in chain.steps[held:]:
                self._run(step_id, f"{unit} does not hold it yet")
            return
        self._run(chain.steps[0], why)
        for step_id in chain.steps[1:]:
            self._run(step_id, f"{unit} is made again (step {chain.steps[0]})")

    def _position(self, chain: Chain) -> tuple[int, str]:
        """Return how many of a chain's changes its product holds, and what is wrong with it."""
        unit = chain.unit
        present = self._found.products.get(unit)
        ledger = self._found.ledgers.get(unit)
        again = f"{unit} must be made again: "
        if ledger is None:
            return self._position_unrecorded(chain, present)
        if ledger.doing:
            return 0, f"{again}a change was under way when the last run ended (step {ledger.step})"
        if present is None:
            return 0, f"its product {unit} is gone"
        if ledger.signature and ledger.signature != present:
            return 0, f"its product {unit} was altered"
        held = self._matching(chain, ledger.holds)
        return (held, "") if held else (0, f"{again}it already holds later changes")

    def _position_unrecorded(self, chain: Chain, present: str | None) -> tuple[int, str]:
        """Do as `_position` for a product that was not changed since it was made."""
        first = chain.steps[0]
        record = self._found.journal.steps.get(first, StepRecord())
        done = record.done
        if done is None or done.get("fingerprint") != self._plan.fingerprints[first]:
            return 0, f"{chain.unit} is made again"
        recorded = done.get("writes", {}).get(chain.unit)
        if recorded == present:
            return 1, ""
        return 0, f"its product {chain.unit} {'is gone' if present is None else 'was altered'}"

    def _matching(self, chain: Chain, holds: tuple[str, ...]) -> int:
        """Return after how many of a chain's steps it holds exactly these changes, or 0."""
        prints = [self._plan.fingerprints[step_id] for step_id in chain.steps]
        if not holds or holds[-1] not in prints:
            return 0
        held = prints.index(holds[-1]) + 1
        return held if list(holds) == prints[chain.maker(held - 1) : held] else 0

    def _require(self, chain: Chain, step_id: str, before: int) -> None:
        """See to it that a step that runs finds a product in the state after `before` changes."""
        held = self._held[chain.unit]
        changes = before < len(chain.steps) and chain.steps[before] == step_id
        # All steps from `held` on run already. What a step reads before anything made it can
        # not be brought back.
        if before >= held or (before == 0 and not changes):
            return
        first = before if changes and chain.makes[before] else chain.maker(max(before - 1, 0))
        self._held[chain.unit] = first
        unit = chain.unit
        for index in range(first, len(chain.steps)):
            self._run(
                chain.steps[index],
                f"{unit} must be made again: it already holds later changes"
                if index == first
                else f"{unit} is made again (step {chain.steps[first]})",
            )


def _unfinished(record: StepRecord, step: Step | None = None, plan: Plan | None = None) -> str:
    """Say how a step's last attempt ended, if it ended badly."""
    started = (record.started or {}).get("fingerprint")
    if step and plan and started != plan.fingerprints[step.id]:
        return ""
    if record.last == "step-failed":
        return f"it failed: {record.message}"
    if record.last in {"step-started", "step-placed", "step-interrupted", "step-retry"}:
        return "a previous attempt was interrupted"
    return ""


def differing(old: Mapping[str, Json], new: Mapping[str, Json]) -> list[str]:
    """Return the keys whose values differ, in alphabetical order; of tables, ``tclean.niter``."""
    found = []
    for key in sorted({*old, *new}):
        mine, other = old.get(key), new.get(key)
        if isinstance(mine, Mapping) and isinstance(other, Mapping) and "$late" not in mine:
            found += [f"{key}.{inner}" for inner in differing(mine, other)]
        elif key not in old or key not in new or digest(mine) != digest(other):
            found.append(key)
    return found
