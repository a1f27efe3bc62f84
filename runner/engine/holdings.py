"""What the products of a plan hold, as a run goes on: ledgers, states, and how long all took."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Any

from ..errors import DataError
from ..files import product_state
from ..folder import RunFolder
from ..plan import Plan, Step
from .chains import chains_of
from .ledger import Ledgers
from .resume import Found, Restore
from .saved import Save, SavedStates


class Holdings:
    """Keeps ledgers, and knows as what each product was left.

    Parameters
    ----------
    plan : Plan
        What is run.
    folder : RunFolder
        Where.
    """

    def __init__(self, plan: Plan, folder: RunFolder) -> None:
        self._plan = plan
        self._root = folder.root
        self._saved = SavedStates(folder)
        self._chains = chains_of(plan)
        self._ledgers = Ledgers(folder.ledgers)
        self._recorded: set[str] = set()
        self._took: dict[str, float] = {}
        self._states: dict[str, str] = {}

    def repair(self, mine: Collection[str] | None = None) -> None:
        """Cut off last lines of ledgers that a crash left unfinished; of what `mine` change."""
        if mine is None:
            self._ledgers.repair()
        else:
            self._ledgers.repair({u for s in mine for u, _ in self._chains.changed_by[s]})

    def look(self, found: Found) -> None:
        """Take note of what a survey found."""
        self._states = dict(found.products)
        self._recorded = set(found.ledgers)
        done = {step_id: record.done for step_id, record in found.journal.steps.items()}
        self._took = {step_id: float(e.get("wall_s", 0)) for step_id, e in done.items() if e}

    def go_back(self, restore: Restore) -> dict[str, Any]:
        """Bring a product back to a saved state; until that is complete, its ledger says so.

        Returns
        -------
        dict
            What the journal keeps of it; empty where the state cannot be had after all. Then it
            is forgotten, and the product is in no state.

        Raises
        ------
        OSError
            If product or ledger cannot be written.
        """
        state = restore.state
        self._ledgers.begin(state.unit, (), state.holds[-1], "")
        try:
            self._saved.restore(state)
        except DataError:
            self._saved.forget(state)
            return {}
        left = product_state(self._root / state.unit) or ""
        self._ledgers.end(state.unit, state.holds, restore.after, left)
        return {
            "product": state.unit,
            "after": restore.after,
            "whole": state.whole,
            "reason": restore.reason,
            "said": str(restore),
        }

    def begin(self, step_id: str) -> None:
        """Say, durably, which products a step is about to change in place."""
        for unit, index in self._chains.changed_by[step_id]:
            if self._has_ledger(unit):
                self._recorded.add(unit)
                fingerprint = self._plan.fingerprints[step_id]
                self._ledgers.begin(unit, self._holds(unit, index), fingerprint, step_id)

    def end(self, step_id: str, result: Mapping[str, Any]) -> None:
        """Say, durably, what products hold now that a step has succeeded."""
        writes = result.get("writes", {})
        for unit, index in self._chains.changed_by[step_id]:
            if self._has_ledger(unit):
                holds = [*self._holds(unit, index), self._plan.fingerprints[step_id]]
                state = writes.get(unit) or product_state(self._root / unit) or ""
                self._ledgers.end(unit, holds, step_id, state)
        self._took[step_id] = float(result.get("wall_s", 0.0))
        for path in self._plan.by_id[step_id].writes:
            self._states.pop(path, None)  # it need not have made all that it may make
        self._states.update(writes)

    def left(self, step: Step) -> dict[str, str]:
        """Return as what the products that a step reads and changes were left."""
        units = {unit for unit, _ in self._chains.of_step[step.id]}
        known = units.intersection(self._states).difference(step.writes)
        return {unit: self._states[unit] for unit in sorted(known)}

    def inputs(self, step: Step) -> dict[str, str]:
        """Return the identities of what a step reads from outside of the run folder."""
        inputs = self._plan.inputs
        return {path: inputs[path] for path in step.reads if path in inputs}

    def described(self, step: Step, attempt: int, reason: str) -> dict[str, Any]:
        """Return what the journal keeps of a step, so that a later run can say what changed.

        The first three are first, as `casarun.engine.journal_state` wants them.
        """
        return {
            "step": step.id,
            "fingerprint": self._plan.fingerprints[step.id],
            "attempt": attempt,
            "reason": reason,
            "action": step.action,
            "params": step.params,
            "checks": [asdict(check) for check in step.checks],
            "versions": dict(self._plan.versions),
            "inputs": self.inputs(step),
            **({"fallbacks": step.fallbacks} if step.fallbacks else {}),
        }

    def saves(self, step_id: str) -> tuple[Save, ...]:
        """Return what a step changes in place, to be saved first."""
        found = []
        for unit, index in self._chains.changed_by[step_id]:
            chain = self._chains.by_unit[unit]
            if not chain.makes[index]:
                before = chain.steps[chain.maker(index) : index]
                seconds = (
                    self._took.get(other) or self._plan.by_id[other].resources.seconds
                    for other in before
                )
                found.append(Save(unit, tuple(self._holds(unit, index)), tuple(seconds)))
        return tuple(found)

    def _has_ledger(self, unit: str) -> bool:
        """Say whether a product needs a ledger: it has one, or is changed in place."""
        return unit in self._recorded or self._chains.by_unit[unit].in_place

    def _holds(self, unit: str, index: int) -> list[str]:
        """Return the changes that a product holds before the one at `index` of its chain."""
        chain = self._chains.by_unit[unit]
        first = chain.maker(index)
        return [self._plan.fingerprints[step_id] for step_id in chain.steps[first:index]]
