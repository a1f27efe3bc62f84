"""Measure a dataset: flags, calibration tables, flux scale, and a sample of its visibilities."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..casa import celestial_frame, read
from ..errors import DataError
from . import calibrators as point_fits
from . import known, known_places, plots, solutions, spectra
from .metrics import SPEED_OF_LIGHT_M_S, FlagCounts, fluxscale_table, put
from .tiles import Series
from .viewer_data import most_bytes
from .viewer_points import frequencies_mhz, write_solutions
from .viewer_visibilities import Averages

Floats = npt.NDArray[np.float64]
Params = Mapping[str, Any]

ROW_LIMIT = 400_000
"""Rows of which the channel averages are kept for plots."""

_TARGET_ROLES = ("target", "targets")
_NOT_ROLES = ("phase_of",)
_KINDS = {
    "delay": "delays",
    "phase0": "first phases",
    "bandpass": "bandpass",
    "phase-int": "phases per interval",
    "phase-scan": "phases per scan",
    "amp": "amplitudes",
    "fluxscale": "amplitudes on the flux scale",
}


@dataclass
class Sampler:
    """Gathers channel averages of calibrated visibilities, chunk by chunk."""

    about: read.Layout
    chunks: int = 0
    shown: int = 0
    rows: int = 0
    parts: list[tuple[Floats, ...]] = field(default_factory=list)
    spectra: spectra.Spectra = field(default_factory=spectra.Spectra)
    _random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(1))

    def add(self, chunk: read.Rows) -> None:
        """Keep the averages of a chunk's cross-correlations, thinned to `ROW_LIMIT` in all."""
        self.chunks += 1
        self.rows += chunk.time_s.size
        if chunk.data is None:
            return
        self.shown += 1
        hands = self.about.parallel_hands(chunk.ddid)[:2]
        keep = chunk.cross & ~chunk.flag[hands].all(axis=(0, 1))
        share = ROW_LIMIT / max(1, self.about.n_rows)
        if share < 1:
            keep &= self._random.random(keep.size) < share
        chosen = np.flatnonzero(keep)
        data, flag = chunk.data[hands][:, :, chosen], chunk.flag[hands][:, :, chosen]
        average = averaged(data, flag)
        self.spectra.add(data, flag, chunk.field[chosen], chunk.spw)
        if len(hands) == 1:
            average = np.concatenate([average, np.full_like(average, np.nan)])
        frequency = float(np.mean(self.about.frequencies_hz[chunk.spw]))
        klambda = chunk.uvw_m[:2, chosen] * frequency / SPEED_OF_LIGHT_M_S / 1e3
        self.parts.append(
            (
                chunk.time_s[chosen],
                chunk.field[chosen].astype(float),
                klambda[0],
                klambda[1],
                np.abs(average),
                np.degrees(np.angle(average)),
                np.full(chosen.size, float(chunk.spw)),
            )
        )

    def result(self) -> plots.Visibilities | None:
        """Return all that was kept, or None if that is nothing."""
        if not sum(part[0].size for part in self.parts):
            return None
        time, number, u, v, amplitude, phase = (
            np.concatenate([part[i] for part in self.parts], axis=-1) for i in range(6)
        )
        share = min(1.0, ROW_LIMIT / max(1, self.about.n_rows)) * self.shown / self.chunks
        return plots.Visibilities(
            time, number.astype(np.int64), u, v, amplitude, phase, every=1 / share
        )

    def points(self, ids: Sequence[int]) -> dict[str, Any]:
        """Fit a point to the visibilities of some fields, as one; see `calibrators.numbers`."""
        if not self.parts:
            return point_fits.numbers({})
        _, number, u, v, amplitude, phase, spw = (
            np.concatenate([part[i] for part in self.parts], axis=-1) for i in range(7)
        )
        mine = np.isin(number, list(ids))
        vis = amplitude * np.exp(1j * np.radians(phase))
        found = {}
        for window in np.unique(spw[mine]):
            rows = mine & (spw == window)
            hands = vis[:, rows]
            good = np.isfinite(hands)
            total = np.where(good, hands, 0).sum(axis=0)
            mean = np.where(good.any(axis=0), total / np.maximum(good.sum(axis=0), 1), np.nan)
            found[str(int(window))] = (1e3 * u[rows], 1e3 * v[rows], mean)
        return point_fits.numbers(found)


