"""The images of a self-calibration, with real CASA on small skies."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from casarun.engine import selfcal_image
from casarun.files import read_json, write_json
from support import selfcal_skies as skies
from support.skies import Source

pytestmark = pytest.mark.casa

QUICK = replace(skies.SMALL, integrations=10)
TCLEAN = {
    "imsize": [200, 200], "cell": "8arcsec", "specmode": "mfs", "gridder": "standard",
    "weighting": "briggs", "robust": 0.5, "deconvolver": "hogbom",
}  # fmt: skip


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def made(sky: skies.SelfcalSky, **more: Any) -> dict[str, Any]:
    """Build a sky and make its first image."""
    skies.build(Path("sky.ms"), sky)
    params = {
        "round": 0, "vis": ["sky.ms"], "datacolumn": "data", "tclean": TCLEAN, "prefix": "first",
        "state": "", "out": "first.json", "niter": 10000, **more,
    }  # fmt: skip
    return selfcal_image.image(params)


def pixels(path: str) -> Any:
    from casarun.casa.selfcal_image import plane

    return plane(path).pixels


def test_noise_has_no_emission(here: Path) -> None:
    found = made(replace(skies.NOISE_ONLY, integrations=10))
    assert found["empty"]
    assert found["mask_pixels"] == 0
    assert found["model_flux_jy"] == 0.0
    assert found["iterations"] == 0
    assert found["rms_noise_jy_per_beam"] == pytest.approx(
        found["thermal_noise_jy_per_beam"], rel=0.2
    )
    assert Path("first.image").is_dir()
    assert "first.mask" in found["_absent"]
    assert not [path for path in found["_absent"] if Path(path).exists()]


def test_a_point_without_errors_is_cleaned_to_the_noise_of_its_data(here: Path) -> None:
    sky = replace(QUICK, sources=(Source(0.2, 90.7, -45.3),)).without_errors()
    found = made(sky)
    assert found["peak_jy_per_beam"] == pytest.approx(0.2, rel=0.02)
    assert found["model_flux_jy"] == pytest.approx(0.2, rel=0.01)
    assert found["rms_noise_jy_per_beam"] < 1.5 * found["thermal_noise_jy_per_beam"]
    assert 30 < found["mask_pixels"] < 400
    more = {key: found[key] for key in ("how", "_absent")}
    assert found == read_json(Path("first.json")) | more


def test_artefacts_of_phase_errors_are_no_emission(here: Path) -> None:
    found = made(QUICK)
    mask = pixels("first.mask") > 0.5
    y, x = np.argwhere(mask).T
    assert np.hypot(y - 100, x - 100).max() < 20
    assert found["snr"] < 200
    assert found["threshold_jy"] > 100 * found["thermal_noise_jy_per_beam"]


def test_a_weak_source_beside_a_strong_one_is_found(here: Path) -> None:
    sources = (Source(0.2), Source(0.002, 400.0, -304.0))
    made(replace(QUICK, sources=sources).without_errors())
    model = pixels("first.model")
    weak = model[100 - 38 - 8 : 100 - 38 + 8, 100 - 50 - 8 : 100 - 50 + 8].sum()
    assert weak == pytest.approx(0.002, rel=0.2)


def test_extended_emission_and_a_point_off_centre(here: Path) -> None:
    sky = replace(
        QUICK, sources=(Source(0.05, 304.0, 304.0),), gaussians=(skies.Gaussian(0.2, 100.0),)
    )
    multiscale = TCLEAN | {"deconvolver": "multiscale", "scales": [0, 8, 16]}
    found = made(sky.without_errors(), tclean=multiscale)
    assert found["model_flux_jy"] == pytest.approx(0.25, rel=0.1)
    assert pixels("first.mask")[138, 62] == 1.0


def test_taylor_terms(here: Path) -> None:
    found = made(QUICK.without_errors(), tclean=TCLEAN | {"deconvolver": "mtmfs", "nterms": 2})
    assert found["model_flux_jy"] == pytest.approx(0.2, rel=0.02)
    assert Path("first.model.tt1").is_dir()
    assert not [path for path in found["_absent"] if Path(path).exists()]


def test_the_data_are_only_read(here: Path) -> None:
    from casarun.files import identity

    skies.build(Path("sky.ms"), QUICK)
    before = identity(Path("sky.ms"))
    params = {
        "round": 0, "vis": ["sky.ms"], "datacolumn": "data", "tclean": TCLEAN, "prefix": "first",
        "state": "", "out": "first.json", "niter": 100,
    }  # fmt: skip
    selfcal_image.image(params)
    assert identity(Path("sky.ms")) == before


def test_a_round_that_does_not_take_place_has_no_image(here: Path) -> None:
    write_json(here / "0.json", {"next": None, "ended": "it ended", "image": {}})
    params = {
        "round": 1, "vis": ["no.ms"], "datacolumn": "corrected", "tclean": TCLEAN, "prefix": "T.1",
        "state": "0.json", "solve": "", "out": "1.image.json", "niter": 100,
    }  # fmt: skip
    found = selfcal_image.image(params)
    assert found["_skipped"] == "it ended"
    assert found["_absent"] == [
        f"T.1.{kind}"
        for kind in ("image", "residual", "dirty", "model", "psf", "sumwt", "weight", "pb", "mask")
    ]
    assert read_json(here / "1.image.json") == {"round": 1, "skipped": "it ended"}


def test_a_judgement_is_written(here: Path) -> None:
    write_json(here / "1.image.json", {"round": 1, "skipped": "it ended"})
    before = {
        "round": 0, "next": None, "ended": "it ended", "accepted": False, "best_round": 0,
        "apply": [],
    }  # fmt: skip
    write_json(here / "0.json", before)
    ladder = {"solint": "auto", "calmode": "auto", "gaintype": "T", "combine": "", "rounds": 3}
    params = {
        "round": 1, "image": "1.image.json", "solve": "", "states": ["0.json"], "limits": {},
        "ladder": ladder, "out": "1.json",
    }  # fmt: skip
    assert selfcal_image.judge(params) == {
        "accepted": False, "reason": "it ended", "next": None, "ended": "it ended",
        "_skipped": "it ended", "_absent": [],
    }  # fmt: skip
    assert read_json(here / "1.json")["skipped"] == "it ended"
