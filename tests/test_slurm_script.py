"""What a job asks for, its batch script, and how Slurm's words are read: without Slurm."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from casarun.api.batch_jobs import requeue_here
from casarun.api.submitting import own_settings
from casarun.engine import asking
from casarun.engine.executors import slurm
from casarun.engine.executors.batch import After, Ask, BatchError, JobState
from casarun.engine.executors.slurm_script import script, slurm_time, stop_margin_s
from casarun.engine.outcome import Outcome
from casarun.engine.submission import Submission, SubmittedJob, read_submission, refuse_if_live
from casarun.errors import DataError, LockedError, RefusedError
from casarun.folder import RunFolder
from casarun.plan import Plan, Resources, Step
from casarun.recipe.load import load
from casarun.recipe.model import Cluster, ClusterStage

GB = 10**9
ASK = Ask("casarun-x", 4, 2 * GB, 5400.0, partition="long", account="astro")
LOG = Path("/runs/x/logs/batch/%x-%j.log")


def test_the_script_asks_signals_requeues_and_becomes_the_command() -> None:
    text = script(ASK, ["python", "-m", "casarun", "a b.toml"], LOG, "Runs a b.toml.\nTwice.")
    assert (
        text
        == """#!/bin/bash
# Runs a b.toml.
# Twice.
#SBATCH --job-name=casarun-x
#SBATCH --partition=long
#SBATCH --account=astro
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=4
#SBATCH --mem=1908M
#SBATCH --time=01:30:00
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=/runs/x/logs/batch/%x-%j.log

set -eu

