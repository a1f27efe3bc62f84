"""One pass over an MS that fills many plots at once: 2-d histograms, points, averages.

How to use it::

    about = contents("calibrated/apr13.ms")
    chosen = choose(about, {"field": "1445*", "spw": "0:6~56"})
    clouds = [
        Cloud(about, Plot("uvdist", "amp", colour="corr")),
        Cloud(about, Plot("time", "phase", colour="antenna1", page="field")),
        Averages(about, Plot("frequency", "amp", colour="corr", cells=(63, 1))),
    ]
    fill("calibrated/apr13.ms", about, clouds, chosen, "corrected")
    for (page, colour), counts in clouds[0].counts():    # ids, (x cells, y cells)
        ...                                              # clouds[0].x.edges, clouds[0].y.edges

Nobody needs to know ranges beforehand: where a value falls outside, pairs of cells are put
together and the range doubles, so a histogram ends with its values over about half of its cells
or more. Few points are kept as they are (`Cloud.points`), with antennas, scan and window of each,
to be drawn one by one and to be named under the pointer.

Whoever reads blocks anyway gives each to `Cloud.add` and `Averages.add` himself. Memory is one
block (`visibility_blocks.BLOCK_SAMPLES`) and the histograms, whatever the size of the MS. What
axes there are says `visibility_axes.AXES`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from . import visibility_axes as axes
from .caltable_blocks import caltable_blocks
from .growing_axis import Growing, halved, put_together
from .visibility_average import Averaging, averaged
from .visibility_blocks import Block, Selection, blocks
from .visibility_contents import Contents

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.uint32]
Values = npt.NDArray[Any]

MOST_CELLS: Final = 64_000_000
"""Cells of all histograms of a plot together: 256 MB."""

FEWEST_CELLS: Final = 32
"""Histograms get no coarser than this, however many they are."""

MOST_POINTS: Final = 40_000
"""Up to so many points are kept one by one."""


@dataclass(frozen=True)
class Plot:
    """What is wanted: two axes, by name, and what colours and pages are made by.

    `x_range` and `y_range` show a part; by default everything is shown. `cells` are at most so
    many. With ``page="antenna"``, and on an axis ``antenna``, a baseline counts for both of its
    antennas; ``colour="antenna"`` means the first.
    """

    x: str
    y: str
    colour: str = ""
    page: str = ""
    cells: tuple[int, int] = (1024, 512)
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None


class Filled(Protocol):
    """What takes blocks."""

    def needs(self) -> frozenset[str]:
        """Return what blocks must hold."""

    def add(self, block: Block) -> None:
        """Take a block."""


def fill(
    ms: Path | str,
    contents: Contents,
    wanted: Sequence[Filled],
    chosen: Selection | None = None,
    column: str = "",
    averaging: Averaging | None = None,
) -> None:
    """Read an MS once, and give each block to all that is wanted.

    Parameters
    ----------
    ms : Path or str
        The MeasurementSet or calibration table.
    contents : Contents
        What it holds.
    wanted : sequence of Filled
        `Cloud` or `Averages`.
    chosen : Selection, optional
        By default all is read.
    column : str
        One of `visibility_blocks.COLUMNS`; it is read only if an axis needs it.
    averaging : Averaging, optional
        By default nothing is averaged.

    Raises
    ------
    DataError
        If the MS cannot be read or nothing is selected.
    """
    needs = frozenset().union(*(one.needs() for one in wanted))
    in_time = averaging is not None and averaging.time_s > 0
    if averaging is not None:
        needs |= {"WEIGHT"}
    chosen = chosen or Selection()
    if contents.is_caltable:
        read = caltable_blocks(ms, contents, chosen)
    else:
        what = column if "data" in needs else ""
        read = blocks(ms, contents, chosen, what, needs, in_time=in_time)
    if averaging is not None:
        read = averaged(read, averaging, contents.observation)
    for block in read:
        for one in wanted:
            one.add(block)


@dataclass
class Points:
    """Points one by one: all arrays have shape (points,); ids but for `x` and `y`.

    Ids are -1 where neither axis depends on them.
    """

    x: Floats
    y: Floats
    page: Ints
    colour: Ints
    antenna1: Ints
    antenna2: Ints
    field: Ints
    scan: Ints
    spw: Ints
    corr: Ints


@dataclass(frozen=True)
class _Samples:
    """Values of a block, and how their shapes go together.

    Everything broadcasts to `shape`: (correlations, channels, rows), with 1 where neither axis,
    nor colour, nor page varies.
    """

    block: Block
    x: Values
    y: Values
    colour: Values
    page: Values
    good: Bools

    @property
    def shape(self) -> tuple[int, ...]:
        return self.good.shape

    def flat(self, values: Values) -> Values:
        """Return the good ones of values that broadcast, shape (samples,)."""
        return np.broadcast_to(values, self.shape)[self.good]


class Reader:
    """The axes of a plot, and the samples of each block."""

    def __init__(self, contents: Contents, plot: Plot) -> None:
        self.contents, self.plot = contents, plot
        self.x_axis, self.y_axis = (axes.axis(name, contents) for name in (plot.x, plot.y))
        self.colour = axes.key(plot.colour, contents)
        self.page = axes.key(plot.page, contents)
        ends = {one.name for one in (self.x_axis, self.y_axis, self.page) if one is not None}
        self.both_ends = "antenna" in ends and not contents.is_caltable
        self.flags_too = "flagged" in ends

    def needs(self) -> frozenset[str]:
        """Return what blocks must hold."""
        return self.x_axis.needs | self.y_axis.needs

    def samples(self, block: Block) -> Iterator[_Samples]:
        """Yield the samples of a block; those of the baselines' other ends come extra."""
        yield self._samples(block, None)
        if self.both_ends:
            other = replace(block, antenna1=block.antenna2, antenna2=block.antenna1)
            yield self._samples(other, np.not_equal(block.antenna1, block.antenna2))

    def _samples(self, block: Block, rows: Bools | None) -> _Samples:
        x, y = self.x_axis.values(block), self.y_axis.values(block)
        one = np.zeros((1, 1, 1), np.int64)
        colour = one if self.colour is None else self.colour.values(block)
        page = one if self.page is None else self.page.values(block)
        shape = np.broadcast_shapes(x.shape, y.shape, colour.shape, page.shape)
        good = np.ones(block.flag.shape, bool) if self.flags_too else ~block.flag
        if rows is not None:
            good &= rows
        good = np.logical_and(_reduced(good, shape), np.isfinite(x) & np.isfinite(y))
        return _Samples(block, x, y, colour, page, np.broadcast_to(good, shape))


