"""A plan cut into slices: steps that belong together, each slice a job of its own.

What may overlap is not decided here: which slice must wait for which follows from their steps, as
the plan has it. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from ..errors import Cause, StepFailedError
from ..plan import Plan, Step
from .chains import chains_of
from .resume import Decided, Decision

_SHARE_OF_PACK: Final = 0.25
"""Where there is little to do, slices may be this much shorter, so that more run at once."""

_SPREAD: Final = 10.0
"""Ranges of a cube's channels are spread over jobs of so many times what a slice should take: they
wait for each other between their rounds."""

_RANGES: Final = ("ranges.dirty", "ranges.clean", "ranges.restore")
"""The actions of steps that work on one range of a cube's channels."""

_LONGEST: Final = 2.0
"""Slices grow by others that hang on them up to this many times what a slice should take."""


@dataclass(frozen=True)
class Slice:
    """Steps that one job does.

    Attributes
    ----------
    name : str
        ``calibrate-3``: unique, and safe as a file name.
    kind : str
        One of `casarun.recipe.model.KINDS`.
    title : str
        What it does, for a person.
    steps : tuple of str
        The ids of its steps, in plan order.
    after : tuple of str
        The names of the slices that must have succeeded before.
    """

    name: str
    kind: str
    title: str
    steps: tuple[str, ...]
    after: tuple[str, ...] = ()


@dataclass
class _Piece:
    """A slice in the making."""

    kind: str
    subjects: list[str]
    steps: list[str]
    seconds: float


def divide(plan: Plan, times: Mapping[str, float], pack_s: float, jobs: int) -> tuple[Slice, ...]:
    """Cut what must run of a plan into slices.

    Parameters
    ----------
    plan : Plan
        The plan.
    times : mapping of str to float
        The steps that run, with the seconds that each is expected to take.
    pack_s : float
        How long a slice should at least take; shorter ones are packed together.
    jobs : int
        How many run at once.

    Returns
    -------
    tuple of Slice
        None stands before one that it waits for.

    Notes
    -----
    Steps of one dataset, one target's self-calibration, one image or, where these take long, some
    ranges of a cube's channels belong together. Where what belongs together waits for others in
    between, it is cut there: a step's depth is the number of such changes on the way to it, and a
    slice has steps of one depth. So no two slices wait for each other. A short slice joins the one
    that it waits for, if that is one; short slices of a kind that wait for the same are packed
    together. Neither makes a circle.
    """
    graph = _Graph(plan, times, _ranges(plan, times, _SPREAD * pack_s))
    least = min(pack_s, max(_SHARE_OF_PACK * pack_s, sum(times.values()) / (2 * max(1, jobs))))
    graph.join(least)
    graph.pack(least)
    return graph.slices()


