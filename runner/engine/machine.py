"""What of this machine a run may use: cores, memory, disk.

A machine has more than a process may use of it: a container or batch job has a cgroup with
limits (kernel documentation, Admin Guide, "Control Group v2" and "cgroup-v1"), Slurm says
what it allotted in environment variables (sbatch manual, "Output environment variables"),
and a process may be bound to some cores. The smallest counts.
"""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

import psutil

from ..errors import Problem
from ..files import nearest_existing
from ..quantities import human_bytes, parse
from ..recipe.model import Resources
from .policy import Budget

_MEMORY_SHARE: Final = 0.8
_MEGABYTE: Final = 2**20
_NO_LIMIT: Final = 2**60
"""A limit from here on (cgroup v1 writes 2^63 less a page) is none."""


@dataclass(frozen=True)
class Limit:
    """A limit, and who sets it: ``the machine``, ``SLURM_CPUS_PER_TASK``."""

    value: int
    source: str


@dataclass(frozen=True)
class Machine:
    """What a process may use.

    Attributes
    ----------
    cores : Limit
        How many cores; at least one.
    memory : Limit
        The most memory that it can ever have, in bytes.
    free_memory : Limit
        How much of that is free now, in bytes.
    """

    cores: Limit
    memory: Limit
    free_memory: Limit


def look(
    root: Path = Path("/"),
    environ: Mapping[str, str] | None = None,
    affinity: int | None = None,
    address_space: int | None = None,
) -> Machine:
    """Find out what this process may use.

    Parameters
    ----------
    root : Path
        Where ``proc`` and ``sys`` are.
    environ : mapping of str to str, optional
        The environment; by default this process's own.
    affinity : int, optional
        To how many cores the process is bound; by default the system is asked.
    address_space : int, optional
        Limit of the address space (``ulimit -v``) in bytes, negative for none; by default the
        system is asked.
    """
    environ = os.environ if environ is None else environ
    total, available = _memory_of_machine(root)
    cores = [Limit(len(os.sched_getaffinity(0)) if affinity is None else affinity,
                   "the cores that this process is bound to"
                   if _bound(root, affinity) else "the machine")]  # fmt: skip
    most = [Limit(total, "the machine")]
    free = [Limit(available, "the machine")]
    if address_space is None:
        address_space = resource.getrlimit(resource.RLIMIT_AS)[0]
    if address_space >= 0:
        most.append(Limit(address_space, "ulimit -v"))
    cores += _quotas(root)
    for limit, used in _cgroup_memory(root):
        most.append(limit)
        free.append(Limit(max(0, limit.value - used), limit.source))
    cores += _slurm_cores(environ)
    most += _slurm_memory(environ)
    memory = _smallest(most)
    return Machine(_smallest(cores), memory, _smallest([*free, memory]))


def _smallest(limits: list[Limit]) -> Limit:
    """Return the smallest limit, the first of equal ones."""
    found = min(limits, key=lambda limit: limit.value)
    return found if found.value > 0 else Limit(max(found.value, 0), found.source)


def _memory_of_machine(root: Path) -> tuple[int, int]:
    """Return all and the available memory of the machine in bytes."""
    found = {}
    for line in _text(root / "proc/meminfo").splitlines():
        name, _, value = line.partition(":")
        found[name] = value.split()
    try:
        return int(found["MemTotal"][0]) * 1024, int(found["MemAvailable"][0]) * 1024
    except (KeyError, IndexError, ValueError):
        memory = psutil.virtual_memory()
        return int(memory.total), int(memory.available)


def _bound(root: Path, affinity: int | None) -> bool:
    """Tell whether the process is bound to fewer cores than the machine has."""
    own = len(os.sched_getaffinity(0)) if affinity is None else affinity
    online = sum(line.startswith("processor") for line in _text(root / "proc/cpuinfo").splitlines())
    return own < online


def _cgroup_folders(root: Path, controller: str) -> Iterator[tuple[Path, bool]]:
    """Yield the cgroup folders of this process, its own first, and whether they are of v2.

    Which hierarchy is mounted where stands in ``/proc/self/mountinfo`` (proc(5)); in a
    container the group's path may be the host's, and the mounted folder is the group itself.
    """
    groups = dict(_groups(root))
    for line in _text(root / "proc/self/mountinfo").splitlines():
        left, _, right = line.partition(" - ")
        places, kinds = left.split(), right.split()
        if len(places) < 5 or len(kinds) < 3 or kinds[0] not in ("cgroup", "cgroup2"):
            continue
        v2 = kinds[0] == "cgroup2"
        if not v2 and controller not in kinds[2].split(","):
            continue
        group = groups.get("" if v2 else controller)
        if group is None:
            continue
        yield from ((folder, v2) for folder in _and_above(root, places[4], places[3], group))


