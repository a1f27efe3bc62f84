"""Which moments of a cube there are, and what each is summed from.

Apart from the sums themselves (`casarun.cubes.moments`), for planning needs no numpy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

OF_VELOCITY: Final = (1, 2, 9, 11)
"""Those in km/s."""

CLIPPED: Final = (1, 2, 9)
"""Those that noise far from the line would pull anywhere: without a mask, of what is above
`CLIP_SIGMA` times the channel's noise. The integrated brightness stays unclipped, for clipping
biases it."""

CLIP_SIGMA: Final = 3.0

SUMS: Final[Mapping[int, tuple[str, ...]]] = {
    -1: ("n", "s0"), 0: ("n", "s0"), 1: ("n", "s0", "s1"), 2: ("n", "s0", "s1", "s2"),
    5: ("n", "s0", "q"), 6: ("n", "q"), 8: ("high", "high_at"), 9: ("high", "high_at"),
    10: ("low", "low_at"), 11: ("low", "low_at"),
}  # fmt: skip
"""The sums that each moment needs."""

_BYTES: Final = {"n": 4, "high": 4, "low": 4, "high_at": 4, "low_at": 4}


def sums_of(moments: tuple[int, ...]) -> tuple[str, ...]:
    """Return the names of the sums that some moments need."""
    return tuple(sorted({name for moment in moments for name in SUMS[moment]}))


def memory_bytes(moments: tuple[int, ...], pixels: int) -> int:
    """Return what the sums of some moments take, with what is held while one is added."""
    each = sum(_BYTES.get(name, 8) for name in sums_of(moments))
    return pixels * (each + 20) if moments else 0
