"""Runs in a real Slurm that the tests bring up on this machine."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import psutil
import pytest
from casarun.api import BatchStatus, batch_status
from casarun.engine.journal import read_events
from casarun.engine.submission import Submission, SubmittedJob, read_submission
from casarun.folder import RunFolder
from support import crashes, skies
from support.cli import COMMAND, Done, casarun, metrics
from support.slurm_local import LocalSlurm, has_cgroups, lacking, local_slurm

pytestmark = pytest.mark.casa


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSlurm]:
    """Have a Slurm of four nodes, or skip with the reason."""
    reason = lacking()
    if reason:
        pytest.skip(reason)
    base = tmp_path_factory.mktemp("slurm") / "base"
    with local_slurm(base, cgroups=has_cgroups()) as running:
        yield running


@dataclass
class Bench:
    """A recipe on a cluster.

    Attributes
    ----------
    slurm : LocalSlurm
        The cluster.
    recipe, run : Path
        The recipe, and its run folder there.
    """

    slurm: LocalSlurm
    recipe: Path
    run: Path

    def __call__(self, *arguments: str | Path) -> Done:
        return casarun(*arguments, cwd=self.run.parent, env=self.slurm.env)

    def submit(self, *settings: str) -> str:
        """Submit the run; return its job's number."""
        done = self("submit", self.recipe, "--to", "slurm", "-o", self.run,
                    *(word for setting in settings for word in ("--set", setting)))  # fmt: skip
        assert done.returncode == 0, done.stderr
        words = done.stdout.split()
        return words[words.index("job") + 1]

    def status(self) -> str:
        """Return what ``casarun status`` says."""
        done = self("status", self.run)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def await_state(self, job: str, *states: str) -> None:
        """Wait until a job is in a state."""
        wait(lambda: self.slurm.states().get(job) in states, f"job {job} is not {states}")

    def await_done(self, step: str) -> None:
        """Wait until a step is done."""
        wait(
            lambda: any(
                event["event"] == "step-done" and event.get("step") == step
                for event in crashes.events(self.run)
            ),
            f"{step} is not done",
        )


