"""What a run will take of this machine, and whether the machine has it: time, disk, memory.

The plan's steps carry what they are expected to cost (`casarun.stages.costs`). Here that is held
against disk, memory and filesystem, and the times are corrected by what earlier runs took on this
machine. Nothing outside of the run folder is written, and nothing stays behind in it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ..errors import KeyPath, Problem
from ..files import nearest_existing, tree_size
from ..folder import RunFolder
from ..plan import Plan, Step
from ..quantities import human_bytes, human_seconds
from .history import corrected, earlier, learnt_memory
from .intermediates import peak_bytes
from .machine import Machine, look
from .policy import Budget

_SURE: Final = 1.5
"""Refuse only what is over a limit by this factor: the model is good to about a quarter."""

_TIGHT: Final = 0.8
_SPARED: Final = 0.9
"""Keeping products only is worth a word where it takes at most this part of the disk."""

_FILES_A_PRODUCT: Final = 100
_RUN_S: Final = 3.0
_STEP_S: Final = 0.15
_OUTPUT: Final = ("project", "output")


@dataclass(frozen=True)
class Forecast:
    """What a run is expected to take, and what speaks against it.

    Attributes
    ----------
    seconds : float
        From beginning to end.
    cores : int
        How many steps run at once, at the most.
    disk_bytes, free_disk_bytes : int
        What the steps add to the run folder, and what is free there.
    memory_bytes : int
        What the largest step holds.
    runs : int
        How many earlier runs on this machine the time follows from; 0 where it is a guess.
    problems, warnings : tuple of Problem
        What cannot work, and what is tight.
    steps : mapping of str to float
        The expected seconds of each step that runs.
    learnt_memory : mapping of str to int
        Bytes of the steps that needed more memory in earlier runs than they are expected to.
    """

    seconds: float = 0.0
    cores: int = 1
    disk_bytes: int = 0
    free_disk_bytes: int = 0
    memory_bytes: int = 0
    runs: int = 0
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    steps: Mapping[str, float] = field(default_factory=dict)
    learnt_memory: Mapping[str, int] = field(default_factory=dict)

    def summary(self) -> str:
        """Say it in one line."""
        if not self.steps:
            return "nothing to run"
        cores = f"{self.cores} core{'s' if self.cores > 1 else ''}"
        known = (
            f"as in {self.runs} earlier run{'s' if self.runs > 1 else ''} here"
            if self.runs
            else "a guess: no earlier run here to go by"
        )
        return (
            f"about {about(self.seconds)} on {cores}, {human_bytes(self.disk_bytes)} of disk "
            f"({human_bytes(self.free_disk_bytes)} free), {human_bytes(self.memory_bytes)} of "
            f"memory ({known})"
        )


def forecast(
    plan: Plan,
    to_run: Collection[str],
    folder: RunFolder,
    budget: Budget,
    input_bytes: int,
    disk_factor: float,
    images: Sequence[str] = (),
    here: Machine | None = None,
    *,
    own_memory: bool = False,
) -> Forecast:
    """Hold what a run will need against what there is.

    Parameters
    ----------
    plan : Plan
        The plan, whose steps carry their costs.
    to_run : collection of str
        The ids of the steps that will run.
    folder : RunFolder
        Where; it need not be there yet.
    budget : Budget
        What the steps may use together.
    input_bytes : int
        Size of all inputs.
    disk_factor : float
        ``resources.disk_factor``: how many times the input a run may need; with 0, too little
        disk is warned about and does not refuse.
    images : sequence of str
        Names of the recipe's images in their order, so that a problem points at its table.
    here : Machine, optional
        What this process may use; by default it is looked up.
    own_memory : bool
        Whether the budget's memory is the recipe's own number, ``resources.memory``.

    Returns
    -------
    Forecast
        With problems, each with its key, where the machine cannot do it.
    """
    here = here or look()
    wanted = set(to_run)
    steps = [step for step in plan.steps if step.id in wanted]
    history = earlier(folder)
    times, runs = corrected(plan, steps, history)
    disk = peak_bytes(plan, steps)
    free = shutil.disk_usage(nearest_existing(folder.root)).free
    found = _Found()
    if steps:
        _look_at_folder(found, folder.root)
        least = peak_bytes(plan, steps, "products")
        _look_at_disk(
            found, folder.root, free, (disk, least), disk_factor * input_bytes, input_bytes
        )
        _look_at_files(found, folder.root, steps)
        _look_at_memory(found, steps, here, images)
        if own_memory:
            _look_at_budget(found, steps, budget.memory_bytes)
        _look_at_time(found, steps, times, budget, here)
    return Forecast(
        elapsed(plan, times, budget.cores),
        at_once(plan, times, budget.cores),
        disk,
        free,
        max((step.resources.memory_bytes for step in steps), default=0),
        runs,
        tuple(found.problems),
        tuple(found.warnings),
        times,
        learnt_memory(plan, steps, history),
    )


@dataclass
class _Found:
    """What speaks against a run."""

    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    def refuse(self, message: str, key: KeyPath) -> None:
        self.problems.append(Problem(message, key))

    def warn(self, message: str, key: KeyPath) -> None:
        self.warnings.append(Problem(message, key, "warning"))


def _look_at_folder(found: _Found, root: Path) -> None:
    """See whether the run folder can be written, and has the locks and links that are needed."""
    place = nearest_existing(root)
    if not place.is_dir():
        found.refuse(f"{place} is not a folder; choose another with --output", _OUTPUT)
    elif not os.access(place, os.W_OK | os.X_OK):
        found.refuse(
            f"cannot write in {place}, where the run folder {root} would be: its permissions or a "
            "read-only filesystem; choose another with --output",
            _OUTPUT,
        )
    elif place == root:
        for lack in lacks(root):
            found.refuse(
                f"the filesystem of {root} {lack}; choose a folder on a local disk with --output",
                _OUTPUT,
            )


def lacks(folder: Path) -> list[str]:
    """Say what the filesystem of a folder lacks that CASA or casarun needs.

    Probes in a hidden folder of its own, which it takes away again.

    Parameters
    ----------
    folder : Path
        A folder that can be written.

    Returns
    -------
    list of str
        Predicates: ``has no file locks, which CASA's tables need``.
    """
    found = []
    try:
        with tempfile.TemporaryDirectory(prefix=".casarun-probe-", dir=folder) as scratch:
            file = Path(scratch) / "file"
            with file.open("wb") as stream:
                try:
                    fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError as error:
                    if error.errno in {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}:
                        found.append("has no file locks, which CASA's tables need")
            try:
                (Path(scratch) / "link").symlink_to(file)
            except OSError:
                found.append("has no symbolic links, by which steps get at their data")
    except OSError as error:
        found.append(f"cannot be written ({error.strerror})")
    return found


def _look_at_disk(
    found: _Found,
    root: Path,
    free: int,
    model: tuple[int, int],
    wanted: float,
    input_bytes: int,
) -> None:
    """Compare the free disk with the recipe's own factor, and with the model.

    The `model` is what the steps write, and what they would if intermediates did not stay.
    """
    disk, least = model
    # To add up a folder of many datasets takes seconds.
    held = tree_size(root) if wanted > free and root.is_dir() else 0
    needed = max(0.0, wanted - held)
    key = ("resources", "disk_factor")
    steps = f"its steps are expected to write {human_bytes(disk)}"
    if least < _SPARED * disk:
        steps += f' ({human_bytes(least)} with resources.keep = "products")'
    there = f"{human_bytes(free)} of disk are free in {root}"
    if needed > free:
        times = wanted / max(1, input_bytes)
        had = f", of which {human_bytes(held)} are there" if held else ""
        found.refuse(
            f"{there}, a run may need {human_bytes(wanted)} ({times:g} times the input of "
            f"{human_bytes(input_bytes)}{had}; {steps}): free some, choose another folder with "
            "--output, or lower resources.disk_factor",
            key,
        )
    elif disk > _SURE * free and wanted > 0:
        found.refuse(
            f"{there}, but {steps}: free some, choose another folder with --output, make fewer or "
            "smaller images (imsize, nchan), or set resources.disk_factor = 0 to try all the same",
            key,
        )
    elif disk > _TIGHT * free:
        found.warn(
            f"{there}, and {steps}: it may run full; free some, or choose another folder with "
            "--output",
            key,
        )


def _look_at_files(found: _Found, root: Path, steps: Iterable[Step]) -> None:
    """See whether the filesystem can take as many files."""
    status = os.statvfs(nearest_existing(root))
    needed = _FILES_A_PRODUCT * sum(len(step.writes) for step in steps)
    if status.f_files and status.f_favail < needed:
        found.warn(
            f"the filesystem of {root} can take {status.f_favail} more files (inodes), a run may "
            f"make {needed}: remove some, or choose another folder with --output",
            _OUTPUT,
        )


def _look_at_memory(
    found: _Found, steps: Sequence[Step], here: Machine, images: Sequence[str]
) -> None:
    """Compare the largest step with all the memory, and with what is free."""
    for step in _largest_first(steps):
        needed = step.resources.memory_bytes
        key = _memory_key(step, images)
        if needed > _SURE * here.memory.value:
            found.refuse(
                f'"{step.title}" is expected to need {human_bytes(needed)} of memory, and this '
                f"process can have {human_bytes(here.memory.value)} ({here.memory.source}): "
                f"{_memory_knob(step)}",
                key,
            )
        elif needed > here.free_memory.value:
            found.warn(
                f'"{step.title}" is expected to need {human_bytes(needed)} of memory, and '
                f"{human_bytes(here.free_memory.value)} are free ({here.free_memory.source}): it "
                f"may be ended or very slow; {_memory_knob(step)}",
                key,
            )


def _look_at_budget(found: _Found, steps: Iterable[Step], budget_bytes: int) -> None:
    """Compare the largest step with the recipe's own limit, beyond which steps are ended."""
    largest = max(steps, key=lambda step: step.resources.memory_bytes)
    smaller = _smaller(largest)
    needed = largest.resources.memory_bytes
    if not budget_bytes or needed <= budget_bytes:
        return
    too_little = needed > _SURE * budget_bytes
    say = found.refuse if too_little else found.warn
    say(
        f'"{largest.title}" is expected to need {human_bytes(needed)} of memory, and all steps '
        f"together may use resources.memory = {human_bytes(budget_bytes)}: it "
        f"{'would' if too_little else 'may'} be ended for that; raise resources.memory"
        + (f", or {smaller}" if smaller else ""),
        ("resources", "memory"),
    )


