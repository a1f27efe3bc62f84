"""Paths in a recipe: environment, globs, the demo data, and whether they exist.

Relative paths start from the recipe's folder.
"""

from __future__ import annotations

import glob
import os
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import islice
from pathlib import Path, PurePath
from typing import Any, Final

from ..errors import KeyPath, Problem, did_you_mean
from .naming import safe, stem
from .rules import tables
from .schema import shown

REFERENCE: Final = re.compile(r"(\$?)\$\{([^}]*)(\}?)")
"""A variable: what escapes it, its name, its end."""
IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_NAMED: Final = re.compile(r"(~|\$\{[^}]*\})(?:/|$)")
"""Begins an `output` in a place that the environment names."""
DEMO: Final = "casadata:"
_LOOKED_AT: Final = 10_000
"""Entries of a folder, to suggest one of them."""
_SUGGESTED: Final = 100
_RECIPE: Final = "{recipe}"
"""Begins a path from the recipe's folder where other paths start from the run folder."""
INPUT: Final = (_RECIPE, "/", "~/", "${")
"""Begin a path of the user's own where other paths start from the run folder."""


def casadata_folder() -> Path:
    """Return the data folder of the casadata package, without importing it.

    Raises
    ------
    ModuleNotFoundError
        If it is not installed.
    """
    spec = find_spec("casadata")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("casadata")
    return Path(spec.submodule_search_locations[0]) / "__data__"


def expanded(text: str, environ: Mapping[str, str], quote: Callable[[str], str] = str) -> str:
    """Replace ``~`` and ``${VAR}`` in a path, and ``$${`` by ``${``.

    Parameters
    ----------
    text : str
        As the recipe has it.
    environ : mapping of str to str
        The environment.
    quote : callable
        Put round each value.

    Raises
    ------
    ValueError
        With a message for each thing that is wrong.
    """
    missing: list[str] = []

    def value(match: re.Match[str]) -> str:
        escape, name, end = match.groups()
        if escape:
            return match[0][1:]
        if not end or not IDENTIFIER.fullmatch(name):
            missing.append(no_variable(match[0]))
        elif name not in environ:
            near = did_you_mean(name, environ)
            missing.append(f"the environment variable {name} is not set{near}")
        return quote(environ.get(name, ""))

    home = text == "~" or text.startswith("~/")
    if home and "HOME" in environ:
        text = "${HOME}" + text[1:]
    whole = REFERENCE.sub(value, text)
    if "\0" in whole:
        missing.append("a path cannot hold a null character")
    if missing:
        raise ValueError(*missing)
    return whole


class AnyEnvironment(dict[str, str]):
    """An environment in which every variable is set: to a folder, where the real one has none."""

    def __contains__(self, name: object) -> bool:
        return True

    def get(self, name: str, default: Any = None) -> Any:
        """Return a variable's value."""
        return super().get(name, f"/{name}")

    def __getitem__(self, name: str) -> str:
        return str(self.get(name))


def no_variable(text: str) -> str:
    """Say that what looks like a variable is none."""
    return f"{shown(text)} is not a variable; write ${{NAME}}, or $${{ for ${{"


@dataclass(frozen=True)
class Watching:
    """A table of datasets of which more may come.

    Attributes
    ----------
    key : KeyPath
        Of the table.
    pattern : str
        Absolute, as `glob` takes it.
    table : dict
        What the recipe says of each of them.
    """

    key: KeyPath
    pattern: str
    table: dict[str, Any]

    def matches(self, path: str) -> bool:
        """Tell whether a path, be it there or not, is one of them."""
        return PurePath(path).match(os.path.normpath(self.pattern))


