"""Is this machine ready? CASA, its data, cores, memory, disk."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from ..files import nearest_existing
from ..quantities import human_bytes
from .machine import allowed_cores

_PROBE = """
import json, sys
from casarun.casa.config import configure
found = {"measures": str(configure())}
import casatools, casatasks
found["casatools"] = casatools.version_string()
from casarun.casa.tables import open_table
with open_table(found["measures"] + "/geodetic/IERSeop2000") as table:
    found["until_mjd"] = float(table.getcell("MJD", table.nrows() - 1))
print("\\n" + json.dumps(found))
"""
_LOW_DISK_BYTES = 10e9


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    state: Literal["good", "warn", "bad"]
    text: str
    advice: str = ""


def examine(folder: Path) -> list[Finding]:
    """Look at what a run in `folder` would need.

    Returns
    -------
    list of Finding
        A run would work if none is bad.
    """
    found = [_python(), *_casa()]
    cores = allowed_cores()
    found.append(Finding("good", f"{cores} cores may be used by this process"))
    memory = psutil.virtual_memory().available
    state: Literal["good", "warn"] = "good" if memory > 2e9 else "warn"
    found.append(Finding(state, f"{human_bytes(memory)} of memory are free"))
    free = shutil.disk_usage(nearest_existing(folder)).free
    state = "good" if free > _LOW_DISK_BYTES else "warn"
    found.append(Finding(state, f"{human_bytes(free)} of disk are free in {folder}"))
    return found


def _python() -> Finding:
    version = ".".join(str(part) for part in sys.version_info[:3])
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        return Finding("good", f"Python {version}")
    return Finding("bad", f"Python {version}", "CASA's wheels exist for Python 3.11 to 3.13.")


def _casa() -> list[Finding]:
    """Import CASA in a process of its own: where that fails, say why."""
    probe = subprocess.run(  # noqa: S603 - our own interpreter and text
        [sys.executable, "-c", _PROBE], capture_output=True, text=True, timeout=300, check=False
    )
    if probe.returncode:
        reason = (probe.stderr.strip() or "no message").splitlines()[-1]
        return [Finding("bad", f"CASA cannot be imported: {reason}", _advice(probe.stderr))]
    found = json.loads(probe.stdout.strip().splitlines()[-1])
    until = _date(found["until_mjd"])
    return [
        Finding("good", f"CASA {found['casatools']} imports"),
        Finding("good", f"measures data in {found['measures']}"),
        Finding(
            "good",
            f"Earth orientation is known until {until}; later observations have positions "
            "that may be off by milliarcseconds",
        ),
    ]


def _advice(text: str) -> str:
    """Return the way out of what is known to go wrong with CASA's import."""
    if "OPENSSL_3" in text or "libcrypto" in text:
        return "This casatools wants a newer libcrypto: pip install 'casatools!=6.7.6.14'"
    if "'six'" in text:
        return "pip install six"
    if "measures data" in text or "AutoUpdatesNotAllowed" in text:
        return "pip install casadata"
    if "No module named 'casat" in text:
        return "pip install casatasks casatools"
    return ""


def _date(mjd: float) -> str:
    from datetime import date, timedelta

    return str(date(1858, 11, 17) + timedelta(days=int(mjd)))
