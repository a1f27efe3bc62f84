"""Plots of visibilities and calibration tables by hand: ``casarun plot``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes

from ..casa import visibility_axes as axes
from ..casa.visibility_average import Averaging
from ..casa.visibility_bins import Cloud, Plot, fill
from ..casa.visibility_blocks import choose, column
from ..casa.visibility_contents import Contents, contents
from ..errors import DataError
from . import visibility_panels as panels
from .style import STYLE, WIDTH_IN, figure, place, save, short

FORMATS: Final = (".png", ".pdf", ".svg")
MOST_PANELS: Final = 16
"""Panels of one picture; more pages go to more pictures."""
MOST_PICTURES: Final = 40
_ABOVE, _BELOW, _GAP = 0.75, 0.65, 0.25  # of the panels and between them, in inches


@dataclass(frozen=True)
class Request:
    """What to plot.

    Attributes
    ----------
    x : str
        An axis; empty for what suits the data.
    y : tuple of str
        Axes, one panel each; none for what suits the data.
    selection : mapping
        CASA's selection parameters, by name.
    column : str
        One of `visibility_blocks.COLUMNS`; empty for corrected data, where there are any.
    colour, page : str
        What to tell apart by colour, and by panels.
    averaging : Averaging or None
    x_range, y_range : (float, float) or None
    """

    x: str = ""
    y: tuple[str, ...] = ()
    selection: Mapping[str, str] = field(default_factory=dict)
    column: str = ""
    colour: str = ""
    page: str = ""
    averaging: Averaging | None = None
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None


@dataclass(frozen=True)
class Drawn:
    """The pictures, and how many visibilities or solutions are in them."""

    paths: tuple[Path, ...]
    number: int
    what: str


def draw(vis: Path, wanted: Request, out: Path | None = None) -> Drawn:
    """Plot an MS or a calibration table.

    Parameters
    ----------
    vis : Path
        The MS or table; it is not changed.
    wanted : Request
        What to plot.
    out : Path, optional
        The picture, ``.png``, ``.pdf`` or ``.svg``. By default one in the current folder that is
        named after the data and the axes. Where one picture cannot hold all pages, there come
        ``NAME-2.png`` and so on.

    Raises
    ------
    DataError
        If the data cannot be read, have no such axis or column, or nothing is selected; the message
        says what there is.
    """
    if out is not None and out.suffix.lower() not in FORMATS:
        raise DataError(f"{out}: a picture is written as {', '.join(FORMATS)}")
    about = contents(vis)
    x, ys = wanted.x or _usual_x(about), wanted.y or _usual_y(about)
    if wanted.x_range and axes.axis(x, about).name == "time":
        raise DataError("a part of the time is chosen by --timerange, not by --x-range")
    cells = (512, 256) if wanted.page else (1024, 512)
    clouds = [
        Cloud(about, Plot(x, y, wanted.colour, wanted.page, cells, wanted.x_range, wanted.y_range))
        for y in ys
    ]  # fmt: skip
    needs_data = any("data" in cloud.needs() for cloud in clouds)
    what = column(about, wanted.column) if not about.is_caltable and needs_data else ""
    if needs_data and not what and not about.is_caltable:
        raise DataError(f"{vis} has no visibilities: no DATA, CORRECTED_DATA or FLOAT_DATA")
    fill(vis, about, clouds, choose(about, wanted.selection), what, wanted.averaging)
    if not any(cloud.number for cloud in clouds):
        raise DataError(f"{vis}: all that is selected is flagged or outside of the ranges")
    out = out or Path(f"{vis.name}.{'+'.join(cloud.reader.y_axis.name for cloud in clouds)}"
                      f"-{clouds[0].reader.x_axis.name}.png")  # fmt: skip
    picture = _Picture(about, wanted, what, clouds)
    return Drawn(picture.save(out), max(cloud.number for cloud in clouds), picture.things)


def _usual_x(about: Contents) -> str:
    return "frequency" if about.kind in ("B Jones", "Df Jones", "B TSYS", "Bf Jones") else "time"


def _usual_y(about: Contents) -> tuple[str, ...]:
    if not about.is_caltable:
        return ("amp",)
    if about.kind.startswith("K"):
        return ("delay",)
    return ("amp", "phase") if "CPARAM" in about.columns else ("real",)


class _Picture:
    """The panels of a plot, and where they go."""

    def __init__(self, about: Contents, wanted: Request, what: str, clouds: list[Cloud]) -> None:
        self.about, self.wanted, self.what, self.clouds = about, wanted, what, clouds
        self.things = "solutions" if about.is_caltable else "visibilities"
        if wanted.averaging is not None:
            self.things = f"averages of {self.things}"
        seen = sorted({key for cloud in clouds for key, _ in cloud.counts()})
        self.pages = sorted({page for page, _ in seen})
        colour, self.page_axis = clouds[0].reader.colour, clouds[0].reader.page
        named = axes.names(colour, about) if colour else str
        self.palette = panels.palette(
            _title_of(colour, about), sorted({kind for _, kind in seen}), named
        )
        self.frames = [panels.frame(cloud) for cloud in clouds]

    def save(self, out: Path) -> tuple[Path, ...]:
        """Draw and write all pictures."""
        per_picture = max(1, MOST_PANELS // len(self.clouds)) if self.wanted.page else 1
        groups = [
            self.pages[start : start + per_picture]
            for start in range(0, len(self.pages), per_picture)
        ]
        if len(groups) > MOST_PICTURES:
            raise DataError(
                f"{len(self.pages)} panels are more than the {MOST_PICTURES * per_picture} that "
                "are drawn at once: select some of them"
            )
        paths = []
        for number, group in enumerate(groups):
            name = out.name if number == 0 else f"{out.stem}-{number + 1}{out.suffix}"
            paths.append(self._one(group, out.with_name(name)))
        return tuple(paths)

    def _one(self, pages: list[int], path: Path) -> Path:
        """Draw the panels of some pages and write them."""
        columns = 1 if len(pages) == 1 else min(4, math.ceil(math.sqrt(len(pages))))
        rows = math.ceil(len(pages) / columns) * len(self.clouds)
        side = 2.1 if len(self.palette.ids) > 1 else 0.25
        high = {1: 4.4, 2: 3.3}.get(rows, 2.0)
        height = _ABOVE + _BELOW + rows * (high + _GAP) - _GAP
        wide = (WIDTH_IN - 0.95 - side - _GAP * (columns - 1)) / columns
        with rc_context(STYLE):
            made = figure(WIDTH_IN, height)
            for index, page in enumerate(pages):
                row, column = divmod(index, columns)
                for number in range(len(self.clouds)):
                    down = (row * len(self.clouds) + number) * (high + _GAP)
                    box = (0.95 + column * (wide + _GAP), height - _ABOVE - down - high, wide, high)
                    panel = place(made, box)
                    self._panel(panel, number, page)
                    last = index + columns >= len(pages) and number == len(self.clouds) - 1
                    self._outer(panel, column, columns, bottom=last)
            points = self.clouds[0].points is not None
            panels.legend(made, self.palette, (WIDTH_IN - side + 0.15, height - _ABOVE),
                          markers=points)  # fmt: skip
            made.text(0.3 / WIDTH_IN, 1 - 0.12 / height, self._title(), va="top", fontsize=12,
                      fontweight="bold")  # fmt: skip
            made.text(0.3 / WIDTH_IN, 1 - 0.38 / height, self._details(), va="top", fontsize=9,
                      color="#57606a")  # fmt: skip
            if path.suffix.lower() == ".png":
                return save(made, path)
            path.parent.mkdir(parents=True, exist_ok=True)
            made.savefig(path)
            return path

    def _panel(self, panel: Axes, number: int, page: int) -> None:
        cloud = self.clouds[number]
        drawn = panels.panel(
            panel, cloud, page, self.palette, self.frames[number], 8 if len(self.pages) < 3 else 4
        )
        panel.set_ylabel(self._label(cloud.reader.y_axis))
        if cloud.reader.x_axis.name != "time":  # which has its date
            panel.set_xlabel(self._label(cloud.reader.x_axis))
        if self.page_axis is not None and number == 0:
            name = short(axes.names(self.page_axis, self.about)(page), 26)
            bare = self.page_axis.names is not None or self.page_axis.name == "baseline"
            word = "" if bare else f"{self.page_axis.name} "
            panel.set_title(f"{word}{name}", fontsize=9, pad=3)
        if not drawn:
            panel.text(0.5, 0.5, "nothing unflagged", transform=panel.transAxes, ha="center",
                       color="#8b949e")  # fmt: skip

    def _outer(self, panel: Axes, column: int, columns: int, *, bottom: bool) -> None:
        """Leave labels and tick labels to the outer panels."""
        if column:
            panel.set_ylabel("")
            panel.tick_params(labelleft=False)
        if not bottom:
            panel.set_xlabel("")
            panel.tick_params(labelbottom=False)
        elif column and columns > 2 and self.clouds[0].reader.x_axis.name == "time":
            panel.set_xlabel("")  # with its date it is too long for each

    def _label(self, axis: axes.Axis) -> str:
        unit = axis.unit
        if unit == "Jy" and self.about.is_caltable:
            unit = ""
        elif unit == "Jy" and self.what in ("data", "float", "data-model"):
            unit = "as in DATA"  # which may be calibrated, or not
        return f"{axis.label} ({unit})" if unit else axis.label

    def _title(self) -> str:
        ys = " and ".join(cloud.reader.y_axis.label for cloud in self.clouds)
        what = f" ({self.what})" if self.what else ""
        name = short(Path(self.about.path).name, 50)
        return f"{name}: {ys}{what} against {self.clouds[0].reader.x_axis.label}"

    def _details(self) -> str:
        parts = [f"{name} {text}" for name, text in self.wanted.selection.items() if text.strip()]
        averaging = self.wanted.averaging
        if averaging is not None:
            kind = "scalar" if averaging.scalar else "vector"
            length = "each scan" if np.isinf(averaging.time_s) else f"{averaging.time_s:g} s"
            channels = f"{averaging.channels} channels" if averaging.channels else "all channels"
            said = [channels] if averaging.channels != 1 else []
            said += [length] if averaging.time_s > 0 else []
            parts.append(f"{kind} average of {' and '.join(said) or 'nothing'}")
        if self.about.is_caltable:
            parts.insert(0, self.about.kind)
        number = max(cloud.number for cloud in self.clouds)
        parts.append(f"{number:,} unflagged {self.things}".replace(",", "\u202f"))
        return " · ".join(short(part, 80) for part in parts)


def _title_of(colour: axes.Axis | None, about: Contents) -> str:
    if colour is None:
        return ""
    return "feed" if colour.name == "corr" and about.is_caltable else colour.label
