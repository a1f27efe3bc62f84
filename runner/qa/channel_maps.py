"""Channel maps of a cube: one picture of many small ones, drawn without Matplotlib's figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import matplotlib
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from .style import INTENSITY

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

MOST: Final = 30
COLUMNS: Final = 6
TILE: Final = 190
"""Least width of a channel in the picture, in its pixels."""
_MASKED: Final = (240, 241, 243)
_GAP: Final = 3


@dataclass(frozen=True)
class Channel:
    """One channel: its plane (n_y, n_x), NaN where it is masked, and what stands on it."""

    pixels: Floats
    label: str


def chosen(peak: Floats, sigma: float) -> list[int]:
    """Return the channels to draw: those with emission and two more, thinned evenly to `MOST`.

    Parameters
    ----------
    peak : array, shape (channels,)
        The largest pixel of each channel.
    sigma : float
        The noise.
    """
    bright = np.flatnonzero(peak > 5 * sigma)
    if bright.size:
        first, last = max(0, int(bright[0]) - 1), min(peak.size - 1, int(bright[-1]) + 1)
    else:
        first, last = 0, peak.size - 1
    every = math.ceil((last - first + 1) / MOST)
    return list(range(first, last + 1, every))


def draw(
    path: Path,
    channels: Sequence[Channel],
    limits: tuple[float, float],
    beam_pixels: tuple[float, float, float] | None,
) -> Path:
    """Draw channels in rows, one scale for all.

    Parameters
    ----------
    path : Path
        The PNG to write.
    channels : sequence of Channel
        Planes of one shape.
    limits : tuple of float
        The values at the ends of the colours.
    beam_pixels : tuple of float or None
        Axes (FWHM, pixels) and position angle (deg) of the synthesized beam, drawn on the first.
    """
    n_y, n_x = channels[0].pixels.shape
    zoom = max(1, math.ceil(TILE / n_x))
    wide, high = n_x * zoom, n_y * zoom
    rows = math.ceil(len(channels) / COLUMNS)
    columns = min(COLUMNS, len(channels))
    size = (columns * (wide + _GAP) - _GAP, rows * (high + _GAP) - _GAP)
    picture = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(picture)
    font = _font(max(11, wide // 16))
    colours = (matplotlib.colormaps[INTENSITY](np.arange(256))[:, :3] * 255).astype(np.uint8)
    for number, channel in enumerate(channels):
        left = number % COLUMNS * (wide + _GAP)
        top = number // COLUMNS * (high + _GAP)
        tile = Image.fromarray(_coloured(channel.pixels, limits, colours))
        picture.paste(tile.resize((wide, high), Image.Resampling.NEAREST), (left, top))
        pen.text((left + 5, top + 3), channel.label, fill="white", font=font)
        if number == 0 and beam_pixels:
            pen.polygon(_ellipse((left, top + high), beam_pixels, zoom), outline="white")
    path.parent.mkdir(parents=True, exist_ok=True)
    # To look for the best colours would take longer than all else here.
    plain = picture.quantize(palette=_palette(), dither=Image.Dither.NONE)
    plain.save(path, format="PNG", compress_level=6)
    return path


def _palette() -> Image.Image:
    """Return 256 colours: of the scale, of masked pixels, and greys for what is written on them."""
    scale = matplotlib.colormaps[INTENSITY](np.linspace(0, 1, 239))[:, :3] * 255
    greys = np.repeat(np.linspace(15, 255, 16), 3).reshape(-1, 3)
    made = Image.new("P", (1, 1))
    made.putpalette(np.vstack([scale, greys, _MASKED]).astype(np.uint8).tobytes())
    return made


def _font(size: int) -> Any:
    return ImageFont.truetype(
        str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size
    )


def _coloured(
    pixels: Floats, limits: tuple[float, float], colours: npt.NDArray[np.uint8]
) -> npt.NDArray[np.uint8]:
    """Return a plane in colours, north up; grey where it is masked."""
    good = np.isfinite(pixels)
    share = (np.where(good, pixels, limits[0]) - limits[0]) / ((limits[1] - limits[0]) or 1.0)
    made = colours[np.clip(share * 255, 0, 255).astype(np.uint8)]
    made[~good] = _MASKED
    return np.ascontiguousarray(made[::-1])


def _ellipse(
    corner: tuple[int, int], beam: tuple[float, float, float], zoom: int
) -> list[tuple[float, float]]:
    """Return the corners of the synthesized beam's ellipse, near a tile's lower left corner."""
    major, minor, turn = beam[0] * zoom / 2, beam[1] * zoom / 2, math.radians(beam[2])
    middle = (corner[0] + major + 6, corner[1] - major - 6)
    angles = np.linspace(0, 2 * np.pi, 40)
    along, across = major * np.cos(angles), minor * np.sin(angles)
    # The position angle runs from north, up, through east, left.
    x = middle[0] - along * math.sin(turn) - across * math.cos(turn)
    y = middle[1] - along * math.cos(turn) + across * math.sin(turn)
    return list(zip(x.tolist(), y.tolist(), strict=True))
