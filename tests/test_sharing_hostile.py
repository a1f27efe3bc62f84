"""A recipe from someone else that wants more than a recipe may, in whichever file it says so."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.cli import Done, casarun

MARK = "hunter2"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a folder with a recipe's data, and with a secret beside it."""
    here = tmp_path / "here"
    (here / "lab").mkdir(parents=True)
    (here / "a.ms").mkdir()
    (tmp_path / "secret.toml").write_text(f'token = "{MARK}"\n[flag]\nrfi = "{MARK}"\n')
    (tmp_path / "secret.txt").write_text(f"token: {MARK}\n")
    return here


def check(folder: Path, recipe: str, base: str = "", log: str = "file\na\n") -> Done:
    """Check a recipe that extends another, and what it left on the disk."""
    (folder / "log.csv").write_text(log)
    (folder / "lab" / "base.toml").write_text(f"casarun = 1\n{base}")
    data = "" if "[[dataset]]" in recipe + base else '[[dataset]]\nvis = "a.ms"\n'
    own = "" if "extends" in recipe else 'extends = "lab/base.toml"\n'
    (folder / "recipe.toml").write_text(f"{own}casarun = 1\n{recipe}{data}")
    before = sorted(str(path) for path in folder.parent.rglob("*"))
    done = casarun("check", "--static", "recipe.toml", cwd=folder, env=dict(os.environ))
    assert sorted(str(path) for path in folder.parent.rglob("*")) == before
    assert MARK not in done.stdout + done.stderr
    return done


