"""Where CASA would run as code what a recipe gives it as data, or ask a server on the network.

CASA's tasks are Python that trusts its user: some read files whose lines they `exec`, many
join paths into shell commands (``rm -rf`` an output that is there, ``cp -R``). A recipe may come
from someone else. Found by reading casatasks 6.7.0 and 6.7.5 for eval, exec, os.system and
subprocess, and for urllib and socket; flag commands, which it evaluates, too, are read in
`casarun.selection.flag_command`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from .task_paths import roles

Params = Mapping[str, Any]

_FILES_OF_PYTHON: Final = {
    "callib": "a calibration library: name the tables in gaintable, gainfield, interp and spwmap",
    "outlierfile": "an outlier file: write each outlier as an [[image]] with its own phasecenter",
}
_COMMANDS: Final = {"flagdata": "inpfile", "flagcmd": "inpfile"}
_TEXTS: Final = ("expr", "region")
"""Parameters in the language of images, which goes to CASA's own parser."""

_IN_A_SHELL: Final = re.compile(r"[;|&$<>`\\\n\r]")
_IN_AN_OUTPUT: Final = re.compile(r"[^\w./+,:=@%-]")


_ASKS: Final = {
    "getantposalma": "the antennas' positions: run it yourself, and give its file to gencal",
    "getcalmodvla": "models of calibrators: run it yourself, and give its image as a model",
    "getephemtable": "an ephemeris: run it yourself, and name its table",
}


def asks_network(name: str, params: Params) -> str:
    """Say what a call would ask a server for; empty if it reaches no network.

    Parameters
    ----------
    name : str
        A task of the installed CASA.
    params : mapping
        Its parameters; placeholders may stand in them.
    """
    if name in _ASKS:
        return _ASKS[name]
    if name != "gencal" or params.get("infile"):
        return ""
    if params.get("caltype") == "antpos" and not params.get("antenna"):
        return "the antennas' positions: give antenna and parameter, or an infile"
    if params.get("caltype") == "jyperk":
        return "the factors from K to Jy: give them as an infile"
    return ""


def runs_code(name: str, params: Params) -> dict[str, str]:
    """Say which parameters of a call could make CASA run code from a recipe.

    Parameters
    ----------
    name : str
        A task of the installed CASA.
    params : mapping
        Its parameters; placeholders may stand in them.

    Returns
    -------
    dict of str to str
        By parameter, a sentence with the way out; empty where there is none.
    """
    found = {
        key: f"CASA runs the lines of such a file as Python code, which a recipe may not: {way}"
        for key, way in _FILES_OF_PYTHON.items()
        if params.get(key)
    }
    return found | _flag_files(name, params) | dict(_shell(name, params))


def _flag_files(name: str, params: Params) -> dict[str, str]:
    """Refuse flag commands that come out of a file or a table: CASA evaluates parts of them."""
    if name not in _COMMANDS:
        return {}
    if name == "flagcmd" and params.get("inpmode", "table") != "list":
        way = 'write the commands into the recipe: inpmode = "list", inpfile = ["..."]'
        return {"inpmode": f"CASA would run parts of these flag commands as Python code; {way}"}
    given = params.get(_COMMANDS[name], ())
    for command in [given] if isinstance(given, str) else given:
        if isinstance(command, str) and command.strip() and "=" not in command:
            return {
                _COMMANDS[name]: f"'{command}' would be a file of flag commands, parts of which "
                "CASA runs as Python code: write the commands into the recipe, as a list"
            }
    return {}


def _shell(name: str, params: Params) -> Iterator[tuple[str, str]]:
    """Yield paths that would mean something else in a shell command."""
    for key, role in roles(name).items():
        if key in _TEXTS or key == _COMMANDS.get(name) or (key == "mask" and name != "makemask"):
            continue
        for path in _texts(params.get(key)):
            bad = (_IN_A_SHELL if role == "reads" else _IN_AN_OUTPUT).search(_plain(path))
            if bad:
                yield (
                    key,
                    f"'{path}' has the character {bad[0]!r}, and CASA puts paths into shell "
                    "commands: choose a name of letters, digits and . _ + - =",
                )


def _plain(path: str) -> str:
    """Return a path without its placeholders; what those stand for is safe."""
    return re.sub(r"\{[a-z]+\}", "", path)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)
