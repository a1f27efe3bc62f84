"""Real datasets that come one after the other, a part of one at first, with CASA."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support import skies
from support.cli import Done, casarun, digests, events, recipe

pytestmark = pytest.mark.casa

RECIPE = """
[[dataset]]
vis = "incoming/*.ms"
watch = true
settle = "0s"
calibrated = true
[[image]]
name = "map"
imsize = 96
cell = "20arcsec"
niter = 0
"""


def ran(place: Path, number: int) -> set[str]:
    """Return the steps that the start of a number, from 0, has run."""
    by_run: list[set[str]] = []
    for event in events(place / "run"):
        if event["event"] == "run-started":
            by_run.append(set())
        elif event["event"] == "step-done":
            by_run[-1].add(event["step"])
    return set().union(*by_run[number:])


def without_main_table(folder: str, names: list[str]) -> list[str]:
    """Leave a copy unfinished."""
    return ["table.dat"] if folder.endswith("day2.ms") else []


def start(place: Path) -> Done:
    done = casarun("recipe.toml", "--output", "run", cwd=place)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_only_what_is_new_and_whole_is_reduced(tmp_path: Path) -> None:
    incoming = tmp_path / "incoming"
    incoming.mkdir()
    recipe(tmp_path, RECIPE)
    target = skies.Sky(fields=(skies.TARGET,), scans=(0,), integrations=2)
    skies.build(incoming / "day1.ms", target)
    skies.build(tmp_path / "day2.ms", target)
    assert "left for" not in start(tmp_path).stdout
    made = digests(tmp_path / "run" / "calibrated")
    assert {path.split("/")[0] for path in made} == {"day1.target.ms"}

    shutil.copytree(tmp_path / "day2.ms", incoming / "day2.ms", ignore=without_main_table)
    before = len(events(tmp_path / "run"))
    said = start(tmp_path).stdout
    assert f"{incoming}/day2.ms is left for the next time: it has no table.dat" in said
    assert len(events(tmp_path / "run")) == before

    shutil.copy2(tmp_path / "day2.ms" / "table.dat", incoming / "day2.ms" / "table.dat")
    start(tmp_path)
    steps = {step for step in ran(tmp_path, 0) if step.startswith("day2.")}
    assert {"day2.observe", "day2.split.target"} <= steps
    both = digests(tmp_path / "run" / "calibrated")
    assert {path: both[path] for path in made} == made
    runs = [event for event in events(tmp_path / "run") if event["event"] == "step-done"]
    assert [event["step"] for event in runs].count("day1.split.target") == 1

    shutil.rmtree(incoming / "day1.ms")
    before = len(events(tmp_path / "run"))
    said = start(tmp_path).stdout
    assert f"{incoming}/day1.ms is gone: what was made of it stays" in said
    assert len(events(tmp_path / "run")) == before
    assert digests(tmp_path / "run" / "calibrated") == both
    # Another image needs no more of it than what was made.
    recipe(tmp_path, RECIPE.replace("niter = 0", "niter = 0\nrobust = 2"))
    start(tmp_path)
    assert digests(tmp_path / "run" / "calibrated") == both
