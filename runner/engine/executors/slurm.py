"""Slurm, by its own commands: sbatch, squeue, scontrol, scancel, and sacct where there is one.

What stands here of Slurm's behaviour was seen on 22.05. `sacct` needs accounting, which not every
site has, so it is asked last and never relied on.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from ...errors import with_advice
from .batch import (
    ENDED,
    LOST,
    MARK,
    NOTHING,
    RUNNING,
    WAITING,
    After,
    Ask,
    BatchError,
    JobState,
    TooLargeError,
)
from .slurm_script import mebibytes, script

_WAITING: Final = frozenset(
    {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT",
     "RESV_DEL_HOLD"}
)  # fmt: skip
_RUNNING: Final = frozenset(
    {"RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING"}
)
_NOTHING: Final = frozenset({"", "None", "N/A", "Unknown", "(null)", "None assigned"})
"""How Slurm writes that there is no reason, node or time."""

_HELD: Final = "JobHeldUser"
"""Why a job waits that its owner, or casarun for him, has not let go."""

_TOO_LARGE: Final = ("Requested node configuration", "Memory specification can not")
"""How Slurm says that no node has as much."""

_DEAF_S: Final = 60.0
"""How long a controller may be away (it is restarted, say) before its silence is an error."""

_A_CALL: Final = 200
"""So many jobs are named in one call."""

_ONE_BY_ONE: Final = 10
"""No more jobs than these are asked for one by one."""

_FIELD: Final = re.compile(r"(?:^|\s)([A-Za-z:/]+)=(\S*)")


class Slurm:
    """Slurm as a `casarun.engine.executors.batch.BatchSystem`.

    Parameters
    ----------
    deaf_s : float
        How long to try again, in s, when the controller does not answer.
    """

    name = "slurm"

    def __init__(self, deaf_s: float = _DEAF_S) -> None:
        self._deaf_s = deaf_s
        self._accounting = True
        self._ended: dict[tuple[str, str], JobState] = {}

    def script(
        self, ask: Ask, command: Sequence[str], log: Path, about: str, *, array: bool = False
    ) -> str:
        """Return the batch script; see `casarun.engine.executors.slurm_script`."""
        return script(ask, command, log, about, array=array)

    def most_cores(self, partition: str) -> int:
        """Return the cores of the largest node of a partition, else of all; 0 if unknown."""
        where = [f"--partition={partition}"] if partition else []
        try:
            words = _call(["sinfo", "-h", "-e", "-o", "%c", *where]).split()
        except BatchError:
            return 0
        return max((int(word.rstrip("+")) for word in words if word[0].isdigit()), default=0)

    def submit(
        self,
        script: Path,
        after: After = NOTHING,
        *,
        array: str = "",
        hold: bool = False,
        mark: str = "",
        memory_bytes: int = 0,
    ) -> str:
        """Hand in a script; return the job's number. See `BatchSystem`.

        Raises
        ------
        BatchError
            With Slurm's own words.
        """
        arguments = ["sbatch", "--parsable"]
        if hold:
            arguments.append("--hold")
        if mark:
            arguments.append(f"--comment={mark}")
        if memory_bytes:
            arguments.append(f"--mem={mebibytes(memory_bytes)}M")
        if array:
            arguments.append(f"--array={array}")
        dependency = dependency_of(after)
        if dependency:
            # Without this a job whose dependency cannot come true waits for ever.
            arguments += [f"--dependency={dependency}", "--kill-on-invalid-dep=yes"]
        said = self._ask([*arguments, str(script)]).strip()
        return said.partition(";")[0]

    def release(self, jobs: Collection[str]) -> None:
        """Let jobs go that were handed in with `hold`."""
        for some in _some(jobs):
            self._ask(["scontrol", "release", ",".join(some)])

    def states(self, jobs: Collection[str], mark: str = "") -> dict[str, JobState]:
        """Return what is known of each job. See `BatchSystem`.

        Raises
        ------
        BatchError
            If Slurm does not answer.
        """
        found = {job: self._ended[mark, job] for job in jobs if (mark, job) in self._ended}
        for some in _some([job for job in jobs if job not in found]):
            found |= self._queued(some, mark)
        missing = [job for job in jobs if job not in found]
        if len(missing) <= _ONE_BY_ONE:
            found |= {job: state for job in missing if (state := self._remembered(job, mark))}
        for some in _some([job for job in missing if job not in found]):
            found |= self._accounted(some)
        self._ended |= {(mark, job): one for job, one in found.items() if one.phase == ENDED}
        return {job: found.get(job) or JobState(job, LOST) for job in jobs}

    def _queued(self, jobs: Sequence[str], mark: str) -> dict[str, JobState]:
        """Return the jobs that wait, run, or ended a short time ago; unknown ones are left out."""
        listed = ["squeue", "-h", "-r", "-t", "all", "-j", ",".join(jobs),
                  "-o", "%i|%T|%r|%N|%S|%U|%k"]  # fmt: skip
        try:
            text = self._ask(listed)
        except BatchError as error:
            if "Invalid job id" not in str(error):
                raise
            return {}
        return _states(text, jobs, mark)

    def _remembered(self, job: str, mark: str) -> JobState | None:
        """Return what the controller remembers of a job that ended a short time ago."""
        try:
            text = self._ask(["scontrol", "-o", "show", "job", job])
        except BatchError as error:
            if "Invalid job id" not in str(error):
                raise
            return None
        words = dict(_FIELD.findall(text))
        user = re.sub(r".*\((\d+)\)$", r"\1", words.get("UserId", ""))
        if "JobState" not in words or _is_strange(user, words.get("Comment", ""), mark):
            return None
        return _state(job, words["JobState"], words.get("Reason", ""), words.get("NodeList", ""),
                      words.get("StartTime", ""))  # fmt: skip

    def _accounted(self, jobs: Sequence[str]) -> dict[str, JobState]:
        """Return what the accounting says of jobs, where there is accounting."""
        if not self._accounting:
            return {}
        listed = ["sacct", "-n", "-P", "-X", "-j", ",".join(jobs),
                  "-o", "JobID,State,Reason,NodeList,Start"]  # fmt: skip
        try:
            return _states(_call(listed), jobs)
        except BatchError:
            self._accounting = False
            return {}

    def marked(self, mark: str) -> list[str]:
        """Return the jobs that wait or run and were handed in with this mark."""
        lines = self._ask(["squeue", "-h", "-o", "%A|%k"]).splitlines()
        found = (line.partition("|") for line in lines)
        return sorted({job for job, _, comment in found if comment == mark})

    def cancel(self, jobs: Collection[str]) -> None:
        """End jobs, or take them out of the queue; those that have ended are passed over."""
        for some in _some(jobs):
            self._ask(["scancel", "-Q", *some])

    def requeue(self, job: str) -> None:
        """Put a running job back into the queue: it starts again with the same number."""
        self._ask(["scontrol", "requeue", job])

    def _ask(self, command: Sequence[str]) -> str:
        """Call one of Slurm's commands; wait for a controller that is away for a moment."""
        until = time.monotonic() + self._deaf_s
        while True:
            try:
                return _call(command)
            except BatchError as error:
                if not _is_deaf(str(error)) or time.monotonic() > until:
                    raise
            time.sleep(2.0)


