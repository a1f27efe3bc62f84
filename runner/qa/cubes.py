"""What was made of a cube, in numbers and plots: noise by channel, a spectrum, moment maps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..casa import image_file
from ..casa.cube_file import CubeFile
from ..cubes.chain import Cube
from . import sky, viewer_data, viewer_images
from .datasets import plot
from .images import sky_of
from .metrics import put
from .viewer_images import Layer

Floats = npt.NDArray[np.float64]
Params = Mapping[str, Any]

DRAWN_PIXELS: Final = 2_000_000
"""Pixels of a map that are drawn at most."""

_MAPS: Final = 3
"""Moment maps in a row."""


def measure(params: Params, cube: Cube, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Measure and plot what was made of a cube; see `collect.measure_cube`.

    Parameters
    ----------
    params : mapping
        Of `collect.measure_cube`.
    cube : Cube
        The result: shape, axes, beams.
    rows : list of dict
        The numbers of its channels.
    """
    numbers: dict[str, Any] = {
        "kind": "cube",
        "target": params["target"],
        "image": params["image"],
        "of": params["of"],
        "products": list(params["products"]),
        "fits": params["fits"],
        "shape": [cube.n_x, cube.n_y, 1, cube.axis.n_chan],
        "done": list(params["done"]),
    }
    _beam(numbers, cube)
    _brightness(numbers, cube, rows)
    folder = Path(params["plots"])
    folder.mkdir(parents=True, exist_ok=True)
    drawn = [_channels(params, cube, rows, folder)] if len(rows) > 1 and params["stats"] else []
    numbers["plots"] = [*_moments(params, cube, folder), *drawn, *_viewer(params, numbers, folder)]
    return numbers


def _viewer(params: Params, numbers: Mapping[str, Any], folder: Path) -> Iterator[dict[str, str]]:
    """Write what the report's image viewer shows of the cube, where the recipe wants one."""
    most_bytes = viewer_data.most_bytes(params)
    if not most_bytes:
        return
    layers = [
        Layer("image", "cube", str(params["displayed"])),
        *([Layer("mask", "mask", str(params["mask"]), "mask")] if params.get("mask") else []),
        *(Layer(f"mom{n}", f"moment {n}", path) for n, path in params["moments"].items()),
    ]
    with CubeFile(params["displayed"]) as file:
        header = file.header
    brightest = min(numbers["peak_channel"] or 0, header.n_chan - 1)
    beam = [numbers[key] for key in ("bmaj_arcsec", "bmin_arcsec", "bpa_deg")]
    about = {
        "title": f"{params['target']} {params['image']}".strip(),
        "noise": numbers["rms_noise"],
        "peak": numbers["peak"],
        "beam": None if None in beam else beam,
    }
    made = viewer_images.write(
        folder / "viewer", layers, header, brightest, about, most_bytes, viewer_images.Banded
    )
    what = ", ".join(layer.title for layer in layers)
    yield plot("cube-viewer", made, "Look closer: values under the pointer", what)


