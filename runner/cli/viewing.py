"""``casarun view``: what was opened, on the terminal."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import click

from .. import api
from ..errors import printable
from ..share.carta import browse
from ..share.viewing import Wish


def view(images: Sequence[str], wish: Wish, *, browser: bool) -> None:
    """Open images in a viewer and say in which."""
    found = api.view(images, wish)
    for picture, file in zip(found.pictures, found.files, strict=True):
        click.echo(printable(f"{picture.name}: {file}"))
    if wish.dry_run:
        if found.where:
            click.echo(printable(found.where))
        click.echo(printable(shlex.join(found.command)))
        return
    click.echo(printable(f"opened in {found.where}"))
    if found.url:
        click.echo(found.url)
        if browser and not browse(found.url):
            click.echo("open this address in a browser: there is no screen here")
