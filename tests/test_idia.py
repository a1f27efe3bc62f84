"""HDF5 files for CARTA, against numpy on the whole cube."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from astropy.io import fits
from casarun.errors import DataError
from casarun.share import idia

N_STOKES, N_CHAN, N_Y, N_X = 2, 3, 150, 270


@pytest.fixture
def cube() -> np.ndarray[Any, Any]:
    values = np.random.default_rng(2).normal(0, 1, (N_STOKES, N_CHAN, N_Y, N_X)).astype("f4")
    values[0, :, :5] = np.nan
    values[1, 1] = np.nan  # a blank channel
    values[0, 2] = 1.0  # one without a range
    return values


def converted(folder: Path, values: np.ndarray[Any, Any], **header: Any) -> h5py.Group:
    hdu = fits.PrimaryHDU(values)
    hdu.header.update(header)
    hdu.header["HISTORY"] = "long ago"
    hdu.writeto(folder / "a.fits", overwrite=True)
    idia.write(folder / "a.fits", folder / "a.hdf5")
    return h5py.File(folder / "a.hdf5")["0"]


@pytest.mark.parametrize("tile", [512, 64])
def test_a_cube_and_all_beside_it(
    tmp_path: Path, cube: np.ndarray[Any, Any], monkeypatch: pytest.MonkeyPatch, tile: int
) -> None:
    monkeypatch.setattr(idia, "_TILE", tile)
    group = converted(tmp_path, cube)
    assert np.array_equal(group["DATA"][:], cube, equal_nan=True)
    assert group["DATA"].chunks == (None if tile == 512 else (1, 1, 64, 64))
    assert group["DATA"].dtype == np.dtype("<f4")
    turned = group["SwizzledData/ZYXW"]
    assert turned.shape == (N_STOKES, N_X, N_Y, N_CHAN)
    assert np.array_equal(turned[:], cube.transpose(0, 3, 2, 1), equal_nan=True)
    for name, axes in (("XY", (2, 3)), ("XYZ", (1, 2, 3)), ("Z", (1,))):
        found = group[f"Statistics/{name}"]
        good = np.isfinite(cube)
        filled = np.where(good, cube, 0).astype(float)
        assert np.array_equal(found["NAN_COUNT"][:], (~good).sum(axes))
        assert np.allclose(found["SUM"][:], filled.sum(axes), rtol=1e-5, atol=1e-3)
        assert np.allclose(found["SUM_SQ"][:], (filled**2).sum(axes), rtol=1e-5)
        some = good.any(axes)
        low = np.where(some, np.where(good, cube, np.inf).min(axes), np.nan)
        assert np.array_equal(found["MIN"][:], low, equal_nan=True)
        assert ("HISTOGRAM" in found) is (name != "Z")
    histogram = group["Statistics/XY/HISTOGRAM"][:]
    bins = int(np.sqrt(N_X * N_Y))
    assert histogram.shape == (N_STOKES, N_CHAN, bins)
    assert np.array_equal(histogram[1, 0], np.histogram(cube[1, 0].astype(float), bins)[0])
    assert not histogram[1, 1].any()
    assert not histogram[0, 2].any()
    whole = group["Statistics/XYZ/HISTOGRAM"][0]
    assert whole.sum() == np.isfinite(cube[0]).sum()


def test_smaller_copies_are_means_of_blocks(tmp_path: Path, cube: np.ndarray[Any, Any]) -> None:
    maps = converted(tmp_path, cube)["MipMaps/DATA"]
    assert set(maps) == {"DATA_XY_2", "DATA_XY_4"}
    assert maps["DATA_XY_2"].shape == (N_STOKES, N_CHAN, 75, 135)
    assert maps["DATA_XY_4"].shape == (N_STOKES, N_CHAN, 38, 68)
    four = maps["DATA_XY_4"][:]
    assert four[0, 1, 20, 30] == pytest.approx(cube[0, 1, 80:84, 120:124].mean(), rel=1e-5)
    # The first row of blocks is blank, of the second but three rows are left.
    assert np.isnan(four[0, 0, 0]).all()
    assert four[0, 0, 1, 3] == pytest.approx(cube[0, 0, 5:8, 12:16].mean(), rel=1e-5)
    # At the edge, of what there is.
    assert four[1, 0, 37, 67] == pytest.approx(cube[1, 0, 148:150, 268:270].mean(), rel=1e-5)


def test_the_header_in_its_order(tmp_path: Path) -> None:
    attributes = converted(
        tmp_path, np.zeros((4, 4), "f4"), CTYPE1="RA---SIN", CRVAL1=1.5, VELREF=257, GOOD=True
    ).attrs
    names = list(attributes)
    assert names[:3] == ["SCHEMA_VERSION", "HDF5_CONVERTER", "HDF5_CONVERTER_VERSION"]
    assert names[3:8] == ["SIMPLE", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2"]
    assert names[-4:] == ["CTYPE1", "CRVAL1", "VELREF", "GOOD"]
    assert "HISTORY" not in names
    assert attributes["CTYPE1"] == b"RA---SIN"
    assert attributes.get_id("CTYPE1").dtype == np.dtype("S256")
    assert (attributes["CRVAL1"].dtype, attributes["VELREF"].dtype) == (float, np.int64)
    assert attributes["GOOD"] == 1
    assert attributes["SCHEMA_VERSION"] == b"0.3"


def test_an_image_has_no_spectra(tmp_path: Path) -> None:
    group = converted(tmp_path, np.arange(20, dtype="f4").reshape(4, 5))
    assert set(group) == {"DATA", "Statistics"}
    assert set(group["Statistics"]) == {"XY"}
    assert (group["Statistics/XY/MAX"][()], group["Statistics/XY/SUM"][()]) == (19, 190)
    assert group["Statistics/XY/HISTOGRAM"][:].tolist() == [5, 5, 5, 5]


def test_axes_that_hdf5_is_not_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="HDF5 is for images of 2 to 4 axes; this one has 5"):
        converted(tmp_path, np.zeros((1, 1, 1, 4, 4), "f4"))


def test_without_h5py(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match=r"pip install 'casarun\[carta\]'"):
        idia.write(tmp_path / "a.fits", tmp_path / "a.hdf5")


def test_carta_s_own_converter_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, shell = tmp_path / "fits2idia", shutil.which("sh")
    program.write_text(f'#!{shell}\necho "$@" > "$2"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    out, source = tmp_path / "a b.hdf5", tmp_path / "$x; [a].fits"
    idia.write(source, out)
    assert out.read_text() == f"-o {out} {source}\n"
    program.write_text(f"#!{shell}\necho too large >&2; exit 3\n")
    with pytest.raises(DataError, match="fits2idia failed: too large"):
        idia.write(source, out)
