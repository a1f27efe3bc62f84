"""``[[selfcal]]``: its language, the steps it becomes, and what is refused before they run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from casarun.errors import Problem, RefusedError
from casarun.observation import Field, Observation
from casarun.plan import Step, fingerprints, hazards
from casarun.recipe.load import LoadedRecipe, load
from casarun.recipe.model import (
    Calibrate,
    Contsub,
    CustomStep,
    Dataset,
    Image,
    Recipe,
    Selfcal,
    Stop,
    Targets,
)
from casarun.stages.compile import Compiled, asked_for, full
from support.observations import antennas, spw, vla

W = "calibrated/day1.N5921.selfcal.ms"
SPLIT = "calibrated/day1.N5921.ms"
ROUND = ("predict", "solve", "apply", "image", "judge")


def compiled(*observations: Observation, **tables: Any) -> Compiled:
    observations = observations or (vla(),)
    names = [f"day{number}" for number in range(1, 1 + len(observations))]
    given = {
        "dataset": tuple(
            Dataset(vis=f"/data/{name}.fits", name=name, calibrated=True) for name in names
        ),
        "targets": Targets(fields=("N5921",)),
        "image": (Image(name="continuum"),),
        "selfcal": (Selfcal("N5921"),),
    }
    made = Recipe(casarun=1, **{**given, **tables})
    return full(made, dict(zip(names, observations, strict=True)))


def steps(*observations: Observation, **tables: Any) -> dict[str, Step]:
    result = compiled(*observations, **tables)
    assert result.problems == ()
    return {step.id: step for step in result.steps}


def messages(problems: tuple[Problem, ...]) -> list[tuple[str, str]]:
    return [(".".join(map(str, problem.key)), problem.message) for problem in problems]


def autos(result: Compiled) -> dict[str, Any]:
    return {auto.key: auto.value for auto in result.autos}


# The steps


def test_rounds_are_unrolled_between_split_and_images() -> None:
    found = list(steps(selfcal=(Selfcal("N5921", rounds=2),), contsub=Contsub(fitspec="0:0~9")))
    assert found == [
        "day1.import", "day1.observe", "day1.split.N5921",
        "N5921.selfcal.copy.day1", "N5921.selfcal.0.image", "N5921.selfcal.0.judge",
        *(f"N5921.selfcal.{number}.{what}" for number in (1, 2) for what in ROUND),
        "N5921.selfcal.finish",
        "day1.contsub.N5921", "day1.measure",
        "N5921.continuum.dirty", "N5921.continuum.noise", "N5921.continuum.clean",
        "N5921.continuum.pbcor", "N5921.continuum.export", "N5921.continuum.export.pbcor",
        "N5921.continuum.measure",
        "N5921.selfcal.plots",
    ]  # fmt: skip


def test_the_split_ms_is_only_copied_and_images_are_of_the_copy() -> None:
    found = steps(contsub=Contsub(fitspec="0:0~9"))
    assert [step.id for step in found.values() if SPLIT in step.reads] == [
        "N5921.selfcal.copy.day1"
    ]
    assert not any(SPLIT in step.updates for step in found.values())
    for name in ("dirty", "clean"):
        params = found[f"N5921.continuum.{name}"].params
        params = params.get("tclean", params)
        assert (params["vis"], params["datacolumn"]) == ([W], "corrected")
    contsub = found["day1.contsub.N5921"].params
    assert (contsub["vis"], contsub["datacolumn"]) == (W, "corrected")
    assert found["day1.measure"].params["ms"] == found["day1.import"].writes[0]


def test_what_is_made_of_subtracted_data_reads_their_only_column() -> None:
    image = Image(name="hi", specmode="cube", source="contsub")
    found = steps(contsub=Contsub(fitspec="0:0~9"), image=(image,))
    params = found["N5921.hi.dirty.0"].params["tclean"]
    assert params["vis"] == ["calibrated/day1.N5921.contsub.ms"]
    assert params["datacolumn"] == "data"


def test_targets_without_selfcal_are_as_ever() -> None:
    fields = Targets(fields=("N5921", "1445*"))
    found = steps(targets=fields)
    params = found["1445+099.continuum.dirty"].params
    assert params["vis"] == ["calibrated/day1.1445+099.ms"]
    assert params["datacolumn"] == "data"
    assert not any(step.target == "1445+099" for step in found.values() if step.stage == "selfcal")


def test_a_round_solves_on_the_copy_and_applies_what_the_state_says() -> None:
    found = steps(selfcal=(Selfcal("N5921", minsnr=2.5, refant="ea01", apply="calflag"),))
    predict, solve, apply, image, judge = (found[f"N5921.selfcal.2.{what}"] for what in ROUND)
    data = "qa/data/selfcal/N5921"
    limits = {
        "improvement": 1.2, "flux_loss": 0.03, "beam_growth": 0.05, "flagged": 0.5,
        "consistency": 0.85, "min_solution_snr": 6.0,
    }  # fmt: skip
    assert (predict.action, predict.updates, predict.writes) == ("selfcal.predict", (W,), ())
    assert predict.params["prefixes"] == {
        "0": "images/selfcal/N5921.0", "1": "images/selfcal/N5921.1",
    }  # fmt: skip
    assert {f"{data}.1.json", "images/selfcal/N5921.1.model"} <= set(predict.reads)
    assert solve.params == {
        "round": 2, "state": f"{data}.1.json", "vis": {"day1": W},
        "tables": {"day1": "caltables/N5921.selfcal.2.day1"},
        "earlier": {"1": {"day1": "caltables/N5921.selfcal.1.day1"}},
        "spw": "", "uvrange": "", "minsnr": 2.5, "refant": "ea01", "limits": limits,
        "out": f"{data}.2.solve.json",
    }  # fmt: skip
    assert solve.writes == ("caltables/N5921.selfcal.2.day1", f"{data}.2.solve.json")
    assert solve.updates == ()
    assert apply.params["mode"] == "calflag"
    assert apply.params["tables"] == {
        "1": {"day1": "caltables/N5921.selfcal.1.day1"},
        "2": {"day1": "caltables/N5921.selfcal.2.day1"},
    }
    assert apply.updates == (W,)
    assert (image.params["datacolumn"], image.params["prefix"]) == (
        "corrected", "images/selfcal/N5921.2",
    )  # fmt: skip
    assert (image.params["state"], image.params["solve"]) == (
        f"{data}.1.json", f"{data}.2.solve.json",
    )  # fmt: skip
    assert {"images/selfcal/N5921.2.image", "images/selfcal/N5921.2.model"} < set(image.writes)
    assert judge.params["states"] == [f"{data}.0.json", f"{data}.1.json"]
    assert judge.params["limits"] == limits
    assert judge.writes == (f"{data}.2.json",)


def test_the_first_image_is_of_the_data_as_they_are() -> None:
    image = steps()["N5921.selfcal.0.image"]
    assert (image.params["datacolumn"], image.params["state"]) == ("data", "")
    assert image.reads == (W,)
    for name in ("vis", "imagename", "niter", "threshold", "mask", "usemask", "datacolumn"):
        assert name not in image.params["tclean"]


def test_the_end_writes_script_and_summary() -> None:
    finish = steps(selfcal=(Selfcal("N5921", rounds=1),))["N5921.selfcal.finish"]
    assert finish.updates == (W,)
    assert finish.writes == ("scripts/N5921.selfcal.py", "qa/data/selfcal/N5921.json")
    assert [(one.name, one.params) for one in finish.checks] == [
        ("ms", {"path": W, "column": "CORRECTED_DATA"})
    ]
    assert finish.params["states"] == ["qa/data/selfcal/N5921.0.json",
                                       "qa/data/selfcal/N5921.1.json"]  # fmt: skip


def test_mtmfs_images_have_terms() -> None:
    settings = Selfcal("N5921", tclean={"deconvolver": "mtmfs", "nterms": 2})
    image = steps(selfcal=(settings,))["N5921.selfcal.0.image"]
    made = {path.removeprefix("images/selfcal/N5921.0.") for path in image.writes}
    assert {"image.tt0", "image.tt1", "model.tt0", "psf.tt2", "pb.tt0", "mask"} < made
    assert "alpha" not in made
    assert image.params["tclean"]["scales"] == [0]


def test_dishes_of_several_sizes_are_gridded_with_their_weights() -> None:
    few = (*antennas(10.0, 20.0, 30.0, 40.0), replace(antennas(50.0, diameter_m=7.0)[0], id=4))
    image = steps(replace(vla(), antennas=few))["N5921.selfcal.0.image"]
    assert image.params["tclean"]["gridder"] == "mosaic"
    assert "images/selfcal/N5921.0.weight" in image.writes


def test_datasets_of_one_target_are_imaged_together_and_solved_one_by_one() -> None:
    found = steps(vla(), vla(), contsub=Contsub(fitspec="0:0~9"))
    order = list(found)
    both = [W, "calibrated/day2.N5921.selfcal.ms"]
    assert found["N5921.selfcal.1.image"].params["vis"] == both
    assert found["N5921.selfcal.1.solve"].params["tables"] == {
        "day1": "caltables/N5921.selfcal.1.day1", "day2": "caltables/N5921.selfcal.1.day2",
    }  # fmt: skip
    assert order.index("day2.split.N5921") < order.index("N5921.selfcal.copy.day1")
    assert order.index("N5921.selfcal.finish") < order.index("day1.contsub.N5921")


def test_several_targets_are_self_calibrated_side_by_side() -> None:
    both = {
        "targets": Targets(fields=("N5921", "1445+099")),
        "selfcal": (Selfcal("*", rounds=2),),
        "image": (Image("deep"),),
    }
    found = steps(**both)
    waits = hazards(list(found.values()))
    assert any(step.startswith("1445+099.selfcal.") for step in found)
    for step, before in waits.items():
        target, stage = step.partition(".selfcal.")[:2]
        if stage and not step.endswith("plots"):
            assert {one.partition(".selfcal.")[0] for one in before if ".selfcal." in one} <= {
                target
            }


def test_only_and_until() -> None:
    result = compiled(vla(), vla(), contsub=Contsub(fitspec="0:0~9"))
    whole = result.plan({}, {})
    until = [step.stage for step in asked_for(whole, until="selfcal").steps]
    assert until[-1] == "selfcal"
    assert not {"contsub", "image", "measure"} & set(until)
    only = [step.id for step in asked_for(whole, only="day1").steps]
    assert "N5921.selfcal.copy.day1" in only
    assert "N5921.selfcal.0.image" not in only  # it needs the other dataset
    one = compiled().plan({}, {})
    assert "N5921.selfcal.finish" in asked_for(one, only="day1").by_id


# What is run again


def changed(before: Selfcal, after: Selfcal) -> set[str]:
    plans = [compiled(selfcal=(one,)).steps for one in (before, after)]
    old, new = (fingerprints(one, {}, {}) for one in plans)
    return {name.removeprefix("N5921.selfcal.") for name in old if old[name] != new.get(name)}


LADDER = Selfcal("N5921", solint=("inf", "60s", "30s", "int"), calmode=("p", "p", "p", "p"))


def test_an_edited_round_leaves_those_before_it_alone() -> None:
    again = changed(LADDER, replace(LADDER, solint=("inf", "60s", "20s", "int")))
    assert {name for name in again if name[:2] in ("0.", "1.", "2.")} == {"2.judge"}
    assert {f"3.{what}" for what in ROUND} <= again
    assert {f"4.{what}" for what in ROUND} <= again


def test_more_rounds_leave_those_before_them_alone() -> None:
    again = changed(replace(LADDER, rounds=2), replace(LADDER, rounds=4))
    assert {name for name in again if name[:2] in ("0.", "1.", "2.")} == {"2.judge"}
    auto = Selfcal("N5921", rounds=2)
    again = changed(auto, replace(auto, rounds=3))
    assert {name for name in again if name[:2] in ("0.", "1.", "2.")} == {"2.judge"}


def test_an_edit_of_the_solutions_leaves_the_first_image_alone() -> None:
    again = changed(LADDER, replace(LADDER, minsnr=5.0))
    assert "1.solve" in again
    assert not {"copy.day1", "0.image", "0.judge", "1.predict"} & again


def test_each_judgement_sees_the_ladder_up_to_the_next_round() -> None:
    found = steps(selfcal=(replace(LADDER, rounds=3),))
    seen = [found[f"N5921.selfcal.{number}.judge"].params["ladder"] for number in range(4)]
    assert [ladder["solint"] for ladder in seen] == [
        ["inf"], ["inf", "60s"], ["inf", "60s", "30s"], ["inf", "60s", "30s"],
    ]  # fmt: skip
    assert [ladder["rounds"] for ladder in seen] == [1, 2, 3, 3]


# The settings of the images


def tclean(result: Compiled) -> dict[str, Any]:
    assert result.problems == ()
    by_id = {step.id: step for step in result.steps}
    found: dict[str, Any] = dict(by_id["N5921.selfcal.0.image"].params["tclean"])
    return found


FLAT = Image(name="flat", cell="5arcsec", imsize=512, robust=-1.0, niter=77)


def test_the_first_flat_image_of_the_target_serves() -> None:
    cube = Image(name="hi", specmode="cube", cell="20arcsec")
    result = compiled(image=(cube, FLAT, Image(name="other")))
    assert (tclean(result)["cell"], tclean(result)["imsize"]) == ("5arcsec", [512, 512])
    assert tclean(result)["robust"] == -1.0
    assert autos(result)["selfcal.image"] == "flat"
    by_id = {step.id: step for step in result.steps}
    assert by_id["N5921.selfcal.0.image"].params["niter"] == 77


def test_a_named_image_serves_even_if_it_is_of_other_targets() -> None:
    image = replace(FLAT, targets=("1445*",))
    result = compiled(
        image=(Image(name="first"), image),
        targets=Targets(fields=("N5921", "1445*")),
        selfcal=(Selfcal("N5921", image="flat"),),
    )
    assert tclean(result)["cell"] == "5arcsec"
    assert "selfcal.image" not in autos(result)


def test_without_a_flat_image_there_are_defaults_and_channels_free_of_lines() -> None:
    cube = Image(name="hi", specmode="cube", source="contsub")
    result = compiled(image=(cube,), contsub=Contsub(fitspec="0:4~6"))
    assert tclean(result)["spw"] == "0:4~6"
    assert tclean(result)["specmode"] == "mfs"
    chosen = autos(result)
    assert chosen["selfcal.image"] == "defaults"
    assert chosen["selfcal.tclean.spw"] == "0:4~6"
    assert chosen["selfcal.tclean.cell"] == "10arcsec"
    by_id = {step.id: step for step in result.steps}
    assert by_id["N5921.selfcal.1.solve"].params["spw"] == "0:4~6"


def test_own_parameters_of_tclean_are_over_those_of_the_image() -> None:
    settings = Selfcal("N5921", tclean={"imsize": 256, "cell": "9arcsec", "gain": 0.05, "niter": 5})
    result = compiled(image=(replace(FLAT, tclean={"gain": 0.2, "cyclefactor": 2.0}),),
                      selfcal=(settings,))  # fmt: skip
    found = tclean(result)
    assert (found["imsize"], found["cell"]) == ([256, 256], "9arcsec")
    assert (found["gain"], found["cyclefactor"]) == (0.05, 2.0)
    assert "niter" not in found
    by_id = {step.id: step for step in result.steps}
    assert by_id["N5921.selfcal.0.image"].params["niter"] == 5
    dirty = by_id["N5921.flat.dirty"].params  # other pixels than those of the rounds
    assert (dirty["cell"], dirty["gain"]) == ("5arcsec", 0.2)


def depth(**tables: Any) -> tuple[str, str]:
    """Return what the noise step knows of the self-calibration, and which noise the clean takes."""
    found = steps(**tables)
    noise, clean = found["N5921.flat.noise"], found["N5921.flat.clean"]
    known = str(noise.params.get("reached", ""))
    assert (known in noise.reads) is bool(known)
    return known, clean.params["tclean"]["threshold"]["$late"]["key"]


def test_an_image_of_the_same_weights_is_cleaned_to_the_noise_that_was_reached() -> None:
    sigma = replace(FLAT, threshold="3sigma")
    reached = ("qa/data/selfcal/N5921.json", "reached_rms_jy_per_beam")
    assert depth(image=(sigma,)) == reached
    other = Selfcal("N5921", tclean={"robust": 0.5})
    assert depth(image=(sigma,), selfcal=(other,)) == ("", "rms_jy_per_beam")
    subtracted = replace(sigma, source="contsub")
    fit = Contsub(fitspec="0:4~6")
    assert depth(image=(subtracted,), contsub=fit) == ("", "rms_jy_per_beam")


def begun(**tables: Any) -> tuple[str, bool]:
    """Return how the dirty image is made, and whether the clean begins with a round's model."""
    found = steps(**tables)
    dirty, clean = found["N5921.flat.dirty"], found["N5921.flat.clean"]
    rounds = {path for step in found.values() if step.action == "selfcal.image"
              for path in step.writes if path.startswith("images/selfcal/")}  # fmt: skip
    summary = "qa/data/selfcal/N5921.json"
    assert (rounds | {summary} <= set(dirty.reads)) is (dirty.action == "selfcal.dirty")
    assert (rounds | {summary} <= set(clean.reads)) is ("selfcal" in clean.params)
    return dirty.action, clean.params.get("selfcal") == summary


