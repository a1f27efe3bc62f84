"""Two FITS images of one sky: the difference, fluxes, and by how much one is shifted.

No CASA is needed. A channel is read at a time, of both files.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from astropy.io import fits
from astropy.wcs import WCS

from ..errors import DataError
from ..qa.metrics import beam_area_pixels, robust_noise
from ..qa.sky import Sky
from . import shift, smoothing

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

ON_GRID_PIXELS: Final = 0.01
"""Grids that differ by whole pixels, and at most this, need no interpolation."""

SAME_CHANNEL: Final = 0.1
"""Channels whose centres are closer than this share of a channel are the same."""

SAME_BEAM: Final = 0.01
"""Axes of synthesized beams that differ by less than this share are the same."""

_FRAMES: Final = {"FK5": "J2000", "ICRS": "ICRS", "FK4": "B1950"}
_SPECTRAL: Final = ("FREQ", "VRAD", "VOPT", "VELO", "WAVE")


class SkyImage:
    """An open FITS image, read a plane of the first Stokes parameter at a time.

    Attributes
    ----------
    shape : tuple of int
        n_y, n_x.
    channels : array
        Value of the spectral axis at each channel; one NaN for an image without.
    unit, stokes_key : str
        Of the pixels; type of the spectral axis.
    beam : tuple or None
        bmaj_arcsec, bmin_arcsec, bpa_deg.
    """

    def __init__(self, unit: Any, path: Path) -> None:
        header = unit.header
        if unit.data is None or unit.data.ndim < 2 or 0 in unit.data.shape:
            raise DataError(f"{path}: there is no image in it")
        self._data, self._spectral = unit.data, None
        n_axes = unit.data.ndim
        self.channels, self.axis = np.array([np.nan]), ""
        for number in range(3, n_axes + 1):
            kind = str(header.get(f"CTYPE{number}", ""))[:4]
            if kind in _SPECTRAL:
                self._spectral, self.axis = n_axes - number, kind
                offsets = np.arange(unit.data.shape[n_axes - number]) + 1
                offsets = offsets - float(header.get(f"CRPIX{number}", 1.0))
                step = float(header.get(f"CDELT{number}", 1.0))
                self.channels = float(header.get(f"CRVAL{number}", 0.0)) + offsets * step
        self.shape: tuple[int, int] = unit.data.shape[-2:]
        self.wcs = _celestial(header, path)
        self.unit = str(header.get("BUNIT", ""))
        self.cell_arcsec = abs(float(self.wcs.wcs.cdelt[1])) * 3600
        self.beam = _beam(header)

    def plane(self, channel: int = 0) -> Floats:
        """Return a plane, NaN where there is no sky."""
        index = [0] * (self._data.ndim - 2)
        if self._spectral is not None:
            index[self._spectral] = channel
        plane = np.array(self._data[tuple(index)], np.float64)
        plane[~np.isfinite(plane)] = np.nan
        return plane

    def sky(self) -> Sky:
        """Return the coordinates as plots take them."""
        wcs = self.wcs.wcs
        galactic = str(wcs.ctype[0]).startswith("GLON")
        return Sky(
            frame="GALACTIC" if galactic else _FRAMES.get(str(wcs.radesys), "J2000"),
            projection=str(wcs.ctype[0])[5:] or "SIN",
            reference_deg=(float(wcs.crval[0]), float(wcs.crval[1])),
            reference_pixel=(float(wcs.crpix[0]) - 1, float(wcs.crpix[1]) - 1),
            increment_deg=(float(wcs.cdelt[0]), float(wcs.cdelt[1])),
            beam=self.beam,
        )

    def beam_pixels(self) -> float | None:
        """Return the solid angle of the synthesized beam in pixels."""
        return beam_area_pixels(self.beam[0], self.beam[1], self.cell_arcsec) if self.beam else None


@contextmanager
def opened(path: Path) -> Iterator[SkyImage]:
    """Open a FITS image of the sky.

    Raises
    ------
    DataError
        If it is none.
    """
    with ExitStack() as stack:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of a truncated file, whose reading fails
                units = stack.enter_context(fits.open(path, memmap=True))
                found = SkyImage(units[0], path)
        except (OSError, ValueError, TypeError, IndexError, KeyError) as error:
            raise DataError(f"{path}: cannot be read as a FITS image: {error}") from error
        yield found


def _celestial(header: Any, path: Path) -> WCS:
    wcs = WCS(header).celestial
    if wcs.naxis != 2:
        raise DataError(f"{path}: it has no two axes of the sky")
    return wcs


def _beam(header: Any) -> tuple[float, float, float] | None:
    try:
        axes = float(header["BMAJ"]) * 3600, float(header["BMIN"]) * 3600
        return (*axes, float(header.get("BPA", 0.0))) if min(axes) > 0 else None
    except (KeyError, TypeError, ValueError):
        return None


@dataclass
class SkyDifference:
    """How two images differ.

    Attributes
    ----------
    identical : bool
        All pixels are the same bits, on the same grid.
    notes : list of str
        How the images were brought together, and what stands against it.
    largest : float
        Largest absolute difference, Jy/beam; `at` is its (x, y) pixel and channel in A.
    rms : float
        Root of the mean square of the differences, Jy/beam.
    blank_in_one : float
        Share of the pixels that have a value in one image only; with other grids, of those
        outside of one, too.
    noise : float or None
        The larger noise of the two, Jy/beam.
    peak : float
        Largest pixel of A, Jy/beam.
    flux_a, flux_b, flux_error : float or None
        Flux density where either shows a source, summed over channels, Jy.
    shift_arcsec : tuple or None
        By how much B's sources stand east and north of A's; `shift_error_arcsec` its error.
    ratio, ratio_error : float or None
        Of the brightness of B's sources to A's.
    regridded : bool
        The grids differ.
    planes : tuple or None
        A, B on A's grid, and B - A, in the channel of A's peak, `channel`.
    n_channels : int
        How many both have.
    """

    identical: bool = False
    notes: list[str] = field(default_factory=list)
    largest: float = 0.0
    at: tuple[int, int, int] = (0, 0, 0)
    rms: float = 0.0
    blank_in_one: float = 0.0
    noise: float | None = None
    peak: float = 0.0
    flux_a: float | None = None
    flux_b: float | None = None
    flux_error: float | None = None
    shift_arcsec: tuple[float, float] | None = None
    shift_error_arcsec: float | None = None
    ratio: float | None = None
    ratio_error: float | None = None
    beam_arcsec: float | None = None
    regridded: bool = False
    planes: tuple[Floats, Floats, Floats] | None = None
    channel: int = 0
    n_channels: int = 1
    sky: Sky | None = None
    unit: str = ""


def compare(a: Path, b: Path, noise: float | None = None) -> SkyDifference:
    """Compare two images.

    Parameters
    ----------
    a, b : Path
        FITS files; B is brought onto A's grid.
    noise : float, optional
        The larger noise of the two in Jy/beam; by default measured on the planes.

    Raises
    ------
    DataError
        If one cannot be read, or they show different things.
    """
    with opened(a) as first, opened(b) as second:
        if first.unit != second.unit:
            raise DataError(
                f"their units differ: {first.unit or 'none'} and {second.unit or 'none'}"
            )
        found = SkyDifference(noise=noise, sky=first.sky(), unit=first.unit)
        _say_beams(found, first, second)
        channels = _channels(first, second, found.notes)
        found.n_channels = len(channels)
        bring = Regrid.between(first, second)
        if bring.note:
            found.notes.append(bring.note)
            found.regridded = True
        _walk(found, first, second, channels, bring)
        if not found.identical:
            _say_shift(found, first, second)
    return found


def _say_shift(found: SkyDifference, a: SkyImage, b: SkyImage) -> None:
    """Measure the shift in the channel where A is brightest, with one synthesized beam."""
    if found.planes is None or not found.noise:
        return
    first, second, _ = found.planes
    noise, area = found.noise, a.beam_pixels()
    east = -1 if a.wcs.wcs.cdelt[0] < 0 else 1
    if a.beam and b.beam and _differ(a.beam, b.beam):
        fwhm = smoothing.common_fwhm_arcsec(a.beam, b.beam)
        first, second = (
            smoothing.smooth(plane, beam, a.cell_arcsec, east, fwhm)
            for plane, beam in ((first, a.beam), (second, b.beam))
        )
        noise = max(robust_noise(first) or 0.0, robust_noise(second) or 0.0) or noise
        area = beam_area_pixels(fwhm, fwhm, a.cell_arcsec)
        found.notes.append(
            f"shift and brightness ratio are those of both smoothed to a beam of {fwhm:.1f} arcsec"
        )
    seen = shift.measure(first, second, noise, area)
    if seen is None:
        return
    step = np.abs(a.wcs.wcs.cdelt[:2]) * 3600
    found.shift_arcsec = (
        float(seen.pixels[0] * step[0] * east), float(seen.pixels[1] * step[1]),
    )  # fmt: skip
    found.shift_error_arcsec = math.hypot(*(e * float(w) for e, w in
                                            zip(seen.error_pixels, step, strict=True)))  # fmt: skip
    found.ratio, found.ratio_error = seen.ratio, seen.ratio_error


def _differ(one: tuple[float, float, float], other: tuple[float, float, float]) -> bool:
    return any(abs(x - y) > SAME_BEAM * x for x, y in zip(one[:2], other[:2], strict=True))


def _say_beams(found: SkyDifference, a: SkyImage, b: SkyImage) -> None:
    if a.beam and b.beam:
        found.beam_arcsec = a.beam[0]
        if _differ(a.beam, b.beam):
            found.notes.append(
                "the synthesized beams differ, and with them the brightness of what is extended: "
                f"{_axes(a.beam)} and {_axes(b.beam)}"
            )


def _axes(beam: tuple[float, float, float]) -> str:
    return f"{beam[0]:.1f} x {beam[1]:.1f} arcsec"


def _channels(a: SkyImage, b: SkyImage, notes: list[str]) -> list[tuple[int, int]]:
    """Return the channels of A and B that are the same.

    Raises
    ------
    DataError
        If there are none.
    """
    if len(a.channels) == len(b.channels) == 1:
        return [(0, 0)]
    if a.axis != b.axis:
        raise DataError(f"their spectral axes differ: {a.axis or 'none'} and {b.axis or 'none'}")
    step = abs(a.channels[1] - a.channels[0]) if len(a.channels) > 1 else math.inf
    if len(b.channels) > 1:
        step = min(step, abs(b.channels[1] - b.channels[0]))
    nearest = np.abs(b.channels[None, :] - a.channels[:, None]).argmin(axis=1)
    close = np.abs(b.channels[nearest] - a.channels) <= SAME_CHANNEL * step
    pairs = [(int(i), int(nearest[i])) for i in np.flatnonzero(close)]
    if not pairs:
        raise DataError("they have no channel in common")
    if len(pairs) < max(len(a.channels), len(b.channels)):
        notes.append(f"{len(pairs)} channels are in both: A has {len(a.channels)}, "
                     f"B {len(b.channels)}")  # fmt: skip
    return pairs


@dataclass(frozen=True)
class Regrid:
    """How B's planes come onto A's grid: by whole pixels, else by interpolation."""

    shape: tuple[int, int]
    offset: tuple[int, int] | None
    positions: Floats | None
    note: str

    @classmethod
    def between(cls, a: SkyImage, b: SkyImage) -> Regrid:
        """Find out where A's pixels are in B.

        Raises
        ------
        DataError
            If the images do not overlap.
        """
        whole = _whole_pixels(a, b)
        if whole is not None:
            return cls._on_grid(a, b, whole)
        n_y, n_x = a.shape
        y, x = np.mgrid[:n_y, :n_x].astype(float)
        with np.errstate(invalid="ignore"):
            sky = a.wcs.all_pix2world(x.ravel(), y.ravel(), 0)
            if str(a.wcs.wcs.radesys) != str(b.wcs.wcs.radesys):
                raise DataError(f"their frames differ: {a.wcs.wcs.radesys} and {b.wcs.wcs.radesys}")
            in_b = np.array(b.wcs.wcs_world2pix(*sky, 0)).reshape(2, n_y, n_x)
        offsets = in_b - np.array([x, y])
        known = np.isfinite(offsets).all(axis=0)
        inside = known & (in_b[0] > -0.5) & (in_b[0] < b.shape[1] - 0.5)
        inside &= (in_b[1] > -0.5) & (in_b[1] < b.shape[0] - 0.5)
        if not inside.any():
            raise DataError("the images do not overlap")
        found = np.rint(np.median(offsets[:, inside], axis=1))
        if np.abs(offsets[:, inside] - found[:, None]).max() <= ON_GRID_PIXELS:
            return cls._on_grid(a, b, (int(found[0]), int(found[1])))
        return cls(
            a.shape, None, in_b, "the second image is interpolated onto the first one's grid"
        )

    @classmethod
    def _on_grid(cls, a: SkyImage, b: SkyImage, offset: tuple[int, int]) -> Regrid:
        """Return how B comes onto a grid that differs by whole pixels."""
        dx, dy = offset
        if not (-a.shape[1] < dx < b.shape[1] and -a.shape[0] < dy < b.shape[0]):
            raise DataError("the images do not overlap")
        same = a.shape == b.shape and offset == (0, 0)
        note = "the grids differ by whole pixels: compared where they overlap"
        return cls(a.shape, offset, None, "" if same else note)

    def __call__(self, plane: Floats) -> Floats:
        """Bring a plane of B onto A's grid, NaN where it has none."""
        n_y, n_x = self.shape
        if self.offset == (0, 0) and plane.shape == self.shape:
            return plane
        if self.positions is None:
            dx, dy = self.offset or (0, 0)
            found = np.full(self.shape, np.nan)
            y = slice(max(0, -dy), min(n_y, plane.shape[0] - dy))
            x = slice(max(0, -dx), min(n_x, plane.shape[1] - dx))
            found[y, x] = plane[y.start + dy : y.stop + dy, x.start + dx : x.stop + dx]
            return found
        from scipy.ndimage import map_coordinates

        where = np.nan_to_num(self.positions[::-1], nan=-9.0)
        valid = np.isfinite(plane)
        found = map_coordinates(np.where(valid, plane, 0.0), where, order=3, cval=0.0)
        covered = map_coordinates(valid.astype(float), where, order=1, cval=0.0)
        return np.where(covered > 0.999, found, np.nan)


