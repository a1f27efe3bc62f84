"""Images opened in a viewer, as files that it reads, with casarun's regions on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ..casa import fits_copy
from ..errors import DataError
from . import ds9, overlays, xpa
from .kept import kept
from .pictures import Picture, find
from .plain_paths import plain

VIEWERS: Final = ("ds9",)


@dataclass
class Viewed:
    """What was opened.

    Attributes
    ----------
    where : str
        In which viewer, for a person.
    pictures : list of Picture
        The images.
    files : list of Path
        The FITS file of each.
    command : list of str
        The command that opens them; with `dry_run` nothing more was done.
    """

    where: str
    pictures: list[Picture]
    files: list[Path]
    command: list[str] = field(default_factory=list)


def view(
    images: Sequence[str],
    viewer: str = "",
    *,
    regions: Sequence[Path] = (),
    own_regions: bool = True,
    new: bool = False,
    dry_run: bool = False,
) -> Viewed:
    """Open images in a viewer.

    Parameters
    ----------
    images : sequence of str
        See `pictures.find`.
    viewer : str
        ``ds9``; by default what is installed.
    regions : sequence of Path
        Region files of the user's own, to draw on each image.
    own_regions : bool
        Draw casarun's own: clean mask, primary beam.
    new : bool
        Start a viewer, even if one runs.
    dry_run : bool
        Make the files, but open none.

    Raises
    ------
    DataError
        If an image is not there, cannot be written as FITS, or the viewer does not open it.
    """
    chosen = viewer or pick()
    pictures = find(images)
    own = [path.absolute() for path in regions]
    for path in own:
        if not path.is_file():
            raise DataError(f"{path}: no such region file")
    files = [fits_of(picture) for picture in pictures]
    frames = [
        ds9.Frame(
            plain(file),
            tuple(plain(path) for path in (*(own_of(picture) if own_regions else ()), *own)),
        )
        for picture, file in zip(pictures, files, strict=True)
    ]
    found = Viewed(chosen, pictures, files, ds9.command_line(frames, "casarun"))
    if not dry_run:
        found.where = ds9.show(frames, new=new)
    return found


def pick() -> str:
    """Return the viewer that is there.

    Raises
    ------
    DataError
        If there is none; it says what was looked for.
    """
    if ds9.installed() or xpa.running() is not None:
        return "ds9"
    by_xpa = "by XPA" if xpa.installed() else "(not by XPA: xpaget and xpaset are not on the PATH)"
    raise DataError(
        f"no viewer: ds9 is not on the PATH, and no DS9 runs {by_xpa}; install SAOImage DS9 "
        "(https://ds9.si.edu; Debian: saods9 and xpa-tools)"
    )


def fits_of(picture: Picture) -> Path:
    """Return an image as a FITS file, written now or earlier.

    Raises
    ------
    DataError
        If it cannot be written.
    """
    if picture.is_fits:
        return picture.path
    try:
        return kept(
            picture, [picture.path], ".fits", lambda path: fits_copy.write(picture.path, path)
        )
    except (OSError, RuntimeError) as error:
        raise DataError(f"{picture.path}: cannot be written as FITS: {error}") from error


def own_of(picture: Picture) -> tuple[Path, ...]:
    """Return the file of casarun's own regions of an image, if there are any."""
    sources = overlays.sources(picture)
    if not sources:
        return ()
    return (kept(picture, sources, ".reg", lambda path: overlays.write(picture, path)),)
