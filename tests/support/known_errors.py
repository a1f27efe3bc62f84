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
