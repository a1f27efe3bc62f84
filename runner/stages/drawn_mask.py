"""The step that draws a DS9 region file on an image's pixels, for the clean.

CASA takes such a file for an empty mask, without a word. A CRTF region file and a mask image it
reads itself.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from ..recipe.ds9_regions import is_ds9
from .draft import Draft
from .picture import Picture

WORDS = ("none", "auto-multithresh")


def mask_of(picture: Picture) -> str:
    """Return the path of what tclean takes for the mask; empty where it is no file."""
    mask = picture.image.mask
    if mask in WORDS:
        return ""
    # In a folder of its own: tclean adds its history to images whose name begins with its own's.
    return f"images/masks/{picture.name}.mask" if is_ds9(mask) else mask


def step(draft: Draft, picture: Picture, template: str) -> None:
    """Add the step that draws the mask, where it is a DS9 region file.

    Parameters
    ----------
    draft : Draft
        Takes the step.
    picture : Picture
        The image.
    template : str
        The path of an image with its pixels; only its first channel is looked at.
    """
    source, out = picture.image.mask, mask_of(picture)
    if not out or not is_ds9(source):
        return
    draft.add(
        f"{picture.name}.mask",
        "mask",
        {"regions": source, "template": template, "out": out},
        stage="image",
        title=f"draw {PurePosixPath(source).name} for '{picture.image.name}' of {picture.target}",
        reads=(source, template),
        writes=(out,),
        intermediates=(out,),
        target=picture.target,
        image=picture.image.name,
    )
