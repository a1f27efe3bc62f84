"""Cubes processed in pieces against CASA's own tasks on the whole cube."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from casarun.casa import invoke
from casarun.errors import StepFailedError
from support import cubes

pytestmark = pytest.mark.casa

BEAMS = [(8.0 + 0.05 * c, 6.0 + 0.02 * c, 30.0 - c) for c in range(24)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    invoke.use_log(tmp_path / "casa.log")
    return tmp_path


def assert_same(ours: Path | str, theirs: Path | str, bound: float) -> None:
    """Same mask, and pixels that differ by less than a fraction of the largest."""
    a, b = cubes.read(ours), cubes.read(theirs)
    assert a.shape == b.shape
    np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
    assert np.nanmax(np.abs(a - b)) < bound * np.nanmax(np.abs(b))


def assert_same_grid(ours: Path | str, theirs: Path | str) -> None:
    a, b = cubes.header(ours), cubes.header(theirs)
    assert (a.n_x, a.n_y, a.axis.n_chan, a.unit) == (b.n_x, b.n_y, b.axis.n_chan, b.unit)
    np.testing.assert_allclose(a.cell_arcsec, b.cell_arcsec, rtol=1e-9)
    assert a.axis.first_hz == pytest.approx(b.axis.first_hz, abs=1e-3)
    assert a.axis.step_hz == pytest.approx(b.axis.step_hz, rel=1e-9)
    assert len(a.beams) == len(b.beams)
    for one, other in zip(a.beams, b.beams, strict=True):
        assert one.major_arcsec == pytest.approx(other.major_arcsec, rel=1e-6)
        assert one.minor_arcsec == pytest.approx(other.minor_arcsec, rel=1e-6)


def test_smoothing_is_imsmooths(folder: Path) -> None:
    cubes.make(folder / "in.im")
    table = {"smooth": {"beam": ["14arcsec", "11arcsec", "-20deg"]}}
    made = cubes.process(folder, folder / "in.im", table, pieces=5)
    invoke.task("imsmooth", {
        "imagename": "in.im", "outfile": "theirs", "targetres": True,
        "major": "14arcsec", "minor": "11arcsec", "pa": "-20deg",
    })  # fmt: skip
    assert_same(f"{made}.image", "theirs", 1e-6)
    assert_same_grid(f"{made}.image", "theirs")


def test_a_beam_a_channel_becomes_one(folder: Path) -> None:
    cubes.make(folder / "in.im", beams=BEAMS)
    made = cubes.process(folder, folder / "in.im", {"smooth": {"beam": "14arcsec"}}, pieces=3)
    invoke.task("imsmooth", {
        "imagename": "in.im", "outfile": "theirs", "targetres": True,
        "major": "14arcsec", "minor": "14arcsec", "pa": "0deg",
    })  # fmt: skip
    assert_same_grid(f"{made}.image", "theirs")
    assert_same(f"{made}.image", "theirs", 1e-6)


def gaussian(beam: tuple[float, float, float], shape: tuple[int, int]) -> np.ndarray:
    """A point source of 1 Jy/beam in the middle, as a synthesized beam shows it."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    east, north = -cubes.CELL * (x - shape[1] // 2), cubes.CELL * (y - shape[0] // 2)
    angle = math.radians(beam[2])
    along = east * math.sin(angle) + north * math.cos(angle)
    across = east * math.cos(angle) - north * math.sin(angle)
    return np.exp(-4 * math.log(2) * ((along / beam[0]) ** 2 + (across / beam[1]) ** 2))


def test_a_point_source_gets_the_common_beam_and_keeps_its_flux(folder: Path) -> None:
    """Kernels are narrower than a pixel here; imsmooth, which samples them, is off by 12 %."""
    shape = (24, 80, 96)
    data = np.array([gaussian(beam, shape[1:]) for beam in BEAMS])
    cubes.make(folder / "in.im", shape, beams=BEAMS, masked=False, data=data)
    made = cubes.process(folder, folder / "in.im", {"smooth": {"beam": "common"}}, pieces=3)
    (beam,) = cubes.header(f"{made}.image").beams
    assert beam.area_arcsec2 < 1.05 * max(b[0] * b[1] for b in BEAMS) * math.pi / (4 * math.log(2))
    wanted = gaussian((beam.major_arcsec, beam.minor_arcsec, beam.pa_deg), shape[1:])
    got = cubes.read(f"{made}.image")
    np.testing.assert_allclose(got, np.broadcast_to(wanted, got.shape), atol=2e-4)


