"""Plots of a dataset: flagging, calibration tables, uv coverage, visibilities."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.ticker import FuncFormatter, MaxNLocator

from .style import DENSITY, SERIES, STYLE, WIDTH_IN, figure, logarithmic, place, row, save, short
from .tiles import Axis, Series, draw

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MJD_UNIX_EPOCH_S = 40587 * 86400.0
MAX_PANELS = 4
MAX_BARS = 14


@dataclass(frozen=True)
class Visibilities:
    """A sample of calibrated visibilities, averaged over each spectral window's channels.

    All arrays have shape (rows,), `amplitude_jy` and `phase_deg` (hands, rows), NaN where
    all is flagged. `u_klambda` and `v_klambda` are at the middle of the spectral window.
    """

    time_s: Floats
    field: Ints
    u_klambda: Floats
    v_klambda: Floats
    amplitude_jy: Floats
    phase_deg: Floats
    every: float = 1.0


def clock(time_s: float) -> str:
    """Write a time (MJD seconds, UTC) as hours and minutes."""
    return datetime.fromtimestamp(time_s - MJD_UNIX_EPOCH_S, UTC).strftime("%H:%M")


def date(time_s: float) -> str:
    """Write a time (MJD seconds, UTC) as a date: ``13 April 1995``."""
    return datetime.fromtimestamp(time_s - MJD_UNIX_EPOCH_S, UTC).strftime("%-d %B %Y")


@rc_context(STYLE)
def uv_coverage(
    path: Path, coverage: Mapping[str, tuple[Floats, Floats]], limit_klambda: float
) -> Path:
    """Draw the true uv coverage, conjugates included.

    Parameters
    ----------
    path : Path
        The PNG to write.
    coverage : mapping
        For each target arrays of u and v in kilolambda, of unflagged visibilities.
    limit_klambda : float
        Half the width of each panel, the same for all.
    """
    names = list(coverage)[:MAX_PANELS]
    size = 5.2 if len(names) <= 2 else (WIDTH_IN - 0.9) / len(names) - 0.3
    width = 0.85 + (size + 0.3) * len(names)
    made = figure(width, size + 1.0)
    for number, name in enumerate(names):
        panel = place(made, (0.75 + number * (size + 0.3), 0.58, size, size))
        u, v = _distinct(*coverage[name], limit_klambda)
        for sign, colour in ((1, SERIES[0]), (-1, SERIES[1])):
            panel.plot(sign * u, sign * v, linestyle="none", marker="o", markersize=1.5,
                       markeredgewidth=0, color=colour)  # fmt: skip
        panel.set_xlim(-limit_klambda, limit_klambda)
        panel.set_ylim(-limit_klambda, limit_klambda)
        panel.set_title(short(name, 40))
        panel.set_xlabel("u (kλ)")
        if number:
            panel.tick_params(labelleft=False)
        else:
            panel.set_ylabel("v (kλ)")
    return save(made, path)


def _distinct(u: Floats, v: Floats, limit: float, cells: int = 1000) -> tuple[Floats, Floats]:
    """Return one point of each cell of a fine grid: what the eye can tell apart."""
    index = np.stack([np.floor((axis / limit + 1) * cells / 2) for axis in (u, v)])
    code = index[0].astype(np.int64) * cells + index[1].astype(np.int64)
    _, first = np.unique(code, return_index=True)
    return u[first], v[first]


@rc_context(STYLE)
def amplitude_against_uv_distance(
    path: Path,
    vis: Visibilities,
    groups: Mapping[str, Sequence[int]],
    calibrators: Sequence[str],
) -> Path:
    """Draw amplitude against uv distance as a density, one panel a group of fields.

    Targets come first. The axis of a target begins at 0, that of a calibrator, a point
    source as a rule, shows its scatter.
    """
    names = sorted(groups, key=lambda name: name in calibrators)[:MAX_PANELS]
    made = figure(WIDTH_IN, 3.7)
    distance = np.hypot(vis.u_klambda, vis.v_klambda)
    longest = float(distance.max()) or 1.0
    for (left, wide), name in zip(row(WIDTH_IN, len(names), 0.72, 0.62), names, strict=True):
        panel = place(made, (left, 0.58, wide, 2.7))
        panel.set_title(short(name, 34))
        panel.set_xlabel("uv distance (kλ)")
        rows = np.isin(vis.field, list(groups[name]))
        amplitudes = vis.amplitude_jy[:, rows]
        _density(panel, distance[rows], amplitudes, longest, round(42 * wide), name in calibrators)
        if left < 1:
            panel.set_ylabel("amplitude (Jy)")
    return save(made, path)


def _density(
    panel: Axes, distance: Floats, amplitudes: Floats, longest: float, bins: int, zoomed: bool
) -> None:
    """Draw how many amplitudes, of shape (hands, rows), there are at each uv distance."""
    good = np.isfinite(amplitudes)
    if not good.any():
        panel.text(0.5, 0.5, "all flagged", transform=panel.transAxes, ha="center")
        return
    x, y = np.broadcast_to(distance, amplitudes.shape)[good], amplitudes[good]
    low, high = _amplitude_range(y, from_zero=not zoomed)
    counts, _, _ = np.histogram2d(
        x, np.clip(y, low, high), bins=(bins, 105), range=((0, longest), (low, high))
    )
    panel.imshow(
        np.ma.masked_equal(counts.T, 0), cmap=DENSITY, norm=LogNorm(1, max(2, counts.max())),
        origin="lower", aspect="auto", extent=(0, longest, low, high),
        interpolation="nearest", zorder=2,
    )  # fmt: skip
    panel.set_xlim(0, longest)
    panel.set_ylim(low, high)
    panel.xaxis.set_major_locator(MaxNLocator(6))
    panel.yaxis.set_major_locator(MaxNLocator(6))


def _amplitude_range(values: Floats, from_zero: bool) -> tuple[float, float]:
    """Return a range that holds all but the most extreme 0.2 % of the amplitudes."""
    low, high = (float(q) for q in np.quantile(values, (0.001, 0.999)))
    margin = max(0.35 * (high - low), 0.02 * high)
    return (0.0 if from_zero else max(0.0, low - margin)), high + margin


@rc_context(STYLE)
def against_time(
    path: Path,
    vis: Visibilities,
    groups: Mapping[str, Sequence[int]],
    calibrators: Sequence[str],
) -> Path:
    """Draw amplitude of all fields, and phase of the calibrators, against time."""
    made = figure(WIDTH_IN, 5.6 if calibrators else 3.3)
    upper = place(made, (0.72, 3.25 if calibrators else 0.58, WIDTH_IN - 0.87, 2.0))
    lower = place(made, (0.72, 0.58, WIDTH_IN - 0.87, 2.0)) if calibrators else None
    typical = []
    for number, (name, ids) in enumerate(groups.items()):
        rows = np.isin(vis.field, list(ids))
        colour = SERIES[number % len(SERIES)]
        seen = _dots(upper, vis.time_s[rows], vis.amplitude_jy[:, rows], colour, short(name, 30))
        if seen.size:
            typical.append(float(np.median(seen)))
        if lower is not None and name in calibrators:
            _dots(lower, vis.time_s[rows], vis.phase_deg[:, rows], colour)
    _amplitude_axis(upper, vis.amplitude_jy, typical)
    upper.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=min(5, len(groups)),
                 borderaxespad=0.1, handletextpad=0.3, markerscale=4)  # fmt: skip
    upper.set_title("amplitude")
    time_axis(upper, vis.time_s)
    if lower is not None:
        upper.set_xlabel("")
        upper.tick_params(labelbottom=False)
        time_axis(lower, vis.time_s)
        lower.set_ylabel("phase (deg)")
        lower.set_title("phase of the calibrators")
        ids = [i for name in calibrators for i in groups[name]]
        limit = _phase_limit(vis.phase_deg[:, np.isin(vis.field, ids)])
        lower.set_ylim(-limit, limit)
    return save(made, path)


def _amplitude_axis(panel: Axes, amplitudes: Floats, typical: Sequence[float]) -> None:
    """Scale the amplitudes: logarithmic where fields differ tenfold, else from 0."""
    panel.set_ylabel("amplitude (Jy)")
    good = amplitudes[np.isfinite(amplitudes) & (amplitudes > 0)]
    if not good.size:
        return
    top = float(np.quantile(good, 0.999))
    if max(typical) > 10 * min(typical) > 0:
        logarithmic(panel, 0.1 * min(typical), 3 * top)
    else:
        panel.set_ylim(0, _rounded_up(1.1 * top))


def _dots(panel: Axes, time_s: Floats, values: Floats, colour: str, label: str = "") -> Floats:
    """Draw values of shape (hands, rows) against time, thinned to what the eye can tell apart.

    Returns
    -------
    array
        The values that are not NaN.
    """
    x, y = np.broadcast_to(time_s, values.shape).ravel(), values.ravel()
    good = np.isfinite(y)
    x, y = x[good], y[good]
    seen = y
    if x.size > 20_000:
        spans = [max(float(np.ptp(axis)), 1e-12) for axis in (x, y)]
        cells = [
            ((axis - axis.min()) / span * 1200).astype(np.int64)
            for axis, span in zip((x, y), spans, strict=True)
        ]
        _, first = np.unique(cells[0] * 1201 + cells[1], return_index=True)
        x, y = x[first], y[first]
    panel.plot(x, y, linestyle="none", marker="o", markersize=1.8, markeredgewidth=0,
               color=colour, label=label or None)  # fmt: skip
    return seen


def time_axis(panel: Axes, time_s: Floats, most: int = 10) -> None:
    """Make the horizontal axis one of time (MJD seconds, UTC) that holds all `time_s`.

    It has up to `most` ticks, or so.
    """
    start, end = float(time_s.min()), float(time_s.max())
    span = max(end - start, 1.0)
    panel.set_xlim(start - 0.01 * span, end + 0.01 * span)
    steps = (60, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)
    step = next((s for s in steps if span / s <= most), math.ceil(span / most / 86400) * 86400)
    panel.set_xticks(np.arange(math.ceil(start / step), math.floor(end / step) + 1) * float(step))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: clock(value)))
    panel.set_xlabel(f"time (UTC) from {date(start)}")


def _rounded_up(value: float) -> float:
    """Return the next 1, 1.5, 2, 3, 4, 5 or 7.5 times a power of ten."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next((s * power for s in (1, 1.5, 2, 3, 4, 5, 7.5) if s * power >= value), 10 * power)