def wait(what: Callable[[], Any], otherwise: str, timeout_s: float = 180) -> None:
    until = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < until, otherwise
        time.sleep(0.1)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the recipe of a small observation."""
    return crashes.small(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def wanted(small: Path) -> dict[str, str]:
    """Give what a run on this machine makes of it."""
    done = casarun(small, "-o", small.parent / "here", cwd=small.parent)
    assert done.returncode == 0, done.stderr
    return crashes.products(small.parent / "here")


@pytest.fixture
def bench(slurm: LocalSlurm, small: Path, tmp_path: Path) -> Bench:
    return Bench(slurm, small, tmp_path / "run")


def test_a_job_is_stopped_before_its_time_is_over_and_goes_on_in_the_queue(
    bench: Bench, wanted: dict[str, str]
) -> None:
    shown = bench("submit", bench.recipe, "--to", "slurm", "-o", bench.run, "--dry-run")
    job = bench.submit()
    script = (bench.run / "scripts" / "slurm" / "run.sh").read_text()
    assert [line for line in script.splitlines() if "Written by" not in line] == [
        line for line in shown.stdout.splitlines() if "Written by" not in line
    ]
    bench.await_done("day.bandpass")
    # What Slurm itself does --signal=B:USR1@... before the time is over.
    bench.slurm.run("scancel", "--batch", "--signal=USR1", job)
    bench.await_state(job, "PENDING")
    said = bench.status()
    assert f"{bench.run}: waiting\n" in said
    assert f"job {job} (run): pending (BeginTime), start 2" in said
    again = bench("submit", bench.recipe, "--to", "slurm", "-o", bench.run)
    assert again.returncode == 4
    assert f"job {job} of slurm works in {bench.run}, or will: pending" in again.stderr
    bench.slurm.start_now(job)
    bench.await_state(job, "COMPLETED")
    log = (bench.run / "logs" / "batch" / f"casarun-small-{job}.log").read_text()
    assert "stopped (SIGUSR1); run the same command to go on" in log
    assert f"job {job} goes back into the queue, and on from here when it starts again" in log
    said = bench.status()
    assert f"{bench.run}: done\n" in said
    assert f"job {job} (run): completed on n" in said
    assert crashes.mismatches(wanted, crashes.products(bench.run)) == []


def test_what_waits_says_why_and_can_be_cancelled(bench: Bench) -> None:
    room = bench.slurm.run("sbatch", "--parsable", "-N4", "--exclusive", "--wrap", "sleep 300")
    job = bench.submit("cluster.cores=2", "cluster.memory=2GB", "cluster.time=10min")
    wait(lambda: "(Resources)" in bench.status() or "(Priority)" in bench.status(), "no reason")
    assert f"{bench.run}: waiting\n" in bench.status()
    ended = bench("cancel", bench.run)
    assert ended.stdout == f"ended: job {job}; what is done is kept\n"
    assert bench("cancel", bench.run).stdout == "no job of this run waits or runs\n"
    bench.slurm.run("scancel", room.strip())
    said = bench.status()
    assert f"{bench.run}: not run\n" in said
    assert "the run did not come to its end there; submit it again to go on" in said


@pytest.mark.long
def test_cancelling_a_job_that_runs_stops_it_cleanly(bench: Bench, wanted: dict[str, str]) -> None:
    job = bench.submit()
    bench.await_done("day.setjy.0")
    assert bench("cancel", bench.run).stdout == f"ended: job {job}; what is done is kept\n"
    bench.await_state(job, "CANCELLED")
    wait(lambda: f"{bench.run}: interrupted\n" in bench.status(), "it did not stop cleanly")
    done = bench(bench.recipe, "-o", bench.run)
    assert done.returncode == 0, done.stderr
    assert crashes.mismatches(wanted, crashes.products(bench.run)) == []


def test_a_refusal_leaves_nothing_behind(bench: Bench) -> None:
    done = bench("submit", bench.recipe, "--to", "slurm", "-o", bench.run,
                 "--set", "cluster.partition=nowhere")  # fmt: skip
    assert done.returncode == 2
    assert "invalid partition specified: nowhere" in done.stderr
    assert "Set cluster.partition; `sinfo` lists those there are." in done.stderr
    assert not (bench.run / ".casarun" / "batch.json").exists()


@pytest.mark.long
def test_the_wall_time_is_over(bench: Bench, wanted: dict[str, str]) -> None:
    job = bench.submit("cluster.cores=1", "cluster.memory=2GB", "cluster.time=1min")
    bench.await_done("day.setjy.0")
    _freeze_a_step(bench)  # a step that takes too long; the signal is Slurm's own
    wait(lambda: "stopped (" in _log(bench, job), "it was not asked to stop")
    bench.await_state(job, "PENDING")
    assert f"job {job} goes back into the queue" in _log(bench, job)
    bench.slurm.start_now(job)
    bench.await_state(job, "COMPLETED")
    assert crashes.mismatches(wanted, crashes.products(bench.run)) == []


def _freeze_a_step(bench: Bench) -> None:
    """Stop the process of a step that is at its work; one runs at a time."""

    def frozen() -> bool:
        last = crashes.events(bench.run)[-1]
        if last["event"] != "step-placed":
            return False
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(last["pid"]).suspend()
        return crashes.events(bench.run)[-1] == last

    wait(frozen, "no step ran")


def _log(bench: Bench, job: str) -> str:
    path = bench.run / "logs" / "batch" / f"casarun-small-{job}.log"
    return path.read_text() if path.is_file() else ""


# -- a run over many nodes


THREE = (
    crashes.SMALL.replace('name = "small"', 'name = "three"').replace(
        'name = "day"\nvis = "day.ms"', 'vis = "day*.ms"'
    )
    + '[cluster]\npack = "0s"\nmemory = "1.5GB"\n'
)
SLURM = ("--executor", "slurm")


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the recipe of three small observations, imaged together."""
    folder = tmp_path_factory.mktemp("three")
    for seed in (1, 2, 3):
        skies.build(folder / f"day{seed}.ms", replace(crashes.SKY, seed=seed))
    (folder / "three.toml").write_text(THREE)
    return folder / "three.toml"


