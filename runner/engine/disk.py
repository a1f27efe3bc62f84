"""The disk of a run: what must stay free of it, and for how long a run waits for that."""

from __future__ import annotations

import math
import shutil
import time
from itertools import accumulate
from pathlib import Path
from typing import Final

from ..files import nearest_existing
from ..quantities import human_bytes, parse

_RESERVE_BYTES: Final = 1_000_000_000
_RESERVE_SHARE: Final = 0.02


def reserve_bytes(wish: str, folder: Path) -> int:
    """Return what must stay free of a run folder's disk, in bytes.

    Parameters
    ----------
    wish : str
        ``resources.disk_reserve``: a size, ``none``, or ``auto`` for 1 GB, on a small
        disk 2 % of it.
    folder : Path
        The run folder, which need not be there yet.
    """
    if wish == "none":
        return 0
    if wish != "auto":
        return int(parse(wish, "size"))
    size = shutil.disk_usage(nearest_existing(folder)).total
    return min(_RESERVE_BYTES, int(_RESERVE_SHARE * size))


class DiskWatch:
    """Watches that enough disk is free to start a step.

    Parameters
    ----------
    folder : Path
        The run folder.
    reserve : int
        What must be free, in bytes; 0 for no matter.
    patience_s : float
        How long to wait for it while nothing runs that could free some.
    """

    def __init__(self, folder: Path, reserve: int, patience_s: float) -> None:
        self._folder = folder
        self._reserve = reserve
        self._patience_s = patience_s
        self._since: float | None = None

    @property
    def message(self) -> str:
        """What is wrong, and the way out."""
        return (
            f"less than {human_bytes(self._reserve)} of disk is free in {self._folder} "
            "(resources.disk_reserve): free some"
        )

    def short(self) -> bool:
        """Say whether too little is free."""
        if not self._reserve:
            return False
        # What cannot be asked is no reason to stop; the step will say what is wrong.
        try:
            free = shutil.disk_usage(self._folder).free
        except OSError:
            return False
        if free >= self._reserve:
            self._since = None
        return free < self._reserve

    def begin_wait(self) -> bool:
        """Begin to wait, or go on with it; say whether this was the beginning."""
        if self._since is not None:
            return False
        self._since = time.monotonic()
        return True

    def waited_enough(self) -> bool:
        """Say whether it was waited long enough."""
        return self._since is not None and time.monotonic() - self._since >= self._patience_s

    def describe(self) -> dict[str, str | float]:
        """Return what is waited for, and for how long in s."""
        return {"message": self.message, "wait_s": self._patience_s}


class DiskUse:
    """How much disk a run folder takes as its run goes on, by what steps add to it.

    What a step adds counts from its start on: it writes all the time that it runs.

    Parameters
    ----------
    held_bytes : int
        What is there when the run starts.
    """

    def __init__(self, held_bytes: int) -> None:
        self._changes: list[tuple[float, int]] = [(-math.inf, held_bytes)]

    def change(self, moment_s: float, n_bytes: int) -> None:
        """Say that so many bytes came at a moment, or went."""
        self._changes.append((moment_s, n_bytes))

    @property
    def peak_bytes(self) -> int:
        """The most that was there at any moment."""
        return max(accumulate(n_bytes for _, n_bytes in sorted(self._changes)))
