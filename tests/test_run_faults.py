"""What goes wrong while a run goes on, done to real runs: what casarun says, and what is left.

Each fault meets a run of a small reduction of which most is done; after it, one more run must come
to the same products as a run that nothing happened to.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support import crashes, mishaps
from support.cli import casarun
from support.mishaps import Run, TooLateError, hold, in_time

pytestmark = [pytest.mark.casa, pytest.mark.timeout(300)]

IMAGES = "images"
MS = "raw/day.ms"
TARGET = "calibrated/day.target.ms"
CLEAN = "target.mfs.clean"
AGAIN = "Let nothing else change the run folder while a run goes on."
SMALLER = "or make the step smaller: image.imsize, image.nchan, image.nterms."
HOLD = """import sys, time
from casarun.casa.config import configure
configure()
from casatools import table
tool = table()
if sys.argv[2] == "write":
    tool.open(sys.argv[1], nomodify=False, lockoptions={"option": "permanentwait"})
else:
    tool.open(sys.argv[1])
tool.getcol("TIME")
print("held", flush=True)
time.sleep(100)
"""


class Bench:
    """A finished run, and what it made; every fault has a copy at the same place."""

    def __init__(self, place: Path) -> None:
        self.recipe = crashes.small(place)
        self.folder = place / "disk" / "run"
        self.folder.parent.mkdir()
        mishaps.go_on(self.recipe, self.folder)
        self.wanted = crashes.products(self.folder)
        self._kept = place / "kept"
        self.folder.rename(self._kept)

    @contextmanager
    def run(self, gone: str, *settings: str, inside: tuple[str, ...] = ()) -> Iterator[Run]:
        """Start a run that has products to make again; see that it is over afterwards."""
        if self.folder.exists():
            shutil.rmtree(self.folder)
        mishaps.without(self._kept, self.folder, gone)
        run = Run(self.recipe, self.folder, settings, inside)
        try:
            yield run
        finally:
            run.close()

    def ends_well(self) -> None:
        """Run once more: nothing may be lost, nothing differ."""
        mishaps.go_on(self.recipe, self.folder)
        assert crashes.mismatches(self.wanted, crashes.products(self.folder)) == []

    def logs(self, step: str, attempt: int = 1) -> Path:
        return self.folder / "logs" / step / f"attempt-{attempt}"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


@contextmanager
def mounted(at: Path, options: str) -> Iterator[None]:
    """Have a small disk of its own at a folder."""
    mount = ["mount", "-t", "tmpfs", "-o", options, "casarun-test", str(at)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(at)], check=True)


# --- processes


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
@in_time
def test_a_step_that_a_signal_ends_is_tried_again(bench: Bench, number: signal.Signals) -> None:
    with bench.run(IMAGES) as run:
        with run.frozen(CLEAN) as pid:
            os.kill(pid, number)
        assert run.end() == 0
        where = f"see stdout.log and casa.log in {bench.logs(CLEAN)}"
        said = f"was ended by signal {number.name}; {where}"
        assert run.failures() == [(CLEAN, "signal", said, "")]
    bench.ends_well()


@in_time
def test_a_step_that_aborts_fails_and_a_later_run_tries_it_again(bench: Bench) -> None:
    with bench.run(IMAGES) as run:
        with run.frozen(CLEAN) as pid:
            os.kill(pid, signal.SIGABRT)
        assert run.end() == 1
        where = f"see stdout.log and casa.log in {bench.logs(CLEAN)}"
        said = f"CASA aborted the process (exit code 134); {where}"
        assert run.failures() == [(CLEAN, "abort", said, "")]
    bench.ends_well()


@in_time
def test_steps_do_not_hear_sigterm(bench: Bench) -> None:
    """A batch system sends it to all processes; the runner answers it."""
    with bench.run(IMAGES) as run:
        with run.frozen(CLEAN) as pid:
            os.kill(pid, signal.SIGTERM)
        assert run.end() == 0
        assert run.failures() == []


@in_time
def test_a_step_that_stands_still_has_its_time_limit(bench: Bench) -> None:
    with bench.run(IMAGES, "resources.time_per_step=12s") as run:
        hold(int(run.await_step(CLEAN)["pid"]))
        assert run.end() == 1
        advice = "Raise resources.time_per_step, or give the step less to do."
        said = "ran longer than its time limit of 12 s"
        assert run.failures() == [(CLEAN, "time-limit", said, advice)]
    bench.ends_well()


@in_time
def test_the_process_that_steps_are_forked_from_may_die(bench: Bench) -> None:
    with bench.run(IMAGES) as run:
        with run.frozen(CLEAN, at_work=True):
            run.server().kill()
            assert run.end() == 0
        said = "ended with the process that steps are forked from, which died"
        assert (CLEAN, "signal", said, "") in run.failures()
        assert {cause for _, cause, _, _ in run.failures()} == {"signal"}
    bench.ends_well()


# --- memory


@in_time
def test_the_kernel_kills_for_memory(bench: Bench) -> None:
    """In a cgroup (v1) of its own, whose limit falls while the clean runs."""
    group = Path("/sys/fs/cgroup/memory") / f"casarun-test-{os.getpid()}"
    limit = group / "memory.limit_in_bytes"
    try:
        group.mkdir()
        limit.write_text(str(4 * 10**9))
    except OSError as error:
        pytest.skip(f"no memory cgroup can be made here: {error}")
    try:
        inside = ("sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh")
        # Tried again before the limit is raised, it would be killed again.
        patience = ("retry.wait=5s", "retry.max_wait=5s")
        with bench.run(IMAGES, *patience, inside=inside) as run:
            with run.frozen(CLEAN):
                used = int((group / "memory.usage_in_bytes").read_text())
                limit.write_text(str(used + 4_000_000))
            run.await_step(CLEAN, "step-failed")
            limit.write_text(str(4 * 10**9))
            assert run.end() == 0
            said = "was killed by the system, which ran out of memory"
            advice = f"Raise resources.memory if the machine has more, {SMALLER}"
            assert run.failures()[0] == (CLEAN, "out-of-memory", said, advice)
            assert "oom_kill 1\n" in (group / "memory.oom_control").read_text()
        bench.ends_well()
    finally:
        while (group / "cgroup.procs").read_text():
            time.sleep(0.01)
        group.rmdir()


@pytest.mark.parametrize("kilobytes", [800_000, 850_000])
def test_an_address_space_that_is_too_small_for_a_step(bench: Bench, kilobytes: int) -> None:
    """With the larger one, importing SciPy would go on for ever."""
    inside = ("sh", "-c", f'ulimit -v {kilobytes} && exec "$@"', "sh")
    with bench.run(IMAGES, "retry.attempts=1", inside=inside) as run:
        assert run.end() == 1
        advice = f"Raise resources.memory if the machine has more, {SMALLER}"
        assert {cause for _, cause, _, _ in run.failures()} == {"out-of-memory"}
        assert run.failures()[0][3] == advice
    bench.ends_well()


def test_an_address_space_that_is_too_small_for_casa(bench: Bench) -> None:
    """The process with the imports would hang in the handlers of its end."""
    inside = ("sh", "-c", 'ulimit -v 400000 && exec "$@"', "sh")
    with bench.run(IMAGES, inside=inside) as run:
        assert run.end() == 2
        assert "CASA cannot be imported: " in run.said()
        assert "; ulimit -v leaves 410 MB\n" in run.said()
    bench.ends_well()


def test_a_step_over_its_memory_limit(bench: Bench) -> None:
    settings = ("resources.memory_per_step=20MB", "retry.attempts=1")
    with bench.run(IMAGES, *settings) as run:
        assert run.end() == 1
        (step, cause, said, advice) = run.failures()[0]
        assert (step, cause) == ("target.mfs.dirty", "out-of-memory")
        assert said.endswith(" MB of memory; resources.memory_per_step is 20 MB")
        assert advice == f"Raise resources.memory_per_step if the machine has more, {SMALLER}"
    bench.ends_well()


# --- the disk


@in_time
def test_a_disk_that_is_full_while_tclean_writes(bench: Bench) -> None:
    with mounted(bench.folder.parent, "size=20m"):
        big = bench.folder.parent / "big"
        with bench.run(IMAGES) as run:
            with run.frozen(CLEAN), big.open("wb", buffering=0) as stream:
                try:
                    while True:
                        stream.write(bytes(4096))
                except OSError:
                    pass
            assert run.end() == 75
            assert {cause for _, cause, _, _ in run.failures()} == {"disk-full"}
            last = run.said().splitlines()[-1]
            assert last.endswith("run the same command to go on.") or "disk" in last
        big.unlink()
        bench.ends_well()


@in_time
def test_a_run_folder_that_is_removed(bench: Bench) -> None:
    with bench.run(IMAGES) as run:
        with run.frozen(CLEAN):
            shutil.rmtree(bench.folder)
        assert run.end() == 1
        assert run.said().splitlines()[-1] == (
            f"cannot write the records of the run in {bench.folder}: the journal was removed, or "
            "the folder moved, while the run went on. What was done is kept: mend that, and run "
            "the same command to go on."
        )
    shutil.rmtree(bench.folder, ignore_errors=True)
    bench.ends_well()


# --- data


@in_time
def test_a_product_that_is_deleted_while_it_is_read_is_made_again(bench: Bench) -> None:
    with bench.run(IMAGES) as run:
        with run.frozen("target.mfs.dirty"):
            shutil.rmtree(bench.folder / TARGET)
        assert run.end() == 0
        said = f"{TARGET}, which the step needs, was removed while the run went on"
        assert run.failures()[0] == ("target.mfs.dirty", "lost-product", said, AGAIN)
    bench.ends_well()


def truncate(table: Path) -> None:
    """Cut the largest file of a table to a third."""
    file = max(table.glob("table.f*_TSM*"), key=lambda path: path.stat().st_size)
    os.truncate(file, file.stat().st_size // 3)


@in_time
def test_data_cut_short_between_two_steps(bench: Bench) -> None:
    """Most tasks of CASA would say nothing."""
    with bench.run(MS) as run:
        run.await_step("day.flag.basic", "step-done")
        truncate(bench.folder / MS)
        if any(e["event"] == "step-placed" and e["step"] == "day.setjy.0" for e in run.events()):
            raise TooLateError
        assert run.end() == 0
        said = (
            f"{MS}, which the step needs, is no longer as casarun left it: something else changed "
            "it while the run went on"
        )
        assert run.failures() == [("day.setjy.0", "lost-product", said, AGAIN)]
    bench.ends_well()


@in_time
def test_data_cut_short_while_they_are_read(bench: Bench) -> None:
    with bench.run(IMAGES) as run:
        with run.frozen("target.mfs.dirty"):
            truncate(bench.folder / TARGET)
        assert run.end() == 0
        assert [(step, cause) for step, cause, _, _ in run.failures()] == [
            ("target.mfs.dirty", "lost-product")
        ]
    bench.ends_well()


@pytest.mark.parametrize("what", ["removed", "changed"])
@in_time
def test_the_input_is_another_while_it_is_copied(tmp_path: Path, what: str) -> None:
    recipe = crashes.small(tmp_path)
    shutil.rmtree(tmp_path / "run", ignore_errors=True)
    run = Run(recipe, tmp_path / "run")
    try:
        with run.frozen("day.copy"):
            if what == "removed":
                (tmp_path / "day.ms").rename(tmp_path / "away.ms")
            else:
                os.utime(tmp_path / "day.ms" / "table.f1", (1, 1))
        assert run.end() == 1
        advice = {
            "removed": "Put it back, and run the same command again.",
            "changed": "Run the same command again: it plans from the data as they are then.",
        }[what]
        said = f"{tmp_path / 'day.ms'}, which the step reads, was {what} since the run was planned"
        assert run.failures() == [("day.copy", "input-changed", said, advice)]
    finally:
        run.close()
    if what == "removed":
        (tmp_path / "away.ms").rename(tmp_path / "day.ms")
    assert casarun(recipe, "--output", tmp_path / "run", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("how", ["read", "write"])
@in_time
def test_a_table_that_another_process_has_locked(bench: Bench, how: str) -> None:
    """CASA waits for ever, without a word."""
    with bench.run(MS, "resources.time_per_step=12s") as run:
        with run.frozen("day.flag.basic"):
            command = [sys.executable, "-c", HOLD, str(bench.folder / MS), how]
            other = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            assert other.stdout is not None
            assert other.stdout.readline() == b"held\n"
        try:
            assert run.end() == 1
        finally:
            other.kill()
            other.communicate()
        step, cause, said, advice = run.failures()[0]
        assert (step, cause) == ("day.flag.basic", "time-limit")
        assert said.startswith(
            f"ran longer than its time limit of 12 s; process {other.pid} (python"
        )
        assert said.endswith(f") has {MS} locked")
        assert advice == "Close the table there, or end that process."
    bench.ends_well()
