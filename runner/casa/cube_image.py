"""Images made plane by plane: coordinates from a template, pixels into their tiles."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from . import cube_tiles
from .config import configure
from .image_file import image_axes

Block = npt.NDArray[np.float32]
Reader = Callable[[int, int, int, int], Block]
"""Reads channels, and rows, from the first up to, and without, the last."""

Beams = Sequence[tuple[float, float, float]]
"""Rows of bmaj_arcsec, bmin_arcsec, bpa_deg."""

AT_ONCE = 4_000_000
"""Pixels that are written at a time."""

_HERTZ = {"Hz": 1.0, "kHz": 1e3, "MHz": 1e6, "GHz": 1e9}
_RADIANS = {
    "rad": 1.0, "deg": np.pi / 180, "arcmin": np.pi / 10800, "'": np.pi / 10800,
    "arcsec": np.pi / 648000, '"': np.pi / 648000,
}  # fmt: skip


@contextmanager
def opened(path: Path | str) -> Iterator[Any]:
    """Open an image, CASA's or FITS, and close it however the block ends.

    Raises
    ------
    DataError
        If it cannot be opened.
    """
    configure()
    from casatools import image

    tool = image()
    try:
        tool.open(str(path))
    except RuntimeError as error:
        raise DataError(f"{path}: cannot be opened as an image: {error}") from error
    try:
        yield tool
    finally:
        tool.done()


def common_beam(path: Path | str) -> tuple[float, float, float]:
    """Return the smallest beam that encloses those of all channels, as CASA finds it.

    Returns
    -------
    tuple of float
        bmaj_arcsec, bmin_arcsec, bpa_deg.
    """
    with opened(path) as tool:
        found = tool.commonbeam()
    return (
        _arcsec(found["major"]),
        _arcsec(found["minor"]),
        float(np.degrees(found["pa"]["value"] * _RADIANS[str(found["pa"]["unit"])])),
    )


def _arcsec(quantity: Mapping[str, Any]) -> float:
    return float(np.degrees(quantity["value"] * _RADIANS[str(quantity["unit"])]) * 3600)


def write_header(
    template: Path | str,
    out: Path | str,
    shape: tuple[int, int],
    spectral: tuple[float, float] | None,
    pixels: int = 1,
    grid: Path | str = "",
    beams: Beams = (),
) -> None:
    """Write an image of one empty plane that has the coordinates of a cube to be made.

    Parameters
    ----------
    template : Path or str
        The cube that it is made of: coordinates, unit, object, observer.
    out : Path or str
        The image to write.
    shape : tuple of int
        Rows and columns.
    spectral : tuple of float, optional
        Centre of channel 0 and width of a channel in Hz, where they differ from the template's.
    pixels : int
        Pixels in x and in y that have become one.
    grid : Path or str
        An image whose directions are taken instead; or empty.
    beams : sequence
        One beam, or none; those of several channels are the whole cube's (`set_beams`).
    """
    with opened(template) as tool:
        coordinates = tool.coordsys()
        axes = image_axes(coordinates.axiscoordinatetypes(), str(template))
        sides = [1] * len(tool.shape())
        sides[axes["x"]], sides[axes["y"]] = shape[1], shape[0]  # type: ignore[index]
        about = {"unit": tool.brightnessunit(), "misc": tool.miscinfo()}
    if spectral is not None and axes["spectral"] is not None:
        scale = _HERTZ[coordinates.units()[axes["spectral"]]]
        coordinates.setreferencepixel(0.0, "spectral")
        coordinates.setreferencevalue(spectral[0] / scale, "spectral")
        coordinates.setincrement(spectral[1] / scale, "spectral")
    if grid:
        coordinates = _with_directions(coordinates, grid)
    elif pixels > 1:
        old = coordinates.referencepixel("direction")["numeric"]
        step = coordinates.increment(type="direction", format="n")["numeric"]
        coordinates.setreferencepixel([(p + 0.5) / pixels - 0.5 for p in old], "direction")
        coordinates.setincrement([s * pixels for s in step], "direction")
    _write_empty(out, sides, coordinates, about)
    if len(beams) == 1:
        set_beams(out, beams)


def _with_directions(coordinates: Any, grid: Path | str) -> Any:
    """Return coordinates with the directions of another image.

    Raises
    ------
    DataError
        If that has another celestial frame.
    """
    with opened(grid) as tool:
        other = tool.coordsys()
    mine, theirs = (one.referencecode("direction")[0] for one in (coordinates, other))
    if mine != theirs:
        raise DataError(
            f"{grid}: its directions are {theirs}, the cube's {mine}; a grid must be of one frame"
        )
    record, source = coordinates.torecord(), other.torecord()
    name = next(key for key in record if key.startswith("direction"))
    record[name] = source[next(key for key in source if key.startswith("direction"))]
    # World values of another unit would be read by the old map.
    coordinates.fromrecord(record)
    return coordinates


def _write_empty(
    out: Path | str, sides: Sequence[int], coordinates: Any, about: Mapping[str, Any]
) -> None:
    from casatools import image

    tool = image()
    tool.fromshape(str(out), list(sides), csys=coordinates.torecord(), log=False)
    tool.setbrightnessunit(about["unit"])
    tool.setmiscinfo(about["misc"])
    tool.done()


def set_beams(out: Path | str, beams: Beams) -> None:
    """Give an image its synthesized beam, or one to each of its channels."""
    with opened(out) as tool:
        if len(beams) == 1:
            major, minor, angle = beams[0]
            tool.setrestoringbeam(
                major=f"{major!r}arcsec", minor=f"{minor!r}arcsec", pa=f"{angle!r}deg"
            )
            return
        for channel, (major, minor, angle) in enumerate(beams):
            tool.setrestoringbeam(
                major=f"{major!r}arcsec", minor=f"{minor!r}arcsec", pa=f"{angle!r}deg",
                channel=channel, polarization=0,
            )  # fmt: skip


def write_cube(
    header: Path | str,
    out: Path | str,
    n_chan: int,
    read: Reader,
    beams: Beams = (),
    unit: str = "",
) -> float:
    """Write an image of many planes, some at a time.

    Masked pixels, which are NaN in what is read, get a mask and the value 0, as CASA's tasks
    leave them; an image without any has no mask.

    Parameters
    ----------
    header : Path or str
        An image of one plane with the coordinates (`write_header`).
    out : Path or str
        The image to write.
    n_chan : int
        Its channels.
    read : callable
        Returns some rows of some channels: (channels, rows, n_x).
    beams : sequence
        The synthesized beam, one a channel, or none.
    unit : str
        Of the brightness; by default the header's, ``none`` for none.

    Returns
    -------
    float
        Which part of the pixels is not masked.
    """
    with opened(header) as tool:
        coordinates = tool.coordsys()
        axes = image_axes(coordinates.axiscoordinatetypes(), str(header))
        sides = [int(side) for side in tool.shape()]
        own = unit or tool.brightnessunit()
        about = {"unit": "" if own == "none" else own, "misc": tool.miscinfo()}
    if axes["spectral"] is not None:
        sides[axes["spectral"]] = n_chan
    _write_empty(out, sides, coordinates, about)
    if beams:
        set_beams(out, beams)
    return _Filling(Path(out), axes, n_chan).fill(read)


class _Filling:
    """Fills an image with planes, and gives it a mask when the first masked pixel comes."""

    def __init__(self, out: Path, axes: Mapping[str, int | None], n_chan: int) -> None:
        self._out = out
        self._axes: Any = (axes["x"], axes["y"], axes["spectral"])
        self._n_chan = n_chan
        self._mask: cube_tiles.Tiles | None = None

    def fill(self, read: Reader) -> float:
        """Write all planes; return which part of the pixels is not masked."""
        taken = 0
        tiles = cube_tiles.find(self._out, "map", self._axes, bits=False)
        n_x, n_y, _ = tiles.shape
        _, height, depth = tiles.tile
        together = max(1, AT_ONCE // (n_x * height * depth))
        for layer in range(tiles.counts[2]):
            first, last = layer * depth, min((layer + 1) * depth, self._n_chan)
            for row in range(0, tiles.counts[1], together):
                low, high = row * height, min((row + together) * height, n_y)
                planes = read(first, last, low, high)
                valid = np.isfinite(planes)
                if not valid.all():
                    planes = np.where(valid, planes, np.float32(0))
                    self._masked()
                    self._mask.write(layer, row, valid)  # type: ignore[union-attr]
                tiles.write(layer, row, planes)
                taken += int(np.count_nonzero(valid))
        self._prove(read, tiles.shape)
        return taken / math.prod(tiles.shape)

    def _masked(self) -> None:
        """Make the mask, if there is none yet: all true, to begin with.

        Raises
        ------
        DataError
            If its tiles are not those of the image.
        """
        if self._mask is None:
            with opened(self._out) as tool:
                tool.calcmask("T", name="mask0")
            self._mask = cube_tiles.find(self._out / "mask0", "PagedArray", self._axes, bits=True)
            tiles = cube_tiles.find(self._out, "map", self._axes, bits=False)
            if self._mask.tile != tiles.tile:
                raise DataError(f"{self._out}: its mask has other tiles than its pixels")

    def _prove(self, read: Reader, shape: tuple[int, int, int]) -> None:
        """Hold corners and middle of the image, as CASA reads it, against what was written.

        Raises
        ------
        DataError
            If CASA lays out its tiles in another way.
        """
        from .cube_file import CubeFile

        n_x, n_y, n_chan = shape
        with CubeFile(self._out) as made:
            for channel in sorted({0, n_chan // 2, n_chan - 1}):
                for x, y in ((0, 0), (n_x // 2, n_y // 2), (max(0, n_x - 8), max(0, n_y - 8))):
                    wanted = read(channel, channel + 1, y, min(y + 8, n_y))[0]
                    box = made.box(channel, (x, x + 8), (y, y + 8))
                    if not np.array_equal(box, wanted[:, x : x + 8], equal_nan=True):
                        raise DataError(f"{self._out}: CASA reads other pixels than were written")


def pixel_map(
    header: Path | str, source: Path | str, pixels: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return where the pixels of an image are on a cube.

    Parameters
    ----------
    header : Path or str
        The image on the new grid; of the cube's celestial frame.
    source : Path or str
        The cube.
    pixels : int
        Pixels of the cube in x and in y that were averaged into one.

    Returns
    -------
    tuple of array
        x and y on the (averaged) cube, each of the shape of the image's plane; NaN where its
        pixel is not on the sky.
    """
    with opened(header) as tool:
        new = tool.coordsys()
        axes = image_axes(new.axiscoordinatetypes(), str(header))
        sides = [int(side) for side in tool.shape()]
    with opened(source) as tool:
        old = tool.coordsys()
        old_axes = image_axes(old.axiscoordinatetypes(), str(source))
    x_axis, y_axis = axes["x"], axes["y"]
    factors = [_RADIANS[new.units()[a]] / _RADIANS[old.units()[b]]
               for a, b in ((x_axis, old_axes["x"]), (y_axis, old_axes["y"]))]  # fmt: skip
    n_x, n_y = sides[x_axis], sides[y_axis]  # type: ignore[index]
    found = np.empty((2, n_y, n_x))
    world_of_old = old.referencevalue(format="n")["numeric"]
    for row in range(n_y):
        places = np.zeros((len(sides), n_x))
        places[x_axis], places[y_axis] = np.arange(n_x), row
        world = np.asarray(new.toworldmany(places)["numeric"])
        wanted = np.repeat(np.asarray(world_of_old)[:, None], n_x, axis=1)
        wanted[old_axes["x"]] = world[x_axis] * factors[0]
        wanted[old_axes["y"]] = world[y_axis] * factors[1]
        back = np.asarray(old.topixelmany(wanted)["numeric"])
        found[:, row] = back[old_axes["x"]], back[old_axes["y"]]
    if pixels > 1:
        found = (found + 0.5) / pixels - 0.5
    return found[0], found[1]
