"""DS9 region files that a step reads."""

from __future__ import annotations

from pathlib import Path

from astropy.wcs import WCS

from ..errors import Cause, StepFailedError
from ..recipe import ds9_regions
from . import drawn


def read(path: str) -> ds9_regions.RegionFile:
    """Read a DS9 region file.

    Raises
    ------
    StepFailedError
        If a line of it cannot be used.
    """
    with Path(path).open("rb") as file:
        content = file.read(ds9_regions.LARGEST_BYTES)
    found = ds9_regions.read(content.decode("utf-8", "replace"))
    if found.unusable:
        said = "; ".join(found.complaints())
        raise StepFailedError(Cause.PARAMETER, f"{Path(path).name}: {said}")
    return found


def taken(
    shapes: list[ds9_regions.Shape], wcs: WCS, size: tuple[int, int], path: str
) -> drawn.Bools:
    """Return which pixels of an image the regions of a file take; see `drawn.mask`.

    Raises
    ------
    StepFailedError
        If one goes beyond the image's sky.
    """
    try:
        return drawn.mask(shapes, wcs, size)
    except ValueError as error:
        raise StepFailedError(Cause.PARAMETER, f"{Path(path).name}: {error}") from None
