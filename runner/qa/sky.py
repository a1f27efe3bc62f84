"""Plots of images: maps with sky coordinates, synthesized beam, histogram, spectrum, moments."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from astropy.visualization.wcsaxes import WCSAxes
from astropy.wcs import WCS
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from .metrics import Histogram
from .style import (
    INTENSITY,
    SERIES,
    STYLE,
    VELOCITY,
    WIDTH_IN,
    colour_bar,
    figure,
    logarithmic,
    place,
    row,
    save,
)

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_FRAMES = {"J2000": "FK5", "ICRS": "ICRS", "B1950": "FK4", "GALACTIC": ""}


@dataclass(frozen=True)
class Sky:
    """Direction coordinates of an image and its synthesized beam.

    `reference_pixel` counts from 0; `beam` is (bmaj_arcsec, bmin_arcsec, bpa_deg) or None.
    """

    frame: str
    projection: str
    reference_deg: tuple[float, float]
    reference_pixel: tuple[float, float]
    increment_deg: tuple[float, float]
    beam: tuple[float, float, float] | None = None

    def wcs(self, corner: tuple[int, int] = (0, 0)) -> WCS:
        """Return the coordinates of a cutout that begins at pixel `corner` (x, y)."""
        wcs = WCS(naxis=2)
        longitude, latitude = ("GLON", "GLAT") if self.frame == "GALACTIC" else ("RA--", "DEC-")
        wcs.wcs.ctype = [f"{longitude}-{self.projection}", f"{latitude}-{self.projection}"]
        wcs.wcs.crval = self.reference_deg
        wcs.wcs.cdelt = self.increment_deg
        wcs.wcs.crpix = [p - c + 1 for p, c in zip(self.reference_pixel, corner, strict=True)]
        if _FRAMES.get(self.frame):
            wcs.wcs.radesys = _FRAMES[self.frame]
        return wcs


@dataclass(frozen=True)
class Map:
    """One map to draw: `pixels` has shape (n_y, n_x), NaN where masked.

    `limits` are the values at the colour bar's ends; `contour` outlines a mask;
    of a `response`, the primary beam, the half is drawn as a dashed line; `marks` are
    places (x, y, name) to circle.
    """

    title: str
    pixels: Floats
    unit: str
    limits: tuple[float, float]
    colours: str = INTENSITY
    contour: Bools | None = None
    response: Floats | None = None
    marks: Sequence[tuple[float, float, str]] = ()


@rc_context(STYLE)
def maps(
    path: Path, sky: Sky, drawn: Sequence[Map], box: tuple[int, int, int, int] | None = None
) -> Path:
    """Draw maps of one sky side by side.

    Parameters
    ----------
    path : Path
        The PNG to write.
    sky : Sky
        The maps' coordinates.
    drawn : sequence of Map
        One, two or more maps of the same shape.
    box : tuple of int, optional
        Pixels to show as (left, bottom, right, top); by default all that are valid in a map.
    """
    left, bottom, right, top = box or extent([item.pixels for item in drawn])
    wcs = sky.wcs((left, bottom))
    number = max(2, len(drawn))
    wide = (WIDTH_IN - 0.95 - 1.15 * number) / number
    high = min(1.6 * wide, wide * (top - bottom) / (right - left))
    made = figure(0.95 + len(drawn) * (wide + 1.15), high + 1.1)
    for index, item in enumerate(drawn):
        start = 0.95 + index * (wide + 1.15)
        panel = place(made, (start, 0.65, wide, high), projection=wcs)
        panel.imshow(
            item.pixels[bottom:top, left:right], origin="lower", cmap=item.colours,
            vmin=item.limits[0], vmax=item.limits[1], interpolation="nearest",
        )  # fmt: skip
        if item.contour is not None and item.contour[bottom:top, left:right].any():
            panel.contour(item.contour[bottom:top, left:right].astype(float), levels=[0.5],
                          colors="#56B4E9", linewidths=0.9)  # fmt: skip
        if item.response is not None:
            panel.contour(item.response[bottom:top, left:right], levels=[0.5], colors="white",
                          linewidths=0.9, linestyles="dashed")  # fmt: skip
        _circle(panel, item.marks, (left, bottom))
        panel.set_title(item.title)
        sky_axes(panel, sky, first=index == 0)
        beam_ellipse(panel, sky)
        side = (start + wide + 0.1, 0.65, 0.13, high)
        colour_bar(made, side, item.colours, Normalize(*item.limits), item.unit)
    return save(made, path)


MOST_NAMED: Final = 20
"""Marks with a name beside them: each costs a millisecond, and more would hide the image."""


def _circle(
    panel: Axes, marks: Sequence[tuple[float, float, str]], corner: tuple[int, int]
) -> None:
    """Circle places of a map, and name the first of them."""
    if not marks:
        return
    x, y = (np.array([mark[i] for mark in marks]) - corner[i] for i in (0, 1))
    panel.scatter(x, y, s=110, facecolors="none", edgecolors="#56B4E9", linewidths=1.0, zorder=4)
    for at_x, at_y, (_, _, name) in list(zip(x, y, marks, strict=True))[:MOST_NAMED]:
        panel.annotate(name, (at_x, at_y), (6, 5), textcoords="offset points", fontsize=8.5,
                       color="#9fd8f7", zorder=4)  # fmt: skip


def extent(planes: Sequence[Floats]) -> tuple[int, int, int, int]:
    """Return the box (left, bottom, right, top) that holds all valid pixels, with a margin."""
    valid = np.any([np.isfinite(plane) for plane in planes], axis=0)
    n_y, n_x = valid.shape
    if not valid.any():
        return 0, 0, n_x, n_y
    x = np.flatnonzero(valid.any(axis=0))
    y = np.flatnonzero(valid.any(axis=1))
    margin = max(2, round(0.01 * max(n_x, n_y)))
    return (
        max(0, int(x[0]) - margin),
        max(0, int(y[0]) - margin),
        min(n_x, int(x[-1]) + 1 + margin),
        min(n_y, int(y[-1]) + 1 + margin),
    )


def sky_axes(panel: WCSAxes, sky: Sky, first: bool) -> None:
    """Label right ascension and declination; the declination of the first map only."""
    panel.set_facecolor("#f0f2f4")
    panel.grid(False)
    longitude, latitude = panel.coords
    words = ("l", "b") if sky.frame == "GALACTIC" else ("right ascension", "declination")
    longitude.set_axislabel(f"{words[0]} ({sky.frame})", minpad=0.7)
    latitude.set_axislabel(f"{words[1]} ({sky.frame})" if first else " ", minpad=0.4)
    for axis, place_on in ((longitude, "b"), (latitude, "l")):
        axis.set_ticks(number=5)
        axis.set_ticks_position(place_on)
        axis.set_ticklabel(exclude_overlapping=True, simplify=False, fontsize=9)
        axis.tick_params(length=4, color="#8b949e")
        if sky.frame != "GALACTIC":
            axis.set_major_formatter("hh:mm:ss" if axis is longitude else "dd:mm")
            axis.set_separator(":")
    latitude.set_ticklabel_visible(first)


def beam_ellipse(panel: Axes, sky: Sky) -> None:
    """Draw the synthesized beam in the lower left corner."""
    if sky.beam is None:
        return
    bmaj, bmin, angle = sky.beam
    cell_x, cell_y = (abs(step) * 3600 for step in sky.increment_deg)
    width = panel.get_xlim()[1] - panel.get_xlim()[0]
    height = panel.get_ylim()[1] - panel.get_ylim()[0]
    half = max(0.6 * bmaj / cell_x, 0.018 * width)
    centre = (
        panel.get_xlim()[0] + half + 0.02 * width,
        panel.get_ylim()[0] + half + 0.02 * height,
    )
    # Position angles go from north through east; east is left where RA grows to the left.
    turn = 90 + angle if sky.increment_deg[0] < 0 else 90 - angle
    panel.add_patch(
        Ellipse(centre, bmaj / cell_y, bmin / cell_x, angle=turn, facecolor="white",
                edgecolor="black", linewidth=1.0, zorder=5)
    )  # fmt: skip


@rc_context(STYLE)
def beam_and_histogram(
    path: Path,
    beam: tuple[Floats, Sky] | None,
    histogram: Histogram,
    noise: tuple[float, float, float] | None,
    unit: str,
) -> Path:
    """Draw the synthesized beam and the histogram of the image's pixels.

    Parameters
    ----------
    path : Path
        The PNG to write.
    beam : tuple or None
        The point spread function around its peak, and its coordinates.
    histogram : Histogram
        Counts of the image's pixels.
    noise : tuple or None
        Sigma, centre and number of pixels of the Gaussian to compare with.
    unit : str
        Unit of the pixels.
    """
    made = figure(WIDTH_IN, 4.3)
    if beam is not None:
        _beam_panel(made, *beam)
    _histogram_panel(place(made, (6.6, 0.6, 5.25, 3.3)), histogram, noise, unit)
    return save(made, path)


def _beam_panel(made: Figure, psf: Floats, sky: Sky) -> None:
    """Draw the point spread function with offsets from its peak in arcsec."""
    y, x = np.unravel_index(int(np.nanargmax(psf)), psf.shape)
    step_x, step_y = (step * 3600 for step in sky.increment_deg)
    edges = (
        (-0.5 - x) * step_x,
        (psf.shape[1] - 0.5 - x) * step_x,
        (-0.5 - y) * step_y,
        (psf.shape[0] - 0.5 - y) * step_y,
    )
    panel = place(made, (0.95, 0.6, 3.3, 3.3))
    panel.grid(False)
    # The scale ends at 0.5, so that sidelobes of a few per cent are seen.
    panel.imshow(psf, origin="lower", extent=edges, cmap="RdBu_r", vmin=-0.5, vmax=0.5,
                 interpolation="nearest")  # fmt: skip
    if sky.beam is not None:
        bmaj, bmin, angle = sky.beam
        panel.add_patch(
            Ellipse((0, 0), bmaj, bmin, angle=90 - angle, fill=False, edgecolor="black",
                    linewidth=1.2, linestyle="--")
        )  # fmt: skip
    panel.set_xlabel("offset east (arcsec)")
    panel.set_ylabel("offset north (arcsec)")
    panel.set_title("synthesized beam")
    colour_bar(made, (4.38, 0.6, 0.13, 3.3), "RdBu_r", Normalize(-0.5, 0.5), "response")


def _histogram_panel(
    panel: Axes, histogram: Histogram, noise: tuple[float, float, float] | None, unit: str
) -> None:
    scale, prefix = scaled(float(np.abs(histogram.edges).max()))
    middle = 0.5 * (histogram.edges[1:] + histogram.edges[:-1]) * scale
    panel.stairs(histogram.counts, histogram.edges * scale, fill=True, color="#9ec5e3",
                 label="pixels")  # fmt: skip
    if noise is not None:
        expected = histogram.gaussian(*noise)
        label = f"noise of {noise[0] * scale:.3g} {prefix}{unit}"
        curve = np.where(expected > 0.3, expected, np.nan)
        panel.plot(middle, curve, color=SERIES[1], linewidth=1.6, label=label)
    logarithmic(panel, 0.5, max(2.0, 2.0 * float(histogram.counts.max())))
    if histogram.bend:
        _bent(panel, histogram.bend * scale, histogram.edges[[0, -1]] * scale)
    panel.set_xlabel(f"brightness ({prefix}{unit})")
    panel.set_ylabel("pixels")
    panel.set_title("pixel histogram")
    panel.legend(loc="upper right")


def _bent(panel: Axes, bend: float, ends: Floats) -> None:
    """Make the horizontal axis linear up to a value and logarithmic beyond."""
    panel.set_xscale("asinh", linear_width=bend)
    decades = 10.0 ** np.arange(math.ceil(math.log10(0.8 * bend)), 12)
    ticks = [tick for tick in (0.0, *decades, *-decades) if ends[0] <= tick <= ends[1]]
    panel.xaxis.set_major_locator(FixedLocator(ticks))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def scaled(largest: float) -> tuple[float, str]:
    """Return the factor and the prefix (none, m, µ, n) that make a number readable."""
    for factor, prefix in ((1.0, ""), (1e3, "m"), (1e6, "µ")):
        if largest * factor >= 1:
            return factor, prefix
    return 1e9, "n"


@rc_context(STYLE)
def spectrum(
    path: Path,
    x: tuple[Floats, str],
    peak: tuple[Floats, str],
    total: tuple[Floats, str] | None,
    noise: Floats,
) -> Path:
    """Draw the spectra of a cube: at its brightest pixel and summed over its mask.

    Parameters
    ----------
    path : Path
        The PNG to write.
    x : tuple
        The channels' velocities or frequencies and the axis' label.
    peak : tuple
        Brightness (Jy/beam) by channel and the panel's title.
    total : tuple or None
        Flux density (Jy) by channel and the panel's title.
    noise : array, shape (channels,)
        Noise (Jy/beam) by channel.
    """
    made = figure(WIDTH_IN, 3.6)
    places = row(WIDTH_IN, 2 if total else 1, 0.8, 0.85)
    panels = [place(made, (left, 0.58, wide, 2.65)) for left, wide in places]
    scale, prefix = scaled(float(np.nanmax(np.abs(peak[0]))))
    band = np.nan_to_num(noise) * scale
    panels[0].fill_between(x[0], -band, band, step="mid", color="#dfe3e8", linewidth=0,
                           label="±1 sigma noise")  # fmt: skip
    panels[0].step(x[0], peak[0] * scale, where="mid", color=SERIES[0], linewidth=1.4)
    panels[0].set_ylabel(f"brightness ({prefix}Jy/beam)")
    panels[0].set_title(peak[1])
    panels[0].legend(loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.1)
    if total is not None:
        scale, prefix = scaled(float(np.nanmax(np.abs(total[0]))))
        panels[1].step(x[0], total[0] * scale, where="mid", color=SERIES[2], linewidth=1.4)
        panels[1].set_ylabel(f"flux density ({prefix}Jy)")
        panels[1].set_title(total[1])
    for panel in panels:
        panel.axhline(0, color="#8b949e", linewidth=0.8)
        panel.set_xlabel(x[1])
    return save(made, path)


def brightness_limits(
    pixels: Floats, sigma: float | None, peak: float | None
) -> tuple[float, float]:
    """Return colour limits that show the noise and do not let one source hide the rest.

    From -3 sigma to the peak, but not above 60 sigma.
    """
    finite = pixels[np.isfinite(pixels)]
    if not finite.size:
        return -1.0, 1.0
    if not sigma or peak is None:
        return float(finite.min()), float(finite.max()) or 1.0
    return -3 * sigma, max(6 * sigma, min(peak, 60 * sigma))


def moment_map(number: int, pixels: Floats, unit: str) -> Map:
    """Return the map of a moment: diverging colours about the middle for velocities."""
    finite = pixels[np.isfinite(pixels)]
    titles = {
        -1: "mean brightness",
        0: "moment 0: integrated brightness",
        1: "moment 1: velocity",
        2: "moment 2: velocity dispersion",
        8: "moment 8: peak brightness",
    }
    limits = (0.0, 1.0)
    if finite.size:
        low, high = (float(q) for q in np.quantile(finite, (0.01, 0.995)))
        limits = (low, high) if number in (1, 2) else (min(0.0, low), float(finite.max()))
    return Map(
        title=titles.get(number, f"moment {number}"),
        pixels=pixels,
        unit=unit.replace(".", " "),
        limits=limits,
        colours=VELOCITY if number == 1 else "viridis",
    )