def averaged(
    data: npt.NDArray[np.complex128], flag: npt.NDArray[np.bool_]
) -> npt.NDArray[np.complex128]:
    """Average visibilities over channels as vectors.

    Parameters
    ----------
    data, flag : array, shape (hands, channels, rows)

    Returns
    -------
    array of complex, shape (hands, rows)
        NaN where all channels are flagged.
    """
    good = ~flag & np.isfinite(data)
    number = good.sum(axis=1)
    total = np.where(good, data, 0).sum(axis=1)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def measure(params: Params) -> dict[str, Any]:
    """Measure and plot a dataset; see `collect.measure_dataset`."""
    about = read.layout(params["ms"])
    counts, sampler = FlagCounts(), Sampler(about)
    averages = Averages(about) if most_bytes(params) else None
    for chunk in read.rows(params["ms"], about, _column(params, about)):
        counts.add(chunk.flag, chunk.field, chunk.antenna1, chunk.antenna2, chunk.spw, chunk.scan)
        sampler.add(chunk)
        if averages:
            averages.add(chunk)
    vis = sampler.result()
    fractions = counts.fractions(about.fields, about.antennas)
    flagged: Any = fractions["antenna"]
    groups, calibrators = field_groups(params["fields"], about.fields, set(counts.field))
    folder = Path(params["plots"])
    folder.mkdir(parents=True, exist_ok=True)
    shown: list[dict[str, str]] = []
    tables = []
    kinds = {str(entry["kind"]) for entry in params["caltables"]}
    # Before the flux scale is carried over, amplitudes of different fields are no comparison.
    unseen = {"amp"} if "fluxscale" in kinds else set()
    for entry in params["caltables"]:
        table = _read(entry)
        tables.append(_summary(entry, table, flagged))
        if not isinstance(table, read.CalTable) or not _is_plotted(entry, table):
            continue
        if entry["kind"] not in unseen:
            shown.extend(_caltable_plots(table, entry, folder, feeds(about)))
        if averages:
            shown.append(_caltable_viewer(table, entry, folder, feeds(about)))
    if vis is not None:
        shown.extend(_visibility_plots(folder, vis, groups, calibrators))
    for what, path in averages.write(folder / "viewer") if averages else ():
        shown.append(plot("visibilities-viewer", path, f"Look closer: visibilities {what}", ""))
    return {
        "kind": "dataset",
        "dataset": params["dataset"],
        "flagged_fraction": fractions,
        "target_fields": [
            about.fields[i] for name, ids in groups.items() if name not in calibrators for i in ids
        ],
        "caltables": tables,
        "calibrators": {
            name: _calibrator(name, sampler.points(groups[name]), params) for name in calibrators
        },
        "spectra": sampler.spectra.result(groups, about.frequencies_hz),
        "fluxscale": _fluxscale(params.get("fluxscale", ""), params.get("calibrator_spws", {})),
        "plots": shown,
    }


def _calibrator(name: str, numbers: dict[str, Any], params: Params) -> dict[str, Any]:
    place = params.get("places", {}).get(name)
    known_places.into(numbers, name, place, celestial_frame.sources())
    return numbers


def _column(params: Params, about: read.Layout) -> str:
    """Return the column of calibrated visibilities."""
    wanted = str(params.get("column", "corrected"))
    if wanted in ("corrected", "auto") and "CORRECTED_DATA" in about.columns:
        return "CORRECTED_DATA"
    if wanted == "corrected":
        raise DataError(f"{params['ms']} has no CORRECTED_DATA: nothing was applied to it")
    return next((name for name in ("DATA", "FLOAT_DATA") if name in about.columns), "")


