"""How much signal and noise the data of an MS carry for solving gains.

The noise comes from the visibilities' own scatter, which gain errors do not touch; an image's rms
before self-calibration is that of its artefacts, a hundred times the noise in a bright field.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .config import configure
from .read import Layout, layout
from .tables import open_table

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

PIECE_SAMPLES: Final = 500_000
"""Visibilities in memory at a time."""

NOISE_SAMPLES: Final = 2_000_000
"""Visibilities of a spectral window that its noise is measured on; of more, spread pieces."""

_MAD_TO_SIGMA: Final = 1.4826
_CORRELATED: Final = 0.1
"""Channels whose noise is less correlated than this count as independent."""


@dataclass(frozen=True)
class SignalPower:
    """How much signal each antenna has in each integration, in units of the noise.

    Attributes
    ----------
    spws : tuple of int
        Spectral windows that have data.
    hands : int
        Parallel hands: 1 or 2.
    antennas : tuple of str
        Names by id.
    time_s : ndarray of float, shape (times,)
        Middles of the integrations (MJD s).
    scan : ndarray of int, shape (times,)
        Their scans.
    integration_s : float
        Length of an integration.
    power : ndarray of float, shape (spws, hands, times, antennas)
        Sum of ``|model|^2 / sigma^2`` over unflagged baselines to the antenna and channels.
    """

    spws: tuple[int, ...]
    hands: int
    antennas: tuple[str, ...]
    time_s: Floats
    scan: Ints
    integration_s: float
    power: Floats


def selected_channels(ms: Path | str, spw: str = "") -> dict[int, Ints]:
    """Return the channels of a selection, as CASA reads it, by spectral window.

    Parameters
    ----------
    ms : Path or str
        The MS.
    spw : str
        CASA's ``spw`` selection; empty for all.
    """
    configure()
    from casatools import ms as measurement_set

    ranges = measurement_set().msseltoindex(vis=str(ms), spw=spw or "*")["channel"]
    found: dict[int, list[Ints]] = {}
    for window, first, last, step in np.atleast_2d(ranges).tolist():
        found.setdefault(int(window), []).append(np.arange(first, last + 1, max(1, step)))
    return {window: np.unique(np.concatenate(parts)) for window, parts in found.items()}


def noise_by_spw(
    ms: Path | str, spw: str = "", column: str = "DATA", samples: int = NOISE_SAMPLES
) -> dict[int, float]:
    """Measure the noise of one visibility in each spectral window, free of sky and gains.

    Of a sky that varies smoothly with frequency nothing is left in the second difference of
    three channels; windows of fewer channels are differenced in time, and the differences of two
    channels or hands likewise, of which gains that drift are gone. Where neighbouring
    channels' noise is correlated (Hanning smoothing), the number is the one that holds for sums
    of channels: larger than the scatter of a single one.

    Parameters
    ----------
    ms : Path or str
        The MS.
    spw : str
        Selection of windows and channels; empty for all.
    column : str
        The visibilities to measure.
    samples : int
        How many of a window are read at most, in spread pieces.

    Returns
    -------
    dict of int to float
        By spectral window the standard deviation of the real, as of the imaginary, part of one
        visibility, in the data's unit (Jy); none for a window without enough unflagged data.
    """
    about, channels = layout(ms), selected_channels(ms, spw)
    found: dict[int, float] = {}
    with open_table(ms) as main:
        for ddid, window in enumerate(about.spw_of):
            if window not in channels or window in found:
                continue
            pieces = _sample(main, about, ddid, channels[window], column, samples)
            sigma = _noise(list(pieces))
            if sigma is not None:
                found[window] = sigma
    return found


def signal_power(
    ms: Path | str, noise_jy: dict[int, float], spw: str = "", column: str = "MODEL_DATA"
) -> SignalPower:
    """Add up what the model predicts for each antenna and integration.

    For a point source of flux density S and N antennas, an antenna's solution over n samples of
    each baseline has ``S sqrt((N-1) n) / sigma``; the sum over the model's visibilities holds for
    any source, for flagged data, and for windows of different noise.

    Parameters
    ----------
    ms : Path or str
        The MS, with a model.
    noise_jy : dict of int to float
        Of `noise_by_spw`; windows that are not in it have no part.
    spw : str
        Selection of windows and channels; empty for all.
    column : str
        The model's column.
    """
    about, channels = layout(ms), selected_channels(ms, spw)
    spws = tuple(sorted(noise_jy.keys() & channels.keys()))
    with open_table(ms) as main:
        time_s, scan, integration_s = _integrations(main)
        hands = max((len(about.parallel_hands(d)) for d in _of(about, spws)), default=1)
        power = np.zeros((len(spws), min(2, hands), len(time_s), len(about.antennas)))
        for ddid in _of(about, spws):
            window = about.spw_of[ddid]
            mine = power[spws.index(window)]
            for piece in _pieces(main, about, ddid, channels[window], column):
                at = np.searchsorted(time_s, np.round(piece.time_s, 3) - 1e-3)
                _add(mine, piece, np.minimum(at, len(time_s) - 1), noise_jy[window])
    return SignalPower(spws, power.shape[1], about.antennas, time_s, scan, integration_s, power)


def has_model(ms: Path | str, spw: str = "") -> bool:
    """Tell whether the model of an MS has any flux in the selected data.

    Parameters
    ----------
    ms : Path or str
        The MS.
    spw : str
        Selection of windows and channels; empty for all.
    """
    about, channels = layout(ms), selected_channels(ms, spw)
    if "MODEL_DATA" not in about.columns:
        return False
    with open_table(ms) as main:
        return any(
            bool(np.any(piece.data))
            for ddid in _of(about, tuple(channels))
            for piece in _pieces(main, about, ddid, channels[about.spw_of[ddid]], "MODEL_DATA")
        )


def halves(ms: Path | str, spw: str = "") -> tuple[str, str] | None:
    """Return selections of the lower and of the upper half of each window's selected channels.

    Parameters
    ----------
    ms : Path or str
        The MS.
    spw : str
        Selection of windows and channels; empty for all.

    Returns
    -------
    tuple of (str, str) or None
        None where a window has a single channel.
    """
    parts: tuple[list[str], list[str]] = ([], [])
    for window, channels in selected_channels(ms, spw).items():
        if len(channels) < 2:
            return None
        for half, chosen in zip(parts, np.array_split(channels, 2), strict=True):
            breaks = np.flatnonzero(np.diff(chosen) > 1) + 1
            runs = [f"{run[0]}~{run[-1]}" for run in np.split(chosen, breaks)]
            half.append(f"{window}:{';'.join(runs)}")
    return ",".join(parts[0]), ",".join(parts[1])


@dataclass(frozen=True)
class _Piece:
    """Cross-correlations' parallel hands: `data`, `good` of shape (hands, channels, rows)."""

    data: npt.NDArray[np.complex128]
    good: Bools
    time_s: Floats
    antenna1: Ints
    antenna2: Ints
    scan: Ints
    contiguous: bool


