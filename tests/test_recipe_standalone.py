"""The recipe as run: one file that says the same, from wherever it is run again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from casarun.recipe.load import LoadedRecipe, load
from casarun.recipe.standalone import as_run, where

ONE = """\
#:schema x
casarun = 1  # the language
[project]  # mine
title = '$${x} "y"'

[[dataset]]
vis = "day*.ms"  # two days
[[image]]
name = "x"      # a map
mask = "m.crtf"
niter = 5
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("day1.ms", "day2.ms", "lab/b.ms", "elsewhere"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "m.crtf").touch()
    return tmp_path


def again(loaded: LoadedRecipe, folder: Path) -> LoadedRecipe:
    """Load what was run in another folder; it is the same recipe, written the same."""
    copy = folder / "elsewhere" / "recipe.toml"
    copy.write_text(as_run(loaded), encoding="utf-8")
    found = load(copy, environ={"LAB": "lab"})
    assert found.recipe == loaded.recipe
    assert as_run(found) == copy.read_text(encoding="utf-8")
    return found


def of(text: str, *options: str, name: str = "recipe.toml", **more: Any) -> LoadedRecipe:
    Path(name).write_text(text, encoding="utf-8")
    return load(Path(name), options, environ={"LAB": "lab"}, **more)


def test_one_file_keeps_its_text(folder: Path) -> None:
    loaded = of(ONE, "image.x.niter=7", name="mine.toml")
    assert as_run(loaded) == (
        f"""\
#:schema x
casarun = 1  # the language
[project]  # mine
name = "mine"
title = '$${{x}} "y"'

[[dataset]]
vis = "{folder}/day*.ms"  # two days
[[image]]
name = "x"      # a map
mask = "{folder}/m.crtf"
niter = 7
"""
    )
    again(loaded, folder)


def test_known_tables_are_found_from_anywhere(folder: Path) -> None:
    tables = '["{recipe}/a.cal", "caltables/x", { table = "{recipe}/b.cal", calwt = true }]'
    loaded = of(f'casarun = 1\n[[dataset]]\nvis = "day1.ms"\n[calibrate]\ntables = {tables}\n')
    assert f'["{folder}/a.cal", "caltables/x", {{ table = "{folder}/b.cal"' in as_run(loaded)
    again(loaded, folder)


def test_what_needs_no_change_has_none(folder: Path) -> None:
    text = ONE.replace('"day*.ms"', f'"{folder}/day*.ms"').replace("m.crtf", "none")
    text = text.replace("# mine\n", "# mine\nname = 'n'\n").replace("\n", "\r\n")
    assert as_run(of(text)) == text


@pytest.mark.parametrize("end", ["", "\n", "\n\n", "  # c"])
def test_a_name_is_added(folder: Path, end: str) -> None:
    loaded = of(f'casarun = 1\n[[dataset]]\nvis = "${{LAB}}/b.ms"{end}')
    assert as_run(loaded).endswith('\n\n[project]\nname = "recipe"\n')
    assert Path(loaded.recipe.dataset[0].vis) == folder / "lab" / "b.ms"


@pytest.mark.parametrize(
    "text",
    [
        'casarun = 1\nproject = { title = "x" }\n[[dataset]]\nvis = "day1.ms"\n',
        'casarun = 1\nproject.title = "x"\n[[dataset]]\nvis = "day1.ms"\n',
        'casarun = 1\n[project]\nname = "n"\n[[dataset]]\nvis = """\nday1.ms"""\n',
        'casarun = 1\n[vars]\nd = "day1"\n[[dataset]]\nvis = "${d}.ms"\nname = "${d}"\n',
    ],
)
def test_what_cannot_be_edited_is_written_anew(folder: Path, text: str) -> None:
    loaded = of(text)
    assert as_run(loaded).startswith("# As run by casarun, in one piece.")
    again(loaded, folder)


def test_a_recipe_of_cubes_alone_can_have_options(folder: Path) -> None:
    (folder / "old.fits").touch()
    Path("cubes.toml").write_text('casarun = 1\n[[cube]]\nname = "a"\nimage = "old.fits"\n')
    loaded = load(Path("cubes.toml"), ["qa.viewer=none"])
    Path("again.toml").write_text(as_run(loaded))
    assert load(Path("again.toml")).recipe.qa.viewer == "none"


