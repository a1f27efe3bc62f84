"""Cubes as streams of planes: each stage makes a plane when it is asked for one.

A stage keeps what it has made until it is told that nobody will ask for it again, so that a
channel which several others are made of is read and smoothed once. Planes are asked for in
rising order; memory holds as many as the widest stage looks at, whatever the cube's length.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt

from .convolve import Plane
from .spectral import Mix

Reader = Callable[[int, int], npt.NDArray[np.float32]]
"""Reads channels from the first up to, and without, the last: shape (channels, n_y, n_x)."""


class Planes(Protocol):
    """Something that has planes."""

    def plane(self, channel: int) -> Plane:
        """Return a plane, which the caller must not change."""

    def drop(self, before: int) -> None:
        """Forget the planes before a channel: nobody will ask for them again."""


class _Stage:
    """A stage that makes its planes of another one's.

    Parameters
    ----------
    source : Planes
        Where planes come from.
    """

    def __init__(self, source: Planes) -> None:
        self._source = source
        self._kept: dict[int, Plane] = {}

    def plane(self, channel: int) -> Plane:
        """Return a plane, made now or kept."""
        if channel not in self._kept:
            self._source.drop(self._first(channel))
            self._kept[channel] = self._make(channel)
        return self._kept[channel]

    def drop(self, before: int) -> None:
        """Forget the planes before a channel."""
        for channel in [kept for kept in self._kept if kept < before]:
            del self._kept[channel]

    def _first(self, channel: int) -> int:
        """Return the first channel of the source that a plane is made of."""
        return channel

    def _make(self, channel: int) -> Plane:
        raise NotImplementedError


class Source:
    """The planes of a file, read some at a time.

    Parameters
    ----------
    read : callable
        Reads channels.
    n_chan, at_once : int
        Channels that there are, and that are read at a time.
    """

    def __init__(self, read: Reader, n_chan: int, at_once: int) -> None:
        self._read = read
        self._n_chan = n_chan
        self._at_once = at_once
        self._kept: dict[int, Plane] = {}

    def plane(self, channel: int) -> Plane:
        """Return a plane."""
        if channel not in self._kept:
            last = min(channel + self._at_once, self._n_chan)
            block = self._read(channel, last)
            # Planes of their own, so that a block goes plane by plane.
            self._kept.update({channel + i: block[i].copy() for i in range(len(block))})
        return self._kept[channel]

    def drop(self, before: int) -> None:
        """Forget the planes before a channel."""
        for channel in [kept for kept in self._kept if kept < before]:
            del self._kept[channel]


class Held:
    """Planes of which another one decides how long they are kept.

    Parameters
    ----------
    source : Planes
        Where planes come from.
    """

    def __init__(self, source: Planes) -> None:
        self._source = source

    def plane(self, channel: int) -> Plane:
        """Return a plane."""
        return self._source.plane(channel)

    def drop(self, before: int) -> None:
        """Keep what is there."""


class Changed(_Stage):
    """Each plane changed by itself: smoothed, its continuum subtracted, put on another grid.

    Parameters
    ----------
    source : Planes
        Where planes come from.
    change : callable
        Returns the new plane of a channel, given the old one.
    """

    def __init__(self, source: Planes, change: Callable[[int, Plane], Plane]) -> None:
        super().__init__(source)
        self._change = change

    def _make(self, channel: int) -> Plane:
        return self._change(channel, self._source.plane(channel))


class Mixed(_Stage):
    """Channels as weighted means of others.

    Where a part of them is masked, the mean is of the rest; where that is half of the weight or
    less, the pixel is masked. (CASA takes a masked pixel for zero, which pulls its neighbours
    down.) With `strict`, one that is masked is enough.

    Parameters
    ----------
    source : Planes
        Where planes come from.
    mix : callable
        Returns what a channel is made of; channels of nothing are masked.
    shape : tuple of int
        Of a plane.
    strict : bool
        A pixel is masked where any of its parts is.
    """

    def __init__(
        self,
        source: Planes,
        mix: Callable[[int], Mix],
        shape: tuple[int, int],
        *,
        strict: bool = False,
    ) -> None:
        super().__init__(source)
        self._mix = mix
        self._shape = shape
        self._strict = strict

    def _first(self, channel: int) -> int:
        return min(self._mix(channel).channels, default=0)

    def _make(self, channel: int) -> Plane:
        mix = self._mix(channel)
        if not mix.channels:
            return np.full(self._shape, np.nan, np.float32)
        if len(mix.channels) == 1:
            return self._source.plane(mix.channels[0])
        return self._mean(mix)

    def _mean(self, mix: Mix) -> Plane:
        total = np.zeros(self._shape, np.float32)
        for channel, weight in zip(mix.channels, mix.weights, strict=True):
            total += np.float32(weight) * self._source.plane(channel)
        masked = np.isnan(total)
        if self._strict or not masked.any():
            return total
        total[masked] = self._mean_of_rest(mix, masked)
        return total

    def _mean_of_rest(self, mix: Mix, where: npt.NDArray[np.bool_]) -> Plane:
        parts = np.array([self._source.plane(channel)[where] for channel in mix.channels])
        weights = np.where(np.isnan(parts), 0, np.array(mix.weights)[:, None])
        weight = weights.sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.nansum(parts * weights, axis=0) / weight
        return np.where(weight > 0.5 + 1e-6, mean, np.nan).astype(np.float32)


class Rebinned(_Stage):
    """Means over blocks of pixels and channels, of those that are not masked (as imrebin's).

    What is left at the ends is dropped.

    Parameters
    ----------
    source : Planes
        Where planes come from.
    pixels, channels : int
        The blocks: pixels in x and in y, and channels.
    """

    def __init__(self, source: Planes, pixels: int, channels: int) -> None:
        super().__init__(source)
        self._pixels = pixels
        self._channels = channels

    def _first(self, channel: int) -> int:
        return channel * self._channels

    def _make(self, channel: int) -> Plane:
        first = channel * self._channels
        total: npt.NDArray[np.float64] | None = None
        number: npt.NDArray[np.float64] | None = None
        for part in range(first, first + self._channels):
            blocks = self._blocks(self._source.plane(part))
            valid = np.isfinite(blocks)
            here = np.where(valid, blocks, 0).sum(axis=(1, 3), dtype=np.float64)
            there = valid.sum(axis=(1, 3), dtype=np.float64)
            total = here if total is None else total + here
            number = there if number is None else number + there
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(total / number, np.float32)  # type: ignore[operator]

    def _blocks(self, plane: Plane) -> Plane:
        """Return a plane as blocks: shape (rows, pixels, columns, pixels)."""
        size = self._pixels
        n_y, n_x = (side // size for side in plane.shape)
        return plane[: n_y * size, : n_x * size].reshape(n_y, size, n_x, size)


def regridder(
    x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], *, linear: bool = True
) -> Callable[[int, Plane], Plane]:
    """Return what puts planes on another grid of directions.

    Parameters
    ----------
    x, y : array, shape (n_y, n_x) of the new grid
        Where its pixels are on the old one; NaN where they are not on it.
    linear : bool
        Bilinear interpolation, masked where one of the four is; else the nearest pixel.
    """
    off = ~(np.isfinite(x) & np.isfinite(y))
    places = np.array([np.where(off, -1, y), np.where(off, -1, x)])

    def change(_: int, plane: Plane) -> Plane:
        from scipy.ndimage import map_coordinates

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            made: Plane = map_coordinates(
                plane, places, order=1 if linear else 0, mode="constant", cval=np.nan
            )
        made[off] = np.nan
        return made

    return change