@dataclass
class Paths:
    """Resolves the paths of one recipe, and collects what is wrong with them.

    Parameters
    ----------
    folder : Path
        The recipe's folder, absolute.
    environ : mapping of str to str
        What ``${VAR}`` and ``~`` stand for.
    demo_data : callable
        Returns the folder of ``casadata:``; raises `ModuleNotFoundError` without it.
    portable : bool
        Whether files and variables of the environment may be missing here.
    """

    folder: Path
    environ: Mapping[str, str]
    demo_data: Callable[[], Path] = casadata_folder
    portable: bool = False
    problems: list[Problem] = field(default_factory=list)
    moved: dict[KeyPath, KeyPath] = field(default_factory=dict)
    watching: list[Watching] = field(default_factory=list)
    _said: set[Problem] = field(default_factory=set)

    def resolve(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Return the document with absolute paths, and a dataset for each match of a glob.

        Problems are collected in `problems`, keys of datasets that moved in `moved`, tables whose
        datasets come and go in `watching`.
        """
        result = dict(document)
        result["dataset"] = list(self._datasets(document))
        result["image"] = [self._image(index, table) for index, table in tables(document, "image")]
        images = {table.get("name") for _, table in tables(document, "image")}
        result["cube"] = [
            self._cube(index, table, images) for index, table in tables(document, "cube")
        ]
        result["step"] = [self._step(index, table) for index, table in tables(document, "step")]
        calibrate = document.get("calibrate")
        if isinstance(calibrate, dict) and "tables" in calibrate:
            known = self._inputs(calibrate["tables"], ("calibrate", "tables"))
            result["calibrate"] = calibrate | {"tables": known}
        for table, key in (("project", "output"), ("calibrators", "flux")):
            if isinstance(document.get(table), dict) and key in document[table]:
                value = document[table][key]
                changed = self._output(value) if table == "project" else self._flux(value)
                result[table] = document[table] | {key: changed}
        return result

    def _datasets(self, document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        names: dict[str, int] = {}
        paths: dict[Path, int] = {}
        number = 0
        for index, table in tables(document, "dataset"):
            key: KeyPath = ("dataset", index)
            vis = table.get("vis")
            watched = table.get("watch") is True
            found = self._find(vis, (*key, "vis"), watched) if isinstance(vis, str) and vis else []
            given = table.get("name", "")
            # Of those that are watched there will be more: the first is named like the others.
            several = len(found) > 1 or (watched and glob.has_magic(str(vis)))
            if watched and isinstance(vis, str):
                self.watching.append(Watching(key, self._pattern(vis, (*key, "vis")), table))
            for path in found:
                name = stem(path.name)
                if given and isinstance(given, str):
                    name = safe(f"{given}-{name}") if several else given
                self._once(name, path, index, names, paths, named=bool(given))
                self.moved["dataset", number] = key
                number += 1
                yield table | {"vis": str(path), "name": name}

    def _once(
        self, name: str, path: Path, index: int, names: dict[str, int], paths: dict[Path, int],
        *, named: bool,
    ) -> None:  # fmt: skip
        """Note a dataset; a name or a file that was there before is a problem."""
        if path in paths:
            message = f"{_path(path)} is already dataset[{paths[path]}]"
            self._problem(message, ("dataset", index, "vis"), file=str(path))
        elif name in names:
            message = f"{shown(name)} is already the name of dataset[{names[name]}]"
            if not named:
                message += ": give one of them a name"
            where = ("dataset", index, "name" if named else "vis")
            self._problem(message, where, name=shown(name))
        names.setdefault(name, index)
        paths.setdefault(path, index)

    def _image(self, index: int, table: dict[str, Any]) -> dict[str, Any]:
        files = table.get("regions")
        if isinstance(files, list):
            key: KeyPath = ("image", index, "regions")
            table = table | {
                "regions": [
                    self._one(file, (*key, place), ()) if isinstance(file, str) and file else file
                    for place, file in enumerate(files)
                ]
            }
        mask = table.get("mask")
        if not isinstance(mask, str) or mask in ("", "none", "auto-multithresh"):
            return table
        found = self._one(mask, ("image", index, "mask"), ("none", "auto-multithresh"))
        return table | {"mask": found}

    def _cube(self, index: int, table: dict[str, Any], images: set[Any]) -> dict[str, Any]:
        """Return a cube's table with absolute paths of files; an image's name stays one."""
        image, regrid = table.get("image"), table.get("regrid")
        if isinstance(image, str) and image and image not in images:
            table = table | {"image": self._cube_file(image, ("cube", index, "image"), images)}
        template = regrid.get("template") if isinstance(regrid, dict) else None
        if isinstance(template, str) and template:
            found = self._one(template, ("cube", index, "regrid", "template"), ())
            table = table | {"regrid": {**table["regrid"], "template": found}}
        return table

    def _cube_file(self, text: str, key: KeyPath, images: set[Any]) -> str:
        """Return the absolute path of a cube's file; a bare word may be meant for an image."""
        if "/" in text or _exists(self.folder / text):
            return self._one(text, key, ())
        names = [name for name in images if isinstance(name, str)]
        self._problem(
            f"{shown(text)} is neither an [[image]] of the recipe nor a file in its folder"
            f"{did_you_mean(text, names)}",
            key,
        )
        return text

    def _step(self, index: int, table: dict[str, Any]) -> dict[str, Any]:
        """Return a step with absolute paths of the user's own files."""
        keys = [key for key in ("params", "reads") if key in table]
        return table | {key: self._inputs(table[key], ("step", index, key)) for key in keys}

    def _inputs(self, value: Any, key: KeyPath) -> Any:
        """Return a value in which texts that are paths from elsewhere are absolute."""
        if isinstance(value, dict):
            return {name: self._inputs(item, (*key, name)) for name, item in value.items()}
        if isinstance(value, list):
            return [self._inputs(item, (*key, i)) for i, item in enumerate(value)]
        if not isinstance(value, str):
            return value
        if not value.startswith(INPUT):
            return value.replace("$${", "${")
        expanded = self._expanded(value.removeprefix(_RECIPE), key)
        if expanded is None:
            return value
        here = f".{expanded}" if value.startswith(_RECIPE) else expanded
        return os.path.normpath(self.folder / here)

    def _flux(self, flux: Any) -> Any:
        model = flux.get("model") if isinstance(flux, dict) else None
        if not isinstance(model, str) or "/" not in model:
            return flux
        return flux | {"model": self._one(model, ("calibrators", "flux", "model"), ())}

    def _output(self, output: Any) -> Any:
        if not isinstance(output, str):
            return output
        return self._expanded(output, ("project", "output")) or output

    def keep_inside(self, document: Mapping[str, Any]) -> None:
        """Note an `output` that leads to a place that only who runs the recipe may name.

        A recipe may be someone else's. Its run folder is below the current folder, or in a
        place that the environment names, and hidden nowhere.
        """
        project = document.get("project")
        output = project.get("output") if isinstance(project, dict) else None
        if not isinstance(output, str):
            return
        key = ("project", "output")
        expanded = self._expanded(output, key)
        if not expanded:
            return
        wrong = _led_out(output) if ".." in output.split("/") else _led_out(_from_here(expanded))
        named = _NAMED.match(output)
        if wrong and named and os.path.normpath(self._expanded(named[1], key) or "/") != "/":
            wrong = _led_out(output[named.end() :])
        if wrong:
            self._problem(
                f"{shown(output)} {wrong}, where no recipe may put its run; if you want it there: "
                f"--output {shlex.quote(expanded)}",
                key,
            )

    def _one(self, text: str, key: KeyPath, words: tuple[str, ...]) -> str:
        """Return the absolute path of a file that must be there."""
        expanded = self._expanded(text, key)
        if expanded is not None:
            path = self.folder / expanded
            if self._readable(path, key) and (self.portable or _exists(path)):
                return str(_plain(path))
            if _exists(path):
                return text
            near = did_you_mean(Path(text).name, words)
            self._problem(f"no such file: {_path(path)}{near or self._near(path)}", key)
        return text

    def _find(self, text: str, key: KeyPath, may_be_none: bool = False) -> list[Path]:
        """Return the absolute paths that a `vis` stands for."""
        folder, rest = self._start(text, key)
        expanded = self._expanded(rest, key)
        if folder is None or expanded is None:
            return []
        path = folder / expanded
        if self.portable or _exists(path):
            return [_plain(path)] if self._readable(path, key) else []
        if not glob.has_magic(rest):
            if not may_be_none:
                message = f"no such file: {_path(path)}{self._near(path)}"
                self._problem(message, key, file=str(path))
            return []
        found = sorted({_plain(Path(match)) for match in glob.glob(self._pattern(text, key))})  # noqa: PTH207
        if not found and not may_be_none:
            self._problem(f"{_path(path)} matches nothing", key, file=str(path))
        return [one for one in found if self._readable(one, key)]

    def _readable(self, path: Path, key: KeyPath) -> bool:
        """Tell whether a path may be read; else say so: to open a pipe may take for ever."""
        odd = _exists(path) and not (path.is_file() or path.is_dir())
        if odd:
            message = f"{_path(path)} is a pipe or a device, not a file"
            self._problem(message, key, file=str(path))
        return not odd

    def _pattern(self, text: str, key: KeyPath) -> str:
        """Return a `vis` as a pattern of absolute paths.

        Brackets in the environment's or the folder's names are no pattern.
        """
        folder, rest = self._start(text, key)
        whole = self._expanded(rest, key, glob.escape) or ""
        return str(Path(glob.escape(str(folder))) / whole)

    def _start(self, text: str, key: KeyPath) -> tuple[Path | None, str]:
        """Return the folder in which a `vis` starts, None after a problem, and its rest."""
        if not text.startswith(DEMO):
            return self.folder, text
        return self._demo(text, key), text.removeprefix(DEMO)

    def _demo(self, text: str, key: KeyPath) -> Path | None:
        inside = text.removeprefix(DEMO)
        if inside.startswith(("/", "~")) or ".." in inside.split("/"):
            self._problem(f"{shown(text)} leads out of the casadata package", key)
            return None
        try:
            return self.demo_data()
        except ModuleNotFoundError:
            if self.portable:
                return Path("/casadata")
            message = "the casadata package is not installed: pip install 'casarun[demo]'"
            self._problem(message, key)
            return None

    def _expanded(self, text: str, key: KeyPath, quote: Callable[[str], str] = str) -> str | None:
        """Replace ``~`` and ``${VAR}``; None after a problem."""
        try:
            return expanded(text, self.environ, quote)
        except ValueError as error:
            for message in error.args:
                self._problem(message, key)
            return None

    def _near(self, path: Path) -> str:
        """Suggest another file; to look for thousands would take long and help nobody."""
        return _sibling(path) if len(self.problems) < _SUGGESTED else ""

    def _problem(self, message: str, key: KeyPath, **about: str) -> None:
        problem = Problem(message, key, about=tuple(about.items()))
        if problem not in self._said:
            self._said.add(problem)
            self.problems.append(problem)


def _led_out(place: str) -> str:
    """Say how a relative path leaves the folder that it starts from; empty if it does not."""
    parts = place.split("/")
    if ".." in parts:  # after a link it leads elsewhere than it seems to
        return "is not below the current folder"
    return "is in a hidden folder" if any(p.startswith(".") and p != "." for p in parts) else ""


def _from_here(path: str) -> str:
    """Return a path relative to the current folder, as far as its names tell.

    A link in the current folder is the user's own, and may lead anywhere.
    """
    return os.path.relpath(path)


def _path(path: Path) -> str:
    """Write a path for a message: longer than other values, its end is what matters."""
    return shown(str(path), 300)


def _plain(path: Path) -> Path:
    """Return the path of something that exists, without ``..``."""
    if ".." not in path.parts:
        return path
    short = Path(os.path.normpath(path))  # not so if the folder before the dots is a link
    return short if _exists(short) and short.samefile(path) else path.resolve()


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name too long, a folder that may not be read
        return False


def _sibling(path: Path) -> str:
    """Suggest a file of the same folder, or say that there is no such folder."""
    try:
        siblings = islice(path.parent.iterdir(), _LOOKED_AT)
        return did_you_mean(path.name, (entry.name for entry in siblings))
    except OSError:
        return "; nor is there such a folder"
