"""An image and what lies beside it, written for the report's image viewer.

Of each kind (image, residual, model, mask, primary beam, moments) the planes are cut to the
pixels that are valid, binned where they are large, and written as half-precision floats.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from ..casa import image_file
from ..casa.cube_file import CubeFile
from .viewer_data import HALF_PRECISION, MOST_BYTES, base64, halves, write_script

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Box = tuple[int, int, int, int]

MOST_SIDE: Final = 1024
"""Pixels of a plane's longer side at most; larger ones are binned."""

_PIXEL_BYTES: Final = 2

MOST_READ: Final = 400_000_000
"""Pixels that are read of a cube that is not held in memory; beyond, channels are left out."""

_BAND_PIXELS: Final = 4_000_000
"""Pixels of such a cube in memory at a time (16 MB)."""

_LEAST_SIDE: Final = 128
"""A cube's planes are not binned below this; rather are channels left out."""

_BEAM_SIDE: Final = 256
"""Pixels of a primary beam's longer side at most: it is smooth."""


@dataclass(frozen=True)
class Cut:
    """Which pixels and channels are written.

    Attributes
    ----------
    box : tuple of int
        Pixels (left, bottom, right, top) of the image, the last two not included.
    bin : int
        So many pixels to a side become one.
    channels : tuple of int
        Those that are written.
    """

    box: Box
    bin: int
    channels: tuple[int, ...]


@dataclass(frozen=True)
class Layer:
    """One kind of image: its key and title, the file, and how its pixels are written.

    `pixels` is "mask" (true or not), "smooth" (one plane, few pixels) or "values".
    """

    key: str
    title: str
    path: str
    pixels: str = "values"
    unit: str = ""


class Opened(Protocol):
    """An open image, of which parts are read."""

    header: image_file.ImageHeader

    def valid(self, channel: int) -> tuple[Bools, Bools]:
        """Return in which rows, and in which columns, of a channel pixels are valid."""

    def cut(self, channel: int, cut: Cut) -> npt.NDArray[np.float32]:
        """Return a plane as it is written, NaN where it is blank."""

    def close(self) -> None:
        """Close it."""


class Whole:
    """An image whose planes are read whole, several along with one and kept for others."""

    def __init__(self, path: str) -> None:
        self._image = image_file.ImageFile(path)
        self.header = self._image.header

    def valid(self, channel: int) -> tuple[Bools, Bools]:
        """Return in which rows, and in which columns, of a channel pixels are valid."""
        valid = self._image.plane(channel)[1]
        return np.any(valid, axis=1), np.any(valid, axis=0)

    def cut(self, channel: int, cut: Cut) -> npt.NDArray[np.float32]:
        """Return a plane as it is written, NaN where it is blank."""
        left, bottom, right, top = cut.box
        values, valid = (part[bottom:top, left:right] for part in self._image.plane(channel))
        return binned(np.where(valid, values, np.nan), cut.bin).astype(np.float32)

    def close(self) -> None:
        """Close it."""
        self._image.__exit__()


