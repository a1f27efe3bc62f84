"""Calibration tables that are known before the first solution: yours, or of a ``[[step]]``.

They and what `priors` makes are applied before every solution and in the end. Tables from outside
the run folder are copied into it, so that what was applied stays with the run, and proven to be of
the dataset.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from pathlib import Path, PurePosixPath

from ..casa import caltable_files
from ..errors import KeyPath, did_you_mean
from ..folder import file_safe
from ..plan import Check, Step
from ..recipe.model import CalTable
from ..selection import SelectionError
from ..selection import fields as selected_fields
from . import priors
from .applied_tables import Known, Table, table_path
from .draft import Draft, Subject, check

NEAREST = "nearest"
"""A ``gainfield`` that leaves it to CASA which field's solutions are taken."""


def steps(draft: Draft, subject: Subject) -> list[Table]:
    """Add the steps that bring in what is known before; return the tables in order."""
    tables = priors.steps(draft, subject)
    for index, entry in enumerate(draft.recipe.calibrate.tables):
        taken = {table.kind for table in tables}
        path = path_of(entry, subject)
        kind = _kind(path, taken)
        title = f"known table {PurePosixPath(path).name}"
        known = Known(title, entry.gainfield, entry.spwmap, entry.calwt)
        if path.startswith("/"):
            if _is_wrong(draft, subject, index, path):
                continue
            _take(draft, subject, index, kind, path)
            path = table_path(subject, kind)
        _fits(draft, subject, index)
        tables.append(Table(kind, path, False, entry.interp, known=known))
    return tables


def path_of(entry: CalTable, subject: Subject) -> str:
    """Return the path of a table for a dataset: absolute, or from the run folder."""
    return str(PurePosixPath(entry.table.replace("{dataset}", subject.name)))


def _kind(path: str, taken: Iterable[str]) -> str:
    """Return a name for a table that no other has, and that none of the chain has."""
    name = f"known.{file_safe(PurePosixPath(path).name)}"
    number = 2
    kind = name
    while kind in taken:
        kind, number = f"{name}.{number}", number + 1
    return kind


def _is_wrong(draft: Draft, subject: Subject, index: int, path: str) -> bool:
    """Tell whether a path from outside cannot be a table of a dataset, and say why."""
    key: KeyPath = ("calibrate", "tables", index)
    where = Path(path)
    if not where.exists():
        draft.problem(f"no such calibration table: {path}{_sibling(where)}", key)
        return True
    instead = caltable_files.what_instead(where)
    if instead:
        draft.problem(f"{path} is {instead}, not a calibration table", key)
        return True
    count = caltable_files.rows(where / "ANTENNA")
    highest = max((one.id for one in subject.observation.antennas), default=-1)
    if count is not None and count <= highest:
        draft.problem(
            f"{path} is a table of {count} antennas, and dataset {subject.name} has at least "
            f"{highest + 1}: it was made from other data",
            key,
        )
    return count is not None and count <= highest


def _sibling(path: Path) -> str:
    """Suggest another table of the same folder, or say that there is no such folder."""
    try:
        return did_you_mean(
            path.name, (entry.name for entry in islice(path.parent.iterdir(), 10_000))
        )
    except OSError:
        return "; nor is there such a folder"


def _take(draft: Draft, subject: Subject, index: int, kind: str, source: str) -> None:
    """Add the step that copies a table into the run folder, and proves that it fits."""
    target = table_path(subject, kind)
    draft.add(
        f"{subject.name}.{kind}",
        "copy",
        {"source": source, "target": target},
        stage="calibrate",
        title=f"take {PurePosixPath(source).name}, a calibration table of yours",
        reads=(source,),
        writes=(target,),
        checks=(check("caltable", path=target), _proof(draft, subject, index, target, source)),
        dataset=subject.name,
    )


def _proof(draft: Draft, subject: Subject, index: int, path: str, source: str) -> Check:
    """Return the post-condition that a table is of a dataset, and has solutions for all of it."""
    observation, roles = subject.observation, subject.roles
    wanted = observation.spws_of_fields({*roles.calibrators, *roles.targets})
    return check(
        "known_table",
        path=path,
        source=source,
        key=f"calibrate.tables[{index}]",
        antennas={str(one.id): one.name for one in observation.antennas},
        spws={
            str(spw): [observation.spw(spw).first_hz, observation.spw(spw).last_hz]
            for spw in wanted
        },
        spwmap=list(draft.recipe.calibrate.tables[index].spwmap),
    )


def _fits(draft: Draft, subject: Subject, index: int) -> None:
    """Refuse an ``spwmap`` or a ``gainfield`` that is not of a dataset."""
    entry = draft.recipe.calibrate.tables[index]
    key: KeyPath = ("calibrate", "tables", index)
    spws = [spw.id for spw in subject.observation.spws]
    needed = max(spws, default=-1) + 1
    if entry.spwmap and len(entry.spwmap) < needed:
        draft.problem(
            f"expected an entry for each of the {needed} spw{'s' if needed != 1 else ''} of "
            f"dataset {subject.name}, found {len(entry.spwmap)}: entry i is the spw whose "
            "solutions spw i takes",
            (*key, "spwmap"),
        )
    # Windows without data, such as some of system temperatures, are not in the metadata.
    last = max(needed, len(entry.spwmap)) - 1
    for place, spw in enumerate(entry.spwmap):
        if spw > last:
            draft.problem(
                f"dataset {subject.name} has no spw {spw}: the last is {last}",
                (*key, "spwmap", place),
            )
    if entry.gainfield and entry.gainfield != NEAREST:
        try:
            selected_fields(entry.gainfield, subject.observation)
        except SelectionError as error:
            draft.problem(f"dataset {subject.name}: {error}", (*key, "gainfield"))


def in_time(draft: Draft, subjects: Iterable[Subject]) -> None:
    """Refuse tables of the run folder that no step makes before the first solution.

    Those that are made are proven to be of the dataset, as the user's own are.

    Parameters
    ----------
    draft : Draft
        With all steps in their order, the recipe's own among them.
    subjects : iterable of Subject
        The datasets.
    """
    for subject in draft.each("dataset", subjects):
        for index, entry in enumerate(draft.recipe.calibrate.tables):
            path = path_of(entry, subject)
            maker = None if path.startswith("/") else _made_in_time(draft, path, index)
            if maker is not None:
                step = draft.steps[maker]
                proof = _proof(draft, subject, index, path, path)
                draft.steps[maker] = replace(step, checks=(*step.checks, proof))


def _made_in_time(draft: Draft, path: str, index: int) -> int | None:
    """Return the place of the step that makes a table; None, with a problem said, if none does."""
    steps, key = draft.steps, ("calibrate", "tables", index)
    first = next((at for at, step in enumerate(steps) if path in step.reads and _solves(step)), -1)
    if first < 0:
        return None  # nothing is solved: why, has been said
    makers = [at for at, step in enumerate(steps) if path in step.writes]
    if makers and makers[0] < first:
        return makers[0]
    if makers:
        draft.problem(
            f"'{steps[makers[0]].id}' makes '{path}' only after '{steps[first].id}', the first "
            'that applies it; place the step before = "calibrate"',
            key,
        )
        return None
    made = [written for step in steps[:first] if step.stage == "step" for written in step.writes]
    own = f'; a table of your own is "{{recipe}}/{path}", from the recipe\'s folder'
    draft.problem(f"no step makes '{path}'{did_you_mean(path, made) or own}", key)
    return None


def _solves(step: Step) -> bool:
    return step.stage in ("calibrate", "apply")
