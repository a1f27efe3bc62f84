"""The action that draws a DS9 region file on an image's pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..casa import image_file, mask_image
from ..errors import Cause, StepFailedError


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
    from ..qa.images import sky_of
    from ..qa.region_files import read, taken

    path = str(params["regions"])
    found = read(path)
    with image_file.ImageFile(params["template"]) as image:
        header = image.header
    mask = taken(found.shapes, sky_of(header, None).wcs(), (header.n_y, header.n_x), path)
    if not mask.any():
        raise StepFailedError(
            Cause.POSTCONDITION,
            "the centre of no pixel of the image lies in the regions of " + Path(path).name,
            "Check the regions' coordinates, imsize and cell.",
        )
    mask_image.write(params["template"], mask, params["out"])
    return {"regions": len(found.shapes), "pixels": int(np.count_nonzero(mask))}


ACTIONS: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {"mask": draw}
