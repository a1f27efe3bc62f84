"""Images whose object has a name that is too long for FITS.

A string in a FITS header has 68 characters (FITS standard 4.0, section 4.2.1.1). CASA says that it
cuts a longer OBJECT, and then fails with "Error creating initial FITS header" (6.7.0 and 6.7.5).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Final

from ..image_view import view
from .config import configure
from .tables import open_table

LONGEST: Final = 68
"""Characters, or bytes, of OBJECT."""


@contextmanager
def with_short_object(params: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Give parameters with which ``exportfits`` can write an image.

    Where the object's name is too long, they name a stand-in for the image: links to its files, but
    with a name that ends after 65 bytes and in ``...``. The image stays as it is.

    Parameters
    ----------
    params : mapping
        Of ``exportfits``.

    Yields
    ------
    mapping
        The same, or with another `imagename`, which is gone afterwards.
    """
    image = Path(str(params.get("imagename", "")))
    name = _object(image)
    if len(name.encode()) <= LONGEST:
        yield params
        return
    place = Path(mkdtemp(prefix="short-object-", dir="."))
    try:
        stand_in = place / image.name
        view(image.resolve(), stand_in)
        _rename(stand_in, f"{name.encode()[: LONGEST - 3].decode(errors='ignore')}...")
        yield {**params, "imagename": str(stand_in)}
    finally:
        shutil.rmtree(place)


def shortened(params: Mapping[str, Any]) -> str:
    """Return the name of the object in the image that parameters of ``exportfits`` name."""
    return _object(Path(str(params["imagename"])))


def _object(image: Path) -> str:
    """Return the name of an image's object; nothing where it is no image of casacore's."""
    if not (image / "table.dat").is_file():
        return ""
    with open_table(image) as table:
        if "imageinfo" not in table.keywordnames():
            return ""
        return str(table.getkeyword("imageinfo").get("objectname", ""))


def _rename(image: Path, name: str) -> None:
    configure()
    from casatools import table

    tool = table()
    tool.open(str(image), nomodify=False)
    try:
        tool.putkeyword("imageinfo", {**tool.getkeyword("imageinfo"), "objectname": name})
    finally:
        tool.close()
