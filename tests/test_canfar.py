"""Runs as headless sessions of CANFAR, by its own client, against its API as it is documented."""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from casarun.api.batch_jobs import batch_status, cancel
from casarun.api.opening import Options, open_recipe
from casarun.api.submitting import Handed, submit
from casarun.engine.executors.batch import ENDED, LOST, RUNNING, WAITING, After, BatchError
from casarun.engine.executors.canfar import SUBMISSION, Canfar, session_name
from casarun.engine.submission import read_submission
from casarun.errors import LockedError, RefusedError
from casarun.folder import RunFolder
from support import fake_canfar
from support.cli import Done, casarun
from support.cli import recipe as write
from support.fake_canfar import IMAGE, Platform

# Not imported here: it looks for its user's own credentials when it is.
pytestmark = pytest.mark.skipif(find_spec("canfar") is None, reason="the extra is not installed")

RECIPE = '[project]\nname = "m51"\n[[dataset]]\nvis = "a.ms"\n[[dataset]]\nvis = "b.ms"\n'
FIXED = "[cluster]\ncores = 4\nmemory = '15.5GB'\n"


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    """Give the platform; the current folder, which sessions see, has a recipe."""
    for name in ("a.ms", "b.ms", "config/casarun", "home"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    configure(tmp_path, folders={str(tmp_path): str(tmp_path)})
    write(tmp_path, RECIPE + FIXED)
    with fake_canfar.platform() as server:
        for name, value in server.environ.items():
            monkeypatch.setenv(name, value)
        yield server


def configure(place: Path, **canfar: Any) -> None:
    """Write the user's configuration."""
    table = {"image": IMAGE, "env": {"DATA": "/arc/x y=z"}, "setup": ["ulimit -n 4096"]} | canfar
    lines = ["[canfar]"]
    for key, value in table.items():
        if isinstance(value, dict):
            pairs = (f"{json.dumps(k)} = {json.dumps(v)}" for k, v in value.items())
            lines.append(f"{key} = {{ {', '.join(pairs)} }}")
        else:
            lines.append(f"{key} = {json.dumps(value)}")
    (place / "config" / "casarun" / "config.toml").write_text("\n".join(lines) + "\n")


def hand_in(replicas: int = 1, **more: Any) -> Handed:
    return submit(Path("recipe.toml"), Options(), batch=Canfar(replicas=replicas), **more)


def test_a_dry_run_shows_the_script_and_asks_nobody(there: Platform, tmp_path: Path) -> None:
    handed = hand_in(dry_run=True)
    assert re.sub(r"by casarun .*", "by", handed.script) == (
        "#!/bin/bash\n"
        f"# Runs recipe.toml in {tmp_path}/runs/m51,\n"
        "# or goes on with its run. Written by\n"
        f'#CANFAR {{"name": "casarun-m51", "image": "{IMAGE}", "cores": 4, "ram": 16, '
        '"env": {"DATA": "/arc/x y=z"}, "replicas": 1}\n'
        "\n"
        "set -eu\n"
        "\n"
        "# From your own configuration:\n"
        "ulimit -n 4096\n"
        "\n"
        f"exec casarun run {tmp_path}/recipe.toml --output {tmp_path}/runs/m51 --jobs 4\n"
    )
    assert there.requests == []
    assert not (tmp_path / "runs").exists()


def test_what_the_client_really_sends(there: Platform, tmp_path: Path) -> None:
    handed = hand_in()
    (session,) = there.sessions.values()
    assert there.requests == ["POST /session"]
    mark = session.environment[SUBMISSION]
    env = [f"{k}={v}" for k, v in (("DATA", "/arc/x y=z"), (SUBMISSION, mark),
                                   ("REPLICA_ID", "1"), ("REPLICA_COUNT", "1"))]  # fmt: skip
    assert session.asked == {
        "name": [f"casarun-m51-{mark[-8:]}"], "image": [IMAGE], "cores": ["4"], "ram": ["16"],
        "type": ["headless"], "cmd": ["bash"],
        "args": [f"{tmp_path}/runs/m51/scripts/canfar/run.sh"], "env": env,
    }  # fmt: skip
    assert handed.path.read_text() == handed.script
    submission = read_submission(handed.folder)
    assert submission is not None
    assert (submission.engine, submission.complete) == ("canfar", True)
    assert [job.job for job in submission.jobs] == [session.id] == [handed.job]


def test_without_cores_and_memory_the_session_is_flexible(there: Platform, tmp_path: Path) -> None:
    write(tmp_path, RECIPE)
    handed = hand_in()
    (session,) = there.sessions.values()
    assert not {"cores", "ram"} & set(session.asked)
    assert "--jobs" not in handed.script
    assert handed.said == ("cores and memory: what the platform has to give (a flexible session)",)
    write(tmp_path, RECIPE + "[cluster]\ncores = 4\n")
    with pytest.raises(RefusedError, match="or neither"):
        hand_in(dry_run=True)


def test_replicas_share_the_datasets(there: Platform, tmp_path: Path) -> None:
    handed = hand_in(replicas=2)
    assert handed.script.endswith(' --part "$REPLICA_ID/$REPLICA_COUNT"\n')
    assert [one.environment["REPLICA_ID"] for one in there.sessions.values()] == ["1", "2"]
    submission = read_submission(handed.folder)
    assert submission is not None
    assert [job.job for job in submission.jobs] == list(there.sessions)
    parts = [open_recipe(Path("recipe.toml"), Options(part=(n, 2))) for n in (1, 2)]
    assert [[one.name for one in part.loaded.recipe.dataset] for part in parts] == [["a"], ["b"]]
    assert [part.folder.root for part in parts] == [
        tmp_path / "runs" / "m51" / f"part-{n}-of-2" for n in (1, 2)
    ]
    with pytest.raises(RefusedError, match="there are 2 datasets, and none falls to part 3 of 3"):
        open_recipe(Path("recipe.toml"), Options(part=(3, 3)))


def test_the_status_of_replicas_is_that_of_their_runs(there: Platform, tmp_path: Path) -> None:
    run = hand_in(replicas=2).folder
    first, second = there.sessions.values()
    first.status = second.status = "Running"

    def said() -> list[str]:
        done = casarun("status", "runs/m51", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout.replace(f"{tmp_path}/", "").splitlines()

    assert said()[0] == "runs/m51: running"
    for number, state in ((1, "done"), (2, "failed")):
        part = RunFolder(run.root / f"part-{number}-of-2")
        part.private.mkdir(parents=True)
        part.status.write_text(json.dumps({"state": state}))
    first.status = second.status = "Completed"
    assert said() == [
        "runs/m51: failed",
        f"handed to canfar at {read_submitted(run)} UTC",
        f"  job {first.id} (run): completed",
        f"  job {second.id} (run): completed",
        "  part-1-of-2: done",
        "  part-2-of-2: failed",
    ]
    (run.root / "part-2-of-2" / ".casarun" / "status.json").write_text('{"state": "done"}')
    assert said()[0] == "runs/m51: done"


def read_submitted(run: RunFolder) -> str:
    submission = read_submission(run)
    assert submission is not None
    return submission.submitted[:19]


@pytest.mark.parametrize("part", ["3/2", "0/2", "1", "1/", "a/b", "1/2/3", "-1/2"])
def test_a_part_that_is_none(there: Platform, tmp_path: Path, part: str) -> None:
    done = casarun("run", "recipe.toml", f"--part={part}", cwd=tmp_path)
    assert done.returncode == 2
    assert f"Invalid value for --part: expected 2/4, found '{part}'" in done.stderr


def test_what_is_watched_is_not_dealt_out(there: Platform, tmp_path: Path) -> None:
    write(tmp_path, '[[dataset]]\nvis = "*.ms"\nwatch = true\n')
    with pytest.raises(RefusedError, match="what falls to a part would change"):
        open_recipe(Path("recipe.toml"), Options(part=(1, 2)))


def test_only_canfar_has_replicas(there: Platform, tmp_path: Path) -> None:
    done = casarun("submit", "recipe.toml", "--to", "slurm", "--replicas", "2", cwd=tmp_path)
    assert done.returncode == 2
    assert "Invalid value for --replicas: slurm has no such thing" in done.stderr


def test_a_problem_of_a_part_points_at_its_own_dataset(there: Platform, tmp_path: Path) -> None:
    part = open_recipe(Path("recipe.toml"), Options(part=(2, 2)))
    assert part.loaded.source.in_document(("dataset", 0, "vis")) == ("dataset", 1, "vis")


def test_of_sessions_that_cannot_all_be_started_none_is_left(
    there: Platform, tmp_path: Path
) -> None:
    there.most_sessions = 1
    with pytest.raises(BatchError) as error:
        hand_in(replicas=2)
    assert str(error.value) == (
        f"CANFAR refuses to start 1 of 2: {IMAGE}: HTTP 400 (too many sessions). `canfar stats` "
        "says how many cores and how much memory there are"
    )
    assert there.sessions == {}
    assert read_submission(RunFolder(tmp_path / "runs" / "m51")) is None


def test_an_image_that_is_not_there(there: Platform, tmp_path: Path) -> None:
    here = {str(tmp_path): str(tmp_path)}
    configure(tmp_path, image="images.canfar.net/lab/other:1", folders=here)
    with pytest.raises(BatchError, match=re.escape("HTTP 400 (unknown or private image")):
        hand_in()


def test_an_image_must_be_configured(there: Platform, tmp_path: Path) -> None:
    config = tmp_path / "config" / "casarun" / "config.toml"
    config.write_text("")
    with pytest.raises(RefusedError) as error:
        hand_in(dry_run=True)
    assert str(error.value) == (
        f"a session runs in a container: name its image in your own {config}: [canfar] image = "
        '"images.canfar.net/PROJECT/casarun:latest"'
    )


def test_paths_are_those_that_sessions_see(there: Platform, tmp_path: Path) -> None:
    batch = Canfar({"folders": {"/home/me/arc": "/arc/home/me", "/data": "/arc/projects/p"}})
    for here, seen in (
        ("/arc/home/me/r.toml", "/arc/home/me/r.toml"),
        ("/home/me/arc/x/r.toml", "/arc/home/me/x/r.toml"),
        ("/data", "/arc/projects/p"),
    ):
        assert batch.seen_as(here) == seen
    configure(tmp_path)
    for path in ("/data2/r.toml", "/arc/../etc/r.toml", "/archive/r.toml"):
        with pytest.raises(RefusedError, match="sessions see /arc only"):
            Canfar({}).seen_as(path)
    with pytest.raises(RefusedError, match=f"{tmp_path}/recipe.toml: sessions see /arc only"):
        hand_in(dry_run=True)


def test_names_are_such_as_the_platform_takes() -> None:
    assert session_name("casarun-ngc_5921.a+b") == "casarun-ngc-5921-a-b"
    assert session_name("_") == "casarun"
    assert len(session_name("x" * 99)) == 40


def phases(run: RunFolder) -> list[tuple[str, str]]:
    status = batch_status(run)
    assert status is not None
    return [(state.phase, state.state) for state in status.states.values()]


def test_status_follows_the_session_and_is_saved_before_it_is_dropped(there: Platform) -> None:
    run = hand_in().folder
    (session,) = there.sessions.values()
    logs = run.root / "logs" / "batch"
    assert phases(run) == [(WAITING, "Pending")]
    session.status, session.logs = "Running", "first line\n"
    assert phases(run) == [(RUNNING, "Running")]
    assert (logs / f"{session.id}.log").read_text() == "first line\n"
    session.status, session.logs = "Failed", "first line\nlast line\n"
    assert phases(run) == [(ENDED, "Failed")]
    assert (logs / f"{session.id}.log").read_text() == "first line\nlast line\n"
    assert "assigned to a node" in (logs / f"{session.id}.events").read_text()
    assert json.loads((logs / f"{session.id}.json").read_text())["status"] == "Failed"
    there.drop()
    status = batch_status(run)
    assert status is not None
    (state,) = status.states.values()
    assert str(state) == "failed (as it was saved last)"
    assert (logs / f"{session.id}.log").read_text() == "first line\nlast line\n"


def test_a_session_of_which_nothing_was_saved_is_lost(there: Platform) -> None:
    run = hand_in().folder
    there.sessions.clear()
    assert phases(run) == [(LOST, "")]


def test_a_platform_that_does_not_answer_is_told(
    there: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = hand_in().folder
    there.answers = False
    status = batch_status(run)
    assert status is not None
    (job,) = status.submission.jobs
    assert status.silent == (
        f"CANFAR does not say how session {job.job} is: HTTP 503 (service busy)"
    )
    there.answers = True
    monkeypatch.setenv("CANFAR_TOKEN", "an-old-token")
    status = batch_status(run)
    assert status is not None
    assert status.silent.endswith("HTTP 401 (not authenticated)")
    monkeypatch.delenv("CANFAR_TOKEN")
    monkeypatch.delenv("CANFAR_URL")
    status = batch_status(run)
    assert status is not None
    assert status.silent.startswith("CANFAR cannot be asked: ")
    assert status.silent.endswith("`canfar login` renews your credentials")


def test_cancel_saves_the_log_and_ends_the_session(there: Platform) -> None:
    run = hand_in().folder
    (session,) = there.sessions.values()
    session.status, session.logs = "Running", "so far\n"
    assert cancel(run.root) == [session.id]
    assert there.sessions == {}
    assert (run.root / "logs" / "batch" / f"{session.id}.log").read_text() == "so far\n"
    assert cancel(run.root) == []


def test_a_submission_that_came_to_no_end_is_found_by_its_mark(there: Platform) -> None:
    run = hand_in().folder
    (session,) = there.sessions.values()
    record = json.loads(run.batch.read_text())
    run.batch.write_text(json.dumps(record | {"jobs": [], "complete": False}))
    assert Canfar().marked(record["mark"]) == [session.id]
    assert Canfar().marked("casarun-0000000000000000") == []
    assert cancel(run.root) == [session.id]


def test_a_run_with_a_live_session_is_left_alone(
    there: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    from casarun.api.running import _no_job

    handed = hand_in()
    with pytest.raises(LockedError, match=f"job {handed.job} of canfar works in"):
        hand_in()
    with pytest.raises(LockedError):
        _no_job(handed.folder)
    # The session itself is the one that may work there.
    monkeypatch.setenv(SUBMISSION, next(iter(there.sessions.values())).environment[SUBMISSION])
    _no_job(handed.folder)


def test_what_sessions_cannot_do_is_refused(there: Platform) -> None:
    script = hand_in(dry_run=True).script
    path = Path("run.sh")
    path.write_text(script)
    with pytest.raises(BatchError, match="sessions wait for nothing"):
        Canfar().submit(path, After(ended=("1",)))
    with pytest.raises(BatchError, match="no queue that session 1 could go back to"):
        Canfar().requeue("1")
    path.write_text("#!/bin/bash\n")
    with pytest.raises(BatchError, match="the script has no line '#CANFAR"):
        Canfar().submit(path)


def test_a_path_with_a_space_is_refused_because_the_platform_splits_there(
    there: Platform, tmp_path: Path
) -> None:
    (tmp_path / "my runs").mkdir()
    with pytest.raises(BatchError, match="CANFAR takes no spaces in paths"):
        submit(Path("recipe.toml"), Options(output=Path("my runs/x")), batch=Canfar())


def test_the_client_is_an_extra(there: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "canfar.sessions", None)
    with pytest.raises(BatchError, match=r"pip install 'casarun\[canfar\]'"):
        hand_in()


NGC5921 = """[project]
name = "m51"
[[dataset]]
name = "apr13"
vis = "casadata:demo/NGC5921.fits"
[calibrators]
flux = "1331+305*"
bandpass = "1331+305*"
phase = "1445+099*"
[targets]
fields = ["N5921*"]
"""


@pytest.mark.casa
def test_a_run_from_submission_to_its_log(there: Platform, tmp_path: Path) -> None:
    """A session runs its script as the container would; all is done by the command line."""
    write(tmp_path, NGC5921)
    program = tmp_path / "bin" / "casarun"
    program.parent.mkdir()
    begin = tmp_path / "begin"
    program.write_text(
        f"#!/bin/sh\nuntil [ -e {begin} ]; do sleep 0.05; done\n"
        f'exec {sys.executable} -m casarun "$@"\n'
    )
    program.chmod(0o755)
    environ = dict(os.environ)

    def call(*words: str) -> Done:
        done = casarun(*words, cwd=tmp_path, env=environ)
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    handed = call("submit", "recipe.toml", "--to", "canfar", "--until", "flag")
    (session,) = there.sessions.values()
    assert f"job {session.id} of {tmp_path}/runs/m51" in handed.stdout
    waits = call("status", "runs/m51").stdout
    assert f"job {session.id} (run): pending" in waits
    inside = {"PATH": f"{program.parent}:/usr/bin:/bin", "HOME": str(tmp_path / "home")}
    worker = threading.Thread(target=there.run, args=(session, inside))
    worker.start()
    while session.status != "Running":
        time.sleep(0.05)
    # Meanwhile nobody else may work there: the session does.
    other = casarun("recipe.toml", cwd=tmp_path, env=environ)
    begin.touch()
    worker.join()
    assert other.returncode == 4
    assert f"job {session.id} of canfar works in" in other.stderr
    assert session.status == "Completed", session.logs
    told = call("status", "runs/m51").stdout
    assert f"job {session.id} (run): completed" in told
    log = (tmp_path / "runs/m51/logs/batch" / f"{session.id}.log").read_text()
    assert "verdict: pass" in log
    there.drop()
    told = call("status", "runs/m51").stdout
    assert f"job {session.id} (run): completed (as it was saved last)" in told
    assert json.loads(call("status", "runs/m51", "--json").stdout)["batch"]["engine"] == "canfar"
