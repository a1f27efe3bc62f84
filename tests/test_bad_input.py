"""What casarun says of bad input, word for word, and with which exit code it ends."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from casarun.lock import FolderLock
from support import skies
from support.cli import Done, casarun, events, recipe, with_tmpfs

NGC5921 = """
[[dataset]]
vis = "casadata:demo/NGC5921.fits"
[calibrators]
flux = "1331*"
bandpass = "1331*"
phase = "1445*"
[targets]
fields = ["N5921*"]
[[image]]
name = "continuum"
"""


def refused(done: Done, said: str) -> None:
    """Assert that nothing was run, and what was said."""
    assert done.stderr == said
    assert done.returncode == 2


@contextmanager
def tmpfs(at: Path, options: str) -> Iterator[list[str]]:
    """Give a command that runs another with a small filesystem at a folder; or skip."""
    at.mkdir()
    try:
        yield with_tmpfs(at, options)
    except OSError as error:
        pytest.skip(str(error))


# -- the recipe


def test_toml_syntax_error(tmp_path: Path) -> None:
    recipe(tmp_path, '[project\nname = "x"\n')
    refused(
        casarun("recipe.toml", cwd=tmp_path),
        "recipe.toml:2:9: Expected ']' at the end of a table declaration\n"
        "    2 | [project\n"
        "      |         ^\n",
    )
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.toml"]


def test_wrong_key_type_and_unit_are_all_said_at_once(tmp_path: Path) -> None:
    recipe(tmp_path, f'{NGC5921}thresold = "3sigma"\nniter = "many"\ncell = "2 parsec"\n')
    refused(
        casarun("recipe.toml", cwd=tmp_path),
        "recipe.toml:13:1: image[0].thresold: unknown key; did you mean 'threshold'?\n"
        '   13 | thresold = "3sigma"\n'
        "      | ^^^^^^^^\n"
        "recipe.toml:14:9: image[0].niter: expected an integer, found a string\n"
        '   14 | niter = "many"\n'
        "      |         ^^^^^^\n"
        "recipe.toml:15:8: image[0].cell: 'parsec' in '2 parsec' is not a unit of angle; use one "
        'of marcsec, mas, arcsec, arcmin, deg, rad; or "auto"\n'
        '   15 | cell = "2 parsec"\n'
        "      |        ^^^^^^^^^^\n",
    )
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.toml"]


@pytest.mark.parametrize(
    ("vis", "said"),
    [
        ("data/*.ms", "'{}/data/*.ms' matches nothing"),
        ("apr13.ms", "no such file: '{}/apr13.ms'; did you mean 'apr14.ms'?"),
        ("data/apr13.ms", "no such file: '{}/data/apr13.ms'; nor is there such a folder"),
        ("${{NOWHERE}}/a.ms", "the environment variable NOWHERE is not set"),
    ],
)
def test_data_that_are_not_there(tmp_path: Path, vis: str, said: str) -> None:
    (tmp_path / "apr14.ms").mkdir()
    vis = vis.replace("{{", "{").replace("}}", "}")
    recipe(tmp_path, f'[[dataset]]\nvis = "{vis}"\n')
    refused(
        casarun("recipe.toml", cwd=tmp_path, env={"PATH": "/usr/bin:/bin"}),
        f"recipe.toml:3:7: dataset[0].vis: {said.format(tmp_path)}\n"
        f'    3 | vis = "{vis}"\n'
        f"      |       {'^' * (len(vis) + 2)}\n",
    )


def test_no_recipe(tmp_path: Path) -> None:
    recipe(tmp_path, "", "ngc5921.toml")
    refused(
        casarun("ngc5912.toml", cwd=tmp_path),
        "ngc5912.toml: no such file; did you mean 'ngc5921.toml'?\n",
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ["--until", "imaging"],
            "recipe.toml: --until: 'imaging' is none of import, flag, calibrate, apply, split, "
            "selfcal, contsub, image, cube, export, measure; did you mean 'image'?\n",
        ),
        (["--only", "apr13"], "recipe.toml: --only: 'apr13' is none of NGC5921\n"),
        (
            ["--set", "nonsense"],
            "recipe.toml: --set nonsense: expected KEY=VALUE, for example calibrate.refant=15\n",
        ),
        (
            ["--set", "image.cont.niter=5"],
            "recipe.toml: --set image.cont.niter=5: no [[image]] is named 'cont'; there is "
            "'continuum'; did you mean 'continuum'?\n",
        ),
        (
            ["--set", "image.continuum.niter=-5"],
            "--set image.continuum.niter=-5: image[0].niter: must be at least 0, found -5\n",
        ),
        (
            ["--set", "calibrate.refnat=3"],
            "--set calibrate.refnat=3: calibrate.refnat: unknown key; did you mean 'refant'?\n",
        ),
    ],
    ids=["until", "only", "no value", "no such image", "bad value", "no such key"],
)
def test_bad_options(tmp_path: Path, options: list[str], said: str) -> None:
    recipe(tmp_path, NGC5921)
    refused(casarun("recipe.toml", *options, cwd=tmp_path), said)


# -- the run folder


def test_an_output_folder_that_holds_something_else(tmp_path: Path) -> None:
    recipe(tmp_path, NGC5921)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "main.tex").write_text("years of work")
    refused(
        casarun("recipe.toml", "--output", "thesis", "--fresh", cwd=tmp_path),
        f"{tmp_path}/thesis is not empty and not a run folder; choose another with --output\n",
    )
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["main.tex"]


def test_a_file_where_the_run_folder_should_be(tmp_path: Path) -> None:
    recipe(tmp_path, NGC5921)
    refused(
        casarun("recipe.toml", "--output", "recipe.toml", cwd=tmp_path),
        f"{tmp_path}/recipe.toml is not a folder; choose another with --output\n",
    )
    refused(
        casarun("recipe.toml", "--output", "recipe.toml/run", cwd=tmp_path),
        f"cannot write in the run folder {tmp_path}/recipe.toml/run: Not a directory; "
        "choose another one with --output\n",
    )


def test_a_read_only_output_folder(tmp_path: Path) -> None:
    """Really read-only, for root too: a filesystem that is mounted so."""
    recipe(tmp_path, NGC5921)
    with tmpfs(tmp_path / "archive", "ro") as inside:
        refused(
            casarun("recipe.toml", "--output", "archive/run", cwd=tmp_path, inside=inside),
            f"cannot write in the run folder {tmp_path}/archive/run: Read-only file system; "
            "choose another one with --output\n",
        )


def test_another_run_holds_the_folder(tmp_path: Path) -> None:
    recipe(tmp_path, NGC5921)
    with FolderLock(tmp_path / "run" / ".casarun" / "lock"):
        held = json.loads((tmp_path / "run" / ".casarun" / "lock").read_text())
        done = casarun("recipe.toml", "--output", "run", cwd=tmp_path)
    assert done.stderr == (
        f"another run works in {tmp_path}/run: process {held['pid']} on {held['host']}, "
        f"since {held['since']}\n"
    )
    assert done.returncode == 4


@pytest.mark.parametrize("command", ["status", "log", "report"])
def test_a_folder_that_holds_no_run(tmp_path: Path, command: str) -> None:
    refused(
        casarun(command, ".", cwd=tmp_path),
        ".: not a run folder (it has no .casarun/journal.jsonl)\n",
    )
    assert not list(tmp_path.iterdir())


def test_what_is_taken_for_a_run_folder(tmp_path: Path) -> None:
    (tmp_path / "r.toml").touch()
    said = "r.toml is a file, not a run folder: `casarun r.toml` would run it as a recipe\n"
    refused(casarun("status", "r.toml", cwd=tmp_path), said)
    refused(casarun("status", "m31", cwd=tmp_path), "m31: there is no such folder\n")
    (tmp_path / "runs" / "m31" / ".casarun").mkdir(parents=True)
    (tmp_path / "runs" / "m31" / ".casarun" / "journal.jsonl").touch()
    said = "m31: there is no such folder; did you mean runs/m31?\n"
    refused(casarun("log", "m31", cwd=tmp_path), said)


@pytest.mark.casa
def test_what_is_no_dataset_is_told_without_a_recipe(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello\n")
    refused(
        casarun("init", "notes.txt", cwd=tmp_path),
        f"{tmp_path}/notes.txt: expected a UVFITS file, but it is a text file, whatever its name "
        "says\n",
    )


def test_an_unknown_task(tmp_path: Path) -> None:
    refused(
        casarun("task", "tcleen", cwd=tmp_path),
        "the installed CASA has no task 'tcleen'; did you mean 'tclean'?\n",
    )


# -- data, read by CASA


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with a good MS and recipes that name no calibrators; only read it."""
    folder = tmp_path_factory.mktemp("bad")
    skies.build(folder / "good.ms")
    recipe(folder, '[[dataset]]\nvis = "good.ms"\n', "good.toml")
    # Metadata are read once, for all tests that are refused after that.
    assert casarun("check", "good.toml", "--output", "run", cwd=folder).returncode == 0
    return folder


