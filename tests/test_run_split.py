"""Only what is imaged gets an MS of its own, if the recipe says so; windows keep their numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from casarun.casa.tables import open_table
from support import skies
from support.cli import casarun, metrics, recipe
from support.images import Sky

pytestmark = [
    pytest.mark.casa,
    pytest.mark.filterwarnings("ignore::astropy.wcs.FITSFixedWarning"),
]

OBSERVED = skies.Sky(spws=tuple(skies.Spw(1.40e9 + 5e7 * n, 1e6, 16) for n in range(4)))
RECIPE = """
[[dataset]]
vis = "day.ms"
[split]
calibrators = false
spw = "imaged"
[contsub]
fitspec = "3:0~5;10~15"
[[image]]
name = "flat"
spw = "1"
imsize = 160
cell = "10arcsec"
threshold = "20mJy"
[[image]]
name = "line"
specmode = "cube"
from = "contsub"
spw = "3"
start = 2
nchan = 3
imsize = 96
cell = "10arcsec"
niter = 0
restfreq = "1.56GHz"
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("split")
    skies.build(place / "day.ms", OBSERVED)
    done = casarun(recipe(place, RECIPE), "--output", "run", cwd=place)
    assert done.returncode == 0, done.stdout + done.stderr
    return place / "run"


def test_windows_that_no_image_takes_are_left_out(run: Path) -> None:
    assert {path.name for path in (run / "calibrated").iterdir()} == {
        "day.target.ms", "day.target.contsub.ms",
    }  # fmt: skip
    with open_table(run / "calibrated/day.target.ms") as table:
        assert set(table.getcol("DATA_DESC_ID")) == {1, 3}
        assert table.nrows() == 2 * 66 * 4
    with open_table(run / "raw/day.ms") as table:
        assert set(table.getcol("DATA_DESC_ID")) == {0, 1, 2, 3}
        # Rows, not bytes: an MS as small as these is of half-empty tiles of 1 MB.
        assert table.nrows() > 5 * 2 * 66 * 4


def test_images_are_of_the_windows_that_they_name(run: Path) -> None:
    flat = Sky(run / "images/target.flat.fits")
    assert flat.header["CRVAL3"] == pytest.approx(1.4575e9, abs=2e6)
    middle = flat.data.shape[0] // 2
    assert flat.data[middle, middle] == pytest.approx(skies.TARGET.sources[0].flux_jy, rel=0.03)
    with open_table(run / "images/dirty/target.line.image") as table:
        planes = np.squeeze(table.getcell("map", 0))
    assert np.abs(planes).max() < 0.1  # of 0.8 Jy: the sources have no lines
    assert metrics(run)["verdict"] != "fail"
