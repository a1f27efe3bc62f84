"""Stage ``export``: FITS files of what was made."""

from __future__ import annotations

from .draft import Draft, check
from .image import Picture, final


def steps(draft: Draft, picture: Picture) -> None:
    """Add a step that writes a FITS file for the image and each thing made from it."""
    _export(draft, picture, final(picture), f"{picture.prefix}.fits")
    if picture.image.pbcor:
        _export(draft, picture, f"{picture.prefix}.pbcor", f"{picture.prefix}.pbcor.fits")
    for moment in picture.image.moments:
        source = f"{picture.prefix}.mom{moment}"
        _export(draft, picture, source, f"{source}.fits")


def _export(draft: Draft, picture: Picture, source: str, out: str) -> None:
    name = out.removeprefix(picture.prefix).removesuffix(".fits").lstrip(".")
    draft.add(
        f"{picture.name}.export{'.' if name else ''}{name}",
        "casa:exportfits",
        {"imagename": source, "fitsimage": out},
        stage="export",
        title=f"write {out.removeprefix('images/')}",
        reads=(source,),
        writes=(out,),
        checks=(check("fits", path=out),),
        target=picture.target,
        image=picture.image.name,
    )
