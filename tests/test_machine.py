"""What of the machine a run takes: the smallest of all limits counts, and is named."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from casarun.engine import machine
from casarun.engine.machine import Limit, Machine, look
from casarun.engine.policy import Budget
from casarun.recipe.model import Resources

GB = 1_000_000_000
Usage = namedtuple("Usage", "total used free")


def tree(root: Path, files: Mapping[str, str]) -> Path:
    """Write a ``proc`` and ``sys`` of a machine with eight cores and 16 GB, 12 of them free."""
    processors = "\n".join(f"processor\t: {number}" for number in range(8))
    base = {
        "proc/meminfo": "MemTotal:       16000000 kB\nMemAvailable:   12000000 kB\n",
        "proc/cpuinfo": processors + "\n",
    }
    for name, text in {**base, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def seen(
    root: Path, environ: Mapping[str, str] | None = None, affinity: int = 8, space: int = -1
) -> Machine:
    return look(root, environ or {}, affinity, space)


V2 = {
    "proc/self/cgroup": "0::/user.slice/job\n",
    "proc/self/mountinfo": "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
}
V1 = {
    "proc/self/cgroup": "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n0::/\n",
    "proc/self/mountinfo": (
        "31 23 0:27 /docker/abc /sys/fs/cgroup/memory rw shared:1 - cgroup cgroup rw,memory\n"
        "32 23 0:28 /docker/abc /sys/fs/cgroup/cpu rw shared:2 - cgroup cgroup rw,cpu,cpuacct\n"
    ),
}


def test_without_limits_it_is_the_machine(tmp_path: Path) -> None:
    found = seen(tree(tmp_path, {}))
    assert found == Machine(
        Limit(8, "the machine"),
        Limit(16_384_000_000, "the machine"),
        Limit(12_288_000_000, "the machine"),
    )


def test_affinity(tmp_path: Path) -> None:
    found = seen(tree(tmp_path, {}), affinity=3)
    assert found.cores == Limit(3, "the cores that this process is bound to")


def test_cgroup_v2_of_a_group_above_limits_too(tmp_path: Path) -> None:
    group = "sys/fs/cgroup/user.slice"
    root = tree(
        tmp_path,
        V2
        | {
            f"{group}/job/cpu.max": "max 100000\n",
            f"{group}/cpu.max": "250000 100000\n",
            f"{group}/job/memory.max": "max\n",
            f"{group}/job/memory.high": "6000000000\n",
            f"{group}/job/memory.current": "5000000000\n",
            f"{group}/job/memory.stat": "anon 3\ninactive_file 3000000000\n",
            f"{group}/memory.max": "9000000000\n",
            f"{group}/memory.current": "1000000000\n",
        },
    )
    found = seen(root)
    assert found.cores == Limit(2, "CPU quota of the cgroup /sys/fs/cgroup/user.slice")
    own = "memory limit of the cgroup /sys/fs/cgroup/user.slice/job"
    assert found.memory == Limit(6 * GB, own)
    assert found.free_memory == Limit(4 * GB, own)


def test_half_a_core_is_one(tmp_path: Path) -> None:
    root = tree(tmp_path, V2 | {"sys/fs/cgroup/user.slice/job/cpu.max": "50000 100000\n"})
    assert seen(root).cores.value == 1


def test_cgroup_v1_in_a_container(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        V1
        | {
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "400000\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "3000000000\n",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": "1000000000\n",
            "sys/fs/cgroup/memory/memory.stat": "total_inactive_file 500000000\n",
        },
    )
    found = seen(root)
    assert found.cores == Limit(4, "CPU quota of the cgroup /sys/fs/cgroup/cpu")
    own = "memory limit of the cgroup /sys/fs/cgroup/memory"
    assert found.memory == Limit(3 * GB, own)
    assert found.free_memory == Limit(2_500_000_000, own)


def test_cgroup_v1_writes_numbers_for_no_limit(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        V1
        | {
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        },
    )
    assert seen(root) == seen(tree(tmp_path / "bare", {}))


@pytest.mark.parametrize(
    ("environ", "cores", "memory"),
    [
        ({"SLURM_CPUS_PER_TASK": "4"}, Limit(4, "SLURM_CPUS_PER_TASK"), None),
        ({"SLURM_CPUS_ON_NODE": "6"}, Limit(6, "SLURM_CPUS_ON_NODE"), None),
        (
            {"SLURM_CPUS_PER_TASK": "2", "SLURM_CPUS_ON_NODE": "6"},
            Limit(2, "SLURM_CPUS_PER_TASK"),
            None,
        ),
        ({"SLURM_MEM_PER_NODE": "8000"}, None, Limit(8000 * 2**20, "SLURM_MEM_PER_NODE")),
        ({"SLURM_MEM_PER_NODE": "0"}, None, None),
        (
            {"SLURM_MEM_PER_CPU": "1000", "SLURM_CPUS_PER_TASK": "3"},
            Limit(3, "SLURM_CPUS_PER_TASK"),
            Limit(3000 * 2**20, "SLURM_MEM_PER_CPU"),
        ),
        ({"SLURM_CPUS_PER_TASK": "64"}, None, None),
        ({"SLURM_CPUS_ON_NODE": "many"}, None, None),
    ],
)
def test_slurm(
    tmp_path: Path, environ: dict[str, str], cores: Limit | None, memory: Limit | None
) -> None:
    found = seen(tree(tmp_path, {}), environ)
    bare = seen(tree(tmp_path, {}))
    assert found.cores == (cores or bare.cores)
    assert found.memory == (memory or bare.memory)
    assert found.free_memory.value <= found.memory.value


def test_limit_of_the_address_space(tmp_path: Path) -> None:
    found = seen(tree(tmp_path, {}), space=2 * GB)
    assert found.memory == found.free_memory == Limit(2 * GB, "ulimit -v")


def test_this_machine_is_read() -> None:
    found = look()
    assert found.cores.value >= 1
    assert 0 < found.free_memory.value <= found.memory.value


@pytest.mark.parametrize(
    ("resources", "jobs", "expected"),
    [
        (Resources(memory_per_core="1GB"), None, Budget(8, 8 * GB)),
        (Resources(memory_per_core="0.1GB"), None, Budget(8, 8 * GB)),
        (Resources(memory_per_core="2GB"), None, Budget(4, 8 * GB)),
        (Resources(memory_per_core="50GB"), None, Budget(1, 8 * GB)),
        (Resources(cores=3, memory="1GB"), None, Budget(3, GB)),
        (Resources(cores=3), 6, Budget(6, 8 * GB)),
    ],
)
def test_budget(resources: Resources, jobs: int | None, expected: Budget) -> None:
    here = Machine(
        Limit(8, "the machine"), Limit(16 * GB, "the machine"), Limit(10 * GB, "the machine")
    )
    assert machine.budget(resources, jobs, here) == expected


def test_no_memory_left_is_not_a_budget_without_limit() -> None:
    here = Machine(Limit(2, "x"), Limit(GB, "x"), Limit(0, "x"))
    assert machine.budget(Resources(), None, here).memory_bytes > 0


def test_too_little_disk_is_said_with_the_numbers_and_the_knob(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def usage(path: Any) -> Usage:
        return Usage(100, 0, 4_000_000_000)

    monkeypatch.setattr(machine.shutil, "disk_usage", usage)
    folder = tmp_path / "runs" / "x"
    assert machine.disk_problem(folder, 800_000_000, 5.0) is None
    problem = machine.disk_problem(folder, 1_000_000_000, 5.0)
    assert problem is not None
    assert problem.message == (
        f"4 GB are free in {folder}, a run may need 5 GB (5 times the input of 1 GB): free some, "
        "choose another folder with --output, or lower resources.disk_factor"
    )
    assert problem.key == ("resources", "disk_factor")
