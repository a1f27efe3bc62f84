"""Measure an image or cube: noise, peak, synthesized beam, spectrum; and plot it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..casa import image_file
from ..casa.kept_planes import kept
from ..errors import Cause, DataError, StepFailedError
from . import (
    catalogue,
    channel_maps,
    expected_noise,
    metrics,
    residuals,
    sky,
    viewer_data,
    viewer_images,
)
from .datasets import plot
from .image_scan import Beside, Scan, scan
from .metrics import put
from .viewer_images import Layer

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Params = Mapping[str, Any]


def noise(params: Params) -> dict[str, Any]:
    """Measure the noise of an image; see `collect.measure_noise`."""
    path = str(params["image"])
    found = scan(path, params.get("pb", ""), params.get("mask", ""))
    if found.noise is None or found.highest is None:
        raise StepFailedError(
            Cause.POSTCONDITION,
            f"the noise of {path} cannot be measured: {_why_no_noise(found)}",
            "Are all visibilities flagged, or is imsize too small?",
        )
    result = {
        "rms_jy_per_beam": found.noise,
        "peak_jy_per_beam": found.highest,
        "method": metrics.NOISE_METHOD,
        "pixels": found.pixels,
        "per_channel": _listed(found.rms),
    }
    if found.header.n_chan > 1:
        result["statistic"] = "the median over channels"
    if params.get("reached"):
        result["reached_rms_jy_per_beam"] = min(found.noise, _reached(str(params["reached"])))
    return result


def _reached(summary: str) -> float:
    """Return the noise of the image that a self-calibration has kept, in Jy/beam."""
    found = json.loads(Path(summary).read_text(encoding="utf-8"))
    noise = (found.get("after") or {}).get("rms_noise_jy_per_beam")
    return math.inf if noise is None else float(noise)


def _why_no_noise(found: Scan) -> str:
    if found.highest is None:
        return "it has no valid pixels"
    return f"fewer than {metrics.MIN_PIXELS} pixels are off source, or most pixels are equal"


def _listed(values: Floats) -> list[float | None]:
    return [float(value) if math.isfinite(value) else None for value in values]


def measure(params: Params) -> dict[str, Any]:
    """Measure and plot an image; see `collect.measure_image`."""
    with kept():
        return _measure(params)


def _measure(params: Params) -> dict[str, Any]:
    prefix = str(params["prefix"])
    suffix = str(params.get("suffix") or (".tt0" if int(params.get("nterms", 1)) > 1 else ""))
    shown = str(params.get("displayed") or f"{prefix}.image{suffix}")
    beside = {kind: f"{prefix}.{kind}{suffix}" for kind in ("residual", "model", "psf", "pb")}
    beside["mask"] = f"{prefix}.mask"
    found = scan(shown, beside["pb"], beside["mask"], beside["residual"])
    numbers: dict[str, Any] = {
        "kind": "image",
        "target": params["target"],
        "image": params["image"],
        "specmode": params["specmode"],
        "fits": params["fits"],
    }
    _brightness_numbers(numbers, found)
    beam = _beam(numbers, found.header, beside["psf"])
    _grid_numbers(numbers, found)
    _cleaning_numbers(numbers, found, beside)
    _scores(numbers, found, beside["mask"], params.get("expected", {}))
    numbers["per_channel"] = {
        "frequency_hz": _listed(found.header.frequencies_hz),
        "rms_jy_per_beam": _listed(found.rms),
        "peak_jy_per_beam": _listed(found.peak),
    }
    if params.get("regions"):
        from . import measured_regions  # 0.4 s that no other image is to pay

        wcs = sky_of(found.header, beam).wcs()
        files = [str(file) for file in params["regions"]]
        numbers["regions"] = measured_regions.measure(
            files, (shown, beside["pb"]), (found.rms, beam), wcs
        )
    about = sky_of(found.header, beam)
    if params.get("catalogue"):
        with Beside(shown) as image, Beside(beside["pb"]) as response:
            pixels, weak = image.pixels(0), response.pixels(0)
        numbers |= catalogue.of_image(params, pixels, weak, about, found.noise)
    drawing = _Drawing(params, found, beside, shown, about, numbers)
    numbers["plots"] = drawing.all()
    return numbers


def _brightness_numbers(numbers: dict[str, Any], found: Scan) -> None:
    blank = "the image has no valid pixels"
    reason = f"no noise: {_why_no_noise(found)}"
    put(numbers, "peak_jy_per_beam", found.highest, blank)
    lowest = found.lowest[np.isfinite(found.lowest)]
    put(numbers, "min_jy_per_beam", float(lowest.min()) if lowest.size else None, blank)
    put(numbers, "rms_noise_jy_per_beam", found.noise, reason)
    value = metrics.dynamic_range(found.highest, found.noise)
    put(numbers, "dynamic_range", value, reason)
    numbers["noise_method"] = metrics.NOISE_METHOD


def _beam(
    numbers: dict[str, Any], header: image_file.ImageHeader, psf: str
) -> tuple[float, float, float] | None:
    """Note the synthesized beam: of the image or, where it has none, of the psf."""
    beams = header.beams
    if not beams:
        with Beside(psf) as response:
            beams = response.header.beams if response.header else ()
    good = np.array([beam for beam in beams if beam[0] > 0])
    middle: tuple[float, float, float] | None = None
    if len(good):
        # Of a cube whose channels differ, the channel with the median area stands for all.
        order = np.argsort(good[:, 0] * good[:, 1])
        chosen = good[order[len(order) // 2]]
        middle = (float(chosen[0]), float(chosen[1]), float(chosen[2]))
    reason = "the image has no synthesized beam"
    for index, key in enumerate(("bmaj_arcsec", "bmin_arcsec", "bpa_deg")):
        put(numbers, key, None if middle is None else middle[index], reason)
    numbers["beams_differ_by_channel"] = len(beams) > 1
    return middle


def _grid_numbers(numbers: dict[str, Any], found: Scan) -> None:
    header = found.header
    channel, y, x = found.brightest
    numbers["shape"] = [header.n_x, header.n_y, header.n_stokes, header.n_chan]
    numbers["cell_arcsec"] = abs(header.increment_deg[1]) * 3600
    frequencies = header.frequencies_hz
    for key, value in (("min", np.min), ("max", np.max)):
        number = float(value(frequencies)) if frequencies.size else None
        put(numbers, f"frequency_{key}_hz", number, "the image has no spectral axis")
    wcs = sky_of(header, None).wcs()
    right_ascension, declination = wcs.wcs_pix2world(x, y, 0)
    numbers["peak_position"] = {
        "ra_deg": float(right_ascension),
        "dec_deg": float(declination),
        "frame": header.frame,
        "pixel": [x, y],
        "channel": channel,
    }


def _cleaning_numbers(numbers: dict[str, Any], found: Scan, beside: Mapping[str, str]) -> None:
    """Note what is in the model, and what the cleaning left."""
    if not Path(beside["model"]).exists():
        for key in ("model_flux_jy", "residual_peak_jy_per_beam", "residual_peak_sigma"):
            put(numbers, key, None, "the image was not cleaned")
        return
    flux, any_model = [], False
    with Beside(beside["model"]) as model:
        for channel in range(found.header.n_chan):
            plane = model.plane(channel)
            if plane is not None:
                flux.append(float(plane[0].sum()))
                any_model |= bool(np.any(plane[0]))
    numbers["cleaned"] = any_model
    # The sum over channels of a cube is no flux density; the fullest channel's is.
    put(numbers, "model_flux_jy", max(flux, default=None), "there is no model")
    put(numbers, "residual_peak_jy_per_beam", found.residual_peak, "")
    ratio = None if not found.noise else found.residual_peak / found.noise
    put(numbers, "residual_peak_sigma", ratio, "the noise is not known")


def _scores(numbers: dict[str, Any], found: Scan, mask: str, expected: Mapping[str, Any]) -> None:
    """Hold noise and residual against what they should be."""
    header = found.header
    cube = header.n_chan > 1
    width_hz = float(np.median(np.abs(np.diff(header.frequencies_hz)))) if cube else 0.0
    expected_noise.into(numbers, expected, width_hz, found.noise)
    beam = numbers["bmaj_arcsec"], numbers["bmin_arcsec"]
    area = metrics.beam_area_pixels(*beam, numbers["cell_arcsec"]) if None not in beam else 0.0
    found.residual.into(numbers, area or 1.0)
    depth = None
    if found.noise and area:
        channel = found.brightest[0]
        with image_file.ImageFile(found.header.path) as image, Beside(mask) as clean:
            values, valid = image.plane(channel)
            emission = valid & (values > 5 * found.noise)
            outline = clean.truth(channel)
        if outline is not None and np.count_nonzero(outline) < outline.size / 2:
            emission |= outline  # a mask of nearly all says nothing about where emission is
        depth = residuals.bowl(values, valid, emission, area, found.noise)
    reason = "there is no emission with room around it"
    put(numbers, "bowl_sigma", depth[0] if depth else None, reason)
    put(numbers, "bowl_significance", depth[1] if depth else None, reason)


def sky_of(header: image_file.ImageHeader, beam: tuple[float, float, float] | None) -> sky.Sky:
    """Return the coordinates of an image's plane, as plots take them."""
    return sky.Sky(
        frame=header.frame,
        projection=header.projection,
        reference_deg=header.reference_deg,
        reference_pixel=header.reference_pixel,
        increment_deg=header.increment_deg,
        beam=beam,
    )


