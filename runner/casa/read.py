"""Read MeasurementSets, calibration tables and images into NumPy arrays, a piece at a time.

Plain frozen classes come out, so that what measures and plots them needs no CASA. Arrays
keep casacore's axis order: correlation, channel, row.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from . import stored_planes
from .config import configure
from .kept_planes import Block, keep, recall
from .tables import open_table

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Planes = tuple[npt.NDArray[np.float32], Bools]
Complexes = npt.NDArray[np.complex128]

CHUNK_SAMPLES = 1_000_000
"""Visibilities in memory at a time (16 MB): rows times channels times correlations."""

CHUNK_PIXELS = 4_000_000
"""Pixels of an image in memory at a time (32 MB)."""

SAMPLE_LIMIT = 200_000_000
"""Of a larger MS only evenly spread chunks have their visibilities read."""

_CORRELATIONS = {
    1: "I", 2: "Q", 3: "U", 4: "V", 5: "RR", 6: "RL", 7: "LR", 8: "LL",
    9: "XX", 10: "XY", 11: "YX", 12: "YY",
}  # fmt: skip
_PARALLEL = {"RR", "LL", "XX", "YY", "I"}
_DEGREES = {
    "rad": 180 / math.pi, "deg": 1.0, "arcmin": 1 / 60, "'": 1 / 60, "arcsec": 1 / 3600,
    '"': 1 / 3600,
}  # fmt: skip
_ARCSECONDS = {unit: 3600 * factor for unit, factor in _DEGREES.items()}
_HERTZ = {"Hz": 1.0, "kHz": 1e3, "MHz": 1e6, "GHz": 1e9}


@dataclass(frozen=True)
class Layout:
    """What an MS's subtables say about its rows.

    Attributes
    ----------
    fields, antennas : tuple of str
        Names by id.
    spw_of : tuple of int
        Spectral window by data description id.
    correlations_of : tuple of tuple of str
        Correlations by data description id.
    frequencies_hz : tuple of array
        Channel centres by spectral window, each of shape (channels,).
    n_rows : int
        Rows of MAIN.
    columns : tuple of str
        Columns of MAIN.
    """

    fields: tuple[str, ...]
    antennas: tuple[str, ...]
    spw_of: tuple[int, ...]
    correlations_of: tuple[tuple[str, ...], ...]
    frequencies_hz: tuple[Floats, ...]
    n_rows: int
    columns: tuple[str, ...]

    def parallel_hands(self, ddid: int) -> list[int]:
        """Return the indices of the parallel-hand correlations (all, if there is none)."""
        names = self.correlations_of[ddid]
        found = [index for index, name in enumerate(names) if name in _PARALLEL]
        return found or list(range(len(names)))


@dataclass(frozen=True)
class Rows:
    """Some rows of one data description of an MS.

    `uvw_m` has shape (3, rows), `flag` and `data` (correlations, channels, rows); `flag`
    includes FLAG_ROW. `data` is None where only the flags were read.
    """

    ddid: int
    spw: int
    time_s: Floats
    antenna1: Ints
    antenna2: Ints
    field: Ints
    scan: Ints
    uvw_m: Floats
    flag: Bools
    data: Complexes | None

    @property
    def cross(self) -> Bools:
        """True for the rows that are no autocorrelations; shape (rows,)."""
        return np.not_equal(self.antenna1, self.antenna2)


@dataclass(frozen=True)
class CalTable:
    """A calibration table: one row a solution of an antenna.

    `values` (complex, or float for delays in ns), `flag` and `snr` have shape (feeds,
    channels, rows); `time_s` (MJD seconds, UTC), `antenna`, `field`, `spw` and `scan` have
    shape (rows,). `frequencies_hz` holds the channel centres by spectral window.
    """

    path: str
    type: str
    values: Complexes | Floats
    flag: Bools
    snr: Floats
    time_s: Floats
    antenna: Ints
    field: Ints
    spw: Ints
    scan: Ints
    antennas: tuple[str, ...]
    fields: tuple[str, ...]
    frequencies_hz: tuple[Floats, ...]


@dataclass(frozen=True)
class ImageHeader:
    """Shape and coordinates of a CASA image with two direction axes.

    `reference_pixel` counts from 0. `beams` has a row (bmaj_arcsec, bmin_arcsec, bpa_deg)
    for the image or, where they differ, for each channel; none for an image without one.
    """

    path: str
    n_x: int
    n_y: int
    n_stokes: int
    n_chan: int
    unit: str
    frame: str
    projection: str
    projection_parameters: tuple[float, ...]
    reference_deg: tuple[float, float]
    reference_pixel: tuple[float, float]
    increment_deg: tuple[float, float]
    frequencies_hz: Floats
    spectral_frame: str
    rest_hz: float
    beams: tuple[tuple[float, float, float], ...]


@contextmanager
def opened(path: Path | str) -> Iterator[Any]:
    """Open a table to read it; raise `DataError` where that fails."""
    with ExitStack() as stack:
        try:
            table = stack.enter_context(open_table(path))
        except RuntimeError as error:
            raise DataError(f"{path}: cannot be opened as a casacore table: {error}") from error
        yield table


def layout(ms: Path | str) -> Layout:
    """Read the subtables of an MS that its rows point to.

    Raises
    ------
    DataError
        If the MS or one of these subtables cannot be opened.
    """
    with opened(ms) as main:
        n_rows, columns = int(main.nrows()), tuple(main.colnames())
    with opened(f"{ms}/FIELD") as table:
        fields = tuple(str(name) for name in table.getcol("NAME"))
    with opened(f"{ms}/ANTENNA") as table:
        antennas = tuple(str(name) for name in table.getcol("NAME"))
    with opened(f"{ms}/DATA_DESCRIPTION") as table:
        spws = tuple(int(i) for i in table.getcol("SPECTRAL_WINDOW_ID"))
        polarizations = [int(i) for i in table.getcol("POLARIZATION_ID")]
    with opened(f"{ms}/POLARIZATION") as table:
        products = [
            tuple(_CORRELATIONS.get(int(c), str(int(c))) for c in table.getcell("CORR_TYPE", row))
            for row in range(table.nrows())
        ]
    return Layout(
        fields=fields,
        antennas=antennas,
        spw_of=spws,
        correlations_of=tuple(products[i] for i in polarizations),
        frequencies_hz=frequencies(ms),
        n_rows=n_rows,
        columns=columns,
    )


def frequencies(parent: Path | str) -> tuple[Floats, ...]:
    """Return the channel centres by spectral window, in Hz."""
    with opened(f"{parent}/SPECTRAL_WINDOW") as table:
        return tuple(
            np.asarray(table.getcell("CHAN_FREQ", row), float) for row in range(table.nrows())
        )


def rows(ms: Path | str, about: Layout, column: str = "") -> Iterator[Rows]:
    """Read the rows of an MS in chunks of at most `CHUNK_SAMPLES` visibilities.

    Parameters
    ----------
    ms : Path or str
        The MeasurementSet.
    about : Layout
        Its layout.
    column : str, optional
        The visibilities to read, for instance ``CORRECTED_DATA``; by default only flags.
        Where there are more than `SAMPLE_LIMIT`, only evenly spread chunks carry them.

    Yields
    ------
    Rows
        Of one data description, in the order of the MS.

    Raises
    ------
    DataError
        If the MS cannot be opened.
    """
    with opened(ms) as main:
        for ddid in range(len(about.spw_of)):
            part = main if len(about.spw_of) == 1 else main.query(f"DATA_DESC_ID=={ddid}")
            try:
                yield from _rows_of(part, about, ddid, column)
            finally:
                if part is not main:
                    part.close()


def _rows_of(part: Any, about: Layout, ddid: int, column: str) -> Iterator[Rows]:
    spw = about.spw_of[ddid]
    n_rows = int(part.nrows())
    row_samples = len(about.frequencies_hz[spw]) * len(about.correlations_of[ddid])
    step = max(1, CHUNK_SAMPLES // row_samples)
    share = len(about.spw_of) * n_rows * row_samples / SAMPLE_LIMIT
    every = max(1, math.ceil(share))
    for number, start in enumerate(range(0, n_rows, step)):
        take = column if number % every == 0 else ""
        flag = part.getcol("FLAG", start, step) | part.getcol("FLAG_ROW", start, step)
        yield Rows(
            ddid=ddid,
            spw=spw,
            time_s=part.getcol("TIME", start, step),
            antenna1=part.getcol("ANTENNA1", start, step),
            antenna2=part.getcol("ANTENNA2", start, step),
            field=part.getcol("FIELD_ID", start, step),
            scan=part.getcol("SCAN_NUMBER", start, step),
            uvw_m=part.getcol("UVW", start, step),
            flag=flag,
            data=part.getcol(take, start, step) if take else None,
        )


def caltable(path: Path | str) -> CalTable:
    """Read a calibration table.

    Spectral windows of unequal width are padded with flagged channels.

    Raises
    ------
    DataError
        If the table cannot be opened or has no solutions.
    """
    with opened(path) as table:
        n_rows = int(table.nrows())
        if n_rows == 0:
            raise DataError(f"{path}: the calibration table has no solutions")
        name = "CPARAM" if "CPARAM" in table.colnames() else "FPARAM"
        plain = {
            column: table.getcol(column)
            for column in ("TIME", "ANTENNA1", "FIELD_ID", "SPECTRAL_WINDOW_ID", "SCAN_NUMBER")
        }
        windows = plain["SPECTRAL_WINDOW_ID"]
        values, flag, snr = (_padded(table, column, windows) for column in (name, "FLAG", "SNR"))
        kind = str(table.getkeyword("VisCal"))
    with opened(f"{path}/ANTENNA") as table:
        antennas = tuple(str(item) for item in table.getcol("NAME"))
    with opened(f"{path}/FIELD") as table:
        fields = tuple(str(item) for item in table.getcol("NAME"))
    return CalTable(
        path=str(path),
        type=kind,
        values=values,
        flag=flag,
        snr=snr,
        time_s=plain["TIME"],
        antenna=plain["ANTENNA1"],
        field=plain["FIELD_ID"],
        spw=plain["SPECTRAL_WINDOW_ID"],
        scan=plain["SCAN_NUMBER"],
        antennas=antennas,
        fields=fields,
        frequencies_hz=frequencies(path),
    )


def _padded(table: Any, column: str, windows: npt.NDArray[np.int64]) -> Any:
    """Read a column of (feeds, channels) cells, padding narrower windows to the widest.

    Cells of one shape at a time: over several, ``getcol`` may write past its memory.
    """
    parts = {}
    for window in np.unique(windows):
        rows = np.flatnonzero(windows == window)
        part = table.selectrows(rows.tolist())
        parts[int(window)] = rows, part.getcol(column)
        part.close()
    if len(parts) == 1:
        return next(values for _, values in parts.values())
    shape = np.max([values.shape[:2] for _, values in parts.values()], axis=0)
    first = next(values for _, values in parts.values())
    whole = np.full((*shape, len(windows)), column == "FLAG", dtype=first.dtype)
    for rows, values in parts.values():
        whole[: values.shape[0], : values.shape[1], rows] = values
    return whole


class ImageFile:
    """An open CASA image, read a plane at a time.

    Parameters
    ----------
    path : Path or str
        The image.

    Raises
    ------
    DataError
        If it cannot be opened or has no direction axes.
    """

    def __init__(self, path: Path | str) -> None:
        self._tool, self._axes, self.header = open_image(path)
        shape = (0, self.header.n_y, self.header.n_x)
        nothing = (0, np.zeros(shape, np.float32), np.zeros(shape, bool))
        self._stored: stored_planes.StoredPlanes | None = None
        self._sought = False
        self._block = recall(self.header.path) or nothing

    def __enter__(self) -> ImageFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._tool.done()

    def plane(self, channel: int = 0) -> tuple[Floats, Bools]:
        """Read one plane of the first Stokes parameter.

        Neighbouring planes are read along with it and kept, up to `CHUNK_PIXELS`.

        Returns
        -------
        tuple of array
            Pixels and where they are valid (unmasked and finite), both of shape (n_y, n_x).
        """
        first, pixels, valid = self._block
        if not first <= channel < first + len(pixels):
            self._block = first, pixels, valid = self._read(channel)
        return pixels[channel - first].astype(np.float64), valid[channel - first]

    def _read(self, channel: int) -> Block:
        """Read the block of planes that holds a channel."""
        header = self.header
        length = max(1, CHUNK_PIXELS // (header.n_x * header.n_y))
        first = channel - channel % length
        last = min(first + length, header.n_chan)
        pixels, valid = self._direct(first, last) or self._through_casa(first, last)
        if len(pixels) == header.n_chan:
            keep(header.path, (first, pixels, valid))
        return first, pixels, valid

    def _direct(self, first: int, last: int) -> Planes | None:
        """Read channels from the tiles on disk, where that can be done."""
        if not self._sought and self.header.n_stokes == 1:
            self._stored = stored_planes.find(self.header.path, self._tool, self._axes)
        self._sought = True
        if self._stored is None:
            return None
        pixels, mask = self._stored.read(first, last)
        valid = np.isfinite(pixels)
        return pixels, valid if mask is None else valid & mask

    def _through_casa(self, first: int, last: int) -> Planes:
        """Read channels through CASA."""
        corner = [0] * len(self._tool.shape())
        end = [int(size) - 1 for size in self._tool.shape()]
        if self._axes["stokes"] is not None:
            end[self._axes["stokes"]] = 0
        if self._axes["spectral"] is not None:
            corner[self._axes["spectral"]] = first
            end[self._axes["spectral"]] = last - 1
        # As an image has them on disk: half the memory of what CASA hands out.
        pixels = self._ordered(self._tool.getchunk(corner, end), np.float32)
        valid = np.isfinite(pixels)
        if any(self._tool.maskhandler("default")):
            valid &= self._ordered(self._tool.getchunk(corner, end, getmask=True), bool)
        return pixels, valid

    def _ordered(self, chunk: Any, kind: Any) -> Any:
        """Return a chunk with the axes channel, y, x."""
        order = [self._axes[name] for name in ("spectral", "y", "x")]
        present = [axis for axis in order if axis is not None]
        moved = np.moveaxis(chunk, present, range(-len(present), 0))
        shaped = moved.reshape(-1, self.header.n_y, self.header.n_x)
        return np.ascontiguousarray(shaped, kind)


def open_image(path: Path | str) -> tuple[Any, dict[str, int | None], ImageHeader]:
    """Open a CASA image or a FITS file.

    Parameters
    ----------
    path : Path or str
        The image.

    Returns
    -------
    tuple
        CASA's image tool, to be closed by the caller; which axis is x, y, stokes and spectral;
        and what the image says of itself.

    Raises
    ------
    DataError
        If it cannot be opened or has no direction axes.
    """
    configure()
    from casatools import image

    tool = image()
    try:
        tool.open(str(path))
    except RuntimeError as error:
        raise DataError(f"{path}: cannot be opened as an image: {error}") from error
    coordinates = tool.coordsys()
    try:
        axes = image_axes(coordinates.axiscoordinatetypes(), str(path))
        return tool, axes, image_header(tool, coordinates, axes, str(path))
    finally:
        coordinates.done()


def image_axes(types: list[str], path: str) -> dict[str, int | None]:
    """Return which axis is x, y, stokes and spectral; raise `DataError` without a sky."""
    directions = [index for index, name in enumerate(types) if name == "Direction"]
    if len(directions) != 2:
        raise DataError(f"{path}: not an image of the sky: it has no two direction axes")
    found: dict[str, int | None] = {"x": directions[0], "y": directions[1]}
    for key in ("Stokes", "Spectral"):
        found[key.lower()] = types.index(key) if key in types else None
    return found


def image_header(
    tool: Any, coordinates: Any, axes: dict[str, int | None], path: str
) -> ImageHeader:
    """Return shape and coordinates of an open image."""
    shape = [int(length) for length in tool.shape()]
    x, y, stokes, spectral = axes["x"], axes["y"], axes["stokes"], axes["spectral"]
    units = coordinates.units()
    value = coordinates.referencevalue()["numeric"]
    pixel = coordinates.referencepixel()["numeric"]
    increment = coordinates.increment()["numeric"]
    projection = coordinates.projection()
    frequencies = np.zeros(0)
    if spectral is not None:
        offsets = np.arange(shape[spectral]) - pixel[spectral]
        scale = _HERTZ.get(units[spectral], 1.0)
        frequencies = (value[spectral] + offsets * increment[spectral]) * scale

    def degrees(numbers: Any) -> tuple[float, float]:
        return tuple(float(numbers[i] * _DEGREES[units[i]]) for i in (x, y))  # type: ignore

    return ImageHeader(
        path=path,
        n_x=shape[x],  # type: ignore[index]
        n_y=shape[y],  # type: ignore[index]
        n_stokes=1 if stokes is None else shape[stokes],
        n_chan=1 if spectral is None else shape[spectral],
        unit=str(tool.brightnessunit()),
        frame=str(coordinates.referencecode("direction")[0]),
        projection=str(projection["type"]),
        projection_parameters=tuple(float(p) for p in projection["parameters"]),
        reference_deg=degrees(value),
        reference_pixel=(float(pixel[x]), float(pixel[y])),
        increment_deg=degrees(increment),
        frequencies_hz=frequencies,
        spectral_frame="" if spectral is None else str(coordinates.referencecode("spectral")[0]),
        rest_hz=0.0 if spectral is None else _rest_frequency(coordinates),
        beams=_beams(tool.restoringbeam()),
    )


def _rest_frequency(coordinates: Any) -> float:
    rest = coordinates.restfrequency()
    return float(np.ravel(rest["value"])[0]) * _HERTZ.get(str(rest["unit"]), 1.0)


def _beams(beam: dict[str, Any]) -> tuple[tuple[float, float, float], ...]:
    """Return (bmaj_arcsec, bmin_arcsec, bpa_deg) once, or for each channel."""
    if not beam:
        return ()
    if "beams" not in beam:
        return (_beam(beam),)
    channels = sorted(beam["beams"], key=lambda key: int(key.lstrip("*")))
    return tuple(_beam(beam["beams"][channel]["*0"]) for channel in channels)


def _beam(beam: dict[str, Any]) -> tuple[float, float, float]:
    angle = beam.get("positionangle") or beam["pa"]
    return (
        float(beam["major"]["value"]) * _ARCSECONDS[beam["major"]["unit"]],
        float(beam["minor"]["value"]) * _ARCSECONDS[beam["minor"]["unit"]],
        float(angle["value"]) * _DEGREES[angle["unit"]],
    )
