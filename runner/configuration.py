"""The user's own configuration: what a recipe may name, and only its user may define.

A recipe may be someone else's, so nothing that runs a program or reaches the network stands in
one. It stands in ``~/.config/casarun/config.toml``, and recipes name it.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from .errors import Problem, did_you_mean, with_advice
from .quantities import parse as quantity
from .recipe.formats import FORMATS
from .recipe.positions import Source, refused
from .recipe.reading import parse, read
from .recipe.schema import against, shown

WORDS: Final = ("title", "name", "verdict", "report", "folder")
"""What stands in braces in the arguments of a notifier's command."""
_IN_BRACES: Final = re.compile(r"\{([a-z]+)\}")


@dataclass(frozen=True)
class Notifier:
    """One ``[notify.NAME]``: how the user is told of runs.

    Attributes
    ----------
    name : str
        By which recipes know it.
    command : tuple of str
        A program and its arguments; empty where there are addresses.
    url : tuple of str
        Addresses for Apprise.
    timeout_s : float
        How long it may take.
    """

    name: str
    command: tuple[str, ...] = ()
    url: tuple[str, ...] = ()
    timeout_s: float = 30.0


@dataclass(frozen=True)
class Configuration:
    """The user's configuration, checked.

    Attributes
    ----------
    path : Path
        The file, whether there is one or not.
    document : dict
        What it says.
    notifiers : mapping of str to Notifier
        By their names.
    network : tuple of str
        CASA's tasks that a recipe may call although they ask servers on the network.
    """

    path: Path
    document: dict[str, Any] = field(default_factory=dict)
    notifiers: Mapping[str, Notifier] = field(default_factory=dict)
    network: tuple[str, ...] = ()

    def missing(self, name: str) -> str:
        """Say that a recipe names a notifier that there is not; empty if there is."""
        if name in self.notifiers:
            return ""
        if "://" in name:
            return (
                f"{shown(name)} is an address: a recipe reaches no network; give it a name in "
                f"your own {self.path}"
            )
        there = ", ".join(shown(known) for known in self.notifiers)
        if there:
            there = f"there is {there}{did_you_mean(name, self.notifiers)}"
        else:
            there = "none is defined" if self.document else "there is no such file"
        said = f"no notifier is named {shown(name)} in your own {self.path}: {there}"
        return with_advice(said, "Define it, or run without: --set 'notify.to=[]'")


def place(environ: Mapping[str, str]) -> Path:
    """Return where the user's configuration is, whether there is one or not.

    After the XDG Base Directory Specification; where nobody says what the home folder is, as
    under some batch systems, the system's list of users does.
    """
    base = environ.get("XDG_CONFIG_HOME", "")
    if not base.startswith("/"):
        home = environ.get("HOME", "")
        base = f"{home if home.startswith('/') else Path.home()}/.config"
    return Path(base) / "casarun" / "config.toml"


def configured(environ: Mapping[str, str] | None = None) -> Configuration:
    """Read the user's configuration.

    Parameters
    ----------
    environ : mapping of str to str, optional
        Says where it is; by default the process's environment.

    Raises
    ------
    RefusedError
        With all that is wrong with it, or if someone else could have written it.
    """
    path = place(os.environ if environ is None else environ)
    if not path.exists():
        return Configuration(path)
    text = read(path, kind="a configuration")
    source = Source(text, str(path), folder=path.parent)
    document = parse(source)
    problems = [*_trusted(path), *against(document, _schema(), ()), *_notifiers(document)]
    if problems:
        raise refused(problems, source)
    notifiers = {name: _notifier(name, table) for name, table in document.get("notify", {}).items()}
    network = tuple(document.get("allow", {}).get("network", ()))
    return Configuration(path, document, notifiers, network)


@cache
def _schema() -> dict[str, Any]:
    text = files(__package__.partition(".")[0]).joinpath("schemas/config.schema.json")
    loaded: dict[str, Any] = json.loads(text.read_text(encoding="utf-8"))
    return loaded


def _trusted(path: Path) -> Iterator[Problem]:
    """Yield that others than the user may have written the file: it names programs to run."""
    for where in (path, path.parent):
        there = where.stat()
        if there.st_uid not in (os.geteuid(), 0):
            yield Problem(f"{where} belongs to another user: commands are taken from your own only")
        elif there.st_mode & stat.S_IWOTH:
            yield Problem(f"{where} may be written by everyone: chmod o-w {where}")


def _notifiers(document: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what is wrong with notifiers that the schema does not see."""
    tables = document.get("notify")
    for name, table in tables.items() if isinstance(tables, dict) else ():
        try:
            FORMATS["name"](name)
        except ValueError as error:
            yield Problem(str(error), ("notify", name), at_key=True)
        if not isinstance(table, dict):
            continue
        if ("command" in table) == ("url" in table):
            yield Problem("give either a command or a url", ("notify", name), at_key=True)
        command = table.get("command")
        if isinstance(command, list) and command and isinstance(command[0], str):
            yield from _program(command, name)


def _program(command: list[Any], name: str) -> Iterator[Problem]:
    """Yield what is wrong with a notifier's program and its arguments."""
    program = command[0]
    if "/" in program and not program.startswith(("/", "~/")):
        yield Problem(
            f"{shown(program)} depends on the current folder: give the program's absolute path, "
            "or a name that is on the PATH",
            ("notify", name, "command", 0),
        )
    for position, argument in enumerate(command):
        for word in _IN_BRACES.findall(str(argument)):
            if word not in WORDS:
                known = ", ".join(f"{{{one}}}" for one in WORDS)
                yield Problem(
                    f"{{{word}}} stands for nothing{did_you_mean(word, WORDS)} (known: {known})",
                    ("notify", name, "command", position),
                )


def filled(argument: str, words: Mapping[str, str]) -> str:
    """Return an argument of a command with the words in braces replaced."""
    return _IN_BRACES.sub(lambda match: words.get(match[1], match[0]), argument)


def _notifier(name: str, table: Mapping[str, Any]) -> Notifier:
    url = table.get("url", [])
    return Notifier(
        name,
        tuple(table.get("command", ())),
        (url,) if isinstance(url, str) else tuple(url),
        quantity(table.get("timeout", "30s"), "duration"),
    )
