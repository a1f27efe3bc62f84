"""Pages that are made when the site is built: from click, schemas, recipes, and docstrings.

mkdocs calls `on_config` and `on_files`. Nothing is written to docs/: what the program itself says
about its commands, files and functions cannot fall behind it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import command_line
import json_files
import messages
import modules
import recipe_pages

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).parent.parent.parent
RECIPES = sorted((ROOT / "recipes").glob("*.toml"))


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the recipes' pages into the navigation, below the gallery."""
    gallery = next(part["Gallery"] for part in config.nav if "Gallery" in part)
    gallery += [{recipe.stem: f"recipes/{recipe.stem}.md"} for recipe in RECIPES]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made to those that are written."""
    from mkdocs.structure.files import File

    for name, text in pages():
        files.append(File.generated(config, name, content=text))
    return files


def pages() -> Iterator[tuple[str, str]]:
    """Yield the path below docs/ and the Markdown of each page."""
    yield "reference/cli.md", command_line.page()
    yield "reference/messages.md", messages.page()
    for name in ("metrics", "plan", "compare", "dashboard"):
        yield f"reference/{name}.md", json_files.page(ROOT / "schemas" / f"{name}.schema.json")
    yield from modules.pages()
    for recipe in RECIPES:
        yield f"recipes/{recipe.stem}.md", recipe_pages.page(recipe)
