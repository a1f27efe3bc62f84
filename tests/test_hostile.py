"""Recipes, data and run folders from someone who means harm: clear words, and no harm."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import resource
import subprocess
import tarfile
from base64 import b64encode
from dataclasses import replace
from pathlib import Path

import pytest
from casarun.cli.plain import escape
from casarun.engine.journal import read_events
from casarun.errors import printable
from casarun.files import write_atomic
from casarun.folder import RunFolder, file_safe, is_file_safe, is_inside, strange_in
from casarun.recipe.load import load
from support import skies
from support.cli import COMMAND, Done, casarun, digests, recipe

DATASET = '[[dataset]]\nvis = "a.ms"\n'
MEMORY_BYTES = 1_000_000_000


def check(folder: Path, *arguments: str) -> Done:
    """Check a recipe by itself, in little memory and little time."""
    (folder / "a.ms").mkdir(exist_ok=True)
    return subprocess.run(
        [*COMMAND, "check", "--static", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1", "SCRATCH": "/scratch", "EMPTY": ""},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES)),
    )


def first_line(done: Done) -> str:
    return done.stderr.partition("\n")[0]


# -- where a recipe may put its run


@pytest.mark.parametrize(
    ("output", "wrong"),
    [
        ("../x", "is not below the current folder"),
        ("runs/../../x", "is not below the current folder"),
        ("link/../x", "is not below the current folder"),
        ("/etc/x", "is not below the current folder"),
        ("${SCRATCH}/../etc", "is not below the current folder"),
        ("${SCRATCH}x/../../etc", "is not below the current folder"),
        ("${EMPTY}/etc", "is not below the current folder"),
        ("~/.ssh", "is in a hidden folder"),
        (".git/hooks", "is in a hidden folder"),
    ],
)
def test_a_recipe_cannot_put_its_run_anywhere(tmp_path: Path, output: str, wrong: str) -> None:
    recipe(tmp_path, f'[project]\noutput = "{output}"\n{DATASET}')
    done = check(tmp_path, "recipe.toml")
    assert first_line(done).startswith(
        f"recipe.toml:3:10: project.output: '{output}' {wrong}, where no recipe may put its run; "
        "if you want it there: --output "
    )
    assert done.returncode == 2


@pytest.mark.parametrize("output", ["runs/x", "./x", "${SCRATCH}/x", "~/runs/x", "a b", "x..y", ""])
def test_a_recipe_may_put_its_run_there(tmp_path: Path, output: str) -> None:
    recipe(tmp_path, f'[project]\noutput = "{output}"\n{DATASET}')
    assert check(tmp_path, "recipe.toml").returncode == 0


def test_an_absolute_path_below_the_current_folder_is_fine(tmp_path: Path) -> None:
    recipe(tmp_path, f'[project]\noutput = "{tmp_path}/runs/x"\n{DATASET}')
    assert check(tmp_path, "recipe.toml").returncode == 0


@pytest.mark.parametrize("option", [("--output", "/x/y"), ("--set", "project.output=/x/y")])
def test_who_runs_a_recipe_may_put_the_run_anywhere(
    tmp_path: Path, option: tuple[str, str]
) -> None:
    recipe(tmp_path, f'[project]\noutput = "/etc/x"\n{DATASET}')
    assert check(tmp_path, "recipe.toml", *option).returncode == 0


def test_data_may_be_anywhere_and_their_paths_are_plain(tmp_path: Path) -> None:
    """A step's paths have no ``..``; after a link it leads elsewhere than it seems to."""
    for folder in ("a.ms", "x", "far/away", "far/b.ms"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "x" / "link").symlink_to(tmp_path / "far" / "away")
    vis = '[[dataset]]\nvis = "../a.ms"\n[[dataset]]\nvis = "link/../b.ms"\n'
    loaded = load(recipe(tmp_path / "x", vis)).recipe
    assert [one.vis for one in loaded.dataset] == [f"{tmp_path}/a.ms", f"{tmp_path}/far/b.ms"]


# -- recipes that are too much


