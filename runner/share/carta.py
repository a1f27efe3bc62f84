"""Images in CARTA: a workspace with images and regions, given to a server that runs or is started.

Sources: the CARTA manual 4.0, "CARTA initialization flags", and manual 5.0, "Workspace"; CARTA's
JSON Schema of workspaces, version 1; the paths of its HTTP server (carta-backend,
``PUT /api/database/workspace``, with the token as a bearer's) and the parameters of its page's
address (carta-frontend 6.0.0: ``token``, ``workspace``, ``folder``, ``files``).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, quote, urlsplit, urlunsplit

from ..errors import DataError
from .carta_regions import regions_of
from .plain_paths import plain

_ACCESSIBLE: Final = re.compile(r"CARTA is accessible at (http\S+)")
_START_S: Final = 30.0
_QUICK_S: Final = 10.0
_IDLE_S: Final = "3600"
"""So long a server that casarun has started stays without anybody looking."""


@dataclass(frozen=True)
class Shown:
    """An image for CARTA: its file, the FITS file of that, DS9 region files to draw on it."""

    file: Path
    fits: Path
    regions: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Opened:
    """Where the images are: the address of the page, and what did not work."""

    url: str
    note: str = ""


def installed() -> bool:
    """Say whether CARTA is on the PATH."""
    return shutil.which("carta") is not None


def command_line() -> list[str]:
    """Return the command that starts a CARTA server for this machine alone."""
    return [
        "carta", "--no_browser", "--host", "localhost", "--top_level_folder", "/",
        "--initial_timeout", _IDLE_S, "--exit_timeout", _IDLE_S,
    ]  # fmt: skip


def workspace(images: Sequence[Shown], top: Path, name: str) -> dict[str, Any]:
    """Return a workspace: images matched on the sky, with the regions of all.

    CARTA keeps one set of regions for images that are matched, in pixels of the one that the
    others are matched to: the first.

    Parameters
    ----------
    images : sequence of Shown
        The images.
    top : Path
        The server's top-level folder.
    name : str
        What the workspace is called.

    Raises
    ------
    DataError
        If an image is not below that folder.
    """
    files = [{"id": number, **_place(image.file, top), "references": {"spatial": 0}}
             for number, image in enumerate(images)]  # fmt: skip
    files[0] = {key: value for key, value in files[0].items() if key != "references"}
    regions = regions_of(images[0].fits, [path for image in images for path in image.regions])
    if regions:
        files[0]["regionsSet"] = {"regions": regions}
    return {
        "workspaceVersion": 0,
        "frontendVersion": "4.0.0",
        "name": name,
        "description": "Written by casarun",
        "date": round(time.time()),
        "files": files,
        "references": {"spatial": 0},
        "selectedFile": 0,
    }


def _place(file: Path, top: Path) -> dict[str, Any]:
    """Return directory, from the top-level folder, and name of a file."""
    if not file.is_relative_to(top):
        raise DataError(f"{file} is not below {top}, the top-level folder of that CARTA")
    return {"directory": file.relative_to(top).parent.as_posix(), "filename": file.name}


def show(
    images: Sequence[Shown], name: str, log: Path, *, url: str = "", top: Path = Path("/")
) -> Opened:
    """Give images to CARTA.

    Parameters
    ----------
    images : sequence of Shown
        The images.
    name : str
        What the workspace is called; plain.
    log : Path
        Where a server that is started writes its log.
    url : str
        The address of a server that runs, with its token; by default one is started.
    top : Path
        The top-level folder of the server that runs.

    Raises
    ------
    DataError
        If there is no server.
    """
    made = workspace(images, top, name)
    address = url or start(log)
    refused = _put(address, name, made)
    if not refused:
        return Opened(_with(address, f"workspace={quote(name, safe='')}"))
    folders, files = zip(*((str(one.parent), one.name) for one in _listable(images)), strict=True)
    if len(set(folders)) > 1:
        files = tuple(f"{folder}/{file}" for folder, file in zip(folders, files, strict=True))
        folders = ("",)
    query = f"folder={quote(folders[0])}&files={quote(','.join(files))}"
    return Opened(
        _with(address, query), f"without regions: the server took no workspace ({refused})"
    )


def _listable(images: Sequence[Shown]) -> list[Path]:
    """Return paths that can stand in a list with commas."""
    return [plain(one.file) for one in images]


def start(log: Path) -> str:
    """Start a server that outlives this process; return its address, with the token.

    Raises
    ------
    DataError
        If CARTA is not there, or does not say its address.
    """
    if not installed():
        raise DataError("carta is not on the PATH; give the address of one that runs with --url")
    with log.open("wb") as told:
        process = subprocess.Popen(  # noqa: S603
            command_line(), stdin=subprocess.DEVNULL, stdout=told, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
    end = time.monotonic() + _START_S
    while time.monotonic() < end:
        found = _ACCESSIBLE.search(log.read_text("utf-8", "replace"))
        if found:
            return found[1]
        if process.poll() is not None:
            raise DataError(f"carta ended with exit code {process.returncode}; it said: {log}")
        time.sleep(0.1)
    process.terminate()
    raise DataError(f"carta has not said its address within {_START_S:.0f} s; it said: {log}")


def _put(address: str, name: str, made: dict[str, Any]) -> str:
    """Give a server a workspace; return why it did not take it, or nothing."""
    url = urlsplit(address)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise DataError(f"{address}: no address of a CARTA; it begins with http:// or https://")
    token = parse_qs(url.query).get("token", [""])[0]
    path = f"{url.path.rstrip('/')}/api/database/workspace"
    request = urllib.request.Request(  # noqa: S310
        urlunsplit((url.scheme, url.netloc, path, "", "")),
        data=json.dumps({"workspaceName": name, "workspace": made}).encode(),
        headers={"Content-Type": "application/json", "Authorization": f"Bearer {token}"},
        method="PUT",
    )
    try:
        with urllib.request.urlopen(request, timeout=_QUICK_S) as answer:  # noqa: S310
            said = json.loads(answer.read(1_000_000) or b"{}")
    except urllib.error.HTTPError as error:
        return f"HTTP {error.code}"
    except (OSError, ValueError) as error:
        raise DataError(f"{url.scheme}://{url.netloc}: no CARTA answers there: {error}") from None
    return "" if isinstance(said, dict) and said.get("success") else "it does not say success"


def _with(address: str, more: str) -> str:
    """Return an address with more parameters."""
    url = urlsplit(address)
    return urlunsplit(url._replace(query=f"{url.query}&{more}" if url.query else more))


def browse(url: str) -> bool:
    """Open an address in the user's browser, where there is a screen; say whether."""
    if not any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")):
        return False
    import webbrowser

    return webbrowser.open(url)
