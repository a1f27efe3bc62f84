"""Calibration tables in numbers: by antenna, against time and frequency, and what stands out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..casa.read import CalTable
from .metrics import MAD_TO_SIGMA, put

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

OUTLIER_SIGMA: Final = 7.0
"""Robust sigma from the median of the antennas; what stands out must be off by a share, too."""
MIN_OFF: Final = 0.3
MAX_FLAGGED: Final = 0.5
MIN_SNR_SHARE: Final = 0.3
MAX_BINS: Final = 256

PHASES: Final = ("phase0", "phase-int", "phase-scan")
AMPLITUDES: Final = ("bandpass", "amp", "fluxscale")


def summary(table: CalTable, kind: str, alive: Bools) -> dict[str, Any]:
    """Summarize a table: solutions of the antennas that have data.

    Parameters
    ----------
    table : CalTable
        The table.
    kind : str
        What it corrects: ``bandpass``, ``phase-int``, ...
    alive : array of bool, shape (antennas,)
        Antennas that have unflagged data.
    """
    rows = alive[table.antenna]
    bad = table.flag[:, :, rows]
    good_snr = table.snr[:, :, rows][~bad]
    antennas = by_antenna(table, kind)
    found: dict[str, Any] = {
        "type": table.type,
        "solutions": int(bad.size),
        "intervals": int(np.unique(table.time_s).size),
        "by_antenna": {name: one["flagged_fraction"] for name, one in antennas.items()},
        "antennas": antennas,
        "outliers": list(outliers({
            name: one for name, one in antennas.items() if alive[table.antennas.index(name)]
        })),
        "against": against(table, rows),
    }  # fmt: skip
    fraction = float(bad.mean()) if bad.size else None
    put(found, "flagged_fraction", fraction, "no antenna with data has solutions")
    median = float(np.median(good_snr)) if good_snr.size else None
    put(found, "median_snr", median, "all solutions are flagged")
    return found


def by_antenna(table: CalTable, kind: str) -> dict[str, dict[str, float | None]]:
    """Return the numbers of each antenna's solutions.

    Returns
    -------
    dict
        By antenna: ``flagged_fraction``, ``snr`` (median), and as it makes sense for the kind of
        table ``amplitude`` (median), ``phase_rms_deg`` (from one solution to the next, over the
        root of 2) or ``delay_ns`` (median); None where all is flagged.
    """
    found: dict[str, dict[str, float | None]] = {}
    for number in np.unique(table.antenna):
        rows = table.antenna == number
        flag, values = table.flag[:, :, rows], table.values[:, :, rows]
        good = ~flag & np.isfinite(values)
        one: dict[str, float | None] = {"flagged_fraction": float(flag.mean())}
        one["snr"] = _median(table.snr[:, :, rows][good])
        if kind in AMPLITUDES:
            one["amplitude"] = _median(np.abs(values[good]))
        if kind in PHASES:
            one["phase_rms_deg"] = _phase_rms(values, good, table.time_s[rows], table.scan[rows])
        if kind == "delay":
            one["delay_ns"] = _median(np.real(values[good]))
        found[table.antennas[int(number)]] = one
    return found


def _median(values: npt.NDArray[Any]) -> float | None:
    return float(np.median(values)) if values.size else None


def _phase_rms(
    values: npt.NDArray[Any], good: Bools, time_s: Floats, scan: npt.NDArray[np.int64]
) -> float | None:
    """Return the scatter of phases from one solution to the next within a scan, in degrees.

    Where each scan has one solution, from scan to scan. For white noise of rms s the difference
    of two has s times the root of 2.
    """
    order = np.argsort(time_s, kind="stable")
    within = np.diff(scan[order]) == 0
    if not within.any():
        within = np.ones(max(0, order.size - 1), bool)
    first, second = order[:-1][within], order[1:][within]
    both = good[:, :, first] & good[:, :, second] & (time_s[first] != time_s[second])
    steps = np.angle(values[:, :, second] * np.conj(values[:, :, first]))[both]
    if steps.size < 3:
        return None
    return math.degrees(MAD_TO_SIGMA * float(np.median(np.abs(steps))) / math.sqrt(2))


_LIMITS: Final[Mapping[str, str]] = {
    "flagged_fraction": "flagged solutions",
    "snr": "S/N",
    "amplitude": "amplitude",
    "phase_rms_deg": "scatter of phases",
    "delay_ns": "delay",
}


def outliers(
    antennas: Mapping[str, Mapping[str, float | None]],
) -> Iterator[dict[str, Any]]:
    """Yield the antennas that stand out among the others, and by what.

    Parameters
    ----------
    antennas : mapping
        Of `by_antenna`.

    Yields
    ------
    dict
        ``antenna``, ``what``, ``value`` and ``typical`` (the median of all).
    """
    keys = dict.fromkeys(key for one in antennas.values() for key in one)
    for key in keys:
        known = {name: one[key] for name, one in antennas.items() if one.get(key) is not None}
        values = np.array([float(value) for value in known.values() if value is not None])
        if values.size < 5:
            continue
        typical = float(np.median(values))
        spread = MAD_TO_SIGMA * float(np.median(np.abs(values - typical)))
        for name, value in zip(known, values.tolist(), strict=True):
            if _stands_out(key, value, typical, spread):
                yield {"antenna": name, "what": _LIMITS[key], "value": value, "typical": typical}


def _stands_out(key: str, value: float, typical: float, spread: float) -> bool:
    far = abs(value - typical) > OUTLIER_SIGMA * spread
    if key == "flagged_fraction":
        return value > MAX_FLAGGED and value > 2 * typical
    if key == "snr":
        return value < MIN_SNR_SHARE * typical
    if key == "phase_rms_deg":
        return far and value > 2 * typical and value > 10.0
    if key == "delay_ns":
        return far and abs(value - typical) > 5.0
    return far and abs(value - typical) > MIN_OFF * abs(typical)


def against(table: CalTable, rows: Bools) -> dict[str, dict[str, list[float | None]]]:
    """Return median S/N and flagged fraction against time and, with channels, frequency.

    Parameters
    ----------
    table : CalTable
        The table.
    rows : array of bool, shape (rows,)
        Those of antennas that have data.

    Returns
    -------
    dict
        By ``time`` and ``frequency``: ``x`` (MJD seconds, or MHz), ``snr``, ``flagged``; in at
        most `MAX_BINS` bins. What would have one bin is left out.
    """
    found = {}
    times = table.time_s[rows]
    if np.unique(times).size > 1:
        found["time"] = _binned(times, table.snr[:, :, rows], table.flag[:, :, rows], 2)
    n_chan = table.values.shape[1]
    if n_chan > 1:
        found["frequency"] = _by_frequency(table, rows)
    return found


def _by_frequency(table: CalTable, rows: Bools) -> dict[str, list[float | None]]:
    parts: dict[str, list[float | None]] = {"x": [], "snr": [], "flagged": []}
    middle = {spw: float(np.mean(table.frequencies_hz[spw])) for spw in np.unique(table.spw[rows])}
    windows = sorted(middle, key=lambda spw: middle[spw])
    for spw in windows:
        mine = rows & (table.spw == spw)
        frequencies = table.frequencies_hz[spw][: table.values.shape[1]] / 1e6
        n = frequencies.size
        part = _binned(
            frequencies, table.snr[:, :n, mine], table.flag[:, :n, mine], 1,
            max(2, MAX_BINS // len(windows)),
        )  # fmt: skip
        for key, values in part.items():
            parts[key] += [*values, None] if key != "x" else [*values, values[-1]]
    return parts


def _binned(
    x: Floats, snr: Floats, flag: Bools, axis: int, most: int = MAX_BINS
) -> dict[str, list[float | None]]:
    """Bin S/N and flags along an axis by the values that it has there."""
    distinct, place = np.unique(x, return_inverse=True)
    n_bins = min(most, distinct.size)
    place = place * n_bins // distinct.size
    parts: dict[str, list[float | None]] = {"x": [], "snr": [], "flagged": []}
    for number in range(n_bins):
        chosen = np.flatnonzero(place == number)
        bad = np.take(flag, chosen, axis=axis)
        good = np.take(snr, chosen, axis=axis)[~bad]
        parts["x"].append(float(np.mean(x[chosen])))
        parts["snr"].append(_median(good))
        parts["flagged"].append(float(bad.mean()))
    return parts