def _phase_limit(phases: Floats) -> float:
    """Return the smallest usual limit in degrees that holds 99.5 % of the phases."""
    good = np.abs(phases[np.isfinite(phases)])
    wanted = float(np.quantile(good, 0.995)) if good.size else 0.0
    return next((limit for limit in (10.0, 20.0, 45.0, 90.0) if wanted <= limit), 180.0)


def solutions(
    path: Path, title: str, names: Sequence[str], series: Sequence[Series], what: str, against: str
) -> Path:
    """Draw the solutions of a calibration table, a tile an antenna.

    Parameters
    ----------
    path : Path
        The PNG to write.
    title : str
        What is shown.
    names : sequence of str
        Antennas, in the order of the series' `tile`.
    series : sequence of Series
        One a feed.
    what : {"amplitude", "phase", "delay"}
        What `y` is: a gain amplitude, degrees, or nanoseconds.
    against : {"time", "frequency"}
        What `x` is: MJD seconds or MHz.
    """
    vertical = _value_axis(series, what)
    x = np.concatenate([item.x for item in series])
    low, high = float(x.min()), float(x.max())
    if against == "time":
        pad = max(0.03 * (high - low), 30.0)
        low, high = low - pad, high + pad
        inner = (low + 0.2 * (high - low), high - 0.2 * (high - low))
        horizontal = Axis(f"time (UTC) on {date(low)}", low, high, inner, clock)
    else:
        inner = (low + 0.2 * (high - low), high - 0.2 * (high - low))
        horizontal = Axis("frequency (MHz)", low, high, inner, "{:.1f}".format)
    return draw(path, title, names, series, (horizontal, vertical), against == "frequency")


