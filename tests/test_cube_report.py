"""What was made of cubes, in metrics.json and in the report."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

from casarun.qa.verdict import assemble
from casarun.report import cubes, words
from casarun.report.places import link
from jsonschema import Draft202012Validator


def numbers(**changed: Any) -> dict[str, Any]:
    return {
        "kind": "cube", "target": "N5921", "image": "hi-90", "of": "hi",
        "done": ["smoothed to 90 arcsec, round"],
        "products": ["images/N5921.hi-90.image", "images/N5921.hi-90.mom0"],
        "fits": "images/N5921.hi-90.fits", "shape": [256, 128, 1, 46], "unit": "Jy/beam",
        "rms_noise": 0.002, "peak": 0.08, "peak_channel": 21, "line_flux_jy_km_s": 31.4,
        "bmaj_arcsec": 90.0, "bmin_arcsec": 90.0, "bpa_deg": 0.0,
        "beams_differ_by_channel": False,
        "plots": [{"section": "cube", "file": "plots/cubes/N5921.hi-90/moments.png",
                   "title": "Moments", "caption": "Of the pixels in the mask."}],
        **changed,
    }  # fmt: skip


def schema() -> dict[str, Any]:
    text = (resources.files("casarun") / "schemas" / "metrics.schema.json").read_text()
    found: dict[str, Any] = json.loads(text)
    return found


def test_metrics_hold_cubes_by_name() -> None:
    of_file = numbers(target="", image="old", rms_noise=None, rms_noise_reason="stats = false")
    found = assemble({}, [], {}, cubes=[numbers(), of_file])
    Draft202012Validator(schema()).validate(json.loads(json.dumps(found, allow_nan=False)))
    assert set(found["cubes"]) == {"N5921.hi-90", "old"}
    assert found["cubes"]["N5921.hi-90"]["line_flux_jy_km_s"] == 31.4
    assert "plots" not in found["cubes"]["old"]


def test_the_report_shows_a_cube_in_words() -> None:
    shown = cubes.cube("N5921", "hi-90", numbers(), link)
    rows = {what: (value, remark) for what, value, remark in shown["rows"]}
    assert shown["title"] == "N5921: hi-90"
    assert rows["size"][0] == f"256 {words.BY} 128 pixels, 46 channels"
    assert rows["peak"] == ("80.0 mJy/beam", "in channel 21, counted from 0")
    assert rows["noise"] == ("2.00 mJy/beam", "median over channels")
    assert rows["flux in the mask"] == ("31.4 Jy km/s", "integrated over velocity")
    assert [one["link"] for one in shown["products"]] == [
        "../images/N5921.hi-90.image", "../images/N5921.hi-90.mom0",
    ]  # fmt: skip
    assert shown["plots"][0]["src"] == "plots/cubes/N5921.hi-90/moments.png"


def test_what_was_not_measured_has_its_reason() -> None:
    reason = "the channels were not measured: stats = false"
    shown = cubes.cube("", "old", numbers(rms_noise=None, rms_noise_reason=reason), link)
    rows = {what: (value, remark) for what, value, remark in shown["rows"]}
    assert shown["title"] == "old"
    assert rows["noise"][1] == reason
    assert cubes.cube("", "old", {}, link)["title"] == "old"


def test_links_stay_in_the_run_folder() -> None:
    shown = cubes.cube("", "x", numbers(products=["/etc/passwd", "../up"], fits="../up"), link)
    assert [one["link"] for one in shown["products"]] == ["", ""]
    assert shown["fits_link"] == ""
