"""``casarun check``: one recipe or several, and where each value came from."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .. import api
from ..errors import CasarunError, ExitCode, Problem, RefusedError, dotted, printable
from ..recipe.alike import ALL_NAMED
from ..recipe.positions import at_place
from . import kinds

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
        loaded = api.open_recipe(recipe, options).loaded
        return [at_place(problem, loaded.source) for problem in loaded.warnings]
    planned = api.plan(recipe, options)
    planned.need_machine()
    return [at_place(problem, planned.reduction.loaded.source) for problem in planned.warnings]


def _as_json(problem: Problem) -> dict[str, Any]:
    """Return a problem for a program: what is wrong, where, and of whom.

    The place is a file, with line and column where one is known, or the option that gave the value.
    """
    found: dict[str, Any] = {
        "severity": problem.severity,
        "key": dotted(problem.key),
        "message": problem.message,
        "about": dict(problem.about),
        "where": problem.where,
    }
    if problem.line is not None:
        found |= {"line": problem.line, "column": problem.column}
    return found


def _check(recipe: Path, options: api.Options, *, static: bool, explained: bool) -> None:
    plan = None
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
        loaded, plan = planned.reduction.loaded, planned.plan
    if explained:
        _explain(loaded, plan.autos if plan else (), kinds.Stars(plan) if plan else str)


def _explain(
    loaded: LoadedRecipe, autos: Sequence[Auto] = (), stars: Callable[[str], str] = str
) -> None:
    """Print the keys of a recipe, and below each what casarun chose for it.

    Parameters
    ----------
    loaded : LoadedRecipe
        The recipe.
    autos : sequence of Auto
        What was chosen, where the data are known.
    stars : callable
        Takes names out of the reasons of many: `kinds.Stars`.
    """
    from ..recipe.explain import explain

    left: dict[str, list[Auto]] = {}
    for auto in autos:
        left.setdefault(auto.key, []).append(auto)
    lines: list[tuple[str, str, str]] = []
    for row in _fewer(explain(loaded)):
        lines.append((row.key, row.value or "(left out)", row.where))
        of_key = left.pop(row.plain, [])
        mine = [auto for auto in of_key if _is_of(auto, row)]
        if len(mine) < len(of_key):
            left[row.plain] = [auto for auto in of_key if not _is_of(auto, row)]
        lines += _chosen(mine, stars)
    for key, others in left.items():
        lines += [(key, "", "casarun"), *_chosen(others, stars)]
    widths = [min(40, max(len(line[column]) for line in lines)) for column in (0, 1)]
    for key, value, where in lines:
        text = f"{key:<{widths[0]}}  {value:<{widths[1]}}  {where}"
        click.echo(printable(text).replace("\n", "\\n"))


def _is_of(auto: Auto, row: Explained) -> bool:
    """Tell whether a choice was made for a key; those of an image name it in their subject."""
    if auto.key != row.plain:
        return False
    return not row.plain.startswith("image.") or auto.subject.endswith(f".{row.label}")


def _fewer(rows: Sequence[Explained]) -> Iterator[Explained]:
    """Yield rows; a default of many tables once, for all of them."""
    from ..recipe.explain import DEFAULT

    many = Counter((row.plain, row.value) for row in rows if row.label and row.where == DEFAULT)
    for row in rows:
        number = many[row.plain, row.value] if row.label and row.where == DEFAULT else 1
        if number > ALL_NAMED:
            table, _, key = row.plain.partition(".")
            yield replace(row, key=f"{table}.*.{key}", where=f"{DEFAULT} of {number:,}")
            many[row.plain, row.value] = 0
        elif number:
            yield row


def _chosen(autos: Sequence[Auto], stars: Callable[[str], str]) -> Iterator[tuple[str, str, str]]:
    from ..recipe import written

    for _, subject, value, reason in kinds.choices(autos, stars, written.value):
        yield f"  of {subject}", value, f"chosen: {reason}"
