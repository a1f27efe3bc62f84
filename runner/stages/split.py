"""Stage ``split``: calibrated data of the calibrators, and of each target, in MSs of their own."""

from __future__ import annotations

from fnmatch import fnmatchcase

from ..recipe.model import Recipe
from .draft import Draft, Subject, check, ids


def steps(draft: Draft, subject: Subject) -> None:
    """Add the steps that split a dataset's calibrated data."""
    roles = subject.roles
    if subject.dataset.calibrated:
        source = subject.pristine
        column = _column(subject)
    else:
        source, column = subject.working, "corrected"
        if roles.calibrators:
            _split(draft, subject, "calibrators", roles.calibrators, subject.calibrated,
                   (source, column))  # fmt: skip
    for name, field_ids in targets(subject).items():
        _split(draft, subject, name, field_ids, subject.target_ms(name), (source, column))


def targets(subject: Subject) -> dict[str, tuple[int, ...]]:
    """Return a dataset's targets by name; fields of one name or mosaic are one target."""
    found: dict[str, tuple[int, ...]] = {}
    for field in subject.fields(subject.roles.targets):
        name = subject.roles.mosaic_of.get(field.id, field.name)
        found[name] = (*found.get(name, ()), field.id)
    return found


def selfcal_of(recipe: Recipe, target: str) -> int | None:
    """Return which ``[[selfcal]]`` a target has, if any."""
    matching = (i for i, one in enumerate(recipe.selfcal) if fnmatchcase(target, one.target))
    return next(matching, None)


def _column(subject: Subject) -> str:
    """Return the column of a dataset that came calibrated."""
    if subject.dataset.datacolumn != "auto":
        return subject.dataset.datacolumn
    return "corrected" if "CORRECTED_DATA" in subject.observation.columns else "data"


def _split(
    draft: Draft,
    subject: Subject,
    name: str,
    field_ids: tuple[int, ...],
    out: str,
    source: tuple[str, str],
) -> None:
    vis, column = source
    safe = out.removeprefix(f"calibrated/{subject.name}").removesuffix(".ms").lstrip(".")
    draft.add(
        f"{subject.name}.split.{safe or 'calibrators'}",
        "casa:split",
        {
            "vis": vis,
            "outputvis": out,
            "field": ids(field_ids),
            "datacolumn": column,
            "keepflags": False,
        },
        stage="split",
        title=f"split {name}",
        reads=(vis,),
        writes=(out,),
        checks=(
            check("ms", path=out),
            check("kept", path=out, source=vis, fields=sorted(field_ids)),
        ),
        dataset=subject.name,
        target="" if out == subject.calibrated else name,
    )
