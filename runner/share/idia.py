"""FITS images as HDF5 in the schema of IDIA, version 0.3, which CARTA reads fast.

Beside the image are a copy with the spectrum of each pixel in one piece, statistics and histograms
of each plane, cube and spectrum, and smaller copies for the whole view. Source: the wiki page "HDF5
Image Schema" of IDIA's converters and what ``fits2idia`` makes; written without its code.
"""

from __future__ import annotations

import math
import shutil
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .. import __version__
from ..errors import DataError

Floats = npt.NDArray[np.float32]

SCHEMA: Final = "0.3"
_TILE: Final = 512
_SMALLEST: Final = 128
"""Copies get smaller until one has no side above this."""
_STRING: Final = 256
_BASIC: Final = {"MIN": "<f4", "MAX": "<f4", "SUM": "<f4", "SUM_SQ": "<f4", "NAN_COUNT": "<i8"}
_PATIENT_S: Final = 3600


def write(fits: Path, out: Path) -> None:
    """Write a FITS image as HDF5, by ``fits2idia`` where that is installed.

    Parameters
    ----------
    fits : Path
        An image of 2 to 4 axes, the third frequency and the fourth Stokes.
    out : Path
        The HDF5 file; what is there is replaced.

    Raises
    ------
    DataError
        If it cannot be written.
    """
    converter = shutil.which("fits2idia")
    if converter is not None:
        out.unlink(missing_ok=True)
        done = subprocess.run(  # noqa: S603
            [converter, "-o", str(out), str(fits.absolute())], stdin=subprocess.DEVNULL,
            capture_output=True, text=True, errors="replace", timeout=_PATIENT_S, check=False,
        )  # fmt: skip
        if done.returncode or not out.is_file():
            said = (done.stderr or done.stdout).strip()
            raise DataError(f"{fits}: fits2idia failed: {said or f'exit code {done.returncode}'}")
        return
    try:
        import h5py
    except ImportError as error:
        raise DataError(
            "HDF5 needs fits2idia on the PATH, or h5py: pip install 'casarun[carta]'"
        ) from error
    from astropy.io import fits as astropy_fits

    with astropy_fits.open(fits, memmap=True) as opened:
        image = opened[0]
        shape = image.shape
        if not 2 <= len(shape) <= 4:
            raise DataError(f"{fits}: HDF5 is for images of 2 to 4 axes; this one has {len(shape)}")
        with h5py.File(out, "w", track_order=True) as file:
            group = file.create_group("0", track_order=True)
            _attributes(group, image.header)
            _Converter(group, image.data, shape).convert()


def _attributes(group: Any, header: Any) -> None:
    """Write a header as attributes, in its order, in which CARTA reads them."""
    import h5py

    text = h5py.string_dtype("ascii", _STRING)
    own = {"SCHEMA_VERSION": SCHEMA, "HDF5_CONVERTER": "casarun",
           "HDF5_CONVERTER_VERSION": __version__}  # fmt: skip
    for key, value in (*own.items(), *((card.keyword, card.value) for card in header.cards)):
        if key in ("", "COMMENT", "HISTORY") or key in group.attrs:
            continue
        if isinstance(value, bool):
            group.attrs.create(key, np.uint8(value))
        elif isinstance(value, int):
            group.attrs.create(key, np.int64(value))
        elif isinstance(value, float):
            group.attrs.create(key, np.float64(value))
        elif isinstance(value, str):
            plain = value.encode("ascii", "replace")[: _STRING - 1]
            group.attrs.create(key, np.bytes_(plain), dtype=text)


