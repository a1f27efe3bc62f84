"""One pass over the planes of an image: noise, extremes, what its histogram and scores need."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..casa import image_file
from . import metrics, residuals

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

MOMENT_PIXELS = 1_000_000
"""Pixels of a residual cube that its moments take at most, likewise."""

HISTOGRAM_PIXELS = 4_000_000
"""Pixels of a cube that its histogram takes at most, from evenly spread channels."""


@dataclass
class Scan:
    """What one pass over the planes of an image found.

    Arrays by channel have shape (channels,); NaN where a channel is blank.
    """

    header: image_file.ImageHeader
    rms: Floats
    peak: Floats
    lowest: Floats
    pixels: int
    brightest: tuple[int, int, int]
    values: Floats
    off_source_values: Floats
    residual_peak: float = 0.0
    residual: residuals.Moments = field(default_factory=residuals.Moments)

    @property
    def noise(self) -> float | None:
        """Median over channels of the noise."""
        finite = self.rms[np.isfinite(self.rms)]
        return float(np.median(finite)) if finite.size else None

    @property
    def highest(self) -> float | None:
        """The largest pixel."""
        finite = self.peak[np.isfinite(self.peak)]
        return float(finite.max()) if finite.size else None


class Beside:
    """An image that may lie beside another one: gives planes, or None.

    Parameters
    ----------
    path : str
        Where it would be; empty for none.
    """

    def __init__(self, path: str) -> None:
        self._file = image_file.ImageFile(path) if path and Path(path).exists() else None

    def plane(self, channel: int) -> tuple[Floats, Bools] | None:
        """Return a plane and where it is valid."""
        if self._file is None:
            return None
        return self._file.plane(min(channel, self._file.header.n_chan - 1))

    def pixels(self, channel: int) -> Floats | None:
        """Return a plane with NaN where it is masked."""
        found = self.plane(channel)
        return None if found is None else np.where(found[1], found[0], np.nan)

    def truth(self, channel: int) -> Bools | None:
        """Return a mask's plane."""
        found = self.plane(channel)
        return None if found is None else np.asarray(found[0] > 0.5)

    @property
    def header(self) -> image_file.ImageHeader | None:
        """Its header."""
        return None if self._file is None else self._file.header

    def __enter__(self) -> Beside:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.__exit__()


def scan(path: str, pb: str = "", mask: str = "", residual: str = "") -> Scan:
    """Measure noise and extremes of every plane of an image (first Stokes parameter)."""
    with (
        image_file.ImageFile(path) as image,
        Beside(pb) as beam,
        Beside(mask) as clean,
        Beside(residual) as rest,
    ):
        header = image.header
        by_channel = np.full((3, header.n_chan), np.nan)
        brightest = (0, header.n_y // 2, header.n_x // 2)
        kept: list[tuple[Floats, Floats]] = []
        pixels, top = 0, -math.inf
        every = math.ceil(header.n_chan * header.n_x * header.n_y / HISTOGRAM_PIXELS)
        seldom = math.ceil(header.n_chan * header.n_x * header.n_y / MOMENT_PIXELS)
        left, moments = 0.0, residuals.Moments()
        for channel in range(header.n_chan):
            values, valid = image.plane(channel)
            if not valid.any():
                continue
            response = beam.plane(channel)
            quiet = metrics.off_source(
                valid, None if response is None else response[0], clean.truth(channel)
            )
            noise = metrics.robust_noise(values[quiet])
            shown = np.where(valid, values, -np.inf)
            y, x = np.unravel_index(int(np.argmax(shown)), shown.shape)
            by_channel[:, channel] = (
                math.nan if noise is None else noise, shown[y, x], values[valid].min(),
            )  # fmt: skip
            pixels += int(np.count_nonzero(quiet))
            if shown[y, x] > top:
                top, brightest = float(shown[y, x]), (channel, int(y), int(x))
            if channel % every == 0:
                kept.append((values[valid], values[quiet]))
            after = rest.pixels(channel)
            if after is not None and np.isfinite(after).any():
                left = max(left, float(np.nanmax(np.abs(after))))
                if noise is not None and channel % seldom == 0:
                    moments.add(after[quiet & np.isfinite(after)], noise)
    empty = np.zeros(0)
    return Scan(
        header, by_channel[0], by_channel[1], by_channel[2], pixels, brightest,
        np.concatenate([pair[0] for pair in kept]) if kept else empty,
        np.concatenate([pair[1] for pair in kept]) if kept else empty, left, moments,
    )  # fmt: skip
