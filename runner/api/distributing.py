"""A run is cut into slices, and all of them are handed to a batch system at once."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from .. import __version__
from ..engine import asking
from ..engine.executors.batch import After, BatchSystem, TooLargeError
from ..engine.executors.slurm import Slurm
from ..engine.holdings import Holdings
from ..engine.journal import Journal, recording
from ..engine.resume import decide_part, survey
from ..engine.slice_files import PATIENCE_S, REPORT, absorb, forget_slices, result_of, write_slice
from ..engine.slices import Slice, Surroundings, divide, grouped
from ..engine.submission import (
    LOGS,
    WHOLE,
    Submission,
    SubmittedJob,
    held_jobs,
    job_states,
    read_submission,
    was_lost,
)
from ..errors import LockedError, Problem
from ..files import now, read_json, remove_tree, write_atomic, write_json
from ..folder import RunFolder
from ..lock import FolderLock
from ..plan import Plan, digest
from ..quantities import parse
from ..recipe.model import Cluster
from ..report.conclude import record_plan
from .beginning import executor_here
from .observing import observe
from .opening import Options, Reduction, held, judged, open_recipe, wipe
from .planning import Planned, prepare
from .steps import Listener
from .submitting import SCRIPTS, elsewhere, job_name, new_mark, own_settings

_MOST_TASKS: Final = 1000
"""Slurm's arrays have numbers below its MaxArraySize, which is 1001 where nobody set it."""

_REPORT_NEED: Final = asking.Need(1, 2_000_000_000, 300.0)


@dataclass(frozen=True)
class Distributed:
    """A run whose slices are with a batch system.

    Attributes
    ----------
    folder : RunFolder
        Of the run.
    submission : Submission or None
        What was handed in, now or before; None where there is nothing to do.
    planned : Planned or None
        The plan, where it was made now.
    fresh : bool
        Whether it was handed in now.
    slices : tuple of Slice
        Those that were handed in now, or would be.
    scripts : mapping of str to str
        The texts of their scripts by file name.
    """

    folder: RunFolder
    submission: Submission | None = None
    planned: Planned | None = None
    fresh: bool = False
    slices: tuple[Slice, ...] = ()
    scripts: Mapping[str, str] = field(default_factory=dict)


def distribute(
    recipe: Path,
    options: Options,
    *,
    dry_run: bool = False,
    listener: Listener | None = None,
    batch: BatchSystem | None = None,
) -> Distributed:
    """Hand what must run of a recipe to Slurm, a job a slice, all at once.

    Where jobs of this recipe wait or run already, nothing is handed in.

    Raises
    ------
    RefusedError
        If the recipe or the data cannot work.
    LockedError
        If another run works in the folder, or jobs of another version of the recipe.
    BatchError
        If the batch system refuses a job; then all others are taken back.
    """
    batch = batch or Slurm()
    own = own_settings()
    reduction = judged(open_recipe(recipe, options))
    for index, dataset in enumerate(reduction.loaded.recipe.dataset):
        if dataset.watch:
            said = "a run that watches for new data is not spread over nodes: leave out --executor"
            raise reduction.refused([Problem(said, ("dataset", index, "watch"))])
    folder = reduction.folder
    with FolderLock(folder.private / "submit.lock"), held(folder), executor_here() as executor:
        live = _live(reduction, batch)
        if live is not None:
            return Distributed(folder, live)
        if options.fresh:
            wipe(folder, but="submit.lock")
        absorb(folder, PATIENCE_S)  # jobs that Slurm has forgotten are ended by it
        observations, _ = observe(reduction, executor, listener)
        planned = _put_back(prepare(reduction, observations), dry_run=dry_run)
        if not planned.decided.to_run and _is_reported(folder):
            return Distributed(folder, None, planned)
        work = _Work(planned, own, batch, recipe)
        if dry_run:
            return Distributed(folder, None, planned, False, work.slices, work.scripts)
        submission = work.hand_in()
        return Distributed(folder, submission, planned, True, work.slices, work.scripts)


def _is_reported(folder: RunFolder) -> bool:
    """Say whether there is a report of what was done last."""
    in_slices = folder.slices.is_dir() and result_of(folder, REPORT) is None
    return folder.report.is_file() and not in_slices


def _live(reduction: Reduction, batch: BatchSystem) -> Submission | None:
    """Return the submission whose jobs wait or run; take back what cannot come to its end.

    That is what was handed in by halves, or was never let go, or was lost in part.

    Raises
    ------
    LockedError
        If they are of another recipe, or one that does the whole run.
    """
    folder = reduction.folder
    submission = read_submission(folder)
    if submission is None:
        return None
    if not submission.complete:
        batch.cancel(batch.marked(submission.mark))
        return None
    states = job_states(submission, batch)
    live = [job for job in submission.jobs if states[job.job].is_live]
    if not live:
        return None
    root = folder.root
    if any(job.name == WHOLE for job in live):
        said = f"job {live[0].job} runs, or will run, all of it in {root}"
    elif digest(read_json(folder.recipe)) != digest(reduction.loaded.document):
        said = f"{len(live)} jobs of another version of this recipe wait or run in {root}"
    elif was_lost(folder, submission, states) or held_jobs(submission, states):
        batch.cancel(batch.marked(submission.mark))
        return None
    else:
        return submission
    raise LockedError(f"{said}. `casarun status {root}` says more, `casarun cancel {root}` ends it")