def test_an_image_of_the_same_weights_begins_with_the_best_round() -> None:
    sigma = replace(FLAT, threshold="3sigma")
    assert begun(image=(sigma,)) == ("selfcal.dirty", True)
    for other in ({"threshold": "1mJy"}, {"mask": "auto-multithresh"}):
        assert begun(image=(replace(sigma, **other),)) == ("selfcal.dirty", False)
    own = Selfcal("N5921", tclean={"robust": 0.5})
    assert begun(image=(sigma,), selfcal=(own,)) == ("casa:tclean", False)
    late = {"vis": "{vis}"}
    flags = CustomStep("statwt", after="selfcal", per="target", params=late)
    assert begun(image=(sigma,), step=(flags,)) == ("casa:tclean", False)
    found = compiled(image=(sigma,))
    [chosen] = [auto for auto in found.autos if auto.key == "image.tclean.startmodel"]
    assert (chosen.subject, chosen.value) == ("N5921.flat", "the model")
    assert chosen.reason == "of the best round of the self-calibration, whose weights are the same"


def test_images_of_rounds_take_the_weights_of_the_first() -> None:
    image = steps()["N5921.selfcal.1.image"]
    assert image.params["like"] == "images/selfcal/N5921.0"
    weights = {f"images/selfcal/N5921.0.{kind}" for kind in ("psf", "pb", "sumwt")}
    assert weights == {path for path in image.reads if path.startswith("images/")}


