"""Tables of the Earth's rotation, read once for all steps."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.casa

CODE = """
import os, sys
from casarun.casa.config import configure

configure()
from casatools import measures

if sys.argv[1] == "before":
    import casarun.casa.earth_rotation

def read_bytes():
    with open("/proc/self/io") as counted:
        return int(counted.readline().split()[1])

tool = measures()
child = os.fork()
if child == 0:
    begun = read_bytes()
    days = [tool.epoch("utc", f"{day}d") for day in sys.argv[2:]]
    found = [tool.measure(day, "UT1")["m0"]["value"] for day in days]
    files = [os.readlink(file.path) for file in os.scandir("/proc/self/fd") if os.path.exists(file)]
    print(read_bytes() - begun, sum("geodetic" in file for file in files), *map(repr, found))
    sys.stdout.flush()
    os._exit(0)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
os._exit(code)
"""
DAYS = (41000.25, 49820.4, 60000.5)


def told(when: str) -> list[float]:
    """Return what a forked process reads of files and keeps open, and the UT1 of three days."""
    command = [sys.executable, "-c", CODE, when, *map(str, DAYS)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    return [float(word) for word in done.stdout.split()]


def test_a_forked_process_has_what_was_read_and_says_the_same() -> None:
    read, kept_open, *found = told("before")
    read_itself, _, *found_itself = told("in it")
    assert found == found_itself
    for day, ut1 in zip(DAYS, found, strict=True):
        assert 0.0 < abs(ut1 - day) * 86400 < 1.0  # UT1 - UTC is never a second
    assert read < 1000
    assert read_itself > 100_000
    assert kept_open == 0
