"""``casarun check``: one recipe or several, and where each value came from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .. import api
from ..errors import CasarunError, ExitCode, Problem, RefusedError, dotted, printable

if TYPE_CHECKING:
    from ..plan import Auto
    from ..recipe.explain import Explained
    from ..recipe.load import LoadedRecipe


def check(recipes: Sequence[Path], options: api.Options, *, static: bool, explained: bool) -> int:
    """Check recipes, one after the other.

    Returns
    -------
    int
        0 if all are fine, else 2.

    Raises
    ------
    CasarunError
        Where there is only one, as any command does.
    """
    if len(recipes) == 1:
        _check(recipes[0], options, static=static, explained=explained)
        return 0
    code = ExitCode.DONE
    for recipe in recipes:
        try:
            _check(recipe, options, static=static, explained=explained)
        except CasarunError as error:
            click.echo(str(error), err=True)
            code = ExitCode.REFUSED
    return int(code)


def check_json(recipes: Sequence[Path], options: api.Options, *, static: bool) -> int:
    """Check recipes, and print what was found as JSON: each problem by itself.

    Returns
    -------
    int
        0 if all are fine, 2 if one is refused, or what else stopped the last that was not fine.
    """
    code, found = ExitCode.DONE, []
    for recipe in recipes:
        try:
            problems = _found(recipe, options, static)
        except RefusedError as error:
            problems = error.problems or (Problem(str(error)),)
            code = error.exit_code
        except CasarunError as error:
            problems, code = (Problem(str(error)),), error.exit_code
        fine = all(problem.severity == "warning" for problem in problems)
        said = [_as_json(problem) for problem in problems]
        found.append({"recipe": str(recipe), "fine": fine, "problems": said})
    click.echo(json.dumps({"checks": found}, indent=1))
    return int(code)


def _found(recipe: Path, options: api.Options, static: bool) -> Sequence[Problem]:
    """Return the warnings of a recipe that is fine.

    Raises
    ------
    CasarunError
        If it is not.
    """
    if static:
        return api.open_recipe(recipe, options).loaded.warnings
    planned = api.plan(recipe, options)
    planned.need_machine()
    return planned.warnings


def _as_json(problem: Problem) -> dict[str, Any]:
    """Return a problem for a program: what the recipe says at a key, of whom what is wrong."""
    found: dict[str, Any] = {
        "severity": problem.severity,
        "key": dotted(problem.key),
        "message": problem.message,
        "about": dict(problem.about),
    }
    if problem.line is not None:
        found |= {"line": problem.line, "column": problem.column}
    return found


def _check(recipe: Path, options: api.Options, *, static: bool, explained: bool) -> None:
    autos: Sequence[Auto] = ()
    if static:
        loaded = api.open_recipe(recipe, options).loaded
        for line in loaded.warned.splitlines():
            click.echo(line, err=True)
        number = len(loaded.recipe.dataset)
        click.echo(f"{recipe}: fine by itself ({number} dataset{'s' if number != 1 else ''})")
    else:
        from . import tables

        planned = api.plan(recipe, options)
        tables.show_check(recipe, planned)
        loaded, autos = planned.reduction.loaded, planned.plan.autos
    if explained:
        _explain(loaded, autos)


def _explain(loaded: LoadedRecipe, autos: Sequence[Auto] = ()) -> None:
    """Print the keys of a recipe, and below each what casarun chose for it.

    Parameters
    ----------
    loaded : LoadedRecipe
        The recipe.
    autos : sequence of Auto
        What was chosen, where the data are known.
    """
    from ..recipe.explain import explain

    rows = explain(loaded)
    left = list(autos)
    lines: list[tuple[str, str, str]] = []
    for row in rows:
        lines.append((row.key, row.value or "(left out)", row.where))
        for auto in [auto for auto in left if _is_of(auto, row)]:
            left.remove(auto)
            lines += _chosen(auto)
    for auto in left:
        lines += [(auto.key, "", "casarun"), *_chosen(auto)]
    widths = [min(40, max(len(line[column]) for line in lines)) for column in (0, 1)]
    for key, value, where in lines:
        text = f"{key:<{widths[0]}}  {value:<{widths[1]}}  {where}"
        click.echo(printable(text).replace("\n", "\\n"))


def _is_of(auto: Auto, row: Explained) -> bool:
    """Tell whether a choice was made for a key; those of an image name it in their subject."""
    if auto.key != row.plain:
        return False
    return not row.plain.startswith("image.") or auto.subject.endswith(f".{row.label}")


def _chosen(auto: Auto) -> Iterator[tuple[str, str, str]]:
    from ..recipe import written

    yield f"  of {auto.subject}", written.value(auto.value), f"chosen: {auto.reason}"