def test_all_data_are_calibrated_whatever_the_image_selects() -> None:
    image = replace(FLAT, tclean={"scan": "3", "uvrange": ">0.1klambda"})
    result = compiled(image=(image,))
    assert "scan" not in tclean(result)
    by_id = {step.id: step for step in result.steps}
    assert by_id["N5921.selfcal.1.solve"].params["uvrange"] == ">0.1klambda"


def test_the_model_is_of_total_intensity() -> None:
    result = compiled(image=(replace(FLAT, stokes="IV"),))
    assert tclean(result)["stokes"] == "I"
    assert autos(result)["selfcal.stokes"] == "I"
    single = vla(spws=[replace(spw(0), correlations=("RR",))])
    assert tclean(compiled(single, image=(replace(FLAT, stokes="RR"),)))["stokes"] == "RR"


def test_a_reference_antenna_of_the_calibration_serves() -> None:
    result = compiled(calibrate=Calibrate(refant="ea03,ea01"))
    by_id = {step.id: step for step in result.steps}
    assert by_id["N5921.selfcal.1.solve"].params["refant"] == "ea03,ea01"
    assert autos(result)["selfcal.refant"] == "ea03,ea01"


# Steps of the recipe beside it


def test_vis_of_a_target_is_its_copy_once_it_is_self_calibrated() -> None:
    before = CustomStep("statwt", name="early", after="split", per="target")
    after = CustomStep("statwt", name="late", after="selfcal", per="target",
                       params={"datacolumn": "corrected"})  # fmt: skip
    found = steps(step=(before, after))
    order = list(found)
    early, late = found["day1.N5921.step.early"], found["day1.N5921.step.late"]
    assert (early.updates, late.updates) == ((SPLIT,), (W,))
    assert order.index(early.id) < order.index("N5921.selfcal.copy.day1")
    assert order.index("N5921.selfcal.finish") < order.index(late.id)
    assert order.index(late.id) < order.index("N5921.continuum.dirty")


