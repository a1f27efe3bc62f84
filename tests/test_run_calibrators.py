"""Whole calibrations of uncommon kinds, by real CASA, against the truth that was put in."""

from pathlib import Path

import pytest
from support import skies
from support.cli import casarun, metrics, recipe

pytestmark = pytest.mark.casa


def test_windows_of_one_channel_in_two_bands(tmp_path: Path) -> None:
    """Continuum data of old: no delay and no bandpass to speak of, an image for each band."""
    sky = skies.Sky(
        spws=(skies.Spw(1.4e9, 50e6, 1), skies.Spw(3e9, 50e6, 1)),
        n_antennas=9, gain_phase_deg=40, gain_amp=0.1, phase_drift_deg=10,
    )  # fmt: skip
    skies.build(tmp_path / "day1.ms", sky)
    text = """
[[dataset]]
vis = "day1.ms"
[calibrators]
flux = "1331*"
bandpass = "1331*"
phase = "J1445*"
[targets]
fields = ["target"]
"""
    done = casarun(recipe(tmp_path, text), "--output", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning" not in done.stdout + done.stderr
    logs = {path.name for path in (tmp_path / "run/logs").iterdir()}
    assert {"day1.setjy.0.0", "day1.setjy.0.1"} <= logs
    assert "day1.delay" not in logs
    found = metrics(tmp_path / "run")["datasets"]["day1"]["fluxscale"]["J1445+0958"]
    assert list(found.values()) == pytest.approx([2.5, 2.5], rel=0.01)


def test_a_planet_as_the_flux_calibrator(tmp_path: Path) -> None:
    """Uranus at 100 GHz is 7.96 Jy in CASA's model of 1 March 2016, and small for the ACA."""
    uranus = skies.SkyField("Uranus", "00h10m00s", "+00d10m00s", (skies.Source(7.96),))
    phase = skies.SkyField("J0013+0100", "00h13m00s", "+01d00m00s", (skies.Source(2.0),))
    target = skies.SkyField("T", "00h12m00s", "+00d50m00s", (skies.Source(0.5),))
    sky = skies.Sky(
        fields=(uranus, phase, target), spws=(skies.Spw(1e11, 1e6, 8),), telescope="ACA",
        n_antennas=9, start="2016/03/01/20:00:00", gain_phase_deg=40,
    )  # fmt: skip
    skies.build(tmp_path / "day1.ms", sky)
    text = """
[[dataset]]
vis = "day1.ms"
[calibrators]
flux = { field = "Uranus", standard = "Butler-JPL-Horizons 2012" }
bandpass = "J0013*"
phase = "J0013*"
[targets]
fields = ["T"]
"""
    done = casarun(recipe(tmp_path, text), "--output", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    found = metrics(tmp_path / "run")["datasets"]["day1"]["fluxscale"]["J0013+0100"]
    # The disk of 3.4 arcsec loses a few percent on the longest baselines, as its model does.
    assert list(found.values()) == pytest.approx([2.0], rel=0.1)