def _groups(root: Path) -> Iterator[tuple[str, str]]:
    """Yield controllers and the process's group of each; "" for cgroup v2."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        parts = line.split(":", 2)
        if len(parts) == 3:
            for controller in parts[1].split(","):
                yield controller, parts[2]


def _and_above(root: Path, mounted: str, mount_root: str, group: str) -> Iterator[Path]:
    """Yield the folder of a group and those above it, up to where the hierarchy is mounted."""
    top = root / mounted.lstrip("/")
    try:
        below = PurePosixPath(group).relative_to(mount_root)
    except ValueError:
        below = PurePosixPath()
    folder = top / below
    if ".." in below.parts or not folder.is_dir():
        folder = top
    while True:
        yield folder
        if folder == top:
            return
        folder = folder.parent


def _quotas(root: Path) -> Iterator[Limit]:
    """Yield the CPU quotas of the process's cgroups as whole cores, at least one."""
    for folder, v2 in _cgroup_folders(root, "cpu"):
        if v2:
            words = _text(folder / "cpu.max").split()
        else:
            words = [
                _text(folder / name).strip() for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")
            ]
        quota, period = (_number(word) for word in (*words, "", "")[:2])
        if quota is not None and period and quota > 0:
            yield Limit(max(1, quota // period), f"CPU quota of the cgroup {_group(root, folder)}")


def _cgroup_memory(root: Path) -> Iterator[tuple[Limit, int]]:
    """Yield the memory limits of the process's cgroups, and how much of each is in use.

    What is cached from files and not in use counts as free, as in ``MemAvailable``.
    """
    for folder, v2 in _cgroup_folders(root, "memory"):
        names = ("memory.max", "memory.high") if v2 else ("memory.limit_in_bytes",)
        limits = [_number(_text(folder / name).strip()) for name in names]
        known = [limit for limit in limits if limit is not None and 0 < limit < _NO_LIMIT]
        if not known:
            continue
        used = _number(_text(folder / ("memory.current" if v2 else "memory.usage_in_bytes")))
        key = "inactive_file" if v2 else "total_inactive_file"
        words = _text(folder / "memory.stat").split()
        stat = dict(zip(words[::2], words[1::2], strict=False))
        in_use = max(0, (used or 0) - (_number(stat.get(key, "")) or 0))
        yield Limit(min(known), f"memory limit of the cgroup {_group(root, folder)}"), in_use


def oom_kills(root: Path = Path("/")) -> int:
    """Return how often the kernel has killed a process for want of memory.

    Counted where this process runs: in its cgroup, which counts all kills of its own
    processes, else on the whole machine.

    Parameters
    ----------
    root : Path
        Where ``proc`` and ``sys`` are.
    """
    of_groups = [
        folder / ("memory.events" if v2 else "memory.oom_control")
        for folder, v2 in _cgroup_folders(root, "memory")
    ]
    for path in (*of_groups[:1], root / "proc/vmstat"):
        for line in _text(path).splitlines():
            name, _, number = line.partition(" ")
            if name == "oom_kill":
                return _number(number) or 0
    return 0


def _group(root: Path, folder: Path) -> str:
    return f"/{folder.relative_to(root)}"


def _slurm_cores(environ: Mapping[str, str]) -> Iterator[Limit]:
    """Yield what Slurm allots to this task, or else to its job on this node."""
    for name in ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"):
        number = _number(environ.get(name, ""))
        if number:
            yield Limit(number, name)
            return


def _slurm_memory(environ: Mapping[str, str]) -> Iterator[Limit]:
    """Yield the job's memory on this node; Slurm writes MB, and 0 for all there is."""
    per_node = _number(environ.get("SLURM_MEM_PER_NODE", ""))
    if per_node:
        yield Limit(per_node * _MEGABYTE, "SLURM_MEM_PER_NODE")
    per_core = _number(environ.get("SLURM_MEM_PER_CPU", ""))
    on_node = _number(environ.get("SLURM_CPUS_ON_NODE", "")) or next(
        (limit.value for limit in _slurm_cores(environ)), None
    )
    if per_core and on_node:
        yield Limit(per_core * on_node * _MEGABYTE, "SLURM_MEM_PER_CPU")


def _number(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def _text(path: Path) -> str:
    """Return a file's content; nothing where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def allowed_cores() -> int:
    """Return the number of cores that this process may use."""
    return look().cores.value


def budget(resources: Resources, jobs: int | None = None, here: Machine | None = None) -> Budget:
    """Return what the steps of a run may use together.

    Parameters
    ----------
    resources : Resources
        The recipe's wishes. ``auto`` cores are all that are allowed, no more than have
        `memory_per_core` each, and at least one: the runner itself hardly computes. ``auto``
        memory is four fifths of what is free.
    jobs : int, optional
        How many steps may run at once, over the recipe.
    here : Machine, optional
        What this process may use; by default it is looked up.
    """
    here = here or look()
    if resources.memory == "auto":
        memory = max(1, int(_MEMORY_SHARE * here.free_memory.value))  # 0 would mean no limit
    else:
        memory = int(parse(resources.memory, "size"))
    fed = int(memory // parse(resources.memory_per_core, "size"))
    auto = max(1, min(here.cores.value, fed))
    cores = jobs or (auto if resources.cores == "auto" else int(resources.cores))
    return Budget(cores, memory)


def disk_problem(folder: Path, input_bytes: int, factor: float) -> Problem | None:
    """Say that there is too little free disk for a run, or return None.

    Parameters
    ----------
    folder : Path
        The run folder, which need not be there yet.
    input_bytes : int
        Size of all inputs.
    factor : float
        ``resources.disk_factor``: how many times the input a run may need.
    """
    free = shutil.disk_usage(nearest_existing(folder)).free
    needed = factor * input_bytes
    if free >= needed:
        return None
    return Problem(
        f"{human_bytes(free)} are free in {folder}, a run may need {human_bytes(needed)} "
        f"({factor:g} times the input of {human_bytes(input_bytes)}): free some, choose another "
        "folder with --output, or lower resources.disk_factor",
        ("resources", "disk_factor"),
    )
