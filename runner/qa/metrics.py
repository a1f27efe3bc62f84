"""Numbers of QA: arrays in, numbers out. No files, no CASA.

A number that cannot be measured is None with a reason, never a made-up value.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from dataclasses import field as default
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

MAD_TO_SIGMA = 1.0 / 0.6744897501960817
"""The median absolute deviation of a normal distribution is its sigma times Phi^-1(3/4)
(Rousseeuw & Croux 1993, J. Am. Stat. Assoc. 88, 1273)."""

MIN_PIXELS = 100
MIN_PB = 0.2
SPEED_OF_LIGHT_M_S = 299792458.0
NOISE_METHOD = (
    "1.4826 times the median absolute deviation of the pixels off source (outside the clean "
    "mask, primary beam above 0.2, not within 5 % of the edge), clipped at 5 sigma until "
    "nothing changes"
)


def put(numbers: MutableMapping[str, Any], key: str, value: float | None, reason: str) -> None:
    """Write a number, or null and `<key>_reason` where there is no finite one."""
    if value is not None and math.isfinite(value):
        numbers[key] = float(value)
    else:
        numbers[key] = None
        numbers[f"{key}_reason"] = reason


def off_source(
    valid: Bools, pb: Floats | None = None, mask: Bools | None = None, edge: float = 0.05
) -> Bools:
    """Return which pixels of a plane show noise alone, as far as can be known beforehand.

    Parameters
    ----------
    valid : array of bool, shape (n_y, n_x)
        Pixels that are unmasked and finite.
    pb : array, shape (n_y, n_x), optional
        The primary beam, 1 at its centre; below 0.2 is left out.
    mask : array of bool, shape (n_y, n_x), optional
        The clean mask, left out. One that covers all but a few pixels says nothing and
        is ignored.
    edge : float
        Share of the width and height left out at each edge.
    """
    chosen = valid.copy()
    if pb is not None:
        chosen &= np.isfinite(pb) & (pb >= MIN_PB)
    inner = np.zeros_like(valid)
    y, x = (round(edge * length) for length in valid.shape)
    inner[y : valid.shape[0] - y, x : valid.shape[1] - x] = True
    for limit in (inner, None if mask is None else ~mask):
        if limit is not None and np.count_nonzero(chosen & limit) >= MIN_PIXELS:
            chosen &= limit
    return chosen


def robust_noise(values: Floats, clip: float = 5.0) -> float | None:
    """Measure the noise among pixels of which some hold sources.

    Parameters
    ----------
    values : array
        Pixels, of any shape and unit.
    clip : float
        Pixels further than this many sigma from the median are left out in the next round.

    Returns
    -------
    float or None
        `MAD_TO_SIGMA` times the median absolute deviation, in the unit of `values`; None
        for fewer than `MIN_PIXELS` finite pixels or where most pixels are equal.
    """
    # Sorted once, each round is a few searches: a twentieth of the time of finding medians anew.
    kept = np.sort(values[np.isfinite(values)], axis=None)
    for _ in range(20):
        if kept.size < MIN_PIXELS:
            return None
        middle = 0.5 * (kept[(kept.size - 1) // 2] + kept[kept.size // 2])
        sigma = MAD_TO_SIGMA * _median_deviation(kept, middle)
        if sigma == 0.0:
            return None
        reach = clip * sigma
        first = bisect_left(kept, True, key=lambda value: middle - value <= reach)
        last = bisect_left(kept, True, key=lambda value: value - middle > reach)
        if last - first == kept.size:
            break
        kept = kept[first:last]
    return sigma


def _median_deviation(values: Floats, middle: float) -> float:
    """Return the median of the distances of sorted values from their middle."""
    split = int(np.searchsorted(values, middle))
    below, above = middle - values[:split][::-1], values[split:] - middle
    ranks = (values.size - 1) // 2, values.size // 2
    return float(0.5 * sum(_ranked(below, above, rank) for rank in ranks))


def _ranked(one: Floats, other: Floats, rank: int) -> float:
    """Return the value at a rank, from 0, among those of two sorted arrays together."""
    least, most = max(0, rank + 1 - other.size), min(rank + 1, one.size)
    taken = least + bisect_left(
        range(least, most), True, key=lambda number: one[number] >= other[rank - number]
    )
    of_one = one[taken - 1] if taken else -math.inf
    return float(max(of_one, other[rank - taken] if taken <= rank else -math.inf))


@dataclass(frozen=True)
class Histogram:
    """Counts of pixels by value: `edges` has one entry more than `counts`.

    `bend` is the value up to which the bins are of equal width, or nearly; 0 where all are.
    """

    edges: Floats
    counts: npt.NDArray[np.int64]
    bend: float = 0.0

    def gaussian(self, sigma: float, centre: float, number: float) -> Floats:
        """Return the counts that `number` pixels of pure Gaussian noise would give."""
        middle = 0.5 * (self.edges[1:] + self.edges[:-1])
        width = np.diff(self.edges)
        density = np.exp(-0.5 * ((middle - centre) / sigma) ** 2) / (sigma * math.sqrt(2 * math.pi))
        return np.asarray(number * width * density, float)


def histogram(values: Floats, bins: int = 200, sigma: float | None = None) -> Histogram:
    """Count pixels by value between the smallest and the largest.

    Where that is beyond 100 `sigma`, noise would be in a bin or two; the bins are then even in
    asinh(value / 5 sigma).
    """
    finite = values[np.isfinite(values)]
    bend = 5 * sigma if sigma and finite.size and float(finite.max()) > 100 * sigma else 0.0
    if bend:
        low, high = (float(np.arcsinh(edge / bend)) for edge in (finite.min(), finite.max()))
        even = bend * np.sinh(np.linspace(low, high, bins + 1))
        even[0], even[-1] = finite.min(), finite.max()
        counts, edges = np.histogram(finite, bins=even)
    else:
        counts, edges = np.histogram(finite, bins=bins)
    return Histogram(edges=edges, counts=counts.astype(np.int64), bend=bend)


def beam_area_pixels(bmaj_arcsec: float, bmin_arcsec: float, cell_arcsec: float) -> float:
    """Return the solid angle of a Gaussian synthesized beam in pixels.

    Pi / (4 ln 2) times bmaj bmin / cell^2, the divisor that turns Jy/beam into Jy.
    """
    return math.pi / (4 * math.log(2)) * bmaj_arcsec * bmin_arcsec / cell_arcsec**2


def dynamic_range(peak: float | None, rms: float | None) -> float | None:
    """Return peak over noise, or None where either is not known or the noise is 0."""
    return None if peak is None or not rms else peak / rms


def radio_velocity_km_s(frequency_hz: Floats, rest_hz: float) -> Floats:
    """Return velocities in the radio convention, c (1 - f / f0), in km/s."""
    return np.asarray(SPEED_OF_LIGHT_M_S / 1e3 * (1 - frequency_hz / rest_hz), float)


@dataclass
class FlagCounts:
    """How many visibilities of the cross-correlations are flagged, by what.

    Each dictionary holds [flagged, all] by id.
    """

    total: npt.NDArray[np.int64] = default(default_factory=lambda: np.zeros(2, np.int64))
    field: dict[int, npt.NDArray[np.int64]] = default(default_factory=dict)
    antenna: dict[int, npt.NDArray[np.int64]] = default(default_factory=dict)
    spw: dict[int, npt.NDArray[np.int64]] = default(default_factory=dict)
    scan: dict[int, npt.NDArray[np.int64]] = default(default_factory=dict)

    def add(
        self,
        flag: Bools,
        fields: npt.NDArray[np.int64],
        antenna1: npt.NDArray[np.int64],
        antenna2: npt.NDArray[np.int64],
        spw: int,
        scans: npt.NDArray[np.int64] | None = None,
    ) -> None:
        """Count more rows.

        Parameters
        ----------
        flag : array of bool, shape (correlations, channels, rows)
        fields, antenna1, antenna2 : array of int, shape (rows,)
            Autocorrelations are not counted.
        spw : int
            Spectral window of all the rows.
        scans : array of int, shape (rows,), optional
            Scan numbers.
        """
        cross = antenna1 != antenna2
        if not cross.any():
            return
        samples = flag.shape[0] * flag.shape[1]
        flagged = np.count_nonzero(flag, axis=(0, 1))[cross]
        whole = np.array([flagged.sum(), samples * flagged.size], np.int64)
        self.total += whole
        self.spw[spw] = self.spw.get(spw, np.zeros(2, np.int64)) + whole
        _tally(self.field, fields[cross], flagged, samples)
        _tally(self.antenna, antenna1[cross], flagged, samples)
        _tally(self.antenna, antenna2[cross], flagged, samples)
        if scans is not None:
            _tally(self.scan, scans[cross], flagged, samples)

    def fractions(
        self, fields: Sequence[str], antennas: Sequence[str]
    ) -> dict[str, float | dict[str, float] | None]:
        """Return the flagged fractions: total and by field, antenna (names), spw and scan."""
        names = {"field": fields, "antenna": antennas}
        result: dict[str, float | dict[str, float] | None] = {
            "total": float(self.total[0] / self.total[1]) if self.total[1] else None
        }
        for key in ("field", "antenna", "spw", "scan"):
            counts: dict[int, npt.NDArray[np.int64]] = getattr(self, key)
            result[key] = {
                (names[key][number] if key in names else str(number)): float(pair[0] / pair[1])
                for number, pair in sorted(counts.items())
            }
        return result


def _tally(
    counts: dict[int, npt.NDArray[np.int64]],
    ids: npt.NDArray[np.int64],
    flagged: npt.NDArray[np.int64],
    samples: int,
) -> None:
    """Add the flagged samples of each row to the count of the row's id."""
    if not ids.size:
        return
    rows = np.bincount(ids)
    bad = np.bincount(ids, weights=flagged)
    for number in np.flatnonzero(rows):
        pair = np.array([bad[number], rows[number] * samples], np.int64)
        counts[int(number)] = counts.get(int(number), np.zeros(2, np.int64)) + pair