def field_groups(
    roles: Params, names: Sequence[str], present: set[int]
) -> tuple[dict[str, list[int]], list[str]]:
    """Group the fields to plot: each calibrator alone, the targets alone or, if many, together.

    Parameters
    ----------
    roles : mapping
        Role to ids or names of fields.
    names : sequence of str
        Names of all fields by id.
    present : set of int
        Fields that have rows.

    Returns
    -------
    tuple
        Field ids by group, and the groups that are calibrators.
    """
    calibrators: dict[str, list[int]] = {}
    targets: dict[str, list[int]] = {}
    for role, members in roles.items():
        if role in _NOT_ROLES:
            continue
        group = targets if role in _TARGET_ROLES else calibrators
        for number in _ids(members, names):
            if number in present and number not in group.setdefault(names[number], []):
                group[names[number]].append(number)
    if len(targets) > 4:
        together = sorted(number for ids in targets.values() for number in ids)
        targets = {f"targets ({len(together)} fields)": together}
    return {**calibrators, **targets}, list(calibrators)


def _ids(members: Any, names: Sequence[str]) -> Iterable[int]:
    """Turn ids and names of fields into ids."""
    for member in [members] if isinstance(members, (str, int)) else members:
        if isinstance(member, int):
            yield member
        else:
            yield from (number for number, name in enumerate(names) if name == member)


def plot(section: str, path: Path, title: str, caption: str) -> dict[str, str]:
    """Describe a plot for the report; its path is relative to ``qa/``."""
    parts = path.parts
    inside = Path(*parts[parts.index("qa") + 1 :]) if "qa" in parts else path
    return {"section": section, "file": inside.as_posix(), "title": title, "caption": caption}


def _read(entry: Params) -> read.CalTable | str:
    """Return a calibration table, or why it cannot be read."""
    try:
        return read.caltable(entry["path"])
    except DataError as error:
        return str(error)


def _summary(
    entry: Params, table: read.CalTable | str, flagged: Mapping[str, float]
) -> dict[str, Any]:
    """Summarize a calibration table: solutions of the antennas that have data."""
    summary: dict[str, Any] = {"path": entry["path"], "kind": str(entry["kind"])}
    if isinstance(table, str):
        for key in ("flagged_fraction", "median_snr"):
            put(summary, key, None, table)
        return summary
    title = {"title": str(entry["title"])} if "title" in entry else {}
    alive = np.array([flagged.get(name, 1.0) < 1 for name in table.antennas])
    if title:
        return summary | title | known.summary(table, alive, str(entry.get("beside", "")))
    return summary | solutions.summary(table, str(entry["kind"]), alive)


def _is_plotted(entry: Params, table: read.CalTable) -> bool:
    """Tell whether a table is worth a plot: those that were known, if they are solutions."""
    return "title" not in entry or (table.type in known.PLOTTED and known.has_times(table))


def _titled(entry: Params) -> str:
    kind = str(entry["kind"])
    return str(entry.get("title") or _KINDS.get(kind, kind))


def feeds(about: read.Layout) -> tuple[str, str]:
    """Return what the two feeds of an antenna are called: R and L, X and Y."""
    names = {name for correlations in about.correlations_of for name in correlations}
    if names & {"RR", "LL"}:
        return ("R", "L")
    return ("X", "Y") if names & {"XX", "YY"} else ("feed 1", "feed 2")


def _caltable_plots(
    table: read.CalTable, entry: Params, folder: Path, hands: Sequence[str]
) -> list[dict[str, str]]:
    if table.flag.all():
        return []
    kind, title = str(entry["kind"]), _titled(entry)
    wanted: Mapping[str, Sequence[str]] = {
        "bandpass": ("amplitude", "phase"),
        "amp": ("amplitude",),
        "fluxscale": ("amplitude",),
        "delay": ("delay",),
    }
    against = "frequency" if table.values.shape[1] > 1 else "time"
    drawn = []
    both = known.PLOTTED.get(table.type, ()) if "title" in entry else wanted.get(kind, ("phase",))
    for what in both:
        series, names = tile_series(table, what, against, hands)
        path = folder / f"{kind}{f'-{what}' if len(both) > 1 else ''}.png"
        heading = f"{title}: {what}" if len(both) > 1 else title
        plots.solutions(path, heading, names, series, what, against)
        caption = (
            f"Solutions by antenna against {against}; red marks at the foot are flagged solutions."
        )
        drawn.append(plot("calibration", path, heading.capitalize(), caption))
    return drawn


