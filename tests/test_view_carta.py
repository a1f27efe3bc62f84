"""``casarun view --with carta``: files, command and requests as CARTA's documentation has them."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from casarun.errors import DataError
from casarun.share import carta, carta_regions
from casarun.share.carta import Shown
from support import viewed_runs
from support.cli import casarun

TOKEN = "E1A26527-8226-4FD5-8369-2FCD00BACEE0"


class Server(HTTPServer):
    """The part of a CARTA server that takes workspaces (carta-backend, HttpServer)."""

    refuses = 0

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.workspaces: dict[str, Any] = {}
        self.url = f"http://127.0.0.1:{self.server_port}/?token={TOKEN}"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_PUT(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        right = self.headers["Authorization"] == f"Bearer {TOKEN}"
        code = self.server.refuses or (200 if right else 403)
        if self.path != "/api/database/workspace":
            code = 404
        if code == 200:
            self.server.workspaces[body["workspaceName"]] = body["workspace"]
        self.send_response(code)
        self.end_headers()
        self.wfile.write(b'{"success":true}' if code == 200 else b"")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()


def image(path: Path, cell: float = 0.01) -> Path:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---SIN", "DEC--SIN"], viewed_runs.CENTRE_DEG
    wcs.wcs.cdelt, wcs.wcs.crpix = (-cell, cell), (11, 13)
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.PrimaryHDU(np.ones((30, 20)), wcs.to_header()).writeto(path)
    return path


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Give a run of one cube with two moments, all of them FITS files."""
    folder = tmp_path / "run"
    for place in (".casarun", "scripts"):
        (folder / place).mkdir(parents=True)
    (folder / ".casarun" / "journal.jsonl").touch()
    steps = {"steps": [{"id": "1", "target": "M31", "image": "hi"}]}
    (folder / "scripts" / "plan.json").write_text(json.dumps(steps))
    for name in ("M31.hi", "M31.hi.mom0", "M31.hi.mom1", "M31.hi.pbcor"):
        image(folder / "images" / f"{name}.fits")
    return folder


def view(folder: Path, *words: str | Path, **env: str) -> Any:
    return casarun(
        "view", *words, "--with", "carta", "--no-browser", cwd=folder,
        env={"PATH": "/nowhere", "HOME": str(folder), "TMPDIR": str(folder), **env},
    )  # fmt: skip


def test_image_moments_and_regions_together(run: Path, tmp_path: Path, server: Server) -> None:
    (tmp_path / "own.reg").write_text("image\ncircle(5,6,2) # text={core}\n")
    done = view(tmp_path, run, "hi", "--regions", "own.reg", "--url", server.url)
    assert done.returncode == 0, done.stderr
    last = done.stdout.splitlines()[-2:]
    assert last == ["opened in CARTA", f"{server.url}&workspace=casarun-run"]
    made = server.workspaces["casarun-run"]
    names = ["M31.hi.fits", "M31.hi.mom0.fits", "M31.hi.mom1.fits"]
    assert [file["filename"] for file in made["files"]] == names
    folder = str(run / "images").removeprefix("/")
    assert {file["directory"] for file in made["files"]} == {folder}
    assert [file["id"] for file in made["files"]] == [0, 1, 2]
    assert [file.get("references") for file in made["files"]] == [
        None, {"spatial": 0}, {"spatial": 0},
    ]  # fmt: skip
    assert made["references"] == {"spatial": 0}
    (region,) = made["files"][0]["regionsSet"]["regions"]
    assert (region["id"], region["type"], region["name"]) == (1, 4, "core")
    assert region["points"] == [{"x": 4, "y": 5}, {"x": 2, "y": 2}]
    # What the schema of workspaces requires (carta-frontend, workspace_schema_1.json).
    assert {"workspaceVersion", "frontendVersion", "files"} <= made.keys()
    assert {"id", "points", "rotation", "type"} <= region.keys()
    written = json.loads(next(run.rglob("casarun-run.carta.json")).read_text())
    assert {**written, "date": 0} == {**made, "date": 0}


