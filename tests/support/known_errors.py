"""Errors with a known truth, put into a simulated sky: opacity, positions, gain curves.

Directions come from astropy and not from CASA, which is what is tested.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy import units
from astropy.coordinates import ITRS, EarthLocation, SkyCoord
from astropy.time import Time
from astropy.utils import iers
from casarun.casa.tables import open_table
from casarun.recipe.paths import casadata_folder

from .skies import LIGHT_M_S, Sky

Floats = npt.NDArray[np.float64]


def attenuate(ms: Path, sky: Sky, zenith_opacity: Sequence[float]) -> None:
    """Weaken the visibilities by the atmosphere: exp(-tau / cos z) of the power.

    Parameters
    ----------
    ms : Path
        The MS of the sky.
    sky : Sky
        What was built.
    zenith_opacity : sequence of float
        In nepers, by window.
    """

    def factor(rows: Any) -> npt.NDArray[np.complex128]:
        tau = np.asarray(zenith_opacity)[rows["spw"]]
        return np.exp(-tau / rows["up"]).astype(complex)[None, None]

    _multiply(ms, sky, factor)


def misplace(ms: Path, sky: Sky, offsets_m: Mapping[int, Sequence[float]]) -> None:
    """Let the correlator have used wrong positions of antennas.

    Parameters
    ----------
    ms : Path
        The MS of the sky, made with the true positions.
    sky : Sky
        What was built.
    offsets_m : mapping
        By antenna the true position less the one that was used, in ITRF and m.
    """

    def factor(rows: Any) -> npt.NDArray[np.complex128]:
        moved = np.zeros((len(rows["positions"]), 3))
        for antenna, offset in offsets_m.items():
            moved[antenna] = offset
        # The geometric phase of the true baseline, which was taken out of the used one.
        baseline = rows["sense"] * (moved[rows["antenna2"]] - moved[rows["antenna1"]])
        w_m = np.einsum("ij,ij->i", baseline, rows["source"])
        return np.exp(2j * np.pi * rows["hertz"][:, None] / LIGHT_M_S * w_m)[None]

    _multiply(ms, sky, factor)


def weaken(ms: Path, sky: Sky) -> None:
    """Let the VLA's antennas lose gain with the zenith angle, as CASA's table of them has it.

    Parameters
    ----------
    ms : Path
        The MS of the sky.
    sky : Sky
        What was built.
    """
    curves = [gain_curves(spw.start_hz, sky) for spw in sky.spws]

    def factor(rows: Any) -> npt.NDArray[np.complex128]:
        angle = np.degrees(np.arccos(rows["up"]))
        powers = np.array([angle**k for k in range(4)])
        gain = np.einsum("kfa,kr->far", curves[rows["spw"]], powers)
        number = np.arange(angle.size)
        both = gain[:, rows["antenna1"], number] * gain[:, rows["antenna2"], number]
        return both.astype(complex)[:, None]

    _multiply(ms, sky, factor)


def requantize(ms: Path, sky: Sky, field_id: int, gains: Mapping[int, float]) -> None:
    """Let requantizers have other gains while one field is observed, and record that.

    Parameters
    ----------
    ms : Path
        The MS of the sky; gets the tables SYSPOWER and CALDEVICE.
    sky : Sky
        What was built.
    field_id : int
        The field.
    gains : mapping
        Gains of voltage by antenna; 1 for others.
    """
    of_antenna = np.ones(sky.n_antennas)
    for antenna, gain in gains.items():
        of_antenna[antenna] = gain

    def factor(rows: Any) -> npt.NDArray[np.complex128]:
        both = of_antenna[rows["antenna1"]] * of_antenna[rows["antenna2"]]
        return np.where(rows["field"] == field_id, both, 1.0).astype(complex)[None, None]

    _multiply(ms, sky, factor)
    with open_table(ms) as table:
        times, first = np.unique(table.getcol("TIME"), return_index=True)
        fields, interval_s = table.getcol("FIELD_ID")[first], table.getcol("INTERVAL")[0]
    time, antenna, spw = (
        axis.ravel()
        for axis in np.meshgrid(
            np.arange(times.size), np.arange(sky.n_antennas), np.arange(len(sky.spws)),
            indexing="ij",
        )
    )  # fmt: skip
    gain = np.where(fields[time] == field_id, of_antenna[antenna], 1.0)
    own = _of_feeds(antenna, spw, times[time], interval_s)
    power = {"SWITCHED_DIFF": 0.1 * gain**2, "SWITCHED_SUM": 2 * gain**2, "REQUANTIZER_GAIN": gain}
    both = {name: np.stack([value] * 2).astype(np.float32) for name, value in power.items()}
    _add_table(ms, "SYSPOWER", own | both)
    once = time == 0
    device = {name: value[once] for name, value in own.items()} | {
        "INTERVAL": np.full(once.sum(), 1e6),
        "NUM_CAL_LOAD": np.full(once.sum(), 2, np.int32),
        "NUM_RECEPTOR": np.full(once.sum(), 2, np.int32),
        "NOISE_CAL": np.full((2, 2, once.sum()), 3.0, np.float32),
    }
    _add_table(ms, "CALDEVICE", device)


def heat(ms: Path, sky: Sky, field_id: int, tsys_k: Mapping[int, float]) -> None:
    """Let antennas be warmer while one field is observed: the data are correlation coefficients.

    Parameters
    ----------
    ms : Path
        The MS of the sky; gets a SYSCAL table with the temperatures in window 0 alone.
    sky : Sky
        What was built.
    field_id : int
        The field.
    tsys_k : mapping
        System temperatures by antenna; 100 K for others, and for the other fields.
    """
    of_antenna = np.full(sky.n_antennas, 100.0)
    for antenna, kelvin in tsys_k.items():
        of_antenna[antenna] = kelvin

    def factor(rows: Any) -> npt.NDArray[np.complex128]:
        both = np.sqrt(of_antenna[rows["antenna1"]] * of_antenna[rows["antenna2"]])
        return (1 / np.where(rows["field"] == field_id, both, 100.0)).astype(complex)[None, None]

    _multiply(ms, sky, factor)
    with open_table(ms) as table:
        times, first = np.unique(table.getcol("TIME"), return_index=True)
        fields, interval_s = table.getcol("FIELD_ID")[first], table.getcol("INTERVAL")[0]
    time, antenna = np.repeat(np.arange(times.size), sky.n_antennas), np.arange(sky.n_antennas)
    antenna = np.tile(antenna, times.size)
    kelvin = np.where(fields[time] == field_id, of_antenna[antenna], 100.0).astype(np.float32)
    spectrum = np.broadcast_to(kelvin, (2, sky.spws[0].n_chan, kelvin.size)).copy()
    own = _of_feeds(antenna, np.zeros(antenna.size), times[time], interval_s)
    _add_table(ms, "SYSCAL", own | {"TSYS": spectrum[:, 0], "TSYS_SPECTRUM": spectrum})
    _with_units(ms / "SYSCAL", {"TSYS": "K", "TSYS_SPECTRUM": "K"})


def _with_units(path: Path, units: Mapping[str, str]) -> None:
    """Say of a subtable's columns what its numbers are, as CASA wants it."""
    with open_table(path, change=True) as table:
        table.putcolkeyword("TIME", "MEASINFO", {"type": "epoch", "Ref": "UTC"})
        for column, unit in {"TIME": "s", "INTERVAL": "s", **units}.items():
            table.putcolkeyword(column, "QuantumUnits", np.array([unit]))


