"""Averaging before imaging, on simulated data: noise, places and the loss to smearing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from casarun.casa.tables import open_table
from casarun.heuristics import smearing
from support import skies
from support.cli import casarun, metrics, recipe
from support.images import Sky

pytestmark = [
    pytest.mark.casa,
    pytest.mark.filterwarnings("ignore::astropy.wcs.FITSFixedWarning"),
]

FAR = skies.Source(1.0, 500.0, 600.0)
FAR_ARCSEC = float(np.hypot(FAR.east_arcsec, FAR.north_arcsec))
CHANNEL_HZ, N_CHAN, INTEGRATION_S = 1.5e6, 32, 10.0
# Near the pole, where the book's formula for averages in time holds: baselines go in circles.
FIELD = skies.SkyField("pole", "15h00m00.0s", "+85d00m00.0s", (FAR,), skies.INTENT_TARGET)
OBSERVED = skies.Sky(
    fields=(FIELD,), scans=(0, 0), integrations=42, integration_s=INTEGRATION_S, n_antennas=20,
    spws=(skies.Spw(1.4e9, CHANNEL_HZ, N_CHAN),), noise_jy=0.5,
)  # fmt: skip
RECIPE = """
[[dataset]]
vis = "pole.ms"
calibrated = true
"""
IMAGE = """
[[image]]
name = "{name}"
weighting = "natural"
imsize = 360
cell = "8arcsec"
threshold = "5mJy"
niter = 500
pbcor = false
{average}
"""
AVERAGES = {
    "plain": "",
    "auto": 'average = "auto"',
    "wide": "average = { channels = 32, loss = 0.5 }",
    "long": 'average = { time = "420s", loss = 0.5 }',
}


def uneven(path: Path) -> None:
    """Add noise to some rows, with weights that say so; flag a third of the channels' data."""
    rng = np.random.default_rng(5)
    with open_table(path, change=True) as table:
        data = table.getcol("DATA")
        more = rng.uniform(0, 4, size=data.shape[2]) * OBSERVED.noise_jy
        noise = rng.normal(size=(2, *data.shape)) * more
        table.putcol("DATA", data + noise[0] + 1j * noise[1])
        weight = np.broadcast_to(1 / (OBSERVED.noise_jy**2 + more**2), data.shape[::2])
        table.putcol("WEIGHT", weight.copy())
        table.putcol("SIGMA", weight**-0.5)
        # Both hands alike: what lacks one of them CASA takes for no measurement of Stokes I.
        flags = rng.random(data.shape[1:]) < 0.25
        flags[5:8] = True
        table.putcol("FLAG", np.broadcast_to(flags, data.shape).copy())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("average")
    skies.build(place / "pole.ms", OBSERVED)
    uneven(place / "pole.ms")
    text = RECIPE + "".join(
        IMAGE.format(name=name, average=average) for name, average in AVERAGES.items()
    )
    done = casarun(recipe(place, text), "--output", "run", cwd=place)
    assert done.returncode == 0, done.stdout + done.stderr
    return place / "run"


def image(run: Path, name: str) -> Sky:
    return Sky(run / "images" / f"pole.{name}.fits")


def at() -> SkyCoord:
    centre = SkyCoord(FIELD.ra, FIELD.dec)
    east, north = (v * skies.ARCSEC for v in (FAR.east_arcsec, FAR.north_arcsec))
    offset = SkyCoord(np.arctan2(east, np.sqrt(1 - east**2 - north**2)), np.arcsin(north),
                      unit="rad", frame=centre.skyoffset_frame())  # fmt: skip
    return offset.transform_to("icrs")


def test_the_noise_stays_what_it_was(run: Path) -> None:
    assert image(run, "auto").noise() == pytest.approx(image(run, "plain").noise(), rel=0.01)


def test_weights_add_up(run: Path) -> None:
    """The weight of all that is unflagged, which is the noise of an image, is as it was."""
    sums = {}
    for path in (run / "calibrated").glob("pole.*.ms"):
        with open_table(path) as table:
            used = ~table.getcol("FLAG")
            by_channel = "WEIGHT_SPECTRUM" in table.colnames()
            weight = table.getcol("WEIGHT_SPECTRUM" if by_channel else "WEIGHT")
            weight = weight if by_channel else weight[:, None]
            sums[path.name] = float((weight.astype(float) * used).sum())
    whole = sums.pop("pole.pole.ms")
    assert len(sums) == 3
    assert all(total == pytest.approx(whole, rel=1e-5) for total in sums.values())
    assert image(run, "plain").noise() == pytest.approx(whole**-0.5, rel=0.1)


@pytest.mark.parametrize("name", ["auto", "wide", "long"])
def test_sources_stay_where_they_were(run: Path, name: str) -> None:
    found = image(run, name)
    assert found.peak(at())[1] < 0.1 * found.bmin_arcsec


def lost(run: Path, name: str) -> float:
    """Return which fraction of the far source's peak is gone."""
    return 1 - image(run, name).peak(at())[0] / image(run, "plain").peak(at())[0]


def test_auto_keeps_its_bound(run: Path) -> None:
    plan = json.loads((run / "scripts" / "plan.json").read_text())
    auto = next(auto for auto in plan["autos"]
                if (auto["key"], auto["subject"]) == ("image.average", "pole.auto"))  # fmt: skip
    assert auto["value"]["channels"] > 1
    assert lost(run, "auto") < 0.01
    assert "at most 1 % is allowed" in auto["reason"]
    assert auto["reason"] in (run / "qa" / "index.html").read_text().replace("&#39;", "'")


def beam_along(run: Path, position_angle: float) -> float:
    """Return the width of the elliptical synthesized beam along a direction, in arcsec."""
    header = image(run, "plain").header
    major, minor = 3600 * header["BMAJ"], 3600 * header["BMIN"]
    turn = position_angle - np.radians(header["BPA"])
    return float(major * minor / np.hypot(minor * np.cos(turn), major * np.sin(turn)))


def test_smearing_is_what_was_foretold(run: Path) -> None:
    """By channels along the line to the phase centre, by time across it.

    What was simulated has channels and integrations without width: a comb, not a box.
    """
    outwards = float(np.arctan2(FAR.east_arcsec, FAR.north_arcsec))
    hertz = 1.4e9 + 16 * CHANNEL_HZ
    along = smearing.Reach(FAR_ARCSEC, beam_along(run, outwards), hertz)
    by_channels = along.loss(CHANNEL_HZ * np.sqrt(N_CHAN**2 - 1), 0.0)
    assert lost(run, "wide") == pytest.approx(by_channels, rel=0.15)
    across = smearing.Reach(FAR_ARCSEC, beam_along(run, outwards + np.pi / 2), hertz)
    by_time = across.loss(0.0, INTEGRATION_S * np.sqrt(42**2 - 1))
    assert lost(run, "long") == pytest.approx(by_time, rel=0.15)
    assert min(by_channels, by_time) > 0.01


def test_the_averaged_data_are_small_and_are_the_only_ones_that_are_imaged(run: Path) -> None:
    sizes = {}
    for path in (run / "calibrated").glob("pole.*.ms"):
        with open_table(path) as table:
            shape = table.getcell("DATA", 0).shape
            sizes[path.name] = table.nrows() * shape[1]
    whole = sizes.pop("pole.pole.ms")
    assert sizes["pole.pole.32ch.ms"] == whole / 32
    assert sizes["pole.pole.420s.ms"] == whole / 42
    assert len(sizes) == 3
    assert metrics(run)["verdict"] != "fail"