@pytest.mark.casa
@pytest.mark.parametrize(
    ("setting", "said"),
    [
        (
            'calibrators.phase="1445+099*"',
            '--set calibrators.phase="1445+099*": calibrators.phase: no field of dataset good '
            "matches '1445+099*'; fields: 1331+305=3C286, J1445+0958, target; did you mean "
            "'J1445+0958'?\n",
        ),
        (
            'targets.fields=["targte"]',
            '--set targets.fields=["targte"]: targets.fields: no field of dataset good matches '
            "'targte'; fields: 1331+305=3C286, J1445+0958, target; did you mean 'target'?\n",
        ),
        (
            'calibrate.refant="VA15"',
            "--set calibrate.refant=\"VA15\": calibrate.refant: dataset good has no antenna 'VA15' "
            "with data; antennas: "
            f"{', '.join(f'ea{n:02d}' for n in range(1, 13))}\n",
        ),
    ],
    ids=["calibrator", "target", "refant"],
)
def test_what_is_not_in_the_data(place: Path, setting: str, said: str) -> None:
    refused(casarun("good.toml", "-o", "run", "--set", setting, cwd=place), said)


def broken(place: Path, name: str) -> tuple[Path, Path]:
    """Return a copy of the good MS to break, and the path of its recipe."""
    vis = Path(shutil.copytree(place / "good.ms", place / f"{name}.ms"))
    return vis, recipe(place, f'[[dataset]]\nvis = "{name}.ms"\n', f"{name}.toml")


