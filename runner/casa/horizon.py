"""Hour angle, elevation, azimuth and parallactic angle of fields, for all rows of an MS.

CASA's measures turn a field's direction into hour angle and declination of date at a few times;
between them the hour angle goes evenly. Then spherical trigonometry is all that a row costs.
The horizon is that of the ellipsoid: measures' AZELGEO. Its AZEL goes by the geocentric latitude,
0.18 degrees off at the VLA.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from . import read

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_STEP_S = 3600.0
_MOST_STEPS = 200


@dataclass(frozen=True)
class Horizon:
    """Where fields stand, seen from the middle of the array.

    Attributes
    ----------
    latitude_rad : float
        Geodetic latitude of the middle of the array.
    times_s : array, shape (times,)
        MJD seconds, UTC.
    hour_angle_rad, declination_rad : array, shape (fields, times)
        Of date; hour angles grow without jumps.
    """

    latitude_rad: float
    times_s: Floats
    hour_angle_rad: Floats
    declination_rad: Floats

    def hour_angle(self, time_s: Floats, field: Ints) -> Floats:
        """Return hour angles in radians, from -pi to pi; shape (rows,)."""
        angle = self._at(self.hour_angle_rad, time_s, field)
        return np.asarray((angle + math.pi) % (2 * math.pi) - math.pi)

    def elevation(self, time_s: Floats, field: Ints) -> Floats:
        """Return elevations in radians; shape (rows,)."""
        angle, dec = self._place(time_s, field)
        sine = np.sin(dec) * math.sin(self.latitude_rad)
        sine += np.cos(dec) * math.cos(self.latitude_rad) * np.cos(angle)
        return np.asarray(np.arcsin(np.clip(sine, -1, 1)))

    def azimuth(self, time_s: Floats, field: Ints) -> Floats:
        """Return azimuths in radians, from north through east, 0 to 2 pi; shape (rows,)."""
        angle, dec = self._place(time_s, field)
        east = -np.cos(dec) * np.sin(angle)
        north = np.sin(dec) * math.cos(self.latitude_rad)
        north -= np.cos(dec) * np.cos(angle) * math.sin(self.latitude_rad)
        return np.asarray(np.arctan2(east, north) % (2 * math.pi))

    def parallactic_angle(self, time_s: Floats, field: Ints) -> Floats:
        """Return parallactic angles in radians, -pi to pi; shape (rows,)."""
        angle, dec = self._place(time_s, field)
        along = math.tan(self.latitude_rad) * np.cos(dec) - np.sin(dec) * np.cos(angle)
        return np.asarray(np.arctan2(np.sin(angle), along))

    def _place(self, time_s: Floats, field: Ints) -> tuple[Floats, Floats]:
        angles = self._at(self.hour_angle_rad, time_s, field)
        return angles, self._at(self.declination_rad, time_s, field)

    def _at(self, table: Floats, time_s: Floats, field: Ints) -> Floats:
        found = np.empty(len(time_s))
        for number in np.unique(field):
            mine = field == number
            found[mine] = np.interp(time_s[mine], self.times_s, table[number])
        return found


def horizon(ms: Path | str, start_s: float, end_s: float) -> Horizon:
    """Find where the fields of an MS stand from one time to another.

    Parameters
    ----------
    ms : Path or str
        The MeasurementSet or calibration table.
    start_s, end_s : float
        MJD seconds, UTC.
    """
    from casatools import measures, quanta

    with read.opened(f"{ms}/ANTENNA") as table:
        places = table.getcol("POSITION")
    with read.opened(f"{ms}/FIELD") as table:
        frame = str(table.getcolkeyword("PHASE_DIR", "MEASINFO").get("Ref", "J2000"))
        directions = [table.getcell("PHASE_DIR", row)[:, 0] for row in range(table.nrows())]
    middle = np.median(places[:, np.any(places != 0, axis=0)], axis=1)
    steps = min(_MOST_STEPS, max(2, math.ceil((end_s - start_s) / _STEP_S) + 1))
    times = np.linspace(start_s, max(end_s, start_s + 1.0), steps)
    found = np.zeros((2, len(directions), steps))
    measure, quantity = measures(), quanta()
    with _quiet():
        site = measure.position("ITRF", *(quantity.quantity(float(x), "m") for x in middle))
        measure.doframe(site)
        latitude = float(measure.measure(site, "WGS84")["m1"]["value"])
        for index, time in enumerate(times):
            measure.doframe(measure.epoch("UTC", quantity.quantity(float(time), "s")))
            for number, direction in enumerate(directions):
                found[:, number, index] = _hadec(measure, quantity, frame, direction)
    measure.done()
    return Horizon(latitude, times, _unwound(found[0], times), found[1])


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what CASA itself writes to the terminal from it: that its leap seconds are old.

    It does so whatever its log is told; other times than of the last years are not touched by it.
    """
    sys.stderr.flush()
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)


def _hadec(measure: Any, quantity: Any, frame: str, direction: Floats) -> tuple[float, float]:
    """Return hour angle and declination of date."""
    angles = (quantity.quantity(float(angle), "rad") for angle in direction)
    found = measure.measure(measure.direction(frame, *angles), "HADEC")
    return float(found["m0"]["value"]), float(found["m1"]["value"])


def _unwound(angles: Floats, times: Floats) -> Floats:
    """Let hour angles grow from one time to the next by what the Earth turned meanwhile."""
    turned = 2 * math.pi * 1.00273790935 * (times - times[0]) / 86400.0
    rest = angles - turned
    return np.asarray(np.unwrap(rest, axis=1) + turned)
