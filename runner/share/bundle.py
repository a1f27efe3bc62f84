"""A run as one archive, which another person unpacks, checks and runs again."""

from __future__ import annotations

import hashlib
import json
import os
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, Any, Final

import tomli

from ..casa.caltable_files import what_instead
from ..engine.journal_state import read_state
from ..errors import DataError, KeyPath
from ..files import read_json
from ..folder import RunFolder, file_safe
from ..plan import Plan
from ..recipe import written
from ..recipe.variables import starts_from_run
from . import contents, crate, manifest
from .contents import Part
from .people import credit

RECIPE: Final = "recipe.toml"
README: Final = "README.txt"
_INPUTS: Final = "inputs"
_PACKAGED: Final = "casadata:"
_DATASET: Final = "{dataset}"
_SMALL_BYTES: Final = 1_000_000
_BLOCK: Final = 2**20
_HOW: Final = """{title}

A run of casarun, packed with what it takes to make it again.

    casarun verify .                 is all here as it was packed?
    casarun recipe.toml              run it again, into runs/{name}
    casarun compare . runs/{name}
                                     what differs

Without casarun: scripts/casa_script.py does the same by CASA alone. qa/index.html is the report.
{data}"""
_WITH: Final = "The data are in inputs/.\n"
_WITHOUT: Final = """\
The data are not in here. They were, with the SHA-256 of a file or of a folder's list:
{lines}
Where they are elsewhere on your machine: casarun recipe.toml --set dataset.NAME.vis=PATH
"""


@dataclass(frozen=True)
class Packing:
    """What is packed.

    Attributes
    ----------
    folder : RunFolder
        Of the run.
    plan : Plan
        Of the run.
    everything : bool
        With MeasurementSets and CASA's images.
    data : bool
        With the data that the run was made from.
    """

    folder: RunFolder
    plan: Plan
    everything: bool = False
    data: bool = False


def describe(packing: Packing, recipe: str = "scripts/recipe.toml") -> dict[str, Any]:
    """Return the crate of a run as it lies in its folder."""
    parts = contents.parts(packing.folder, everything=packing.everything)
    inputs = [crate.input_of(path) for path in packing.plan.inputs]
    return crate.describe(_described(packing, recipe, inputs, parts))


def _described(
    packing: Packing, recipe: str, inputs: Sequence[crate.Input], parts: Sequence[Part]
) -> crate.Described:
    folder = packing.folder
    try:
        meta = read_json(folder.root / "docs" / "run.json")
    except OSError as error:
        raise DataError(f"{folder.root}: the run has not come to its end yet") from error
    steps = meta.get("steps") if isinstance(meta, dict) else None
    if not isinstance(steps, dict) or not all(isinstance(one, dict) for one in steps.values()):
        raise DataError(f"{folder.root}/docs/run.json is damaged; run the recipe again")
    digests = {part.name: contents.digest(part) for part in parts}
    state = read_state(folder.journal)
    return crate.Described(
        packing.plan, meta, state, credit(folder), recipe, inputs, parts, digests
    )  # fmt: skip


