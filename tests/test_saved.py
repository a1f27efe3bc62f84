"""States of products that are changed in place: saved, found again, and gone back to."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from casarun import files
from casarun.casa.table_files import left_alone
from casarun.casa.tables import open_table
from casarun.engine import saved
from casarun.engine.executors import Job
from casarun.engine.policy import Budget, RetryPolicy
from casarun.engine.resume import Decided, decide, survey
from casarun.engine.saved import Save, SavedState, SavedStates
from casarun.engine.scheduler import Outcome, run
from casarun.errors import DataError
from casarun.folder import RunFolder
from casarun.plan import Plan, Step
from support import crashes, skies
from support.cli import casarun
from support.fake_actions import chain, fake
from test_engine import MemoryExecutor, make, put

UNIT = "raw/x.ms"
A, B, C, D = "aaaa", "bbbb", "cccc", "dddd"


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """Give a run folder with an MS of six files."""
    folder = RunFolder(tmp_path / "run")
    for name in ("table.dat", "table.f0", "table.f1_TSM0", "table.lock", "ANTENNA/table.f0",
                 "HISTORY/table.f0"):  # fmt: skip
        write(folder.root / UNIT / name, f"first {name}")
    return folder


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def contents(folder: RunFolder, unit: str = UNIT) -> dict[str, bytes]:
    root = folder.root / unit
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def save(folder: RunFolder, *holds: str, leaves: Collection[str] = ()) -> SavedState | None:
    return SavedStates(folder).save(Save(UNIT, holds), lambda: leaves)


def find(folder: RunFolder, *holds: str) -> SavedState | None:
    return SavedStates(folder).find(UNIT, holds)


def back(folder: RunFolder, *holds: str) -> None:
    state = find(folder, *holds)
    assert state is not None
    SavedStates(folder).restore(state)


# --- saving and going back


def test_a_product_goes_back_to_the_bit(folder: RunFolder) -> None:
    before = contents(folder)
    save(folder, A)
    write(folder.root / UNIT / "table.f0", "flagged")
    write(folder.root / UNIT / "table.f2_TSM0", "a new column")
    write(folder.root / UNIT / "SOURCE" / "FT_MODEL1_1" / "table.dat", "a model")
    (folder.root / UNIT / "ANTENNA" / "table.f0").unlink()
    back(folder, A)
    assert contents(folder) == before
    assert not (folder.root / UNIT / "SOURCE").exists()


def test_a_product_that_is_gone_comes_back_from_a_snapshot(folder: RunFolder) -> None:
    before = contents(folder)
    assert save(folder, A).whole  # type: ignore[union-attr]
    shutil.rmtree(folder.root / UNIT)
    back(folder, A)
    assert contents(folder) == before


def test_a_single_file_is_a_product_too(folder: RunFolder) -> None:
    write(folder.root / "images/x.fits", "one")
    states = SavedStates(folder)
    states.save(Save("images/x.fits", (A,)), lambda: ())
    write(folder.root / "images/x.fits", "two")
    state = states.find("images/x.fits", (A,))
    assert state is not None
    states.restore(state)
    assert (folder.root / "images/x.fits").read_text() == "one"


def test_what_a_change_leaves_alone_is_not_copied(folder: RunFolder) -> None:
    big = {"table.f1_TSM0", "ANTENNA/table.f0", "HISTORY/table.f0", "table.lock"}
    state = save(folder, A, leaves=big)
    assert state is not None
    # Every task writes the lock and the history, whatever is said of it.
    assert set(state.left) == {"table.f1_TSM0", "ANTENNA/table.f0"}
    before = contents(folder)
    write(folder.root / UNIT / "table.f0", "flagged")
    back(folder, A)
    assert contents(folder) == before


def test_a_file_left_alone_and_altered_since_makes_a_state_useless(folder: RunFolder) -> None:
    save(folder, A, leaves={"table.f1_TSM0"})
    assert find(folder, A)
    time.sleep(0.02)
    path = folder.root / UNIT / "table.f1_TSM0"
    status = path.stat()
    write(path, path.read_text().upper())
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert find(folder, A) is None


def test_a_later_state_keeps_what_an_earlier_one_left(folder: RunFolder) -> None:
    """Flags are left alone by setjy, and copied before applycal changes them."""
    first = contents(folder)
    save(folder, A, leaves={"table.f0", "table.f1_TSM0"})
    write(folder.root / UNIT / "table.dat", "with a model")
    save(folder, A, B, leaves={"table.f1_TSM0"})
    write(folder.root / UNIT / "table.f0", "flagged")
    back(folder, A)
    assert contents(folder) == first


def test_a_file_in_several_states_is_kept_once(folder: RunFolder) -> None:
    save(folder, A)
    store = next(folder.saved.iterdir()) / "files"
    assert len(list(store.iterdir())) == 6
    write(folder.root / UNIT / "table.f0", "flagged")
    save(folder, A, B)
    assert len(list(store.iterdir())) == 7


def test_states_of_another_history_go(folder: RunFolder) -> None:
    save(folder, A)
    write(folder.root / UNIT / "table.f0", "one")
    save(folder, A, B)
    write(folder.root / UNIT / "table.f0", "two")
    save(folder, A, B, C)
    back(folder, A)
    write(folder.root / UNIT / "table.f0", "three")
    save(folder, A, D)
    assert [bool(find(folder, *holds)) for holds in ((A,), (A, B), (A, B, C), (A, D))] == [
        True, False, False, True,
    ]  # fmt: skip
    store = next(folder.saved.iterdir()) / "files"
    kept = {path.read_text() for path in store.iterdir()}
    assert "three" in kept
    assert not kept & {"one", "two"}


def test_copies_must_be_worth_their_time(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tenth of the time that it takes to make the state again from the one saved before."""
    monkeypatch.setattr(saved, "FREELY", 0)
    monkeypatch.setattr(saved, "BYTES_A_SECOND", 100.0)
    size = sum(len(content) for content in contents(folder).values())
    assert size == 108
    states = SavedStates(folder)
    assert states.save(Save(UNIT, (A,), (10.0,)), lambda: ()) is None
    assert states.find(UNIT, (A,)) is None
    assert states.save(Save(UNIT, (A,), (11.0,)), lambda: ())
    write(folder.root / UNIT / "table.f0", "x" * 50)
    # 11 s made what is saved by now: of the rest, 4 s are worth 40 bytes.
    assert states.save(Save(UNIT, (A, B), (11.0, 4.0)), lambda: ()) is None
    assert states.save(Save(UNIT, (A, B), (11.0, 5.0)), lambda: ())


