"""Plots of a self-calibration: its images on one scale, its numbers by round, its solutions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import AsinhNorm
from matplotlib.ticker import MaxNLocator

from ..casa import image_file, read
from ..errors import DataError
from . import plots, sky, viewer_images
from .datasets import plot, tile_series
from .style import (
    INTENSITY,
    SERIES,
    STYLE,
    WIDTH_IN,
    colour_bar,
    figure,
    logarithmic,
    place,
    row,
    save,
    short,
)
from .viewer_images import Layer

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Summary = Mapping[str, Any]

SECTION = "selfcal"
BEFORE, AFTER = "before", "after"
"""Sections of the plots' list: the two pictures that the report lays over each other."""

MAX_MAPS = 9
LINEAR_SIGMAS = 3.0
"""The scale is linear up to so many times the last noise, and logarithmic beyond."""
_NEAR_BEAMS = 15.0
_KINDS = {"p": ("phase",), "a": ("amplitude",), "ap": ("phase", "amplitude")}


@dataclass(frozen=True)
class Picture:
    """The image of one round: `pixels` of shape (n_y, n_x), NaN where masked, in Jy/beam."""

    number: int
    title: str
    pixels: Floats
    mask: Bools | None
    about: sky.Sky


def draw(
    summary: Summary,
    prefixes: Mapping[str, str],
    tables: Mapping[str, Mapping[str, str]],
    folder: Path,
    viewer_bytes: int,
) -> list[dict[str, str]]:
    """Draw a target's self-calibration.

    Parameters
    ----------
    summary : mapping
        What the step ``selfcal.finish`` wrote.
    prefixes : mapping
        Names of the images without their endings, by round.
    tables : mapping
        Paths of the calibration tables, by round and dataset.
    folder : Path
        Where the PNGs go.
    viewer_bytes : int
        How much of each image the report's viewer may show; 0 for none.

    Returns
    -------
    list of dict
        For each plot its ``section``, ``file`` (relative to ``qa/``), ``title`` and ``caption``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rounds = [state for state in summary["rounds"] if not state.get("skipped")]
    drawn = list(_maps(summary, rounds, prefixes, folder))
    if len(rounds) > 1:
        path = progress(folder / "progress.png", rounds)
        drawn.append(plot(SECTION, path, "Dynamic range by round",
                          "Peak over noise, and the noise itself, off the mask; near field: not "
                          "far from it, where calibration errors show first. Filled: accepted; "
                          "open: rejected."))  # fmt: skip
    if viewer_bytes:
        drawn.extend(_viewer(summary, rounds, prefixes, folder, viewer_bytes))
    return drawn + list(_solutions(summary, tables, folder))


def _maps(
    summary: Summary,
    rounds: Sequence[Mapping[str, Any]],
    prefixes: Mapping[str, str],
    folder: Path,
) -> Iterator[dict[str, str]]:
    """Draw the images of all rounds, and the first and the best one for the slider."""
    best = int(summary.get("best_round") or 0)
    chosen = _most_telling([int(state["round"]) for state in rounds], best)
    pictures = [
        found
        for state in rounds
        if int(state["round"]) in chosen
        and (found := _picture(state, prefixes.get(str(state["round"]), "")))
    ]
    if not pictures:
        return
    last = next((one for one in pictures if one.number == best), pictures[-1])
    noise = _noise(rounds, last)
    scale = Scale(pictures, noise)
    box = _near(pictures, last)
    path = side_by_side(folder / "rounds.png", pictures, scale, box)
    left_out = len(rounds) - len(pictures)
    caption = (
        f"All on one scale, linear up to {LINEAR_SIGMAS:g} times the noise of round {last.number} "
        f"({scale.written(noise)}) and logarithmic beyond. White ellipse: synthesized beam; blue "
        f"outline: clean mask.{f' {left_out} rounds are left out.' if left_out else ''}"
    )
    yield plot(SECTION, path, "Images of the rounds", caption)
    first = next((one for one in pictures if one.number == 0), None)
    if first is None or last.number == 0 or summary.get("kept_first"):
        return
    for section, one, align in ((BEFORE, first, "left"), (AFTER, last, "right")):
        words = f"{section}: {one.title}"
        path = single(folder / f"{section}.png", one, words, align, scale, box)
        yield plot(section, path, words.capitalize(), f"The image of round {one.number}.")


def _viewer(
    summary: Summary,
    rounds: Sequence[Mapping[str, Any]],
    prefixes: Mapping[str, str],
    folder: Path,
    most: int,
) -> Iterator[dict[str, str]]:
    """Write the rounds' images for the report's viewer: the best first, then the others."""
    best = int(summary.get("best_round") or 0)
    chosen = _most_telling([int(state["round"]) for state in rounds], best)
    made = [
        (state, prefix, suffix)
        for state in rounds
        if int(state["round"]) in chosen
        and (prefix := prefixes.get(str(state["round"]), ""))
        and (suffix := _suffix(prefix)) is not None
    ]
    made.sort(key=lambda one: (int(one[0]["round"]) != best, int(one[0]["round"])))
    if not made:
        return
    state, prefix, suffix = made[0]
    with image_file.ImageFile(f"{prefix}.image{suffix}") as image:
        header = image.header
    layers = [
        Layer(f"round{one['round']}", round_title(one), f"{path}.image{end}")
        for one, path, end in made
    ]
    layers.append(Layer("residual", f"residual of {layers[0].title}", f"{prefix}.residual{suffix}",
                        unit=header.unit))  # fmt: skip
    layers.append(Layer("mask", "clean mask", f"{prefix}.mask", "mask"))
    numbers = state.get("image") or {}
    about = {
        "title": "rounds of self-calibration",
        "noise": numbers.get("rms_noise_jy_per_beam"),
        "peak": numbers.get("peak_jy_per_beam"),
        "beam": header.beams[0] if header.beams and header.beams[0][0] > 0 else None,
    }
    path = viewer_images.write(folder / "viewer", layers, header, 0, about, most)
    what = "images of the rounds, values under the pointer"
    yield plot(f"{SECTION}-viewer", path, f"Look closer: {what}", "")


def _most_telling(numbers: Sequence[int], best: int) -> set[int]:
    """Return the rounds to draw: all, or the first, the best, and the others evenly spaced."""
    if len(numbers) <= MAX_MAPS:
        return set(numbers)
    others = [number for number in numbers[1:] if number != best]
    picked = np.linspace(0, len(others) - 1, MAX_MAPS - 2).round().astype(int)
    return {numbers[0], best, *(others[i] for i in picked)}


def _picture(state: Mapping[str, Any], prefix: str) -> Picture | None:
    """Read the image of a round, if it was made."""
    suffix = _suffix(prefix)
    if suffix is None:
        return None
    with image_file.ImageFile(f"{prefix}.image{suffix}") as image:
        header = image.header
        values, valid = image.plane()
    mask = None
    if Path(f"{prefix}.mask").exists():
        with image_file.ImageFile(f"{prefix}.mask") as image:
            mask = np.asarray(image.plane()[0] > 0.5)
    beam = header.beams[0] if header.beams and header.beams[0][0] > 0 else None
    about = sky.Sky(header.frame, header.projection, header.reference_deg,
                    header.reference_pixel, header.increment_deg, beam)  # fmt: skip
    pixels = np.where(valid, values, np.nan)
    return Picture(int(state["round"]), round_title(state), pixels, mask, about)


def _suffix(prefix: str) -> str | None:
    """Return what an image's name ends in; None where there is no image."""
    return next((s for s in ("", ".tt0") if prefix and Path(f"{prefix}.image{s}").exists()), None)


