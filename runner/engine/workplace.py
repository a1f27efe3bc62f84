"""The work folder of a step: it sees what it declared and nothing else.

What a step reads and updates is there as symbolic links to the real products (images that it
reads as views, see `casarun.image_view`); what it writes stays in the work folder until it is
proven and is then moved into place.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from ..errors import Cause, StepFailedError
from ..files import product_state, remove_tree, sync_folder, walk
from ..image_view import is_image, view
from ..plan import Step
from ..syncing import begin_to_sync, sync_trees


class Workplace:
    """The work folder of one attempt.

    Parameters
    ----------
    root : Path
        The run folder, absolute.
    work : Path
        Where the work folder is made; what is there is removed first.
    step : Step
        Whose it is.
    """

    def __init__(self, root: Path, work: Path, step: Step) -> None:
        self._root = root.resolve()
        self._step = step
        self.work = work
        self._links: dict[Path, Path] = {}
        self._views: set[Path] = set()
        self._folders: dict[Path, Path] = {}

    def make(self) -> None:
        """Make the folder with its links.

        Raises
        ------
        StepFailedError
            If an update's product is missing, or a path leads out of the run folder.
        """
        remove_tree(self.work)
        self.work.mkdir(parents=True)
        step = self._step
        for path in _relative((*step.reads, *step.writes, *step.updates)):
            self._real(path)
        for folder in {(self.work / path).parent for path in _relative(self._all())}:
            folder.mkdir(parents=True, exist_ok=True)
        for path in _relative(step.updates):
            if not (self._root / path).exists():
                raise StepFailedError(Cause.LOST_INPUT, f"{path}, to be changed, does not exist")
        # The outer ones first: what lies in a folder that is linked is there already.
        for path in sorted(_relative((*step.reads, *step.updates)), key=lambda p: p.count("/")):
            self._link(path)

    def _link(self, path: str) -> None:
        place, real = self.work / path, self._root / path
        if not real.exists() or self._is_linked(path):
            return
        inside = any(f"{written}/".startswith(f"{path}/") for written in self._step.writes)
        if inside and real.is_dir():
            # A step that writes into a folder that it reads gets a real folder of links,
            # else it would write past the work folder.
            place.mkdir(parents=True, exist_ok=True)
            for entry in sorted(real.iterdir()):
                if f"{path}/{entry.name}" not in self._step.writes:
                    self._link(f"{path}/{entry.name}")
            return
        if place.is_dir() and not place.is_symlink():
            if any(place.iterdir()):
                raise StepFailedError(
                    Cause.PARAMETER, f"the step needs {path} both whole and in parts"
                )
            place.rmdir()
        target = self._real(path)
        if path not in self._step.updates and is_image(target):
            view(target, place)
            self._views.add(place)
        else:
            place.symlink_to(target)
        self._links[place] = target

    def _is_linked(self, path: str) -> bool:
        """Say whether a path, or a folder that it is in, is there as a link already."""
        parts = path.split("/")
        inside = ("/".join(parts[:n]) for n in range(1, len(parts) + 1))
        return any(self.work / above in self._links for above in inside)

    def _real(self, path: str) -> Path:
        """Return where a product really is; it must be in the run folder."""
        place = self._root / path
        folder = self._folders.get(place.parent)
        if folder is None:
            folder = self._folders[place.parent] = place.parent.resolve()
        real = folder / place.name
        if real.is_symlink():
            real = real.resolve()
        if not real.is_relative_to(self._root) or ".." in PurePosixPath(path).parts:
            raise StepFailedError(
                Cause.PARAMETER,
                f"{path} leads out of the run folder, to {real}",
                "Remove the symbolic link and run again.",
            )
        return real

    def begin_to_sync(self) -> None:
        """Have what the step made written to the disk while it is proven; `place` waits for it."""
        begin_to_sync(self._made((*self._step.writes, *self._step.updates)))

    def _made(self, paths: Iterable[str]) -> list[Path]:
        return [(self.work / path).resolve() for path in paths]

    def place(self, absent: Iterable[str], *, touched: bool = True) -> dict[str, str]:
        """Move what the step wrote into place, all of it proof against a loss of power.

        Parameters
        ----------
        absent : iterable of str
            Declared products that legitimately were not made.
        touched : bool
            The step may have changed what it updates.

        Returns
        -------
        dict of str to str
            State of each product that was written or updated; see `product_state`.

        Raises
        ------
        StepFailedError
            If a product is missing, or an updated one was replaced.
        """
        self._check_written(set(absent))
        changed = (*self._step.writes, *self._step.updates)
        sync_trees(self._made(changed if touched else self._step.writes))
        old = self.work / ".replaced"
        old.mkdir()
        for number, path in enumerate(self._step.writes):
            made, target = self.work / path, self._root / path
            if target.is_symlink() or target.exists():
                target.rename(old / str(number))
            if made.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                made.rename(target)
                sync_folder(target.parent)
        states = {path: product_state(self._root / path) for path in changed}
        return {path: state for path, state in states.items() if state is not None}

    def _check_written(self, absent: set[str]) -> None:
        missing = [
            path
            for path in self._step.writes
            if path not in absent and not (self.work / path).exists()
        ]
        if missing:
            raise StepFailedError(
                Cause.POSTCONDITION,
                f"the step ended without an error and did not make {', '.join(missing)}",
            )
        for path in self._step.writes:
            if (self.work / path).is_symlink():
                raise StepFailedError(
                    Cause.POSTCONDITION, f"the step made {path} as a link, not as a product"
                )
        for place, target in self._links.items():
            path = str(place.relative_to(self.work))
            if path in self._step.updates and not (
                place.is_symlink() and place.resolve() == target
            ):
                raise StepFailedError(
                    Cause.POSTCONDITION, f"the step replaced {path} instead of changing it"
                )

    def undeclared(self) -> list[str]:
        """Return what the step left in the work folder without having declared it."""
        known = {self.work / ".replaced", *(self.work / path for path in self._step.writes)}
        folders: set[Path] = set()
        for place in (*known, *self._links, *(self.work / p for p in _relative(self._all()))):
            for above in place.parents:
                if above in folders:
                    break
                folders.add(above)
        found: list[str] = []

        def visit(path: Path) -> bool:
            if path in known or path in self._views:
                return False
            if path in self._links and path.is_symlink():
                return False
            if path in folders and path.is_dir() and not path.is_symlink():
                return True
            found.append(str(path.relative_to(self.work)))
            return False

        walk(self.work, visit)
        return found

    def _all(self) -> tuple[str, ...]:
        return (*self._step.reads, *self._step.writes, *self._step.updates)

    def remove(self) -> None:
        """Remove the work folder; products that it links to stay."""
        remove_tree(self.work)


def _relative(paths: Iterable[str]) -> list[str]:
    """Return the paths that are in the run folder, each once."""
    return [path for path in dict.fromkeys(paths) if not PurePosixPath(path).is_absolute()]