def fluxscale_table(raw: Mapping[str, Any]) -> dict[str, dict[str, dict[str, Any]]]:
    """Turn what CASA's ``fluxscale`` returned into flux densities by field and spw.

    Parameters
    ----------
    raw : mapping
        Field id to spectral window id to ``fluxd`` (Stokes I first, -1 for none).

    Returns
    -------
    dict
        ``{"flux_jy": {field: {spw: Jy}}, "error_jy": ..., "solutions": ...}``; null, with
        ``flux_jy_reason`` by field and spw, where CASA found no solutions. ``fit`` is CASA's own
        spectrum over the windows, by field.
    """
    result: dict[str, dict[str, dict[str, Any]]] = {
        key: {} for key in ("flux_jy", "error_jy", "solutions", "flux_jy_reason", "fit")
    }
    for entry in raw.values():
        if not isinstance(entry, Mapping) or "fieldName" not in entry:
            continue
        name = str(entry["fieldName"])
        for spw, item in entry.items():
            if not isinstance(item, Mapping) or "fluxd" not in item:
                continue
            flux, error = float(item["fluxd"][0]), float(item["fluxdErr"][0])
            good = math.isfinite(flux) and flux > 0
            row: dict[str, Any] = {
                "flux_jy": flux if good else None,
                "error_jy": error if good and math.isfinite(error) else None,
                "solutions": int(item["numSol"][0]) if good else 0,
            }
            if not good:
                row["flux_jy_reason"] = "fluxscale found no solutions"
            for key, value in row.items():
                result[key].setdefault(name, {})[str(spw)] = value
        fit = _flux_fit(entry, raw, result["flux_jy"].get(name, {}))
        if fit:
            result["fit"][name] = fit
    return result