def round_title(state: Mapping[str, Any]) -> str:
    """Return what a round is, in a few words: ``round 2, phase 10s, rejected``."""
    if int(state["round"]) == 0:
        return "first image"
    solve = state.get("solve") or {}
    kinds = " and ".join(_KINDS.get(str(solve.get("calmode")), ()))
    what = f"{kinds} {solve.get('solint') or ''}".strip()
    came = "accepted" if state.get("accepted") else "rejected"
    return ", ".join(part for part in (f"round {state['round']}", what, came) if part)


def _noise(rounds: Sequence[Mapping[str, Any]], last: Picture) -> float:
    """Return the noise of a round's image in Jy/beam; where unknown, of its pixels."""
    state = next(state for state in rounds if int(state["round"]) == last.number)
    measured = (state.get("image") or {}).get("rms_noise_jy_per_beam")
    if measured and math.isfinite(measured):
        return float(measured)
    finite = last.pixels[np.isfinite(last.pixels)]
    return float(finite.std()) or 1.0 if finite.size else 1.0


class Scale:
    """One scale of brightness for some images.

    It ends at the brightest pixel of all and begins where the artefacts of the worst one do.

    Parameters
    ----------
    pictures : sequence of Picture
        The images.
    noise_jy_per_beam : float
        The noise that the scale resolves.
    """

    def __init__(self, pictures: Sequence[Picture], noise_jy_per_beam: float) -> None:
        values = [one.pixels[np.isfinite(one.pixels)] for one in pictures]
        values = [found for found in values if found.size]
        top = max((float(found.max()) for found in values), default=0.0)
        low = min((float(np.quantile(found, 0.01)) for found in values), default=0.0)
        top = max(top, 6 * noise_jy_per_beam)
        self.factor, prefix = sky.scaled(top)
        self.unit = f"{prefix}Jy/beam"
        self.low = self.factor * min(low, -3 * noise_jy_per_beam)
        self.top = self.factor * top
        self.width = self.factor * LINEAR_SIGMAS * noise_jy_per_beam

    def norm(self) -> AsinhNorm:
        """Return the scale as matplotlib takes it."""
        return AsinhNorm(linear_width=self.width, vmin=self.low, vmax=self.top)

    def ticks(self) -> list[float]:
        """Return zero and decades; where these are few, also 2 and 5 times them."""
        decades = self._apart((1,))
        return decades if len(decades) > 3 else self._apart((1, 2, 5))

    def _apart(self, multiples: Sequence[float]) -> list[float]:
        """Return those multiples of powers of ten that the eye can tell apart on the scale."""
        span = math.asinh(self.top / self.width) - math.asinh(self.low / self.width)
        powers = 10.0 ** np.arange(math.floor(math.log10(self.width)) - 1, 9)
        values = np.outer(multiples, powers).ravel()
        kept = [0.0]
        for value in sorted({*values, *-values}, key=abs, reverse=True):
            at = math.asinh(value / self.width)
            apart = all(abs(at - math.asinh(k / self.width)) > 0.07 * span for k in kept)
            if self.low <= value <= self.top and apart:
                kept.append(float(value))
        return sorted(kept)

    def written(self, jy_per_beam: float) -> str:
        """Write a brightness in a unit that suits it."""
        factor, prefix = sky.scaled(abs(jy_per_beam))
        return f"{jy_per_beam * factor:.3g} {prefix}Jy/beam"


