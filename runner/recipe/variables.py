"""``[vars]`` and ``${name}``: a value that stands once and is used in many texts.

The environment is something else: ``${NAME}`` in a path is taken from it where ``[vars]`` has
no such name, and nowhere but in paths. What is replaced in a path is therefore left as it
stands, with its escapes, for `paths` to go on with.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ..errors import KeyPath, Problem, did_you_mean
from .paths import DEMO, IDENTIFIER, INPUT, REFERENCE, no_variable
from .positions import Origin, Source
from .schema import against, schema, shown

Value = str | int | float | bool | list[Any]

_WORDS: Final = ("none", "auto-multithresh", "")
"""A mask that is no file."""
_FIXED: Final = ("/", "~/", "${", DEMO)
"""Begin a path that is the same from every folder."""
_DEEPEST: Final = 10
"""Variables in the values of others."""
_LONGEST: Final = 20_000
"""Characters of a text: no recipe needs more, and a few variables could make any number."""


@dataclass(frozen=True)
class Variable:
    """The value of a name, the folder from which it starts as a relative path, its place."""

    value: Value
    folder: Path
    place: Origin | str = ""


@dataclass
class Variables:
    """Replaces ``${name}`` in the texts of a recipe, and collects what is wrong with them.

    Attributes
    ----------
    known : dict of str to Variable
        By name.
    problems : list of Problem
        With keys of the document that was filled last.
    """

    known: dict[str, Variable] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    _looked_up: dict[tuple[str, bool], str | ValueError] = field(default_factory=dict)

    def define(self, table: object, source: Source) -> list[Problem]:
        """Take a file's ``[vars]``, over those of the files before it.

        Returns
        -------
        list of Problem
            What is wrong with the table; it then counts for nothing.
        """
        problems = against(table, schema()["properties"]["vars"], ("vars",))
        names = table if isinstance(table, dict) else {}
        problems += [
            Problem(
                f"{shown(name)} cannot be a variable: letters, digits and _ only",
                ("vars", name),
                at_key=True,
            )
            for name in names
            if not IDENTIFIER.fullmatch(name)
        ]
        if not problems:
            self.known |= {
                name: Variable(value, source.folder, Origin(source, ("vars", name)))
                for name, value in names.items()
            }
        return problems

    def set(self, name: str, text: str, value: Any, option: Source) -> None:
        """Take the value of an option.

        Parameters
        ----------
        name : str
            The variable.
        text : str
            What the option says.
        value : object
            The same, read as TOML.
        option : Source
            Its name, and the folder from which its value starts as a path.

        Raises
        ------
        ValueError
            If the recipe has no such variable, or it cannot have that value.
        """
        if name not in self.known:
            there = ", ".join(self.known) or "none"
            raise ValueError(
                f"no variable {shown(name)} in [vars]; there is {there}"
                f"{did_you_mean(name, self.known)}"
            )
        # What the recipe has as a text stays one: a day "11" is replaced by a day 12.
        if isinstance(self.known[name].value, str):
            value = text if not isinstance(value, str) else value
        found = Variables().define({name: value}, option)
        if found:
            raise ValueError(found[0].message)
        self.known[name] = Variable(value, option.folder, option.name)

    def with_texts(self, texts: Mapping[str, str], folder: Path) -> Variables:
        """Return the variables with more of them, which come before those of the same name."""
        return Variables(self.known | {name: Variable(t, folder) for name, t in texts.items()})

    def fill(
        self, value: Any, key: KeyPath, folder: Path, home: Path,
        skip: Callable[[KeyPath], bool] = lambda key: False,
    ) -> Any:  # fmt: skip
        """Return a value with all variables in it replaced.

        Parameters
        ----------
        value : object
            A document, or what stands at `key` of one.
        key : KeyPath
            Where it stands.
        folder : Path
            Of the file in which it stands.
        home : Path
            The folder from which its relative paths will start: those from elsewhere become
            absolute.
        skip : callable
            Says of a key whether what stands there is left as it is.
        """
        if skip(key):
            return value
        if isinstance(value, dict):
            return {
                name: self.fill(item, (*key, name), folder, home, skip)
                for name, item in value.items()
            }
        if isinstance(value, list):
            return [self.fill(x, (*key, i), folder, home, skip) for i, x in enumerate(value)]
        return self._filled(value, key, folder, home) if isinstance(value, str) else value

    def _filled(self, text: str, key: KeyPath, folder: Path, home: Path) -> Any:
        first = REFERENCE.match(text)
        named = self.known.get(first[2]) if first and not first[1] and first[3] else None
        if named and first and first.end() == len(text) and not isinstance(named.value, str):
            return named.value
        path = is_path(key, text)
        try:
            whole = self._replaced(text, path)
        except ValueError as error:
            self.problems += [Problem(message, key) for message in dict.fromkeys(error.args)]
            return text
        start = named.folder if named else folder
        whole = whole if start == home else placed(whole, key, start)
        return whole if path or keeps_escapes(key) else whole.replace("$${", "${")

    def _replaced(self, text: str, path: bool, within: tuple[str, ...] = ()) -> str:
        """Return a text with its variables replaced, and those in their values, too.

        Raises
        ------
        ValueError
            With a message for each that cannot be.
        """
        if "${" not in text:
            return text
        wrong: list[str] = []

        def value(match: re.Match[str]) -> str:
            escape, name, end = match.groups()
            if escape:
                return match[0]
            if end and name in self.known:
                try:
                    return self._inserted(name, path, within)
                except ValueError as error:
                    wrong.extend(error.args)
            elif not path:
                wrong.append(self._missing(name) if end else no_variable(match[0]))
            return match[0]

        whole = REFERENCE.sub(value, text)
        if len(whole) > _LONGEST:
            wrong = [f"becomes longer than {_LONGEST:,} characters with its variables"]
        if wrong:
            raise ValueError(*wrong)
        return whole

    def _inserted(self, name: str, path: bool, within: tuple[str, ...]) -> str:
        """Return what stands for a name within a text; looked up once, so that time is bounded."""
        value = self.known[name].value
        if isinstance(value, list):
            raise ValueError(f"{name} is a list: it can be a whole value, no part of a text")
        if isinstance(value, bool):
            return "true" if value else "false"
        if not isinstance(value, str):
            return str(value)
        found = self._looked_up.get((name, path))
        if found is None:
            if name in within or len(within) >= _DEEPEST:
                why = "stand for itself" if name in within else f"be more than {_DEEPEST} deep"
                raise ValueError(f"a variable cannot {why}: {' -> '.join((*within, name))}")
            try:
                found = self._replaced(value, path, (*within, name))
            except ValueError as error:
                found = ValueError(error.args[0])
            self._looked_up[name, path] = found
        if isinstance(found, ValueError):
            raise found
        return found

    def _missing(self, name: str) -> str:
        if not IDENTIFIER.fullmatch(name):
            return no_variable(f"${{{name}}}")
        near = did_you_mean(name, self.known)
        return f"no variable {shown(name)} in [vars]{near or '; $${ stands for ${ itself'}"


def is_path(key: KeyPath, text: str) -> bool:
    """Tell whether a text is a path, in which the environment counts."""
    match key:
        case ("project", "output") | ("dataset", int(), "vis" | "log") | ("image", int(), "mask"):
            return True
        case ("calibrators", "flux", "model") | ("image", int(), "regions", int()):
            return True
    return starts_from_run(key) and text.startswith(INPUT)


def keeps_escapes(key: KeyPath) -> bool:
    """Tell whether ``$${`` at a key is read by what comes after the variables."""
    return starts_from_run(key)


def starts_from_run(key: KeyPath) -> bool:
    """Tell whether relative paths at a key start from the run folder, not from the recipe's."""
    match key:
        case ("step", int(), "params" | "reads", *_):
            return True
        case ("calibrate", "tables", int()) | ("calibrate", "tables", int(), "table"):
            return True
    return False


def placed(text: str, key: KeyPath, folder: Path) -> str:
    """Return a text so that it means the same from every folder, if it is a path.

    Parameters
    ----------
    text : str
        With its variables replaced.
    key : KeyPath
        Where it stands.
    folder : Path
        From which it starts, if it is relative.
    """
    if starts_from_run(key):
        inside = text.removeprefix(INPUT[0])
        return _join(folder, inside.lstrip("/")) if text.startswith(INPUT[0]) else text
    match key:
        case ("project", "output"):  # starts from the current folder
            return text
        case ("image", int(), "mask") if text in _WORDS:
            return text
        case ("calibrators", "flux", "model") if "/" not in text:  # a name of CASA's own
            return text
    if not is_path(key, text) or not text or text.startswith(_FIXED) or text == "~":
        return text
    return _join(folder, text)


def _join(folder: Path, text: str) -> str:
    """Return a path in a folder, whose name is no pattern and has no variables."""
    plain = str(folder).replace("${", "$${")
    return f"{glob.escape(plain) if glob.has_magic(text) else plain}/{text}"
