"""Whole runs with self-calibration: what it gains, what it leaves alone, killed and resumed."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from astropy.io import fits
from casarun.casa.tables import open_table
from support import crashes, replay, selfcal_skies
from support.cli import Done, casarun, digests, events, metrics, recipe
from support.skies import Spw

pytestmark = [pytest.mark.casa, pytest.mark.timeout(900)]

FLUX_JY = 0.2
PHASES = selfcal_skies.SelfcalSky(integrations=10, integration_s=30.0, noise_jy=0.007)
"""The whole VLA for 20 minutes: 0.2 Jy, and phases that wander by 30 degrees in a minute."""
CELL_ARCSEC, SIDE = 8.0, 192
SPLIT, WORK = "calibrated/day.target.ms", "calibrated/day.target.selfcal.ms"
RECIPE = f"""
extends = "casarun:selfcal"
remove = ["dataset", "qa"{{without}}]
[[dataset]]
name = "day"
vis = "{{vis}}"
calibrated = true
[[image]]
name = "deep"
imsize = {SIDE}
cell = "{CELL_ARCSEC}arcsec"
niter = 5000
threshold = "0.06mJy"
pbcor = false
{{selfcal}}
"""
"""The recipe of the gallery, for these data."""
LOOP = '[[selfcal]]\ntarget = "*"\nrounds = {}\n'


@dataclass(frozen=True)
class Measured:
    """A FITS image of a source at its centre, measured with numpy alone."""

    dynamic_range: float
    peak_jy_per_beam: float
    off_arcsec: float
    bmin_arcsec: float


def measured(path: Path) -> Measured:
    """Measure peak, place and robust noise of an image, the noise away from the source."""
    data, header = fits.getdata(path, header=True)
    image = np.squeeze(data).astype(float)
    y, x = np.unravel_index(np.nanargmax(image), image.shape)
    shift, height = [], image[y, x]
    for low, middle, high in (image[y, x - 1 : x + 2], image[y - 1 : y + 2, x]):
        shift.append(0.5 * (low - high) / (low - 2 * middle + high))
        height -= 0.25 * (low - high) * shift[-1]
    off = np.hypot(x + shift[0] + 1 - header["CRPIX1"], y + shift[1] + 1 - header["CRPIX2"])
    rows, columns = np.indices(image.shape)
    away = image[np.hypot(rows - y, columns - x) * CELL_ARCSEC > 150]
    away = away[np.isfinite(away)]
    noise = 1.4826 * np.median(np.abs(away - np.median(away)))
    return Measured(
        float(height / noise), float(height), float(off) * CELL_ARCSEC, 3600 * header["BMIN"]
    )


def column(ms: Path, name: str) -> npt.NDArray[Any]:
    with open_table(ms) as table:
        return np.asarray(table.getcol(name))


def bits(folder: Path) -> dict[str, str]:
    """Return the digests of a table's files but its lock."""
    return {name: digest for name, digest in digests(folder).items() if "table.lock" not in name}


def rounds(run: Path) -> list[dict[str, Any]]:
    """Return the rounds that took place."""
    found = metrics(run)["selfcal"]["target"]["rounds"]
    return [one for one in found if not one["skipped"]]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("selfcal")


@pytest.fixture(scope="module")
def perfect(place: Path) -> Measured:
    """Give the image of the same sky and noise without errors, not self-calibrated."""
    selfcal_skies.build(place / "perfect.ms", PHASES.without_errors())
    path = recipe(
        place, RECIPE.format(vis="perfect.ms", selfcal="", without=', "selfcal"'), "perfect.toml"
    )
    done = casarun(path, "-o", "perfect", cwd=place)
    assert done.returncode == 0, done.stdout + done.stderr
    return measured(place / "perfect/images/target.deep.fits")


@dataclass(frozen=True)
class Phases:
    """A run on data with phase errors, and what its split MS was before it."""

    run: Path
    done: Done
    split: dict[str, str]
    raw: tuple[dict[str, str], dict[str, str]]


