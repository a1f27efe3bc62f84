"""The plan as JSON is what its schema says, and the schema refuses what no plan is."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import pytest
from casarun.plan import Step
from casarun.recipe.model import (
    Calibrate,
    Calibrators,
    Contsub,
    CustomStep,
    Dataset,
    FluxCalibrator,
    Image,
    Recipe,
    Targets,
)
from casarun.report.conclude import plan_json
from casarun.stages import compile as stages
from casarun.stages.draft import ORDER
from jsonschema import Draft202012Validator
from support.observations import spw, vla

SCHEMA: dict[str, Any] = json.loads(
    files("casarun").joinpath("schemas/plan.schema.json").read_text(encoding="utf-8")
)


def plan(**tables: Any) -> dict[str, Any]:
    """Return a plan of a whole reduction, as its JSON says it."""
    recipe = Recipe(
        **{
            "casarun": 1,
            "dataset": (Dataset("/data/day.fits", "day"),),
            "calibrators": Calibrators(FluxCalibrator("1331*"), "1331*", ("1445*",)),
            "targets": Targets(("N5921",)),
            "contsub": Contsub("0:0~9"),
            "image": (
                Image("continuum", deconvolver="mtmfs", mask="auto-multithresh"),
                Image("line", specmode="cube", source="contsub", moments=(0, 1), threshold="8mJy"),
            ),
            "step": (CustomStep("statwt", after="apply", params={"vis": "{vis}"}),),
            **tables,
        }
    )
    wide = spw(0, n_chan=64, width_hz=1e6)
    compiled = stages.full(recipe, {"day": vla(spws=(wide,))})
    assert compiled.problems == ()
    made = compiled.plan({"/data/day.fits": "f" * 32}, {"casarun": "0.1.0", "casatasks": "6.7"})
    said: dict[str, Any] = json.loads(json.dumps(plan_json(made), allow_nan=False))
    return said


def problems(document: Any) -> list[str]:
    return [error.json_path for error in Draft202012Validator(SCHEMA).iter_errors(document)]


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize(
    "tables",
    [
        {},
        {"calibrate": Calibrate(refant="ea01", delay="no"), "contsub": None, "image": ()},
        {"dataset": (Dataset("/data/day.tar", "day"),), "image": ()},
        {
            "dataset": (Dataset("/data/day.fits", "day", calibrated=True),),
            "step": (),
            "calibrators": Calibrators(),
        },
    ],
    ids=["whole", "calibration", "tar", "calibrated"],
)
def test_plans_are_valid(tables: dict[str, Any]) -> None:
    said = plan(**tables)
    assert len(said["steps"]) > 4
    assert problems(said) == []


def test_every_stage_is_known() -> None:
    known = SCHEMA["$defs"]["step"]["properties"]["stage"]["enum"]
    assert known == [*ORDER, "step"]


def test_every_attribute_of_a_step_is_described() -> None:
    described = SCHEMA["$defs"]["step"]
    attributes = {*Step.__dataclass_fields__, "fingerprint", "waits_for"}
    assert set(described["properties"]) == attributes
    assert set(described["required"]) == attributes - {"intermediates"}  # plans of before have none


def test_the_plan_holds_a_late_number() -> None:
    clean = next(s for s in plan()["steps"] if s["id"] == "N5921.continuum.clean")
    assert list(clean["params"]["tclean"]["threshold"]) == ["$late"]


def late(said: dict[str, Any]) -> dict[str, Any]:
    clean = next(s for s in said["steps"] if s["id"] == "N5921.continuum.clean")
    value: dict[str, Any] = clean["params"]["tclean"]["threshold"]
    return value


@pytest.mark.parametrize(
    ("spoil", "place"),
    [
        (lambda p: p.update(plan_version=2), "$.plan_version"),
        (lambda p: p.pop("inputs"), "$"),
        (lambda p: p["steps"][0].update(colour="red"), "$.steps[0]"),
        (lambda p: p["steps"][0].update(stage="imaging"), "$.steps[0].stage"),
        (lambda p: p["steps"][0].update(action="os.system; rm"), "$.steps[0].action"),
        (lambda p: p["steps"][0].update(fingerprint="0"), "$.steps[0].fingerprint"),
        (lambda p: p["steps"][0].update(id="../x"), "$.steps[0].id"),
        (lambda p: p["steps"][0].update(writes=["/etc/passwd"]), "$.steps[0].writes[0]"),
        (lambda p: p["steps"][0].update(updates=["raw/../../x"]), "$.steps[0].updates[0]"),
        (lambda p: p["autos"][0].update(reason=""), "$.autos[0].reason"),
        (lambda p: late(p)["$late"].update(path="/etc/passwd"), "threshold['$late'].path"),
        (lambda p: late(p)["$late"].pop("times"), "threshold['$late']"),
        (lambda p: late(p).update(more=1), "threshold"),
    ],
)  # fmt: skip
def test_what_no_plan_is_is_refused(spoil: Callable[[dict[str, Any]], Any], place: str) -> None:
    good = plan()
    said = copy.deepcopy(good)
    spoil(said)
    assert said != good
    found = problems(said)
    assert any(path == place or path.endswith(f".{place}") for path in found), found