def _put_back(planned: Planned, *, dry_run: bool) -> Planned:
    """Bring products back to saved states before any slice runs: several may need one."""
    reduction, decided = planned.reduction, planned.decided
    folder = reduction.folder
    while decided.restores and not dry_run:
        holdings = Holdings(planned.plan, folder)
        holdings.look(survey(planned.plan, folder))
        with recording(folder), Journal(folder.journal) as journal:
            for restore in decided.restores:
                told = holdings.go_back(restore)
                if told:
                    journal.append("product-restored", **told)
        decided = decide_part(folder, planned.plan, planned.plan)
    return replace(planned, decided=decided)


class _Work:
    """The slices of a plan, their scripts, and the way they are handed in."""

    def __init__(
        self, planned: Planned, own: Mapping[str, Any], batch: BatchSystem, recipe: Path
    ) -> None:
        self._planned = planned
        self._reduction = planned.reduction
        self._folder = planned.reduction.folder
        self._plan: Plan = planned.plan
        self._cluster: Cluster = planned.reduction.loaded.recipe.cluster
        self._own = own
        self._batch = batch
        self._recipe = recipe
        self._expected = elsewhere(planned)
        times = self._expected.steps
        pack_s = parse(self._cluster.pack, "duration")
        self.slices = divide(self._plan, times, pack_s, self._cluster.max_jobs)
        self._groups = [_Group(part) for group in grouped(self.slices) for part in _arrays(group)]
        self.scripts: dict[str, str] = {}
        self._memory: dict[str, int] = {}
        for group in self._groups:
            self._write(group)
        self._write_report()
        self._jobs: list[SubmittedJob] = []
        self._chain: dict[str, list[str]] = {}
        self._held: list[str] = []

    def _write(self, group: _Group) -> None:
        """Make the script of a group of slices."""
        cluster, kind = self._cluster, group.kind
        wished = getattr(cluster, kind).cores
        wished = cluster.cores if wished == "auto" else wished
        most = self._batch.most_cores(cluster.partition or str(self._own.get("partition", "")))
        needs = [
            asking.need(
                Plan(tuple(self._plan.by_id[step] for step in one.steps)),
                {step: self._expected.steps[step] for step in one.steps},
                self._expected.learnt_memory,
                None if wished == "auto" else int(wished),
                most,
            )
            for one in group.slices
        ]
        most_of = asking.Need(
            max(n.cores for n in needs),
            max(n.memory_bytes for n in needs),
            max(n.seconds for n in needs),
        )
        name = f"{job_name(self._reduction)}-{group.name}"
        ask, _ = asking.ask(kind, name, cluster, self._own, most_of)
        self._memory[group.script] = ask.memory_bytes
        titles = [f"{one.name}: {one.title}" for one in group.slices]
        command = self._command(ask.cores, f"{kind}-" if group.array else group.name)
        self.scripts[group.script] = self._batch.script(
            ask, command, self._folder.root / LOGS / "%x-%j.log", self._about(titles),
            array=bool(group.array),
        )  # fmt: skip

    def _write_report(self) -> None:
        name = f"{job_name(self._reduction)}-{REPORT}"
        ask, _ = asking.ask(REPORT, name, self._cluster, self._own, _REPORT_NEED)
        self.scripts[f"{REPORT}.sh"] = self._batch.script(
            ask,
            self._command(ask.cores, REPORT),
            self._folder.root / LOGS / "%x-%j.log",
            self._about(["report: judges the run, and reports"]),
        )

    def _command(self, cores: int, name: str) -> list[str]:
        return [sys.executable, "-m", "casarun", "slice", "--jobs", str(cores),
                str(self._folder.root), name]  # fmt: skip

    def _about(self, titles: Sequence[str]) -> str:
        more = [f"and {len(titles) - 20} more"] if len(titles) > 20 else []
        return "\n".join([
            f"Part of {self._reduction.loaded.source.name}, in {self._folder.root}.",
            f"Written by casarun {__version__} on {now()[:19]} UTC.", *titles[:20], *more,
        ])  # fmt: skip

    def hand_in(self) -> Submission:
        """Write everything, submit all, let it go; take it back if that does not succeed."""
        folder = self._folder
        with recording(folder):
            self._keep()
        submission = Submission(self._batch.name, new_mark(), digest(dict(self._plan.fingerprints)))
        submission.write(folder)
        try:
            for group in self._groups:
                self._submit(group, submission.mark)
            self._submit_report(submission.mark)
        except BaseException:
            self._batch.cancel(self._batch.marked(submission.mark))
            folder.batch.unlink()
            raise
        submission = submission.done(tuple(self._jobs))
        submission.write(folder)
        if self._held:
            self._batch.release(self._held)
        return submission

    def _keep(self) -> None:
        """Write what slices are to do, and the scripts."""
        folder = self._folder
        record_plan(folder, self._plan, self._reduction.loaded)
        forget_slices(folder)
        around = Surroundings(self._plan)
        for one in self.slices:
            write_slice(folder, one, around.of(one.steps))
        options = self._reduction.options
        write_json(
            folder.slices / REPORT / "slice.json",
            {
                "recipe": str(self._recipe.absolute()),
                "overrides": list(options.overrides),
                "until": options.until,
                "only": options.only,
            },
        )
        (folder.root / LOGS).mkdir(parents=True, exist_ok=True)
        remove_tree(folder.root / SCRIPTS)
        for name, text in self.scripts.items():
            write_atomic(folder.root / SCRIPTS / name, text, durable=False)

    def _submit(self, group: _Group, mark: str) -> None:
        """Submit a group, then for each of its slices a job with more memory, should it fail."""
        path = self._folder.root / SCRIPTS / group.script
        after = self._after(group.slices[0].after)
        array = f"{group.array}%{self._cluster.max_jobs}" if group.array else ""
        hold = after == After()
        job = self._batch.submit(path, after, array=array, hold=hold, mark=mark)
        if hold:
            self._held.append(job)
        for one in group.slices:
            self._note(one, f"{job}_{_number(one)}" if group.array else job, group.script, 1)
        memory = self._memory[group.script]
        for attempt in range(2, self._cluster.escalate + 2):
            memory *= 2
            try:
                for one in group.slices:
                    self._again(one, group, memory, attempt, mark)
            except TooLargeError:  # all nodes have less
                return

    def _again(self, one: Slice, group: _Group, memory: int, attempt: int, mark: str) -> None:
        """Submit a job for a slice with more memory, which runs if those before it fail."""
        task = str(_number(one)) if group.array else ""
        job = self._batch.submit(
            self._folder.root / SCRIPTS / group.script,
            After(failed=tuple(self._chain[one.name])),
            array=task,
            mark=mark,
            memory_bytes=memory,
        )
        self._note(one, f"{job}_{task}" if task else job, group.script, attempt)

    def _note(self, one: Slice, job: str, script: str, attempt: int) -> None:
        self._chain.setdefault(one.name, []).append(job)
        self._jobs.append(SubmittedJob(job, one.name, f"{SCRIPTS}/{script}", attempt))

    def _after(self, names: Sequence[str]) -> After:
        """Return what a slice waits for that others must precede.

        Slurm knows no "one of these and one of those". Where several slices precede, each of which
        may succeed in one job or in a second one, it is waited for the end of the last of these,
        and the slice itself sees whether what it needs is there.
        """
        chains = [tuple(self._chain[name]) for name in names]
        if len(chains) == 1 or all(len(chain) == 1 for chain in chains):
            return After(ok=tuple(chains))
        return After(ended=tuple(chain[-1] for chain in chains))

    def _submit_report(self, mark: str) -> None:
        """Submit the report: it comes whatever became of the slices."""
        lasts = [chain[-1] for chain in self._chain.values()]
        # Of an array the whole is named once.
        ended = tuple(dict.fromkeys(
            last.partition("_")[0] if self._cluster.escalate == 0 else last for last in lasts
        ))  # fmt: skip
        path = self._folder.root / SCRIPTS / f"{REPORT}.sh"
        job = self._batch.submit(path, After(ended=ended), hold=not ended, mark=mark)
        if not ended:
            self._held.append(job)
        self._jobs.append(SubmittedJob(job, REPORT, f"{SCRIPTS}/{REPORT}.sh"))


class _Group:
    """Slices that are alike, as one array of jobs, or one slice."""

    def __init__(self, slices: Sequence[Slice]) -> None:
        self.slices = slices
        self.kind = slices[0].kind
        self.array = _ranges([_number(one) for one in slices]) if len(slices) > 1 else ""
        self.name = f"{slices[0].name}-array" if self.array else slices[0].name
        self.script = f"{self.name}.sh"


def _arrays(group: Sequence[Slice]) -> list[Sequence[Slice]]:
    """Return slices that are alike as one array, and those whose number is too high for it."""
    within = [one for one in group if _number(one) < _MOST_TASKS]
    alone: list[Sequence[Slice]] = [[one] for one in group if _number(one) >= _MOST_TASKS]
    return [within, *alone] if within else alone


def _number(one: Slice) -> int:
    return int(one.name.rpartition("-")[2])


def _ranges(numbers: Sequence[int]) -> str:
    """Write numbers as Slurm takes the tasks of an array: ``0-3,7``."""
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and found[-1][-1] + 1 == number:
            found[-1].append(number)
        else:
            found.append([number])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in found)
