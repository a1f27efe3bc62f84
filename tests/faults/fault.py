"""What a fault is: how to make it, where it must be caught, and what must be said."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

MESSAGES = Path(__file__).with_name("messages.toml")


@dataclass(frozen=True)
class Call:
    """A CASA task with its parameters.

    Strings of the parameters may hold ``{vis}``, the dataset's path.
    """

    task: str
    params: Mapping[str, Any]


def call(task: str, **params: Any) -> Call:
    """Return a call of a task."""
    return Call(task, params)


@dataclass(frozen=True)
class Plain:
    """What a user of plain CASA would run who did the same: tasks, one after the other.

    The last call is the one with the fault. `vis` is one of the shared datasets, or, with an
    ending, something in the fault's own folder. `lacks` says why there are no calls, where
    plain CASA has nothing of the kind.
    """

    calls: tuple[Call, ...] = ()
    vis: str = "good"
    lacks: str = ""


def plain(*calls: Call, vis: str = "good") -> Plain:
    """Return the same fault in plain CASA."""
    return Plain(calls, vis)


def lacking(why: str) -> Plain:
    """Return why the fault cannot be made in plain CASA."""
    return Plain(lacks=why)


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong.

    Attributes
    ----------
    id : str
        Short name, also of its message in ``messages.toml``.
    did : str
        What the user did wrong, in a sentence.
    recipe : str
        The recipe without its first line; what is wrong stands between « and », and is what
        the message must point at.
    where : {"static", "check", "step"}
        Where it is caught: by the recipe alone (``check --static``), before any step but
        import and reading the metadata, or by the step that it spoils.
    plain : Plain
        The same in plain CASA.
    kind : {"recipe", "data", "casa", "machine"}
        What is wrong.
    build : callable, optional
        Makes what the recipe needs in the fault's folder: takes the folder, and that of the
        datasets that all faults share (only to be read).
    warns : bool
        It is a warning: said, but not refused.
    exit_code : int
        Of the command.
    step : str
        The step that must fail.
    goes_on : str
        A step that must be done nevertheless, another dataset's for instance.
    arguments : tuple of str
        Further arguments of the command.
    inside : str
        Options of a small filesystem (tmpfs) that the run folder is on.
    shared : bool
        Use the run folder in which the shared datasets' metadata are read already.
    environ : mapping of str to str
        Of the command, in a process of its own; ``{here}`` is the fault's folder.
    during : callable
        Takes the fault's folder and gives what must hold while the command runs.
    not_yet : str
        Why casarun does not catch it today.
    """

    id: str
    did: str
    recipe: str
    where: Literal["static", "check", "step"]
    plain: Plain
    kind: Literal["recipe", "data", "casa", "machine"] = "recipe"
    build: Callable[[Path, Path], None] | None = None
    warns: bool = False
    exit_code: int = 2
    step: str = ""
    goes_on: str = ""
    arguments: tuple[str, ...] = ()
    inside: str = ""
    shared: bool = True
    environ: Mapping[str, str] = field(default_factory=dict)
    during: Callable[[Path], AbstractContextManager[object]] = nullcontext
    not_yet: str = ""

    def text(self, shared: Path) -> str:
        """Return the recipe's text."""
        return "casarun = 1\n" + re.sub("[«»]", "", self._placed(shared))

    def marks(self, shared: Path) -> list[tuple[int, int, int]]:
        """Return line, column and length of what is marked as wrong, in their order."""
        found = []
        for number, line in enumerate(self._placed(shared).splitlines(), start=2):
            column, begun = 1, list[int]()
            for character in line:
                if character == "«":
                    begun.append(column)
                elif character == "»":
                    start = begun.pop()
                    found.append((number, start, column - start))
                else:
                    column += 1
        return sorted(set(found))

    def _placed(self, shared: Path) -> str:
        return self.recipe.replace("{shared}", str(shared))

    @property
    def said(self) -> list[str]:
        """What must be said, a message a line; the fault's folder stands as ``{here}``."""
        return messages()[self.id]


@cache
def messages() -> Mapping[str, list[str]]:
    """Return what must be said, by fault."""
    found: dict[str, list[str]] = tomllib.loads(MESSAGES.read_text())
    return found
