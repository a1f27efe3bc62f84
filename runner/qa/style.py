"""One look for all plots: readable text, colours that colour-blind people can tell apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

DPI = 100
WIDTH_IN = 12.0

# Okabe & Ito 2008, "Color Universal Design", without its yellow (too light on white).
SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#444444")
FLAGGED = "#C43C39"
INK = "#24292f"
FAINT = "#d4d8dd"

INTENSITY = "inferno"
DENSITY = "cividis"
VELOCITY = "RdBu_r"

STYLE: Any = {
    "figure.dpi": DPI,
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 10.5,
    "text.hinting": "none",  # a third of the time of a text
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.titley": 1.0,  # a fixed height; finding one costs a fifth of the drawing
    "axes.labelsize": 10.5,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#8b949e",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e8eb",
    "grid.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": "#57606a",
    "ytick.color": "#57606a",
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
}


def figure(width_in: float, height_in: float) -> Figure:
    """Return an empty figure with its own canvas; no pyplot, so nothing is kept alive.

    Panels are placed by hand: matplotlib's layout engines draw everything twice.
    """
    made = Figure(figsize=(width_in, height_in))
    FigureCanvasAgg(made)
    return made


def place(made: Figure, box: tuple[float, float, float, float], projection: Any = None) -> Axes:
    """Add a panel at (left, bottom, width, height) in inches."""
    width, height = made.get_size_inches()
    left, bottom, wide, high = box
    area = (left / width, bottom / height, wide / width, high / height)
    added: Axes = made.add_axes(area, projection=projection)
    return added


def colour_bar(
    made: Figure,
    box: tuple[float, float, float, float],
    colours: str,
    norm: Normalize,
    label: str,
    ticks: Sequence[float] = (),
) -> None:
    """Draw the scale of an image's colours at (left, bottom, width, height) in inches.

    Without axes of its own, which would take as long as those of the image.
    """
    left, bottom, wide, high = (round(DPI * side) for side in box)
    pixels = colormaps[colours](np.linspace(0, 1, high), bytes=True)
    made.figimage(np.repeat(pixels[:, None], wide, axis=1), left, bottom, origin="lower")
    width, height = made.get_size_inches() * DPI
    at = np.array(ticks) if len(ticks) else _round_numbers(norm)
    text = [f"{value:g}" for value in at] if len(ticks) else written(at)
    for where, words in zip(norm(at), text, strict=True):
        y = (bottom + high * float(where)) / height
        x = np.array([left + wide, left + wide + 5]) / width
        made.add_artist(Line2D(x, [y, y], color="#8b949e", linewidth=0.8))
        made.text(x[1] + 3 / width, y, words, va="center_baseline", fontsize=9.5, color="#57606a")
    longest = max((len(words) for words in text), default=1)
    right = left + wide + 14 + 7.5 * longest
    made.text(right / width, (bottom + high / 2) / height, label, rotation=90, va="center")


def _round_numbers(norm: Normalize) -> npt.NDArray[np.float64]:
    """Return some round numbers on a scale."""
    low, high = norm.vmin or 0.0, norm.vmax or 0.0
    ticks = np.asarray(MaxNLocator(5).tick_values(low, high))
    return ticks[(ticks >= low) & (ticks <= high)]


def written(ticks: npt.NDArray[np.float64]) -> list[str]:
    """Return numbers with as many digits as tell them apart."""
    if len(ticks) < 2:
        return [f"{value:.3g}" for value in ticks]
    step = float(ticks[1] - ticks[0])
    if not 1e-4 <= step < 1e5:
        return [f"{value:.3g}" for value in ticks]
    digits = max(0, math.ceil(-math.log10(step) - 1e-9))
    return [f"{value + 0.0:.{digits}f}" for value in ticks]


def logarithmic(panel: Axes, low: float, high: float) -> None:
    """Make the vertical axis logarithmic, with few ticks in plain letters.

    Matplotlib's own take 90 ms: it sets powers as mathematics, and nine ticks a decade.
    """
    panel.set_yscale("log")
    panel.set_ylim(low, high)
    decades = math.log10(high / low)
    panel.yaxis.set_major_locator(
        LogLocator(subs=(1.0,) if decades > 2 else (1.0, 2.0, 5.0), numticks=8)
    )
    panel.yaxis.set_minor_locator(NullLocator())
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: power(value)))


def power(value: float) -> str:
    """Write a number of a logarithmic axis: 0.01, 1, 500, 10³."""
    if value <= 0:
        return ""
    exponent = math.log10(value)
    if -3 <= exponent < 3 or abs(exponent - round(exponent)) > 1e-6:
        return f"{value:g}"
    return "10" + str(round(exponent)).translate(_RAISED)


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def row(
    width_in: float, number: int, left: float, gap: float, right: float = 0.15
) -> list[tuple[float, float]]:
    """Return (left, width) in inches of some equal panels side by side."""
    wide = (width_in - left - right - gap * (number - 1)) / number
    return [(left + i * (wide + gap), wide) for i in range(number)]


def save(made: Figure, path: Path) -> Path:
    """Write a figure as PNG; its bytes do not depend on the time or on matplotlib's version."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Level 3 takes a third of the default's time for a tenth more bytes.
    made.savefig(path, format="png", metadata={"Software": None}, pil_kwargs={"compress_level": 3})
    return path


def short(text: str, length: int = 22) -> str:
    """Shorten a name from data to what a label can hold; a dollar sign starts no mathematics."""
    cut = text if len(text) <= length else f"{text[: length - 1]}…"
    return cut.replace("$", r"\$")
