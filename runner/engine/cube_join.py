"""The steps that put the pieces of a cube together: image, moment maps, mask, numbers, FITS."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..casa import cube_fits, cube_image
from ..cubes.chain import Chain
from ..cubes.moment_kinds import OF_VELOCITY
from ..cubes.moments import Maps
from ..cubes.statistics import COLUMNS
from ..errors import Cause, StepFailedError
from ..files import read_json, write_atomic
from ..qa import collect
from . import cube_pieces, cube_setup
from .cube_pieces import MASKS, NUMBERS, PLANES, STORED, SUMS, part

Params = Mapping[str, Any]
Block = npt.NDArray[np.float32]


def join(params: Params) -> dict[str, Any]:
    """Make the cube of its pieces.

    Parameters
    ----------
    params : mapping
        ``setup`` (folder), ``pieces`` (folders, in order), ``image`` (to write).
    """
    chain, header = _chain(params)
    read = _planes(chain, params["pieces"])
    beams = cube_setup.rows_of(chain.result_beams)
    valid = cube_image.write_cube(header, params["image"], chain.axis.n_chan, read, beams)
    if not valid:
        raise StepFailedError(
            Cause.POSTCONDITION,
            f"expected pixels in {params['image']}, found none that is not masked: the cube that "
            "it comes from is blank, or nothing of it is on the new grid",
            "Look at the cube, and at regrid.template.",
        )
    return {
        "shape": [*chain.shape[::-1], chain.axis.n_chan],
        "beams": len(beams),
        "valid_fraction": valid,
    }


def mask(params: Params) -> dict[str, Any]:
    """Make an image of the mask, of ones and zeros.

    Parameters
    ----------
    params : mapping
        ``setup``, ``pieces``, ``image`` (to write).
    """
    chain, header = _chain(params)
    read = _masks(chain, params["pieces"])
    cube_image.write_cube(header, params["image"], chain.axis.n_chan, read, unit="none")
    return {"shape": [*chain.shape[::-1], chain.axis.n_chan]}


def moments(params: Params) -> dict[str, Any]:
    """Make the moment maps of the sums of the pieces.

    Parameters
    ----------
    params : mapping
        ``setup``, ``pieces``, ``images`` (to write, by moment).
    """
    chain, header = _chain(params)
    axis = chain.axis
    middle = axis.velocity_km_s(axis.n_chan / 2) if axis.rest_hz > 0 else 0.0
    sums = Maps(chain.moments, chain.shape, middle, masked=chain.masked)
    for piece in params["pieces"]:
        path = Path(piece) / SUMS
        if path.is_file():
            with np.load(path) as found:
                sums.merge(found)
    width = axis.width_km_s if axis.rest_hz > 0 else 1.0
    valid = {}
    for number, out in params["images"].items():
        found_map = sums.map(int(number), width)
        unit = _unit(int(number), chain.source.unit)
        write = _one(found_map)
        cube_image.write_cube(
            header, out, 1, write, cube_setup.rows_of(chain.result_beams)[:1], unit
        )
        valid[number] = float(np.isfinite(found_map).mean())
    return {"valid_fraction": valid}


def numbers(params: Params) -> dict[str, Any]:
    """Write the numbers of all channels: a table of commas (ECSV), and JSON for the report.

    Parameters
    ----------
    params : mapping
        ``setup``, ``pieces``, ``table`` (to write).
    """
    rows = channel_rows(params["pieces"])
    text = ecsv(rows, _chain(params)[0].source.unit)
    write_atomic(Path(params["table"]), text, durable=False)
    return {"channels": len(rows)}


def fits(params: Params) -> dict[str, Any]:
    """Write the cube as FITS.

    Parameters
    ----------
    params : mapping
        ``setup``, ``pieces``, ``fits`` (to write).
    """
    chain, header = _chain(params)
    beams = cube_setup.rows_of(chain.result_beams)
    parts = [Path(piece) / PLANES for piece in params["pieces"]]
    return cube_fits.write(header, params["fits"], chain.axis.n_chan, parts, beams)


def channel_rows(pieces: Sequence[str]) -> list[dict[str, Any]]:
    """Return the numbers of all channels, in order."""
    return [row for piece in pieces for row in read_json(Path(piece) / NUMBERS)]


def ecsv(rows: Sequence[Mapping[str, Any]], unit: str) -> str:
    """Return a table in Astropy's ECSV, which any reader of CSV takes too.

    Parameters
    ----------
    rows : sequence of mapping
        By channel.
    unit : str
        Of the brightness.
    """
    units = {
        "frequency_hz": "Hz", "velocity_km_s": "km / s", "flux_jy": "Jy", "flux_in_mask_jy": "Jy",
        **dict.fromkeys(("min", "max", "mean", "rms", "sigma", "noise", "sum"),
                        unit.replace("/beam", " / beam")),
    }  # fmt: skip
    whole = {"channel", "n_pixels", "max_x", "max_y", "n_in_mask"}
    names = [*COLUMNS, *(["n_in_mask", "flux_in_mask_jy"] if "n_in_mask" in rows[0] else [])]
    lines = ["# %ECSV 1.0", "# ---", "# delimiter: ','", "# datatype:"]
    for name in names:
        given = f", unit: {units[name]}" if units.get(name) else ""
        kind = "int64" if name in whole else "float64"
        lines.append(f"# - {{name: {name}{given}, datatype: {kind}}}")
    lines.append("# schema: astropy-2.0")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow(["" if row.get(name) is None else row[name] for name in names])
    return "\n".join(lines) + "\n" + text.getvalue()


def _chain(params: Params) -> tuple[Chain, Path]:
    folder = Path(params["setup"])
    return cube_setup.read(folder), folder / cube_setup.HEADER


def _planes(chain: Chain, pieces: Sequence[str]) -> cube_image.Reader:
    """Return what reads rows of channels from the pieces."""
    n_y, n_x = chain.shape

    def read_rows(piece: str, place: int, low: int, high: int) -> Block:
        with (Path(piece) / PLANES).open("rb") as file:
            file.seek((place * n_y + low) * n_x * STORED.itemsize)
            plane = np.fromfile(file, STORED, (high - low) * n_x)
        return plane.astype(np.float32).reshape(-1, n_x)

    return _by_channel(chain, pieces, read_rows)


def _masks(chain: Chain, pieces: Sequence[str]) -> cube_image.Reader:
    """Return what reads rows of channels of the mask."""
    n_y, n_x = chain.shape
    size = -(-n_y * n_x // 8)

    def read_rows(piece: str, place: int, low: int, high: int) -> Block:
        with (Path(piece) / MASKS).open("rb") as file:
            file.seek(place * size)
            packed = np.fromfile(file, np.uint8, size)
        bits = np.unpackbits(packed, count=n_y * n_x).reshape(n_y, n_x)
        return bits[low:high].astype(np.float32)

    return _by_channel(chain, pieces, read_rows)


def _by_channel(
    chain: Chain, pieces: Sequence[str], read_rows: Callable[[str, int, int, int], Block]
) -> cube_image.Reader:
    total, of = chain.axis.n_chan, len(pieces)
    starts = [part(total, number, of)[0] for number in range(of)]

    def read(first: int, last: int, low: int, high: int) -> Block:
        block = np.empty((last - first, high - low, chain.shape[1]), np.float32)
        for channel in range(first, last):
            number = int(np.searchsorted(starts, channel, side="right")) - 1
            rows = read_rows(pieces[number], channel - starts[number], low, high)
            block[channel - first] = rows
        return block

    return read


def _one(plane: Block) -> cube_image.Reader:
    return lambda first, last, low, high: plane[None, low:high]


def _unit(moment: int, unit: str) -> str:
    if moment in OF_VELOCITY:
        return "km/s"
    return f"{unit}.km/s" if moment == 0 else unit


def measure(params: Params) -> dict[str, Any]:
    """Measure and plot what was made, for the report.

    Parameters
    ----------
    params : mapping
        ``setup``, ``pieces``, and those of `collect.measure_cube`.
    """
    chain = _chain(params)[0]
    return collect.measure_cube(params, chain.result, channel_rows(params["pieces"]))


ACTIONS: Mapping[str, Callable[[Params], dict[str, Any]]] = {
    "cube.inspect": cube_setup.inspect,
    "cube.begin": cube_setup.begin,
    "cube.fit": cube_pieces.fit,
    "cube.piece": cube_pieces.piece,
    "cube.join": join,
    "cube.mask": mask,
    "cube.moments": moments,
    "cube.stats": numbers,
    "cube.fits": fits,
    "measure.cube": measure,
}
