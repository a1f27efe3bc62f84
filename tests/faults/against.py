"""Recipes that do not fit their data: caught from the metadata, before any step."""

from __future__ import annotations

from pathlib import Path

from .fault import Call, Fault, Plain, call, lacking, plain
from .parts import GOOD, MAP, data, tclean

_CAL = "[calibrate]\n"
_CUBE = MAP + 'specmode = "cube"\n'


def _gaincal(**params: object) -> Plain:
    return plain(call("gaincal", vis="{vis}", caltable="g", **{"field": "1", "refant": "ea01",
                                                               **params}))  # fmt: skip


def _flag(command: str) -> Plain:
    return plain(call("flagdata", vis="{vis}", mode="list", inpfile=[command]))


def _manual(name: str, did: str, command: str, *, warns: bool = False) -> Fault:
    """Return a flag command that selects nothing."""
    return Fault(f"manual-{name}", did, f"{GOOD}[flag]\nmanual = [«{_toml(command)}»]\n",
                 "check", _flag(command), warns=warns, exit_code=0 if warns else 2)  # fmt: skip


def _toml(text: str) -> str:
    return '"' + text.replace('"', '\\"') + '"'


def _passed(task: str, name: str, did: str, value: str, same: Plain) -> Fault:
    """Return a selection that goes to a task as it is, and selects nothing."""
    return Fault(f"{task}-{name}", did, f'{GOOD}{_CAL}{task} = {{ {name} = «"{value}"» }}\n',
                 "check", same)  # fmt: skip


def _image(name: str, did: str, value: str) -> Fault:
    return Fault(f"tclean-{name}", did, f'{GOOD}{MAP}tclean = {{ {name} = «"{value}"» }}\n',
                 "check", tclean(**{name: value}))  # fmt: skip


def _setjy(**params: object) -> Call:
    return call("setjy", vis="{vis}", **params)


