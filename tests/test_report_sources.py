"""The catalogue of sources as the report shows it."""

import json
from importlib.resources import files
from typing import Any

import jsonschema
import pytest
from casarun.qa import catalogue
from casarun.report import sources
from test_catalogue import SKY, gaussian

FOUND = catalogue.measure(
    gaussian(64, 64, 0.5) + gaussian(100, 20, 0.01, (30.0, 14.0, 80.0)), SKY, 1e-4, None, 5.0, {}
)


def numbers(found: Any = FOUND) -> dict[str, Any]:
    files = ["images/t.x.sources.ecsv", "images/t.x.sources.xml", "images/t.x.sources.reg"]
    return {"sources": found.summary(files, 5.0)}


def link(path: str) -> str:
    return f"../{path}"


def test_rows_are_words_with_errors():
    shown = sources.table(numbers(), link)
    assert shown is not None
    assert [file["name"] for file in shown["files"]] == ["ECSV", "VOTable", "DS9 regions"]
    assert shown["files"][0]["link"] == "../images/t.x.sources.ecsv"
    point, extended = shown["rows"]
    assert point["ra"] == "10:00:00.00"
    assert point["dec"] == "+02:00:00.0"
    assert point["flux"].startswith("500 ± 0.1")
    assert point["flux"].endswith(" mJy")
    assert point["size"].startswith("< ")
    assert "± " in extended["size"]
    assert extended["remark"] == ""


def test_none_and_not_measured_are_said():
    nothing = catalogue.Catalogue((), "J2000", {})
    shown = sources.table(numbers(nothing), link)
    assert shown is not None
    assert shown["none"] == "No source is above 5.0 times the local noise."
    shown = sources.table({"sources": None, "sources_reason": "the noise is not known"}, link)
    assert shown is not None
    assert shown["none"] == "No catalogue: the noise is not known."
    assert sources.table({}, link) is None


def test_galactic_coordinates_are_degrees():
    found = catalogue.Catalogue(FOUND.rows, "GALACTIC", {})
    shown = sources.table(numbers(found), link)
    assert shown is not None
    assert (shown["rows"][0]["ra"], shown["rows"][0]["dec"]) == ("150.00000°", "+2.00000°")


@pytest.mark.parametrize("row", FOUND.rows, ids=lambda row: str(row["id"]))
def test_rows_are_what_the_schema_says(row: Any):
    text = files("casarun").joinpath("schemas/metrics.schema.json").read_text(encoding="utf-8")
    whole = json.loads(text)
    jsonschema.validate(row, {"$defs": whole["$defs"], "$ref": "#/$defs/source"})
    names = list(whole["$defs"]["source"]["properties"])
    assert names == [one.name for one in catalogue.COLUMNS] == list(row)
