"""Numbers of the report against CASA's own on the same products, and scores against the truth."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from casarun.casa import thermal
from casarun.qa import collect
from support import skies
from test_qa_casa import dataset_params, image_of, measured, solve

pytestmark = pytest.mark.casa

CELL_ARCSEC = 10.0


def expected(vis, weighting="natural", robust=0.5, **changes):
    return {
        "vis": [str(vis)], "spw": "", "column": "DATA", "size": [256, 256],
        "cell_arcsec": CELL_ARCSEC, "weighting": weighting, "robust": robust, **changes,
    }  # fmt: skip


@pytest.fixture
def target(casa, sky, tmp_path):
    """The target's own MS, as images are made of it."""
    path = tmp_path / "target.ms"
    casa("split", vis=str(sky[0]), outputvis=str(path), field="2", datacolumn="data")
    return path


def test_an_image_s_numbers_are_imstat_s(casa, target):
    image_of(casa, target, "i", field="0")
    numbers = measured("i")
    found, _ = casa("imstat", imagename="i.image")
    assert numbers["peak_jy_per_beam"] == pytest.approx(found["max"][0], rel=1e-6)
    assert numbers["min_jy_per_beam"] == pytest.approx(found["min"][0], rel=1e-6)
    assert numbers["peak_position"]["pixel"] == list(found["maxpos"][:2])
    rest, _ = casa("imstat", imagename="i.residual")
    largest = max(rest["max"][0], -rest["min"][0])
    assert numbers["residual_peak_jy_per_beam"] == pytest.approx(largest, rel=1e-6)
    model, _ = casa("imstat", imagename="i.model")
    assert numbers["model_flux_jy"] == pytest.approx(model["sum"][0], rel=1e-5)


def test_flags_are_flagdata_s(casa, own_sky):
    casa("flagdata", vis=str(own_sky), mode="manual", antenna="3", scan="2", flagbackup=False)
    casa("flagdata", vis=str(own_sky), mode="manual", spw="0:1", field="0", flagbackup=False)
    ours = collect.measure_dataset(dataset_params(own_sky))["flagged_fraction"]
    found, _ = casa("flagdata", vis=str(own_sky), mode="summary", antenna="*&*")
    assert ours["total"] == pytest.approx(found["flagged"] / found["total"], abs=1e-12)
    for key in ("field", "scan", "spw", "antenna"):
        theirs = {
            name: one["flagged"] / one["total"] for name, one in found[key].items() if one["total"]
        }
        assert ours[key] == pytest.approx(theirs, abs=1e-12), key


def test_flux_densities_are_fluxscale_s_and_the_data_give_them_back(casa, own_sky):
    solve(casa, own_sky)
    numbers = collect.measure_dataset(
        dataset_params(
            own_sky, column="corrected", fluxscale="c.fluxscale.json",
            caltables=[{"path": "c.fluxscale", "kind": "fluxscale"}],
            fields={"flux": [0], "phase": [1], "targets": [2]},
        )
    )  # fmt: skip
    raw = json.loads(Path("c.fluxscale.json").read_text())
    name = skies.PHASE_CAL.name
    ours = numbers["fluxscale"]["flux_jy"][name]["0"]
    assert ours == raw["1"]["0"]["fluxd"][0]
    given = numbers["calibrators"][name]["flux_jy"]["0"]
    assert given == pytest.approx(ours, rel=0.01)
    (first,) = numbers["spectra"][name]
    assert first["amplitude_jy"] == pytest.approx([given] * 4, rel=0.01)


