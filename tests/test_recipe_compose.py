"""Recipes made of several files, variables, logs and sweeps: what comes out, what is refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from casarun.errors import RefusedError
from casarun.recipe import extends, matrix, observing_log
from casarun.recipe.load import LoadedRecipe, load
from casarun.recipe.positions import Source
from casarun.recipe.variables import Variables
from hypothesis import given
from hypothesis import strategies as st

LEAST = 'casarun = 1\n[[dataset]]\nvis = "a.ms"\n'
BASE = "casarun = 1\n"
Load = Callable[..., LoadedRecipe]
Refused = Callable[..., str]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("a.ms", "lab/b.ms", "lab/c.ms"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path


@pytest.fixture
def loaded(folder: Path) -> Load:
    """Write files and load the one named recipe.toml, which needs no dataset of its own."""

    def run(files: dict[str, str], *options: str, **environ: str) -> LoadedRecipe:
        for name, text in files.items():
            Path(name).parent.mkdir(exist_ok=True, parents=True)
            Path(name).write_text(text, encoding="utf-8")
        return load(Path("recipe.toml"), options, environ)

    return run


@pytest.fixture
def refused(loaded: Load, folder: Path) -> Refused:
    """Return what is said, with carets and lines left out."""

    def run(files: dict[str, str], *options: str, **environ: str) -> str:
        with pytest.raises(RefusedError) as error:
            loaded(files, *options, **environ)
        lines = str(error.value).replace(str(folder), "FOLDER").splitlines()
        return "\n".join(line for line in lines if " | " not in line)

    return run


# -- extends


def test_what_comes_later_wins_key_by_key(loaded: Load, folder: Path) -> None:
    result = loaded({
        "first.toml": BASE + '[flag]\nquack = "5s"\nrfi = "tfcrop"\n[calibrators]\nflux = "3C286"\n'
        '[[image]]\nname = "hi"\nniter = 10\nscales = [0, 5]\n[image.tclean]\na = 1\nb = 2\n'
        '[[step]]\ntask = "statwt"\nafter = "apply"\nparams = { x = 1 }\n',
        "second.toml": BASE + '[flag]\nrfi = "rflag"\n[[image]]\nname = "continuum"\n',
        "recipe.toml": 'extends = ["first.toml", "second.toml"]\n' + LEAST +
        '[flag]\nquack = "20s"\n[calibrators.flux]\nstandard = "Perley-Butler 2010"\n'
        '[[image]]\nname = "last"\n[[image]]\nname = "hi"\nscales = [0]\ntclean = { b = 3 }\n'
        '[[step]]\ntask = "statwt"\nparams = { y = 2 }\n',
    })  # fmt: skip
    assert result.document == {
        "casarun": 1,
        "flag": {"quack": "20s", "rfi": "rflag"},
        "calibrators": {"flux": {"field": "3C286", "standard": "Perley-Butler 2010"}},
        "image": [
            {"name": "hi", "niter": 10, "scales": [0], "tclean": {"a": 1, "b": 3}},
            {"name": "continuum"},
            {"name": "last"},
        ],
        "step": [{"task": "statwt", "after": "apply", "params": {"x": 1, "y": 2}}],
        "dataset": [{"vis": "a.ms"}],
    }
    assert [Path(file.name).name for file in result.files] == [
        "first.toml", "second.toml", "recipe.toml",
    ]  # fmt: skip


def test_the_order_of_tables_is_that_of_their_first_file(loaded: Load) -> None:
    base = BASE + '[[image]]\nname = "x"\n[[image]]\nname = "y"\n'
    recipe = 'extends = "b.toml"\n' + LEAST + '[[image]]\nname = "y"\n[[image]]\nname = "x"\n'
    images = loaded({"b.toml": base, "recipe.toml": recipe}).recipe.image
    assert [image.name for image in images] == ["x", "y"]


def test_what_two_recipes_extend_counts_once_and_before_both(loaded: Load) -> None:
    files = {
        "common.toml": BASE + '[flag]\nrfi = "tfcrop"\n',
        "left.toml": 'extends = "common.toml"\n' + BASE + '[flag]\nrfi = "rflag"\n',
        "right.toml": 'extends = "common.toml"\n' + BASE + '[flag]\nquack = "5s"\n',
        "recipe.toml": 'extends = ["left.toml", "right.toml"]\n' + LEAST,
    }
    assert loaded(files).document["flag"] == {"rfi": "rflag", "quack": "5s"}


def test_paths_start_from_the_file_that_they_stand_in(loaded: Load, folder: Path) -> None:
    for name in ("lab/m.crtf", "lab/model.im", "lab/t.txt", "lab/r.reg"):
        (folder / name).touch()
    recipe = loaded({
        "lab/base.toml": BASE + '[[dataset]]\nvis = "b.ms"\n[[dataset]]\nvis = "c*.ms"\n'
        '[calibrators.flux]\nmodel = "./model.im"\n[[image]]\nname = "x"\nmask = "m.crtf"\n'
        'regions = ["r.reg", "${PLACE}/r.reg"]\n'
        '[[step]]\ntask = "statwt"\nafter = "apply"\nparams = { file = "{recipe}/t.txt" }\n',
        "recipe.toml": 'extends = "lab/base.toml"\n' + LEAST,
    }, PLACE=f"{folder}/lab").recipe  # fmt: skip
    assert [dataset.vis for dataset in recipe.dataset] == [
        f"{folder}/lab/b.ms", f"{folder}/lab/c.ms", f"{folder}/a.ms",
    ]  # fmt: skip
    assert recipe.image[0].mask == f"{folder}/lab/m.crtf"
    assert recipe.image[0].regions == (f"{folder}/lab/r.reg", f"{folder}/lab/r.reg")
    assert Path(recipe.calibrators.flux.model) == folder / "lab/model.im"
    assert recipe.step[0].params == {"file": f"{folder}/lab/t.txt"}


def test_a_folder_with_strange_characters(loaded: Load, folder: Path) -> None:
    for name in ("x.ms", "y1.ms", "y2.ms"):
        (folder / "la[b]${X}" / name).mkdir(parents=True)
    base = BASE + '[[dataset]]\nvis = "x.ms"\n[[dataset]]\nvis = "y*.ms"\n'
    recipe = 'extends = "la[b]$${X}/base.toml"\n' + LEAST
    found = loaded({"la[b]${X}/base.toml": base, "recipe.toml": recipe}).recipe.dataset
    assert [Path(dataset.vis).name for dataset in found] == ["x.ms", "y1.ms", "y2.ms", "a.ms"]
    assert found[1].vis == f"{folder}/la[b]${{X}}/y1.ms"


def test_recipes_from_the_environment_and_from_casarun(loaded: Load, folder: Path) -> None:
    recipe = 'extends = ["casarun:vla-continuum", "${LAB}/base.toml"]\nremove = ["image.x.niter"]\n'
    result = loaded({
        "lab/base.toml": BASE + '[[image]]\nname = "x"\nniter = 5\n',
        "recipe.toml": recipe + BASE + '[[dataset]]\nname = "day1"\nvis = "a.ms"\n',
    }, LAB=str(folder / "lab"))  # fmt: skip
    assert [image.name for image in result.recipe.image] == ["continuum", "x"]
    assert result.document["image"][1] == {"name": "x"}
    assert result.recipe.dataset[0].vis == f"{folder}/a.ms"
    assert result.source.origin(("image", 0, "robust")).source.name == "casarun:vla-continuum"


def test_a_run_is_named_after_its_own_recipe(loaded: Load) -> None:
    """Else all recipes that extend one would run in one folder."""
    base = BASE + '[project]\nname = "base"\ntitle = "T"\n'
    files = {"b.toml": base, "recipe.toml": 'extends = "b.toml"\n' + LEAST}
    project = loaded(files).recipe.project
    assert (project.name, project.title, project.output) == ("recipe", "T", "runs/recipe")


def test_remove(loaded: Load) -> None:
    base = (
        BASE + '[[dataset]]\nname = "old"\nvis = "gone.ms"\n[flag]\nquack = "5s"\nrfi = "rflag"\n'
        '[[image]]\nname = "x"\n[[image]]\nname = "y"\ntclean = { a = 1, b = 2 }\n[contsub]\n'
    )
    recipe = (
        'extends = "b.toml"\n'
        'remove = ["dataset", "flag.quack", "image.x", "image.y.tclean.a", "contsub"]\n'
    )
    assert loaded({"b.toml": base, "recipe.toml": recipe + LEAST}).document == {
        "casarun": 1,
        "flag": {"rfi": "rflag"},
        "image": [{"name": "y", "tclean": {"b": 2}}],
        "dataset": [{"vis": "a.ms"}],
    }


def test_problems_point_at_the_file_where_they_stand(folder: Path, loaded: Load) -> None:
    files = {
        "lab/base.toml": BASE + '[[image]]\nname = "x"\nniter = -1\n[[image]]\nname = "y"\n',
        "recipe.toml": 'extends = "lab/base.toml"\n'
        + LEAST
        + '[[image]]\nname = "y"\ncel = "2arcsec"\n[flag]\nrfi = "tfcrob"\n',
    }
    with pytest.raises(RefusedError) as error:
        loaded(files, "image.x.gain=1")
    assert str(error.value) == (
        "--set image.x.gain=1: image[0].gain: unknown key; "
        "CASA's own parameters go into tclean or immoments = { ... }\n"
        "recipe.toml:7:1: image[0].cel: unknown key; did you mean 'cell'?\n"
        '    7 | cel = "2arcsec"\n'
        "      | ^^^\n"
        "recipe.toml:9:7: flag.rfi: 'tfcrob' is not one of 'tfcrop', 'rflag', 'none'; "
        "did you mean 'tfcrop'?\n"
        '    9 | rfi = "tfcrob"\n'
        "      |       ^^^^^^^^\n"
        "lab/base.toml:4:9: image[0].niter: must be at least 0, found -1\n"
        "    4 | niter = -1\n"
        "      |         ^^"
    )


def test_warnings_point_at_the_file_where_they_stand(loaded: Load) -> None:
    base = BASE + '[[image]]\nname = "x"\nspecmode = "mfs"\nnchan = 3\n'
    warned = loaded({"b.toml": base, "recipe.toml": 'extends = "b.toml"\n' + LEAST}).warned
    assert warned.startswith("b.toml:5:1: warning: image[0].nchan: has no effect with ")


NOT_EXTENDED = {
    "missing": ("lab/bose.toml", "no such file: 'FOLDER/lab/bose.toml'; did you mean 'base.toml'?"),
    "no folder": ("lib/b.toml", "no such file: 'FOLDER/lib/b.toml'; nor is there such a folder"),
    "network": (
        "https://example.org/r.toml",
        "'https://example.org/r.toml' is an address: casarun reads files, not the network",
    ),
    "preset": (
        "casarun:vla-contnuum",
        "no recipe 'vla-contnuum' comes with casarun; did you mean 'vla-continuum'?",
    ),
    "preset elsewhere": (
        "casarun:../../x",
        "no recipe '../../x' comes with casarun; there is 3c273, alma-continuum, alma-line, "
        "atca-continuum, meerkat-continuum, mosaic, ngc5921, selfcal, vla-continuum, vla-line, "
        "vla-survey",
    ),
    "no toml": ("secret.txt", "'secret.txt' is not named .toml"),
    "link": (
        "link.toml",
        "'link.toml' is a link to 'FOLDER/secret.txt', which is not named .toml",
    ),
    "variable": ("${LAB}/x.toml", "the environment variable LAB is not set"),
    "itself": ("recipe.toml", "a recipe cannot extend itself: recipe.toml -> recipe.toml"),
}


@pytest.mark.parametrize("name", NOT_EXTENDED)
def test_what_cannot_be_extended(refused: Refused, folder: Path, name: str) -> None:
    (folder / "secret.txt").write_text("token = 'hunter2'\n")
    (folder / "link.toml").symlink_to("secret.txt")
    text, said = NOT_EXTENDED[name]
    files = {"lab/base.toml": BASE, "recipe.toml": f'extends = ["lab/base.toml", "{text}"]\n'}
    assert refused(files) == f"recipe.toml:1:29: extends[1]: {said}"


def test_a_toml_file_that_is_no_recipe_is_not_shown(refused: Refused) -> None:
    secret = 'token = "hunter2"\n[flag]\nrfi = "hunter2"\n'
    assert refused({"s.toml": secret, "recipe.toml": 'extends = "s.toml"\n' + LEAST}) == (
        "s.toml: is no recipe that can be extended: it does not say casarun = 1"
    )


def test_extends_is_a_text_or_a_list_of_texts(refused: Refused) -> None:
    assert refused({"recipe.toml": "extends = 1\n" + LEAST}) == (
        "recipe.toml:1:11: extends: expected a string or an array, found an integer"
    )
    assert refused({"recipe.toml": "extends = [1]\n" + LEAST}) == (
        "recipe.toml:1:12: extends[0]: expected a string, found an integer"
    )


def test_a_circle_is_refused_with_its_files(refused: Refused) -> None:
    files = {
        "recipe.toml": 'extends = "lab/one.toml"\n' + LEAST,
        "lab/one.toml": 'extends = "two.toml"\n' + BASE,
        "lab/two.toml": 'extends = "../recipe.toml"\n' + BASE,
    }
    assert refused(files) == (
        "lab/two.toml:1:11: extends: a recipe cannot extend itself: "
        "recipe.toml -> lab/one.toml -> lab/two.toml -> recipe.toml"
    )


def test_a_circle_through_a_link_is_one(refused: Refused, folder: Path) -> None:
    (folder / "other.toml").symlink_to("recipe.toml")
    assert refused({"recipe.toml": 'extends = "other.toml"\n' + LEAST}) == (
        "recipe.toml:1:11: extends: a recipe cannot extend itself: recipe.toml -> other.toml"
    )


def test_a_long_chain_is_refused_with_its_files(refused: Refused) -> None:
    files = {f"{i}.toml": f'extends = "{i + 1}.toml"\n{BASE}' for i in range(20)}
    said = refused({**files, "20.toml": BASE, "recipe.toml": 'extends = "0.toml"\n' + LEAST})
    chain = " -> ".join(["recipe.toml", *(f"{i}.toml" for i in range(extends.DEEPEST + 1))])
    assert said == (f"9.toml:1:11: extends: more than 10 recipes extend one another: {chain}")


def test_many_files_and_large_ones_are_refused(refused: Refused) -> None:
    names = [f"{i}.toml" for i in range(30)]
    inner = {f"lab/{i}.toml": BASE for i in range(30)}
    middle = f"extends = {[f'lab/{name}' for name in names]}\n{BASE}"
    files = {**inner, **dict.fromkeys(names, BASE), "m.toml": middle}
    said = refused({**files, "recipe.toml": f"extends = {['m.toml', *names]}\n{LEAST}"})
    assert said == "19.toml: makes the recipe one of more than 50 files"
    large = {f"{i}.toml": BASE + "#" * 600_000 for i in range(2)}
    said = refused({**large, "recipe.toml": 'extends = ["0.toml", "1.toml"]\n' + LEAST})
    assert said == "1.toml: makes the recipe larger than 1 MB with all that it extends"


def test_bounds_are_of_the_whole(refused: Refused) -> None:
    half = "".join(f"k{{}}{i} = 1\n" for i in range(15_000))
    files = {"b.toml": BASE + half.replace("{}", "a")}
    files["recipe.toml"] = 'extends = "b.toml"\ncasarun = 1\n' + half.replace("{}", "b")
    assert refused(files) == "recipe.toml: has more than 20,000 values: no recipe has"


def test_each_file_has_its_version(refused: Refused) -> None:
    files = {"b.toml": "casarun = 2\nnews = 1\n", "recipe.toml": 'extends = "b.toml"\n' + LEAST}
    assert refused(files) == (
        "b.toml:1:11: casarun: the recipe is written in version 2 of the recipe language, "
        "this casarun reads version 1: it takes a newer casarun"
    )


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("flag.rif", "nothing that is extended gives 'flag.rif'; did you mean 'rfi'?"),
        ("image.y", "no [[image]] is named 'y'; there is 'x'"),
        ("image.x.cell", "nothing that is extended gives 'image.x.cell'"),
        ("selfcal.x", "the recipe has no [[selfcal]]"),
        ("flag.rfi.x", "nothing that is extended gives 'flag.rfi.x'"),
        ("vars.x", "nothing that is extended gives 'vars.x'"),
        ("", "must not be empty"),
    ],
)
def test_what_cannot_be_removed(refused: Refused, name: str, said: str) -> None:
    base = BASE + '[vars]\nx = 1\n[flag]\nrfi = "none"\n[[image]]\nname = "x"\n'
    recipe = f'extends = "b.toml"\nremove = ["{name}"]\n{LEAST}'
    assert (
        refused({"b.toml": base, "recipe.toml": recipe}) == f"recipe.toml:2:11: remove[0]: {said}"
    )


# -- variables


def test_variables_fill_texts_of_all_files(loaded: Load, folder: Path) -> None:
    result = loaded({
        "lab/base.toml": BASE + '[vars]\ntarget = "X"\nline = "hi"\nniter = 10\nfields = ["a"]\n'
        'pbcor = false\n[project]\ntitle = "${target} in ${line}, ${niter}, ${pbcor}, $${x}"\n'
        '[targets]\nfields = "${fields}"\n[[image]]\nname = "${line}"\nniter = "${niter}"\n'
        'pbcor = "${pbcor}"\n',
        "recipe.toml": 'extends = "lab/base.toml"\nvars.target = "NGC1"\nvars.fields = ["N*"]\n'
        + LEAST + '[[image]]\nname = "hi"\ncell = "2arcsec"\n',
    }, "vars.niter=20", "flag.manual=['${target}']")  # fmt: skip
    assert result.document["project"]["title"] == "NGC1 in hi, 20, false, ${x}"
    assert result.document["targets"]["fields"] == ["N*"]
    assert result.document["image"] == [
        {"name": "hi", "niter": 20, "pbcor": False, "cell": "2arcsec"}
    ]
    assert result.document["flag"]["manual"] == ["NGC1"]


def test_variables_in_paths_come_before_the_environment(loaded: Load, folder: Path) -> None:
    (folder / "${x}.ms").mkdir()
    recipe = loaded({
        "recipe.toml": BASE + '[vars]\nday = "b"\nwhere = "${LAB}"\n'
        '[[dataset]]\nvis = "${where}/${day}.ms"\n[[dataset]]\nvis = "$${x}.ms"\n'
    }, LAB="lab", day="c").recipe  # fmt: skip
    assert [one.vis for one in recipe.dataset] == [f"{folder}/lab/b.ms", f"{folder}/${{x}}.ms"]


def test_a_path_starts_from_where_its_beginning_stands(loaded: Load, folder: Path) -> None:
    base = BASE + '[vars]\nvis = "b.ms"\n[[dataset]]\nname = "x"\nvis = "${vis}"\n'
    own = {"lab/base.toml": base, "recipe.toml": 'extends = "lab/base.toml"\n' + BASE}
    assert loaded(own).recipe.dataset[0].vis == f"{folder}/lab/b.ms"
    other = {**own, "recipe.toml": own["recipe.toml"] + '[vars]\nvis = "a.ms"\n'}
    assert loaded(other).recipe.dataset[0].vis == f"{folder}/a.ms"
    assert loaded(own, "vars.vis=lab/c.ms").recipe.dataset[0].vis == f"{folder}/lab/c.ms"


def test_an_option_for_a_text_is_a_text(loaded: Load) -> None:
    text = LEAST + '[vars]\nday = "11"\n[project]\ntitle = "${day}"\n'
    assert loaded({"recipe.toml": text}, "vars.day=12").recipe.project.title == "12"


def test_steps_keep_their_escapes(loaded: Load, folder: Path) -> None:
    text = LEAST + '[vars]\nv = "1"\n[[step]]\ntask = "statwt"\nafter = "apply"\n'
    params = 'params = { a = "$${v}", b = "${v}$${v}", c = "${HERE}/x", d = "/x/$${v}" }\n'
    step = loaded({"recipe.toml": text + params}, HERE="/here").recipe.step[0]
    assert step.params == {"a": "${v}", "b": "1${v}", "c": "/here/x", "d": "/x/${v}"}


TITLE = LEAST + '[vars]\ndepth = "x"\nlist = ["a"]\nself = "${self}!"\n[project]\ntitle = "{}"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("${dept}", "no variable 'dept' in [vars]; did you mean 'depth'?"),
        ("${HOME}", "no variable 'HOME' in [vars]; $${ stands for ${ itself"),
        ("a ${list}", "list is a list: it can be a whole value, no part of a text"),
        ("${self}", "a variable cannot stand for itself: self -> self"),
        ("${de pth}", "'${de pth}' is not a variable; write ${NAME}, or $${ for ${"),
        ("${depth", "'${depth' is not a variable; write ${NAME}, or $${ for ${"),
    ],
)
def test_what_is_no_variable(refused: Refused, text: str, said: str) -> None:
    files = {"recipe.toml": TITLE.replace("{}", text, 1) if "{}" not in text else text}
    files["recipe.toml"] = TITLE.replace('"{}"', f'"{text}"')
    assert refused(files, HOME="/h") == f"recipe.toml:9:9: project.title: {said}"


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('"a b" = 1', "3:1: vars.a b: 'a b' cannot be a variable: letters, digits and _ only"),
        ("x = {}", "3:5: vars.x: expected a string or a boolean (true or false) or an integer or "
         "a number or an array, found a table"),
        ("x = 2020-01-01", "3:5: vars.x: expected a string or a boolean (true or false) or an "
         "integer or a number or an array, found a date or time"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_variable(refused: Refused, table: str, said: str) -> None:
    text = f'casarun = 1\n[vars]\n{table}\n[[dataset]]\nvis = "a.ms"\n'
    assert refused({"recipe.toml": text}) == f"recipe.toml:{said}"


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("vars.dept=1", "no variable 'dept' in [vars]; there is depth; did you mean 'depth'?"),
        ("vars.depth", "expected vars.NAME=VALUE"),
        ("vars=1", "expected vars.NAME=VALUE"),
        ("extends=x.toml", "extends is for files alone"),
        ("remove=['x']", "remove is for files alone"),
    ],
)
def test_options_that_cannot_be(refused: Refused, option: str, said: str) -> None:
    text = LEAST + "[vars]\ndepth = 1\n"
    assert refused({"recipe.toml": text}, option) == f"recipe.toml: --set {option}: {said}"


def test_problems_of_a_filled_text_point_at_it(refused: Refused) -> None:
    text = LEAST + '[vars]\ncell = "2 parsec"\n[[image]]\nname = "x"\ncell = "${cell}"\n'
    assert refused({"recipe.toml": text}).startswith(
        "recipe.toml:8:8: image[0].cell: 'parsec' in '2 parsec' is not a unit of angle"
    )


def test_variables_that_blow_up_cost_no_time(refused: Refused) -> None:
    doubling = "".join(f'v{i} = "${{v{i + 1}}}${{v{i + 1}}}"\n' for i in range(60))
    text = f"{LEAST}[vars]\n{doubling}v60 = 'x'\n[project]\ntitle = '${{v0}}'\n"
    assert refused({"recipe.toml": text}) == (
        "recipe.toml:67:9: project.title: a variable cannot be more than 10 deep: "
        + " -> ".join(f"v{i}" for i in range(11))
    )
    wide = f"[vars]\na = '{'x' * 15_000}'\n[project]\ntitle = '${{a}}${{a}}'\n"
    assert refused({"recipe.toml": LEAST + wide}) == (
        "recipe.toml:7:9: project.title: becomes longer than 20,000 characters with its variables"
    )
    many = f"[vars]\na = {['x'] * 1000}\n[flag]\nx = {['${a}'] * 1000}\n"
    assert refused({"recipe.toml": LEAST + many}) == (
        "recipe.toml: has more than 20,000 values: no recipe has"
    )


@given(st.dictionaries(st.sampled_from("abcde"), st.text(alphabet="ab${} ", max_size=12)))
def test_any_variables_end(table: dict[str, str]) -> None:
    variables = Variables()
    variables.define(table, Source("", "r.toml"))
    filled = variables.fill({"x": "".join(f"${{{name}}}" for name in table)}, (), Path(), Path())
    assert variables.problems or isinstance(filled["x"], str)


# -- observing logs

LOG = 'casarun = 1\n[[dataset]]\nlog = "nights.csv"\nvis = "lab/${file}.ms"\nname = "${night}"\n'


def test_each_row_of_a_log_is_a_dataset(loaded: Load, folder: Path) -> None:
    log = '# notes\nnight,file,what\nn1,b,"fine, dry"\n\nn2, c ,rain\n'
    extra = "calibrated = true\n[project]\ntitle = 'x'\n"
    result = loaded({"nights.csv": log, "recipe.toml": LOG + extra})
    assert [(one.name, one.vis, one.calibrated) for one in result.recipe.dataset] == [
        ("n1", f"{folder}/lab/b.ms", True),
        ("n2", f"{folder}/lab/c.ms", True),
    ]
    assert result.source.origin(("dataset", 1, "vis")).line == 5
    assert result.source.locate(("dataset", 1, "calibrated")) == (6, 14)


def test_a_log_in_ecsv_and_another_folder(loaded: Load, folder: Path) -> None:
    log = (
        "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: vis, datatype: string}\n"
        'vis night\nb.ms "first night"\n'
    )
    base = 'casarun = 1\n[[dataset]]\nlog = "n.ecsv"\nvis = "${vis}"\n'
    found = loaded({
        "lab/n.ecsv": log, "lab/base.toml": base,
        "recipe.toml": 'extends = "lab/base.toml"\n' + LEAST,
    }).recipe.dataset  # fmt: skip
    assert [one.vis for one in found] == [f"{folder}/lab/b.ms", f"{folder}/a.ms"]


def test_options_and_variables_reach_a_log(loaded: Load) -> None:
    text = LOG.replace('"nights.csv"', '"${log}"').replace("${night}", "${tag}-${night}")
    files = {"lab/l.csv": "night,file\nn1,b\n", "recipe.toml": "vars.log = 'x.csv'\n" + text}
    files["recipe.toml"] = "vars.tag = 't'\n" + files["recipe.toml"]
    found = loaded(files, "vars.log=lab/l.csv", "dataset.l.calibrated=true").recipe.dataset[0]
    assert (found.name, found.calibrated) == ("t-n1", True)


def test_every_bad_row_is_told(refused: Refused) -> None:
    log = 'night,file\nn1,b\nn2\nn3,c,x\nn4,"c\n'
    assert refused({"nights.csv": log, "recipe.toml": LOG}) == (
        "nights.csv:3:1: 1 value, where the header has 2\n"
        "nights.csv:4:1: 3 values, where the header has 2\n"
        "nights.csv:5:1: cannot be read: unexpected end of data"
    )
    log = "night,file\nn1,b\nn 2,c\nn3,x\nn1,c\n"
    assert refused({"nights.csv": log, "recipe.toml": LOG}) == (
        "nights.csv:3:1: name: 'n 2' cannot be a name: letters, digits and _ - + . only, "
        "at most 64, not beginning with . or -\n"
        "nights.csv:4:1: vis: no such file: 'FOLDER/lab/x.ms'; did you mean 'c.ms'?\n"
        "nights.csv:5:1: vis: 'FOLDER/lab/c.ms' is already dataset[1]"
    )


LOGS = {
    "missing": ("nighs.csv", None, "no such file: 'FOLDER/nighs.csv'; did you mean 'nights.csv'?"),
    "suffix": ("/etc/passwd", None, "'/etc/passwd' is not named .csv or .ecsv"),
    "link": (
        "link.csv",
        None,
        "'link.csv' is a link to 'FOLDER/secret', which is not named .csv or .ecsv",
    ),
}


@pytest.mark.parametrize("name", LOGS)
def test_what_is_no_log(refused: Refused, folder: Path, name: str) -> None:
    (folder / "secret").write_text("x")
    (folder / "link.csv").symlink_to("secret")
    text, _, said = LOGS[name]
    files = {"nights.csv": "a\n1\n", "recipe.toml": LOG.replace("nights.csv", text)}
    assert refused(files) == f"recipe.toml:3:7: dataset[0].log: {said}"


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("night,file\n", "nights.csv: has no rows: a line of column names, then one a dataset"),
        ("night,night\n1,2\n", "nights.csv:1:1: the column 'night' stands here twice"),
        ("night,\n1,2\n", "nights.csv:1:1: a column has no name"),
        ("night,flie\nn1,b\n", "recipe.toml:4:7: dataset[0].vis: no column 'file' in the log; "
         "did you mean 'flie'? (columns of the log: night, flie)"),
        ("nihgt,file\nn1,b\n", "recipe.toml:5:8: dataset[0].name: no variable 'night' in [vars]; "
         "did you mean 'nihgt'? (columns of the log: nihgt, file)"),
        ("night,file\n" + "n,b\n" * 10_001, "nights.csv: has more than 10,000 rows: "
         "make a recipe of each part"),
    ],
)  # fmt: skip
def test_a_log_that_cannot_be_read(refused: Refused, log: str, said: str) -> None:
    assert refused({"nights.csv": log, "recipe.toml": LOG}) == said


def test_a_log_of_thousands_is_read_once(
    loaded: Load, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[Any] = []
    plain = observing_log.read
    monkeypatch.setattr(observing_log, "read", lambda *args: (reads.append(args), plain(*args))[1])
    for number in range(1000):
        (folder / f"lab/{number}.ms").mkdir()
    rows = "".join(f"n{number},{number}\n" for number in range(1000))
    recipe = loaded({"nights.csv": "night,file\n" + rows, "recipe.toml": LOG}).recipe
    assert len(recipe.dataset) == 1000
    assert len(reads) == 1


# -- sweeps

SWEPT = 'casarun = 1\n[[dataset]]\nvis = "a.ms"\n[[image]]\nname = "x"\nniter = 5\n[matrix]\n'


def test_an_image_for_each_combination(loaded: Load) -> None:
    text = SWEPT + '"image.x.robust" = [-0.5, 2]\nimage.x.tclean.pblimit = [0.1, 0.2]\n'
    result = loaded({"recipe.toml": text}, "image.x.niter=7")
    assert [(i.name, i.robust, i.tclean["pblimit"], i.niter) for i in result.recipe.image] == [
        ("x.robust_-0.5.pblimit_0.1", -0.5, 0.1, 7),
        ("x.robust_-0.5.pblimit_0.2", -0.5, 0.2, 7),
        ("x.robust_2.pblimit_0.1", 2, 0.1, 7),
        ("x.robust_2.pblimit_0.2", 2, 0.2, 7),
    ]
    assert result.swept["x.robust_2.pblimit_0.1"] == matrix.Swept(
        "x", {"robust": 2, "tclean.pblimit": 0.1}
    )
    assert list(result.swept) == [image.name for image in result.recipe.image]
    assert result.source.locate(("image", 3, "robust")) == (8, 27)
    assert result.source.locate(("image", 3, "tclean", "pblimit")) == (9, 32)
    assert result.source.locate(("image", 3, "name")) == (5, 8)
    assert result.source.override(("image", 3, "niter")) == "--set image.x.niter=7"


def test_names_of_swept_images_are_file_names(loaded: Load) -> None:
    text = SWEPT + '"image.x.scales" = [[0], [0, 5]]\n"image.x.threshold" = ["3sigma", "0.1 mJy"]\n'
    assert [image.name for image in loaded({"recipe.toml": text}).recipe.image] == [
        "x.scales_0.threshold_3sigma", "x.scales_0.threshold_0.1_mJy",
        "x.scales_0-5.threshold_3sigma", "x.scales_0-5.threshold_0.1_mJy",
    ]  # fmt: skip
    long = SWEPT.replace('"x"', f'"{"x" * 60}"') + f'"image.{"x" * 60}.robust" = [0, 1]\n'
    assert [image.name[60:] for image in loaded({"recipe.toml": long}).recipe.image] == [".1", ".2"]


def test_a_swept_path_starts_from_the_file_that_it_stands_in(loaded: Load, folder: Path) -> None:
    (folder / "lab/m.crtf").touch()
    base = BASE + '[[image]]\nname = "x"\n[matrix]\n"image.x.mask" = ["none", "m.crtf"]\n'
    files = {"lab/base.toml": base, "recipe.toml": 'extends = "lab/base.toml"\n' + LEAST}
    images = loaded(files).recipe.image
    assert [image.mask for image in images] == ["none", f"{folder}/lab/m.crtf"]
    assert [image.name for image in images] == ["x.mask_none", "x.mask_m.crtf"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('"calibrate.refant" = ["1", "2"]', "matrix.calibrate.refant: only keys of an [[image]] "
         "are swept, such as image.NAME.robust: for another calibration, write a recipe that "
         "extends this one, and compare the runs"),
        ('"image.y.robust" = [1]', "matrix.image.y.robust: no [[image]] is named 'y'; there is "
         "'x'"),
        ('"image.x" = [1]', "matrix.image.x: expected image.NAME.KEY, such as "
         "image.continuum.robust"),
        ('"image.x.name" = ["a"]', "matrix.image.x.name: expected image.NAME.KEY, such as "
         "image.continuum.robust"),
        ('"image.x.robust" = 1', "matrix.image.x.robust: expected an array of the values to "
         "compare, such as [-0.5, 0.5, 2]"),
        ('"image.x.robust" = [1, 1]', "matrix.image.x.robust: 1 stands here twice"),
    ],
)  # fmt: skip
def test_what_cannot_be_swept(refused: Refused, line: str, said: str) -> None:
    assert refused({"recipe.toml": f"{SWEPT}{line}\n"}) == f"recipe.toml:8:1: {said}"


def test_a_sweep_of_too_many(refused: Refused) -> None:
    values = list(range(11))
    lines = f'"image.x.nterms" = {values}\n"image.x.niter" = {values}\n'
    assert refused({"recipe.toml": SWEPT + lines}) == (
        "recipe.toml:9:1: matrix.image.x.niter: makes 121 images of one, where 100 are enough"
    )
    assert matrix.MOST == 100


def test_a_bad_value_of_a_sweep_is_told_once_and_where_it_stands(refused: Refused) -> None:
    lines = '"image.x.robust" = [0, 5]\n"image.x.niter" = [1, 2]\n'
    assert refused({"recipe.toml": SWEPT + lines}) == (
        "recipe.toml:8:24: matrix.image.x.robust[1]: must be at most 2, found 5"
    )


def test_nothing_heavy_is_imported_to_put_a_recipe_together(loaded: Load, folder: Path) -> None:
    import subprocess
    import sys

    loaded({"nights.csv": "night,file\nn1,b\n", "b.toml": BASE,
            "recipe.toml": 'extends = "b.toml"\n' + LOG})  # fmt: skip
    code = (
        "import sys; from pathlib import Path; from casarun.recipe.load import load; "
        "load(Path('recipe.toml')); "
        "print({'astropy', 'numpy', 'jsonschema', 'tree_sitter', 'tomlkit'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert done.stdout.strip() == "set()"
