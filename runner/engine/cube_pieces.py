"""The steps that do the work on a cube, each on some of its channels or rows.

A piece reads the channels that its own are made of, a few at a time, and keeps no more planes
than the widest operation looks at. It writes planes as FITS has them, with the sums of its
moments and the numbers of its channels beside them; `cube_join` puts the pieces together.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from ..casa.cube_file import CubeFile
from ..cubes import continuum, statistics, stream
from ..cubes.beams import Beam, kernel
from ..cubes.chain import Chain, beam_of
from ..cubes.convolve import Plane, Smoother
from ..cubes.masks import Clipped
from ..cubes.moments import Maps
from ..cubes.spectral import hanning
from ..files import write_product
from . import cube_setup

Params = Mapping[str, Any]

PLANES: Final = "planes.f4"
MASKS: Final = "mask.bits"
SUMS: Final = "moments.npz"
NUMBERS: Final = "channels.json"
STORED: Final = np.dtype(">f4")
"""How pieces hold their planes: as FITS does, so that a file is joined by copying bytes."""

_MASK_SMOOTHING: Final = 2.0
"""The mask's beam is so many times as wide as the cube's, where the recipe says nothing."""


def part(total: int, number: int, of: int) -> tuple[int, int]:
    """Return the first of a part's members, and the first after it."""
    return total * number // of, total * (number + 1) // of


def fit(params: Params) -> dict[str, Any]:
    """Fit the continuum of some rows.

    Parameters
    ----------
    params : mapping
        ``cube``, ``setup`` (folder of `cube_setup.begin`), ``number`` and ``of`` (which part of the
        rows), ``memory_bytes``, ``out`` (array to write: order + 1, rows, n_x).
    """
    chain = cube_setup.read(Path(params["setup"]))
    low, high = part(chain.source.n_y, int(params["number"]), int(params["of"]))
    shape = (high - low, chain.source.n_x)
    found = continuum.ContinuumFit(chain.fit_channels, chain.source.axis.n_chan, chain.order, shape)
    with CubeFile(params["cube"]) as cube:
        for channel in chain.fit_channels:
            found.add(channel, cube.read_rows(channel, low, high))
    out = Path(params["out"])
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("wb") as file:
        np.save(file, found.solve())
    return {"rows": [low, high], "channels": len(chain.fit_channels)}


def piece(params: Params) -> dict[str, Any]:
    """Make some channels of the result.

    Parameters
    ----------
    params : mapping
        ``cube``, ``setup``, ``fits`` (files of `fit`, in order),
        ``number`` and ``of`` (which part of the channels), ``memory_bytes``, ``stats`` (whether
        channels are measured), ``planes`` (whether they are to be written), ``out`` (folder).
    """
    chain = cube_setup.read(Path(params["setup"]))
    out = Path(params["out"])
    out.mkdir(parents=True)
    first, last = part(chain.axis.n_chan, int(params["number"]), int(params["of"]))
    with CubeFile(params["cube"]) as cube:
        made = _Piece(chain, params, cube)
        numbers = made.write(out, first, last)
        direct = cube.direct
    write_product(out / NUMBERS, numbers)
    return {"channels": [first, last], "at_once": made.at_once, "read_directly": direct}