def test_a_calibrator_that_is_off_its_place_is_found_there(casa, tmp_path):
    off = replace(skies.PHASE_CAL, sources=(skies.Source(2.5, 6.0, -4.0),))
    made = skies.Sky(fields=(skies.FLUX_CAL, off, skies.TARGET), scans=(1, 2))
    skies.build(tmp_path / "off.ms", made)
    numbers = collect.measure_dataset(
        dataset_params(tmp_path / "off.ms", fields={"phase": [1], "targets": [2]})
    )
    one = numbers["calibrators"][off.name]
    error = one["position_error_arcsec"]
    assert error < 0.1
    # The w term, left out here, moves it by a few per cent of the offset at most.
    assert one["east_arcsec"] == pytest.approx(6.0, abs=0.3)
    assert one["north_arcsec"] == pytest.approx(-4.0, abs=0.3)
    assert one["flux_jy"]["0"] == pytest.approx(2.5, rel=0.01)
    image_of(casa, tmp_path / "off.ms", "o", field="1", cell="2arcsec", niter=100)
    fitted, _ = casa("imfit", imagename="o.image", box="100,100,155,155")
    there = fitted["results"]["component0"]["shape"]["direction"]
    centre = np.radians([14.75457361 * 15, 9.97668694])  # of the field
    turned = (there["m0"]["value"] - centre[0] + np.pi) % (2 * np.pi) - np.pi
    east = turned * np.cos(centre[1])
    north = there["m1"]["value"] - centre[1]
    assert one["north_arcsec"] == pytest.approx(np.degrees(north) * 3600, abs=0.3)
    assert one["east_arcsec"] == pytest.approx(np.degrees(east) * 3600, abs=0.5)


def test_the_noise_that_the_data_allow_is_that_of_the_truth(casa, target, sky):
    found = thermal.parts([str(target)], "", "DATA")
    truth = sky[1]
    assert found[0].sigma_jy == pytest.approx(truth.sky.noise_jy, rel=0.05)
    assert found[0].integration_s == pytest.approx(truth.sky.integration_s)
    assert found[0].width_hz == truth.sky.spws[0].width_hz
    assert found[0].telescope == "VLA"
    image_of(casa, target, "n", field="0")
    numbers = measured("n", expected=expected(target))
    theory = truth.image_noise_jy(2)
    assert numbers["thermal_noise_jy_per_beam"] == pytest.approx(theory, rel=0.05)
    assert numbers["weighting_factor"] == 1.0
    assert 0.7 < numbers["noise_over_thermal"] < 1.5
    assert abs(numbers["residual_kurtosis"]) < 1


def test_flagged_data_and_unselected_channels_carry_nothing(casa, own_sky):
    casa("flagdata", vis=str(own_sky), mode="manual", spw="0:1", flagbackup=False)
    whole = thermal.parts([str(own_sky)], "", "DATA")
    half = thermal.parts([str(own_sky)], "0:1~2", "DATA")
    assert half[0].number == pytest.approx(whole[0].number / 3)


def test_what_the_weighting_costs_is_what_images_of_noise_show(casa, tmp_path):
    empty = skies.SkyField("noise", "15h00m00.0s", "+08d00m00.0s", (), skies.INTENT_TARGET)
    made = skies.Sky(fields=(empty,), scans=(0,) * 4)
    skies.build(tmp_path / "n.ms", made)
    rms = {}
    for weighting in ("natural", "uniform", "briggs"):
        image_of(casa, tmp_path / "n.ms", weighting, field="0", weighting=weighting, robust=0.0,
                 niter=0)  # fmt: skip
        found, _ = casa("imstat", imagename=f"{weighting}.residual", box="20,20,235,235")
        rms[weighting] = found["rms"][0]
        numbers = measured(weighting, displayed=f"{weighting}.residual",
                           expected=expected("n.ms", weighting, 0.0))  # fmt: skip
        assert numbers["noise_over_thermal"] == pytest.approx(1.0, abs=0.1)
        assert numbers["weighting_factor"] == pytest.approx(
            rms[weighting] / rms["natural"], rel=0.06
        )
    assert rms["uniform"] > 1.1 * rms["briggs"] > 1.2 * rms["natural"]


def test_a_weighting_without_a_known_cost_has_a_reason(casa, target):
    image_of(casa, target, "r", field="0", niter=0)
    numbers = measured("r", expected=expected(target, "radial"))
    assert numbers["weighting_factor"] is None
    assert "what the weighting 'radial' costs" in numbers["weighting_factor_reason"]


def test_a_mosaic_or_lost_data_have_a_reason(casa, target):
    image_of(casa, target, "m", field="0", niter=0)
    numbers = measured("m", expected={"reason": "the noise of a mosaic differs"})
    assert numbers["thermal_noise_jy_per_beam"] is None
    assert numbers["thermal_noise_jy_per_beam_reason"] == "the noise of a mosaic differs"
    numbers = measured("m", expected=expected("gone.ms"))
    assert "gone.ms" in numbers["noise_over_thermal_reason"]
