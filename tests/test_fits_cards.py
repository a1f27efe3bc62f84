"""Cards added to headers of FITS files: read back by astropy, data as they were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from casarun.casa import fits_cards
from casarun.errors import StepFailedError

VALUES = {"CREATOR": ("casarun 1", "who"), "RECIPSHA": ("f" * 64, ""), "NEW": ("it's\n\u00e9", "")}


def image(path: Path, cards: int, *, checksum: bool = False) -> np.ndarray:
    """Write an image with a header of so many more cards, and a table after it."""
    data = np.arange(12000, dtype=">f4").reshape(100, 120)
    unit = fits.PrimaryHDU(data)
    for number in range(cards):
        unit.header[f"KEY{number}"] = number
    unit.header["CREATOR"] = "someone else"
    unit.header.add_history("as it was")
    table = fits.BinTableHDU.from_columns([fits.Column("a", "1E", array=[1.0, 2.0])])
    fits.HDUList([unit, table]).writeto(path, checksum=checksum)
    return data


@pytest.mark.parametrize("cards", [0, 21, 22, 23, 24, 25, 26, 27, 60])
@pytest.mark.parametrize("checksum", [False, True])
def test_cards_are_added_wherever_the_header_ends(
    tmp_path: Path, cards: int, checksum: bool
) -> None:
    path = tmp_path / "x.fits"
    data = image(path, cards, checksum=checksum)
    fits_cards.add(path, VALUES, ["one", "word " * 30])
    with fits.open(path, checksum=True) as units:
        units.verify("exception")
        header = units[0].header
        assert header["CREATOR"] == "casarun 1"
        assert header["RECIPSHA"] == "f" * 64
        assert header["NEW"] == "it's??"
        assert list(header["HISTORY"])[:2] == ["as it was", "one"]
        assert len(header["HISTORY"]) == 5
        assert sum(card.keyword == "CREATOR" for card in header.cards) == 1
        np.testing.assert_array_equal(units[0].data, data)
        assert units[1].data["a"].tolist() == [1.0, 2.0]
    if checksum:
        with fits.open(path) as units:
            assert units[0].verify_checksum() == 1
            assert units[0].verify_datasum() == 1


def test_adding_again_replaces(tmp_path: Path) -> None:
    path = tmp_path / "x.fits"
    image(path, 3)
    for number in range(40):
        fits_cards.add(path, {"CREATOR": (f"run {number}", "")}, [])
    assert fits.getheader(path)["CREATOR"] == "run 39"
    assert path.stat().st_size == 2880 + 48960 + 2 * 2880


def test_what_is_no_fits_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.fits"
    path.write_bytes(b"no" * 5000)
    with pytest.raises(StepFailedError, match=r"x\.fits has no FITS header"):
        fits_cards.add(path, VALUES, [])