class _Converter:
    """One image on its way into a file. Memory holds some planes, or a tile of all channels."""

    def __init__(self, group: Any, data: Any, shape: tuple[int, ...]) -> None:
        self.group, self.shape = group, shape
        self.n_stokes, self.depth = (1, 1, *shape)[-4:-2]
        self.height, self.width = shape[-2:]
        self.data = data.reshape(self.n_stokes, self.depth, self.height, self.width)
        self.bins = int(max(math.sqrt(self.width * self.height), 2))
        self.lead = shape[:-2]

    def convert(self) -> None:
        """Write all that there is to the image."""
        image = self._dataset("DATA", self.shape)
        planes = self._statistics("XY", self.lead, self.bins)
        cube = self._statistics("XYZ", self.lead[:-1], self.bins) if self.depth > 1 else {}
        smaller = list(self._smaller())
        for stokes in range(self.n_stokes):
            found = []
            for channel in range(self.depth):
                plane = self._plane(stokes, channel)
                at = (stokes, channel)[2 - len(self.lead) :]
                image[at] = plane
                found.append(_basic(plane))
                _put(planes, at, found[-1])
                _histogram(planes, at, [plane], found[-1], self.bins)
                for factor, dataset in smaller:
                    dataset[at] = _averaged(plane, factor)
            if cube:
                whole, at = _together(found), (stokes,)[: len(self.lead) - 1]
                _put(cube, at, whole)
                each = (self._plane(stokes, channel) for channel in range(self.depth))
                _histogram(cube, at, each, whole, self.bins)
        if self.depth > 1:
            self._spectra()

    def _plane(self, stokes: int, channel: int) -> Floats:
        return np.ascontiguousarray(self.data[stokes, channel], dtype=np.float32)

    def _dataset(self, name: str, shape: tuple[int, ...]) -> Any:
        """Make a dataset of planes, in tiles where these are large."""
        tiled = min(shape[-2:]) >= _TILE
        chunks = (*(1,) * (len(shape) - 2), _TILE, _TILE) if tiled else None
        return self.group.create_dataset(name, shape, "<f4", chunks=chunks)

    def _statistics(self, name: str, shape: tuple[int, ...], bins: int = 0) -> dict[str, Any]:
        place = f"Statistics/{name}"
        made = {
            key: self.group.create_dataset(f"{place}/{key}", shape, kind)
            for key, kind in _BASIC.items()
        }
        if bins:
            made["HISTOGRAM"] = self.group.create_dataset(
                f"{place}/HISTOGRAM", (*shape, bins), "<i8"
            )
        return made

    def _smaller(self) -> Iterator[tuple[int, Any]]:
        """Give factors and datasets of smaller copies."""
        factor, height, width = 1, self.height, self.width
        while max(height, width) > _SMALLEST:
            factor, height, width = factor * 2, math.ceil(height / 2), math.ceil(width / 2)
            name = f"MipMaps/DATA/DATA_XY_{factor}"
            yield factor, self._dataset(name, (*self.lead, height, width))

    def _spectra(self) -> None:
        """Write the cube with each spectrum in one piece, and the statistics of spectra."""
        stats = self._statistics("Z", (*self.lead[:-1], self.height, self.width))
        name = "ZYX" if len(self.shape) == 3 else "ZYXW"
        turned = self.group.create_dataset(
            f"SwizzledData/{name}", (*self.lead[:-1], self.width, self.height, self.depth), "<f4"
        )
        for stokes in range(self.n_stokes):
            at = (stokes,)[: len(self.lead) - 1]
            for y in range(0, self.height, _TILE):
                for x in range(0, self.width, _TILE):
                    box = slice(y, y + _TILE), slice(x, x + _TILE)
                    tile = np.asarray(self.data[stokes, :, box[0], box[1]], dtype=np.float32)
                    turned[(*at, box[1], box[0])] = tile.transpose(2, 1, 0)
                    _put(stats, (*at, *box), _basic(tile, axis=0))


Basic = dict[str, Any]


def _basic(values: Floats, axis: int | None = None) -> Basic:
    """Return lowest, highest, sum, sum of squares and number of bad pixels, over an axis or all."""
    good = np.isfinite(values)
    precise = np.where(good, values, 0).astype(np.float64)
    some = good.any(axis=axis)
    return {
        "MIN": np.where(some, np.where(good, values, np.inf).min(axis=axis), np.nan),
        "MAX": np.where(some, np.where(good, values, -np.inf).max(axis=axis), np.nan),
        "SUM": precise.sum(axis=axis),
        "SUM_SQ": (precise**2).sum(axis=axis),
        "NAN_COUNT": (~good).sum(axis=axis),
    }


def _together(planes: list[Basic]) -> Basic:
    """Return the numbers of a cube from those of its planes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of a cube without a valid pixel
        found = {key: np.sum([one[key] for one in planes]) for key in _BASIC}
        found["MIN"] = np.nanmin([one["MIN"] for one in planes])
        found["MAX"] = np.nanmax([one["MAX"] for one in planes])
    return found


def _put(datasets: dict[str, Any], at: tuple[Any, ...], numbers: Basic) -> None:
    for key in _BASIC:
        datasets[key][at] = numbers[key]


def _histogram(
    datasets: dict[str, Any], at: tuple[int, ...], planes: Any, numbers: Basic, bins: int
) -> None:
    """Count pixels in bins of equal width from the lowest to the highest."""
    low, high = float(numbers["MIN"]), float(numbers["MAX"])
    if not high > low:
        return
    counts = np.zeros(bins, np.int64)
    for plane in planes:
        good = plane[np.isfinite(plane)].astype(np.float64)
        places = np.minimum((bins * (good - low) / (high - low)).astype(np.int64), bins - 1)
        counts += np.bincount(places, minlength=bins)
    datasets["HISTOGRAM"][at] = counts


def _averaged(plane: Floats, factor: int) -> Floats:
    """Return the means of blocks of pixels; NaN where a block has none that is valid."""
    rows, columns = (np.arange(0, side, factor) for side in plane.shape)
    good = np.isfinite(plane)

    def sums(values: Any) -> Any:
        return np.add.reduceat(np.add.reduceat(values, rows, axis=0), columns, axis=1)

    total, number = sums(np.where(good, plane, 0).astype(np.float64)), sums(good.astype(np.int64))
    mean = np.full(total.shape, np.nan, np.float32)
    np.divide(total, number, out=mean, where=number > 0, casting="unsafe")
    return mean
