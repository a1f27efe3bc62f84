"""Read an MS's metadata into `casarun.observation`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from ..observation import Antenna, Field, Observation, Scan, SpectralWindow
from . import integrity, sampling
from .config import configure
from .tables import open_table

_CHUNK_BYTES = 64_000_000
_FRAMES = ("REST", "LSRK", "LSRD", "BARY", "GEO", "TOPO", "GALACTO", "LGROUP", "CMB")
# Directions in these turn into J2000 without a time and a place.
_FIXED_FRAMES = ("B1950", "B1950_VLA", "GALACTIC", "ICRS", "J2000", "SUPERGAL")
_CORRELATIONS = {
    1: "I", 2: "Q", 3: "U", 4: "V", 5: "RR", 6: "RL", 7: "LR", 8: "LL",
    9: "XX", 10: "XY", 11: "YX", 12: "YY",
}  # fmt: skip


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
        If `vis` is no MeasurementSet, is broken, has no rows, or is flagged throughout.
    """
    integrity.inspect(vis)
    try:
        return _read(vis)
    except RuntimeError as error:
        raise DataError(
            f"{vis}: a broken MeasurementSet, some of its files are damaged or incomplete: "
            f"{error}; get the data again, whole"
        ) from error


def antennas(vis: Path) -> tuple[Antenna, ...]:
    """Read the antennas of an MS that have data, and nothing else of it.

    Parameters
    ----------
    vis : Path
        The MeasurementSet; it is not changed, and known to be sound.
    """
    found = _Antennas(vis)
    with open_table(vis) as main:
        found.count(main, int(main.nrows()))
    return found.table()


def _read(vis: Path) -> Observation:
    from casatools import msmetadata

    with open_table(vis) as main:
        integrity.inspect_main(vis, main)
        n_rows = int(main.nrows())
        columns = tuple(sorted(main.colnames()))
        if n_rows == 0:
            raise DataError(
                f"{vis}: the MeasurementSet has no rows: a selection or an import left nothing; "
                "get the data again, or name another MS"
            )
        integrity.read_ends(vis, main, sorted({0, n_rows - 1}))
        counted = _Antennas(vis)
        counted.count(main, n_rows)
        shapes = _shapes(vis)
        try:
            sample = sampling.take(main, len(shapes), "", shapes)
        except DataError as error:
            raise DataError(f"{vis}: {error}") from error
    tool = msmetadata()
    tool.open(str(vis))
    try:
        spws = _spws(vis, tool)
        scans = _scans(tool, {spw.id for spw in spws}, counted)
        times = tool.timerangeforobs(0)
        telescope = str(tool.observatorynames()[0])
        observer = str(tool.observers()[0])
        fields = _fields(tool, counted, sample)
    finally:
        tool.close()
    shortest, longest = counted.baselines()
    if fields and all(one.flagged_fraction >= 1 for one in fields if one.n_rows):
        raise DataError(
            f"{vis}: all data are flagged: restore the flags as they were (CASA's flagmanager), "
            "or get the data again"
        )
    return Observation(
        vis=str(vis), telescope=telescope, observer=observer,
        start_mjd_s=min((s.start_mjd_s for s in scans), default=times["begin"]["m0"]["value"]),
        end_mjd_s=max((s.end_mjd_s for s in scans), default=times["end"]["m0"]["value"]),
        n_rows=n_rows, size_bytes=sum(p.lstat().st_size for p in vis.rglob("*") if p.is_file()),
        shortest_baseline_m=shortest, longest_baseline_m=longest, columns=columns,
        fields=fields, spws=spws, scans=scans, antennas=counted.table(),
        measures_until_mjd_s=measures_until(),
        warnings=(*counted.oddities(), *_no_uvw(sample)),
        has_model=integrity.has_model(vis),
    )  # fmt: skip


def _fields(tool: Any, counted: _Antennas, sample: sampling.Sample) -> tuple[Field, ...]:
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
                intents=_intents(counted, partial(tool.intentsforfield, number)),
                n_rows=n_rows,
                flagged_fraction=counted.flagged_by_field.get(number, 0.0) / max(1, n_rows),
                **sample.fractions(number),
            )
        )
    return tuple(fields)


