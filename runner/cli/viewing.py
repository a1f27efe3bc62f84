"""``casarun view``: what was opened, on the terminal."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import click

from .. import api
from ..errors import printable


def view(
    images: Sequence[str],
    viewer: str,
    regions: Sequence[Path],
    *,
    own_regions: bool,
    new: bool,
    dry_run: bool,
) -> None:
    """Open images in a viewer and say in which."""
    found = api.view(
        images, viewer, regions=regions, own_regions=own_regions, new=new, dry_run=dry_run
    )
    for picture, file in zip(found.pictures, found.files, strict=True):
        click.echo(printable(f"{picture.name}: {file}"))
    click.echo(printable(shlex.join(found.command) if dry_run else f"opened in {found.where}"))
