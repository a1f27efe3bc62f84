"""Run folders without a run: from nothing, or as variations of a real one."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from casarun.folder import RunFolder
from casarun.qa.verdict import assemble
from scipy.ndimage import gaussian_filter

BMAJ_PIXELS = 5.0
CELL_DEG = 10 / 3600
RECIPE: dict[str, Any] = {
    "casarun": 1,
    "dataset": [{"name": "day1", "vis": "day1.ms"}],
    "targets": {"fields": ["NGC1"]},
    "calibrate": {"refant": "auto"},
    "image": [{"name": "continuum", "robust": 0.5}],
}
LIMITS = {"max_flagged_fraction": 0.5, "min_dynamic_range": 20.0}


@dataclass(frozen=True)
class Sky:
    """What an image shows: Gaussians of the synthesized beam's size, and noise.

    Attributes
    ----------
    sources : tuple
        Each (x, y, Jy/beam); pixels count from 0 and may be fractions.
    noise_jy : float
        Sigma of the noise, which is seen with the synthesized beam.
    seed : int
        Of the noise.
    n_pixels, n_chan : int
        Size.
    beam_pixels : float
        FWHM of the circular synthesized beam.
    source_pixels : float
        FWHM of the sources on the sky; 0 for points. Their brightness is that of a point of
        the same flux density, in Jy.
    offset_pixels : tuple of int
        By how many pixels the grid begins elsewhere on the same sky.
    """

    sources: tuple[tuple[float, float, float], ...] = ((40.0, 60.0, 0.1), (80.3, 50.7, 0.04))
    noise_jy: float = 1e-3
    seed: int = 1
    n_pixels: int = 128
    n_chan: int = 1
    offset_pixels: tuple[int, int] = (0, 0)
    beam_pixels: float = BMAJ_PIXELS
    source_pixels: float = 0.0

    def pixels(self) -> Any:
        """Return the image, shape (channels, 1, y, x)."""
        y, x = np.mgrid[: self.n_pixels, : self.n_pixels]
        sky = np.zeros((self.n_pixels, self.n_pixels))
        seen_pixels = np.hypot(self.beam_pixels, self.source_pixels)
        share = (self.beam_pixels / seen_pixels) ** 2
        for at_x, at_y, peak in self.sources:
            square = (x - at_x + self.offset_pixels[0]) ** 2 + (
                y - at_y + self.offset_pixels[1]
            ) ** 2
            sky += peak * share * np.exp(-4 * np.log(2) * square / seen_pixels**2)
        white = np.random.default_rng(self.seed).normal(size=(self.n_chan, 1, *sky.shape))
        width = self.beam_pixels / np.sqrt(8 * np.log(2))
        seen = gaussian_filter(white, (0, 0, width, width), mode="wrap")
        noise = seen * (self.noise_jy / seen.std())
        return (sky + noise).astype(np.float32)

    def write(self, path: Path, unit: str = "Jy/beam") -> None:
        """Write the image as CASA's exportfits does."""
        made = fits.PrimaryHDU(
            self.pixels().transpose(1, 0, 2, 3) if self.n_chan > 1 else self.pixels()
        )
        header = made.header
        axes = [("RA---SIN", 230.0, -CELL_DEG), ("DEC--SIN", 5.0, CELL_DEG), ("STOKES", 1.0, 1.0),
                ("FREQ", 1.4e9, 25e3)]  # fmt: skip
        if self.n_chan > 1:
            axes = [axes[0], axes[1], axes[3], axes[2]]
        for number, (kind, value, step) in enumerate(axes, 1):
            header[f"CTYPE{number}"], header[f"CRVAL{number}"] = kind, value
            header[f"CDELT{number}"], header[f"CRPIX{number}"] = step, 1.0
        for number, offset in enumerate(self.offset_pixels, 1):
            header[f"CRPIX{number}"] = self.n_pixels // 2 + 1.0 - offset
        header["BUNIT"], header["RADESYS"], header["EQUINOX"] = unit, "FK5", 2000.0
        header["BMAJ"] = header["BMIN"] = self.beam_pixels * CELL_DEG
        header["BPA"] = 0.0
        path.parent.mkdir(parents=True, exist_ok=True)
        made.writeto(path, overwrite=True)


