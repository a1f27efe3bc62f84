"""``casarun init``: datasets in, a recipe out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import click

from .. import api, starter
from ..errors import refuse
from ..files import write_atomic
from ..recipe.naming import safe, stem
from ..recipe.paths import casadata_folder

DEMO = "casadata:"


def init(vis: Sequence[str], output: str, name: str, *, force: bool) -> None:
    """Write a recipe for datasets, or print it where `output` is ``-``.

    Raises
    ------
    RefusedError
        If a dataset is not there or not readable, or the recipe is there already.
    """
    paths = [_path(one) for one in vis]
    name = safe(name or stem(paths[0].name))
    target = Path(f"{name}.toml") if not output else Path(output)
    if output != "-":
        _require_free(target, force=force)
    observations = [api.info(path) for path in paths]
    folder = Path.cwd() if output == "-" else target.absolute().parent
    try:
        recipe = starter.write(observations, [starter.as_vis(one, folder) for one in vis], name)
    except ValueError as error:
        raise refuse(str(error)) from None
    if output == "-":
        click.echo(recipe.text, nl=False)
    else:
        write_atomic(target, recipe.text)
        click.echo(f"wrote {target}")
    _say_unsure(recipe.unsure)
    if output != "-":
        click.echo(f"next: casarun check {_shell(target)}")


def _path(vis: str) -> Path:
    """Return where a dataset is.

    Raises
    ------
    RefusedError
        If it is not there.
    """
    try:
        path = casadata_folder() / vis.removeprefix(DEMO) if vis.startswith(DEMO) else Path(vis)
    except ModuleNotFoundError:
        raise refuse(f"{vis}: the package casadata is not installed") from None
    if not path.exists():
        raise refuse(f"{vis}: no such file or folder")
    return path


def _require_free(target: Path, *, force: bool) -> None:
    """Refuse to write where that cannot be, or would overwrite something."""
    if target.is_dir():
        raise refuse(f"{target} is a folder; name a file with -o")
    if not target.absolute().parent.is_dir():
        raise refuse(f"{target}: there is no folder {target.absolute().parent}")
    if os.path.lexists(target) and not force:
        raise refuse(f"{target} is there already; overwrite it with --force, or choose another -o")


def _say_unsure(unsure: Sequence[str]) -> None:
    """Say what to look at first; on stderr, for stdout may be the recipe."""
    if not unsure:
        return
    click.echo("unsure of (marked UNSURE in the recipe):", err=True)
    for text in unsure:
        click.echo(f"  - {text}", err=True)


def _shell(path: Path) -> str:
    import shlex

    return shlex.quote(str(path))