TOO_DEEP = "recipe.toml: the values are nested too deeply"
TOO_MANY = "recipe.toml: has more than 20,000 values: no recipe has"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("".join(f"k{i}=1\n" for i in range(100_000)), TOO_MANY),
        (f"x = [{'1,' * 400_000}]\n", TOO_MANY),
        ("".join(f"k{i}=1\n" for i in range(1_000_000)),
         "recipe.toml: is larger than 1 MB: no recipe is"),
        (f"x = {'[' * 1000}{']' * 1000}\n", TOO_DEEP),
        (f"x = {'[' * 60}{']' * 60}\n", TOO_DEEP),
        (f"x = {'{a=' * 1000}1{'}' * 1000}\n", TOO_DEEP),
        (f"{'a.' * 1000}b = 1\n", TOO_DEEP),
        (f"[a{'.b' * 500}]\nc = 1\n", TOO_DEEP),
        ("".join(f"[a{'.b' * 500}.c{i}]\n" for i in range(900)), TOO_DEEP),
        (f"x = '{'a' * 100_000}'\n", "dataset: has more than 20,000 characters: nothing has"),
        (f"x = 1{'0' * 400}\n", "dataset[0].x: a number has too many digits"),
        (f"x = 0x{'f' * 40_000}\n", "dataset[0].x: a number has too many digits"),
        (f"x = 1{'0' * 5000}\n", "recipe.toml: a number has too many digits"),
    ],
    ids=["keys", "items", "million keys", "arrays", "60 arrays", "tables", "dotted", "header",
         "headers", "text", "digits", "hex digits", "5000 digits"],
)  # fmt: skip
def test_a_recipe_that_is_too_much(tmp_path: Path, text: str, said: str) -> None:
    recipe(tmp_path, DATASET + text)
    done = check(tmp_path, "recipe.toml")
    assert first_line(done).endswith(said)
    assert done.returncode == 2


@pytest.mark.parametrize("number", ["1e999", "-1e999", "inf", "nan"])
def test_a_number_that_is_none(tmp_path: Path, number: str) -> None:
    recipe(tmp_path, f"{DATASET}[calibrate]\nminsnr = {number}\n")
    done = check(tmp_path, "recipe.toml")
    found = {"1e999": "inf", "-1e999": "-inf"}.get(number, number)
    assert first_line(done) == (
        f"recipe.toml:5:10: calibrate.minsnr: expected a finite number, found {found}"
    )
    assert done.returncode == 2


def test_of_very_many_problems_the_first_are_shown(tmp_path: Path) -> None:
    recipe(tmp_path, DATASET + "".join(f"k{i} = 1\n" for i in range(1000)))
    done = check(tmp_path, "recipe.toml")
    assert done.stderr.endswith("recipe.toml: and 900 more\n")
    assert done.stderr.count("unknown key") == 100


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("calibrate.minsnr=1" + "0" * 400, "calibrate.minsnr: a number has too many digits"),
        ('"a".' * 3000 + "b=1", "expected KEY=VALUE, for example calibrate.refant=15"),
        ("a." * 3000 + "b=1", "recipe.toml: the values are nested too deeply"),
        ("project.name='../../x'", "not beginning with . or -"),
        ("project.name=\x1b[2J", "not beginning with . or -"),
    ],
    ids=["digits", "quoted keys", "keys", "name", "escape"],
)
def test_a_hostile_option(tmp_path: Path, option: str, said: str) -> None:
    recipe(tmp_path, DATASET)
    done = check(tmp_path, "recipe.toml", "--set", option)
    assert first_line(done).endswith(said)
    assert "\x1b" not in done.stderr
    assert len(first_line(done)) < 400
    assert done.returncode == 2


def test_a_recipe_of_a_gigabyte(tmp_path: Path) -> None:
    with (tmp_path / "big.toml").open("wb") as file:
        file.truncate(1 << 30)
    done = check(tmp_path, "big.toml")
    assert done.stderr == "big.toml: is larger than 1 MB: no recipe is\n"
    assert done.returncode == 2


@pytest.mark.parametrize("name", ["/dev/zero", "/dev/stdin", "pipe.toml"])
def test_a_recipe_that_is_no_file(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    done = check(tmp_path, name)
    assert done.stderr == f"{name}: is not a regular file\n"
    assert done.returncode == 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x80\x04\x95\x10", "is not UTF-8 text: byte 0x80 in line 1"),
        ("casarun = 1\n".encode("utf-16"), "is not UTF-8 text: byte 0xff in line 1"),
        (b"casarun = 1\n\0\0", "Invalid statement"),
    ],
    ids=["pickle", "UTF-16", "NUL"],
)
def test_a_recipe_that_is_no_text(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "recipe.toml").write_bytes(content)
    done = check(tmp_path, "recipe.toml")
    assert first_line(done).endswith(said)
    assert done.returncode == 2