def test_copies_must_leave_most_of_the_disk(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = shutil.disk_usage(folder.root)._replace(free=1079)
    monkeypatch.setattr(saved.shutil, "disk_usage", lambda path: free)
    assert save(folder, A) is None
    monkeypatch.setattr(saved.shutil, "disk_usage", lambda path: free._replace(free=1080))
    assert save(folder, A)


# --- what is not to be believed


def test_a_product_with_links_is_not_saved(folder: RunFolder, tmp_path: Path) -> None:
    write(tmp_path / "secret", "secret")
    (folder.root / UNIT / "table.f9").symlink_to(tmp_path / "secret")
    assert save(folder, A) is None


def test_a_product_outside_is_neither_read_nor_written(folder: RunFolder, tmp_path: Path) -> None:
    save(folder, A)
    state = find(folder, A)
    assert state
    elsewhere = tmp_path / "elsewhere"
    (folder.root / UNIT).rename(elsewhere)
    (folder.root / UNIT).symlink_to(elsewhere)
    before = {p: p.read_bytes() for p in elsewhere.rglob("*") if p.is_file()}
    with pytest.raises(DataError, match="leads out of the run folder"):
        SavedStates(folder).restore(state)
    assert {p: p.read_bytes() for p in elsewhere.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("name", ["../../out", "/out", "a/../../../out"])
@pytest.mark.parametrize("kind", ["files", "left"])
def test_a_record_that_leads_out_is_no_record(folder: RunFolder, name: str, kind: str) -> None:
    save(folder, A, leaves={"table.f1_TSM0"})
    record = next(folder.saved.rglob("*.json"))
    data = json.loads(record.read_text())
    data[kind][name] = next(iter(data[kind].values()))
    record.write_text(json.dumps(data))
    assert find(folder, A) is None


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"unit": 3}', '{"unit":"raw/x.ms","holds":["aaaa"],"files":3}', "\0"]
)
def test_a_damaged_record_is_no_record(folder: RunFolder, text: str) -> None:
    save(folder, A)
    next(folder.saved.rglob("*.json")).write_text(text)
    assert find(folder, A) is None
    assert save(folder, A)
    assert find(folder, A)


def test_a_copy_that_was_cut_is_not_used(folder: RunFolder) -> None:
    save(folder, A)
    copy = max((next(folder.saved.iterdir()) / "files").iterdir())
    copy.write_bytes(copy.read_bytes()[:-1])
    assert find(folder, A) is None


