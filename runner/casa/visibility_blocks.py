"""Read the visibilities of a MeasurementSet, block by block, for plots of any size.

Only the columns that are asked for are read, in blocks of bounded size, from the rows,
channels and correlations of a selection in CASA's syntax. Arrays keep casacore's axis order:
correlation, channel, row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .. import selection as select
from ..errors import DataError
from . import read
from .horizon import Horizon
from .visibility_contents import Contents

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Complexes = npt.NDArray[np.complex128]

BLOCK_SAMPLES: Final = 1_000_000
"""Visibilities in memory at a time: 16 MB for each column that is read, and as much for sums."""

COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "data": ("DATA",),
    "corrected": ("CORRECTED_DATA",),
    "model": ("MODEL_DATA",),
    "residual": ("CORRECTED_DATA", "MODEL_DATA"),
    "data-model": ("DATA", "MODEL_DATA"),
    "float": ("FLOAT_DATA",),
}
"""What can be plotted, and the MS's columns that it is made of: the first less the second."""


@dataclass(frozen=True)
class Block:
    """Some rows of one data description.

    Attributes
    ----------
    ddid, spw : int
        Data description and spectral window.
    correlation : array of int, shape (correlations,)
        Each as an index of `Contents.correlations`.
    channel, frequency_hz : array, shape (channels,)
        Number and centre of each channel, or their means where channels are averaged.
    time_s : array, shape (rows,)
        MJD seconds, UTC; and so `antenna1`, `antenna2`, `field` and `scan`, by id.
    uvw_m : array, shape (3, rows)
    flag : array of bool, shape (correlations, channels, rows)
        With FLAG_ROW.
    flagged : array, shape (rows,)
        The share of the row's selected visibilities that is flagged, before any averaging.
    data : array of complex, shape (correlations, channels, rows), or None
        None where no axis needs visibilities.
    weight : array, shape (correlations, rows), or None
    snr : array, shape (correlations, channels, rows), or None
        Of calibration tables.
    horizon : Horizon or None
        Where the fields stood, for the axes that need it.
    """

    ddid: int
    spw: int
    correlation: Ints
    channel: Floats
    frequency_hz: Floats
    time_s: Floats
    antenna1: Ints
    antenna2: Ints
    field: Ints
    scan: Ints
    uvw_m: Floats
    flag: Bools
    flagged: Floats
    data: Complexes | Floats | None = None
    weight: Floats | None = None
    snr: Floats | None = None
    horizon: Horizon | None = None


@dataclass(frozen=True)
class Selection:
    """What to read, resolved against the contents.

    Attributes
    ----------
    taql : str
        The condition on rows; empty for all.
    channels : mapping
        By spectral window the indices of its channels; windows that are left out are not read.
    correlations : frozenset of str
        Names of the correlations to take; empty for all.
    autocorrelations : bool
        Take these, too.
    """

    taql: str = ""
    channels: Mapping[int, tuple[int, ...]] | None = None
    correlations: frozenset[str] = field(default_factory=frozenset)
    autocorrelations: bool = False


_NOT_OF_SOLUTIONS: Final = frozenset({"correlation", "uvrange", "intent"})


def choose(contents: Contents, parts: Mapping[str, str]) -> Selection:
    """Resolve a selection in CASA's syntax.

    Parameters
    ----------
    contents : Contents
        Of the MS or calibration table.
    parts : mapping
        Of ``field``, ``spw`` (with channels), ``scan``, ``antenna`` (and baselines),
        ``correlation``, ``timerange``, ``uvrange``, ``intent``: those that are not empty select.

    Returns
    -------
    Selection
        With autocorrelations only where the baselines ask for them (``ea01&&ea02``, ``*&&&``).

    Raises
    ------
    DataError
        If one cannot be read or selects nothing; the message says what there is.
    """
    given = {name: text for name, text in parts.items() if text.strip()}
    for name in sorted(_NOT_OF_SOLUTIONS & set(given)) if contents.is_caltable else ():
        raise DataError(f"{contents.path} is a calibration table: --{name} selects nothing there")
    wrong = select.check(given, contents.observation)
    if wrong:
        said = "\n".join(f"--{name} {given[name]!r}: {text}" for name, text in wrong.items())
        raise DataError(f"{contents.path}\n{said}")
    channels = None
    if "spw" in given:
        chosen = select.spws(given["spw"], contents.observation)
        channels = {one.spw_id: one.channels for one in chosen}
    names: frozenset[str] = frozenset()
    if "correlation" in given:
        names = frozenset(select.correlations(given["correlation"], contents.observation))
    taql = " && ".join(_conditions(contents, given))
    return Selection(taql, channels, names, autocorrelations="&&" in given.get("antenna", ""))