exec python -m casarun 'a b.toml'
"""
    )


def test_the_users_own_options_come_last_and_the_setup_before_the_command() -> None:
    ask = replace(ASK, options=("--gres=gpu:1", "--mem=9G"), setup=("module load casa",))
    lines = script(ask, ["x"], LOG, "").splitlines()
    assert lines.index("#SBATCH --mem=9G") > lines.index("#SBATCH --mem=1908M")
    assert lines[-4:] == ["# From your own configuration:", "module load casa", "", "exec x"]


def test_a_path_with_blanks_is_quoted_and_one_that_slurm_cannot_take_refused() -> None:
    assert '--output="/my runs/%x-%j.log"' in script(ASK, ["x"], Path("/my runs/%x-%j.log"), "")
    said = (
        '/a%b: Slurm takes no paths with ", \\, % or line breaks; choose another run folder with '
        "--output"
    )
    with pytest.raises(RefusedError, match=re.escape(said)):
        script(ASK, ["x"], Path("/a%b/%x-%j.log"), "")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(1, "00:01:00"), (60, "00:01:00"), (61, "00:02:00"), (86400, "1-00:00:00"),
     (90061, "1-01:02:00")],
)  # fmt: skip
def test_times_are_whole_minutes_and_never_less_than_asked(seconds: float, said: str) -> None:
    assert slurm_time(seconds) == said


def test_short_jobs_are_asked_to_stop_in_their_last_quarter() -> None:
    assert [stop_margin_s(seconds) for seconds in (60, 480, 86400)] == [15, 120, 120]


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (After(), ""),
        (After(ok=(("1",),)), "afterok:1"),
        (After(ok=(("1", "2"),)), "afterok:1?afterok:2"),
        (After(ok=(("1",), ("3",))), "afterok:1,afterok:3"),
        (After(failed=("7_2", "8")), "afternotok:7_2,afternotok:8"),
        (After(ended=("4", "5")), "afterany:4,afterany:5"),
    ],
)
def test_dependencies_in_the_words_of_sbatch(after: After, said: str) -> None:
    assert slurm.dependency_of(after) == said


def step(name: str, reads: Sequence[str] = (), memory: int = 0) -> Step:
    resources = Resources(memory_bytes=memory, seconds=100.0)
    return Step(name, "image", name, "x", reads=tuple(reads), writes=(f"{name}.out",),
                resources=resources)  # fmt: skip


def test_the_need_follows_from_what_runs_at_once() -> None:
    plan = Plan((step("a", memory=GB), step("b", memory=3 * GB), step("c", ["a.out"], 2 * GB)))
    times = dict.fromkeys("abc", 100.0)
    found = asking.need(plan, times, {})
    assert (found.cores, found.memory_bytes) == (2, 7025459200)  # (3 + 2 GB) / 0.8 + 0.7 GB
    assert 200 < found.seconds < 210
    learnt = asking.need(plan, times, {"b": 6 * GB})
    assert learnt.memory_bytes == 10800332800
    assert asking.need(plan, times, {}, most_cores=1).cores == 1
    assert asking.need(plan, times, {}, cores=16).cores == 16


def test_the_recipe_comes_before_the_users_configuration_and_that_before_the_plan() -> None:
    needed = asking.Need(2, 3 * GB, 1200.0)
    own = {"partition": "mine", "account": "me", "options": ["--nice"],
           "for": {"image": {"partition": "my-images"}}}  # fmt: skip
    cluster = Cluster(qos="fast", image=ClusterStage(memory="9GB", constraint="big"))
    whole, said = asking.ask("", "n", cluster, own, needed)
    assert whole == Ask("n", 2, 3 * GB, 3600.0, "mine", "me", "fast", options=("--nice",))
    assert said == [
        "cores = 2: so many steps can run at once (no more than 8 are asked for, nor than a node "
        "has)",
        "memory = 3 GB: what the largest steps are expected to need together, and the runner",
        "time = 1 h 00 min: 3 times the 20 min 00 s that it is expected to take, at least "
        "30 min 00 s",
    ]
    image, _ = asking.ask("image", "n", cluster, own, needed)
    assert (image.memory_bytes, image.partition, image.constraint) == (9 * GB, "my-images", "big")
    full = Cluster(cores=3, memory="1GB", time="2h", partition="p")
    assert asking.says_all(full)
    assert asking.ask("", "n", full, own, None) == (
        Ask("n", 3, GB, 7200.0, "p", "me", options=("--nice",)), [],
    )  # fmt: skip


@pytest.mark.parametrize("key", ["partition", "account", "qos", "constraint", "reservation"])
@pytest.mark.parametrize(
    "value", ["a --wrap=id", "--wrap=id", "a\n#SBATCH --wrap=id", "$(id)", "a;b"]
)
def test_a_recipe_cannot_slip_in_an_option_or_a_command(
    tmp_path: Path, key: str, value: str
) -> None:
    recipe = tmp_path / "r.toml"
    quoted = value.replace("\n", "\\n")
    recipe.write_text(
        f'casarun = 1\ndataset = [{{ vis = "a.ms" }}]\n[cluster]\n{key} = "{quoted}"\n'
    )
    (tmp_path / "a.ms").mkdir()
    with pytest.raises(
        RefusedError, match="cannot go to a batch system: letters, digits and"
    ) as no:
        load(recipe)
    assert no.value.problems[0].key == ("cluster", key)


def test_options_of_sbatch_are_the_users_alone(tmp_path: Path) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text('casarun = 1\ndataset = [{ vis = "a" }]\ncluster = { options = ["--x"] }\n')
    with pytest.raises(RefusedError, match=r"cluster\.options: unknown key"):
        load(recipe)


CONFIGURATION = """\
[slurm]
account = "me"
options = ["--mail-type=FAIL"]
setup = ["module load casa"]
[slurm.for.image]
partition = "highmem"
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the user's own configuration file."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    path = tmp_path / "casarun" / "config.toml"
    path.parent.mkdir()
    path.write_text(CONFIGURATION)
    return path


def test_the_users_configuration_gives_what_a_recipe_may_not(own: Path) -> None:
    ask, _ = asking.ask("image", "n", Cluster(), own_settings(), asking.Need(1, GB, 1.0))
    assert (ask.partition, ask.account) == ("highmem", "me")
    assert (ask.options, ask.setup) == (("--mail-type=FAIL",), ("module load casa",))


