"""From recipe and metadata to steps: what an expert would check in a plan."""

from dataclasses import replace
from typing import Any

import pytest
from casarun.errors import Problem
from casarun.observation import Observation
from casarun.plan import Step
from casarun.recipe.model import (
    Calibrate,
    Calibrators,
    Contsub,
    CustomStep,
    Dataset,
    Flag,
    FluxCalibrator,
    Image,
    Qa,
    Recipe,
    Resources,
    Solint,
    Targets,
)
from casarun.stages.compile import Compiled, asked_for, full, imports
from support.observations import spw, vla

CALIBRATORS = Calibrators(flux=FluxCalibrator(field="1331*"), bandpass="1331*", phase=("1445*",))


def recipe(**tables: Any) -> Recipe:
    given = {
        "dataset": (Dataset(vis="/data/day1.fits", name="day1"),),
        "calibrators": CALIBRATORS,
        "targets": Targets(fields=("N5921",)),
        "image": (Image(name="continuum"),),
    }
    return Recipe(casarun=1, **{**given, **tables})


def compiled(observation: Observation | None = None, **tables: Any) -> Compiled:
    made = recipe(**tables)
    observation = observation or vla()
    return full(made, {dataset.name: observation for dataset in made.dataset})


def steps(observation: Observation | None = None, **tables: Any) -> dict[str, Step]:
    result = compiled(observation, **tables)
    assert result.problems == ()
    return {step.id: step for step in result.steps}


def messages(problems: tuple[Problem, ...]) -> list[str]:
    return [problem.message for problem in problems]


def test_import_comes_first_and_needs_no_metadata() -> None:
    assert [step.id for step in imports(recipe()).steps] == ["day1.import", "day1.observe"]
    assert [step.id for step in compiled().steps][:2] == ["day1.import", "day1.observe"]


def test_a_ms_is_not_imported(tmp_path: Any) -> None:
    vis = tmp_path / "day1.ms"
    vis.mkdir()
    found = steps(dataset=(Dataset(vis=str(vis), name="day1"),))
    assert "day1.import" not in found
    assert found["day1.copy"].reads == (str(vis),)


def test_intermediates_are_what_only_later_steps_need() -> None:
    found = {path for step in steps().values() for path in step.intermediates}
    assert found == {
        "raw/day1.imported.ms", "raw/day1.ms",
        *(f"images/dirty/N5921.continuum.{what}" for what in ("pb", "psf", "residual", "sumwt")),
    }  # fmt: skip
    dirty = steps(image=(Image(name="continuum", niter=0),))
    assert not any("images" in path for step in dirty.values() for path in step.intermediates)
    untouched = steps(dataset=(Dataset(vis="/data/day1.fits", name="day1", calibrated=True),))
    assert not any("raw" in path for step in untouched.values() for path in step.intermediates)


def test_while_metadata_are_read_what_was_imported_is_needed_later() -> None:
    made = recipe(resources=Resources(keep="products"))
    plan = imports(made).plan({}, {})
    assert (plan.keep, plan.needed_later) == ("products", {"raw/day1.imported.ms"})
    whole = full(made, {"day1": vla()}).plan({}, {})
    assert (whole.keep, whole.needed_later) == ("products", set())
    part = asked_for(whole, until="calibrate")
    assert part.needed_later == {"raw/day1.ms"}


def test_raw_data_are_never_changed() -> None:
    for step in compiled().steps:
        assert not any("imported" in path for path in step.updates)
        assert all(not path.startswith("/") for path in (*step.writes, *step.updates))


def test_the_chain_of_solutions() -> None:
    found = steps()
    solving = [step.id for step in compiled().steps if step.stage == "calibrate"]
    assert solving == [
        "day1.setjy.0", "day1.phase0", "day1.bandpass", "day1.phase-int", "day1.phase-scan",
        "day1.amp", "day1.fluxscale",
    ]  # fmt: skip
    assert found["day1.bandpass"].params["gaintable"] == ["caltables/day1.phase0"]
    assert found["day1.phase-int"].params["gaintable"] == ["caltables/day1.bandpass"]
    assert found["day1.amp"].params["gaintable"] == [
        "caltables/day1.bandpass", "caltables/day1.phase-int",
    ]  # fmt: skip
    assert found["day1.amp"].params["calmode"] == "a"
    assert found["day1.fluxscale"].params["reference"] == "0"
    assert found["day1.fluxscale"].params["transfer"] == "1"