def test_a_server_is_started_as_its_manual_says(run: Path, tmp_path: Path, server: Server) -> None:
    place = tmp_path / "bin"
    place.mkdir()
    program(
        place / "carta",
        f'echo "$@" > {tmp_path}/told; echo "[x] [info] Listening on port 3002"\n'
        f'echo "[x] [info] CARTA is accessible at {server.url}"; exec {shutil.which("sleep")} 3',
    )
    done = view(tmp_path, run, "hi", PATH=str(place))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"{server.url}&workspace=casarun-run"
    assert (tmp_path / "told").read_text().split() == carta.command_line()[1:]
    assert carta.command_line() == [
        "carta", "--no_browser", "--host", "localhost", "--top_level_folder", "/",
        "--initial_timeout", "3600", "--exit_timeout", "3600",
    ]  # fmt: skip


def program(path: Path, script: str) -> None:
    path.write_text(f"#!{shutil.which('sh')}\n{script}\n")
    path.chmod(0o755)


def test_a_carta_that_ends_at_once(run: Path, tmp_path: Path) -> None:
    place = tmp_path / "bin"
    place.mkdir()
    program(place / "carta", "echo no port; exit 3")
    done = view(tmp_path, run, "hi", PATH=str(place))
    log = run / ".casarun" / "view" / "carta.log"
    assert done.returncode == 2
    assert done.stderr == f"carta ended with exit code 3; it said: {log}\n"
    assert log.read_text() == "no port\n"


def test_without_a_carta(run: Path, tmp_path: Path) -> None:
    done = view(tmp_path, run, "hi")
    assert (done.returncode, done.stderr) == (
        2, "carta is not on the PATH; give the address of one that runs with --url\n",
    )  # fmt: skip
    dry = view(tmp_path, run, "hi", "--dry-run")
    assert dry.stdout.splitlines()[-2:] == [
        f"the workspace {run}/.casarun/view/casarun-run.carta.json",
        " ".join(carta.command_line()),
    ]


def test_a_server_that_takes_no_workspace_gets_the_images(
    run: Path, tmp_path: Path, server: Server
) -> None:
    server.refuses = 400
    done = view(tmp_path, run, "hi", "--url", server.url)
    assert done.returncode == 0, done.stderr
    note, url = done.stdout.splitlines()[-2:]
    assert note == ("opened in CARTA, without regions: the server took no workspace (HTTP 400)")
    query = parse_qs(urlsplit(url).query)
    assert query == {
        "token": [TOKEN],
        "folder": [str(run / "images")],
        "files": ["M31.hi.fits,M31.hi.mom0.fits,M31.hi.mom1.fits"],
    }


NASTY = 'a,b&workspace=x"; alert(1) #%20 ${x}.fits'


def test_hdf5_files_for_large_cubes(run: Path, tmp_path: Path, server: Server) -> None:
    (tmp_path / "own.reg").write_text("image\ncircle(5,6,2)\n")
    words = (run, "hi", "--hdf5", "--regions", "own.reg", "--url", server.url)
    assert view(tmp_path, *words).returncode == 0
    files = server.workspaces["casarun-run"]["files"]
    assert {Path(file["filename"]).suffix for file in files} == {".hdf5"}
    assert {file["directory"] for file in files} == {f"{run}/.casarun/view".removeprefix("/")}
    assert len(files[0]["regionsSet"]["regions"]) == 1


def test_names_are_data(tmp_path: Path, server: Server) -> None:
    nasty = image(tmp_path / "d, e [f]" / NASTY)
    done = view(tmp_path, nasty, "--url", server.url)
    assert done.returncode == 0, done.stderr
    url = done.stdout.splitlines()[-1]
    (name,) = server.workspaces
    assert url == f"{server.url}&workspace={name}"
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_.-+ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    (file,) = server.workspaces[name]["files"]
    assert Path("/", file["directory"], file["filename"]) == nasty
    server.refuses = 403
    listed = view(tmp_path, nasty, "--url", server.url).stdout.splitlines()[-1]
    query = parse_qs(urlsplit(listed).query)
    (folder,), (only,) = query["folder"], query["files"]
    assert "," not in only
    assert Path(folder, only).resolve() == nasty


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("file:///etc/passwd", "file:///etc/passwd: no address of a CARTA; it begins with http:// "
         "or https://"),
        ("http://127.0.0.1:1/?token=x", "http://127.0.0.1:1: no CARTA answers there: "),
    ],
)  # fmt: skip
def test_addresses_of_no_carta(run: Path, tmp_path: Path, url: str, message: str) -> None:
    done = view(tmp_path, run, "hi", "--url", url)
    assert done.returncode == 2
    assert done.stderr.startswith(message)