def _flux_fit(
    entry: Mapping[str, Any], raw: Mapping[str, Any], flux_jy: Mapping[str, float | None]
) -> dict[str, float | None]:
    """Return the spectrum that ``fluxscale`` fitted to a field's windows, or nothing for one.

    CASA fits log10 of the flux density as a polynomial of log10 of the frequency over that of
    reference; its coefficients are `spidx`.
    """
    known = {spw: value for spw, value in flux_jy.items() if value}
    terms = [float(term) for term in entry.get("spidx", ())]
    reference = float(entry.get("fitRefFreq") or 0.0)
    if len(known) < 2 or len(terms) < 2 or reference <= 0:
        return {}
    frequency = dict(zip(map(str, raw["spwID"]), map(float, raw["freq"]), strict=False))
    fit: dict[str, float | None] = {
        "flux_jy": float(entry["fitFluxd"]),
        "frequency_hz": reference,
        "spectral_index": terms[1],
        "spectral_index_error": float(entry["spidxerr"][1]),
        "max_deviation": None,
    }
    if len(known) > 2:
        off = []
        for spw, value in known.items():
            x = math.log10(frequency[spw] / reference)
            off.append(abs(value / 10 ** sum(t * x**n for n, t in enumerate(terms)) - 1))
        fit["max_deviation"] = max(off)
    return fit