def _whole_pixels(a: SkyImage, b: SkyImage) -> tuple[int, int] | None:
    """Return by how many pixels grids of one projection differ; None where that is not all.

    So no pixel of equal grids has to be taken to the sky and back, which takes a large image's
    memory several times over.
    """
    first, second = _projection(a), _projection(b)
    offset = np.asarray(b.wcs.wcs.crpix - a.wcs.wcs.crpix)
    whole = np.rint(offset)
    if first != second or np.abs(offset - whole).max() > ON_GRID_PIXELS:
        return None
    return int(whole[0]), int(whole[1])


def _projection(image: SkyImage) -> tuple[Any, ...]:
    """Return all that a grid's pixels mean on the sky, but for where it begins."""
    wcs = image.wcs.wcs
    numbers = np.round([*wcs.crval, *wcs.cdelt, *wcs.get_pc().ravel()], 12).tolist()
    return list(wcs.ctype), str(wcs.radesys), numbers, wcs.get_pv()


class _Sums:
    """Adds up what two images differ by, a channel after the other."""

    def __init__(self, found: SkyDifference) -> None:
        self.found = found
        found.peak = -math.inf
        self.squares, self.number, self.either, self.source_pixels = 0.0, 0, 0, 0
        self.fluxes = np.zeros(2)

    def add(self, first: Floats, second: Floats, channel: int) -> None:
        """Add a channel, both planes of which are on A's grid."""
        found, difference = self.found, second - first
        valid = np.isfinite(difference)
        self.either += int((np.isfinite(first) | np.isfinite(second)).sum())
        if not valid.any():
            return
        self.squares += float(np.square(difference[valid]).sum())
        self.number += int(valid.sum())
        size = np.where(valid, np.abs(difference), -1.0)
        largest = int(size.argmax())
        if size.flat[largest] > found.largest:
            y, x = np.unravel_index(largest, size.shape)
            found.largest, found.at = float(size.flat[largest]), (int(x), int(y), channel)
        self._add_sources(first, second, valid)
        peak = float(first[valid].max())
        if peak > found.peak:
            found.peak, found.channel = peak, channel
            found.planes = first, second, difference

    def _add_sources(self, first: Floats, second: Floats, valid: Bools) -> None:
        self.found.noise = self.found.noise or robust_noise(first)
        if self.found.noise:
            limit = shift.SOURCE_SIGMA * self.found.noise
            sources = valid & ((first > limit) | (second > limit))
            self.source_pixels += int(sources.sum())
            self.fluxes += first[sources].sum(), second[sources].sum()

    def close(self, area_a: float | None, area_b: float | None) -> None:
        """Write the sums down; areas are those of the synthesized beams in pixels.

        Raises
        ------
        DataError
            If no pixel is valid in both images.
        """
        found = self.found
        if not self.number:
            raise DataError("no pixel is valid in both images")
        found.rms = math.sqrt(self.squares / self.number)
        found.blank_in_one = 1 - self.number / self.either
        if self.source_pixels and area_a and area_b and found.noise:
            found.flux_a, found.flux_b = (float(f) for f in self.fluxes / (area_a, area_b))
            found.flux_error = found.noise * math.sqrt(self.source_pixels / area_a)


def _walk(
    found: SkyDifference, a: SkyImage, b: SkyImage, channels: list[tuple[int, int]], bring: Regrid
) -> None:
    """Go through the channels that both have, and sum up."""
    sums, same = _Sums(found), not bring.note
    for mine, other in channels:
        first, second = a.plane(mine), b.plane(other)
        same = same and first.shape == second.shape and _same_bits(first, second)
        sums.add(first, bring(second), mine)
    sums.close(a.beam_pixels(), b.beam_pixels())
    found.identical = same and len(channels) == len(a.channels) == len(b.channels)


def _same_bits(a: Floats, b: Floats) -> bool:
    return bool(np.array_equal(a, b, equal_nan=True))
