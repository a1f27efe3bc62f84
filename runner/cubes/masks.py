"""Masks for moment maps: smooth the cube, keep what is significant and goes on over channels.

The usual recipe (Dame 2011, arXiv:1101.1499, and what it cites): a smoothed copy of the cube is
clipped at a few times its noise, and the full-resolution cube is summed where the copy passes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .convolve import Plane
from .statistics import noise
from .stream import Planes

Bools = npt.NDArray[np.bool_]


class Clipped:
    """Where a smoothed cube is significant, channel by channel.

    Parameters
    ----------
    smooth : Planes
        The smoothed cube.
    n_chan : int
        Channels of the cube.
    sigma : float
        Multiple of each channel's noise that a pixel must exceed.
    run : int
        So many neighbouring channels must pass at a pixel.
    """

    def __init__(self, smooth: Planes, n_chan: int, sigma: float, run: int) -> None:
        self._smooth = smooth
        self._n_chan = n_chan
        self._sigma = sigma
        self._run = run
        self._kept: dict[int, Bools] = {}

    def plane(self, channel: int) -> Bools:
        """Return where a channel passes, shape (n_y, n_x)."""
        first = max(0, channel - self._run + 1)
        last = min(self._n_chan - 1, channel + self._run - 1)
        for kept in [one for one in self._kept if one < first]:
            del self._kept[kept]
        passing = [self._passes(one) for one in range(first, last + 1)]
        found = np.zeros_like(passing[0])
        for start in range(first, channel + 1):
            group = passing[start - first : start - first + self._run]
            if len(group) == self._run:
                found |= np.logical_and.reduce(group)
        return found

    def _passes(self, channel: int) -> Bools:
        if channel not in self._kept:
            self._smooth.drop(channel)
            self._kept[channel] = clip(self._smooth.plane(channel), self._sigma)
        return self._kept[channel]


def clip(plane: Plane, sigma: float) -> Bools:
    """Return where a plane exceeds a multiple of its noise; nowhere if that is not known."""
    level = noise(plane)
    if level is None:
        return np.zeros(plane.shape, bool)
    with np.errstate(invalid="ignore"):
        return np.asarray(plane > sigma * level)
