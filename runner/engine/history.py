"""What earlier runs on this machine took: time and memory, to correct what steps should take."""

from __future__ import annotations

import json
import os
import socket
import statistics
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ..errors import Cause, DataError
from ..files import read_json
from ..folder import RunFolder
from ..plan import Plan, Step
from .journal import Event, read_events
from .journal_state import StepRecord, read_state

_ENOUGH_S: Final = 5.0
_MOST_RUNS: Final = 20
_MOST_JOURNAL_BYTES: Final = 20_000_000
_ENDS: Final = ("step-done", "step-failed")


@dataclass
class History:
    """What earlier runs on this machine took.

    Attributes
    ----------
    exact : dict of str to list of float
        Seconds by fingerprint.
    ratios : dict of str to list of float
        Seconds over what had been expected, by action.
    taken_s, expected_s : float
        The sums of both.
    runs : dict of str to set of Path
        Run folders that this is from, by fingerprint and by action.
    peaks : dict of str to int
        The most memory in bytes that a step held, or was ended at for want of it, by fingerprint.
    memory_ratios : dict of str to list of float
        Peaks over what had been expected, by action.
    """

    exact: dict[str, list[float]] = field(default_factory=dict)
    ratios: dict[str, list[float]] = field(default_factory=dict)
    taken_s: float = 0.0
    expected_s: float = 0.0
    runs: dict[str, set[Path]] = field(default_factory=dict)
    peaks: dict[str, int] = field(default_factory=dict)
    memory_ratios: dict[str, list[float]] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """Seconds over what had been expected, in all; 1 where that was next to nothing."""
        return self.taken_s / self.expected_s if self.expected_s > _ENOUGH_S else 1.0


def earlier(folder: RunFolder) -> History:
    """Read what this run folder's own runs and its neighbours' took on this host.

    What cannot be read is passed over.
    """
    history = History()
    for other in (folder, *_neighbours(folder)):
        try:
            if other.journal.stat().st_size <= _MOST_JOURNAL_BYTES:
                _learn(history, other)
        except (OSError, DataError, TypeError, KeyError, ValueError, AttributeError):
            continue
    return history


def _neighbours(folder: RunFolder) -> list[RunFolder]:
    """Return the run folders beside one, those that ran last first, no more than a few."""
    found: list[tuple[float, Path]] = []
    try:
        with os.scandir(folder.root.parent) as entries:
            for entry in entries:
                journal = RunFolder(Path(entry.path)).journal
                if entry.path != str(folder.root) and journal.is_file():
                    found.append((journal.stat().st_mtime, Path(entry.path)))
    except OSError:
        return []
    return [RunFolder(path) for _, path in sorted(found, reverse=True)[:_MOST_RUNS]]


def _learn(history: History, folder: RunFolder) -> None:
    """Take from one run folder what its steps took, beside what its plan had expected."""
    expected, memory = {}, {}
    for step in _planned(folder.plan):
        resources = step["resources"]
        expected[step["fingerprint"]] = (step["action"], resources.get("seconds", 0.0))
        memory[step["fingerprint"]] = (step["action"], resources.get("memory_bytes", 0))
    placed = {}
    for event in read_events(folder.journal, but="step-started"):
        if event["event"] == "step-placed":
            placed[event["step"]] = event.get("host")
        elif event["event"] in _ENDS:
            _learn_memory(history, event, memory)
    for step_id, record in read_state(folder.journal).steps.items():
        if placed.get(step_id) == socket.gethostname():
            _learn_step(history, record, expected, folder.root)


def _planned(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the steps of a plan that was written a step a line, or read all of another."""
    if not path.is_file():
        return
    found = False
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.startswith('  {"id":'):
                found = True
                yield json.loads(line.strip().removesuffix(","))
    if not found:
        yield from read_json(path)["steps"]


def _learn_memory(history: History, event: Event, expected: Mapping[str, tuple[str, int]]) -> None:
    """Take from an attempt how much memory it held; that is the same on any host.

    What an attempt held that failed says nothing of what it needs, unless it failed for that.
    """
    peak = int(event.get("peak_memory_bytes", 0))
    out_of_memory = event.get("cause") == Cause.OUT_OF_MEMORY
    if peak <= 0 or (event["event"] == "step-failed" and not out_of_memory):
        return
    fingerprint = str(event["fingerprint"])
    history.peaks[fingerprint] = max(peak, history.peaks.get(fingerprint, 0))
    action, memory_bytes = expected.get(fingerprint, ("", 0))
    if memory_bytes > 0:
        history.memory_ratios.setdefault(action, []).append(peak / memory_bytes)


def _learn_step(
    history: History, record: StepRecord, expected: Mapping[str, tuple[str, float]], root: Path
) -> None:
    if record.done is None or record.done["wall_s"] <= 0:
        return
    wall_s, fingerprint = float(record.done["wall_s"]), record.done["fingerprint"]
    history.exact.setdefault(fingerprint, []).append(wall_s)
    history.runs.setdefault(fingerprint, set()).add(root)
    action, seconds = expected.get(fingerprint, ("", 0.0))
    if seconds > 0:
        history.ratios.setdefault(action, []).append(wall_s / seconds)
        history.taken_s += wall_s
        history.expected_s += seconds
        history.runs.setdefault(action, set()).add(root)


def corrected(plan: Plan, steps: Iterable[Step], history: History) -> tuple[dict[str, float], int]:
    """Return how long each step will take, and from how many earlier runs that is known.

    Parameters
    ----------
    plan : Plan
        The plan, whose steps carry what they are expected to take.
    steps : iterable of Step
        Those that will run.
    history : History
        What earlier runs took.

    Returns
    -------
    times : dict of str to float
        Seconds by step.
    runs : int
        Number of earlier runs; 0 where the times are a guess.

    Notes
    -----
    The very same step tells it itself; else the median ratio of steps of the same action, or that
    of all together, corrects the model. What is known for less than half of the time is a guess.
    """
    by_action = {action: statistics.median(found) for action, found in history.ratios.items()}
    times: dict[str, float] = {}
    runs: set[Path] = set()
    known = 0.0
    for step in steps:
        fingerprint = plan.fingerprints[step.id]
        exact = history.exact.get(fingerprint)
        if exact:
            times[step.id] = statistics.median(exact)
        else:
            ratio = by_action.get(step.action, history.ratio)
            times[step.id] = step.resources.seconds * ratio
        if exact or step.action in by_action:
            known += times[step.id]
            runs |= history.runs[fingerprint if exact else step.action]
    return times, len(runs) if 2 * known >= sum(times.values()) else 0


def learnt_memory(plan: Plan, steps: Iterable[Step], history: History) -> dict[str, int]:
    """Return how much memory to keep for each step that is known to need more than expected.

    Parameters
    ----------
    plan : Plan
        The plan, whose steps carry what they are expected to hold.
    steps : iterable of Step
        Those that will run.
    history : History
        What earlier runs held.

    Returns
    -------
    dict of str to int
        Bytes by step; steps that need no more than expected are left out.

    Notes
    -----
    The very same step tells it itself; else the median ratio of steps of the same action does.
    A step that has no expectation is not in the latter.
    """
    by_action = {
        action: statistics.median(found) for action, found in history.memory_ratios.items()
    }
    found: dict[str, int] = {}
    for step in steps:
        expected = step.resources.memory_bytes
        peak = history.peaks.get(plan.fingerprints[step.id])
        needed = int(expected * by_action.get(step.action, 1.0)) if peak is None else peak
        if needed > expected:
            found[step.id] = needed
    return found
