"""How a cube is divided into channel ranges: pure, and the same on every machine.

So that a run can be taken up elsewhere, the ranges follow from recipe and metadata alone, neither
from cores nor from memory that happens to be free.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

from .. import heuristics
from ..heuristics import Choice
from ..quantities import parse
from . import costs_images
from .draft import Draft
from .picture import Picture

WHOLE_ONLY: Final = (
    "startmodel", "nmajor", "pbmask", "psfphasecenter", "facets", "cfcache",
)  # fmt: skip
"""Parameters of tclean that take a cube as a whole, or that one range would need of another."""

_LEFT_OUT: Final = {"nmajor": -1, "pbmask": 0.0, "facets": 1}
"""What these parameters are where they do nothing; the others are empty then."""

GRIDDERS: Final = ("standard",)
"""Those of which ranges are known to make the pixels of the whole: others lay out convolution
functions for the channels that they are given."""

_BASE_BYTES: Final = 2.4e8


@dataclass(frozen=True)
class Chunk:
    """A range of a cube's channels.

    Attributes
    ----------
    index : int
        Its place.
    first, last : int
        Its channels, both included; `last` is None for the last range, which takes what there is.
    margin : int
        Channels to each side that are imaged with it.
    """

    index: int
    first: int
    last: int | None
    margin: int

    @property
    def words(self) -> str:
        """The range for a person."""
        return f"channels {self.first} to {'the last' if self.last is None else self.last}"


def why_whole(picture: Picture) -> str:
    """Return why a cube can only be imaged by one tclean; empty where it can be divided."""
    tclean = picture.image.tclean
    for name in WHOLE_ONLY:
        if tclean.get(name, _LEFT_OUT.get(name, "")) not in (_LEFT_OUT.get(name, ""), ""):
            return f"image.tclean.{name} is for a cube as a whole"
    fallbacks = [name for fallback in picture.image.fallback for name in fallback]
    if "nmajor" in fallbacks:
        return "image.fallback.nmajor is for a cube as a whole"
    if picture.gridder not in GRIDDERS:
        return f"the gridder {picture.gridder} has not been tried by ranges"
    if tclean.get("perchanweightdensity") is False:
        return "perchanweightdensity = false weighs all channels together"
    if tclean.get("interpolation") == "cubic":
        return "cubic interpolation takes in far channels"
    if tclean.get("specmode", "cube") != "cube":
        return f"specmode {tclean['specmode']} has not been tried by ranges"
    return ""


def margin(picture: Picture) -> int:
    """Return how many channels beside a range are imaged with it.

    None are needed where a visibility has a part in one channel of the cube only: with
    ``nearest``, and where the cube has the data's own channels (measured on NGC 5921: the
    residuals of ranges differ by 1.4e-9 of 1e-2 Jy/beam).
    """
    image = picture.image
    if image.tclean.get("interpolation") == "nearest":
        return 0
    own = not isinstance(image.width, str) or not image.width
    alone = len({(band.subject.name, band.spw.id) for band in picture.bands}) == 1
    return 0 if own and alone and not _is_placed(image.start) else heuristics.MARGIN


def _is_placed(start: Any) -> bool:
    """Tell whether a cube's start is a frequency or velocity, not a channel."""
    return isinstance(start, str) and bool(start)


def channels(picture: Picture) -> int:
    """Return how many channels a cube is expected to have."""
    image = picture.image
    if image.nchan > 0:
        return image.nchan
    low, high = picture.edges_hz
    width = _width_hz(picture)
    if isinstance(image.start, int) and len(picture.bands) == 1:
        band = picture.bands[0]
        step = abs(image.width) if isinstance(image.width, int) and image.width else 1
        return max(1, (band.channels[-1] - image.start + 1) // step)
    return max(1, round((high - low) / width))


def _width_hz(picture: Picture) -> float:
    """Return the width of the cube's channels."""
    width = picture.image.width
    native = min(abs(band.spw.chan_width_hz) for band in picture.bands)
    if isinstance(width, int) or not width:
        return native * max(1, abs(int(width or 1)))
    if width.endswith("m/s"):
        rest = picture.image.restfreq
        hertz = parse(rest, "frequency") if rest else sum(picture.edges_hz) / 2
        return abs(parse(width, "velocity")) / heuristics.SPEED_OF_LIGHT * hertz
    return abs(parse(width, "frequency"))


def chunks(draft: Draft, picture: Picture, params: dict[str, Any]) -> tuple[Chunk, ...]:
    """Return a cube's ranges, and note the choice where casarun made it.

    Parameters
    ----------
    draft : Draft
        Takes the choice.
    picture : Picture
        The cube.
    params : dict
        tclean's parameters of it.
    """
    total, beside, given = channels(picture), margin(picture), picture.image.chunk
    if given == "none":
        size = total
    elif given == "auto":
        size = int(
            draft.choose(
                picture.setting("chunk"), picture.name, _auto(draft, picture, params, total)
            )
        )
    else:
        size = int(given)
    ranges = heuristics.divided(total, math.ceil(total / size))
    return tuple(
        Chunk(index, first, None if last == total - 1 else last, beside if len(ranges) > 1 else 0)
        for index, (first, last) in enumerate(ranges)
    )


def _auto(draft: Draft, picture: Picture, params: dict[str, Any], total: int) -> Choice:
    """Choose the channels of a range by its memory and its work."""
    given = {**params, "niter": picture.image.niter, "nchan": total}
    whole = costs_images.shape_of(given, total)
    one = costs_images.shape_of({**given, "nchan": 1}, 1)
    two = costs_images.shape_of({**given, "nchan": 2}, 2)
    telescopes = {subject.observation.telescope for subject in picture.subjects}
    single = costs_images.memory_of(one, given, telescopes)
    each = costs_images.memory_of(two, given, telescopes) - single
    per_core = draft.recipe.resources.memory_per_core
    room = parse(per_core, "size") - _BASE_BYTES - (single - each)
    seconds = costs_images.range_seconds_of(whole, given, _values(picture), telescopes)
    return heuristics.chunk(
        total, margin(picture), seconds, each, room, f"resources.memory_per_core = {per_core}",
        draft.cubes,
    )  # fmt: skip


def _values(picture: Picture) -> float:
    """Return how many visibilities are imaged."""
    found = 0.0
    for _, observation in picture.parts:
        rows = sum(field.n_rows for field in observation.fields)
        share = len(observation.spws) or 1
        for spw in observation.spws:
            found += rows / share * spw.n_chan * max(1, len(spw.correlations))
    return found
