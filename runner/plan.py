"""Steps, the plan they make, and what follows from it: graph and fingerprints.

The order of the list is the truth. A step says which paths it reads, writes (makes new)
and updates (changes in place); which steps wait for which is derived from that, never
written by hand. All of it is pure and imports no CASA.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, lru_cache
from operator import attrgetter
from pathlib import PurePosixPath
from typing import Any

Json = Any
"""What JSON can hold."""


@dataclass(frozen=True)
class Auto:
    """A value that casarun chose: shown in the plan, the log and the report.

    Attributes
    ----------
    key : str
        What was chosen, as a recipe key: ``calibrate.refant``.
    subject : str
        For which dataset, target or image it was chosen.
    value : Json
        The choice.
    reason : str
        Why, in a sentence with its numbers.
    """

    key: str
    subject: str
    value: Json
    reason: str


@dataclass(frozen=True, slots=True)
class Check:
    """A post-condition by its name in `casarun.casa.checks`, with its parameters."""

    name: str
    params: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Resources:
    """What a step needs while it runs, as far as that can be told before.

    Attributes
    ----------
    cores : int
        Cores that it uses.
    memory_bytes : int
        Memory that it is expected to hold at its most; 0 where nothing is known.
    time_limit_s : float
        After this many seconds it is ended.
    disk_bytes : int
        What it is expected to add to the run folder.
    seconds : float
        How long it is expected to take on one core; 0 where nothing is known.
    """

    cores: int = 1
    memory_bytes: int = 0
    time_limit_s: float = 86400.0
    disk_bytes: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Step:
    """The smallest thing that runs, is logged, retried and resumed.

    Attributes
    ----------
    id : str
        Unique in the plan and safe as a file name: ``apr13.calibrate.bandpass``.
    stage : str
        The chapter it belongs to: ``calibrate``.
    title : str
        What it does, for a person: ``bandpass from 1331+305``.
    action : str
        ``casa:TASK`` for a CASA task with `params` as its parameters, else the name of one of
        casarun's own actions (``engine/actions.py``).
    params : mapping
        Parameters as data. A value ``{"$late": {"path", "key", "times", "unit"}}`` is taken, when
        the step runs, from the JSON file `path`, which an earlier step wrote.
    reads, writes, updates : tuple of str
        Paths that it reads, makes new, and changes in place: relative to the run folder, or
        absolute for inputs. A folder stands for all that is in it.
    checks : tuple of Check
        The post-conditions that prove its success.
    intermediates : tuple of str
        Those of `writes` that are only there for later steps: with ``resources.keep =
        "products"`` they are removed as soon as no step needs them any more.
    fallbacks : tuple of mapping
        What is laid over `params` (see `laid_over`) for the attempt after the first time that
        it diverged, after the second, and so on: what the recipe declares, for it changes the
        science. Empty: a step that diverged has failed.
    resources : Resources
        What it needs while it runs.
    dataset, target, image : str
        Whose step it is, where it is somebody's.
    """

    id: str
    stage: str
    title: str
    action: str
    params: Mapping[str, Json] = field(default_factory=dict)
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    updates: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()
    resources: Resources = Resources()
    dataset: str = ""
    target: str = ""
    image: str = ""
    fallbacks: tuple[Mapping[str, Json], ...] = ()
    intermediates: tuple[str, ...] = ()

    def needing(self, resources: Resources) -> Step:
        """Return the step with other resources; twice as fast as `replace`."""
        values = list(_VALUES(self))
        values[_RESOURCES] = resources
        return Step(*values)

    def over(self, fallback: Mapping[str, Json]) -> Step:
        """Return the step with a fallback laid over its parameters."""
        return replace(self, params=laid_over(self.params, fallback)) if fallback else self

    def to_json(self) -> dict[str, Json]:
        """Return the step as plain data, which shares its parameters."""
        plain = {name: getattr(self, name) for name in self.__slots__}
        plain["checks"] = [{"name": check.name, "params": check.params} for check in self.checks]
        plain["resources"] = asdict(self.resources)
        return plain

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> Step:
        """Build a step from what `to_json` gave."""
        plain = dict(data)
        for key in ("reads", "writes", "updates", "fallbacks", "intermediates"):
            plain[key] = tuple(plain.get(key, ()))
        plain["checks"] = tuple(Check(**check) for check in plain["checks"])
        plain["resources"] = Resources(**plain["resources"])
        return cls(**plain)


_VALUES = attrgetter(*Step.__slots__)
_RESOURCES = Step.__slots__.index("resources")


def laid_over(params: Mapping[str, Json], overlay: Mapping[str, Json]) -> dict[str, Json]:
    """Return parameters with others laid over them: tables are merged, all else is replaced.

    Examples
    --------
    >>> laid_over({"dirty": "d", "tclean": {"gain": 0.1, "niter": 9}}, {"tclean": {"gain": 0.05}})
    {'dirty': 'd', 'tclean': {'gain': 0.05, 'niter': 9}}
    """
    merged = dict(params)
    for key, value in overlay.items():
        old = merged.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping) and "$late" not in old:
            value = laid_over(old, value)
        merged[key] = value
    return merged


def written(overlay: Mapping[str, Json]) -> str:
    """Write parameters that are laid over others for a person: ``gain = 0.05, niter = 500``."""
    return ", ".join(
        written(value) if isinstance(value, Mapping) else f"{key} = {json.dumps(value)}"
        for key, value in overlay.items()
    )


@dataclass(frozen=True)
class Plan:
    """The steps of a run, in order.

    Attributes
    ----------
    steps : tuple of Step
        In an order in which they could run one after the other.
    inputs : mapping of str to str
        Identity (see `casarun.files.identity`) of each path that steps read and none makes.
    versions : mapping of str to str
        Versions of the software whose change makes every step new.
    autos : tuple of Auto
        What was chosen for the user.
    notes : tuple of str
        What the user should know before running.
    keep : {"all", "products"}
        Whether intermediates stay (``resources.keep``).
    needed_later : frozenset of str
        Intermediates that steps need which are no part of this plan: they stay.
    """

    steps: tuple[Step, ...]
    inputs: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    autos: tuple[Auto, ...] = ()
    notes: tuple[str, ...] = ()
    keep: str = "all"
    needed_later: frozenset[str] = frozenset()

    @cached_property
    def by_id(self) -> dict[str, Step]:
        """The steps by their id."""
        return {step.id: step for step in self.steps}

    @cached_property
    def waits_for(self) -> dict[str, frozenset[str]]:
        """For each step the ids of the steps that must have ended before it starts."""
        return hazards(self.steps)

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """For each step the fingerprint of all that determines its products."""
        return fingerprints(self.steps, self.inputs, self.versions)

    def part(self, wanted: Callable[[Step], bool]) -> Plan:
        """Return the plan of the steps that are wanted and wait for such steps alone."""
        kept: dict[str, Step] = {}
        for step in self.steps:
            if wanted(step) and self.waits_for[step.id] <= kept.keys():
                kept[step.id] = step
        others = [step for step in self.steps if step.id not in kept]
        later = self.needed_later | _needed(others, kept.values())
        return replace(self, steps=tuple(kept.values()), needed_later=later)


def _needed(by: Iterable[Step], of: Iterable[Step]) -> frozenset[str]:
    """Return the intermediates of some steps that others read or change, or a part of them."""
    exact = {path for step in by for path in (*step.reads, *step.updates)}
    above = {folder for path in exact for folder in and_above(path)}
    made = (path for step in of for path in step.intermediates)
    return frozenset(p for p in made if p in above or not exact.isdisjoint(and_above(p)))


class _Touches:
    """Which paths were touched: the bookkeeping of `hazards` and `fingerprints`.

    Parameters
    ----------
    steps : tuple of Step
        Whose paths will be asked for.
    """

    def __init__(self, steps: tuple[Step, ...]) -> None:
        self._nested = nested_in(steps)
        self._paths: set[str] = set()
        self._known: dict[str, dict[str, None]] = {}

    def add(self, paths: Iterable[str]) -> None:
        """Remember paths, those that are nested under each of the folders above them."""
        for path in self._nested.intersection(paths).difference(self._paths):
            for above in and_above(path):
                self._known.setdefault(above, {})[path] = None
            self._paths.add(path)

    def overlapping(self, paths: Sequence[str]) -> Sequence[str]:
        """Return the known paths that are one of `paths`, lie below it, or above it.

        Also those of `paths` that overlap no other, known or not.
        """
        if self._nested.isdisjoint(paths):
            return paths
        found: list[str] = []
        for path in paths:
            if path in self._nested:
                found.extend(self._known.get(path, ()))
                found.extend(above for above in and_above(path)[1:] if above in self._paths)
            else:
                found.append(path)
        return found


_last: list[tuple[tuple[Step, ...], frozenset[str]]] = []
"""What was asked for last: graph, fingerprints and chains are of the same steps."""


def nested_in(steps: tuple[Step, ...]) -> frozenset[str]:
    """Return those of the paths that steps touch that are `nested`."""
    if not _last or _last[0][0] is not steps:
        paths = {path for step in steps for path in step.reads + step.writes + step.updates}
        _last[:] = [(steps, nested(paths))]
    return _last[0][1]


def nested(paths: Collection[str]) -> frozenset[str]:
    """Return those of some paths that lie above or below another, and those written oddly.

    Of thousands of steps most touch paths that nothing else is within.
    """
    odd = {
        path
        for path in paths
        if "/." in path or "//" in path or path[:1] in ("", ".") or path[-1] == "/"
    }
    found = odd.union(and_above(path)[0] for path in odd)
    known = found.union(paths)
    above: dict[str, list[str]] = {}
    for path in known:
        folder = path.rpartition("/")[0]
        if folder not in above:
            above[folder] = [one for one in and_above(folder) if one in known] if folder else []
        if above[folder]:
            found.add(path)
            found.update(above[folder])
    return frozenset(found)


@lru_cache(maxsize=65536)
def and_above(path: str) -> tuple[str, ...]:
    """Return a path and the folders above it, without the root, the nearest first."""
    first, *others = path.split("/")
    is_plain = path and first != "." and "" not in others and "." not in others
    found = [path if is_plain else str(PurePosixPath(path))]
    while (end := found[-1].rfind("/")) > 0:
        found.append(found[-1][:end])
    return tuple(found)


def hazards(steps: Sequence[Step]) -> dict[str, frozenset[str]]:
    """Derive which steps must wait for which from what they touch.

    A step waits for the last one that made or changed what it touches and, if it makes or
    changes a path itself, for all that have read it since.

    Parameters
    ----------
    steps : sequence of Step
        In the order that is the truth.

    Returns
    -------
    dict of str to frozenset of str
        For each step's id the ids that it waits for directly.
    """
    steps = tuple(steps)
    touches = _Touches(steps)
    changer: dict[str, str] = {}
    readers: dict[str, list[str]] = {}
    waits: dict[str, frozenset[str]] = {}
    for step in steps:
        changes = step.writes + step.updates
        needed = {changer[p] for p in touches.overlapping(step.reads) if p in changer}
        for path in touches.overlapping(changes):
            if path in changer:
                needed.add(changer[path])
            if path in readers:
                needed.update(readers[path])
        touches.add(step.reads)
        touches.add(changes)
        for path in step.reads:
            readers.setdefault(path, []).append(step.id)
        for path in changes:
            changer[path] = step.id
            readers.pop(path, None)
        needed.discard(step.id)
        waits[step.id] = frozenset(needed)
    return waits


def fingerprints(
    steps: Iterable[Step], inputs: Mapping[str, str], versions: Mapping[str, str]
) -> dict[str, str]:
    """Compute for each step the hash of all that determines its products.

    That is: its action, parameters, fallbacks and checks, the identity of the inputs it reads, the
    fingerprints of the steps that made and changed what it touches, and the versions.
    Titles, resources and the order among independent steps do not count.

    Parameters
    ----------
    steps : iterable of Step
        In the order that is the truth.
    inputs : mapping of str to str
        Identity of each path that steps read and none makes.
    versions : mapping of str to str
        Software versions.

    Returns
    -------
    dict of str to str
        Fingerprints (hexadecimal) by step id.
    """
    steps = tuple(steps)
    touches = _Touches(steps)
    state: dict[str, str] = {}
    result: dict[str, str] = {}
    software = dict(versions)
    for step in steps:
        seen: dict[str, str] = {}
        for path in touches.overlapping(step.reads + step.updates):
            if path in state:
                seen[path] = state[path]
        for path in step.reads + step.updates:
            if path in inputs and path not in seen:
                seen[path] = inputs[path]
        result[step.id] = digest(_determining(step, seen, software))
        touches.add(step.writes + step.updates)
        for path in step.writes + step.updates:
            state[path] = result[step.id]
    return result


def _determining(
    step: Step, seen: Mapping[str, str], software: Mapping[str, str]
) -> dict[str, Json]:
    """Return all that determines a step's products, what it finds included."""
    content: dict[str, Json] = {
        "action": step.action,
        "params": step.params,
        "checks": [{"name": check.name, "params": check.params} for check in step.checks],
        "writes": step.writes,
        "updates": step.updates,
        "state": seen,
        "versions": software,
    }
    if step.fallbacks:
        content["fallbacks"] = step.fallbacks
    return content


_CANONICAL = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), default=list, check_circular=False
)


def digest(content: Json) -> str:
    """Hash JSON data, independent of the order of keys."""
    return hashlib.sha256(json_line(content).encode()).hexdigest()[:32]


def json_line(content: Json) -> str:
    """Write JSON data in one line, the keys in order."""
    return _CANONICAL.encode(content)