@pytest.fixture(scope="module")
def phases(place: Path) -> Phases:
    selfcal_skies.build(place / "phases.ms", PHASES)
    raw = digests(place / "phases.ms")
    text = RECIPE.format(vis="phases.ms", selfcal=LOOP.format(4), without="")
    path = recipe(place, text, "phases.toml")
    first = casarun(path, "-o", "phases", "--until", "split", cwd=place)
    assert first.returncode == 0, first.stdout + first.stderr
    split = bits(place / "phases" / SPLIT)
    done = casarun(path, "-o", "phases", cwd=place)
    assert done.returncode == 0, done.stdout + done.stderr
    return Phases(place / "phases", done, split, (raw, digests(place / "phases.ms")))


def test_phase_errors_are_taken_out(phases: Phases, perfect: Measured) -> None:
    before = rounds(phases.run)[0]["image"]
    assert before["snr"] < 200
    after = measured(phases.run / "images/target.deep.fits")
    assert after.dynamic_range > 5000
    assert after.dynamic_range > 0.7 * perfect.dynamic_range
    assert after.peak_jy_per_beam == pytest.approx(FLUX_JY, rel=0.03)
    assert after.off_arcsec < 0.1 * after.bmin_arcsec
    image = metrics(phases.run)["images"]["target"]["deep"]
    assert image["peak_jy_per_beam"] == pytest.approx(after.peak_jy_per_beam, rel=0.03)
    assert image["dynamic_range"] > 5000


def test_the_data_that_came_in_stay_as_they_were(phases: Phases) -> None:
    assert phases.raw[0] == phases.raw[1]
    assert bits(phases.run / SPLIT) == phases.split
    with open_table(phases.run / SPLIT) as table:
        assert not {"CORRECTED_DATA", "MODEL_DATA"} & set(table.colnames())
    for name in ("DATA", "FLAG", "WEIGHT", "SIGMA"):
        assert np.array_equal(column(phases.run / WORK, name), column(phases.run / SPLIT, name))


def test_images_are_of_the_calibrated_copy(phases: Phases) -> None:
    plan = json.loads((phases.run / "scripts/plan.json").read_text())
    params = {step["id"]: step["params"] for step in plan["steps"]}
    for step in ("target.deep.dirty", "target.deep.clean"):
        settings = params[step]["tclean"]
        assert (settings["vis"], settings["datacolumn"]) == ([WORK], "corrected")
    corrected, data = (column(phases.run / WORK, n) for n in ("CORRECTED_DATA", "DATA"))
    # A point source at the centre: what is left to see of it once its phases are gone.
    assert np.abs(data.mean(axis=(1, 2))) == pytest.approx(0.15, abs=0.03)
    assert corrected.mean(axis=(1, 2)).real == pytest.approx(FLUX_JY, rel=0.03)


def test_the_script_does_what_the_run_did(phases: Phases, tmp_path: Path) -> None:
    """It runs as it is, in a folder with the tables and a copy of the split MS."""
    shutil.copytree(phases.run / "caltables", tmp_path / "caltables")
    shutil.copytree(phases.run / SPLIT, tmp_path / WORK)
    script = phases.run / "scripts/target.selfcal.py"
    # Where the user has no CASA configuration, ours tells CASA where its data are.
    start = "import sys, runpy; from casarun.casa.config import configure; configure(); "
    start += "runpy.run_path(sys.argv.pop())"
    command = [sys.executable, "-c", start, str(script)]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert "casarun" not in script.read_text()
    for name in ("CORRECTED_DATA", "FLAG", "WEIGHT"):
        assert np.array_equal(column(tmp_path / WORK, name), column(phases.run / WORK, name))


def test_the_rounds_are_made_again_by_the_script_of_the_run(phases: Phases, tmp_path: Path) -> None:
    replay.replay(phases.run / "scripts/casa_script.py", tmp_path / "clean")
    wanted, made = (replay.products(each) for each in (phases.run, tmp_path / "clean"))
    tables = [name for name in wanted if name.startswith("caltables/") and ":CPARAM" in name]
    assert len(tables) == len(rounds(phases.run)) - 1
    assert f"{WORK}:MODEL_DATA" in wanted
    assert crashes.mismatches(wanted, made) == []


