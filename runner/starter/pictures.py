"""The sections of a starter recipe on continuum subtraction and images."""

from __future__ import annotations

from collections.abc import Sequence

from ..heuristics import edge_channels
from ..observation import SpectralWindow
from .images import Cube, Setup
from .lines import km_s, line_in
from .page import Page
from .toml import comment, pattern, string, strings


def contsub(page: Page) -> list[str]:
    """Return the lines of ``[contsub]``; none where no window looks like that of a line."""
    free = [one.fitspec for one in page.setups if one.cubes]
    if not free:
        return []
    lines = ["[contsub]"]
    lines += page.doubt(
        "fitspec is a guess: the channels to both sides of the middle of each window. Only you "
        "know where the line is: look at the spectrum in the report of a first run"
    )
    if len(set(free)) > 1:
        lines += page.doubt("the targets have different windows, but there is one fitspec")
    return [*lines, f"fitspec  = {string(free[0])}", "fitorder = 0"]


def images(page: Page) -> list[list[str]]:
    """Return the lines of each ``[[image]]``."""
    found: list[list[str]] = []
    for number, one in enumerate(page.setups, 1):
        suffix = f"-{number}" if len(page.setups) > 1 else ""
        found += [_continuum(page, one, band, suffix) for band in one.bands]
        found += [_cube(page, cube, one, suffix) for cube in one.cubes]
        if one.possible and not one.cubes:
            found.append(_possible(one, _only(page, one)))
    return found


def _only(page: Page, one: Setup) -> list[str]:
    """Return the key that restricts an image to its targets, where there are others."""
    if len(page.setups) < 2:
        return []
    return [f"targets     = {strings(pattern(name) for name in one.targets)}"]


def _continuum(page: Page, one: Setup, band: tuple[SpectralWindow, ...], suffix: str) -> list[str]:
    centre_hz = sum(spw.centre_hz for spw in band) / len(band)
    several = len(one.bands) > 1
    name = f"continuum-{centre_hz / 1e9:.3g}GHz{suffix}" if several else f"continuum{suffix}"
    why = "the channels of fitspec: continuum without the line" if one.cubes else "one of the bands"
    channels = one.continuum(band)
    return [
        "[[image]]",
        f"name        = {string(name)}",
        *_only(page, one),
        *([*comment(why), f"spw         = {string(channels)}"] if channels else []),
        *_size(page, name),
        'weighting   = "briggs"',
        "robust      = 0.5",
        'threshold   = "3sigma"',
        "niter       = 10000",
        'mask        = "auto-multithresh"',
    ]


def _size(page: Page, image: str) -> list[str]:
    """Return the lines of what `auto` chooses for an image, each after what it chooses."""
    keys = ("imsize", "cell", "gridder", "deconvolver")
    return [
        line
        for key in keys
        for line in (*page.chosen_for(f"image.{key}", image), f'{key:11} = "auto"')
    ]


def _cube(page: Page, cube: Cube, one: Setup, suffix: str) -> list[str]:
    name = f"{cube.name}{suffix}"
    hertz = cube.line.rest_hz if cube.line else cube.spw.centre_hz
    several = len(one.spws) > 1
    return [
        *page.doubt(cube.doubt),
        "[[image]]",
        f"name        = {string(name)}",
        *_only(page, one),
        'specmode    = "cube"',
        'from        = "contsub"',
        *([f'spw         = "{cube.spw.id}"'] if several else []),
        f'restfreq    = "{hertz / 1e6:.10g}MHz"',
        *_channels(cube, calibrated=page.calibrated),
        *_size(page, name),
        'weighting   = "briggs"',
        "robust      = 0.5",
        'threshold   = "3.5sigma"',
        "niter       = 10000",
        "moments     = [0, 1]",
    ]


def _channels(cube: Cube, *, calibrated: bool) -> list[str]:
    """Return the channels of a cube: those that are not flagged as the band's edges."""
    edge = 0 if calibrated else int(edge_channels(cube.spw).value)
    if not edge:
        return comment("start, nchan and width choose channels; left out, all are imaged")
    return [
        *comment("all channels but those that flag.edge takes"),
        f"start       = {edge}",
        f"nchan       = {cube.spw.n_chan - 2 * edge}",
    ]


def _possible(one: Setup, only: Sequence[str]) -> list[str]:
    """Return an image in comments: of a wide window that could show a line."""
    spw = one.possible[0]
    found = line_in(spw)
    line = found[0] if found else None
    width = km_s(abs(spw.chan_width_hz), spw.centre_hz)
    hertz = line.rest_hz if line else spw.centre_hz
    text = [
        "[[image]]",
        f"name     = {string(line.name if line else f'line{spw.id}')}",
        *only,
        'specmode = "cube"',
        f'spw      = "{spw.id}"',
        f'restfreq = "{hertz / 1e6:.10g}MHz"',
        f"start    = {spw.n_chan // 2 - 30}",
        "nchan    = 60",
    ]
    said = (
        f"spw {spw.id} has {spw.n_chan} channels of {width:.3g} km/s: a line in it could be made "
        'into a cube (with from = "contsub" and a [contsub], without the continuum):'
    )
    return [*comment(said), *(f"# {line_}" for text_ in text for line_ in text_.splitlines())]
