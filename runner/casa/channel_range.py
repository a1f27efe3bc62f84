"""A range of a cube's channels, imaged with CASA's own parts of tclean.

tclean lays its cycles out itself, from all channels that it is given. `casatasks` has what it is
made of in `imagerhelpers`; here these parts are called in tclean's order, with the depth of each
cycle from outside, and with the frequency axis of the whole cube. Tried with casatasks 6.7.0.31
and 6.7.5.18: PSF, residual, primary beam and weights are those of tclean to the bit.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import numpy as np

from ..errors import Cause, StepFailedError
from .config import configure, keep_freed_memory
from .invoke import imager_parts, plain

Parameters = Mapping[str, Any]

_OTHER_NAMES: Final = {
    "vis": "msname", "timerange": "timestr", "uvrange": "uvdist", "observation": "obs",
    "intent": "state", "gain": "loopgain", "smallscalebias": "scalebias",
}  # fmt: skip
_MOSAICS: Final = ("mosaic", "awp2")
_ITERATIONS_ROW, _CHANNEL_ROW = 0, 5  # of a minor cycle's summary (casatasks, summary_minor.py)


@dataclass(frozen=True)
class Axis:
    """The coordinates of a whole cube.

    Attributes
    ----------
    csys : dict
        CASA's record of them, as data that JSON can hold.
    n_chan : int
        Its channels.
    frequencies_hz : tuple of float
        Their centres.
    """

    csys: dict[str, Any]
    n_chan: int
    frequencies_hz: tuple[float, ...]

    def shifted(self, first: int) -> dict[str, Any]:
        """Return CASA's record of the cube that begins at a channel of this one."""
        from casatools import coordsys

        tool = coordsys()
        tool.fromrecord(_arrays(self.csys))
        try:
            reference = tool.referencepixel("spectral")["numeric"][0]
            tool.setreferencepixel(float(reference) - first, "spectral")
            return dict(tool.torecord())
        finally:
            tool.done()


@dataclass(frozen=True)
class Peak:
    """What a range's residual and PSF hold now.

    Attributes
    ----------
    masked_jy : float
        Largest absolute residual in the clean mask, in Jy/beam.
    highest_jy : float
        Largest absolute residual, in Jy/beam.
    sidelobe : float
        Largest sidelobe of the PSFs, their peak being 1.
    """

    masked_jy: float
    highest_jy: float
    sidelobe: float


def axis(tclean: Parameters) -> Axis:
    """Return the coordinates of the cube that tclean would make.

    Parameters
    ----------
    tclean : mapping
        Its parameters. MSs are read only; nothing is written.

    Raises
    ------
    StepFailedError
        If CASA lays out no spectral axis.
    """
    configure()
    from casatools import coordsys, synthesisimager

    given = imager_parameters({**tclean, "imagename": "axis", "niter": 0})
    imager = synthesisimager()
    try:
        for name in sorted(given.getSelPars()):
            imager.selectdata(given.getSelPars()[name])
        imager.defineimage(given.getImagePars()["0"], given.getGridPars()["0"])
        found = imager.getcsys()
        n_chan = int(imager.updatenchan())
    finally:
        imager.done()
    record = found.get("coordsys", found)
    tool = coordsys()
    tool.fromrecord(record)
    try:
        where = [tool.toworld([0, 0, 0, channel])["numeric"][3] for channel in range(n_chan)]
    except (KeyError, IndexError, RuntimeError):
        raise StepFailedError(
            Cause.POSTCONDITION,
            "CASA laid out no spectral axis for the cube",
            "Check image.start, width, nchan, restfreq and spw.",
        ) from None
    finally:
        tool.done()
    return Axis(plain(record), n_chan, tuple(float(hertz) for hertz in where))


class OpenImager:
    """CASA's parts of tclean, set up once; a context, which closes them."""

    def __init__(self, parameters: Any, coordinates: Mapping[str, Any] | None = None) -> None:
        self._imager = imager = imager_parts()[0](params=parameters)
        # With coordinates given, CASA asks neither start nor width.
        imager.allimpars["0"] |= coordinates or {}
        imager.initializeImagers()
        imager.initializeNormalizers()
        imager.setWeighting()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._imager.deleteTools()

    def dirty(self) -> None:
        """Make PSF, primary beam and residual."""
        self._imager.makePSF()
        self._imager.makePB()
        self._imager.runMajorCycle(isCleanCycle=False)

    def predict(self) -> None:
        """Write the model into the data, as `savemodel` says."""
        self._imager.predictModel()


