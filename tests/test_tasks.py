from __future__ import annotations

import inspect
import subprocess
import sys

import pytest
from casarun.casa.task_checks import (
    check_parameters,
    check_value,
    idle,
    when,
    without_unit,
    wrong,
)
from casarun.casa.tasks import task, task_names
from casarun.errors import RefusedError


def test_task_names_are_those_of_the_installed_casa() -> None:
    assert {"tclean", "gaincal", "flagdata", "importuvfits"} <= set(task_names())


def test_definitions_are_read_without_importing_casa() -> None:
    code = (
        "import sys; from casarun.casa.tasks import task; task('tclean');"
        "print([m for m in sys.modules if m.startswith(('casatasks', 'casatools'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_parameter_has_type_default_limits_and_parent() -> None:
    tclean = task("tclean").by_name
    assert tclean["deconvolver"].default == "hogbom"
    assert "multiscale" in tclean["deconvolver"].allowed
    assert (tclean["robust"].minimum, tclean["robust"].maximum) == (-2.0, 2.0)
    assert tclean["imsize"].types == ("int", "intVec")
    assert tclean["imsize"].default == [100]
    assert tclean["scales"].subparameter_of == "deconvolver"
    assert tclean["vis"].must_exist
    assert tclean["niter"].description == "Maximum number of iterations"


def test_unknown_task_is_refused_with_a_suggestion() -> None:
    with pytest.raises(RefusedError) as caught:
        task("gaincall")
    message = "the installed CASA has no task 'gaincall'; did you mean 'gaincal'?"
    assert str(caught.value) == message
    assert check_parameters("gaincall", {}) == [message]


def test_task_name_cannot_leave_the_folder_of_definitions() -> None:
    with pytest.raises(RefusedError, match="has no task"):
        task("../__xml__/tclean")


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ({"minsnrr": 3.0}, "gaincal has no parameter 'minsnrr'; did you mean 'minsnr'?"),
        ({"minsnr": "three"}, "gaincal: 'minsnr' must be a number, not 'three'"),
        ({"minblperant": 4.5}, "gaincal: 'minblperant' must be a whole number, not 4.5"),
        ({"minblperant": True}, "gaincal: 'minblperant' must be a whole number, not true"),
        ({"append": "yes"}, "gaincal: 'append' must be true or false, not 'yes'"),
        ({"gaintable": [1]}, "gaincal: 'gaintable' must be a list of strings, not [1]"),
        ({"calmode": "pa"}, "gaincal: 'calmode' must be one of 'a', 'p', 'ap', not 'pa'"
         "; did you mean 'p'?"),
        ({"refantmode": "flexible"},
         "gaincal: 'refantmode' must be one of 'flex', 'strict', not 'flexible'"
         "; did you mean 'flex'?"),
    ],
)  # fmt: skip
def test_wrong_parameters_are_said_in_words(params: dict[str, object], problem: str) -> None:
    assert check_parameters("gaincal", params) == [problem]


def test_limits_of_numbers() -> None:
    assert check_parameters("tclean", {"robust": 2.5}) == [
        "tclean: 'robust' must be at most 2, not 2.5"
    ]
    assert check_parameters("tclean", {"robust": 2}) == []


def test_all_problems_come_at_once() -> None:
    assert len(check_parameters("tclean", {"robust": 9, "imsiz": 3, "niter": "x"})) == 3


@pytest.mark.parametrize(
    ("task_name", "params"),
    [
        ("gaincal", {"minsnr": 3, "gaintable": "a.cal", "spwmap": [[], [0, 0]]}),
        ("tclean", {"imsize": 256, "cell": ["1arcsec"], "scales": [0, 6.5], "vis": ["a", "b"]}),
        ("tclean", {"threshold": {"$late": {"path": "n.json", "key": "rms"}}, "niter": 5}),
        ("tclean", {"niter": {"$late": {}}}),
        ("mstransform", {"separationaxis": "spw"}),
        ("setjy", {"fluxdensity": [2.5, 0.0, 0.0, 0.0], "standard": "manual"}),
    ],
)
def test_right_parameters_pass(task_name: str, params: dict[str, object]) -> None:
    assert check_parameters(task_name, params) == []


def test_default_values_pass_their_own_check() -> None:
    # Some defaults are of no type that is asked for: nothing, where a value must be given.
    wrong = {
        f"{name}.{spec.name}"
        for name in task_names()
        for spec in task(name).parameters
        if check_value(spec, spec.default) and spec.default not in ("", [])
    }
    assert wrong == set()


