"""An image of CASA's to read, whose small files are the reader's own.

CASA opens images to write where it only reads them (``impbcor`` the primary beam), and when it
closes them it empties ``table.info`` and writes it anew. Whoever opens the image in that moment
fails with "Unable to open image". So each step reads such a view.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

OWN: Final = frozenset({"table.dat", "table.info", "table.lock"})
"""What casacore writes when a table's keywords or its lock change, not its data."""


def is_image(path: Path) -> bool:
    """Say whether a path is an image in CASA's format."""
    try:
        with (path / "table.info").open("rb") as stream:
            return stream.read(64).startswith(b"Type = Image")
    except OSError:
        return False


def view(image: Path, place: Path) -> None:
    """Make a folder that opens as an image, and shares its pixels, masks and log.

    Parameters
    ----------
    image : Path
        The image, absolute.
    place : Path
        The folder, which does not exist. Its `OWN` files are copies, and the rest links.

    Raises
    ------
    OSError
        If the image cannot be read, or the folder not be written.
    """
    place.mkdir()
    for file in image.iterdir():
        if file.name in OWN:
            (place / file.name).write_bytes(file.read_bytes())
        else:
            (place / file.name).symlink_to(file)
