"""How a recipe writes the path of a dataset."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

_GLOB: Final = re.compile(r"[*?\[]")


def as_vis(vis: str, folder: Path) -> str:
    """Return what a recipe in a folder says for `vis` to mean a path.

    A path from the recipe's folder, where the data are in it or in a folder beside it; else an
    absolute one. Nothing in it is a glob, a variable or the home folder by accident.

    Parameters
    ----------
    vis : str
        As given on the command line, from the current folder, or ``casadata:...``.
    folder : Path
        The recipe's.
    """
    if vis.startswith("casadata:"):
        return vis
    path = Path(vis).absolute()
    relative = os.path.relpath(path, folder.absolute())
    near = not relative.startswith("../../../")
    text = relative if near else str(path)
    text = _GLOB.sub(lambda found: f"[{found[0]}]", text).replace("${", "$${")
    return f"./{text}" if text.startswith(("~", "casadata:")) else text
