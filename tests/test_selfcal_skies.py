"""Simulated targets hold what they say: sky, noise and gains."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from casarun.casa.tables import open_table
from support import selfcal_skies
from support.skies import Source

pytestmark = pytest.mark.casa

SKY = replace(selfcal_skies.SMALL, n_antennas=8, integrations=10, amp=0.2, dead=(2,))


def rows(ms: Path) -> tuple[npt.NDArray[Any], ...]:
    with open_table(ms) as table:
        return tuple(np.asarray(table.getcol(n)) for n in ("DATA", "ANTENNA1", "ANTENNA2", "TIME"))


def test_data_are_sky_and_noise_times_gains(tmp_path: Path) -> None:
    truth = selfcal_skies.build(tmp_path / "a.ms", SKY)
    selfcal_skies.build(tmp_path / "b.ms", SKY.without_errors())
    data, first, second, time = rows(tmp_path / "a.ms")
    perfect = rows(tmp_path / "b.ms")[0]
    at = np.searchsorted(truth.times_s, time - time.min() - 1e-2)
    gains = truth.gains[0][at, first] * np.conj(truth.gains[0][at, second])
    assert np.allclose(data, perfect * gains, atol=1e-5)
    alive = (first != 2) & (second != 2)
    assert perfect[..., alive].mean().real == pytest.approx(0.2, abs=1e-3)
    assert perfect[..., ~alive].mean().real == pytest.approx(0, abs=1e-3)
    assert perfect.imag.std() == pytest.approx(SKY.noise_jy, rel=0.03)


def test_the_mean_amplitude_of_living_antennas_is_one(tmp_path: Path) -> None:
    gains = selfcal_skies.build(tmp_path / "a.ms", SKY).gains
    amplitudes = np.delete(np.abs(gains), 2, axis=-1)
    assert amplitudes.mean(axis=-1) == pytest.approx(1.0, abs=1e-12)
    assert amplitudes.std() > 0.08
    still = selfcal_skies.build(tmp_path / "b.ms", SKY.without_errors()).gains
    assert np.allclose(still, 1.0)


def test_extended_emission_is_that_of_its_size(tmp_path: Path) -> None:
    halo = selfcal_skies.Gaussian(0.3, 100)
    sky = replace(SKY, gaussians=(halo,), sources=(Source(0.1),), noise_jy=0.0, dead=())
    truth = selfcal_skies.build(tmp_path / "a.ms", sky.without_errors())
    assert truth.flux_jy == pytest.approx(0.4)
    with open_table(tmp_path / "a.ms") as table:
        data, uvw = table.getcol("DATA")[0, 0], table.getcol("UVW")
    waves = np.hypot(uvw[0], uvw[1]) * sky.spws[0].start_hz / 299792458.0
    sigma = np.radians(100 / 3600) / np.sqrt(8 * np.log(2))
    expected = 0.1 + 0.3 * np.exp(-2 * (np.pi * sigma * waves) ** 2)
    assert data.real == pytest.approx(expected, abs=1e-5)
