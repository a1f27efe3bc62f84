"""What visibilities can be plotted against: each axis as a function of a block of rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..errors import DataError, did_you_mean
from .visibility_blocks import Block
from .visibility_contents import Contents

Values = npt.NDArray[Any]
Span = tuple[float, float]
LIGHT_M_S: Final = 299_792_458.0
BASELINE: Final = 100_000
"""The baseline of antennas i and j has the number i times this plus j."""


@dataclass(frozen=True)
class Axis:
    """One axis.

    Attributes
    ----------
    name, label, unit : str
    values : callable
        Block to an array that broadcasts to (correlations, channels, rows).
    needs : frozenset of str
        Of ``data``, ``WEIGHT``, ``horizon``, ``snr``: what the block must hold.
    span : callable or None
        Contents to lowest and highest value, where these are known before reading.
    names : callable or None
        Contents to the names of the values, where these are ids.
    whole : bool
        Values are whole numbers.
    from_zero : bool
        Values are never negative.
    in_caltable : bool
        Calibration tables have it.
    """

    name: str
    label: str
    unit: str
    values: Callable[[Block], Values]
    needs: frozenset[str] = frozenset()
    span: Callable[[Contents], Span] | None = None
    names: Callable[[Contents], Mapping[int, str]] | None = None
    whole: bool = False
    from_zero: bool = False
    in_caltable: bool = False


def _rows(values: Values) -> Values:
    return values[None, None, :]


def _by_channel(values: Values) -> Values:
    return values[None, :, None]


def _wavelengths(metres: Values, block: Block) -> Values:
    """Return lengths (rows,) in kilolambda, shape (1, channels, rows)."""
    return metres[None, None, :] * (block.frequency_hz / LIGHT_M_S / 1e3)[None, :, None]


def _distance(block: Block) -> Values:
    return np.asarray(np.hypot(block.uvw_m[0], block.uvw_m[1]))


def _data(block: Block) -> Values:
    assert block.data is not None  # noqa: S101 - `needs` says so
    return block.data


def _amplitude(block: Block) -> Values:
    data = _data(block)
    # A third of the time of np.abs, which guards against squares that overflow.
    return np.asarray(np.sqrt(data.real**2 + data.imag**2))


def _horizon(which: str, scale: float) -> Callable[[Block], Values]:
    def values(block: Block) -> Values:
        assert block.horizon is not None  # noqa: S101 - `needs` says so
        angle: Values = getattr(block.horizon, which)(block.time_s, block.field)
        return _rows(angle * scale)

    return values


def _weight(block: Block) -> Values:
    assert block.weight is not None  # noqa: S101 - `needs` says so
    return block.weight[:, None, :]


def _snr(block: Block) -> Values:
    assert block.snr is not None  # noqa: S101 - `needs` says so
    return block.snr


def _baseline(block: Block) -> Values:
    low = np.minimum(block.antenna1, block.antenna2).astype(np.int64)
    return _rows(low * BASELINE + np.maximum(block.antenna1, block.antenna2))


def _times(contents: Contents) -> Span:
    return contents.observation.start_mjd_s, contents.observation.end_mjd_s


def _frequencies(contents: Contents) -> Span:
    spws = contents.observation.spws
    edges = [spw.first_hz for spw in spws] + [spw.last_hz for spw in spws]
    # The centre of a single channel tells no width; half a MHz leaves it some room.
    half = max(abs(spw.chan_width_hz) for spw in spws) / 2 or 5e5
    return (min(edges) - half) / 1e6, (max(edges) + half) / 1e6


def _channels(contents: Contents) -> Span:
    return -0.5, max(spw.n_chan for spw in contents.observation.spws) - 0.5


def _ids(number: int) -> Span:
    return -0.5, number - 0.5


def _enumerated(names: tuple[str, ...]) -> Mapping[int, str]:
    return dict(enumerate(names))


def _scans(contents: Contents) -> Span:
    numbers = [scan.number for scan in contents.observation.scans]
    return min(numbers) - 0.5, max(numbers) + 0.5


_DATA: Final = frozenset({"data"})
_HORIZON: Final = frozenset({"horizon"})
_DEG: Final = 180 / np.pi

_ALL = (
    Axis("time", "time", "UTC", lambda b: _rows(b.time_s), span=_times, in_caltable=True),
    Axis("frequency", "frequency", "MHz", lambda b: _by_channel(b.frequency_hz / 1e6),
         span=_frequencies, in_caltable=True),
    Axis("channel", "channel", "", lambda b: _by_channel(b.channel), span=_channels, whole=True,
         in_caltable=True),
    Axis("uvdist", "uv distance", "m", lambda b: _rows(_distance(b)), from_zero=True),
    Axis("uvwave", "uv distance", "kλ", lambda b: _wavelengths(_distance(b), b), from_zero=True),
    Axis("u", "u", "m", lambda b: _rows(b.uvw_m[0])),
    Axis("v", "v", "m", lambda b: _rows(b.uvw_m[1])),
    Axis("w", "w", "m", lambda b: _rows(b.uvw_m[2])),
    Axis("uwave", "u", "kλ", lambda b: _wavelengths(b.uvw_m[0], b)),
    Axis("vwave", "v", "kλ", lambda b: _wavelengths(b.uvw_m[1], b)),
    Axis("wwave", "w", "kλ", lambda b: _wavelengths(b.uvw_m[2], b)),
    Axis("baseline", "baseline", "", _baseline, whole=True),
    Axis("antenna", "antenna", "", lambda b: _rows(b.antenna1), whole=True, in_caltable=True,
         span=lambda c: _ids(len(c.antennas)), names=lambda c: _enumerated(c.antennas)),
    Axis("antenna1", "first antenna", "", lambda b: _rows(b.antenna1), whole=True,
         span=lambda c: _ids(len(c.antennas)), names=lambda c: _enumerated(c.antennas)),
    Axis("antenna2", "second antenna", "", lambda b: _rows(b.antenna2), whole=True,
         span=lambda c: _ids(len(c.antennas)), names=lambda c: _enumerated(c.antennas)),
    Axis("field", "field", "", lambda b: _rows(b.field), whole=True, in_caltable=True,
         span=lambda c: _ids(len(c.fields)), names=lambda c: _enumerated(c.fields)),
    Axis("scan", "scan", "", lambda b: _rows(b.scan), whole=True, span=_scans, in_caltable=True),
    Axis("spw", "spectral window", "", lambda b: np.full((1, 1, 1), b.spw), whole=True,
         span=lambda c: _ids(len(c.frequencies_hz)), in_caltable=True),
    Axis("corr", "correlation", "", lambda b: b.correlation[:, None, None], whole=True,
         span=lambda c: _ids(len(c.correlations)), names=lambda c: _enumerated(c.correlations),
         in_caltable=True),
    Axis("elevation", "elevation", "deg", _horizon("elevation", _DEG), _HORIZON),
    Axis("azimuth", "azimuth", "deg", _horizon("azimuth", _DEG), _HORIZON,
         lambda c: (0.0, 360.0)),
    Axis("hourangle", "hour angle", "h", _horizon("hour_angle", 12 / np.pi), _HORIZON),
    Axis("parang", "parallactic angle", "deg", _horizon("parallactic_angle", _DEG), _HORIZON,
         lambda c: (-180.0, 180.0)),
    Axis("amp", "amplitude", "Jy", _amplitude, _DATA, from_zero=True, in_caltable=True),
    Axis("phase", "phase", "deg", lambda b: np.angle(_data(b), deg=True), _DATA,
         lambda c: (-180.0, 180.0), in_caltable=True),
    Axis("real", "real part", "Jy", lambda b: np.real(_data(b)), _DATA, in_caltable=True),
    Axis("imag", "imaginary part", "Jy", lambda b: np.imag(_data(b)), _DATA, in_caltable=True),
    Axis("delay", "delay", "ns", lambda b: np.real(_data(b)), _DATA, in_caltable=True),
    Axis("snr", "signal to noise", "", _snr, frozenset({"snr"}), from_zero=True, in_caltable=True),
    Axis("weight", "weight", "", _weight, frozenset({"WEIGHT"}), from_zero=True),
    Axis("flagged", "flagged fraction", "", lambda b: _rows(b.flagged),
         span=lambda c: (0.0, 1.0), in_caltable=True),
)  # fmt: skip

AXES: Final[Mapping[str, Axis]] = {axis.name: axis for axis in _ALL}
"""Every axis by its name."""

COLOURS: Final = ("antenna", "antenna1", "antenna2", "spw", "field", "corr", "scan", "baseline")
"""What colours and pages can be made by."""

_ONLY_CALTABLE: Final = frozenset({"snr", "delay"})
_ALIASES: Final = {
    "freq": "frequency", "chan": "channel", "ant": "antenna", "ant1": "antenna1",
    "ant2": "antenna2", "amplitude": "amp", "ha": "hourangle", "el": "elevation",
    "az": "azimuth", "imaginary": "imag", "correlation": "corr", "poln": "corr", "wt": "weight",
    "flag": "flagged", "parallacticangle": "parang",
}  # fmt: skip


def axis(name: str, contents: Contents) -> Axis:
    """Return an axis by its name, or by what plotms calls it.

    Raises
    ------
    DataError
        If there is none of that name; the message says which there are.
    """
    there = available(contents)
    found = _ALIASES.get(name.lower(), name.lower())
    if found in there:
        return AXES[found]
    what = f"a {contents.kind} table" if contents.is_caltable else "visibilities"
    raise DataError(
        f"there is no axis '{name}' of {what}; axes: {', '.join(there)}{did_you_mean(name, there)}"
    )


def available(contents: Contents) -> tuple[str, ...]:
    """Return the names of the axes that an MS or a calibration table has."""
    if not contents.is_caltable:
        return tuple(name for name in AXES if name not in _ONLY_CALTABLE)
    unlike = {"delay"} if "CPARAM" in contents.columns else {"phase", "imag"}
    return tuple(name for name, one in AXES.items() if one.in_caltable and name not in unlike)


def key(name: str, contents: Contents) -> Axis | None:
    """Return the axis that colours or pages are made by; None for an empty name.

    Raises
    ------
    DataError
        If there is none of that name; the message says which there are.
    """
    if not name:
        return None
    there = [one for one in COLOURS if not contents.is_caltable or AXES[one].in_caltable]
    found = _ALIASES.get(name.lower(), name.lower())
    if found in there:
        return AXES[found]
    raise DataError(
        f"'{name}' is nothing to tell apart by; possible: {', '.join(there)}"
        f"{did_you_mean(name, there)}"
    )


def names(one: Axis, contents: Contents) -> Callable[[int], str]:
    """Return what writes an id of an axis as a person knows it."""
    if one.name == "baseline":
        known = contents.antennas
        return lambda number: f"{known[number // BASELINE]} & {known[number % BASELINE]}"
    if one.names is None:
        return str
    found = one.names(contents)
    return lambda number: found.get(number, str(number))