def at_vis(name: str, message: str) -> str:
    """Return a refusal that points at the dataset's vis."""
    return (
        f"{name}.toml:3:7: dataset[0].vis: {message}\n"
        f'    3 | vis = "{name}.ms"\n'
        f"      |       {'^' * (len(name) + 5)}\n"
    )


@pytest.mark.casa
@pytest.mark.parametrize(
    ("name", "lost", "message"),
    [
        (
            "folder",
            "table.dat",
            "not a MeasurementSet: it has no table.dat; the copy is incomplete: get the data "
            "again, whole",
        ),
        (
            "nofield",
            "FIELD/table.dat",
            "a broken MeasurementSet: subtable FIELD is missing; the copy is incomplete: get the "
            "data again, whole",
        ),
        (
            "cutflags",
            "table.f3_TSM1",
            "a broken MeasurementSet: the column FLAG cannot be read in row ",
        ),
    ],
)
def test_a_broken_ms(place: Path, name: str, lost: str, message: str) -> None:
    vis, path = broken(place, name)
    if name == "cutflags":
        with (vis / lost).open("r+b") as file:
            file.truncate(100)
    else:
        (vis / lost).unlink()
    done = casarun(path.name, "--output", f"run-{name}", "--quiet", cwd=place)
    if name == "cutflags":  # and CASA's own words
        message += done.stderr.split(message)[1].split("\n")[0]
        assert "BucketCache::getBucket: bucket " in message
    refused(done, at_vis(name, f"{vis}: {message}"))


