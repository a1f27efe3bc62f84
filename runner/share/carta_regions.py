"""DS9 regions as CARTA keeps them: control points in an image's pixels, counted from 0."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from ..recipe import ds9_regions
from ..recipe.ds9_regions import Shape

Floats = npt.NDArray[np.float64]

_POINT, _ELLIPSE, _POLYGON = 0, 4, 6
"""Of CARTA's RegionType (carta-protobuf, enums)."""

_COLOURS: Final = {"clean_mask": "#00FFFF", "primary_beam": "#FFFF00", "sources": "#FF00FF"}
_OTHERS: Final = "#FF4040"
_CORNERS: Final = 60


def regions_of(image: Path, files: Sequence[Path]) -> list[dict[str, Any]]:
    """Return the regions of files on an image.

    Circles, points and polygons are what they are; ellipses and boxes become polygons, rings two
    outlines. What is excluded is drawn dashed.

    Parameters
    ----------
    image : Path
        A FITS file.
    files : sequence of Path
        DS9 region files.

    Raises
    ------
    DataError
        If a line of a file cannot be used.
    """
    # A cube and its moments have the same mask: each text counts once.
    texts = {path.read_text("utf-8", "replace"): path.name for path in files}
    shapes = [shape for text, name in texts.items() for shape in _shapes(text, name)]
    found: list[dict[str, Any]] = []
    if not shapes:
        return found
    wcs, size = _sky(image)
    for shape in shapes:
        if wcs is None and shape.frame != "image":
            continue
        for kind, points in _outlines(shape, wcs, size):
            if np.isfinite(points).all():
                found.append(_region(len(found) + 1, kind, points, shape))
    return found


def _shapes(text: str, name: str) -> list[Shape]:
    read = ds9_regions.read(text)
    if read.unusable:
        raise DataError(f"{name}: {'; '.join(read.complaints())}")
    return read.shapes


def _sky(image: Path) -> tuple[Any, tuple[int, int]]:
    """Return an image's celestial coordinates, None without, and its height and width."""
    from astropy.io import fits
    from astropy.wcs import WCS

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header = fits.getheader(image)
        wcs = WCS(header).celestial
    size = (int(header.get("NAXIS2", 1)), int(header.get("NAXIS1", 1)))
    return (wcs if wcs.naxis == 2 else None), size


def _outlines(shape: Shape, wcs: Any, size: tuple[int, int]) -> Iterator[tuple[int, Floats]]:
    """Give CARTA's type and control points, of shape (points, 2), of what a region looks like."""
    from ..qa.drawn import region

    area = region(shape, wcs, size)
    if shape.kind == "polygon":
        yield _POLYGON, np.column_stack([area.vertices.x, area.vertices.y])
        return
    centre = np.array([area.center.x, area.center.y])
    if shape.kind == "point":
        yield _POINT, centre[np.newaxis]
    elif shape.kind in ("circle", "annulus"):
        for name in ("radius", "inner_radius", "outer_radius"):
            if hasattr(area, name):
                yield _ELLIPSE, np.array([centre, [getattr(area, name)] * 2])
    else:
        for begin in ("", "inner_", "outer_"):
            if hasattr(area, f"{begin}width"):
                half = 0.5 * np.array([getattr(area, f"{begin}{side}")
                                       for side in ("width", "height")])  # fmt: skip
                yield (
                    _POLYGON,
                    centre + _corners(shape.kind, half, float(area.angle.to_value("rad"))),
                )


def _corners(kind: str, half: Floats, turn: float) -> Floats:
    """Return the corners of a box or an ellipse about its centre."""
    if kind == "box":
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half
    else:
        angle = np.linspace(0, 2 * math.pi, _CORNERS, endpoint=False)
        corners = np.column_stack([np.cos(angle), np.sin(angle)]) * half
    cosine, sine = math.cos(turn), math.sin(turn)
    turned: Floats = corners @ np.array([[cosine, sine], [-sine, cosine]])
    return turned


def _region(number: int, kind: int, points: Floats, shape: Shape) -> dict[str, Any]:
    return {
        "id": number,
        "type": kind,
        "points": [{"x": round(x, 6), "y": round(y, 6)} for x, y in points.tolist()],
        "rotation": 0,
        "name": shape.label or shape.tag,
        "color": _COLOURS.get(shape.tag, _OTHERS),
        "lineWidth": 1 if shape.tag else 2,
        "dashes": [] if shape.include and shape.tag != "primary_beam" else [4],
        "locked": shape.tag == "primary_beam",
    }