STEP = '[[step]]\ntask = "{}"\nafter = "apply"\nparams = {{ {} }}\n'
COMMANDS = {
    "command in a base": ("", STEP.format("os.system", 'command = "touch x"')),
    "shell in a variable": (
        '[vars]\nend = "; touch x"\n',
        STEP.format("exportfits", 'imagename = "a${end}", fitsimage = "b"') + 'writes = ["b"]\n',
    ),
    "shell in two halves": (
        '[vars]\na = "$("\nb = "touch x)"\n',
        STEP.format("exportfits", 'imagename = "${a}${b}", fitsimage = "b"') + 'writes = ["b"]\n',
    ),
    "flag command from a variable": (
        "[vars]\ncommand = \"mode='summary' antenna='1' __import__('os')\"\n",
        '[flag]\nmanual = ["${command}"]\n',
    ),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_is_run(folder: Path, name: str) -> None:
    own, base = COMMANDS[name]
    done = check(folder, own, base)
    assert done.returncode == 2, done.stdout
    assert "lab/base.toml:" in done.stderr
    assert not (folder / "x").exists()


OUTSIDE = {
    "in a base": ("", '[project]\noutput = "/etc/x"\n', "'/etc/x' is not below"),
    "from a variable": (
        '[vars]\nout = "/etc"\n', '[project]\noutput = "${out}/x"\n', "'/etc/x' is not below",
    ),
    "up, in two halves": (
        '[vars]\nup = ".."\n', '[project]\noutput = "${up}/${up}/x"\n', "'../../x' is not below",
    ),
    "a variable that poses as the environment's": (
        '[vars]\nHOME = "/etc"\n', '[project]\noutput = "${HOME}/x"\n', "'/etc/x' is not below",
    ),
    "hidden": ('[vars]\nx = ".ssh"\n', '[project]\noutput = "${x}"\n', "'.ssh' is in a hidden"),
    "the name of the run": (
        '[project]\nname = "${x}"\n', '[vars]\nx = "../x"\n', "'../x' cannot be a name",
    ),
    "the name of an image": (
        '[vars]\nx = "../x"\n', '[[image]]\nname = "${x}"\n', "'../x' cannot be a name",
    ),
    "the product of a step": (
        '[vars]\nx = "../x"\n',
        STEP.format("statwt", "") + 'writes = ["${x}"]\n', "'../x' is outside of the run folder",
    ),
    "a dataset's name from a log": (
        '[[dataset]]\nlog = "log.csv"\nvis = "a.ms"\nname = "../${file}"\n', "",
        "'../a' cannot be a name",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OUTSIDE)
def test_nothing_is_written_outside(folder: Path, name: str) -> None:
    own, base, said = OUTSIDE[name]
    done = check(folder, own, base)
    assert done.returncode == 2, done.stdout
    assert said in done.stderr


def test_a_file_of_a_sweep_is_looked_for_like_any_other(folder: Path) -> None:
    done = check(folder, '[[image]]\nname = "x"\n[matrix]\n"image.x.mask" = ["../../s", "none"]\n')
    assert done.returncode == 2
    assert done.stderr.startswith("recipe.toml:6:19: matrix.image.x.mask[0]: no such file: ")


NETWORK = {
    "extends": 'extends = "https://example.org/r.toml"\n',
    "extends, ftp": 'extends = ["ftp://example.org/r.toml"]\n',
    "a log": '[[dataset]]\nlog = "https://example.org/log.csv"\nvis = "${file}.ms"\n',
    "data": '[[dataset]]\nvis = "https://example.org/a.ms"\n',
    "a mask": '[[image]]\nname = "x"\nmask = "https://example.org/m.crtf"\n',
}


@pytest.mark.parametrize("name", NETWORK)
def test_the_network_is_not_reached(folder: Path, name: str) -> None:
    guard = folder.parent / "guard"
    guard.mkdir()
    # Any attempt to open a socket or to look up a name would be told as a bug.
    (guard / "sitecustomize.py").write_text(
        "import sys\n"
        "def hook(event, args):\n"
        "    if event.startswith('socket.') or event == 'subprocess.Popen':\n"
        "        raise RuntimeError(event)\n"
        "sys.addaudithook(hook)\n"
    )
    data = "" if "[[dataset]]" in NETWORK[name] else '[[dataset]]\nvis = "a.ms"\n'
    (folder / "recipe.toml").write_text(f"casarun = 1\n{NETWORK[name]}{data}")
    done = casarun(
        "check", "--static", "recipe.toml", cwd=folder,
        env=os.environ | {"PYTHONPATH": str(guard)},
    )  # fmt: skip
    assert done.returncode == 2
    assert "is an address" in done.stderr or "no such file" in done.stderr


FILES = {
    "a TOML file that is no recipe": 'extends = "../secret.toml"\n',
    "another file": 'extends = "../secret.txt"\n',
    "a link": 'extends = "link.toml"\n',
    "a log that is none": '[[dataset]]\nlog = "../secret.txt"\nvis = "${x}"\n',
    "a link to a log that is none": '[[dataset]]\nlog = "link.csv"\nvis = "${x}"\n',
}


@pytest.mark.parametrize("name", FILES)
def test_other_files_are_neither_read_nor_shown(folder: Path, name: str) -> None:
    (folder / "link.toml").symlink_to("../secret.txt")
    (folder / "link.csv").symlink_to("../secret.txt")
    done = check(folder, FILES[name])
    assert done.returncode == 2
    assert done.stderr


PIPES = {
    "a mask": '[[image]]\nname = "x"\nmask = "odd"\n',
    "regions": '[[image]]\nname = "x"\nregions = ["odd"]\n',
    "data": '[[dataset]]\nvis = "odd"\n',
    "data that match": '[[dataset]]\nvis = "od*"\n',
}


@pytest.mark.parametrize("name", PIPES)
def test_a_pipe_in_place_of_a_file_is_not_opened(folder: Path, name: str) -> None:
    os.mkfifo(folder / "odd")
    done = check(folder, PIPES[name])
    assert done.returncode == 2
    assert f"{str(folder / 'odd')!r} is a pipe or a device, not a file\n" in done.stderr
    assert "no such file" not in done.stderr


@pytest.mark.parametrize("what", ["folder", "pipe"])
def test_what_is_no_file_does_not_hold_the_check_up(folder: Path, what: str) -> None:
    path = folder / "odd.toml"
    if what == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    done = check(folder, 'extends = "odd.toml"\n')
    said = {"folder": "is a folder, not a recipe", "pipe": "is not a regular file"}[what]
    assert done.stderr == f"odd.toml: {said}\n"
    assert done.returncode == 2
