"""What is made for a viewer is kept, and made again only where its image has changed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ..errors import DataError
from ..files import signature
from ..folder import file_safe
from .pictures import Picture

_FORM: Final = "1"
"""To be raised when what is made looks different."""


def kept(picture: Picture, sources: list[Path], suffix: str, make: Callable[[Path], None]) -> Path:
    """Return a file made of images, from an earlier time or made now.

    Parameters
    ----------
    picture : Picture
        The image that it is for; it names the file and says where it is kept.
    sources : list of Path
        The images that it is made of.
    suffix : str
        How its name ends: ``.fits``.
    make : callable
        Writes it to a path.

    Raises
    ------
    DataError
        If it can be kept nowhere.
    """
    states = "\n".join([_FORM, *(f"{path}\n{signature(path)}" for path in sources)])
    own = hashlib.sha256(str(picture.path).encode("utf-8", "surrogateescape")).hexdigest()[:8]
    state = hashlib.sha256(states.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    stem = f"{file_safe(picture.name.removesuffix('.image'))}-{own}"
    folder = folder_of(picture)
    wanted = folder / f"{stem}-{state}{suffix}"
    if wanted.is_file():
        return wanted
    part = folder / f".{os.getpid()}{suffix}"
    try:
        make(part)
        for old in folder.glob(f"{stem}-????????{suffix}"):
            old.unlink(missing_ok=True)
        part.replace(wanted)
    finally:
        part.unlink(missing_ok=True)
    return wanted


def folder_of(picture: Picture) -> Path:
    """Return where things are kept: in the run folder or, where we may not, in the user's cache.

    Raises
    ------
    DataError
        If that is not writable either.
    """
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    places = [Path(cache).expanduser() / "casarun" / "view"]
    if picture.run is not None:
        places.insert(0, picture.run.folder.private / "view")
    for place in places:
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(place, os.W_OK | os.X_OK):
            return place
    raise DataError(f"nowhere to keep what is made for the viewer: {places[-1]} is not writable")
