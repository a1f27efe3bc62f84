"""Post-conditions that need to know the recipe's limits and the roles of fields."""

from __future__ import annotations

from collections.abc import Iterator

from ..plan import Check
from .draft import Draft, Subject, check


def flags(draft: Draft, subject: Subject, *only: int) -> Check:
    """Return the post-condition of how much of a dataset's fields may be flagged.

    Parameters
    ----------
    draft : Draft
        Its recipe has the limit, ``qa.max_flagged_fraction``.
    subject : Subject
        The dataset.
    *only : int
        Fields that are looked at; by default all that have a role.
    """
    limit = draft.recipe.qa.max_flagged_fraction
    roles = subject.roles
    fields = only or tuple(sorted({*roles.calibrators, *roles.targets}))
    came_over = [one.id for one in subject.fields(fields) if one.flagged_fraction > limit]
    more = {"came_over": came_over} if came_over else {}
    return check("flagged_fraction", path=subject.working, fields=list(fields), limit=limit, **more)


def solutions(draft: Draft, subject: Subject, path: str, fields: tuple[int, ...]) -> Check:
    """Return the post-condition of a calibration table.

    Parameters
    ----------
    draft : Draft
        Its recipe has the limit, ``qa.max_flagged_fraction``.
    subject : Subject
        The dataset.
    path : str
        The table.
    fields : tuple of int
        The fields that each must have solutions.
    """
    observation = subject.observation
    return check(
        "caltable",
        path=path,
        max_flagged=draft.recipe.qa.max_flagged_fraction,
        antennas=[one.id for one in observation.antennas if one.flagged_fraction < 1],
        spws={str(field): list(observation.spws_of_fields({field})) for field in sorted(fields)},
    )


def amplitudes(
    subject: Subject, to: tuple[int, ...], source: tuple[int, ...], table: str, scaled: bool
) -> Iterator[Check]:
    """Yield the post-condition that a calibrator's amplitudes are those of its model.

    Parameters
    ----------
    subject : Subject
        The dataset.
    to, source : tuple of int
        The fields that are corrected, and those that the solutions come from.
    table : str
        The table of amplitudes.
    scaled : bool
        Whether fluxscale made it.
    """
    if to != source:
        return
    (field,) = to
    if field in subject.roles.flux:
        yield check("amplitude", path=subject.working, field=field)
    elif scaled:
        yield check("amplitude", path=subject.working, field=field, fluxscale=f"{table}.json")