def test_hanning_is_specsmooths(folder: Path) -> None:
    cubes.make(folder / "in.im", masked=False)
    made = cubes.process(folder, folder / "in.im", {"smooth": {"spectral": "hanning"}}, pieces=4)
    invoke.task("specsmooth", {
        "imagename": "in.im", "outfile": "theirs", "function": "hanning", "dmethod": "",
    })  # fmt: skip
    assert_same(f"{made}.image", "theirs", 1e-6)
    assert_same_grid(f"{made}.image", "theirs")


def test_boxcar_is_specsmooths_with_its_channels_in_place(folder: Path) -> None:
    data = cubes.make(folder / "in.im", masked=False)
    table = {"smooth": {"spectral": "boxcar", "width": 5}}
    made = cubes.process(folder, folder / "in.im", table, pieces=4)
    got = cubes.read(f"{made}.image")
    assert got.shape[0] == 20
    np.testing.assert_allclose(got[3], data[3:8].mean(axis=0), atol=1e-6)
    # The middle of the five, where specsmooth keeps the place of the first.
    before, after = (cubes.header(path).axis for path in ("in.im", f"{made}.image"))
    assert after.hz(0) == pytest.approx(before.hz(2))


def test_a_masked_channel_does_not_pull_its_neighbours_down(folder: Path) -> None:
    data = cubes.make(folder / "in.im")
    made = cubes.process(folder, folder / "in.im", {"smooth": {"spectral": "hanning"}})
    got = cubes.read(f"{made}.image")
    assert np.isnan(data[3, :10, :10]).all()
    assert np.isnan(got[3, :10, :10]).all()
    whole = np.isfinite(data[1, :10, :10]) & np.isfinite(data[2, :10, :10])
    expected = (0.25 * data[1, :10, :10] + 0.5 * data[2, :10, :10]) / 0.75
    np.testing.assert_allclose(got[2, :10, :10][whole], expected[whole], atol=1e-6)


def test_rebinning_is_imrebins(folder: Path) -> None:
    cubes.make(folder / "in.im")
    table = {"rebin": {"pixels": 3, "channels": 5}}
    made = cubes.process(folder, folder / "in.im", table, pieces=2)
    invoke.task("imrebin", {
        "imagename": "in.im", "outfile": "theirs", "factor": [3, 3, 1, 5], "crop": True,
    })  # fmt: skip
    assert_same(f"{made}.image", "theirs", 1e-6)
    assert_same_grid(f"{made}.image", "theirs")


@pytest.mark.parametrize("order", [0, 2])
def test_continuum_is_imcontsubs(folder: Path, order: int) -> None:
    cubes.make(folder / "in.im", masked=False, continuum=0.3)
    table = {"contsub": {"channels": "0~5;18~23", "order": order}}
    made = cubes.process(folder, folder / "in.im", table, pieces=5)
    invoke.task("imcontsub", {
        "imagename": "in.im", "linefile": "theirs", "contfile": "continuum", "fitorder": order,
        "chans": "0~5;18~23",
    })  # fmt: skip
    assert_same(f"{made}.image", "theirs", 2e-6)


def test_continuum_of_partly_masked_pixels_is_a_fit_of_the_rest(folder: Path) -> None:
    data = cubes.make(folder / "in.im", continuum=0.3)
    channels = [*range(6), *range(18, 24)]
    table = {"contsub": {"channels": "0~5;18~23", "order": 1}}
    made = cubes.process(folder, folder / "in.im", table, pieces=3)
    got = cubes.read(f"{made}.image")
    y, x = np.argwhere(np.isnan(data[channels]).any(axis=0))[40]
    spectrum = data[:, y, x].astype(float)
    good = [c for c in channels if np.isfinite(spectrum[c])]
    assert 2 < len(good) < len(channels)
    fit = np.polynomial.Polynomial.fit(good, spectrum[good], 1)
    np.testing.assert_allclose(got[:, y, x], spectrum - fit(np.arange(24)), atol=1e-5)


