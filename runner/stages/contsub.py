"""Stage ``contsub``: continuum subtraction in the visibilities."""

from __future__ import annotations

from .draft import Draft, Subject, check
from .split import selfcal_of


def steps(draft: Draft, subject: Subject) -> None:
    """Add a step that subtracts the continuum for each target of a dataset."""
    contsub = draft.recipe.contsub
    if contsub is None:
        return
    for name in subject.targets:
        selfcal = selfcal_of(draft.recipe, name) is not None
        vis = subject.target_ms(name, selfcal=selfcal)
        out = subject.target_ms(name, contsub=True)
        draft.add(
            f"{subject.name}.contsub.{out.split('.', 1)[1].removesuffix('.contsub.ms')}",
            "casa:uvcontsub",
            {
                "vis": vis,
                "outputvis": out,
                "fitspec": contsub.fitspec,
                "fitorder": contsub.fitorder,
                "datacolumn": "corrected" if selfcal else "data",
                **contsub.uvcontsub,
            },
            stage="contsub",
            title=f"subtract the continuum of {name}",
            reads=(vis,),
            writes=(out,),
            checks=(check("ms", path=out), check("contsub", path=out)),
            dataset=subject.name,
            target=name,
        )
