"""Run folders as they are found: finished, running, failed, killed, damaged, edited by hand.

Nothing that is read here is trusted to have the shape that casarun wrote it in.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from glob import glob, has_magic
from pathlib import Path
from typing import Any, Final

from ..engine.status import state_of
from ..errors import DataError
from ..folder import RunFolder, is_inside, strange_in
from .places import load

_ENDED: Final = ("done", "failed", "interrupted")

DEEPEST: Final = 4
"""So many folders below a named one are searched for run folders."""


@dataclass(frozen=True)
class Run:
    """One run folder and what its records say.

    Attributes
    ----------
    folder : RunFolder
        Where it is.
    state : str
        ``done``, ``failed``, ``interrupted``, ``running``, ``died`` (killed), ``unheard`` (of
        another host, silent for long), or ``unknown``.
    metrics, meta, plan, status : dict
        ``qa/metrics.json``, ``docs/run.json``, ``scripts/plan.json``, ``.casarun/status.json``;
        empty where they cannot be read.
    problem : str
        Why nothing was read of it; empty where something was.
    """

    folder: RunFolder
    state: str
    metrics: dict[str, Any] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    plan: dict[str, Any] = field(default_factory=dict)
    status: dict[str, Any] = field(default_factory=dict)
    problem: str = ""

    @property
    def about(self) -> Mapping[str, Any]:
        """Title, name, times and versions of the run, as far as it came to a report."""
        return {**mapping(self.meta), **mapping(self.metrics.get("run"))}

    @property
    def verdict(self) -> str:
        """``pass``, ``warn`` or ``fail``; empty for a run that was not judged."""
        found = self.metrics.get("verdict")
        return found if found in ("pass", "warn", "fail") else ""

    def inside(self, path: Any) -> Path | None:
        """Return the absolute path of a file of the run; None where it is none, or leads out."""
        if not isinstance(path, str) or not path or not is_inside(path):
            return None
        try:
            found = (self.folder.root / path).resolve(strict=True)
        except (OSError, ValueError, RuntimeError):
            return None
        return found if found.is_relative_to(self.folder.root.resolve()) else None


def read(folder: RunFolder) -> Run:
    """Read what a run folder's records say."""
    strange = strange_in(folder)
    if strange is not None:
        path, what = strange
        problem = f"{path.relative_to(folder.root)} is {what}: casarun makes none"
        return Run(folder, "unknown", problem=problem)
    status, metrics = load(folder.status), load(folder.metrics)
    meta = load(folder.root / "docs" / "run.json")
    reported = text(mapping(metrics.get("run")).get("state"))
    state = state_of(status) or (reported if reported in _ENDED else "unknown")
    return Run(folder, state, metrics, meta, load(folder.plan), status)


def find(names: Sequence[str]) -> list[RunFolder]:
    """Find run folders.

    Parameters
    ----------
    names : sequence of str
        Run folders, folders that hold some (up to `DEEPEST` below), or globs.

    Returns
    -------
    list of RunFolder
        In the order of `names`, below one of them by name; each once.

    Raises
    ------
    DataError
        If a name leads to no run folder.
    """
    found: dict[Path, RunFolder] = {}
    for name in names:
        paths = [Path(name)] if os.path.lexists(name) or not has_magic(name) else _matches(name)
        runs = [run for path in paths for run in _below(path.absolute(), DEEPEST)]
        if not runs:
            raise DataError(_why_none(name, paths))
        for run in runs:
            found.setdefault(run.resolve(), RunFolder(run))
    return list(found.values())


def _matches(pattern: str) -> list[Path]:
    # Path.glob takes no absolute patterns.
    return [Path(match) for match in sorted(glob(pattern, recursive=True))]  # noqa: PTH207


def _why_none(name: str, paths: Sequence[Path]) -> str:
    if not paths:
        return f"{name}: nothing is there that matches"
    if len(paths) == 1 and not paths[0].exists():
        return f"{name}: no such folder"
    if len(paths) == 1 and not paths[0].is_dir():
        return f"{name}: not a folder"
    return f"{name}: there is no run folder (one that has .casarun/journal.jsonl)"


def _below(path: Path, levels: int) -> Iterator[Path]:
    """Yield a folder that is a run folder, else those below it; links are not followed."""
    if RunFolder(path).journal.is_file():
        yield path
        return
    if levels == 0:
        return
    try:
        with os.scandir(path) as entries:
            folders = sorted(
                entry.path
                for entry in entries
                if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
            )
    except OSError:
        return
    for folder in folders:
        yield from _below(Path(folder), levels - 1)


def mapping(value: Any) -> Mapping[str, Any]:
    """Return a value that should be an object; an empty one where it is not."""
    return value if isinstance(value, Mapping) else {}


def items(value: Any) -> Sequence[Any]:
    """Return a value that should be a list; an empty one where it is not."""
    return value if isinstance(value, list) else ()


def text(value: Any) -> str:
    """Return a value that should be text; an empty one where it is not."""
    return value if isinstance(value, str) else ""


def number(value: Any) -> float | None:
    """Return a value that should be a finite number; None where it is not."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value) if abs(float(value)) < float("inf") else None
    except OverflowError:
        return None
