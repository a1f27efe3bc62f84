"""A recipe is opened: read, checked by itself, and given its run folder."""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from ..errors import DataError, Problem, RefusedError, did_you_mean
from ..files import remove_tree
from ..folder import PRODUCT_FOLDERS, RECORDS, RunFolder, strange_in
from ..lock import FolderLock, patiently
from ..recipe.load import LoadedRecipe, load
from ..recipe.model import Dataset
from ..recipe.positions import refused
from ..recipe.schema import judge

_MOMENT_S: Final = 2.0
"""How long to wait, in s, for what holds a run folder for a moment only."""


@dataclass(frozen=True)
class Options:
    """What the command line adds to a recipe.

    Attributes
    ----------
    output : Path or None
        The run folder, over the recipe's.
    overrides : tuple of str
        ``KEY=VALUE`` over the recipe's values.
    jobs : int or None
        How many steps may run at once.
    until : str
        The last stage to run.
    only : str
        The one dataset to run.
    fresh : bool
        Forget what an earlier run left.
    portable : bool
        Check what holds on every machine: see `casarun.recipe.load.load`.
    part : tuple of int, optional
        Number, from 1, and of how many: this part of the datasets, in a run folder of its own.
    """

    output: Path | None = None
    overrides: tuple[str, ...] = ()
    jobs: int | None = None
    until: str = ""
    only: str = ""
    fresh: bool = False
    portable: bool = False
    part: tuple[int, int] | None = None


@dataclass(frozen=True)
class Reduction:
    """A recipe that was read, and the folder that its run lives in."""

    loaded: LoadedRecipe
    folder: RunFolder
    options: Options

    def refused(self, problems: Sequence[Problem]) -> RefusedError:
        """Return the refusal that shows problems at their places in the recipe."""
        return refused(problems, self.loaded.source)


def open_recipe(recipe: Path, options: Options) -> Reduction:
    """Read and check a recipe by itself.

    Raises
    ------
    RefusedError
        With all that is wrong with it, each at its place.
    """
    loaded = _against_casa(
        load(recipe, options.overrides, output=options.output, portable=options.portable)
    )
    output = options.output or Path(loaded.recipe.project.output)
    reduction = Reduction(loaded, RunFolder(output.absolute()), options)
    if options.part:
        reduction = _part(reduction, *options.part)
        loaded = reduction.loaded
    if options.until:
        from ..stages.draft import ORDER

        _known(reduction, "until", options.until, ORDER)
    _known(reduction, "only", options.only, [d.name for d in loaded.recipe.dataset])
    return reduction


def _against_casa(loaded: LoadedRecipe) -> LoadedRecipe:
    """Hold a recipe against the definitions of the installed CASA's tasks.

    Raises
    ------
    RefusedError
        If CASA would refuse a parameter.
    """
    from ..casa.recipe_parameters import static

    found = static(loaded.recipe)
    warnings = (*loaded.warnings, *(p for p in found if p.severity == "warning"))
    if any(problem.severity == "error" for problem in found):
        raise refused([*loaded.warnings, *found], loaded.source)
    return replace(loaded, warnings=warnings)


def _known(reduction: Reduction, option: str, value: str, known: Sequence[str]) -> None:
    if value and value not in known:
        from ..selection.error import listed

        raise reduction.refused(
            [Problem(f"--{option}: '{value}' is none of {listed(known)}"
                     f"{did_you_mean(value, known)}")]
        )  # fmt: skip


def with_tables(reduction: Reduction) -> list[tuple[int, Dataset]]:
    """Return the datasets, each with the number of the table that it is from."""
    loaded = reduction.loaded
    keys = (loaded.source.in_document(("dataset", n)) for n in range(len(loaded.recipe.dataset)))
    return [(int(key[1]), one) for key, one in zip(keys, loaded.recipe.dataset, strict=True)]


def with_datasets(reduction: Reduction, datasets: Sequence[tuple[int, Dataset]]) -> Reduction:
    """Return a recipe with other datasets, each from a table by its number."""
    loaded = reduction.loaded
    moved = {key: other for key, other in loaded.source.moved.items() if key[0] != "dataset"}
    for number, (table, _) in enumerate(datasets):
        if number != table:
            moved["dataset", number] = ("dataset", table)
    recipe = replace(loaded.recipe, dataset=tuple(one for _, one in datasets))
    return replace(
        reduction, loaded=replace(loaded, recipe=recipe, source=replace(loaded.source, moved=moved))
    )


def _part(reduction: Reduction, number: int, of: int) -> Reduction:
    """Return a recipe with every so-many-th of its datasets, and a run folder of its own.

    Raises
    ------
    RefusedError
        If none falls to this part, or they come one after the other.
    """
    datasets = with_tables(reduction)
    if reduction.loaded.watching:
        said = "with dataset.watch, what falls to a part would change: watch, or run in parts"
        raise reduction.refused([Problem(f"--part: {said}")])
    mine = datasets[number - 1 :: of]
    if not mine:
        said = f"there are {len(datasets)} datasets, and none falls to part {number} of {of}"
        raise reduction.refused([Problem(f"--part: {said}")])
    folder = RunFolder(reduction.folder.root / f"part-{number}-of-{of}")
    return replace(with_datasets(reduction, mine), folder=folder)


