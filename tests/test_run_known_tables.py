"""Known corrections in whole runs: errors that solutions on calibrators cannot take out.

Opacity and wrong antenna positions act on calibrators and target differently, so that the target
is right only if each table is applied, with the right sign, to every solution and in the end.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from casarun.casa import invoke
from casarun.casa.tables import open_table
from support import images, known_errors, skies
from support.cli import Done, casarun, metrics, recipe

pytestmark = [
    pytest.mark.casa,
    pytest.mark.filterwarnings("ignore::astropy.wcs.FITSFixedWarning"),
]

TARGET = skies.SkyField(
    "target", "15h00m00.0s", "+08d00m00.0s", (skies.Source(0.8),), skies.INTENT_TARGET
)
SKY = skies.Sky(
    fields=(skies.FLUX_CAL, skies.PHASE_CAL, TARGET),
    spws=(skies.Spw(43.0e9, 2e6, 4), skies.Spw(43.2e9, 2e6, 4)),
    start="1998/03/01/08:00:00",
    scans=(0, 1, 2, 1),
    integrations=3,
    noise_jy=0.01,
    gain_amp=0.1,
    gain_phase_deg=60,
)
OPACITY = (0.25, 0.35)
MOVED = {3: (0.04, -0.02, 0.03), 7: (-0.03, 0.04, 0.0), 9: (0.02, 0.03, -0.04)}
"""By antenna: in m, ITRF. Between calibrator and target that turns phases by up to half a turn."""
REQUANTIZED = {1: 2.0, 5: 1.5, 6: 0.5}
"""Gains by antenna while the target is observed."""
POSITIONS = [value for offset in MOVED.values() for value in offset]
START = """
[[dataset]]
name = "day"
vis  = "sky.ms"

[calibrators]
flux = { field = "1331*", model = "point" }

[[image]]
name = "continuum"
imsize = 64
niter = 100
"""
GENCAL = f"""
[[step]]
task   = "gencal"
before = "calibrate"
[step.params]
caltable  = "caltables/{{dataset}}.antpos"
caltype   = "antpos"
antenna   = "ea04,ea08,ea10"
parameter = {POSITIONS}
"""
TABLES = f"""
[calibrate]
tables = [
    "caltables/{{dataset}}.antpos",
    {{ table = "{{recipe}}/{{dataset}}.opacity", interp = "nearest", spwmap = [0, 1] }},
]
priors = {{ gaincurve = "auto", syspower = "rq" }}
{GENCAL}"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with an observation with known errors, and a table of its opacities."""
    folder = tmp_path_factory.mktemp("known")
    ms = folder / "sky.ms"
    skies.build(ms, SKY)
    known_errors.attenuate(ms, SKY, OPACITY)
    known_errors.misplace(ms, SKY, MOVED)
    known_errors.weaken(ms, SKY)
    known_errors.requantize(ms, SKY, 2, REQUANTIZED)
    table(folder, "day.opacity", caltype="opac", spw="0,1", parameter=list(OPACITY))
    return folder


def table(folder: Path, name: str, **params: Any) -> None:
    """Make a table that the user has."""
    shutil.rmtree(folder / name, ignore_errors=True)
    invoke.task("gencal", {"vis": str(folder / "sky.ms"), "caltable": str(folder / name), **params})


def run(place: Path, name: str, text: str) -> tuple[Path, Done]:
    """Run a recipe with settings of its own."""
    done = casarun(recipe(place, START + text, f"{name}.toml"), "--output", name, cwd=place)
    return place / name, done


@pytest.fixture(scope="module")
def corrected(place: Path) -> Path:
    """Run with a table of a step and a table from outside."""
    folder, done = run(place, "corrected", TABLES)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def fluxes(folder: Path) -> tuple[list[float], float]:
    """Return the flux densities of the phase calibrator by window, and the target's peak."""
    found = metrics(folder)["datasets"]["day"]["fluxscale"]["J1445+0958"]
    peak, _ = images.Sky(folder / "images/target.continuum.fits").peak(
        images.place(TARGET, TARGET.sources[0])
    )
    return [found["0"], found["1"]], peak


def test_known_errors_are_taken_out_of_calibrators_and_target(corrected: Path) -> None:
    calibrator, target = fluxes(corrected)
    assert calibrator == pytest.approx([2.5, 2.5], rel=0.01)
    assert target == pytest.approx(0.8, rel=0.01)


def test_what_was_known_is_in_the_run(corrected: Path) -> None:
    plan = json.loads((corrected / "scripts/plan.json").read_text())
    applied = [
        "caltables/day.gaincurve",
        "caltables/day.syspower",
        "caltables/day.antpos",
        "caltables/day.known.day.opacity",
    ]
    for step in plan["steps"]:
        if step["action"] in ("casa:gaincal", "casa:bandpass", "casa:applycal"):
            assert step["params"]["gaintable"][:4] == applied
            assert step["params"]["interp"][:4] == ["linear", "linear", "linear", "nearest"]
            assert step["params"]["spwmap"][:4] == [[], [], [], [0, 1]]
            assert set(applied) <= set(step["reads"])
    told = {
        one["title"]: one["told"]
        for one in metrics(corrected)["datasets"]["day"]["caltables"]
        if "title" in one
    }
    assert [said.partition(":")[0] for said in told.pop("gain curves")] == ["spw 0", "spw 1"]
    assert told.pop("switched power") == []
    assert told == {
        "known table day.antpos": [
            "moved, in ITRF: ea04 by (+40.00, -20.00, +30.00) mm, "
            "ea08 by (-30.00, +40.00, +0.00) mm, ea10 by (+20.00, +30.00, -40.00) mm"
        ],
        "known table day.opacity": ["zenith opacity (nepers): 0.25 in spw 0, 0.35 in spw 1"],
    }
    page = (corrected / "qa/index.html").read_text()
    assert "Zenith opacity (nepers): 0.25 in spw 0, 0.35 in spw 1." in page
    script = (corrected / "scripts/casa_script.py").read_text()
    assert 'shutil.copytree(DAY_OPACITY, "caltables/day.known.day.opacity")' in script


