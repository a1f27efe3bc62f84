"""Replay the CASA script of a run, without casarun, and compare what it made."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from . import crashes

_SIGNED = frozenset({"CREATOR", "CASATOOL", "FINGERPR"})
_CONFIG = """
import casadata
measurespath = casadata.datapath
datapath = [casadata.datapath]
measures_auto_update = False
data_auto_update = False
nologger = True
log2term = False
"""
_ALONE = """
import runpy, sys
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
assert not [name for name in sys.modules if name.partition(".")[0] == "casarun"]
"""


def replay(script: Path, place: Path) -> None:
    """Run a script in a new folder, by a user of CASA whose measures data are casadata's."""
    home = place.with_name(f"{place.name}.home")
    (home / ".casa").mkdir(parents=True)
    (home / ".casa" / "config.py").write_text(_CONFIG)
    place.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", _ALONE, str(script)],
        cwd=place, env=os.environ | {"HOME": str(home)}, capture_output=True, text=True,
        timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


def products(run: Path) -> dict[str, str]:
    """Return a digest of each column, keyword set and FITS unit that CASA made in a folder.

    Left out is what a script does not make (casarun's own numbers and catalogues), what is only
    there for a cube's ranges, with what casarun signs FITS files, and where `setjy` had its
    model's image.
    """
    found = crashes.products(run, _SIGNED)
    return {
        name: digest
        for name, digest in found.items()
        if not name.startswith(("qa/", "images/chunks/"))
        and not name.endswith((".json", "SOURCE:SOURCE_MODEL"))
        and ".sources." not in name
    }
