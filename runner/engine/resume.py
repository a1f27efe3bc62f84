"""What must run: the plan against what the run folder already holds.

`survey` looks (journal, ledgers, products); `decide` thinks, and touches nothing.

A step holds if its last success had the fingerprint that the plan gives it now and its
products are as it left them. A product that is changed in place is further needed by each
step that runs in exactly the state that the plan gives it there. A product that already holds
later changes, or a part of one, is brought to the last state before that which can be had: one
that was saved (`casarun.engine.saved`), else it is made again.

An intermediate need not be there, whole, or up to date, as long as no step that runs needs it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ..folder import RunFolder
from ..plan import Json, Plan, Step, json_line
from .chains import Chain, chains_of
from .journal import Event
from .journal_state import JournalState, StepRecord, read_state
from .ledger import Ledgers, LedgerState
from .saved import SavedState, SavedStates
from .seen import Seen


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
class Restore:
    """A product that goes back to a saved state before anything runs.

    Attributes
    ----------
    state : SavedState
        The state.
    after : str
        The step whose change was then the last.
    reason : str
        Why, as a phrase for a person.
    """

    state: SavedState
    after: str
    reason: str

    def __str__(self) -> str:
        how = "from a snapshot" if self.state.whole else "by undoing what came later"
        return f"{self.state.unit} goes back to its state after {self.after}, {how}: {self.reason}"


@dataclass(frozen=True)
class Decided:
    """What must be done to bring a run folder to what a plan wants.

    Attributes
    ----------
    steps : mapping of str to Decision
        By step id, in plan order.
    restores : tuple of Restore
        The products that first go back to a state that was saved.
    removals : tuple of str
        Intermediates that are there, and that nothing needs any more.
    """

    steps: Mapping[str, Decision]
    restores: tuple[Restore, ...] = ()
    removals: tuple[str, ...] = ()

    @property
    def to_run(self) -> list[str]:
        """The steps that run."""
        return [step_id for step_id, decision in self.steps.items() if decision.run]

    def __bool__(self) -> bool:
        if self.restores or self.removals:
            return True
        return any(decision.run for decision in self.steps.values())


FindSaved = Callable[[str, Sequence[str]], SavedState | None]


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
    saved : callable
        Returns the saved state of a product that held certain changes, if it can be had.
    """

    journal: JournalState = field(default_factory=JournalState)
    ledgers: Mapping[str, LedgerState] = field(default_factory=dict)
    products: Mapping[str, str] = field(default_factory=dict)
    saved: FindSaved = lambda unit, holds: None


UP_TO_DATE = "unchanged"
_LATER = "it already holds later changes"
_NO_RECORD = StepRecord()
_PLAIN: Final = frozenset({str, int, bool, type(None)})


def survey(plan: Plan, folder: RunFolder) -> Found:
    """Look at what a run folder holds of a plan's products. Changes none of them."""
    journal, ledgers = read_state(folder.journal), Ledgers(folder.ledgers).states()
    known: dict[str, list[str]] = {p: [] for s in plan.steps for p in s.writes + s.updates}
    for path in known.keys() & ledgers.keys():
        known[path].append(ledgers[path].signature)
    for record in journal.steps.values():
        for path, state in (record.done or {}).get("writes", {}).items():
            if path in known:
                known[path].append(str(state))
    products, seen = {}, Seen(folder)
    for path, states in known.items():
        now = seen.state(path, states)
        if now is not None:
            products[path] = now
    seen.keep()
    return Found(journal, ledgers, products, SavedStates(folder).find)