@pytest.fixture(scope="module")
def wanted_of_three(three: Path) -> dict[str, str]:
    """Give what a run on this machine makes of it."""
    done = casarun(three, "-o", three.parent / "here", cwd=three.parent)
    assert done.returncode == 0, done.stderr
    return crashes.products(three.parent / "here")


@pytest.fixture
def nodes(slurm: LocalSlurm, three: Path, tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(slurm, three, tmp_path / "run")
    yield bench
    slurm.run("scancel", "-u", "root")


def test_many_nodes_make_what_one_makes(nodes: Bench, wanted_of_three: dict[str, str]) -> None:
    shown = nodes("submit", nodes.recipe, "--to", "slurm", *SLURM, "-o", nodes.run, "--dry-run")
    assert shown.stderr.splitlines()[-4:] == [
        "calibrate-0: calibrate day1, 15 steps",
        "calibrate-1: calibrate day2, 15 steps",
        "calibrate-2: calibrate day3, 15 steps",
        "image-0: image target mfs, 7 steps, after calibrate-0, calibrate-1, calibrate-2",
    ]
    done = nodes("run", nodes.recipe, *SLURM, "-o", nodes.run)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "handed to slurm: 9 jobs" in done.stdout
    assert "[55/55] target.mfs.measure" in done.stdout
    assert f"report: {nodes.run}/qa/index.html" in done.stdout
    both = [metrics(run)["verdict"] for run in (nodes.run, nodes.recipe.parent / "here")]
    assert both[0] == both[1] != "fail"
    assert crashes.mismatches(wanted_of_three, crashes.products(nodes.run)) == []
    said = nodes.status()
    assert f"{nodes.run}: done\n" in said
    assert "4 slices and the report, 52 of 52 steps done" in said
    assert "  image-0 (image target mfs, 7 of 7 steps): done" in said
    # The three datasets were reduced at the same time, on a node each.
    ran = nodes.slurm.run("scontrol", "-o", "show", "job")
    assert (
        len(set(re.findall(r"calibrate-0-array .*?JobState=COMPLETED.*?NodeList=(n\d)", ran))) > 2
    )
    again = nodes("run", nodes.recipe, *SLURM, "-o", nodes.run)
    assert again.returncode == 0
    assert "nothing to do: all 55 steps are up to date" in again.stdout


def test_neither_the_submitting_process_nor_the_controller_is_needed(
    nodes: Bench, wanted_of_three: dict[str, str]
) -> None:
    command = [*COMMAND, "run", str(nodes.recipe), *SLURM, "-o", str(nodes.run)]
    driver = subprocess.Popen(command, env=nodes.slurm.env, stdout=subprocess.DEVNULL)
    wait(lambda: _slice_events(nodes, "day1.flag.basic"), "nothing was done")
    driver.kill()
    driver.wait()
    nodes.slurm.restart_controller()
    refused = nodes(nodes.recipe, "-o", nodes.run)
    assert refused.returncode == 4
    assert "of slurm works in" in refused.stderr
    # Another one finds the jobs, hands in none, and follows them to their end.
    done = nodes("run", nodes.recipe, *SLURM, "-o", nodes.run)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "already with slurm: 9 jobs" in done.stdout
    assert crashes.mismatches(wanted_of_three, crashes.products(nodes.run)) == []


def test_what_a_killed_controller_has_lost_is_handed_in_again(
    nodes: Bench, wanted_of_three: dict[str, str]
) -> None:
    command = [*COMMAND, "run", str(nodes.recipe), *SLURM, "-o", str(nodes.run)]
    driver = subprocess.Popen(command, env=nodes.slurm.env, stdout=subprocess.PIPE, text=True)
    wait(lambda: _slice_events(nodes, "day1.flag.basic"), "nothing was done")
    nodes.slurm.crash_controller()
    said, _ = driver.communicate(timeout=300)
    assert driver.returncode == 0, said
    assert "slurm has lost jobs of this run: what is missing is handed in again" in said
    assert crashes.mismatches(wanted_of_three, crashes.products(nodes.run)) == []


def test_what_was_cancelled_is_handed_in_again_and_nothing_else(
    nodes: Bench, wanted_of_three: dict[str, str]
) -> None:
    # A process that was killed while it handed in jobs left this one behind.
    held = ("sbatch", "--parsable", "--hold", "--comment=casarun-half", "--wrap", "true")
    orphan = nodes.slurm.run(*held).strip()
    Submission("slurm", "casarun-half").write(RunFolder(nodes.run))
    once = ("--set", "cluster.escalate=0")
    handed = nodes("submit", nodes.recipe, "--to", "slurm", *SLURM, "-o", nodes.run, *once)
    assert "5 jobs of" in handed.stdout
    assert nodes.slurm.states()[orphan] == "CANCELLED"
    wait(lambda: _slice_events(nodes, "day2.bandpass"), "nothing was done")
    job = next(j.job for j in _jobs(nodes) if j.name == "calibrate-1")
    nodes.slurm.run("scancel", job)
    wait(lambda: (nodes.run / ".casarun/slices/report/result.json").is_file(), "no report")
    said = nodes.status()
    assert f"{nodes.run}: interrupted\n" in said
    assert "  calibrate-1 (calibrate day2, " in said
    assert ": interrupted: SIGTERM" in said
    assert "  image-0 (image target mfs, 0 of 7 steps): job " in said
    assert "cancelled (DependencyNeverSatisfied)" in said
    first = {j.job for j in _jobs(nodes)}
    done = nodes("run", nodes.recipe, *SLURM, "-o", nodes.run)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "handed to slurm: 5 jobs" in done.stdout  # two slices and the report, with retries
    assert not first & {j.job for j in _jobs(nodes)}
    again = {event["step"] for event in crashes.events(nodes.run) if event["event"] == "step-done"}
    assert len(again) == 55
    assert crashes.mismatches(wanted_of_three, crashes.products(nodes.run)) == []


@pytest.mark.long
def test_a_job_that_was_ended_from_outside_is_done_again_by_the_next(
    nodes: Bench, wanted_of_three: dict[str, str]
) -> None:
    nodes("submit", nodes.recipe, "--to", "slurm", *SLURM, "-o", nodes.run)
    wait(lambda: _slice_events(nodes, "day2.setjy.0"), "nothing was done")
    nodes.slurm.run("scancel", next(j.job for j in _jobs(nodes) if j.name == "calibrate-1"))
    wait(lambda: (nodes.run / ".casarun/slices/report/result.json").is_file(), "no report")
    assert f"{nodes.run}: done\n" in nodes.status()
    assert crashes.mismatches(wanted_of_three, crashes.products(nodes.run)) == []


def test_a_slice_that_ran_out_of_memory_gets_more(
    nodes: Bench, wanted_of_three: dict[str, str]
) -> None:
    done = nodes("run", nodes.recipe, *SLURM, "-o", nodes.run, "--set", "cluster.image.cores=1",
                 "--set", "cluster.image.memory=250MB", "--set", "cluster.escalate=3")  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert crashes.mismatches(wanted_of_three, crashes.products(nodes.run)) == []
    jobs = [j.job for j in _jobs(nodes) if j.name == "image-0"]
    assert len(jobs) == 4  # 0.25, 0.5, 1 and 2 GB
    states = nodes.slurm.states()
    assert states[jobs[0]] in ("OUT_OF_MEMORY", "FAILED")
    assert [states[job] for job in jobs].count("COMPLETED") == 1


@pytest.mark.long
def test_a_slice_whose_time_is_over_goes_on_in_the_queue(
    nodes: Bench, wanted_of_three: dict[str, str]
) -> None:
    nodes("submit", nodes.recipe, "--to", "slurm", *SLURM, "-o", nodes.run)
    wait(lambda: _slice_events(nodes, "day3.bandpass"), "nothing was done")
    job = next(j.job for j in _jobs(nodes) if j.name == "calibrate-2")
    nodes.slurm.run("scancel", "--batch", "--signal=USR1", job)
    wait(lambda: "BeginTime" in nodes.status(), "it was not requeued")
    assert "calibrate-2 (calibrate day3, " in nodes.status()
    nodes.slurm.start_now(job)
    done = nodes("run", nodes.recipe, *SLURM, "-o", nodes.run)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "already with slurm" in done.stdout
    assert crashes.mismatches(wanted_of_three, crashes.products(nodes.run)) == []


@pytest.mark.long
def test_a_node_dies(nodes: Bench, wanted_of_three: dict[str, str]) -> None:
    nodes("submit", nodes.recipe, "--to", "slurm", *SLURM, "-o", nodes.run)
    wait(lambda: _slice_events(nodes, "day2.bandpass"), "nothing was done")
    state = next(s for s in _status(nodes).slices if s.name == "calibrate-1")
    node = re.search(r"on (n\d)", state.said)
    assert node is not None
    nodes.slurm.kill_node(node[1])
    wait(lambda: "BeginTime" in nodes.status(), "it was not requeued")
    nodes.slurm.start_now(state.job)
    nodes.slurm.boot_node(node[1])
    done = nodes("run", nodes.recipe, *SLURM, "-o", nodes.run)
    assert done.returncode == 0, done.stdout + done.stderr
    assert crashes.mismatches(wanted_of_three, crashes.products(nodes.run)) == []
    nodes.slurm.await_idle()


CUBE = """
[[image]]
name = "cube"
specmode = "cube"
imsize = 64
cell = "10arcsec"
niter = 50
chunk = 2
"""


@pytest.mark.long
def test_ranges_of_a_cube_on_many_nodes(slurm: LocalSlurm, small: Path, tmp_path: Path) -> None:
    recipe = small.with_name("cube.toml")
    recipe.write_text(small.read_text() + CUBE + '[cluster]\npack = "0s"\nmemory = "1.5GB"\n')
    bench = Bench(slurm, recipe, tmp_path / "run")
    done = bench("run", recipe, *SLURM, "-o", bench.run)
    assert done.returncode in (0, 3), done.stdout + done.stderr
    titles = {one.title for one in _status(bench).slices}
    assert {f"image target cube, part {part} of 4" for part in (1, 2, 3, 4)} <= titles
    here = bench(recipe, "-o", tmp_path / "here")
    assert here.returncode == done.returncode
    both = [crashes.products(tmp_path / run) for run in ("here", "run")]
    assert crashes.mismatches(*both) == []


def _slice_events(bench: Bench, step: str) -> bool:
    """Say whether a slice has done a step."""
    return any(
        event["event"] == "step-done" and event.get("step") == step
        for path in (bench.run / ".casarun" / "slices").glob("*/journal.jsonl")
        for event in read_events(path)
    )


def _jobs(bench: Bench) -> tuple[SubmittedJob, ...]:
    submission = read_submission(RunFolder(bench.run))
    assert submission is not None
    return submission.jobs


def _status(bench: Bench) -> BatchStatus:
    with mock.patch.dict(os.environ, bench.slurm.env):
        found = batch_status(RunFolder(bench.run))
    assert found is not None
    return found
