"""``casarun task``: CASA's tasks, and the page of one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from ..casa.task_checks import when
from ..casa.task_paths import roles
from ..casa.task_schema import schema
from ..casa.tasks import ParameterSpec, TaskSpec, task, task_names

_WIDE = 100
"""Width of a page that does not go to a terminal."""

_GROUPS = (
    "import/export",
    "information",
    "flagging",
    "calibration",
    "manipulation",
    "imaging",
    "analysis",
    "visualization",
    "simulation",
    "single dish",
)
"""CASA's categories in the order of a reduction; others come after them."""

_ROLES = {
    "reads": "reads this",
    "writes": "makes this new: below the run folder",
    "updates": "changes this in place",
}


def show(name: str, *, as_schema: bool = False) -> None:
    """Print the list of CASA's tasks, the page of one, or its JSON Schema.

    Parameters
    ----------
    name : str
        The task; empty for the list.
    as_schema : bool
        Print the JSON Schema of its parameters instead of the page.

    Raises
    ------
    RefusedError
        If the installed CASA has no such task.
    """
    if name and as_schema:
        click.echo(json.dumps(schema(name), indent=1))
    elif name:
        _page(_console(), task(name))
    elif as_schema:
        click.echo(json.dumps({known: schema(known) for known in task_names()}, indent=1))
    else:
        _list(_console())


def _console() -> Console:
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _WIDE
    return console


def _list(console: Console) -> None:
    """Print all tasks in groups, each with its line."""
    groups: dict[str, list[TaskSpec]] = {}
    for name in task_names():
        spec = task(name)
        groups.setdefault((*spec.categories, "other")[0] or "other", []).append(spec)
    width = max(len(name) for name in task_names())
    for group in sorted(groups, key=lambda g: _GROUPS.index(g) if g in _GROUPS else len(_GROUPS)):
        console.print(f"\n{group}", style="bold", markup=False)
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(min_width=width, no_wrap=True)
        table.add_column()
        for spec in groups[group]:
            table.add_row(escape(spec.name), escape(spec.shortdescription))
        console.print(Padding(table, (0, 0, 0, 2)))
    console.print("\ncasarun task NAME shows the parameters of one.", style="dim")


def _page(console: Console, spec: TaskSpec) -> None:
    """Print a task's parameters, subparameters below the parameter that they stand under."""
    console.print(f"{spec.name}: {spec.shortdescription}", style="bold", markup=False)
    if any(spec.categories):
        console.print(f"{', '.join(spec.categories)}\n", style="dim", markup=False)
    children: dict[str, list[ParameterSpec]] = {}
    for parameter in spec.parameters:
        children.setdefault(parameter.subparameter_of, []).append(parameter)
    role = roles(spec.name)
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("parameter", no_wrap=True)
    for column in ("type", "default", "meaning"):
        table.add_column(column, overflow="fold")
    _rows(table, children, role, "", 0)
    console.print(table)
    _as_step(console, spec, role)


def _rows(
    table: Table,
    children: Mapping[str, Sequence[ParameterSpec]],
    role: Mapping[str, str],
    parent: str,
    depth: int,
) -> None:
    """Add the rows of the parameters below one."""
    for parameter in children.get(parent, ()):
        table.add_row(
            f"{'  ' * depth}{escape(parameter.name)}",
            escape(" or ".join("any" if kind == "variant" else kind for kind in parameter.types)),
            escape(_shown(parameter.default)),
            escape(_meaning(parameter, role.get(parameter.name, ""))),
            style="dim" if depth else "",
        )
        if parameter.name and depth < 4:
            _rows(table, children, role, parameter.name, depth + 1)


def _meaning(parameter: ParameterSpec, role: str) -> str:
    """Return what a page says of a parameter besides its type and default."""
    words = [parameter.description.rstrip(".")]
    if parameter.allowed:
        words.append(f"One of {', '.join(_shown(value) for value in parameter.allowed)}")
    limits = [
        f"{word} {limit:g}"
        for word, limit in (("at least", parameter.minimum), ("at most", parameter.maximum))
        if limit is not None
    ]
    if limits:
        words.append(" and ".join(limits).capitalize())
    if parameter.conditions:
        words.append(f"Counts with {when(parameter.conditions)}")
    if role:
        words.append(f"A step {_ROLES[role]}")
    return ". ".join(word for word in words if word) + "."


def _shown(value: Any) -> str:
    """Write a value as a recipe would."""
    return json.dumps(value)


def _as_step(console: Console, spec: TaskSpec, role: Mapping[str, str]) -> None:
    """Print how the task becomes a step of a recipe."""
    of_images = role.get("imagename") in ("reads", "updates")
    given = {"vis": "{vis}", "imagename": "{image}" if of_images else "..."}
    own = [
        f'{name} = "{given.get(name, "...")}"'
        for name in role
        if spec.by_name[name].must_exist or role[name] == "writes"
        if not spec.by_name[name].conditions
    ]
    console.print("\nas a step of a recipe:", style="bold")
    place = ['after  = "image"', 'per    = "image"'] if of_images else ['after  = "split"']
    lines = ["[[step]]", f'task   = "{spec.name}"', *place]
    if own:
        lines.append(f"params = {{ {', '.join(own)} }}")
    console.print("\n".join(f"  {line}" for line in lines), markup=False, soft_wrap=True)
