"""The viewers of a report: their scripts, brought into the run folder once for all its pages.

A page holds one small script, which its policy names by hash. It loads the others, when a
viewer is opened: no script but casarun's can run.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from functools import cache
from importlib import resources
from typing import Final

from markupsafe import Markup

from ..files import write_atomic
from ..folder import RunFolder
from ..syncing import sync_trees

PARTS: Final = (
    "uPlot.js",
    "uPlot.LICENSE",
    "page.js",
    "sky.js",
    "pixels.js",
    "image.js",
    "points.js",
)
"""What lies in ``qa/viewer/``."""


def template_text(name: str) -> str:
    """Return the text of one of casarun's templates."""
    return (resources.files("casarun") / "templates" / name).read_text(encoding="utf-8")


@cache
def script(wanted: bool) -> dict[str, str]:
    """Return the script that loads viewers, and the hash by which a page's policy names it.

    Parameters
    ----------
    wanted : bool
        Whether the page has viewers; one without has no script.
    """
    if not wanted:
        return {"script": "", "hash": ""}
    text = template_text("viewer/loader.js")
    digest = b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return {"script": Markup(text), "hash": digest}  # noqa: S704 (casarun's own file)


def bring(folder: RunFolder) -> None:
    """Write the viewers into a run folder, where they are not there already."""
    place, written = folder.report.parent / "viewer", False
    for name in PARTS:
        text, path = template_text(f"viewer/{name}"), place / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_atomic(path, text, durable=False)
            written = True
    if written:
        sync_trees((place,))