@pytest.mark.parametrize(
    "text", [" " * 19_000, "*a" * 9_000, "0:1~2;" * 3_000, "1&" * 9_000, "antenna=" + " \t" * 9_000]
)
def test_no_pattern_takes_long(tmp_path: Path, text: str) -> None:
    value = json.dumps(text)
    recipe(
        tmp_path,
        f"{DATASET}[flag]\nmanual = [{value}]\n[calibrate]\nspw = {value}\nrefant = {value}\n"
        f"[calibrators]\nphase = {value}\n[contsub]\nfitspec = {value}\n[targets]\n"
        f"fields = [{value}]\n[[image]]\nname = 'a'\nspw = {value}\nthreshold = {value}\n"
        f"cell = {value}\ntclean = {{ uvrange = {value} }}\n",
    )
    assert check(tmp_path, "recipe.toml").returncode == 2  # within 30 s


# -- names from data


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("../../x", "_.._x"),
        ("..", "_"),
        ("<script>alert(1)</script>", "_script_alert_1___script_"),
        ("$(rm -rf x)", "__rm_-rf_x_"),
        ("a\nb\x1b[31m", "a_b__31m"),
        ("Größe", "Gr__e"),
        ("", "_"),
        ("n" * 64, "n" * 64),
        ("n" * 300, "n" * 55 + "-230b0774"),
    ],
)
def test_names_of_files(name: str, safe: str) -> None:
    assert file_safe(name) == safe
    assert is_file_safe(safe)


def test_long_names_that_begin_alike_stay_apart() -> None:
    assert file_safe("n" * 300) != file_safe("n" * 301)
    assert not is_file_safe("n" * 300)
    assert not is_file_safe("../x")


def test_what_would_drive_a_terminal_is_escaped() -> None:
    assert printable("a\x1b[2J\x07\u202eb\nc") == "a\\x1b[2J\\x07\\u202eb\nc"
    assert escape("[red]a\nb[/]") == "\\[red]a\\nb\\[/]"


# -- a run folder in which something leads elsewhere


def run_folder(place: Path) -> RunFolder:
    """Make a folder that a run could have left."""
    folder = RunFolder(place / "run")
    for name in (".casarun", "scripts", "qa", "docs", "logs"):
        (folder.root / name).mkdir(parents=True)
    write_atomic(folder.journal, '{"t":"2026-01-01T00:00:00Z","event":"run-started"}\n')
    return folder


LINKS = (
    "raw", "images", "qa", "logs", ".casarun/lock", ".casarun/journal.jsonl", ".casarun/ledgers",
    ".casarun/work", ".casarun/status.json", "scripts/plan.json", "qa/data", "logs/a/attempt-1",
)  # fmt: skip


