"""The images of a cube's ranges: joined into one, trimmed, and their common beam."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import Cause, StepFailedError
from ..files import copy_tree, read_json
from .config import configure
from .image_planes import open_image
from .invoke import plain


def frequencies_hz(path: Path | str) -> tuple[float, ...]:
    """Return the centres of an image's channels."""
    with open_image(Path(path)) as image:
        tool, n_chan = image.coordsys(), int(image.shape()[3])
        try:
            found = [tool.toworld([0, 0, 0, channel])["numeric"][3] for channel in range(n_chan)]
        finally:
            tool.done()
    return tuple(float(hertz) for hertz in found)


def prefixes(params: Mapping[str, Any]) -> list[str]:
    """Return the prefixes of the ranges' images that a step joins.

    Parameters
    ----------
    params : mapping
        ``parts``, the prefixes; or ``where``, JSON files that say them.
    """
    kept = [str(read_json(Path(path))["prefix"]) for path in params["where"]]
    return kept or list(params["parts"])


def join(parts: Sequence[Path], out: Path) -> None:
    """Join the images of ranges along the frequency axis.

    Parameters
    ----------
    parts : sequence of Path
        In the order of their channels.
    out : Path
        The image to make.

    Raises
    ------
    StepFailedError
        If CASA makes none.
    """
    if len(parts) == 1:  # CASA joins two at least
        copy_tree(parts[0], out)
        return
    configure()
    from casatools import image

    tool = image()
    try:
        tool.imageconcat(
            outfile=str(out), infiles=[str(path) for path in parts], axis=-1, mode="paged",
            overwrite=True,
        ).done()  # fmt: skip
    finally:
        tool.done()
    if not out.exists():
        raise StepFailedError(Cause.POSTCONDITION, f"CASA joined {len(parts)} ranges to no {out}")


def trim(source: Path, out: Path, first: int, last: int) -> None:
    """Write some channels of an image, both ends included, as an image of its own."""
    with open_image(source) as image:
        shape = [int(side) for side in image.shape()]
        blc, trc = [0, 0, 0, first], [shape[0] - 1, shape[1] - 1, shape[2] - 1, last]
        region = _box(blc, trc)
        made = image.subimage(outfile=str(out), region=region, dropdeg=False, overwrite=True)
        made.done()


def _box(blc: list[int], trc: list[int]) -> Any:
    from casatools import regionmanager

    tool = regionmanager()
    try:
        return tool.box(blc=blc, trc=trc)
    finally:
        tool.done()


def lost_planes(parts: Sequence[Path], joined: Path) -> list[int]:
    """Return the first and last channels of ranges that are not in the cube as they were.

    Parameters
    ----------
    parts : sequence of Path
        The ranges' images in order.
    joined : Path
        The cube.
    """
    lost, offset = [], 0
    with open_image(joined) as cube:
        for part in parts:
            with open_image(part) as image:
                n_chan = int(image.shape()[3])
                for channel in {0, n_chan - 1}:
                    here, there = _plane(image, channel), _plane(cube, offset + channel)
                    if not np.array_equal(here, there, equal_nan=True):
                        lost.append(offset + channel)
            offset += n_chan
    return sorted(lost)


def _plane(image: Any, channel: int) -> Any:
    end = [int(side) - 1 for side in image.shape()]
    return image.getchunk([0, 0, 0, channel], [*end[:3], channel])


def centres(path: Path | str) -> list[float]:
    """Return the middle pixel of each channel: a PSF's peak."""
    with open_image(Path(path)) as image:
        shape = [int(side) for side in image.shape()]
        x, y = shape[0] // 2, shape[1] // 2
        found = image.getchunk([x, y, 0, 0], [x, y, 0, shape[3] - 1])
    return [float(value) for value in np.ravel(found)]


def beams(path: Path | str) -> list[dict[str, Any]]:
    """Return the synthesized beams of an image as CASA's records, by channel and polarization.

    Returns
    -------
    list of dict
        A dictionary of records by polarization for each channel; the same for all channels of
        an image with one beam; none without a beam.
    """
    with open_image(Path(path)) as image:
        found, n_chan = plain(image.restoringbeam()), int(image.shape()[3])
    if "major" in found:
        return [{"*0": found}] * n_chan
    channels = found.get("beams", {})
    return [channels[f"*{number}"] for number in range(n_chan) if f"*{number}" in channels]


def common_beam(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the smallest beam that holds those of all channels: tclean's ``common``.

    Parameters
    ----------
    found : sequence of mapping
        Records of beams by polarization, for each channel; see `beams`.

    Returns
    -------
    list of str
        bmaj, bmin and bpa as tclean's `restoringbeam` takes them; empty where no channel has one.
    """
    good = [each for each in found if all(_sound(beam) for beam in each.values())]
    if not good:
        return []
    with _scratch_image(len(good), len(good[0])) as image:
        for channel, each in enumerate(good):
            for plane, (_, beam) in enumerate(sorted(each.items())):
                angle = beam.get("positionangle", beam.get("pa"))
                image.setrestoringbeam(
                    major=beam["major"], minor=beam["minor"], pa=angle, channel=channel,
                    polarization=plane,
                )  # fmt: skip
        common = plain(image.commonbeam())
    return [_written(common[part]) for part in ("major", "minor", "pa")]


def _sound(beam: Mapping[str, Any]) -> bool:
    return all(np.isfinite(beam[axis]["value"]) and beam[axis]["value"] > 0 for axis in _AXES)


_AXES = ("major", "minor")


def _written(quantity: Mapping[str, Any]) -> str:
    return f"{float(quantity['value'])!r}{quantity['unit']}"


@contextmanager
def _scratch_image(n_chan: int, n_stokes: int) -> Iterator[Any]:
    """Give an image in memory of single pixels."""
    configure()
    from casatools import image

    tool = image()
    made = tool.newimagefromshape(shape=[1, 1, n_stokes, n_chan])
    try:
        yield made
    finally:
        made.done()
        tool.done()
