"""A real Slurm on this machine alone: one controller, several simulated nodes, loopback only.

Debian builds Slurm so that several node daemons run on one host (``slurmd -N``). Nothing is
written outside of the folder that is given, nothing is started by systemd, and what was started is
ended by process id.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import psutil

PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge")
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "munged")

CONFIGURATION = """\
ClusterName=local
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={base}/munge/munge.sock
StateSaveLocation={base}/state
SlurmctldPidFile={base}/slurmctld.pid
SlurmctldLogFile={base}/slurmctld.log
SlurmdPidFile={base}/slurmd.%n.pid
SlurmdLogFile={base}/slurmd.%n.log
SlurmdSpoolDir={base}/spool.%n
{confinement}
MpiDefault=none
SwitchType=switch/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc={base}/jobcomp.log
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=2,sched_interval=2,sched_min_interval=0
SlurmctldTimeout=10
SlurmdTimeout=10
ReturnToService=2
KillWait=5
MinJobAge=300
InactiveLimit=0
JobRequeue=1
MaxArraySize=10001
MaxJobCount=20000
DefMemPerCPU=512
NodeName=DEFAULT CPUs={cpus} CoresPerSocket={cpus} RealMemory={memory_mb} State=UNKNOWN
{nodes}
PartitionName=main Nodes=n[1-{n}] Default=YES MaxTime=INFINITE State=UP
PartitionName=other Nodes=n[1-{n}] MaxTime=60 State=UP
"""
WITH_CGROUPS = """\
ProctrackType=proctrack/cgroup
TaskPlugin=task/cgroup
JobAcctGatherType=jobacct_gather/cgroup
JobAcctGatherFrequency=task=1"""
WITHOUT_CGROUPS = """\
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill,UsePss"""


@cache
def lacking() -> str:
    """Return why there can be no Slurm here; empty where there can."""
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    if all(map(shutil.which, PROGRAMS)):
        return ""
    return f"no Slurm here: apt-get install {' '.join(PACKAGES)}"


def has_cgroups() -> bool:
    """Say whether Slurm can confine the memory of jobs here: root, and cgroups of version 1."""
    memory = Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")
    return os.geteuid() == 0 and memory.is_file() and os.access(memory.parent, os.W_OK)


@dataclass
class LocalSlurm:
    """A Slurm of its own.

    Parameters
    ----------
    base : Path
        Everything of it is there.
    n_nodes, cpus, memory_mb : int
        How many nodes, and what each has.
    cgroups : bool
        Whether jobs are confined to their memory; else what is over is ended by polling.
    """

    base: Path
    n_nodes: int = 4
    cpus: int = 2
    memory_mb: int = 8192
    cgroups: bool = False
    env: Mapping[str, str] = field(default_factory=dict)

    def up(self) -> None:
        """Start it; wait until all nodes are idle.

        Raises
        ------
        RuntimeError
            With the controller's log.
        """
        (self.base / "state").mkdir(parents=True)
        self.env = {**os.environ, "SLURM_CONF": str(self.base / "slurm.conf")}
        self._configure()
        munge = self.base / "munge"
        munge.mkdir(mode=0o755)
        (munge / "key").write_bytes(secrets.token_bytes(1024))
        (munge / "key").chmod(0o600)
        names = {"key-file": "key", "socket": "munge.sock", "pid-file": "pid", "log-file": "log",
                 "seed-file": "seed"}  # fmt: skip
        self._start(
            "munged", "--force", *(f"--{key}={munge / name}" for key, name in names.items())
        )
        self._start("slurmctld")
        for node in self.nodes:
            self.boot_node(node)
        self.await_idle()

    @property
    def nodes(self) -> list[str]:
        """The names of the nodes."""
        return [f"n{number}" for number in range(1, self.n_nodes + 1)]

    def _configure(self) -> None:
        ports = list(_free_ports(self.n_nodes + 1))
        host = socket.gethostname().partition(".")[0]
        nodes = [
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port}"
            for node, port in zip(self.nodes, ports[1:], strict=True)
        ]
        user = psutil.Process().username()
        text = CONFIGURATION.format(
            host=host, port=ports[0], user=user, base=self.base, nodes="\n".join(nodes),
            n=self.n_nodes, cpus=self.cpus, memory_mb=self.memory_mb,
            confinement=WITH_CGROUPS if self.cgroups else WITHOUT_CGROUPS,
        )  # fmt: skip
        (self.base / "slurm.conf").write_text(text)
        (self.base / "cgroup.conf").write_text(
            "CgroupPlugin=cgroup/v1\nConstrainRAMSpace=yes\nConstrainSwapSpace=yes\n"
        )

    def _start(self, *command: str) -> None:
        subprocess.run(command, env=self.env, check=True, capture_output=True, timeout=60)

    def boot_node(self, node: str) -> None:
        """Start the daemon of a node."""
        (self.base / f"spool.{node}").mkdir(exist_ok=True)
        self._start("slurmd", "-N", node)

    def kill_node(self, node: str) -> None:
        """Kill the daemon of a node and all its jobs' processes at once, as a power cut would."""
        daemon = self._pid(f"slurmd.{node}.pid")
        log = str(self.base / f"slurmd.{node}.log")
        victims = [psutil.Process(daemon)]
        for process in psutil.process_iter(["cmdline"]):
            if (process.info["cmdline"] or [""])[0].startswith("slurmstepd:"):
                with contextlib.suppress(psutil.Error, OSError):
                    links = Path(f"/proc/{process.pid}/fd").iterdir()
                    if log in {str(link.readlink()) for link in links}:
                        victims += [process, *process.children(recursive=True)]
        for process in victims:
            with contextlib.suppress(psutil.Error):
                process.kill()
        (self.base / f"slurmd.{node}.pid").unlink()

    def restart_controller(self) -> None:
        """End the controller, which saves what it knows, and start it again."""
        controller = psutil.Process(self._pid("slurmctld.pid"))
        controller.terminate()
        controller.wait(60)
        self._start("slurmctld")

    def crash_controller(self) -> None:
        """Kill the controller, and start one that knows of no job.

        What was handed in or let go in the last seconds may or may not be saved. So that it is
        the same each time, nothing is: the first numbers are given again, too.
        """
        controller = psutil.Process(self._pid("slurmctld.pid"))
        controller.kill()
        controller.wait(60)
        (self.base / "slurmctld.pid").unlink()
        for saved in (self.base / "state").glob("job_state*"):
            saved.unlink()
        self._start("slurmctld")

    def _pid(self, name: str) -> int:
        return int((self.base / name).read_text())

    def await_idle(self, timeout_s: float = 60) -> None:
        """Wait until every node is idle."""
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            done = self.run("sinfo", "-h", "-N", "-t", "idle", "-p", "main", "-o", "%N")
            if len(done.split()) == self.n_nodes:
                return
            time.sleep(0.2)
        log = (self.base / "slurmctld.log").read_text()
        raise RuntimeError(f"Slurm did not come up:\n{log[-3000:]}")

    def run(self, *command: str) -> str:
        """Run one of Slurm's commands; return what it printed, whatever came of it."""
        done = subprocess.run(
            command, env=self.env, capture_output=True, text=True, check=False, timeout=60
        )
        return done.stdout

    def states(self) -> dict[str, str]:
        """Return the state of each job that is in the queue or is remembered."""
        text = self.run("scontrol", "-o", "show", "job")
        return dict(re.findall(r"JobId=(\d+).*?JobState=(\w+)", text))

    def ended(self) -> dict[str, str]:
        """Return the last state of each job that ended, from the log of finished jobs."""
        log = self.base / "jobcomp.log"
        text = log.read_text() if log.is_file() else ""
        return dict(re.findall(r"JobId=(\S+).*?JobState=(\w+)", text))

    def start_now(self, job: str) -> None:
        """Start a job that Slurm holds back for two minutes because it was requeued."""
        self.run("scontrol", "update", f"job={job}", "StartTime=now")

    def down(self) -> None:
        """End all that was started."""
        self.run("scancel", "-u", psutil.Process().username())
        time.sleep(0.5)
        for name in (*(f"slurmd.{node}.pid" for node in self.nodes), "slurmctld.pid", "munge/pid"):
            with contextlib.suppress(OSError, ValueError, psutil.Error):
                process = psutil.Process(self._pid(name))
                process.terminate()
                try:
                    process.wait(10)
                except psutil.TimeoutExpired:
                    process.kill()


def _free_ports(number: int) -> Iterator[int]:
    """Yield ports that nobody listens at."""
    with contextlib.ExitStack() as stack:
        for _ in range(number):
            listener = stack.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            yield listener.getsockname()[1]


@contextlib.contextmanager
def local_slurm(base: Path, **settings: int | bool) -> Iterator[LocalSlurm]:
    """Have a Slurm, and end it."""
    slurm = LocalSlurm(base, **settings)
    try:
        slurm.up()
        yield slurm
    finally:
        slurm.down()