# What it costs


def test_the_copy_grows_by_two_columns_and_late_rounds_are_expected_to_be_skipped() -> None:
    found = steps()
    values = 1000 * 64 * 2
    for name in ("1.predict", "1.apply"):
        assert found[f"N5921.selfcal.{name}"].resources.disk_bytes == 8 * values
    for name in ("2.predict", "2.apply", "finish"):
        assert found[f"N5921.selfcal.{name}"].resources.disk_bytes == 0
    assert found["N5921.selfcal.copy.day1"].resources.disk_bytes > 8 * values
    third, fourth = (found[f"N5921.selfcal.{number}.image"].resources for number in (3, 4))
    assert third.seconds > 5 * fourth.seconds
    assert (fourth.disk_bytes, fourth.memory_bytes) == (0, third.memory_bytes)


# Against the data


def test_patterns_that_mean_nothing_or_the_same() -> None:
    result = compiled(selfcal=(Selfcal("N592?"), Selfcal("N*"), Selfcal("N6921")))
    assert messages(result.problems) == [
        ("selfcal.1.target",
         "'N*' and 'N592?' of selfcal[0] both mean N5921: one [[selfcal]] a target"),
        ("selfcal.2.target",
         "no target matches 'N6921'; targets: N5921; did you mean 'N5921'?"),
    ]  # fmt: skip


