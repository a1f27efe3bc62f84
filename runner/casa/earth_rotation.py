"""What CASA must know of the Earth's rotation is read where this is imported.

Each process reads the tables of leap seconds and of the IERS, 52 MB, at its first conversion to
sidereal time or the like: 50 ms of CPU time in most steps that calibrate. Processes that are forked
from one that has read them have them. No file stays open. The date is one that the tables hold: of
dates that they do not, CASA complains, and does so in the step that has them.
"""

from __future__ import annotations

from contextlib import suppress

from .config import configure

configure()
with suppress(Exception):  # whatever it is: the step that needs them will say so
    from casatools import measures

    _tool = measures()  # its `done` would forget all
    _tool.measure(_tool.epoch("utc", "50000.5d"), "UT1")