def test_images_below_another_top_level_folder(run: Path, tmp_path: Path) -> None:
    own = run / "images" / "M31.hi.fits"
    made = carta.workspace([Shown(own, own)], tmp_path, "w")
    assert made["files"][0]["directory"] == "run/images"
    with pytest.raises(DataError, match=r"is not below /elsewhere, the top-level folder"):
        carta.workspace([Shown(own, own)], Path("/elsewhere"), "w")


def test_regions_in_pixels_of_the_first_image(tmp_path: Path) -> None:
    first = image(tmp_path / "a.fits")
    text = tmp_path / "a.reg"
    text.write_text(
        f"fk5\npoint({viewed_runs.CENTRE_DEG[0]},{viewed_runs.CENTRE_DEG[1]})\n"
        f'annulus({viewed_runs.CENTRE_DEG[0]},{viewed_runs.CENTRE_DEG[1]},36",72")\n'
        "image\nbox(5,6,4,2,90)\n-ellipse(5,6,3,1,0)\npolygon(1,1,3,1,3,3) # tag={clean_mask}\n"
    )
    same = tmp_path / "b.reg"
    same.write_text(text.read_text())
    point, inner, outer, box, ellipse, polygon = carta_regions.regions_of(first, [text, same])
    assert [one["id"] for one in (point, inner, outer, box, ellipse, polygon)] == [*range(1, 7)]

    def points(one: dict[str, Any]) -> np.ndarray[Any, Any]:
        return np.array([[point["x"], point["y"]] for point in one["points"]])

    assert (point["type"], inner["type"], outer["type"], box["type"]) == (0, 4, 4, 6)
    assert points(point) == pytest.approx(np.array([[10, 12]]), abs=1e-3)
    assert points(inner)[1] == pytest.approx([1, 1], abs=1e-3)
    assert points(outer)[1] == pytest.approx([2, 2], abs=1e-3)
    assert sorted(map(tuple, points(box).tolist())) == [(3, 3), (3, 7), (5, 3), (5, 7)]
    assert np.hypot(*((points(ellipse) - [4, 5]) / [3, 1]).T) == pytest.approx(np.ones(60), 1e-5)
    assert ellipse["dashes"] == [4]
    assert points(polygon).tolist() == [[0, 0], [2, 0], [2, 2]]
    assert (polygon["name"], polygon["color"], box["color"]) == (
        "clean_mask", "#00FFFF", "#FF4040",
    )  # fmt: skip


def test_a_region_file_that_cannot_be_used(tmp_path: Path) -> None:
    text = tmp_path / "a.reg"
    text.write_text("panda(1,2)\n")
    with pytest.raises(DataError, match=r"^a\.reg: line 1: 'panda' cannot be used"):
        carta_regions.regions_of(image(tmp_path / "a.fits"), [text])


@pytest.mark.casa
def test_casarun_s_own_regions(tmp_path: Path, server: Server) -> None:
    run = viewed_runs.build(tmp_path / "run")
    done = view(tmp_path, run, "hi", "--url", server.url)
    assert done.returncode == 0, done.stderr
    (file,) = server.workspaces["casarun-run"]["files"]
    regions = file["regionsSet"]["regions"]
    assert [region["name"] for region in regions] == ["clean_mask"] * 4 + ["primary_beam", "1"]
    for region in regions[:4]:
        for point in region["points"]:
            assert (point["x"] % 1, point["y"] % 1) == pytest.approx((0.5, 0.5), abs=1e-3)
