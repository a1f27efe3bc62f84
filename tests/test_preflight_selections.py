"""Selections of a recipe that fit its data, and those that do not, word for word."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from casarun.observation import Observation
from casarun.preflight import selections
from casarun.recipe.model import (
    Calibrate,
    Calibrators,
    Contsub,
    CustomStep,
    Dataset,
    Flag,
    FluxCalibrator,
    Image,
    Recipe,
    Targets,
)
from casarun.stages import compile as stages
from casarun.stages import image, roles
from casarun.stages.draft import Draft, Subject
from casarun.stages.flag import steps as flag_steps
from support.observations import spw, vla

CALIBRATORS = Calibrators(flux=FluxCalibrator(field="1331*"), bandpass="1331*", phase=("1445*",))


def said(*observations: Observation, **tables: Any) -> list[tuple[str, str]]:
    """Return the problems that a recipe's selections have, each as its key and its message."""
    observations = observations or (vla(),)
    datasets = tuple(Dataset(f"/d/day{i}.fits", f"day{i}") for i in range(1, len(observations) + 1))
    given = {
        "dataset": datasets,
        "calibrators": CALIBRATORS,
        "targets": Targets(fields=("N5921",)),
        "image": (Image(name="continuum"),),
    }
    draft = Draft(Recipe(casarun=1, **{**given, **tables}))
    subjects = [
        Subject(dataset, i, observations[i], roles.resolve(draft, dataset, observations[i]))
        for i, dataset in enumerate(draft.recipe.dataset)
    ]
    assert not draft.problems
    pictures = image.pictures(draft, subjects)
    stages.custom.insert(draft, subjects, pictures)
    before = len(draft.problems)
    selections.check(draft, subjects, pictures)
    assert not draft.warnings
    return [(".".join(map(str, p.key)), p.message) for p in draft.problems[before:]]


def a_day_later(observation: Observation) -> Observation:
    """Return the same observation of the next day, whose scans go on in number."""
    scans = tuple(
        replace(
            scan,
            number=scan.number + 4,
            start_mjd_s=scan.start_mjd_s + 86400,
            end_mjd_s=scan.end_mjd_s + 86400,
        )
        for scan in observation.scans
    )
    return replace(
        observation,
        scans=scans,
        start_mjd_s=observation.start_mjd_s + 86400,
        end_mjd_s=observation.end_mjd_s + 86400,
    )


def test_a_recipe_without_selections_says_nothing() -> None:
    assert said() == []


@pytest.mark.parametrize(
    "tables",
    [
        {"calibrate": Calibrate(spw="0:6~56")},
        {"calibrate": Calibrate(spw="*:6~56", gaincal={"uvrange": ">0.1klambda", "scan": "1~4"})},
        {"calibrate": Calibrate(bandpass={"scan": "1"}, setjy={"scan": "1"})},
        {"calibrate": Calibrate(gaincal={"antenna": "!ea03"}, fluxscale={"antenna": "ea0*"})},
        {"flag": Flag(manual=("antenna='ea03' timerange='12:26:40~12:30:00'",))},
        {"flag": Flag(manual=("mode='manual' scan='1~2' reason='operator log'", "spw='0:10;20'"))},
        {"flag": Flag(manual=("# comment", "mode='clip' correlation='ABS_ALL' clipminmax=[0,5]"))},
        {"flag": Flag(rfi="rflag", flagdata={"field": "N5921", "timedevscale": 4.0})},
        {"contsub": Contsub(fitspec="0:4~6;50~59")},
        {"image": (Image(name="c", spw="0:4~6;50~59", tclean={"uvrange": "<0.9km"}),)},
        {"image": (Image(name="c", tclean={"scan": "3", "antenna": "ea00&ea01"}),)},
        {
            "step": (
                CustomStep("statwt", after="flag", params={"vis": "{vis}", "field": "1,2"}),
                CustomStep("statwt", name="t", after="split", per="target",
                           params={"vis": "{vis}", "field": "0", "fitspw": "0:4~6"}),
            )
        },
    ],
)  # fmt: skip
def test_what_fits_is_not_spoken_of(tables: dict[str, Any]) -> None:
    assert said(**tables) == []


