"""The doctor on CASA: does it import, and where not, why; its data and its configuration."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import traceback
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from ..files import nearest_existing
from .finding import Finding

_PROBE: Final = """
import json
found = {}
try:
    from casarun.casa.config import configure
    found["measures"] = str(configure())
    from casaconfig import config
    found["ignored"] = {str(k): str(v) for k, v in config.load_failure().items()}
    import casatools
    found["casatools"] = casatools.version_string()
    import casatasks
    found["casatasks"] = casatasks.version_string()
    from casarun.casa.tables import open_table
    with open_table(found["measures"] + "/geodetic/IERSeop2000") as table:
        found["until_mjd"] = float(table.getcell("MJD", table.nrows() - 1))
except BaseException as error:
    import traceback
    found["error"] = f"{type(error).__name__}: {error}"
    found["traceback"] = traceback.format_exc()
print("\\n" + json.dumps(found))
"""
_TIMEOUT_S: Final = 300
_OLD_DAYS: Final = 183
_PACKAGES: Final = {
    "libgfortran": "libgfortran5",
    "libGL": "libgl1",
    "libEGL": "libegl1",
    "libX11": "libx11-6",
    "libxcb": "libxcb1",
    "libgomp": "libgomp1",
    "libglib": "libglib2.0-0",
    "libcrypt": "libcrypt1",
    "libtinfo": "libtinfo6",
    "libnsl": "libnsl2",
}
"""Debian's packages of libraries that casatools may miss."""


