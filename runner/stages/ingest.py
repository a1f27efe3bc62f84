"""Stage ``import``: any dataset becomes an MS, its metadata are read, a copy is made to work on.

Imports come once; whatever is changed in place later is changed in the copy, so that going
back costs a copy and the raw data stay as they were.
"""

from __future__ import annotations

from typing import Any

from ..recipe.model import Dataset
from .draft import Draft, Subject, check, kind, pristine


def observation_file(dataset: Dataset) -> str:
    """Return where a dataset's metadata are kept."""
    return f"raw/{dataset.name}.observation.json"


def steps(draft: Draft, dataset: Dataset) -> None:
    """Add the steps that must run before the rest can be planned: import and metadata."""
    vis = pristine(dataset)
    what = kind(dataset)
    if what != "ms":
        imports: dict[str, tuple[str, dict[str, Any]]] = {
            "uvfits": ("casa:importuvfits", {"fitsfile": dataset.vis, "vis": vis}),
            "asdm": ("casa:importasdm", {"asdm": dataset.vis, "vis": vis, "savecmds": False}),
            "tar": ("unpack", {"archive": dataset.vis, "vis": vis}),
        }
        action, params = imports[what]
        draft.add(
            f"{dataset.name}.import",
            action,
            params,
            stage="import",
            title=f"import {dataset.vis.rsplit('/', 1)[-1]}",
            reads=(dataset.vis,),
            writes=(vis,),
            intermediates=() if dataset.calibrated else (vis,),
            checks=(check("ms", path=vis, raw=True),),
            dataset=dataset.name,
        )
    draft.add(
        f"{dataset.name}.observe",
        "observe",
        {"vis": vis, "out": observation_file(dataset)},
        stage="import",
        title="read the metadata",
        reads=(vis,),
        writes=(observation_file(dataset),),
        dataset=dataset.name,
    )


def copy(draft: Draft, subject: Subject) -> None:
    """Add the steps that make the copy to work on, without the model of an earlier calibration.

    gaincal solves against whatever model it finds; a field that gets none here is a point source
    of 1 Jy to it, until fluxscale.
    """
    if subject.dataset.calibrated:
        return
    roles = subject.roles
    draft.add(
        f"{subject.name}.copy",
        "copy",
        {"source": subject.pristine, "target": subject.working},
        stage="import",
        title="copy to work on",
        reads=(subject.pristine,),
        writes=(subject.working,),
        intermediates=(subject.working,) if roles.calibrators or roles.targets else (),
        checks=(check("ms", path=subject.working, raw=True),),
        dataset=subject.name,
    )
    if subject.observation.has_model:
        draft.add(
            f"{subject.name}.delmod",
            "casa:delmod",
            {"vis": subject.working, "otf": True, "scr": True},
            stage="import",
            title="forget the model that came with the data",
            updates=(subject.working,),
            checks=(check("no_model", path=subject.working),),
            dataset=subject.name,
        )
