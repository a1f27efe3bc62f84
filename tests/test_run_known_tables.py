"""Known corrections in whole runs: errors that solutions on calibrators cannot take out.

Opacity and wrong antenna positions act on calibrators and target differently, so that the target
is right only if each table is applied, with the right sign, to every solution and in the end.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from casarun.casa import invoke
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
MOVED = {3: (0.02, -0.01, 0.015), 7: (-0.01, 0.02, 0.0)}
"""By antenna: in m, ITRF. Between calibrator and target that turns phases by some 60 degrees."""
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
antenna   = "ea04,ea08"
parameter = {POSITIONS}
"""
TABLES = f"""
[calibrate]
tables = [
    "caltables/{{dataset}}.antpos",
    {{ table = "{{recipe}}/{{dataset}}.opacity", interp = "nearest", spwmap = [0, 1] }},
]
priors = {{ gaincurve = "auto" }}
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
        "caltables/day.gaincurve", "caltables/day.antpos", "caltables/day.known.day.opacity",
    ]  # fmt: skip
    for step in plan["steps"]:
        if step["action"] in ("casa:gaincal", "casa:bandpass", "casa:applycal"):
            assert step["params"]["gaintable"][:3] == applied
            assert step["params"]["interp"][:3] == ["linear", "linear", "nearest"]
            assert step["params"]["spwmap"][:3] == [[], [], [0, 1]]
            assert set(applied) <= set(step["reads"])
    told = {
        one["title"]: one["told"]
        for one in metrics(corrected)["datasets"]["day"]["caltables"]
        if "title" in one
    }
    assert [said.partition(":")[0] for said in told.pop("gain curves")] == ["spw 0", "spw 1"]
    assert told == {
        "day.antpos, known before": [
            "moved, in ITRF: ea04 by (+20.00, -10.00, +15.00) mm, "
            "ea08 by (-10.00, +20.00, +0.00) mm"
        ],
        "day.opacity, known before": ["zenith opacity (nepers): 0.25 in spw 0, 0.35 in spw 1"],
    }
    page = (corrected / "qa/index.html").read_text()
    assert "Zenith opacity (nepers): 0.25 in spw 0, 0.35 in spw 1." in page
    script = (corrected / "scripts/casa_script.py").read_text()
    assert 'shutil.copytree(DAY_OPACITY, "caltables/day.known.day.opacity")' in script


@pytest.mark.long
@pytest.mark.parametrize("without", ["opacity", "antpos", "gaincurve"])
def test_without_one_of_them_the_result_is_wrong(place: Path, without: str) -> None:
    text = {
        "opacity": re.sub(r"{ table = .*},", "", TABLES),
        "antpos": TABLES.replace('"caltables/{dataset}.antpos",', ""),
        "gaincurve": TABLES.replace('gaincurve = "auto"', 'gaincurve = "no"'),
    }[without]
    folder, done = run(place, f"without-{without}", text)
    assert done.returncode in (0, 3), done.stdout + done.stderr
    calibrator, target = fluxes(folder)
    off = [abs(one / 2.5 - 1) for one in calibrator] + [abs(target / 0.8 - 1)]
    assert max(off) > 0.025  # of which the full correction leaves less than 0.01


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
