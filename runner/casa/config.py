"""Configure CASA before its first import, without touching the user's ``~/.casa``.

The user's (or site's) own CASA configuration counts where its measures data work; else the
``casadata`` package is used. Nothing is downloaded or updated.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import sys
from pathlib import Path

from ..errors import DataError

_MEASURES_PROBE = "geodetic/IERSeop2000"
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
"""What tells OpenMP, the BLAS that NumPy and CASA bring along, and numexpr their threads. FFTW in
casacore takes as many as OpenMP has."""


_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # M_* of malloc.h
_ALL_BYTES = 2**31 - 1


def keep_freed_memory() -> None:
    """Let this process keep the memory of arrays that it has freed, to use it again.

    CASA takes and frees arrays for each plane and cycle. The C library gives large ones back at
    once, and the kernel must then hand out, and clear, each page anew: a tenth of the time of a
    cube of 512 x 512 pixels, measured. glibc before 2.35 takes thresholds up to 32 MB only
    (mallopt(3)). Other C libraries go on as they are.
    """
    _tell_malloc(mapped_from=(2**30, 2**25), kept=_ALL_BYTES, step=2**26)


def keep_little_freed_memory() -> None:
    """Let this process, and those forked from it, keep what small arrays have freed.

    Of arrays below 32 MB up to 128 MB are kept. glibc comes to that by itself, as a process frees
    larger and larger arrays (mallopt(3)); the process of a step has ended by then.
    """
    _tell_malloc(mapped_from=(2**25,), kept=2**27, step=2**24)


def _tell_malloc(mapped_from: tuple[int, ...], kept: int, step: int) -> None:
    """Set what the C library does with memory, in bytes.

    Parameters
    ----------
    mapped_from : tuple of int
        From which size on an array is a mapping of its own, given back when it is freed; the
        first that is taken counts.
    kept : int
        How much free memory at the end of the heap is not given back.
    step : int
        By how much more than is needed the heap grows.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        any(mallopt(_MMAP_THRESHOLD, size) for size in mapped_from)
        mallopt(_TRIM_THRESHOLD, kept)
        mallopt(_TOP_PAD, step)


def one_thread_a_process() -> None:
    """Make CASA's libraries use one thread, whatever the environment says.

    casarun runs processes side by side, and their OpenMP threads would fight: an
    ``OMP_NUM_THREADS=8`` from a site's profile is meant for programs that run alone. Must come
    before the libraries load.
    """
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def have_home() -> None:
    """Set ``HOME`` where it is not, as under some batch systems: CASA dies of that when imported.

    (A segmentation fault in casatasks 6.7.0.) A user that the system does not know has none.
    """
    if not os.environ.get("HOME"):
        os.environ.pop("HOME", None)
        try:
            os.environ["HOME"] = str(Path("~").expanduser())
        except RuntimeError:
            os.environ["HOME"] = "/"


def packaged_data() -> Path | None:
    """Return the folder of the installed ``casadata`` package, or None."""
    spec = importlib.util.find_spec("casadata")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "__data__"
    return folder if folder.is_dir() else None


def configure(log_file: str | None = None) -> Path:
    """Set up CASA's configuration; call before the first import of casatools.

    Parameters
    ----------
    log_file : str, optional
        Where CASA logs until a step has a log of its own; by default nowhere.

    Returns
    -------
    Path
        The folder of the measures data in use.

    Raises
    ------
    DataError
        If there are no measures data that CASA could work with.
    """
    one_thread_a_process()
    have_home()
    arguments, sys.argv = sys.argv, sys.argv[:1]  # casaconfig reads the command line
    try:
        from casaconfig import config
    finally:
        sys.argv = arguments
    measures = _first_working(config.measurespath, *config.datapath, packaged_data())
    if measures is None:
        raise DataError(
            "no CASA measures data: neither the user's CASA configuration nor the casadata "
            "package has them; pip install casadata"
        )
    config.measurespath = str(measures)
    own = [path for path in config.datapath if Path(path).is_dir()]
    config.datapath = own if str(measures) in own else [*own, str(measures)]
    config.measures_auto_update = False
    config.data_auto_update = False
    config.logfile = log_file or os.devnull
    config.log2term = False
    config.nologger = True
    config.nogui = True
    config.agg = True
    config.casaconfig_verbose = 0
    return measures


def _first_working(*folders: str | Path | None) -> Path | None:
    """Return the first folder that holds measures tables."""
    for folder in folders:
        if folder is not None and (Path(folder) / _MEASURES_PROBE).is_dir():
            return Path(folder)
    return None