def test_mosaics_are_refused() -> None:
    observation = vla()
    apart = Field(3, "N5921", 230.5, 5.5667, (), 1000)
    scan = replace(observation.scans[2], number=9, field_ids=(3,))
    mosaic = replace(
        observation, fields=(*observation.fields, apart), scans=(*observation.scans, scan)
    )
    assert messages(compiled(mosaic).problems) == [
        ("selfcal.0.target",
         "N5921 is a mosaic of 2 pointings, and a model of one pointing is no model of the others: "
         "self-calibration of mosaics is not available in this version of casarun; name single "
         "pointings in targets.fields, or leave N5921 out of [[selfcal]]"),
    ]  # fmt: skip


def test_too_few_antennas() -> None:
    observation = replace(vla(), antennas=antennas(10.0, 20.0, 30.0))
    assert messages(compiled(observation).problems) == [
        ("selfcal.0.target",
         "dataset day1 has 3 antennas with unflagged data: self-calibration takes 4 or more, fewer "
         "gains fit any sky; leave N5921 out of [[selfcal]]"),
    ]  # fmt: skip
    assert compiled(replace(vla(), antennas=antennas(1, 2, 3, 4))).problems == ()


def test_reference_antennas() -> None:
    result = compiled(selfcal=(Selfcal("N5921", refant="ea01,ea44"),))
    assert messages(result.problems) == [
        ("selfcal.0.refant",
         "dataset day1 has no antenna 'ea44'; antennas: ea00, ea01, ea02, ea03, ea04; did you mean "
         "'ea04'?"),
    ]  # fmt: skip
    assert compiled(selfcal=(Selfcal("N5921", refant="2"),)).problems == ()
    good = vla()
    poor = replace(good.antennas[0], flagged_fraction=0.9)
    observation = replace(good, antennas=(poor, *good.antennas[1:]))
    result = compiled(observation, selfcal=(Selfcal("N5921", refant="ea00"),))
    assert messages(result.warnings) == [
        ("selfcal.0.refant",
         "reference antenna ea00 of dataset day1 is 90% flagged and has data in 100% of the scans: "
         'phases jump where it lacks; ea01 is better, or refant = "auto"'),
    ]  # fmt: skip