def test_what_is_passed_over_quickly_is_what_passes_slowly() -> None:
    lists: list[list[object]] = [[], [1], [1.5], ["a"], [True], [1, 2], [1, "a"], [[1]], [None]]
    values = [*lists, 1, 1.5, "a", True]
    found = set()
    for name in ("gaincal", "tclean", "applycal", "flagdata", "mstransform"):
        for spec in task(name).parameters:
            for value in values:
                quick = spec.name not in wrong(name, {spec.name: value})
                assert quick == (not check_value(spec, value)), (name, spec.name, value)
                found.add((quick, isinstance(value, list)))
    assert len(found) == 4


def test_categories_are_casa_s() -> None:
    assert task("gaincal").categories == ("calibration",)
    assert task("split").categories == ("manipulation",)
    assert "calibration" in task("setjy").categories


IDLE = [
    ("tclean", {"wprojplanes": 64},
     {"wprojplanes": "has no effect with gridder='standard': it counts with gridder='widefield' or "
      "'wproject' or 'wprojectft' or 'imagemosaic' or 'awproject' or 'awphpg' or 'awprojectft' or "
      "'awp2'"}),
    ("tclean", {"wprojplanes": 64, "gridder": "wproject"}, {}),
    ("tclean", {"wprojplanes": 1}, {}),  # the default
    ("tclean", {"gain": 0.2, "niter": 0},
     {"gain": "has no effect with niter=0: it counts with niter other than '0'"}),
    ("tclean", {"gain": 0.2, "niter": 5}, {}),
    ("tclean", {"gain": 0.2, "niter": {"$late": {}}}, {}),
    ("gaincal", {"splinetime": 60.0},
     {"splinetime": "has no effect with gaintype='G': it counts with gaintype='GSPLINE'"}),
    ("gaincal", {"normtype": "median", "solnorm": True}, {}),
    ("gaincal", {"normtype": "median"},
     {"normtype": "has no effect with solnorm=false: it counts with solnorm=True"}),
    ("flagdata", {"mode": "manual", "growtime": 20.0},
     {"growtime": "has no effect with mode='manual': it counts with mode='extend'"}),
    ("flagdata", {"mode": "TFCROP", "timecutoff": 3.0}, {}),
    ("immoments", {"stretch": True},
     {"stretch": "has no effect with mask=[]: it counts with mask other than ''"}),
    ("immoments", {"stretch": True, "mask": "m.im"}, {}),
    ("setjy", {"spix": [-0.7], "standard": "manual"}, {}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "params", "found"), IDLE)
def test_subparameters_that_have_no_effect(
    name: str, params: dict[str, object], found: dict[str, str]
) -> None:
    assert idle(name, params) == found


def test_conditions_in_words() -> None:
    assert when(task("bandpass").by_name["fillgaps"].conditions) == "bandtype='B'"
    assert when(task("tclean").by_name["pbmask"].conditions) == (
        "usemask='user' or 'pb' or 'auto-multithresh'"
    )


@pytest.mark.parametrize(
    ("params", "found"),
    [
        ({"cell": "8"}, {"cell": "'8' has no unit and CASA takes it for radians; "
                                 'write "8arcsec"'}),
        ({"cell": ["8arcsec", ".5"]}, {"cell": "'.5' has no unit and CASA takes it for radians; "
                                               'write ".5arcsec"'}),
        ({"solint": "60"}, {"solint": "'60' has no unit and CASA takes it for seconds; "
                                      'write "60s"'}),
        ({"threshold": 0.001}, {"threshold": "0.001 has no unit and CASA takes it for Jy; "
                                             'write "0.001Jy"'}),
        ({"restfreq": "1.42e9"}, {"restfreq": "'1.42e9' has no unit and it needs one; "
                                              'write "1.42e9GHz"'}),
        ({"cell": 8, "timebin": 3, "solint": "int", "threshold": 0.0, "restfreq": []}, {}),
        ({"cell": "8arcsec", "solint": "inf", "threshold": "1mJy", "minsnr": 3.0}, {}),
    ],
)  # fmt: skip
def test_numbers_without_the_unit_that_they_want(
    params: dict[str, object], found: dict[str, str]
) -> None:
    assert without_unit(params) == found


@pytest.mark.casa
def test_definitions_agree_with_the_tasks_themselves() -> None:
    from casarun.casa.config import configure

    configure()
    import casatasks

    # What casatasks' own signatures say otherwise than its definitions.
    known = {"cell", "uvtaper", "compwidth"}
    for name in ("tclean", "gaincal", "bandpass", "applycal", "setjy", "split", "uvcontsub",
                 "statwt", "fluxscale", "mstransform", "exportfits"):  # fmt: skip
        signature = inspect.signature(type(getattr(casatasks, name)).__call__).parameters
        assert [p.name for p in task(name).parameters] == [p for p in signature if p != "self"]
        for spec in task(name).parameters:
            if spec.name not in known:
                assert spec.default == signature[spec.name].default, f"{name}: {spec.name}"