def _caltable_viewer(
    table: read.CalTable, entry: Params, folder: Path, hands: Sequence[str]
) -> dict[str, str]:
    kind, title = str(entry["kind"]), _titled(entry)
    made = write_solutions(folder / "viewer" / f"{kind}.js", table, kind, title, hands)
    about = "each solution with its antenna, scan and spw"
    return plot("calibration-viewer", made, f"Look closer: {title}", about)


def tile_series(
    table: read.CalTable, what: str, against: str, hands: Sequence[str]
) -> tuple[list[Series], list[str]]:
    """Return the points of each feed, and the antennas' names."""
    used = np.unique(table.antenna)
    tile = np.searchsorted(used, table.antenna)
    n_feeds, n_chan, _ = table.values.shape
    if against == "frequency":
        x = frequencies_mhz(table)
    else:
        x = np.broadcast_to(table.time_s, (n_chan, table.time_s.size))
    tiles = np.broadcast_to(tile, x.shape)
    values = _part(table.values, what)
    series = []
    for feed in range(n_feeds):
        good = ~table.flag[feed] & np.isfinite(values[feed])
        series.append(Series(hands[feed], tiles.ravel(), x.ravel(), values[feed].ravel(),
                             good.ravel()))  # fmt: skip
    return series, [table.antennas[i] for i in used]


def _part(values: npt.NDArray[Any], what: str) -> Floats:
    """Return the amplitude, the phase in degrees, or the delay in ns of solutions."""
    if what == "amplitude":
        return np.asarray(np.abs(values))
    return np.asarray(np.degrees(np.angle(values)) if what == "phase" else np.real(values))


def _visibility_plots(
    folder: Path,
    vis: plots.Visibilities,
    groups: Mapping[str, Sequence[int]],
    calibrators: Sequence[str],
) -> list[dict[str, str]]:
    known = {name: ids for name, ids in groups.items() if np.isin(vis.field, list(ids)).any()}
    if not known:
        return []
    chosen = [name for name in calibrators if name in known]
    targets = {name: ids for name, ids in known.items() if name not in calibrators}
    coverage = {
        name: (vis.u_klambda[rows], vis.v_klambda[rows])
        for name, ids in (targets or known).items()
        if (rows := np.isin(vis.field, list(ids))).any()
    }
    longest = max(float(np.hypot(u, v).max()) for u, v in coverage.values())
    part = "" if vis.every <= 1.001 else f" One row in {math.ceil(vis.every)} is shown."
    means = f"Calibrated visibilities, averaged over the channels of each window.{part}"
    return [
        plot("uv", plots.uv_coverage(folder / "uv.png", coverage, 1.05 * longest or 1.0),
             "uv coverage", f"Unflagged baselines (blue) and their conjugates (orange).{part}"),
        plot("visibilities",
             plots.amplitude_against_uv_distance(folder / "amp-uvdist.png", vis, known, chosen),
             "Amplitude against uv distance",
             f"{means} The lighter, the more visibilities; calibrators are zoomed in on."),
        plot("visibilities", plots.against_time(folder / "time.png", vis, known, chosen),
             "Against time", means),
    ]  # fmt: skip


def _fluxscale(path: str, observed: Mapping[str, Sequence[int]]) -> dict[str, Any] | None:
    """Read what CASA's fluxscale returned, without windows in which a field was not observed."""
    if not path:
        return None
    raw = json.loads(Path(path).read_text(encoding="utf-8"))
    for field_id, spws in observed.items():
        entry = raw.get(field_id, {})
        for spw in [key for key in entry if key.isdigit() and int(key) not in spws]:
            del entry[spw]
    return fluxscale_table(raw)