def test_intervals_that_the_data_turn_into_others() -> None:
    settings = Selfcal("N5921", solint=("1h", "inf", "5s", "60s"), calmode=("p",) * 4)
    assert messages(compiled(selfcal=(settings,)).warnings) == [
        ("selfcal.0.solint.0",
         "1 h 00 min is longer than any scan of N5921 in dataset day1 (8 min 20 s): each scan gets "
         'one solution, as with "inf"; to solve over several, combine = "scan"'),
        ("selfcal.0.solint.2",
         "5 s is shorter than an integration of N5921 in dataset day1 (10 s): each integration "
         'gets one solution, as with "int"'),
    ]  # fmt: skip
    combined = replace(settings, combine="scan", solint=("1h",), calmode=("p",))
    assert compiled(selfcal=(combined,)).warnings == ()


def test_data_without_halves() -> None:
    single = replace(spw(0, n_chan=1), correlations=("RR",))
    assert messages(compiled(vla(spws=[single])).warnings) == [
        ("selfcal.0.target",
         "N5921 has one polarization and single channels: whether phases are solved from signal or "
         "from noise is told by solving for them from two halves of the data, and there are none "
         "here; stop.consistency is not looked at, min_solution_snr and the images have to do"),
    ]  # fmt: skip
    for fine in (replace(single, n_chan=2), replace(single, correlations=("XX", "YY"))):
        assert compiled(vla(spws=[fine])).warnings == ()