def test_targets_take_scan_phases_of_their_calibrator_and_its_scaled_amplitudes() -> None:
    params = steps()["day1.apply.2"].params
    assert params["gaintable"] == [
        "caltables/day1.bandpass", "caltables/day1.phase-scan", "caltables/day1.fluxscale",
    ]  # fmt: skip
    assert params["gainfield"] == ["0", "1", "1"]
    assert params["interp"] == ["nearest", "linear", "linear"]
    assert params["spwmap"] == []
    assert params["calwt"] == [False]


def test_calibrators_take_phases_per_interval_of_themselves() -> None:
    params = steps()["day1.apply.1"].params
    assert params["gaintable"][1] == "caltables/day1.phase-int"
    assert params["gainfield"] == ["0", "1", "1"]


def test_wide_windows_get_delays_first() -> None:
    found = steps(vla(spws=[spw(0, width_hz=2e6)]))
    assert found["day1.delay"].params["gaintype"] == "K"
    assert found["day1.phase0"].params["gaintable"] == ["caltables/day1.delay"]
    assert found["day1.apply.2"].params["gaintable"][0] == "caltables/day1.delay"


def test_a_spw_without_calibrator_data_takes_the_nearest_solutions() -> None:
    spws = [spw(i, centre_hz=1.4e9 + i * 1e8) for i in range(3)]
    observation = vla(spws=spws)
    scans = tuple(
        replace(scan, spw_ids=(0, 2)) if scan.field_ids == (1,) else scan
        for scan in observation.scans
    )
    params = steps(replace(observation, scans=scans))["day1.apply.2"].params
    assert params["spwmap"] == [[], [0, 0, 2], [0, 0, 2]]


def test_without_a_separate_phase_calibrator_there_is_no_fluxscale() -> None:
    calibrators = Calibrators(
        flux=FluxCalibrator(field="1331*"), bandpass="1331*", phase=("1331*",)
    )
    found = steps(calibrators=calibrators)
    assert "day1.fluxscale" not in found
    assert found["day1.apply.2"].params["gaintable"][-1] == "caltables/day1.amp"


def test_roles_come_from_intents_where_the_recipe_names_none() -> None:
    result = compiled(vla(intents=True), calibrators=Calibrators(), targets=Targets())
    assert result.problems == ()
    chosen = {auto.key: auto.value for auto in result.autos}
    assert chosen["calibrators.flux"] == "1331+305"
    assert chosen["calibrators.phase"] == "1445+099"
    assert chosen["targets.fields"] == "N5921"


def test_without_intents_all_roles_are_asked_for_at_once() -> None:
    result = compiled(calibrators=Calibrators(), targets=Targets())
    assert messages(result.problems) == [
        "dataset day1 has no scan intent OBSERVE_TARGET: name the targets (targets.fields); "
        "fields: 1331+305, 1445+099, N5921",
        *(
            f"dataset day1 has no scan intent CALIBRATE_{role.upper()}: name the {role} calibrator "
            f"(calibrators.{role}), or set dataset.calibrated = true if the data are calibrated; "
            "fields: 1331+305, 1445+099, N5921"
            for role in ("flux", "bandpass", "phase")
        ),
    ]


def test_a_field_that_does_not_exist() -> None:
    result = compiled(targets=Targets(fields=("N5912",)))
    assert result.problems[0] == Problem(
        "no field of dataset day1 matches 'N5912'; fields: 1331+305, 1445+099, N5921; "
        "did you mean 'N5921'?",
        ("targets", "fields"),
    )


def test_a_refant_that_does_not_exist() -> None:
    result = compiled(calibrate=Calibrate(refant="VA15"))
    assert result.problems == (
        Problem(
            "dataset day1 has no antenna 'VA15' with data; antennas: ea00, ea01, ea02, ea03, ea04",
            ("calibrate", "refant"),
        ),
    )


def test_flagging_that_needs_no_look_at_values_is_one_pass() -> None:
    params = steps(flag=Flag(quack="10s"))["day1.flag.basic"].params
    assert params["inpfile"] == [
        "mode='manual' autocorr=True",
        "mode='shadow'",
        "mode='clip' clipzeros=True",
        "mode='quack' quackinterval=10 quackmode='beg'",
        "mode='manual' spw='0:0~2;61~63'",
    ]