@dataclass
class _Drawing:
    """The plots of one image."""

    params: Params
    found: Scan
    beside: Mapping[str, str]
    shown: str
    about: sky.Sky
    numbers: Mapping[str, Any]

    def all(self) -> list[dict[str, str]]:
        """Draw all plots and describe them."""
        self.folder.mkdir(parents=True, exist_ok=True)
        drawn = [self._maps(), self._beam_and_histogram()]
        if self.found.header.n_chan > 1:
            drawn.append(self._spectrum())
        moments = self._moments()
        channels = self._channel_maps() if self.found.header.n_chan > 2 else None
        return [*drawn, *(one for one in (moments, channels, self._viewer()) if one)]

    @property
    def folder(self) -> Path:
        return Path(self.params["plots"])

    @property
    def channel(self) -> int:
        """The brightest channel."""
        return self.found.brightest[0]

    def _maps(self) -> dict[str, str]:
        """Draw image and residual of the brightest channel in one scale, with the mask."""
        cube = self.found.header.n_chan > 1
        where = f", channel {self.channel}" if cube else ""
        with (
            Beside(self.shown) as image,
            Beside(self.beside["residual"]) as residual,
            Beside(self.beside["mask"]) as mask,
            Beside(self.beside["pb"]) as beam,
        ):
            pixels, rest = image.pixels(self.channel), residual.pixels(self.channel)
            outline, response = mask.truth(self.channel), beam.plane(self.channel)
        if pixels is None:  # scan() has read it
            raise DataError(f"{self.shown} disappeared")
        sigma, peak = self.found.noise, self.found.highest
        limits = sky.brightness_limits(pixels, sigma, peak)
        scale, prefix = sky.scaled(max(abs(limit) for limit in limits))
        unit = f"{prefix}{self.found.header.unit}"
        limits = (limits[0] * scale, limits[1] * scale)
        falls = None if response is None else _if_it_falls(response[0])
        marks = catalogue.marks(self.numbers)
        drawn = [
            sky.Map(f"image{where}", pixels * scale, unit, limits, contour=outline, response=falls,
                    marks=marks)
        ]  # fmt: skip
        if rest is not None and self.beside["residual"] != self.shown:
            own = sky.brightness_limits(rest, sigma, float(np.nanmax(rest)))
            drawn.append(
                sky.Map(f"residual{where}", rest * scale, unit, (own[0] * scale, own[1] * scale))
            )
        path = sky.maps(self.folder / "maps.png", self.about, drawn)
        caption = "White ellipse: synthesized beam."
        if outline is not None and outline.any() and not outline.all():
            caption += " Blue outline: clean mask."
        if falls is not None:
            caption += " Dashed: where the primary beam has fallen to a half."
        if marks:
            caption += " Circles: sources of the catalogue, by number."
        if cube:
            caption += f" Channel {self.channel} holds the brightest pixel of the cube."
        title = "Image and residual" if len(drawn) == 2 else "Image"
        return plot("image", path, title, f"{caption} Colours run from -3 to at most 60 sigma.")

    def _beam_and_histogram(self) -> dict[str, str]:
        cutout = self._psf()
        quiet = self.found.off_source_values
        sigma = self.found.noise
        expected = None
        if sigma and quiet.size:
            expected = (sigma, float(np.median(quiet)), float(quiet.size))
        path = sky.beam_and_histogram(
            self.folder / "beam.png", cutout,
            metrics.histogram(self.found.values, sigma=sigma), expected, self.found.header.unit,
        )  # fmt: skip
        return plot("image", path, "Synthesized beam and histogram",
                    "Dashed ellipse: the fitted Gaussian at half power. Curve: what noise alone "
                    "would give.")  # fmt: skip

    def _psf(self) -> tuple[Floats, sky.Sky] | None:
        """Return the point spread function around its peak, eight beams to each side."""
        with Beside(self.beside["psf"]) as psf:
            pixels = psf.pixels(self.channel)
        if pixels is None or not np.isfinite(pixels).any():
            return None
        y, x = np.unravel_index(int(np.nanargmax(pixels)), pixels.shape)
        width = self.about.beam[0] if self.about.beam else 10 * self.numbers["cell_arcsec"]
        half = max(12, round(8 * width / self.numbers["cell_arcsec"]))
        left, bottom = max(0, int(x) - half), max(0, int(y) - half)
        return pixels[bottom : int(y) + half + 1, left : int(x) + half + 1], self.about

    def _spectrum(self) -> dict[str, str]:
        header = self.found.header
        _, y, x = self.found.brightest
        region = self.region
        at_peak = np.full(header.n_chan, np.nan)
        total = np.full(header.n_chan, np.nan)
        with image_file.ImageFile(self.shown) as image:
            for channel in range(header.n_chan):
                values, valid = image.plane(channel)
                inside = valid[region]
                if valid[y, x]:
                    at_peak[channel] = values[y, x]
                if inside.any():
                    total[channel] = values[region][inside].sum()
        second = None
        if self.about.beam and region.any():
            area = metrics.beam_area_pixels(
                self.about.beam[0], self.about.beam[1], self.numbers["cell_arcsec"]
            )
            number = int(np.count_nonzero(region))
            second = (total / area, f"sum over {number} pixels above 5 sigma in some channel")
        path = sky.spectrum(
            self.folder / "spectrum.png", _spectral_axis(header),
            (at_peak, "brightest pixel"), second, self.found.rms,
        )  # fmt: skip
        return plot("image", path, "Spectrum", "Not corrected for the primary beam.")

    @cached_property
    def region(self) -> Bools:
        """Where a cube is above 5 sigma in some channel; shape (n_y, n_x)."""
        header, sigma = self.found.header, self.found.noise
        region = np.zeros((header.n_y, header.n_x), bool)
        if sigma:
            with image_file.ImageFile(self.shown) as image:
                for channel in np.flatnonzero(self.found.peak > 5 * sigma):
                    values, valid = image.plane(int(channel))
                    region |= valid & (values > 5 * sigma)
        return region

    def _box(self) -> tuple[int, int, int, int] | None:
        """Return the pixels (left, bottom, right, top) around all that is above 5 sigma."""
        if not self.region.any():
            return None
        # Quantiles: a few stray pixels far out should not make the source small.
        y, x = (np.quantile(axis, (0.1, 0.5, 0.9)) for axis in np.nonzero(self.region))
        n_y, n_x = self.region.shape
        half = max(20, int(1.5 * max(x[2] - x[0], y[2] - y[0])))
        middle_x, middle_y = int(x[1]), int(y[1])
        return (
            max(0, middle_x - half), max(0, middle_y - half),
            min(n_x, middle_x + half), min(n_y, middle_y + half),
        )  # fmt: skip

    def _viewer(self) -> dict[str, str] | None:
        """Write what the report's image viewer shows, where the recipe wants one."""
        most_bytes = viewer_data.most_bytes(self.params)
        if not most_bytes:
            return None
        layers = [Layer("image", "image", self.shown)]
        if self.beside["residual"] != self.shown:
            unit = self.found.header.unit  # CASA leaves it out
            layers.append(Layer("residual", "residual", self.beside["residual"], unit=unit))
        layers += [
            Layer("model", "model", self.beside["model"]),
            Layer("mask", "mask", self.beside["mask"], "mask"),
            Layer("pb", "primary beam", self.beside["pb"], "smooth"),
            *(Layer(f"mom{number}", f"moment {number}", path) for number, path in self.moments),
        ]
        about = {
            "title": f"{self.params['target']} {self.params['image']}",
            "noise": self.found.noise,
            "peak": self.found.highest,
            "beam": self.about.beam,
            "sources": catalogue.ellipses(self.numbers),
        }
        made = viewer_images.write(
            self.folder / "viewer", layers, self.found.header, self.channel, about, most_bytes
        )
        what = ", ".join(layer.title for layer in layers if Path(layer.path).exists())
        return plot("image-viewer", made, "Look closer: values under the pointer", what)

    @property
    def moments(self) -> list[tuple[int, str]]:
        """Orders and paths of the moment maps that were made."""
        prefix = self.params.get("moment_prefix") or self.params["prefix"]
        wanted = [(int(n), f"{prefix}.mom{n}") for n in self.params.get("moments") or ()]
        return [(number, path) for number, path in wanted if Path(path).exists()]

    def _channel_maps(self) -> dict[str, str] | None:
        """Draw the channels that hold emission, in one scale."""
        sigma, peak = self.found.noise, self.found.highest
        box = self._box()
        if not sigma or not peak or box is None:
            return None
        left, bottom, right, top = box
        axis, name = _spectral_axis(self.found.header)
        numbers = channel_maps.chosen(self.found.peak, sigma)
        with Beside(self.shown) as image:
            planes = [image.pixels(number) for number in numbers]
        shown = [
            channel_maps.Channel(plane[bottom:top, left:right], f"{axis[number]:.1f}")
            for number, plane in zip(numbers, planes, strict=True)
            if plane is not None
        ]
        cell = self.numbers["cell_arcsec"]
        beam = self.about.beam
        path = channel_maps.draw(
            self.folder / "channels.png", shown, (-3 * sigma, peak),
            (beam[0] / cell, beam[1] / cell, beam[2]) if beam else None,
        )  # fmt: skip
        every = "" if len(numbers) < 2 or numbers[1] - numbers[0] == 1 else (
            f" One channel in {numbers[1] - numbers[0]} is shown.")  # fmt: skip
        return plot("image", path, "Channel maps",
                    f"On each its {name}. Colours run from -3 sigma to the cube's peak; white "
                    f"ellipse: synthesized beam.{every} Not corrected for the primary "
                    "beam.")  # fmt: skip

    def _moments(self) -> dict[str, str] | None:
        drawn = []
        for number, path in self.moments:
            with image_file.ImageFile(path) as image:
                values, valid = image.plane()
                pixels = np.where(valid, values, np.nan)
                drawn.append(sky.moment_map(number, pixels, image.header.unit))
        if not drawn:
            return None
        made = sky.maps(self.folder / "moments.png", self.about, drawn, self._box())
        return plot("image", made, "Moments", "Not corrected for the primary beam.")


def _if_it_falls(response: Floats) -> Floats | None:
    """Return a primary beam that falls below a half within the image, else None."""
    good = response[np.isfinite(response) & (response > 0)]
    return response if good.size and float(good.min()) < 0.5 < float(good.max()) else None


def _spectral_axis(header: image_file.ImageHeader) -> tuple[Floats, str]:
    """Return velocities where there is a rest frequency, else frequencies."""
    if header.rest_hz > 0:
        velocity = metrics.radio_velocity_km_s(header.frequencies_hz, header.rest_hz)
        return velocity, f"radio velocity (km/s, {header.spectral_frame})"
    return header.frequencies_hz / 1e6, f"frequency (MHz, {header.spectral_frame})"
