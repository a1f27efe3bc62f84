"""``casarun view`` as far as it goes without a viewer: images, files, paths, messages."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from casarun.errors import DataError
from casarun.share import ds9, pictures, plain_paths, samp, xpa
from support.cli import casarun

STEPS = [("M31", "hi"), ("M31", "hi.b"), ("NGC 1", "hi"), ("", "smooth"), ("M31", "not made")]
MADE = (
    "M31.hi.fits", "M31.hi.mom0.fits", "M31.hi.b.fits", "NGC_1.hi.fits", "smooth.fits",
)  # fmt: skip
FOLDERS = ("M31.hi.image", "M31.hi.residual.tt0", "NGC_1.hi.image")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    for place in (".casarun", "scripts", "images"):
        (folder / place).mkdir(parents=True)
    (folder / ".casarun" / "journal.jsonl").touch()
    steps = [{"id": str(n), "target": t, "image": i} for n, (t, i) in enumerate(STEPS)]
    (folder / "scripts" / "plan.json").write_text(json.dumps({"steps": [{}, *steps]}))
    for name in MADE:
        image(folder / "images" / name)
    for name in FOLDERS:
        (folder / "images" / name).mkdir()
        (folder / "images" / name / "table.dat").touch()
    return folder


def image(path: Path) -> Path:
    fits.PrimaryHDU(np.zeros((2, 2))).writeto(path)
    return path


def found(*words: str | Path) -> list[tuple[str, str]]:
    return [(one.name, one.path.name) for one in pictures.find([str(word) for word in words])]


def test_images_of_a_run_by_their_names(run: Path) -> None:
    assert found(run, "hi") == [("M31.hi", "M31.hi.fits"), ("NGC_1.hi", "NGC_1.hi.fits")]
    assert found(run, "M31.hi") == [("M31.hi", "M31.hi.fits")]
    assert found(run, "M31.hi.mom0") == [("M31.hi.mom0", "M31.hi.mom0.fits")]
    assert found(run, "hi.residual") == [("M31.hi.residual", "M31.hi.residual.tt0")]
    assert found(run, "hi.b") == [("M31.hi.b", "M31.hi.b.fits")]
    assert found(run, "smooth") == [("smooth", "smooth.fits")]


def test_a_run_alone_means_all_its_images(run: Path, tmp_path: Path) -> None:
    everything = ["M31.hi", "M31.hi.b", "NGC_1.hi", "smooth"]
    assert [name for name, _ in found(run)] == everything
    other = image(tmp_path / "other.fits")
    assert [name for name, _ in found(run, other)] == ["other.fits", *everything]
    assert [name for name, _ in found(other, run, "hi.b", run)] == [
        "other.fits", "M31.hi.b", *everything,
    ]  # fmt: skip


def test_a_file_of_a_run_is_known_as_its_image(run: Path) -> None:
    (one,) = pictures.find([str(run / "images" / "M31.hi.b.fits")])
    assert (one.prefix, one.is_fits) == ("images/M31.hi.b", True)
    (two,) = pictures.find([str(run / "images" / "M31.hi.image")])
    assert (two.prefix, two.is_fits) == ("images/M31.hi", False)
    assert two.beside("residual") == run / "images" / "M31.hi.residual.tt0"
    assert two.beside("mask") is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nowhere",), "nowhere: no such image"),
        (("run", "h"), "h: no such image, neither as a file nor in {run}, which has hi, hi.b, not "
         "made, smooth; did you mean 'hi'?"),
        (("run", "not made"), "not made: no such image, neither as a file nor in {run}, which has "
         "hi, hi.b, not made, smooth; did you mean 'not made'?"),
        (("run/images",), "run/images: a folder that is neither a CASA image nor a run folder"),
        (("run/scripts/plan.json",), "run/scripts/plan.json: neither a FITS file nor a CASA image"),
        (("cut.fits",), "cut.fits: neither a FITS file nor a CASA image"),
    ],
)  # fmt: skip
def test_what_is_no_image(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cut.fits").write_text("SIMPLE  =                    T")  # DS9 dies of it
    with pytest.raises(DataError) as caught:
        pictures.find(words)
    assert str(caught.value) == message.format(run=run)


def test_links_out_of_a_run_are_not_followed(run: Path, tmp_path: Path) -> None:
    elsewhere = image(tmp_path / "elsewhere.fits")
    place = run / "images" / "M31.hi.fits"
    place.unlink()
    place.symlink_to(elsewhere)
    assert found(run, "M31.hi") == [("M31.hi", "M31.hi.image")]


def test_the_command_line_of_a_new_ds9() -> None:
    frames = [ds9.Frame(Path("/a.fits"), (Path("/a.reg"), Path("/b.reg"))), ds9.Frame(Path("/b"))]
    assert " ".join(ds9.command_line(frames, "casarun")) == (
        "ds9 -title casarun -fits /a.fits -scale mode 99.5 -regions load /a.reg -regions load "
        "/b.reg -zoom to fit -frame new -fits /b -scale mode 99.5 -zoom to fit -tile yes -lock "
        "frame wcs"
    )


@pytest.mark.parametrize(
    "name", ["a b", "a;b", "[exec rm]", "$x", "{", "'", '"', "a,b", "a\nb", "~", "é", "a:b", "*"]
)
def test_paths_that_are_not_plain_get_plain_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    path = tmp_path / name / f"{name}.fits"
    path.parent.mkdir()
    path.write_text("it")
    plain = plain_paths.plain(path)
    assert set(str(plain)) <= set(f"{tmp_path}_./+-abcdefghijklmnopqrstuvwxyz0123456789")
    assert plain.read_text() == "it"
    assert plain.suffix == ".fits"
    assert plain_paths.plain(path) == plain
    assert plain_paths.plain(tmp_path / "x.fits") == tmp_path / "x.fits"


def test_links_stand_in_no_folder_of_somebody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / f"casarun-view-{os.getuid()}"
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    own.mkdir()
    own.chmod(0o777)
    with pytest.raises(DataError, match="belongs to somebody else"):
        plain_paths.plain(Path("/a b"))
    own.rmdir()
    (tmp_path / "there").mkdir()
    own.symlink_to(tmp_path / "there")
    with pytest.raises(DataError, match="belongs to somebody else"):
        plain_paths.plain(Path("/a b"))


def test_without_a_viewer_it_says_what_was_looked_for(tmp_path: Path) -> None:
    image(tmp_path / "a.fits")
    (tmp_path / "bin").mkdir()
    env = {"PATH": str(tmp_path / "bin"), "HOME": str(tmp_path)}
    done = casarun("view", "a.fits", cwd=tmp_path, env=env)
    assert done.returncode == 2
    assert done.stderr == (
        "no viewer: neither ds9 nor carta is on the PATH, and no DS9 runs (not by XPA: xpaget and "
        "xpaset are not on the PATH); install SAOImage DS9 (https://ds9.si.edu; Debian: saods9 and "
        "xpa-tools) or CARTA (https://cartavis.org), or give the address of a CARTA that runs with "
        "--url\n"
    )
    asked = casarun("view", "a.fits", "--with", "ds9", cwd=tmp_path, env=env)
    assert (asked.returncode, asked.stderr) == (2, "no DS9 runs, and ds9 is not on the PATH\n")


def test_a_dry_run_shows_the_command(tmp_path: Path) -> None:
    image(tmp_path / "a.fits")
    words = ("view", "a.fits", "--with", "ds9", "--dry-run")
    done = casarun(*words, cwd=tmp_path, env={"PATH": "/nowhere", "HOME": str(tmp_path)})
    assert done.stdout == (
        f"a.fits: {tmp_path}/a.fits\n"
        f"ds9 -title casarun -fits {tmp_path}/a.fits -scale mode 99.5 -zoom to fit\n"
    )
    missing = casarun(*words, "--regions", "b.reg", cwd=tmp_path)
    assert (missing.returncode, missing.stderr) == (2, f"{tmp_path}/b.reg: no such region file\n")


def program(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!{shutil.which('sh')}\n{script}\n")
    path.chmod(0o755)


def test_a_ds9_behind_a_dialog_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleep = shutil.which("sleep")
    program(tmp_path, "xpaset", f"exec {sleep} 60")
    others = "echo 'DS9 ds9 gs 7f000001:1234 somebody'; echo 'DS9 deaf s /tmp/x.0 me'"
    program(tmp_path, "xpaget", f"{others}; echo 'DS9 own gs /tmp/x.1 me'")
    monkeypatch.setenv("USER", "me")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(xpa, "QUICK_S", 0.3)
    server = xpa.running()
    assert server is not None
    assert (server.name, server.address) == ("own", "/tmp/x.1")
    with pytest.raises(DataError, match="a dialog may be open in it"):
        server.tell("frame new")


@pytest.mark.parametrize(
    "lock",
    [
        "", "samp.hub.xmlrpc.url=file:///etc/passwd", "samp.hub.xmlrpc.url=http://127.0.0.1:9/",
        "samp.hub.xmlrpc.url=http://[", "\0\n=\n#", "samp.hub.xmlrpc.url=http://",
    ],
)  # fmt: skip
def test_a_hub_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lock: str) -> None:
    path = tmp_path / "lock file"
    path.write_text(lock)
    monkeypatch.setenv("SAMP_HUB", f"std-lockurl:{path.as_uri()}")
    assert samp.lock_file() == path
    with samp.running() as found:
        assert found is None


def test_a_ds9_that_only_says_that_it_opened_a_file() -> None:
    class Liar:
        how = "SAMP"

        def tell(self, command: str, *, patient: bool = False) -> None:
            pass

        def ask(self, command: str) -> str:
            return "yes" if command == "frame has fits" else "/other.fits"

    with pytest.raises(DataError, match=r"^DS9 did not open /a\.fits: it shows /other\.fits$"):
        ds9._tell(Liar(), [ds9.Frame(Path("/a.fits"))])


def test_a_new_ds9_that_does_not_answer_is_started_again_with_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """XPA may be switched off in the user's preferences."""
    sleep = shutil.which("sleep")
    program(tmp_path, "ds9", f'echo "$$ $*" >> {tmp_path}/started; exec {sleep} 60')
    program(tmp_path, "xpaset", "exit 1")
    program(tmp_path, "xpaget", "echo 'XPA$ERROR no xpans' >&2; exit 1")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(ds9, "_START_S", 0.5)
    monkeypatch.setattr(ds9, "_SETTLES_S", 0.3)
    assert ds9.show([ds9.Frame(Path("/a.fits"))], new=True) == "a new DS9"
    starts = [line.split(maxsplit=3) for line in (tmp_path / "started").read_text().splitlines()]
    title = f"casarun-{os.getpid()}"
    assert [words[1:3] for words in starts] == [["-title", title]] * 2
    assert [words[3:] for words in starts] == [[], ["-fits /a.fits -scale mode 99.5 -zoom to fit"]]
    assert [Path(f"/proc/{words[0]}").exists() for words in starts] == [False, True]
    os.kill(int(starts[1][0]), signal.SIGKILL)