def _largest_first(steps: Sequence[Step]) -> list[Step]:
    """Return for each image, and for all other steps together, the step with most memory."""
    largest: dict[str, Step] = {}
    for step in sorted(steps, key=lambda step: -step.resources.memory_bytes):
        largest.setdefault(step.image, step)
    return list(largest.values())


def _memory_key(step: Step, images: Sequence[str]) -> KeyPath:
    if step.image in images:
        return ("image", images.index(step.image), "imsize")
    return ("resources", "memory")


def _memory_knob(step: Step) -> str:
    """Say what makes a step smaller, or its memory larger."""
    smaller = _smaller(step)
    return f"{smaller}{', or ' if smaller else ''}run it where there is more"


def _smaller(step: Step) -> str:
    """Say what of the recipe makes a step smaller; empty where nothing does."""
    params = step.params.get("tclean", step.params)
    if "imsize" not in params:
        return ""
    knobs = ["a smaller imsize or a larger cell"]
    if params.get("deconvolver") == "mtmfs":
        knobs.append("fewer nterms")
    elif params.get("deconvolver") in ("multiscale", "asp"):
        knobs.append("fewer scales")
    return f"choose {' or '.join(knobs)}"


def _look_at_time(
    found: _Found,
    steps: Iterable[Step],
    times: Mapping[str, float],
    budget: Budget,
    here: Machine,
) -> None:
    """Compare the longest step with its time limit, and steps at once with cores."""
    longest = max(steps, key=lambda step: times[step.id] / step.resources.time_limit_s)
    limit = longest.resources.time_limit_s
    if times[longest.id] > limit:
        found.warn(
            f'"{longest.title}" is expected to take {about(times[longest.id])} and will be ended '
            f"after {human_seconds(limit)}: raise resources.time_per_step",
            ("resources", "time_per_step"),
        )
    if budget.cores > here.cores.value:
        found.warn(
            f"{budget.cores} steps may run at once, and this process may use {here.cores.value} "
            f"core{'s' if here.cores.value > 1 else ''} ({here.cores.source}): more would only "
            "wait for each other",
            ("resources", "cores"),
        )