@pytest.mark.parametrize("name", LINKS)
def test_a_link_that_leads_out_of_a_run_folder(tmp_path: Path, name: str) -> None:
    folder = run_folder(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").write_text("years of work")
    place = folder.root / name
    place.parent.mkdir(exist_ok=True, parents=True)
    target = elsewhere / "precious" if "." in place.name else elsewhere
    if place.is_dir():
        place.rmdir()
    place.unlink(missing_ok=True)
    place.symlink_to(target)
    before = digests(elsewhere)
    (tmp_path / "a.ms").mkdir()
    recipe(tmp_path, DATASET)
    for command in (
        ("recipe.toml", "--output", "run"),
        ("recipe.toml", "--output", "run", "--fresh"),
        ("report", "run"),
        ("status", "run"),
    ):
        done = casarun(*command, cwd=tmp_path)
        assert done.stderr == (
            f"{place} is a symbolic link to {target}: casarun makes none, and neither writes nor "
            "reads outside of a run folder. Remove it, or choose another folder with --output\n"
        )
        assert done.returncode == 2
    assert digests(elsewhere) == before


def test_a_pipe_in_a_run_folder_blocks_nothing(tmp_path: Path) -> None:
    folder = run_folder(tmp_path)
    os.mkfifo(folder.plan)
    done = casarun("report", "run", cwd=tmp_path, timeout=120)
    assert done.stderr.startswith(f"{folder.plan} is no regular file: casarun makes none")
    assert done.returncode == 2


def test_links_of_steps_at_work_are_fine(tmp_path: Path) -> None:
    folder = run_folder(tmp_path)
    folder.work("a").mkdir(parents=True)
    (folder.work("a") / "raw").symlink_to(tmp_path)
    assert strange_in(folder) is None


def test_a_planted_temporary_link_is_not_written_through(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("years of work")
    (tmp_path / f".x.json.{os.getpid()}.new").symlink_to(precious)
    write_atomic(tmp_path / "x.json", "{}")
    assert precious.read_text() == "years of work"
    assert (tmp_path / "x.json").read_text() == "{}"


@pytest.mark.parametrize(
    ("path", "inside"),
    [("qa/data/x.json", True), ("/etc/x", False), ("../x", False), ("a/../../x", False)],
)
def test_paths_in_records(path: str, inside: bool) -> None:
    assert is_inside(path) is inside


# -- records edited by hand

NO_RECORDS = {
    "list": b"[]",
    "null": b"null",
    "deep": b"[" * 100_000,
    "deep object": b'{"a":' * 100_000,
    "pickle": b"\x80\x04\x95\x00",
    "empty": b"",
    "digits": b"1" * 6000,
}


@pytest.mark.parametrize("content", NO_RECORDS.values(), ids=NO_RECORDS)
def test_a_plan_and_a_status_that_are_none(tmp_path: Path, content: bytes) -> None:
    folder = run_folder(tmp_path)
    folder.plan.write_bytes(content)
    folder.status.write_bytes(content)
    done = casarun("report", "run", cwd=tmp_path)
    assert done.stderr.startswith(f"{folder.plan} is damaged: ")
    assert done.stderr.endswith("run the recipe again\n")
    assert done.returncode == 2
    done = casarun("status", "run", cwd=tmp_path)
    assert str(folder.status) in done.stderr
    assert done.returncode == 2


def test_a_plan_that_leads_out(tmp_path: Path) -> None:
    folder = run_folder(tmp_path)
    step = {
        "id": "a.measure", "stage": "measure", "title": "t", "action": "measure.dataset",
        "params": {"data": "../../secret.json"}, "reads": [], "writes": [], "updates": [],
        "checks": [], "dataset": "a", "target": "", "image": "", "fallbacks": [], "waits_for": [],
        "fingerprint": "0" * 32, "resources": {"cores": 1, "memory_bytes": 0, "time_limit_s": 1.0,
                                               "disk_bytes": 0, "seconds": 0.0},
    }  # fmt: skip
    plan = {"plan_version": 1, "versions": {}, "inputs": {}, "autos": [], "notes": []}
    folder.plan.write_text(json.dumps({**plan, "steps": [step]}))
    done = casarun("report", "run", cwd=tmp_path)
    assert done.stderr == (
        f"{folder.plan} is damaged: step a.measure leads out of the run folder; run the recipe "
        "again\n"
    )
    assert done.returncode == 2


GOOD = {"t": "2026-01-01T00:00:00Z", "event": "step-started", "step": "a", "attempt": 1}
EDITED = [
    {**GOOD, "event": ["step-started"]},
    {**GOOD, "step": ["a"]},
    {**GOOD, "step": "../../x"},
    {**GOOD, "step": ".."},
    {**GOOD, "attempt": "1"},
    {**GOOD, "params": []},
    {**GOOD, "event": "step-done", "writes": ["x"]},
    {**GOOD, "event": "step-done", "wall_s": float("nan")},
    {"t": GOOD["t"], "event": "step-done"},
    [],
    7,
]


def test_edited_lines_of_a_journal_are_left_out(tmp_path: Path) -> None:
    folder = run_folder(tmp_path)
    lines = [json.dumps(line) for line in EDITED]
    lines += ["[" * 100_000, '{"a":' * 100_000, "1" * 6000, '{"event":"step-done","wall_s":1e999}']
    folder.journal.write_bytes(
        b"\x80\x04\x95\0\n" + "\n".join([*lines, json.dumps(GOOD), ""]).encode()
    )
    assert list(read_events(folder.journal)) == [GOOD]
    done = casarun("log", "run", cwd=tmp_path)
    assert done.stdout == "2026-01-01T00:00:00 step-started     a attempt 1: None\n"
    assert done.returncode == 0


def test_a_message_in_a_journal_does_not_drive_the_terminal(tmp_path: Path) -> None:
    folder = run_folder(tmp_path)
    event = {**GOOD, "event": "step-failed", "cause": "io", "message": "\x1b]0;x\x07\x1b[2J"}
    folder.journal.write_text(json.dumps(event) + "\n")
    done = casarun("log", "run", "a", cwd=tmp_path)
    assert "\x1b" not in done.stdout
    assert "io: \\x1b]0;x\\x07\\x1b[2J" in done.stdout


# -- real runs

NAMES = ("../../x", "<script>alert(1)</script>", "$(touch x)\n\x1b[31m")
IMAGE = "[[image]]\nname = 'c'\nimsize = 64\ncell = '40arcsec'\nniter = 0\n"


@pytest.mark.casa
def test_hostile_names_of_fields(tmp_path: Path) -> None:
    targets = tuple(replace(skies.TARGET, name=name) for name in NAMES)
    fields = (skies.FLUX_CAL, skies.PHASE_CAL, *targets)
    skies.build(
        tmp_path / "a.ms",
        skies.Sky(fields=fields, scans=(0, 1, 2, 3, 4, 1), n_antennas=8, integrations=2),
    )
    place = tmp_path / "deep" / "inside"
    place.mkdir(parents=True)
    recipe(
        place,
        '[project]\ntitle = "<script>alert(2)</script>\\u001b[31m"\n'
        f'[[dataset]]\nvis = "../../a.ms"\n{IMAGE}',
    )
    done = casarun("recipe.toml", "--output", "run", "--verbose", cwd=place)
    assert done.returncode in (0, 3), done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert "\\x1b[31m" in done.stdout
    page = (place / "run/qa/index.html").read_text()
    # The page's own script is there, which its policy knows, and no other one.
    scripts = re.findall(r"<script[^>]*>(.*?)</script", page, re.DOTALL)
    hashes = [b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in scripts]
    assert page.count("<script") == len(scripts) <= 1
    assert [one for one in hashes if f"'sha256-{one}'" not in page] == []
    assert "&lt;script&gt;alert(1)" in page
    assert "&lt;script&gt;alert(2)" in page
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.ms", "deep"]
    assert sorted(path.name for path in place.iterdir()) == ["recipe.toml", "run"]
    names = [path.name for path in (place / "run/images").glob("*.c.fits")]
    assert sorted(names) == [
        "_.._x.c.fits", "__touch_x____31m.c.fits", "_script_alert_1___script_.c.fits",
    ]  # fmt: skip

    # What someone then writes into the records is left out, and the run holds.
    run = RunFolder(place / "run")
    bad = "\n".join([*(json.dumps(line) for line in EDITED), "[" * 100_000, ""])
    for file in (run.journal, *run.ledgers.glob("*.jsonl")):
        with file.open("a") as stream:
            stream.write(bad)
    run.metrics.write_text("[]")
    run.status.write_bytes(b"\x80\x04")
    again = casarun("recipe.toml", "--output", "run", cwd=place)
    assert again.returncode == done.returncode
    assert "nothing to do" in again.stdout
    assert json.loads(run.metrics.read_text())["verdict"] in ("pass", "warn", "fail")


def _member(kind: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo("a.ms/x")
    if kind == "out":
        member.name = "../../../../x"
    elif kind == "device":
        member.type, member.devmajor, member.devminor = tarfile.CHRTYPE, 1, 5
    elif kind == "pipe":
        member.type = tarfile.FIFOTYPE
    else:
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return member


@pytest.mark.casa
@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("out", "leads out of the tar"),
        ("device", "is no plain file or folder"),
        ("pipe", "is no plain file or folder"),
        ("link", "is a link to an absolute path"),
    ],
)
def test_a_hostile_tar(tmp_path: Path, kind: str, said: str) -> None:
    place = tmp_path / "a" / "b" / "c"
    place.mkdir(parents=True)
    with tarfile.open(place / "a.tar", "w") as archive:
        archive.addfile(_member(kind), io.BytesIO(b""))
    recipe(place, '[[dataset]]\nvis = "a.tar"\n')
    done = casarun("recipe.toml", "--output", "run", cwd=place)
    assert said in done.stderr
    assert done.returncode == 2
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert sorted(path.name for path in place.iterdir()) == ["a.tar", "recipe.toml", "run"]
