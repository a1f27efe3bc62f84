"""Gain curves, opacities, positions and switched power: what becomes of the recipe's words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from casarun import heuristics
from casarun.casa.checks_known import explain_gencal
from casarun.observation import Observation
from casarun.plan import Step
from casarun.recipe.model import Priors
from casarun.share.script_parts import claims
from support.observations import spw, vla
from test_known_tables import by_id, compiled, said

K_BAND = (spw(0, centre_hz=22e9), spw(1, centre_hz=22.1e9))
HINT = (
    "dataset day1 was observed at up to 22.1 GHz, where the air absorbs and the antennas' gain "
    "changes with elevation; neither is taken out: calibrate.priors = { gaincurve = "
    '"auto", opacity = "auto" } does it'
)


def steps(data: Observation | None = None, **priors: Any) -> dict[str, Step]:
    return by_id(compiled(data=data, priors=Priors(**priors)))


def of(telescope: str) -> Observation:
    return replace(vla(spws=K_BAND), telescope=telescope)


def test_each_becomes_a_table_that_is_applied_first() -> None:
    found = steps(
        vla(spws=K_BAND),
        gaincurve="yes",
        opacity=(0.05, 0.06),
        antenna_positions={"ea01": (0.1, 0.0, 0.0), "ea02": (0.0, -0.2, 0.0)},
        syspower="rq",
    )
    kinds = ("antpos", "gaincurve", "opacity", "syspower")
    paths = [f"caltables/day1.{kind}" for kind in kinds]
    given = {
        kind: {
            k: v for k, v in found[f"day1.{kind}"].params.items() if k not in ("vis", "caltable")
        }
        for kind in kinds
    }
    assert given == {
        "antpos": {"caltype": "antpos", "antenna": "ea01,ea02",
                   "parameter": [0.1, 0.0, 0.0, 0.0, -0.2, 0.0]},
        "gaincurve": {"caltype": "gceff"},
        "opacity": {"caltype": "opac", "spw": "0,1", "parameter": [0.05, 0.06]},
        "syspower": {"caltype": "rq"},
    }  # fmt: skip
    for step in found.values():
        if step.action in ("casa:gaincal", "casa:bandpass", "casa:applycal"):
            assert step.params["gaintable"][:4] == paths
            assert set(paths) <= set(step.reads)
    assert found["day1.apply.2"].params["calwt"] == [False]


def test_one_opacity_serves_all_windows() -> None:
    params = steps(vla(spws=K_BAND), opacity=(0.05,))["day1.opacity"].params
    assert (params["spw"], params["parameter"]) == ("0,1", [0.05, 0.05])


def test_opacities_of_the_weather_are_known_in_the_run() -> None:
    data = vla(spws=K_BAND)
    plan = compiled(data=data, priors=Priors(opacity="auto"))
    found = by_id(plan)
    assert found["day1.weather"].writes == ("caltables/day1.opacity.json",)
    assert found["day1.weather"].params["spws"] == [0, 1]
    assert found["day1.opacity"].params["parameter"] == {
        "$late": {"path": "caltables/day1.opacity.json", "key": "opacity"}
    }
    assert "caltables/day1.opacity.json" in found["day1.opacity"].reads
    (choice,) = [auto for auto in plan.autos if auto.key == "calibrate.priors.opacity"]
    assert (choice.value, choice.reason) == (
        "plotweather", "from weather and season, by CASA's plotweather; observed up to 22.1 GHz"
    )  # fmt: skip
    assert heuristics.opacity("VLA", [spw(0)]).reason == (
        "it matters from 15 GHz on; observed up to 1.401 GHz"
    )
    other = compiled(data=of("ATCA"), priors=Priors(opacity="auto"))
    assert "day1.opacity" not in by_id(other)
    (choice,) = [auto for auto in other.autos if auto.key == "calibrate.priors.opacity"]
    assert (choice.value, choice.reason) == (
        "no", "CASA's plotweather knows the air over the VLA only, not over ATCA"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("telescope", "hertz", "value", "reason"),
    [
        ("EVLA", 1.4e9, "no", "they matter from 8 GHz on; observed up to 1.401 GHz"),
        ("VLA", 22e9, "yes", "observed up to 22 GHz, where gain changes with elevation"),
        ("ALMA", 100e9, "no", "CASA has gain curves of the VLA only, not of ALMA"),
    ],
)
def test_gain_curves_where_there_are_any(
    telescope: str, hertz: float, value: str, reason: str
) -> None:
    choice = heuristics.gaincurve(telescope, [spw(0, centre_hz=hertz)])
    assert (choice.value, choice.reason) == (value, reason)


def test_switched_power_scales_the_weights_and_nothing_else_does() -> None:
    params = steps(vla(spws=K_BAND), syspower="swpow", gaincurve="yes")["day1.apply.2"].params
    assert params["calwt"] == [False, True, False, False, False]


def test_offsets_on_the_axes_of_the_vla() -> None:
    moved = {"ea01": (0.1, 0.0, 0.0)}
    params = steps(antenna_positions=moved, antenna_frame="VLA")["day1.antpos"].params
    assert params["caltype"] == "antposvla"


@pytest.mark.parametrize(
    ("priors", "message", "key"),
    [
        ({"gaincurve": "yes"}, "dataset day1 is of ALMA: CASA has gain curves of the VLA only",
         "gaincurve"),
        ({"syspower": "rq"}, "dataset day1 is of ALMA: a SYSPOWER table is of the VLA only",
         "syspower"),
        ({"antenna_frame": "VLA", "antenna_positions": {"ea01": (0.0, 0.0, 0.1)}},
         'dataset day1 is of ALMA: the frame "VLA" is of the VLA only', "antenna_frame"),
        ({"opacity": (0.1, 0.2, 0.3)},
         "3 opacities for the 2 spws of dataset day1: give one for all, or one for each",
         "opacity"),
    ],
)  # fmt: skip
def test_what_other_data_do_not_have(priors: dict[str, Any], message: str, key: str) -> None:
    found = compiled(data=of("ALMA"), priors=Priors(**priors))
    assert said(found) == [(message, ("calibrate", "priors", key))]


def test_an_antenna_that_is_not_there() -> None:
    found = compiled(priors=Priors(antenna_positions={"ea1": (0.0, 0.0, 0.1)}))
    assert said(found) == [
        (
            "dataset day1 has no antenna 'ea1' with data; antennas: ea00, ea01, ea02, ea03, ea04; "
            "did you mean 'ea01'?",
            ("calibrate", "priors", "antenna_positions", "ea1"),
        )
    ]


def test_high_frequencies_are_told_how_to_be_corrected() -> None:
    data = vla(spws=K_BAND)
    assert [(w.message, w.key) for w in compiled(data=data).warnings] == [(HINT, ("calibrate",))]
    for priors in (Priors(gaincurve="auto"), Priors(opacity=(0.05,))):
        assert compiled(data=data, priors=priors).warnings == ()
    assert compiled(data=of("ALMA")).warnings == ()
    assert compiled().warnings == ()


def test_gencal_without_its_subtable_is_explained() -> None:
    failed = explain_gencal({"vis": "raw/a.ms", "caltype": "rq"}, ())
    assert failed is not None
    assert failed.message == (
        "raw/a.ms has no SYSPOWER table, of which caltype 'rq' is made: it was not recorded, or "
        "not imported"
    )
    caught = 'Caught Exception: Antenna Expression: No match found for token(s) "zz"'
    failed = explain_gencal({"vis": "raw/a.ms", "caltype": "antpos"}, ("x", caught))
    assert failed is not None
    assert failed.message == ('gencal: Antenna Expression: No match found for token(s) "zz"')
    assert explain_gencal({"vis": "raw/a.ms", "caltype": "antpos"}, ("x",)) is None


def test_a_script_says_where_bits_may_differ() -> None:
    said = "the last bits of corrected data may differ"
    plain, corrected = (list(steps(**priors).values()) for priors in ({}, {"opacity": (0.05,)}))
    assert not any(said in text for text in claims(plain, known=True))
    assert any(said in text for text in claims(corrected, known=True))
