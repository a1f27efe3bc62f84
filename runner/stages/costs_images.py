"""What imaging costs: tclean, and what is made from its images.

Coefficients measured with casatasks 6.7.0.31, one thread, on the demo data of NGC 5921 (1.6
million visibilities) with images of 512 to 4096 pixels a side; see `memory_of` and `seconds_of`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

MOSAIC: Final = ("mosaic", "awproject", "awphpg", "awp2")
"""Gridders that write images of the weight, too."""

_WORK_BYTES: Final = 4e7
_PIXEL_BYTES: Final = 4.0
_TABLES_BYTES: Final = 1.4e5
_CUBE_BYTES: Final = 4e9
_GRID_BYTES: Final = 60.0
_CLEAN_CUBE_BYTES: Final = 76.0
_SCALE_BYTES: Final = 50.0
_TERM_BYTES: Final = 100.0
_MASK_BYTES: Final = 40.0
_PIXEL_S: Final = 0.4e-6
_VISIBILITY_S: Final = 0.3e-6
_PLANE_S: Final = 0.06
_START_S: Final = 0.5
_RANGE_S: Final = 0.3
_MAJOR_CYCLES: Final = 5
_CUBE_CYCLES: Final = 3
_MINOR_S: Final = {"multiscale": 10e-6, "mtmfs": 10e-6, "asp": 20e-6}
_MINOR_OTHER_S: Final = 1.5e-6


@dataclass(frozen=True)
class _Gridder:
    """What a gridder costs beside ``standard``: mostly its convolution functions.

    Attributes
    ----------
    support : float
        How much longer a visibility takes.
    start_bytes, start_s : float
        Memory and time whatever the image.
    pixel_bytes, pixel_s : float
        Memory and time by pixel of a plane.
    """

    support: float = 1.0
    start_bytes: float = 0.0
    start_s: float = 0.0
    pixel_bytes: float = 0.0
    pixel_s: float = 0.0


_MOSAIC: Final = _Gridder(3, 1e7, 0.8, 40, 2e-6)
_MOSAIC_BY_NAME: Final = _Gridder(3, 2.6e9, 24, 350, 9e-6)
BEAMS_BY_NAME: Final = frozenset({"VLA", "ATCA", "WSRT", "GMRT"})
"""Telescopes of which CASA has one primary beam, and makes a mosaic's convolution function of it
on a grid of some 10 000 pixels whatever the image; for others (ALMA, EVLA, and those that it does
not know) it computes dishes, on a grid of the image's size."""

_W_PLANES: Final = 128
"""What is assumed where CASA chooses the number of w-planes."""


@dataclass(frozen=True)
class Shape:
    """The size of an imaging job.

    Attributes
    ----------
    side_pixels : float
        Pixels of one plane.
    channels, polarizations : int
        Planes are their product.
    terms : int
        Taylor terms; 1 but for ``mtmfs``.
    scales : int
        Scales of the deconvolver; 1 for those that have none.
    """

    side_pixels: float
    channels: int = 1
    polarizations: int = 1
    terms: int = 1
    scales: int = 1

    @property
    def pixels(self) -> float:
        """Pixels of all planes."""
        return self.side_pixels * self.channels * self.polarizations


def shape_of(params: Mapping[str, Any], n_channels: int) -> Shape:
    """Return the size of what tclean's parameters ask for.

    Parameters
    ----------
    params : mapping
        tclean's parameters.
    n_channels : int
        How many channels a cube has that does not say it.
    """
    sides = params.get("imsize", 100)
    sides = list(sides) if isinstance(sides, (list, tuple)) and sides else [sides]
    width, height = (_count(side, 100) for side in (sides[0], sides[-1]))
    cube = str(params.get("specmode", "mfs")).startswith("cube")
    channels = _count(params.get("nchan"), n_channels) if cube else 1
    terms, scales = 1, params.get("scales") or [0]
    if params.get("deconvolver") == "mtmfs":
        terms = _count(params.get("nterms"), 2)
    return Shape(
        width * height,
        channels,
        _polarizations(str(params.get("stokes", "I"))),
        terms,
        len(scales) if isinstance(scales, (list, tuple)) else 1,
    )