def _conditions(contents: Contents, given: Mapping[str, str]) -> Iterator[str]:
    """Yield the conditions on rows, in TaQL; lists of ids as casarun reads CASA's syntax."""
    about = contents.observation
    if "field" in given:
        yield f"FIELD_ID IN {list(select.fields(given['field'], about))}"
    if "scan" in given:
        yield f"SCAN_NUMBER IN {list(select.scans(given['scan'], about))}"
    if "intent" in given:
        wanted = set(select.intents(given["intent"], about))
        scans = sorted({one.number for one in about.scans if wanted & set(one.intents)})
        yield f"SCAN_NUMBER IN {scans}"
    if "timerange" in given:
        spans = select.timerange(given["timerange"], about)
        any_of = [f"(TIME >= {low!r} && TIME <= {min(high, 1e12)!r})" for low, high in spans]
        yield f"({' || '.join(any_of)})"
    if contents.is_caltable:
        if "antenna" in given:
            yield f"ANTENNA1 IN {list(select.antennas(given['antenna'], about))}"
        return
    # What rows a baseline or a length in wavelengths means, CASA itself says.
    for name, function in (("antenna", "baseline"), ("uvrange", "uvdist")):
        if name in given:
            yield f"mscal.{function}({_quoted(given[name])})"


def _quoted(text: str) -> str:
    """Write a text for TaQL, which has no escapes: in the quotes that it does not hold."""
    if '"' in text and "'" in text:
        raise DataError(f"{text!r}: a selection with both kinds of quotes cannot be read")
    return f"'{text}'" if '"' in text else f'"{text}"'


def column(contents: Contents, wanted: str = "") -> str:
    """Return the name of a column of visibilities in `COLUMNS`, or what is there by default.

    Raises
    ------
    DataError
        If there is no such name, or the MS has not what it is made of.
    """
    there = [name for name, needs in COLUMNS.items() if set(needs) <= set(contents.columns)]
    if wanted in there:
        return wanted
    if not wanted:
        return next((name for name in ("corrected", "data", "float") if name in there), "")
    known = f"columns here: {', '.join(there) or 'none'}"
    if wanted not in COLUMNS:
        raise DataError(f"there is no column {wanted!r}; {known}")
    missing = ", ".join(name for name in COLUMNS[wanted] if name not in contents.columns)
    hint = ""
    if "MODEL_DATA" in missing:
        hint = "; CASA writes a model there with setjy(usescratch=True) or tclean(savemodel)"
    raise DataError(f"{contents.path} has no {missing}, so no '{wanted}'; {known}{hint}")


def blocks(
    ms: Path | str,
    contents: Contents,
    chosen: Selection,
    what: str = "",
    extra: Iterable[str] = (),
    *,
    in_time: bool = False,
) -> Iterator[Block]:
    """Read a selection in blocks of at most `BLOCK_SAMPLES` visibilities.

    Parameters
    ----------
    ms : Path or str
        The MeasurementSet.
    contents : Contents
        What it holds.
    chosen : Selection
        What of it to read.
    what : str
        The visibilities to read, one of `COLUMNS`; empty for none.
    extra : iterable of str
        ``WEIGHT`` and ``horizon``, as far as they are needed.
    in_time : bool
        Yield the rows of a data description in the order of their times, whatever their order
        in the MS.

    Raises
    ------
    DataError
        If the MS cannot be opened or nothing is selected.
    """
    extra = frozenset(extra)
    horizon = contents.horizon() if "horizon" in extra else None
    found = 0
    with read.opened(ms) as main:
        for ddid, (spw, _) in enumerate(contents.parts):
            if chosen.channels is not None and spw not in chosen.channels:
                continue
            part = _rows_of(main, contents, ddid, chosen.taql, in_time=in_time)
            try:
                found += int(part.nrows())
                reader = _Reader(part, contents, ddid, chosen, what, "WEIGHT" in extra, horizon)
                yield from reader.blocks()
            finally:
                if part is not main:
                    part.close()
    if not found:
        raise DataError(f"{ms}: no rows are selected: each part of the selection has data, but "
                        "not all of them together")  # fmt: skip


