"""The recipes of the gallery, run as they are shipped on small simulated data of their telescopes.

What comes out is what was put in: flux densities, places, and the noise that the weights allow.
Those for self-calibration and for mosaics have runs of their own, in ``test_run_selfcal.py``,
``test_selfcal_telescopes.py`` and ``test_run_mosaic.py``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import casarun as package
import numpy as np
import pytest
from casarun.casa.tables import open_table
from support import skies
from support.cli import casarun, metrics
from support.images import Sky
from support.images import place as put
from support.skies import SkyField, Source, Spw
from support.weighting import briggs_noise_jy

pytestmark = [
    pytest.mark.casa,
    pytest.mark.filterwarnings("ignore::astropy.wcs.FITSFixedWarning"),
]

FOLDER = Path(package.__file__).parent / "recipes"
GAINS: dict[str, Any] = {"gain_amp": 0.05, "gain_phase_deg": 60, "phase_drift_deg": 20}


@dataclass(frozen=True)
class Case:
    """A recipe with the observations that it is tried on.

    `settings` are what its comments tell the user to change, and what makes it small; `channels`
    are those that make the continuum, if not all.
    """

    recipe: str
    observations: tuple[skies.Sky, ...]
    settings: tuple[str, ...] = ()
    target: str = "target"
    robust: float = 0.5
    channels: tuple[int, ...] | None = None

    @property
    def field(self) -> SkyField:
        """The target as it was put in."""
        fields = self.observations[0].fields
        return next(one for one in fields if one.name.replace(" ", "_") == self.target)

    def flux_jy(self, source: Source, hertz: float) -> float:
        """Return a source's flux density at a frequency."""
        first = self.observations[0].spws[0].start_hz
        return source.flux_jy * float((hertz / first) ** source.spectral_index)


TRACK: dict[str, Any] = {"n_antennas": 14, "integration_s": 150, "integrations": 3}
"""Scans far enough apart to fill the uv plane; visibilities are of their middle, so not smeared."""
VLA = skies.Sky(
    fields=(
        skies.FLUX_CAL,
        skies.PHASE_CAL,
        replace(skies.TARGET, sources=(Source(0.4, spectral_index=-0.7),
                                       Source(0.2, 240.0, -360.0, spectral_index=-0.7))),
    ),
    scans=(0, 1, 2, 1, 2, 1),
    spws=(Spw(1.2e9, 32e6, 8), Spw(1.5e9, 32e6, 8)),
    noise_jy=0.05,
    bandpass_slope=0.1,
    **TRACK,
    **GAINS,
)  # fmt: skip
VLA_LINE = replace(
    VLA,
    fields=(
        *VLA.fields[:2],
        replace(skies.TARGET, sources=(Source(0.3, 120.0, 60.0),
                                       Source(0.1, -60.0, 90.0, channels=(12, 19)))),
    ),
    spws=(Spw(1.4127e9, 48.8e3, 32),),
    noise_jy=0.03,
)  # fmt: skip
EPOCH = replace(
    VLA,
    fields=(*VLA.fields[:2], replace(skies.TARGET, sources=(Source(0.4), Source(0.2, 240, -360)))),
    spws=VLA.spws[:1],
)
MEERKAT = skies.Sky(
    fields=(
        SkyField("J1939-6342", "19h39m25.026s", "-63d42m45.63s", (),
                 "CALIBRATE_BANDPASS,CALIBRATE_FLUX", is_1934=True),
        SkyField("J2009-4849", "20h09m25.391s", "-48d49m53.72s", (Source(1.0),),
                 "CALIBRATE_AMPLI,CALIBRATE_PHASE"),
        SkyField("deep", "20h15m00.0s", "-45d00m00.0s",
                 (Source(0.2, 12.0, 9.0), Source(0.05, -90.0, 120.0)), "TARGET"),
    ),
    scans=(0, 1, 2, 1, 2, 1),
    spws=(Spw(1.2e9, 6.688e6, 32),),
    telescope="MeerKAT",
    n_antennas=16,
    integration_s=120,
    integrations=4,
    noise_jy=0.05,
    start="2020/03/01/08:00:00",
    **GAINS,
)  # fmt: skip
ATCA = skies.Sky(
    fields=(
        SkyField("1934-638", "19h39m25.026s", "-63d42m45.63s", is_1934=True),
        SkyField("2052-474", "20h56m16.360s", "-47d14m47.63s", (Source(1.8),)),
        SkyField("IC 5063", "20h52m02.34s", "-57d04m07.6s",
                 (Source(0.3), Source(0.1, -30.0, 40.0))),
    ),
    scans=(0, *(1, 2) * 8, 1),
    spws=(Spw(4.8e9, 64e6, 16),),
    telescope="ATCA",
    n_antennas=6,
    integration_s=400,
    integrations=4,
    noise_jy=0.02,
    start="2020/03/01/19:00:00",
    **{**GAINS, "phase_drift_deg": 60},
)  # fmt: skip
ALMA = skies.Sky(
    fields=(
        SkyField("NGC 1068", "02h42m40.711s", "-00d00m47.81s",
                 (Source(0.05), Source(0.02, 8.0, 5.0)), "OBSERVE_TARGET#ON_SOURCE"),
    ),
    scans=(0, 0, 0),
    spws=(Spw(97.9e9, 62.5e6, 16), Spw(99.9e9, 62.5e6, 16)),
    telescope="ALMA",
    n_antennas=32,
    integration_s=120,
    integrations=4,
    noise_jy=0.05,
    start="2020/03/01/20:00:00",
)  # fmt: skip
ALMA_LINE = replace(
    ALMA,
    fields=(replace(ALMA.fields[0], sources=(
        Source(0.1, 8.0, 5.0), Source(0.2, -4.0, 6.0, channels=(9, 14)))),),
    spws=(Spw(115.20e9, 1.953e6, 24),),
    n_antennas=24,
)  # fmt: skip

