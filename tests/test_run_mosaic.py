"""A mosaic of two observations through a whole run: fluxes, places and noise are those put in."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import casarun as package
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from casarun.casa.tables import open_table
from support import skies
from support.cli import Done, casarun, events, metrics
from support.images import Sky

pytestmark = [
    pytest.mark.casa,
    pytest.mark.filterwarnings("ignore::astropy.wcs.FITSFixedWarning"),
]

CENTRES = {  # a triangle with sides of 27 arcsec: the primary beam is 58 arcsec wide
    "m_1": SkyCoord("13h37m00.0s", "-29d51m57.0s"),
    "m_2": SkyCoord("13h37m02.076s", "-29d51m57.0s"),
    "m_3": SkyCoord("13h37m01.038s", "-29d51m33.6s"),
}
SOURCES = {  # flux density in Jy and place
    "at the centre of a pointing": (0.5, CENTRES["m_1"]),
    "between two pointings": (0.3, SkyCoord("13h37m01.038s", "-29d51m57.0s")),
    "between three pointings": (0.2, SkyCoord("13h37m01.038s", "-29d51m49.2s")),
    "at the edge": (0.4, SkyCoord("13h37m03.6s", "-29d52m05.0s")),
}
LONE = SkyCoord("13h38m00.0s", "-29d52m00.0s")
NOISE_JY = 0.1
AIRY_M = (10.7, 0.75)
"""What CASA takes for the primary beam of ALMA's 12 m dishes (its vpmanager)."""

SETTINGS = (
    'targets.mosaics={ M83 = "m_*" }',
    "image.continuum.weighting=natural",
    "image.continuum.threshold=2mJy",
)
"""What is said of these data on top of the recipe of the gallery."""


def seen_from(centre: SkyCoord, source: SkyCoord) -> tuple[float, float]:
    """Return the direction cosines of a source from a pointing, in units of arcsec."""
    ra, dec, ra0, dec0 = (
        angle.rad for angle in (source.ra, source.dec, centre.ra, centre.dec)
    )  # fmt: skip
    east = np.cos(dec) * np.sin(ra - ra0)
    north = np.sin(dec) * np.cos(dec0) - np.cos(dec) * np.sin(dec0) * np.cos(ra - ra0)
    return east / skies.ARCSEC, north / skies.ARCSEC


def pointing(name: str, centre: SkyCoord) -> skies.SkyField:
    sources = [skies.Source(flux, *seen_from(centre, at)) for flux, at in SOURCES.values()]
    ra, dec = centre.to_string("hmsdms", precision=4).split()
    return skies.SkyField(name, ra, dec, tuple(sources), skies.INTENT_TARGET)


ALONE = skies.SkyField(
    "alone", *LONE.to_string("hmsdms").split(), (skies.Source(0.3),), skies.INTENT_TARGET
)
MAY = skies.Sky(
    fields=(*(pointing(name, centre) for name, centre in CENTRES.items()), ALONE),
    scans=(0, 1, 2, 3, 0, 1, 2),
    spws=(skies.Spw(99e9, 31.25e6, 8),),
    telescope="ALMA",
    n_antennas=16,
    integration_s=10,
    noise_jy=NOISE_JY,
    airy_m=AIRY_M,
    start="2020/05/01/02:00:00",
)
JUNE = replace(  # another epoch, another band, the pointings in another order, no lone target
    MAY, fields=MAY.fields[2::-1], scans=(0, 1, 2, 0, 1, 2), spws=(skies.Spw(101e9, 31.25e6, 8),),
    seed=2, start="2020/06/01/01:00:00",
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Done]:
    place = tmp_path_factory.mktemp("mosaic")
    skies.build(place / "may.ms", MAY)
    skies.build(place / "june.ms", JUNE)
    settings = [word for one in SETTINGS for word in ("--set", one)]
    shipped = Path(package.__file__).parent / "recipes" / "mosaic.toml"
    environ = {**os.environ, "DATA": str(place)}
    done = casarun(shipped, "--output", "run", *settings, cwd=place, env=environ)
    assert done.returncode == 0, done.stdout + done.stderr
    return place / "run", done