def test_rfi_flagging_comes_before_and_after_the_calibration() -> None:
    found = steps(flag=Flag(rfi="rflag", flagdata={"timedevscale": 4.0}))
    assert found["day1.flag.rfi"].params["mode"] == "tfcrop"
    assert found["day1.flag.corrected"].params["mode"] == "rflag"
    assert found["day1.flag.corrected"].params["datacolumn"] == "corrected"
    assert found["day1.flag.corrected"].params["timedevscale"] == 4.0


def test_edges_that_leave_nothing() -> None:
    result = compiled(flag=Flag(edge=32))
    assert messages(result.problems) == [
        "32 channels at each edge leave none of the 64 of spw 0 of dataset day1"
    ]


def test_thresholds_in_sigma_are_resolved_when_the_clean_runs() -> None:
    found = steps()
    clean = found["N5921.continuum.clean"]
    assert clean.params["tclean"]["threshold"] == {
        "$late": {
            "path": "images/N5921.continuum.noise.json", "key": "rms_jy_per_beam",
            "times": 3.0, "unit": "Jy",
        }
    }  # fmt: skip
    assert "images/N5921.continuum.noise.json" in clean.reads
    assert clean.params["until"] == {"sigmas": 3.0, "suffix": ""}
    flux = steps(image=(Image(name="c", threshold="1mJy"),))["N5921.c.clean"]
    assert "until" not in flux.params
    assert flux.params["tclean"]["threshold"] == "1mJy"


def test_the_clean_goes_on_from_the_dirty_image() -> None:
    clean = steps()["N5921.continuum.clean"]
    assert clean.params["dirty"] == "images/dirty/N5921.continuum"
    assert clean.params["tclean"]["calcpsf"] is False
    assert clean.params["tclean"]["calcres"] is False


def test_datasets_of_one_target_are_imaged_together() -> None:
    datasets = tuple(Dataset(vis=f"/data/day{i}.fits", name=f"day{i}") for i in (1, 2))
    found = steps(dataset=datasets)
    assert found["N5921.continuum.dirty"].params["vis"] == [
        "calibrated/day1.N5921.ms", "calibrated/day2.N5921.ms",
    ]  # fmt: skip
    assert found["day1.bandpass"].params["caltable"] != found["day2.bandpass"].params["caltable"]


def test_a_cube_is_made_from_the_continuum_subtracted_data() -> None:
    image = Image(name="hi", specmode="cube", source="contsub", nchan=10, moments=(0, 1))
    found = steps(contsub=Contsub(fitspec="0:0~9"), image=(image,))
    assert found["N5921.hi.dirty.0"].reads[0] == "calibrated/day1.N5921.contsub.ms"
    assert "excludepix" not in found["N5921.hi.mom0"].params
    assert found["N5921.hi.mom1"].params["excludepix"][1]["$late"]["times"] == 3


def test_any_parameter_of_tclean_passes_through() -> None:
    image = Image(name="c", tclean={"gridder": "wproject", "wprojplanes": 64})
    params = steps(image=(image,))["N5921.c.clean"].params["tclean"]
    assert params["gridder"] == "wproject"
    assert params["wprojplanes"] == 64


def test_mtmfs_writes_its_terms() -> None:
    image = Image(name="c", deconvolver="mtmfs", nterms=2)
    writes = steps(image=(image,))["N5921.c.clean"].writes
    assert "images/N5921.c.image.tt1" in writes
    assert "images/N5921.c.psf.tt2" in writes
    assert "images/N5921.c.alpha" in writes


def test_calibrated_data_are_split_and_imaged_as_they_are() -> None:
    observation = vla(columns=("CORRECTED_DATA", "DATA"))
    dataset = Dataset(vis="/data/day1.fits", name="day1", calibrated=True)
    found = steps(observation, dataset=(dataset,), calibrators=Calibrators())
    assert "day1.copy" not in found
    assert found["day1.split.N5921"].params["datacolumn"] == "corrected"
    assert not any(step.updates for step in found.values())


def test_hostile_field_names_stay_in_the_run_folder() -> None:
    observation = vla()
    fields = tuple(
        replace(field, name="../../x; $(rm)") if field.id == 2 else field
        for field in observation.fields
    )
    found = steps(replace(observation, fields=fields), targets=Targets(fields=("*rm*",)))
    for step in found.values():
        for path in (*step.writes, *step.updates):
            assert ".." not in path.split("/")
            assert "$" not in path


