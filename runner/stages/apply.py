"""Stage ``apply``: calibrators from themselves, targets from their phase calibrator."""

from __future__ import annotations

from .. import heuristics
from ..plan import Check
from . import flag, proofs
from .applied_tables import Table, Tables, applied
from .draft import Draft, Subject, check, ids


def steps(draft: Draft, subject: Subject, tables: Tables) -> None:
    """Add the steps that correct the data of every calibrator and target."""
    if not tables:
        return
    calwt = draft.recipe.calibrate.calwt
    if calwt == "auto":
        choice = heuristics.calwt(subject.observation.telescope)
        calwt = draft.choose("calibrate.calwt", subject.name, choice)
    roles = subject.roles
    for calibrator in roles.calibrators:
        chain = _chain(tables, "phase-int")
        _apply(draft, subject, (calibrator,), (calibrator,), chain, calwt == "yes")
    for target in roles.targets:
        source = roles.phase_of.get(target)
        if source:
            chain = _chain(tables, "phase-scan")
            _apply(draft, subject, (target,), source, chain, calwt == "yes")
    flag.after_calibration(draft, subject)


def _chain(tables: Tables, phase: str) -> list[Table]:
    """Return the tables to apply, in order: what was known, then the solutions."""
    amplitude = "fluxscale" if "fluxscale" in tables else "amp"
    kinds = ("delay", "bandpass", phase, amplitude)
    known = [table for table in tables.values() if table.known]
    return known + [tables[kind] for kind in kinds if kind in tables]


def _weights(chain: list[Table], solved: bool) -> list[bool]:
    """Return whether each table scales the weights; one value where all are alike."""
    own = [table.known.calwt if table.known else "auto" for table in chain]
    values = [solved if word == "auto" else word == "yes" for word in own]
    return values if len(set(values)) > 1 else values[:1]


def _apply(
    draft: Draft,
    subject: Subject,
    to: tuple[int, ...],
    source: tuple[int, ...],
    chain: list[Table],
    calwt: bool,
) -> None:
    ms = subject.working
    settings = draft.recipe.calibrate
    origin = "itself" if to == source else subject.names(source)
    draft.add(
        f"{subject.name}.apply.{ids(to)}",
        "casa:applycal",
        {
            "vis": ms,
            "field": ids(to),
            **applied(chain, subject, source=source, to=to),
            "calwt": _weights(chain, calwt),
            "parang": settings.parang,
            "applymode": settings.applymode,
            "flagbackup": False,
            **settings.applycal,
        },
        stage="apply",
        title=f"calibrate {subject.names(to)} from {origin}",
        reads=tuple(path for table in chain for path in _read(table)),
        updates=(ms,),
        checks=(
            check("corrected", path=ms, fields=list(to)),
            proofs.flags(draft, subject, *to),
            *_amplitudes(subject, to, source, chain),
        ),
        dataset=subject.name,
    )


def _read(table: Table) -> tuple[str, ...]:
    """Return the files of a table; fluxscale's has its flux densities beside it."""
    return (table.path, f"{table.path}.json") if table.kind == "fluxscale" else (table.path,)


def _amplitudes(
    subject: Subject, to: tuple[int, ...], source: tuple[int, ...], chain: list[Table]
) -> tuple[Check, ...]:
    """Return the post-condition of the amplitudes, where amplitudes are applied."""
    found = [table for table in chain if table.kind in ("amp", "fluxscale")]
    if not found:
        return ()
    scaled = found[0].kind == "fluxscale"
    return tuple(proofs.amplitudes(subject, to, source, found[0].path, scaled))
