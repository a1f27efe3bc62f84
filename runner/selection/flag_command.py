"""flagdata's flag commands: ``mode='manual' antenna='ea03' timerange='09:30:00~09:40:00'``.

CASA splits a command at single spaces and each piece at its first ``=``; a piece without ``=``
belongs to the one before. Values in braces, and ``timedev`` and ``freqdev`` that are no numbers,
it runs as Python: those are refused, for a recipe is data.
"""

from __future__ import annotations

import re
from ast import literal_eval
from collections.abc import Collection
from typing import Final

from ..errors import did_you_mean
from ..observation import Observation
from .checks import SELECTIONS, check
from .error import SelectionError, listed

_SPACED: Final = re.compile(r"\s=|=\s")
_QUOTED: Final = re.compile(r"'[^']*'|\"[^\"]*\"")
_VALUE: Final = re.compile(r"(?<==)(?:'[^']*'|\"[^\"]*\")")
_NEW_WORD: Final = re.compile(r" [^ ]*=")
_NUMERIC: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_RUN_AS_PYTHON: Final = ("timedev", "freqdev")


def parse(command: str) -> dict[str, str]:
    """Split a flag command into its parameters, as CASA does.

    Parameters
    ----------
    command : str
        Of ``flag.manual``, or a line of flagdata's ``inpfile``.

    Returns
    -------
    dict of str to str
        Values by parameter, without their quotes; empty for a comment.

    Raises
    ------
    SelectionError
        If CASA could not read it, or would run a part of it as Python.
    """
    command = command.strip()
    if command.startswith("#"):
        return {}
    if {"\t", "\n", "\r"} & set(command):
        raise SelectionError("a flag command stands on one line, its parameters apart by spaces")
    if _SPACED.search(_outside_quotes(command)):
        raise SelectionError(f"no spaces go around '=' in a flag command: found '{command}'")
    torn = next((text for text in _VALUE.findall(command) if _NEW_WORD.search(text)), "")
    if torn:
        raise SelectionError(
            f"in {torn} CASA takes the word with '=' for a parameter of its own, for all the quotes"
        )
    pieces: list[str] = []
    for piece in command.split(" "):
        if "=" in piece:
            pieces.append(piece)
        elif pieces:
            pieces[-1] += f" {piece}"
        else:
            raise SelectionError(
                f"'{piece}' is no parameter: a flag command is written as antenna='ea03' "
                "timerange='09:30:00~09:40:00'"
            )
    found: dict[str, str] = {}
    for piece in pieces:
        name, _, value = piece.partition("=")
        if name in found:
            raise SelectionError(f"'{name}' stands twice in one flag command; CASA takes the last")
        found[name] = _value(name, value.strip())
    return found


def syntax(command: str, known: Collection[str], modes: Collection[str] = ()) -> str:
    """Say what is wrong with a flag command whatever the data.

    Parameters
    ----------
    command : str
        The command.
    known : collection of str
        The parameters that flagdata has.
    modes : collection of str
        The modes that a command may have; empty where they are not known.

    Returns
    -------
    str
        A sentence; empty where all is well.
    """
    try:
        found = parse(command)
    except SelectionError as error:
        return str(error)
    for name in found:
        if name not in known:
            return f"a flag command has no parameter '{name}'{did_you_mean(name, known)}"
    mode = found.get("mode", "")
    if modes and mode and mode not in modes:
        return (
            f"'{mode}' is no mode of a flag command; modes: {listed(sorted(modes))}"
            f"{did_you_mean(mode, modes)}"
        )
    return ""


def selections(command: str, observation: Observation) -> dict[str, str]:
    """Say which selections of a flag command select nothing in an observation.

    Parameters
    ----------
    command : str
        The command; one that cannot be read selects nothing wrong (see `syntax`).
    observation : Observation
        The data.

    Returns
    -------
    dict of str to str
        By parameter: what is wrong. Empty where all is well.
    """
    try:
        return check(parse(command), observation)
    except SelectionError:
        return {}


def _value(name: str, text: str) -> str:
    """Return a value without its quotes."""
    if text.startswith("{"):
        raise SelectionError(
            f"CASA would run the value of '{name}' as Python code: no braces in a flag command"
        )
    quote = text[:1]
    if quote in ("'", '"') and len(text) > 1 and text.endswith(quote):
        value = text[1:-1]
        if quote in value:
            raise SelectionError(f"the quotes in {name}={text} are not balanced")
    elif quote in ("'", '"') and text.rstrip(",;").endswith(quote) and len(text) > 2:
        raise SelectionError(
            f"spaces, not commas or semicolons, separate parameters: found {name}={text}"
        )
    elif {"'", '"'} & set(text) and not text.startswith("["):
        raise SelectionError(f"the quotes in {name}={text} are not balanced")
    else:
        value = text
        if name in SELECTIONS and _NUMERIC.fullmatch(text):
            raise SelectionError(f"CASA takes a text for '{name}': write {name}='{text}'")
    if name in _RUN_AS_PYTHON and not _is_data(value):
        raise SelectionError(
            f"'{name}' takes a number or a list here: CASA would run '{value}' as Python code, or "
            "read a file of that name"
        )
    return value.strip()


def _is_data(text: str) -> bool:
    """Tell whether a value is empty, a number or a list of such."""
    if not text or _NUMERIC.fullmatch(text):
        return True
    try:
        return text.startswith("[") and isinstance(literal_eval(text), list)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return False


def _outside_quotes(command: str) -> str:
    return _QUOTED.sub("''", command)