SELECTIONS: tuple[Fault, ...] = (
    Fault("phase-typo", "misspelt the phase calibrator",
          GOOD + '[calibrators]\nphase = «"1445+099*"»\n', "check", _gaincal(field="1445+099*")),
    Fault("flux-typo", "misspelt the flux calibrator",
          GOOD + '[calibrators]\nflux = «"1331+306"»\n', "check",
          plain(_setjy(field="1331+306"))),
    Fault("bandpass-typo", "gave the id of a field that there is not",
          GOOD + '[calibrators]\nbandpass = «"7"»\n', "check",
          plain(call("bandpass", vis="{vis}", caltable="b", field="7", refant="ea01"))),
    Fault("target-typo", "misspelt the target", GOOD + '[targets]\nfields = «["targte"]»\n',
          "check", tclean(field="targte")),
    Fault("target-phase-typo", "misspelt the calibrator that serves a target",
          GOOD + '[targets]\nphase = «{ "target" = "J1446" }»\n', "check",
          plain(call("gaincal", vis="{vis}", caltable="g", field="1", refant="ea01"),
                call("applycal", vis="{vis}", field="2", gaintable="g", gainfield="J1446"))),
    Fault("image-target-typo", "imaged a target that is not one",
          GOOD + MAP + 'targets = «["J1445+0958"]»\n', "check",
          lacking("plain CASA knows no targets")),
    Fault("refant-typo", "named a reference antenna of another array",
          GOOD + _CAL + 'refant = «"VA15"»\n', "check", _gaincal(refant="VA15")),
    Fault("refant-list", "misspelt one of several reference antennas",
          GOOD + _CAL + 'refant = «["ea03", "ea99"]»\n', "check",
          plain(call("bandpass", vis="{vis}", caltable="b", field="0", refant="ea99"))),
    Fault("spw-unknown", "named a spectral window that there is not",
          GOOD + _CAL + 'spw = «"7"»\n', "check", _gaincal(spw="7")),
    Fault("channels-beyond", "named channels that there are not",
          GOOD + _CAL + 'spw = «"0:100~120"»\n', "check", _gaincal(spw="0:100~120")),
    Fault("channels-half-beyond", "named channels of which half are not there",
          GOOD + _CAL + 'spw = «"0:8~40"»\n', "check", _gaincal(spw="0:8~40")),
    Fault("spw-syntax", "wrote channels with a dash, as in most programs",
          GOOD + _CAL + 'spw = «"0:2-12"»\n', "check", _gaincal(spw="0:2-12")),
    Fault("image-spw", "imaged a spectral window that there is not",
          GOOD + MAP + 'spw = «"5"»\n', "check", tclean(spw="5")),
    Fault("image-channels", "imaged channels that there are not",
          GOOD + MAP + 'spw = «"1:20~30"»\n', "check", tclean(spw="1:20~30")),
    _manual("antenna", "flagged an antenna that there is not", "antenna='ea99'"),
    _manual("scan", "flagged a scan that there is not", "scan='99'"),
    _manual("spw", "flagged channels that there are not", "spw='0:100~120'"),
    _manual("field", "flagged a field that there is not", "field='NGC1068'"),
    _manual("time", "flagged a time of another day",
            "timerange='2020/03/04/08:00:00~2020/03/04/09:00:00'"),
    _manual("date", "flagged a day, and wrote its date only", "timerange='2020/03/01'"),
    _manual("uvrange", "flagged baselines longer than the array", "uvrange='>100km'"),
    _manual("intent", "flagged an intent that no scan has", "intent='*POINTING*'"),
    _manual("key", "misspelt a key of a flag command", "antena='ea03'"),
    _manual("quote", "forgot a quote of a flag command", "antenna='ea03"),
    _manual("mode", "named a mode of flagging that there is not", "mode='manuel' antenna='ea03'"),
    _passed("gaincal", "uvrange", "solved on baselines longer than the array", ">1Mlambda",
            _gaincal(uvrange=">1Mlambda")),
    _passed("gaincal", "scan", "solved on a scan that there is not", "77", _gaincal(scan="77")),
    _passed("gaincal", "antenna", "solved for an antenna that there is not", "ea99",
            _gaincal(antenna="ea99")),
    _passed("gaincal", "timerange", "solved on a time of another day",
            "2019/01/01/00:00:00~2019/01/02/00:00:00",
            _gaincal(timerange="2019/01/01/00:00:00~2019/01/02/00:00:00")),
    _passed("bandpass", "uvrange", "wrote a range of baselines with a wrong unit", ">1kpc",
            plain(call("bandpass", vis="{vis}", caltable="b", field="0", refant="ea01",
                       uvrange=">1kpc"))),
    _passed("bandpass", "intent", "solved on an intent that no scan has", "*POLARIZATION*",
            plain(call("bandpass", vis="{vis}", caltable="b", field="0", refant="ea01",
                       intent="*POLARIZATION*"))),
    _image("uvrange", "imaged baselines longer than the array", ">1Mlambda"),
    _image("antenna", "imaged an antenna that there is not", "ea99"),
    _image("scan", "imaged a scan that there is not", "77"),
    _image("timerange", "imaged a time of another day", "2019/01/01~2019/01/02"),
    _image("intent", "imaged an intent that no scan has", "OBSERVE_TARGTE*"),
    Fault("step-selection", "let a step select a field that there is not",
          GOOD + '[[step]]\ntask = "statwt"\nafter = "apply"\n'
          'params = { vis = "{vis}", field = «"NGC1068"», datacolumn = "corrected" }\n', "check",
          plain(call("statwt", vis="{vis}", field="NGC1068", datacolumn="data"))),
)  # fmt: skip

