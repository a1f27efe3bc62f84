"""Averages of visibilities for the report's plot viewer, added up while an MS is read for flags.

Two sets, both vector averages of unflagged cross-correlations of the parallel hands: each
baseline over a scan and all channels of a window, and each antenna against frequency over all
of a field's data. Sums are kept, no rows: memory is that of the averages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..casa.read import Layout, Rows
from .metrics import SPEED_OF_LIGHT_M_S
from .plots import MJD_UNIX_EPOCH_S
from .viewer_points import FREQUENCY, MOST_POINTS, TIME, Columns, Quantity, write_points

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_SHOWN: Final = (Quantity("amplitude", "amplitude", "Jy"), Quantity("phase", "phase", "deg"))
_UV: Final = Quantity("uvdist", "uv distance", "kλ")
_CHANNELS: Final = 128
"""Of a window that has more, neighbouring channels are averaged."""

_MOST_SUMS: Final = 4 * MOST_POINTS
"""Sums by baseline and scan in memory (40 MB); beyond, every other scan is left out."""

_SPECTRUM_SAMPLES: Final = 30_000_000
"""Visibilities that go into spectra; of more, evenly spread chunks."""

_IDS: Final = ("ddid", "correlation", "scan", "field", "antenna1", "antenna2")
_SUMS: Final = ("rows", "time", "metres", "count", "real", "imag")


@dataclass
class Averages:
    """Adds up what the viewer shows of visibilities.

    Parameters
    ----------
    about : Layout
        Of the MS.
    """

    about: Layout
    _baselines: list[Columns] = field(default_factory=list)
    _every_scan: int = 1
    _chunks: int = 0
    _spectra: dict[tuple[int, int], npt.NDArray[np.complex128]] = field(default_factory=dict)
    _weights: dict[tuple[int, int], Floats] = field(default_factory=dict)

    def add(self, chunk: Rows) -> None:
        """Take in a chunk's visibilities, where it has any."""
        if chunk.data is None:
            return
        hands = self.about.parallel_hands(chunk.ddid)[:2]
        rows = np.flatnonzero(chunk.cross)
        if not rows.size:
            return
        data, flag = chunk.data[hands][:, :, rows], chunk.flag[hands][:, :, rows]
        good = ~flag & np.isfinite(data)
        data = np.where(good, data, 0)
        self._add_baselines(chunk, rows, hands, data, good)
        if self._chunks % self._every_chunk == 0:
            self._add_spectra(chunk, rows, data, good)
        self._chunks += 1

    @property
    def _every_chunk(self) -> int:
        """One of how many chunks goes into the spectra."""
        widest = max(
            len(self.about.frequencies_hz[spw]) * len(self.about.correlations_of[ddid])
            for ddid, spw in enumerate(self.about.spw_of)
        )
        return max(1, -(-self.about.n_rows * widest // _SPECTRUM_SAMPLES))

    def _add_baselines(
        self, chunk: Rows, rows: Ints, hands: Sequence[int], data: Any, good: Any
    ) -> None:
        """Add a chunk's rows up by scan, field and baseline."""
        keys = np.stack([
            chunk.scan[rows], chunk.field[rows], chunk.antenna1[rows], chunk.antenna2[rows]
        ])  # fmt: skip
        groups, number = _groups(keys)
        n_groups = groups.shape[1]
        count = good.sum(axis=1).astype(float)
        total = data.sum(axis=1)
        metres = np.hypot(chunk.uvw_m[0, rows], chunk.uvw_m[1, rows])

        def summed(values: Any) -> Any:
            return np.bincount(number, values, n_groups)

        for hand, name in enumerate(hands):
            self._baselines.append({
                "ddid": np.full(n_groups, chunk.ddid),
                "correlation": np.full(n_groups, name),
                "scan": groups[0], "field": groups[1], "antenna1": groups[2],
                "antenna2": groups[3],
                "rows": np.bincount(number, minlength=n_groups).astype(float),
                "time": summed(chunk.time_s[rows]), "metres": summed(metres),
                "count": summed(count[hand]), "real": summed(total[hand].real),
                "imag": summed(total[hand].imag),
            })  # fmt: skip
        if sum(len(part["scan"]) for part in self._baselines) > _MOST_SUMS:
            self._baselines = [self._fewer(_added(self._baselines))]

    def _fewer(self, sums: Columns) -> Columns:
        """Leave out every other scan, again and again, until there is room for more."""
        while True:
            keep = sums["scan"] % self._every_scan == 0
            sums = {key: one[keep] for key, one in sums.items()}
            rest = sums["scan"] % (2 * self._every_scan) == 0
            if len(sums["scan"]) <= _MOST_SUMS // 2 or not rest.any():
                return sums
            self._every_scan *= 2

    def _add_spectra(self, chunk: Rows, rows: Ints, data: Any, good: Any) -> None:
        """Add a chunk's visibilities up by field and antenna, channel by channel."""
        step = -(-data.shape[1] // _CHANNELS)
        starts = np.arange(0, data.shape[1], step)
        if step > 1:
            data = np.add.reduceat(data, starts, axis=1)
            good = np.add.reduceat(good.astype(np.float64), starts, axis=1)
        fields = chunk.field[rows]
        for number in np.unique(fields):
            mine = np.flatnonzero(fields == number)
            at = [chunk.antenna1[rows][mine], chunk.antenna2[rows][mine]]
            # Which rows an antenna has a part in, as a matrix: the sums are one product.
            part = np.zeros((mine.size, len(self.about.antennas)))
            for antennas in at:
                part[np.arange(mine.size), antennas] = 1
            key = (chunk.ddid, int(number))
            self._spectra[key] = self._spectra.get(key, 0) + data[:, :, mine] @ part
            self._weights[key] = self._weights.get(key, 0) + good[:, :, mine] @ part

    def write(self, folder: Path) -> list[tuple[str, Path]]:
        """Write the averages.

        Parameters
        ----------
        folder : Path
            Where the scripts go.

        Returns
        -------
        list of tuple
            What each shows, in words, and the script; none where all is flagged.
        """
        made = []
        for title, name, axes, (columns, remark) in (
            ("against time and uv distance, a point a baseline and scan", "visibilities",
             ([TIME, _UV], _SHOWN), self._by_baseline()),
            ("against frequency, a point an antenna and channel", "spectra",
             ([FREQUENCY], _SHOWN), self._by_frequency()),
        ):  # fmt: skip
            if columns and len(columns["field"]):
                path = folder / f"{name}.js"
                write_points(path, f"visibilities {title}", axes, self._names(), columns, remark)
                made.append((title, path))
        return made

    def _names(self) -> dict[str, Sequence[str]]:
        return {
            "antenna": self.about.antennas,
            "field": self.about.fields,
            "correlation": self._correlations,
        }

    @property
    def _correlations(self) -> list[str]:
        return sorted({name for names in self.about.correlations_of for name in names})

    def _by_baseline(self) -> tuple[Columns, str]:
        """Return a point for each baseline, scan, window and hand; of many, those of some scans."""
        if not self._baselines:
            return {}, ""
        found = _added(self._baselines)
        keep = (found["count"] > 0) & (found["scan"] % self._every_scan == 0)
        scans = np.unique(found["scan"][keep])
        every = -(-int(keep.sum()) // MOST_POINTS) or 1
        keep &= np.isin(found["scan"], scans[::every])
        found = {key: one[keep] for key, one in found.items()}
        ddid, per_row = found["ddid"], found["rows"]
        columns = {key: found[key] for key in _IDS[2:]}
        columns |= self._window(ddid, found["correlation"])
        centre = np.array([np.mean(self.about.frequencies_hz[spw]) for spw in self.about.spw_of])
        columns["time"] = found["time"] / per_row - MJD_UNIX_EPOCH_S
        klambda = centre[ddid] / SPEED_OF_LIGHT_M_S / 1e3
        columns["uvdist"] = found["metres"] / per_row * klambda
        columns |= _polar((found["real"] + 1j * found["imag"]) / found["count"])
        left = every * self._every_scan
        return columns, f"One of {left} scans is here." if left > 1 else ""

    def _by_frequency(self) -> tuple[Columns, str]:
        """Return a point for each antenna, field, channel and hand; of many, some channels."""
        parts: list[Columns] = []
        number = sum(int((weight > 0).sum()) for weight in self._weights.values())
        every = -(-number // MOST_POINTS) or 1
        for (ddid, name), weight in self._weights.items():
            chosen = np.zeros(weight.shape, bool)
            chosen[:, ::every] = True
            hand, channel, antenna = np.nonzero(chosen & (weight > 0))
            at = (hand, channel, antenna)
            spw = self.about.spw_of[ddid]
            parts.append({
                "antenna": antenna, "field": np.full(len(hand), name),
                **self._window(np.full(len(hand), ddid),
                               np.array(self.about.parallel_hands(ddid))[hand]),
                "frequency": self._centres(spw)[channel],
                **_polar(self._spectra[ddid, name][at] / weight[at]),
            })  # fmt: skip
        if not parts:
            return {}, ""
        columns = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
        widest = max(len(one) for one in self.about.frequencies_hz)
        means = -(-widest // _CHANNELS)
        remark = [f"Each point is the mean of up to {means} channels."] if means > 1 else []
        remark += [f"One of {every} of them is here."] if every > 1 else []
        if self._every_chunk > 1:
            remark.append(f"One of {self._every_chunk} parts of the data went into them.")
        return columns, " ".join(remark)

    def _centres(self, spw: int) -> Floats:
        """Return the middles, in MHz, of the averages of a window's channels."""
        frequencies = self.about.frequencies_hz[spw] / 1e6
        starts = np.arange(0, len(frequencies), -(-len(frequencies) // _CHANNELS))
        number = np.diff(np.append(starts, len(frequencies)))
        return np.asarray(np.add.reduceat(frequencies, starts) / number)

    def _window(self, ddid: Ints, hand: Ints) -> Columns:
        """Return the windows and correlations of points."""
        known = self._correlations
        code = np.zeros((len(self.about.spw_of), 4), np.int64)
        for number, names in enumerate(self.about.correlations_of):
            code[number, : len(names)] = [known.index(name) for name in names]
        return {"spw": np.array(self.about.spw_of)[ddid], "correlation": code[ddid, hand]}


def _added(parts: Sequence[Columns]) -> Columns:
    """Add up the sums of one baseline, scan, field, window and hand."""
    whole = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    groups, number = _groups(np.stack([whole[key] for key in _IDS]))
    sums = {key: np.bincount(number, whole[key], groups.shape[1]) for key in _SUMS}
    return {**dict(zip(_IDS, groups, strict=True)), **sums}


def _groups(keys: Ints) -> tuple[Ints, Ints]:
    """Return the distinct columns of whole numbers, and which one each column is."""
    code = np.zeros(keys.shape[1], np.int64)
    for line in keys:
        distinct, number = np.unique(line, return_inverse=True)
        _, code = np.unique(code * len(distinct) + number, return_inverse=True)
    first = np.unique(code, return_index=True)[1]
    return keys[:, first], code


def _polar(values: npt.NDArray[Any]) -> Columns:
    return {"amplitude": np.abs(values), "phase": np.degrees(np.angle(values))}
