"""Cubes that are imaged by channel ranges: how deep each cycle cleans, where the ranges lie.

tclean derives the depth of a cycle from the peak and the PSF of all channels that it was given, so
that pixels would depend on how a cube is divided. Here a ladder of depths is laid down before the
first cycle, the same for all channels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from .choice import Choice

CYCLEFACTOR: Final = 1.0
MIN_PSF_FRACTION: Final = 0.05
MAX_PSF_FRACTION: Final = 0.8
"""tclean's defaults of its parameters cyclefactor, minpsffraction and maxpsffraction."""

DEEPEST_REPEATS: Final = 10
"""So often the last rung is tried again, as a major cycle may lift a residual over it."""

MOST_RUNGS: Final = 100

RANGE_SECONDS: Final = 10.0
"""Work that a range should have at least: its steps take some 0.7 s whatever they do."""

WORTH_TWO_S: Final = 6.0
"""Work that is divided in two all the same: there are two cores almost everywhere."""

MANY_CUBES: Final = 4
"""So many cubes keep the cores busy without that."""

MOST_RANGES: Final = 100

MARGIN: Final = 3
"""Channels to each side of a range that are imaged with it where a visibility has a part in two
channels of the cube: what a range does not know of its neighbours reaches one channel farther
with each major cycle, ever fainter."""

_MARGIN_SHARE: Final = 8


def ladder(
    peak_jy: float, threshold_jy: float, sidelobe: float, tclean: Mapping[str, Any]
) -> tuple[float, ...]:
    """Return the depths to which the cycles of a clean go, in Jy/beam, the last the threshold.

    Each is the one before times ``cyclefactor * sidelobe``, held between ``minpsffraction`` and
    ``maxpsffraction``: what tclean itself comes to where every cycle ends at its depth (CASA Docs,
    "Iteration Control").

    Parameters
    ----------
    peak_jy : float
        Largest absolute residual of all channels, in Jy/beam.
    threshold_jy : float
        Where the clean ends.
    sidelobe : float
        Largest sidelobe of all PSFs, their peak being 1.
    tclean : mapping
        Parameters of tclean, of which three count.

    Examples
    --------
    >>> ladder(1.0, 0.05, 0.2, {})
    (0.2, 0.05)
    """
    fraction = float(tclean.get("cyclefactor", CYCLEFACTOR)) * sidelobe
    fraction = max(fraction, float(tclean.get("minpsffraction", MIN_PSF_FRACTION)))
    fraction = min(fraction, float(tclean.get("maxpsffraction", MAX_PSF_FRACTION)))
    if not 0 < fraction < 1:
        return (threshold_jy,)
    found, depth = list[float](), peak_jy * fraction
    while depth > threshold_jy and len(found) < MOST_RUNGS:
        found.append(depth)
        depth *= fraction
    return (*found, threshold_jy)


def rungs_within(counts: Sequence[Sequence[int]], niter: int) -> int | None:
    """Return after which rung the iterations of all ranges together have reached the limit.

    Parameters
    ----------
    counts : sequence of sequence of int
        Iterations of each rung, by range.
    niter : int
        The limit.

    Returns
    -------
    int or None
        The number of rungs that count; None where the limit is never reached.
    """
    total = 0
    for rung in range(max((len(each) for each in counts), default=0)):
        total += sum(each[rung] for each in counts if rung < len(each))
        if total >= niter:
            return rung + 1
    return None


def divided(channels: int, parts: int) -> tuple[tuple[int, int], ...]:
    """Divide channels into ranges whose sizes differ by one at most: (first, last), both in.

    Examples
    --------
    >>> divided(7, 3)
    ((0, 2), (3, 4), (5, 6))
    """
    parts = max(1, min(parts, channels))
    edges = [math.ceil(channels * part / parts) for part in range(parts + 1)]
    return tuple((first, last - 1) for first, last in pairwise(edges))


def chunk(
    channels: int, margin: int, seconds: float, channel_bytes: float, room_bytes: float,
    room: str, cubes: int = 1,
) -> Choice:  # fmt: skip
    """Choose how many channels a range has.

    Parameters
    ----------
    channels : int
        Channels of the cube.
    margin : int
        Channels to each side of a range that are imaged with it.
    seconds : float
        How long the cube is expected to take on one core.
    channel_bytes : float
        Memory that a channel takes.
    room_bytes : float
        Memory that a range may take, over that of a process that does nothing.
    room : str
        What sets that, for the reason.
    cubes : int
        Cubes of the run. Many give every core work: then little work is not divided.
    """
    fits = max(1, math.floor(room_bytes / channel_bytes) - 2 * margin)
    # As many as there are seconds in each: much work is divided finely, but pays little for it.
    worth = int(seconds // max(RANGE_SECONDS, math.sqrt(seconds)))
    alone = cubes < MANY_CUBES
    worth = max(worth - worth % 2, 2 if alone and seconds >= WORTH_TWO_S else 1)
    longest = max(1, channels // (_MARGIN_SHARE * margin)) if margin else channels
    parts = min(worth, longest, MOST_RANGES, channels)
    why = f"about {seconds / parts:.0f} s of work each"
    if parts == longest < worth:
        why = f"{margin} channels more to each side of a range"
    elif parts == MOST_RANGES < worth:
        why = f"at most {MOST_RANGES}"
    if math.ceil(channels / parts) > fits:
        parts = math.ceil(channels / fits)
        why = f"{channel_bytes / 1e6:.0f} MB a channel, within {room}"
    size = math.ceil(channels / parts)
    if parts == 1:
        among = "" if alone else f", and {cubes} cubes to do side by side"
        return Choice(size, f"all in one range: about {max(seconds, 1):.0f} s of work{among}")
    return Choice(size, f"{math.ceil(channels / size)} ranges of {channels} channels: {why}")