def dependency_of(after: After) -> str:
    """Write what a job waits for as ``sbatch --dependency`` takes it.

    Slurm joins all conditions by ``,`` (and) or all by ``?`` (or), never both.
    """
    if len(after.ok) == 1 and not after.failed and not after.ended:
        return "?".join(f"afterok:{job}" for job in after.ok[0])
    parts = [f"afterok:{job}" for (job,) in after.ok]
    parts += [f"afternotok:{job}" for job in after.failed]
    parts += [f"afterany:{job}" for job in after.ended]
    return ",".join(parts)


def _state(job: str, state: str, reason: str, nodes: str, since: str) -> JobState:
    word = state.partition(" ")[0].rstrip("+")  # sacct writes "CANCELLED by 1000"
    phase = WAITING if word in _WAITING else RUNNING if word in _RUNNING else ENDED
    reason, nodes, since = ("" if value in _NOTHING else value for value in (reason, nodes, since))
    since = "" if phase == ENDED else since
    return JobState(job, phase, word, reason, nodes, since, reason == _HELD and phase == WAITING)


def _states(text: str, jobs: Collection[str], mark: str = "") -> dict[str, JobState]:
    """Read lines of job, state, reason, nodes, start, user and comment, with ``|`` between."""
    wanted, found = set(jobs), {}
    for line in text.splitlines():
        job, state, reason, nodes, since, user, comment = (*line.split("|"), *[""] * 6)[:7]
        if job in wanted and not _is_strange(user, comment, mark):
            found[job] = _state(job, state, reason, nodes, since)
    return found