@pytest.fixture(scope="module")
def image(run: tuple[Path, Done]) -> Sky:
    return Sky(run[0] / "images" / "M83.continuum.pbcor.fits")


@pytest.mark.parametrize("where", SOURCES)
def test_sources_in_and_between_pointings_come_out_as_they_went_in(image: Sky, where: str) -> None:
    flux, at = SOURCES[where]
    peak, off_arcsec = image.peak(at)
    assert peak == pytest.approx(flux, rel=0.03)
    assert off_arcsec < 0.1 * image.bmin_arcsec


def test_the_noise_is_that_of_theory(run: tuple[Path, Done]) -> None:
    """The flat noise of a mosaic is that of the place where most pointings look, over its weight.

    A pointing's noise goes into the mosaic with the square of its primary beam.
    """
    samples = 2 * 120 * 2 * 2 * 4 * 8  # correlations, baselines, epochs, scans, times, channels
    alone = NOISE_JY / np.sqrt(samples)
    grid = np.arange(-40, 41) * skies.ARCSEC
    weight = np.zeros((grid.size, grid.size))
    middle = SOURCES["between three pointings"][1]
    for centre in CENTRES.values():
        east, north = (v * skies.ARCSEC for v in seen_from(middle, centre))
        off = np.hypot(grid[:, None] - north, grid[None] - east)
        hertz = np.array([100e9])
        each = [skies.primary_beam(float(r), hertz, AIRY_M)[0] for r in off.ravel()]
        weight += np.reshape(each, off.shape) ** 2
    theory = alone / np.sqrt(weight.max())
    measured = Sky(run[0] / "images" / "M83.continuum.fits").noise()
    assert theory / 1.1 < measured < 1.25 * theory
    said = metrics(run[0])["images"]["M83"]["continuum"]["rms_noise_jy_per_beam"]
    assert said == pytest.approx(measured, rel=0.15)


def test_what_was_chosen_of_the_mosaic_is_shown(run: tuple[Path, Done]) -> None:
    plan = json.loads((run[0] / "scripts" / "plan.json").read_text())
    chosen = {a["key"]: (a["value"], a["reason"]) for a in plan["autos"]
              if a["subject"] == "M83.continuum"}  # fmt: skip
    assert chosen["image.gridder"] == ("mosaic", "6 pointings are imaged together")
    assert chosen["image.tclean.phasecenter"][1] == "the centre of the 6 pointings"
    steps = {step["id"]: step for step in plan["steps"]}
    # A target of one pointing beside it keeps the standard gridder and waits for nothing of it.
    assert steps["alone.continuum.clean"]["params"]["tclean"]["gridder"] == "standard"
    waits, ahead = {"alone.continuum.clean"}, ["alone.continuum.clean"]
    while ahead:
        for other in steps[ahead.pop()]["waits_for"]:
            if other not in waits:
                waits.add(other)
                ahead.append(other)
    assert not [name for name in waits if name.startswith("M83") or "june" in name]


def test_the_clean_took_the_sources_and_no_more(run: tuple[Path, Done]) -> None:
    planes = {}
    for kind in ("model", "pb"):
        with open_table(run[0] / "images" / f"M83.continuum.{kind}") as table:
            planes[kind] = np.squeeze(table.getcell("map", 0))
    # A mosaic is cleaned where its noise is flat: its model is the sky's times the sensitivity.
    model = planes["model"] / np.maximum(planes["pb"], 0.1)
    assert model.sum() == pytest.approx(sum(flux for flux, _ in SOURCES.values()), rel=0.1)
    done = [e["step"] for e in events(run[0]) if e["event"] == "step-done"]
    assert {"M83.continuum.pbcor", "M83.continuum.measure", "alone.continuum.measure"} <= {*done}


def test_the_target_of_one_pointing_is_right_beside_it(run: tuple[Path, Done]) -> None:
    alone = Sky(run[0] / "images" / "alone.continuum.pbcor.fits")
    peak, off_arcsec = alone.peak(LONE)
    assert peak == pytest.approx(0.3, rel=0.03)
    assert off_arcsec < 0.1 * alone.bmin_arcsec
