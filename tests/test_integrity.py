"""Why a file could not be imported, without CASA."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from casarun.casa import checks, integrity
from casarun.casa.logscan import LogFindings
from casarun.errors import Cause

AGAIN = "get the data again, whole"


def uvfits(path: Path) -> Path:
    """Write random groups, as UVFITS are made of."""
    data = fits.GroupData(
        np.zeros((10, 1, 1, 4, 2, 3), "f4"), bitpix=-32, parnames=["UU", "VV"],
        pardata=[np.zeros(10), np.zeros(10)],
    )  # fmt: skip
    fits.GroupsHDU(data).writeto(path)
    return path


def test_nothing_to_see(tmp_path: Path) -> None:
    assert integrity.what_is(uvfits(tmp_path / "good.fits")) == ""


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", f"it is empty, 0 bytes: {AGAIN}"),
        (b"Dear observer,\n" * 9, "it is a text file, whatever its name says"),
        (bytes(range(256)) * 20, "it is no FITS file, whatever its name says"),
        (gzip.compress(b"x" * 100, mtime=0),
         "it is compressed (gzip) and perhaps cut short: unpack it to see"),
    ],
)  # fmt: skip
def test_no_fits(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "a.fits").write_bytes(content)
    assert integrity.what_is(tmp_path / "a.fits") == said


def test_an_image(tmp_path: Path) -> None:
    fits.writeto(tmp_path / "a.fits", np.ones((8, 16), "f4"))
    assert integrity.what_is(tmp_path / "a.fits") == (
        "it is a FITS file with 16 x 8 pixels and no random groups: an image or table, not UVFITS"
    )
    fits.PrimaryHDU().writeto(tmp_path / "b.fits")
    assert integrity.what_is(tmp_path / "b.fits") == (
        "it is a FITS file with no data in its first HDU and no random groups: an image or table, "
        "not UVFITS"
    )


def test_cut_short(tmp_path: Path) -> None:
    path = uvfits(tmp_path / "a.fits")
    path.write_bytes(path.read_bytes()[:3000])
    assert integrity.what_is(path) == (
        "it is cut short: its header tells of 1040 bytes of data, and 120 are there: get the data "
        "again, whole"
    )


def test_an_asdm_without_tables(tmp_path: Path) -> None:
    (tmp_path / "ASDM.xml").write_text(
        "<ASDM><Table><Name>Main</Name><NumberRows> 5 </NumberRows></Table>"
        "<Table><Name>Field</Name><NumberRows>2</NumberRows></Table>"
        "<Table><Name>Doppler</Name><NumberRows>0</NumberRows></Table></ASDM>"
    )
    (tmp_path / "Field.xml").touch()
    assert integrity.what_of_asdm(tmp_path) == f"its tables Main are missing: {AGAIN}"
    (tmp_path / "Main.bin").touch()
    assert integrity.what_of_asdm(tmp_path) == ""


def test_an_import_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    path.write_text("hello")
    error = checks.explain(
        RuntimeError("Failed to read file"), "importuvfits", {"fitsfile": str(path)}, LogFindings()
    )
    assert error is not None
    assert error.cause is Cause.PARAMETER
    assert error.message == (
        f"{path}: expected a UVFITS file, but it is a text file, whatever its name says"
    )
    good = {"fitsfile": str(uvfits(tmp_path / "b.fits"))}
    assert checks.explain(RuntimeError("x"), "importuvfits", good, LogFindings()) is None


@pytest.mark.parametrize(("low", "high", "rows"), [(0, 2, 3), (-1, 2, 3), (-1, -1, 0), (0, 0, 0)])
def test_states_may_be_unset(low: int, high: int, rows: int) -> None:
    integrity.require_indices(Path("x.ms"), "STATE_ID", low, high, rows)