@dataclass(frozen=True)
class Story:
    """What a synthetic run is to be.

    Attributes
    ----------
    images : mapping
        By (target, image).
    cubes : mapping
        What was made of cubes, by (target, name): unit and image.
    dataset : str
        Its one dataset.
    flagged, flux_jy : float
        Of the dataset, and of its phase calibrator.
    state : str
        As in ``status.json``; ``died`` for running without a process.
    limits : mapping
        Of the verdict.
    observed_mjd_s : float
        When the dataset begins.
    day : int
        On which day of January 2026 it was run.
    recipe : mapping
        The recipe as run.
    steps : tuple
        Of the plan, over those that make the images.
    """

    images: Mapping[tuple[str, str], Sky] = field(
        default_factory=lambda: {("NGC1", "continuum"): Sky()}
    )
    cubes: Mapping[tuple[str, str], tuple[str, Sky]] = field(default_factory=dict)
    dataset: str = "day1"
    flagged: float = 0.2
    flux_jy: float = 2.5
    state: str = "done"
    limits: Mapping[str, float] = field(default_factory=lambda: LIMITS)
    observed_mjd_s: float = 4304481524.0
    day: int = 1
    recipe: Mapping[str, Any] = field(default_factory=lambda: RECIPE)
    steps: tuple[dict[str, Any], ...] = ()