def python() -> Finding:
    """Look at the version of Python: CASA's wheels exist for some only."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        return Finding("python", "good", f"Python {version}")
    return Finding(
        "python",
        "bad",
        f"Python {version}, and CASA's wheels exist for Python 3.11 to 3.13",
        "Make a virtual environment with Python 3.11, 3.12 or 3.13, and install casarun there.",
    )


def casa() -> list[Finding]:
    """Import CASA in a process of its own: where that fails, say why."""
    try:
        probe = subprocess.run(  # noqa: S603 - our own interpreter and text
            [sys.executable, "-c", _PROBE],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        advice = "A filesystem that hangs? Look at where Python's packages and ~/.casa lie."
        text = f"importing CASA did not end within {_TIMEOUT_S} s"
        return [Finding("casa", "bad", text, advice)]
    try:
        found = json.loads(probe.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError):
        found = None
    if not isinstance(found, dict):
        return [_died(probe)]
    return _imported(found)


def _died(probe: subprocess.CompletedProcess[str]) -> Finding:
    """Say of a process that said nothing how it ended."""
    from signal import Signals

    code = probe.returncode
    words = probe.stderr.strip().splitlines() or ["no message"]
    how = f"killed by {Signals(-code).name}" if code < 0 else f"exit code {code}"
    return Finding(
        "casa",
        "bad",
        f"importing CASA ended the process ({how}): {words[-1]}",
        advice(probe.stderr) or "Reinstall casatools and casatasks of one version.",
    )


def _imported(found: Mapping[str, Any]) -> list[Finding]:
    """Put into words what the probe found."""
    findings = [_ignored(path, text) for path, text in found.get("ignored", {}).items()]
    if "error" in found:
        text = f"{found['error']}\n{found['traceback']}"
        if found["error"].startswith("SystemExit"):
            reason = f"a CASA configuration file ends Python ({found['error']})"
            way = "Take the call of exit out of ~/.casa/config.py (or the site's configuration)."
        else:
            reason = f"CASA cannot be imported: {found['error'].splitlines()[0]}"
            way = advice(text) or "Reinstall casatools and casatasks of one version."
        return [*findings, Finding("casa", "bad", reason, way)]
    tools_version = str(found["casatools"]).replace("-", ".")
    tasks_version = str(found["casatasks"]).replace("-", ".")
    if tools_version != tasks_version:
        findings.append(
            Finding(
                "casa",
                "warn",
                f"casatools {tools_version} and casatasks {tasks_version} do not belong together",
                f"pip install casatools=={tools_version} casatasks=={tools_version}",
            )
        )
    else:
        findings.append(Finding("casa", "good", f"CASA {tools_version} imports"))
    findings.append(Finding("measures", "good", f"measures data in {found['measures']}"))
    return [*findings, orientation(found["until_mjd"], datetime.now(UTC).date())]


def _ignored(path: str, text: str) -> Finding:
    last = (text.strip().splitlines() or ["no message"])[-1]
    return Finding(
        "casa-configuration",
        "warn",
        f"{path} fails, so that CASA ignores it: {last}",
        "Mend or remove it; until then the data that it names are not found.",
    )


def orientation(until_mjd: float, today: date) -> Finding:
    """Say until when the Earth's orientation is known, and how long ago that is.

    Parameters
    ----------
    until_mjd : float
        The last day of the table, MJD.
    today : date
        The present day.
    """
    until = date(1858, 11, 17) + timedelta(days=int(until_mjd))
    age = (today - until).days
    text = f"Earth orientation is known until {until}"
    if age <= _OLD_DAYS:
        return Finding("earth-orientation", "good", text)
    return Finding(
        "earth-orientation",
        "warn",
        f"{text}, {age} days ago: what CASA computes for later observations (uvw, elevations) is "
        "less exact",
        "For those, renew the data: pip install --upgrade casadata",
    )


def advice(text: str) -> str:
    """Return the way out of what is known to go wrong with CASA's import.

    Parameters
    ----------
    text : str
        The error, with its traceback.
    """
    missing = re.search(r"(lib[\w+-]+)[\w.]*: cannot open shared object file", text)
    if "OPENSSL_3" in text or "libcrypto" in text:
        return (
            "This casatools wants a newer libcrypto than the system's: "
            "pip install 'casatools!=6.7.6.14' casatasks"
        )
    if re.search(r"No module named '?six", text):
        return "casatasks needs it without saying so: pip install six"
    if "measures data" in text or "AutoUpdatesNotAllowed" in text or "measurespath" in text:
        return "pip install casadata (350 MB), or set measurespath in ~/.casa/config.py."
    if re.search(r"No module named '?casa(tools|tasks|config)", text):
        return _install()
    if missing:
        package = _PACKAGES.get(missing[1], "")
        apt = f": apt install {package} (Debian, Ubuntu)" if package else ""
        return f"The system lacks the library {missing[1]}{apt}."
    if re.search(r"version `GLIBC(XX)?_[\d.]+' not found", text):
        return "The system's C library is older than this CASA wants: take an older casatools."
    if "compiled using NumPy 1" in text:
        return "pip install 'numpy<2': this CASA was built for NumPy 1."
    return ""


def _install() -> str:
    """Say how CASA is installed, or why there is no wheel for this machine."""
    machine, system = platform.machine(), platform.system()
    if system == "Linux" and machine != "x86_64":
        return f"CASA has no wheels for Linux on {machine}: use a machine with x86_64."
    if system == "Linux" and platform.libc_ver()[0] != "glibc":
        return (
            "CASA's wheels need glibc, and this system (Alpine?) has another C library: use an "
            "image of Debian, Ubuntu or Rocky Linux."
        )
    if system not in ("Linux", "Darwin"):
        return f"CASA has no wheels for {system}: use Linux, or the Windows Subsystem for Linux."
    return "pip install casatools casatasks casadata"


def casa_configuration(home: Path) -> list[Finding]:
    """Look at ``~/.casa``, which casarun reads and never writes.

    Parameters
    ----------
    home : Path
        The home folder.
    """
    findings = []
    folder = home / ".casa"
    config = folder / "config.py"
    if config.is_file():
        findings.append(_read(config))
    place = nearest_existing(folder)
    if not os.access(place, os.W_OK | os.X_OK):
        findings.append(
            Finding(
                "casa-configuration",
                "warn",
                f"{place} cannot be written: CASA and Matplotlib cannot keep their caches there",
                "Runs work without; set HOME to a folder of your own to be rid of the warnings.",
            )
        )
    lock = folder / "data" / "data_update.lock"
    try:
        holder = lock.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        holder = ""
    if holder:
        findings.append(
            Finding(
                "casa-configuration",
                "warn",
                f"an update of {lock.parent} is under way or was broken off ({holder})",
                f"If none is under way, remove {lock} and update again: "
                "python -m casaconfig --update-all",
            )
        )
    return findings


def _read(config: Path) -> Finding:
    """Look at a configuration file without running it."""
    try:
        text = config.read_text(encoding="utf-8", errors="replace")
        compile(text, str(config), "exec")
    except OSError as error:
        return Finding("casa-configuration", "warn", f"{config} cannot be read: {error.strerror}",
                       "Mend its permissions.")  # fmt: skip
    except (SyntaxError, ValueError) as error:
        said = traceback.format_exception_only(error)[-1].strip()
        return Finding("casa-configuration", "warn", f"{config} is not Python: {said}",
                       "Mend or remove it.")  # fmt: skip
    if re.search(r"^\s*(measures|data)_auto_update\s*=\s*True", text, re.MULTILINE):
        return Finding(
            "casa-configuration",
            "warn",
            f"{config} lets CASA update its data by itself; casarun does not, so that a run can "
            "be repeated",
            "Update by hand when it is time: python -m casaconfig --update-all",
        )
    return Finding("casa-configuration", "good", f"{config} is read")
