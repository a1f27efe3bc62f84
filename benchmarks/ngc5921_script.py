"""NGC 5921 by a straight-line CASA script: what ``recipes/ngc5921.toml`` is measured against.

The same tasks with the same parameters as the recipe's plan, in one process, one after the
other: no checks, no resume, no report. Run it as ``python ngc5921_script.py FOLDER``; the
products get the names that they have in a run folder.
"""

# ruff: noqa: E402  (CASA must be configured, and the folder entered, before it is imported)

import json
import os
import sys
import time
from pathlib import Path

started = time.perf_counter()
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
output = Path(sys.argv[1]).resolve()
output.mkdir(parents=True, exist_ok=True)
os.chdir(output)
for folder in ("raw", "caltables", "calibrated", "images"):
    Path(folder).mkdir()

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

from casatasks import (
    applycal,
    bandpass,
    exportfits,
    flagdata,
    fluxscale,
    gaincal,
    immoments,
    impbcor,
    importuvfits,
    imstat,
    setjy,
    split,
    tclean,
    uvcontsub,
)

ms = "raw/apr13.ms"
calibrated = "calibrated/apr13.ms"
target = "calibrated/apr13.N5921_2.ms"
contsub = "calibrated/apr13.N5921_2.contsub.ms"
table = "caltables/apr13."
refant = "15"
solve_spw = "0:6~56"
line_free = "0:4~6;50~59"

# Import and flag.
importuvfits(fitsfile=f"{casadata.datapath}/demo/NGC5921.fits", vis=ms)
flagdata(
    vis=ms,
    mode="list",
    inpfile=[
        "mode='manual' autocorr=True reason='autocorr'",
        "mode='shadow' reason='shadow'",
        "mode='clip' clipzeros=True reason='zeros'",
        "mode='quack' quackinterval=10.0 quackmode='beg' reason='quack'",
        "mode='manual' spw='0:0~2;60~62' reason='edge'",
    ],
    flagbackup=False,
)
flagdata(vis=ms, mode="tfcrop", datacolumn="data", action="apply", flagbackup=False)

# Calibrate.
setjy(vis=ms, field="0", standard="Perley-Butler 2017", usescratch=False)
solve = {"vis": ms, "spw": solve_spw, "refant": refant}
gaincal(
    **solve,
    caltable=table + "phase0",
    field="0",
    solint="int",
    gaintype="G",
    calmode="p",
    minsnr=3,
)
bandpass(
    vis=ms,
    caltable=table + "bandpass",
    field="0",
    refant=refant,
    solint="inf",
    combine="scan",
    minsnr=3,
    gaintable=[table + "phase0"],
)
gaincal(
    **solve,
    caltable=table + "phase-int",
    field="0,1",
    solint="int",
    gaintype="G",
    calmode="p",
    minsnr=3,
    gaintable=[table + "bandpass"],
)
gaincal(
    **solve,
    caltable=table + "phase-scan",
    field="0,1",
    solint="inf",
    gaintype="G",
    calmode="p",
    minsnr=3,
    gaintable=[table + "bandpass"],
)
gaincal(
    **solve,
    caltable=table + "amp",
    field="0,1",
    solint="inf",
    gaintype="G",
    calmode="a",
    minsnr=3,
    gaintable=[table + "bandpass", table + "phase-int"],
)
fluxes = fluxscale(
    vis=ms,
    caltable=table + "amp",
    fluxtable=table + "fluxscale",
    reference="0",
    transfer=["1"],
)
Path(table + "fluxscale.json").write_text(
    json.dumps(fluxes, default=lambda value: value.tolist()), encoding="utf-8"
)
for field, phase, gainfield in (
    ("0", "phase-int", "0"),
    ("1", "phase-int", "1"),
    ("2", "phase-scan", "1"),
):
    applycal(
        vis=ms,
        field=field,
        gaintable=[table + "bandpass", table + phase, table + "fluxscale"],
        gainfield=["0", gainfield, gainfield],
        interp=["nearest", "linear", "linear"],
        calwt=False,
        flagbackup=False,
    )

# Split, subtract the continuum.
split(vis=ms, outputvis=calibrated, field="0,1", datacolumn="corrected")
split(vis=ms, outputvis=target, field="2", datacolumn="corrected")
uvcontsub(vis=target, outputvis=contsub, fitspec=line_free, fitorder=0)

# Image: dirty first, then cleaned to three times the dirty image's noise.
continuum = {
    "vis": target,
    "spw": line_free,
    "datacolumn": "data",
    "specmode": "mfs",
    "imsize": 256,
    "cell": "15arcsec",
    "weighting": "briggs",
    "robust": 0.5,
    "deconvolver": "multiscale",
    "scales": [0, 6, 18],
    "gridder": "standard",
    "pblimit": 0.2,
}
hi = {
    "vis": contsub,
    "datacolumn": "data",
    "specmode": "cube",
    "start": 5,
    "nchan": 46,
    "restfreq": "1420.405752MHz",
    "imsize": 256,
    "cell": "15arcsec",
    "weighting": "briggs",
    "robust": 0.5,
    "deconvolver": "hogbom",
    "gridder": "standard",
    "pblimit": 0.2,
}
for name, parameters in (("continuum", continuum), ("hi", hi)):
    image = f"images/N5921_2.{name}"
    tclean(**parameters, imagename=image + ".dirty", niter=0)
    sigma = 1.4826 * imstat(image + ".dirty.image")["medabsdevmed"][0]
    tclean(**parameters, imagename=image, niter=10000, threshold=f"{3 * sigma}Jy")
    impbcor(imagename=image + ".image", pbimage=image + ".pb", outfile=image + ".pbcor")
    exportfits(imagename=image + ".image", fitsimage=image + ".fits")
    exportfits(imagename=image + ".pbcor", fitsimage=image + ".pbcor.fits")
for moment in (0, 1):
    immoments(
        imagename="images/N5921_2.hi.image",
        moments=[moment],
        includepix=[3 * sigma, 100],
        outfile=f"images/N5921_2.hi.mom{moment}",
    )
    exportfits(
        imagename=f"images/N5921_2.hi.mom{moment}",
        fitsimage=f"images/N5921_2.hi.mom{moment}.fits",
    )
sys.stdout.write(f"{time.perf_counter() - started:.2f} s\n")