def test_several_files_become_one(folder: Path) -> None:
    (folder / "lab/base.toml").write_text(
        'casarun = 1\n[vars]\nd = "b"\n[flag]\nquack = "5s"\n[[dataset]]\nvis = "${d}.ms"\n'
        '[[image]]\nname = "x"\n[image.tclean]\nsmallscalebias = 0.5\n'
        '[[step]]\ntask = "statwt"\nafter = "apply"\nparams = { "a b" = "$${x}", c = [1, true] }\n'
    )
    (folder / "log.csv").write_text("night,file\nn1,day1\nn2,day2\n")
    loaded = of(
        'extends = "lab/base.toml"\ncasarun = 1\n[project]\ntitle = "$${x}"\n'
        '[[dataset]]\nlog = "log.csv"\nvis = "${file}.ms"\nname = "${night}"\n'
        '[matrix]\n"image.x.robust" = [0, 2]\n',
        "flag.rfi=none",
    )

    def line(code: str, at: str) -> str:
        return f"{code:<48}  # {at}\n"

    def image(robust: int) -> str:
        return (
            "\n[[image]]\n"
            + line(f'name = "x.robust_{robust}"', "lab/base.toml:9")
            + line("tclean = { smallscalebias = 0.5 }", "lab/base.toml:10")
            + line(f"robust = {robust}", "recipe.toml:10")
        )

    assert as_run(loaded) == (
        "# As run by casarun, in one piece. It was put together from\n"
        "#   lab/base.toml\n#   recipe.toml\n#   log.csv\n#   --set flag.rfi=none\n"
        "# and can be run as it is: variables are replaced, and paths are absolute.\n"
        "casarun = 1\n\n[project]\n"
        + line('name = "recipe"', "recipe.toml:3")
        + line('title = "$${x}"', "recipe.toml:4")
        + "\n[[dataset]]\n"
        + line(f'vis = "{folder}/lab/b.ms"', "lab/base.toml:7")
        + "\n[[dataset]]\n"
        + line(f'vis = "{folder}/day1.ms"', "log.csv:2")
        + line('name = "n1"', "log.csv:2")
        + "\n[[dataset]]\n"
        + line(f'vis = "{folder}/day2.ms"', "log.csv:3")
        + line('name = "n2"', "log.csv:3")
        + "\n[flag]\n"
        + line('quack = "5s"', "lab/base.toml:5")
        + line('rfi = "none"', "--set flag.rfi=none")
        + image(0)
        + image(2)
        + "\n[[step]]\n"
        + line('task = "statwt"', "lab/base.toml:13")
        + line('after = "apply"', "lab/base.toml:14")
        + line('params = { "a b" = "$${x}", c = [1, true] }', "lab/base.toml:15")
    )
    assert again_free(loaded, folder) == loaded.recipe


def again_free(loaded: LoadedRecipe, folder: Path) -> Any:
    """Load what was run in another folder, whose comments differ then."""
    copy = folder / "elsewhere" / "recipe.toml"
    copy.write_text(as_run(loaded), encoding="utf-8")
    return load(copy, environ={}).recipe


def test_several_files_without_datasets_become_one(folder: Path) -> None:
    """Cubes of files that are there need none."""
    (folder / "c.fits").touch()
    (folder / "base.toml").write_text("casarun = 1\n[project]\ntitle = 'base'\n")
    (folder / "cubes.toml").write_text(
        'casarun = 1\nextends = "base.toml"\n[[cube]]\nname = "c"\n'
        'image = "c.fits"\nmoments = [0]\n'
    )
    assert "c.fits" in as_run(load(folder / "cubes.toml"))


def test_nothing_in_a_name_or_an_option_becomes_a_line(folder: Path) -> None:
    loaded = of(
        'casarun = 1\n[[dataset]]\nvis = "day1.ms"\n', "project.title='''x\n[flag]\nrfi = 1'''"
    )
    assert loaded.recipe.project.title == "x\n[flag]\nrfi = 1"
    assert again_free(loaded, folder) == loaded.recipe
    said = where(loaded.source, ("project", "title"))
    assert said == "--set project.title='''x\n[flag]\nrfi = 1'''"
