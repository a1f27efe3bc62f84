"""The step that begins with a cube: what it is, whether it can be done, on which grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from ..casa import cube_image
from ..casa.cube_file import CubeFile
from ..casa.image_file import ImageHeader
from ..cubes.beams import Beam
from ..cubes.chain import Chain, Cube
from ..cubes.spectral import Axis
from ..errors import Cause, DataError, StepFailedError
from ..files import read_json, write_product

Params = Mapping[str, Any]

SETUP: Final = "setup.json"
HEADER: Final = "header.image"
MAP: Final = "pixels.npy"

_LINEAR: Final = 1e-3
"""Channels may be off a linear axis by this fraction of one."""


def inspect(params: Params) -> dict[str, Any]:
    """Write what a cube of the user's is: shape, axes, beams.

    Parameters
    ----------
    params : mapping
        ``cube`` (its path), ``out`` (JSON to write).

    Raises
    ------
    StepFailedError
        If it is no cube that can be processed.
    """
    with _opened(str(params["cube"])) as cube:
        about = cube_of(cube.header)
    write_product(params["out"], about.to_json())
    return {"n_chan": about.axis.n_chan, "n_x": about.n_x, "n_y": about.n_y}


def begin(params: Params) -> dict[str, Any]:
    """Hold what is asked for against the cube, and lay out the result.

    Parameters
    ----------
    params : mapping
        ``cube`` (its path), ``settings`` (see `Chain`), ``template`` (an image, or empty),
        ``memory_bytes`` (the bound of a step), ``out`` (folder to write: `SETUP`, `HEADER` and,
        with a template, `MAP`).

    Raises
    ------
    StepFailedError
        With the key, where they do not fit.
    """
    out = Path(params["out"])
    out.mkdir(parents=True)
    with _opened(str(params["cube"])) as cube:
        chain = Chain(cube_of(cube.header), params["settings"])
        frame = cube.header.spectral_frame
    if chain.part("smooth").get("beam") == "common" and chain.source.beams:
        chain = replace(chain, common=_common(str(params["cube"]), chain.source))
    if params.get("template"):
        chain = replace(chain, template=_template(str(params["template"]), frame))
    wrong = chain.problems(float(params["memory_bytes"]))
    if wrong:
        key = ".".join(("cube", str(params["settings"]["name"]), *wrong[0].key))
        raise StepFailedError(Cause.PARAMETER, f"{key}: {wrong[0].message}")
    _lay_out(chain, params, out)
    write_product(out / SETUP, to_json(chain))
    return {
        "shape": [*chain.shape[::-1], chain.axis.n_chan],
        "beams": [asdict(beam) for beam in chain.result_beams[:1]],
        "channels_at_once": chain.at_once(float(params["memory_bytes"])),
    }


def _opened(path: str) -> CubeFile:
    try:
        return CubeFile(path)
    except DataError as error:
        raise StepFailedError(Cause.PARAMETER, str(error)) from error


def cube_of(header: ImageHeader) -> Cube:
    """Return a cube from an image's header.

    Raises
    ------
    StepFailedError
        If its channels are not evenly spaced.
    """
    hertz = header.frequencies_hz
    step = float(hertz[-1] - hertz[0]) / (len(hertz) - 1) if len(hertz) > 1 else 0.0
    if len(hertz) > 2:
        linear = hertz[0] + step * np.arange(len(hertz))
        if step == 0 or float(np.abs(linear - hertz).max()) > _LINEAR * abs(step):
            raise StepFailedError(
                Cause.PARAMETER,
                f"{header.path}: its channels are not evenly spaced in frequency",
                "Regrid it with imregrid or mstransform first.",
            )
    first = float(hertz[0]) if len(hertz) else 0.0
    return Cube(
        header.n_x,
        header.n_y,
        Axis(header.n_chan, first, step or 1.0, header.rest_hz),
        (header.increment_deg[0] * 3600, header.increment_deg[1] * 3600),
        tuple(Beam(*beam) for beam in header.beams),
        header.unit,
    )


def _common(path: str, cube: Cube) -> Beam:
    """Return the common beam; of a cube with one, that."""
    if len(cube.beams) == 1:
        return cube.beams[0]
    return Beam(*cube_image.common_beam(path))


def _template(path: str, frame: str) -> dict[str, Any]:
    """Return the grid of another image; its spectral axis where it has more than a channel.

    Raises
    ------
    StepFailedError
        If that is of another frame than the cube's.
    """
    with _opened(path) as image:
        about = cube_of(image.header)
        other = image.header.spectral_frame
    if about.axis.n_chan > 1 and other != frame:
        raise StepFailedError(
            Cause.PARAMETER,
            f"{path}: its frequencies are {other}, the cube's {frame}; a grid must be of one frame",
            "Convert one of them with imreframe.",
        )
    axis = asdict(about.axis) if about.axis.n_chan > 1 else None
    return {
        "n_x": about.n_x,
        "n_y": about.n_y,
        "axis": axis,
        "cell_arcsec": list(about.cell_arcsec),
    }


def _lay_out(chain: Chain, params: Params, out: Path) -> None:
    """Write the empty plane that has the result's coordinates, and where its pixels are."""
    cube, axis = str(params["cube"]), chain.axis
    same = axis == chain.source.axis
    try:
        cube_image.write_header(
            cube,
            out / HEADER,
            chain.shape,
            None if same else (axis.first_hz, axis.step_hz),
            chain.factors[0],
            str(params.get("template") or ""),
            rows_of(chain.result_beams) if len(chain.result_beams) == 1 else (),
        )
    except DataError as error:
        raise StepFailedError(Cause.PARAMETER, str(error)) from error
    if chain.template:
        x, y = cube_image.pixel_map(out / HEADER, cube, chain.factors[0])
        np.save(out / MAP, np.array([x, y]))


def rows_of(beams: tuple[Beam, ...]) -> list[tuple[float, float, float]]:
    """Return beams as rows of numbers."""
    return [(beam.major_arcsec, beam.minor_arcsec, beam.pa_deg) for beam in beams]


def to_json(chain: Chain) -> dict[str, Any]:
    """Return a chain as plain data."""
    return {
        "source": chain.source.to_json(),
        "settings": dict(chain.settings),
        "common": None if chain.common is None else asdict(chain.common),
        "template": dict(chain.template),
    }


def read(folder: Path) -> Chain:
    """Read the chain that `begin` wrote."""
    data = read_json(folder / SETUP)
    common = data["common"]
    return Chain(
        Cube.from_json(data["source"]),
        data["settings"],
        None if common is None else Beam(**common),
        data["template"],
    )