def test_a_wrong_configuration_is_told_at_its_keys(own: Path) -> None:
    own.write_text('[slurm]\noptions = ["gres=1"]\n[slurm.for.images]\nqos = "x"\n')
    with pytest.raises(RefusedError) as no:
        own_settings()
    assert str(no.value) == (
        f"{own}: slurm.for.images: no jobs are of this kind; did you mean 'image'? (known: "
        "calibrate, selfcal, image, cube, report)\n"
        "slurm.options[0]: 'gres=1' is no option of sbatch: write one a text, \"--gres=gpu:1\""
    )
    own.write_text('[slurm]\npartition = "a b"\nmemory = "1GB"\n')
    with pytest.raises(RefusedError, match=r"slurm\.memory: unknown key") as no:
        own_settings()
    assert "'a b' cannot go to a batch system" in str(no.value)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[list[str]]]:
    """Give Slurm's commands their words; return what was called."""

    def answers(**by_command: Any) -> list[list[str]]:
        calls: list[list[str]] = []

        def run(command: Sequence[str], **_: Any) -> subprocess.CompletedProcess[str]:
            calls.append(list(command))
            answer = by_command.get(command[0])
            if answer is None:
                raise FileNotFoundError(command[0])
            code, out, err = (0, answer, "") if isinstance(answer, str) else answer
            return subprocess.CompletedProcess(command, code, out, err)

        monkeypatch.setattr(subprocess, "run", run)
        return calls

    return answers


def test_states_come_from_the_queue_then_the_controller_then_the_accounting(
    said: Callable[..., list[list[str]]],
) -> None:
    said(
        squeue="1|PENDING|Priority||2026-01-01T00:00:00\n2_7|RUNNING|None|n3|2026-01-02T00:00:00\n",
        scontrol=(1, "", "slurm_load_jobs error: Invalid job id specified"),
        sacct="3|OUT_OF_MEMORY|None|n1|2026-01-01T00:00:00\n",
    )
    found = slurm.Slurm().states(["1", "2_7", "3"])
    assert found == {
        "1": JobState("1", "waiting", "PENDING", "Priority", "", "2026-01-01T00:00:00"),
        "2_7": JobState("2_7", "running", "RUNNING", "", "n3", "2026-01-02T00:00:00"),
        "3": JobState("3", "ended", "OUT_OF_MEMORY", "", "n1"),
    }
    assert [str(found[job]) for job in ("1", "2_7", "3")] == [
        "pending (Priority), start 2026-01-01T00:00:00",
        "running on n3, since 2026-01-02T00:00:00",
        "out of memory on n1",
    ]


def test_a_job_that_nobody_knows_is_lost_without_accounting(
    said: Callable[..., list[list[str]]],
) -> None:
    unknown = (1, "", "slurm_load_jobs error: Invalid job id specified")
    said(squeue=unknown, scontrol=unknown)
    found = slurm.Slurm().states(["9"])
    assert found == {"9": JobState("9", "lost")}
    assert str(found["9"]) == "lost: the batch system does not know it any more"


def test_jobs_of_others_with_our_numbers_are_not_ours(
    said: Callable[..., list[list[str]]],
) -> None:
    me = os.getuid()
    lines = [f"{job}|RUNNING|None|n1|2026-01-01T00:00:00|{user}|{comment}"
             for job, user, comment in (
                 ("1", me, "casarun-a"), ("2", me, "casarun-b"), ("3", me + 1, "casarun-a"),
                 ("4", me, "(null)"), ("5", me, "the site's own"))]  # fmt: skip
    remembered = f"JobId=6 UserId=x({me}) JobState=COMPLETED Comment=casarun-b"
    said(squeue="\n".join(lines), scontrol=remembered, sacct="")
    found = slurm.Slurm().states([*"123456"], "casarun-a")
    assert [job for job, state in found.items() if state.phase != "lost"] == ["1", "4", "5"]
    said(squeue="", scontrol=remembered.replace("-b", "-a"))
    assert slurm.Slurm().states(["6"], "casarun-a")["6"].state == "COMPLETED"


def test_refusals_come_with_the_way_out(said: Callable[..., list[list[str]]]) -> None:
    said(sbatch=(1, "", "sbatch: error: invalid partition specified: nope"))
    with pytest.raises(BatchError) as no:
        slurm.Slurm().submit(Path("x.sh"))
    assert str(no.value) == (
        "sbatch failed: sbatch: error: invalid partition specified: nope. Set cluster.partition; "
        "`sinfo` lists those there are."
    )


def test_commands_without_a_cluster_say_what_is_missing(
    said: Callable[..., list[list[str]]],
) -> None:
    """As of a machine that has Slurm's package, and no slurm.conf."""
    said(sbatch=(1, "", "sbatch: fatal: Could not establish a configuration source"))
    with pytest.raises(BatchError, match=r"source\. Slurm's commands are here, but no slurm\.conf"):
        slurm.Slurm().submit(Path("x.sh"))


