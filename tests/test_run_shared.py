"""A run of a recipe that is put together, and the same again from what the run kept of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from support import skies
from support.cli import casarun, metrics

pytestmark = pytest.mark.casa

BASE = """\
casarun = 1
vars.vis = "nowhere.ms"
[[dataset]]
name = "day"
vis = "${vis}"
calibrated = true
[[image]]
name = "map"
imsize = 64
cell = "10arcsec"
niter = 50
threshold = "50mJy"
[matrix]
"image.map.robust" = [-2, 2]
"""
RECIPE = """\
extends = "lab/base.toml"
casarun = 1
vars.vis = "sky.ms"
[targets]
fields = ["{}"]
"""
IMAGES = ("map.robust_-2", "map.robust_2")


def test_swept_images_differ_and_come_again(sky: tuple[Path, skies.Truth], tmp_path: Path) -> None:
    (tmp_path / "lab").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "sky.ms").symlink_to(sky[0])
    (tmp_path / "lab" / "base.toml").write_text(BASE)
    (tmp_path / "recipe.toml").write_text(RECIPE.format(skies.TARGET.name))
    done = casarun("recipe.toml", "--output", "run", cwd=tmp_path)
    assert done.returncode in (0, 3), done.stderr + done.stdout
    found = metrics(tmp_path / "run")["images"][skies.TARGET.name]
    # Uniform weighting has the smaller synthesized beam, natural the lower noise.
    uniform, natural = (found[name] for name in IMAGES)
    assert uniform["bmaj_arcsec"] < natural["bmaj_arcsec"]
    again = casarun(
        tmp_path / "run" / "scripts" / "recipe.toml", "--output", "../again",
        cwd=tmp_path / "elsewhere",
    )  # fmt: skip
    assert again.returncode == done.returncode, again.stderr
    for name in IMAGES:
        first, second = (
            fits.getdata(tmp_path / run / found[name]["fits"]) for run in ("run", "again")
        )
        assert np.array_equal(first, second, equal_nan=True)
    html = (tmp_path / "run" / "qa" / "index.html").read_text()
    assert all(name in html for name in IMAGES)
    assert f"<h3>{skies.TARGET.name}: map by robust</h3>" in html
    assert 'aria-label="noise (mJy/beam) of map against robust"' in html
    assert "lab/base.toml:9" in (tmp_path / "run" / "scripts" / "recipe.toml").read_text()