def _is_strange(user: str, comment: str, mark: str) -> bool:
    """Say whether a job is not ours, but has the number of one that Slurm has lost.

    A controller that was killed, and has lost jobs, gives their numbers away again. A site may
    change comments; then nothing is known by them.
    """
    others = bool(mark) and comment.startswith(MARK) and comment != mark
    return others or (user.isdigit() and int(user) != os.getuid())


def _some(jobs: Collection[str]) -> Iterator[list[str]]:
    """Yield jobs, as many at a time as go into one call."""
    ordered = list(jobs)
    for first in range(0, len(ordered), _A_CALL):
        yield ordered[first : first + _A_CALL]


def _is_deaf(said: str) -> bool:
    """Say whether an error is that the controller could not be reached."""
    return any(words in said for words in (
        "Unable to contact slurm controller", "Socket timed out", "Connection refused",
        "slurm_load_jobs error: Unable", "Zero Bytes were transmitted", "backup controller",
    ))  # fmt: skip


def _call(command: Sequence[str]) -> str:
    """Run one of Slurm's commands and return what it prints.

    Raises
    ------
    BatchError
        If it is not here, or says no.
    """
    try:
        done = subprocess.run(  # noqa: S603 - a list of arguments, no shell
            command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )
    except FileNotFoundError:
        raise BatchError(
            f"there is no {command[0]} on the PATH: this machine submits nothing to Slurm. Log in "
            "to the cluster, or look with --dry-run at what would be submitted"
        ) from None
    if done.returncode:
        said = " ".join((done.stderr.strip() or done.stdout.strip() or "no reason given").split())
        large = any(words in said for words in _TOO_LARGE)
        kind = TooLargeError if large else BatchError
        raise kind(with_advice(f"{command[0]} failed: {said}", _advice(said)))
    return done.stdout


def _advice(said: str) -> str:
    """Return what to do about one of Slurm's refusals, where that is known."""
    for words, way in (
        ("invalid partition", "Set cluster.partition; `sinfo` lists those there are."),
        ("Invalid account", "Set cluster.account; `sacctmgr show associations` lists yours."),
        ("Invalid qos", "Set cluster.qos; `sacctmgr show qos` lists those there are."),
        ("time limit", "Set cluster.time to what the partition allows; `sinfo` shows it."),
        ("Requested node configuration", "No node has as much: lower cluster.memory or "
         "cluster.cores, or set cluster.partition."),
        ("Memory specification can not", "Lower cluster.memory or set cluster.partition."),
        ("Invalid feature", "Set cluster.constraint to features that nodes have; "
         "`sinfo -o %f` lists them."),
        ("Could not establish a configuration source", "Slurm's commands are here, but no "
         "slurm.conf that names a cluster: submit from the cluster's own login machine."),
    ):  # fmt: skip
        if words.casefold() in said.casefold():
            return way
    return ""


def job_here(environ: Mapping[str, str]) -> str:
    """Return the number of the Slurm job that this process runs in; of an array, ``12_3``."""
    if environ.get("SLURM_ARRAY_JOB_ID") and environ.get("SLURM_ARRAY_TASK_ID"):
        return f"{environ['SLURM_ARRAY_JOB_ID']}_{environ['SLURM_ARRAY_TASK_ID']}"
    return environ.get("SLURM_JOB_ID", "")