CALIBRATORS: tuple[Fault, ...] = (
    Fault("flux-unknown", "took a flux calibrator that the standard does not know",
          GOOD + '[calibrators]\nflux = «"J1445+0958"»\n', "check", plain(_setjy(field="1"))),
    Fault("flux-band", "took a standard that says nothing of this band",
          GOOD + '[calibrators]\nflux = { field = "1331*", standard = «"Scaife-Heald 2012"» }\n',
          "check", plain(_setjy(field="0", standard="Scaife-Heald 2012"))),
    Fault("flux-other-standard", "took a standard that does not know the calibrator",
          GOOD
          + '[calibrators]\nflux = { field = "1331*", standard = «"Stevens-Reynolds 2016"» }\n',
          "check", plain(_setjy(field="0", standard="Stevens-Reynolds 2016"))),
    Fault("flux-model", "named a model image that CASA does not have",
          GOOD + '[calibrators]\nflux = { field = "1331*", model = «"3C286_Q9.im"» }\n', "check",
          plain(_setjy(field="0", model="3C286_Q9.im"))),
    Fault("no-intents", "named no calibrators for data without scan intents",
          data("nointents"), "check", lacking("a script names its fields")),
    Fault("no-phase", "observed no phase calibrator", data("nophase"), "check",
          lacking("a script leaves the phases of the target as they are")),
    Fault("phase-stale", "observed the phase calibrator only an hour before the target",
          data("stale"), "check",
          plain(call("gaincal", vis="{vis}", caltable="g", field="1", refant="ea01"),
                call("applycal", vis="{vis}", field="2", gaintable="g"), vis="stale"),
          warns=True, exit_code=0),
    Fault("phase-far", "took a phase calibrator on the other side of the sky", data("far"),
          "check",
          plain(call("gaincal", vis="{vis}", caltable="g", field="1", refant="ea01"),
                call("applycal", vis="{vis}", field="2", gaintable="g"), vis="far"),
          warns=True, exit_code=0),
    Fault("flux-gap", "did not observe the flux calibrator in a target's spectral window",
          data("fluxgap"), "check",
          plain(call("gaincal", vis="{vis}", caltable="g", field="0,1", refant="ea01"),
                call("fluxscale", vis="{vis}", caltable="g", fluxtable="f", reference="0",
                     transfer="1"), vis="fluxgap")),
    Fault("phase-gap", "did not observe the phase calibrator in a target's spectral window",
          data("phasegap"), "check",
          plain(call("gaincal", vis="{vis}", caltable="g", field="1", refant="ea01"),
                call("applycal", vis="{vis}", field="2", gaintable="g"), vis="phasegap"),
          warns=True, exit_code=0),
    Fault("calibrator-flagged", "gave data whose phase calibrator is all flagged",
          data("calflagged"), "check",
          plain(call("gaincal", vis="{vis}", caltable="g", field="1", refant="ea01"),
                vis="calflagged")),
    Fault("target-flagged", "gave data whose target is all flagged", data("targetflagged"),
          "check", tclean("targetflagged")),
    Fault("calibrator-as-target", "named one field as calibrator and as target",
          GOOD + '[targets]\nfields = «["target", "J1445+0958"]»\n', "check",
          lacking("plain CASA knows no targets")),
    Fault("solint-short", "asked for solutions shorter than an integration",
          GOOD + _CAL + 'solint = { phase = «"1s"» }\n', "check", _gaincal(solint="1s"),
          warns=True, exit_code=0),
    Fault("solint-channels", "asked for a bandpass interval of channels that there are not",
          GOOD + _CAL + 'solint = { bandpass = «"inf,100ch"» }\n', "check",
          plain(call("bandpass", vis="{vis}", caltable="b", field="0", refant="ea01",
                     solint="inf,100ch")), warns=True, exit_code=0),
    Fault("too-few-antennas", "asked for more baselines an antenna than there are",
          data("few") + _CAL + "minblperant = «4»\n", "check",
          plain(call("gaincal", vis="{vis}", caltable="g", field="1", refant="ea01",
                     minblperant=4), vis="few")),
)  # fmt: skip


def _region(folder: Path, _: Path) -> None:
    (folder / "off.crtf").write_text("#CRTFv0\ncircle[[16h30m00.0s, +08d00m00.0s], 90arcsec] "
                                     "coord=J2000\n")  # fmt: skip


def _ds9(folder: Path, _: Path) -> None:
    (folder / "source.reg").write_text('fk5\ncircle(225.0, 8.0, 90")\necliptic\n')


def _points(folder: Path, _: Path) -> None:
    (folder / "empty.crtf").write_text("#CRTFv0\n")


def _contsub(fitspec: str, more: str = "", start: str = "6") -> str:
    return (
        f'{GOOD}[contsub]\nfitspec = {fitspec}\n{more}[[image]]\nname = "cube"\n'
        f'specmode = "cube"\nfrom = "contsub"\nspw = "0"\nstart = {start}\nnchan = 4\n'
    )


def _uvcontsub(fitspec: str, **more: object) -> Plain:
    return plain(call("uvcontsub", vis="{vis}", outputvis="c.ms", fitspec=fitspec,
                      datacolumn="data", **more))  # fmt: skip


def _cube(**params: object) -> Plain:
    return tclean(**{"specmode": "cube", "spw": "0", **params})


