"""Arrays to simulate: where their antennas stand, what they are called, how they are fed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

RR_LL, XX_YY = ("RR", "LL"), ("XX", "YY")


@dataclass(frozen=True)
class Array:
    """An array.

    Attributes
    ----------
    observatory : str
        Its name in the MS; one that CASA's table of observatories has.
    layout : str
        A configuration of casadata's ``alma/simmos``.
    name : callable
        Gives an antenna's name by its number, from 0.
    correlations : tuple of str
        What it records, unless a sky asks for more.
    diameter_m : float or None
        Of the antennas; None for that of the layout's file.
    """

    observatory: str
    layout: str
    name: Callable[[int], str]
    correlations: tuple[str, ...]
    diameter_m: float | None = None

    @property
    def feed(self) -> str:
        """The feeds, as CASA's simulator calls them."""
        return "perfect R L" if self.correlations == RR_LL else "perfect X Y"


ARRAYS = {
    "VLA": Array("VLA", "vla.d.cfg", lambda n: f"ea{n + 1:02d}", RR_LL),
    "ALMA": Array("ALMA", "alma.cycle7.3.cfg", lambda n: f"DA{n + 41}", XX_YY),
    "ACA": Array("ALMA", "aca.cycle7.cfg", lambda n: f"CM{n + 1:02d}", XX_YY),
    "ATCA": Array("ATCA", "atca_750a.cfg", lambda n: f"CA{n + 1:02d}", XX_YY),
    "WSRT": Array("WSRT", "WSRT.cfg", lambda n: f"RT{n:X}", XX_YY),
    "MeerKAT": Array("MeerKAT", "meerkat.cfg", lambda n: f"m{n:03d}", XX_YY),
    # CASA has no layout of the GMRT: its dishes on MeerKAT's pads, which have a core and arms, too.
    "GMRT": Array("GMRT", "meerkat.cfg", lambda n: f"C{n:02d}", RR_LL, 45.0),
}
"""By the name that a sky gives for its telescope."""


@dataclass(frozen=True)
class Places:
    """Positions of antennas in m: geocentric, or east, north and up of the observatory."""

    x: list[float]
    y: list[float]
    z: list[float]
    diameters_m: list[float]
    system: str


def places(array: Array, number: int, layout: str = "") -> Places:
    """Take antennas evenly out of an array's layout.

    Parameters
    ----------
    array : Array
        The array.
    number : int
        How many antennas.
    layout : str
        Another configuration than the array's own.
    """
    from casatools import ctsys

    lines = Path(ctsys.resolve(f"alma/simmos/{layout or array.layout}")).read_text().splitlines()
    local = any(line.startswith("#") and "LOC" in line for line in lines)
    rows = [line.split()[:4] for line in lines if line.strip() and not line.startswith("#")]
    chosen = np.linspace(0, len(rows) - 1, number).round().astype(int)
    x, y, z, diameter = ([float(rows[row][column]) for row in chosen] for column in range(4))
    if array.diameter_m is not None:
        diameter = [array.diameter_m] * number
    return Places(x, y, z, diameter, "local" if local else "global")
