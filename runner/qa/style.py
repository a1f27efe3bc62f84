"""One look for all plots: readable text, colours that colour-blind people can tell apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

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