class Banded:
    """A cube, CASA image or FITS, of which some rows are in memory at a time."""

    def __init__(self, path: str) -> None:
        self._file = CubeFile(path)
        self.header = self._file.header

    def valid(self, channel: int) -> tuple[Bools, Bools]:
        """Return in which rows, and in which columns, of a channel pixels are valid."""
        n_y, rows, columns = self.header.n_y, [], np.zeros(self.header.n_x, bool)
        step = max(1, _BAND_PIXELS // self.header.n_x)
        for low in range(0, n_y, step):
            good = np.isfinite(self._file.read_rows(channel, low, min(n_y, low + step)))
            rows.append(good.any(axis=1))
            columns |= good.any(axis=0)
        return np.concatenate(rows), columns

    def cut(self, channel: int, cut: Cut) -> npt.NDArray[np.float32]:
        """Return a plane as it is written, NaN where it is blank."""
        left, bottom, right, top = cut.box
        step = cut.bin * max(1, _BAND_PIXELS // self.header.n_x // cut.bin)
        return np.concatenate([
            binned(self._file.read_rows(channel, low, min(top, low + step))[:, left:right], cut.bin)
            for low in range(bottom, top, step)
        ]).astype(np.float32)  # fmt: skip

    def close(self) -> None:
        """Close it."""
        self._file.__exit__()


def valid_box(image: Opened, channels: Sequence[int]) -> Box:
    """Return the pixels around all that is valid in some channels; all pixels if none is."""
    found = [image.valid(channel) for channel in channels]
    some_rows, some_columns = (np.any(part, axis=0) for part in zip(*found, strict=True))
    rows, columns = np.flatnonzero(some_rows), np.flatnonzero(some_columns)
    if not rows.size:
        return 0, 0, image.header.n_x, image.header.n_y
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def cut_for(
    box: Box, n_chan: int, brightest: int, most_bytes: int = MOST_BYTES, most_read: float = math.inf
) -> Cut:
    """Choose how far to bin an image, and which channels to leave out, to keep files small.

    Parameters
    ----------
    box : tuple of int
        The pixels to show.
    n_chan : int
        Channels of the image.
    brightest : int
        A channel that is to be among those that are written.
    most_bytes, most_read : float
        Bytes of pixels that are written, and pixels that are read, at most.
    """
    most_pixels = most_bytes // _PIXEL_BYTES
    wide, high = box[2] - box[0], box[3] - box[1]
    factor = math.ceil(max(wide, high) / MOST_SIDE)
    most = max(factor, max(wide, high) // _LEAST_SIDE)
    while factor < most and _size(box, factor) * n_chan > most_pixels:
        factor += 1
    while n_chan == 1 and _size(box, factor) > most_pixels:
        factor += 1
    written, read = _size(box, factor) * n_chan / most_pixels, wide * high * n_chan / most_read
    every = max(1, math.ceil(written), math.ceil(read))
    return Cut(box, factor, tuple(range(brightest % every, n_chan, every)))


def _size(box: Box, factor: int) -> int:
    return math.ceil((box[2] - box[0]) / factor) * math.ceil((box[3] - box[1]) / factor)


def binned(plane: Floats | npt.NDArray[np.float32], factor: int) -> npt.NDArray[Any]:
    """Average blocks of pixels.

    Parameters
    ----------
    plane : array, shape (n_y, n_x)
        NaN where blank.
    factor : int
        Pixels to a block's side; those at the right and the top may be smaller.

    Returns
    -------
    array, shape (ceil(n_y / factor), ceil(n_x / factor))
        Mean of the valid pixels of each block; NaN where there is none.
    """
    if factor == 1:
        return plane
    good = np.isfinite(plane)
    number, total = (_blocks(values, factor) for values in (good, np.where(good, plane, 0.0)))
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def _blocks(values: npt.NDArray[Any], factor: int) -> Floats:
    """Return sums over blocks."""
    for _ in range(2):
        whole = np.zeros((-(-len(values) // factor), values.shape[1]))
        for start in range(factor):
            part = values[start::factor]
            whole[: len(part)] += part
        values = whole.T
    return values


def write(
    folder: Path,
    layers: Sequence[Layer],
    header: image_file.ImageHeader,
    brightest: int,
    about: Mapping[str, Any],
    most_bytes: int = MOST_BYTES,
    opened: Callable[[str], Opened] = Whole,
) -> Path:
    """Write all layers of an image.

    Parameters
    ----------
    folder : Path
        Where the scripts go.
    layers : sequence of Layer
        The image first; files that do not exist are left out.
    header : ImageHeader
        Of the image.
    brightest : int
        The channel to show first.
    about : mapping
        More to say of the image: ``title``, ``noise``, ``peak``, ``beam``, ``sources``.
    most_bytes : int
        Of a layer's pixels.
    opened : callable
        Opens an image: `Whole`, or `Banded` for those of any size.

    Returns
    -------
    Path
        Of the script that says what the others hold.
    """
    present = [layer for layer in layers if Path(layer.path).exists()]
    ends = sorted({0, header.n_chan // 2, header.n_chan - 1})
    most_read = MOST_READ if opened is Banded else math.inf
    with closing(opened(layers[0].path)) as image:
        box = valid_box(image, ends)
    cut = cut_for(box, header.n_chan, brightest, most_bytes, most_read)
    content = {
        "kind": "image",
        **about,
        "channel": brightest,
        "precision": HALF_PRECISION,
        "sky": _sky(header),
        "spectral": _spectral(header),
        "layers": [
            _write_layer(folder, layer, cut, header, brightest, opened) for layer in present
        ],
    }
    made = folder / "about.js"
    write_script(made, content)
    return made


def _sky(header: image_file.ImageHeader) -> dict[str, Any]:
    return {
        "shape": [header.n_x, header.n_y],
        "frame": header.frame,
        "projection": header.projection,
        "parameters": list(header.projection_parameters),
        "reference_deg": list(header.reference_deg),
        "reference_pixel": list(header.reference_pixel),
        "increment_deg": list(header.increment_deg),
    }


def _spectral(header: image_file.ImageHeader) -> dict[str, Any] | None:
    if header.n_chan < 2:
        return None
    return {
        "frequencies_hz": [float(value) for value in header.frequencies_hz],
        "frame": header.spectral_frame,
        "rest_hz": header.rest_hz,
    }


def _write_layer(
    folder: Path,
    layer: Layer,
    cut: Cut,
    header: image_file.ImageHeader,
    brightest: int,
    opened: Callable[[str], Opened],
) -> dict[str, Any]:
    """Write a layer's pixels, and return what the viewer must know before it loads them."""
    with closing(opened(layer.path)) as image:
        n_chan = image.header.n_chan
        own = cut if n_chan == header.n_chan else Cut(cut.box, cut.bin, (0,))
        if layer.pixels == "smooth":
            side = max(cut.box[2] - cut.box[0], cut.box[3] - cut.box[1])
            factor = max(cut.bin, math.ceil(side / _BEAM_SIDE))
            own = Cut(cut.box, factor, (brightest if n_chan > 1 else 0,))
        planes = [image.cut(channel, own) for channel in own.channels]
        unit = layer.unit or image.header.unit
    stack = np.stack(planes)
    pixels = _runs(stack) if layer.pixels == "mask" else _values(stack)
    write_script(folder / f"{layer.key}.js", pixels)
    return {
        "key": layer.key,
        "title": layer.title,
        "unit": unit,
        "mask": layer.pixels == "mask",
        "corner": list(own.box[:2]),
        "bin": own.bin,
        "size": [stack.shape[2], stack.shape[1]],
        "channels": list(own.channels) if n_chan > 1 else [],
        "whole": n_chan < 2,
    }


def _values(stack: npt.NDArray[np.float32]) -> dict[str, Any]:
    """Write pixels as half floats; of a layer that is mostly zero, where it is not."""
    filled = np.flatnonzero(stack)
    if 3 * filled.size < stack.size:
        text, scale = halves(stack.ravel()[filled])
        return {"scale": scale, "at": base64(filled.astype(np.uint32)), "half": text}
    text, scale = halves(stack)
    return {"scale": scale, "half": text}


def _runs(stack: npt.NDArray[np.float32]) -> dict[str, Any]:
    """Write a mask as the places where it changes; it begins with false."""
    truth = np.concatenate([[False], stack.ravel() > 0])
    return {"changes": base64(np.flatnonzero(np.diff(truth)).astype(np.uint32))}
