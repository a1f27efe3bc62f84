"""Any CASA task as a step of a recipe, on real data: each product is physically right."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from astropy.io import fits
from support import skies
from support.cli import casarun, digests, events, recipe

pytestmark = pytest.mark.casa

NGC5921 = """
[[dataset]]
name = "apr13"
vis  = "casadata:demo/NGC5921.fits"

[calibrators]
flux     = "1331+305*"
bandpass = "1331+305*"
phase    = "1445+099*"

[targets]
fields = "N5921*"

[calibrate]
spw = "0:6~56"

[contsub]
fitspec = "0:4~6;50~59"

[[image]]
name   = "continuum"
spw    = "0:4~6;50~59"
imsize = 192
cell   = "10arcsec"
niter  = 200

[[image]]
name     = "hi"
specmode = "cube"
from     = "contsub"
start    = 5
nchan    = 46
restfreq = "1420.405752MHz"
imsize   = 128
cell     = "15arcsec"
niter    = 100

[[step]]
task   = "plotants"
after  = "import"
params = { figfile = "qa/{dataset}.antennas.png" }

[[step]]
task   = "gencal"
before = "calibrate"
[step.params]
caltable  = "caltables/{dataset}.antpos"
caltype   = "antpos"
antenna   = "1,2"
parameter = [0.1, 0.0, 0.0, 0.0, 0.2, 0.0]

[[step]]
task   = "statwt"
after  = "split"
per    = "target"
params = { datacolumn = "data", fitspw = "0:4~6;50~59" }

[[step]]
task  = "phaseshift"
after = "statwt"
per   = "target"
[step.params]
outputvis   = "calibrated/{dataset}.{target}.shifted.ms"
datacolumn  = "data"
phasecenter = "J2000 15h22m00 +5d08m00"

[[step]]
task   = "exportuvfits"
after  = "mstransform"
per    = "target"
params = { vis = "calibrated/{target}.averaged.ms", fitsfile = "calibrated/{target}.uvfits", \
datacolumn = "data" }

[[step]]
task  = "mstransform"
after = "statwt"
per   = "target"
[step.params]
outputvis   = "calibrated/{target}.averaged.ms"
datacolumn  = "data"
chanaverage = true
chanbin     = 3

[[step]]
task  = "imsmooth"
after = "image"
per   = "image"
only  = "hi"
[step.params]
kernel    = "gauss"
major     = "90arcsec"
minor     = "90arcsec"
pa        = "0deg"
targetres = true
outfile   = "{prefix}.smooth"

[[step]]
task  = "imregrid"
after = "imsmooth"
per   = "image"
only  = "continuum"
params = { template = "images/{target}.hi.smooth", output = "{prefix}.regridded", axes = [0, 1] }

[[step]]
task  = "immath"
after = "image"
per   = "image"
only  = "continuum"
params = { imagename = ["{image}", "{prefix}.residual"], expr = "IM0 - IM1", \
outfile = "{prefix}.minus" }

[[step]]
task  = "imfit"
after = "image"
per   = "image"
only  = "continuum"
[step.params]
region   = "circle[[15h21m55s, 4d58m30s], 3arcmin]"
logfile  = "qa/{target}.imfit.txt"
model    = "{prefix}.fitted"
residual = "{prefix}.unfitted"

[[step]]
task   = "specsmooth"
after  = "image"
per    = "image"
only   = "hi"
params = { outfile = "{prefix}.hanning", function = "hanning", axis = 3, dmethod = "" }

[[step]]
task   = "specfit"
after  = "image"
per    = "image"
only   = "hi"
params = { box = "64,64,66,66", poly = 0, logfile = "qa/{target}.specfit.txt" }
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reduce NGC 5921 with a step for each of a dozen tasks."""
    place = tmp_path_factory.mktemp("steps")
    done = casarun(recipe(place, NGC5921), "--output", "run", cwd=place)
    assert done.returncode == 0, done.stdout + done.stderr
    return place / "run"


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    from casarun.casa.config import configure

    configure()
    from casatools import table

    tool = table()
    tool.open(str(path))
    try:
        yield tool
    finally:
        tool.close()


def column(path: Path, name: str) -> npt.NDArray[Any]:
    with opened(path) as tool:
        found: npt.NDArray[Any] = tool.getcol(name)
    return found


def pixels(path: Path) -> tuple[npt.NDArray[np.float64], float]:
    """Return an image without its degenerate axes, and its beam's area in arcsec2, or 0."""
    from casarun.casa.config import configure

    configure()
    from casatools import image

    tool = image()
    tool.open(str(path))
    try:
        found, beam = tool.getchunk(dropdeg=True), tool.restoringbeam()
    finally:
        tool.close()
    widths = [beam[axis]["value"] for axis in ("major", "minor") if beam]
    return found, float(np.prod(widths) * np.pi / 4 / np.log(2)) if widths else 0.0


