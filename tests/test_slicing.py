"""A run in slices from end to end, on a batch system that only keeps lists, without CASA."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from casarun import api
from casarun.api import following
from casarun.api.distributing import distribute
from casarun.api.slice_report import outcome_from, report_slices
from casarun.api.slicing import do_slice
from casarun.engine.executors.batch import NOTHING, After, BatchError, JobState, TooLargeError
from casarun.engine.executors.slurm import Slurm
from casarun.engine.signals import StopFlag
from casarun.engine.slice_files import SliceResult, result_of, write_result_of
from casarun.engine.submission import (
    WHOLE,
    Submission,
    SubmittedJob,
    read_submission,
    was_lost,
)
from casarun.errors import ExitCode, LockedError, RefusedError
from casarun.folder import RunFolder
from support.many_datasets import NoCasa, without_casa, write_recipe

GB = 10**9


class Lists:
    """A batch system that keeps what it is given."""

    name = "slurm"

    def __init__(self, largest_bytes: int = 10**15, refused: str = "") -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.released: list[str] = []
        self.cancelled: list[str] = []
        self.live: set[str] = set()
        self.said: dict[str, JobState] = {}
        self._largest_bytes = largest_bytes
        self._refused = refused

    def script(self, *arguments: Any, **more: Any) -> str:
        return Slurm().script(*arguments, **more)

    def most_cores(self, partition: str) -> int:
        return 4

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
        if self._refused and script.name == self._refused:
            raise BatchError("no")
        if memory_bytes > self._largest_bytes:
            raise TooLargeError("too large")
        job = str(100 + len(self.jobs))
        self.jobs[job] = {"script": script.name, "after": after, "array": array, "hold": hold,
                          "mark": mark, "memory": memory_bytes}  # fmt: skip
        self.live.add(job)
        return job

    def release(self, jobs: Collection[str]) -> None:
        self.released += jobs

    def states(self, jobs: Collection[str], mark: str = "") -> Mapping[str, JobState]:
        live = {job: job.partition("_")[0] in self.live for job in jobs}
        known = {j: JobState(j, "waiting" if live[j] else "ended", "PENDING") for j in jobs}
        return {job: self.said.get(job, known[job]) for job in jobs}

    def marked(self, mark: str) -> list[str]:
        return [job for job, said in self.jobs.items() if said["mark"] == mark]

    def cancel(self, jobs: Collection[str]) -> None:
        self.cancelled += jobs

    def requeue(self, job: str) -> None:
        raise BatchError("not here")


@pytest.fixture
def recipe(tmp_path: Path) -> Iterator[Path]:
    """Give the recipe of three datasets; steps take no time and need no CASA."""

    @contextlib.contextmanager
    def executor_here() -> Iterator[NoCasa]:
        yield NoCasa()

    places = [f"casarun.api.{name}.executor_here" for name in
              ("distributing", "slicing", "slice_report")]  # fmt: skip
    path = write_recipe(tmp_path, 3)
    path.write_text(path.read_text() + '[cluster]\npack = "0s"\n')
    with without_casa(), contextlib.ExitStack() as stack:
        for place in places:
            stack.enter_context(mock.patch(place, executor_here))
        yield path


def options(recipe: Path, *overrides: str) -> api.Options:
    return api.Options(output=recipe.parent / "run", overrides=overrides)


def names(folder: RunFolder) -> list[str]:
    submission = read_submission(folder)
    assert submission is not None
    return list(dict.fromkeys(job.name for job in submission.jobs if job.name != "report"))


def test_all_is_handed_in_at_once_and_let_go_at_the_end(recipe: Path) -> None:
    batch = Lists()
    given = distribute(recipe, options(recipe), batch=batch)
    assert [one.title for one in given.slices] == [
        "calibrate day0000", "calibrate day0001", "calibrate day0002",
        "image T0000 continuum", "image T0001 continuum", "image T0002 continuum",
    ]  # fmt: skip
    said = [(job["script"], job["array"], job["after"], job["hold"]) for job in batch.jobs.values()]
    array = "calibrate-0-array.sh"
    assert said[:4] == [
        (array, "0-2%50", NOTHING, True),
        (array, "0", After(failed=("100_0",)), False),
        (array, "1", After(failed=("100_1",)), False),
        (array, "2", After(failed=("100_2",)), False),
    ]
    # An image goes after its dataset, done in either job; the report whatever came of the images.
    assert said[4:6] == [
        ("image-0.sh", "", After(ok=(("100_0", "101_0"),)), False),
        ("image-0.sh", "", After(failed=("104",)), False),
    ]
    ended = ("101_0", "102_1", "103_2", "105", "107", "109")
    assert said[10] == ("report.sh", "", After(ended=ended), False)
    memory = [job["memory"] for job in batch.jobs.values()]
    assert memory[0] == 0
    assert memory[1] > 2 * GB
    assert batch.released == ["100"]
    again = distribute(recipe, options(recipe), batch=batch)
    assert not again.fresh
    assert len(batch.jobs) == 11
    with pytest.raises(LockedError, match="jobs of another version of this recipe wait or run in"):
        distribute(recipe, options(recipe, "image.continuum.niter=7"), batch=batch)


def test_arrays_stay_within_what_slurm_takes(recipe: Path) -> None:
    batch = Lists()
    with mock.patch("casarun.api.distributing._MOST_TASKS", 2):
        distribute(recipe, options(recipe, "cluster.escalate=0"), batch=batch)
    said = [(job["script"], job["array"]) for job in batch.jobs.values()]
    assert said[:2] == [("calibrate-0-array.sh", "0-1%50"), ("calibrate-2.sh", "")]


def test_without_second_jobs_the_report_waits_for_arrays(recipe: Path) -> None:
    batch = Lists()
    distribute(recipe, options(recipe, "cluster.escalate=0"), batch=batch)
    *_, image, report = batch.jobs.values()
    assert image["after"] == After(ok=(("100_2",),))
    assert report["after"] == After(ended=("100", "101", "102", "103"))


def test_no_more_memory_is_asked_for_than_nodes_have(recipe: Path) -> None:
    batch = Lists(largest_bytes=20 * GB)
    wishes = ("cluster.memory=4GB", "cluster.escalate=5")
    distribute(recipe, options(recipe, *wishes), batch=batch)
    assert {job["memory"] for job in batch.jobs.values()} == {0, 8 * GB, 16 * GB}


def _after_a_crash(batch: Lists, folder: RunFolder, first: JobState) -> None:
    """Let a controller have forgotten all but the first job, an array, and how that is."""
    submission = read_submission(folder)
    assert submission is not None
    batch.said = {job.job: JobState(job.job, "lost") for job in submission.jobs}
    batch.said |= {f"100_{task}": replace(first, job=f"100_{task}") for task in range(3)}


HELD = JobState("", "waiting", "PENDING", "JobHeldUser", is_held=True)


def test_what_a_controller_has_lost_is_handed_in_again(recipe: Path) -> None:
    batch = Lists()
    distribute(recipe, options(recipe), batch=batch)
    _after_a_crash(batch, RunFolder(recipe.parent / "run"), HELD)
    given = distribute(recipe, options(recipe), batch=batch)
    assert given.fresh
    assert len(batch.jobs) == 22
    assert batch.cancelled == [*batch.jobs][:11]
    assert batch.released == ["100", "111"]


def test_while_a_job_runs_it_is_followed_whatever_was_lost(recipe: Path) -> None:
    batch = Lists()
    distribute(recipe, options(recipe), batch=batch)
    _after_a_crash(batch, RunFolder(recipe.parent / "run"), JobState("", "running"))
    assert not distribute(recipe, options(recipe), batch=batch).fresh
    assert (len(batch.jobs), batch.cancelled) == (11, [])


def test_jobs_that_were_never_let_go_are_handed_in_again(recipe: Path) -> None:
    batch = Lists()
    distribute(recipe, options(recipe), batch=batch)
    batch.said = {f"100_{task}": replace(HELD, job=f"100_{task}") for task in range(3)}
    assert distribute(recipe, options(recipe), batch=batch).fresh
    assert batch.cancelled == [*batch.jobs][:11]


def test_jobs_of_a_whole_run_are_not_asked_for_a_report(recipe: Path) -> None:
    folder = RunFolder(recipe.parent / "run")
    whole = Submission("slurm", "m", jobs=(SubmittedJob("7", WHOLE, "scripts/slurm/run.sh"),))
    assert not was_lost(folder, whole, {"7": JobState("7", "lost")})


class Forgets(Lists):
    """Forgets all jobs but the first as soon as it may let it go; what comes later it does."""

    def __init__(self, folder: RunFolder) -> None:
        super().__init__()
        self._folder = folder

    def release(self, jobs: Collection[str]) -> None:
        super().release(jobs)
        if len(self.released) == 1:
            _after_a_crash(self, self._folder, HELD)

    def states(self, jobs: Collection[str], mark: str = "") -> Mapping[str, JobState]:
        if len(self.released) > 1 and result_of(self._folder, "report") is None:
            for name in names(self._folder):
                do_slice(self._folder.root, name, environ={})
            report_slices(self._folder.root, {})
        return super().states(jobs, mark)


def test_a_run_that_is_followed_is_handed_in_again_where_it_was_lost(
    recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "_POLL_S", 0.0)
    batch = Forgets(RunFolder(recipe.parent / "run"))
    told: list[dict[str, Any]] = []
    result = following.run_distributed(recipe, options(recipe), told.append, batch=batch)
    assert result.exit_code == ExitCode.DONE
    kinds = [event["event"] for event in told]
    assert kinds.count("run-opened") == 1
    jobs = [event for event in told if event["event"] in ("run-submitted", "jobs-lost")]
    assert [(event["event"], event.get("fresh")) for event in jobs] == [
        ("run-submitted", True), ("jobs-lost", None), ("run-submitted", True),
    ]  # fmt: skip
    # All slices and the report ended between two looks, and their journals are in the run's.
    done = [event["step"] for event in told if event["event"] == "step-done"]
    assert sorted(done) == sorted(step.id for step in result.plan.steps)


def test_who_follows_is_told_what_is_held(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_POLL_S", 0.0)
    batch = Lists()
    distribute(recipe, options(recipe), batch=batch)
    stop, told = StopFlag(), list[dict[str, Any]]()

    def listen(event: dict[str, Any]) -> None:
        told.append(event)
        if event["event"] == "run-submitted":  # its owner holds a job now
            batch.said = {"100_1": replace(HELD, job="100_1")}
        elif event["event"] == "job-held":
            stop.set("SIGINT")

    result = following.run_distributed(recipe, options(recipe), listen, stop, batch=batch)
    assert result.exit_code == ExitCode.INTERRUPTED
    assert told[-1] == {
        "event": "job-held", "engine": "slurm", "job": "100_1", "slice": "calibrate-1",
    }  # fmt: skip
    assert batch.cancelled == []


def test_what_cannot_all_be_handed_in_is_taken_back(recipe: Path) -> None:
    batch = Lists(refused="image-1.sh")
    with pytest.raises(BatchError, match="no"):
        distribute(recipe, options(recipe), batch=batch)
    assert sorted(batch.cancelled) == sorted(batch.jobs)
    assert batch.released == []
    assert not RunFolder(recipe.parent / "run").batch.exists()


def test_slices_and_their_report_come_to_what_a_run_comes_to(recipe: Path) -> None:
    folder = RunFolder(recipe.parent / "run")
    distribute(recipe, options(recipe), batch=Lists())
    for name in names(folder):
        code, result, _ = do_slice(folder.root, name, 2, environ={"SLURM_JOB_ID": "7"})
        assert (code, result.state, result.job) == (ExitCode.DONE, "done", "7")
    result = report_slices(folder.root, {"SLURM_JOB_ID": "8"})
    assert result.exit_code == ExitCode.DONE
    kept = result_of(folder, "report")
    assert kept is not None
    assert outcome_from(kept.more["outcome"]) == result.outcome
    assert kept.more["exit_code"] == 0
    assert not list(folder.slices.glob("*/journal.jsonl"))
    here = api.run(recipe, api.Options(output=recipe.parent / "here"))
    assert here.metrics["images"].keys() == result.metrics["images"].keys()
    assert {*here.outcome.done} == {*result.outcome.done, *result.outcome.skipped}
    # The folder is an ordinary run's from here on.
    again = api.run(recipe, options(recipe))
    assert (again.outcome.done, again.exit_code) == ([], ExitCode.DONE)
    batch = Lists()
    assert distribute(recipe, options(recipe), batch=batch).submission is None
    assert batch.jobs == {}


def test_a_report_that_was_lost_is_made(recipe: Path) -> None:
    folder = RunFolder(recipe.parent / "run")
    distribute(recipe, options(recipe), batch=Lists())
    for name in names(folder):
        do_slice(folder.root, name, environ={})
    report_slices(folder.root, {})
    folder.report.write_text("of an earlier run")
    (folder.slices / "report" / "result.json").unlink()
    batch = Lists()
    given = distribute(recipe, options(recipe), batch=batch)
    assert given.slices == ()
    assert [(job["script"], job["hold"]) for job in batch.jobs.values()] == [("report.sh", True)]
    assert report_slices(folder.root, {}).exit_code == ExitCode.DONE
    assert folder.report.read_text() != "of an earlier run"


def test_a_slice_whose_work_is_done_or_cannot_be_mended_does_nothing(recipe: Path) -> None:
    folder = RunFolder(recipe.parent / "run")
    distribute(recipe, options(recipe), batch=Lists())
    write_result_of(folder, "calibrate-0", SliceResult("failed", "x", "parameter", "1"))
    code, result, _ = do_slice(folder.root, "calibrate-0", environ={"SLURM_JOB_ID": "2"})
    assert (code, result.job) == (ExitCode.STEP_FAILED, "1")
    write_result_of(folder, "calibrate-0", SliceResult("failed", "x", "out-of-memory", "1"))
    code, result, _ = do_slice(folder.root, "calibrate-0", environ={"SLURM_JOB_ID": "2"})
    assert (code, result.job) == (ExitCode.DONE, "2")
    code, result, _ = do_slice(folder.root, "calibrate-0", environ={"SLURM_JOB_ID": "3"})
    assert (code, result.job) == (ExitCode.DONE, "2")


def test_a_slice_waits_for_no_other_in_vain(recipe: Path) -> None:
    folder = RunFolder(recipe.parent / "run")
    distribute(recipe, options(recipe), batch=Lists())
    code, result, _ = do_slice(folder.root, "image-1", environ={})
    assert (code, result.state, result.message) == (
        ExitCode.STEP_FAILED, "not run",
        "it needs the slice calibrate-1, which has not come to its end",
    )  # fmt: skip


def test_the_report_of_a_run_that_was_ended_says_what_is_missing(recipe: Path) -> None:
    folder = RunFolder(recipe.parent / "run")
    first = Lists()
    distribute(recipe, options(recipe), batch=first)
    for name in ("calibrate-0", "calibrate-1", "image-0"):
        do_slice(folder.root, name, environ={})
    do_slice(folder.root, "image-2", environ={})
    result = report_slices(folder.root, {})
    assert result.exit_code == ExitCode.INTERRUPTED
    assert result.outcome.why == "not done: slices calibrate-2, image-1, image-2"
    assert result.outcome.not_run["T0002.continuum.clean"] == (
        "slice image-2: it needs the slice calibrate-2, which has not come to its end"
    )
    # The next time only that is handed in, and no job of the first time is named.
    batch = Lists()
    given = distribute(recipe, options(recipe), batch=batch)
    assert [one.title for one in given.slices] == [
        "calibrate day0002", "image T0001 continuum", "image T0002 continuum",
    ]  # fmt: skip
    for name in names(folder):
        do_slice(folder.root, name, environ={})
    assert report_slices(folder.root, {}).exit_code == ExitCode.DONE


def test_a_failed_step_is_reported_as_in_any_run(recipe: Path) -> None:
    folder = RunFolder(recipe.parent / "run")
    distribute(recipe, options(recipe), batch=Lists())
    failed = {"day0001.bandpass": {"cause": "postcondition", "message": "no solutions",
              "advice": "", "attempts": 1, "logs": "logs"}}  # fmt: skip
    for name in names(folder):
        if name == "calibrate-1":
            said = SliceResult("failed", "no solutions", "postcondition", "5", failed=failed)
            write_result_of(folder, name, said)
        do_slice(folder.root, name, environ={})
    result = report_slices(folder.root, {})
    assert result.exit_code == ExitCode.STEP_FAILED
    assert {step: f.message for step, f in result.outcome.failed.items()} == {
        "day0001.bandpass": "no solutions"
    }
    assert "T0001.continuum.clean" in result.outcome.not_run
    assert result.metrics["verdict"] == "fail"


def test_a_recipe_that_was_changed_meanwhile_is_told(recipe: Path) -> None:
    folder = RunFolder(recipe.parent / "run")
    distribute(recipe, options(recipe), batch=Lists())
    for name in names(folder):
        do_slice(folder.root, name, environ={})
    recipe.write_text(recipe.read_text().replace("imsize = 64", "imsize = 128"))
    result = report_slices(folder.root, {})
    assert result.exit_code == ExitCode.INTERRUPTED
    assert result.outcome.not_run["T0001.continuum.clean"] == (
        "the recipe was changed after the jobs were handed in"
    )


def test_a_run_that_watches_is_not_spread(recipe: Path) -> None:
    text = recipe.read_text().replace('vis = "data/day0000.uvfits"', 'vis = "data/*"\nwatch = true')
    recipe.write_text(text.partition('[[dataset]]\nname = "day0001"')[0])
    with pytest.raises(RefusedError, match="a run that watches for new data is not spread over"):
        distribute(recipe, options(recipe), batch=Lists())


def test_a_dry_run_shows_all_scripts_and_hands_in_nothing(recipe: Path) -> None:
    batch = Lists()
    given = distribute(recipe, options(recipe), batch=batch, dry_run=True)
    assert sorted(given.scripts) == ["calibrate-0-array.sh", "image-0.sh", "image-1.sh",
                                     "image-2.sh", "report.sh"]  # fmt: skip
    root = recipe.parent / "run"
    assert f'{root} calibrate-"$SLURM_ARRAY_TASK_ID"\n' in given.scripts["calibrate-0-array.sh"]
    assert f"{root} image-0\n" in given.scripts["image-0.sh"]
    assert "# image-0: image T0000 continuum\n" in given.scripts["image-0.sh"]
    assert batch.jobs == {}
    assert not (root / "scripts" / "slurm").exists()
    assert json.loads(json.dumps(given.scripts)) == given.scripts