def test_targets_that_an_image_names_must_exist() -> None:
    result = compiled(image=(Image(name="c", targets=("M31",)),))
    assert messages(result.problems) == ["no target matches 'M31'; targets: N5921"]


@pytest.mark.parametrize("specmode", ["mfs", "cube"])
def test_a_ds9_region_file_is_drawn_before_the_clean(specmode: str) -> None:
    result = compiled(image=(Image(name="c", mask="/data/arms.REG", specmode=specmode),))
    assert result.problems == ()
    order = [step.id for step in result.steps]
    (drawn,) = [step for step in result.steps if step.action == "mask"]
    assert "/data/arms.REG" in drawn.reads
    (out,) = drawn.writes
    cleans = [step for step in result.steps if step.action in ("clean", "ranges.clean")]
    assert cleans
    for clean in cleans:
        assert order.index(drawn.id) < order.index(clean.id)
        assert out in clean.reads
        assert "/data/arms.REG" not in clean.reads
        assert clean.params["tclean"]["mask"] == out


@pytest.mark.parametrize(
    ("custom", "before", "vis"),
    [
        (CustomStep("statwt", after="apply", params={"vis": "{vis}"}), "day1.apply.2",
         "raw/day1.ms"),
        (CustomStep("statwt", after="split", per="target", params={"vis": "{vis}"}),
         "day1.split.N5921", "calibrated/day1.N5921.ms"),
    ],
)  # fmt: skip
def test_a_step_of_the_recipe_stands_where_it_says(
    custom: CustomStep, before: str, vis: str
) -> None:
    result = compiled(step=(custom,))
    assert result.problems == ()
    order = [step.id for step in result.steps]
    (own,) = [step for step in result.steps if step.stage == "step"]
    assert order[order.index(own.id) - 1] == before
    assert own.updates == (vis,)


def test_steps_of_the_recipe_are_checked_against_the_installed_casa() -> None:
    result = compiled(step=(CustomStep("statwtt", after="apply"),))
    assert messages(result.problems) == [
        "the installed CASA has no task 'statwtt'; did you mean 'statwt'?"
    ]


def test_steps_of_the_recipe_stay_in_the_run_folder() -> None:
    custom = CustomStep(
        "exportfits", after="export", per="run",
        params={"imagename": "images/N5921.continuum.image", "fitsimage": "../../x.fits"},
    )  # fmt: skip
    result = compiled(step=(custom,))
    assert "'../../x.fits' is outside of the run folder: a step writes below it only" in messages(
        result.problems
    )


def test_planning_is_pure() -> None:
    assert compiled().plan({}, {}).fingerprints == compiled().plan({}, {}).fingerprints


def test_names_that_would_share_a_file_are_refused() -> None:
    observation = vla(intents=True)
    twin = replace(observation.field(2), id=3, name="N_5921")
    both = (*observation.fields[:2], replace(observation.field(2), name="N,5921"), twin)
    scans = (*observation.scans, replace(observation.scans[2], number=9, field_ids=(3,)))
    observation = replace(observation, fields=both, scans=scans)
    found = compiled(observation, targets=Targets(fields=("N?5921",)))
    assert messages(found.problems) == [
        "two steps would make calibrated/day1.N_5921.ms: 'split N,5921' and 'split N_5921'; choose "
        "targets whose names differ in letters or digits, or rename datasets or images"
    ]


def test_a_field_whose_data_are_all_flagged_is_refused_once() -> None:
    observation = vla()
    flagged = replace(observation.field(0), flagged_fraction=1.0)
    found = compiled(replace(observation, fields=(flagged, *observation.fields[1:])))
    assert messages(found.problems) == [
        "all data of 1331+305 in dataset day1 are flagged; choose another field "
        "(calibrators.flux) or restore its flags"
    ]


def test_a_part_of_the_plan() -> None:
    datasets = tuple(Dataset(vis=f"/data/day{i}.fits", name=f"day{i}") for i in (1, 2))
    plan = compiled(dataset=datasets, flag=Flag(rfi="tfcrop")).plan({}, {})
    flagged = asked_for(plan, until="flag")
    assert {step.stage for step in flagged.steps} == {"import", "flag"}
    assert {step.dataset for step in flagged.steps} == {"day1", "day2"}
    # What is flagged after the calibration comes with the calibration.
    assert "day1.flag.corrected" not in flagged.by_id
    assert "day1.flag.corrected" in asked_for(plan, until="apply").by_id
    first = asked_for(plan, only="day1")
    assert {step.dataset for step in first.steps} == {"day1"}