def outcome(run: Path, step: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "logs" / step / "result.json").read_text())
    return found


def test_plotants_draws_a_picture(run: Path) -> None:
    assert (run / "qa" / "apr13.antennas.png").read_bytes()[:4] == b"\x89PNG"


def test_gencal_writes_the_offsets_of_antennas(run: Path) -> None:
    offsets = column(run / "caltables" / "apr13.antpos", "FPARAM")[:, 0]
    assert offsets.shape == (3, 28)
    assert offsets[:, 0] == pytest.approx([0.1, 0, 0])
    assert offsets[:, 1] == pytest.approx([0, 0.2, 0])
    assert not offsets[:, 2:].any()


def test_statwt_makes_weights_of_the_scatter(run: Path) -> None:
    ms = run / "calibrated" / "apr13.N5921_2.ms"
    free = np.r_[4:7, 50:60]
    data = np.ma.array(column(ms, "DATA")[:, free], mask=column(ms, "FLAG")[:, free])
    variance = 0.5 * (data.real.var(axis=1, ddof=1) + data.imag.var(axis=1, ddof=1))
    assert np.ma.median(variance * column(ms, "WEIGHT")) == pytest.approx(1, abs=0.15)


def test_statwt_leaves_no_flag_versions_behind(run: Path) -> None:
    assert list(run.rglob("*.flagversions")) == []


def test_phaseshift_moves_the_phase_centre_and_keeps_amplitudes(run: Path) -> None:
    before, after = (run / "calibrated" / f"apr13.N5921_2{s}.ms" for s in ("", ".shifted"))
    centre = np.degrees(column(after / "FIELD", "PHASE_DIR")[:, 0, 0])
    assert centre % 360 == pytest.approx([230.5, 5 + 8 / 60])
    old, new = column(before, "DATA"), column(after, "DATA")
    assert np.abs(new) == pytest.approx(np.abs(old), rel=1e-4)
    assert not np.allclose(new, old)


def test_mstransform_averages_channels_and_adds_their_weights(run: Path) -> None:
    before = run / "calibrated" / "apr13.N5921_2.ms"
    after = run / "calibrated" / "N5921_2.averaged.ms"
    assert column(after, "DATA").shape == (2, 21, 11934)
    ratio = column(after, "WEIGHT") / column(before, "WEIGHT")
    assert np.median(ratio) == pytest.approx(3, rel=0.01)


def test_exportuvfits_writes_all_visibilities(run: Path) -> None:
    with fits.open(run / "calibrated" / "N5921_2.uvfits") as hdus:
        assert hdus[0].header["GCOUNT"] == 11934
        assert hdus[0].header["NAXIS4"] == 21


def test_imsmooth_gives_the_beam_and_keeps_the_flux(run: Path) -> None:
    smooth, area = pixels(run / "images" / "N5921_2.hi.smooth")
    sharp, sharp_area = pixels(run / "images" / "N5921_2.hi.image")
    assert area == pytest.approx(90**2 * np.pi / 4 / np.log(2), rel=1e-5)
    inside = np.s_[44:84, 44:84, 15:30]
    # The galaxy is inside: what the wider beam carries out and in is little.
    assert smooth[inside].sum() / area == pytest.approx(sharp[inside].sum() / sharp_area, rel=0.1)


def test_imregrid_takes_the_template_s_pixels_and_keeps_the_source(run: Path) -> None:
    here, area = pixels(run / "images" / "N5921_2.continuum.regridded")
    there, there_area = pixels(run / "images" / "N5921_2.continuum.image")
    assert (here.shape, there.shape) == ((128, 128), (192, 192))
    assert here.max() == pytest.approx(there.max(), rel=0.03)
    assert area == pytest.approx(there_area)


def test_immath_computes(run: Path) -> None:
    image, residual, minus = (
        pixels(run / "images" / f"N5921_2.continuum.{name}")[0]
        for name in ("image", "residual", "minus")
    )
    assert minus == pytest.approx(image - residual, abs=1e-7)


def test_imfit_finds_the_point_source(run: Path) -> None:
    result = outcome(run, "N5921_2.continuum.step.imfit")["outcome"]
    assert result["converged"] == [True]
    fitted = result["results"]["component0"]
    image, _ = pixels(run / "images" / "N5921_2.continuum.image")
    assert fitted["peak"]["value"] == pytest.approx(image.max(), rel=0.03)
    assert fitted["flux"]["value"][0] == pytest.approx(image.max(), rel=0.1)  # a point
    model, _ = pixels(run / "images" / "N5921_2.continuum.fitted")
    assert model.max() == pytest.approx(image.max(), rel=0.03)
    assert "Flux ---" in (run / "qa" / "N5921_2.imfit.txt").read_text()


