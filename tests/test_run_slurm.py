"""Runs in a real Slurm that the tests bring up on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support import crashes
from support.cli import Done, casarun
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
    # 100 s of sleep in the job's own script: half of the time is gone before casarun starts.
    job = bench.submit("cluster.cores=1", "cluster.memory=2GB", "cluster.time=2min")
    bench.slurm.run("scancel", job)
    script = bench.run / "scripts" / "slurm" / "run.sh"
    wait_first = 'if [ "${SLURM_RESTART_COUNT:-0}" = 0 ]; then sleep 54; fi\nexec '
    script.write_text(script.read_text().replace("exec ", wait_first))
    job = bench.slurm.run("sbatch", "--parsable", str(script)).strip()
    bench.await_state(job, "PENDING", "RUNNING")
    wait(lambda: "job ends at" in _log(bench, job) or "SIGUSR1" in _log(bench, job), "not stopped")
    bench.await_state(job, "PENDING")
    bench.slurm.start_now(job)
    bench.await_state(job, "COMPLETED")
    assert crashes.mismatches(wanted, crashes.products(bench.run)) == []


def _log(bench: Bench, job: str) -> str:
    path = bench.run / "logs" / "batch" / f"casarun-small-{job}.log"
    return path.read_text() if path.is_file() else ""
