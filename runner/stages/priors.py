"""What is known of antennas and air before the first solution: tables that CASA's gencal makes.

gencal adds to a table that is there; here each attempt begins in a folder without it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from .. import heuristics
from ..errors import KeyPath, did_you_mean
from ..plan import Json
from .applied_tables import Known, Table, table_path
from .draft import Draft, Subject, check, ids

KEY: Final[KeyPath] = ("calibrate", "priors")
TITLES: Final = {
    "antpos": "antenna positions",
    "gaincurve": "gain curves",
    "opacity": "opacities",
    "syspower": "switched power",
}
"""What each table is, for a person."""


def steps(draft: Draft, subject: Subject) -> list[Table]:
    """Add the steps that make the tables; return these in the order in which they are applied."""
    made = (_positions, _gaincurve, _opacity, _syspower)
    return [table for make in made if (table := make(draft, subject))]


def _positions(draft: Draft, subject: Subject) -> Table | None:
    """Add the step that corrects antenna positions."""
    priors = draft.recipe.calibrate.priors
    if not priors.antenna_positions:
        return None
    names = [antenna.name for antenna in subject.observation.antennas]
    for name in priors.antenna_positions:
        if name not in names:
            draft.problem(
                f"dataset {subject.name} has no antenna '{name}' with data; antennas: "
                f"{', '.join(names)}{did_you_mean(name, names)}",
                (*KEY, "antenna_positions", name),
            )
    if priors.antenna_frame == "VLA" and not _is_vla(draft, subject, "antenna_frame"):
        return None
    return _gencal(
        draft, subject, "antpos", {
            "caltype": "antposvla" if priors.antenna_frame == "VLA" else "antpos",
            "antenna": ",".join(priors.antenna_positions),
            "parameter": [x for offset in priors.antenna_positions.values() for x in offset],
        },
    )  # fmt: skip


def _gaincurve(draft: Draft, subject: Subject) -> Table | None:
    """Add the step that looks up gain curves."""
    wanted, observation = draft.recipe.calibrate.priors.gaincurve, subject.observation
    if wanted == "auto":
        choice = heuristics.gaincurve(observation.telescope, observation.spws)
        wanted = draft.choose("calibrate.priors.gaincurve", subject.name, choice)
    elif wanted == "yes" and not _is_vla(draft, subject, "gaincurve"):
        return None
    return _gencal(draft, subject, "gaincurve", {"caltype": "gceff"}) if wanted == "yes" else None


def _is_vla(draft: Draft, subject: Subject, name: str) -> bool:
    """Tell whether a dataset is of the VLA; else say that a key is for that only."""
    telescope = subject.observation.telescope
    if heuristics.is_vla(telescope):
        return True
    what = {
        "gaincurve": "CASA has gain curves of the VLA only",
        "antenna_frame": 'the frame "VLA" is of the VLA only',
        "syspower": "a SYSPOWER table is of the VLA only",
    }[name]
    draft.problem(f"dataset {subject.name} is of {telescope}: {what}", (*KEY, name))
    return False


def _opacity(draft: Draft, subject: Subject) -> Table | None:
    """Add the steps that correct for the atmosphere's opacity."""
    wanted = draft.recipe.calibrate.priors.opacity
    spws = tuple(sorted(spw.id for spw in subject.observation.spws))
    if wanted == "auto":
        choice = heuristics.opacity(subject.observation.telescope, subject.observation.spws)
        wanted = draft.choose("calibrate.priors.opacity", subject.name, choice)
    if wanted == "no":
        return None
    values: Json = {"$late": {"path": f"{table_path(subject, 'opacity')}.json", "key": "opacity"}}
    reads: tuple[str, ...] = (values["$late"]["path"],)
    if isinstance(wanted, tuple):
        if len(wanted) not in (1, len(spws)):
            draft.problem(
                f"{len(wanted)} opacities for the {len(spws)} spw{'s' if len(spws) != 1 else ''} "
                f"of dataset {subject.name}: give one for all, or one for each",
                (*KEY, "opacity"),
            )
        values, reads = [*(wanted * len(spws))[: len(spws)]], ()
    else:
        _weather(draft, subject, spws, reads[0])
    params = {"caltype": "opac", "spw": ids(spws), "parameter": values}
    return _gencal(draft, subject, "opacity", params, reads)


def _weather(draft: Draft, subject: Subject, spws: tuple[int, ...], out: str) -> None:
    """Add the step that asks the weather for opacities."""
    draft.add(
        f"{subject.name}.weather",
        "opacity",
        {"vis": subject.pristine, "spws": list(spws), "out": out},
        stage="calibrate",
        title="opacities from weather and season",
        # Half a minute on another core, while data are copied and flagged.
        reads=(subject.pristine,),
        writes=(out,),
        checks=(check("exists", path=out),),
        dataset=subject.name,
    )


def _syspower(draft: Draft, subject: Subject) -> Table | None:
    """Add the step that takes what the VLA recorded of its gains."""
    wanted = draft.recipe.calibrate.priors.syspower
    if wanted == "no" or not _is_vla(draft, subject, "syspower"):
        return None
    vis = Path(subject.pristine)
    if vis.is_dir() and not (vis / "SYSPOWER").is_dir():
        draft.problem(
            f"dataset {subject.name} has no SYSPOWER table: switched power was not recorded, or "
            "not imported",
            (*KEY, "syspower"),
        )
    return _gencal(draft, subject, "syspower", {"caltype": wanted})


def _gencal(
    draft: Draft, subject: Subject, kind: str, params: dict[str, Json],
    reads: tuple[str, ...] = (),
) -> Table:  # fmt: skip
    path = table_path(subject, kind)
    draft.add(
        f"{subject.name}.{kind}",
        "casa:gencal",
        {"vis": subject.working, "caltable": path, **params},
        stage="calibrate",
        title=f"{TITLES[kind]}, known before",
        reads=(subject.working, *reads),
        writes=(path,),
        checks=(check("caltable", path=path),),
        dataset=subject.name,
    )
    # Switched power is what the weights should be of: noise.
    calwt: Literal["auto", "yes"] = "yes" if params["caltype"] == "swpow" else "auto"
    interp = "nearest" if kind == "opacity" else "linear"
    known = Known(TITLES[kind], calwt=calwt, beside="".join(reads))
    return Table(kind, path, False, interp, known=known)
