"""From the error that ended an attempt to its cause."""

from __future__ import annotations

import errno
import re
import resource
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ..errors import Cause, StepFailedError
from ..quantities import human_bytes

_BY_ERRNO: Final[Mapping[int | None, Cause]] = {
    errno.ENOSPC: Cause.DISK_FULL,
    errno.EDQUOT: Cause.DISK_FULL,
    errno.EIO: Cause.IO,
    errno.ESTALE: Cause.IO,
    errno.EREMOTEIO: Cause.IO,
    errno.ETIMEDOUT: Cause.IO,
    errno.EAGAIN: Cause.TABLE_LOCK,
    errno.ENOMEM: Cause.OUT_OF_MEMORY,
}

# CASA's C++ errors arrive as RuntimeError with the text of the exception only.
_BY_TEXT: Final = (
    (re.compile(r"bad_alloc|cannot allocate memory|MemoryError", re.I), Cause.OUT_OF_MEMORY),
    (re.compile(r"no space left on device|disk quota exceeded", re.I), Cause.DISK_FULL),
    (
        re.compile(
            r"acquir(e|ing).{0,40}\block|\block\b.{0,60}(acquire|obtain|another|held|in use)"
            r"|(cannot|could not|unable to|failed to)\s+(be\s+)?lock|is locked|LockFile",
            re.I | re.S,
        ),
        Cause.TABLE_LOCK,
    ),
    (re.compile(r"input/output error|stale (NFS )?file handle", re.I), Cause.IO),
)


MEMORY_ADVICE: Final = (
    "Raise resources.memory if the machine has more, or make the step smaller: image.imsize, "
    "image.nchan, image.nterms."
)


_UNMAPPED: Final = "failed to map segment from shared object"
"""What the loader of libraries says where ``ulimit -v`` leaves no room for one, or a disk may not
be executed from."""

_FULL: Final = 0.95
"""How much of its address space a process has asked for when it is believed to have run out: the
last request, which failed, does not count, and libraries have up to 30 MB."""


def in_words(error: BaseException) -> tuple[str, str]:
    """Return what a person is told of an exception: message and advice.

    Parameters
    ----------
    error : BaseException
        What an action raised.
    """
    if isinstance(error, StepFailedError):
        return error.message, error.advice
    said = str(error) or type(error).__name__
    if cause_of(error) is not Cause.OUT_OF_MEMORY:
        return said, ""
    limit = _address_space()
    bound = f"; ulimit -v leaves {human_bytes(limit)}" if limit >= 0 else ""
    return f"memory ran out ({said}){bound}", MEMORY_ADVICE


def _address_space() -> int:
    """Return how many bytes of memory a process may ask for; negative for no limit."""
    return resource.getrlimit(resource.RLIMIT_AS)[0]


def _address_space_was_full() -> bool:
    """Say whether this process has come close to what ``ulimit -v`` leaves it.

    C code that gets no memory does not always say so: Python then has an exception of any kind,
    like ``SystemError: error return without exception set``.
    """
    limit = _address_space()
    if limit < 0:
        return False
    used = re.search(r"^VmPeak:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    return used is not None and int(used[1]) * 1024 >= _FULL * limit


def cause_of(error: BaseException) -> Cause:
    """Return what kind of failure an exception is.

    Parameters
    ----------
    error : BaseException
        What an action raised.

    Returns
    -------
    Cause
        The error's own cause if it has one; by its number for an OSError; by its text where
        that tells; PARAMETER for an AssertionError, which is how CASA's parameter check
        refuses; OUT_OF_MEMORY where the process has filled what ``ulimit -v`` leaves it; else
        EXCEPTION.
    """
    if isinstance(error, StepFailedError):
        return error.cause
    if isinstance(error, MemoryError) or (_UNMAPPED in str(error) and _address_space() >= 0):
        return Cause.OUT_OF_MEMORY
    number = error.errno if isinstance(error, OSError) else None
    if number in _BY_ERRNO:
        return _BY_ERRNO[number]
    told = cause_in(str(error))
    if told is not None:
        return told
    if isinstance(error, AssertionError):
        return Cause.PARAMETER
    return Cause.OUT_OF_MEMORY if _address_space_was_full() else Cause.EXCEPTION


def cause_in(text: str) -> Cause | None:
    """Return the cause that a message or log tells of, if it does."""
    return next((cause for pattern, cause in _BY_TEXT if pattern.search(text)), None)