def judged(reduction: Reduction) -> Reduction:
    """Let JSON Schema have its say before anything is planned or run."""
    problems = judge(reduction.loaded.document)
    if problems:
        raise reduction.refused(problems)
    return reduction


def versions() -> dict[str, str]:
    """Return the versions of the software that products depend on."""
    from importlib import metadata

    from .. import __version__

    found = {"casarun": __version__}
    for name in ("casatools", "casatasks", "casadata", "numpy"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@contextmanager
def uncollected() -> Iterator[None]:
    """Look for no garbage while a plan is made: it is many objects that live long.

    Afterwards they count as old, as if they had been looked through.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.unfreeze()
        gc.enable()


@contextmanager
def held(
    folder: RunFolder, patience_s: float = 0.0, records: Collection[str] = RECORDS
) -> Iterator[None]:
    """Hold a run folder; refuse one that is something else.

    Parameters
    ----------
    folder : RunFolder
        Which.
    patience_s : float
        How long to wait for another run that has it, in s.
    records : collection of str
        The folders of records that are looked through for what leads elsewhere. The caller
        looks through the others before anything is written or read there.

    Raises
    ------
    RefusedError
        If it is no run folder.
    LockedError
        If another run works in it.
    """
    root = folder.root
    if root.exists() and not root.is_dir():
        raise RefusedError([Problem(f"{root} is not a folder; choose another with --output")])
    if root.is_dir() and not folder.private.is_dir() and any(root.iterdir()):
        raise RefusedError(
            [Problem(f"{root} is not empty and not a run folder; choose another with --output")]
        )
    keep_inside(folder, records)
    if folder.batch.is_file():  # a slice that begins has the lock for a moment
        patience_s = max(patience_s, _MOMENT_S)
    lock = FolderLock(folder.lock, folder.status)
    with patiently(lock, patience_s), matplotlib_in(folder.private / "matplotlib"):
        yield


@contextmanager
def matplotlib_in(folder: Path) -> Iterator[None]:
    """Let Matplotlib keep its list of fonts in a folder, instead of in the user's home.

    Must come before the process is started that the steps are forked from. A list that the user
    has is taken over: to make one, Matplotlib reads all fonts (0.4 s with 126 of them).
    """
    if "MPLCONFIGDIR" in os.environ:
        yield
        return
    with suppress(OSError, RuntimeError):  # as where there is no home
        _take_over_fonts(folder)
    os.environ["MPLCONFIGDIR"] = str(folder)
    try:
        yield
    finally:
        del os.environ["MPLCONFIGDIR"]


def _take_over_fonts(folder: Path) -> None:
    """Copy the user's lists of fonts to a folder that is not there yet."""
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    lists = list(Path(caches, "matplotlib").glob("fontlist-v*.json"))
    if lists and not folder.exists():
        folder.mkdir(parents=True)
        for path in lists:
            shutil.copyfile(path, folder / path.name)


def keep_inside(folder: RunFolder, records: Collection[str] = RECORDS) -> None:
    """Refuse a run folder in which something leads elsewhere.

    Parameters
    ----------
    folder : RunFolder
        The folder.
    records : collection of str
        See `casarun.folder.strange_in`.

    Raises
    ------
    RefusedError
        With what it is, and where it leads.
    """
    found = strange_in(folder, records)
    if found is None:
        return
    path, what = found
    leads = f" to {path.readlink()}" if path.is_symlink() else ""
    raise RefusedError(
        [Problem(f"{path} is {what}{leads}: casarun makes none, and neither writes nor reads "
                 "outside of a run folder. Remove it, or choose another folder with --output")]
    )  # fmt: skip


def wipe(folder: RunFolder, but: str = "") -> None:
    """Forget all that earlier runs left in a run folder, but for one file. The caller holds it."""
    for name in PRODUCT_FOLDERS:
        remove_tree(folder.root / name)
    for path in sorted(folder.private.iterdir()):
        if path != folder.lock and path.name != but:
            remove_tree(path)


def run_folder(path: Path) -> RunFolder:
    """Return a run's folder.

    Raises
    ------
    DataError
        If there is no run in it.
    RefusedError
        If something in it leads elsewhere.
    """
    folder = RunFolder(path.absolute())
    keep_inside(folder)
    if not (folder.journal.is_file() or folder.batch.is_file()):
        raise DataError(_no_run(path))
    return folder


def _no_run(path: Path) -> str:
    """Say what a path is that was taken for a run folder."""
    if path.is_file():
        return f"{path} is a file, not a run folder: `casarun {path}` would run it as a recipe"
    if path.exists():
        return f"{path}: not a run folder (it has no .casarun/journal.jsonl)"
    near = Path("runs") / path.name
    hint = f"; did you mean {near}?" if RunFolder(near).journal.is_file() else ""
    return f"{path}: there is no such folder{hint}"