def test_new_channels_are_imregrids(folder: Path) -> None:
    cubes.make(folder / "in.im", masked=False)
    axis = cubes.header(folder / "in.im").axis
    start = axis.velocity_km_s(4.3)
    width = 1.7 * axis.width_km_s
    table = {"regrid": {"start": f"{start}km/s", "width": f"{width}km/s", "nchan": 9}}
    made = cubes.process(folder, folder / "in.im", table, pieces=2)
    new = cubes.header(f"{made}.image").axis
    assert new.velocity_km_s(0) == pytest.approx(start, abs=1e-6)
    assert new.velocity_km_s(8) - new.velocity_km_s(7) == pytest.approx(width, rel=1e-6)
    invoke.task("imregrid", {
        "imagename": "in.im", "template": f"{made}.image", "output": "theirs", "axes": [3],
        "interpolation": "linear",
    })  # fmt: skip
    assert_same(f"{made}.image", "theirs", 1e-5)


def test_another_grid_is_imregrids(folder: Path) -> None:
    cubes.make(folder / "in.im", masked=False)
    invoke.task("imrebin", {"imagename": "in.im", "outfile": "grid", "factor": [2, 2, 1, 24]})
    table = {"regrid": {"template": str(folder / "grid")}}
    made = cubes.process(folder, folder / "in.im", table, pieces=2)
    invoke.task("imregrid", {
        "imagename": "in.im", "template": "grid", "output": "theirs", "axes": [0, 1],
        "decimate": 0, "interpolation": "linear",
    })  # fmt: skip
    assert_same(f"{made}.image", "theirs", 1e-5)
    assert_same_grid(f"{made}.image", "theirs")


def test_a_grid_of_another_frame_is_refused(folder: Path) -> None:
    cubes.make(folder / "in.im")
    cubes.make(folder / "grid", frame="BARY")
    with pytest.raises(StepFailedError) as caught:
        cubes.process(folder, folder / "in.im", {"regrid": {"template": str(folder / "grid")}})
    assert str(caught.value) == (
        f"{folder}/grid: its frequencies are BARY, the cube's LSRK; a grid must be of one "
        "frame. Convert one of them with imreframe."
    )


def test_moments_are_immoments(folder: Path) -> None:
    data = cubes.make(folder / "in.im")
    moments = [-1, 0, 5, 6, 8, 10, 11]
    made = cubes.process(folder, folder / "in.im", {"moments": moments}, pieces=5)
    assert not Path(f"{made}.image").exists()
    for moment in moments:
        invoke.task(
            "immoments",
            {"imagename": "in.im", "moments": [moment], "outfile": f"theirs{moment}"},
        )
        assert_same(f"{made}.mom{moment}", f"theirs{moment}", 2e-6)
        ours, theirs = (cubes.header(p) for p in (f"{made}.mom{moment}", f"theirs{moment}"))
        assert ours.unit == theirs.unit
    assert np.isnan(data).any()


def test_velocities_are_of_significant_pixels(folder: Path) -> None:
    data = cubes.make(folder / "in.im", masked=False)
    made = cubes.process(folder, folder / "in.im", {"moments": [1, 2, 9]}, pieces=3)
    axis = cubes.header(folder / "in.im").axis
    speed = np.array([axis.velocity_km_s(c) for c in range(24)])
    noise = np.array([1.4826 * np.median(np.abs(p - np.median(p))) for p in data])
    taken = np.where(data > 3 * noise[:, None, None], data, 0).astype(float)
    y, x = 40, 48
    weight = taken[:, y, x]
    first = (weight * speed).sum() / weight.sum()
    second = math.sqrt((weight * speed**2).sum() / weight.sum() - first**2)
    # A pixel at the edge of 3 sigma may be in or out; at the source's middle none matters.
    assert cubes.read(f"{made}.mom1")[0, y, x] == pytest.approx(first, abs=0.05)
    assert cubes.read(f"{made}.mom2")[0, y, x] == pytest.approx(second, rel=0.02)
    assert cubes.read(f"{made}.mom9")[0, y, x] == pytest.approx(speed[np.argmax(weight)], abs=1e-3)