CASES = {
    case.recipe: case
    for case in (
        Case("vla-continuum", (VLA,), ("image.continuum.imsize=128",)),
        Case("vla-line", (VLA_LINE,), (
            "contsub.fitspec=0:2~9;22~29", "image.continuum.spw=0:2~9;22~29",
            "image.continuum.imsize=128", "image.line.imsize=96"),
            channels=(*range(2, 10), *range(22, 30))),
        Case("vla-survey", (EPOCH, replace(EPOCH, seed=2, start="2020/03/05/08:00:00")), (
            "image.continuum.imsize=128", "image.continuum.deconvolver=hogbom")),
        Case("alma-continuum", (ALMA,), ("image.continuum.imsize=128",), "NGC_1068"),
        Case("alma-line", (ALMA_LINE,), (
            "vars.linefree=0:0~5;18~23", "vars.restfreq=115.22GHz",
            "image.continuum.imsize=96", "image.line.imsize=80"), "NGC_1068",
            channels=(*range(6), *range(18, 24))),
        Case("meerkat-continuum", (MEERKAT,), (
            "image.continuum.imsize=160", "image.continuum.cell=1.6arcsec", "selfcal.0.rounds=1"),
            "deep", robust=0.0),
        Case("atca-continuum", (ATCA,), ("image.continuum.imsize=192",), "IC_5063"),
    )
}  # fmt: skip
LINES = ("vla-line", "alma-line")
CALIBRATED = {"vla-continuum": ("J1445+0958", 2.5), "vla-line": ("J1445+0958", 2.5),
              "vla-survey": ("J1445+0958", 2.5), "meerkat-continuum": ("J2009-4849", 1.0),
              "atca-continuum": ("2052-474", 1.8)}  # fmt: skip
"""The phase calibrator whose flux density must be found, by recipe."""


@dataclass(frozen=True)
class Ran:
    """A case that has run."""

    case: Case
    place: Path

    @property
    def run(self) -> Path:
        return self.place / "run"

    def image(self, name: str, channel: int | None = None) -> Sky:
        return Sky(self.run / "images" / f"{self.case.target}.{name}.fits", channel)

    @property
    def measurement_sets(self) -> list[Path]:
        return sorted((self.run / "calibrated").glob(f"*.{self.case.target}.ms"))


_RAN: dict[str, Ran] = {}


