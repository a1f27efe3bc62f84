"""Stage ``split``: calibrated data of the calibrators, and of each target, in MSs of their own."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

from .. import selection
from ..heuristics import Choice
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
        if roles.calibrators and draft.recipe.split.calibrators:
            _split(draft, subject, "calibrators", roles.calibrators, subject.calibrated,
                   (source, column))  # fmt: skip
    for name, field_ids in subject.targets.items():
        _split(draft, subject, name, field_ids, subject.target_ms(name), (source, column))


def selfcal_of(recipe: Recipe, target: str) -> int | None:
    """Return which ``[[selfcal]]`` a target has, if any."""
    matching = (i for i, one in enumerate(recipe.selfcal) if fnmatchcase(target, one.target))
    return next(matching, None)


def _column(subject: Subject) -> str:
    """Return the column of a dataset that came calibrated."""
    if subject.dataset.datacolumn != "auto":
        return subject.dataset.datacolumn
    return "corrected" if "CORRECTED_DATA" in subject.observation.columns else "data"


def _windows(draft: Draft, subject: Subject, target: str, field_ids: tuple[int, ...]) -> str:
    """Return the spectral windows of a target that are needed; empty for all."""
    recipe = draft.recipe
    if recipe.split.spw == "all":
        return ""
    part = subject.observation.part(field_ids)
    images = [
        image for image in recipe.image
        if any(fnmatchcase(target, pattern) for pattern in image.targets)
    ]  # fmt: skip
    texts = [image.spw for image in images]
    index = selfcal_of(recipe, target)
    if index is not None:
        own = recipe.selfcal[index].tclean.get("spw")
        named = [i.spw for i in images if i.name == recipe.selfcal[index].image]
        flat = [i.spw for i in images if i.specmode == "mfs"]
        texts += [str(own)] if own is not None else named or flat or [""]
    if recipe.contsub is not None:
        texts.append(recipe.contsub.fitspec)
    try:
        wanted = {one.spw_id for text in texts for one in selection.spws(text, part)}
    except selection.SelectionError:
        return ""  # the preflight of selections says so
    observed = part.spws_of_fields({field.id for field in part.fields})
    kept = sorted(wanted.intersection(observed))
    if not kept or len(kept) == len(observed):
        return ""
    why = f"the images of {target} take {len(kept)} of {len(observed)} spectral windows"
    return str(draft.choose("split.spw", f"{subject.name}.{target}",
                            Choice(",".join(map(str, kept)), why)))  # fmt: skip


def _split(
    draft: Draft,
    subject: Subject,
    name: str,
    field_ids: tuple[int, ...],
    out: str,
    source: tuple[str, str],
) -> None:
    vis, column = source
    action, part, windows = "casa:split", dict[str, Any](), dict[str, Any]()
    spw = _windows(draft, subject, name, field_ids) if out != subject.calibrated else ""
    if spw:  # split numbers windows anew, and selections of the recipe would mean others
        action, part = "casa:mstransform", {"spw": spw, "reindex": False}
        windows = {"spws": [int(number) for number in spw.split(",")]}
    safe = out.removeprefix(f"calibrated/{subject.name}").removesuffix(".ms").lstrip(".")
    draft.add(
        f"{subject.name}.split.{safe or 'calibrators'}",
        action,
        {
            "vis": vis,
            "outputvis": out,
            "field": ids(field_ids),
            "datacolumn": column,
            "keepflags": False,
            **part,
        },
        stage="split",
        title=f"split {name}",
        reads=(vis,),
        writes=(out,),
        checks=(
            check("ms", path=out),
            check("kept", path=out, source=vis, fields=sorted(field_ids), **windows),
        ),
        dataset=subject.name,
        target="" if out == subject.calibrated else name,
    )
