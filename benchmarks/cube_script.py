"""Clean a cube with one tclean, or with casa-pclean: what ``cube.py`` compares casarun with.

python benchmarks/cube_script.py tclean PARAMETERS.json
PEER/bin/python benchmarks/cube_script.py pclean PARAMETERS.json --workers 2
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path


def main() -> int:
    """Run it in the current folder."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("who", choices=("tclean", "pclean"))
    parser.add_argument("parameters", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    given = json.loads(options.parameters.read_text(encoding="utf-8"))
    if options.who == "tclean":
        from casatasks import tclean

        tclean(**given)
    else:
        from pclean import pclean

        given.pop("parallel")
        given["restfreq"] = [given["restfreq"]]
        pclean(**given, parallel=True, nworkers=options.workers)
    return 0


if __name__ == "__main__":
    sys.exit(main())