@dataclass
class _Slots:
    """Which layer of an array each pair of page and colour has."""

    keys: dict[tuple[int, int], int] = field(default_factory=dict)

    def of(self, found: _Samples) -> tuple[Ints, int]:
        """Return the slot of each sample, and how many there are in all."""
        page, colour = np.asarray(found.page, np.int64), np.asarray(found.colour, np.int64)
        code = page * _PAGE + colour
        codes, inverse = np.unique(code, return_inverse=True)
        pairs = [(int(one // _PAGE), int(one % _PAGE)) for one in codes]
        slots = np.array([self.keys.setdefault(pair, len(self.keys)) for pair in pairs])
        return slots[inverse].reshape(code.shape), len(self.keys)


_PAGE = 1 << 34  # above every id, baselines among them


class Cloud:
    """A 2-d histogram for each page and colour; and the points, as long as they are few.

    Parameters
    ----------
    contents : Contents
        What is plotted.
    plot : Plot
        The axes, colours and pages.

    Raises
    ------
    DataError
        If it has no such axis.
    """

    def __init__(self, contents: Contents, plot: Plot) -> None:
        self.reader = Reader(contents, plot)
        self.plot, self.number = plot, 0
        self.x = _axis_of(self.reader.x_axis, contents, plot.cells[0], plot.x_range)
        self.y = _axis_of(self.reader.y_axis, contents, plot.cells[1], plot.y_range)
        self._slots = _Slots()
        self._counts: Counts = np.zeros((0, self.x.cells, self.y.cells), np.uint32)
        self._points: list[Points] | None = []

    def needs(self) -> frozenset[str]:
        """Return what blocks must hold."""
        return self.reader.needs()

    def add(self, block: Block) -> None:
        """Count the visibilities of a block."""
        for found in self.reader.samples(block):
            if found.good.any():
                self._count(found)

    def _count(self, found: _Samples) -> None:
        for number, (axis, values) in enumerate(((self.x, found.x), (self.y, found.y))):
            factor, offset = axis.grow(*_limits(values, found.good, axis))
            self._counts = put_together(self._counts, number + 1, factor, offset)
        slots, size = self._slots.of(found)
        self._make_room(size)
        x, y = self.x.index(found.x), self.y.index(found.y)
        good: Bools = found.good
        if self.x.fixed or self.y.fixed:
            good = np.logical_and(good, (x >= 0) & (y >= 0))
        cells = (slots * self.x.cells + x) * self.y.cells + y
        np.add.at(self._counts.reshape(-1), np.broadcast_to(cells, good.shape)[good], np.uint32(1))
        self.number += int(np.count_nonzero(good))
        self._keep(replace(found, good=good))

    def _make_room(self, size: int) -> None:
        """Have a histogram for each page and colour; coarser ones where they are many."""
        while size * self.x.cells * self.y.cells > MOST_CELLS:
            if min(self.x.cells, self.y.cells) <= FEWEST_CELLS:
                raise DataError(
                    f"more than {size - 1} pages and colours together are too many to draw: select "
                    "some of them, or take other ones"
                )
            self._counts = halved(self._counts, 1, self.x)
            self._counts = halved(self._counts, 2, self.y)
        more = size - len(self._counts)
        if more > 0:
            empty = np.zeros((more, self.x.cells, self.y.cells), np.uint32)
            self._counts = np.concatenate([self._counts, empty])

    def _keep(self, found: _Samples) -> None:
        if self._points is None:
            return
        if self.number > MOST_POINTS:
            self._points = None
            return
        block, flat = found.block, found.flat
        ids = {name: flat(_whose(found, name)) for name in _OF_ROWS}
        self._points.append(Points(
            x=flat(found.x), y=flat(found.y), page=flat(found.page), colour=flat(found.colour),
            spw=np.full(np.count_nonzero(found.good), block.spw), corr=flat(_corr(found)), **ids,
        ))  # fmt: skip

    def counts(self) -> Iterator[tuple[tuple[int, int], Counts]]:
        """Yield the ids of page and colour, and their histogram of shape (x cells, y cells)."""
        for key in sorted(self._slots.keys):
            yield key, self._counts[self._slots.keys[key]]

    @property
    def points(self) -> Points | None:
        """All points; None where there are more than `MOST_POINTS`, or none."""
        if not self._points:
            return None
        names = Points.__dataclass_fields__
        return Points(**{
            name: np.concatenate([getattr(one, name) for one in self._points]) for name in names
        })  # fmt: skip


class Averages:
    """Averages of one axis in cells of the other, for each page and colour.

    The mean of phases is that of their directions, and its spread the circular one, so that
    180 and -180 degrees are the same.

    Parameters
    ----------
    contents : Contents
        What is plotted.
    plot : Plot
        The axes, colours and pages; of `cells` the first counts.
    """

    def __init__(self, contents: Contents, plot: Plot) -> None:
        self.reader = Reader(contents, plot)
        self.plot = plot
        self.x = _axis_of(self.reader.x_axis, contents, plot.cells[0], plot.x_range)
        self._circular = self.reader.y_axis.name == "phase"
        self._slots = _Slots()
        self._sums = np.zeros((3, 0, self.x.cells))

    def needs(self) -> frozenset[str]:
        """Return what blocks must hold."""
        return self.reader.needs()

    def add(self, block: Block) -> None:
        """Take the visibilities of a block."""
        for found in self.reader.samples(block):
            if found.good.any():
                self._add(found)

    def _add(self, found: _Samples) -> None:
        factor, offset = self.x.grow(*_limits(found.x, found.good, self.x))
        self._sums = put_together(self._sums, 2, factor, offset)
        slots, size = self._slots.of(found)
        more = np.zeros((3, size - self._sums.shape[1], self.x.cells))
        self._sums = np.concatenate([self._sums, more], axis=1)
        x = self.x.index(found.x)
        found = replace(found, good=np.logical_and(found.good, x >= 0))
        cells, y = found.flat(slots * self.x.cells + x), found.flat(found.y)
        radians = np.radians(y) if self._circular else y
        terms = (np.cos(radians), np.sin(radians)) if self._circular else (y, y * y)
        for sums, weights in zip(self._sums, (None, *terms), strict=True):
            sums += np.bincount(cells, weights, minlength=sums.size).reshape(sums.shape)

    def averages(self) -> Iterator[tuple[tuple[int, int], Ints, Floats, Floats]]:
        """Yield the ids of page and colour; number, mean and standard deviation by x cell.

        Means and standard deviations are NaN in cells without values.
        """
        for key in sorted(self._slots.keys):
            number, first, second = self._sums[:, self._slots.keys[key]]
            with np.errstate(invalid="ignore", divide="ignore"):
                if self._circular:
                    mean = np.where(number > 0, np.degrees(np.arctan2(second, first)), np.nan)
                    length = np.minimum(np.hypot(first, second) / number, 1)
                    spread = np.degrees(np.sqrt(-2 * np.log(length)))
                else:
                    mean = first / number
                    spread = np.sqrt(np.maximum(second / number - mean**2, 0))
            yield key, number.astype(np.int64), mean, spread


def _axis_of(
    axis: axes.Axis, contents: Contents, cells: int, shown: tuple[float, float] | None
) -> Growing:
    """Return the cells of an axis: of the range that is asked for, or is known beforehand."""
    known = axis.span(contents) if axis.span and shown is None else shown
    if axis.name == "frequency" and known is not None and shown is None:
        # No cells narrower than channels: there would be nothing between them.
        channel = min(abs(spw.chan_width_hz) for spw in contents.observation.spws) / 1e6
        number = round((known[1] - known[0]) / channel) if channel else 0
        if 0 < number < cells:
            cells = number + number % 2
            known = (known[0], known[0] + cells * channel)
    return Growing(cells, known, fixed=shown is not None, whole=axis.whole,
                   from_zero=axis.from_zero)  # fmt: skip


def _limits(values: Values, good: Bools, axis: Growing) -> tuple[float, float]:
    """Return the least and the greatest good value."""
    if axis.fixed:
        return np.nan, np.nan
    good = _reduced(good, values.shape)
    values = np.broadcast_to(values, good.shape)[good]
    return float(values.min()), float(values.max())


def _reduced(good: Bools, shape: tuple[int, ...]) -> Bools:
    """Return where there is any good one along the axes that `shape` has not."""
    missing = tuple(i for i, length in enumerate(shape) if length == 1 != good.shape[i])
    return np.asarray(good.any(axis=missing, keepdims=True)) if missing else good


_OF_ROWS = ("antenna1", "antenna2", "field", "scan")


def _whose(found: _Samples, name: str) -> Ints:
    """Return an id of the row of each sample; -1 where several rows are one."""
    ids: Ints = getattr(found.block, name)
    return ids[None, None, :] if found.shape[2] == len(ids) else np.full((1, 1, 1), -1)


def _corr(found: _Samples) -> Ints:
    """Return the correlation of each sample; -1 where several are one."""
    own = found.block.correlation
    if found.shape[0] == len(own):
        return own[:, None, None]
    return np.full((1, 1, 1), -1)
