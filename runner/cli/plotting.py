"""``casarun plot``: words on the command line to a request."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import click

from .. import api
from ..api.plotting import Request
from ..casa.visibility_average import Averaging
from ..quantities import parse

SELECTIONS = ("field", "spw", "scan", "antenna", "correlation", "timerange", "uvrange", "intent")


def plot(
    vis: Path, out: Path | None, words: Mapping[str, str], ys: tuple[str, ...], *, scalar: bool
) -> None:
    """Draw a plot and say where it is.

    Parameters
    ----------
    words : mapping
        Options by name, as they were written; empty where they were not.
    ys : tuple of str
        The vertical axes.
    scalar : bool
        Average amplitudes instead of vectors.
    """
    wanted = Request(
        x=words["x"], y=ys, selection={name: words[name] for name in SELECTIONS},
        column=words["column"], colour=words["colour"], page=words["page"],
        averaging=_averaging(words["avgtime"], words["avgchannel"], scalar=scalar),
        x_range=_range("x-range", words["x_range"]), y_range=_range("y-range", words["y_range"]),
    )  # fmt: skip
    drawn = api.plot(vis, wanted, out)
    for path in drawn.paths:
        click.echo(path)
    click.echo(f"{drawn.number} {drawn.what}", err=True)


def _averaging(time: str, channels: str, *, scalar: bool) -> Averaging | None:
    if not time and not channels:
        if scalar:
            raise click.BadParameter("nothing is averaged: give --avgtime or --avgchannel",
                                     param_hint="--scalar")  # fmt: skip
        return None
    length = 0.0
    if time:
        try:
            length = float("inf") if time == "scan" else parse(time, "duration")
        except ValueError as error:
            raise click.BadParameter(f"{error}, or 'scan'", param_hint="--avgtime") from None
    number = 1
    if channels:
        if channels != "all" and not re.fullmatch(r"[1-9]\d{0,6}", channels, re.ASCII):
            raise click.BadParameter(f"'{channels}' is no number of channels, nor 'all'",
                                     param_hint="--avgchannel")  # fmt: skip
        number = 0 if channels == "all" else int(channels)
    return Averaging(number, length, scalar=scalar)


_NUMBER = r"[+-]?(?:\d{1,20}(?:\.\d{0,20})?|\.\d{1,20})(?:[eE][+-]?\d{1,3})?"


def _range(option: str, text: str) -> tuple[float, float] | None:
    if not text:
        return None
    found = re.fullmatch(rf"({_NUMBER})~({_NUMBER})", text, re.ASCII)
    if found is None or not float(found[1]) < float(found[2]):
        raise click.BadParameter(f"'{text}' is no range like 0~1.5", param_hint=f"--{option}")
    return float(found[1]), float(found[2])
