"""Regions made in real DS9, saved in all its coordinates: the pixels are those that DS9 counts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from casarun.qa import drawn
from casarun.recipe import ds9_regions
from support.ds9 import DS9, ds9, needs_ds9, screen

pytestmark = needs_ds9

N_Y, N_X = 180, 200
# Off the middles and edges of pixels, where rounding would decide.
SHAPES = {
    "circle": "circle(100.27,91.81,6.753)",
    "annulus": "annulus(97.69,97.47,4.07,12.11)",
    "annuli": "annulus(97.69,97.47,4.07,12.11,n=3)",
    "ellipse": "ellipse(120.31,100.17,20.7,8.3,31.7)",
    "elliptical ring": "ellipse(97.69,97.47,4.07,2.03,12.11,6.13,43.3)",
    "box": "box(70.3,60.2,31.1,12.3,17.9)",
    "rectangular ring": "box(70.3,60.2,11,6,44,24,71.9)",
    # Symmetric: of others DS9's statistics leave out what is beyond a box about their centre.
    "polygon": "polygon(60.3,80.1,101.2,40.3,142.1,80.1,101.2,119.9)",
    "point": "point(100.27,91.81)",
    "across the edge": "circle(1.3,170.2,33.3)",
}
SYSTEMS = ("physical", "image", "fk5", "icrs", "fk4", "galactic")


@pytest.fixture(scope="module", params=[(5.0667, 1 / 240), (60.0, 0.2)], ids=["small", "wide"])
def image(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write an image of whole numbers, whose sum over some pixels is that of no others.

    On the wide one, of 40 deg, north is up in the middle only.
    """
    latitude, cell = request.param
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---SIN", "DEC--SIN"]
    wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.cdelt = (230.5, latitude), (101, 91), (-cell, cell)
    wcs.wcs.radesys = "FK5"
    pixels = np.random.default_rng(3).integers(0, 10_000, (N_Y, N_X))
    path = tmp_path_factory.mktemp("ds9") / "truth.fits"
    fits.PrimaryHDU(pixels.astype(np.float64), wcs.to_header()).writeto(path)
    return path


@pytest.fixture(scope="module")
def viewer(image: Path) -> Iterator[DS9]:
    with screen(image.parent / "home") as env, ds9(env, "-tcl", "yes", str(image)) as running:
        yield running


def counted(viewer: DS9, folder: Path) -> tuple[int, int]:
    """Return how many pixels DS9 counts in its one region, and their sum."""
    viewer.set("regions", "select", "all")
    one = "[lindex [$current(frame) get marker select] 0]"
    script = f"puts $f [$current(frame) get marker {one} analysis stats image fk5]"
    rows = [line.split() for line in viewer.tcl(script, folder / "stats").splitlines()]
    last = [row for row in rows if row and row[0].isdigit()]
    # A rectangular ring and its like have a row for each ring.
    table = last[len(last) // 2 :]
    return sum(int(row[2]) for row in table), round(sum(float(row[1]) for row in table))


@pytest.mark.parametrize("name", SHAPES)
def test_pixels_are_those_that_ds9_counts(
    name: str, viewer: DS9, image: Path, tmp_path: Path
) -> None:
    with fits.open(image) as file:
        pixels, wcs = file[0].data, WCS(file[0].header)
    viewer.set("frame", "delete", "all")
    viewer.set("frame", "new")
    viewer.set("fits", str(image))
    viewer.set("regions", data=f"image; {SHAPES[name]}")
    if name == "point":  # DS9 counts nothing in a point
        number, total = 1, pixels[91, 99]
    else:
        number, total = counted(viewer, tmp_path)
    assert number > 0
    for system in SYSTEMS:
        for form in ("degrees", "sexagesimal"):
            viewer.set("regions", "system", system)
            if system not in ("physical", "image"):
                viewer.set("regions", "sky", system)
                viewer.set("regions", "system", "wcs")
            viewer.set("regions", "skyformat", form)
            saved = tmp_path / f"{system}.reg"
            viewer.set("regions", "save", str(saved))
            found = ds9_regions.read(saved.read_text())
            assert found.complaints() == []
            assert {shape.frame for shape in found.shapes} == {system.replace("physical", "image")}
            mask = drawn.mask(found.shapes, wcs, (N_Y, N_X))
            assert (int(mask.sum()), int(pixels[mask].sum())) == (number, total), system
