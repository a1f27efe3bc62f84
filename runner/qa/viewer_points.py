"""Points for the report's plot viewer: columns of numbers, and what each point is of.

Calibration solutions of a table, and averages of visibilities, come out alike: a point has a
place on some axes and belongs to an antenna or a baseline, a scan, a spectral window, a field.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..casa.read import CalTable
from .plots import MJD_UNIX_EPOCH_S
from .viewer_data import base64, write_script

Columns = dict[str, npt.NDArray[Any]]

MOST_POINTS: Final = 100_000
"""Points of a plot at most; of more, channels and then times are left out (a few MB)."""

_LEAST_CHANNELS: Final = 128


@dataclass(frozen=True)
class Quantity:
    """What an axis shows: the column, and its name and unit in words."""

    key: str
    label: str
    unit: str = ""


TIME: Final = Quantity("time", "time (UTC)")
FREQUENCY: Final = Quantity("frequency", "frequency", "MHz")
_AMPLITUDE: Final = Quantity("amplitude", "amplitude")
_PHASE: Final = Quantity("phase", "phase", "deg")
_DELAY: Final = Quantity("delay", "delay", "ns")


def write_points(
    path: Path,
    title: str,
    axes: tuple[Sequence[Quantity], Sequence[Quantity]],
    names: Mapping[str, Sequence[str]],
    columns: Columns,
    remark: str = "",
) -> Path:
    """Write points.

    Parameters
    ----------
    path : Path
        The script to write.
    title : str
        What is shown.
    axes : tuple of sequence of Quantity
        What there is to plot against, and what to plot, a panel each.
    names : mapping
        Of columns that hold ids, what these are called.
    columns : dict
        All of one length: those of the axes, ``flagged``, and of ids ``antenna`` or
        ``antenna1`` and ``antenna2``, ``scan``, ``spw``, ``field``, ``feed`` or
        ``correlation``. Times in Unix seconds.
    remark : str
        What the reader must know of how points were chosen.

    Returns
    -------
    Path
        The script.
    """
    content = {
        "kind": "points",
        "title": title,
        "remark": remark,
        "x": [asdict(axis) for axis in axes[0]],
        "y": [asdict(axis) for axis in axes[1]],
        "names": {key: list(given) for key, given in names.items()},
        "number": len(next(iter(columns.values()))),
        "columns": {key: _column(values) for key, values in columns.items()},
    }
    write_script(path, content)
    return path


def _column(values: npt.NDArray[Any]) -> dict[str, Any]:
    """Write a column: once if it is constant; numbers from their least on, in single precision."""
    if values.size and np.all(values == values[0]):
        return {"all": values[0].item()}
    if values.dtype.kind == "f":
        # Times need more than the 24 bits of a single-precision number.
        finite = values[np.isfinite(values)]
        zero = float(np.floor(finite.min())) if finite.size else 0.0
        return {"type": "f4", "from": zero, "data": base64((values - zero).astype(np.float32))}
    kind = np.min_scalar_type(int(values.max(initial=0)))
    if int(values.min(initial=0)) < 0:
        kind = np.dtype(np.int32)
    return {"type": f"{kind.kind}{kind.itemsize}", "data": base64(values.astype(kind))}


def write_solutions(
    path: Path, table: CalTable, kind: str, title: str, feeds: Sequence[str]
) -> Path:
    """Write the solutions of a calibration table.

    Parameters
    ----------
    path : Path
        The script to write.
    table : CalTable
        The table.
    kind : str
        What it is for: ``delay`` tables hold delays, the others gains.
    title : str
        What is shown.
    feeds : sequence of str
        Names of the feeds.
    """
    channels, rows, remark = _chosen(table)
    columns = _solutions(table, channels, rows)
    against = [FREQUENCY, TIME] if "frequency" in columns else [TIME]
    if kind == "delay":
        shown = [_DELAY]
        columns["delay"] = np.real(table.values[:, channels][:, :, rows]).ravel()
    else:
        shown = [_PHASE, _AMPLITUDE] if kind.startswith("phase") else [_AMPLITUDE, _PHASE]
        gains = table.values[:, channels][:, :, rows].ravel()
        columns["amplitude"], columns["phase"] = np.abs(gains), np.degrees(np.angle(gains))
    good = ~columns["flagged"]
    # What a table leaves as it is, the amplitudes of phases, is no plot.
    varied = [axis for axis in shown if good.any() and np.ptp(columns[axis.key][good]) > 1e-5]
    names = {"antenna": table.antennas, "field": table.fields, "feed": feeds}
    return write_points(path, title, (against, varied or shown[:1]), names, columns, remark)


def _solutions(table: CalTable, channels: Any, rows: Any) -> Columns:
    """Return what the solutions of some channels and rows are of, when and how good."""
    values = table.values[:, channels][:, :, rows]
    flagged = table.flag[:, channels][:, :, rows] | ~np.isfinite(values)

    def spread(of_rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.broadcast_to(of_rows[rows], values.shape).ravel()

    columns: Columns = {
        "time": spread(table.time_s - MJD_UNIX_EPOCH_S),
        "antenna": spread(table.antenna),
        "spw": spread(table.spw),
        "scan": spread(table.scan),
        "field": spread(table.field),
        "feed": np.broadcast_to(np.arange(len(values))[:, None, None], values.shape).ravel(),
        "snr": table.snr[:, channels][:, :, rows].ravel(),
        "flagged": flagged.ravel(),
    }
    if table.values.shape[1] > 1:
        mhz = frequencies_mhz(table)[channels][:, rows]
        columns["frequency"] = np.broadcast_to(mhz, values.shape).ravel()
        columns["channel"] = np.broadcast_to(channels[:, None], values.shape).ravel()
    return columns


def _chosen(table: CalTable) -> tuple[Any, Any, str]:
    """Return which channels and rows are written, and what to say of the rest."""
    n_feeds, n_chan, n_rows = table.values.shape
    step = 1
    while n_feeds * -(-n_chan // step) * n_rows > MOST_POINTS and n_chan > step * _LEAST_CHANNELS:
        step += 1
    channels = np.arange(0, n_chan, step)
    times, number = np.unique(table.time_s, return_inverse=True)
    every = max(1, -(-n_feeds * len(channels) * n_rows // MOST_POINTS))
    rows = np.flatnonzero(number % every == 0)
    remark = []
    if step > 1:
        remark.append(f"One of {step} channels is here.")
    if every > 1:
        remark.append(f"One of {every} times of {len(times)} is here.")
    return channels, rows, " ".join(remark)


def frequencies_mhz(table: CalTable) -> npt.NDArray[np.float64]:
    """Return the channel centres of each solution, in MHz; shape (channels, rows).

    A table has as many channels as its widest spectral window; where a window has fewer, its last
    one stands for the rest, which are flagged.
    """
    length = table.values.shape[1]
    of_spw = {
        int(spw): np.pad(
            table.frequencies_hz[spw],
            (0, max(0, length - len(table.frequencies_hz[spw]))),
            mode="edge",
        )[:length]
        for spw in np.unique(table.spw)
    }
    return np.stack([of_spw[int(spw)] for spw in table.spw], axis=1) / 1e6