def _of(about: Layout, spws: Sequence[int]) -> list[int]:
    return [ddid for ddid, window in enumerate(about.spw_of) if window in spws]


def _sample(
    main: Any, about: Layout, ddid: int, channels: Ints, column: str, samples: int
) -> Iterator[_Piece]:
    """Read evenly spread pieces, four or more, that hold so many visibilities at most."""
    size = min(PIECE_SAMPLES, max(1, samples // 4))
    yield from _pieces(main, about, ddid, channels, column, max(1, samples // size), size)


def _pieces(
    main: Any,
    about: Layout,
    ddid: int,
    channels: Ints,
    column: str,
    most: int = 0,
    size: int = PIECE_SAMPLES,
) -> Iterator[_Piece]:
    """Read the rows of a data description; at most `most` pieces, if that is not 0."""
    part = main.query(f"DATA_DESC_ID=={ddid} AND ANTENNA1!=ANTENNA2")
    try:
        n_rows = int(part.nrows())
        window = about.spw_of[ddid]
        each = len(about.frequencies_hz[window]) * len(about.correlations_of[ddid])
        step = max(1, size // each)
        starts = np.arange(0, n_rows, step)
        if most and len(starts) > most:
            starts = starts[np.linspace(0, len(starts) - 1, most).round().astype(int)]
        hands = about.parallel_hands(ddid)[:2]
        contiguous = bool(len(channels) and np.all(np.diff(channels) == 1))
        for start in starts.tolist():
            chosen = np.ix_(np.asarray(hands), channels)
            flag = part.getcol("FLAG", start, step) | part.getcol("FLAG_ROW", start, step)
            data = part.getcol(column, start, step)[chosen]
            yield _Piece(
                data=data,
                good=~flag[chosen] & np.isfinite(data),
                time_s=part.getcol("TIME", start, step),
                antenna1=part.getcol("ANTENNA1", start, step),
                antenna2=part.getcol("ANTENNA2", start, step),
                scan=part.getcol("SCAN_NUMBER", start, step),
                contiguous=contiguous,
            )
    finally:
        part.close()


def _integrations(main: Any) -> tuple[Floats, Ints, float]:
    """Return middles, scans and the median length of the integrations."""
    time_s, first = np.unique(np.round(main.getcol("TIME"), 3), return_index=True)
    return time_s, main.getcol("SCAN_NUMBER")[first], float(np.median(main.getcol("INTERVAL")))


def _add(power: Floats, piece: _Piece, at: Ints, sigma: float) -> None:
    """Add a piece to the power of its antennas, shape (hands, times, antennas)."""
    each = (np.abs(piece.data) ** 2 * piece.good).sum(axis=1) / sigma**2
    for hand, row in enumerate(each):
        np.add.at(power[hand], (at, piece.antenna1), row)
        np.add.at(power[hand], (at, piece.antenna2), row)


def _noise(pieces: Sequence[_Piece]) -> float | None:
    """Return the noise of pieces of one window, or None if there is not enough to tell."""
    variances = {}
    for lag in (1, 2, 3):
        found = [second_differences(p.data, p.good, lag) for p in pieces if p.contiguous]
        variances[lag] = _variance(found)
    if variances[1] is None:
        # Gains that drift add to differences in time; those of two channels, or of two hands,
        # drift together. All are the noise and something more, so that the least is closest.
        ways = ([_in_time(way(piece)) for piece in pieces] for way in (_whole, _by_pairs))
        known = [one for one in map(_variance, ways) if one is not None]
        return float(np.sqrt(min(known))) if known else None
    return float(np.sqrt(for_sums(variances[1], variances[2], variances[3])))


def second_differences(
    data: npt.NDArray[np.complex128], good: Bools, lag: int
) -> npt.NDArray[np.complex128]:
    """Return second differences along the channels, of the variance of one visibility.

    Parameters
    ----------
    data : ndarray of complex, shape (hands, channels, rows)
        Visibilities.
    good : ndarray of bool, same shape
        Which of them count.
    lag : int
        Distance of the channels.

    Returns
    -------
    ndarray of complex, shape (differences,)
        ``(x[i-lag] - 2 x[i] + x[i+lag]) / sqrt(6)``.
    """
    n = data.shape[1] - 2 * lag
    if n < 1:
        return np.zeros(0, complex)
    parts = [slice(k * lag, k * lag + n) for k in range(3)]
    usable = good[:, parts[0]] & good[:, parts[1]] & good[:, parts[2]]
    bent = data[:, parts[0]] - 2 * data[:, parts[1]] + data[:, parts[2]]
    return np.asarray(bent[usable] / np.sqrt(6))


def for_sums(one: float, two: float | None, three: float | None) -> float:
    """Return the variance that a visibility has in sums of channels.

    With correlations r1, r2 of neighbours and next neighbours, second differences of lag 1, 2
    and 3 have the variances ``s^2 (6 - 8 r1 + 2 r2)/6``, ``s^2 (6 - 8 r2)/6`` and ``s^2``, and a
    long sum ``s^2 (1 + 2 r1 + 2 r2)`` a channel.

    Parameters
    ----------
    one, two, three : float or None
        Variances of second differences of these lags.
    """
    if two is None or three is None or three <= 0:
        return one
    r2 = (three - two) * 6 / 8 / three
    r1 = (6 * (three - one) + 2 * r2 * three) / 8 / three
    if r1 < _CORRELATED:
        return one
    return three * (1 + 2 * r1 + 2 * max(0.0, r2))


def _variance(parts: Sequence[npt.NDArray[np.complex128]]) -> float | None:
    """Return the robust variance of a real part about zero."""
    whole = np.concatenate([np.zeros(0, complex), *parts])
    if len(whole) < 10:
        return None
    both = np.abs(np.concatenate([whole.real, whole.imag]))
    variance = float((_MAD_TO_SIGMA * np.median(both)) ** 2)
    return variance if variance > 0 else None


def _whole(piece: _Piece) -> _Piece:
    return piece


def _by_pairs(piece: _Piece) -> _Piece:
    """Return the differences of two channels, or else of the two hands, with their variance."""
    axis = 1 if piece.data.shape[1] == 2 else 0
    if piece.data.shape[axis] != 2:
        return replace(piece, good=np.zeros_like(piece.good))
    first, second = ((slice(None),) * axis + (slice(n, n + 1),) for n in (0, 1))
    apart = (piece.data[first] - piece.data[second]) / np.sqrt(2)
    return replace(piece, data=apart, good=piece.good[first] & piece.good[second])


def _in_time(piece: _Piece) -> npt.NDArray[np.complex128]:
    """Return second differences in time of each baseline's visibilities in a scan."""
    n_antennas = int(max(piece.antenna1.max(), piece.antenna2.max())) + 1
    series = (piece.scan * n_antennas + piece.antenna1) * n_antennas + piece.antenna2
    order = np.lexsort((piece.time_s, series))
    same = series[order][2:] == series[order][:-2]
    data, good = piece.data[..., order], piece.good[..., order]
    usable = good[..., 2:] & good[..., 1:-1] & good[..., :-2] & same
    bent = data[..., 2:] - 2 * data[..., 1:-1] + data[..., :-2]
    return np.asarray(bent[usable] / np.sqrt(6))
