"""Images opened in a viewer, as files that it reads, with casarun's regions on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ..casa import fits_copy
from ..errors import DataError
from ..files import write_json
from ..folder import file_safe
from . import carta, ds9, idia, overlays, xpa
from .kept import folder_of, kept
from .pictures import Picture, find
from .plain_paths import plain

VIEWERS: Final = ("ds9", "carta")


@dataclass(frozen=True)
class Wish:
    """How images are to be shown.

    Attributes
    ----------
    viewer : str
        ``ds9`` or ``carta``; empty for what is installed.
    regions : tuple of Path
        Region files of the user's own, to draw on each image.
    own_regions : bool
        Draw casarun's own: clean mask, primary beam.
    new : bool
        Start a DS9, even if one runs.
    url : str
        The address of a CARTA that runs.
    top : Path
        Its top-level folder.
    hdf5 : bool
        Give CARTA HDF5 files.
    dry_run : bool
        Make the files, but open none.
    """

    viewer: str = ""
    regions: tuple[Path, ...] = ()
    own_regions: bool = True
    new: bool = False
    url: str = ""
    top: Path = Path("/")
    hdf5: bool = False
    dry_run: bool = False


@dataclass
class Viewed:
    """What was opened.

    Attributes
    ----------
    pictures : list of Picture
        The images.
    files : list of Path
        The file of each that the viewer reads.
    command : list of str
        The command that opens them.
    where : str
        In which viewer, for a person; empty where none was opened.
    url : str
        The address of CARTA's page.
    """

    pictures: list[Picture]
    files: list[Path]
    command: list[str] = field(default_factory=list)
    where: str = ""
    url: str = ""


def view(images: Sequence[str], wish: Wish) -> Viewed:
    """Open images in a viewer.

    Parameters
    ----------
    images : sequence of str
        See `pictures.find`.
    wish : Wish
        In which, and how.

    Raises
    ------
    DataError
        If an image is not there, cannot be written as FITS, or the viewer does not open it.
    """
    viewer = wish.viewer or ("carta" if wish.url else pick())
    pictures = find(images)
    if viewer == "carta":
        pictures = list(_with_moments(pictures))
    own = [path.absolute() for path in wish.regions]
    for path in own:
        if not path.is_file():
            raise DataError(f"{path}: no such region file")
    files = [fits_of(picture) for picture in pictures]
    regions = [(*(own_of(picture) if wish.own_regions else ()), *own) for picture in pictures]
    found = Viewed(pictures, files)
    if viewer == "carta":
        _in_carta(found, regions, wish)
    else:
        _in_ds9(found, regions, wish)
    return found


def _in_ds9(found: Viewed, regions: Sequence[tuple[Path, ...]], wish: Wish) -> None:
    frames = [
        ds9.Frame(plain(file), tuple(map(plain, own)))
        for file, own in zip(found.files, regions, strict=True)
    ]
    found.command = ds9.command_line(frames, "casarun")
    if not wish.dry_run:
        found.where = ds9.show(frames, new=wish.new)


def _in_carta(found: Viewed, regions: Sequence[tuple[Path, ...]], wish: Wish) -> None:
    fits = found.files
    if wish.hdf5:
        found.files = [hdf5_of(*both) for both in zip(found.pictures, fits, strict=True)]
    images = [carta.Shown(*three) for three in zip(found.files, fits, regions, strict=True)]
    first = found.pictures[0]
    whose = first.run.folder.root.name if first.run else first.name
    name = f"casarun-{file_safe(whose)}"
    folder = folder_of(first)
    write_json(folder / f"{name}.carta.json", carta.workspace(images, wish.top, name))
    found.command = carta.command_line()
    if wish.dry_run:
        found.where = f"the workspace {folder / f'{name}.carta.json'}"
        return
    opened = carta.show(images, name, folder / "carta.log", url=wish.url, top=wish.top)
    found.url = opened.url
    found.where = "CARTA" + (f", {opened.note}" if opened.note else "")


def _with_moments(pictures: Sequence[Picture]) -> Iterator[Picture]:
    """Give images, and the moments of a cube behind it."""
    named = {picture.path for picture in pictures}
    for picture in pictures:
        yield picture
        whole = picture.run and picture.prefix.rpartition("/")[2] == picture.name
        for moment in range(-1, 12) if whole else ():
            path = picture.beside(f"mom{moment}.fits") or picture.beside(f"mom{moment}")
            if path is not None and path not in named:
                named.add(path)
                name = f"{picture.name}.mom{moment}"
                yield Picture(path, name, picture.run, picture.prefix)


def pick() -> str:
    """Return the viewer that is there.

    Raises
    ------
    DataError
        If there is none; it says what was looked for.
    """
    if ds9.installed() or xpa.running() is not None:
        return "ds9"
    if carta.installed():
        return "carta"
    by_xpa = "by XPA" if xpa.installed() else "(not by XPA: xpaget and xpaset are not on the PATH)"
    raise DataError(
        f"no viewer: neither ds9 nor carta is on the PATH, and no DS9 runs {by_xpa}; install "
        "SAOImage DS9 (https://ds9.si.edu; Debian: saods9 and xpa-tools) or CARTA "
        "(https://cartavis.org), or give the address of a CARTA that runs with --url"
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


def hdf5_of(picture: Picture, fits: Path) -> Path:
    """Return an image as an HDF5 file, written now or earlier.

    Raises
    ------
    DataError
        If it cannot be written.
    """
    try:
        return kept(picture, [fits], ".hdf5", lambda path: idia.write(fits, path))
    except OSError as error:
        raise DataError(f"{fits}: cannot be written as HDF5: {error}") from error


def own_of(picture: Picture) -> tuple[Path, ...]:
    """Return the file of casarun's own regions of an image, if there are any."""
    sources = overlays.sources(picture)
    if not sources:
        return ()
    return (kept(picture, sources, ".reg", lambda path: overlays.write(picture, path)),)