class _Graph:
    """Pieces, and which waits for which."""

    def __init__(self, plan: Plan, times: Mapping[str, float], parts: Mapping[str, str]) -> None:
        def label_of(step: Step) -> tuple[str, str]:
            kind, subject = _label(step)
            return kind, subject + parts.get(step.id, "")

        self._plan = plan
        self._before = _among(plan, times)
        self.pieces: dict[int, _Piece] = {}
        self._piece_of: dict[str, int] = {}
        depth: dict[str, int] = {}
        known: dict[tuple[tuple[str, str], int], int] = {}
        for step in plan.steps:
            if step.id not in times:
                continue
            label = label_of(step)
            above = (
                depth[other] + (label_of(plan.by_id[other]) != label)
                for other in self._before[step.id]
            )
            depth[step.id] = max(above, default=0)
            number = known.setdefault((label, depth[step.id]), len(known))
            piece = self.pieces.setdefault(number, _Piece(label[0], [label[1]], [], 0.0))
            piece.steps.append(step.id)
            piece.seconds += times[step.id]
            self._piece_of[step.id] = number

    def waits(self, number: int) -> frozenset[int]:
        """Return the pieces that one waits for."""
        found = {
            self._piece_of[other] for step in self.pieces[number].steps
            for other in self._before[step]
        }  # fmt: skip
        return frozenset(found - {number})

    def join(self, least_s: float) -> None:
        """Let short pieces join the one piece that they wait for."""
        for number in list(self.pieces):
            before = self.waits(number)
            if len(before) != 1:
                continue
            (first,) = before
            one, other = self.pieces[first], self.pieces[number]
            short = other.seconds < least_s or one.seconds < least_s
            if short and one.seconds + other.seconds <= _LONGEST * least_s:
                self._merge(first, number)

    def pack(self, least_s: float) -> None:
        """Pack short pieces of a kind together that wait for the same."""
        open_: dict[tuple[str, frozenset[int]], int] = {}
        for number in list(self.pieces):
            key = (self.pieces[number].kind, self.waits(number))
            into = open_.get(key)
            if into is not None and self.pieces[into].seconds < least_s:
                self._merge(into, number)
            else:
                open_[key] = number

    def _merge(self, into: int, number: int) -> None:
        gone, kept = self.pieces.pop(number), self.pieces[into]
        kept.steps += gone.steps
        kept.seconds += gone.seconds
        kept.subjects += [one for one in gone.subjects if one not in kept.subjects]
        for step in gone.steps:
            self._piece_of[step] = into

    def slices(self) -> tuple[Slice, ...]:
        """Return the pieces as slices, named and in an order in which they could run."""
        place = {step.id: number for number, step in enumerate(self._plan.steps)}
        waits = {number: self.waits(number) for number in self.pieces}
        names: dict[int, str] = {}
        counts: dict[str, int] = {}
        for number in _in_order(waits):
            kind = self.pieces[number].kind
            names[number] = f"{kind}-{counts.setdefault(kind, 0)}"
            counts[kind] += 1
        return tuple(
            Slice(
                name,
                self.pieces[number].kind,
                _title(self.pieces[number]),
                tuple(sorted(self.pieces[number].steps, key=place.__getitem__)),
                tuple(sorted(names[other] for other in waits[number])),
            )
            for number, name in names.items()
        )


def _ranges(plan: Plan, times: Mapping[str, float], most_s: float) -> dict[str, str]:
    """Return for each step of a range of a long cube which part of the cube that belongs to."""
    cubes: dict[str, dict[str, float]] = {}
    for step in plan.steps:
        if step.action in _RANGES and step.id in times:
            ranges = cubes.setdefault(f"{step.target}/{step.image}", {})
            number = step.id.rpartition(".")[2]
            ranges[number] = ranges.get(number, 0.0) + times[step.id]
    parts: dict[tuple[str, str], str] = {}
    for cube, ranges in cubes.items():
        total_s = sum(ranges.values())
        n = min(len(ranges), math.ceil(total_s / most_s) if most_s else len(ranges))
        for place, number in enumerate(ranges):
            if n > 1:
                parts[cube, number] = f", part {1 + place * n // len(ranges)} of {n}"
    return {
        step.id: parts[key]
        for step in plan.steps
        if step.action in _RANGES
        and (key := (f"{step.target}/{step.image}", step.id.rpartition(".")[2])) in parts
    }


def _among(plan: Plan, wanted: Collection[str]) -> dict[str, frozenset[str]]:
    """Return for each step that runs those that run of which it waits, also by way of others."""
    found: dict[str, frozenset[str]] = {}
    for step in plan.steps:
        above: set[str] = set()
        for other in plan.waits_for[step.id]:
            above |= {other} if other in wanted else found[other]
        found[step.id] = frozenset(above)
    return found


def _in_order(waits: Mapping[int, frozenset[int]]) -> Iterable[int]:
    """Yield numbers, none before one that it waits for, else in their own order."""
    done: set[int] = set()
    left = list(waits)
    while left:
        ready = [number for number in left if waits[number] <= done]
        if not ready:
            raise AssertionError("slices wait for each other in a circle")
        yield from ready
        done.update(ready)
        left = [number for number in left if number not in done]


def _label(step: Step) -> tuple[str, str]:
    """Return kind and subject of the slice that a step belongs to."""
    if step.stage == "selfcal":
        return "selfcal", step.target
    if step.stage == "cube":
        return "cube", step.image or step.id.partition(".cube.")[0]
    if step.dataset:
        return "calibrate", step.dataset
    return "image", " ".join(word for word in (step.target, step.image) if word) or "all"


