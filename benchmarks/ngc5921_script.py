"""NGC 5921 by a straight-line CASA script: what ``recipes/ngc5921.toml`` is measured against.

The same tasks with the same parameters as the recipe's plan, in one process, one after the
other, as one would write them by hand: a dirty image for its noise, then a clean from scratch;
no checks, no resume, no report; CASA's own number of threads. Run it as
``python ngc5921_script.py FOLDER``; the products get the names that they have in a run folder.
"""

# ruff: noqa: E402  (CASA must be configured, and the folder entered, before it is imported)

import json
import os
import sys
import time
from pathlib import Path

started = time.perf_counter()
output = Path(sys.argv[1]).resolve()
for folder in ("raw", "caltables", "calibrated", "images/dirty"):
    (output / folder).mkdir(parents=True)
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
target = "calibrated/apr13.N5921_2.ms"
contsub = "calibrated/apr13.N5921_2.contsub.ms"
phase0 = "caltables/apr13.phase0"
band = "caltables/apr13.bandpass"
phase_int = "caltables/apr13.phase-int"
phase_scan = "caltables/apr13.phase-scan"
amp = "caltables/apr13.amp"
scaled = "caltables/apr13.fluxscale"
line_free = "0:4~6;50~59"

# Import and flag.
importuvfits(fitsfile=f"{casadata.datapath}/demo/NGC5921.fits", vis=ms)
flagdata(
    vis=ms,
    mode="list",
    inpfile=[
        "mode='manual' autocorr=True",
        "mode='shadow'",
        "mode='clip' clipzeros=True",
        "mode='quack' quackinterval=10 quackmode='beg'",
        "mode='manual' spw='0:0~2;60~62'",
    ],
    flagbackup=False,
)
flagdata(vis=ms, mode="tfcrop", datacolumn="data", extendflags=False, flagbackup=False)

# Calibrate.
setjy(
    vis=ms,
    field="0",
    standard="Perley-Butler 2017",
    scalebychan=True,
    model="3C286_L.im",
    usescratch=False,
)
solve = {"vis": ms, "refant": "2,24,4", "minsnr": 3.0, "minblperant": 4}
gains = {**solve, "spw": "0:6~56", "gaintype": "G"}
gaincal(**gains, caltable=phase0, field="0", solint="int", calmode="p")
bandpass(
    **solve,
    caltable=band,
    field="0",
    bandtype="B",
    combine="scan",
    solint="inf",
    gaintable=[phase0],
    interp=["nearest"],
)
behind_band = {"gaintable": [band], "gainfield": ["0"], "interp": ["nearest"]}
gaincal(**gains, **behind_band, caltable=phase_int, field="0,1", solint="int", calmode="p")
gaincal(**gains, **behind_band, caltable=phase_scan, field="0,1", solint="inf", calmode="p")
gaincal(
    **gains,
    caltable=amp,
    field="0,1",
    solint="inf",
    calmode="a",
    gaintable=[band, phase_int],
    gainfield=["0", ""],
    interp=["nearest", "nearest"],
)
fluxes = fluxscale(vis=ms, caltable=amp, fluxtable=scaled, reference="0", transfer="1")
Path(f"{scaled}.json").write_text(
    json.dumps(fluxes, default=lambda value: value.tolist()), encoding="utf-8"
)
for field, phase, source in (("0", phase_int, "0"), ("1", phase_int, "1"), ("2", phase_scan, "1")):
    applycal(
        vis=ms,
        field=field,
        gaintable=[band, phase, scaled],
        gainfield=["0", source, source],
        interp=["nearest", "linear", "linear"],
        calwt=[False],
        applymode="calflag",
        flagbackup=False,
    )
flagdata(vis=ms, mode="tfcrop", datacolumn="corrected", extendflags=False, flagbackup=False)

# Split, subtract the continuum.
split(vis=ms, outputvis="calibrated/apr13.ms", field="0,1", datacolumn="corrected", keepflags=False)
split(vis=ms, outputvis=target, field="2", datacolumn="corrected", keepflags=False)
uvcontsub(vis=target, outputvis=contsub, fitspec=line_free, fitorder=0, datacolumn="data")

# Image: a dirty image for its noise, then a clean down to a multiple of it.
common = {
    "datacolumn": "data",
    "stokes": "I",
    "weighting": "briggs",
    "robust": 0.5,
    "gridder": "standard",
}
continuum = {
    **common,
    "vis": [target],
    "specmode": "mfs",
    "spw": line_free,
    "imsize": [400, 400],
    "cell": "10arcsec",
    "deconvolver": "multiscale",
    "scales": [0, 6, 18],
}
masked = {
    "usemask": "auto-multithresh",
    "sidelobethreshold": 2.0,
    "noisethreshold": 4.25,
    "lownoisethreshold": 1.5,
    "minbeamfrac": 0.3,
}
hi = {
    **common,
    "vis": [contsub],
    "specmode": "cube",
    "start": 5,
    "nchan": 46,
    "restfreq": "1420.405752MHz",
    "imsize": [256, 256],
    "cell": "15arcsec",
    "deconvolver": "hogbom",
    "restoringbeam": "common",
}
noise = {}
for name, parameters, cleaning, times in (
    ("continuum", continuum, masked, 3.0),
    ("hi", hi, {}, 3.5),
):
    dirty, image = f"images/dirty/N5921_2.{name}", f"images/N5921_2.{name}"
    tclean(**parameters, imagename=dirty, niter=0, restoration=False)
    noise[name] = 1.4826 * imstat(f"{dirty}.residual")["medabsdevmed"][0]
    threshold = f"{times * noise[name]}Jy"
    tclean(**parameters, **cleaning, imagename=image, niter=10000, threshold=threshold)
    impbcor(imagename=f"{image}.image", pbimage=f"{image}.pb", outfile=f"{image}.pbcor", cutoff=0.2)
cube = "images/N5921_2.hi"
immoments(imagename=f"{cube}.image", moments=[0], outfile=f"{cube}.mom0")
immoments(
    imagename=f"{cube}.image",
    moments=[1],
    excludepix=[-1e9, 3 * noise["hi"]],
    outfile=f"{cube}.mom1",
)
exportfits(imagename="images/N5921_2.continuum.image", fitsimage="images/N5921_2.continuum.fits")
exportfits(
    imagename="images/N5921_2.continuum.pbcor", fitsimage="images/N5921_2.continuum.pbcor.fits"
)
exportfits(imagename=f"{cube}.image", fitsimage=f"{cube}.fits")
for product in ("pbcor", "mom0", "mom1"):
    exportfits(imagename=f"{cube}.{product}", fitsimage=f"{cube}.{product}.fits")
sys.stdout.write(f"{time.perf_counter() - started:.2f} s\n")
