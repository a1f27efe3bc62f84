"""Average visibilities over channels and in time, block by block.

Weights are those of the MS (WEIGHT), as in CASA's ``split`` and ``mstransform``; what is
flagged, or has no weight, does not count. Averages in time do not go across fields, scans,
baselines or windows. Sums of an interval that is not over wait for the next block, so an interval
may be of any length.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from ..observation import Observation
from .visibility_blocks import Block

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Complexes = npt.NDArray[np.complex128]


@dataclass(frozen=True)
class Averaging:
    """How far to average.

    Attributes
    ----------
    channels : int
        So many channels become one; 0 for all of a window, 1 for none.
    time_s : float
        Length of an interval, from the start of its scan; ``inf`` for whole scans, 0 for none.
    scalar : bool
        Average amplitudes as numbers; phases are those of the vector average in any case.
    """

    channels: int = 1
    time_s: float = 0.0
    scalar: bool = False


@dataclass(frozen=True)
class _Sums:
    """Weighted sums of rows: the last axis of every array is that of rows.

    `weight` and `data` have shape (correlations, channels, rows), `amplitude` too, or no rows
    where it is not needed; `mean` holds, one a line, time, u, v, w and the flagged share.
    """

    ends_s: Floats
    antenna1: Ints
    antenna2: Ints
    field: Ints
    scan: Ints
    interval: Ints
    rows: Floats
    mean: Floats
    weight: Floats
    data: Complexes
    amplitude: Floats


def averaged(
    read: Iterable[Block], averaging: Averaging, observation: Observation
) -> Iterator[Block]:
    """Average blocks.

    Parameters
    ----------
    read : iterable of Block
        With weights; with data, if those are to be averaged. For averages in time, the rows of
        each data description in the order of their times.
    averaging : Averaging
        How far.
    observation : Observation
        Whose scans say where intervals begin and end.
    """
    waiting: _Sums | None = None
    last: Block | None = None
    for block in read:
        if last is not None and waiting is not None and block.ddid != last.ddid:
            yield _block(waiting, last)
            waiting = None
        coarse = _in_channels(block, averaging)
        sums = _sums(block, coarse, averaging, observation)
        if averaging.time_s <= 0:
            yield _block(sums, coarse)
            continue
        sums = _together(sums if waiting is None else _joined(waiting, sums))
        over = sums.ends_s <= float(block.time_s.max())
        if over.any():
            yield _block(_part(sums, over), coarse)
        waiting, last = _part(sums, ~over), coarse
    if last is not None and waiting is not None and waiting.rows.size:
        yield _block(waiting, last)


def _in_channels(block: Block, averaging: Averaging) -> Block:
    """Return a block with the channels that its averages have; its visibilities stay."""
    starts = _starts(block, averaging)
    number = np.diff(np.append(starts, len(block.channel)))
    return _replaced(
        block,
        channel=np.add.reduceat(block.channel, starts) / number,
        frequency_hz=np.add.reduceat(block.frequency_hz, starts) / number,
    )


def _replaced(block: Block, **changes: object) -> Block:
    old = {one.name: getattr(block, one.name) for one in fields(Block)}
    return Block(**{**old, **changes})


def _starts(block: Block, averaging: Averaging) -> Ints:
    """Return the first channel of each average."""
    length = averaging.channels or len(block.channel)
    return np.arange(0, len(block.channel), length)


def _sums(block: Block, coarse: Block, averaging: Averaging, observation: Observation) -> _Sums:
    """Return a block's sums over channels."""
    starts = _starts(block, averaging)
    given = np.ones((len(block.correlation), len(block.time_s)))
    weight = np.where(block.flag, 0.0, (given if block.weight is None else block.weight)[:, None])
    data = np.zeros(weight.shape, complex) if block.data is None else block.data
    good = (weight > 0) & np.isfinite(data)
    weight, data = np.where(good, weight, 0.0), np.where(good, data, 0.0)
    amplitude = np.zeros((*weight.shape[:2], 0))
    if averaging.scalar:
        amplitude = np.add.reduceat(weight * np.abs(data), starts, axis=1)
    interval, ends = _intervals(block, averaging, observation)
    return _Sums(
        ends_s=ends, antenna1=block.antenna1, antenna2=block.antenna2, field=block.field,
        scan=block.scan, interval=interval, rows=np.ones(len(block.time_s)),
        mean=np.concatenate([block.time_s[None], block.uvw_m, block.flagged[None]]),
        weight=np.add.reduceat(weight, starts, axis=1),
        data=np.add.reduceat(weight * data, starts, axis=1),
        amplitude=amplitude if averaging.scalar else np.zeros((*coarse.flag.shape[:1], 0, 0)),
    )  # fmt: skip


