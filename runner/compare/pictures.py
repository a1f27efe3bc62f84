"""Pictures of two images and of their difference, of one size and on one scale: for blinking."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from ..qa.sky import Map, brightness_limits, extent, maps, scaled
from ..qa.style import VELOCITY
from .comparison import ImagePair
from .skies import SkyDifference

Floats = npt.NDArray[np.float64]

_SIGMAS: Final = 5.0
"""The difference is shown to so many sigma at least."""


def draw(pair: ImagePair, output: Path) -> list[dict[str, str]]:
    """Draw A, B and B - A.

    Parameters
    ----------
    pair : ImagePair
        The images, with their planes.
    output : Path
        The folder of the page; the pictures go to ``pictures/`` in it.

    Returns
    -------
    list of dict
        ``id``, ``title`` and ``src`` of each; none where nothing is to be seen.
    """
    found = pair.difference
    if found is None or found.planes is None or found.sky is None:
        return []
    name = hashlib.sha256(pair.subject.encode("utf-8", "backslashreplace")).hexdigest()[:16]
    pictures = []
    for kind, title, one in _maps(found, found.planes):
        path = Path("pictures") / f"{name}-{kind}.png"
        box = extent(found.planes[:2])
        maps(output / path, found.sky, [one], box)
        pictures.append({"id": kind, "title": title, "src": str(path)})
    return pictures


def _maps(
    found: SkyDifference, planes: tuple[Floats, Floats, Floats]
) -> Iterator[tuple[str, str, Map]]:
    first, second, difference = planes
    factor, prefix = scaled(found.peak)
    unit = f"{prefix}{found.unit}"
    limits = brightness_limits(first, found.noise, found.peak)
    shown = limits[0] * factor, limits[1] * factor
    yield "a", "A", Map("A", first * factor, unit, shown)
    yield "b", "B", Map("B", second * factor, unit, shown)
    finite = np.abs(difference[np.isfinite(difference)])
    most = max(float(np.quantile(finite, 0.9995)), _SIGMAS * (found.noise or 0.0)) or 1.0
    factor, prefix = scaled(most)
    yield "d", "B - A", Map("B - A", difference * factor, f"{prefix}{found.unit}",
                            (-most * factor, most * factor), VELOCITY)  # fmt: skip
