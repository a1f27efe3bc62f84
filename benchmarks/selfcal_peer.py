"""Run auto-selfcal on one MS in the current folder: ``python selfcal_peer.py MS [IMSIZE CELL]``.

For the Python that auto-selfcal is installed for. CASA must be told where its data are before it
is imported; a user has that in their own configuration. The solutions are applied to the MS, as
its users do for the line images that follow.
"""

# ruff: noqa: E402  (CASA must be configured before it is imported)

import os
import sys
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")
arguments, sys.argv = sys.argv, sys.argv[:1]  # casaconfig reads the command line

import casadata
from casaconfig import config

config.measurespath = casadata.datapath
config.datapath = [casadata.datapath]
config.measures_auto_update = False
config.data_auto_update = False
config.logfile = str(Path("casa.log").resolve())
config.log2term = False
config.nologger = True

from auto_selfcal import auto_selfcal

settings = {"vislist": [arguments[1]], "apply_to_target_ms": True}
if len(arguments) > 2:
    settings |= {"imsize": int(arguments[2]), "cell": arguments[3]}
auto_selfcal(**settings)
