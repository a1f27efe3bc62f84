"""``casarun view`` in real DS9: what it shows, and where casarun's regions land on the sky."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from casarun.qa import drawn
from casarun.recipe import ds9_regions
from support import viewed_runs
from support.cli import Done, casarun
from support.ds9 import DS9, ds9, needs_ds9, screen

pytestmark = [needs_ds9, pytest.mark.casa]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("view")
    viewed_runs.build(folder / "run")
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---SIN", "DEC--SIN"], viewed_runs.CENTRE_DEG
    wcs.wcs.cdelt, wcs.wcs.crpix = (-0.01, 0.01), (10, 10)
    fits.PrimaryHDU(np.ones((20, 20)), wcs.to_header()).writeto(folder / "other.fits")
    return folder


@pytest.fixture(scope="module")
def desk(place: Path) -> Iterator[dict[str, str]]:
    with screen(place / "home") as env:
        yield env


@pytest.fixture(scope="module")
def viewer(desk: dict[str, str]) -> Iterator[DS9]:
    with ds9(desk, "-tcl", "yes") as running:
        yield running


@pytest.fixture
def empty(viewer: DS9) -> DS9:
    viewer.set("frame", "delete", "all")
    viewer.set("tile", "no")
    viewer.set("lock", "frame", "none")
    return viewer


def view(place: Path, env: dict[str, str], *words: str | Path) -> Done:
    return casarun("view", *words, "--with", "ds9", cwd=place, env=env)


def regions_of(viewer: DS9, *more: str) -> ds9_regions.RegionFile:
    words = ("-format", "ds9", "-system", "wcs", "-sky", "fk5", "-skyformat", "degrees")
    return ds9_regions.read(viewer.get("regions", *more, *words))


def test_a_run_s_image_with_its_regions_in_a_running_ds9(place: Path, empty: DS9) -> None:
    done = view(place, empty.env, "run", "hi")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "opened in the running DS9 'casarun-test' (by XPA)"
    assert done.stderr == ""
    shown = Path(empty.get("file"))
    assert shown.parent == place / "run" / ".casarun" / "view"
    data, header = fits.getdata(shown, header=True)
    assert data.shape == (1, viewed_runs.N_CHAN, viewed_runs.N_Y, viewed_runs.N_X)
    assert [header[f"CTYPE{axis}"] for axis in (1, 2, 3, 4)] == [
        "RA---SIN", "DEC--SIN", "FREQ", "STOKES",
    ]  # fmt: skip

    # The mask is drawn around its pixels, to a thousandth of a pixel, wherever DS9 has it.
    empty.set("regions", "group", "clean_mask", "select")
    masks = regions_of(empty, "selected")
    assert len(masks.shapes) == 4  # around the hole, in it, and two that touch at a corner
    corners = np.concatenate([shape.points for shape in masks.shapes])
    x, y = WCS(header).celestial.wcs_world2pix(*corners.T, 0)
    assert np.abs(np.mod(np.array([x, y]), 1) - 0.5).max() < 1e-3
    mask = drawn.mask(masks.shapes, WCS(header).celestial, data.shape[-2:])
    assert np.array_equal(mask, viewed_runs.mask())

    empty.set("regions", "select", "none")
    empty.set("regions", "group", "primary_beam", "select")
    (beam,) = regions_of(empty, "selected").shapes
    places = SkyCoord(beam.points, unit="deg")
    radius = places.separation(SkyCoord(*viewed_runs.CENTRE_DEG, unit="deg")).arcsec
    expected = viewed_runs.HALF_WIDTH_PIXELS * viewed_runs.CELL_ARCSEC
    assert radius == pytest.approx(np.full(len(radius), expected), rel=0.005)


def test_the_sources_of_a_catalogue(place: Path, empty: DS9) -> None:
    assert view(place, empty.env, "run", "hi").returncode == 0
    empty.set("regions", "select", "none")
    empty.set("regions", "group", "sources", "select")
    (source,) = regions_of(empty, "selected").shapes
    assert (source.kind, source.label) == ("ellipse", "1")
    assert source.points[0] == pytest.approx((230.47, 5.09), abs=1e-6)
    assert [3600 * size for size in source.sizes] == pytest.approx([25, 30], rel=1e-4)


def test_what_ds9_saves_of_the_mask_is_the_mask_again(
    place: Path, empty: DS9, tmp_path: Path
) -> None:
    assert view(place, empty.env, "run", "hi").returncode == 0
    for others in ("primary_beam", "sources"):
        empty.set("regions", "group", others, "delete")
    header = fits.getheader(empty.get("file"))
    for system in ("physical", "fk5", "icrs", "galactic"):
        if system != "physical":
            empty.set("regions", "sky", system)
        empty.set("regions", "system", system if system == "physical" else "wcs")
        saved = tmp_path / f"{system}.reg"
        empty.set("regions", "save", str(saved))
        found = ds9_regions.read(saved.read_text())
        assert found.complaints() == []
        size = (viewed_runs.N_Y, viewed_runs.N_X)
        mask = drawn.mask(found.shapes, WCS(header).celestial, size)
        assert np.array_equal(mask, viewed_runs.mask()), system


def test_several_images_lie_side_by_side_on_one_sky(place: Path, empty: DS9) -> None:
    path = place / "other.fits"
    own = place / "own.reg"
    own.write_text('fk5\ncircle(230.5,5.0667,77")\n')
    done = view(place, empty.env, "run", "hi", "hi.residual", path, "--regions", own)
    assert done.returncode == 0, done.stderr
    assert len(empty.get("frame", "all").split()) == 3
    assert (empty.get("lock", "frame"), empty.get("tile")) == ("wcs", "yes")
    assert empty.get("file") == str(path)
    assert [shape.kind for shape in regions_of(empty).shapes] == ["circle"]
    empty.set("frame", "prev")
    assert "M31.hi.residual" in empty.get("file")
    kinds = [shape.kind for shape in regions_of(empty).shapes]
    assert sorted(kinds) == ["circle", "ellipse", *["polygon"] * 5]


def test_files_are_written_once(place: Path, empty: DS9) -> None:
    kept = place / "run" / ".casarun" / "view"
    assert view(place, empty.env, "run", "hi").returncode == 0
    before = {path: path.stat().st_mtime_ns for path in kept.iterdir()}
    assert view(place, empty.env, "run", "M31.hi").returncode == 0
    assert {path: path.stat().st_mtime_ns for path in kept.iterdir()} == before


NASTY = 'a b\'; $(touch pwned) `touch pwned` [exec touch pwned] {x} "y" \\z #1.fits'


@pytest.mark.parametrize("new", [False, True])
def test_names_are_no_commands(place: Path, empty: DS9, tmp_path: Path, new: bool) -> None:
    nasty = tmp_path / "run; [exec touch pwned]" / NASTY
    nasty.parent.mkdir()
    shutil.copy(place / "other.fits", nasty)
    own = nasty.with_name("-x [exec touch pwned] $x.reg")
    own.write_text("image\ncircle(5,5,2)\n")
    done = view(tmp_path, empty.env, nasty, "--regions", own, *(["--new"] if new else []))
    assert done.returncode == 0, done.stderr
    shown = started(empty) if new else empty
    try:
        assert re.fullmatch(r"[\w./+-]+", shown.get("file"))
        assert Path(shown.get("file")).resolve() == nasty
        assert [shape.kind for shape in regions_of(shown).shapes] == ["circle"]
    finally:
        if new:
            shown.set("exit")
    for folder in (tmp_path, place, Path.cwd()):
        assert not [*folder.rglob("pwned")]


def started(beside: DS9) -> DS9:
    """Return the DS9 that casarun has started."""
    (name,) = [name for name in beside.servers() if name.startswith("casarun-")
               and name != beside.name]  # fmt: skip
    return DS9(beside.env, name)


def test_a_new_ds9_shows_all(place: Path, empty: DS9) -> None:
    done = view(place, empty.env, "run", "hi", "hi.residual", "--new")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "opened in a new DS9"
    own = started(empty)
    try:
        assert len(own.get("frame", "all").split()) == 2
        assert (own.get("lock", "frame"), own.get("tile")) == ("wcs", "yes")
        assert len(regions_of(own).shapes) == 6
    finally:
        own.set("exit")


def test_images_of_no_sky_cannot_be_matched(place: Path, empty: DS9, tmp_path: Path) -> None:
    plain = tmp_path / "plain.fits"
    fits.PrimaryHDU(np.ones((20, 20)), WCS(naxis=2).to_header()).writeto(plain)
    done = view(place, empty.env, place / "other.fits", plain)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("(by XPA); DS9 cannot match them on the sky\n")


@pytest.mark.filterwarnings("ignore::Warning")
def test_a_ds9_that_is_registered_with_a_samp_hub(place: Path, desk: dict[str, str]) -> None:
    hub_of = pytest.importorskip("astropy.samp").SAMPHubServer
    lock = place / "hub.samp"
    hub = hub_of(web_profile=False, lockfile=str(lock), addr="127.0.0.1")
    hub.start()
    try:
        env = {**desk, "SAMP_HUB": f"std-lockurl:{lock.as_uri()}"}
        with ds9(env, title="registered") as own:
            end = time.monotonic() + 120
            while len(hub._private_keys) < 2 and time.monotonic() < end:
                time.sleep(0.1)
            done = view(place, {**env, "XPA_TMPDIR": str(place)}, "other.fits")
            assert done.returncode == 0, done.stderr
            assert done.stdout.endswith("opened in the running DS9 (by SAMP)\n")
            assert own.get("file") == str(place / "other.fits")
    finally:
        hub.stop()


def test_without_a_screen_a_new_ds9_ends(place: Path, desk: dict[str, str]) -> None:
    env = {**desk, "XPA_TMPDIR": str(place)}
    env.pop("DISPLAY")
    done = view(place, env, place / "other.fits")
    assert done.returncode == 2
    assert done.stderr == "ds9 ended at once: there is no screen (DISPLAY is not set)\n"
