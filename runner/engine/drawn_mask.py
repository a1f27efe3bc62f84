"""The action that draws a DS9 region file on an image's pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..casa import mask_image, read
from ..errors import Cause, StepFailedError
from ..recipe import ds9_regions

Bools = npt.NDArray[np.bool_]


def regions_in(path: str) -> ds9_regions.RegionFile:
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
        raise StepFailedError(
            Cause.PARAMETER, f"{Path(path).name}: {'; '.join(found.complaints())}"
        )
    return found


def taken(shapes: list[ds9_regions.Shape], header: read.ImageHeader, name: str) -> Bools:
    """Return which pixels of an image regions take, of shape (n_y, n_x).

    Raises
    ------
    StepFailedError
        If a region goes beyond the image's sky.
    """
    from ..qa import drawn
    from ..qa.images import sky_of

    wcs = sky_of(header, None).wcs()
    try:
        return drawn.mask(shapes, wcs, (header.n_y, header.n_x))
    except ValueError as error:
        raise StepFailedError(Cause.PARAMETER, f"{name}: {error}") from None


def draw(params: Mapping[str, Any]) -> dict[str, Any]:
    """Make a mask of a DS9 region file.

    Parameters
    ----------
    params : mapping
        `regions`, the file; `template`, an image with the pixels; `out`, the mask to write.

    Returns
    -------
    dict
        How many `regions` there are, and how many `pixels` they take.

    Raises
    ------
    StepFailedError
        If they cannot be used, or take no pixel.
    """
    name = Path(params["regions"]).name
    found = regions_in(params["regions"])
    with read.ImageFile(params["template"]) as image:
        header = image.header
    mask = taken(found.shapes, header, name)
    if not mask.any():
        raise StepFailedError(
            Cause.POSTCONDITION,
            f"the centre of no pixel of the image lies in the regions of {name}",
            "Check the regions' coordinates, imsize and cell.",
        )
    mask_image.write(params["template"], mask, params["out"])
    return {"regions": len(found.shapes), "pixels": int(np.count_nonzero(mask))}


ACTIONS: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {"mask": draw}