def _near(pictures: Sequence[Picture], last: Picture) -> tuple[int, int, int, int]:
    """Return the box (left, bottom, right, top) of the last mask and the field near it."""
    n_y, n_x = last.pixels.shape
    inside, beam = last.mask, last.about.beam
    if beam is None or inside is None or not inside.any() or inside.all():
        return sky.extent([one.pixels for one in pictures])
    cell_arcsec = abs(last.about.increment_deg[1]) * 3600
    margin = max(20, round(_NEAR_BEAMS * beam[0] / cell_arcsec))
    y, x = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
    middle_x, middle_y = int(x[0] + x[-1]) // 2, int(y[0] + y[-1]) // 2
    half = max(int(x[-1] - x[0]), int(y[-1] - y[0])) // 2 + margin
    return (
        max(0, middle_x - half), max(0, middle_y - half),
        min(n_x, middle_x + half + 1), min(n_y, middle_y + half + 1),
    )  # fmt: skip


@rc_context(STYLE)
def side_by_side(
    path: Path, pictures: Sequence[Picture], scale: Scale, box: tuple[int, int, int, int]
) -> Path:
    """Draw images in rows of up to three, on one scale.

    Parameters
    ----------
    path : Path
        The PNG to write.
    pictures : sequence of Picture
        The images, of the same shape.
    scale : Scale
        Their scale.
    box : tuple of int
        Pixels to show as (left, bottom, right, top).
    """
    columns = 2 if len(pictures) in (2, 4) else min(3, len(pictures))
    n_rows = math.ceil(len(pictures) / columns)
    places = row(WIDTH_IN, max(2, columns), 0.95, 0.35, right=1.15)
    wide = places[0][1]
    high = min(1.4 * wide, wide * (box[3] - box[1]) / (box[2] - box[0]))
    total = n_rows * (high + 0.95) + 0.1
    made = figure(places[columns - 1][0] + wide + 1.15, total)
    for index, one in enumerate(pictures):
        column, line = index % columns, index // columns
        bottom = total - (line + 1) * (high + 0.95) + 0.55
        panel = _panel(made, (places[column][0], bottom, wide, high), one, scale, box,
                       first=column == 0)  # fmt: skip
        panel.set_title(short(one.title, 44 if columns > 2 else 60))
    right = places[columns - 1][0] + wide + 0.12
    side = (right, total - (high + 0.95) + 0.55, 0.13, high)
    colour_bar(made, side, INTENSITY, scale.norm(), scale.unit, scale.ticks())
    return save(made, path)