class _Piece:
    """The stages between a cube's planes and a piece's.

    Parameters
    ----------
    chain : Chain
        What is done.
    params : mapping
        Of `piece`.
    cube : CubeFile
        The cube.
    """

    def __init__(self, chain: Chain, params: Params, cube: CubeFile) -> None:
        self._chain = chain
        self._params = params
        self._result = chain.result
        self.at_once = chain.at_once(float(params["memory_bytes"]))
        self._planes = self._stages(
            stream.Source(cube.read, chain.source.axis.n_chan, self.at_once)
        )

    def _stages(self, planes: stream.Planes) -> stream.Planes:
        """Return the result's planes, made of the cube's."""
        chain, source = self._chain, self._chain.source
        shape = (source.n_y, source.n_x)
        if chain.fit_channels:
            planes = stream.Changed(planes, self._subtraction())
        if chain.target is not None:
            planes = stream.Changed(planes, _smoothing(chain))
        if chain.width > 1:
            planes = stream.Mixed(planes, chain.smoothing, shape)
        if chain.factors != (1, 1):
            planes = stream.Rebinned(planes, *chain.factors)
        if chain.axis != chain.rebinned_axis:
            planes = stream.Mixed(planes, chain.regridding, chain.rebinned_shape, strict=True)
        if chain.template:
            x, y = np.load(Path(self._params["setup"]) / cube_setup.MAP)
            linear = chain.part("regrid").get("interpolation", "linear") == "linear"
            planes = stream.Changed(planes, stream.regridder(x, y, linear=linear))
        return planes

    def _subtraction(self) -> Any:
        fitted = np.concatenate([np.load(path) for path in self._params["fits"]], axis=1)
        factors = continuum.basis(self._chain.source.axis.n_chan, self._chain.order)

        def subtract(channel: int, plane: Plane) -> Plane:
            return plane - continuum.continuum(fitted, factors[channel])

        return subtract

    def write(self, out: Path, first: int, last: int) -> list[dict[str, Any]]:
        """Write the planes of some channels; return their numbers."""
        chain, axis = self._chain, self._chain.axis
        middle = axis.velocity_km_s(axis.n_chan / 2) if axis.rest_hz > 0 else 0.0
        sums = Maps(chain.moments, chain.shape, middle, masked=chain.masked)
        mask = self._mask()
        numbers = []
        with ExitStack() as files:
            planes = _file(files, out / PLANES, wanted=bool(self._params["planes"]))
            masks = _file(files, out / MASKS, wanted=mask is not None)
            for channel in range(first, last):
                # The mask looks back and ahead, so it goes first: planes are read once.
                taken = None if mask is None else mask.plane(channel)
                plane = self._planes.plane(channel)
                if planes is not None:
                    planes.write(plane.astype(STORED).tobytes())
                if masks is not None and taken is not None:
                    masks.write(np.packbits(taken & np.isfinite(plane)).tobytes())
                velocity = axis.velocity_km_s(channel) if axis.rest_hz > 0 else 0.0
                numbers.append(self._numbers(channel, plane, taken))
                if chain.moments:
                    level = numbers[-1].get("noise")
                    if sums.clips and level is None:
                        level = statistics.noise(plane)
                    sums.add(plane, velocity, taken, level)
                self._planes.drop(channel + 1)
        if chain.moments:
            np.savez(out / SUMS, **sums.sums)  # type: ignore[arg-type]
        return numbers

    def _mask(self) -> Clipped | None:
        """Return the mask of the result, or None."""
        settings, chain = self._chain.part("mask"), self._chain
        if not chain.masked:
            return None
        smooth: stream.Planes = stream.Held(self._planes)
        smoother = _mask_smoother(chain)
        if smoother is not None:
            smooth = stream.Changed(smooth, lambda _, plane: smoother(plane))
        if settings.get("spectral", "hanning") == "hanning":
            axis = chain.axis
            smooth = stream.Mixed(smooth, lambda channel: hanning(axis, channel), chain.shape)
        return Clipped(
            smooth, chain.axis.n_chan, float(settings["sigma"]), int(settings["channels"])
        )

    def _numbers(
        self, channel: int, plane: Plane, taken: npt.NDArray[np.bool_] | None
    ) -> dict[str, Any]:
        axis = self._chain.axis
        found: dict[str, Any] = {
            "channel": channel,
            "frequency_hz": axis.hz(channel),
            "velocity_km_s": axis.velocity_km_s(channel) if axis.rest_hz > 0 else None,
        }
        if not self._params["stats"]:
            return found
        area = self._result.beam_pixels(channel)
        found |= statistics.of_plane(plane, area)
        if taken is not None:
            inside = plane[taken & np.isfinite(plane)]
            found["n_in_mask"] = int(inside.size)
            found["flux_in_mask_jy"] = (
                None if area is None else float(inside.sum(dtype=np.float64)) / area
            )
        return found


def _file(files: ExitStack, path: Path, *, wanted: bool) -> BinaryIO | None:
    return files.enter_context(path.open("wb")) if wanted else None


def _smoothing(chain: Chain) -> Any:
    """Return what smooths each channel to the new beam; channels of one beam share a kernel."""
    source = chain.source
    shape = (source.n_y, source.n_x)
    latest: dict[Any, Smoother | None] = {}

    def smooth(channel: int, plane: Plane) -> Plane:
        beam = source.beam(channel)
        if beam not in latest:
            latest.clear()
            found, scale = chain.kernel(channel), chain.scale(channel)
            latest[beam] = (
                None if found is None else Smoother(shape, source.cell_arcsec, found, scale)
            )
        smoother = latest[beam]
        return plane if smoother is None else smoother(plane)

    return smooth


def _mask_smoother(chain: Chain) -> Smoother | None:
    """Return what smooths planes for the mask; None where they are taken as they are."""
    wanted, beams = chain.part("mask").get("beam", "auto"), chain.result_beams
    own = max(beams, key=lambda beam: beam.area_arcsec2, default=None)
    if own is None or wanted == "none":
        return None
    if wanted == "auto":
        goal = Beam(
            _MASK_SMOOTHING * own.major_arcsec, _MASK_SMOOTHING * own.minor_arcsec, own.pa_deg
        )
    else:
        goal = beam_of(wanted)
    found = kernel(own, goal)
    return Smoother(chain.shape, chain.result.cell_arcsec, found) if found and any(found) else None
