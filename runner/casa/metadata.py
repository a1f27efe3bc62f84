"""Read an MS's metadata into `casarun.observation`."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from ..observation import Antenna, Field, Observation, Scan, SpectralWindow
from .tables import open_table

_REQUIRED = ("ANTENNA", "DATA_DESCRIPTION", "FIELD", "OBSERVATION", "POLARIZATION",
             "SPECTRAL_WINDOW")  # fmt: skip
_CHUNK_BYTES = 64_000_000
_FRAMES = ("REST", "LSRK", "LSRD", "BARY", "GEO", "TOPO", "GALACTO", "LGROUP", "CMB")
# Directions in these turn into J2000 without a time and a place.
_FIXED_FRAMES = ("B1950", "B1950_VLA", "GALACTIC", "ICRS", "J2000", "SUPERGAL")
_CORRELATIONS = {
    1: "I", 2: "Q", 3: "U", 4: "V", 5: "RR", 6: "RL", 7: "LR", 8: "LL",
    9: "XX", 10: "XY", 11: "YX", 12: "YY",
}  # fmt: skip


def inspect(vis: Path) -> None:
    """Refuse what is not a readable MS with rows.

    Raises
    ------
    DataError
        Saying what is missing.
    """
    if not vis.is_dir():
        raise DataError(f"{vis}: not a MeasurementSet: it is not a folder")
    if not (vis / "table.dat").is_file():
        raise DataError(f"{vis}: not a MeasurementSet: it has no table.dat")
    lost = [name for name in _REQUIRED if not (vis / name / "table.dat").is_file()]
    if lost:
        raise DataError(f"{vis}: a broken MeasurementSet: subtable {', '.join(lost)} is missing")


def read(vis: Path) -> Observation:
    """Read the metadata of an MS.

    Parameters
    ----------
    vis : Path
        The MeasurementSet; it is not changed.

    Returns
    -------
    Observation
        Fields, spectral windows, scans and antennas that have data.

    Raises
    ------
    DataError
        If `vis` is no MeasurementSet, is broken, or has no rows.
    """
    inspect(vis)
    try:
        return _read(vis)
    except RuntimeError as error:
        raise DataError(
            f"{vis}: a broken MeasurementSet, some of its files are damaged or incomplete: {error}"
        ) from error


def _read(vis: Path) -> Observation:
    from casatools import msmetadata

    with open_table(vis) as main:
        n_rows = int(main.nrows())
        columns = tuple(sorted(main.colnames()))
        if n_rows == 0:
            raise DataError(f"{vis}: the MeasurementSet has no rows")
        antennas = _Antennas(vis)
        antennas.count(main, n_rows)
    tool = msmetadata()
    tool.open(str(vis))
    try:
        spws = _spws(vis, tool)
        scans = _scans(tool, {spw.id for spw in spws})
        times = tool.timerangeforobs(0)
        telescope = str(tool.observatorynames()[0])
        observer = str(tool.observers()[0])
        fields = _fields(tool, antennas)
    finally:
        tool.close()
    shortest, longest = antennas.baselines()
    return Observation(
        vis=str(vis), telescope=telescope, observer=observer,
        start_mjd_s=min((s.start_mjd_s for s in scans), default=times["begin"]["m0"]["value"]),
        end_mjd_s=max((s.end_mjd_s for s in scans), default=times["end"]["m0"]["value"]),
        n_rows=n_rows, size_bytes=sum(p.lstat().st_size for p in vis.rglob("*") if p.is_file()),
        shortest_baseline_m=shortest, longest_baseline_m=longest, columns=columns,
        fields=fields, spws=spws, scans=scans, antennas=antennas.table(),
    )  # fmt: skip


def _fields(tool: Any, counted: _Antennas) -> tuple[Field, ...]:
    from casatools import measures

    measure = measures()
    fields = []
    for number, name in enumerate(tool.fieldnames()):
        centre = tool.phasecenter(number)
        if centre["refer"] in _FIXED_FRAMES:
            centre = measure.measure(centre, "J2000")
        n_rows = counted.rows_by_field.get(number, 0)
        fields.append(
            Field(
                id=number,
                name=str(name),
                ra_deg=float(np.degrees(centre["m0"]["value"]) % 360),
                dec_deg=float(np.degrees(centre["m1"]["value"])),
                intents=tuple(sorted(str(i) for i in tool.intentsforfield(number))),
                n_rows=n_rows,
                flagged_fraction=counted.flagged_by_field.get(number, 0.0) / max(1, n_rows),
            )
        )
    return tuple(fields)


def _spws(vis: Path, tool: Any) -> tuple[SpectralWindow, ...]:
    with open_table(vis / "DATA_DESCRIPTION") as table:
        pol_of_spw = dict(
            zip(
                (int(i) for i in table.getcol("SPECTRAL_WINDOW_ID")),
                (int(i) for i in table.getcol("POLARIZATION_ID")),
                strict=True,
            )
        )
    with open_table(vis / "POLARIZATION") as table:
        products = [
            tuple(_CORRELATIONS.get(int(c), str(int(c))) for c in table.getcell("CORR_TYPE", row))
            for row in range(table.nrows())
        ]
    with open_table(vis / "SPECTRAL_WINDOW") as table:
        frames = [int(frame) for frame in table.getcol("MEAS_FREQ_REF")]
    spws = []
    for number in sorted(pol_of_spw):
        centres = np.atleast_1d(tool.chanfreqs(number))
        spws.append(
            SpectralWindow(
                id=number,
                name=str(tool.namesforspws(number)[0]),
                n_chan=len(centres),
                first_hz=float(centres[0]),
                last_hz=float(centres[-1]),
                chan_width_hz=float(np.atleast_1d(tool.chanwidths(number))[0]),
                frame=_FRAMES[frames[number]] if frames[number] < len(_FRAMES) else "?",
                correlations=products[pol_of_spw[number]],
            )
        )
    return tuple(spws)


def _scans(tool: Any, spw_ids: set[int]) -> tuple[Scan, ...]:
    scans = []
    for obs_id in range(tool.nobservations()):
        for number in tool.scannumbers(obsid=obs_id):
            times = tool.timesforscan(int(number), obsid=obs_id)
            spws = tuple(int(s) for s in tool.spwsforscan(int(number), obsid=obs_id))
            spws = tuple(spw for spw in spws if spw in spw_ids)
            exposure = tool.exposuretime(int(number), spwid=spws[0], obsid=obs_id)["value"]
            half = 0.5 * float(exposure)
            scans.append(
                Scan(
                    number=int(number),
                    field_ids=tuple(int(f) for f in tool.fieldsforscan(int(number), obsid=obs_id)),
                    spw_ids=spws,
                    start_mjd_s=float(np.min(times)) - half,
                    end_mjd_s=float(np.max(times)) + half,
                    integration_s=float(exposure),
                    intents=tuple(
                        sorted(str(i) for i in tool.intentsforscan(int(number), obsid=obs_id))
                    ),
                    obs_id=obs_id,
                )
            )
    return tuple(sorted(scans, key=lambda scan: (scan.start_mjd_s, scan.number)))


class _Antennas:
    """The antennas of an MS, with what one pass over MAIN tells of each."""

    def __init__(self, vis: Path) -> None:
        with open_table(vis / "ANTENNA") as table:
            self.names = [str(name) for name in table.getcol("NAME")]
            self.stations = [str(station) for station in table.getcol("STATION")]
            self.diameters: npt.NDArray[np.float64] = table.getcol("DISH_DIAMETER")
            self.positions: npt.NDArray[np.float64] = table.getcol("POSITION").T
        self.samples = np.zeros(len(self.names))
        self.flagged = np.zeros(len(self.names))
        self.scans: dict[int, set[int]] = defaultdict(set)
        self.all_scans: set[int] = set()
        self.rows_by_field: dict[int, int] = defaultdict(int)
        self.flagged_by_field: dict[int, float] = defaultdict(float)

    def count(self, main: Any, n_rows: int) -> None:
        """Read MAIN in chunks: rows and flags by antenna and by field."""
        step = max(1, _CHUNK_BYTES // max(1, main.getcell("FLAG", 0).size))
        for start in range(0, n_rows, step):
            columns = {
                name: main.getcol(name, start, step)
                for name in ("ANTENNA1", "ANTENNA2", "FIELD_ID", "SCAN_NUMBER", "FLAG_ROW")
            }
            flags = np.where(columns["FLAG_ROW"], 1.0, self._row_flags(main, start, step))
            for field in np.unique(columns["FIELD_ID"]):
                of_field = flags[columns["FIELD_ID"] == field]
                self.rows_by_field[int(field)] += len(of_field)
                self.flagged_by_field[int(field)] += float(of_field.sum())
            self._add(columns, flags)

    def _row_flags(self, main: Any, start: int, step: int) -> npt.NDArray[np.float64]:
        """Return the flagged fraction of each row, even where rows differ in shape."""
        try:
            flags = main.getcol("FLAG", start, step)
        except RuntimeError:  # rows of several shapes
            count = min(step, main.nrows() - start)
            return np.array([main.getcell("FLAG", start + row).mean() for row in range(count)])
        fraction: npt.NDArray[np.float64] = flags.mean(axis=(0, 1))
        return fraction

    def _add(self, columns: dict[str, Any], flags: npt.NDArray[np.float64]) -> None:
        cross = columns["ANTENNA1"] != columns["ANTENNA2"]
        scans = columns["SCAN_NUMBER"]
        self.all_scans.update(int(scan) for scan in np.unique(scans))
        for name in ("ANTENNA1", "ANTENNA2"):
            ids = columns[name][cross]
            self.samples += np.bincount(ids, minlength=len(self.names))
            self.flagged += np.bincount(ids, weights=flags[cross], minlength=len(self.names))
            good = cross & (flags < 1)
            for antenna, scan in np.unique(np.stack([columns[name][good], scans[good]]), axis=1).T:
                self.scans[int(antenna)].add(int(scan))

    def with_data(self) -> npt.NDArray[np.intp]:
        """Return the ids of the antennas that have cross-correlations."""
        return np.flatnonzero(self.samples)

    def table(self) -> tuple[Antenna, ...]:
        """Return the antennas that have data."""
        ids = self.with_data()
        centre = np.median(self.positions[ids], axis=0) if len(ids) else np.zeros(3)
        return tuple(
            Antenna(
                id=int(i),
                name=self.names[i],
                station=self.stations[i],
                diameter_m=float(self.diameters[i]),
                distance_m=round(float(np.linalg.norm(self.positions[i] - centre)), 3),
                flagged_fraction=round(float(self.flagged[i] / self.samples[i]), 6),
                present_fraction=len(self.scans[int(i)]) / max(1, len(self.all_scans)),
            )
            for i in ids
        )

    def baselines(self) -> tuple[float, float]:
        """Return the shortest and the longest distance between antennas with data, in m."""
        points = self.positions[self.with_data()]
        if len(points) < 2:
            return 0.0, 0.0
        gaps = np.linalg.norm(points[:, None] - points[None], axis=2)
        gaps = gaps[np.triu_indices(len(points), k=1)]
        return round(float(gaps.min()), 3), round(float(gaps.max()), 3)
