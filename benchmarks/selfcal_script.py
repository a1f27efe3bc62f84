"""Self-calibration by a straight-line CASA script: what `[[selfcal]]` is measured against.

What an expert would type for a point source whose phases drift by tens of degrees in a minute: a
shallow model, one phase solution an integration, a deeper model and the same again, all against
the original data; with ``--amp`` amplitudes, too, one for the whole observation, twice. No checks,
no decisions, no resume. Run it as ``python selfcal_script.py MS FOLDER [--amp] [--second X Y]``,
with the pixel of another source that is to be cleaned; the MS is copied first.
"""

# ruff: noqa: E402  (CASA must be configured, and the folder entered, before it is imported)

import os
import shutil
import sys
import time
from pathlib import Path

started = time.perf_counter()
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
source, output = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
with_amp = "--amp" in sys.argv
places = [("128", "128")]
if "--second" in sys.argv:
    places.append(tuple(sys.argv[sys.argv.index("--second") + 1 :][:2]))
output.mkdir(parents=True)
shutil.copytree(source, output / "target.ms")
os.chdir(output)

import casadata

arguments, sys.argv = sys.argv, sys.argv[:1]  # casaconfig reads the command line
from casaconfig import config

sys.argv = arguments
config.measurespath = casadata.datapath
config.datapath = [casadata.datapath]
config.measures_auto_update = False
config.data_auto_update = False
config.logfile = str(output / "casa.log")
config.log2term = False
config.nologger = True

from casatasks import applycal, exportfits, gaincal, imstat, tclean

vis = "target.ms"
picture = {
    "vis": vis,
    "imsize": [256, 256],
    "cell": "8arcsec",
    "specmode": "mfs",
    "gridder": "standard",
    "weighting": "briggs",
    "robust": 0.5,
    "deconvolver": "hogbom",
    "usemask": "user",
    "mask": [f"circle[[{x}pix,{y}pix],8pix]" for x, y in places],
    "niter": 10000,
}
solve = {"vis": vis, "refant": "ea01", "minsnr": 3.0, "minblperant": 4}


def apply(*tables: str) -> None:
    """Apply tables to the original data."""
    applycal(
        vis=vis,
        gaintable=list(tables),
        interp=["linear"] * len(tables),
        applymode="calonly",
        calwt=False,
        flagbackup=False,
    )


def predict(image: str, column: str, threshold: str) -> None:
    """Clean, and write the model into the MS."""
    tclean(
        **picture,
        imagename=image,
        datacolumn=column,
        threshold=threshold,
        savemodel="modelcolumn",
    )


def solve_phase(caltable: str) -> None:
    """Solve for an antenna's phase in each integration."""
    gaincal(**solve, caltable=caltable, solint="int", calmode="p", gaintype="T")


def solve_amp(caltable: str, phase: str) -> None:
    """Solve for one amplitude an antenna; normalized, or an incomplete model sets the fluxes."""
    gaincal(
        **solve,
        caltable=caltable,
        solint="inf",
        combine="scan",
        calmode="a",
        gaintype="T",
        solnorm=True,
        gaintable=[phase],
        interp=["linear"],
    )


# The first model holds little but the peak: what phase errors add to an image stays out of it.
predict("before", "data", "50mJy")
solve_phase("phase.1")
apply("phase.1")
predict("middle", "corrected", "20mJy" if with_amp else "1mJy")
solve_phase("phase.2")
if with_amp:
    solve_amp("amp.1", "phase.2")
    apply("phase.2", "amp.1")
    predict("deeper", "corrected", "1mJy")
    solve_phase("phase.3")
    solve_amp("amp.2", "phase.3")
    apply("phase.3", "amp.2")
else:
    apply("phase.2")
tclean(**picture, imagename="after", datacolumn="corrected", threshold="0.06mJy")
exportfits(imagename="after.image", fitsimage="after.fits")
for name in ("before", "after"):
    peak = imstat(f"{name}.image")["max"][0]
    rms = 1.4826 * imstat(f"{name}.residual")["medabsdevmed"][0]
    sys.stdout.write(f"{name}: peak {peak:.5f} Jy/beam, dynamic range {peak / rms:.0f}\n")
sys.stdout.write(f"{time.perf_counter() - started:.2f} s\n")
