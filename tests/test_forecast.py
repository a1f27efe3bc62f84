"""What a run will take, and whether the machine has it."""

from __future__ import annotations

import errno
import json
import os
import socket
from collections import namedtuple
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from casarun.engine import forecast as module
from casarun.engine import history
from casarun.engine.forecast import Forecast, about, forecast, lacks
from casarun.engine.journal import Journal
from casarun.engine.machine import Limit, Machine
from casarun.engine.policy import Budget
from casarun.errors import Problem
from casarun.folder import RunFolder
from casarun.plan import Plan, Resources, Step

GB = 1_000_000_000
HERE = Machine(Limit(4, "the machine"), Limit(16 * GB, "the machine"), Limit(8 * GB, "the machine"))


def step(name: str, *, reads: str = "", action: str = "casa:split", **more: Any) -> Step:
    """Return a step that writes ``name``; `more` are its resources, params and image."""
    params, image = more.pop("params", {}), more.pop("image", "")
    resources = Resources(**{"seconds": 100.0, "disk_bytes": GB, "memory_bytes": GB, **more})
    return Step(
        name, "split", f"make {name}", action, params, reads=tuple(reads.split()),
        writes=(f"raw/{name}",), resources=resources, image=image,
    )  # fmt: skip


def told(
    root: Path,
    *steps: Step,
    budget: Budget | None = None,
    input_bytes: int = GB,
    factor: float = 5.0,
    here: Machine = HERE,
    to_run: set[str] | None = None,
    own_memory: bool = False,
) -> Forecast:
    wanted = {one.id for one in steps} if to_run is None else to_run
    return forecast(
        Plan(steps), wanted, RunFolder(root), budget or Budget(1, 6 * GB), input_bytes, factor,
        ["continuum", "hi"], here, own_memory=own_memory,
    )  # fmt: skip


@pytest.fixture(autouse=True)
def free_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    has(monkeypatch, 30 * GB)


def has(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    usage = namedtuple("usage", "total used free")(100 * GB, 0, free)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: usage)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    root = tmp_path / "runs" / "one"
    root.mkdir(parents=True)
    return root


def test_one_line_says_it_all(run: Path) -> None:
    found = told(run, step("a"), step("b", reads="raw/a", memory_bytes=1_100_000_000))
    assert (found.problems, found.warnings) == ((), ())
    assert found.summary() == (
        "about 3 min on 1 core, 2 GB of disk (30 GB free), 1.1 GB of memory (a guess: no earlier "
        "run here to go by)"
    )
    assert list(run.iterdir()) == []


def test_nothing_to_run(run: Path) -> None:
    found = told(run, step("a"), to_run=set())
    assert found.summary() == "nothing to run"
    assert found.seconds == 0


def test_only_what_runs_counts(run: Path) -> None:
    found = told(run, step("a", disk_bytes=50 * GB), step("b", reads="raw/a"), to_run={"b"})
    assert found.disk_bytes == GB
    assert found.steps == {"b": 100.0}


@pytest.mark.parametrize(
    ("cores", "expected", "at_once"), [(1, 600, 1), (2, 300, 2), (4, 200, 4), (8, 200, 4)]
)
def test_time_is_the_longest_chain_or_the_work_shared(
    run: Path, cores: int, expected: float, at_once: int
) -> None:
    steps = [step(name) for name in "abcd"]
    steps += [step("e", reads="raw/a"), step("f", reads="raw/b")]
    found = told(run, *steps, budget=Budget(cores, 0))
    assert found.seconds == pytest.approx(expected, abs=5)
    assert found.cores == at_once


