from __future__ import annotations

import inspect
import subprocess
import sys

import pytest
from casarun.casa.task_paths import derive_paths
from casarun.casa.tasks import check_parameters, task, task_names
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


PATHS = [
    ("gaincal", {"vis": "a.ms", "caltable": "g", "gaintable": ["b", "k"], "field": "0"},
     ("a.ms", "b", "k"), ("g",), ()),
    ("gaincal", {"vis": "a.ms", "caltable": "g", "append": True}, ("a.ms",), (), ("g",)),
    ("fluxscale", {"vis": "a.ms", "caltable": "g", "fluxtable": "f"}, ("a.ms", "g"), ("f",), ()),
    ("applycal", {"vis": "a.ms", "gaintable": ["g"]}, ("g",), (), ("a.ms",)),
    ("flagdata", {"vis": "a.ms", "mode": "manual"}, (), (), ("a.ms",)),
    ("flagdata", {"vis": "a.ms", "mode": "summary"}, ("a.ms",), (), ()),
    ("flagdata", {"vis": "a.ms", "mode": "list", "inpfile": ["antenna='3.5'"]}, (), (), ("a.ms",)),
    ("flagdata", {"vis": "a.ms", "mode": "list", "inpfile": "cmds.txt"}, ("cmds.txt",), (),
     ("a.ms",)),
    ("statwt", {"vis": "a.ms"}, (), (), ("a.ms",)),
    ("statwt", {"vis": "a.ms", "preview": True}, ("a.ms",), (), ()),
    ("setjy", {"vis": "a.ms", "model": "3C286_L.im"}, (), (), ("a.ms",)),
    ("fixvis", {"vis": "a.ms"}, (), (), ("a.ms",)),
    ("fixvis", {"vis": "a.ms", "outputvis": "b.ms"}, ("a.ms",), ("b.ms",), ()),
    ("split", {"vis": "a.ms", "outputvis": "b.ms"}, ("a.ms",), ("b.ms",), ()),
    ("concat", {"vis": ["a.ms", "b.ms"], "concatvis": "c.ms"}, ("a.ms", "b.ms"), ("c.ms",), ()),
    ("importuvfits", {"fitsfile": "a.fits", "vis": "a.ms"}, ("a.fits",), ("a.ms",), ()),
    ("importasdm", {"asdm": "x", "vis": "a.ms"}, ("x",), ("a.ms",), ()),
    ("exportfits", {"imagename": "i", "fitsimage": "i.fits"}, ("i",), ("i.fits",), ()),
    ("impbcor", {"imagename": "i", "pbimage": "i.pb", "outfile": "o"}, ("i", "i.pb"), ("o",), ()),
    ("immath", {"imagename": ["i", "j"], "outfile": "o", "expr": "IM0"}, ("i", "j"), ("o",), ()),
    ("immoments", {"imagename": "i", "moments": [0, 1], "outfile": "m"},
     ("i",), ("m.integrated", "m.weighted_coord"), ()),
    ("immoments", {"imagename": "i", "moments": [0], "outfile": "m"}, ("i",), ("m",), ()),
    ("imstat", {"imagename": "i", "logfile": "s.txt"}, ("i",), ("s.txt",), ()),
    ("imsmooth", {"imagename": "i", "mask": "m.im", "outfile": "o"}, ("i", "m.im"), ("o",), ()),
    ("imsmooth", {"imagename": "i", "mask": "'m.im'>0.5", "outfile": "o"}, ("i",), ("o",), ()),
    ("plotants", {"vis": "a.ms", "figfile": "a.png"}, ("a.ms",), ("a.png",), ()),
    ("plotbandpass", {"caltable": "b", "figfile": "b.png"}, ("b",), ("b.png",), ()),
    ("uvsub", {"vis": "a.ms"}, (), (), ("a.ms",)),
    ("imhead", {"imagename": "i", "mode": "put"}, (), (), ("i",)),
    ("imhead", {"imagename": "i", "mode": "list"}, ("i",), (), ()),
    ("tclean", {"vis": "a.ms", "imagename": "i", "niter": 5, "mask": "circle[[1pix,2pix],3pix]"},
     ("a.ms",),
     ("i.residual", "i.model", "i.pb", "i.psf", "i.sumwt", "i.image", "i.mask"), ()),
    ("tclean", {"vis": "a.ms", "imagename": "i", "mask": "m.crtf", "savemodel": "modelcolumn"},
     ("m.crtf",), ("i.residual", "i.model", "i.pb", "i.psf", "i.sumwt", "i.image"), ("a.ms",)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "params", "reads", "writes", "updates"), PATHS)
def test_paths_follow_from_the_parameters(
    name: str,
    params: dict[str, object],
    reads: tuple[str, ...],
    writes: tuple[str, ...],
    updates: tuple[str, ...],
) -> None:
    assert derive_paths(name, params) == (reads, writes, updates)


def test_taylor_terms_are_in_the_family() -> None:
    _, writes, _ = derive_paths(
        "tclean", {"vis": "a.ms", "imagename": "i", "deconvolver": "mtmfs", "gridder": "mosaic"}
    )
    assert {
        "i.image.tt0",
        "i.image.tt1",
        "i.psf.tt2",
        "i.weight.tt0",
        "i.alpha",
        "i.pb.tt0",
    } <= set(writes)
    assert "i.image" not in writes
    assert "i.psf.tt3" not in writes


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


@pytest.mark.casa
@pytest.mark.parametrize("more", [
    {"niter": 0},
    {"niter": 5, "pbcor": True},
    {"niter": 5, "deconvolver": "mtmfs", "pbcor": True},
])  # fmt: skip
def test_tclean_makes_the_derived_family(sky, casa, tmp_path, more) -> None:  # type: ignore[no-untyped-def]
    params = {"vis": str(sky[0]), "field": "2", "datacolumn": "data", "imagename": "i",
              "imsize": 64, "cell": "20arcsec", **more}  # fmt: skip
    casa("tclean", **params)
    _, writes, _ = derive_paths("tclean", params)
    assert [path for path in writes if not (tmp_path / path).is_dir()] == []
