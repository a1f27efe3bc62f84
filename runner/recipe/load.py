"""Load a recipe: put together, check, resolve; all problems at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..configuration import configured
from ..errors import KeyPath, Problem
from . import rules, schema
from .build import build
from .compose import compose
from .matrix import Swept
from .model import Recipe
from .paths import AnyEnvironment, Paths, Watching, casadata_folder
from .positions import Source, in_order, refused, render
from .variables import Variable


@dataclass(frozen=True)
class LoadedRecipe:
    """A recipe that is free of errors, as far as can be told without its data.

    Attributes
    ----------
    recipe : Recipe
        Typed and frozen; paths are absolute.
    source : Source
        Its text, to render problems with that show later.
    warnings : tuple of Problem
        What its author should know.
    document : dict
        The TOML document in one piece, before shorthands and globs were written out.
    files : tuple of Source
        The files that it was made of, the recipe itself last.
    variables : mapping of str to Variable
        What ``${name}`` in them stood for.
    watching : tuple of Watching
        Tables whose datasets come and go.
    swept : mapping of str to Swept
        The images that ``[matrix]`` made, by name.
    """

    recipe: Recipe
    source: Source
    warnings: tuple[Problem, ...]
    document: dict[str, Any]
    files: tuple[Source, ...] = ()
    variables: Mapping[str, Variable] = field(default_factory=dict)
    watching: tuple[Watching, ...] = ()
    swept: Mapping[str, Swept] = field(default_factory=dict)

    @property
    def warned(self) -> str:
        """The warnings in words, each at its place."""
        return render(self.warnings, self.source)


def load(
    path: Path,
    overrides: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    demo_data: Callable[[], Path] | None = None,
    *,
    output: Path | None = None,
    portable: bool = False,
) -> LoadedRecipe:
    """Load a recipe.

    Parameters
    ----------
    path : Path
        The TOML file.
    overrides : sequence of str
        Values in place of the file's, each ``KEY=VALUE``: ``image.hi.niter=500``.
    environ : mapping of str to str, optional
        What ``${VAR}`` in paths stands for; by default the process's environment.
    demo_data : callable, optional
        Returns the folder that ``casadata:`` stands for; by default that of the casadata package.
    output : Path, optional
        The run folder, over the recipe's.
    portable : bool
        Check only what holds on every machine, and of a recipe that others extend: files that it
        names, variables of the environment and datasets may be missing.

    Returns
    -------
    LoadedRecipe
        Without errors.

    Raises
    ------
    RefusedError
        With every problem, rendered.
    """
    environ = os.environ if environ is None else environ
    environ = AnyEnvironment(environ) if portable else environ
    composed = compose(path, overrides, environ)
    document, source = composed.document, composed.source
    problems = [*composed.problems, *_static(document, portable)]
    # One mistake has one message: what the schema or a rule said of a key is enough.
    if not portable:
        problems += _notifiers(document, environ)
    said = {problem.key for problem in problems if problem.severity == "error"}
    paths = Paths(source.folder, environ, demo_data or casadata_folder, portable)
    resolved = paths.resolve(document)
    # Who runs a recipe may have the run where they like; who wrote it may not.
    if output is None and source.override(("project", "output")) is None:
        paths.keep_inside(document)
    problems += [problem for problem in paths.problems if problem.key not in said]
    if any(problem.severity == "error" for problem in problems):
        raise refused(in_order(problems, source), source)
    source = replace(source, moved=_really_moved(paths.moved))
    return LoadedRecipe(
        build(resolved, path), source, tuple(problems), document,
        composed.files, composed.variables, tuple(paths.watching), composed.swept,
    )  # fmt: skip


def _static(document: dict[str, Any], portable: bool) -> list[Problem]:
    """Return what is wrong with a document by itself."""
    problems = [*schema.check(document), *rules.check(document)]
    if portable and "dataset" not in document:
        return [problem for problem in problems if problem.key != ("dataset",)]
    return problems


def _notifiers(document: Mapping[str, Any], environ: Mapping[str, str]) -> Iterator[Problem]:
    """Yield notifiers that the recipe names and its user has not defined."""
    table = document.get("notify")
    to = table.get("to") if isinstance(table, dict) else None
    names = to if isinstance(to, list) else [to]
    if not any(names):
        return
    known = configured(environ)
    for position, name in enumerate(names):
        missing = known.missing(name) if isinstance(name, str) else ""
        if missing:
            key: KeyPath = ("notify", "to", position) if names is to else ("notify", "to")
            yield Problem(missing, key)


def _really_moved(moved: Mapping[KeyPath, KeyPath]) -> dict[KeyPath, KeyPath]:
    return {new: old for new, old in moved.items() if new != old}
