"""A recipe as it was run, in one file that can be run again from anywhere.

Where the recipe is one file, that file's text is kept with its comments, and only what must be
is changed in it: relative paths become absolute, ``--set`` takes effect, the run gets its name.
A recipe of several files, with logs or sweeps, is written anew, each value with where it stood.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import tomli

from ..errors import KeyPath, printable
from . import written
from .load import LoadedRecipe
from .positions import Source
from .schema import schema
from .variables import is_path, keeps_escapes, placed

_WIDTH: Final = 48
"""Of a line without its comment, at least."""


def as_run(loaded: LoadedRecipe) -> str:
    """Return the text of a recipe in which nothing is left to other files.

    Parameters
    ----------
    loaded : LoadedRecipe
        The recipe; what its variables stand for is written in their place.
    """
    document = _final(loaded.document, (), loaded.source.folder)
    document["project"] = {"name": loaded.recipe.project.name, **document.get("project", {})}
    if not document["project"]["name"]:
        document["project"]["name"] = loaded.recipe.project.name
    kept = _edited(loaded.source, document) if len(loaded.files) == 1 else None
    return _anew(loaded, document) if kept is None else kept


def where(source: Source, key: KeyPath) -> str:
    """Say where the value of a key of a loaded recipe stands: ``recipe.toml:12``.

    Parameters
    ----------
    source : Source
        Of the recipe.
    key : KeyPath
        Of the document.
    """
    said = source.override(key)
    if said is not None:
        return said
    origin = source.origin(key)
    span = origin.span()
    return f"{origin.source.name}:{span.line}" if span else origin.source.name


def _final(value: Any, key: KeyPath, folder: Path) -> Any:
    """Return a value that means the same in a file of another folder."""
    if isinstance(value, dict):
        return {name: _final(item, (*key, name), folder) for name, item in value.items()}
    if isinstance(value, list):
        return [_final(item, (*key, index), folder) for index, item in enumerate(value)]
    if not isinstance(value, str):
        return value
    if is_path(key, value) or keeps_escapes(key):
        return placed(value, key, folder)
    return value.replace("${", "$${")


def _edited(source: Source, document: dict[str, Any]) -> str | None:
    """Return the recipe's own text with a document's values in place of its own; None if it cannot.

    Only values that stand on one line are replaced, and only a run's name is added.
    """
    lines = source.text.split("\n")
    old = tomli.loads(source.text)
    if "name" not in old.get("project", {}):
        added = _with_name(lines, old, document["project"]["name"], source)
        if not added:
            return None
        old["project"] = {**old.get("project", {}), "name": document["project"]["name"]}
    changes = dict(_changes(old, document, ()))
    spans = [(span, value) for key, value in changes.items() if (span := source.own_span(key))]
    for span, value in sorted(spans, key=lambda x: (x[0].line, x[0].column), reverse=True):
        line = lines[span.line - 1]
        if '"""' in line or "'''" in line:
            return None
        lines[span.line - 1] = line[: span.column - 1] + written.value(value) + line[span.end - 1 :]
    return "\n".join(lines) if len(spans) == len(changes) else None


def _with_name(lines: list[str], old: Mapping[str, Any], name: str, source: Source) -> bool:
    """Give the run its name in a recipe's lines, without adding lines before others."""
    said = f"name = {written.value(name)}"
    if "project" not in old:
        lines[-1:] = [*([lines[-1]] if lines[-1] else []), "", "[project]", said, ""]
        return True
    header = source.own_span(("project",))
    if header is None or lines[header.line - 1].split("#")[0].strip() != "[project]":
        return False
    lines[header.line - 1] += f"\n{said}"
    return True


def _changes(old: Any, new: Any, key: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    """Yield the scalars that differ with their keys; an empty key if more than scalars does."""
    if isinstance(old, dict) and isinstance(new, dict) and set(old) == set(new):
        for name, value in new.items():
            yield from _changes(old[name], value, (*key, name))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, value in enumerate(new):
            yield from _changes(old[index], value, (*key, index))
    elif isinstance(old, (dict, list)) or isinstance(new, (dict, list)):
        yield (), None
    elif old != new or type(old) is not type(new):
        yield key, new


def _anew(loaded: LoadedRecipe, document: Mapping[str, Any]) -> str:
    """Write a document, each value with where it stood."""
    source = loaded.source
    of = [file.name for file in loaded.files]
    datasets = range(len(document.get("dataset", ())))
    logs = {source.origin(("dataset", i)).source.name for i in datasets}
    of += sorted(logs - set(of))
    options = dict.fromkeys(source.overrides.values())
    lines = [
        "# As run by casarun, in one piece. It was put together from",
        *(f"#   {_on_one_line(name)}" for name in (*of, *options)),
        "# and can be run as it is: variables are replaced, and paths are absolute.",
    ]
    known = [name for name in schema()["properties"] if name in document]
    for name in known:
        item = document[name]
        if isinstance(item, dict):
            lines += ["", f"[{written.key(name)}]", *_table(item, (name,), source)]
        elif isinstance(item, list):
            for index, row in enumerate(item):
                lines += ["", f"[[{name}]]", *_table(row, (name, index), source)]
        else:
            lines += [f"{name} = {written.value(item)}"]
    return "\n".join(lines) + "\n"


def _table(table: Mapping[str, Any], key: KeyPath, source: Source) -> Iterator[str]:
    for name, item in table.items():
        line = f"{written.key(name)} = {written.value(item)}"
        yield f"{line:<{_WIDTH}}  # {_on_one_line(where(source, (*key, name)))}"


def _on_one_line(text: str) -> str:
    return printable(text).replace("\n", "\\n")
