"""States of products that are changed in place, saved before a change, to go back to them.

A saved state is a record, and copies of files of the product as it was. Where the filesystem
can share content between files (reflink), it is all of them: a *snapshot*. Elsewhere it is those
that the change may touch; the others stay where they are until a later change touches them: an
*undo*. Files that several states have in common are kept once.

In ``.casarun/saved/<product>/``, ``<state>.json`` has `unit` (the product), `holds` (the changes
that it held), `files` (name in ``files/``, size and modification time, by path) and `left` (size,
modification and change time of what is not copied, by path).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final

from ..errors import DataError
from ..files import (
    clone_file,
    copy_file,
    read_json,
    remove_tree,
    sync_folder,
    tree_size,
    write_json,
)
from ..folder import RunFolder, file_safe, is_inside
from ..syncing import sync_trees

BYTES_A_SECOND: Final = 2e8
"""How fast files are taken to be copied: an ordinary disk."""

WORTH: Final = 0.1
"""A state is saved where that takes at most this share of the time to make it again."""

FREELY: Final = 4_000_000
"""Bytes that are always worth it."""

DISK_SHARE: Final = 0.1
"""And at most this share of the free disk."""

_ALWAYS: Final = frozenset({"table.lock", "HISTORY"})
"""What every task writes, also in tables that it only reads."""


@dataclass(frozen=True)
class SavedState:
    """A state of a product, as its record says.

    Attributes
    ----------
    unit : str
        The product, relative to the run folder.
    holds : tuple of str
        Fingerprints of the changes that it held, the one that made it first.
    files : mapping of str to str
        By path in the product (``.`` if it is a file itself): the copy's name, size and
        modification time, and the mark of the file that it is of, with blanks between.
    left : mapping of str to str
        By path: the mark of a file that was not copied. A later state may have, before the
        first change that touched it.
    """

    unit: str
    holds: tuple[str, ...]
    files: Mapping[str, str] = field(default_factory=dict)
    left: Mapping[str, str] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        """Whether it is a snapshot of all files."""
        return not self.left


@dataclass(frozen=True)
class Save:
    """What is asked of a step's process: to save a product before it changes it.

    Attributes
    ----------
    unit : str
        The product.
    holds : tuple of str
        The changes that it holds.
    seconds : tuple of float
        How long each of them is expected to take, in s.
    """

    unit: str
    holds: tuple[str, ...]
    seconds: tuple[float, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Save:
        """Build it from what `to_json` gave."""
        return cls(str(data["unit"]), tuple(data["holds"]), tuple(data["seconds"]))


class SavedStates:
    """The saved states of a run folder.

    Parameters
    ----------
    folder : RunFolder
        Whose.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder

    def save(self, wanted: Save, leaves: Callable[[], Collection[str]]) -> SavedState | None:
        """Save, durably, the state that a product is in.

        Parameters
        ----------
        wanted : Save
            The product and its state.
        leaves : callable
            Returns the paths in the product of files that the change to come does not touch;
            called only where they cannot be shared.

        Returns
        -------
        SavedState or None
            None where it is not worth its time and disk, or the product has links in it.

        Raises
        ------
        OSError
            If it cannot be written. Nothing of it is left then.
        """
        product, place = self._product(wanted.unit), self._place(wanted.unit)
        files = dict(_files(product))
        if any(path.is_symlink() or not path.is_file() for path in files.values()):
            return None
        store = place / "files"
        store.mkdir(parents=True, exist_ok=True)
        worth_s = sum(wanted.seconds[self._prune(wanted) :])
        shared = _can_share(next(iter(files.values()), None), store)
        left = frozenset() if shared else _not_always(leaves())
        marks = {name: _mark(path) for name, path in files.items()}
        copies = {n: store / _key(n, marks[n]) for n in sorted(files) if n not in left}
        n_bytes = sum(files[n].stat().st_size for n, c in copies.items() if not c.exists())
        if not shared and not _is_worth(n_bytes, worth_s, store):
            return None
        for name, copy in copies.items():
            _keep(files[name], copy)
        sync_folder(store)
        state = SavedState(
            wanted.unit,
            wanted.holds,
            {n: f"{copy.name} {_own_mark(copy)} {marks[n]}" for n, copy in copies.items()},
            {n: marks[n] for n in sorted(files) if n in left},
        )
        write_json(self._record(wanted.unit, wanted.holds), asdict(state))
        return state

    def find(self, unit: str, holds: Sequence[str]) -> SavedState | None:
        """Return a state that was saved and can be had again, or None."""
        try:
            data = read_json(self._record(unit, holds))
            state = SavedState(
                str(data["unit"]), tuple(data["holds"]), dict(data["files"]), dict(data["left"])
            )
            usable = (state.unit, state.holds) == (unit, tuple(holds)) and self._is_usable(state)
        except (OSError, DataError, KeyError, TypeError, ValueError, AttributeError):
            return None
        return state if usable else None

    def _is_usable(self, state: SavedState) -> bool:
        """Say whether all that a state needs is there as it was."""
        store, product = self._place(state.unit) / "files", self._product(state.unit)
        for name, text in state.files.items():
            copy, size, time, mark = text.split(" ")
            if not is_inside(name) or copy != _key(name, mark):
                return False
            if _own_mark(store / copy) != f"{size} {time}":
                return False
        return all(
            is_inside(name) and (_mark(product / name) == mark or _has(store, name, mark))
            for name, mark in state.left.items()
        )

    def restore(self, state: SavedState) -> None:
        """Bring a product back to a saved state, durably.

        Raises
        ------
        DataError
            If the product is not in the run folder.
        OSError
            If files cannot be read or written; the product is in no state then.
        """
        product, store = self._product(state.unit), self._place(state.unit) / "files"
        wanted = {name: text.split(" ")[3] for name, text in state.files.items()} | {**state.left}
        for name, path in list(_files(product)):
            if name not in wanted:
                remove_tree(path)
        for name, mark in wanted.items():
            target = product / name if name != "." else product
            if target.exists() and _mark(target) == mark:
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            fresh = target.with_name(f".{target.name}.restored")
            remove_tree(fresh)
            copy_file(store / _key(name, mark), fresh)
            fresh.replace(target)
        _remove_empty(product, wanted)
        sync_trees((product,))
        sync_folder(product.parent)

    def forget(self, state: SavedState) -> None:
        """Remove a saved state's record; its copies go when the next state is saved."""
        self._record(state.unit, state.holds).unlink(missing_ok=True)

    def forget_all(self, unit: str) -> None:
        """Remove all saved states of a product, the records first."""
        for record in sorted(self._place(unit).glob("*.json")):
            record.unlink(missing_ok=True)
        remove_tree(self._place(unit))

    def size(self, unit: str) -> int:
        """Return the bytes of all saved states of a product."""
        return tree_size(self._place(unit))

    def _prune(self, wanted: Save) -> int:
        """Remove what belongs to another history of a product than the one that goes on now.

        Return how many changes the last state holds that was saved in this one.
        """
        place, needed, last = self._place(wanted.unit), set(), 0
        for record in sorted(place.glob("*.json")):
            try:
                data = read_json(record)
                holds = tuple(data["holds"])
                copies = [str(text).split(" ")[0] for text in data["files"].values()]
                copies += [_key(name, str(mark)) for name, mark in data["left"].items()]
            except (OSError, DataError, KeyError, TypeError, AttributeError):
                record.unlink(missing_ok=True)
                continue
            both = min(len(holds), len(wanted.holds))
            if holds[:both] == wanted.holds[:both]:
                needed.update(copies)
                last = max(last, len(holds) if len(holds) < len(wanted.holds) else 0)
            else:
                record.unlink()
        for copy in (place / "files").iterdir():
            if copy.name not in needed:
                remove_tree(copy)
        return last

    def _product(self, unit: str) -> Path:
        """Return where a product is: in the run folder, and not by way of a link."""
        path = self._folder.root / unit
        real = self._folder.root.resolve() / unit
        if not is_inside(unit) or path.resolve() != real:
            raise DataError(f"{unit} leads out of the run folder, to {path.resolve()}")
        return path

    def _place(self, unit: str) -> Path:
        short = hashlib.sha256(unit.encode()).hexdigest()[:8]
        return self._folder.saved / f"{file_safe(PurePosixPath(unit).name)}-{short}"

    def _record(self, unit: str, holds: Sequence[str]) -> Path:
        return self._place(unit) / f"{_digest('/'.join(holds))}.json"