def test_masked_moments_are_immoments_with_the_mask(folder: Path) -> None:
    cubes.make(folder / "in.im")
    plain = {"sigma": 3.0, "beam": "none", "spectral": "none", "channels": 1}
    made = cubes.process(folder, folder / "in.im", {"mask": plain, "moments": [0, 1, 2, 9]}, 3)
    for moment in (0, 1, 2, 9):
        theirs = f"theirs{moment}"
        invoke.task("immoments", {
            "imagename": "in.im", "moments": [moment], "outfile": theirs,
            "mask": '"images/made.mask">0.5',
        })  # fmt: skip
        if moment != 2:
            assert_same(f"{made}.mom{moment}", theirs, 2e-6)
    # CASA sums squares of 1500 km/s in single precision: its dispersions are off by 0.05 km/s.
    mask = cubes.read(f"{made}.mask") > 0.5
    weight = np.where(mask, cubes.read("in.im"), 0).astype(float)
    axis = cubes.header("in.im").axis
    speed = np.array([axis.velocity_km_s(c) for c in range(24)])[:, None, None]
    several = mask.sum(axis=0) > 1
    total = np.where(several, weight.sum(axis=0), 1)
    mean = (weight * speed).sum(axis=0) / total
    wanted = np.sqrt((weight * (speed - mean) ** 2).sum(axis=0) / total)
    ours, got = (cubes.read(path)[0][several] for path in (f"{made}.mom2", "theirs2"))
    np.testing.assert_allclose(ours, wanted[several], rtol=1e-5)
    np.testing.assert_allclose(ours, got, atol=0.06)


def test_numbers_of_channels_are_imstats(folder: Path) -> None:
    cubes.make(folder / "in.im")
    made = cubes.process(folder, folder / "in.im", {}, pieces=4)
    theirs = invoke.task("imstat", {"imagename": "in.im", "axes": [0, 1]})
    ours = Table.read(f"{made}.channels.ecsv")
    for name, key in (
        ("n_pixels", "npts"),
        ("min", "min"),
        ("max", "max"),
        ("mean", "mean"),
        ("rms", "rms"),
        ("sigma", "sigma"),
        ("sum", "sum"),
        ("flux_jy", "flux"),
    ):
        np.testing.assert_allclose(ours[name], np.ravel(theirs[key]), rtol=1e-5)
    # Channels without much of the source; 4 sigma of a noise from 7680 pixels.
    np.testing.assert_allclose(ours["noise"][[0, 1, 22, 23]], 0.01, rtol=0.04)
    assert str(ours["velocity_km_s"].unit) == "km / s"


def test_pieces_leave_no_seams(folder: Path) -> None:
    """The same bits, however many pieces, and whatever memory there is."""
    cubes.make(folder / "in.im", continuum=0.2)
    table = {
        "contsub": {"channels": "0~5;18~23", "order": 1},
        "smooth": {"beam": "12arcsec", "spectral": "boxcar", "width": 4},
        "rebin": {"pixels": 2, "channels": 2}, "mask": {"channels": 3},
        "moments": [0, 1, 8, 9],
    }  # fmt: skip
    names = ("image", "mask", "mom0", "mom1", "mom8", "mom9")
    made = cubes.process(folder, folder / "in.im", table, pieces=1)
    once = {name: cubes.read(f"{made}.{name}") for name in names}
    numbers = Path(f"{made}.channels.ecsv").read_text()
    made = cubes.process(folder, folder / "in.im", table, pieces=7, memory=2.7e8)
    for name in names:
        # Sums of moments are added in another order.
        bound = 0 if name in ("image", "mask", "mom8", "mom9") else 1e-6
        np.testing.assert_allclose(cubes.read(f"{made}.{name}"), once[name], rtol=bound, atol=bound)
    assert Path(f"{made}.channels.ecsv").read_text() == numbers


def test_mask_finds_the_line_and_little_else(folder: Path) -> None:
    cubes.make(folder / "in.im", masked=False)
    made = cubes.process(folder, folder / "in.im", {"mask": {"sigma": 4.0}, "moments": [0]}, 3)
    mask = cubes.read(f"{made}.mask") > 0.5
    y, x = np.mgrid[:80, :96]
    near = (x - 48) ** 2 + (y - 40) ** 2 < 20**2
    assert mask[12, 40, 48]
    assert mask[:, ~near].mean() < 2e-3
    assert np.isnan(cubes.read(f"{made}.mom0")[0][~mask.any(axis=0)]).all()
    table = Table.read(f"{made}.channels.ecsv")
    whole = 40 * math.pi / (8.0 * 6.0 * math.pi / (4 * math.log(2)) / 4)
    assert table["flux_in_mask_jy"][12] == pytest.approx(whole, rel=0.05)