def _intervals(block: Block, averaging: Averaging, observation: Observation) -> tuple[Ints, Floats]:
    """Return the interval that each row belongs to, and when that is over (MJD seconds)."""
    if averaging.time_s <= 0:
        return np.arange(len(block.time_s)), block.time_s
    starts: dict[int, float] = {}
    ends: dict[int, float] = {}
    for scan in observation.scans:
        starts[scan.number] = min(starts.get(scan.number, math.inf), scan.start_mjd_s)
        ends[scan.number] = max(ends.get(scan.number, -math.inf), scan.end_mjd_s)
    numbers, inverse = np.unique(block.scan, return_inverse=True)
    begin = np.array([starts[int(number)] for number in numbers])[inverse]
    end = np.array([ends[int(number)] for number in numbers])[inverse]
    if math.isinf(averaging.time_s):
        return np.zeros(len(begin), np.int64), end
    interval = np.floor((block.time_s - begin) / averaging.time_s).astype(np.int64)
    return interval, np.minimum(begin + (interval + 1) * averaging.time_s, end)


def _joined(first: _Sums, second: _Sums) -> _Sums:
    """Return the rows of both."""
    return _Sums(**{
        one.name: np.concatenate([getattr(first, one.name), getattr(second, one.name)], axis=-1)
        for one in fields(_Sums)
    })  # fmt: skip


def _part(sums: _Sums, rows: npt.NDArray[np.bool_]) -> _Sums:
    """Return some rows; the sums of amplitudes may have none."""
    return _Sums(**{
        one.name: values if not (values := getattr(sums, one.name)).size else values[..., rows]
        for one in fields(_Sums)
    })  # fmt: skip


_KEYS = ("antenna1", "antenna2", "field", "scan", "interval")


def _together(sums: _Sums) -> _Sums:
    """Add up the rows of one baseline, field, scan and interval."""
    order = np.lexsort([getattr(sums, name) for name in _KEYS])
    keys = np.stack([getattr(sums, name)[order] for name in _KEYS])
    new = np.any(np.diff(keys, axis=1) != 0, axis=0)
    starts = np.concatenate([[0], np.flatnonzero(new) + 1])
    whole = {}
    for one in fields(_Sums):
        values = getattr(sums, one.name)
        if one.name == "ends_s" or one.name in _KEYS:
            whole[one.name] = values[order][starts]
        elif one.name == "mean":
            whole[one.name] = np.add.reduceat((values * sums.rows)[:, order], starts, axis=1)
        elif values.size:
            whole[one.name] = np.add.reduceat(values[..., order], starts, axis=-1)
        else:
            whole[one.name] = values
    whole["mean"] = whole["mean"] / whole["rows"]
    return _Sums(**whole)


def _block(sums: _Sums, like: Block) -> Block:
    """Return sums as a block of averages."""
    flag = sums.weight <= 0
    over = np.where(flag, 1.0, sums.weight)
    data = sums.data / over
    if sums.amplitude.size:
        data = sums.amplitude / over * np.exp(1j * np.angle(data))
    return _replaced(
        like, time_s=sums.mean[0], uvw_m=sums.mean[1:4], flagged=sums.mean[4],
        antenna1=sums.antenna1, antenna2=sums.antenna2, field=sums.field, scan=sums.scan,
        flag=flag, data=None if like.data is None else data, weight=sums.weight.sum(axis=1),
    )  # fmt: skip
