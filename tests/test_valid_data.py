"""No false alarms: what is in order is neither refused nor warned about."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest
from casarun import api, heuristics, starter
from casarun.casa import metadata
from casarun.casa.tables import open_table
from casarun.observation import Observation
from casarun.recipe.load import load
from casarun.stages import compile as stages
from support import skies, valid_skies
from support.cli import recipe

pytestmark = pytest.mark.casa

FOLDER = Path(__file__).parents[1] / "recipes"
NAMED = {
    "vla-line": """
        [calibrators]
        flux = { field = "1331+305", standard = "Perley-Taylor 99" }
        bandpass = "1331+305"
        phase = "1445+099"
        [targets]
        fields = "N5921"
        [contsub]
        fitspec = "0:4~6;50~59"
        [[image]]
        name = "hi"
        specmode = "cube"
        from = "contsub"
        start = 5
        nchan = 46
        restfreq = "1420.405752MHz"
        """,
    "vla-continuum": '[[image]]\nname = "c"\ndeconvolver = "mtmfs"\nstokes = "I"',
    "vla-archive": """
        [calibrators]
        flux = "1328+307"
        bandpass = "1328+307"
        phase = "1442+101"
        [targets]
        fields = "1500+082"
        [[image]]
        name = "c"
        """,
    "vla-mixed": """
        [[image]]
        name = "all"
        targets = "all"
        [[image]]
        name = "low"
        targets = "low"
        spw = "0:2~13,1"
        [[image]]
        name = "high"
        targets = "high"
        spw = "2,3:4~27"
        """,
    "vla-names": """
        [calibrators]
        flux = "0137+331=3C48"
        bandpass = "*3C48"
        phase = "J0238+1636"
        [targets]
        fields = ["NGC 1068", "M83 (core)", "a,b", "12", "+60.0", 'the "quoted"', "it's",
                  'back\\slash', "x[[]1][*]", "Sgr A[*]"]
        [[image]]
        name = "c"
        targets = ["M83 (core)", "a,b", "+60.0", "it's"]
        """,
    "vla-days": '[[image]]\nname = "c"',
    "vla-target": '[[image]]\nname = "c"',
    "alma": """
        [calibrators]
        flux = { field = "J0423-0120", fluxdensity = 2.2, spix = -0.5, reffreq = "98GHz" }
        [contsub]
        fitspec = "0,1,2,3:5~30;90~114"
        [[image]]
        name = "cont"
        spw = "0,1"
        [[image]]
        name = "co"
        specmode = "cube"
        from = "contsub"
        spw = "3"
        restfreq = "115.2712018GHz"
        start = "114.55GHz"
        nchan = 50
        mask = "auto-multithresh"
        """,
    "aca": """
        [calibrators]
        flux = { field = "J1256-0547", fluxdensity = 11, spix = -0.7, reffreq = "230GHz" }
        [[image]]
        name = "cont"
        spw = "1"
        """,
    "atca": """
        [calibrators]
        flux = { field = "1934-638", standard = "Stevens-Reynolds 2016" }
        bandpass = "1934-638"
        phase = "2052-474"
        [targets]
        fields = "IC 5063"
        [flag]
        rfi = "rflag"
        [[image]]
        name = "c6"
        spw = "0"
        deconvolver = "mtmfs"
        [[image]]
        name = "c3"
        spw = "1"
        """,
    "wsrt": """
        [calibrators]
        flux = { field = "3C147", standard = "Perley-Butler 2017" }
        bandpass = "3C147"
        phase = "3C147"
        [targets]
        fields = "UGC 3574"
        [contsub]
        fitspec = "0:5~20;45~60"
        [[image]]
        name = "hi"
        specmode = "cube"
        from = "contsub"
        restfreq = "1420.405752MHz"
        """,
    "meerkat": """
        [calibrators]
        flux = { field = "J1939-6342", standard = "Stevens-Reynolds 2016" }
        [[image]]
        name = "c"
        deconvolver = "mtmfs"
        tclean = { gridder = "wproject", wprojplanes = 32 }
        """,
    "gmrt": """
        [calibrators]
        flux = { field = "0137+331=3C48", standard = "Perley-Butler 2017" }
        bandpass = "0137+331=3C48"
        phase = "0119+321"
        [targets]
        fields = "M33"
        [[image]]
        name = "c"
        deconvolver = "mtmfs"
        tclean = { gridder = "wproject", wprojplanes = 32 }
        """,
}
"""A sensible recipe for each of the skies, without ``[[dataset]]``."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with the MS of each sky."""
    folder = tmp_path_factory.mktemp("valid")
    for name in valid_skies.SKIES:
        valid_skies.build(name, folder / f"{name}.ms")
    return folder


@pytest.fixture(scope="module")
def observed(place: Path) -> Callable[[str], Observation]:
    """Give the metadata of each sky, read once."""
    return lru_cache(lambda name: metadata.read(place / f"{name}.ms"))


def complaints(path: Path, observation: Observation) -> list[str]:
    """Return all that casarun has to say against a recipe of one dataset."""
    loaded = load(path)
    compiled = stages.full(loaded.recipe, {loaded.recipe.dataset[0].name: observation})
    found = (*loaded.warnings, *compiled.problems, *compiled.warnings)
    assert compiled.steps
    return [problem.message for problem in found]


