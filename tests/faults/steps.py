"""What only a step can find out: it fails, and says so, where CASA returns as if well."""

from __future__ import annotations

from .fault import Fault, call, plain
from .parts import DIRTY, GOOD, MAP, data

_SECOND = data("second")
_READY = data("good", "calibrated = true\n") + '[targets]\nfields = ["target"]\n'

STEPS: tuple[Fault, ...] = (
    Fault("minsnr-high", "set minsnr above every solution", GOOD + "[calibrate]\nminsnr = 1e9\n",
          "step", plain(call("gaincal", vis="{vis}", caltable="g", field="1", refant="ea01",
                             minsnr=1e9)), exit_code=1, step="good.phase0"),
    Fault("flag-calibrator", "flagged all of a calibrator",
          f"{GOOD}{_SECOND}[flag]\n"
          "manual = [\"field='0' timerange='2020/03/01/00:00:00~2020/03/01/23:00:00'\"]\n", "step",
          plain(call("flagdata", vis="{vis}", field="0"),
                call("bandpass", vis="{vis}", caltable="b", field="0", refant="ea01")),
          exit_code=1, step="good.flag.manual", goes_on="second.bandpass"),
    Fault("flag-jump", "flagged nearly all of a field",
          f"{GOOD}[flag]\nmanual = [\"field='2' antenna='!ea01&ea02'\"]\n", "step",
          plain(call("flagdata", vis="{vis}", field="2", antenna="!ea01&ea02"),
                call("tclean", **DIRTY)), exit_code=1, step="good.flag.manual"),
    Fault("time-limit", "gave a step less time than it needs",
          # All but the clean, which would go on for days, take a small part of that time.
          _READY + MAP + 'imsize = 128\ncell = "12arcsec"\nthreshold = "1nJy"\n'
          'niter = 100000000\ntclean = { gain = 1e-7 }\n'
          '[resources]\ntime_per_step = "8s"\n', "step",
          plain(call("tclean", **DIRTY | {"threshold": "1nJy", "niter": 100000000, "gain": 1e-7})),
          exit_code=1, step="target.map.clean"),
    Fault("automask-nothing", "let the mask be found where nothing is bright enough",
          _READY + MAP + 'imsize = 128\ncell = "12arcsec"\nmask = "auto-multithresh"\n'
          "tclean = { noisethreshold = 1000.0, sidelobethreshold = 1000.0 }\n"
          'threshold = "1mJy"\n', "step",
          plain(call("tclean", **DIRTY | {"niter": 100, "usemask": "auto-multithresh",
                                          "noisethreshold": 1000.0,
                                          "sidelobethreshold": 1000.0})),
          exit_code=1, step="target.map.clean"),
    Fault("clean-diverges", "let clean subtract more than there is, cycle after cycle",
          _READY + MAP + 'imsize = 128\ncell = "12arcsec"\nthreshold = "1uJy"\n'
          "tclean = { gain = 1.9, minpsffraction = 0.0, maxpsffraction = 0.001 }\n", "step",
          plain(call("tclean", **DIRTY | {"niter": 10000, "gain": 1.9, "threshold": "1uJy",
                                          "minpsffraction": 0.0, "maxpsffraction": 0.001})),
          exit_code=1, step="target.map.clean"),
    Fault("calibrator-faint", "took a phase calibrator that is too faint to see",
          data("faint"), "step",
          plain(call("gaincal", vis="{vis}", caltable="g", field="1", refant="ea01"),
                vis="faint"), exit_code=1, step="faint.amp"),
    Fault("flux-absurd", "gave a flux density in microjansky",
          GOOD + '[calibrators]\nflux = { field = "1331*", fluxdensity = 1.5e7 }\n', "step",
          plain(call("setjy", vis="{vis}", field="0", standard="manual", fluxdensity=[1.5e7]),
                call("gaincal", vis="{vis}", caltable="g", field="0,1", refant="ea01"),
                call("fluxscale", vis="{vis}", caltable="g", fluxtable="f", reference="0",
                     transfer="1")), exit_code=1, step="good.fluxscale"),
    Fault("apply-flagonly", "had the calibration only flag, and took the data for calibrated",
          GOOD + '[calibrate]\napplymode = «"flagonly"»\n', "static",
          plain(call("gaincal", vis="{vis}", caltable="g", field="0,1", refant="ea01"),
                call("applycal", vis="{vis}", gaintable="g", applymode="flagonly"))),
    Fault("rfi-greedy", "had the interference flagged down to the noise",
          GOOD + '[flag]\nrfi = "tfcrop"\nflagdata = { timecutoff = 0.01, freqcutoff = 0.01 }\n',
          "step",
          plain(call("flagdata", vis="{vis}", mode="tfcrop", timecutoff=0.01, freqcutoff=0.01),
                call("tclean", **DIRTY)), exit_code=1, step="good.flag.rfi"),
    Fault("moment-empty", "excluded every pixel from a moment",
          _READY + MAP + 'specmode = "cube"\nspw = "0"\nimsize = 128\ncell = "12arcsec"\n'
          "niter = 0\nmoments = [0]\nimmoments = { includepix = [1e6, 1e7] }\n", "step",
          plain(call("tclean", **DIRTY | {"specmode": "cube", "spw": "0"}),
                call("immoments", imagename="map.image", moments=[0], outfile="mom0",
                     includepix=[1e6, 1e7])), exit_code=1, step="target.map.mom0"),
    Fault("step-flags-all", "flagged everything with a step of their own",
          GOOD + '[[step]]\ntask = "flagdata"\nafter = "apply"\n'
          'params = { vis = "{vis}", mode = "clip", clipminmax = [0.0, 1e-9] }\n', "step",
          plain(call("flagdata", vis="{vis}", mode="clip", clipminmax=[0.0, 1e-9]),
                call("tclean", **DIRTY)), exit_code=1, step="good.step.flagdata"),
    Fault("step-fails", "let a step compute an expression that is none",
          _READY + MAP + 'niter = 0\n[[step]]\ntask = "immath"\nafter = "image"\nper = "run"\n'
          'params = { imagename = ["images/dirty/target.map.image"], mode = "evalexpr", '
          'expr = "IM0 +* 2", outfile = "images/twice" }\n', "step",
          plain(call("tclean", **DIRTY),
                call("immath", imagename=["map.image"], expr="IM0 +* 2", outfile="twice")),
          kind="casa", exit_code=1, step="step.immath"),
)  # fmt: skip
