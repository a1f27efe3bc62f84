"""From numbers to checks and the verdict."""

import json
from importlib import resources

import pytest
from casarun.qa.verdict import assemble, worst
from jsonschema import Draft202012Validator

LIMITS = {"max_flagged_fraction": 0.5, "min_dynamic_range": 20.0}


def dataset(**changes):
    numbers = {
        "kind": "dataset",
        "dataset": "apr13",
        "flagged_fraction": {
            "total": 0.25,
            "field": {"cal": 0.2, "N5921_2": 0.3},
            "antenna": {"1": 0.2, "2": 0.3},
            "spw": {"0": 0.25},
        },
        "target_fields": ["N5921_2"],
        "caltables": [
            {
                "path": "caltables/apr13.bandpass",
                "kind": "bandpass",
                "type": "B Jones",
                "solutions": 100,
                "intervals": 1,
                "by_antenna": {"1": 0.1},
                "flagged_fraction": 0.1,
                "median_snr": 300.0,
            }
        ],
        "fluxscale": {
            "flux_jy": {"cal": {"0": 2.5}},
            "error_jy": {"cal": {"0": 0.01}},
            "solutions": {"cal": {"0": 54}},
            "flux_jy_reason": {},
        },
        "plots": [],
    }
    return {**numbers, **changes}


def image(**changes):
    numbers = {
        "kind": "image",
        "target": "N5921_2",
        "image": "hi",
        "specmode": "cube",
        "fits": "images/N5921_2.hi.fits",
        "peak_jy_per_beam": 0.05,
        "min_jy_per_beam": -0.01,
        "rms_noise_jy_per_beam": 0.002,
        "dynamic_range": 25.0,
        "noise_method": "x",
        "bmaj_arcsec": 53.0,
        "bmin_arcsec": 47.0,
        "bpa_deg": 8.0,
        "beams_differ_by_channel": False,
        "shape": [256, 256, 1, 46],
        "cell_arcsec": 15.0,
        "frequency_min_hz": 1.412e9,
        "frequency_max_hz": 1.414e9,
        "peak_position": {
            "ra_deg": 230.5, "dec_deg": 5.1, "frame": "J2000", "pixel": [1, 2], "channel": 3,
        },
        "cleaned": True,
        "model_flux_jy": 0.2,
        "residual_peak_jy_per_beam": 0.008,
        "residual_peak_sigma": 4.0,
        "per_channel": {},
        "plots": [],
    }  # fmt: skip
    return {**numbers, **changes}


def judged(datasets=None, images=None, missing=()):
    chosen = {"apr13": dataset()} if datasets is None else datasets
    return assemble(chosen, [image()] if images is None else images, LIMITS, missing)


def failing(metrics, verdict):
    return [(c["name"], c["subject"]) for c in metrics["checks"] if c["verdict"] == verdict]


def test_good_numbers_pass_and_fit_the_schema():
    metrics = judged()
    assert metrics["verdict"] == "pass"
    assert metrics["images"]["N5921_2"]["hi"]["dynamic_range"] == 25.0
    assert metrics["datasets"]["apr13"]["fluxscale"] == {"cal": {"0": 2.5}}
    assert metrics["datasets"]["apr13"]["flagged_fraction"]["total"] == 0.25
    validate(metrics)


def validate(metrics):
    text = (resources.files("casarun") / "schemas" / "metrics.schema.json").read_text()
    schema = json.loads(text)
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(json.loads(json.dumps(metrics, allow_nan=False)))


def test_too_much_flagged_fails_in_all_and_for_the_target():
    flagged = {**dataset()["flagged_fraction"], "total": 0.6, "field": {"N5921_2": 0.9}}
    metrics = judged({"apr13": dataset(flagged_fraction=flagged)})
    assert metrics["verdict"] == "fail"
    assert failing(metrics, "fail") == [
        ("flagged_fraction", "apr13"),
        ("flagged_fraction", "apr13, N5921_2"),
    ]


def test_a_flagged_calibrator_alone_does_not_fail():
    flagged = {**dataset()["flagged_fraction"], "field": {"cal": 0.99, "N5921_2": 0.1}}
    assert judged({"apr13": dataset(flagged_fraction=flagged)})["verdict"] == "pass"


def test_low_dynamic_range_fails():
    metrics = judged(images=[image(dynamic_range=19.9)])
    assert metrics["verdict"] == "fail"
    assert failing(metrics, "fail") == [("dynamic_range", "N5921_2, hi")]


def test_unmeasured_noise_fails_with_its_reason():
    blank = image(
        dynamic_range=None, dynamic_range_reason="no noise: it has no valid pixels",
        rms_noise_jy_per_beam=None, rms_noise_jy_per_beam_reason="no noise",
    )  # fmt: skip
    metrics = judged(images=[blank])
    check = next(c for c in metrics["checks"] if c["name"] == "dynamic_range")
    assert check["verdict"] == "fail"
    assert check["text"] == "no noise: it has no valid pixels"
    validate(metrics)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"cleaned": False}, "model_not_empty"),
        ({"residual_peak_sigma": 30.0}, "residual_peak"),
        ({"bmin_arcsec": 20.0}, "beam_sampling"),
    ],
)
def test_doubtful_images_warn(changes, name):
    metrics = judged(images=[image(**changes)])
    assert metrics["verdict"] == "warn"
    assert failing(metrics, "warn") == [(name, "N5921_2, hi")]


def test_a_lost_antenna_warns_by_name():
    flagged = {**dataset()["flagged_fraction"], "antenna": {"1": 0.1, "ea07": 1.0}}
    metrics = judged({"apr13": dataset(flagged_fraction=flagged)})
    assert metrics["verdict"] == "warn"
    (check,) = [c for c in metrics["checks"] if c["verdict"] == "warn"]
    assert check["text"] == "antennas without any unflagged data: ea07"


@pytest.mark.parametrize(("fraction", "verdict"), [(0.5, "pass"), (0.51, "warn"), (1.0, "fail")])
def test_flagged_solutions(fraction, verdict):
    table = {**dataset()["caltables"][0], "flagged_fraction": fraction}
    assert judged({"apr13": dataset(caltables=[table])})["verdict"] == verdict


def test_an_unknown_flux_density_fails_and_stays_null():
    flux = {
        "flux_jy": {"cal": {"0": None}},
        "error_jy": {"cal": {"0": None}},
        "solutions": {"cal": {"0": 0}},
        "flux_jy_reason": {"cal": {"0": "fluxscale found no solutions"}},
    }
    metrics = judged({"apr13": dataset(fluxscale=flux)})
    assert failing(metrics, "fail") == [("fluxscale", "apr13, cal, spw 0")]
    assert metrics["datasets"]["apr13"]["fluxscale"] == {"cal": {"0": None}}
    validate(metrics)


def test_a_missing_product_fails():
    metrics = judged({}, [], [{"subject": "N5921_2, hi", "reason": "its clean failed"}])
    assert metrics["verdict"] == "fail"
    assert metrics["checks"][0]["text"] == "not made: its clean failed"
    validate(metrics)


def test_worst():
    assert worst(["pass", "fail", "warn"]) == "fail"
    assert worst(["pass", "warn"]) == "warn"
    assert worst([]) == "pass"