def decide(
    plan: Plan, found: Found, *, fresh: bool = False, given_up: Collection[str] = ()
) -> Decided:
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
    Decided
        Also which products go back to a state that was saved.
    """
    restores: tuple[Restore, ...] = ()
    removals: tuple[str, ...] = ()
    if fresh:
        reasons = dict.fromkeys(plan.by_id, "a fresh run was asked for")
    else:
        decider = _Decider(plan, found, given_up)
        reasons = decider.reasons()
        restores, removals = decider.restores(), decider.removals()
    kept = Decision(False, UP_TO_DATE)
    steps = {
        step.id: Decision(True, reasons[step.id]) if step.id in reasons else kept
        for step in plan.steps
    }
    return Decided(steps, restores, removals)


def decide_part(folder: RunFolder, whole: Plan, part: Plan, *, fresh: bool = False) -> Decided:
    """Decide what of a part of the plan must run.

    Data that already hold the changes of later steps need not be made again for a part of
    which nothing must run.
    """
    decided = decide(whole, survey(whole, folder), fresh=fresh)
    if part.steps == whole.steps:
        return decided
    kept = Decided({step.id: decided.steps[step.id] for step in part.steps})
    return decide(part, survey(part, folder), fresh=fresh) if kept else kept


@dataclass(frozen=True)
class _Position:
    """How many of a chain's changes a product holds; 0 if that is not known for certain.

    `again` says why it must be made again, `short` what is wrong with it.
    """

    held: int
    again: str = ""
    short: str = ""


_MADE = _Position(1)


class _Decider:
    """Finds the smallest set of steps that brings every product to its planned state."""

    def __init__(self, plan: Plan, found: Found, given_up: Collection[str] = ()) -> None:
        self._plan = plan
        self._given_up = frozenset(given_up)
        self._found = found
        self._chains = chains_of(plan)
        self._reasons: dict[str, str] = {}
        self._changed: deque[str] = deque()
        self._held: dict[str, tuple[int, bool]] = {}
        self._goal: dict[str, int] = {}
        self._present: dict[str, _Position] = {}
        self._states: dict[tuple[str, int], SavedState | None] = {}

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

    def restores(self) -> tuple[Restore, ...]:
        """Return which products must go back to a saved state; ask for `reasons` first."""
        found = []
        for unit, chain in self._chains.by_unit.items():
            (held, had), present = self._held[unit], self._present[unit]
            if not had or held == present.held or not self._is_wanted(chain, held):
                continue
            state = self._saved(chain, held)
            if state is not None:
                found.append(Restore(state, chain.steps[held - 1], present.short or _LATER))
        return tuple(found)

    def removals(self) -> tuple[str, ...]:
        """Return which intermediates are in nobody's way any more; ask for `reasons` first."""
        return tuple(
            unit
            for unit, chain in self._chains.by_unit.items()
            if chain.intermediate
            and unit in self._found.products
            and unit not in self._plan.needed_later
            and not any(step_id in self._reasons for step_id, _ in chain.touched_by)
        )

    def _is_wanted(self, chain: Chain, held: int) -> bool:
        """Say whether anything needs a product in the state after `held` changes."""
        if held == len(chain.steps) and not chain.intermediate:
            return True
        return any(
            step_id in self._reasons and step_id not in self._given_up and before >= held
            for step_id, before in chain.touched_by
        )

    def _run(self, step_id: str, reason: str) -> None:
        if step_id not in self._reasons:
            self._reasons[step_id] = reason
            if step_id not in self._given_up:
                self._changed.append(step_id)

    def _own_reason(self, step: Step) -> str:
        """Say why a step cannot be kept, apart from the state of its products."""
        record = self._found.journal.steps.get(step.id, _NO_RECORD)
        if record.done is None:
            return _unfinished(record) or "never run"
        if record.done.get("fingerprint") == self._plan.fingerprints[step.id]:
            return self._lost_product(step, record.done)
        return _unfinished(record, step, self._plan) or self._difference(step, record.made)

    def _lost_product(self, step: Step, done: Event) -> str:
        """Say which product is not as this step, the only one to touch it, left it."""
        for unit, _ in self._chains.changed_by[step.id]:
            chain = self._chains.by_unit[unit]
            if chain.in_place or chain.intermediate or unit in self._found.ledgers:
                continue
            recorded = done.get("writes", {}).get(unit)
            present = self._found.products.get(unit)
            # A product that the step legitimately did not make has no signature either.
            if recorded != present:
                return self._gone(unit) if present is None else f"its product {unit} was altered"
        return ""

    def _difference(self, step: Step, done: Event) -> str:
        """Say what makes a step's fingerprint another than that of its last success."""
        if not done:
            return "the journal does not say what it was made from"
        if done.get("action") != step.action:
            return f"another action: {step.action} instead of {done.get('action')}"
        params = done.get("params", {})
        alike = json_line(params) == json_line(step.params)
        keys = [] if alike else differing(params, step.params)
        if keys:
            return f"parameters changed: {', '.join(keys)}"
        keys = differing(done.get("versions", {}), self._plan.versions)
        if keys:
            return f"another version of {', '.join(keys)}"
        for path, state in done.get("inputs", {}).items():
            if self._plan.inputs.get(path, state) != state:
                return f"its input {path} changed"
        checks = [{"name": check.name, "params": check.params} for check in step.checks]
        if json_line(done.get("checks", [])) != json_line(checks):
            return "its post-conditions changed"
        if json_line(done.get("fallbacks", [])) != json_line(step.fallbacks):
            return "its fallbacks changed"
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
        """Find the state to go on from with a chain's product; run all later changes.

        What is to be done with an intermediate hangs on who needs it; so far it is nobody.
        """
        present = self._present[chain.unit] = self._position(chain)
        if present.held == len(chain.steps) and not chain.intermediate:
            self._held[chain.unit] = (present.held, True)
            self._goal[chain.unit] = present.held
            return
        if chain.intermediate:
            self._held[chain.unit] = (len(chain.steps) + 1, False)
            self._goal[chain.unit] = 0
            return
        self._goal[chain.unit] = len(chain.steps)
        self._go_on_from(chain, *self._last_state(chain, len(chain.steps)), present.again)

    def _go_on_from(self, chain: Chain, held: int, had: bool, why: str) -> None:
        """Run the changes of a chain that come after the first `held`, as far as needed."""
        self._held[chain.unit] = (held, had)
        unit, steps = chain.unit, chain.steps
        for index in range(held, self._goal[unit]):
            if not had and index == held:
                reason = why
            elif not had:
                reason = f"{unit} is made again (step {steps[held]})"
            elif held == self._present[unit].held:
                reason = f"{unit} does not hold it yet"
            else:
                reason = f"{unit} goes back to its state after {steps[held - 1]}"
            self._run(steps[index], reason)

    def _last_state(self, chain: Chain, limit: int) -> tuple[int, bool]:
        """Return after how many changes, at most `limit`, a product can be gone on from.

        And whether that state can be had; if not, the next change makes the product anew.
        """
        for held in range(limit, 0, -1):
            if held == self._present[chain.unit].held:
                return held, True
            if self._saved(chain, held) is not None:
                return held, True
            if chain.makes[held - 1]:
                return held - 1, False
        return 0, False

    def _saved(self, chain: Chain, held: int) -> SavedState | None:
        """Return the saved state of a product after `held` changes; it is looked for once."""
        if not (chain.in_place or chain.unit in self._found.ledgers):
            return None
        key = (chain.unit, held)
        if key not in self._states:
            first = chain.maker(held - 1)
            holds = [self._plan.fingerprints[step_id] for step_id in chain.steps[first:held]]
            self._states[key] = self._found.saved(chain.unit, holds)
        return self._states[key]

    def _position(self, chain: Chain) -> _Position:
        """Return how many of a chain's changes its product holds, and what is wrong with it."""
        unit = chain.unit
        state = self._found.products.get(unit)
        ledger = self._found.ledgers.get(unit)
        if ledger is None:
            return self._position_unrecorded(chain, state)
        again = f"{unit} must be made again: "
        if ledger.doing:
            why = "a change was under way when the last run ended"
            why += f" (step {ledger.step})" if ledger.step else ""
            return _Position(0, again + why, why)
        if state is None:
            return _Position(0, self._gone(unit), "it is gone")
        if ledger.signature and ledger.signature != state:
            return _Position(0, f"its product {unit} was altered", "it was altered")
        held = self._matching(chain, ledger.holds)
        return _Position(held) if held else _Position(0, again + _LATER, _LATER)

    def _position_unrecorded(self, chain: Chain, state: str | None) -> _Position:
        """Do as `_position` for a product that was not changed since it was made."""
        first = chain.steps[0]
        record = self._found.journal.steps.get(first, _NO_RECORD)
        done = record.done
        if done is None or done.get("fingerprint") != self._plan.fingerprints[first]:
            return _Position(0, f"{chain.unit} is made again")
        if done.get("writes", {}).get(chain.unit) == state:
            return _MADE
        if state is None:
            return _Position(0, self._gone(chain.unit), "it is gone")
        return _Position(0, f"its product {chain.unit} was altered", "it was altered")

    def _gone(self, unit: str) -> str:
        """Say that a product is not there: nobody's fault where it was an intermediate."""
        if unit in self._found.journal.removed:
            return f"{unit} was removed when nothing needed it; makes it again"
        return f"its product {unit} is gone"

    def _matching(self, chain: Chain, holds: tuple[str, ...]) -> int:
        """Return after how many of a chain's steps it holds exactly these changes, or 0."""
        prints = [self._plan.fingerprints[step_id] for step_id in chain.steps]
        if not holds or holds[-1] not in prints:
            return 0
        held = prints.index(holds[-1]) + 1
        return held if list(holds) == prints[chain.maker(held - 1) : held] else 0

    def _require(self, chain: Chain, step_id: str, before: int) -> None:
        """See to it that a step that runs finds a product in the state after `before` changes."""
        held, had = self._held[chain.unit]
        changes = before < len(chain.steps) and chain.steps[before] == step_id
        makes = changes and chain.makes[before]
        if chain.intermediate:
            self._goal[chain.unit] = max(self._goal[chain.unit], before + changes)
            if before > held:
                self._go_on_from(chain, held, had, self._reasons.get(chain.steps[held], ""))
        # All steps from `held` on run already. What a step reads before anything made it can
        # not be brought back.
        if before > held or (before == held and (had or makes)) or (not before and not changes):
            return
        first, had = (before, False) if makes else self._last_state(chain, before)
        why = self._present[chain.unit].again if chain.intermediate else ""
        self._go_on_from(chain, first, had, why or f"{chain.unit} must be made again: {_LATER}")


def _unfinished(record: StepRecord, step: Step | None = None, plan: Plan | None = None) -> str:
    """Say how a step's last attempt ended, if it ended badly."""
    if step and plan and record.fingerprint != plan.fingerprints[step.id]:
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
        elif key not in old or key not in new or _differ(mine, other):
            found.append(key)
    return found


def _differ(mine: Json, other: Json) -> bool:
    """Say whether two values are not the same JSON: 1 and 1.0 are not."""
    if type(mine) is type(other) and type(mine) in _PLAIN:
        return bool(mine != other)
    return json_line(mine) != json_line(other)