def put(path: Path, data: Any) -> None:
    """Write JSON, or text, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(data if isinstance(data, str) else json.dumps(data))


def make(root: Path, story: Story | None = None) -> RunFolder:
    """Write a run folder."""
    story = story or Story()
    folder = RunFolder(root)
    put(folder.journal, "")
    put(folder.status, _status(story))
    put(folder.plan, _plan(story))
    put(folder.recipe, story.recipe)
    put(root / "scripts" / "recipe.toml", "casarun = 1\n")
    put(root / "raw" / f"{story.dataset}.observation.json", {"start_mjd_s": story.observed_mjd_s})
    if story.state in ("running", "died"):
        return folder
    about = _about(story)
    images = [_measured(root, target, name, sky) for (target, name), sky in story.images.items()]
    datasets = {story.dataset: _dataset(story)}
    metrics = assemble(datasets, images, story.limits)
    put(folder.metrics, metrics | {"run": about, "cubes": _cubes(root, story)})
    put(root / "docs" / "run.json", about | {"steps": {}})
    put(folder.report, "<!DOCTYPE html>")
    return folder


def _status(story: Story) -> dict[str, Any]:
    return {
        "state": "running" if story.state == "died" else story.state,
        "host": os.uname().nodename, "pid": 2**22 + 1 if story.state == "died" else os.getpid(),
        "started": _time(story.day), "updated": _time(story.day),
        "counts": {"total": 12, "done": 7, "skipped": 1, "running": 1},
    }  # fmt: skip


def _about(story: Story) -> dict[str, Any]:
    return {
        "name": "synthetic", "title": "A synthetic run", "state": story.state,
        "started": _time(story.day), "ended": _time(story.day, 90),
        "versions": {"casarun": "0.1.0", "casatasks": "6.7.0.31"},
    }  # fmt: skip


def _time(day: int, seconds: int = 0) -> str:
    when = datetime(2026, 1, 1, 12, tzinfo=UTC) + timedelta(days=day - 1, seconds=seconds)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _plan(story: Story) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [*story.steps]
    for target, name in story.images:
        vis = f"calibrated/{story.dataset}.{target}.ms"
        steps += [
            step(f"{story.dataset}.split.{target}", "casa:split", {}, dataset=story.dataset,
                  target=target, writes=[vis]),
            step(f"{target}.{name}.clean", "clean", {"tclean": {"niter": 100}}, target=target,
                  image=name, reads=[vis]),
        ]  # fmt: skip
    return {
        "plan_version": 1,
        "versions": {},
        "inputs": {},
        "autos": [],
        "notes": [],
        "steps": steps,
    }


def step(name: str, action: str, params: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "id": name, "stage": "image", "title": name, "action": action, "params": dict(params),
        "reads": [], "writes": [], "updates": [], "dataset": "", "target": "", "image": "",
        "fingerprint": name, **changes,
    }  # fmt: skip


def _measured(root: Path, target: str, name: str, sky: Sky) -> dict[str, Any]:
    path = f"images/{target.replace('/', '_')}.{name}.fits"
    sky.write(root / path)
    peak = float(sky.pixels().max())
    beam = sky.beam_pixels * CELL_DEG * 3600
    return {
        "kind": "image", "target": target, "image": name, "fits": path, "plots": [],
        "specmode": "cube" if sky.n_chan > 1 else "mfs", "peak_jy_per_beam": peak,
        "rms_noise_jy_per_beam": sky.noise_jy, "dynamic_range": peak / sky.noise_jy,
        "bmaj_arcsec": beam, "bmin_arcsec": beam, "bpa_deg": 0.0, "cell_arcsec": CELL_DEG * 3600,
        "shape": [sky.n_pixels, sky.n_pixels, 1, sky.n_chan], "cleaned": True,
    }  # fmt: skip


def _cubes(root: Path, story: Story) -> dict[str, Any]:
    found = {}
    for (target, name), (unit, sky) in story.cubes.items():
        path = f"images/{target}.{name}.fits"
        sky.write(root / path, unit)
        found[f"{target}.{name}"] = {
            "target": target, "image": name, "of": "line", "done": ["smoothed"], "products": [],
            "fits": path, "shape": [sky.n_pixels, sky.n_pixels, 1, sky.n_chan], "unit": unit,
            "rms_noise": sky.noise_jy, "peak": float(sky.pixels().max()), "peak_channel": 1,
        }  # fmt: skip
    return found


def _dataset(story: Story) -> dict[str, Any]:
    field_ = {target: story.flagged for target, _ in story.images}
    return {
        "flagged_fraction": {"total": story.flagged, "field": field_,
                             "antenna": {"ea01": story.flagged, "ea02": story.flagged},
                             "spw": {"0": story.flagged}},
        "fluxscale": {"flux_jy": {"phasecal": {"0": story.flux_jy}},
                      "error_jy": {"phasecal": {"0": 0.01}},
                      "solutions": {"phasecal": {"0": 27}}},
        "caltables": [], "target_fields": [],
    }  # fmt: skip


def variation(real: Path, root: Path, seed: int) -> RunFolder:
    """Make a run folder like a real one, with numbers that vary; its FITS files are links (hard).

    Of the real run's products only those are there that a dashboard looks at, and its logs.
    """
    chance = random.Random(seed)
    for name in ("scripts", "docs", "logs", "qa"):
        shutil.copytree(real / name, root / name, copy_function=_link)
    for path in (
        *real.glob("raw/*.json"),
        *real.glob(".casarun/*.json*"),
        *real.glob("images/*.fits"),
    ):
        (root / path.relative_to(real)).parent.mkdir(parents=True, exist_ok=True)
        _link(path, root / path.relative_to(real))
    folder = RunFolder(root)
    metrics = json.loads(folder.metrics.read_text())
    _vary(metrics["images"], lambda value: value * chance.gauss(1, 0.03))
    when = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(days=seed)
    for key in ("started", "ended"):
        metrics["run"][key] = when.isoformat()
        when += timedelta(seconds=chance.uniform(40, 60))
    folder.metrics.unlink()
    put(folder.metrics, metrics)
    return folder


def _link(source: str | Path, target: str | Path) -> None:
    os.link(source, target)


def _vary(data: dict[str, Any], change: Callable[[float], float]) -> None:
    for key, value in data.items():
        if isinstance(value, dict):
            _vary(value, change)
        elif isinstance(value, float):
            data[key] = change(value)
