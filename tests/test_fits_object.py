"""Images of objects with long names become FITS files."""

from __future__ import annotations

from pathlib import Path

import pytest
from astropy.io import fits
from support.cli import digests

pytestmark = pytest.mark.casa


def image(path: Path, name: str) -> None:
    """Make an image of 4 x 4 pixels of an object of that name."""
    from casarun.casa.config import configure

    configure()
    from casatools import image as images
    from casatools import table

    tool = images()
    tool.fromshape(str(path), [4, 4])
    tool.addnoise()
    tool.done()
    keywords = table()
    keywords.open(str(path), nomodify=False)
    keywords.putkeyword("imageinfo", {"imagetype": "Intensity", "objectname": name})
    keywords.close()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("M 31", "M 31"),
        ("x" * 68, "x" * 68),
        ("x" * 69, f"{'x' * 65}..."),
        ("x" * 300, f"{'x' * 65}..."),
    ],
    ids=len,
)
def test_an_object_is_named_as_long_as_fits_allows(
    name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from casarun.engine.actions import call

    monkeypatch.chdir(tmp_path)
    image(tmp_path / "x.image", name)
    before = digests(tmp_path / "x.image")
    call("exportfits", {"imagename": "x.image", "fitsimage": "x.fits"})
    assert fits.getheader(tmp_path / "x.fits")["OBJECT"] == said
    assert fits.getdata(tmp_path / "x.fits").std() > 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.fits", "x.image"]
    after = digests(tmp_path / "x.image")
    assert {n: d for n, d in after.items() if n != "table.lock"} == {
        n: d for n, d in before.items() if n != "table.lock"
    }