def _of_feeds(
    antenna: npt.NDArray[Any], spw: npt.NDArray[Any], time_s: Floats, interval_s: float
) -> dict[str, npt.NDArray[Any]]:
    """Return the columns that say of which feed a row is, and when."""
    return {
        "ANTENNA_ID": antenna.astype(np.int32),
        "FEED_ID": np.zeros(antenna.size, np.int32),
        "SPECTRAL_WINDOW_ID": spw.astype(np.int32),
        "TIME": time_s,
        "INTERVAL": np.full(antenna.size, interval_s),
    }


def _add_table(ms: Path, name: str, columns: Mapping[str, npt.NDArray[Any]]) -> None:
    """Give an MS a subtable with columns of numbers; rows are their last axis."""
    from casatools import table

    kinds = {np.dtype("i4"): "int", np.dtype("f4"): "float", np.dtype("f8"): "double"}
    about = {
        column: {
            "valueType": kinds[values.dtype], "option": 0, "maxlen": 0, "comment": "",
            "dataManagerType": "StandardStMan", "dataManagerGroup": "StandardStMan",
            **({"ndim": values.ndim - 1} if values.ndim > 1 else {}),
        }
        for column, values in columns.items()
    }  # fmt: skip
    tool = table()
    tool.create(str(ms / name), about, nrow=next(iter(columns.values())).shape[-1])
    for column, values in columns.items():
        tool.putcol(column, values)
    tool.close()
    tool.open(str(ms), nomodify=False)
    tool.putkeyword(name, f"Table: {ms / name}")
    tool.close()


