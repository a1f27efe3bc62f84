"""Memory of arrays that were freed, used again in the processes of steps."""

from __future__ import annotations

import mmap
import subprocess
import sys

import pytest

SIZES_MB = range(1, 21)
CODE = f"""
import ctypes, os, resource
{{before}}
library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
library.free.argtypes = [ctypes.c_void_p]
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
child = os.fork()
if child == 0:
    begun = faults()
    for size in range({SIZES_MB.start}, {SIZES_MB.stop}):
        array = library.malloc(size * 1_000_000)
        ctypes.memset(array, 1, size * 1_000_000)
        library.free(array)
    print(faults() - begun, flush=True)
    os._exit(0)
os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def pages(before: str) -> int:
    """Return how many pages the kernel hands out for arrays, each larger than those before it."""
    command = [sys.executable, "-c", CODE.format(before=before)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    return int(done.stdout)


@pytest.mark.casa
def test_arrays_of_a_step_are_made_of_what_earlier_ones_freed() -> None:
    kept = pages("from casarun.casa import preload")
    largest, all_of_them = (n * 1_000_000 // mmap.PAGESIZE for n in (SIZES_MB[-1], sum(SIZES_MB)))
    assert largest <= kept < 1.5 * largest
    assert pages("") > 0.9 * all_of_them  # as the C library does it
