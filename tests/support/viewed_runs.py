"""A small run folder with CASA images of known pixels, to be looked at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from casarun.casa.config import configure
from casarun.folder import RunFolder

N_Y, N_X, N_CHAN = 60, 70, 3
CELL_ARCSEC = 15.0
CENTRE_DEG = (230.5, 5.0667)
"""At pixel (35, 30), counted from 0."""

HALF_WIDTH_PIXELS = 20.0
"""Where the primary beam has fallen to half."""

SOURCES = """# Region file format: DS9 version 4.1
global color=cyan
fk5
ellipse(230.47000000,5.09000000,25.000",30.000",12.50) # text={1}
ellipse(1,2,3",4",5) # text={2} callback={exec rm}
"""


def mask() -> np.ndarray[Any, Any]:
    """Return a mask with a hole, and a pixel in that: shape (n_y, n_x)."""
    y, x = np.mgrid[:N_Y, :N_X]
    found = (np.abs(y - 33) <= 6) & (np.abs(x - 40) <= 8)
    found &= ~((np.abs(y - 33) <= 2) & (np.abs(x - 40) <= 3))
    found[33, 41] = True
    found[10, 11] = found[11, 12] = True  # they touch at a corner
    return found


def write(path: Path, planes: np.ndarray[Any, Any], frame: str = "J2000") -> None:
    """Write a CASA image of shape (n_chan, n_y, n_x)."""
    configure()
    from casatools import coordsys, image

    axes = coordsys().newcoordsys(direction=True, spectral=True, stokes=["I"])
    axes.setreferencecode(frame, type="direction", adjust=False)
    axes.setunits(["rad", "rad", "", "Hz"])
    angle = np.radians(CELL_ARCSEC / 3600)
    axes.setincrement([-angle, angle, 1, 24e3])
    axes.setreferencevalue([*np.radians(CENTRE_DEG), 1, 1.413e9])
    axes.setreferencepixel([35, 30, 0, 0])
    tool = image()
    cube = planes.transpose(2, 1, 0)[:, :, np.newaxis, :].astype(float)
    made = tool.newimagefromarray(outfile=str(path), pixels=cube, csys=axes.torecord())
    made.setbrightnessunit("Jy/beam")
    made.setrestoringbeam("50arcsec", "45arcsec", "10deg")
    made.done()
    axes.done()


def build(folder: Path, target: str = "M31", name: str = "hi") -> Path:
    """Make a run folder with one cube, its mask and its primary beam; return it."""
    run = RunFolder(folder)
    for place in (run.private, run.plan.parent, folder / "images"):
        place.mkdir(parents=True)
    run.journal.touch()
    step = {"id": f"{target}.{name}.clean", "target": target, "image": name}
    run.plan.write_text(json.dumps({"steps": [step]}))
    y, x = np.mgrid[:N_Y, :N_X]
    noise = np.random.default_rng(5).normal(0, 1, (N_CHAN, N_Y, N_X))
    beam = 0.5 ** ((np.hypot(x - 35, y - 30) / HALF_WIDTH_PIXELS) ** 2)
    masks = np.zeros((N_CHAN, N_Y, N_X))
    masks[0] = mask()
    masks[2, 33, 41] = 1
    prefix = folder / "images" / f"{target}.{name}"
    Path(f"{prefix}.sources.reg").write_text(SOURCES)
    write(Path(f"{prefix}.image"), noise)
    write(Path(f"{prefix}.residual"), 0.1 * noise)
    write(Path(f"{prefix}.mask"), masks)
    write(Path(f"{prefix}.pb"), np.repeat(beam[np.newaxis], N_CHAN, axis=0))
    return folder