def _beam(numbers: dict[str, Any], cube: Cube) -> None:
    beams = sorted(
        (beam for beam in cube.beams if beam.major_arcsec > 0), key=lambda one: one.area_arcsec2
    )
    middle = beams[len(beams) // 2] if beams else None
    for key, name in (
        ("bmaj_arcsec", "major_arcsec"),
        ("bmin_arcsec", "minor_arcsec"),
        ("bpa_deg", "pa_deg"),
    ):
        value = None if middle is None else float(getattr(middle, name))
        put(numbers, key, value, "the cube has no synthesized beam")
    numbers["beams_differ_by_channel"] = len(cube.beams) > 1


def _column(rows: list[dict[str, Any]], name: str) -> Floats:
    return np.array([math.nan if row.get(name) is None else row[name] for row in rows], float)


def _brightness(numbers: dict[str, Any], cube: Cube, rows: list[dict[str, Any]]) -> None:
    reason = "the channels were not measured: stats = false"
    noise, peak = _column(rows, "noise"), _column(rows, "max")
    finite, high = noise[np.isfinite(noise)], peak[np.isfinite(peak)]
    put(numbers, "rms_noise", float(np.median(finite)) if finite.size else None, reason)
    put(numbers, "peak", float(high.max()) if high.size else None, reason)
    numbers["unit"] = cube.unit
    numbers["peak_channel"] = int(np.nanargmax(peak)) if high.size else None
    flux = _column(rows, "flux_in_mask_jy")
    if rows and "flux_in_mask_jy" in rows[0]:
        total = None
        if cube.axis.rest_hz > 0 and np.isfinite(flux).any():
            total = float(np.nansum(flux)) * cube.axis.width_km_s
        put(numbers, "line_flux_jy_km_s", total, "no rest frequency, or nothing in the mask")


def _channels(
    params: Params, cube: Cube, rows: list[dict[str, Any]], folder: Path
) -> dict[str, str]:
    """Draw noise by channel, and the spectrum at the brightest pixel and in all."""
    velocities = cube.axis.rest_hz > 0
    x = _column(rows, "velocity_km_s") if velocities else _column(rows, "frequency_hz") / 1e9
    label = "velocity (km/s, radio)" if velocities else "frequency (GHz)"
    peak = _column(rows, "max")
    brightest = rows[int(np.nanargmax(peak))] if np.isfinite(peak).any() else None
    spectrum = np.full(len(rows), math.nan)
    where = "nothing is bright"
    if brightest is not None:
        with CubeFile(params["displayed"]) as file:
            place = (int(brightest["max_x"]), int(brightest["max_y"]))
            if file.header.n_chan == len(rows):
                spectrum = file.spectrum(*place).astype(float)
                where = f"at the brightest pixel ({place[0]}, {place[1]})"
            else:
                spectrum, where = peak, "the largest pixel of each channel"
    masked = "flux_in_mask_jy" in rows[0]
    total = _column(rows, "flux_in_mask_jy" if masked else "flux_jy")
    what = "sum in the mask" if masked else "sum of all pixels"
    path = sky.spectrum(
        folder / "channels.png", (x, label), (spectrum, where),
        (total, what) if np.isfinite(total).any() else None, _column(rows, "noise"),
    )  # fmt: skip
    return plot("cube", path, "Spectrum and noise", "Grey: the noise of each channel, one sigma.")


def _moments(params: Params, cube: Cube, folder: Path) -> Iterator[dict[str, str]]:
    """Draw the moment maps, three to a row."""
    found = []
    for number, path in params["moments"].items():
        pixels, header = _thinned(path)
        found.append((sky.moment_map(int(number), pixels, header.unit), header))
    beam = cube.beams[0] if cube.beams else None
    for start in range(0, len(found), _MAPS):
        drawn = [one for one, _ in found[start : start + _MAPS]]
        row = None if beam is None else (beam.major_arcsec, beam.minor_arcsec, beam.pa_deg)
        about = sky_of(found[start][1], row)
        path = sky.maps(folder / f"moments{start or ''}.png", about, drawn)
        yield plot("cube", path, "Moments", _how(params))


def _thinned(path: str) -> tuple[Floats, image_file.ImageHeader]:
    """Return a plane, of a large one every few pixels, with the header of what is left."""
    with CubeFile(path) as file:
        header = file.header
        step = math.ceil(math.sqrt(header.n_x * header.n_y / DRAWN_PIXELS))
        band = step * max(1, 256 // step)
        rows = [
            file.read_rows(0, low, min(low + band, header.n_y))[::step, ::step]
            for low in range(0, header.n_y, band)
        ]
    pixels = np.concatenate(rows).astype(float)
    x, y = (place / step for place in header.reference_pixel)
    east, north = (size * step for size in header.increment_deg)
    left = replace(
        header, n_x=pixels.shape[1], n_y=pixels.shape[0], reference_pixel=(x, y),
        increment_deg=(east, north),
    )  # fmt: skip
    return pixels, left


def _how(params: Params) -> str:
    if params["masked"]:
        return "Of the pixels in the mask."
    if {1, 2, 9} & {int(number) for number in params["moments"]}:
        return "Velocities of the pixels above 3 times their channel's noise."
    return "Of all pixels."