def _value_axis(series: Sequence[Series], what: str) -> Axis:
    values = np.concatenate([item.y[item.good] for item in series])
    if what == "phase":
        limit = _phase_limit(values)
        return Axis("phase (deg)", -limit, limit, (-limit / 2, 0.0, limit / 2), _signed)
    if what == "delay":
        limit = _rounded_up(float(np.abs(values).max()) if values.size else 1.0)
        return Axis("delay (ns)", -limit, limit, (-limit / 2, 0.0, limit / 2), "{:+.3g}".format)
    return _gain_axis(values)


def _signed(value: float) -> str:
    return f"{value:+.0f}" if value else "0"


def _gain_axis(values: Floats) -> Axis:
    """Scale gain amplitudes: from 0, but about the median where they hardly differ from it."""
    if not values.size:
        return Axis("amplitude", 0.0, 1.0, (0.0, 0.5), "{:.3g}".format)
    middle = float(np.median(values))
    spread = 1.3 * float(np.quantile(np.abs(values - middle), 0.995))
    if spread < 0.3 * middle:
        step = _rounded_up(max(spread, 0.02 * middle) / 2)
        ticks = (middle - step, middle, middle + step)
        return Axis("amplitude", middle - 2 * step, middle + 2 * step, ticks, "{:.4g}".format)
    top = _rounded_up(1.15 * float(np.quantile(values, 0.995)))
    return Axis("amplitude", 0.0, top, (0.0, top / 2), "{:.3g}".format)