def report_weather(ms: Path) -> None:
    """Give an MS the weather of a mild, dry day at the VLA."""
    with open_table(ms) as table:
        times = np.unique(table.getcol("TIME"))
    values = {
        "TEMPERATURE": (283.0, "K"), "DEW_POINT": (268.0, "K"), "WIND_SPEED": (3.0, "m/s"),
        "WIND_DIRECTION": (1.0, "rad"), "PRESSURE": (785.0, "hPa"), "REL_HUMIDITY": (30.0, "%"),
    }  # fmt: skip
    columns: dict[str, npt.NDArray[Any]] = {
        "ANTENNA_ID": np.full(times.size, -1, np.int32),
        "TIME": times,
        "INTERVAL": np.full(times.size, 60.0),
    }
    for name, (value, _) in values.items():
        columns[name] = np.full(times.size, value, np.float32)
    _add_table(ms, "WEATHER", columns)
    _with_units(ms / "WEATHER", {name: unit for name, (_, unit) in values.items()})


def gain_curves(hertz: float, sky: Sky) -> Floats:
    """Return the polynomials of voltage against zenith angle in degrees, (4, feeds, antennas)."""
    time_s = 86400 * Time(sky.start.replace("/", "-", 2).replace("/", " "), scale="utc").mjd
    with open_table(casadata_folder() / "nrao/VLA/GainCurves") as table:
        column = {name: table.getcol(name) for name in table.colnames()}
    mine = (column["BFREQ"] <= hertz) & (hertz < column["EFREQ"])
    mine &= (column["BTIME"] <= time_s) & (time_s < column["ETIME"])
    found = np.zeros((4, 2, sky.n_antennas))
    for antenna in range(sky.n_antennas):
        # Antennas that are not listed are taken for one that is called 0.
        rows = [np.flatnonzero(mine & (column["ANTENNA"] == str(n))) for n in (antenna + 1, 0)]
        found[:, :, antenna] = column["GAIN"][:, :, next(row[0] for row in rows if row.size)]
    return found


def _multiply(ms: Path, sky: Sky, factor: Any) -> None:
    """Multiply the data by a factor of channels and rows, window by window."""
    with open_table(ms / "ANTENNA") as table:
        positions = table.getcol("POSITION").T
    with open_table(ms, change=True) as table:
        for spw_id, spw in enumerate(sky.spws):
            part = table.query(f"DATA_DESC_ID=={spw_id}")
            rows = {name.lower(): part.getcol(name) for name in ("ANTENNA1", "ANTENNA2")}
            source = _directions(sky, part.getcol("FIELD_ID"), part.getcol("TIME"))
            # How CASA's simulator counts a baseline, found from its own uvw.
            w_m = np.einsum(
                "ij,ij->i", positions[rows["antenna2"]] - positions[rows["antenna1"]], source
            )
            rows |= {
                "spw": spw_id,
                "field": part.getcol("FIELD_ID"),
                "positions": positions,
                "source": source,
                "up": source @ _vertical(positions.mean(axis=0)),
                "hertz": spw.start_hz + spw.width_hz * np.arange(spw.n_chan),
                "sense": np.sign(np.sum(w_m * part.getcol("UVW")[2])),
            }
            part.putcol("DATA", part.getcol("DATA") * factor(rows))
            part.close()


def _vertical(position_m: Floats) -> Floats:
    """Return the unit vector to the zenith."""
    place = EarthLocation.from_geocentric(*position_m, unit=units.m)
    lon, lat = place.lon.rad, place.lat.rad
    return np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])


def _directions(sky: Sky, field_ids: npt.NDArray[Any], time_s: Floats) -> Floats:
    """Return unit vectors to the fields in ITRF, shape (rows, 3)."""
    found = np.zeros((time_s.size, 3))
    with iers.conf.set_temp("auto_download", False):
        for time in np.unique(time_s):
            epoch = Time(time / 86400, format="mjd", scale="utc")
            for number, one in enumerate(sky.fields):
                place = SkyCoord(one.ra, one.dec, unit=units.deg, frame="icrs")
                there = place.transform_to(ITRS(obstime=epoch)).cartesian.xyz.value
                found[(time_s == time) & (field_ids == number)] = there / np.linalg.norm(there)
    return found