def _shapes(vis: Path) -> list[tuple[int, int]]:
    """Return the number of correlations and of channels by data description id.

    Raises
    ------
    DataError
        If DATA_DESCRIPTION points to rows that are not there.
    """
    with open_table(vis / "SPECTRAL_WINDOW") as table:
        channels = [int(n) for n in table.getcol("NUM_CHAN")] if table.nrows() else []
    with open_table(vis / "POLARIZATION") as table:
        correlations = [int(n) for n in table.getcol("NUM_CORR")] if table.nrows() else []
    with open_table(vis / "DATA_DESCRIPTION") as table:
        pairs = [
            (
                int(table.getcell("POLARIZATION_ID", row)),
                int(table.getcell("SPECTRAL_WINDOW_ID", row)),
            )
            for row in range(table.nrows())
        ]
    for pol, spw in pairs:
        if not (0 <= pol < len(correlations) and 0 <= spw < len(channels)):
            raise DataError(
                f"{vis}: a broken MeasurementSet: DATA_DESCRIPTION points to spw {spw} and "
                f"polarization {pol}, but there are {len(channels)} and {len(correlations)}: "
                "subtables come from different datasets: get the data again, whole"
            )
    return [(correlations[pol], channels[spw]) for pol, spw in pairs]


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
    rest = _rest_frequencies(vis)
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
                rest_hz=tuple(sorted(rest.get(number, set()) | rest.get(-1, set()))),
            )
        )
    return tuple(spws)


def _no_uvw(sample: sampling.Sample) -> tuple[str, ...]:
    """Return a warning where all uvw coordinates are zero."""
    if sample.has_uvw or not any(sample.rows.values()):
        return ()
    return ("all uvw coordinates are 0: no image can be made; compute them with CASA's fixvis",)


def _rest_frequencies(vis: Path) -> dict[int, set[float]]:
    """Return the rest frequencies (Hz) in SOURCE by spectral window; -1 holds for all.

    SOURCE is optional, and so are its columns and their cells.
    """
    found: dict[int, set[float]] = defaultdict(set)
    if not (vis / "SOURCE" / "table.dat").is_file():
        return found
    with open_table(vis / "SOURCE") as table:
        if not {"REST_FREQUENCY", "SPECTRAL_WINDOW_ID"} <= set(table.colnames()):
            return found
        for row in range(table.nrows()):
            if table.iscelldefined("REST_FREQUENCY", row):
                values = np.ravel(table.getcell("REST_FREQUENCY", row))
                good = values[np.isfinite(values) & (values > 0)]
                found[int(table.getcell("SPECTRAL_WINDOW_ID", row))].update(map(float, good))
    return found


def measures_until() -> float:
    """Return the last date (MJD s, UTC) of the Earth's orientation in CASA's measures data.

    CASA takes measured values from ``IERSeop2000`` and, after its end, ``IERSpredict``; beyond
    both it goes on with none. 0 where the tables cannot be read.
    """
    folder = configure() / "geodetic"
    ends = [0.0]
    for name in ("IERSeop2000", "IERSpredict"):
        if (folder / name / "table.dat").is_file():
            with open_table(folder / name) as table:
                if table.nrows():
                    ends.append(float(table.getcell("MJD", table.nrows() - 1)))
    return 86400 * max(ends)


def _intents(counted: _Antennas, read: Callable[[], Any]) -> tuple[str, ...]:
    """Return intents, sorted.

    With rows that have no state beside a STATE table that has some, CASA kills the process
    (casatools 6.7.0: SIGSEGV in ``intentsforfield``); nobody knows those rows' intents anyway.
    """
    return () if counted.without_state else tuple(sorted(map(str, read())))


def _scans(tool: Any, spw_ids: set[int], counted: _Antennas) -> tuple[Scan, ...]:
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
                    intents=_intents(
                        counted,
                        partial(tool.intentsforscan, int(number), obsid=obs_id),
                    ),
                    obs_id=obs_id,
                )
            )
    return tuple(sorted(scans, key=lambda scan: (scan.start_mjd_s, scan.number)))