def test_fits_is_what_exportfits_writes(folder: Path) -> None:
    cubes.make(folder / "in.im")
    made = cubes.process(folder, folder / "in.im", {"smooth": {"beam": "12arcsec"}}, pieces=3)
    invoke.task("exportfits", {"imagename": f"{made}.image", "fitsimage": "theirs.fits"})
    with fits.open(f"{made}.fits", checksum=True) as ours, fits.open("theirs.fits") as theirs:
        np.testing.assert_array_equal(ours[0].data, theirs[0].data)
        differ = {"CHECKSUM", "DATASUM", "DATE", "ORIGIN", "HISTORY", "EXTEND", ""}
        names = set(theirs[0].header) - differ
        assert {n: ours[0].header[n] for n in names} == {n: theirs[0].header[n] for n in names}
        assert ours[0].verify_checksum() == 1
        assert ours[0].verify_datasum() == 1
        assert WCS(ours[0].header).wcs.restfrq == pytest.approx(cubes.REST_HZ)
    invoke.task("importfits", {"fitsimage": f"{made}.fits", "imagename": "back"})
    assert_same("back", f"{made}.image", 1e-7)
    assert_same_grid("back", f"{made}.image")


def test_fits_has_the_beams_of_its_channels(folder: Path) -> None:
    cubes.make(folder / "in.im", beams=BEAMS, masked=False)
    table = {"contsub": {"channels": "0~5;18~23"}}
    made = cubes.process(folder, folder / "in.im", table, pieces=2)
    with fits.open(f"{made}.fits", checksum=True) as file:
        assert file[0].header["CASAMBM"] is True
        assert "BMAJ" not in file[0].header
        np.testing.assert_allclose(file["BEAMS"].data["BMAJ"], [b[0] for b in BEAMS], rtol=1e-6)
        assert list(file["BEAMS"].data["CHAN"]) == list(range(24))
        assert all(unit.verify_checksum() == 1 for unit in file)
    invoke.task("importfits", {"fitsimage": f"{made}.fits", "imagename": "back"})
    assert_same_grid("back", "in.im")


def test_a_fits_file_is_processed_like_the_image(folder: Path) -> None:
    cubes.make(folder / "in.im")
    invoke.task("exportfits", {"imagename": "in.im", "fitsimage": "in.fits"})
    table = {"smooth": {"beam": "12arcsec"}, "moments": [0]}
    made = cubes.process(folder, folder / "in.im", table, pieces=2)
    once = {name: cubes.read(f"{made}.{name}") for name in ("image", "mom0")}
    made = cubes.process(folder, folder / "in.fits", table, pieces=2)
    for name, pixels in once.items():
        np.testing.assert_array_equal(cubes.read(f"{made}.{name}"), pixels)


def test_a_blank_cube_is_no_product(folder: Path) -> None:
    blank = np.full((24, 80, 96), np.nan)
    cubes.make(folder / "in.im", masked=True, data=blank)
    with pytest.raises(StepFailedError, match=r"found none that is not masked"):
        cubes.process(folder, folder / "in.im", {"rebin": {"pixels": 2}})


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            {"smooth": {"beam": "7arcsec"}},
            "cube.made.smooth.beam: 7 arcsec, round does not enclose the cube's synthesized beam, "
            "8 x 6 arcsec at 30 deg: smoothing cannot sharpen; a round one of 8 arcsec would, or "
            '"common"',
        ),
        (
            {"contsub": {"channels": "0~5;20~24"}},
            "cube.made.contsub.channels: channel 24 is not there: the cube has channels 0 to 23",
        ),
        (
            {"regrid": {"start": "900km/s"}},
            "cube.made.regrid.start: the new axis begins at 900 km/s, outside the cube, 1457.54 to "
            "1554.62 km/s: planes there would be blank",
        ),
    ],
)
def test_what_does_not_fit_is_refused(folder: Path, table: dict[str, Any], message: str) -> None:
    cubes.make(folder / "in.im")
    with pytest.raises(StepFailedError) as caught:
        cubes.process(folder, folder / "in.im", table)
    assert str(caught.value) == message
