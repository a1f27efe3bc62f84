"""Averaging before imaging: what smearing costs, what is chosen, refused, shared."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from casarun.heuristics import smearing
from casarun.observation import Observation
from casarun.recipe.model import Average, Contsub, Dataset, Image, Recipe, Selfcal, Targets
from casarun.stages.compile import Compiled, full
from support.observations import spw, vla

AUTO = Average("auto", "auto")


# -- formulae


def smeared(beta_time: float, beta_width: float) -> float:
    """Return the peak of a smeared source by brute force, as an image of many baselines has it.

    Baselines weighted as a Gaussian beam of width 1 has them; each goes round a circle, and its
    amplitude is sinc of how far the phase turns, in time or over the band.
    """
    scale = np.sqrt(2 * np.log(2)) / np.pi  # sigma of the baselines, in wavelengths
    u, v = (np.linspace(-6, 6, 601)[:, None] * scale, np.linspace(-6, 6, 601)[None] * scale)
    weight = np.exp(-0.5 * (u**2 + v**2) / scale**2)
    return float(np.sum(weight * np.sinc(beta_time * v) * np.sinc(beta_width * u)) / weight.sum())


@pytest.mark.parametrize("beta", [0.05, 0.2, 0.5, 1.0, 2.0])
def test_smearing_is_that_of_baselines_summed_up(beta: float) -> None:
    assert smearing.amplitude(beta) == pytest.approx(smeared(beta, 0), rel=1e-4)
    assert smearing.amplitude(beta) == pytest.approx(smeared(0, beta), rel=1e-4)


def test_smearing_of_little_is_that_of_the_book() -> None:
    # Bridle & Schwab 1999: a loss of 1.22e-9 (theta/theta_b)^2 tau^2 for averages in time.
    far = smearing.Reach(theta_arcsec=1000, beam_arcsec=10, hertz=1.4e9)
    assert far.loss(0, 20) == pytest.approx(1.22e-9 * 100**2 * 20**2, rel=0.01)
    # And 1.064/beta erf(0.833 beta) for a square band: at beta = 1 a loss of 19 %.
    assert far.loss(1.4e7, 0) == pytest.approx(0.19, abs=0.001)


@pytest.mark.parametrize("loss", [1e-4, 0.01, 0.3])
def test_the_largest_smearing_is_the_inverse(loss: float) -> None:
    assert 1 - smearing.amplitude(smearing.largest_beta(loss)) == pytest.approx(loss, rel=1e-6)


def test_the_edge_of_what_is_imaged() -> None:
    wide = smearing.reach(1e5, 25.0, 1000.0, 1.4e9, 1.4e9, pblimit=0.2)
    # Where a Gaussian of 33.27 arcmin has fallen to 0.2.
    assert wide.theta_arcsec == pytest.approx(0.5 * 33.27 * 60 * np.sqrt(np.log2(5)), rel=1e-3)
    assert wide.beam_arcsec == pytest.approx(0.8 * 44.17, rel=1e-3)
    assert smearing.reach(99, 25.0, 1e3, 1.4e9, 1.4e9, pblimit=0.2).theta_arcsec == 99
    assert smearing.reach(1e5, 25.0, 1e3, 1.4e9, 1.4e9, pblimit=-0.1).theta_arcsec == 1e5


def test_channels_become_divisors_and_times_whole_integrations() -> None:
    far = smearing.Reach(1000, 10, 1.4e9)  # 1 % at beta = 0.209: 2.93 MHz, 28.7 s
    assert smearing.channels(far, 60, 0.5e6, 0.01) == 5
    assert smearing.channels(far, 64, 0.5e6, 0.01) == 4
    assert smearing.channels(far, 64, 5e6, 0.01) == 1
    assert smearing.seconds([far], 10, 300, 0.01) == 20
    assert smearing.seconds([far], 2, 13, 0.01) == 12
    assert smearing.seconds([far], 60, 300, 0.01) == 60


# -- what is planned


def compiled(*images: Image, observations: tuple[Observation, ...] = (), **tables: Any) -> Compiled:
    observations = observations or (vla(spws=(spw(0, width_hz=250e3),)),)
    names = ("day1", "day2")[: len(observations)]
    recipe = Recipe(
        casarun=1,
        dataset=tuple(Dataset(f"/data/{name}.ms", name, calibrated=True) for name in names),
        targets=Targets(fields=("N5921",)), image=images, **tables,
    )  # fmt: skip
    return full(recipe, dict(zip(names, observations, strict=True)))


def step(plan: Compiled, name: str) -> Any:
    return next(step for step in plan.steps if step.id == name)


def averages(plan: Compiled) -> list[str]:
    return [step.id for step in plan.steps if ".average." in step.id]


def test_auto_averages_as_far_as_the_bound_goes_and_says_so() -> None:
    plan = compiled(Image(name="c", average=AUTO))
    assert plan.problems == ()
    (auto,) = [auto for auto in plan.autos if auto.key == "image.average"]
    # 25.3 arcmin out in a beam of 35.2 arcsec: half a percent at 4.8 MHz and 46 s.
    assert auto.value == {"time": "40s", "channels": 16}
    assert auto.reason == (
        "channels of 4 MHz and integrations of 40 s take 0.72 % of a source 25.5 arcmin out, the "
        "edge of what is imaged of N5921, in a synthesized beam of 35.1 arcsec (0.8 lambda/B of "
        "dataset day1); at most 1 % is allowed, the data as they are lose 0.025 %"
    )
    made = step(plan, "day1.average.N5921.40s-16ch")
    assert made.params == {
        "vis": "calibrated/day1.N5921.ms", "outputvis": "calibrated/day1.N5921.40s-16ch.ms",
        "datacolumn": "data", "keepflags": False, "usewtspectrum": True, "timeaverage": True,
        "timebin": "40s", "spw": "0", "chanaverage": True, "chanbin": [16],
    }  # fmt: skip
    assert made.writes == made.intermediates == ("calibrated/day1.N5921.40s-16ch.ms",)
    dirty = step(plan, "N5921.c.dirty")
    assert dirty.params["vis"] == ["calibrated/day1.N5921.40s-16ch.ms"]


def test_images_that_ask_for_the_same_share_it() -> None:
    asked = Average("30s", 4)
    plan = compiled(Image(name="a", average=asked), Image(name="b", average=asked),
                    Image(name="c"), Image(name="d", average=replace(asked, channels=1)),
                    Image(name="e", average=asked, spw="0:8~31"))  # fmt: skip
    names = averages(plan)
    assert names[:2] == ["day1.average.N5921.30s-4ch", "day1.average.N5921.30s"]
    assert len(names) == 3
    assert step(plan, "N5921.b.dirty").reads == ("calibrated/day1.N5921.30s-4ch.ms",)
    assert step(plan, "N5921.c.dirty").reads == ("calibrated/day1.N5921.ms",)
    # Channels that are selected are selected before they are averaged, and no more after.
    assert step(plan, names[2]).params["spw"] == "0:8~31"
    assert step(plan, "N5921.e.dirty").params["spw"] == ""


def test_too_much_is_refused_with_the_numbers() -> None:
    plan = compiled(Image(name="c", average=Average("120s", 64)))
    (problem,) = plan.problems
    assert problem.key == ("image", 0, "average")
    assert problem.message == (
        "channels of 16 MHz and integrations of 120 s take 8.5 % of a source 25.5 arcmin out, the "
        "edge of what is imaged of N5921, in a synthesized beam of 35.1 arcsec (0.8 lambda/B of "
        "dataset day1); the bound is 1 %, and the data as they are lose 0.025 %: average = "
        '"auto" keeps it, or raise average.loss'
    )
    assert compiled(Image(name="c", average=Average("120s", 64, loss=0.1))).problems == ()


def test_a_small_image_may_be_averaged_more() -> None:
    small = Image(name="c", average=Average("120s", 64), imsize=64, cell="4arcsec")
    assert compiled(small).problems == ()


def test_averages_come_after_selfcal_and_contsub() -> None:
    asked = Average("30s", 1)
    plan = compiled(
        Image(name="c", average=asked), Image(name="l", average=asked, source="contsub"),
        selfcal=(Selfcal("*"),), contsub=Contsub("0:0~9"),
    )  # fmt: skip
    first, second = (step(plan, name) for name in averages(plan))
    assert (first.params["vis"], first.params["datacolumn"]) == (
        "calibrated/day1.N5921.selfcal.ms", "corrected",
    )  # fmt: skip
    assert (second.params["vis"], second.params["datacolumn"]) == (
        "calibrated/day1.N5921.contsub.ms", "data",
    )  # fmt: skip
    assert step(plan, "N5921.c.dirty").params["datacolumn"] == "data"
    # The rounds themselves are made of the data as they are.
    for one in plan.steps:
        if one.stage == "selfcal":
            assert not [path for path in one.reads if "30s" in path]


def test_several_datasets_are_averaged_alike() -> None:
    compact, extended = vla(spws=(spw(0, width_hz=250e3),)), vla(spws=(spw(0, width_hz=250e3),))
    extended = replace(extended, longest_baseline_m=36000.0)
    plan = compiled(Image(name="c", average=AUTO, cell="1arcsec", imsize=2000),
                    observations=(compact, extended))  # fmt: skip
    assert averages(plan) == ["day1.average.N5921.50s-16ch", "day2.average.N5921.1ch"]
    dirty = step(plan, "N5921.c.dirty")
    assert dirty.params["vis"] == [
        "calibrated/day1.N5921.50s-16ch.ms", "calibrated/day2.N5921.1ch.ms",
    ]  # fmt: skip


def test_a_cube_keeps_its_channels() -> None:
    cube = Image(name="l", specmode="cube", restfreq="1.42GHz", average=AUTO, start=3, nchan=9)
    plan = compiled(cube)
    assert plan.problems == ()
    (made,) = [step(plan, name) for name in averages(plan)]
    assert "chanbin" not in made.params
    assert step(plan, "N5921.l.dirty.0").params["tclean"]["start"] == 3


def cube_problem(**more: Any) -> str:
    image = Image(name="l", specmode="cube", restfreq="1.42GHz", average=Average("none", 4), **more)
    (problem,) = [p for p in compiled(image).problems if p.key == ("image", 0, "average")]
    return problem.message


def test_a_cube_is_not_averaged_beyond_its_channels() -> None:
    assert cube_problem(width="500kHz") == (
        "4 channels of 0.25 MHz are wider than the cube's own, 0.5 MHz: a cube is not averaged "
        "beyond its channels; at most average.channels = 2"
    )
    assert cube_problem(width="105.6km/s").endswith("at most average.channels = 2")
    assert "at most average.channels = 1" in cube_problem()
    assert cube_problem(start=3) == (
        "start of the cube is counted in channels of the data, of which 4 become one: give a "
        "frequency or a velocity, or average in time only"
    )
    fits = Image(name="l", specmode="cube", restfreq="1.42GHz", width="1MHz",
                 average=Average("none", 4))  # fmt: skip
    assert compiled(fits).problems == ()


def test_gaps_are_not_averaged_over() -> None:
    (problem,) = compiled(Image(name="c", spw="0:0~9;20~31", average=Average("none", 2))).problems
    assert problem.message == (
        "image.spw leaves out channels in the middle of spw 0, and 2 channels across the gap "
        "would become one: leave average.channels out, or select one range of channels in each spw"
    )
    plan = compiled(Image(name="c", spw="0:0~9;20~31", average=AUTO))
    assert [step(plan, name).params.get("chanbin") for name in averages(plan)] == [None]
    assert step(plan, "N5921.c.dirty").params["spw"] == "0:0~9;20~31"


def test_a_number_that_leaves_channels_over_is_warned_of() -> None:
    plan = compiled(Image(name="c", average=Average("none", 5)))
    assert [warning.message for warning in plan.warnings if "average" in warning.key] == [
        "5 is no divisor of the 64 channels that are imaged of spw 0 of dataset day1: CASA leaves "
        "out the last 4; 4 divides them"
    ]


def test_one_that_is_chosen_gets_what_the_other_leaves_of_the_bound() -> None:
    def value(average: Average) -> Any:
        plan = compiled(Image(name="c", average=average))
        assert plan.problems == ()
        return next(auto.value for auto in plan.autos if auto.key == "image.average")

    assert value(Average("none", "auto")) == {"time": "10s", "channels": 16}
    assert value(Average("60s", "auto")) == {"time": "60s", "channels": 8}
    assert value(Average("auto", 16)) == {"time": "50s", "channels": 16}
    assert value(Average("auto", 1)) == {"time": "60s", "channels": 1}


def test_auto_is_never_refused_for_what_the_data_lose_as_they_came() -> None:
    """Half of the bound would be left for time, were it not gone with the channels already."""
    plan = compiled(
        Image(name="c", average=AUTO), observations=(vla(spws=(spw(0, width_hz=8e6),)),)
    )
    assert plan.problems == ()
    (auto,) = [auto for auto in plan.autos if auto.key == "image.average"]
    assert auto.value == {"time": "10s", "channels": 1}
    assert auto.reason.startswith("nothing is averaged: channels of 8 MHz and integrations of 10 s")
    assert averages(plan) == []


def test_a_time_within_an_integration_is_warned_of() -> None:
    plan = compiled(Image(name="c", average=Average("5s")))
    assert averages(plan) == []
    assert [warning.message for warning in plan.warnings if "average" in warning.key] == [
        "average.time = 5s is no longer than the integrations of dataset day1, 10 s: nothing is "
        "averaged in time"
    ]


def test_a_window_that_one_dataset_lacks_is_the_selections_to_refuse() -> None:
    other = vla(spws=(spw(1, width_hz=250e3),))
    plan = compiled(Image(name="c", average=AUTO, spw="1"), observations=(vla(), other))
    assert [problem.key for problem in plan.problems] == [("image", 0, "spw")]


def test_a_mosaic_is_averaged_for_the_edge_of_each_pointings_beam() -> None:
    made = vla(spws=(spw(0, width_hz=250e3),))
    second = replace(made.fields[2], id=3, dec_deg=made.fields[2].dec_deg + 0.25)
    scans = (*made.scans, replace(made.scans[2], number=9, field_ids=(3,)))
    mosaic = replace(made, fields=(*made.fields, second), scans=scans)
    (auto,) = [
        auto
        for auto in compiled(Image(name="c", average=AUTO), observations=(mosaic,)).autos
        if auto.key == "image.average"
    ]
    assert auto.value == {"time": "40s", "channels": 16}
    assert "25.5 arcmin out" in auto.reason  # as of a single pointing


def test_nothing_to_average_makes_no_step() -> None:
    far = replace(vla(spws=(spw(0, width_hz=8e6),)), longest_baseline_m=36000.0)
    plan = compiled(Image(name="c", average=AUTO, imsize=4000), observations=(far,))
    assert averages(plan) == []
    (auto,) = [auto for auto in plan.autos if auto.key == "image.average"]
    assert auto.reason.startswith("nothing is averaged: channels of 8 MHz and integrations of 10 s")