class _Antennas:
    """The antennas of an MS, with what one pass over MAIN tells of each."""

    def __init__(self, vis: Path) -> None:
        self.vis = vis
        with open_table(vis / "ANTENNA") as table:
            if not table.nrows():
                raise DataError(
                    f"{vis}: a broken MeasurementSet: ANTENNA has no rows: get the data again, "
                    "whole"
                )
            self.names = [str(name) for name in table.getcol("NAME")]
            self.stations = [str(station) for station in table.getcol("STATION")]
            self.diameters: npt.NDArray[np.float64] = table.getcol("DISH_DIAMETER")
            self.positions: npt.NDArray[np.float64] = table.getcol("POSITION").T
        self.without_state = False
        self.samples = np.zeros(len(self.names))
        self.flagged = np.zeros(len(self.names))
        self.scans: dict[int, set[int]] = defaultdict(set)
        self.all_scans: set[int] = set()
        self.rows_by_field: dict[int, int] = defaultdict(int)
        self.flagged_by_field: dict[int, float] = defaultdict(float)

    def count(self, main: Any, n_rows: int) -> None:
        """Read MAIN in chunks: rows and flags by antenna and by field."""
        sizes = self._sizes(main)
        step = max(1, _CHUNK_BYTES // max(1, main.getcell("FLAG", 0).size))
        for start in range(0, n_rows, step):
            columns = {
                name: main.getcol(name, start, step) for name in ("SCAN_NUMBER", "FLAG_ROW", *sizes)
            }
            for name, size in sizes.items():
                low, high = int(columns[name].min()), int(columns[name].max())
                integrity.require_indices(self.vis, name, low, high, size)
                self.without_state |= name == "STATE_ID" and low < 0 < size
            flags = np.where(columns["FLAG_ROW"], 1.0, self._row_flags(main, start, step))
            for field in np.unique(columns["FIELD_ID"]):
                of_field = flags[columns["FIELD_ID"] == field]
                self.rows_by_field[int(field)] += len(of_field)
                self.flagged_by_field[int(field)] += float(of_field.sum())
            self._add(columns, flags)

    def _sizes(self, main: Any) -> dict[str, int]:
        """Return the number of rows that each column of ids may point to."""
        sizes = {}
        for column, name in integrity.index_columns(main).items():
            if (self.vis / name / "table.dat").is_file():
                with open_table(self.vis / name) as table:
                    sizes[column] = int(table.nrows())
        return sizes

    def oddities(self) -> tuple[str, ...]:
        """Return warnings about antennas that cannot be told apart."""
        ids = self.with_data()
        names = [self.names[i] for i in ids]
        twice = sorted({name for name in names if names.count(name) > 1})
        found = []
        if twice:
            found.append(
                f"several antennas are called {', '.join(twice)}: a selection by that name takes "
                "them all; select by id"
            )
        places = defaultdict(list)
        for i in ids:
            places[tuple(np.round(self.positions[i], 3).tolist())].append(self.names[i])
        for same in (group for group in places.values() if len(group) > 1):
            found.append(f"antennas {', '.join(same)} stand at the same place")
        if self.without_state:
            found.append(
                "some rows have no scan intent (STATE_ID is -1), so casarun takes none; name the "
                "calibrators and targets in the recipe"
            )
        return tuple(found)

    def _row_flags(self, main: Any, start: int, step: int) -> npt.NDArray[np.float64]:
        """Return the flagged fraction of each row.

        Rows of one shape at a time: reading a column over rows of several shapes does not
        always raise, and where it does not, it writes past its memory (casatools 6.7).
        """
        count = min(step, main.nrows() - start)
        kinds = main.getcol("DATA_DESC_ID", start, count)
        fractions = np.zeros(count)
        for kind in np.unique(kinds):
            rows = np.flatnonzero(kinds == kind)
            part = main.selectrows((rows + start).tolist())
            fractions[rows] = part.getcol("FLAG").mean(axis=(0, 1))
            part.close()
        return fractions

    def _add(self, columns: dict[str, Any], flags: npt.NDArray[np.float64]) -> None:
        cross = columns["ANTENNA1"] != columns["ANTENNA2"]
        scans = columns["SCAN_NUMBER"]
        self.all_scans.update(int(scan) for scan in np.unique(scans))
        for name in ("ANTENNA1", "ANTENNA2"):
            ids = columns[name][cross]
            self.samples += np.bincount(ids, minlength=len(self.names))
            self.flagged += np.bincount(ids, weights=flags[cross], minlength=len(self.names))
            good = cross & (flags < 1)
            numbers = np.asarray(columns[name][good], np.int64)
            for scan in np.unique(scans[good]).tolist():
                for antenna in np.flatnonzero(np.bincount(numbers[scans[good] == scan])).tolist():
                    self.scans[antenna].add(scan)

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
