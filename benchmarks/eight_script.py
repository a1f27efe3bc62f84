"""Datasets calibrated and imaged by plain CASA: what ``eight.py`` measures casarun against.

    python eight_script.py FOLDER PROCESSES FITS...

With one process it is the script that one writes first, a loop; with more, the common way to use
more cores, ``multiprocessing.Pool`` over the datasets. CASA has its own number of threads, unless
the environment says another. Tasks and parameters are those of the recipe in ``eight.py``. Each
dataset has a folder of its own: CASA names the scratch table ``IMAGING_WEIGHT_*`` by its data and
not by its process, so that cubes of alike data fail beside each other in one folder.
"""

# ruff: noqa: E402  (CASA must be configured before it is imported)

import multiprocessing
import os
import sys
from pathlib import Path

import casadata

arguments, sys.argv = sys.argv, sys.argv[:1]  # casaconfig reads the command line
from casaconfig import config

sys.argv = arguments
config.measurespath = casadata.datapath
config.datapath = [casadata.datapath]
config.measures_auto_update = False
config.data_auto_update = False
config.logfile = os.devnull
config.log2term = False
config.nologger = True

from casatasks import (
    applycal,
    bandpass,
    exportfits,
    flagdata,
    fluxscale,
    gaincal,
    impbcor,
    importuvfits,
    setjy,
    split,
    tclean,
)

FLAGS = [
    "mode='manual' autocorr=True",
    "mode='shadow'",
    "mode='clip' clipzeros=True",
    "mode='quack' quackinterval=10 quackmode='beg'",
    "mode='manual' spw='0:0~2;60~62'",
]


def main() -> None:
    """Reduce all datasets."""
    output, processes, *datasets = sys.argv[1:]
    Path(output).mkdir()
    os.chdir(output)
    if processes == "1":
        for fits in datasets:
            reduce(fits)
    else:
        with multiprocessing.Pool(int(processes)) as pool:
            pool.map(reduce, datasets, chunksize=1)


def reduce(fits: str) -> None:
    """Calibrate and image one dataset in a folder of its own."""
    name, above = Path(fits).stem, Path.cwd()
    for folder in ("raw", "caltables", "calibrated", "images"):
        (above / name / folder).mkdir(parents=True)
    os.chdir(above / name)
    target = f"calibrated/{name}.target.ms"
    calibrate(fits, f"raw/{name}.ms", f"caltables/{name}")
    split(vis=f"raw/{name}.ms", outputvis=f"calibrated/{name}.ms", field="0,1", keepflags=False)
    split(vis=f"raw/{name}.ms", outputvis=target, field="2", keepflags=False)
    common = {
        "vis": target, "datacolumn": "data", "imsize": [256, 256], "cell": "15arcsec",
        "weighting": "briggs", "robust": 0.5, "deconvolver": "hogbom",
    }  # fmt: skip
    image(
        f"images/{name}.continuum",
        **common, specmode="mfs", spw="0:4~6;50~59", niter=1000, threshold="5mJy",
    )  # fmt: skip
    image(
        f"images/{name}.hi",
        **common, specmode="cube", start=10, nchan=40, restfreq="1420.405752MHz",
        restoringbeam="common", niter=2000, threshold="10mJy",
    )  # fmt: skip
    os.chdir(above)


def calibrate(fits: str, ms: str, tables: str) -> None:
    """Import, flag, solve and apply."""
    importuvfits(fitsfile=fits, vis=ms)
    flagdata(vis=ms, mode="list", inpfile=FLAGS, flagbackup=False)
    setjy(vis=ms, field="0", standard="Perley-Butler 2017", model="3C286_L.im", usescratch=False)
    solve = {"vis": ms, "refant": "15", "minsnr": 3.0, "minblperant": 4}
    gains = {**solve, "spw": "0:6~56", "gaintype": "G"}
    phase0, band, scaled = f"{tables}.phase0", f"{tables}.bandpass", f"{tables}.fluxscale"
    phase, scans, amp = f"{tables}.phase", f"{tables}.phase-scan", f"{tables}.amp"
    gaincal(**gains, caltable=phase0, field="0", solint="int", calmode="p")
    bandpass(
        **solve, caltable=band, field="0", combine="scan", solint="inf", gaintable=[phase0],
        interp=["nearest"],
    )  # fmt: skip
    behind = {"gaintable": [band], "gainfield": ["0"], "interp": ["nearest"]}
    gaincal(**gains, **behind, caltable=phase, field="0,1", solint="int", calmode="p")
    gaincal(**gains, **behind, caltable=scans, field="0,1", solint="inf", calmode="p")
    gaincal(
        **gains, caltable=amp, field="0,1", solint="inf", calmode="a", gaintable=[band, phase],
        gainfield=["0", ""], interp=["nearest", "nearest"],
    )  # fmt: skip
    fluxscale(vis=ms, caltable=amp, fluxtable=scaled, reference="0", transfer="1")
    for field, table, source in (("0", phase, "0"), ("1", phase, "1"), ("2", scans, "1")):
        applycal(
            vis=ms, field=field, gaintable=[band, table, scaled], gainfield=["0", source, source],
            interp=["nearest", "linear", "linear"], calwt=[False], applymode="calflag",
            flagbackup=False,
        )  # fmt: skip


def image(name: str, **parameters: object) -> None:
    """Clean, correct for the primary beam, export."""
    tclean(imagename=name, **parameters)
    impbcor(imagename=f"{name}.image", pbimage=f"{name}.pb", outfile=f"{name}.pbcor", cutoff=0.2)
    for product in ("image", "pbcor"):
        exportfits(imagename=f"{name}.{product}", fitsimage=f"{name}.{product}.fits")


if __name__ == "__main__":
    main()
