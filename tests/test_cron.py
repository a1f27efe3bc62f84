"""Started as cron starts: by sh, with next to no environment, no terminal, and again and again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from casarun.folder import RunFolder
from casarun.lock import FolderLock
from support.cli import COMMAND, Done, casarun, events, recipe
from support.mishaps import hold, in_time

NGC5921 = """[[dataset]]
name = "apr13"
vis = "casadata:demo/NGC5921.fits"
[calibrators]
flux = "1331+305*"
bandpass = "1331+305*"
phase = "1445+099*"
[targets]
fields = ["N5921*"]
[notify]
to = "me"
"""
# What cron gives: see crontab(5).
CRON = ("env", "-i", "LOGNAME=me", "SHELL=/bin/sh", "PATH=/usr/bin:/bin")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Give a home folder with a configuration, a recipe in it."""
    (tmp_path / ".config" / "casarun").mkdir(parents=True)
    (tmp_path / ".config" / "casarun" / "config.toml").write_text(
        f'[notify.me]\ncommand = ["tee", "-a", {json.dumps(str(tmp_path / "told"))}]\n'
    )
    recipe(tmp_path, NGC5921)
    return tmp_path


def from_cron(home: Path, *options: str) -> subprocess.Popen[str]:
    """Start a run as cron does: a shell in a session of its own, that starts in the home."""
    words = " ".join(f"'{word}'" for word in (*COMMAND, "recipe.toml", *options))
    return subprocess.Popen(
        [*CRON, f"HOME={home}", "/bin/sh", "-c", f"cd {home} && {words}"],
        cwd=home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def end_of(process: subprocess.Popen[str]) -> Done:
    out, err = process.communicate(timeout=600)
    return Done(process.args, process.returncode, out, err)


def silent(done: Done) -> bool:
    return (done.stdout, done.stderr) == ("", "")


@pytest.mark.casa
@in_time
def test_a_run_that_goes_on_is_left_alone(home: Path) -> None:
    run = home / "runs" / "recipe"
    shutil.rmtree(run, ignore_errors=True)
    (home / "told").unlink(missing_ok=True)
    first = from_cron(home, "--quiet", "--until", "flag")
    while not (run / ".casarun" / "journal.jsonl").exists():
        assert first.poll() is None
        time.sleep(0.005)
    hold(first.pid)  # it takes its time
    os.killpg(first.pid, signal.SIGSTOP)
    try:
        second = end_of(from_cron(home, "--quiet", "--until", "flag"))
        loud = end_of(from_cron(home, "--until", "flag"))
    finally:
        os.killpg(first.pid, signal.SIGCONT)
    assert second.returncode == 4
    assert silent(second)
    assert loud.returncode == 4
    assert loud.stderr.startswith(f"another run works in {run}: process ")
    one = end_of(first)
    assert (one.returncode, one.stdout, one.stderr) == (0, "", "")
    third = end_of(from_cron(home, "--quiet", "--until", "flag"))
    assert third.returncode == 0
    assert silent(third)
    # One process made everything, and it was told once.
    assert len({event["pid"] for event in events(run) if "pid" in event and "step" not in event
                and event["event"] == "run-started"}) == 1  # fmt: skip
    told = (home / "told").read_text()
    assert told.count("Verdict: pass (exit code 0); ") == 1
    assert f"Run folder: {run}\n" in told
    assert f"Report: {run}/qa/index.html\n" in told


@pytest.mark.casa
def test_without_any_environment(home: Path, tmp_path: Path) -> None:
    # No HOME either: who the user is, the system knows. The recipe names nobody's notifier.
    words = (*COMMAND, "recipe.toml", "--until", "import", "--quiet", "--set", "notify.to=[]")
    done = subprocess.run(
        ["env", "-i", *words], cwd=home, capture_output=True, text=True, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_run_of_which_nobody_knows_is_told_also_quietly(home: Path) -> None:
    (home / "a.ms").mkdir()
    recipe(home, '[[dataset]]\nvis = "a.ms"\n')
    folder = RunFolder(home / "runs" / "recipe")
    with FolderLock(folder.lock):
        content = json.loads(folder.lock.read_text())
        folder.lock.write_text(json.dumps(content | {"host": "tabor", "since": "2020-01-01"}))
        done = casarun("recipe.toml", "--quiet", cwd=home)
        assert done.returncode == 4
        assert f"If that run is no more, remove {folder.lock}" in done.stderr
        folder.lock.write_text(json.dumps(content))
        assert silent(casarun("recipe.toml", "--quiet", cwd=home))