def ran(name: str, factory: pytest.TempPathFactory) -> Ran:
    """Return the run of a recipe, which is made once."""
    if name not in _RAN:
        case, place = CASES[name], factory.mktemp(name)
        data = place / "data"
        data.mkdir()
        for number, observation in enumerate(case.observations, start=1):
            skies.build(data / f"day{number}.ms", observation)
        settings = [word for one in case.settings for word in ("--set", one)]
        given = data if len(case.observations) > 1 else data / "day1.ms"
        environ = {**os.environ, "DATA": str(given)}
        recipe = FOLDER / f"{name}.toml"
        done = casarun(recipe, "--output", "run", *settings, cwd=place, env=environ)
        assert done.returncode == 0, done.stdout + done.stderr
        _RAN[name] = Ran(case, place)
    return _RAN[name]


@pytest.fixture(params=CASES)
def one(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return ran(request.param, tmp_path_factory)


def test_sources_come_out_where_and_as_bright_as_they_went_in(one: Ran) -> None:
    image = one.image("continuum")
    hertz = float(image.header["CRVAL3"])
    for source in one.case.field.sources:
        if source.channels is None:
            peak, off_arcsec = image.peak(put(one.case.field, source))
            assert peak == pytest.approx(one.case.flux_jy(source, hertz), rel=0.02)
            assert off_arcsec < 0.1 * image.bmin_arcsec


def test_the_noise_is_that_of_theory(one: Ran) -> None:
    image = one.image("continuum")
    side, cell = image.data.shape[0], 3600 * abs(image.header["CDELT2"])
    theory = briggs_noise_jy(
        one.measurement_sets, one.case.observations[0].noise_jy, side, cell, one.case.robust,
        one.case.channels,
    )  # fmt: skip
    assert image.noise() == pytest.approx(theory, rel=0.15)


def test_no_check_of_the_quality_fails(one: Ran) -> None:
    found = metrics(one.run)
    assert [check for check in found["checks"] if check["verdict"] == "fail"] == []
    assert (one.run / "qa" / "index.html").is_file()


@pytest.mark.parametrize("name", CALIBRATED)
def test_the_flux_scale_is_right(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    calibrator, flux_jy = CALIBRATED[name]
    for dataset in metrics(ran(name, tmp_path_factory).run)["datasets"].values():
        for found in dataset["fluxscale"][calibrator].values():
            assert found == pytest.approx(flux_jy, rel=0.01)


@pytest.mark.parametrize("name", LINES)
def test_a_line_is_in_its_channels_and_the_continuum_in_none(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    one = ran(name, tmp_path_factory)
    field = one.case.field
    steady, line = field.sources
    first, last = line.channels or (0, 0)
    for channel, expected in ((first + 2, line.flux_jy), (first - 3, 0.0), (last + 3, 0.0)):
        plane = one.image("line", channel)
        noise = plane.noise()
        x, y = map(round, plane.pixel(put(field, line)))
        assert plane.data[y, x] == pytest.approx(expected, rel=0.03, abs=5 * noise)
        x, y = map(round, plane.pixel(put(field, steady)))
        assert abs(plane.data[y, x]) < 5 * noise
    # The cube's axis is LSRK; the line has as many channels there, and the flux stays whole.
    moment = "line.mom0" if name == "vla-line" else "moments.mom0"
    whole = one.image(moment)
    cube = one.image("line", 0).header
    width_km_s = 299792.458 * abs(cube["CDELT3"]) / cube["RESTFRQ"]
    peak = whole.data[tuple(reversed([*map(round, whole.pixel(put(field, line)))]))]
    assert peak == pytest.approx(line.flux_jy * (last - first + 1) * width_km_s, rel=0.05)


def test_the_spectrum_of_a_wide_band_is_fitted(tmp_path_factory: pytest.TempPathFactory) -> None:
    one = ran("vla-continuum", tmp_path_factory)
    with open_table(one.run / "images" / "target.continuum.alpha") as table:
        alpha = np.squeeze(table.getcell("map", 0))
    x, y = map(round, one.image("continuum").pixel(put(one.case.field, one.case.field.sources[0])))
    assert alpha[x, y] == pytest.approx(-0.7, abs=0.1)