class ChannelRange(OpenImager):
    """Channels of a cube, being imaged.

    Parameters
    ----------
    tclean : mapping
        tclean's parameters of the whole cube; `imagename` is the range's.
    whole : Axis
        The coordinates of the whole cube.
    first, last : int
        The channels, both included.
    cleaning : bool
        Whether to deconvolve: a dirty image needs no deconvolver.
    """

    def __init__(
        self, tclean: Parameters, whole: Axis, first: int, last: int, *, cleaning: bool
    ) -> None:
        configure()
        keep_freed_memory()
        n_chan = last - first + 1
        given = imager_parameters({**tclean, "start": "", "width": "", "nchan": n_chan})
        self._gain = float(tclean.get("gain", 0.1))
        super().__init__(given, {"csys": whole.shifted(first), "nchan": n_chan})
        if cleaning:
            self._imager.initializeDeconvolvers()

    def peak(self) -> Peak:
        """Look at residual and PSF, as each minor cycle must begin with."""
        found = self._imager.SDtools[0].initminorcycle()
        return Peak(
            float(found["peakresidual"]),
            float(found["peakresidualnomask"]),
            float(found["maxpsfsidelobe"]),
        )

    def update_mask(self) -> None:
        """Make the clean mask, or extend it where CASA finds it itself."""
        self._imager.updateMask()

    def minor(self, depth_jy: float, cycleniter: int) -> dict[int, int]:
        """Clean each channel down to a depth by its PSF; return the iterations by channel."""
        done = self._imager.SDtools[0].executeminorcycle(
            iterbotrecord={
                "cyclethreshold": depth_jy,
                "cycleniter": cycleniter,
                "loopgain": self._gain,
                "nsigma": 0.0,
                "thresholdreached": False,
            }
        )
        found: dict[int, int] = {}
        table = np.asarray(done["summaryminor"])
        for column in table.T if table.ndim == 2 else ():
            channel = int(column[_CHANNEL_ROW])
            found[channel] = found.get(channel, 0) + int(column[_ITERATIONS_ROW])
        if sum(found.values()) != int(done["iterdone"]):
            raise StepFailedError(
                Cause.POSTCONDITION,
                f"CASA counts {done['iterdone']} iterations, and {sum(found.values())} in all "
                "channels together: casarun cannot read this version's summary",
                'Set image.chunk = "none".',
            )
        return found

    def restore(self) -> None:
        """Make the restored image, with the beam that it was set up with."""
        self._imager.restoreImages()

    def major(self) -> None:
        """Take the model from the visibilities, and make the residual anew."""
        self._imager.runMajorCycleCore(False)


def restore(tclean: Parameters) -> None:
    """Make the restored image from the model and the residual that are there.

    Parameters
    ----------
    tclean : mapping
        tclean's parameters; `restoringbeam` is the beam of all channels, or empty for their own.
    """
    configure()
    keep_freed_memory()
    imager = imager_parts()[0](params=imager_parameters(tclean))
    imager.initializeDeconvolvers()
    try:
        imager.restoreImages()
    finally:
        imager.deleteTools()


def imager_parameters(tclean: Parameters) -> Any:
    """Return CASA's own parameters of an imager: tclean's under other names, with its defaults.

    Parameters
    ----------
    tclean : mapping
        tclean's parameters.
    """
    _, made, defaults = imager_parts()
    given = {**defaults, **tclean}
    given |= {"mosweight": given["mosweight"] and given["gridder"] in _MOSAICS, "chanchunks": 1}
    known = inspect.signature(made.__init__).parameters
    named = {_OTHER_NAMES.get(name, name): value for name, value in given.items()}
    return made(**{name: value for name, value in named.items() if name in known})


def _arrays(record: Any) -> Any:
    """Return a record of CASA with arrays in place of lists."""
    if isinstance(record, dict):
        return {key: _arrays(value) for key, value in record.items()}
    return np.array(record) if isinstance(record, list) else record