@rc_context(STYLE)
def single(
    path: Path, one: Picture, title: str, align: str, scale: Scale, box: tuple[int, int, int, int]
) -> Path:
    """Draw one image; with the same `box`, images lie exactly over each other.

    Parameters
    ----------
    path : Path
        The PNG to write.
    one : Picture
        The image.
    title : str
        What it is.
    align : {"left", "right"}
        Where the title stands.
    scale : Scale
        The scale of brightness.
    box : tuple of int
        Pixels to show as (left, bottom, right, top).
    """
    wide = 7.2
    high = min(1.2 * wide, wide * (box[3] - box[1]) / (box[2] - box[0]))
    made = figure(wide + 2.2, high + 1.05)
    panel = _panel(made, (0.95, 0.62, wide, high), one, scale, box, first=True, outline=False)
    panel.set_title(short(title, 60), loc=align)
    side = (0.95 + wide + 0.12, 0.62, 0.15, high)
    colour_bar(made, side, INTENSITY, scale.norm(), scale.unit, scale.ticks())
    return save(made, path)


def _panel(
    made: Any, area: tuple[float, float, float, float], one: Picture, scale: Scale,
    box: tuple[int, int, int, int], *, first: bool, outline: bool = True,
) -> Any:  # fmt: skip
    """Draw one image with coordinates, synthesized beam and clean mask."""
    left, bottom, right, top = box
    panel = place(made, area, projection=one.about.wcs((left, bottom)))
    panel.imshow(one.pixels[bottom:top, left:right] * scale.factor, origin="lower",
                         cmap=INTENSITY, norm=scale.norm(), interpolation="nearest")  # fmt: skip
    if outline and one.mask is not None:
        inside = one.mask[bottom:top, left:right]
        if inside.any() and not inside.all():
            panel.contour(inside.astype(float), levels=[0.5], colors="#56B4E9", linewidths=0.9)
    sky.sky_axes(panel, one.about, first=first)
    sky.beam_ellipse(panel, one.about)
    return panel


