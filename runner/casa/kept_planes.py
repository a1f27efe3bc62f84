"""Planes of images that are kept in memory for a while, for what reads them more than once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

import numpy as np
import numpy.typing as npt

Block = tuple[int, npt.NDArray[np.float32], npt.NDArray[np.bool_]]
"""The first channel, pixels and where they are valid, of shape (channels, n_y, n_x)."""

MOST_PIXELS: Final = 12_000_000
"""Pixels of all images that are kept (60 MB)."""

_KEPT: ContextVar[dict[str, Block] | None] = ContextVar("kept planes", default=None)


@contextmanager
def kept() -> Iterator[None]:
    """Keep the whole images that are read within; they must not change meanwhile."""
    token = _KEPT.set({})
    try:
        yield
    finally:
        _KEPT.reset(token)


def keep(path: str, block: Block) -> None:
    """Keep a whole image's planes, if that is wanted and there is room."""
    known = _KEPT.get()
    if known is not None:
        held = sum(pixels.size for _, pixels, _ in known.values())
        if held + block[1].size <= MOST_PIXELS:
            known[path] = block


def recall(path: str) -> Block | None:
    """Return the planes of an image, if they were kept."""
    return (_KEPT.get() or {}).get(path)
