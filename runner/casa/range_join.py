"""The images of a cube's ranges joined into one, and the proof that it holds what they have.

CASA's ``imageconcat`` does the same. It takes pixels through the general iterators of casacore, and
a minute for a large cube; here they go from tiles to tiles. An image that is not stored as is
expected, or is not read by CASA as it was written here, is joined and proven by CASA.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..errors import Cause, DataError, StepFailedError
from ..files import copy_tree, remove_tree
from . import range_header, range_planes
from .config import configure, keep_freed_memory
from .image_planes import open_image
from .range_header import Header

_NOT_OURS: Final = (DataError, RuntimeError, ValueError, KeyError)
"""What tells that images are not as is expected; RuntimeError is casacore's. A full disk, which is
an OSError, would be in CASA's way, too."""

_CORNER: Final = 8
Box = tuple[int, int, int, int]
"""First x and y, last x and y."""

Place = tuple[int, int]
"""Number of a range, and a channel of it."""


def join(parts: Sequence[Path], out: Path) -> str:
    """Join the images of ranges along the frequency axis.

    Parameters
    ----------
    parts : sequence of Path
        In the order of their channels.
    out : Path
        The image to make.

    Returns
    -------
    str
        Why CASA had to do it; nothing where it had not.

    Raises
    ------
    StepFailedError
        If CASA makes none.
    """
    if len(parts) == 1:  # CASA joins two at least
        copy_tree(parts[0], out)
        return ""
    keep_freed_memory()
    try:
        _from_tiles(parts, out)
        return ""
    except _NOT_OURS as error:
        why = str(error)
    if out.exists():
        remove_tree(out)
    _by_casa(parts, out)
    return why


def _from_tiles(parts: Sequence[Path], out: Path) -> None:
    """Join images by their tiles.

    Raises
    ------
    DataError
        If they are not stored as is expected, or CASA reads otherwise what was made.
    """
    headers = [range_header.read(part) for part in parts]
    range_header.write_empty(headers, out)
    made = range_header.read(out)
    for arrays in range_planes.of(made, headers):
        range_planes.copy(arrays)
    apart = _seen_apart(made, headers, [(0, 0), _last(headers)[-1]])
    if apart:
        raise DataError(f"{out}: CASA reads other pixels in channel {apart[0]} than were written")


def _by_casa(parts: Sequence[Path], out: Path) -> None:
    configure()
    from casatools import image

    tool = image()
    try:
        tool.imageconcat(
            outfile=str(out), infiles=[str(path) for path in parts], axis=-1, mode="paged",
            overwrite=True,
        ).done()  # fmt: skip
    finally:
        tool.done()
    if not out.exists():
        raise StepFailedError(Cause.POSTCONDITION, f"CASA joined {len(parts)} ranges to no {out}")


def lost_planes(parts: Sequence[Path], joined: Path) -> list[int]:
    """Return the channels of ranges that are not in the cube as they were, with their masks.

    All of both is read, and parts of the last channel of each range through CASA, too.

    Parameters
    ----------
    parts : sequence of Path
        The ranges' images in order.
    joined : Path
        The cube.
    """
    try:
        headers, made = [range_header.read(part) for part in parts], range_header.read(joined)
        if sum(header.n_chan for header in headers) != made.n_chan:
            raise DataError(f"{joined}: has not all channels of its ranges")
        apart = _seen_apart(made, headers, _last(headers))
        found = {one for arrays in range_planes.of(made, headers)
                 for one in range_planes.lost(arrays)}  # fmt: skip
        return sorted(found | set(apart))
    except _NOT_OURS:
        return _lost_to_casa(parts, joined)


def _seen_apart(made: Header, headers: Sequence[Header], places: Iterable[Place]) -> list[int]:
    """Return channels of which CASA reads other pixels in the cube than in its range.

    Parameters
    ----------
    made : Header
        The cube.
    headers : sequence of Header
        Its ranges.
    places : iterable of tuple
        Where to look: number of a range, and a channel of it.
    """
    found = []
    starts = [0, *accumulate(header.n_chan for header in headers)]
    with open_image(made.path) as cube:
        for number, channels in groupby(places, itemgetter(0)):
            header = headers[number]
            with open_image(header.path) as image:
                for _, channel in channels:
                    whole = starts[number] + channel
                    for box in _boxes(header, channel):
                        ours = _box(image, channel, box, masks=made.mask is not None)
                        if not _equal(ours, _box(cube, whole, box, masks=made.mask is not None)):
                            found.append(whole)
                            break
    return found


def _last(headers: Sequence[Header]) -> list[Place]:
    """Return the last channel of each range."""
    return [(number, header.n_chan - 1) for number, header in enumerate(headers)]


def _boxes(header: Header, channel: int) -> list[Box]:
    """Return where to look at a channel: the line with most pixels not 0, and the far corner."""
    n_x, n_y, n_stokes = header.plane
    height = header.pixels.tile[1]
    counts: list[int] = []
    for low in range(0, n_y, height):
        lines = np.empty((1, n_stokes, min(height, n_y - low), n_x), header.pixels.dtype)
        header.pixels.fill(lines, channel, low)
        counts.extend(np.count_nonzero(lines, axis=(0, 1, 3)))
    fullest = int(np.argmax(counts))
    corner = max(0, n_x - _CORNER), max(0, n_y - _CORNER)
    return [(0, fullest, n_x - 1, fullest), (*corner, n_x - 1, n_y - 1)]


def _box(image: Any, channel: int, box: Box, *, masks: bool = True) -> tuple[Any, Any]:
    """Return pixels of a channel and their mask, as CASA reads them; all Stokes parameters."""
    n_stokes = int(image.shape()[2])
    corners = [*box[:2], 0, channel], [*box[2:], n_stokes - 1, channel]
    return image.getchunk(*corners), image.getchunk(*corners, getmask=True) if masks else True


def _equal(one: tuple[Any, Any], other: tuple[Any, Any]) -> bool:
    pixels = np.array_equal(one[0], other[0], equal_nan=True)
    return pixels and np.array_equal(one[1], other[1])


def _lost_to_casa(parts: Sequence[Path], joined: Path) -> list[int]:
    """Return the channels that are lost, all of them read by CASA."""
    lost, offset = [], 0
    with open_image(joined) as cube:
        for part in parts:
            with open_image(part) as image:
                for channel, plane in _planes(image):
                    if not _holds(cube, offset + channel, plane):
                        lost.append(offset + channel)
                offset += int(image.shape()[3])
    return lost


def _holds(cube: Any, channel: int, plane: tuple[Any, Any]) -> bool:
    try:
        return _equal(plane, _plane(cube, channel))
    except RuntimeError:  # its file ends before that
        return False


def _planes(image: Any) -> Iterator[tuple[int, tuple[Any, Any]]]:
    for channel in range(int(image.shape()[3])):
        yield channel, _plane(image, channel)


def _plane(image: Any, channel: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    n_x, n_y = (int(side) for side in image.shape()[:2])
    return _box(image, channel, (0, 0, n_x - 1, n_y - 1))