@pytest.mark.casa
@pytest.mark.parametrize(
    ("column", "file"), [("DATA", "table.f2_TSM1"), ("SIGMA", "table.f6_TSM1")]
)
def test_a_column_cut_short(place: Path, column: str, file: str) -> None:
    name = f"cut{column.lower()}"
    vis, path = broken(place, name)
    with (vis / file).open("r+b") as stream:
        stream.truncate(1000)
    done = casarun(path.name, "--output", f"run-{name}", "--quiet", cwd=place)
    said = f"{vis}: a broken MeasurementSet: the column {column} cannot be read in row "
    assert said in done.stderr
    words = done.stderr.split(said)[1].split("\n")[0]  # CASA's own among them
    assert "BucketCache::getBucket: bucket " in words
    assert words.endswith("; its file is truncated or damaged: get the data again, whole")
    refused(done, at_vis(name, said + words))


@pytest.mark.casa
def test_a_calibrator_that_came_all_flagged(place: Path) -> None:
    skies.build(place / "flagged.ms", skies.Sky(flagged_fields=(1,)))
    recipe(place, '[[dataset]]\nvis = "flagged.ms"\n', "flagged.toml")
    refused(
        casarun("flagged.toml", "--output", "run-flagged", cwd=place),
        "flagged.toml: calibrators.phase: all data of J1445+0958 in dataset flagged are flagged; "
        "choose another field (calibrators.phase) or restore its flags\n",
    )


@pytest.mark.casa
def test_a_caltable_that_the_flags_make_impossible(place: Path) -> None:
    """The recipe flags what its bandpass needs; CASA itself would return without a table."""
    command = "flag.manual=[\"field='0'\"]"
    done = casarun("good.toml", "-o", "run-manual", "--set", command, cwd=place)
    assert done.returncode == 1
    assert (
        "good.flag.manual failed: expected some unflagged data of field 0 in raw/good.ms, found "
        "100.0% flagged after this step: flagdata mode 'list' took it\n"
    ) in done.stdout
    assert "Look at [flag]: flag.manual, flag.quack, flag.edge and flag.rfi.\n" in done.stdout


@pytest.mark.casa
def test_solutions_that_are_all_under_minsnr(place: Path) -> None:
    setting = "calibrate.minsnr=1e9"
    done = casarun("good.toml", "-o", "run-minsnr", "--set", setting, cwd=place)
    assert done.returncode == 1
    assert "good.phase0 failed: " in done.stdout
    assert "calibrate.minsnr" in done.stdout.split("good.phase0 failed: ")[1]


@pytest.mark.casa
def test_the_disk_fills_up(place: Path) -> None:
    with tmpfs(place / "small", "size=3m") as inside:
        # Without the check of the space before: it would not let the run begin.
        done = casarun(
            "good.toml", "-o", "small/run", "--set", "resources.disk_factor=0",
            "--set", "resources.disk_reserve=none", "--set", "retry.wait=0.1s",
            cwd=place, inside=inside,
        )  # fmt: skip
    assert done.returncode == 75
    assert "failed (disk-full): " in done.stdout
    # Whether the last bytes are missing to a step or to the journal, a few bytes decide.
    stopped = (
        f"stopped (the disk of {place}/small/run is full: free some); run the same command to go on"
    )
    assert stopped in done.stdout or done.stderr == (
        f"cannot write the records of the run in {place}/small/run: No space left on device. "
        "What was done is kept: mend that, and run the same command to go on.\n"
    )


@pytest.mark.casa
def test_too_little_disk_to_begin(place: Path) -> None:
    with tmpfs(place / "tiny", "size=1m") as inside:
        done = casarun("good.toml", "-o", "tiny/run", cwd=place, inside=inside)
    assert done.returncode == 2
    assert " are free in " in done.stderr
    assert done.stderr.startswith("good.toml: resources.disk_factor: ")
    assert done.stderr.endswith(
        "(5 times the input of 479 kB): free some, choose another folder with --output, or lower "
        "resources.disk_factor\n"
    )


@pytest.mark.casa
def test_until_a_stage_that_the_recipe_does_not_have(place: Path) -> None:
    done = casarun("good.toml", "-o", "run-until", "--until", "contsub", "--dry-run", cwd=place)
    assert done.returncode == 0
    steps = [line.split()[1] for line in done.stdout.splitlines() if "  never run" in line]
    assert steps[-1] == "good.split.target"
    assert not [e for e in events(place / "run-until") if e.get("step") == "good.copy"]