def test_a_kill_while_saving_leaves_no_state(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(*arguments: Any, **more: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(saved, "write_json", kill)
    with pytest.raises(KeyboardInterrupt):
        save(folder, A)
    monkeypatch.undo()
    assert find(folder, A) is None
    assert save(folder, A)


# --- deciding and going back in runs


def keep(job: Job) -> dict[str, Any]:
    """Save as a step's process does, then do what the step does."""
    for wanted in job.saves:
        SavedStates(RunFolder(job.folder)).save(wanted, lambda: ())
    return make(job)


def go(folder: RunFolder, steps: tuple[Step, ...], behave: Any = keep) -> tuple[Outcome, list[Any]]:
    told: list[Any] = []
    executor = MemoryExecutor(behave)
    outcome = run(Plan(steps), folder, executor, RetryPolicy(wait_s=0.0), Budget(1), told.append)
    return outcome, [e for e in told if e["event"] == "product-restored"]


def decided(folder: RunFolder, steps: tuple[Step, ...]) -> Decided:
    plan = Plan(steps)
    return decide(plan, survey(plan, folder))


@pytest.fixture
def empty(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


def with_apply(say: str) -> tuple[Step, ...]:
    steps = list(chain())
    steps[3] = fake("apply", reads="caltables/g", updates=UNIT, params={"say": say})
    return tuple(steps)


def same(folder: RunFolder, steps: tuple[Step, ...]) -> None:
    """Hold what a folder has against a fresh run."""
    fresh = RunFolder(folder.root.parent / "fresh")
    shutil.rmtree(fresh.root, ignore_errors=True)
    go(fresh, steps)
    for path in {p for step in steps for p in step.writes}:
        assert (folder.root / path).read_text() == (fresh.root / path).read_text(), path
    assert not decided(folder, steps)


def test_an_edited_change_is_undone_and_what_came_before_is_kept(empty: RunFolder) -> None:
    go(empty, chain())
    way = decided(empty, with_apply("b"))
    assert way.to_run == ["apply", "split", "image", "export"]
    said = "raw/x.ms goes back to its state after flag, from a snapshot: it already holds later"
    assert [str(restore) for restore in way.restores] == [f"{said} changes"]
    outcome, restored = go(empty, with_apply("b"))
    assert outcome.done == ["apply", "split", "image", "export"]
    assert [(e["product"], e["after"], e["whole"]) for e in restored] == [(UNIT, "flag", True)]
    same(empty, with_apply("b"))


def test_a_change_taken_away_is_undone_and_nothing_else_runs(empty: RunFolder) -> None:
    more = (*chain(), fake("late", updates=UNIT, params={"say": "late"}))
    go(empty, more)
    way = decided(empty, chain())
    assert (way.to_run, len(way.restores)) == ([], 1)
    outcome, restored = go(empty, chain())
    assert (outcome.done, outcome.restored, len(restored)) == ([], [UNIT], 1)
    same(empty, chain())


def test_a_change_that_was_cut_off_is_undone(empty: RunFolder) -> None:
    class Killed(BaseException):
        pass

    def die(job: Job) -> dict[str, Any]:
        done = keep(job)
        if job.step.id == "apply":
            put(job.folder / UNIT, "half")
            raise Killed
        return done

    with pytest.raises(Killed):
        go(empty, chain(), die)
    way = decided(empty, chain())
    assert way.to_run == ["apply", "split", "image", "export"]
    why = "a change was under way when the last run ended (step apply)"
    assert [r.reason for r in way.restores] == [why]
    go(empty, chain())
    same(empty, chain())


def test_a_change_that_failed_is_tried_again_on_what_was_saved(empty: RunFolder) -> None:
    from casarun.engine.results import failure
    from casarun.errors import Cause

    failed = []

    def fail_once(job: Job) -> dict[str, Any]:
        done = keep(job)
        if job.step.id == "apply" and not failed:
            failed.append(1)
            put(job.folder / UNIT, "half")
            return failure(Cause.IO, "stale")
        return done

    outcome, restored = go(empty, chain(), fail_once)
    assert outcome.state == "done"
    assert outcome.done.count("import") == 1
    assert len(restored) == 1
    same(empty, chain())


def test_killed_while_going_back(empty: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    go(empty, chain())

    class Killed(BaseException):
        pass

    def die(self: SavedStates, state: SavedState) -> None:
        put(empty.root / state.unit, "half")
        raise Killed

    monkeypatch.setattr(SavedStates, "restore", die)
    with pytest.raises(Killed):
        go(empty, with_apply("b"))
    monkeypatch.undo()
    assert decided(empty, with_apply("b")).restores
    go(empty, with_apply("b"))
    same(empty, with_apply("b"))


def test_a_state_that_cannot_be_restored_is_made_again(
    empty: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    go(empty, chain())

    def refuse(self: SavedStates, state: SavedState) -> None:
        raise DataError("bad")

    monkeypatch.setattr(SavedStates, "restore", refuse)
    outcome, restored = go(empty, with_apply("b"))
    assert restored == []
    assert outcome.done == ["import", "flag", "apply", "split", "image", "export"]
    same(empty, with_apply("b"))


def test_without_saved_states_it_is_made_again(empty: RunFolder) -> None:
    go(empty, chain())
    shutil.rmtree(empty.saved)
    way = decided(empty, with_apply("b"))
    assert way.restores == ()
    assert way.to_run == ["import", "flag", "apply", "split", "image", "export"]


def test_a_deleted_ms_comes_back_whole_and_nothing_runs(empty: RunFolder) -> None:
    """As far as it was saved: before its last change."""
    go(empty, chain())
    (empty.root / UNIT).unlink()
    outcome, _ = go(empty, chain())
    assert outcome.done == ["apply"]
    same(empty, chain())


def test_for_what_failed_for_good_nothing_goes_back(empty: RunFolder) -> None:
    from casarun.engine.results import failure
    from casarun.errors import Cause

    def fail(job: Job) -> dict[str, Any]:
        done = keep(job)
        return failure(Cause.PARAMETER, "no") if job.step.id == "apply" else done

    outcome, restored = go(empty, chain(), fail)
    assert list(outcome.failed) == ["apply"]
    assert restored == []


# --- CASA

TASKS: dict[str, dict[str, Any]] = {
    "flagdata": {"mode": "manual", "scan": "1", "flagbackup": False},
    "setjy": {"field": "0", "fluxdensity": [2.0, 0, 0, 0], "standard": "manual"},
    "applycal": {"gaintable": [], "flagbackup": False, "calwt": False, "parang": False},
    "initweights": {"wtmode": "nyq"},
    "statwt": {"datacolumn": "data"},
    "ft": {"complist": "", "model": ""},
    "delmod": {"scr": True},
    "clearcal": {"addmodel": True},
}


@pytest.mark.casa
@pytest.mark.parametrize("task", ["flagdata", "setjy", "applycal", "initweights", "statwt",
                                  "delmod", "clearcal"])  # fmt: skip
def test_a_task_leaves_alone_what_is_said(task: str, tmp_path: Path, casa: Any) -> None:
    """And changes what it must: else a state could not be gone back to."""
    ms = tmp_path / "x.ms"
    skies.build(ms, skies.Sky(n_antennas=6, integrations=3, spws=(skies.Spw(n_chan=8),)))
    if task in ("applycal", "delmod"):
        casa("clearcal", vis=str(ms), addmodel=True)
    if task == "applycal":
        table = str(tmp_path / "g")
        casa("gaincal", vis=str(ms), caltable=table, solint="inf", refant="0", minsnr=0)
        TASKS[task]["gaintable"] = [table]
    left = left_alone(task, TASKS[task], ms)
    assert any(name.startswith("table.f") for name in left)
    assert any(name.startswith("ANTENNA/") for name in left)
    before = {name: _digest(ms / name) for name in left}
    everything = {str(p.relative_to(ms)): _digest(p) for p in ms.rglob("*") if p.is_file()}
    outcome, findings = casa(task, vis=str(ms), **TASKS[task])
    assert not isinstance(outcome, Exception), outcome
    assert not findings.severe
    assert {name: _digest(ms / name) for name in left} == before
    now = {str(p.relative_to(ms)): _digest(p) for p in ms.rglob("*") if p.is_file()}
    assert now != everything


def _digest(path: Path) -> tuple[str, int]:
    """Return a file's content and when it was written."""
    name = path.name
    content = "" if name == "table.lock" else hashlib.sha256(path.read_bytes()).hexdigest()
    return content, 0 if name == "table.lock" else path.stat().st_mtime_ns


@pytest.mark.casa
def test_of_an_unknown_task_and_of_no_ms_nothing_is_known(tmp_path: Path) -> None:
    ms = tmp_path / "x.ms"
    skies.build(ms, skies.Sky(n_antennas=4, integrations=2))
    assert left_alone("uvsub", {}, ms) == frozenset()
    write(tmp_path / "y.ms" / "data", "no table")
    assert left_alone("flagdata", {}, tmp_path / "y.ms") == frozenset()


@pytest.mark.casa
@pytest.mark.timeout(600)
def test_an_ms_goes_back_and_equals_a_fresh_one(tmp_path: Path) -> None:
    """Real columns: flags, corrected data and a model, undone and made otherwise."""
    crashes.small(tmp_path)
    edit = ("--set", "calibrate.applymode=calonly")
    for output, settings in (("run", ()), ("run", edit), ("fresh", edit)):
        done = casarun("small.toml", "--output", output, *settings, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
    events = crashes.events(tmp_path / "run")
    again = [e["step"] for e in events if e["event"] == "step-started"]
    assert again.count("day.copy") == 1
    assert again.count("day.apply.0") == 2
    restored = [e for e in events if e["event"] == "product-restored"]
    assert [e["product"] for e in restored] == ["raw/day.ms"]
    wanted = crashes.products(tmp_path / "fresh")
    assert crashes.mismatches(wanted, crashes.products(tmp_path / "run")) == []


@pytest.fixture
def xfs(tmp_path: Path) -> Iterator[Path]:
    """Mount a filesystem that can share content between files."""
    image, place = tmp_path / "xfs.img", tmp_path / "xfs"
    if shutil.which("mkfs.xfs") is None or os.geteuid() != 0:
        pytest.skip("mkfs.xfs and root are needed to mount a filesystem with reflinks")
    with image.open("wb") as stream:
        stream.truncate(400_000_000)
    subprocess.run(["mkfs.xfs", "-q", "-m", "reflink=1", str(image)], check=True)
    place.mkdir()
    if subprocess.run(["mount", "-o", "loop", str(image), str(place)], check=False).returncode:
        pytest.skip("no loop device can be mounted here")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_copy_to_work_on_takes_no_disk_where_content_is_shared(xfs: Path) -> None:
    source, copy = xfs / "a.ms", xfs / "b.ms"
    source.mkdir()
    (source / "table.f0").write_bytes(os.urandom(40_000_000))
    os.sync()
    before = shutil.disk_usage(xfs).free
    files.copy_tree(source, copy)
    os.sync()
    assert before - shutil.disk_usage(xfs).free < 1_000_000
    with (copy / "table.f0").open("r+b") as stream:
        stream.write(b"changed in the copy alone")
    assert (source / "table.f0").read_bytes()[:25] != (copy / "table.f0").read_bytes()[:25]


@pytest.mark.casa
@pytest.mark.timeout(600)
def test_where_content_is_shared_a_lost_column_comes_back(xfs: Path) -> None:
    """Snapshots of all files: what is lost is there, and the import does not run again."""
    crashes.small(xfs)
    done = casarun("small.toml", "--output", "run", cwd=xfs)
    assert done.returncode == 0, done.stdout + done.stderr
    wanted = crashes.products(xfs / "run")
    records = list((xfs / "run/.casarun/saved").rglob("*.json"))
    assert len(records) >= 5
    assert not any(json.loads(record.read_text())["left"] for record in records)
    shutil.rmtree(xfs / "run/raw/day.ms")
    done = casarun("small.toml", "--output", "run", cwd=xfs)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "goes back to its state after day.apply" in done.stdout
    assert "from a snapshot: it is gone" in done.stdout
    started = [e["step"] for e in crashes.events(xfs / "run") if e["event"] == "step-started"]
    assert started.count("day.copy") == 1
    assert crashes.mismatches(wanted, crashes.products(xfs / "run")) == []


@pytest.mark.casa
def test_columns_that_a_task_adds_are_gone_after_going_back(tmp_path: Path, casa: Any) -> None:
    folder = RunFolder(tmp_path / "run")
    ms = folder.root / "raw/x.ms"
    ms.parent.mkdir(parents=True)
    skies.build(ms, skies.Sky(n_antennas=6, integrations=3, spws=(skies.Spw(n_chan=8),)))
    states = SavedStates(folder)
    states.save(Save(UNIT, (A,)), lambda: left_alone("clearcal", {}, ms))
    with open_table(ms) as table:
        columns, data = set(table.colnames()), table.getcol("DATA")
    casa("clearcal", vis=str(ms), addmodel=True)
    states.save(Save(UNIT, (A, B)), lambda: left_alone("flagdata", {}, ms))
    casa("flagdata", vis=str(ms), mode="manual", scan="1", flagbackup=False)
    with open_table(ms) as table:
        assert set(table.colnames()) - columns == {"CORRECTED_DATA", "MODEL_DATA"}
    back(folder, A)
    with open_table(ms) as table:
        assert set(table.colnames()) == columns
        assert np.array_equal(table.getcol("DATA"), data)
    casa("clearcal", vis=str(ms), addmodel=True)  # the table can be changed again
    with open_table(ms) as table:
        assert "CORRECTED_DATA" in table.colnames()