def _rows_of(main: Any, contents: Contents, ddid: int, taql: str, *, in_time: bool) -> Any:
    """Return the rows of a data description that are selected, as a table."""
    conditions = [f"DATA_DESC_ID=={ddid}"] if len(contents.parts) > 1 else []
    conditions += [taql] if taql else []
    query = " && ".join(conditions)
    part = main.query(query) if query else main
    if in_time and not _is_in_time(part):
        if part is not main:
            part.close()  # a query of a query's rows would look for their table on the disk
        part = main.query(query, sortlist="TIME")
    return part


def _is_in_time(part: Any, step: int = 1_000_000) -> bool:
    """Say whether times never go back."""
    last = -np.inf
    for start in range(0, int(part.nrows()), step):
        times = part.getcol("TIME", start, step)
        if times[0] < last or np.any(np.diff(times) < 0):
            return False
        last = times[-1]
    return True


@dataclass
class _Reader:
    """Reads the selected rows of one data description."""

    part: Any
    contents: Contents
    ddid: int
    chosen: Selection
    what: str
    weights: bool
    horizon: Horizon | None

    def __post_init__(self) -> None:
        self.spw, names = self.contents.parts[self.ddid]
        n_chan = len(self.contents.frequencies_hz[self.spw])
        every = range(n_chan)
        by_window = self.chosen.channels
        self.channels = np.array(every if by_window is None else by_window[self.spw], np.int64)
        wanted = self.chosen.correlations
        self.correlations = [i for i, name in enumerate(names) if not wanted or name in wanted]
        self.names = [names[i] for i in self.correlations]
        # Of scattered channels the block from first to last is read.
        self.first, self.last = int(self.channels[0]), int(self.channels[-1])
        self.whole = self.last - self.first + 1 == n_chan and len(self.names) == len(names)
        inside = self.channels - self.first
        self.inside = None if len(inside) == self.last - self.first + 1 else inside

    def blocks(self) -> Iterator[Block]:
        """Yield the blocks."""
        if not self.names:
            return
        n_rows = int(self.part.nrows())
        per_row = (self.last - self.first + 1) * max(1, len(self.contents.parts[self.ddid][1]))
        step = max(1, BLOCK_SAMPLES // per_row)
        for start in range(0, n_rows, step):
            yield self._block(start, min(step, n_rows - start))

    def _block(self, start: int, n_rows: int) -> Block:
        first, second = (self.part.getcol(f"ANTENNA{i}", start, n_rows) for i in (1, 2))
        rows = None if self.chosen.autocorrelations else np.not_equal(first, second)
        rows = None if rows is None or rows.all() else rows

        def taken(values: Any) -> Any:
            return values if rows is None or values is None else values[..., rows]

        def plain(name: str) -> Any:
            return taken(self.part.getcol(name, start, n_rows))

        flag = taken(self._cells("FLAG", start, n_rows)) | plain("FLAG_ROW")
        index = {name: i for i, name in enumerate(self.contents.correlations)}
        return Block(
            ddid=self.ddid, spw=self.spw,
            correlation=np.array([index[name] for name in self.names], np.int64),
            channel=self.channels.astype(float),
            frequency_hz=self.contents.frequencies_hz[self.spw][self.channels],
            time_s=plain("TIME"), antenna1=taken(first), antenna2=taken(second),
            field=plain("FIELD_ID"), scan=plain("SCAN_NUMBER"), uvw_m=plain("UVW"), flag=flag,
            flagged=flag.mean(axis=(0, 1)), data=taken(self._data(start, n_rows)),
            weight=plain("WEIGHT")[self.correlations] if self.weights else None,
            horizon=self.horizon,
        )  # fmt: skip

    def _data(self, start: int, n_rows: int) -> Any:
        if not self.what:
            return None
        first, *less = COLUMNS[self.what]
        data = self._cells(first, start, n_rows)
        for name in less:
            data = data - self._cells(name, start, n_rows)
        return data

    def _cells(self, name: str, start: int, n_rows: int) -> Any:
        """Read visibilities or flags of the selected channels and correlations."""
        if self.whole:
            cells = self.part.getcol(name, start, n_rows)
        else:
            low, high = [0, self.first], [-1, self.last]
            cells = self.part.getcolslice(name, low, high, [1, 1], start, n_rows)
            if len(self.correlations) < cells.shape[0]:
                cells = cells[self.correlations]
        return cells if self.inside is None else cells[:, self.inside]
