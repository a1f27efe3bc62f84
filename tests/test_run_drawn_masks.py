"""Whole runs whose clean mask is a DS9 region file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from casarun.engine import drawn_mask
from casarun.errors import StepFailedError
from support import ranges, skies, viewed_runs
from support.cli import casarun, events, metrics, recipe
from support.ds9 import ds9, needs_ds9, screen

pytestmark = pytest.mark.casa

CELL_ARCSEC, SIDE = 12.0, 64
EAST_ARCSEC, NORTH_ARCSEC = 60.0, 36.0
"""The source's pixel is 5 to the left of the middle and 3 above it."""
SOURCE = skies.Source(1.0, EAST_ARCSEC, NORTH_ARCSEC, 0.0)
RECIPE = """
[[dataset]]
vis = "day.ms"
calibrated = true
[[image]]
name = "c"
imsize = 64
cell = "12arcsec"
niter = 500
pbcor = false
mask = "drawn.reg"
regions = ["drawn.reg"]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("drawn")
    field = replace(skies.TARGET, sources=(SOURCE,))
    window = skies.Spw(1.4e9, 1e6, 12)
    sky = skies.Sky(fields=(field,), scans=(0, 0), spws=(window,), n_antennas=10, noise_jy=0.02)
    skies.build(place / "day.ms", sky)
    return place


def drawn(folder: Path, name: str, regions: str, more: str = "") -> tuple[Path, str]:
    (folder / f"{name}.reg").write_text(f"# Region file format: DS9 version 4.1\n{regions}\n")
    path = recipe(folder, RECIPE.replace("drawn", name) + more, f"{name}.toml")
    done = casarun(path, "--output", name, cwd=folder)
    return folder / name, done.stdout + done.stderr


def test_a_clean_takes_the_pixels_that_were_drawn(folder: Path) -> None:
    """A box of 5 x 3 pixels about the source, less one pixel of it; then the box is moved up."""
    regions = "image\nbox(28.0,36.0,5,3,0) # text={source}\n-point(29,37)"
    run, said = drawn(folder, "box", regions)
    assert events(run)[-1]["event"] == "run-ended", said
    mask = ranges.pixels(run / "images" / "target.c.mask")[:, :, 0, 0]
    expected = np.zeros((SIDE, SIDE))
    expected[25:30, 34:37] = 1
    expected[28, 36] = 0
    assert np.array_equal(mask, expected)
    model = ranges.pixels(run / "images" / "target.c.model")[:, :, 0, 0]
    assert np.unravel_index(model.argmax(), model.shape) == (27, 35)
    assert model.sum() == pytest.approx(1.0, abs=0.05)
    assert not model[expected == 0].any()

    (region,) = metrics(run)["images"]["target"]["c"]["regions"]
    image = np.squeeze(fits.getdata(run / "images" / "target.c.fits")).T
    inside = image[expected == 1]
    assert (region["file"], region["region"], region["n_pixels"]) == ("box.reg", "all", 14)
    assert region["mean_jy_per_beam"] == pytest.approx(inside.mean(), rel=1e-6)
    assert region["peak_jy_per_beam"] == pytest.approx(inside.max(), rel=1e-6)
    assert "flux density in box.reg" in (run / "qa" / "index.html").read_text()


@pytest.mark.parametrize("chunk", ["2", pytest.param('"none"', marks=pytest.mark.long)])
def test_a_cube_takes_the_mask_in_all_its_channels(folder: Path, chunk: str) -> None:
    name = f"cube{len(chunk)}"
    run, said = drawn(
        folder,
        name,
        'icrs\ncircle(225.0168,8.01,50")',
        f'specmode = "cube"\nnchan = 4\nchunk = {chunk}\n',
    )
    assert events(run)[-1]["event"] == "run-ended", said
    mask = ranges.pixels(run / "images" / "target.c.mask")[:, :, 0, :]
    assert mask.shape[-1] == 4
    assert 40 < mask[..., 0].sum() < 60
    assert np.array_equal(mask, np.repeat(mask[..., :1], 4, axis=-1))
    model = ranges.pixels(run / "images" / "target.c.model")[:, :, 0, :]
    assert model.sum(axis=(0, 1)) == pytest.approx(np.ones(4), abs=0.1)
    (region,) = metrics(run)["images"]["target"]["c"]["regions"]
    assert region["n_pixels"] == mask[..., 0].sum()
    assert len(region["flux_jy_by_channel"]) == 4
    assert region["flux_jy"] is None


@needs_ds9
def test_what_is_drawn_in_ds9_on_a_run_s_image_is_its_next_mask(folder: Path) -> None:
    """By way of ``casarun view``; the pixels by the ellipse's own equation.

    Only mask and clean, and what comes from them, are made again.
    """
    run = folder / "box"
    with screen(folder / "home") as env, ds9(env) as viewer:
        done = casarun("view", run, "c", "--no-regions", cwd=folder, env=env)
        assert done.returncode == 0, done.stderr
        viewer.set("regions", data='fk5; ellipse(15:00:03.1,+8:00:31.7,97.3",51.1",33.3)')
        viewer.set("regions", "save", str(folder / "box.reg"))
        shown = Path(viewer.get("file"))
    wcs = WCS(fits.getheader(shown)).celestial
    before = len(events(run))
    done = casarun(folder / "box.toml", "--output", "box", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    again = [e["step"] for e in events(run)[before:] if e["event"] == "step-started"]
    assert again[:2] == ["target.c.mask", "target.c.clean"]
    assert not [step for step in again if step.endswith(("dirty", "noise"))]
    mask = ranges.pixels(run / "images" / "target.c.mask")[:, :, 0, 0]
    x, y = wcs.wcs_world2pix([[225.012916667, 8.008805556]], 0)[0]
    here, up = np.meshgrid(np.arange(SIDE) - x, np.arange(SIDE) - y, indexing="ij")
    turn = np.radians(33.3)
    along = (here * np.cos(turn) + up * np.sin(turn)) * CELL_ARCSEC / 97.3
    across = (up * np.cos(turn) - here * np.sin(turn)) * CELL_ARCSEC / 51.1
    expected = np.hypot(along, across) < 1
    assert expected.sum() > 80
    assert np.array_equal(mask.astype(bool), expected)


def test_regions_beside_every_pixel_stop_the_clean(tmp_path: Path) -> None:
    """Between four pixels: only the step can tell."""
    template = tmp_path / "template.im"
    viewed_runs.write(template, np.zeros((1, 30, 30)))
    regions = tmp_path / "between.reg"
    regions.write_text("image\ncircle(20.5,20.5,0.5)")
    given = {"regions": str(regions), "template": str(template), "out": str(tmp_path / "m")}
    with pytest.raises(StepFailedError) as caught:
        drawn_mask.draw(given)
    assert caught.value.message == (
        "the centre of no pixel of the image lies in the regions of between.reg"
    )
    regions.write_text("image\nfield()")
    with pytest.raises(StepFailedError, match=r"^between\.reg: line 2: 'field' is none of"):
        drawn_mask.draw(given)