def test_too_little_disk_by_the_recipes_factor(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    has(monkeypatch, 4 * GB)
    found = told(run, step("a"))
    assert found.problems == (
        Problem(
            f"4 GB of disk are free in {run}, a run may need 5 GB (5 times the input of 1 GB; its "
            "steps are expected to write 1 GB): free some, choose another folder with --output, "
            "or lower resources.disk_factor",
            ("resources", "disk_factor"),
        ),
    )


def test_what_is_in_the_run_folder_already_needs_no_more_disk(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    has(monkeypatch, 4 * GB)
    with (run / "data").open("wb") as stream:
        stream.truncate(2 * GB)
    assert told(run, step("a")).problems == ()
    has(monkeypatch, 2 * GB)
    (problem,) = told(run, step("a")).problems
    assert "(5 times the input of 1 GB, of which 2 GB are there; its steps" in problem.message


def test_too_little_disk_by_the_model(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    has(monkeypatch, 6 * GB)
    large = step("a", disk_bytes=10 * GB)
    (problem,) = told(run, large).problems
    assert problem.message == (
        f"6 GB of disk are free in {run}, but its steps are expected to write 10 GB: free some, "
        "choose another folder with --output, make fewer or smaller images (imsize, nchan), or "
        "set resources.disk_factor = 0 to try all the same"
    )
    found = told(run, large, factor=0)
    assert found.problems == ()
    assert [warning.severity for warning in found.warnings] == ["warning"]


def test_tight_disk_is_warned_about(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    has(monkeypatch, 6 * GB)
    found = told(run, step("a", disk_bytes=5 * GB))
    assert found.problems == ()
    assert [warning.message for warning in found.warnings] == [
        f"6 GB of disk are free in {run}, and its steps are expected to write 5 GB: it may run "
        "full; free some, or choose another folder with --output"
    ]


def clean(gigabytes: float, **params: Any) -> Step:
    return step(
        "x.hi.clean", action="clean", image="hi", memory_bytes=int(gigabytes * GB),
        params={"tclean": {"imsize": [8192, 8192], **params}},
    )  # fmt: skip


def test_memory_that_the_machine_has_not(run: Path) -> None:
    (problem,) = told(run, clean(30, deconvolver="mtmfs")).problems
    assert problem == Problem(
        '"make x.hi.clean" is expected to need 30 GB of memory, and this process can have 16 GB '
        "(the machine): choose a smaller imsize or a larger cell or fewer nterms, or run it where "
        "there is more",
        ("image", 1, "imsize"),
    )


def test_a_limit_names_who_sets_it(run: Path) -> None:
    low = Limit(2 * GB, "SLURM_MEM_PER_NODE")
    (problem,) = told(run, clean(4), here=Machine(HERE.cores, low, low)).problems
    assert "this process can have 2 GB (SLURM_MEM_PER_NODE): choose" in problem.message


def test_memory_that_is_not_free_now(run: Path) -> None:
    found = told(run, clean(10))
    assert found.problems == ()
    assert [warning.message for warning in found.warnings] == [
        '"make x.hi.clean" is expected to need 10 GB of memory, and 8 GB are free (the machine): '
        "it may be ended or very slow; choose a smaller imsize or a larger cell, or run it where "
        "there is more"
    ]


def test_the_recipes_own_memory_is_a_little_too_small(run: Path) -> None:
    found = told(run, step("a"), clean(5), budget=Budget(1, 4 * GB), own_memory=True)
    assert found.problems == ()
    assert found.warnings == (
        Problem(
            '"make x.hi.clean" is expected to need 5 GB of memory, and all steps together may use '
            "resources.memory = 4 GB: it may be ended for that; raise resources.memory, or choose "
            "a smaller imsize or a larger cell",
            ("resources", "memory"),
            "warning",
        ),
    )


def test_the_recipes_own_memory_is_far_too_small(run: Path) -> None:
    found = told(run, step("a"), budget=Budget(1, GB // 2), own_memory=True)
    assert found.warnings == ()
    assert found.problems == (
        Problem(
            '"make a" is expected to need 1 GB of memory, and all steps together may use '
            "resources.memory = 500 MB: it would be ended for that; raise resources.memory",
            ("resources", "memory"),
        ),
    )


@pytest.mark.parametrize(
    ("budget", "own_memory"), [(4 * GB, False), (5 * GB, True), (0, True)]
)  # fmt: skip
def test_memory_that_is_enough_or_not_the_recipes_choice_is_not_told(
    run: Path, budget: int, own_memory: bool
) -> None:
    found = told(run, clean(5), budget=Budget(1, budget), own_memory=own_memory)
    assert (found.problems, found.warnings) == ((), ())


def test_each_image_is_told_once(run: Path) -> None:
    other = step("x.hi.dirty", image="hi", memory_bytes=28 * GB, params={"imsize": 8000})
    assert len(told(run, clean(30), other).problems) == 1


def test_a_step_longer_than_its_limit(run: Path) -> None:
    found = told(run, step("a", seconds=30000.0, time_limit_s=3600.0))
    assert [(warning.message, warning.key) for warning in found.warnings] == [
        (
            '"make a" is expected to take 8.3 h and will be ended after 1 h 00 min: raise '
            "resources.time_per_step",
            ("resources", "time_per_step"),
        )
    ]


def test_more_steps_at_once_than_cores(run: Path) -> None:
    (warning,) = told(run, step("a"), budget=Budget(6, 0)).warnings
    assert warning.message == (
        "6 steps may run at once, and this process may use 4 cores (the machine): more would only "
        "wait for each other"
    )


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.os, "access", lambda path, mode: path != tmp_path)
    root = tmp_path / "runs" / "one"
    (problem,) = told(root, step("a")).problems
    assert problem.message == (
        f"cannot write in {tmp_path}, where the run folder {root} would be: its permissions or a "
        "read-only filesystem; choose another with --output"
    )


def test_a_file_where_the_folder_would_be(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    (problem,) = told(tmp_path / "runs" / "one", step("a")).problems
    assert problem.message == (f"{tmp_path / 'runs'} is not a folder; choose another with --output")


def test_a_filesystem_without_locks_and_links(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    assert lacks(run) == []
    monkeypatch.setattr(module.fcntl, "lockf", refuse)
    monkeypatch.setattr(Path, "symlink_to", refuse)
    assert [problem.message for problem in told(run, step("a")).problems] == [
        f"the filesystem of {run} has no file locks, which CASA's tables need; choose a folder on "
        "a local disk with --output",
        f"the filesystem of {run} has no symbolic links, by which steps get at their data; choose "
        "a folder on a local disk with --output",
    ]
    assert list(run.iterdir()) == []


def test_few_files_left(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status = namedtuple("status", "f_files f_favail")(1000, 50)
    monkeypatch.setattr(module.os, "statvfs", lambda path: status)
    (warning,) = told(run, step("a")).warnings
    assert "can take 50 more files (inodes), a run may make 100:" in warning.message


def earlier(
    root: Path,
    plan: Plan,
    taken: Mapping[str, float],
    host: str | None = None,
    *,
    with_plan: bool = True,
) -> None:
    """Write the journal and plan of a run whose steps took so many seconds."""
    folder = RunFolder(root)
    with Journal(folder.journal) as journal:
        for name, wall_s in taken.items():
            about_step = {"step": name, "fingerprint": plan.fingerprints[name], "attempt": 1}
            journal.append("step-started", **about_step)
            journal.append("step-placed", step=name, host=host or socket.gethostname())
            journal.append("step-done", **about_step, wall_s=wall_s, writes={})
    if with_plan:
        folder.plan.parent.mkdir(exist_ok=True)
        steps = [
            {"action": one.action, "fingerprint": plan.fingerprints[one.id],
             "resources": asdict(one.resources)}
            for one in plan.steps
        ]  # fmt: skip
        folder.plan.write_text(json.dumps({"steps": steps}))


OTHERS = Plan(tuple(step(name, params={"v": name}) for name in "pqr"))


def test_neighbours_correct_the_model(run: Path) -> None:
    earlier(run.parent / "two", OTHERS, {"p": 200.0, "q": 300.0})
    earlier(run.parent / "three", OTHERS, {"r": 900.0})
    found = told(run, step("a"), step("b", action="casa:tclean", seconds=10.0))
    assert found.steps == {"a": 300.0, "b": pytest.approx(10 * 1400 / 300)}
    assert found.runs == 2
    assert found.summary().endswith("(as in 2 earlier runs here)")


def test_each_action_has_its_own_ratio(run: Path) -> None:
    both = Plan((step("p"), step("q", action="casa:tclean")))
    earlier(run.parent / "two", both, {"p": 50.0, "q": 1000.0})
    other = step("c", action="casa:flagdata")
    found = told(run, step("a"), step("b", action="casa:tclean"), other)
    assert found.steps == {"a": 50.0, "b": 1000.0, "c": 525.0}


def test_what_other_steps_took_is_a_guess(run: Path) -> None:
    earlier(run.parent / "two", OTHERS, {"p": 200.0})
    found = told(run, step("a", action="casa:tclean"))
    assert found.steps == {"a": 200.0}
    assert "(a guess: no earlier run here to go by)" in found.summary()


def test_a_moment_of_work_says_nothing_of_the_rest(run: Path) -> None:
    short = Plan((step("p", seconds=0.3),))
    earlier(run, short, {"p": 3.0})
    assert told(run, step("a", action="casa:tclean")).steps == {"a": 100.0}


def test_the_same_step_tells_its_own_time(run: Path) -> None:
    earlier(run, OTHERS, {"p": 7.0}, with_plan=False)
    found = told(run, *OTHERS.steps)
    assert found.steps == {"p": 7.0, "q": 100.0, "r": 100.0}
    assert found.runs == 0
    assert told(run, *OTHERS.steps, to_run={"p"}).runs == 1


@pytest.mark.parametrize("host", ["elsewhere"])
def test_other_hosts_say_nothing_about_this_one(run: Path, host: str) -> None:
    earlier(run.parent / "two", OTHERS, {"p": 200.0}, host)
    assert told(run, step("a")).runs == 0


@pytest.mark.parametrize(
    ("journal", "plan"),
    [
        (b"\xff\xfe\n{}\n[1]\n", "{}"),
        (b'{"event": "step-done", "step": "p", "wall_s": "x", "fingerprint": []}\n', "[]"),
        (b'{"event": "step-placed"}\n', "not json"),
        (b"", '{"steps": [1]}'),
    ],
)
def test_broken_records_are_passed_over(run: Path, journal: bytes, plan: str) -> None:
    other = RunFolder(run.parent / "two")
    other.private.mkdir(parents=True)
    other.journal.write_bytes(journal)
    other.plan.parent.mkdir()
    other.plan.write_text(plan)
    assert told(run, step("a")).steps == {"a": 100.0}


def test_no_more_than_a_few_neighbours_are_read(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(30):
        earlier(run.parent / f"r{number}", OTHERS, {"p": 200.0})
    read: list[Path] = []
    learn = history._learn

    def noted(history: Any, folder: RunFolder) -> None:
        read.append(folder.root)
        learn(history, folder)

    monkeypatch.setattr(history, "_learn", noted)
    assert told(run, step("a")).runs == len(read) == 20


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1, "10 s"), (42, "40 s"), (89, "90 s"), (200, "3 min"), (5399, "90 min"), (9000, "2.5 h"),
     (60000, "17 h"), (260000, "3 days")],
)  # fmt: skip
def test_about(seconds: float, text: str) -> None:
    assert about(seconds) == text
