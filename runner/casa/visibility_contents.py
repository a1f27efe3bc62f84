"""What an MS or a calibration table holds, as far as selections and plots need it.

`metadata.read` tells more, and reads all flags for it; this reads only a few numbers of each row.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from ..observation import Antenna, Field, Observation, Scan, SpectralWindow
from . import read
from .horizon import Horizon, horizon

Floats = npt.NDArray[np.float64]
_STEP = 500_000


@dataclass(frozen=True)
class Contents:
    """What there is to plot.

    Attributes
    ----------
    path : str
        The MS or calibration table.
    kind : str
        ``MS``, or the kind of the calibration table, such as ``B Jones``.
    observation : Observation
        Fields, windows, scans and antennas with data, for selections.
    fields, antennas : tuple of str
        Names by id, of all.
    correlations : tuple of str
        All correlations (feeds, in a calibration table) that occur.
    parts : tuple of (int, tuple of str)
        Spectral window and correlations of each data description.
    frequencies_hz : tuple of array
        Channel centres by spectral window.
    columns : tuple of str
        Columns of MAIN.
    """

    path: str
    kind: str
    observation: Observation
    fields: tuple[str, ...]
    antennas: tuple[str, ...]
    correlations: tuple[str, ...]
    parts: tuple[tuple[int, tuple[str, ...]], ...]
    frequencies_hz: tuple[Floats, ...] = field(repr=False)
    columns: tuple[str, ...] = ()

    @property
    def is_caltable(self) -> bool:
        """Whether this is a calibration table."""
        return self.kind != "MS"

    def horizon(self) -> Horizon:
        """Return where the fields stand while the data were taken."""
        about = self.observation
        return horizon(self.path, about.start_mjd_s, about.end_mjd_s)


def contents(path: Path | str) -> Contents:
    """Read what an MS or a calibration table holds.

    Raises
    ------
    DataError
        If it is neither, cannot be opened, or has no rows.
    """
    with read.opened(path) as main:
        kind = _kind(path, main)
        columns = tuple(main.colnames())
        if not main.nrows():
            raise DataError(f"{path} has no rows")
        rows = _Rows(main, kind)
    with read.opened(f"{path}/FIELD") as table:
        fields = tuple(str(name) for name in table.getcol("NAME"))
    names, stations = _antennas(path)
    frequencies, windows = _windows(path)
    parts = _parts(path, kind, len(windows))
    if max(rows.parts) >= len(parts):
        raise DataError(f"{path} is broken: its rows belong to windows that it does not describe")
    with_data = sorted({parts[i][0] for i in rows.parts}) if kind == "MS" else sorted(rows.parts)
    spws = tuple(_spectral_window(i, windows[i], frequencies[i], parts) for i in with_data)
    observation = Observation(
        vis=str(path), telescope="", observer="", start_mjd_s=rows.start, end_mjd_s=rows.end,
        n_rows=rows.number, size_bytes=0, shortest_baseline_m=0.0, longest_baseline_m=0.0,
        columns=columns,
        fields=tuple(Field(i, name, 0.0, 0.0, n_rows=rows.by_field.get(i, 0))
                     for i, name in enumerate(fields)),
        spws=spws, scans=rows.scans({i: p[0] for i, p in enumerate(parts)}, _intents(path)),
        antennas=tuple(Antenna(i, names[i], stations[i], 0.0, 0.0) for i in sorted(rows.antennas)),
    )  # fmt: skip
    all_names = dict.fromkeys(name for spw, of in parts for name in of if spw in with_data)
    return Contents(str(path), kind, observation, fields, names, tuple(all_names), parts,
                    frequencies, columns)  # fmt: skip


def _kind(path: Path | str, main: Any) -> str:
    """Return ``MS`` or the kind of a calibration table."""
    kind = str(main.info().get("type", ""))
    if kind == "Measurement Set":
        return "MS"
    if kind == "Calibration" and "VisCal" in main.keywordnames():
        return str(main.getkeyword("VisCal"))
    raise DataError(
        f"{path} is neither a MeasurementSet nor a calibration table"
        + (f" but a table of the kind '{kind}'" if kind else "")
    )


def _antennas(path: Path | str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    with read.opened(f"{path}/ANTENNA") as table:
        names = tuple(str(name) for name in table.getcol("NAME"))
        return names, tuple(str(name) for name in table.getcol("STATION"))


def _windows(path: Path | str) -> tuple[tuple[Floats, ...], tuple[str, ...]]:
    """Return channel centres and name of each spectral window."""
    with read.opened(f"{path}/SPECTRAL_WINDOW") as table:
        names = tuple(str(name) for name in table.getcol("NAME"))
    return read.frequencies(path), names


def _parts(path: Path | str, kind: str, n_windows: int) -> tuple[tuple[int, tuple[str, ...]], ...]:
    if kind == "MS":
        about = read.layout(path)
        return tuple(zip(about.spw_of, about.correlations_of, strict=True))
    with read.opened(path) as table:
        name = "CPARAM" if "CPARAM" in table.colnames() else "FPARAM"
        feeds = int(table.getcell(name, 0).shape[0])
    return tuple((spw, tuple(f"feed {i + 1}" for i in range(feeds))) for spw in range(n_windows))


def _spectral_window(
    number: int, name: str, centres: Floats, parts: tuple[tuple[int, tuple[str, ...]], ...]
) -> SpectralWindow:
    width = float(centres[1] - centres[0]) if len(centres) > 1 else 0.0
    products = dict.fromkeys(name for spw, names in parts if spw == number for name in names)
    return SpectralWindow(number, name, len(centres), float(centres[0]), float(centres[-1]), width,
                          correlations=tuple(products))  # fmt: skip


def _intents(path: Path | str) -> tuple[str, ...]:
    """Return the intents by state; none where there is no such table."""
    if not Path(f"{path}/STATE").is_dir():
        return ()
    with read.opened(f"{path}/STATE") as table:
        return tuple(str(mode) for mode in table.getcol("OBS_MODE")) if table.nrows() else ()


class _Rows:
    """What a pass over the small columns of MAIN tells."""

    def __init__(self, main: Any, kind: str) -> None:
        self.number = int(main.nrows())
        self.part_column = "DATA_DESC_ID" if kind == "MS" else "SPECTRAL_WINDOW_ID"
        self.interval_s = float(main.getcell("INTERVAL", 0))
        self.by_field: dict[int, int] = {}
        self.antennas: set[int] = set()
        self.parts: set[int] = set()
        self.spans: dict[tuple[int, int], tuple[float, float]] = {}
        self.seen: dict[tuple[int, int], set[tuple[int, int, int]]] = {}
        states = "STATE_ID" in main.colnames()
        for start in range(0, self.number, _STEP):
            self._add(main, start, states)
        self.start = min(low for low, _ in self.spans.values())
        self.end = max(high for _, high in self.spans.values())

    def _add(self, main: Any, start: int, states: bool) -> None:
        names = ("FIELD_ID", "ANTENNA1", "ANTENNA2", self.part_column, "SCAN_NUMBER",
                 "OBSERVATION_ID")  # fmt: skip
        field_id, first, second, part, scan, run = (
            np.asarray(main.getcol(name, start, _STEP)) for name in names
        )
        state = main.getcol("STATE_ID", start, _STEP) if states else np.full(len(scan), -1)
        time = main.getcol("TIME", start, _STEP)
        for number, rows in zip(*np.unique(field_id, return_counts=True), strict=True):
            self.by_field[int(number)] = self.by_field.get(int(number), 0) + int(rows)
        self.antennas.update(np.unique(first).tolist())
        self.antennas.update(number for number in np.unique(second).tolist() if number >= 0)
        self.parts.update(np.unique(part).tolist())
        half = 0.5 * self.interval_s
        # Rows of one scan, field, window and state stand together in most MSs.
        keys = np.stack([run, scan, field_id, part, state])
        edges = np.flatnonzero(np.any(np.diff(keys, axis=1) != 0, axis=0)) + 1
        begins = np.concatenate([[0], edges])
        lows = np.minimum.reduceat(time, begins) - half
        highs = np.maximum.reduceat(time, begins) + half
        for column, low, high in zip(keys[:, begins].T.tolist(), lows, highs, strict=True):
            key = (column[0], column[1])
            old = self.spans.get(key, (np.inf, -np.inf))
            self.spans[key] = (min(old[0], float(low)), max(old[1], float(high)))
            self.seen.setdefault(key, set()).add(tuple(column[2:]))

    def scans(self, window_of: dict[int, int], intents: tuple[str, ...]) -> tuple[Scan, ...]:
        """Return the scans in the order of their times."""
        found = []
        for key, (low, high) in self.spans.items():
            seen = self.seen[key]
            modes = {word for _, _, state in seen if 0 <= state < len(intents)
                     for word in intents[state].split(",")}  # fmt: skip
            found.append(Scan(
                number=key[1], obs_id=key[0], field_ids=tuple(sorted({one[0] for one in seen})),
                spw_ids=tuple(sorted({window_of[one[1]] for one in seen})), start_mjd_s=low,
                end_mjd_s=high, integration_s=self.interval_s, intents=tuple(sorted(modes)),
            ))  # fmt: skip
        return tuple(sorted(found, key=lambda scan: (scan.start_mjd_s, scan.number)))
