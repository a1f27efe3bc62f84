"""``casarun check``: several recipes, other machines, and where each value came from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tomli
from casarun.cli.checking import _explain
from casarun.cli.commands import cli
from casarun.plan import Auto
from casarun.recipe.load import load
from click.testing import CliRunner, Result

GOOD = 'casarun = 1\n[[dataset]]\nvis = "a.ms"\n'
ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.ms").mkdir()
    return tmp_path


def check(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["check", *arguments], standalone_mode=False)


def test_several_recipes_are_all_checked() -> None:
    Path("good.toml").write_text(GOOD)
    Path("other.toml").write_text(GOOD + "x = 1\n")
    done = check("--static", "other.toml", "good.toml", "othr.toml")
    assert done.return_value == 2
    assert done.output.startswith("other.toml:4:1: dataset[0].x: unknown key")
    assert done.output.endswith(
        "good.toml: fine by itself (1 dataset)\n"
        "othr.toml: no such file; did you mean 'other.toml'?\n"
    )
    assert check("--static", "good.toml", "good.toml").return_value == 0


def as_json(*arguments: str) -> tuple[int, list[dict[str, Any]]]:
    done = check("--json", *arguments)
    return done.return_value, json.loads(done.output)["checks"]


def test_a_program_is_told_each_problem_by_itself() -> None:
    gone = "".join(f'[[dataset]]\nvis = "gone/day{n:02}.ms"\n' for n in range(30))
    Path("gone.toml").write_text(f"casarun = 1\n{gone}")
    Path("good.toml").write_text(GOOD)
    code, (refused, good) = as_json("--static", "gone.toml", "good.toml")
    assert (code, refused["recipe"], refused["fine"]) == (2, "gone.toml", False)
    for n, problem in enumerate(refused["problems"]):
        file = f"{Path.cwd()}/gone/day{n:02}.ms"
        assert problem["message"].startswith(f"no such file: '{file}'")
        assert (problem["severity"], problem["key"]) == ("error", f"dataset[{n}].vis")
        assert problem["about"] == {"file": file}
        assert (problem["where"], problem["line"], problem["column"]) == ("gone.toml", 3 + 2 * n, 7)
    assert len(refused["problems"]) == 30
    assert good == {"recipe": "good.toml", "fine": True, "problems": []}


def test_a_program_is_told_warnings_lines_and_what_else_is_wrong() -> None:
    Path("warned.toml").write_text(GOOD + 'settle = "1min"\n')
    Path("syntax.toml").write_text("casarun = = 1\n")
    code, (warned, syntax, gone) = as_json("--static", "warned.toml", "syntax.toml", "gone.toml")
    assert code == 2
    assert warned["fine"]
    assert warned["problems"] == [
        {"severity": "warning", "key": "dataset[0].settle",
         "message": "has no effect without watch = true", "about": {},
         "where": "warned.toml", "line": 4, "column": 1}
    ]  # fmt: skip
    (wrong,) = syntax["problems"]
    assert (syntax["fine"], wrong["where"], wrong["line"]) == (False, "syntax.toml", 1)
    assert gone["problems"][0]["message"].startswith("no such file; did you mean")
    assert as_json("--static", "warned.toml")[0] == 0
    usage = CliRunner().invoke(cli, ["check", "--json", "--explain", "warned.toml"])
    assert "give either --explain or --json, not both" in usage.output


def test_a_program_is_told_the_file_or_the_option_that_a_problem_stands_in() -> None:
    Path("base.toml").write_text("casarun = 1\n[flag]\nquack = 10\n")
    Path("r.toml").write_text('extends = ["base.toml"]\n' + GOOD)
    _, (found,) = as_json("--static", "r.toml", "--set", "resources.cores=-1")
    told = {problem["key"]: problem for problem in found["problems"]}
    flag, cores = told["flag.quack"], told["resources.cores"]
    assert (flag["where"], flag["line"], flag["column"]) == ("base.toml", 3, 9)
    assert cores["where"] == "--set resources.cores=-1"
    assert "line" not in cores


def test_what_is_explained_of_many_datasets_is_told_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    many = "".join(f'[[dataset]]\nname = "d{n}"\nvis = "a{n}.ms"\n' for n in range(12))
    for n in range(12):
        Path(f"a{n}.ms").mkdir()
    Path("r.toml").write_text(f"casarun = 1\n{many}watch = true\n")
    autos = [Auto("calibrate.refant", f"d{n}", "ea05", f"ea05 is {n} m away") for n in range(12)]
    _explain(load(Path("r.toml")), autos)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    datasets = [line for line in lines if line.startswith("dataset.")]
    assert [line for line in datasets if ".vis" not in line and ".name" not in line] == [
        "dataset.*.calibrated false default of 12",
        "dataset.*.watch false default of 11",
        'dataset.*.settle "5min" default of 12',
        'dataset.*.datacolumn "auto" default of 12',
        "dataset.d11.watch true r.toml:38",
    ]
    assert sum(".vis" in line for line in datasets) == 12
    at = lines.index('calibrate.refant "auto" default')
    assert lines[at + 1] == 'of d0, d1, d2 and 9 more "ea05" chosen: ea05 is 0 to 11 m away'


ELSEWHERE = (
    'casarun = 1\n[project]\noutput = "${SCRATCH_OF_NOBODY}/x"\n'
    '[[dataset]]\nvis = "${DATA_OF_NOBODY}/day*.ms"\n[[dataset]]\nvis = "gone.ms"\n'
    '[[dataset]]\nvis = "casadata:demo/lost.fits"\n[[image]]\nname = "x"\nmask = "gone.crtf"\n'
)


def test_portable_asks_for_nothing_of_this_machine() -> None:
    Path("r.toml").write_text(ELSEWHERE)
    done = check("--portable", "r.toml")
    assert done.exception is None
    assert done.output == "r.toml: fine by itself (3 datasets)\n"
    with pytest.raises(Exception, match="environment variable DATA_OF_NOBODY is not set"):
        raise check("--static", "r.toml").exception or AssertionError


def test_portable_takes_a_recipe_that_others_extend() -> None:
    Path("base.toml").write_text('casarun = 1\n[flag]\nrfi = "none"\n')
    assert check("--portable", "base.toml").output == "base.toml: fine by itself (0 datasets)\n"
    assert "dataset: this key is required" in str(check("--static", "base.toml").exception)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[flag]\nrfi = "nune"\n', "'nune' is not one of"),
        ('[project]\noutput = "/etc/x"\n', "is not below the current folder"),
        ('[project]\noutput = "${NOBODY}/../x"\n', "is not below the current folder"),
        ('[[dataset]]\nvis = "b.ms"\n[[dataset]]\nvis = "b.ms"\n', "is already dataset[0]"),
        ('[[dataset]]\nvis = "${a b}.ms"\n', "is not a variable"),
        ("[calibrate]\ngaincal = { combin = 'scan' }\n", "gaincal has no parameter 'combin'"),
    ],
)
def test_portable_checks_all_else(text: str, said: str) -> None:
    Path("r.toml").write_text(f"casarun = 1\n{text}")
    assert said in str(check("--portable", "r.toml").exception)


def explained(text: str, *options: str, autos: tuple[Auto, ...] = ()) -> dict[str, list[str]]:
    """Return value and place of each key, and what follows it, by key."""
    Path("recipe.toml").write_text(text)
    loaded = load(Path("recipe.toml"), options)

    @cli.command("explained")
    def command() -> None:
        _explain(loaded, autos)

    output = CliRunner().invoke(command, []).output
    del cli.commands["explained"]
    rows: dict[str, list[str]] = {}
    key = ""
    for line in output.splitlines():
        key = key if line.startswith(" ") else line.split("  ")[0].strip()
        rows.setdefault(key, []).append(" ".join(line.split()))
    return rows


def test_each_value_has_its_place() -> None:
    Path("base.toml").write_text(
        'casarun = 1\n[vars]\nn = 5\n[flag]\nquack = "5s"\n[[image]]\nname = "x"\nniter = "${n}"\n'
        "tclean = { pblimit = 0.1 }\n"
    )
    rows = explained(
        'extends = "base.toml"\n' + GOOD + '[calibrators]\nflux = "3C286"\n[matrix]\n'
        '"image.x.robust" = [0, 2]\n[project]\ntitle = "${n}$${n}"\n',
        "image.x.cell=2arcsec",
        autos=(
            Auto("image.imsize", "N5921.x.robust_2", [64, 64], "two primary beams"),
            Auto("calibrate.refant", "a", "ea05", "in the middle"),
            Auto("cube.width", "y", 3, "why not"),
        ),
    )
    said = {key: lines[0] for key, lines in rows.items()}
    assert said["casarun"] == "casarun 1 recipe.toml:2"
    assert said["project.name"] == 'project.name "recipe" default'
    assert said["dataset.a.vis"] == 'dataset.a.vis "a.ms" recipe.toml:4'
    assert said["dataset.a.calibrated"] == "dataset.a.calibrated false default"
    assert said["calibrators.flux"] == 'calibrators.flux "3C286" recipe.toml:6'
    assert said["calibrators.phase"] == "calibrators.phase (left out) default"
    assert said["flag.quack"] == 'flag.quack "5s" base.toml:5'
    assert said["image.x.robust_2.robust"] == "image.x.robust_2.robust 2 recipe.toml:8"
    assert said["image.x.robust_0.niter"] == ("image.x.robust_0.niter 5 base.toml:8, n base.toml:3")
    assert said["image.x.robust_0.tclean.pblimit"] == (
        "image.x.robust_0.tclean.pblimit 0.1 base.toml:9"
    )
    assert said["image.x.robust_0.cell"] == (
        'image.x.robust_0.cell "2arcsec" --set image.x.cell=2arcsec'
    )
    assert said["project.title"] == 'project.title "5${n}" recipe.toml:10, n base.toml:3'
    assert rows["image.x.robust_0.imsize"] == ['image.x.robust_0.imsize "auto" default']
    assert rows["image.x.robust_2.imsize"][1:] == [
        "of N5921.x.robust_2 [64, 64] chosen: two primary beams"
    ]
    assert rows["calibrate.refant"][1:] == ['of a "ea05" chosen: in the middle']
    assert rows["cube.width"] == ["cube.width casarun", "of y 3 chosen: why not"]
    assert not [key for key in rows if key.split(".")[0] in ("extends", "vars", "matrix")]


def test_a_variable_of_an_option_has_its_place() -> None:
    text = GOOD + '[vars]\nn = 5\n[[image]]\nname = "x"\nniter = "${n}"\n'
    assert explained(text, "vars.n=7")["image.x.niter"] == [
        "image.x.niter 7 recipe.toml:8, n --set vars.n=7"
    ]


@pytest.mark.casa
def test_explained_with_data_says_what_was_chosen() -> None:
    recipe = ROOT / "recipes" / "ngc5921.toml"
    done = check("--explain", str(recipe), "--output", "run")
    assert done.exception is None, done.output
    lines = [" ".join(line.split()) for line in done.output.splitlines()]
    after = lines.index('calibrate.refant "auto" default') + 1
    assert lines[after].startswith('of apr13 "')
    assert "chosen: " in lines[after]


# -- hooks for pre-commit


def test_hooks_are_commands_that_there_are() -> None:
    # YAML that is simple enough to be read by hand: no parser is needed for that.
    text = (ROOT / ".pre-commit-hooks.yaml").read_text()
    entries = [line.split("entry: ")[1].split() for line in text.splitlines() if "entry: " in line]
    assert entries == [["casarun", "check", "--portable"], ["casarun", "fmt"]]
    Path("one.toml").write_text(GOOD.replace("a.ms", "gone.ms"))
    Path("two.toml").write_text('casarun = 1\n[flag]\nrfi = "none"\n')
    for entry in entries:
        done: Any = CliRunner().invoke(cli, [*entry[1:], "one.toml", "two.toml"],
                                       standalone_mode=False)  # fmt: skip
        assert (done.exception, done.return_value) == (None, 0)
    assert tomli.loads(Path("one.toml").read_text())["dataset"] == [{"vis": "gone.ms"}]
    assert Path("one.toml").read_text() == 'casarun = 1\n\n[[dataset]]\nvis = "gone.ms"\n'
