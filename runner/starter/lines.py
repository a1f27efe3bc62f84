"""Spectral windows that look like the setup of a line, and which line it may be."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from ..heuristics import LINES_HZ, SPEED_OF_LIGHT
from ..observation import SpectralWindow


@dataclass(frozen=True)
class Line:
    """A spectral line: a name for files, and its rest frequency in Hz."""

    name: str
    rest_hz: float


LINES: Final = tuple(
    Line(re.sub(r"[^a-z0-9+.-]", "", name.lower()), hertz) for name, hertz in LINES_HZ.items()
)
"""The known lines; their names are safe in files."""

MOST_KM_S: Final = 3000.0
"""A window that spans less than this is taken for the setup of a line."""
FASTEST_KM_S: Final = 4000.0
"""How far from its rest frequency a line is looked for; neutral hydrogen is in all of L band."""


def km_s(hertz: float, at_hz: float) -> float:
    """Return a width in frequency as one in velocity (radio convention), in km/s."""
    return SPEED_OF_LIGHT * hertz / at_hz / 1e3


def narrow(spw: SpectralWindow) -> bool:
    """Tell whether a window looks like the setup of a line.

    Many channels (32 or more) of 25 km/s at most, over 3000 km/s and 1.5 GHz at most: the
    continuum windows of ALMA, which are wider, hold more noise than line.
    """
    width, channel = spw.bandwidth_hz, abs(spw.chan_width_hz)
    return (
        spw.n_chan >= 32
        and width < 1.5e9
        and km_s(width, spw.centre_hz) <= MOST_KM_S
        and km_s(channel, spw.centre_hz) <= 25
    )


def resolved(spw: SpectralWindow) -> bool:
    """Tell whether a wide window could show a line: many channels of 25 km/s at most."""
    channel = km_s(abs(spw.chan_width_hz), spw.centre_hz)
    return spw.n_chan >= 128 and channel <= 25 and not narrow(spw)


def line_in(spw: SpectralWindow) -> tuple[Line, float] | None:
    """Return the line that a window was set up for, and its velocity (km/s) at the centre.

    A rest frequency of the data decides; else the known line that is nearest in velocity.
    """
    known = [line for line in LINES if _within(line.rest_hz, spw)]
    given = [hertz for hertz in spw.rest_hz if _within(hertz, spw) and not _filled_in(hertz, spw)]
    if given:
        name = min(LINES, key=lambda line: abs(line.rest_hz - given[0]))
        label = name.name if abs(name.rest_hz / given[0] - 1) < 1e-4 else f"line{spw.id}"
        return Line(label, given[0]), _velocity(given[0], spw)
    if not known:
        return None
    line = min(known, key=lambda line: abs(_velocity(line.rest_hz, spw)))
    return line, _velocity(line.rest_hz, spw)


def _velocity(rest_hz: float, spw: SpectralWindow) -> float:
    return km_s(rest_hz - spw.centre_hz, rest_hz)


def _filled_in(rest_hz: float, spw: SpectralWindow) -> bool:
    """Tell whether a rest frequency is the window's own, which some writers put in its place."""
    own = (spw.first_hz, spw.last_hz, spw.centre_hz)
    return any(abs(rest_hz - hertz) <= abs(spw.chan_width_hz) for hertz in own) and not any(
        abs(line.rest_hz / rest_hz - 1) < 1e-6 for line in LINES
    )


def _within(rest_hz: float, spw: SpectralWindow) -> bool:
    """Tell whether a line could be seen in a window, at a velocity that galaxies have."""
    low, high = sorted((spw.first_hz, spw.last_hz))
    fastest = 27_000.0 if rest_hz == LINES_HZ["HI"] else FASTEST_KM_S
    return low <= rest_hz * (1 + 500 / 3e5) and rest_hz * (1 - fastest / 3e5) <= high


def free_channels(spw: SpectralWindow) -> str:
    """Guess the channels free of the line: both sides, clear of the band's edges.

    The line is taken to fill 300 km/s about the centre (a spiral galaxy's width), but between
    a third and seven tenths of the window; the outer twentieth at each edge is left out.

    Returns
    -------
    str
        Such as ``3~8;54~59``.
    """
    n = spw.n_chan
    edge = max(1, round(0.05 * n))
    share = min(0.7, max(0.33, 300 / km_s(spw.bandwidth_hz, spw.centre_hz)))
    half = round(0.5 * share * n)
    return f"{edge}~{n // 2 - half - 1};{n // 2 + half}~{n - 1 - edge}"