def test_specsmooth_takes_noise_out(run: Path) -> None:
    smooth, _ = pixels(run / "images" / "N5921_2.hi.hanning")
    sharp, _ = pixels(run / "images" / "N5921_2.hi.image")
    ratio = smooth[..., 1:4].std() / sharp[..., 1:4].std()
    # sqrt(3/8) for channels that are independent; theirs are Hanning-smoothed in part.
    assert ratio == pytest.approx(np.sqrt(3 / 8), abs=0.1)


def test_specfit_finds_the_line_at_the_galaxy_s_velocity(run: Path) -> None:
    result = outcome(run, "N5921_2.hi.step.specfit")["outcome"]
    assert np.all(result["converged"])
    text = (run / "qa" / "N5921_2.specfit.txt").read_text()
    centre = re.search(r"Center +: +([\d.]+) \+/- [\d.]+ km/s", text)
    assert centre is not None
    assert float(centre[1]) == pytest.approx(1480, abs=60)


def test_what_steps_make_is_proven_as_for_built_in_ones(run: Path) -> None:
    checks = {
        "apr13.step.gencal": "caltable caltables/apr13.antpos",
        "apr13.N5921_2.step.statwt": "ms calibrated/apr13.N5921_2.ms",
        "apr13.N5921_2.step.phaseshift": "ms calibrated/apr13.N5921_2.shifted.ms",
        "N5921_2.hi.step.imsmooth": "image_table images/N5921_2.hi.smooth",
        "apr13.N5921_2.step.exportuvfits": "exists calibrated/N5921_2.uvfits",
    }
    for step, check in checks.items():
        assert list(outcome(run, step)["checks"]) == [check]
        assert outcome(run, step)["undeclared"] == []
        assert (run / "logs" / step / "attempt-1" / "casa.log").is_file()


def test_another_parameter_runs_the_step_and_what_hangs_on_it(run: Path) -> None:
    path = run.parent / "recipe.toml"
    path.write_text(path.read_text().replace('"90arcsec"', '"100arcsec"'))
    done = casarun(path, "--output", "run", cwd=run.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    last = max(i for i, e in enumerate(events(run)) if e["event"] == "run-started")
    ran = [e["step"] for e in events(run)[last:] if e["event"] == "step-done"]
    assert ran == ["N5921_2.hi.step.imsmooth", "N5921_2.continuum.step.imregrid"]


POLARIZED = """
[[dataset]]
name = "day"
vis  = "sky.ms"

[[step]]
task  = "polcal"
after = "calibrate"
[step.params]
caltable  = "caltables/{dataset}.leakage"
field     = "0"
poltype   = "D"
solint    = "inf"
combine   = "scan"
refant    = "0"
gaintable = ["caltables/day.bandpass", "caltables/day.phase-int", "caltables/day.fluxscale"]

[[step]]
task   = "fluxscale"
name   = "nowhere"
after  = "polcal"
params = { caltable = "caltables/day.amp", fluxtable = "caltables/day.again", reference = "0" }
"""


@pytest.fixture(scope="module")
def leaking(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, skies.Truth, dict[str, str]]:
    """Calibrate a sky whose feeds leak, as far as the split."""
    place = tmp_path_factory.mktemp("leak")
    sky = skies.Sky(correlations=("RR", "RL", "LR", "LL"), leakage=0.03, noise_jy=0.05)
    truth = skies.build(place / "sky.ms", sky)
    before = digests(place / "sky.ms")
    done = casarun(recipe(place, POLARIZED), "--output", "run", "--until", "split", cwd=place)
    assert done.returncode == 0, done.stdout + done.stderr
    return place, truth, before


def test_polcal_finds_the_leakages(
    leaking: tuple[Path, skies.Truth, dict[str, str]],
) -> None:
    place, truth, before = leaking
    table = place / "run" / "caltables" / "day.leakage"
    with opened(table) as tool:
        assert "D" in tool.getkeyword("VisCal")
        antennas, found = tool.getcol("ANTENNA1"), tool.getcol("CPARAM").mean(axis=1)
    wanted = truth.leakage[:, antennas]
    # An unpolarized calibrator leaves d_R + c and d_L - conj(c) alike: a number for all antennas.
    off = found - wanted
    assert np.abs(off - off.mean(axis=1, keepdims=True)).max() < 0.1 * np.abs(wanted).mean()
    assert digests(place / "sky.ms") == before
