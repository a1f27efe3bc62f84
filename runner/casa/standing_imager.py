"""An imager that stays open between the steps of a clean.

Each call of tclean selects the data, grids their weights, sets up its tools, restores the image
and writes a history: half of its time, where a clean stops to look at its residual every few
cycles. Here CASA's parts of tclean are called in tclean's own order, but set up once. Tried with
casatasks 6.7.0.31: residual, model, mask and image are those of calls of tclean to the bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .channel_range import OpenImager, imager_parameters
from .config import configure, keep_freed_memory
from .invoke import task

Parameters = Mapping[str, Any]


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
    """

    def __init__(self, tclean: Parameters) -> None:
        configure()
        keep_freed_memory()
        self._elsewhere = bool(tclean.get("psfphasecenter"))
        if self._elsewhere:  # tclean takes all apart and together again for such a PSF
            task("tclean", {**tclean, "niter": 0, "restoration": False})
        # The weights of a single plane have a single density; tclean sees to it, too.
        self._tclean = {**tclean, "perchanweightdensity": False}
        super().__init__(imager_parameters(self._tclean))

    def dirty(self) -> None:
        """Make PSF, primary beam and residual."""
        if not self._elsewhere:
            super().dirty()

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