def _polarizations(stokes: str) -> int:
    """Count the planes of tclean's `stokes`: 1 for ``I`` and ``RR``, 2 for ``IV`` and ``XXYY``."""
    if stokes == "pseudoI":
        return 1
    return max(1, len(stokes) // 2 if stokes[:1] in ("R", "L", "X", "Y") else len(stokes))


def disk_of(pixels: float, paths: Iterable[str]) -> float:
    """Return the bytes of images: 4 a pixel, 3 % for masks, and 0.14 MB of tables each.

    ``sumwt`` has no pixels to speak of, and numbers (JSON) have none.
    """
    paths = [path for path in paths if not path.endswith(".json")]
    images = sum(".sumwt" not in path for path in paths)
    return images * 1.03 * _PIXEL_BYTES * pixels + _TABLES_BYTES * len(paths)


def memory_of(shape: Shape, params: Mapping[str, Any], telescopes: Collection[str] = ()) -> float:
    """Return tclean's memory over that of a process that does nothing, in bytes.

    Measured peaks a pixel of a plane, less 40 MB of the visibilities' buffers: 41 to 59 bytes for
    a dirty image or a Hogbom clean; 122 dirty with two terms; 172 to 210 multiscale with three
    scales; 260 mtmfs with two terms and 380 with three, hardly dependent on scales. A cube holds
    all its planes (51 to 57 bytes a pixel dirty, 70 to 76 while cleaning) as long as they fit; CASA
    takes a larger one in pieces, so that more than 4 GB is counted for a single plane only.
    ``auto-multithresh`` takes 40 more, ``wproject`` with 32 planes 110 and with 128 280, ``mosaic``
    40, and for `BEAMS_BY_NAME` 350 and 2.6 GB before the first pixel (VLA at 1.4 GHz, 512 to 2048
    pixels a side; with TELESCOPE_NAME changed to EVLA 280 MB in all, standard 274).

    Parameters
    ----------
    shape : Shape
        What is made.
    params : mapping
        tclean's parameters.
    telescopes : collection of str
        Whose data are imaged.
    """
    each = _GRID_BYTES * shape.terms
    deconvolver = params.get("deconvolver", "hogbom")
    if params.get("niter", 0):
        if deconvolver == "mtmfs":
            each = _GRID_BYTES + _TERM_BYTES * shape.terms
        elif deconvolver in ("multiscale", "asp"):
            each = _GRID_BYTES + _SCALE_BYTES * shape.scales
        elif params.get("specmode") in ("cube", "cubedata"):
            each = _CLEAN_CUBE_BYTES
    if params.get("usemask") == "auto-multithresh":
        each += _MASK_BYTES
    plane = each * shape.side_pixels * shape.polarizations
    gridder = _gridder(params, telescopes)
    return (
        _WORK_BYTES
        + gridder.start_bytes
        + gridder.pixel_bytes * shape.side_pixels
        + max(plane, min(plane * shape.channels, _CUBE_BYTES))
    )


def seconds_of(
    shape: Shape, params: Mapping[str, Any], values: float, telescopes: Collection[str] = ()
) -> float:
    """Return how long tclean takes on one core.

    A gridding or degridding takes 0.3 us a visibility (times the gridder's support) and
    0.4 us a pixel for the Fourier transform. A dirty image needs one each for ``2 terms - 1``
    PSFs and the residuals; a major cycle two a term. Convolution functions come before: 0.8 s
    for ``mosaic`` and 2 us a pixel, for `BEAMS_BY_NAME` 24 s and 9 us; 5 us for ``wproject`` with
    32 planes, 13 with 128. How many major cycles and iterations there will be nobody knows: five
    are assumed, three
    for a cube, and a minor cycle's work by pixel as measured.

    Parameters
    ----------
    shape : Shape
        What is made.
    params : mapping
        tclean's parameters.
    values : float
        Visibilities (rows times channels times correlations) that are imaged.
    telescopes : collection of str
        Whose data are imaged.
    """
    gridder = _gridder(params, telescopes)
    once = _PIXEL_S * shape.pixels + _VISIBILITY_S * gridder.support * values
    planes = _PLANE_S * shape.channels * shape.polarizations if shape.channels > 1 else 0.0
    seconds = _START_S + planes + gridder.start_s + gridder.pixel_s * shape.side_pixels
    if params.get("calcres", True) or params.get("calcpsf", True):
        seconds += (3 * shape.terms - 1) * once
    if params.get("niter", 0):
        minor = _MINOR_S.get(str(params.get("deconvolver", "")), _MINOR_OTHER_S)
        cycles = _CUBE_CYCLES if shape.channels > 1 else _MAJOR_CYCLES
        seconds += cycles * 2 * shape.terms * once + minor * shape.pixels + planes
    return seconds


def range_seconds_of(
    shape: Shape, params: Mapping[str, Any], values: float, telescopes: Collection[str] = ()
) -> float:
    """Return how long a range of a cube's channels takes on one core.

    Measured on NGC 5921, 256 and 512 pixels a side, 7 to 46 channels: 0.3 s whatever it is; PSF
    and residual of a channel 10 ms, 0.32 us a pixel and 0.6 us a visibility; a cycle of
    cleaning 3 ms, 0.4 us and 0.6 us. Three cycles are assumed.

    Parameters
    ----------
    shape : Shape
        What is made.
    params : mapping
        tclean's parameters; `calcres` false for the cleaning alone.
    values : float
        Visibilities that are imaged.
    telescopes : collection of str
        Where they were observed.
    """
    gridder = _gridder(params, telescopes)
    planes = shape.channels * shape.polarizations
    gridded = 0.6e-6 * gridder.support * values
    seconds = _RANGE_S + gridder.start_s + gridder.pixel_s * shape.side_pixels
    if params.get("calcres", True):
        seconds += 0.01 * planes + 0.32e-6 * shape.pixels + gridded
    if params.get("niter", 0):
        minor = _MINOR_S.get(str(params.get("deconvolver", "")), 0.0)
        each = 0.003 * planes + 0.4e-6 * shape.pixels + gridded
        seconds += _CUBE_CYCLES * (each + minor * shape.pixels / _MAJOR_CYCLES)
    return seconds


def _gridder(params: Mapping[str, Any], telescopes: Collection[str]) -> _Gridder:
    name = params.get("gridder", "standard")
    if name in ("wproject", "widefield"):
        planes = _count(params.get("wprojplanes", 1), _W_PLANES)
        return _Gridder(2, 0, 0, 50 + 1.8 * planes, 2e-6 + 0.09e-6 * planes)
    if name not in MOSAIC:
        return _Gridder()
    return _MOSAIC_BY_NAME if BEAMS_BY_NAME.intersection(telescopes) else _MOSAIC


def _count(value: Any, default: int) -> int:
    """Return a positive whole number, or what stands for one that is not given."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        return default
    return value
