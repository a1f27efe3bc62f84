"""A recipe is put together: what it extends, its variables, options, logs and sweeps.

The order is the language's own: variables are replaced in each file, files are laid over one
another, ``--set`` comes on top, and what makes several tables of one comes last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import KeyPath, Problem, RefusedError
from .extends import Part, gather
from .matrix import Swept, with_matrix
from .merge import NOT_MERGED, Merged
from .observing_log import with_logs
from .overrides import Overridden, override, parts_of, said, value_of
from .positions import Origin, Source, refused
from .reading import require_bounded
from .schema import against, schema
from .variables import Variable, Variables


@dataclass(frozen=True)
class Composed:
    """A recipe in one piece.

    Attributes
    ----------
    document : dict
        Without what put it together.
    source : Source
        Where each value stands.
    problems : tuple of Problem
        What is wrong with the options.
    files : tuple of Source
        The files that it is made of, the recipe itself last.
    variables : mapping of str to Variable
        What names stood for.
    swept : mapping of str to Swept
        The images that ``[matrix]`` made, by name.
    """

    document: dict[str, Any]
    source: Source
    problems: tuple[Problem, ...]
    files: tuple[Source, ...]
    variables: Mapping[str, Variable]
    swept: Mapping[str, Swept]


def compose(path: Path, options: Sequence[str], environ: Mapping[str, str]) -> Composed:
    """Put a recipe together.

    Parameters
    ----------
    path : Path
        The recipe's file.
    options : sequence of str
        Each ``KEY=VALUE``.
    environ : mapping of str to str
        The environment.

    Raises
    ------
    RefusedError
        With what is wrong with how it is put together.
    """
    parts = gather(path, environ)
    home = parts[-1].source.folder
    variables = Variables()
    _raise([(part.source, variables.define(part.document.get("vars", {}), part.source))
            for part in parts])  # fmt: skip
    given = Overridden()
    plain = [option for option in options if not _sets_variable(option, variables, given, home)]
    merged = _merged(parts, variables)
    document = merged.document
    changed = override(document, plain)
    given.problems += changed.problems
    source = replace(
        parts[-1].source,
        overrides=changed.sources,
        origins=merged.origin if len(parts) > 1 else None,
    )
    require_bounded(document, source)
    for key in changed.sources:
        _fill_at(document, key, variables, home)
    given.problems += variables.problems
    require_bounded(document, source)  # a variable may be a list
    document, source = with_logs(document, source, variables, environ)
    document, source, swept = with_matrix(document, source)
    files = tuple(part.source for part in parts)
    return Composed(document, source, tuple(given.problems), files, variables.known, swept)


def _raise(found: Sequence[tuple[Source, Sequence[Problem]]]) -> None:
    """Refuse what is wrong with single files, each problem at its place.

    Raises
    ------
    RefusedError
        If anything is.
    """
    refusals = [refused(some, source) for source, some in found if some]
    if refusals:
        problems = [problem for refusal in refusals for problem in refusal.problems]
        raise RefusedError(problems, "\n".join(map(str, refusals)))


def _merged(parts: Sequence[Part], variables: Variables) -> Merged:
    """Replace the variables in each file, and lay the files over one another.

    Raises
    ------
    RefusedError
        If a variable is not known, or something to be removed is not there.
    """
    last = parts[-1].source
    result = Merged(Origin(last))
    wrong: list[tuple[Source, Sequence[Problem]]] = []
    for part in parts:
        variables.problems = against(
            part.document.get("remove", []), schema()["properties"]["remove"], ("remove",)
        )
        filled = Part(part.source, _filled(part, variables, last.folder))
        if part is not parts[-1]:
            _forget_name(filled.document)
        problems = variables.problems or result.lay(filled)
        wrong.append((part.source, problems))
    variables.problems = []
    _raise(wrong)
    return result


def _forget_name(document: dict[str, Any]) -> None:
    """Leave a run's name to its own recipe: all that extend one would share a run folder."""
    project = document.get("project")
    if isinstance(project, dict):
        project.pop("name", None)


def _filled(part: Part, variables: Variables, home: Path) -> dict[str, Any]:
    """Return a file's document with its variables replaced, but where a log's rows come in."""
    document = part.document

    def left(key: KeyPath) -> bool:
        return _of_log(document, key) or key[:1] in [(name,) for name in NOT_MERGED]

    filled: dict[str, Any] = variables.fill(document, (), part.source.folder, home, left)
    return filled


def _of_log(document: Mapping[str, Any], key: KeyPath) -> bool:
    """Tell whether a key is of a dataset that a log's rows fill."""
    if len(key) != 3 or key[0] != "dataset" or key[2] == "log":
        return False
    table = document["dataset"][key[1]]
    return isinstance(table, dict) and "log" in table


def _sets_variable(option: str, variables: Variables, given: Overridden, home: Path) -> bool:
    """Set a variable, if that is what an option is for."""
    name, _, text = option.partition("=")
    parts = parts_of(name.strip())
    if parts[0] not in NOT_MERGED:
        return False
    if parts[0] != "vars":
        given.refuse(option, f"{parts[0]} is for files alone")
    elif len(parts) != 2 or "=" not in option:
        given.refuse(option, "expected vars.NAME=VALUE")
    else:
        try:
            by = Source("", said(option), folder=home)
            variables.set(parts[1], text.strip(), value_of(text.strip()), by)
        except ValueError as error:
            given.refuse(option, str(error))
    return True


def _fill_at(document: dict[str, Any], key: KeyPath, variables: Variables, home: Path) -> None:
    """Replace the variables in what an option has set."""
    table: Any = document
    for part in key[:-1]:
        table = table[part]
    if not _of_log(document, key):
        table[key[-1]] = variables.fill(table[key[-1]], key, home, home)