def test_a_machine_without_slurm_says_so(said: Callable[..., list[list[str]]]) -> None:
    said()
    with pytest.raises(BatchError, match="there is no sbatch on the PATH: this machine submits"):
        slurm.Slurm().submit(Path("x.sh"))


def test_what_waits_is_killed_when_it_waits_in_vain(
    said: Callable[..., list[list[str]]],
) -> None:
    calls = said(sbatch="12;cluster\n")
    job = slurm.Slurm().submit(
        Path("x.sh"), After(failed=("3",)), array="0-9%4", mark="m", hold=True
    )
    assert job == "12"
    assert calls == [
        ["sbatch", "--parsable", "--hold", "--comment=m", "--array=0-9%4",
         "--dependency=afternotok:3", "--kill-on-invalid-dep=yes", "x.sh"]
    ]  # fmt: skip


def outcome(why: str, done: Sequence[str] = ()) -> Outcome:
    return Outcome(done=list(done), interrupted=bool(why), why=why)


@pytest.mark.parametrize("why", ["SIGUSR1", "its job ends at 2026-01-01 00:00:00 UTC"])
def test_a_job_whose_time_is_over_goes_back_into_the_queue(
    said: Callable[..., list[list[str]]], why: str
) -> None:
    calls = said(scontrol="")
    here = {"SLURM_JOB_ID": "5", "SLURM_ARRAY_JOB_ID": "4", "SLURM_ARRAY_TASK_ID": "1"}
    assert requeue_here(outcome(why), here) == (
        "job 4_1 goes back into the queue, and on from here when it starts again"
    )
    assert calls == [["scontrol", "requeue", "4_1"]]


def test_a_job_goes_back_only_if_its_time_is_over_and_something_was_done(
    said: Callable[..., list[list[str]]],
) -> None:
    calls = said(scontrol="")
    assert requeue_here(outcome("SIGTERM", ["a"]), {"SLURM_JOB_ID": "5"}) == ""
    assert requeue_here(outcome("", ["a"]), {"SLURM_JOB_ID": "5"}) == ""
    assert requeue_here(outcome("SIGUSR1", ["a"]), {}) == ""
    again = {"SLURM_JOB_ID": "5", "SLURM_RESTART_COUNT": "1"}
    assert requeue_here(outcome("SIGUSR1"), again) == (
        "job 5 is not put back into the queue: no step came to its end in its time; raise "
        "cluster.time"
    )
    assert calls == []
    assert "goes back" in requeue_here(outcome("SIGUSR1", ["a"]), again)


def test_a_folder_with_live_jobs_is_refused_but_to_those_jobs(
    tmp_path: Path, said: Callable[..., list[list[str]]]
) -> None:
    folder = RunFolder(tmp_path)
    refuse_if_live(folder)
    submission = Submission("slurm", "m", submitted="2026")
    submission.done((SubmittedJob("7", "run", "scripts/slurm/run.sh"),)).write(folder)
    assert read_submission(folder) == submission.done(
        (SubmittedJob("7", "run", "scripts/slurm/run.sh"),)
    )
    said(squeue="7|PENDING|Resources||N/A\n")
    with pytest.raises(LockedError) as held:
        refuse_if_live(folder)
    assert str(held.value) == (
        f"job 7 of slurm works in {tmp_path}, or will: pending (Resources). `casarun status "
        f"{tmp_path}` says more, `casarun cancel {tmp_path}` ends it"
    )
    refuse_if_live(folder, but="7")
    said(squeue="", scontrol="JobId=7 JobState=COMPLETED Reason=None\n")
    refuse_if_live(folder)


@pytest.mark.parametrize("jobs", ['[{"job": "1; rm", "name": "run", "script": "x"}]', "[7]", "{}"])
def test_a_damaged_record_is_told(tmp_path: Path, jobs: str) -> None:
    folder = RunFolder(tmp_path)
    folder.private.mkdir()
    folder.batch.write_text(f'{{"engine": "slurm", "mark": "m", "jobs": {jobs}}}')
    if jobs == "{}":
        assert read_submission(folder) is not None
        return
    with pytest.raises(DataError, match="is damaged: see that no job of this run is in the queue"):
        read_submission(folder)
