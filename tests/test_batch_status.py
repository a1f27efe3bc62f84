"""What ``casarun status`` says of batch jobs: journal, results and the batch system joined."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from casarun.api import batch_status
from casarun.api.batch_jobs import cancel
from casarun.cli import batch
from casarun.cli.tables import show_status
from casarun.engine.executors.batch import BatchError, JobState
from casarun.engine.journal import Journal
from casarun.engine.slice_files import SliceResult, write_result_of, write_slice
from casarun.engine.slices import Slice, around
from casarun.engine.submission import Submission, SubmittedJob, read_submission
from casarun.errors import DataError
from casarun.folder import RunFolder
from casarun.plan import Plan, Step

PLAN = Plan(tuple(Step(name, "x", name, "x", writes=(f"raw/{name}",)) for name in "abc"))
WAITS = JobState("3", "waiting", "PENDING", "Priority")


class Words:
    """A batch system that says what it is told."""

    name = "slurm"

    def __init__(self, *states: JobState, silent: str = "") -> None:
        self._states = {state.job: state for state in states}
        self._silent = silent

    def states(self, jobs: Sequence[str], mark: str = "") -> Mapping[str, JobState]:
        if self._silent:
            raise BatchError(self._silent)
        return {job: self._states.get(job, JobState(job, "lost")) for job in jobs}


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """Give a folder of a run in two slices, the second with a job for want of memory."""
    folder = RunFolder(tmp_path / "run")
    for name, steps in (("calibrate-0", ("a", "b")), ("image-0", ("c",))):
        one = Slice(name, name.partition("-")[0], f"{name[:-2]} it", steps)
        write_slice(folder, one, around(PLAN, steps))
    jobs = (("1", "calibrate-0", 1), ("2", "image-0", 1), ("3", "image-0", 2), ("4", "report", 1))
    made = tuple(SubmittedJob(job, name, "s.sh", attempt) for job, name, attempt in jobs)
    Submission("slurm", "m", submitted="2026-01-01T00:00:00Z").done(made).write(folder)
    with Journal(RunFolder(folder.root, "calibrate-0").journal) as journal:
        journal.append("step-started", step="a", fingerprint="0", attempt=1)
        journal.append("step-done", step="a", fingerprint="0", writes={})
    return folder


def said(folder: RunFolder, capsys: pytest.CaptureFixture[str], system: Any) -> list[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("casarun.api.batch_jobs.system", lambda engine: system)
        show_status(folder, as_json=False)
    return capsys.readouterr().out.replace(str(folder.root), "RUN").splitlines()


def test_slices_that_run_and_wait(folder: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    runs = JobState("1", "running", "RUNNING", "", "n4", "2026-01-01T01:00:00")
    second = JobState("2", "waiting", "PENDING", "Dependency")
    found = said(folder, capsys, Words(runs, second, WAITS, JobState("4", "waiting", "PENDING")))
    assert found == [
        "RUN: running",
        "handed to slurm at 2026-01-01T00:00:00 UTC",
        "  2 slices and the report, 1 of 3 steps done",
        "  calibrate-0 (calibrate it, 1 of 2 steps): job 1 running on n4, since "
        "2026-01-01T01:00:00",
        "  image-0 (image it, 0 of 1 steps): job 2 pending (Dependency)",
        "  report (report): job 4 pending",
    ]


def test_a_slice_that_failed_for_memory_waits_for_more(
    folder: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    write_result_of(folder, "calibrate-0", SliceResult("done", job="1"))
    write_result_of(folder, "image-0", SliceResult("failed", "c: too large", "out-of-memory", "2"))
    ended = [JobState("1", "ended", "COMPLETED"), JobState("2", "ended", "OUT_OF_MEMORY")]
    found = said(folder, capsys, Words(*ended, WAITS, JobState("4", "waiting", "PENDING")))
    assert found[0] == "RUN: waiting"
    assert found[3:5] == [
        "  calibrate-0 (calibrate it, 1 of 2 steps): done",
        "  image-0 (image it, 0 of 1 steps): job 3 pending (Priority)",
    ]


def test_jobs_that_nobody_knows_are_lost(
    folder: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    write_result_of(folder, "calibrate-0", SliceResult("done", job="1"))
    found = said(folder, capsys, Words(JobState("2", "ended", "NODE_FAIL", "", "n2")))
    assert found[0] == "RUN: lost"
    assert found[4:] == [
        "  image-0 (image it, 0 of 1 steps): job 2 node fail on n2; job 3 lost: the batch system "
        "does not know it any more",
        "  report (report): job 4 lost: the batch system does not know it any more",
        "  the run did not come to its end there; submit it again to go on",
    ]


def test_a_batch_system_that_does_not_answer(
    folder: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    found = said(folder, capsys, Words(silent="squeue failed: no controller"))
    assert found == [
        "RUN: unknown",
        "handed to slurm at 2026-01-01T00:00:00 UTC",
        "  slurm does not say how the jobs are: squeue failed: no controller",
        "  2 slices and the report, 1 of 3 steps done",
        "  calibrate-0 (calibrate it, 1 of 2 steps): not known",
        "  image-0 (image it, 0 of 1 steps): not known",
        "  report (report): not known",
    ]


def test_a_step_that_failed_is_named(folder: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    write_result_of(folder, "calibrate-0", SliceResult("failed", "b: no solutions", "parameter"))
    write_result_of(folder, "image-0", SliceResult("not run", "it needs the slice calibrate-0"))
    write_result_of(folder, "report", SliceResult("done"))
    ended = [JobState(job, "ended", "FAILED") for job in "1234"]
    found = said(folder, capsys, Words(*ended))
    assert found[0] == "RUN: failed"
    assert found[3:] == [
        "  calibrate-0 (calibrate it, 1 of 2 steps): failed: b: no solutions",
        "  image-0 (image it, 0 of 1 steps): not run: it needs the slice calibrate-0",
        "  report (report): done",
    ]


def test_for_programs_all_is_there(folder: RunFolder) -> None:
    status = batch_status(folder, Words(WAITS))  # type: ignore[arg-type]
    assert status is not None
    found = batch.as_json(status)
    assert [one["name"] for one in found["slices"]] == ["calibrate-0", "image-0", "report"]
    assert found["jobs"][2] == {
        "job": "3", "name": "image-0", "attempt": 2, "phase": "waiting", "state": "PENDING",
        "reason": "Priority", "nodes": "", "since": "",
    }  # fmt: skip


class Ends(Words):
    """A batch system that ends jobs, and knows which bear a mark."""

    def __init__(self, *states: JobState, marked: Sequence[str]) -> None:
        super().__init__(*states)
        self._marked = marked
        self.ended: list[str] = []

    def marked(self, mark: str) -> list[str]:
        return list(self._marked)

    def cancel(self, jobs: Sequence[str]) -> None:
        self.ended += jobs


def test_jobs_of_this_mark_are_ended(folder: RunFolder) -> None:
    system: Any = Ends(replace(WAITS, job="1"), replace(WAITS, job="4"), marked=["1", "4", "9"])
    assert cancel(folder.root, system) == ["1", "4"]
    assert system.ended == ["1", "4"]


def test_numbers_of_other_jobs_in_a_folder_from_someone_else(folder: RunFolder) -> None:
    """All four are live and the user's own, but only the first was handed in for this run."""
    system: Any = Ends(*(replace(WAITS, job=job) for job in "1234"), marked=["1"])
    with pytest.raises(DataError) as refused:
        cancel(folder.root, system)
    assert str(refused.value) == (
        f"{folder.root}: jobs 2, 3, 4 of slurm do not bear this run's mark, so they may be "
        "others: end them yourself if they are its own"
    )
    assert system.ended == ["1"]


@pytest.mark.parametrize(
    "wrong",
    [{"mark": ""}, {"mark": 7}, {"engine": ["slurm"]}, {"submitted": 1e308},
     {"jobs": [{"job": "--help", "name": "run", "script": "s"}]},
     {"jobs": [{"job": "1", "name": "../../x", "script": "s"}]},
     {"jobs": [{"job": "1", "name": 1e308, "script": "s"}]},
     {"jobs": [{"job": "1", "name": "run", "script": "../s"}]}],
)  # fmt: skip
def test_a_record_of_jobs_that_was_edited(folder: RunFolder, wrong: dict[str, Any]) -> None:
    folder.batch.write_text(json.dumps(json.loads(folder.batch.read_text()) | wrong))
    with pytest.raises(DataError, match="is damaged: see that no job of this run is in the queue"):
        read_submission(folder)
