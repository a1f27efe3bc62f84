"""Find and measure the sources of an image: islands of bright pixels, Gaussians fitted to them.

Arrays in, numbers out: no files, no CASA. The fit is that of CASA's ``imfit`` (a test holds them
together), which takes 30 to 60 ms a source; here it takes four.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.optimize import least_squares

from .metrics import MIN_PIXELS, beam_area_pixels, robust_noise
from .source_errors import (
    FWHM,
    Ellipse,
    Errors,
    TrueSize,
    covariance,
    precision,
    propagated,
    true_size,
    widths,
)

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Pixels = npt.NDArray[np.floating[Any]]
Method = Literal["gaussian", "beam", "moments"]

GROWN_SIGMA: Final = 3.0
"""Islands reach down to this; their brightest pixel must be above the threshold."""

MOST_COMPONENTS: Final = 5
"""An island with more peaks is measured as a whole, by its moments."""

MOST_FITTED: Final = 1000
"""So many islands, the brightest, are fitted; the others are measured by their moments."""

_BOX_BEAMS: Final = 20
_LEAST_BOX: Final = 50
_MOST_BOX_PIXELS: Final = 4000
_BAD_SIGMA, _BAD_SHARE = 3.0, 0.1
_AROUND: Final = np.ones((3, 3), bool)  # pixels that touch at corners are together


@dataclass(frozen=True)
class Plane:
    """What is searched; single precision will do.

    Attributes
    ----------
    pixels : array, shape (n_y, n_x)
        Jy/beam, not corrected for the primary beam; NaN where blank.
    noise : array, shape (n_y, n_x)
        Local noise.
    cell_arcsec : (float, float)
        Increment to the east of a step in x (negative, as a rule) and to the north in y.
    beam : Ellipse
        bmaj and bmin in arcsec, bpa in degrees.
    """

    pixels: Pixels
    noise: Pixels
    cell_arcsec: tuple[float, float]
    beam: Ellipse

    @property
    def beam_pixels(self) -> float:
        """The beam's solid angle in pixels."""
        side = math.sqrt(abs(self.cell_arcsec[0] * self.cell_arcsec[1]))
        return beam_area_pixels(self.beam[0], self.beam[1], side)

    @property
    def bmaj_pixels(self) -> float:
        """The beam's major axis in pixels."""
        return self.beam[0] / abs(self.cell_arcsec[1])


@dataclass(frozen=True)
class Source:
    """A source as it is in the image: brightness is not corrected for the primary beam.

    Attributes
    ----------
    x, y : float
        Pixel of the centre, from 0.
    peak, flux : float
        Jy/beam and Jy.
    shape : Ellipse
        Fitted widths (arcsec) and position angle; of moments, those of the second moments.
    errors : Errors
        NaN where not known.
    true : TrueSize
        The size behind the beam.
    noise : float
        Local noise, Jy/beam.
    island, n_components : int
        Which island, from 1, and how many sources it was taken for.
    method : {"gaussian", "beam", "moments"}
        Fitted freely; fitted with the beam's shape, because a free fit came out narrower; or no
        Gaussian describes it: sums and moments of the island.
    """

    x: float
    y: float
    peak: float
    flux: float
    shape: Ellipse
    errors: Errors
    true: TrueSize
    noise: float
    island: int
    n_components: int
    method: Method