@pytest.mark.parametrize(
    ("tables", "key", "message"),
    [
        (
            {"calibrate": Calibrate(spw="0:100~120")},
            "calibrate.spw",
            "dataset day1: '0:100~120' asks for channel 120 of spw 0, which has 64 channels, 0~63: "
            "CASA would take the nearest one without a word; spws: 0 (64 channels)",
        ),
        (
            {"calibrate": Calibrate(gaincal={"scan": "9"})},
            "calibrate.gaincal.scan",
            "dataset day1: there is no scan '9'; scans: 1~4",
        ),
        (
            {"calibrate": Calibrate(gaincal={"scan": "3"})},
            "calibrate.gaincal.scan",
            "dataset day1: scan='3' leaves no data of 1331+305, which is in scan 1",
        ),
        (
            {"calibrate": Calibrate(gaincal={"scan": "1"})},
            "calibrate.gaincal.scan",
            "dataset day1: scan='1' leaves no data of 1445+099, which is in scans 2, 4",
        ),
        (
            {"calibrate": Calibrate(bandpass={"uvrange": ">100klambda"})},
            "calibrate.bandpass.uvrange",
            "dataset day1: no baseline lies in uvrange '>100klambda': baselines are 40 m to 1000 m "
            "long, 0.187 to 4.67 klambda",
        ),
        (
            {"calibrate": Calibrate(applycal={"antenna": "ea1"})},
            "calibrate.applycal.antenna",
            "dataset day1: there is no antenna 'ea1' with data; antennas: ea00, ea01, ea02, ea03, "
            "ea04; did you mean 'ea01'?",
        ),
        (
            {"calibrate": Calibrate(setjy={"intent": "*FLUX*"})},
            "calibrate.setjy.intent",
            "dataset day1: the data have no scan intents, so intent '*FLUX*' selects nothing",
        ),
        (
            {"flag": Flag(manual=("antenna='ea03' timerange='09:00:00~10:00:00'",))},
            "flag.manual.0",
            "dataset day1: no data in timerange '09:00:00~10:00:00': the data are from "
            "1995/02/20/12:26:40 to 1995/02/20/13:05:00",
        ),
        (
            {"flag": Flag(manual=("antena='ea03'",))},
            "flag.manual.0",
            "a flag command has no parameter 'antena'; did you mean 'antenna'?",
        ),
        (
            {"flag": Flag(manual=("mode='manaul' scan='1'",))},
            "flag.manual.0",
            "'manaul' is no mode of a flag command; modes: antint, clip, elevation, extend, "
            "manual, manualflag, quack, rflag, shadow, summary, tfcrop, unflag; did you mean "
            "'manual'?",
        ),
        (
            {"flag": Flag(flagdata={"correlation": "XX"})},
            "flag.flagdata.correlation",
            "dataset day1: the data have no correlation 'XX'; correlations: LL, RR",
        ),
        (
            {"contsub": Contsub(fitspec="1:4~6")},
            "contsub.fitspec",
            "dataset day1: there is no spw '1'; spws: 0 (64 channels)",
        ),
        (
            {"image": (Image(name="c", spw="0:60~64"),)},
            "image.0.spw",
            "dataset day1: '0:60~64' asks for channel 64 of spw 0, which has 64 channels, 0~63: "
            "CASA would take the nearest one without a word; spws: 0 (64 channels)",
        ),
        (
            {"image": (Image(name="c", tclean={"scan": "1"}),)},
            "image.0.tclean.scan",
            "N5921 of dataset day1: there is no scan '1'; scans: 3",
        ),
        (
            {"step": (CustomStep("statwt", after="flag", params={"field": "N5912"}),)},
            "step.0.params.field",
            "dataset day1: no field matches 'N5912'; fields: 1331+305, 1445+099, N5921; did you "
            "mean 'N5921'?",
        ),
        (
            {"step": (CustomStep("statwt", after="split", per="target", params={"field": "2"}),)},
            "step.0.params.field",
            "dataset day1: no field has the id '2': ids are 0~0; fields: N5921",
        ),
        (
            {
                "step": (
                    CustomStep("flagdata", after="flag",
                               params={"mode": "list", "inpfile": ["scan='7'"]}),
                )
            },
            "step.0.params.inpfile",
            "dataset day1: there is no scan '7'; scans: 1~4",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit(tables: dict[str, Any], key: str, message: str) -> None:
    assert said(**tables) == [(key, message)]


def test_selections_that_are_good_only_by_themselves() -> None:
    calibrate = Calibrate(gaincal={"scan": "1,2", "timerange": "12:26:40~12:34:00"})
    assert said(calibrate=calibrate) == [
        (
            "calibrate.gaincal",
            "dataset day1: scan='1,2' timerange='12:26:40~12:34:00' leaves no data of "
            "1445+099, which is in scans 2, 4",
        )
    ]


def test_windows_in_which_a_field_was_not_observed() -> None:
    there = vla(spws=[spw(0), spw(1, centre_hz=1.5e9)], target_spws=(0,))
    assert said(there, calibrate=Calibrate(spw="1"), image=(Image(name="c", spw="0~1"),)) == []
    assert said(there, image=(Image(name="c", spw="1:5~10"),)) == [
        ("image.0.spw", "dataset day1: spw='1:5~10' leaves no data of N5921, which is in spw 0")
    ]
    assert said(there, vla(spws=there.spws), image=(Image(name="c", spw="1"),)) == []
    scans = tuple(replace(s, spw_ids=(1,)) if s.number == 1 else s for s in there.scans)
    assert said(replace(there, scans=scans), calibrate=Calibrate(spw="0")) == [
        ("calibrate.spw", "dataset day1: spw='0' leaves no data of 1331+305, which is in spw 1")
    ]


def test_each_dataset_that_a_selection_does_not_fit_is_named() -> None:
    one, other = vla(), vla(spws=[spw(0, n_chan=32)])
    assert said(one, one, calibrate=Calibrate(spw="0:3~40")) == []
    assert said(one, other, calibrate=Calibrate(spw="0:3~40")) == [
        (
            "calibrate.spw",
            "dataset day2: '0:3~40' asks for channel 40 of spw 0, which has 32 channels, 0~31: "
            "CASA would take the nearest one without a word; spws: 0 (32 channels)",
        )
    ]


def test_a_flag_command_may_be_meant_for_one_dataset() -> None:
    days = (vla(), a_day_later(vla()))
    first, second = "scan='1' antenna='ea01'", "scan='5'"
    assert said(*days, flag=Flag(manual=(first, second))) == []
    assert said(*days, flag=Flag(manual=("scan='99'",))) == [
        (
            "flag.manual.0",
            "it flags nothing in any dataset; dataset day1: there is no scan '99'; scans: 1~4",
        )
    ]


def test_a_dataset_gets_the_flag_commands_that_fit_it() -> None:
    days = (vla(), a_day_later(vla()))
    datasets = tuple(Dataset(f"/d/{name}.fits", name) for name in ("day1", "day2"))
    commands = ("scan='1'", "scan='5'", "antenna='ea01'", "scan='6'")
    draft = Draft(Recipe(1, datasets, calibrators=CALIBRATORS, targets=Targets(("N5921",)),
                         flag=Flag(manual=commands)))  # fmt: skip
    for i, dataset in enumerate(datasets):
        found = roles.resolve(draft, dataset, days[i])
        flag_steps(draft, Subject(dataset, i, days[i], found))
    by_id = {step.id: step for step in draft.steps}
    assert by_id["day1.flag.manual"].params["inpfile"] == [
        "mode='manual' scan='1'", "mode='manual' antenna='ea01'",
    ]  # fmt: skip
    assert by_id["day1.flag.manual"].title == (
        "flag: 2 commands of the recipe, without 2 for other datasets"
    )
    assert [c.params["n"] for c in by_id["day2.flag.manual"].checks if "n" in c.params] == [3]


def test_an_image_may_take_scans_of_one_dataset() -> None:
    days = (vla(), a_day_later(vla()))
    assert said(*days, image=(Image(name="c", tclean={"scan": "3"}),)) == []
    assert said(*days, image=(Image(name="c", tclean={"scan": ["3", "7"]}),)) == []
    found = said(*days, image=(Image(name="c", tclean={"scan": "4"}),))
    assert [key for key, _ in found] == ["image.0.tclean.scan"] * 2
    # CASA takes no name that one of the MSs does not have.
    other = replace(days[1], antennas=days[1].antennas[:3])
    asked = (Image(name="c", tclean={"antenna": "ea03"}),)
    assert said(days[0], other, image=asked) == [
        (
            "image.0.tclean.antenna",
            "dataset day2: there is no antenna 'ea03' with data; antennas: ea00, ea01, ea02",
        )
    ]


def test_data_that_came_calibrated_have_no_calibration_to_check() -> None:
    dataset = (Dataset("/d/day1.fits", "day1", calibrated=True),)
    tables = {"calibrate": Calibrate(spw="9"), "flag": Flag(manual=("scan='99'",))}
    assert said(dataset=dataset, calibrators=Calibrators(), **tables) == []


@pytest.mark.parametrize(
    "command",
    [
        "mode='shadow' addantenna={'a':__import__('os').system('true')}",
        "mode='rflag' timedev='__import__(\"os\").getpid()'",
        "mode='rflag' freqdev=print(1)",
    ],
)
def test_what_casa_would_run_as_python_is_refused(command: str) -> None:
    ((key, message),) = said(flag=Flag(manual=(command,)))
    assert key == "flag.manual.0"
    assert "Python" in message
    for commands in ([command], command):
        step = CustomStep("flagdata", after="flag", params={"mode": "list", "inpfile": commands})
        assert "Python" in said(step=(step,))[0][1]
