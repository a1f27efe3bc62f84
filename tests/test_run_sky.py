"""Whole runs on simulated skies: what comes out is what was put in."""

from __future__ import annotations

import json
import re
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from casarun.casa.tables import open_table
from support import images, skies
from support.cli import Done, casarun, digests, events, metrics, recipe
from support.images import Sky

pytestmark = [
    pytest.mark.casa,
    pytest.mark.filterwarnings("ignore::astropy.wcs.FITSFixedWarning"),
]

BROKEN = skies.Sky(
    scans=(0, 1, 2, 1, 2, 1),
    spws=(skies.Spw(1.40e9, 1e6, 16), skies.Spw(1.45e9, 1e6, 16)),
    noise_jy=0.1,
    gain_amp=0.1,
    gain_phase_deg=60,
    phase_drift_deg=20,
    bandpass_slope=0.1,
)
EDGES = 14 / 16  # of each window a channel at each edge is flagged
DEEP = """
[[image]]
name = "deep"
weighting = "natural"
threshold = "3mJy"
"""


def position(source: skies.Source) -> SkyCoord:
    """Return where a source of the target is."""
    return images.place(skies.TARGET, source)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with two observations of one target, `a.ms` and `b.ms`."""
    folder = tmp_path_factory.mktemp("sky")
    skies.build(folder / "a.ms", BROKEN)
    skies.build(folder / "b.ms", replace(BROKEN, seed=2, start="2020/03/02/08:00:00"))
    return folder


@pytest.fixture(scope="module")
def before(place: Path) -> dict[str, str]:
    """Give what the raw data were before any run."""
    return digests(place / "a.ms")


@pytest.fixture(scope="module")
def one(place: Path, before: dict[str, str]) -> tuple[Path, Done]:
    """Run `a.ms` through: no calibrator is named, for the scans say what they are."""
    statwt = (
        '[[step]]\ntask = "statwt"\nafter = "split"\nper = "target"\n'
        'params = { vis = "{vis}", datacolumn = "data" }\n'
    )
    path = recipe(
        place, f'[project]\nname = "one"\n[[dataset]]\nvis = "a.ms"\n{DEEP}{statwt}', "one.toml"
    )
    done = casarun(path, "--output", "one", cwd=place)
    assert done.returncode == 0, done.stdout + done.stderr
    return place / "one", done


@pytest.fixture(scope="module")
def deep(one: tuple[Path, Done]) -> Sky:
    return Sky(one[0] / "images" / "target.deep.fits")


@pytest.mark.parametrize("source", skies.TARGET.sources)
def test_a_source_comes_out_where_and_as_bright_as_it_went_in(
    deep: Sky, source: skies.Source
) -> None:
    peak, off_arcsec = deep.peak(position(source))
    assert peak == pytest.approx(source.flux_jy, rel=0.03)
    assert off_arcsec < 0.1 * deep.bmin_arcsec


def test_the_noise_is_that_of_theory(deep: Sky) -> None:
    samples = 2 * 66 * 2 * 4 * 2 * 16 * EDGES  # correlations, baselines, scans, times, channels
    theory = BROKEN.noise_jy / np.sqrt(samples)
    assert theory / 1.1 < deep.noise() < 1.5 * theory


def test_the_primary_beam_is_divided_out(one: tuple[Path, Done], deep: Sky) -> None:
    corrected = Sky(one[0] / "images" / "target.deep.pbcor.fits")
    near, far = (position(source) for source in skies.TARGET.sources)
    assert corrected.peak(near)[0] == pytest.approx(deep.peak(near)[0], rel=0.01)
    # A Gaussian of 42 arcmin GHz at half its maximum (EVLA Memo 195), 7.2 arcmin off axis.
    loss = 2.0 ** -((2 * 7.21 / (42 / 1.433)) ** 2)
    assert deep.peak(far)[0] / corrected.peak(far)[0] == pytest.approx(loss, rel=0.03)


def test_the_phase_calibrator_has_its_flux_density(one: tuple[Path, Done]) -> None:
    flux = metrics(one[0])["datasets"]["a"]["fluxscale"]["J1445+0958"]
    assert flux == {"0": pytest.approx(2.5, rel=0.01), "1": pytest.approx(2.5, rel=0.01)}


def test_reported_numbers_are_those_of_the_image(one: tuple[Path, Done], deep: Sky) -> None:
    said = metrics(one[0])["images"]["target"]["deep"]
    assert said["peak_jy_per_beam"] == pytest.approx(np.nanmax(deep.data), rel=1e-5)
    assert said["rms_noise_jy_per_beam"] == pytest.approx(deep.noise(), rel=0.15)
    assert said["bmin_arcsec"] == pytest.approx(deep.bmin_arcsec, rel=1e-5)


def test_calibrators_that_nobody_named_are_shown_with_the_reason(one: tuple[Path, Done]) -> None:
    plan = json.loads((one[0] / "scripts" / "plan.json").read_text())
    chosen = {auto["key"]: (auto["value"], auto["reason"]) for auto in plan["autos"]}
    assert chosen["calibrators.flux"] == (
        "1331+305=3C286", "its scans have the intent CALIBRATE_FLUX",
    )  # fmt: skip
    assert chosen["calibrators.phase"][0] == "J1445+0958"
    assert chosen["targets.fields"] == ("target", "its scans have the intent OBSERVE_TARGET")


def test_the_raw_data_are_not_touched(
    place: Path, before: dict[str, str], one: tuple[Path, Done], both: Path, ready: Any
) -> None:
    assert digests(place / "a.ms") == before
    assert digests(place / "plain.ms") == ready[2]


def test_a_step_of_the_recipe_runs_where_it_was_put(one: tuple[Path, Done]) -> None:
    order = [e["step"] for e in events(one[0]) if e["event"] == "step-done"]
    at = order.index("a.target.step.statwt")
    assert order.index("a.split.target") < at < order.index("target.deep.dirty")
    # statwt takes the weights from the scatter of the data: close to 1/noise^2 of a channel.
    with open_table(one[0] / "calibrated" / "a.target.ms") as table:
        weight = np.median(table.getcol("WEIGHT"))
    assert weight == pytest.approx(BROKEN.noise_jy**-2, rel=0.4)


@pytest.fixture(scope="module")
def both(place: Path, one: tuple[Path, Done]) -> Path:
    """Go on with a copy of the run, with a second dataset of the target."""
    shutil.copytree(one[0], place / "both")
    path = recipe(
        place, f'[[dataset]]\nvis = "a.ms"\n[[dataset]]\nvis = "b.ms"\n{DEEP}', "both.toml"
    )
    done = casarun(path, "--output", "both", cwd=place)
    assert done.returncode == 0, done.stdout + done.stderr
    return place / "both"


def test_two_datasets_imaged_together_have_less_noise(both: Path, deep: Sky) -> None:
    joint = Sky(both / "images" / "target.deep.fits")
    assert deep.noise() / joint.noise() == pytest.approx(np.sqrt(2), rel=0.1)
    for source in skies.TARGET.sources:
        assert joint.peak(position(source))[0] == pytest.approx(source.flux_jy, rel=0.03)


def test_a_second_dataset_leaves_the_calibration_of_the_first_alone(
    both: Path, one: tuple[Path, Done]
) -> None:
    since = len(events(one[0]))
    done = [e["step"] for e in events(both)[since:] if e["event"] == "step-done"]
    assert "b.bandpass" in done
    assert not [step for step in done if step.startswith(("a.flag", "a.band", "a.amp", "a.copy"))]


# -- data that came calibrated, a mask, a step that takes too long


READY = """
[[dataset]]
vis = "packed.tar.gz"
calibrated = true
[[dataset]]
vis = "plain.ms"
calibrated = true
[resources]
time_per_step = "9s"
[[image]]
name = "endless"
imsize = 1000
threshold = "1nJy"
niter = 100000000
deconvolver = "multiscale"
scales = [0, 5, 10, 20, 40, 60]
[[image]]
name = "masked"
mask = "centre.crtf"
threshold = "5mJy"
imsize = 160
cell = "10arcsec"
pbcor = false
"""


@pytest.fixture(scope="module")
def ready(place: Path) -> tuple[Path, Done, dict[str, str]]:
    """Run data that came calibrated, one of them in a tar, with a step that cannot end."""
    calibrated = skies.Sky(fields=(skies.TARGET,), scans=(0,), noise_jy=0.05)
    skies.build(place / "plain.ms", calibrated)
    skies.build(place / "packed.ms", replace(calibrated, seed=2))
    with tarfile.open(place / "packed.tar.gz", "w:gz") as archive:
        archive.add(place / "packed.ms", "night1/packed.ms")
    shutil.rmtree(place / "packed.ms")
    (place / "centre.crtf").write_text(
        "#CRTFv0\ncircle[[15h00m00.0s, +08d00m00.0s], 90arcsec] coord=J2000\n"
    )
    before = digests(place / "plain.ms")
    done = casarun(recipe(place, READY, "ready.toml"), "--output", "ready", cwd=place)
    return place / "ready", done, before


def test_data_that_came_calibrated_are_only_split_and_imaged(ready: Any) -> None:
    stages = {e["step"] for e in events(ready[0]) if e["event"] == "step-done"}
    assert {"packed.import", "packed.split.target", "plain.split.target"} <= stages
    assert not (ready[0] / "caltables").exists()
    image = Sky(ready[0] / "images" / "target.masked.fits")
    assert image.peak(position(skies.TARGET.sources[0]))[1] < 0.1 * image.bmin_arcsec


def test_the_clean_stays_inside_the_mask(ready: Any) -> None:
    planes = {}
    for kind in ("mask", "model", "residual"):
        with open_table(ready[0] / "images" / f"target.masked.{kind}") as table:
            planes[kind] = np.squeeze(table.getcell("map", 0))
    inside = planes["mask"] > 0
    assert inside.sum() == pytest.approx(np.pi * 9**2, rel=0.05)  # 90 arcsec in cells of 10
    assert inside[80, 80]
    assert not planes["model"][~inside].any()
    assert planes["model"][inside].sum() > 0.6
    assert np.abs(planes["residual"][inside]).max() <= 0.005
    assert planes["residual"][~inside].max() > 0.2  # the other source, left alone


def test_a_step_over_its_time_fails_and_the_rest_goes_on(ready: Any) -> None:
    run, done, _ = ready
    assert done.returncode == 1
    assert "target.endless.clean failed: ran longer than its time limit of 9 s\n" in done.stdout
    assert "Raise resources.time_per_step, or give the step less to do.\n" in done.stdout
    assert f"logs: {run}/logs/target.endless.clean/attempt-1\n" in done.stdout
    assert "not run because of that: 4 steps\n" in done.stdout
    happened = [(e["event"], e.get("step")) for e in events(run)]
    assert happened.count(("step-started", "target.endless.clean")) == 1  # no second attempt
    assert ("step-done", "target.masked.measure") in happened
    assert metrics(run)["verdict"] == "fail"
    assert not (run / "images" / "target.endless.image").exists()


def test_status_says_that_it_failed(ready: Any) -> None:
    said = casarun("status", ready[0], cwd=ready[0])
    assert said.stdout.splitlines()[0] == f"{ready[0]}: failed"
    assert "1 failed, 4 not run" in said.stdout.splitlines()[1]


# -- any name that data may have; a window that the phase calibrator lacks


ODD = ("3C 286", "a,b", "../../x<script>alert(1)</script>")


@pytest.fixture(scope="module")
def odd(place: Path) -> tuple[Path, Done]:
    """Run targets with awkward names; the phase calibrator was not observed in spw 1."""
    one_jansky = (skies.Source(1.0),)
    targets = tuple(replace(skies.TARGET, name=name, sources=one_jansky) for name in ODD)
    sky = replace(
        BROKEN, fields=(skies.FLUX_CAL, skies.PHASE_CAL, *targets), scans=(0, 1, 2, 3, 4, 1),
        spws=(skies.Spw(), skies.Spw(1.45e9)), bandpass_slope=0, noise_jy=0.05,
    )  # fmt: skip
    skies.build(place / "full.ms", sky)
    with open_table(place / "full.ms") as table:
        part = table.query("!(FIELD_ID==1 && DATA_DESC_ID==1)")
        part.copy(str(place / "odd.ms"), deep=True).close()
        part.close()
    text = (
        '[project]\nname = "odd"\ntitle = "<b>bold</b>"\n[[dataset]]\nvis = "odd.ms"\n'
        '[[image]]\nname = "snap"\nniter = 0\nimsize = 96\npbcor = false\n'
    )
    done = casarun(recipe(place, text, "odd.toml"), "--output", "odd", cwd=place)
    assert done.returncode == 0, done.stdout + done.stderr
    return place / "odd", done


def test_a_window_that_the_phase_calibrator_lacks_is_calibrated_from_another(odd: Any) -> None:
    run = odd[0]
    applied = json.loads((run / "logs/odd.apply.2/attempt-1/params.json").read_text())
    assert applied["spwmap"] == [[], [0, 0], [0, 0]]
    with open_table(run / "calibrated" / "odd.3C_286.ms") as table:
        for spw in (0, 1):
            part = table.query(f"DATA_DESC_ID=={spw}")
            data, flag = part.getcol("DATA"), part.getcol("FLAG")
            part.close()
            assert not flag.any()
            assert data.mean() == pytest.approx(1.0, abs=0.02)


def test_a_window_that_was_not_observed_is_no_failure(odd: Any) -> None:
    numbers = metrics(odd[0])
    assert list(numbers["datasets"]["odd"]["fluxscale"]["J1445+0958"]) == ["0"]
    assert [check for check in numbers["checks"] if check["verdict"] == "fail"] == []


def test_products_of_odd_names_stay_in_the_run_folder(odd: Any, place: Path) -> None:
    names = ("3C_286", "a_b", "_.._x_script_alert_1___script_")
    for name, target in zip(names, ODD, strict=True):
        assert (odd[0] / f"calibrated/odd.{name}.ms").is_dir()
        image = Sky(odd[0] / f"images/{name}.snap.fits")
        assert image.header["OBJECT"] == target
        assert np.nanmax(image.data) == pytest.approx(1.0, rel=0.05)
    assert not [path for path in place.parent.rglob("*script*alert*") if odd[0] not in path.parents]


def test_names_are_escaped_in_the_report(odd: Any) -> None:
    pages = list((odd[0] / "qa").glob("**/*.html"))
    text = "".join(page.read_text() for page in pages)
    assert "<script>alert" not in text
    assert "<b>bold" not in text
    assert "../../x&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "&lt;b&gt;bold&lt;/b&gt;" in text


# -- the other commands


def test_check_with_and_without_data(place: Path, one: tuple[Path, Done]) -> None:
    static = casarun("check", "--static", "one.toml", cwd=place)
    assert static.stdout == "one.toml: fine by itself (1 dataset)\n"
    full = casarun("check", "one.toml", "--output", "one", cwd=place)
    assert full.stdout == "one.toml: fine (25 steps)\nnothing to run\n"
    assert (static.returncode, full.returncode) == (0, 0)


def test_a_folder_that_holds_the_run_of_another_recipe(place: Path, one: tuple[Path, Done]) -> None:
    text = (place / "one.toml").read_text().replace('name = "one"', 'name = "other"', 1)
    (place / "other.toml").write_text(text)
    said = casarun("check", "other.toml", "--output", "one", cwd=place)
    assert said.returncode == 0
    assert said.stderr == (
        f"other.toml:2:2: warning: project.output: {place}/one holds the run of 'one', not of "
        "'other': what differs will be made again in its place; choose another folder with "
        "--output to keep both\n    2 | [project]\n      |  ^^^^^^^\n"
    )
    assert said.stdout == "other.toml: fine (25 steps, 1 warning)\nnothing to run\n"


def test_plan_as_json_and_mermaid(place: Path, one: tuple[Path, Done]) -> None:
    said = casarun("plan", "one.toml", "--output", "one", "--format", "json", cwd=place)
    plan = json.loads(said.stdout)
    assert plan["steps"] == json.loads((one[0] / "scripts/plan.json").read_text())["steps"]
    statwt = next(step for step in plan["steps"] if step["id"] == "a.target.step.statwt")
    assert statwt["updates"] == ["calibrated/a.target.ms"]
    assert statwt["waits_for"] == ["a.split.target"]
    said = casarun("plan", "one.toml", "--output", "one", "--format", "mermaid", cwd=place)
    lines = said.stdout.splitlines()
    assert lines[0] == "flowchart TD"
    assert '    s1["a.copy<br>copy to work on"]' in lines
    assert "    s0 --> s1" not in lines  # the copy reads the raw data, not the metadata
    assert "    s1 --> s2" in lines


def test_plan_as_a_table_says_why(place: Path, one: tuple[Path, Done]) -> None:
    said = casarun("plan", "one.toml", "-o", "one", "--set", "image.deep.niter=99", cwd=place)
    rows = {line.split()[1]: line for line in said.stdout.splitlines() if len(line.split()) > 2}
    assert rows["a.bandpass"].rstrip().endswith("  kept: unchanged")
    clean = rows["target.deep.clean"].rstrip()
    assert clean.endswith("  parameters changed: tclean.niter")
    last = said.stdout.splitlines()[-1]
    assert re.fullmatch(
        r"25 steps, 5 to run: about \d+ s on \d+ cores?, [\d.]+ MB of disk \([\d.]+ GB free\), "
        r"[\d.]+ MB of memory \(as in \d+ earlier runs? here\)",
        last,
    )


def test_info_shows_what_was_observed(place: Path, one: tuple[Path, Done]) -> None:
    said = casarun("info", "a.ms", cwd=place).stdout
    rows = [line.split() for line in said.splitlines()]
    assert said.splitlines()[0] == "a.ms"
    assert ["rows", "3,168"] in rows
    assert ["2", "target", "225.00000", "+8.00000", "1,056", "OBSERVE_TARGET#UNSPECIFIED"] in rows
    assert any(row[:4] == ["1", "spw1", "16", "1450"] for row in rows)
    data = json.loads(casarun("info", "a.ms", "--json", cwd=place).stdout)
    assert [field["name"] for field in data["fields"]] == ["1331+305=3C286", "J1445+0958", "target"]
    assert len(data["antennas"]) == 12


def test_status_and_log_of_a_run(one: tuple[Path, Done]) -> None:
    run = one[0]
    said = casarun("status", "one", cwd=run.parent).stdout.splitlines()
    assert said[0] == f"{run}: done"
    assert said[1] == "25 of 25 steps done, 0 running, 0 failed, 0 not run"
    assert said[-1] == f"report: {run}/qa/index.html"
    lines = casarun("log", "one", cwd=run.parent).stdout.splitlines()
    assert any(" step-done        a.bandpass in " in line for line in lines)
    assert lines[-1].endswith("run-ended         done")
    lines = casarun("log", "one", "a.bandpass", "--casa", cwd=run.parent).stdout.splitlines()
    assert f"logs in {run}/logs/a.bandpass/attempt-1" in lines
    assert any("bandpass" in line and "\tINFO\t" in line for line in lines)
    wrong = casarun("log", "one", "a.bandpas", cwd=run.parent)
    assert wrong.returncode == 2
    assert wrong.stderr == f"no step 'a.bandpas' has run in {run}; did you mean 'a.bandpass'?\n"


def test_doctor_finds_casa(place: Path) -> None:
    said = casarun("doctor", cwd=place)
    assert said.returncode == 0, said.stdout
    lines = [line.strip() for line in said.stdout.splitlines()]
    assert any(line.startswith("ok CASA 6.") and line.endswith(" imports") for line in lines)
    assert any("Earth orientation is known until 20" in line for line in lines)
    assert any(line.endswith(f"of disk are free in {place}") for line in lines)
    assert not any(line.startswith("x ") for line in lines)