def local_noise(pixels: Pixels, bmaj_pixels: float, everywhere: float) -> Pixels:
    """Return the noise around each pixel.

    Parameters
    ----------
    pixels : array, shape (n_y, n_x)
        NaN where blank.
    bmaj_pixels : float
        Width of the synthesized beam; noise is measured in boxes of 20 of them.
    everywhere : float
        The noise of the whole image, where a box has too few pixels.
    """
    side = max(_LEAST_BOX, round(_BOX_BEAMS * bmaj_pixels))
    numbers = [max(1, round(length / side)) for length in pixels.shape]
    if numbers == [1, 1]:
        return np.full(pixels.shape, everywhere, np.float32)
    edges = [np.linspace(0, length, number + 1).astype(int)
             for length, number in zip(pixels.shape, numbers, strict=True)]  # fmt: skip
    coarse = np.full(numbers, everywhere)
    for i in range(numbers[0]):
        for j in range(numbers[1]):
            box = pixels[edges[0][i] : edges[0][i + 1], edges[1][j] : edges[1][j + 1]]
            step = max(1, math.isqrt(box.size // _MOST_BOX_PIXELS))
            found = robust_noise(box[::step, ::step].astype(float))
            if found is not None and np.isfinite(box[::step, ::step]).sum() >= MIN_PIXELS:
                coarse[i, j] = found
    # Between the middles of boxes linearly; beyond the outermost ones it stays.
    down, right = (_between(length, number)
                   for length, number in zip(pixels.shape, numbers, strict=True))  # fmt: skip
    return np.asarray(down @ coarse.astype(np.float32) @ right.T)


def _between(length: int, number: int) -> npt.NDArray[np.float32]:
    """Return the weights of boxes at each pixel of an axis, shape (length, number)."""
    places = np.clip((np.arange(length) + 0.5) * number / length - 0.5, 0, number - 1)
    distance = np.abs(places[:, None] - np.arange(number)[None])
    return np.asarray(np.maximum(0, 1 - distance), np.float32)


def find(plane: Plane, threshold_sigma: float) -> list[Source]:
    """Find the sources of an image, the brightest island first.

    Parameters
    ----------
    plane : Plane
        The image.
    threshold_sigma : float
        How far above the local noise a source's brightest pixel must be.
    """
    level = np.where(np.isfinite(plane.pixels), plane.pixels, 0).astype(np.float32) / plane.noise
    labels, number = ndimage.label(level > min(GROWN_SIGMA, threshold_sigma), structure=_AROUND)
    if not number:
        return []
    bright = np.flatnonzero(labels)
    owner = labels.ravel()[bright]
    tops, peaks = np.zeros(number + 1), np.zeros(number + 1)
    np.maximum.at(tops, owner, level.ravel()[bright])
    np.maximum.at(peaks, owner, plane.pixels.ravel()[bright])
    sizes = np.bincount(owner, minlength=number + 1)
    # A beam-sized bump has half a beam above the level that islands reach down to.
    kept = np.flatnonzero((tops > threshold_sigma) & (sizes >= max(2.0, 0.2 * plane.beam_pixels)))
    kept = kept[np.argsort(-peaks[kept])]
    boxes = ndimage.find_objects(labels)
    found: list[Source] = []
    for place, label in enumerate(kept.tolist()):
        island = _Island(plane, labels, label, boxes[label - 1], place + 1, threshold_sigma)
        found += island.sources(fitted=place < MOST_FITTED)
    return found


class _Island:
    """An island and the pixels around it."""

    def __init__(
        self,
        plane: Plane,
        labels: Ints,
        label: int,
        box: tuple[slice, slice],
        number: int,
        threshold_sigma: float,
    ) -> None:
        self.plane, self.number, self.threshold_sigma = plane, number, threshold_sigma
        margin = max(2, math.ceil(0.6 * plane.bmaj_pixels))
        cut = tuple(slice(max(0, part.start - margin), part.stop + margin) for part in box)
        self.corner = (cut[0].start, cut[1].start)
        self.pixels, self.noise = (part[cut].astype(float) for part in (plane.pixels, plane.noise))
        self.inside = labels[cut] == label
        # The fit sees the slopes, too; but not what belongs to others, and nothing blank.
        near = ndimage.binary_dilation(self.inside, _AROUND, iterations=margin)
        self.fitted = near & np.isin(labels[cut], (0, label)) & np.isfinite(self.pixels)

    def sources(self, *, fitted: bool) -> list[Source]:
        """Return what the island consists of."""
        peaks = self._peaks()
        if fitted and len(peaks) <= MOST_COMPONENTS:
            for fixed in (False, True):
                found = self._gaussians(peaks, fixed=fixed)
                if found:
                    return found
        return [self._moments()]

    def _peaks(self) -> list[tuple[int, int]]:
        """Return the pixels (y, x) of the peaks, the brightest first.

        A lesser peak counts if the way to each brighter one goes three sigma below it.
        """
        shown = np.where(self.inside, self.pixels, -np.inf)
        width = max(3, 2 * round(self.plane.bmaj_pixels / 2) + 1)
        highest = ndimage.maximum_filter(shown, size=width, mode="constant", cval=-np.inf)
        tops = np.argwhere(self.inside & (shown == highest)
                           & (shown > self.threshold_sigma * self.noise))  # fmt: skip
        if not len(tops):
            tops = np.array([np.unravel_index(int(np.argmax(shown)), shown.shape)])
        order = np.argsort(-shown[tops[:, 0], tops[:, 1]])
        chosen: list[tuple[int, int]] = []
        for y, x in tops[order].tolist():
            if all(self._apart((y, x), other) for other in chosen):
                chosen.append((y, x))
        return chosen

    def _apart(self, lesser: tuple[int, int], brighter: tuple[int, int]) -> bool:
        steps = 1 + max(abs(a - b) for a, b in zip(lesser, brighter, strict=True))
        way = [np.linspace(a, b, steps).round().astype(int)
               for a, b in zip(lesser, brighter, strict=True)]  # fmt: skip
        lowest = np.nanmin(np.where(np.isfinite(self.pixels), self.pixels, 0)[way[0], way[1]])
        return bool(self.pixels[lesser] - lowest > 3 * self.noise[lesser])

    def _gaussians(self, peaks: Sequence[tuple[int, int]], *, fixed: bool) -> list[Source]:
        """Fit a Gaussian to each peak; none where they do not describe the island."""
        y, x = np.nonzero(self.fitted)
        cells, unit = self.plane.cell_arcsec, self.plane.beam[0]
        steps = (cells[0] / unit, cells[1] / unit)
        east, north = (x + self.corner[1]) * steps[0], (y + self.corner[0]) * steps[1]
        model = _Model(east, north, _in_beams(self.plane.beam), fixed=fixed)
        values = self.pixels[self.fitted]
        if values.size < model.number * len(peaks) + 1:
            return []
        scale = float(values.max())
        start = [
            part
            for row, column in peaks
            for part in (
                self.pixels[row, column] / scale, (column + self.corner[1]) * steps[0],
                (row + self.corner[0]) * steps[1], *(() if fixed else model.shape),
            )
        ]  # fmt: skip
        done = least_squares(
            lambda p: model.values(p) - values / scale, start, jac=model.slopes, method="lm",
            max_nfev=60,
        )  # fmt: skip
        left = scale * float(np.sqrt(np.mean(done.fun**2)))
        noise = float(np.median(self.noise[self.fitted]))
        if not done.success or left > max(_BAD_SIGMA * noise, _BAD_SHARE * scale):
            return []
        try:
            beam = _in_units(self.plane.beam, unit)
            slopes = model.slopes(done.x)
            spread = covariance(slopes, self.fitted, noise / scale, steps, beam)
        except np.linalg.LinAlgError:
            return []
        return self._as_sources(model, done.x, spread, scale)

    def _as_sources(
        self, model: _Model, parameters: Floats, spread: Floats, scale: float
    ) -> list[Source]:
        """Return fitted components as sources; none if one makes no sense."""
        found: list[Source] = []
        beam, cells, unit = self.plane.beam, self.plane.cell_arcsec, self.plane.beam[0]
        for start in range(0, len(parameters), model.number):
            mine = slice(start, start + model.number)
            values = model.described(parameters[mine])
            if values is None:
                return []
            x, y = values[2] * unit / cells[0], values[3] * unit / cells[1]
            if values[0] <= 0 or not self._holds(x, y):
                return []
            shape = (values[4] * unit, values[5] * unit, values[6])
            if not model.fixed and shape[0] * shape[1] < 0.8 * beam[0] * beam[1]:
                return []
            errors = self._errors(model, parameters[mine], spread[mine, mine], scale)
            size = TrueSize(None, None, None) if model.fixed else true_size(shape, errors, beam)
            noise = float(self.plane.noise[round(y), round(x)])
            found.append(
                Source(x, y, values[0] * scale, values[1] * scale, shape, errors, size, noise,
                       self.number, 0, "beam" if model.fixed else "gaussian")
            )  # fmt: skip
        return [replace(one, n_components=len(found)) for one in found]

    def _errors(self, model: _Model, parameters: Floats, spread: Floats, scale: float) -> Errors:
        """Return the errors of a component; its widths have none where they were given."""
        unit, nan = self.plane.beam[0], math.nan

        fitted = model.described(parameters)
        turn = math.radians(fitted[6]) if fitted else 0.0

        def derive(at: Floats) -> Floats:
            """Describe parameters near the fitted ones: widths along its axes, even if round."""
            found = model.described(at)
            if found is None:
                return np.full(7, nan)
            pa = (found[6] - math.degrees(turn) + 90) % 180
            along, across = (model.width(at, turn + more) for more in (0.0, math.pi / 2))
            return np.array([*found[:4], along, across, pa])

        peak, flux, east, north, major, minor, pa = propagated(derive, parameters, spread).tolist()
        if model.fixed:
            major = minor = pa = nan
        return Errors(peak * scale, flux * scale, east * unit, north * unit, major * unit,
                      minor * unit, min(pa, 90.0))  # fmt: skip

    def _holds(self, x: float, y: float) -> bool:
        """Say whether the pixel at a place belongs to what was fitted."""
        row, column = round(y) - self.corner[0], round(x) - self.corner[1]
        inside = 0 <= row < self.fitted.shape[0] and 0 <= column < self.fitted.shape[1]
        return inside and bool(self.fitted[row, column])

    def _moments(self) -> Source:
        """Measure the island as a whole."""
        y, x = np.nonzero(self.inside)
        values = self.pixels[self.inside]
        total = float(values.sum())
        centre = [float((values * place).sum() / total) for place in (x, y)]
        offsets = [(place - middle) * cell
                   for place, middle, cell in zip((x, y), centre, self.plane.cell_arcsec,
                                                  strict=True)]  # fmt: skip
        spread = [[float((values * a * b).sum() / total) for a in offsets] for b in offsets]
        shape = widths(spread[0][0], spread[0][1], spread[1][1])
        noise = float(np.median(self.noise[self.inside]))
        beams = len(values) / self.plane.beam_pixels
        peak = float(values.max())
        # Each beam of the island shifts the centre by its noise, and by its distance from it.
        far = math.sqrt(beams) * noise / (total / self.plane.beam_pixels)
        nan = math.nan
        errors = Errors(noise, noise * math.sqrt(beams), far * math.sqrt(spread[0][0]),
                        far * math.sqrt(spread[1][1]), nan, nan, nan)  # fmt: skip
        return Source(
            centre[0] + self.corner[1], centre[1] + self.corner[0], peak,
            total / self.plane.beam_pixels, shape, errors, TrueSize(None, None, None), noise,
            self.number, 1, "moments",
        )  # fmt: skip


_Piece = tuple[float, Floats, Floats, tuple[float, ...], Floats]


class _Model:
    """A sum of Gaussians on some pixels, and its derivatives.

    Parameters of each are peak, east, north and, unless the shape is fixed to the beam's, its
    inverse second moments. Lengths are in units of the beam's major axis.

    Parameters
    ----------
    east, north : array, shape (pixels,)
        Where the pixels are.
    beam : (float, float, float)
        The beam's inverse second moments.
    fixed : bool
        All have the beam's shape.
    """

    def __init__(
        self, east: Floats, north: Floats, beam: tuple[float, float, float], *, fixed: bool
    ) -> None:
        self.east, self.north, self.shape, self.fixed = east, north, beam, fixed
        self.number = 3 if fixed else 6

    def _pieces(self, parameters: Floats) -> Iterator[_Piece]:
        """Yield peak, offsets, inverse moments and shape of each component at all pixels."""
        for one in np.asarray(parameters, float).reshape(-1, self.number).tolist():
            peak, east, north = one[:3]
            a, b, c = shape = tuple(one[3:]) or self.shape
            x, y = self.east - east, self.north - north
            exponent = np.clip(a * x * x + 2 * b * x * y + c * y * y, -50.0, 200.0)
            yield peak, x, y, shape, np.exp(-0.5 * exponent)

    def values(self, parameters: Floats) -> Floats:
        """Return the brightness at each pixel."""
        return np.asarray(sum(peak * bell for peak, _, _, _, bell in self._pieces(parameters)))

    def slopes(self, parameters: Floats) -> Floats:
        """Return the derivatives, shape (pixels, parameters)."""
        columns = []
        for peak, x, y, (a, b, c), bell in self._pieces(parameters):
            high = peak * bell
            columns += [bell, high * (a * x + b * y), high * (b * x + c * y)]
            if not self.fixed:
                columns += [-0.5 * high * x * x, -high * x * y, -0.5 * high * y * y]
        return np.stack(columns, axis=1)

    def width(self, one: Floats, turn: float) -> float:
        """Return the width of a component's projection on a direction (radians from north)."""
        a, b, c = tuple(one[3:].tolist()) or self.shape
        sine, cosine = math.sin(turn), math.cos(turn)
        moment = (c * sine**2 - 2 * b * sine * cosine + a * cosine**2) / (a * c - b * b)
        return FWHM * math.sqrt(max(0.0, moment))

    def described(self, one: Floats) -> tuple[float, ...] | None:
        """Return peak, flux, east, north, widths and position angle; None for no ellipse."""
        peak, east, north = one[:3].tolist()
        a, b, c = tuple(one[3:].tolist()) or self.shape
        determinant = a * c - b * b
        if determinant <= 0 or a <= 0:
            return None
        of_beam = self.shape[0] * self.shape[2] - self.shape[1] ** 2
        flux = peak * math.sqrt(of_beam / determinant)
        return (peak, flux, east, north,
                *widths(c / determinant, -b / determinant, a / determinant))  # fmt: skip


def _in_units(shape: Ellipse, unit: float) -> Ellipse:
    return shape[0] / unit, shape[1] / unit, shape[2]


def _in_beams(beam: Ellipse) -> tuple[float, float, float]:
    """Return a beam's inverse second moments, in units of its major axis."""
    return precision(_in_units(beam, beam[0]))
