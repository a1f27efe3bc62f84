"""Datasets that come one after the other: a start takes what is whole, and keeps what was made.

A dataset that is gone, or is written again, stays in the plan as it was: the run folder holds
what was made of it. One that recipe or CASA refuse is set aside, and the others go on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ..engine.arrivals import Arrival, Arrivals, arrivals, came, waited_long, waits_for
from ..engine.seen import look
from ..errors import Problem, RefusedError
from ..files import identity
from ..plan import digest
from ..quantities import parse
from ..recipe.alike import Line, once
from ..recipe.build import kept_dataset
from ..recipe.model import Dataset, KeptDataset
from ..recipe.paths import Watching
from ..stages.draft import kind
from .opening import Reduction, with_datasets, with_tables
from .steps import Listener

if TYPE_CHECKING:
    from .planning import Planned

_T = TypeVar("_T")


class Watch:
    """A recipe with those of its datasets that are to be reduced now.

    Parameters
    ----------
    reduction : Reduction
        The recipe; its folder is held by the caller.
    listener : callable, optional
        Is told ``dataset-noted``: `said`, its `dataset` and `file`, and `loud` where it was not
        said before and is no matter of course.

    Attributes
    ----------
    reduction : Reduction
        With the datasets of now.
    aside : dict of str to str
        Datasets that were refused, by their names, and why.

    Raises
    ------
    DataError
        If it cannot be read which datasets were reduced before.
    """

    def __init__(self, reduction: Reduction, listener: Listener | None = None) -> None:
        self.reduction = reduction
        self.aside: dict[str, str] = {}
        self._notes: list[Line] = []
        self._listener = listener
        watches = bool(reduction.loaded.watching)
        if watches or reduction.folder.watched.exists():
            self._memory = arrivals(reduction.folder)
        else:
            self._memory = Arrivals(reduction.folder)
        if watches:
            self._look()
        elif self._memory.kept:  # by a recipe that watched once
            self._memory.kept = {}
            self._memory.keep()

    @property
    def notes(self) -> list[str]:
        """What there is to say of datasets that came, wait or are gone; of many alike, once."""
        return [note for note, _ in once(self._notes)]

    @property
    def idle(self) -> bool:
        """Whether there is nothing to reduce yet."""
        loaded = self.reduction.loaded
        return bool(loaded.watching) and not (loaded.recipe.dataset or loaded.recipe.cube)

    def _look(self) -> None:
        """Leave out what is not whole, bring back what is gone."""
        loaded = self.reduction.loaded
        groups: dict[int, list[Dataset]] = {}
        for table, dataset in with_tables(self.reduction):
            groups.setdefault(table, []).append(dataset)
        names = {dataset.name for dataset in loaded.recipe.dataset}
        self._memory.kept = {}
        for watching in loaded.watching:
            table = int(watching.key[1])
            here = groups.get(table, [])
            found = [one for dataset in here for one in self._present(dataset, watching)]
            found += self._lost(watching, {dataset.vis for dataset in here}, names)
            groups[table] = sorted(found, key=lambda dataset: dataset.vis)
        self.reduction = with_datasets(
            self.reduction, [(table, one) for table in sorted(groups) for one in groups[table]]
        )
        self._memory.keep()

    def _present(self, dataset: Dataset, watching: Watching) -> Iterator[Dataset]:
        """Yield a dataset that is there, as it is to be taken, if it is."""
        path = dataset.vis
        arrival = self._memory.known.setdefault(path, came(path, dataset.name, watching.pattern))
        arrival.name, arrival.pattern = dataset.name, watching.pattern
        arrival.waits = waits_for(Path(path), parse(dataset.settle, "duration"))
        if arrival.waits and arrival.taken:
            self._say(arrival, f"{path} changes: what was made of it stays until it is whole")
            yield self._kept(arrival, watching)
        elif arrival.waits:
            long = waited_long(arrival)
            self._say(
                arrival,
                f"{path} has not been whole since {arrival.since}" if long
                else f"{path} is left for the next time",
                f": {arrival.waits}",
                loud=long,
            )  # fmt: skip
        elif arrival.refused and arrival.refused_for == self._reason_to_try(path):
            self._set_aside(arrival)
            if arrival.taken:
                yield self._kept(arrival, watching)
        else:
            arrival.refused = arrival.refused_for = ""
            yield dataset

    def _lost(self, watching: Watching, here: set[str], names: set[str]) -> Iterator[Dataset]:
        """Yield the datasets that were reduced and are gone."""
        for path, arrival in sorted(self._memory.known.items()):
            mine = arrival.pattern == watching.pattern or watching.matches(path)
            if path in here or not mine or Path(path).exists():
                continue
            if not arrival.taken:
                self._say(arrival, f"{path} is gone: it was not reduced", loud=True)
                del self._memory.known[path]
            elif arrival.name in names:
                self._say(arrival, f"{path} is gone, and {arrival.name} is another dataset's name "
                          "now: what was made of it is made anew", loud=True)  # fmt: skip
                del self._memory.known[path]
            else:
                self._say(arrival, f"{path} is gone: what was made of it stays", loud=True)
                yield self._kept(arrival, watching)

    def _kept(self, arrival: Arrival, watching: Watching) -> Dataset:
        self._memory.kept[arrival.path] = arrival.identity
        table = {**watching.table, "vis": arrival.path, "name": arrival.name}
        return kept_dataset(table, arrival.form)

    def _say(self, arrival: Arrival, said: str, details: str = "", *, loud: bool = False) -> None:
        about = {"dataset": arrival.name, "file": arrival.path}
        self._notes.append((f"{said}{details}", "", tuple(about.items())))
        if self._listener:
            news = arrival.is_news(said)
            event = {"event": "dataset-noted", "said": f"{said}{details}", "loud": loud and news}
            self._listener(event | about)

    def _set_aside(self, arrival: Arrival) -> None:
        self.aside[arrival.name] = arrival.refused
        self._say(arrival, f"{arrival.name} is set aside: {arrival.refused}", loud=True)

    def _reason_to_try(self, path: str) -> str:
        """Return what changes when a dataset that was refused may do better."""
        document = self.reduction.loaded.document
        return digest([document, look(str(Path(path).resolve()))[0]])

    def through(self, work: Callable[[Reduction], _T], *, unread: bool = False) -> _T:
        """Do something with the recipe; new datasets that are refused are set aside.

        Parameters
        ----------
        work : callable
            What to do.
        unread : bool
            Nothing is made of the datasets yet. So of one that was reduced before it changed, and
            that is refused now, what was made of it then stays; later it is the whole run that
            is refused, and nothing is made anew without it.

        Raises
        ------
        RefusedError
            If it is not they that are refused, or if nothing is left.
        """
        while True:
            try:
                return work(self.reduction)
            except RefusedError as error:
                new = [one for one in self.reduction.loaded.recipe.dataset
                       if self._is_new(one, unread)]  # fmt: skip
                culprits = self._culprits(error, None if unread else work, new)
                rest = [
                    (table, kept)
                    for table, one in with_tables(self.reduction)
                    for kept in ([one] if one not in culprits else self._before(one, table))
                ]
                if not (culprits and rest):
                    raise
                for dataset, why in culprits.items():
                    arrival = self._memory.known[dataset.vis]
                    arrival.refused, arrival.refused_for = why, self._reason_to_try(dataset.vis)
                    self._set_aside(arrival)
                self._memory.keep()
                self.reduction = with_datasets(self.reduction, rest)

    def _before(self, dataset: Dataset, table: int) -> Iterator[Dataset]:
        """Yield a dataset as it was reduced before, if it was."""
        arrival = self._memory.known[dataset.vis]
        for watching in self.reduction.loaded.watching:
            if watching.key[1] == table and arrival.taken:
                yield self._kept(arrival, watching)

    def _culprits(
        self, error: RefusedError, work: Callable[[Reduction], Any] | None, new: Sequence[Dataset]
    ) -> dict[Dataset, str]:
        """Return the new datasets that are to blame for a refusal, each with the reason.

        Where the refusal does not name them, and it changes nothing to do the work, each is tried.
        """
        named = _named(error, self.reduction.loaded.recipe.dataset)
        if named and all(one in new for one in named):
            return {one: "; ".join(dict.fromkeys(said)) for one, said in named.items()}
        tables = with_tables(self.reduction)
        old = [(table, one) for table, one in tables if one not in new]
        if work is None or not new or (old and _refusal(work, with_datasets(self.reduction, old))):
            return {}
        found: dict[Dataset, str] = {}
        for one in new:
            alone = [(table, other) for table, other in tables if other == one or other not in new]
            why = _refusal(work, with_datasets(self.reduction, alone))
            if why:
                found[one] = why
        return found

    def _is_new(self, dataset: Dataset, changed: bool) -> bool:
        """Tell whether a dataset was not reduced yet; or, with `changed`, not as it is now."""
        arrival = self._memory.known.get(dataset.vis)
        if arrival is None or not dataset.watch or isinstance(dataset, KeptDataset):
            return False
        if not arrival.taken:
            return True
        return changed and identity(Path(dataset.vis)) != arrival.identity

    def taking(self, planned: Planned, listener: Listener | None) -> Listener | None:
        """Note which datasets are reduced so far that their files may go, now and step by step.

        Returns
        -------
        callable or None
            To be told the events of the run.
        """
        watched = {one.vis: one for one in planned.reduction.loaded.recipe.dataset
                   if one.watch and one.vis not in self._memory.kept}  # fmt: skip
        if not watched:
            return listener
        run = set(planned.decided.to_run)
        pending: dict[str, set[str]] = {path: set() for path in watched}
        readers: dict[str, list[str]] = {}
        for step in planned.plan.steps:
            for path in watched.keys() & set(step.reads):
                readers.setdefault(step.id, []).append(path)
                if step.id in run:
                    pending[path].add(step.id)
        for path in [path for path, steps in pending.items() if not steps]:
            self._take(watched[path], planned)
        self._memory.keep()

        def tell(event: dict[str, Any]) -> None:
            if event["event"] == "step-done":
                for path in readers.get(event["step"], ()):
                    pending[path].discard(event["step"])
                    if not pending[path]:
                        self._take(watched[path], planned)
                        self._memory.keep()
            if listener:
                listener(event)

        return tell

    def _take(self, dataset: Dataset, planned: Planned) -> None:
        arrival = self._memory.known[dataset.vis]
        arrival.taken, arrival.told = True, ""
        arrival.form = kind(dataset)
        arrival.identity = planned.plan.inputs.get(dataset.vis, arrival.identity)


def require_nothing_lost(reduction: Reduction) -> None:
    """Refuse to forget what was made of datasets that are gone.

    Raises
    ------
    RefusedError
        Naming them.
    """
    lost = [path for path, arrival in arrivals(reduction.folder).known.items()
            if arrival.taken and not Path(path).exists()]  # fmt: skip
    if lost and reduction.loaded.watching:
        number = f"{len(lost)} dataset{'s' if len(lost) > 1 else ''}"
        raise reduction.refused(
            [Problem(f"--fresh would remove what was made of {number} whose files are gone, and "
                     f"which nothing could make again: {', '.join(lost[:3])}. Keep the run folder, "
                     "and make a fresh run in another: --output")]
        )  # fmt: skip


def _named(error: RefusedError, datasets: Sequence[Dataset]) -> dict[Dataset, list[str]]:
    """Return the datasets that a refusal is about, with its words; none if it is not only they."""
    found: dict[Dataset, list[str]] = {}
    for problem in error.problems:
        if problem.severity != "error":
            continue
        if len(problem.key) < 2 or problem.key[0] != "dataset" or not datasets:
            return {}
        found.setdefault(datasets[int(problem.key[1])], []).append(problem.message)
    return found


def _refusal(work: Callable[[Reduction], Any], reduction: Reduction) -> str:
    """Say why something is refused; empty if it is not."""
    try:
        work(reduction)
    except RefusedError as error:
        said = (one.message for one in error.problems if one.severity == "error")
        return "; ".join(dict.fromkeys(said)) or str(error)
    return ""