def test_the_rounds_are_in_metrics_and_report(phases: Phases) -> None:
    found = metrics(phases.run)["selfcal"]["target"]
    taken = rounds(phases.run)
    assert taken[0]["image"]["near_snr"] < taken[1]["image"]["near_snr"]
    assert found["best_round"] == max(one["round"] for one in taken if one["accepted"])
    assert not found["kept_first"]
    assert all(one["solve"]["flagged_fraction"] < 0.01 for one in taken[1:])
    summary = json.loads((phases.run / "qa/data/selfcal/target.json").read_text())
    assert summary["script"] == "scripts/target.selfcal.py"
    assert (phases.run / summary["mask"] / "table.dat").exists()
    for path in summary["tables"]["day"]:
        assert (phases.run / path / "table.dat").exists()
    page = (phases.run / "qa/index.html").read_text()
    for one in taken:
        assert f"{one['image']['near_snr']:.3g}"[:2] in page
    assert "accepted: near-field S/N" in page


def test_the_terminal_says_what_came_of_each_round(phases: Phases) -> None:
    lines = [line.partition("] ")[2] for line in phases.done.stdout.splitlines()]
    taken = rounds(phases.run)
    judged = [line for line in lines if ".judge: " in line]
    assert [line.split(".")[2] for line in judged] == [str(one["round"]) for one in taken]
    for line, one in zip(judged, taken, strict=True):
        assert one["reason"] in line
    (solved,) = [line for line in lines if line.startswith("target.selfcal.1.solve")]
    assert "phases of each integration by gaintype G: predicted S/N " in solved
    reason = metrics(phases.run)["selfcal"]["target"]["reason"]
    assert f"self-calibration of target: {reason}" in phases.done.stdout
    # Rounds that do not take place have one reason, and one line.
    assert sum(": nothing to do" in line for line in lines) == 1


def test_what_is_done_is_not_done_again(phases: Phases) -> None:
    done = casarun("plan", "phases.toml", "-o", "phases", cwd=phases.run.parent)
    assert done.returncode == 0, done.stderr
    assert " steps, 0 to run" in done.stdout.splitlines()[-1]


@pytest.mark.long
def test_amplitude_errors_are_taken_out(place: Path, perfect: Measured) -> None:
    """Of 20 %, constant, on top of the phases; the flux scale is that of the data."""
    selfcal_skies.build(place / "amps.ms", replace(PHASES, amp=0.2))
    path = recipe(
        place, RECIPE.format(vis="amps.ms", selfcal=LOOP.format(6), without=""), "amps.toml"
    )
    done = casarun(path, "-o", "amps", cwd=place)
    assert done.returncode == 0, done.stdout + done.stderr
    taken = rounds(place / "amps")
    assert taken[0]["image"]["snr"] < 200
    assert any(one["accepted"] and one["solve"]["calmode"] == "a" for one in taken[1:])
    after = measured(place / "amps/images/target.deep.fits")
    assert after.dynamic_range > 5000
    assert after.dynamic_range > 0.7 * perfect.dynamic_range
    assert after.peak_jy_per_beam == pytest.approx(FLUX_JY, rel=0.03)
    assert after.off_arcsec < 0.1 * after.bmin_arcsec


# -- a ladder that the recipe gives, killed and resumed, edited


LADDER = """
[[selfcal]]
target = "target"
solint = ["inf", "20s", "inf"]
calmode = ["p", "p", "a"]
gaintype = "T"
combine = "spw"
refant = "ea05"
tclean = { imsize = 64, cell = "12arcsec" }
"""
SKY = selfcal_skies.SelfcalSky(
    n_antennas=10, scans=2, integrations=6, noise_jy=0.004, amp=0.1,
    spws=(Spw(n_chan=4), Spw(1.45e9, n_chan=4)),
)  # fmt: skip
PLAIN = """
[[dataset]]
name = "day"
vis = "day.ms"
calibrated = true
[[image]]
name = "map"
imsize = 64
cell = "12arcsec"
niter = 100
mask = "none"
pbcor = false
"""