def _files(product: Path) -> Iterator[tuple[str, Path]]:
    """Yield path in the product and path of each file, and of what is no folder, in it."""
    if not product.is_dir() or product.is_symlink():
        if product.is_symlink() or product.exists():
            yield ".", product
        return
    for root, folders, names in os.walk(product):
        here = Path(root)
        links = [name for name in folders if (here / name).is_symlink()]
        for name in (*names, *links):
            path = here / name
            yield str(path.relative_to(product)), path


def _not_always(names: Collection[str]) -> frozenset[str]:
    return frozenset(name for name in names if _ALWAYS.isdisjoint(name.split("/")))


def _mark(path: Path) -> str:
    """Return a file's size, modification time and change time: empty if there is none."""
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    return f"{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}"


def _has(store: Path, name: str, mark: str) -> bool:
    """Say whether a file was copied later, before the first change that touched it."""
    copy = store / _key(name, mark)
    return copy.is_file() and str(copy.stat().st_size) == mark.split(":")[0]


def _own_mark(path: Path) -> str:
    """Return a copy's size and modification time."""
    status = path.lstat()
    return f"{status.st_size} {status.st_mtime_ns}"


def _key(name: str, mark: str) -> str:
    return _digest(f"{name}\0{mark}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _can_share(sample: Path | None, store: Path) -> bool:
    """Say whether the filesystem shares content between a product and its copies."""
    if sample is None:
        return False
    probe = store / "probe"
    remove_tree(probe)
    try:
        return clone_file(sample, probe)
    finally:
        remove_tree(probe)


def _is_worth(n_bytes: int, worth_s: float, store: Path) -> bool:
    """Say whether copies of so many bytes are worth their time and disk."""
    free = shutil.disk_usage(store).free
    most = max(FREELY, WORTH * worth_s * BYTES_A_SECOND)
    return n_bytes <= min(most, DISK_SHARE * free)


def _keep(source: Path, copy: Path) -> None:
    """Copy a file, durably, unless that was done before."""
    if copy.exists():
        return
    fresh = copy.with_name(f"{copy.name}.new")
    remove_tree(fresh)
    try:
        copy_file(source, fresh)
        sync_trees((fresh,))
    except OSError:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise
    fresh.rename(copy)


def _remove_empty(product: Path, wanted: Collection[str]) -> None:
    """Remove the folders that hold nothing of what a state has."""
    folders = {str(above) for name in wanted for above in PurePosixPath(name).parents}
    for root, _, _ in list(os.walk(product, topdown=False)):
        if str(Path(root).relative_to(product)) not in folders:
            remove_tree(Path(root))