def test_a_band_is_not_corrected_by_another() -> None:
    bands = vla(spws=[spw(0), spw(1, centre_hz=1.6e9), spw(2, centre_hz=5e9)])
    low = replace(FLAT, spw="0,1")
    assert messages(compiled(bands, image=(low,)).problems) == [
        ("selfcal.0",
         "spw 2 of dataset day1 (5000 MHz) is not among those that N5921 is imaged from for "
         "self-calibration; the nearest, spw 1 (1600 MHz), is of another band, whose phases are "
         "not its own: write a recipe for each band, or self-calibrate from all of them, "
         'selfcal.tclean = { spw = "", deconvolver = "mtmfs" }'),
    ]  # fmt: skip
    assert compiled(bands, image=(replace(low, spw="0,2"),)).problems == ()
    every = Selfcal("N5921", tclean={"spw": ""})
    assert compiled(bands, image=(low,), selfcal=(every,)).problems == ()


def test_own_selections_that_select_nothing() -> None:
    result = compiled(selfcal=(Selfcal("N5921", tclean={"spw": "7"}),))
    ((key, message),) = messages(result.problems)
    assert key == "selfcal.0.tclean.spw"
    assert message.startswith("N5921 of dataset day1: ")


# The language


HEAD = 'casarun = 1\n[[dataset]]\nvis = "a.ms"\n[[image]]\nname = "map"\n'
Load = Callable[..., LoadedRecipe]


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.ms").mkdir()

    def run(text: str, *overrides: str) -> LoadedRecipe:
        Path("recipe.toml").write_text(HEAD + text)
        return load(Path("recipe.toml"), overrides)

    return run


def one(recipe: LoadedRecipe) -> Selfcal:
    (found,) = recipe.recipe.selfcal
    return found


def test_a_target_is_enough(loaded: Load) -> None:
    result = loaded('[[selfcal]]\ntarget = "N*"\n')
    assert one(result) == Selfcal("N*")
    assert result.warnings == ()


def test_rounds_written_out(loaded: Load) -> None:
    given = one(loaded('[[selfcal]]\ntarget = "N*"\nsolint = ["inf", "30s"]\nrefant = [3, "ea1"]\n'
                       "stop = { flux_loss = 1 }\n"))  # fmt: skip
    assert (given.solint, given.calmode) == (("inf", "30s"), ("p", "p"))
    assert given.refant == "3,ea1"
    assert given.stop == Stop(flux_loss=1.0)
    given = one(loaded('[[selfcal]]\ntarget = "N*"\ncalmode = ["p", "a"]\n'))
    assert (given.solint, given.calmode) == (("auto", "auto"), ("p", "a"))


