"""``casarun fmt``: recipes in casarun's style."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from ..errors import ExitCode, Problem, RefusedError, printable
from ..files import write_atomic
from ..recipe.format import formatted
from ..recipe.positions import Source, refused
from ..recipe.reading import parse, read


def fmt(recipes: Sequence[Path], *, check: bool) -> int:
    """Format recipes, or say which would be changed.

    Returns
    -------
    int
        0; with `check` 1 if one would be changed; 2 if one cannot be read.
    """
    code = ExitCode.DONE
    for recipe in recipes:
        try:
            text = read(recipe)
            new = _formatted(text, str(recipe))
        except RefusedError as error:
            click.echo(str(error), err=True)
            code = ExitCode.REFUSED
            continue
        if new == _as_it_is(recipe):
            continue
        click.echo(printable(f"{recipe}: {'would be formatted' if check else 'formatted'}"))
        if check:
            code = max(code, ExitCode.STEP_FAILED)
        else:
            # A link stays one: the file behind it is written.
            target = recipe.resolve()
            mode = target.stat().st_mode
            write_atomic(target, new)
            target.chmod(mode)
    return int(code)


def _formatted(text: str, name: str) -> str:
    """Return a recipe's text in casarun's style.

    Raises
    ------
    RefusedError
        If it is no TOML, or not to be formatted.
    """
    source = Source(text, name)
    parse(source)
    try:
        return formatted(text)
    except ValueError as error:
        raise refused([Problem(str(error))], source) from None


def _as_it_is(recipe: Path) -> str:
    """Return a file's text with the marks that formatting takes away."""
    return recipe.read_bytes().decode("utf-8")
