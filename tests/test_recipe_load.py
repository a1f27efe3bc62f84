"""Loading recipes: what comes out, and the exact text of what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from casarun.errors import ExitCode, RefusedError
from casarun.recipe import model
from casarun.recipe.load import LoadedRecipe, load

HEAD = 'casarun = 1\n[[dataset]]\nvis = "a.ms"\n'
Load = Callable[..., LoadedRecipe]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.ms").mkdir()
    return tmp_path


@pytest.fixture
def loaded(folder: Path) -> Load:
    def run(text: str, *overrides: str, **options: Any) -> LoadedRecipe:
        Path("recipe.toml").write_text(text, encoding="utf-8")
        return load(Path("recipe.toml"), overrides, **options)

    return run


@pytest.fixture
def refused(loaded: Load, folder: Path) -> Callable[..., str]:
    def run(text: str, *overrides: str, **options: Any) -> str:
        with pytest.raises(RefusedError) as error:
            loaded(text, *overrides, **options)
        assert error.value.exit_code == ExitCode.REFUSED
        assert any(problem.severity == "error" for problem in error.value.problems)
        return str(error.value).replace(str(folder), "FOLDER")

    return run


# What comes out


def test_least_recipe(loaded: Load, folder: Path) -> None:
    result = loaded(HEAD)
    assert result.recipe == model.Recipe(
        casarun=1,
        dataset=(model.Dataset(str(folder / "a.ms"), "a"),),
        project=model.Project("recipe", "", "runs/recipe"),
    )
    assert result.warnings == ()
    assert result.document == {"casarun": 1, "dataset": [{"vis": "a.ms"}]}


def test_shorthands_are_written_out(loaded: Load) -> None:
    recipe = loaded(
        HEAD + '[calibrators]\nflux = "3C286"\nphase = "J1"\n[targets]\nfields = "N*"\n'
        '[calibrate]\nrefant = ["ea01", 5]\ndelay = true\ncalwt = false\nminsnr = 5\n'
        'solint = { phase = "30s" }\n[contsub]\nfitspec = "0:1~2"\n'
        '[[image]]\nname = "x"\nfrom = "contsub"\ntargets = "N*"\nimsize = [64, 32]\n'
        "tclean = { scales_ = [1, 2] }\n"
    ).recipe
    assert recipe.calibrators == model.Calibrators(
        flux=model.FluxCalibrator("3C286"), phase=("J1",)
    )
    assert recipe.targets.fields == ("N*",)
    assert recipe.calibrate == model.Calibrate(
        "ea01,5", delay="yes", calwt="no", minsnr=5.0, solint=model.Solint(phase="30s")
    )
    assert isinstance(recipe.calibrate.minsnr, float)
    assert recipe.image == (
        model.Image(
            "x", source="contsub", targets=("N*",), imsize=(64, 32), tclean={"scales_": [1, 2]}
        ),
    )


def test_flux_density_of_one_number(loaded: Load) -> None:
    flux = loaded(HEAD + "[calibrators.flux]\nfluxdensity = 2\n").recipe.calibrators.flux
    assert flux.fluxdensity == (2.0,)
    assert isinstance(flux.fluxdensity[0], float)


def test_glob_makes_datasets(loaded: Load, folder: Path) -> None:
    for name in ("x[1]/day 1.ms", "x[1]/day2.ms.tar.gz"):
        (folder / name).mkdir(parents=True)
    text = 'casarun = 1\n[[dataset]]\nvis = "a.ms"\n[[dataset]]\nvis = "${D}/day*"\n'
    given = {"D": str(folder / "x[1]")}
    result = loaded(text, environ=given)
    assert [dataset.name for dataset in result.recipe.dataset] == ["a", "day_1", "day2"]
    assert result.recipe.dataset[1].vis == str(folder / "x[1]/day 1.ms")
    assert result.source.locate(("dataset", 2, "vis")) == (5, 7)
    named = loaded(text + 'name = "e"\n', environ=given).recipe.dataset
    assert [dataset.name for dataset in named] == ["a", "e-day_1", "e-day2"]
    one = loaded(text.replace("day*", "day2*") + 'name = "e"\n', environ=given).recipe.dataset
    assert [dataset.name for dataset in one] == ["a", "e"]


def test_paths(loaded: Load, folder: Path) -> None:
    (folder / "m.crtf").touch()
    (folder / "${X}.ms").mkdir()
    recipe = loaded(
        'casarun = 1\nproject.output = "${OUT}/r"\n[[dataset]]\nvis = "~/a.ms"\n'
        '[[dataset]]\nvis = "$${X}.ms"\n[[image]]\nname = "x"\nmask = "${M}.crtf"\n',
        environ={"HOME": str(folder), "OUT": "/o", "M": "m"},
    ).recipe
    assert recipe.project.output == "/o/r"
    assert [dataset.vis for dataset in recipe.dataset] == [
        str(folder / "a.ms"),
        str(folder / "${X}.ms"),
    ]
    assert recipe.image[0].mask == str(folder / "m.crtf")


def test_paths_start_from_the_recipes_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "r.toml").write_text(HEAD)
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    assert load(Path("../r.toml")).recipe.dataset[0].vis == str(folder / "a.ms")


def test_demo_data(loaded: Load, folder: Path) -> None:
    (folder / "data/demo").mkdir(parents=True)
    (folder / "data/demo/N.fits").touch()
    text = HEAD.replace("a.ms", "casadata:demo/N.fits")
    dataset = loaded(text, demo_data=lambda: folder / "data").recipe.dataset
    assert dataset == (model.Dataset(str(folder / "data/demo/N.fits"), "N"),)


def test_example_of_the_reference_page(loaded: Load, folder: Path) -> None:
    page = (Path(__file__).parent.parent / "docs/recipe.md").read_text(encoding="utf-8")
    (folder / "demo").mkdir()
    (folder / "demo/NGC5921.fits").touch()
    result = loaded(page.split("```toml\n")[1].split("```")[0], demo_data=lambda: folder)
    assert [image.name for image in result.recipe.image] == ["continuum", "hi"]
    assert result.warnings == ()


def test_warnings(loaded: Load) -> None:
    result = loaded(
        HEAD + '[contsub]\n[[image]]\nname = "x"\nweighting = "natural"\nrobust = 1\n'
        "scales = [0]\nnterms = 3\nnchan = 3\ngridder = 'standard'\nniter = 0\n"
        "mask = 'auto-multithresh'\ntclean = { gridder = 'wproject' }\n"
    )
    assert {(p.key[-1], p.message) for p in result.warnings} == {
        ("contsub", "no fitspec: all channels count as free of lines"),
        ("contsub", 'no [[image]] is made from it: from = "contsub"'),
        ("robust", "has no effect with weighting = 'natural'"),
        ("scales", "has no effect with deconvolver = 'hogbom'"),
        ("nterms", "has no effect with deconvolver = 'hogbom'"),
        ("nchan", "has no effect with specmode = 'mfs'"),
        ("gridder", "has no effect with a gridder in tclean, which is taken"),
        ("mask", "has no effect with niter = 0"),
    }


def test_loading_imports_nothing_slow(folder: Path) -> None:
    (folder / "r.toml").write_text(HEAD)
    slow = "{'numpy', 'astropy', 'jsonschema', 'tree_sitter', 'casatools', 'casadata', 'casatasks'}"
    code = (
        "import sys; from pathlib import Path; from casarun.recipe.load import load; "
        f"load(Path('r.toml')); print(sorted({slow} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# Overrides


def test_set(loaded: Load) -> None:
    text = HEAD + '[calibrators]\nflux = "A"\n[[image]]\nname = "hi"\n[[image]]\nname = "a.b"\n'
    recipe = loaded(
        text + '[[step]]\ntask = "statwt"\nafter = "apply"\n',
        "calibrate.refant=15",
        "calibrate.solint.phase=30s",
        "image.hi.niter = 500",
        "image.a.b.cell=1arcsec",
        'image."a.b".imsize=[64, 64]',
        "dataset.a.name=first",
        "step.statwt.params.datacolumn=data",
        "calibrators.flux.standard=Perley-Taylor 99",
        "targets.fields=N5921*",
        "project.title=10:00:00",
        "flag.rfi=none\n[qa]",
        "flag.rfi=none",
    ).recipe
    assert recipe.calibrate.refant == "15"
    assert recipe.calibrate.solint.phase == "30s"
    assert [(image.niter, image.cell, image.imsize) for image in recipe.image] == [
        (500, "auto", "auto"),
        (10000, "1arcsec", (64, 64)),
    ]
    assert recipe.dataset[0].name == "first"
    assert recipe.step[0].params == {"datacolumn": "data"}
    assert recipe.calibrators.flux == model.FluxCalibrator("A", "Perley-Taylor 99")
    assert recipe.targets.fields == ("N5921*",)
    assert recipe.project.title == "10:00:00"


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (
            "image.hii.niter=5",
            "recipe.toml: --set image.hii.niter=5: no [[image]] is named 'hii'; there is 'hi'; "
            "did you mean 'hi'?",
        ),
        (
            "image.niter=5",
            "recipe.toml: --set image.niter=5: no [[image]] is named 'niter'; there is 'hi'",
        ),
        (
            "step.statwt.per=run",
            "recipe.toml: --set step.statwt.per=run: the recipe has no [[step]]",
        ),
        (
            "niter",
            "recipe.toml: --set niter: expected KEY=VALUE, for example calibrate.refant=15",
        ),
        (
            "image.hi.niter=many",
            "--set image.hi.niter=many: image[0].niter: expected an integer, found a string",
        ),
        (
            "image.hi.cell=2 parsec",
            "--set image.hi.cell=2 parsec: image[0].cell: 'parsec' in '2 parsec' is not a unit of "
            'angle; use one of marcsec, mas, arcsec, arcmin, deg, rad; or "auto"',
        ),
        (
            "calibrate.refnat=15",
            "--set calibrate.refnat=15: calibrate.refnat: unknown key; did you mean 'refant'?",
        ),
        ("qaa.x=1", "--set qaa.x=1: qaa: unknown key; did you mean 'qa'?"),
        (
            "project.name.x=1",
            "recipe.toml: --set project.name.x=1: project.name is a string, not a table",
        ),
        (
            "dataset.a.vis=b.ms",
            "--set dataset.a.vis=b.ms: dataset[0].vis: no such file: 'FOLDER/b.ms'; "
            "did you mean 'a.ms'?",
        ),
    ],
)
def test_set_refused(refused: Callable[..., str], option: str, message: str) -> None:
    text = HEAD + '[project]\nname = "p"\n[[image]]\nname = "hi"\n'
    assert refused(text, option) == message


# What is refused, each with its exact text. The document follows HEAD, so it begins in line 4.

REFUSED = {
    "syntax": (
        "[flag]\nrfi = none\n",
        '5:7: Invalid value: text goes in quotes: "none"\n    5 | rfi = none\n      |       ^',
    ),
    "text without an end": (
        '[flag]\nrfi = "none\nquack = "10s"\n',
        "5:12: a text in quotes ends on the line on which it begins: the closing quote is "
        'missing\n    5 | rfi = "none\n      |            ^',
    ),
    "number with a unit": (
        "[calibrate]\nsolint = { amp = 10s }\n",
        '5:20: Unclosed inline table: text goes in quotes: "10s"\n'
        "    5 | solint = { amp = 10s }\n      |                    ^",
    ),
    "true in capitals": (
        "[flag]\nzeros = True\n",
        "5:9: Invalid value: write true\n    5 | zeros = True\n      |         ^",
    ),
    "table cut off": (
        "[flag\nzeros = true\n",
        "4:6: Expected ']' at the end of a table declaration\n    4 | [flag\n      |      ^",
    ),
    "cut off": ("x =", "4:4: Invalid value\n    4 | x =\n      |    ^"),
    "key twice": (
        "[retry]\nwait = '5s'\nwait = '6s'\n",
        "6:12: Cannot overwrite a value\n    6 | wait = '6s'\n      |            ^",
    ),
    "unknown key": (
        "[calibrate]\nrefnat = 15\n",
        "5:1: calibrate.refnat: unknown key; did you mean 'refant'?\n"
        "    5 | refnat = 15\n      | ^^^^^^",
    ),
    "key of another table": (
        "[qa]\nspecmode = 'mfs'\n",
        "5:1: qa.specmode: unknown key; it belongs to [[image]]\n"
        "    5 | specmode = 'mfs'\n      | ^^^^^^^^",
    ),
    "CASA's key": (
        "[[image]]\nname = 'x'\npblimit = 0.1\n",
        "6:1: image[0].pblimit: unknown key; CASA's own parameters go into tclean or immoments "
        "= { ... }\n    6 | pblimit = 0.1\n      | ^^^^^^^",
    ),
    "wrong type": (
        "[[image]]\nname = 'x'\nniter = \"5\"\n",
        "6:9: image[0].niter: expected an integer, found a string: write 5\n"
        '    6 | niter = "5"\n      |         ^^^',
    ),
    "a number as text": (
        "[qa]\nmin_dynamic_range = '20.5'\n",
        "5:21: qa.min_dynamic_range: expected a number, found a string: write 20.5\n"
        "    5 | min_dynamic_range = '20.5'\n      |                     ^^^^^^",
    ),
    "a number without its unit": (
        "[flag]\nquack = 10\n",
        '5:9: flag.quack: expected a string, found an integer: write for example "10s"\n'
        "    5 | quack = 10\n      |         ^^",
    ),
    "wrong type of alternatives": (
        "[calibrate]\nrefant = 1.5\n",
        "5:10: calibrate.refant: expected a string or an integer or an array, found a float\n"
        "    5 | refant = 1.5\n      |          ^^^",
    ),
    "table for array": (
        "[image]\nname = 'x'\n",
        "4:2: image: expected an array, found a table: write [[image]] for each\n"
        "    4 | [image]\n      |  ^^^^^",
    ),
    "array for table": (
        "[[flag]]\n",
        "4:3: flag: expected a table, found an array: write [flag]\n"
        "    4 | [[flag]]\n      |   ^^^^",
    ),
    "wrong unit": (
        "[[image]]\nname = 'x'\ncell = \"2 parsec\"\n",
        "6:8: image[0].cell: 'parsec' in '2 parsec' is not a unit of angle; "
        'use one of marcsec, mas, arcsec, arcmin, deg, rad; or "auto"\n'
        '    6 | cell = "2 parsec"\n      |        ^^^^^^^^^^',
    ),
    "no unit": (
        "[flag]\nquack = '10'\n",
        "5:9: flag.quack: '10' has no unit; write for example \"10s\" (units: ms, s, min, h, d)\n"
        "    5 | quack = '10'\n      |         ^^^^",
    ),
    "threshold without unit": (
        "[[image]]\nname = 'x'\nthreshold = '0.001'\n",
        "6:13: image[0].threshold: '0.001' has no unit; write for example \"3sigma\" or "
        "\"0.1mJy\"\n    6 | threshold = '0.001'\n      |             ^^^^^^^",
    ),
    "solint that CASA takes for degrees": (
        "[calibrate]\nsolint.phase = '1d'\n",
        "5:16: calibrate.solint.phase: 'd' in '1d' is not a unit of time here; "
        'use "auto", "inf", "int", or a time in s, min, h\n'
        "    5 | solint.phase = '1d'\n      |                ^^^^",
    ),
    "more than a page can show": (
        "[qa]\nviewer = '200MB'\n",
        "5:10: qa.viewer: '200MB' is not between 64kB and 100MB, what a page can show; "
        'or "none"\n'
        "    5 | viewer = '200MB'\n      |          ^^^^^^^",
    ),
    "standard that there is not": (
        "[calibrators]\nflux = { standard = 'Perley-Butler-2017' }\n",
        "5:21: calibrators.flux.standard: 'Perley-Butler-2017' is not one of CASA's flux standards"
        ": 'Perley-Butler 2017', 'Stevens-Reynolds 2016', 'Scaife-Heald 2012', "
        "'Perley-Butler 2013', 'Perley-Butler 2010', 'Perley-Taylor 99', 'Perley-Taylor 95', "
        "'Perley 90', 'Baars', "
        "'Butler-JPL-Horizons 2012', 'Butler-JPL-Horizons 2010'; did you mean 'Perley-Butler 2017'?"
        "\n    5 | flux = { standard = 'Perley-Butler-2017' }"
        "\n      |                     ^^^^^^^^^^^^^^^^^^^^",
    ),
    "manual standard without a flux density": (
        "[calibrators]\nflux = { standard = 'manual' }\n",
        "5:21: calibrators.flux.standard: 'manual' needs a flux density: "
        "calibrators.flux.fluxdensity\n    5 | flux = { standard = 'manual' }"
        "\n      |                     ^^^^^^^^",
    ),
    "channel in quotes": (
        "[[image]]\nname = 'x'\nspecmode = 'cube'\nstart = '5'\n",
        '7:9: image[0].start: \'5\' has no unit; write for example "1.42GHz" or "5km/s", '
        "or a channel number without quotes\n    7 | start = '5'\n      |         ^^^",
    ),
    "wrong word": (
        "[[image]]\nname = 'x'\ndeconvolver = \"multiscal\"\n",
        "6:15: image[0].deconvolver: 'multiscal' is not one of 'auto', 'hogbom', 'clark', "
        "'multiscale', 'mtmfs', 'clarkstokes', 'asp'; did you mean 'multiscale'?\n"
        '    6 | deconvolver = "multiscal"\n      |               ^^^^^^^^^^^',
    ),
    "out of range": (
        "[qa]\nmax_flagged_fraction = 50\n",
        "5:24: qa.max_flagged_fraction: must be at most 1, found 50\n"
        "    5 | max_flagged_fraction = 50\n      |                        ^^",
    ),
    "not finite": (
        "[qa]\nmin_dynamic_range = nan\n",
        "5:21: qa.min_dynamic_range: expected a finite number, found nan\n"
        "    5 | min_dynamic_range = nan\n      |                     ^^^",
    ),
    "date for a parameter": (
        "[calibrate.gaincal]\nx = 1995-04-13\n",
        "5:5: calibrate.gaincal.x: expected a CASA value, found a date or time; "
        "dates are strings in CASA\n    5 | x = 1995-04-13\n      |     ^^^^^^^^^^",
    ),
    "missing key": (
        "[[image]]\ncell = '1arcsec'\n",
        "4:3: image[0].name: this key is required\n    4 | [[image]]\n      |   ^^^^^",
    ),
    "unusable name": (
        "[[image]]\nname = '../x'\n",
        "5:8: image[0].name: '../x' cannot be a name: letters, digits and _ - + . only, at most "
        "64, not beginning with . or -\n    5 | name = '../x'\n      |        ^^^^^^",
    ),
    "image twice": (
        "[[image]]\nname = 'x'\n[[image]]\nname = 'x'\n",
        "7:8: image[1].name: 'x' is already the name of image[0]\n"
        "    7 | name = 'x'\n      |        ^^^",
    ),
    "task twice": (
        "[[step]]\ntask = 'statwt'\nafter = 'apply'\n[[step]]\ntask = 'statwt'\nafter = 'apply'\n",
        "8:8: step[1].task: step[0] is 'statwt', too: give one of them a name\n"
        "    8 | task = 'statwt'\n      |        ^^^^^^^^",
    ),
    "dataset twice": (
        "name = 'd'\n[[dataset]]\nname = 'd'\nvis = 'recipe.toml'\n",
        "6:8: dataset[1].name: 'd' is already the name of dataset[0]\n"
        "    6 | name = 'd'\n      |        ^^^",
    ),
    "data twice": (
        "[[dataset]]\nname = 'b'\nvis = '*.ms'\n",
        "6:7: dataset[1].vis: 'FOLDER/a.ms' is already dataset[0]\n"
        "    6 | vis = '*.ms'\n      |       ^^^^^^",
    ),
    "missing file": (
        "[[dataset]]\nvis = 'aa.ms'\n",
        "5:7: dataset[1].vis: no such file: 'FOLDER/aa.ms'; did you mean 'a.ms'?\n"
        "    5 | vis = 'aa.ms'\n      |       ^^^^^^^",
    ),
    "missing folder": (
        "[[dataset]]\nvis = 'no/a.ms'\n",
        "5:7: dataset[1].vis: no such file: 'FOLDER/no/a.ms'; nor is there such a folder\n"
        "    5 | vis = 'no/a.ms'\n      |       ^^^^^^^^^",
    ),
    "empty glob": (
        "[[dataset]]\nvis = 'b*.ms'\n",
        "5:7: dataset[1].vis: 'FOLDER/b*.ms' matches nothing\n"
        "    5 | vis = 'b*.ms'\n      |       ^^^^^^^",
    ),
    "unset variable": (
        "[[dataset]]\nvis = '${DATA}/a.ms'\n",
        "5:7: dataset[1].vis: the environment variable DATA is not set\n"
        "    5 | vis = '${DATA}/a.ms'\n      |       ^^^^^^^^^^^^^^",
    ),
    "no variable": (
        "[[dataset]]\nvis = '${1}/a.ms'\n",
        "5:7: dataset[1].vis: '${1}' is not a variable; write ${NAME}, or $${ for ${\n"
        "    5 | vis = '${1}/a.ms'\n      |       ^^^^^^^^^^^",
    ),
    "out of casadata": (
        "[[dataset]]\nvis = 'casadata:demo/../../x'\n",
        "5:7: dataset[1].vis: 'casadata:demo/../../x' leads out of the casadata package\n"
        "    5 | vis = 'casadata:demo/../../x'\n      |       ^^^^^^^^^^^^^^^^^^^^^^^",
    ),
    "no casadata": (
        "[[dataset]]\nvis = 'casadata:demo/N.fits'\n",
        "5:7: dataset[1].vis: the casadata package is not installed: "
        "pip install 'casarun[demo]'\n"
        "    5 | vis = 'casadata:demo/N.fits'\n      |       ^^^^^^^^^^^^^^^^^^^^^^",
    ),
    "mask that is no word": (
        "[[image]]\nname = 'x'\nmask = 'auto-multitresh'\n",
        "6:8: image[0].mask: no such file: 'FOLDER/auto-multitresh'; "
        "did you mean 'auto-multithresh'?\n"
        "    6 | mask = 'auto-multitresh'\n      |        ^^^^^^^^^^^^^^^^^",
    ),
    "contsub without contsub": (
        "[[image]]\nname = 'x'\nfrom = 'contsub'\n",
        "6:8: image[0].from: there is no [contsub] in the recipe\n"
        "    6 | from = 'contsub'\n      |        ^^^^^^^^^",
    ),
    "mtmfs of a cube": (
        "[[image]]\nname = 'x'\nspecmode = 'cube'\ndeconvolver = 'mtmfs'\n",
        "7:15: image[0].deconvolver: 'mtmfs' is for specmode = \"mfs\": "
        "a cube's channels have no Taylor terms\n"
        "    7 | deconvolver = 'mtmfs'\n      |               ^^^^^^^",
    ),
    "moments of an image": (
        "[[image]]\nname = 'x'\nmoments = [0]\n",
        '6:11: image[0].moments: moments are of a cube: specmode = "cube"\n'
        "    6 | moments = [0]\n      |           ^^^",
    ),
    "casarun's own parameter": (
        "[[image]]\nname = 'x'\ntclean = { niter = 5 }\n",
        "6:12: image[0].tclean.niter: casarun sets this parameter of tclean itself; "
        "use image.niter\n    6 | tclean = { niter = 5 }\n      |            ^^^^^",
    ),
    "casarun's own parameter, without a key": (
        "[calibrate.gaincal]\ncaltable = 'x'\n",
        "5:1: calibrate.gaincal.caltable: casarun sets this parameter of gaincal itself\n"
        "    5 | caltable = 'x'\n      | ^^^^^^^^",
    ),
    "step both ways": (
        "[[step]]\ntask = 'statwt'\nafter = 'apply'\nbefore = 'split'\n",
        "7:1: step[0].before: give either after or before, not both\n"
        "    7 | before = 'split'\n      | ^^^^^^",
    ),
    "step nowhere": (
        "[[step]]\ntask = 'statwt'\n",
        '4:3: step[0]: say where the step goes: after = "apply", for example\n'
        "    4 | [[step]]\n      |   ^^^^",
    ),
    "step outside": (
        "[[step]]\ntask = 'statwt'\nafter = 'apply'\nwrites = ['../x']\n",
        "7:11: step[0].writes[0]: '../x' is outside of the run folder\n"
        "    7 | writes = ['../x']\n      |           ^^^^^^",
    ),
    "inline, after wide characters": (
        "[targets]\nphase = { 'é' = 1, \"µ\" = '' }\n",
        "5:17: targets.phase.é: expected a string, found an integer\n"
        "    5 | phase = { 'é' = 1, \"µ\" = '' }\n      |                 ^\n"
        "recipe.toml:5:26: targets.phase.µ: must not be empty\n"
        "    5 | phase = { 'é' = 1, \"µ\" = '' }\n      |                          ^^",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(refused: Callable[..., str], name: str) -> None:
    def no_demo() -> Path:
        raise ModuleNotFoundError

    text, message = REFUSED[name]
    found = refused(HEAD + text, environ={"HOME": "/nowhere"}, demo_data=no_demo)
    assert found == f"recipe.toml:{message}"


def test_keys_required_of_the_document(refused: Callable[..., str]) -> None:
    assert refused("") == (
        "recipe.toml: casarun: this key is required: write casarun = 1\n"
        "recipe.toml: dataset: this key is required"
    )


def test_newer_language_is_the_only_problem(refused: Callable[..., str]) -> None:
    assert refused("casarun = 2\nnews = 1\n") == (
        "recipe.toml:1:11: casarun: the recipe is written in version 2 of the recipe language, "
        "this casarun reads version 1: it takes a newer casarun\n"
        "    1 | casarun = 2\n      |           ^"
    )


def test_all_problems_at_once_in_the_order_of_the_document(refused: Callable[..., str]) -> None:
    text = refused(
        "casarun = 1\n[[image]]\nname = 'x'\nfrom = 'contsub'\nniter = -1\n"
        "[[dataset]]\nvis = 'b.ms'\n[flag]\nquack = '1m'\nrif = 'none'\n",
        "calibrate.minsnr=x",
    )
    places = [line.split(": ")[:2] for line in text.splitlines() if " | " not in line]
    assert places == [
        ["--set calibrate.minsnr=x", "calibrate.minsnr"],
        ["recipe.toml:4:8", "image[0].from"],
        ["recipe.toml:5:9", "image[0].niter"],
        ["recipe.toml:7:7", "dataset[0].vis"],
        ["recipe.toml:9:9", "flag.quack"],
        ["recipe.toml:10:1", "flag.rif"],
    ]


def test_problems_are_in_the_order_in_which_they_are_shown(loaded: Load) -> None:
    with pytest.raises(RefusedError) as error:
        loaded("[flag]\nrif = 1\n[qa]\nx = 1\n" + HEAD.replace("casarun = 1\n", ""))
    assert [problem.key for problem in error.value.problems] == [
        ("casarun",),
        ("flag", "rif"),
        ("qa", "x"),
    ]


def test_long_values_are_shortened(refused: Callable[..., str]) -> None:
    first = refused(HEAD + f"[flag]\nrfi = '{'x' * 5000}'\n").splitlines()[0]
    assert first == (
        f"recipe.toml:5:7: flag.rfi: '{'x' * 57}…' is not one of 'tfcrop', 'rflag', 'none'"
    )
    long = refused(HEAD + f"[flag]\nquack = '{'9' * 100}'\n").splitlines()[0]
    assert long.startswith(f"recipe.toml:5:9: flag.quack: '{'9' * 57}…' has no unit;")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe", "recipe.toml: is not UTF-8 text: byte 0xff in line 1"),
        (b" " * 1_000_001, "recipe.toml: is larger than 1 MB: no recipe is"),
        (b"x = " + b"[" * 100_000, "recipe.toml: the values are nested too deeply"),
        (b"x = " + b"1" * 5000, "recipe.toml: a number has too many digits"),
    ],
)
def test_what_is_no_recipe(folder: Path, content: bytes, message: str) -> None:
    Path("recipe.toml").write_bytes(content)
    with pytest.raises(RefusedError) as error:
        load(Path("recipe.toml"))
    assert str(error.value) == message


def test_what_is_no_file(folder: Path) -> None:
    os.mkfifo("fifo")
    for path in ("recipe.toml", "full.ms/table.dat", "full.ms/ANTENNA/table.dat", "asdm/ASDM.xml",
                 "run/.casarun/journal.jsonl"):  # fmt: skip
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).touch()
    messages = {
        "recipes.toml": "recipes.toml: no such file; did you mean 'recipe.toml'?",
        "a.ms": "a.ms: is a folder, not a recipe",
        "full.ms": "full.ms: is a MeasurementSet, not a recipe: `casarun init full.ms` writes one "
        "for it",
        "asdm": "asdm: is an ASDM, not a recipe: `casarun init asdm` writes one for it",
        "run": "run: is a run folder, not a recipe: `casarun status run` says how it is, and its "
        "recipe is run/scripts/recipe.toml",
        "fifo": "fifo: is not a regular file",
        "recipe.toml/x": "recipe.toml/x: no such file",
    }
    for name, message in messages.items():
        with pytest.raises(RefusedError) as error:
            load(Path(name))
        assert str(error.value) == message


def test_byte_order_mark_and_windows_line_ends(loaded: Load, refused: Callable[..., str]) -> None:
    assert loaded("\ufeff" + HEAD).recipe.dataset[0].name == "a"
    Path("recipe.toml").write_bytes(HEAD.replace("\n", "\r\n").encode() + b"[qa]\r\nx = 1\r\n")
    with pytest.raises(RefusedError) as error:
        load(Path("recipe.toml"))
    assert str(error.value) == (
        "recipe.toml:5:1: qa.x: unknown key; known here: max_flagged_fraction, "
        "min_dynamic_range, viewer\n    5 | x = 1\n      | ^"
    )


def test_an_interpolation_that_casa_does_not_know(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(
        'casarun = 1\n[[dataset]]\nvis = "/dev"\nname = "a"\n[calibrate]\n'
        'tables = [{ table = "x", interp = "nearest,lineal" }]\n'
    )
    with pytest.raises(RefusedError) as refused:
        load(path)
    assert [(p.key, p.message) for p in refused.value.problems] == [
        (
            ("calibrate", "tables", 0, "interp"),
            '\'nearest,lineal\' is no interpolation; in time "nearest" or "linear", then "PD" '
            'or "perobs"; after a comma in frequency "nearest", "linear", "cubic" or "spline", '
            'then "flag": "linear,linearflag"',
        )
    ]
