"""Draw what `casa.visibility_bins` counted: points where they are few, densities where not.

Up to seven kinds have colours of their own that colour-blind people can tell apart, and points
have markers of their own; more kinds go along a scale from dark to light, which is monotonic in
brightness.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ..casa.visibility_bins import Cloud, Points
from .plots import time_axis
from .style import SERIES, short

Floats = npt.NDArray[np.float64]
Values = npt.NDArray[Any]

MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X")
MOST_NAMES: Final = 30
SCALE: Final = "viridis"


@dataclass(frozen=True)
class Palette:
    """The colour of each kind, by id, in the order of the ids."""

    title: str
    ids: tuple[int, ...]
    names: tuple[str, ...]
    colours: tuple[tuple[float, float, float], ...]

    @property
    def distinct(self) -> bool:
        """Whether each kind has a colour of its own."""
        return len(self.ids) <= len(SERIES)

    def rank(self, ids: Values) -> Values:
        """Return the place of each id in the order."""
        return np.searchsorted(np.array(self.ids), ids)


def palette(title: str, ids: Sequence[int], name: Callable[[int], str]) -> Palette:
    """Give each kind its colour."""
    ids = sorted(ids)
    if len(ids) <= len(SERIES):
        colours = tuple(to_rgb(SERIES[i]) for i in range(len(ids)))
    else:
        # Not to the end: the lightest yellow is not seen on white.
        scale = colormaps[SCALE](np.linspace(0, 0.93, len(ids)))
        colours = tuple(tuple(float(part) for part in one[:3]) for one in scale)  # type: ignore[misc]
    return Palette(title, tuple(ids), tuple(name(one) for one in ids), colours)


@dataclass(frozen=True)
class Frame:
    """The ranges that all panels of a plot share."""

    x: tuple[float, float]
    y: tuple[float, float]


def frame(cloud: Cloud) -> Frame:
    """Return what holds all that was counted, with a margin; a range that was asked for stays."""
    ranges = []
    for number, (axis, wanted) in enumerate(
        ((cloud.x, cloud.plot.x_range), (cloud.y, cloud.plot.y_range))
    ):
        if wanted is not None:
            ranges.append(wanted)
            continue
        occupied = np.zeros(axis.cells, bool)
        for _, counts in cloud.counts():
            occupied |= counts.any(axis=1 - number)
        first, last = (np.flatnonzero(occupied)[[0, -1]]) if occupied.any() else (0, axis.cells - 1)
        low, high = float(axis.edges[first]), float(axis.edges[last + 1])
        margin = 0.02 * (high - low)
        if (cloud.reader.x_axis, cloud.reader.y_axis)[number].name == "time":
            margin = max(margin, 30.0)
        # An amplitude's axis begins at 0 where that is near.
        begins_at_0 = 0 <= low < 0.25 * high and not cloud.reader.x_axis.whole * (number == 0)
        ranges.append((0.0 if begins_at_0 else low - margin, high + margin))
    return Frame(*ranges)


def panel(
    axes: Axes, cloud: Cloud, page: int, colours: Palette, shown: Frame, n_ticks: int = 8
) -> int:
    """Draw a page of a plot into a panel; return how many visibilities that are."""
    layers = {key[1]: counts for key, counts in cloud.counts() if key[0] == page}
    points = cloud.points
    if points is None:
        number = _density(axes, cloud, layers, colours, shown)
    else:
        number = _points(axes, points, page, colours)
    axes.set_xlim(*shown.x)
    axes.set_ylim(*shown.y)
    _ticks(axes, cloud, shown, n_ticks)
    return number


def _points(axes: Axes, points: Points, page: int, colours: Palette) -> int:
    mine = points.page == page
    rank = colours.rank(points.colour)
    size = 14.0 if mine.sum() < 2000 else 5.0
    for place in np.unique(rank[mine]).tolist():
        some = mine & (rank == place)
        marker = MARKERS[place] if colours.distinct else "o"
        axes.scatter(
            points.x[some], points.y[some], s=size, marker=marker, linewidths=0, alpha=0.85,
            color=colours.colours[place], zorder=2, rasterized=True,
        )  # fmt: skip
    return int(mine.sum())


def _density(
    axes: Axes, cloud: Cloud, layers: dict[int, Values], colours: Palette, shown: Frame
) -> int:
    """Draw counts: the more, the darker; of several kinds in one place the mixed colour."""
    if not layers:
        return 0
    total = np.zeros((cloud.x.cells, cloud.y.cells))
    mixed = np.zeros((cloud.x.cells, cloud.y.cells, 3))
    weight = np.zeros_like(total)
    for kind, counts in layers.items():
        total += counts
        # By logarithms, so that a few of one kind show among very many of another.
        share = np.log1p(spread(counts, axes))
        weight += share
        mixed += share[..., None] * np.array(colours.colours[int(colours.rank(np.array(kind)))])
    number = int(total.sum())
    dense = spread(total, axes)
    strength = np.log1p(dense) / max(math.log1p(float(dense.max())), 1e-9)
    opacity = np.where(dense > 0, 0.3 + 0.7 * strength, 0.0)
    image = np.zeros((*total.shape, 4))
    image[..., :3] = mixed / np.maximum(weight, 1e-12)[..., None]
    if len(colours.ids) == 1:
        image[..., :3] = colormaps["cividis_r"](strength)[..., :3]
        opacity = np.where(dense > 0, 1.0, 0.0)
    image[..., 3] = opacity
    axes.imshow(
        np.round(255 * image.transpose(1, 0, 2)).astype(np.uint8),
        origin="lower", aspect="auto", interpolation="nearest", zorder=2,
        extent=(cloud.x.low, cloud.x.high, cloud.y.low, cloud.y.high),
    )  # fmt: skip
    return number


def spread(counts: Values, axes: Axes | None = None) -> Values:
    """Let single counts cover their neighbours where few cells have any, so that they are seen."""
    occupied = np.count_nonzero(counts)
    if occupied > 0.03 * counts.size or min(counts.shape) < 100:
        return counts
    wider = counts.copy()
    for axis in (0, 1):
        old = wider.copy()
        near, far = [slice(None)] * 2, [slice(None)] * 2
        near[axis], far[axis] = slice(1, None), slice(None, -1)
        wider[tuple(near)] = np.maximum(wider[tuple(near)], old[tuple(far)])
        wider[tuple(far)] = np.maximum(wider[tuple(far)], old[tuple(near)])
    return wider


def _ticks(axes: Axes, cloud: Cloud, shown: Frame, n_ticks: int) -> None:
    for one, which, (low, high), most in (
        (cloud.reader.x_axis, axes.xaxis, shown.x, n_ticks),
        (cloud.reader.y_axis, axes.yaxis, shown.y, 6),
    ):
        if one.name == "time" and which is axes.xaxis:
            time_axis(axes, np.array([low, high]), most)
            axes.set_xlim(low, high)
        elif one.names is not None:
            names = one.names(cloud.reader.contents)
            which.set_major_locator(MaxNLocator(most, integer=True))
            which.set_major_formatter(FuncFormatter(_named(names)))
        elif one.whole:
            which.set_major_locator(MaxNLocator(most, integer=True))
        elif one.name == "phase" and high - low > 300:
            which.set_ticks([-180, -90, 0, 90, 180])
        else:
            which.set_major_locator(MaxNLocator(most))


def _named(names: Any) -> Callable[[float, Any], str]:
    def write(value: float, _: Any) -> str:
        known = names.get(round(value)) if abs(value - round(value)) < 0.01 else None
        return short(str(known), 14) if known is not None else ""

    return write


def legend(made: Figure, colours: Palette, corner: tuple[float, float], *, markers: bool) -> None:
    """Name the colours below a corner (inches); of many, at most `MOST_NAMES` evenly spread."""
    if len(colours.ids) < 2:
        return
    chosen = np.unique(np.linspace(0, len(colours.ids) - 1, min(len(colours.ids), MOST_NAMES))
                       .round().astype(int))  # fmt: skip
    handles = [
        Line2D([], [], linestyle="none", markersize=7, color=colours.colours[i],
               marker=MARKERS[i] if markers and colours.distinct else "o",
               label=short(colours.names[i], 20))
        for i in chosen
    ]  # fmt: skip
    title = colours.title
    if len(chosen) < len(colours.ids):
        title += f"\n({len(chosen)} of {len(colours.ids)} named)"
    width, height = made.get_size_inches()
    made.legend(
        handles=handles, title=title, loc="upper left", borderaxespad=0.0, handletextpad=0.3,
        bbox_to_anchor=(corner[0] / width, corner[1] / height), fontsize=8.5, title_fontsize=9,
    )  # fmt: skip
