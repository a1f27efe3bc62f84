"""Charts as shapes with numbers for places: a template draws them as SVG, in the page's colours.

They cost a few milliseconds where a Matplotlib figure costs a tenth of a second, follow light and
dark, and stay sharp in print. Text that came from data is text here; the template escapes it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

Point = tuple[float, float]
Shape = dict[str, Any]

WIDTH: Final = 1000.0
"""Width of a chart in its own units, which are pixels where there is room."""
N_COLOURS: Final = 9
_LEFT, _RIGHT, _TOP, _BOTTOM = 62.0, 14.0, 10.0, 40.0


@dataclass
class Canvas:
    """Shapes of one chart, in the order in which they are drawn.

    Attributes
    ----------
    width, height : float
        Size in its own units.
    label : str
        What it shows, for who cannot see it.
    """

    width: float
    height: float
    label: str
    shapes: list[Shape] = field(default_factory=list)
    legend: list[tuple[str, str]] = field(default_factory=list)

    def rect(
        self, corner: Point, size: Point, colour: str, title: str = "", href: str = ""
    ) -> None:
        """Add a rectangle: its upper left corner, width and height."""
        self.shapes.append({
            "kind": "rect", "x": round(corner[0], 1), "y": round(corner[1], 1),
            "w": round(max(size[0], 0.0), 1), "h": round(max(size[1], 0.0), 1), "class": colour,
            "title": title, "href": href,
        })  # fmt: skip

    def line(self, points: Iterable[Point], colour: str) -> None:
        """Add a line through points."""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        if path:
            self.shapes.append({"kind": "line", "points": path, "class": colour})

    def dot(self, at: Point, colour: str, title: str = "", radius: float = 3.5) -> None:
        """Add a point."""
        self.shapes.append({
            "kind": "dot", "x": round(at[0], 1), "y": round(at[1], 1), "r": radius,
            "class": colour, "title": title,
        })  # fmt: skip

    def text(self, at: Point, text: str, anchor: str = "middle", turn: float = 0.0) -> None:
        """Add words, turned by some degrees about their place."""
        self.shapes.append({
            "kind": "text", "x": round(at[0], 1), "y": round(at[1], 1), "text": text,
            "anchor": anchor, "turn": turn,
        })  # fmt: skip

    def drawn(self) -> dict[str, Any]:
        """Return what the template takes."""
        return {
            "width": round(self.width, 1), "height": round(self.height, 1), "label": self.label,
            "shapes": self.shapes, "legend": self.legend,
        }  # fmt: skip


@dataclass(frozen=True)
class Scale:
    """Turns a value into a place: `low` to `start`, `high` to `end`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the place of a value; one beyond the ends stands at the end."""
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        return self.start + min(1.0, max(0.0, share)) * (self.end - self.start)


def ticks(low: float, high: float, number: int = 5) -> list[float]:
    """Return round values between two values."""
    span = high - low
    if not math.isfinite(span) or span <= 0:
        return [low]
    raw = span / number
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(s * power for s in (1, 2, 2.5, 5, 10) if s * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def clock_ticks(low: float, high: float, number: int = 8) -> list[float]:
    """Return whole minutes, or hours or days, between two times in seconds."""
    steps = (60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
    step = next((s for s in steps if (high - low) / s <= number), 0)
    step = step or 86400 * math.ceil((high - low) / number / 86400)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [float(count * step) for count in range(first, last + 1)] or [low]


def plain(value: float) -> str:
    """Write a tick."""
    return f"{value:.6g}"


def frame(
    canvas: Canvas,
    horizontal: Scale | None,
    vertical: Scale,
    names: tuple[str, str],
    write: tuple[Callable[[float], str], Callable[[float], str]] = (plain, plain),
    along: Callable[[float, float, int], list[float]] = ticks,
) -> None:
    """Draw axes with their ticks and grid; no ticks along x where `horizontal` is None."""
    left, right = _LEFT, canvas.width - _RIGHT
    for value in ticks(vertical.low, vertical.high):
        y = vertical(value)
        canvas.line([(left, y), (right, y)], "grid")
        canvas.text((left - 6, y + 4), write[1](value), "end")
    for value in along(horizontal.low, horizontal.high, 8) if horizontal else ():
        x = horizontal(value)  # type: ignore[misc]
        canvas.line([(x, vertical.start), (x, vertical.start + 5)], "axis")
        canvas.text((x, vertical.start + 18), write[0](value))
    canvas.line([(left, vertical.start), (right, vertical.start)], "axis")
    canvas.text(((left + right) / 2, canvas.height - 4), names[0])
    canvas.text((14, (vertical.start + vertical.end) / 2), names[1], turn=-90)


def bars(
    rows: Sequence[tuple[str, float | None, float | None]], label: str, height: float = 190.0
) -> dict[str, Any]:
    """Draw flagged fractions as bars, with a mark where they stood before.

    Parameters
    ----------
    rows : sequence of (name, after, before)
        Fractions from 0 to 1; None where one is not known.
    label : str
        What it shows.
    height : float
        In the chart's units.
    """
    pitch = min(60.0, max(8.0, (WIDTH - _LEFT - _RIGHT) / max(1, len(rows))))
    longest = max((len(name) for name, _, _ in rows), default=1)
    turned = 7.0 * longest > pitch
    bottom = _BOTTOM + (min(longest, 16) * 6.2 if turned else 0.0) - 14
    canvas = Canvas(_LEFT + _RIGHT + pitch * len(rows), height + bottom, label)
    scale = Scale(0, 100, height, 10)
    frame(canvas, None, scale, ("", "flagged (%)"))
    for number, (name, after, before) in enumerate(rows):
        x = _LEFT + pitch * number
        if after is not None:
            y = scale(100 * after)
            said = f"{name}: {100 * after:.1f} % flagged"
            said += "" if before is None else f", {100 * before:.1f} % as it came"
            canvas.rect((x + 0.15 * pitch, y), (0.7 * pitch, height - y), _severity(after), said)
        if before is not None:
            y = scale(100 * before)
            canvas.line([(x + 0.05 * pitch, y), (x + 0.95 * pitch, y)], "mark")
        at = (x + pitch / 2, height + 14)
        if turned:
            canvas.text((at[0] + 4, at[1] - 4), short(name, 16), "end", -60)
        else:
            canvas.text(at, name)
    return canvas.drawn()


def _severity(fraction: float) -> str:
    return "bad" if fraction >= 0.9 else "c1" if fraction >= 0.5 else "c0"


def lines(
    series: Mapping[str, Sequence[tuple[float, float | None]]],
    label: str,
    names: tuple[str, str],
    *,
    height: float = 210.0,
    width: float = WIDTH,
    from_zero: bool = False,
    clock: Callable[[float], str] | None = None,
) -> dict[str, Any] | None:
    """Draw series against a common axis; a None leaves a gap.

    Parameters
    ----------
    series : mapping
        Points (x, y) by the name of what they show; at most `N_COLOURS`.
    label : str
        What it shows.
    names : (str, str)
        Of the two axes, with units.
    height, width : float
        In the chart's units.
    from_zero : bool
        Whether the vertical axis begins at 0.
    clock : callable, optional
        Writes a tick along x, where that is a time in seconds.

    Returns
    -------
    dict or None
        None where there is no point.
    """
    chosen = dict(list(series.items())[:N_COLOURS])
    points = [(x, y) for one in chosen.values() for x, y in one if y is not None]
    if not points:
        return None
    low, high = _range([y for _, y in points], from_zero)
    canvas = Canvas(width, height, label)
    x_scale = Scale(min(x for x, _ in points), max(x for x, _ in points), _LEFT, width - _RIGHT)
    y_scale = Scale(low, high, height - _BOTTOM, _TOP)
    along = clock_ticks if clock else ticks
    frame(canvas, x_scale, y_scale, names, (clock or plain, plain), along)
    for number, (name, one) in enumerate(chosen.items()):
        colour = f"c{number % N_COLOURS}"
        canvas.legend.append((name, colour))
        _curve(canvas, name, one, (x_scale, y_scale), colour)
    return canvas.drawn()


def _curve(
    canvas: Canvas,
    name: str,
    points: Sequence[tuple[float, float | None]],
    scales: tuple[Scale, Scale],
    colour: str,
) -> None:
    """Draw a series as lines between its gaps, with dots where there are few."""
    for run in _runs(points):
        placed = [(scales[0](x), scales[1](y)) for x, y in run]
        if len(placed) == 1 or len(points) <= 60:
            for at, (_, value) in zip(placed, run, strict=True):
                canvas.dot(at, colour, f"{name}: {value:.4g}", 2.5)
        canvas.line(placed if len(placed) > 1 else (), f"{colour} curve")


def _runs(points: Sequence[tuple[float, float | None]]) -> list[list[Point]]:
    """Cut a series at its gaps."""
    runs: list[list[Point]] = [[]]
    for x, y in points:
        if y is None:
            runs.append([])
        else:
            runs[-1].append((x, y))
    return [run for run in runs if run]


def _range(values: Sequence[float], from_zero: bool) -> tuple[float, float]:
    """Return a range that holds all values, with a margin."""
    low, high = min(values), max(values)
    margin = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    return (min(0.0, low) if from_zero else low - margin), high + margin


def by_name(
    values: Mapping[str, float | None],
    marked: Iterable[str],
    label: str,
    axis: str,
    *,
    height: float = 150.0,
) -> dict[str, Any] | None:
    """Draw a value of each antenna; those that stand out are marked and named.

    Parameters
    ----------
    values : mapping
        By name, in order.
    marked : iterable of str
        Names that stand out.
    label, axis : str
        What it shows, and the name of its axis, with the unit.
    height : float
        In the chart's units.
    """
    known = [value for value in values.values() if value is not None]
    if not known:
        return None
    pitch = min(36.0, (WIDTH - _LEFT - _RIGHT) / len(values))
    canvas = Canvas(_LEFT + _RIGHT + pitch * len(values), height, label)
    scale = Scale(*_range(known, from_zero=min(known) >= 0), height - 26, 12)
    frame(canvas, None, scale, ("", axis))
    out = set(marked)
    for number, (name, value) in enumerate(values.items()):
        x = _LEFT + pitch * (number + 0.5)
        if value is not None:
            colour = "bad" if name in out else "c0"
            canvas.dot((x, scale(value)), colour, f"{name}: {value:.4g}", 4.5 if name in out else 3)
        if len(values) <= 40 or name in out:
            canvas.text((x, height - 10), short(name, 5))
    return canvas.drawn()


def short(text: str, length: int) -> str:
    """Shorten a name to what a label can hold."""
    return text if len(text) <= length else f"{text[: length - 1]}…"