def test_one_dataset_of_one_has_its_images() -> None:
    plan = compiled().plan({}, {})
    assert asked_for(plan, only="day1").steps == plan.steps


def test_each_band_of_the_flux_calibrator_has_its_own_model_image() -> None:
    spws = [spw(0), spw(1, centre_hz=1.5e9), spw(2, centre_hz=3e9)]
    found = steps(vla(spws=spws))
    first, second = found["day1.setjy.0.0"].params, found["day1.setjy.0.1"].params
    assert (first["spw"], first["model"]) == ("0,1", "3C286_L.im")
    assert (second["spw"], second["model"]) == ("2", "3C286_S.im")
    chosen = {
        (auto.subject, auto.value)
        for auto in compiled(vla(spws=spws)).autos
        if auto.key == "calibrators.flux.model"
    }
    assert chosen == {("day1.spw 0,1", "3C286_L.im"), ("day1.spw 2", "3C286_S.im")}


def test_one_band_is_one_step() -> None:
    params = steps()["day1.setjy.0"].params
    assert "spw" not in params
    assert params["usescratch"] is False


def test_a_planet_needs_the_model_column() -> None:
    observation = vla(spws=[spw(0, centre_hz=100e9)])
    fields = (replace(observation.fields[0], name="Uranus"), *observation.fields[1:])
    # By then there were ephemerides.
    observation = replace(observation, fields=fields, start_mjd_s=57000 * 86400.0)
    flux = FluxCalibrator(field="0", standard="Butler-JPL-Horizons 2012")
    found = steps(observation, calibrators=Calibrators(flux=flux, bandpass="0", phase=("1445*",)))
    params = found["day1.setjy.0"].params
    assert params["usescratch"] is True
    assert "model" not in params


def test_intervals_that_casarun_chooses_are_shown() -> None:
    observation = vla()
    quick = tuple(replace(scan, integration_s=2.0) for scan in observation.scans)
    observation = replace(observation, scans=quick)
    found = steps(observation)
    assert found["day1.phase-int"].params["solint"] == "10s"
    assert found["day1.phase0"].params["solint"] == "10s"
    assert found["day1.amp"].params["solint"] == "inf"
    chosen = [a for a in compiled(observation).autos if a.key == "calibrate.solint.phase"]
    assert [(auto.subject, auto.value) for auto in chosen] == [("day1", "10s")]
    own = steps(observation, calibrate=Calibrate(solint=Solint(phase="int", amp="auto")))
    assert own["day1.phase-int"].params["solint"] == "int"
    assert own["day1.amp"].params["solint"] == "inf"


def test_a_single_channel_is_calibrated_like_any_other() -> None:
    found = steps(vla(spws=[spw(0, n_chan=1)]))
    assert "day1.delay" not in found
    assert found["day1.bandpass"].params["spw"] == ""
    assert found["day1.phase-int"].params["spw"] == "0"


def test_a_model_that_came_with_the_data_is_forgotten() -> None:
    found = steps(replace(vla(), has_model=True))
    names = list(found)
    assert names[names.index("day1.copy") + 1] == "day1.delmod"
    assert found["day1.delmod"].action == "casa:delmod"
    assert found["day1.delmod"].updates == ("raw/day1.ms",)
    assert "day1.delmod" not in steps()


def test_flags_are_held_to_the_recipes_limit() -> None:
    data = vla()
    came = replace(data.fields[1], flagged_fraction=0.7)
    found = steps(replace(data, fields=(data.fields[0], came, data.fields[2])),
                  qa=Qa(max_flagged_fraction=0.6))  # fmt: skip
    [given] = [c.params for c in found["day1.flag.basic"].checks if c.name == "flagged_fraction"]
    assert given == {"path": "raw/day1.ms", "fields": [0, 1, 2], "limit": 0.6, "came_over": [1]}
    [given] = [c.params for c in found["day1.apply.2"].checks if c.name == "flagged_fraction"]
    assert given == {"path": "raw/day1.ms", "fields": [2], "limit": 0.6}
