"""Datasets that come one after the other: only what is new is reduced, nothing that was is lost."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from casarun.api import Options, RunResult, plan, reducing, run
from casarun.api.opening import Reduction
from casarun.api.submitting import submit
from casarun.casa.integrity import REQUIRED_SUBTABLES
from casarun.engine import arrivals
from casarun.engine.arrivals import waits_for
from casarun.engine.executors.canfar import Canfar
from casarun.errors import DataError, ExitCode, Problem, RefusedError
from casarun.observation import Observation
from casarun.recipe.load import load
from casarun.recipe.model import KeptDataset
from casarun.recipe.paths import casadata_folder
from support import many_datasets
from support.cli import Done, casarun
from support.cli import recipe as write
from support.many_datasets import RECIPE, without_casa

WATCH = '[[dataset]]\nvis = "data/*.uvfits"\nwatch = true\nsettle = "0s"\n'


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """Give a folder in which data are to come; steps are done without CASA."""
    (tmp_path / "data").mkdir()
    with without_casa():
        yield tmp_path


def come(place: Path, *names: str) -> None:
    for name in names:
        (place / "data" / f"{name}.uvfits").write_text(name)


def go(place: Path, more: str = "", watch: str = WATCH, **options: Any) -> tuple[RunResult, Any]:
    """Start a run; return what it came to, and what it said of datasets: words, and if loudly."""
    path = place / "survey.toml"
    path.write_text(RECIPE.replace("KEEP", "all") + watch + more)
    heard: list[tuple[str, bool]] = []

    def listen(event: dict[str, Any]) -> None:
        if event["event"] == "dataset-noted":
            heard.append((event["said"].replace(f"{place}/", ""), event["loud"]))

    result = run(path, Options(output=place / "run", **options), listen)
    return result, heard


def of(steps: list[str]) -> set[str]:
    """Return the datasets and targets of which steps are: ``day1`` and ``T1`` are ``1``."""
    return {step.partition(".")[0].removeprefix("day").removeprefix("T") for step in steps}


def products(place: Path, name: str) -> dict[str, float]:
    """Return the times at which what was made of a dataset, and of its target, was written."""
    found = [*place.glob(f"run/*/day{name}*"), *place.glob(f"run/images/T{name}.*")]
    assert len(found) > 8
    return {str(path): path.stat().st_mtime_ns for path in found}


def test_nothing_has_come_yet(place: Path) -> None:
    result, heard = go(place)
    assert (result.exit_code, result.outcome.done, heard) == (ExitCode.DONE, [], [])
    assert plan(place / "survey.toml", Options(output=place / "run")).plan.steps == ()
    come(place, "day1")
    assert of(go(place)[0].outcome.done) == {"1"}


def test_only_what_is_new_is_reduced(place: Path) -> None:
    come(place, "day1", "day3")
    first, heard = go(place)
    assert (first.exit_code, heard) == (ExitCode.DONE, [])
    assert of(first.outcome.done) == {"1", "3"}
    before = products(place, "1") | products(place, "3")
    come(place, "day2")  # between the others
    second, heard = go(place)
    assert (second.exit_code, heard) == (ExitCode.DONE, [])
    assert of(second.outcome.done) == {"2"}
    assert of(list(second.outcome.skipped)) == {"1", "3"}
    assert products(place, "1") | products(place, "3") == before
    assert set(second.metrics["datasets"]) == {"day1", "day2", "day3"}
    third, _ = go(place)
    assert third.outcome.done == []


def test_what_is_still_being_written_is_left_for_the_next_time(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    come(place, "day1")
    shutil.copystat("/etc/hostname", place / "data" / "day1.uvfits")  # as rsync -t and cp -p do
    calm = WATCH.replace("0s", "10min")
    result, heard = go(place, watch=calm)
    assert (result.exit_code, result.outcome.done) == (ExitCode.DONE, [])
    said = "data/day1.uvfits is left for the next time: it was changed just now; it must be quiet "
    assert heard == [(f"{said}for 10 min 00 s", False)]
    now_ns = time.time_ns() + 11 * 60 * 10**9
    monkeypatch.setattr(arrivals.time, "time_ns", lambda: now_ns)
    come(place, "day2")
    result, heard = go(place, watch=calm)
    assert of(result.outcome.done) == {"1", "2"}
    monkeypatch.undo()
    (place / "data" / "day2.uvfits").write_text("more")  # what was reduced is written once more
    before = products(place, "2")
    result, heard = go(place, watch=calm)
    assert result.outcome.done == []
    assert products(place, "2") == before
    assert [said for said, _ in heard] == [
        f"data/day{n}.uvfits changes: what was made of it stays until it is whole" for n in (1, 2)
    ]
    now_ns += 11 * 60 * 10**9
    monkeypatch.setattr(arrivals.time, "time_ns", lambda: now_ns)
    assert of(go(place, watch=calm)[0].outcome.done) == {"2"}  # it is whole, and another


def test_what_is_never_whole_is_told_loudly_once(place: Path) -> None:
    come(place, "day1")
    calm = WATCH.replace("0s", "10min")
    go(place, watch=calm)
    memory = place / "run" / ".casarun" / "watched.json"
    memory.write_text(memory.read_text().replace('"since": "20', '"since": "19'))
    _, heard = go(place, watch=calm)
    ((said, loud),) = heard
    assert said.startswith("data/day1.uvfits has not been whole since 19")
    assert loud
    assert go(place, watch=calm)[1] == [(said, False)]


def test_what_is_gone_is_told_and_not_lost(place: Path) -> None:
    come(place, "day1", "day2")
    go(place)
    before = products(place, "1")
    (place / "data" / "day1.uvfits").unlink()
    result, heard = go(place)
    assert heard == [("data/day1.uvfits is gone: what was made of it stays", True)]
    assert (result.exit_code, result.outcome.done) == (ExitCode.DONE, [])
    assert set(result.metrics["datasets"]) == {"day1", "day2"}
    # Another one comes, the recipe asks for another image: the one that is gone takes part.
    come(place, "day3")
    more = '[[image]]\nname = "deep"\nimsize = 64\ncell = "5arcsec"\n'
    result, heard = go(place, more)
    assert heard == [("data/day1.uvfits is gone: what was made of it stays", False)]
    assert result.exit_code == ExitCode.DONE
    assert of(result.outcome.done) == {"1", "2", "3"}
    assert {step for step in result.outcome.done if step.startswith("day1")} == set()
    assert (place / "run" / "images" / "T1.deep.fits").exists()
    after = products(place, "1")
    assert {path: after[path] for path in before} == before
    # It comes back: nothing has happened.
    come(place, "day1")
    assert go(place, more)[0].outcome.done == []


def test_what_was_gone_before_it_was_reduced_is_told(place: Path) -> None:
    come(place, "day1")
    go(place, watch=WATCH.replace("0s", "1h"))
    (place / "data" / "day1.uvfits").unlink()
    result, heard = go(place)
    assert heard == [("data/day1.uvfits is gone: it was not reduced", True)]
    assert go(place)[1] == []
    assert result.exit_code == ExitCode.DONE


def test_fresh_does_not_forget_what_nothing_can_make_again(place: Path) -> None:
    come(place, "day1")
    go(place)
    assert of(go(place, fresh=True)[0].outcome.done) == {"1"}
    (place / "data" / "day1.uvfits").unlink()
    with pytest.raises(RefusedError) as error:
        go(place, fresh=True)
    assert str(error.value) == (
        f"{place}/survey.toml: --fresh would remove what was made of 1 dataset whose files are "
        f"gone, and which nothing could make again: {place}/data/day1.uvfits. Keep the run "
        "folder, and make a fresh run in another: --output"
    )
    batch = Canfar({"image": "lab/casarun", "folders": {"/": "/"}})
    options = Options(output=place / "run", fresh=True)
    with pytest.raises(RefusedError, match="--fresh would remove what was made of 1 dataset"):
        submit(place / "survey.toml", options, batch=batch)
    assert go(place)[0].outcome.done == []


def test_one_that_is_refused_is_set_aside(place: Path) -> None:
    come(place, "day1")
    go(place)
    # The fake observation of a dataset has a target named after it: another pattern finds none.
    come(place, "night2", "day3")
    watch = WATCH + '[[image]]\nname = "x"\ntargets = ["*"]\nimsize = 64\ncell = "5arcsec"\n'
    (place / "data" / "night2.uvfits").rename(place / "data" / "dXXX9.uvfits")
    with_bad = RECIPE.replace('fields = ["T*"]', 'fields = ["T[0-9]*"]')
    (place / "survey.toml").write_text(with_bad.replace("KEEP", "all") + watch)
    heard: list[tuple[str, bool]] = []

    def listen(event: dict[str, Any]) -> None:
        if event["event"] == "dataset-noted":
            heard.append((event["said"], event["loud"]))

    def start() -> RunResult:
        heard.clear()
        return run(place / "survey.toml", Options(output=place / "run"), listen)

    result = start()
    assert result.exit_code == ExitCode.STEP_FAILED
    assert set(result.aside) == {"dXXX9"}
    assert {step.partition(".")[0] for step in result.outcome.done} >= {"day3", "T3"}
    ((said, loud),) = heard
    assert said.startswith("dXXX9 is set aside: ")
    assert loud
    again = start()
    assert (again.exit_code, again.outcome.done) == (ExitCode.STEP_FAILED, [])
    assert heard == [(said, False)]
    (place / "data" / "dXXX9.uvfits").rename(place / "data" / "day9.uvfits")
    last = start()
    assert last.exit_code == ExitCode.DONE
    assert {step.partition(".")[0] for step in last.outcome.done} >= {"day9", "T9"}


def test_one_that_is_refused_after_it_changed_stays_as_it_was(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    come(place, "day1")
    go(place)
    before = products(place, "1")
    real = reducing.observe

    def observe(reduction: Reduction, *more: Any) -> Any:
        for number, one in enumerate(reduction.loaded.recipe.dataset):
            if one.name == "day1" and not isinstance(one, KeptDataset):
                key = ("dataset", number, "vis")
                raise reduction.refused([Problem("day1.uvfits is cut short", key)])
        return real(reduction, *more)

    monkeypatch.setattr(reducing, "observe", observe)
    (place / "data" / "day1.uvfits").write_text("worse")
    come(place, "day2")
    result, heard = go(place)
    assert (result.exit_code, result.aside) == (
        ExitCode.STEP_FAILED, {"day1": "day1.uvfits is cut short"},
    )  # fmt: skip
    said = "day1 is set aside: day1.uvfits is cut short"
    assert heard == [(said, True)]
    assert of(result.outcome.done) == {"2"}
    assert products(place, "1") == before
    again, heard = go(place)
    assert (again.exit_code, again.outcome.done) == (ExitCode.STEP_FAILED, [])
    assert heard == [(said, False)]
    monkeypatch.undo()
    (place / "data" / "day1.uvfits").write_text("better")
    last, _ = go(place)
    assert last.exit_code == ExitCode.DONE
    assert of(last.outcome.done) == {"1"}


def test_one_that_the_recipe_does_not_fit_after_it_changed_refuses_the_run(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    come(place, "day1", "day2")
    go(place)
    real = many_datasets._observation

    def without_target(name: str) -> Observation:
        found = real(name)
        return replace(found, fields=found.fields[:-1]) if name == "day1" else found

    monkeypatch.setattr(many_datasets, "_observation", without_target)
    (place / "data" / "day1.uvfits").write_text("worse")
    images = {path: path.stat().st_mtime_ns for path in place.glob("run/images/T1.*")}
    assert images
    with pytest.raises(RefusedError, match="no field of dataset day1 matches"):
        go(place)
    assert {path: path.stat().st_mtime_ns for path in images} == images


def test_a_recipe_that_is_wrong_is_refused_as_ever(place: Path) -> None:
    come(place, "day1", "day2")
    image = '[[image]]\nname = "m31"\ntargets = ["M31"]\nimsize = 64\ncell = "5arcsec"\n'
    with pytest.raises(RefusedError) as error:
        go(place, image)
    assert "image[1].targets" in str(error.value)
    come(place, "day3")
    memory = (place / "run" / ".casarun" / "watched.json").read_text()
    assert "set aside" not in memory


def test_a_damaged_memory_is_told(place: Path) -> None:
    come(place, "day1")
    go(place)
    memory = place / "run" / ".casarun" / "watched.json"
    memory.write_text(json.dumps({"datasets": {"/x": {"path": 1}}, "kept": {}}))
    with pytest.raises(DataError) as error:
        go(place)
    assert str(error.value) == (
        f"{memory} is damaged: put it back from a backup; or remove it, and datasets whose files "
        "are gone are left out of the run"
    )


def test_a_kill_does_not_forget_what_was_read(place: Path) -> None:
    come(place, "day1", "day2")

    class Killed(BaseException):
        pass

    def listen(event: dict[str, Any]) -> None:
        if event["event"] == "step-done" and event["step"] == "day2.import":
            raise Killed

    path = place / "survey.toml"
    path.write_text(RECIPE.replace("KEEP", "all") + WATCH)
    with pytest.raises(Killed):
        run(path, Options(output=place / "run"), listen)
    # Both were imported; nobody has come to note it. The next start does.
    result, heard = go(place)
    assert (result.exit_code, heard) == (ExitCode.DONE, [])
    (place / "data" / "day2.uvfits").unlink()
    assert go(place)[0].outcome.done == []


def test_a_log_may_tell_of_what_has_not_come(place: Path) -> None:
    (place / "log.csv").write_text("night,file\nday1,day1\nday2,day2\n")
    watch = (
        '[[dataset]]\nlog = "log.csv"\nname = "${night}"\nvis = "data/${file}.uvfits"\n'
        'watch = true\nsettle = "0s"\n'
    )
    come(place, "day2")
    assert of(go(place, watch=watch)[0].outcome.done) == {"2"}
    come(place, "day1")
    assert of(go(place, watch=watch)[0].outcome.done) == {"1"}
    (place / "data" / "day2.uvfits").unlink()
    result, heard = go(place, watch=watch)
    assert heard == [("data/day2.uvfits is gone: what was made of it stays", True)]
    assert result.outcome.done == []
    with pytest.raises(RefusedError, match="no such file"):
        go(place, watch=watch.replace("watch = true\n", "").replace('settle = "0s"\n', ""))


def names(place: Path, table: str) -> list[str]:
    path = write(place, f"[[dataset]]\n{table}\n")
    return [dataset.name for dataset in load(path).recipe.dataset]


def test_the_first_of_several_is_named_like_the_others(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    come(tmp_path, "a")
    assert names(tmp_path, 'vis = "data/*.uvfits"\nname = "x"') == ["x"]
    assert names(tmp_path, 'vis = "data/*.uvfits"\nname = "x"\nwatch = true') == ["x-a"]
    assert names(tmp_path, 'vis = "data/a.uvfits"\nname = "x"\nwatch = true') == ["x"]
    assert names(tmp_path, 'vis = "data/b.uvfits"\nname = "x"\nwatch = true') == []


def test_settle_needs_watch(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    come(tmp_path, "a")
    loaded = load(write(tmp_path, '[[dataset]]\nvis = "data/a.uvfits"\nsettle = "1min"\n'))
    assert loaded.warned.splitlines()[0] == (
        f"{tmp_path}/recipe.toml:4:1: warning: dataset[0].settle: has no effect without "
        "watch = true"
    )


def ms(path: Path) -> Path:
    """Make what looks like a MeasurementSet."""
    for name in ("", *REQUIRED_SUBTABLES):
        (path / name).mkdir(parents=True, exist_ok=True)
        (path / name / "table.dat").touch()
        (path / name / "table.lock").touch()
    return path


def test_an_ms_that_lacks_something_is_not_whole(tmp_path: Path) -> None:
    vis = ms(tmp_path / "a.ms")
    assert waits_for(vis, 0) == ""
    assert waits_for(vis, 60).startswith("it was changed ")
    (vis / "FIELD" / "table.dat").unlink()
    assert waits_for(vis, 0) == "its subtable FIELD is missing"
    (vis / "table.dat").unlink()
    assert waits_for(vis, 0) == "it has no table.dat"
    (vis / "ASDM.xml").touch()
    assert waits_for(vis, 0) == ""
    assert waits_for(tmp_path / "b.ms", 0) == "it is gone again"


def test_a_fits_file_that_is_cut_short_is_not_whole(tmp_path: Path) -> None:
    whole = casadata_folder() / "demo" / "NGC5921.fits"
    size = whole.stat().st_size
    with whole.open("rb") as stream:
        content = stream.read(3_000_000)
    path = tmp_path / "a.fits"
    for kept, said in (
        (content[:1000], "its header is cut short"),
        (content[:2880], "its header is cut short"),
        (content[:1_000_000], "it has 1,000,000 of 35,"),
        (content[: 2880 * 1000], "it has 2,880,000 of 35,"),
        (b"no FITS", ""),
        (b"", ""),
    ):
        path.write_bytes(kept)
        assert waits_for(path, 0).startswith(said)
        assert bool(waits_for(path, 0)) == bool(said)
    path.unlink()
    path.symlink_to(whole)
    assert size % 2880 == 0
    assert waits_for(path, 0) == ""
    image = tmp_path / "image.fits"
    fits.PrimaryHDU(np.zeros((50, 60), np.float32)).writeto(image)
    assert waits_for(image, 0) == ""
    with image.open("ab") as stream:
        stream.write(b"0" * 100)  # a table of which the beginning is there
    assert waits_for(image, 0) == "it ends within a record of FITS"


def test_a_file_that_grows_with_its_time_set_back_is_not_whole(tmp_path: Path) -> None:
    vis = ms(tmp_path / "a.ms")
    os.utime(vis / "table.dat", (0, 0))
    assert waits_for(vis, 60).startswith("it was changed ")


def test_an_ms_that_someone_writes_to_is_not_whole(tmp_path: Path) -> None:
    vis = ms(tmp_path / "a.ms")
    lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 1, 0)
    code = (
        "import fcntl, sys\n"
        f"file = open({str(vis / 'FIELD' / 'table.lock')!r}, 'r+b')\n"
        f"fcntl.fcntl(file, fcntl.F_SETLK, {lock!r})\n"
        "print('held', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"held\n"
        said = f"process {writer.pid} is writing to FIELD and holds its lock"
        assert waits_for(vis, 0) == said
        writer.communicate()
    assert waits_for(vis, 0) == ""


def quiet(place: Path) -> Done:
    return casarun("recipe.toml", "--quiet", cwd=place)


def test_waiting_is_no_news_for_cron(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    write(tmp_path, WATCH.replace("0s", "1h"))
    for _ in range(2):
        done = quiet(tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        come(tmp_path, "day1")
    loud = casarun("recipe.toml", cwd=tmp_path)
    assert "day1.uvfits is left for the next time" in loud.stdout
    assert "nothing to do: no dataset is there to be reduced yet" in loud.stdout
    shown = casarun("plan", "recipe.toml", cwd=tmp_path)
    assert shown.returncode == 0
    assert "day1.uvfits is left for the next time" in shown.stderr
