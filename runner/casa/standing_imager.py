"""An imager that stays open between the steps of a clean.

Each call of tclean selects the data, grids their weights, sets up its tools, restores the image
and writes a history: half of its time, where a clean stops to look at its residual every few
cycles. Here CASA's parts of tclean are called in tclean's own order, but set up once. Tried with
casatasks 6.7.0.31: residual, model, mask and image are those of calls of tclean to the bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from .channel_range import OpenImager, imager_parameters
from .config import configure, keep_freed_memory
from .image_copies import WEIGHTS, copy_images
from .invoke import task

Parameters = Mapping[str, Any]

ITERATION_LIMIT, REACHED, NO_CHANGE, DIVERGED = 1, 2, 4, 6
"""CASA's stop codes."""

CLOSE: Final = 1.05
"""A threshold is reached if what a major cycle leaves exceeds it by no more than this factor."""

_DIVERGED: Final = 3.0
"""CASA's own limit for a residual that rises again."""


@dataclass(frozen=True)
class Cleaned:
    """How a clean ended: its iterations and CASA's stop code (2: the threshold was reached)."""

    iterations: int
    stopcode: int


class StandingImager(OpenImager):
    """An image of one plane, being made.

    Parameters
    ----------
    tclean : mapping
        tclean's parameters of data, grid and deconvolver; with ``specmode`` mfs.

    Attributes
    ----------
    cycles : list
        Takes what `down` does: depth (Jy/beam) and most iterations of a minor
        cycle, None for a major cycle.
    """

    def __init__(self, tclean: Parameters) -> None:
        configure()
        keep_freed_memory()
        self._elsewhere = bool(tclean.get("psfphasecenter"))
        if self._elsewhere:  # tclean takes all apart and together again for such a PSF
            task("tclean", {**tclean, "niter": 0, "restoration": False})
        # The weights of a single plane have a single density; tclean sees to it, too.
        self._tclean = {**tclean, "perchanweightdensity": False}
        self._gain = float(tclean.get("gain", 0.1))
        self.cycles = list[Any]()
        super().__init__(imager_parameters(self._tclean))

    def dirty(self, like: str = "") -> None:
        """Make PSF, primary beam and residual.

        Parameters
        ----------
        like : str
            Prefix of images with the same grid and weights of data with the same flags: their
            PSF and primary beam are these, to the bit, and are copied.
        """
        if self._elsewhere:
            return
        if not like:
            super().dirty()
            return
        copy_images(like, str(self._tclean["imagename"]), WEIGHTS)
        self._imager.runMajorCycle(isCleanCycle=False)

    def down(self, threshold_jy: float, niter: int) -> Cleaned:
        """Go on, within the mask that there is, down to a threshold with each minor cycle.

        tclean ends a cycle at a multiple of the PSF's worst sidelobe, for what it knows of the
        residual by then is an estimate. Where the caller looks at the residual every few cycles
        himself, that makes another cycle of each step: most of them for a few components.

        Parameters
        ----------
        threshold_jy : float
            In Jy/beam.
        niter : int
            The most iterations.
        """
        done, lowest = 0, math.inf
        with self._deconvolving() as tool:
            while True:
                found = self._cycle(tool, threshold_jy, niter - done)
                if not found:
                    return Cleaned(done, NO_CHANGE)
                done += found
                self.major()
                peak = float(tool.initminorcycle()["peakresidual"])
                if peak <= CLOSE * threshold_jy:
                    return Cleaned(done, REACHED)
                if done >= niter:
                    return Cleaned(done, ITERATION_LIMIT)
                if peak > _DIVERGED * lowest:
                    return Cleaned(done, DIVERGED)
                lowest = min(lowest, peak)

    def major(self) -> None:
        """Take the model from the visibilities, and make the residual anew."""
        self.cycles.append(None)
        self._imager.runMajorCycle()

    @contextmanager
    def _deconvolving(self) -> Iterator[Any]:
        """Yield CASA's deconvolver, its mask read; images are closed when it goes."""
        imager = self._imager
        imager.initializeDeconvolvers()
        try:
            tool = imager.SDtools[0]
            tool.initminorcycle()
            tool.setupmask()
            yield tool
        finally:
            imager.deleteDeconvolvers()
            imager.SDtools = []

    def _cycle(self, tool: Any, threshold_jy: float, niter: int) -> int:
        controls = {
            "cyclethreshold": threshold_jy, "cycleniter": niter, "loopgain": self._gain,
            "nsigma": 0.0, "thresholdreached": True,
        }  # fmt: skip
        self.cycles.append((threshold_jy, niter))
        return int(tool.executeminorcycle(iterbotrecord=controls)["iterdone"])

    def clean(self, more: Parameters) -> Cleaned:
        """Go on from the model and the residual that are there.

        Parameters
        ----------
        more : mapping
            tclean's parameters of this clean: niter, threshold, mask.
        """
        imager, given = self._imager, imager_parameters({**self._tclean, **more})
        imager.alldecpars, imager.iterpars = given.getDecPars(), given.getIterPars()
        imager.majorCnt = 0
        imager.initializeDeconvolvers()
        imager.initializeIterationControl()
        try:
            imager.hasConverged()
            imager.updateMask()
            ended = imager.hasConverged()
            while not ended:
                cleaned = imager.runMinorCycle()
                if cleaned:
                    imager.runMajorCycle()
                imager.updateMask()
                ended = imager.hasConverged() or not cleaned
            summary = imager.IBtool.getiterationsummary()
        finally:
            imager.deleteDeconvolvers()
            imager.deleteIterBot()
            imager.SDtools, imager.IBtool = [], None
        return Cleaned(int(summary["iterdone"]), int(summary["stopcode"]))


def predict(tclean: Parameters) -> None:
    """Write the model of an image into the MODEL_DATA of its data.

    tclean does the same with ``niter=0, calcres=False, calcpsf=False, savemodel="modelcolumn"``,
    and besides computes weights, which a prediction has no use for, and writes histories: half of
    its time with small data. A virtual model is removed: it would be believed instead.

    Parameters
    ----------
    tclean : mapping
        tclean's parameters of data and grid; `imagename` has a model, and the images of its
        weights.
    """
    configure()
    from casatools import calibrater

    for vis in tclean["vis"]:
        tool = calibrater()
        tool.open(vis, addcorr=False, addmodel=False)
        tool.delmod(otf=True, scr=False)
        tool.close()
    plain = {"niter": 0, "weighting": "natural", "savemodel": "modelcolumn"}
    with OpenImager(imager_parameters({**tclean, **plain})) as imager:
        imager.predict()
