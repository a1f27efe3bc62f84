"""The spectral axis of a cube: which channels go into which, and where they are afterwards."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

from ..heuristics import SPEED_OF_LIGHT

_GRAIN: Final = 1e-9
"""Positions on a grid that differ by less of a channel are the same."""


@dataclass(frozen=True)
class Axis:
    """A linear spectral axis.

    Attributes
    ----------
    n_chan : int
        Its channels.
    first_hz, step_hz : float
        The centre of channel 0, and the signed width of a channel.
    rest_hz : float
        The rest frequency; 0 where none is known.
    """

    n_chan: int
    first_hz: float
    step_hz: float
    rest_hz: float = 0.0

    def hz(self, channel: float) -> float:
        """Return the centre of a channel."""
        return self.first_hz + channel * self.step_hz

    def channel(self, hertz: float) -> float:
        """Return where a frequency is."""
        return (hertz - self.first_hz) / self.step_hz

    def velocity_km_s(self, channel: float) -> float:
        """Return the velocity of a channel, in the radio definition: c (1 - f / f0)."""
        return SPEED_OF_LIGHT / 1e3 * (1 - self.hz(channel) / self.rest_hz)

    @property
    def width_km_s(self) -> float:
        """The width of a channel in velocity; all are alike in the radio definition."""
        return SPEED_OF_LIGHT / 1e3 * abs(self.step_hz) / self.rest_hz

    def hz_of(self, velocity_m_s: float) -> float:
        """Return the frequency of a velocity in the radio definition."""
        return self.rest_hz * (1 - velocity_m_s / SPEED_OF_LIGHT)

    def boxcar(self, width: int) -> Axis:
        """Return the axis of running means over some channels: fewer, each in their middle."""
        return replace(self, n_chan=self.n_chan - width + 1, first_hz=self.hz(0.5 * (width - 1)))

    def rebinned(self, factor: int) -> Axis:
        """Return the axis of means over some channels; what is left at the end is dropped."""
        return replace(
            self,
            n_chan=self.n_chan // factor,
            first_hz=self.hz(0.5 * (factor - 1)),
            step_hz=factor * self.step_hz,
        )


@dataclass(frozen=True)
class Mix:
    """How a channel is made of others: which, and with which weights."""

    channels: tuple[int, ...]
    weights: tuple[float, ...]


def hanning(axis: Axis, channel: int) -> Mix:
    """Return a channel of a Hanning-smoothed cube: 1/4, 1/2, 1/4; at the ends 1/2, 1/2 (CASA)."""
    if axis.n_chan == 1:
        return Mix((channel,), (1.0,))
    if channel == 0:
        return Mix((0, 1), (0.5, 0.5))
    if channel == axis.n_chan - 1:
        return Mix((channel - 1, channel), (0.5, 0.5))
    return Mix((channel - 1, channel, channel + 1), (0.25, 0.5, 0.25))


def boxcar(width: int, channel: int) -> Mix:
    """Return a channel of running means."""
    return Mix(tuple(range(channel, channel + width)), (1 / width,) * width)


def interpolated(old: Axis, new: Axis, channel: int, *, linear: bool = True) -> Mix:
    """Return a channel of another axis by linear or nearest interpolation; nothing outside."""
    place = old.channel(new.hz(channel))
    if not -_GRAIN <= place <= old.n_chan - 1 + _GRAIN:
        return Mix((), ())
    nearest = round(place)
    if not linear or abs(place - nearest) < 1e-6:
        return Mix((min(max(nearest, 0), old.n_chan - 1),), (1.0,))
    below = min(math.floor(place), old.n_chan - 2)
    share = place - below
    return Mix((below, below + 1), (1 - share, share))