@rc_context(STYLE)
def progress(path: Path, rounds: Sequence[Mapping[str, Any]]) -> Path:
    """Draw dynamic range and noise against the round.

    Parameters
    ----------
    path : Path
        The PNG to write.
    rounds : sequence of mapping
        The states of the rounds that took place.
    """
    made = figure(WIDTH_IN, 3.5)
    panels = [place(made, (left, 0.58, wide, 2.5)) for left, wide in row(WIDTH_IN, 2, 0.8, 0.95)]
    _line(panels[0], rounds, "snr", "whole image", SERIES[0], "o")
    _line(panels[0], rounds, "near_snr", "near field", SERIES[1], "s")
    panels[0].set_title("dynamic range")
    noises = ("rms_noise_jy_per_beam", "near_rms_noise_jy_per_beam", "thermal_noise_jy_per_beam")
    found = [v for key in noises for v in _values(rounds, key) if v > 0]
    factor, prefix = sky.scaled(max(found, default=1.0))
    _line(panels[1], rounds, noises[0], "whole image", SERIES[0], "o", factor)
    _line(panels[1], rounds, noises[1], "near field", SERIES[1], "s", factor)
    thermal = [value for value in _values(rounds, noises[2]) if value > 0]
    if thermal:
        panels[1].axhline(thermal[0] * factor, color=SERIES[-1], linestyle="--", linewidth=1.2,
                          label="thermal noise")  # fmt: skip
    panels[1].set_title("noise")
    panels[1].set_ylabel(f"{prefix}Jy/beam")
    numbers = [int(state["round"]) for state in rounds]
    for panel in panels:
        _round_axis(panel, numbers)
    return save(made, path)


def _values(rounds: Sequence[Mapping[str, Any]], key: str) -> list[float]:
    """Return a number of the images, NaN where it is unknown."""
    return [
        math.nan if (value := (state.get("image") or {}).get(key)) is None else float(value)
        for state in rounds
    ]


def _line(
    panel: Axes, rounds: Sequence[Mapping[str, Any]], key: str, label: str, colour: str,
    marker: str, factor: float = 1.0,
) -> None:  # fmt: skip
    """Draw a number against the round; the line joins the accepted rounds."""
    x = np.array([int(state["round"]) for state in rounds], float)
    y = np.array(_values(rounds, key)) * factor
    good = np.isfinite(y) & (y > 0)
    kept = good & np.array([bool(s.get("accepted")) or not s["round"] for s in rounds])
    panel.plot(x[kept], y[kept], color=colour, marker=marker, markersize=6.5, linewidth=1.6,
               label=label)  # fmt: skip
    lost = good & ~kept
    panel.plot(x[lost], y[lost], color=colour, marker=marker, markersize=6.5, linestyle="none",
               markerfacecolor="white", markeredgewidth=1.5)  # fmt: skip


def _round_axis(panel: Axes, numbers: Sequence[int]) -> None:
    panel.set_xlim(min(numbers) - 0.3, max(numbers) + 0.3)
    panel.xaxis.set_major_locator(MaxNLocator(10, integer=True))
    panel.set_xlabel("round (0: the first image)")
    shown = [v for line in panel.lines for v in np.ravel(line.get_ydata()).astype(float) if v > 0]
    if shown and max(shown) > 5 * min(shown):
        logarithmic(panel, 0.7 * min(shown), 1.4 * max(shown))
    else:
        panel.set_ylim(0, 1.15 * max(shown, default=1.0))
    if panel.lines:
        panel.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, borderaxespad=0.1)


def _solutions(
    summary: Summary, tables: Mapping[str, Mapping[str, str]], folder: Path
) -> Iterator[dict[str, str]]:
    """Draw the solutions of the tables that are applied in the end, a tile an antenna."""
    for entry in summary.get("apply") or ():
        number = int(entry["round"])
        for dataset, path in (tables.get(str(number)) or {}).items():
            try:
                table = read.caltable(path)
            except DataError:
                continue
            if table.flag.all():
                continue
            feeds = ("feed 1", "feed 2") if table.values.shape[0] > 1 else ("both feeds",)
            for what in _KINDS.get(str(entry.get("calmode")), ("phase",)):
                series, names = tile_series(table, what, "time", feeds)
                title = f"Round {number}: {what} by antenna, {dataset}"
                made = folder / f"round{number}-{what}-{dataset}.png"
                plots.solutions(made, short(title, 90), names, series, what, "time")
                caption = "Solutions against time; red marks at the foot are flagged ones."
                yield plot(SECTION, made, title, caption)
