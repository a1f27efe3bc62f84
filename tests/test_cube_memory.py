"""Cubes larger than the memory that their steps may take."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from support.cli import casarun

pytestmark = pytest.mark.casa

BOUND = 340e6
N_CHAN, SIDE = 420, 512

RECIPE = """
casarun = 1

[[cube]]
name = "big"
image = "big.fits"
contsub = {{ channels = "0~19;400~419", order = 1 }}
smooth = {{ beam = "20arcsec", spectral = "hanning" }}
mask = {{}}
moments = [0, 1, 8]

[resources]
memory_per_core = "{bound:.0f}MB"
"""


def header() -> fits.Header:
    cards = {
        "CTYPE1": "RA---SIN", "CRVAL1": 150.0, "CDELT1": -3 / 3600, "CRPIX1": 257.0,
        "CUNIT1": "deg", "CTYPE2": "DEC--SIN", "CRVAL2": 5.0, "CDELT2": 3 / 3600,
        "CRPIX2": 257.0, "CUNIT2": "deg", "CTYPE3": "FREQ", "CRVAL3": 1.41e9, "CDELT3": 1e4,
        "CRPIX3": 1.0, "CUNIT3": "Hz", "CTYPE4": "STOKES", "CRVAL4": 1.0, "CDELT4": 1.0,
        "CRPIX4": 1.0, "RESTFRQ": 1420405752.0, "SPECSYS": "LSRK", "BUNIT": "Jy/beam",
        "BMAJ": 12 / 3600, "BMIN": 10 / 3600, "BPA": 20.0, "RADESYS": "FK5", "EQUINOX": 2000.0,
    }  # fmt: skip
    return fits.Header(list(cards.items()))


def test_peak_memory_stays_within_the_bound(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    planes = rng.standard_normal((16, SIDE, SIDE)).astype(">f4")
    with fits.StreamingHDU(
        tmp_path / "big.fits",
        fits.Header([("SIMPLE", True), ("BITPIX", -32), ("NAXIS", 4), ("NAXIS1", SIDE),
                     ("NAXIS2", SIDE), ("NAXIS3", N_CHAN), ("NAXIS4", 1)]) + header(),
    ) as file:  # fmt: skip
        for channel in range(N_CHAN):
            plane = planes[channel % 16].copy()
            plane[250:262, 250:262] += 20 if 200 <= channel < 220 else 0
            file.write(plane)
    size = (tmp_path / "big.fits").stat().st_size
    assert size > 1.25 * BOUND
    (tmp_path / "r.toml").write_text(RECIPE.format(bound=BOUND / 1e6))
    done = casarun("r.toml", "--output", "run", "--jobs", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    peaks = {
        path.parent.name: json.loads(path.read_text())["peak_memory_bytes"]
        for path in (tmp_path / "run/logs").glob("*/result.json")
    }
    assert len(peaks) > 12
    assert sum(".piece." in name for name in peaks) == 4
    assert max(peaks.values()) <= BOUND, peaks
    with fits.open(tmp_path / "run/images/big.fits", checksum=True, memmap=True) as made:
        assert made[0].shape == (1, N_CHAN, SIDE, SIDE)
        assert made[0].header["BMAJ"] == pytest.approx(20 / 3600)
        line, off = made[0].data[0, 210, 256, 256], made[0].data[0, 100, 256, 256]
        assert line > 20 * abs(off)
        assert made[0].verify_datasum() == 1
    metrics = json.loads((tmp_path / "run/qa/metrics.json").read_text())
    assert metrics["cubes"]["big"]["shape"] == [SIDE, SIDE, 1, N_CHAN]
    assert 200 <= metrics["cubes"]["big"]["peak_channel"] < 220