def pack(packing: Packing, out: Path) -> Path:
    """Write the archive.

    Parameters
    ----------
    packing : Packing
        What is packed.
    out : Path
        The archive to write; it must not be there.

    Returns
    -------
    Path
        The archive.

    Raises
    ------
    DataError
        If there is such a file, something of the run cannot leave it, or what describes it is
        not there.
    """
    if out.exists():
        raise DataError(f"{out} is there already; remove it, or name another with --output")
    out.parent.mkdir(parents=True, exist_ok=True)
    inputs, packed = _inputs(packing)
    parts = [*contents.parts(packing.folder, everything=packing.everything), *packed]
    described = _described(packing, RECIPE, inputs, [*parts])
    recipe = _recipe(packing.folder, inputs)
    texts = {RECIPE: recipe, README: _readme(described.meta, inputs)}
    digests = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}
    described = replace(
        described, digests={**described.digests, **digests},
        parts=[*(part for part in parts if not part.name.startswith(f"{_INPUTS}/")),
               *(Part(name, Path()) for name in texts)],
    )  # fmt: skip
    texts[crate.NAME] = json.dumps(crate.describe(described), indent=1) + "\n"
    temporary = out.with_name(f".{out.name}.{os.getpid()}.new")
    try:
        with zipfile.ZipFile(temporary, "x", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            _fill(archive, texts, parts)
        temporary.replace(out)
    finally:
        temporary.unlink(missing_ok=True)
    return out


def _fill(archive: zipfile.ZipFile, texts: Mapping[str, str], parts: Iterable[Part]) -> None:
    """Write all files, and what their checksums were while they were written."""
    sums: dict[str, str] = {}
    for name, text in texts.items():
        archive.writestr(_entry(name), text.encode(), zipfile.ZIP_DEFLATED, 1)
        sums[name] = hashlib.sha256(text.encode()).hexdigest()
    for part in parts:
        for name, path in part.files():
            if manifest.why_unsafe(name):
                raise DataError(f"{name!r} {manifest.why_unsafe(name)}, and cannot be packed")
            entry = _entry(name)
            with path.open("rb") as source, archive.open(entry, "w", force_zip64=True) as target:
                sums[name] = copied(source, target)
    archive.writestr(_entry(manifest.NAME), manifest.written(sums), zipfile.ZIP_DEFLATED, 1)


def _entry(name: str) -> zipfile.ZipInfo:
    """Return an entry without a time or owner: what is packed twice is packed the same."""
    entry = zipfile.ZipInfo(name)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o100644 << 16
    return entry


def copied(source: IO[bytes], target: IO[bytes]) -> str:
    """Copy a stream into another; return the SHA-256 of what was copied."""
    digest = hashlib.sha256()
    while content := source.read(_BLOCK):
        digest.update(content)
        target.write(content)
    return digest.hexdigest()


def _inputs(packing: Packing) -> tuple[list[crate.Input], list[Part]]:
    """Return the inputs, and those of them that are packed."""
    inputs, packed, taken = list[crate.Input](), list[Part](), set[str]()
    for path in packing.plan.inputs:
        one = crate.input_of(path)
        if Path(path).exists() and (packing.data or _is_small(Path(path))):
            name, number = file_safe(Path(path).name), 1
            while name in taken:
                number += 1
                name = f"{number}-{file_safe(Path(path).name)}"
            taken.add(name)
            end = "/" if Path(path).is_dir() else ""
            one = replace(one, name=f"{_INPUTS}/{name}{end}")
            packed.append(Part(one.name, Path(path)))
        inputs.append(one)
    return inputs, packed


def _is_small(path: Path) -> bool:
    """Tell whether an input always goes along: masks, regions and tables, not datasets."""
    if path.is_dir():
        return not what_instead(path) and contents.size(Part("/", path)) <= _SMALL_BYTES
    return path.is_file() and path.stat().st_size <= _SMALL_BYTES


def _recipe(folder: RunFolder, inputs: Sequence[crate.Input]) -> str:
    """Return the recipe as it was run, for the bundle's folder: with its inputs, without output.

    Raises
    ------
    DataError
        If there is none, or its paths cannot be replaced.
    """
    try:
        text = folder.recipe_text.read_text("utf-8")
    except OSError as error:
        raise DataError(f"{folder.recipe_text} is missing; run the recipe again") from error
    document = tomli.loads(text)
    there = _there(document, inputs)
    output = document.get("project", {}).get("output")
    if output:
        there[output] = f"runs/{document['project']['name']}"
    wanted = _replaced(document, there)
    for old, new in there.items():
        text = text.replace(written.value(old), written.value(new))
        text = text.replace(f"'{old}'", written.value(new))
    if tomli.loads(text) != wanted:
        raise DataError(f"the paths in {folder.recipe_text} cannot be replaced by the bundle's")
    return text


def _there(document: Any, inputs: Sequence[crate.Input]) -> dict[str, str]:
    """Return the bundle's paths of inputs by how a recipe names them: by path, or a pattern.

    Raises
    ------
    DataError
        If a pattern would mean something else in the bundle.
    """
    packed = {one.path: one.name.rstrip("/") for one in inputs if one.name}
    found = dict(packed)
    for key, said in _texts(document):
        if said.startswith(_PACKAGED):
            end = f"/{said.removeprefix(_PACKAGED)}"
            named = [name for path, name in packed.items() if path.endswith(end)]
            found |= {said: named[0]} if named else {}
        elif said.startswith("/") and any(sign in said for sign in "*?["):
            here = f"{_INPUTS}/{Path(said).name}"
            meant = {name for path, name in packed.items() if fnmatchcase(path, said)}
            if meant and meant != {name for name in packed.values() if fnmatchcase(name, here)}:
                raise DataError(f"'{said}' would mean other data in a bundle: pack without --data")
            found |= {said: here} if meant else {}
        elif said.startswith("/") and _DATASET in said:
            found |= _of_each_dataset(said, packed)
        if said in found and starts_from_run(key):
            found[said] = f"{{recipe}}/{found[said].removeprefix('{recipe}/')}"
    return found


def _of_each_dataset(said: str, packed: Mapping[str, str]) -> dict[str, str]:
    """Return the bundle's path of what has the name of its dataset in its own, if it is packed.

    Raises
    ------
    DataError
        If it could not have such a path.
    """
    pattern = re.compile("(.*)".join(map(re.escape, said.split(_DATASET))))
    here = f"{_INPUTS}/{Path(said).name}"
    found = [
        (name, match[1]) for path, name in packed.items() if (match := pattern.fullmatch(path))
    ]
    if any(name != here.replace(_DATASET, dataset) for name, dataset in found):
        raise DataError(f"'{said}' would mean another table in a bundle: rename the tables")
    return {said: here} if found else {}


def _texts(value: Any, key: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
    if isinstance(value, dict | list):
        for name, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _texts(item, (*key, name))
    elif isinstance(value, str):
        yield key, value


def _replaced(value: Any, by: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _replaced(item, by) for key, item in value.items()}
    if isinstance(value, list):
        return [_replaced(item, by) for item in value]
    return by.get(value, value) if isinstance(value, str) else value


def _readme(meta: Mapping[str, Any], inputs: Sequence[crate.Input]) -> str:
    missing = [one for one in inputs if not one.name]
    lines = "\n".join(f"    {one.sha256 or 'not there any more':64}  {one.path}" for one in missing)
    data = _WITHOUT.format(lines=lines) if missing else _WITH if inputs else ""
    return _HOW.format(title=meta["title"] or meta["name"], name=meta["name"], data=data)
