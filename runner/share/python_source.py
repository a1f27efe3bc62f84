"""Python source made of data: names and values come from recipes and observations.

No text of theirs is written but as a literal of ASCII characters, or in a comment in which nothing
can end the line: a script does what the plan says, whatever the names are.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from keyword import iskeyword
from pathlib import PurePosixPath
from typing import Any, Final

from ..errors import DataError

WIDTH: Final = 100
"""Characters of a line, where it can be broken."""

_NO_NAME: Final = re.compile(r"[^A-Z0-9]+")


@dataclass(frozen=True)
class Expression:
    """Source text that stands for a value: the name of a variable, or a call."""

    text: str


Variables = Mapping[str, str]
"""Names of variables by the text that they hold."""


def variables(paths: Iterable[str]) -> dict[str, str]:
    """Name a variable for each path after its file: ``NGC5921_FITS``.

    Examples
    --------
    >>> variables(["/a/x.ms", "/b/x.ms", "/c/3c.fits"])
    {'/a/x.ms': 'X_MS', '/b/x.ms': 'X_MS_2', '/c/3c.fits': 'INPUT_3C_FITS'}
    """
    found: dict[str, str] = {}
    for path in paths:
        name = _NO_NAME.sub("_", PurePosixPath(path).name.upper()).strip("_")
        if not name[:1].isalpha():
            name = f"INPUT_{name}".rstrip("_")
        number, unique = 1, name
        while unique in found.values():
            number += 1
            unique = f"{name}_{number}"
        found[path] = unique
    return found


def literal(value: Any, names: Variables = {}) -> str:  # noqa: B006 - it is only read
    """Write a value as Python source.

    Parameters
    ----------
    value : object
        What JSON can hold, tuples, and `Expression`.
    names : mapping
        Variables that stand for texts.

    Examples
    --------
    >>> literal({"vis": "/a/x.ms", "minsnr": 3.0}, {"/a/x.ms": "X_MS"})
    "{'vis': X_MS, 'minsnr': 3.0}"
    """
    if isinstance(value, Expression):
        return value.text
    if isinstance(value, str):
        return names[value] if value in names else quoted(value)
    if isinstance(value, Mapping):
        each = (f"{quoted(str(k))}: {literal(v, names)}" for k, v in value.items())
        return f"{{{', '.join(each)}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(literal(item, names) for item in value)}]"
    return ascii(value)


def quoted(text: str) -> str:
    """Write a text as a literal of ASCII characters, in double quotes where that needs no escape.

    Examples
    --------
    >>> print(quoted("0:6~56"), quoted('a"b'), quoted("mode='manual'"))
    "0:6~56" 'a"b' "mode='manual'"
    """
    plain = ascii(text)
    if '"' in plain or "\\" in plain:
        return plain
    return f'"{plain[1:-1]}"'


def call(function: str, params: Mapping[str, Any], names: Variables = {}) -> list[str]:  # noqa: B006
    """Return the lines of a call by keywords; where one is no name, of a dictionary's.

    Parameters
    ----------
    function : str
        Its name.
    params : mapping
        Its arguments.
    names : mapping
        Variables that stand for texts.
    """
    if not all(key.isidentifier() and not iskeyword(key) for key in params):
        return [f"{function}(**{literal(params, names)})"]
    return filled(function, [f"{key}={literal(value, names)}" for key, value in params.items()])


def argument(name: str, value: Any, names: Variables = {}) -> str:  # noqa: B006
    """Write an argument by keyword.

    Raises
    ------
    DataError
        If the keyword is none: names come from records of a run, which may be someone else's.
    """
    if not name.isidentifier() or iskeyword(name):
        raise DataError(f"{name!r} is no parameter of a task: a record in logs/ was edited")
    return f"{name}={literal(value, names)}"


def from_run(path: str) -> list[str]:
    """Return the line that copies what only a run has, from its folder."""
    return [f"shutil.copytree(os.path.join(RUN, {quoted(path)}), {quoted(path)})"]


def filled(function: str, arguments: Iterable[str]) -> list[str]:
    """Return the lines of a call: one line, or as many of its arguments in each as fit."""
    arguments = list(arguments)
    whole = f"{function}({', '.join(arguments)})"
    if len(whole) < WIDTH:
        return [whole]
    lines, line = list[str](), ""
    for argument in arguments:
        if line and len(line) + len(argument) + 6 > WIDTH:
            lines.append(line)
            line = ""
        line += f" {argument}," if line else f"{argument},"
    return [f"{function}(", *(f"    {text}" for text in [*lines, line]), ")"]


def comment(text: str) -> list[str]:
    """Return a text as lines of comments; what could end a line is written as an escape."""
    safe = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    return textwrap.wrap(
        safe, WIDTH - 2, initial_indent="# ", subsequent_indent="# ", break_long_words=False,
        break_on_hyphens=False,
    ) or ["#"]  # fmt: skip