def elapsed(plan: Plan, times: Mapping[str, float], cores: int) -> float:
    """Return how long a run takes: its longest chain, or all of its work shared by the cores."""
    if not times:
        return 0.0
    ends: dict[str, float] = {}
    for step in plan.steps:
        begin = max((ends[other] for other in plan.waits_for[step.id] if other in ends), default=0)
        own = times[step.id] + _STEP_S if step.id in times else 0.0
        ends[step.id] = begin + own
    work = sum(times.values()) + _STEP_S * len(times)
    return _RUN_S + max(max(ends.values()), work / max(1, cores))


def at_once(plan: Plan, times: Mapping[str, float], cores: int) -> int:
    """Return how many steps run at once at the most: no more than stand at one depth."""
    depth: dict[str, int] = {}
    width: dict[int, int] = {}
    for step in plan.steps:
        if step.id in times:
            above = (depth[other] for other in plan.waits_for[step.id] if other in depth)
            depth[step.id] = 1 + max(above, default=0)
            width[depth[step.id]] = width.get(depth[step.id], 0) + 1
    return max(1, min(cores, max(width.values(), default=1)))


def about(seconds: float) -> str:
    """Write a duration that is not known well: ``40 s``, ``3 min``, ``2.5 h``, ``3 days``."""
    if seconds < 10:
        return "10 s"
    if seconds < 90:
        return f"{5 * round(seconds / 5)} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    if seconds < 172800:
        hours = seconds / 3600
        return f"{hours:.1f} h" if hours < 10 else f"{round(hours)} h"
    return f"{round(seconds / 86400)} days"
