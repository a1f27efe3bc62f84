"""Measure products and plot them: what the engine's QA steps call, inside a worker.

Each function takes its parameters as data, works in the current folder, writes JSON and
PNGs, and returns what it wrote. Paths of plots in the JSON are relative to ``qa/``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..cubes.chain import Cube
from ..files import write_atomic
from . import cubes, datasets, images

Params = Mapping[str, Any]


def measure_dataset(params: Params) -> dict[str, Any]:
    """Measure flags, calibration tables and flux scale of a dataset, and plot its data.

    Parameters
    ----------
    params : mapping
        ``dataset`` (name), ``ms`` (the calibrated working MS), ``caltables`` (list of
        ``{"path", "kind"}``), ``fluxscale`` (path of what CASA's fluxscale returned, as
        JSON; empty for none), ``calibrator_spws`` (calibrators' field ids to the spectral
        windows in which they were observed), ``places`` (right ascension and declination of
        calibrators by name, degrees), ``fields`` (role to ids or names; the role
        ``target`` or ``targets`` marks targets), ``data`` (JSON to write), ``plots`` (folder
        for PNGs).

    Returns
    -------
    dict
        What was written to ``data``.

    Raises
    ------
    DataError
        If the MS or a table cannot be read.
    """
    result = datasets.measure(params)
    return _write(result, params["data"])


def measure_noise(params: Params) -> dict[str, Any]:
    """Measure the noise of a dirty image, for thresholds.

    Parameters
    ----------
    params : mapping
        ``image`` (CASA image), ``pb`` (primary beam image, or empty), ``mask`` (or empty),
        ``out`` (JSON to write, or empty).

    Returns
    -------
    dict
        ``rms_jy_per_beam`` (of a cube: the median over channels), ``peak_jy_per_beam``,
        ``method``, ``per_channel`` (list), ``pixels``.

    Raises
    ------
    StepFailedError
        If the noise cannot be measured: then there is no threshold to clean to.
    """
    result = images.noise(params)
    return _write(result, params.get("out", ""))


def measure_image(params: Params) -> dict[str, Any]:
    """Measure and plot a cleaned image or cube.

    Parameters
    ----------
    params : mapping
        ``target``, ``image`` (the recipe's name), ``prefix`` (``images/N5921_2.hi``),
        ``specmode``, ``nterms`` (above 1: names end in ``.tt0``), ``fits``, ``moments``
        (list of int), ``niter`` (0: nothing was to be cleaned), ``data`` (JSON to write),
        ``plots`` (folder for PNGs).

    Returns
    -------
    dict
        What was written to ``data``.

    Raises
    ------
    DataError
        If the image cannot be read.
    """
    result = images.measure(params)
    return _write(result, params["data"])


def measure_cube(params: Params, cube: Cube, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Measure and plot what was made of a cube.

    Parameters
    ----------
    params : mapping
        ``target``, ``image`` (the name of the ``[[cube]]``), ``of`` (what it was made from),
        ``done`` (what was done, in words), ``products`` (paths), ``fits`` (path, or empty),
        ``displayed`` (image whose spectrum is shown), ``moments`` (images by moment), ``masked``,
        ``stats``, ``data`` (JSON to write), ``plots`` (folder for PNGs).
    cube : Cube
        The result: shape, axes, beams.
    rows : list of dict
        The numbers of its channels.

    Returns
    -------
    dict
        What was written to ``data``.
    """
    return _write(cubes.measure(params, cube, rows), params["data"])


def _write(content: dict[str, Any], path: str) -> dict[str, Any]:
    """Write JSON in one move, so that a killed worker leaves no half a file."""
    if path:
        text = json.dumps(content, indent=1, allow_nan=False) + "\n"
        write_atomic(Path(path), text, durable=False)
    return content
