"""Small multiples, one a antenna, drawn as a single axes.

Matplotlib takes 10 to 20 ms for each axes; 28 antennas in amplitude and phase would cost a
second. Here the tiles are drawn into one axes by shifting and scaling the points.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from .style import FLAGGED, INK, SERIES, STYLE, WIDTH_IN, figure, place, save, short

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

GAP = 0.12
HEAD = 0.2
"""Share of a tile's height that holds its name."""


@dataclass(frozen=True)
class Series:
    """Points of one colour: `tile` says in which tile each is; `good` is False where flagged."""

    label: str
    tile: Ints
    x: Floats
    y: Floats
    good: Bools


@dataclass(frozen=True)
class Axis:
    """Range of an axis that all tiles share, its ticks, and how a tick is written."""

    label: str
    low: float
    high: float
    ticks: tuple[float, ...]
    write: Callable[[float], str]

    def scaled(self, values: Floats) -> Floats:
        """Map the range to 0..1, holding what lies outside at its ends."""
        span = (self.high - self.low) or 1.0
        return np.clip((values - self.low) / span, 0.0, 1.0)


@rc_context(STYLE)
def draw(
    path: Path,
    title: str,
    names: Sequence[str],
    series: Sequence[Series],
    axes: tuple[Axis, Axis],
    lines: bool,
) -> Path:
    """Draw one tile an antenna.

    Parameters
    ----------
    path : Path
        The PNG to write.
    title : str
        What is shown.
    names : sequence of str
        Name of each tile.
    series : sequence of Series
        What to draw; flagged points become a row of red marks at the tile's foot.
    axes : tuple of Axis
        Horizontal and vertical axis of every tile.
    lines : bool
        Join points of a series within a tile.
    """
    columns = _columns(len(names))
    n_rows = math.ceil(len(names) / columns)
    made = figure(WIDTH_IN, 1.0 + 1.1 * n_rows)
    panel = place(made, (0.72, 0.58, WIDTH_IN - 0.85, 1.1 * n_rows))
    _frames(panel, names, columns, n_rows)
    seen = np.zeros(len(names), bool)
    for number, item in enumerate(series):
        seen[np.unique(item.tile[item.good])] = True
        _points(panel, item, axes, columns, SERIES[number % len(SERIES)], lines)
    for tile in np.flatnonzero(~seen):
        column, row = tile % columns, tile // columns
        panel.text(column * (1 + GAP) + 0.5, row * (1 + GAP) + 0.5, "no solutions",
                   ha="center", va="center", color="#8b949e", fontsize=9)  # fmt: skip
    _ticks(made, panel, axes, columns, n_rows, len(names))
    panel.set_title(title)
    _legend(panel, series)
    return save(made, path)


def _columns(number: int) -> int:
    """Return how many tiles go in a row: 6 to 9, leaving few places empty."""
    if number <= 6:
        return max(4, number)
    return min(range(9, 5, -1), key=lambda columns: -number % columns)


def _frames(panel: Axes, names: Sequence[str], columns: int, n_rows: int) -> None:
    """Draw the tiles' outlines and names."""
    outlines = []
    for tile, name in enumerate(names):
        left, top = (tile % columns) * (1 + GAP), (tile // columns) * (1 + GAP)
        corners = [(left, top), (left + 1, top), (left + 1, top + 1), (left, top + 1), (left, top)]
        outlines.append(corners)
        panel.text(left + 0.03, top + 0.04, short(name, 12), va="top", fontsize=9.5, color=INK,
                   fontweight="bold", zorder=4)  # fmt: skip
    panel.add_collection(LineCollection(outlines, colors="#d0d7de", linewidths=0.8, zorder=0))
    panel.set_xlim(-0.02, columns * (1 + GAP) - GAP + 0.02)
    panel.set_ylim(n_rows * (1 + GAP) - GAP + 0.03, -0.03)


def _points(
    panel: Axes, item: Series, axes: tuple[Axis, Axis], columns: int, colour: str, lines: bool
) -> None:
    """Draw a series in all tiles at once; a NaN between tiles breaks the line."""
    order = np.lexsort((item.x, item.tile))
    tile, good = item.tile[order], item.good[order]
    x = (tile % columns) * (1 + GAP) + axes[0].scaled(item.x[order])
    # The panel's y axis points down, so that tile 0 is at the top.
    top = (tile // columns) * (1 + GAP)
    y = np.where(good, top + 1 - (1 - HEAD) * axes[1].scaled(item.y[order]), np.nan)
    if lines:
        breaks = np.flatnonzero(np.diff(tile)) + 1
        panel.plot(np.insert(x, breaks, np.nan), np.insert(y, breaks, np.nan),
                   color=colour, linewidth=1.1, alpha=0.9, zorder=2)  # fmt: skip
    else:
        panel.plot(x, y, linestyle="none", marker="o", markersize=3.2, markeredgewidth=0,
                   color=colour, alpha=0.85, zorder=2)  # fmt: skip
    panel.plot(x[~good], top[~good] + 0.975, linestyle="none", marker="|", markersize=4,
               markeredgewidth=1.0, color=FLAGGED, zorder=3)  # fmt: skip


def _ticks(
    made: Figure, panel: Axes, axes: tuple[Axis, Axis], columns: int, n_rows: int, n_tiles: int
) -> None:
    """Write the horizontal axis below the last row, the vertical one left of the first column.

    As texts: a tick of Matplotlib takes three times as long.
    """
    panel.set_axis_off()
    horizontal, vertical = axes
    foot = n_rows * (1 + GAP) - GAP
    look: Any = {"fontsize": 8.5, "color": "#57606a"}
    for column in range(n_tiles - columns * (n_rows - 1)):
        for value in horizontal.ticks:
            x = column * (1 + GAP) + float(horizontal.scaled(np.array(value)))
            panel.text(x, foot + 0.06, horizontal.write(value), ha="center", va="top", **look)
    for row in range(n_rows):
        for value in vertical.ticks:
            y = row * (1 + GAP) + 1 - (1 - HEAD) * float(vertical.scaled(np.array(value)))
            text = vertical.write(value)
            panel.text(-0.04, y, text, ha="right", va="center_baseline", **look)
    box = panel.get_position()
    made.text((box.x0 + box.x1) / 2, 0.1 * box.y0, horizontal.label, ha="center", va="bottom")
    made.text(0.1 * box.x0, (box.y0 + box.y1) / 2, vertical.label, rotation=90, ha="left",
              va="center")  # fmt: skip


def _legend(panel: Axes, series: Sequence[Series]) -> None:
    handles = [
        panel.plot([], [], color=SERIES[number % len(SERIES)], linewidth=3, label=item.label)[0]
        for number, item in enumerate(series)
    ]
    if any(not item.good.all() for item in series):
        handles.extend(
            panel.plot([], [], linestyle="none", marker="|", markersize=8, markeredgewidth=1.6,
                       color=FLAGGED, label="flagged solution")
        )  # fmt: skip
    panel.legend(handles=handles, loc="lower right", bbox_to_anchor=(1, 1), ncols=len(handles),
                 borderaxespad=0.2)  # fmt: skip