def _title(piece: _Piece) -> str:
    shown = ", ".join(piece.subjects[:3])
    more = len(piece.subjects) - 3
    return f"{piece.kind} {shown}{f' and {more} more' if more > 0 else ''}"


class Surroundings:
    """Finds the part of a plan that a slice must know to do its steps.

    Parameters
    ----------
    plan : Plan
        The whole plan.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._chains = chains_of(plan)
        self._place = {step.id: place for place, step in enumerate(plan.steps)}

    def of(self, mine: Collection[str]) -> Plan:
        """Return a slice's steps, all that they wait for, and all that changes what these touch.

        The fingerprints are those of the whole plan. What steps outside of it need stays.
        """
        chains, plan = self._chains, self._plan
        known: set[str] = set()
        todo = list(mine)
        while todo:
            step_id = todo.pop()
            if step_id in known:
                continue
            known.add(step_id)
            todo += plan.waits_for[step_id]
            for unit, _ in chains.of_step[step_id]:
                todo += chains.by_unit[unit].steps
        made = {unit for step_id in known for unit, _ in chains.changed_by[step_id]}
        later = {
            unit
            for unit in made
            if chains.by_unit[unit].intermediate
            and any(step_id not in known for step_id, _ in chains.by_unit[unit].touched_by)
        }
        steps = [plan.by_id[step_id] for step_id in sorted(known, key=self._place.__getitem__)]
        read = {path for step in steps for path in step.reads}
        return Plan(
            tuple(steps),
            {path: state for path, state in plan.inputs.items() if path in read},
            plan.versions,
            keep=plan.keep,
            needed_later=plan.needed_later | later,
        )


def around(plan: Plan, mine: Collection[str]) -> Plan:
    """Return the part of a plan that a slice must know; see `Surroundings`."""
    return Surroundings(plan).of(mine)


def of_slice(plan: Plan, decided: Decided, mine: Collection[str]) -> Decided:
    """Return what a slice does of what was decided for a plan.

    Raises
    ------
    StepFailedError
        If something that its steps need is not there: that is for other slices to make.
    """
    chains = chains_of(plan)
    to_run = set(decided.to_run)
    own = {step for step in to_run if step in mine}
    changed = {unit for step in mine for unit, _ in chains.changed_by[step]}
    touched = {unit for step in own for unit, _ in chains.of_step[step]}
    # What other slices do beside to products that these steps do not touch is no matter.
    makes = {step: {unit for unit, _ in units} for step, units in chains.changed_by.items()}
    for step in _needed(plan, own):
        if step in to_run and step not in mine and not touched.isdisjoint(makes[step]):
            raise _not_there(step, decided.steps[step].reason)
    for restore in decided.restores:
        if restore.state.unit in touched - changed:
            raise _not_there(restore.after, str(restore))
    steps = {
        step: decision if step in mine or not decision.run else Decision(False, "another slice's")
        for step, decision in decided.steps.items()
    }
    restores = tuple(r for r in decided.restores if r.state.unit in changed)
    return replace(decided, steps=steps, restores=restores)


def _needed(plan: Plan, steps: Collection[str]) -> list[str]:
    """Return all that some steps wait for, also by way of others."""
    found: set[str] = set()
    todo: list[str] = list(steps)
    while todo:
        for other in plan.waits_for[todo.pop()]:
            if other not in found:
                found.add(other)
                todo.append(other)
    return sorted(found)


def _not_there(step: str, why: str) -> StepFailedError:
    return StepFailedError(
        Cause.LOST_PRODUCT,
        f"what this slice needs of {step}, a step of another one, is not there: {why}",
        "Run the same command again: it hands in what is missing.",
    )


def grouped(slices: Sequence[Slice]) -> list[list[Slice]]:
    """Return slices of a kind that wait for the same together: they can be one array of jobs.

    In an order in which none stands before one that it waits for.
    """
    groups: dict[tuple[str, tuple[str, ...]], list[Slice]] = {}
    for one in slices:
        groups.setdefault((one.kind, one.after), []).append(one)
    return list(groups.values())