@pytest.mark.parametrize("name", ["0", "N5921", '"N5921"'])
def test_overrides_address_it_by_number_and_target(loaded: Load, name: str) -> None:
    text = '[[selfcal]]\ntarget = "N5921"\n'
    assert one(loaded(text, f"selfcal.{name}.rounds=3")).rounds == 3
    assert one(loaded(text, f"selfcal.{name}.stop.flagged=0.2")).stop.flagged == 0.2


def test_overrides_of_what_is_not_there(loaded: Load) -> None:
    with pytest.raises(RefusedError) as error:
        loaded('[[selfcal]]\ntarget = "N5921"\n', "selfcal.1.rounds=3")
    assert "no [[selfcal]] is named '1'; there is 'N5921'" in str(error.value)


CUBE = '[[image]]\nname = "hi"\nspecmode = "cube"\n'
REFUSED = {
    'solint = ["inf", "int"]\ncalmode = ["p"]\n': (
        "selfcal[0].calmode: 1 round for 2 rounds of solint: give one for each round, or leave it "
        'out for "p" in all'
    ),
    'solint = ["inf,10ch"]\n': (
        "selfcal[0].solint[0]: 'inf,10ch' divides the band, which is for a bandpass: a gain for "
        "self-calibration has an interval of time only"
    ),
    'image = "mpa"\n': (
        "selfcal[0].image: no [[image]] is named 'mpa'; there is 'map', 'hi'; did you mean 'map'?"
    ),
    'image = "hi"\n': (
        "selfcal[0].image: 'hi' is a cube, and a model for self-calibration is of the continuum: "
        "image = 'map', or leave the key out"
    ),
    'tclean = { threshold = "1mJy" }\n': (
        "selfcal[0].tclean.threshold: casarun sets this parameter of tclean itself"
    ),
    "tclean = { imsize = 3 }\n": "selfcal[0].tclean.imsize: must be at least 8, found 3",
    '[[selfcal]]\ntarget = "N5921"\n': (
        "selfcal[1].target: selfcal[0] is of 'N5921', too: one [[selfcal]] a target"
    ),
    "stop = { flaged = 0.1 }\n": "did you mean 'flagged'?",
    'combine = "field"\n': "selfcal[0].combine: ",
    "rounds = 0\n": "selfcal[0].rounds: ",
}


@pytest.mark.parametrize("text", REFUSED)
def test_refused(loaded: Load, text: str) -> None:
    with pytest.raises(RefusedError) as error:
        loaded(f'{CUBE}[[selfcal]]\ntarget = "N5921"\n{text}')
    assert REFUSED[text] in str(error.value)


WARNED = {
    'solint = ["inf", "int"]\nrounds = 1\n': (
        "selfcal.0.solint",
        "only the first 1 of its 2 rounds can take place: rounds = 1",
    ),
    'solint = ["inf", "int"]\nrounds = 4\n': (
        "selfcal.0.rounds",
        "has no effect with 2 rounds of solint",
    ),
    "min_solution_snr = 3\n": (
        "selfcal.0.min_solution_snr",
        "solutions of 3 times the noise make fluxes 9.2 % too high, and sources where there are "
        "none; 5.3 or more: 3 % or less",
    ),
}


@pytest.mark.parametrize("text", WARNED)
def test_warned(loaded: Load, text: str) -> None:
    result = loaded(f'[[selfcal]]\ntarget = "N5921"\n{text}')
    assert messages(tuple(result.warnings)) == [WARNED[text]]


def test_parameters_of_tclean_are_held_against_casa() -> None:
    result = compiled(selfcal=(Selfcal("N5921", tclean={"cyclefactr": 2.0}),))
    assert messages(result.problems) == [
        ("selfcal.0.tclean.cyclefactr",
         "tclean has no parameter 'cyclefactr'; did you mean 'cyclefactor'?"),
    ]  # fmt: skip
