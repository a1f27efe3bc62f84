"""What CASA would run as code out of a recipe's data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from casarun.casa.hidden_code import runs_code
from casarun.casa.recipe_parameters import static
from casarun.recipe.model import CustomStep, Dataset, Image, Recipe
from conftest import CasaTask


@pytest.mark.parametrize(
    ("task", "params", "key", "said"),
    [
        ("importfits", {"imagename": "images/a;touch b"}, "imagename", "';'"),
        ("importfits", {"imagename": "images/a b"}, "imagename", "' '"),
        ("sdfit", {"outfile": "qa/$(id)"}, "outfile", "'$'"),
        ("conjugatevis", {"vis": "x|id", "outputvis": "raw/y.ms"}, "vis", "'|'"),
        ("makemask", {"inpmask": "m;id"}, "inpmask", "';'"),
        ("split", {"outputvis": "raw/'x'.ms"}, "outputvis", '"\'"'),
    ],
)
def test_paths_that_a_shell_would_read(task: str, params: Any, key: str, said: str) -> None:
    path = params[key]
    assert runs_code(task, params) == {
        key: f"'{path}' has the character {said}, and CASA puts paths into shell commands: choose "
        "a name of letters, digits and . _ + - ="
    }


@pytest.mark.parametrize(
    ("task", "params", "key"),
    [
        ("applycal", {"docallib": True, "callib": "{recipe}/cal.txt"}, "callib"),
        ("mstransform", {"docallib": True, "callib": "cal.txt"}, "callib"),
        ("tclean", {"outlierfile": "{recipe}/outliers.txt"}, "outlierfile"),
        ("flagdata", {"mode": "list", "inpfile": "{recipe}/flags.txt"}, "inpfile"),
        ("flagdata", {"mode": "list", "inpfile": ["flags.txt"]}, "inpfile"),
        ("flagcmd", {"inpmode": "table"}, "inpmode"),
        ("flagcmd", {}, "inpmode"),
    ],
)
def test_files_and_tables_that_casa_would_run(task: str, params: Any, key: str) -> None:
    (message,) = runs_code(task, params).values()
    assert list(runs_code(task, params)) == [key]
    assert "as Python code" in message


@pytest.mark.parametrize(
    ("task", "params"),
    [
        ("immath", {"imagename": ["images/{target}.hi.image"], "expr": "IM0 > 0.1 && IM0 < 2",
                    "outfile": "images/{target}.hi.mask"}),
        ("imstat", {"imagename": "a.image", "mask": '"a.image" > 0.5',
                    "region": "circle[[1pix,1pix],3pix]"}),
        ("tclean", {"imagename": "images/x", "mask": "circle[[100pix, 130pix], 50pix]"}),
        ("flagdata", {"mode": "list", "inpfile": ["antenna='ea01&ea02'", "spw='0:3~5;7'"]}),
        ("flagcmd", {"inpmode": "list", "inpfile": ["antenna='ea01'"]}),
        ("split", {"vis": "{vis}", "outputvis": "raw/{dataset}.low.ms", "spw": "0:3~5;7"}),
        ("importuvfits", {"fitsfile": "/home/me/my data/day 1.fits", "vis": "raw/x.ms"}),
    ],
)  # fmt: skip
def test_what_is_harmless_passes(task: str, params: Any) -> None:
    assert runs_code(task, params) == {}


def test_recipes_are_held_against_it() -> None:
    recipe = Recipe(
        1,
        (Dataset("/data/day.ms", "day"),),
        image=(Image("map", tclean={"outlierfile": "x.txt"}),),
        step=(
            CustomStep("importfits", after="image", per="run",
                       params={"fitsimage": "images/a.fits", "imagename": "images/{nobody};id"}),
            CustomStep("flagcmd", after="apply"),
        ),
    )  # fmt: skip
    assert [problem.key for problem in static(recipe)] == [
        ("image", 0, "tclean", "outlierfile"),
        ("step", 0, "params", "imagename"),
        ("step", 1, "params"),
    ]


@pytest.mark.casa
def test_casa_really_runs_it(casa: CasaTask, tmp_path: Path) -> None:
    """The reason for all this: where CASA no longer does it, it need not be refused."""
    (tmp_path / "in.fits").write_text("no image")
    Path("x").mkdir()
    casa("importfits", fitsimage="in.fits", imagename="x;touch pwned", overwrite=True)
    Path("x").rename("x;touch pwned")  # it is removed by a shell command only if it is there
    casa("importfits", fitsimage="in.fits", imagename="x;touch pwned", overwrite=True)
    assert Path("pwned").exists()