@pytest.mark.long
@pytest.mark.parametrize("without", ["opacity", "antpos", "gaincurve", "syspower"])
def test_without_one_of_them_the_result_is_wrong(place: Path, without: str) -> None:
    text = {
        "opacity": re.sub(r"{ table = .*},", "", TABLES),
        "antpos": TABLES.replace('"caltables/{dataset}.antpos",', ""),
        "gaincurve": TABLES.replace('gaincurve = "auto"', 'gaincurve = "no"'),
        "syspower": TABLES.replace('syspower = "rq"', 'syspower = "no"'),
    }[without]
    folder, done = run(place, f"without-{without}", text)
    assert done.returncode in (0, 3), done.stdout + done.stderr
    calibrator, target = fluxes(folder)
    off = [abs(one / 2.5 - 1) for one in calibrator] + [abs(target / 0.8 - 1)]
    assert max(off) > 0.025  # of which the full correction leaves less than 0.01


@pytest.mark.long
def test_the_recipes_own_values_do_the_same(place: Path) -> None:
    moved = ", ".join(f"ea{number + 1:02d} = {list(offset)}" for number, offset in MOVED.items())
    folder, done = run(
        place,
        "priors",
        '[calibrate.priors]\ngaincurve = true\nsyspower = "swpow"\n'
        f"opacity = {list(OPACITY)}\nantenna_positions = {{ {moved} }}\n",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    calibrator, target = fluxes(folder)
    assert calibrator == pytest.approx([2.5, 2.5], rel=0.01)
    assert target == pytest.approx(0.8, rel=0.01)


@pytest.mark.long
def test_opacities_from_the_weather(place: Path) -> None:
    shutil.copytree(place / "sky.ms", place / "weather.ms")
    known_errors.report_weather(place / "weather.ms")
    text = START.replace("sky.ms", "weather.ms") + '[calibrate.priors]\nopacity = "auto"\n'
    path = recipe(place, text, "weather.toml")
    done = casarun(path, "--until", "calibrate", "--output", "weather", cwd=place)
    assert done.returncode in (0, 3), done.stdout + done.stderr
    found = json.loads((place / "weather/caltables/day.opacity.json").read_text())
    assert found["origin"] == (
        "half from the weather station's temperature and dew point, half from the season"
    )
    with open_table(place / "weather/caltables/day.opacity") as table:
        applied = table.getcol("FPARAM")[0, 0], table.getcol("SPECTRAL_WINDOW_ID")
    for spw, value in enumerate(found["opacity"]):
        assert 0.04 < value < 0.1  # as NRAO's tables have it for 43 GHz on dry days
        assert applied[0][applied[1] == spw] == pytest.approx(value)


@pytest.mark.long
def test_a_changed_table_is_applied_anew(place: Path, corrected: Path) -> None:
    shutil.copytree(corrected, place / "changed", symlinks=True)
    table(place, "day.opacity", caltype="opac", spw="0,1", parameter=[0.0, 0.0])
    try:
        folder, done = run(place, "changed", TABLES)
        assert done.returncode in (0, 3), done.stdout + done.stderr
        assert max(fluxes(folder)[0]) < 2.4
    finally:
        table(place, "day.opacity", caltype="opac", spw="0,1", parameter=list(OPACITY))


@pytest.mark.long
def test_system_temperatures_of_another_window(tmp_path: Path) -> None:
    phase = replace(skies.PHASE_CAL, intent=skies.INTENT_FLUX + "," + skies.INTENT_PHASE)
    sky = skies.Sky(
        fields=(phase, TARGET),
        scans=(0, 1, 0),
        spws=(skies.Spw(100.0e9, 2e6, 8), skies.Spw(100.1e9, 1e6, 16)),
        telescope="ALMA",
        integrations=3,
        gain_phase_deg=60,
    )
    skies.build(tmp_path / "sky.ms", sky)
    known_errors.heat(tmp_path / "sky.ms", sky, 1, {2: 400.0, 5: 225.0, 8: 64.0})
    text = """
[[dataset]]
name = "day"
vis  = "sky.ms"
[calibrators]
flux = { field = "J1445*", fluxdensity = 2.5 }
[calibrate]
tables = [{ table = "caltables/{dataset}.tsys", spwmap = [0, 0], calwt = true }]
[[step]]
task   = "gencal"
before = "calibrate"
params = { caltable = "caltables/{dataset}.tsys", caltype = "tsys" }
[[image]]
name = "continuum"
imsize = 64
niter = 100
"""
    done = casarun(recipe(tmp_path, text), "--output", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    image = images.Sky(tmp_path / "run/images/target.continuum.fits")
    assert image.peak(images.place(TARGET, TARGET.sources[0]))[0] == pytest.approx(0.8, rel=0.01)
    text = text.replace("spwmap = [0, 0], ", "")
    done = casarun(recipe(tmp_path, text), "--output", "without", cwd=tmp_path)
    assert done.returncode == 1
    assert (
        "caltables/day.tsys: the table has no solutions for spw 1, only for 0: CASA would leave "
        "these data as they are; say with spwmap whose solutions they take"
    ) in done.stdout + done.stderr