@pytest.mark.parametrize("name", valid_skies.SKIES)
def test_a_sensible_recipe_is_fine(
    name: str, place: Path, observed: Callable[[str], Observation]
) -> None:
    calibrated = "calibrated = true\n" if name == "vla-target" else ""
    text = f'[[dataset]]\nvis = "{name}.ms"\n{calibrated}{dedent(NAMED[name])}'
    path = recipe(place, text, f"{name}-named.toml")
    assert complaints(path, observed(name)) == []


@pytest.mark.parametrize("name", valid_skies.SKIES)
def test_what_init_writes_is_fine(
    name: str, place: Path, observed: Callable[[str], Observation]
) -> None:
    written = starter.write([observed(name)], [f"{name}.ms"], name)
    path = place / f"{name}-init.toml"
    path.write_text(written.text, encoding="utf-8")
    assert complaints(path, observed(name)) == []


@pytest.mark.parametrize("name", ["vla-mixed", "vla-names", "vla-days", "alma", "atca"])
def test_the_plan_is_made_through_the_whole_of_casarun(
    name: str, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = f'[[dataset]]\nvis = "{name}.ms"\n{dedent(NAMED[name])}'
    planned = api.plan(recipe(place, text, f"{name}-plan.toml"), api.Options())
    assert any(step.action == "clean" for step in planned.plan.steps)
    assert {step.dataset for step in planned.plan.steps} >= {name}


def test_the_skies_are_what_they_say(observed: Callable[[str], Observation]) -> None:
    mixed = observed("vla-mixed")
    low = next(one.id for one in mixed.fields if one.name == "low")
    assert mixed.spws_of_fields({low}) == (0, 1)
    assert {scan.obs_id for scan in observed("vla-days").scans} == {0, 1}
    assert observed("atca").spws[0].correlations == ("XX", "XY", "YX", "YY")
    assert {antenna.diameter_m for antenna in observed("aca").antennas} == {7.0}
    assert observed("wsrt").antennas[-1].name == "RTD"
    assert not any(one.intents for one in observed("gmrt").fields)
    assert "CORRECTED_DATA" in observed("vla-target").columns
    first = observed("alma").scans[0]
    assert any("ATMOSPHERE" in intent for intent in first.intents)
    names = [one.name for one in observed("vla-names").fields]
    assert names[-4:] == ["it's", "back\\slash", "x[1]*", "Sgr A*"]


@pytest.mark.parametrize("name", ["alma", "aca", "atca", "wsrt", "meerkat", "gmrt"])
def test_a_telescopes_source_is_seen_where_and_as_bright_as_it_is(
    name: str, place: Path, casa: Any, observed: Callable[[str], Observation]
) -> None:
    sky = valid_skies.SKIES[name][0]
    number = next(i for i, one in enumerate(sky.fields) if len(one.sources) == 2 or i == 2)
    highest = observed(name).spws[0].highest_hz
    cell = heuristics.cell(observed(name).longest_baseline_m, highest).value
    outcome, _ = casa(
        "tclean", vis=str(place / f"{name}.ms"), field=str(number), spw="0", datacolumn="data",
        imagename="t", imsize=64, cell=cell, weighting="natural", niter=0,
    )  # fmt: skip
    assert not isinstance(outcome, Exception)
    found, _ = casa("imstat", imagename="t.image")
    source = sky.fields[number].sources[0]
    assert [int(at) for at in found["maxpos"][:2]] == [32, 32]
    assert found["max"][0] == pytest.approx(source.flux_jy, rel=0.2)


def test_polcal_finds_the_leakage_that_was_put_in(tmp_path: Path, casa: Any) -> None:
    sky = skies.Sky(
        scans=(0,), correlations=valid_skies.ALL_HANDS, leakage=0.05, noise_jy=0.01, n_antennas=8
    )
    truth = skies.build(tmp_path / "p.ms", sky)
    casa("setjy", vis="p.ms", field="0", standard="Perley-Butler 2017", usescratch=True)
    casa("polcal", vis="p.ms", caltable="d", poltype="Df", solint="inf", refant="ea01", minsnr=0)
    with open_table(tmp_path / "d") as table:
        found = table.getcol("CPARAM").mean(axis=1)
    # Unpolarized data leave one complex number open, which makes the reference's R term 0.
    right, left = truth.leakage
    assert np.abs(found[0] - (right - right[0])).max() < 0.01
    assert np.abs(found[1] - (left + np.conj(right[0]))).max() < 0.01


@pytest.mark.parametrize("name", ["ngc5921", "3c273", "vla-continuum", "vla-line"])
def test_a_shipped_recipe_is_fine(
    name: str, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA", str(place / "vla-continuum.ms"))
    planned = api.plan(FOLDER / f"{name}.toml", api.Options())
    said = [problem.message for problem in planned.warnings]
    # What the starter of a line leaves to its user, it is warned of.
    assert said == [] or (name == "vla-line" and all("fitspec" in one for one in said))
