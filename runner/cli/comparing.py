"""``casarun compare``: two runs on the terminal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console

from .. import api
from ..compare import judged
from ..compare.comparison import Comparison
from ..compare.page import has_line, row
from ..errors import ExitCode
from .plain import escape
from .tables import bare_table, screen

_STYLES = {"same": "dim", "agrees": "", "differs": "bold yellow"}
_OUTCOMES = {"identical": "bold green", "agree": "bold green", "differ": "bold yellow"}


def compare(
    a: Path,
    b: Path,
    tolerances: tuple[float, float, Sequence[str]],
    output: Path | None,
    *,
    as_json: bool,
    everything: bool,
) -> ExitCode:
    """Compare two runs and say what differs.

    Returns
    -------
    ExitCode
        ``DIFFER`` if they do not agree within the tolerances.
    """
    allowed = judged.tolerances(*tolerances)
    found, page = api.compare(a, b, allowed, output)
    if as_json:
        click.echo(json.dumps(found.as_json(), indent=1))
    else:
        _show(screen(), found, everything=everything)
        if page is not None:
            click.echo(f"page: {page}")
    return ExitCode.DIFFER if found.outcome == "differ" else ExitCode.DONE


def _show(console: Console, found: Comparison, *, everything: bool) -> None:
    for side, run in (("A", found.a), ("B", found.b)):
        console.print(f"{side}  {escape(str(run.folder.root))}", soft_wrap=True)
    for note in (*found.notes, *found.told.notes):
        console.print(escape(note), style="yellow", soft_wrap=True)
    _show_told(console, found)
    for one in found.only:
        console.print(escape(str(one)), style="yellow", soft_wrap=True)
    for text in found.unknown:
        console.print(f"not compared: {escape(text)}", style="yellow", soft_wrap=True)
    _show_numbers(console, found, everything=everything)
    console.print(f"\n{escape(found.summary())}", style=_OUTCOMES[found.outcome], soft_wrap=True)


def _show_told(console: Console, found: Comparison) -> None:
    told = found.told
    parts = (("recipe", told.recipe), ("chosen by casarun", told.autos), ("steps", told.steps),
             ("versions", told.versions), ("data", told.inputs))  # fmt: skip
    for title, differences in parts:
        if not differences:
            continue
        console.print(f"\n{title}", style="bold")
        shown = bare_table("key", "A", "B", "in")
        for one in differences:
            where = ", ".join(one.where[:3]) + (f" and {len(one.where) - 3} more"
                                                if len(one.where) > 3 else "")  # fmt: skip
            shown.add_row(*(escape(text) for text in (one.key, one.a, one.b, where)))
        console.print(shown)


def _show_numbers(console: Console, found: Comparison, *, everything: bool) -> None:
    chosen = [one for one in found.numbers if everything or has_line(one)]
    if not chosen:
        return
    console.print("\nnumbers", style="bold")
    shown = bare_table("of", "number", "A", "B", "difference", "significance", "",
                  right=("A", "B", "difference", "significance"))  # fmt: skip
    for one in chosen:
        of = row(one)
        shown.add_row(
            *(escape(of[key]) for key in ("subject", "title", "a", "b", "relative",
                                          "significance", "verdict")),
            style=_STYLES[one.verdict],
        )  # fmt: skip
    console.print(shown)
