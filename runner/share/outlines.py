"""Outlines of masks: polygons along the edges of pixels, which hold just the mask's pixels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Point = tuple[int, int]
Loop = list[Point]

MOST_EDGES = 200_000
"""Of a mask with more edges of pixels no viewer would be of use."""


def outlines(mask: npt.NDArray[np.bool_]) -> list[npt.NDArray[np.float64]]:
    """Return polygons around the pixels of a mask.

    A hole is part of the polygon around it, which goes there and back on one line. So the polygons,
    taken together, hold the centres of the mask's pixels and of no others, and a program that knows
    polygons needs to know nothing of holes.

    Parameters
    ----------
    mask : array of bool, shape (n_y, n_x)
        The mask.

    Returns
    -------
    list of array, shape (corners, 2)
        x and y in pixels, counted from 0 at a pixel's centre.

    Raises
    ------
    ValueError
        If the mask is too ragged to be drawn.
    """
    padded = np.pad(mask, 1)
    if sum(np.count_nonzero(np.diff(padded, axis=axis)) for axis in (0, 1)) > MOST_EDGES:
        raise ValueError(f"the mask has more than {MOST_EDGES} edges of pixels")
    loops = list(_loops(_edges(padded)))
    around = [loop for loop in loops if _area(loop) > 0]
    holes = [loop for loop in loops if _area(loop) < 0]
    # One unit for the padding, half a one from a pixel's edge to its centre.
    return [np.array(_straight(loop)) - 1.5 for loop in _joined(around, holes)]


def _edges(mask: npt.NDArray[np.bool_]) -> dict[Point, list[Point]]:
    """Return where each corner's edges lead to, the mask on their left."""
    ahead: dict[Point, list[Point]] = {}
    steps = (  # of the pixel's neighbour; from corner to corner of the pixel
        ((0, 1), (1, 0), (1, 1)), ((0, -1), (0, 1), (0, 0)),
        ((1, 0), (1, 1), (0, 1)), ((-1, 0), (0, 0), (1, 0)),
    )  # fmt: skip
    for (down, right), first, last in steps:
        edge = mask & ~np.roll(mask, (-down, -right), (0, 1))
        for y, x in np.argwhere(edge).tolist():
            start = (x + first[0], y + first[1])
            ahead.setdefault(start, []).append((x + last[0], y + last[1]))
    return ahead


def _loops(ahead: dict[Point, list[Point]]) -> Iterator[Loop]:
    """Give closed loops, each corner once, until no edge is left."""
    while ahead:
        start = next(iter(ahead))
        loop, here, before = [start], start, start
        while True:
            there = _turn(ahead, before, here)
            before, here = here, there
            if here == start:
                break
            loop.append(here)
        yield loop


def _turn(ahead: dict[Point, list[Point]], before: Point, here: Point) -> Point:
    """Take the next edge. Where pixels touch at a corner, go left: they are two areas."""
    choices = ahead[here]
    dx, dy = here[0] - before[0], here[1] - before[1]
    left = (here[0] - dy, here[1] + dx)
    chosen = left if left in choices else choices[0]
    choices.remove(chosen)
    if not choices:
        del ahead[here]
    return chosen


def _area(loop: Loop) -> float:
    corners = np.array(loop, dtype=float)
    x, y = corners.T
    return 0.5 * float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))


def _joined(around: list[Loop], holes: list[Loop]) -> list[Loop]:
    """Make each hole part of a loop to its left."""
    place = {corner: index for index, loop in enumerate(around) for corner in loop}
    for hole in sorted(holes, key=min):
        start = min(hole)
        x, y = start
        while (x, y) not in place:
            x -= 1
        index = place[x, y]
        loop = around[index]
        at = loop.index((x, y))
        turn = hole.index(start)
        own = [*hole[turn:], *hole[:turn], start]
        if (x, y) != start:
            own.append((x, y))
        else:
            own = own[1:]
        around[index] = [*loop[: at + 1], *own, *loop[at + 1 :]]
        place.update(dict.fromkeys(hole, index))
    return around


def _straight(loop: Loop) -> Loop:
    """Leave out corners at which the way goes straight on."""
    kept = []
    for before, here, after in zip([loop[-1], *loop], loop, [*loop[1:], loop[0]], strict=False):
        one = np.sign((here[0] - before[0], here[1] - before[1]))
        two = np.sign((after[0] - here[0], after[1] - here[1]))
        if (one != two).any():
            kept.append(here)
    return kept
