"""A page for each recipe that comes with casarun: the recipe itself, comments and all."""

from __future__ import annotations

from pathlib import Path

import tomli


def page(path: Path) -> str:
    """Return a recipe as a page of Markdown.

    Parameters
    ----------
    path : Path
        Of the recipe.
    """
    text = path.read_text(encoding="utf-8")
    title = tomli.loads(text).get("project", {}).get("title", path.stem)
    said = f"Its name in `extends` is `casarun:{path.stem}`."
    return f"# {title}\n\n{said}\n\n```toml\n{text}```\n"