IMAGES: tuple[Fault, ...] = (
    Fault("cell-coarse", "made pixels larger than the synthesized beam",
          GOOD + MAP + 'cell = «"5arcmin"»\nimsize = 64\n', "check",
          tclean(cell="5arcmin", niter=50)),
    Fault("cell-fine", "made pixels so small that the synthesized beam takes twenty of them",
          GOOD + MAP + 'cell = «"2arcsec"»\nimsize = 1024\n', "check",
          tclean(cell="2arcsec", imsize=1024), warns=True, exit_code=0),
    Fault("imsize-small", "made an image that leaves out most of the primary beam",
          GOOD + MAP + 'cell = "10arcsec"\nimsize = «32»\n', "check",
          tclean(imsize=32), warns=True, exit_code=0),
    Fault("imsize-prime", "made an image whose size is bad for the Fourier transform",
          GOOD + MAP + 'cell = "8arcsec"\nimsize = «509»\n', "check",
          tclean(imsize=509, cell="8arcsec"), warns=True, exit_code=0),
    Fault("stokes-missing", "asked for polarizations that were not correlated",
          GOOD + MAP + 'stokes = «"IQUV"»\n', "check", tclean(stokes="IQUV")),
    Fault("stokes-linear", "asked for linear feeds' products of circular ones",
          GOOD + MAP + 'stokes = «"XX"»\n', "check", tclean(stokes="XX")),
    Fault("cube-start", "began a cube after the last channel",
          f'{GOOD}{_CUBE}spw = "0"\nstart = «40»\nnchan = 4\n', "check",
          _cube(start=40, nchan=4)),
    Fault("cube-nchan", "asked for more channels than there are",
          f'{GOOD}{_CUBE}spw = "0"\nstart = 10\nnchan = «60»\n', "check",
          _cube(start=10, nchan=60), warns=True, exit_code=0),
    Fault("cube-frequency", "began a cube at a frequency that was not observed",
          f'{GOOD}{_CUBE}spw = "0"\nstart = «"1.3GHz"»\nnchan = 4\nwidth = "1MHz"\n', "check",
          _cube(start="1.3GHz", nchan=4, width="1MHz")),
    Fault("cube-velocity", "gave velocities without a line's rest frequency",
          f'{GOOD}{_CUBE}spw = "0"\nstart = «"1200km/s"»\nnchan = 4\nwidth = "250km/s"\n',
          "check", _cube(start="1200km/s", nchan=4, width="250km/s")),
    Fault("cube-velocity-outside", "gave velocities at which nothing was observed",
          f'{GOOD}{_CUBE}spw = "0"\nrestfreq = "1420.405752MHz"\nstart = «"90000km/s"»\n'
          'nchan = 4\nwidth = "250km/s"\n', "check",
          _cube(restfreq="1420.405752MHz", start="90000km/s", nchan=4, width="250km/s")),
    Fault("cube-width", "made channels a little narrower than the data's",
          f'{GOOD}{_CUBE}spw = "0"\nstart = "1.405GHz"\nnchan = 4\nwidth = «"0.99MHz"»\n',
          "check", _cube(start="1.405GHz", nchan=4, width="0.99MHz")),
    Fault("restfreq-outside", "gave the rest frequency of a line in another band",
          f'{GOOD}{_CUBE}spw = "0"\nrestfreq = «"115.271GHz"»\nmoments = [1]\n', "check",
          _cube(restfreq="115.271GHz"), warns=True, exit_code=0),
    Fault("fitspec-beyond", "fitted the continuum to channels that there are not",
          _contsub('«"0:40~60"»'), "check", _uvcontsub("0:40~60")),
    Fault("fitspec-syntax", "wrote the channels to fit with a dash",
          _contsub('«"0:1-4"»'), "check", _uvcontsub("0:1-4")),
    Fault("fitspec-line", "fitted the continuum to the line's own channels",
          _contsub('"0:2~13"', start="«6»"), "check", _uvcontsub("0:2~13"),
          warns=True, exit_code=0),
    Fault("fitorder-high", "fitted a polynomial with more terms than there are channels",
          _contsub('"0:1~2"', "fitorder = «3»\n"), "check", _uvcontsub("0:1~2", fitorder=3)),
    Fault("mask-off", "drew a mask beside the image",
          GOOD + MAP + 'mask = «"off.crtf"»\ncell = "10arcsec"\nimsize = 256\n', "check",
          tclean(niter=100, usemask="user", mask="off.crtf"), build=_region),
    Fault("mask-ds9", "gave a region of DS9 as a mask, in coordinates that no image has",
          GOOD + MAP + 'mask = «"source.reg"»\n', "check",
          tclean(niter=100, usemask="user", mask="source.reg"), build=_ds9),
    Fault("mask-empty", "gave a region file without a region",
          GOOD + MAP + 'mask = «"empty.crtf"»\ncell = "10arcsec"\nimsize = 256\n', "check",
          tclean(niter=100, usemask="user", mask="empty.crtf"), build=_points),
    Fault("phasecenter", "misspelt a position",
          GOOD + MAP + 'tclean = { phasecenter = «"J2000 15h00 8d00 foo"» }\n', "check",
          tclean(phasecenter="J2000 15h00 8d00 foo")),
)  # fmt: skip
