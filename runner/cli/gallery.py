"""``casarun recipes``: the recipes that come with casarun, and each of them to be copied."""

from __future__ import annotations

import click
import tomli

from ..errors import refuse
from ..recipe.extends import preset, presets

_SCHEMA = "#:schema "


def show(name: str) -> None:
    """List the recipes that come with casarun, or print one.

    Raises
    ------
    RefusedError
        If there is none of that name.
    """
    if not name:
        _list()
        return
    try:
        text = preset(name).read_text(encoding="utf-8")
    except ValueError as error:
        raise refuse(str(error)) from None
    # Its first line finds the schema from where the file was, not from where the copy will be.
    first, _, rest = text.partition("\n")
    click.echo(rest if first.startswith(_SCHEMA) else text, nl=False)


def _list() -> None:
    found = presets()
    width = max(map(len, found))
    for name, path in found.items():
        title = tomli.loads(path.read_text(encoding="utf-8"))["project"]["title"]
        click.echo(f"{name:{width}}  {title}")
    click.echo(
        '\ncasarun recipes NAME > my.toml copies one; extends = "casarun:NAME" begins from it'
    )