@pytest.fixture(scope="module")
def ladder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a run with a ladder of its own that nobody killed."""
    folder = tmp_path_factory.mktemp("ladder")
    selfcal_skies.build(folder / "day.ms", SKY)
    path = recipe(folder, PLAIN + LADDER)
    settings = [option for one in crashes.SETTINGS for option in ("--set", one)]
    done = casarun(path, "-o", "whole", *settings, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "whole"


@pytest.mark.long
def test_a_ladder_of_the_recipe_is_gone_down(ladder: Path) -> None:
    taken = rounds(ladder)
    assert [one["round"] for one in taken] == [0, 1, 2, 3]
    solved = [one["solve"] for one in taken[1:]]
    assert [one["solint"] for one in solved] == ["inf", "20s", "inf"]
    assert [one["calmode"] for one in solved] == ["p", "p", "a"]
    assert {(one["gaintype"], one["combine"], one["refant"]) for one in solved} == {
        ("T", "spw", "ea05")
    }
    assert taken[1]["accepted"]
    for number, times in ((1, 2), (2, 6), (3, 2)):
        with open_table(ladder / f"caltables/target.selfcal.{number}.day") as table:
            assert table.getcol("CPARAM").shape[0] == 1  # of both polarizations
            assert set(table.getcol("SPECTRAL_WINDOW_ID")) == {0}
            assert len(set(table.getcol("TIME"))) == times
    # Both windows are corrected by the table of their sum.
    data, corrected = (column(ladder / WORK, name) for name in ("DATA", "CORRECTED_DATA"))
    window = column(ladder / WORK, "DATA_DESC_ID")
    for number in (0, 1):
        old, new = (np.abs(each[..., window == number].mean()) for each in (data, corrected))
        assert new > 1.1 * old
        assert new == pytest.approx(FLUX_JY, rel=0.05)


@pytest.mark.long
def test_killed_in_a_round_and_resumed_it_leaves_the_same(ladder: Path) -> None:
    run, path = ladder.parent / "killed", ladder.parent / "recipe.toml"
    process = crashes.start(path, run, crashes.SETTINGS)
    for step in ("target.selfcal.1.apply", "target.selfcal.2.image", "target.selfcal.finish"):
        crashes.await_event(process, run, "step-placed", step)
        assert crashes.strike(process, "group", random.Random(1)), step
        process = crashes.start(path, run, crashes.SETTINGS)
    assert process.wait(300) == 0, run.with_suffix(".said").read_text()
    wanted = crashes.products(ladder)
    assert len(wanted) > 300
    assert crashes.mismatches(wanted, crashes.products(run)) == []
    done = [e["step"] for e in events(run) if e["event"] == "step-done"]
    for step in ("target.selfcal.0.image", "target.selfcal.1.solve", "target.selfcal.2.solve"):
        assert done.count(step) == 1


@pytest.mark.long
def test_an_edited_round_leaves_the_rounds_before_it(ladder: Path, tmp_path: Path) -> None:
    run = tmp_path / "edited"
    subprocess.run(["cp", "-a", str(ladder), str(run)], check=True)
    since = len(events(run))
    edit = 'selfcal.target.solint=["inf", "20s", "int"]'
    settings = [option for one in (*crashes.SETTINGS, edit) for option in ("--set", one)]
    path = ladder.parent / "recipe.toml"
    done = casarun(path, "-o", run, *settings, cwd=ladder.parent, env=dict(os.environ))
    assert done.returncode == 0, done.stdout + done.stderr
    again = [e["step"] for e in events(run)[since:] if e["event"] == "step-started"]
    assert "target.selfcal.3.solve" in again
    assert not [step for step in again if step.startswith("day.")]
    early = [s for s in again if s.startswith(("target.selfcal.0.", "target.selfcal.1."))]
    # What changes the MS in place is made again where no state of it was saved.
    assert {step.rpartition(".")[2] for step in early} <= {"predict", "apply"}
    assert not {"target.selfcal.2.solve", "target.selfcal.2.image"} & set(again)
    assert rounds(run)[3]["solve"]["solint"] == "int"
