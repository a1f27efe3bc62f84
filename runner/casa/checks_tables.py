"""Post-conditions of the tasks that solve: calibration tables, setjy, fluxscale."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import listing
from .checks_evidence import Evidence, Json, failed
from .tables import open_table

_SOLUTIONS = ("CPARAM", "FPARAM")
_COUNTS = ("total", "flagged", "field", "spw", "ant", "ref")
_MANY_FLAGGED = 0.5
_FAINTEST_JY, _BRIGHTEST_JY = 1e-3, 1e4
_POOR_SNR = 5.0
_STEP = 2.0  # between one spectral window and the others of a band


def caltable(given: Mapping[str, Any], evidence: Evidence) -> dict[str, Json]:
    """Check that a calibration table holds unflagged solutions.

    Parameters
    ----------
    given : mapping
        ``path``; ``max_flagged``, the flagged fraction that is too much (default 1: all);
        ``antennas``, ids of those that have data (default: all); ``spws``, ids of the spectral
        windows that should have solutions by field id (default: not looked at).
    evidence : Evidence
        What is known of the step.

    Returns
    -------
    dict
        ``n_solutions``, ``flagged_fraction``, ``fields`` and ``spws`` (ids with unflagged
        solutions), ``flagged_spws`` (ids without), ``antennas`` (flagged fraction by name);
        ``warnings`` where many are flagged, a window of a field has none, or another antenna than
        the one asked for served as reference.

    Raises
    ------
    StepFailedError
        If the table is not there, is empty, has too many of its solutions flagged, or none
        for a field that should have some.
    """
    path = Path(given["path"])
    _require_table(path, evidence)
    counts = _count_solutions(path)
    total = int(counts["total"].sum())
    if not total:
        raise failed(
            f"expected solutions in {path}, found a table without rows{evidence.log_says()}",
            "Look at the flags of the calibrators; check calibrate.spw and [calibrators].",
        )
    fraction = float(counts["flagged"].sum()) / total
    among = _among(counts, given.get("antennas"))
    if fraction >= 1 or among > float(given.get("max_flagged", 1.0)):
        raise failed(
            f"expected usable solutions in {path}, found {max(fraction, among):.0%} of its {total} "
            f"flagged: {_why_flagged(evidence.params)}",
            _more_signal(evidence.params),
        )
    warnings = [
        *_many_flagged(path, among),
        *_missing(path, given, evidence, counts),
        *_other_reference(path, evidence.params.get("refant"), counts),
    ]
    found = {"n_solutions": total, "flagged_fraction": fraction, **_by_axis(counts)}
    return found | ({"warnings": warnings} if warnings else {})


def _require_table(path: Path, evidence: Evidence) -> None:
    """Raise StepFailedError unless there is a calibration table."""
    if not (path / "table.dat").is_file():
        raise failed(
            f"expected the calibration table {path}, found none: there was nothing to solve "
            "for, because all selected data are flagged, fewer antennas than "
            "calibrate.minblperant allows have data, or the field or refant does not exist"
            + evidence.log_says(),
            "Look at the flags of the calibrators; check calibrate.refant, calibrate.spw and "
            "[calibrators].",
        )


def _among(counts: Mapping[str, Any], antennas: Sequence[int] | None) -> float:
    """Return the flagged fraction among the antennas that have data.

    CASA writes flagged solutions for those that have none.
    """
    mine = (
        np.ones(len(counts["ant"]), bool)
        if antennas is None
        else np.isin(counts["ant"], list(antennas))
    )
    return float(counts["flagged"][mine].sum() / max(1, counts["total"][mine].sum()))


def _many_flagged(path: Path, fraction: float) -> list[str]:
    """Return a warning where most solutions are flagged."""
    if fraction <= _MANY_FLAGGED:
        return []
    return [f"{fraction:.0%} of the solutions in {path} are flagged: what they would calibrate is "
            "flagged with them"]  # fmt: skip


def _missing(
    path: Path, given: Mapping[str, Any], evidence: Evidence, counts: Mapping[str, Any]
) -> list[str]:
    """Return warnings about windows without solutions; refuse a field without any."""
    combine = str(evidence.params.get("combine", ""))
    if "field" in combine:
        return []
    good = counts["flagged"] < counts["total"]
    warnings = []
    for field, wanted in (given.get("spws") or {}).items():
        solved = set(counts["spw"][good & (counts["field"] == int(field))].tolist())
        if not solved:
            raise failed(
                f"expected solutions of field {field} in {path}, found none that is unflagged: "
                f"{_why_flagged(evidence.params)}, or all its data are flagged",
                _more_signal(evidence.params),
            )
        lost = [str(spw) for spw in wanted if spw not in solved]
        if lost and "spw" not in combine:
            warnings.append(
                f"{path}: field {field} has no unflagged solutions in spw {listing(lost)}"
            )
    return warnings


def _other_reference(path: Path, refant: Any, counts: Mapping[str, Any]) -> list[str]:
    """Return a warning where most solutions refer to another antenna than the first of `refant`.

    CASA takes the next of the list, or any other, where that one has no good solution, and says
    so in its log only. ANTENNA2 is the antenna that served; -1 in tables of delays.
    """
    asked = [str(name) for name in (refant.split(",") if isinstance(refant, str) else refant or ())]
    first = asked[0].strip() if asked else ""
    names = counts["names"]
    served = counts["ref"][(counts["flagged"] < counts["total"]) & (counts["ref"] >= 0)]
    if not len(served) or max(served) >= len(names):
        return []
    others = served[np.array([first not in (names[ref], str(ref)) for ref in served])]
    if not first or 2 * len(others) <= len(served):
        return []
    most = names[int(np.bincount(others).argmax())]
    return [
        f"{path}: {most} served as reference antenna, not {first}, in {len(others)} of "
        f"{len(served)} solutions: those of {first} are flagged, or it has no data then; look at "
        f"{first}, or name another first (calibrate.refant)"
    ]


def _why_flagged(params: Mapping[str, Any]) -> str:
    """Return the likely cause of flagged solutions."""
    if "minsnr" in params:
        return (
            f"their signal-to-noise ratio is under minsnr={params['minsnr']:g}, or the data are bad"
        )
    return "the data or the tables applied before are bad"


def _more_signal(params: Mapping[str, Any]) -> str:
    """Return the advice for too few good solutions."""
    solint = f" (now '{params['solint']}')" if "solint" in params else ""
    return (
        f"Lengthen calibrate.solint{solint}, lower calibrate.minsnr, or choose another "
        "calibrate.refant."
    )


def _count_solutions(path: Path) -> dict[str, Any]:
    """Count solutions and flagged ones by row, a spectral window at a time.

    Windows may differ in their number of channels, so one column can hold several shapes.
    """
    parts: dict[str, list[Any]] = {key: [] for key in _COUNTS}
    with open_table(path) as table:
        columns = table.colnames()
        solutions = next((name for name in _SOLUTIONS if name in columns), "")
        for spw in np.unique(table.getcol("SPECTRAL_WINDOW_ID")) if table.nrows() else ():
            part = table.query(f"SPECTRAL_WINDOW_ID=={int(spw)}")
            try:
                flag = (
                    part.getcol("FLAG") if "FLAG" in columns else np.zeros((1, part.nrows()), bool)
                )
                if solutions and part.getcol(solutions).shape == flag.shape:
                    values = part.getcol(solutions)
                    flag = flag | ~np.isfinite(values)
                    if solutions == "CPARAM":  # applied, a gain of 0 makes infinite visibilities
                        flag = flag | (values == 0)
                per_row = int(np.prod(flag.shape[:-1]))
                parts["total"].append(np.full(flag.shape[-1], per_row))
                parts["flagged"].append(flag.reshape(per_row, -1).sum(axis=0))
                parts["field"].append(part.getcol("FIELD_ID"))
                parts["spw"].append(np.full(flag.shape[-1], spw))
                parts["ant"].append(part.getcol("ANTENNA1"))
                parts["ref"].append(part.getcol("ANTENNA2"))
            finally:
                part.close()
    counts: dict[str, Any] = {
        key: np.concatenate(value) if value else np.array([], int) for key, value in parts.items()
    }
    counts["names"] = _antenna_names(path)
    return counts


def _antenna_names(path: Path) -> list[str]:
    """Return the names in a table's ANTENNA subtable."""
    if not (path / "ANTENNA" / "table.dat").is_file():
        return []
    with open_table(path / "ANTENNA") as table:
        return [str(name) for name in table.getcol("NAME")] if table.nrows() else []


def _by_axis(counts: Mapping[str, Any]) -> dict[str, Json]:
    """Return which fields and windows have solutions, and what is flagged of each antenna."""
    good = counts["flagged"] < counts["total"]
    antennas = {}
    for number in np.unique(counts["ant"]):
        mine = counts["ant"] == number
        name = counts["names"][number] if number < len(counts["names"]) else str(number)
        antennas[name] = float(counts["flagged"][mine].sum() / counts["total"][mine].sum())
    usable = set(counts["spw"][good].tolist())
    return {
        "fields": sorted(set(counts["field"][good].tolist())),
        "spws": sorted(usable),
        "flagged_spws": sorted(set(counts["spw"].tolist()) - usable),
        "antennas": antennas,
    }


def setjy(given: Mapping[str, Any], evidence: Evidence) -> dict[str, Json]:
    """Check that every field got a model.

    Parameters
    ----------
    given : mapping
        ``fields``: ids, as strings.
    evidence : Evidence
        Its outcome is what setjy returned.

    Returns
    -------
    dict
        ``flux_jy``: Stokes I by field and spectral window.

    Raises
    ------
    StepFailedError
        If a field has no flux density, or in a window the 1 Jy that setjy falls back to.
    """
    fields = map(str, given["fields"])
    return {"flux_jy": {name: _flux_of_model(name, evidence) for name in fields}}


def _flux_of_model(name: str, evidence: Evidence) -> dict[str, Json]:
    """Return Stokes I (Jy) of a field's model by spectral window, or raise: see `setjy`."""
    standard = str(evidence.params.get("standard", "Perley-Butler 2017"))
    entry = _field_entry(evidence.outcome, name)
    flux = {spw: stokes[0] for spw, stokes in _flux_densities(entry).items()}
    fallback = [s for s in _flux_densities(entry).values() if s[0] == 1 and not any(s[1:])]
    advice = (
        "Set calibrators.flux.field to a calibrator of the standard, or calibrators.flux."
        "standard = 'manual' with calibrators.flux.fluxdensity."
    )
    if not flux:
        raise failed(
            f"expected a flux density of field {name} from setjy, found none: the field "
            f"does not exist or the standard '{standard}' does not know it" + evidence.log_says(),
            advice,
        )
    bad = {spw: value for spw, value in flux.items() if not 0 < value < math.inf}
    if bad:
        spw, value = next(iter(bad.items()))
        raise failed(
            f"expected a positive flux density of field {name}, found {value:g} Jy in "
            f"spw {spw}: the standard '{standard}' does not hold at that frequency",
            advice,
        )
    if fallback and standard not in {"manual", "fluxscale"}:
        raise failed(
            f"expected a flux density of field {name} ({entry.get('fieldName', '?')}) from "
            f"the standard '{standard}', found setjy's fallback of 1 Jy: the standard does "
            "not know this field",
            advice,
        )
    return dict(flux)


def _field_entry(outcome: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a field's part of what setjy or fluxscale returned, by its id or name."""
    entry = outcome.get(name)
    if isinstance(entry, Mapping):
        return entry
    named = (e for e in outcome.values() if isinstance(e, Mapping) and e.get("fieldName") == name)
    return next(named, {})


def _flux_densities(entry: Mapping[str, Any], key: str = "fluxd") -> dict[str, list[float]]:
    """Return the Stokes values (Jy) in a field's part of an outcome by spectral window."""
    found = {}
    for spw, value in entry.items():
        if str(spw).isdigit() and isinstance(value, Mapping) and key in value:
            found[str(spw)] = [float(number) for number in np.ravel(value[key])]
    return found


def fluxscale(given: Mapping[str, Any], evidence: Evidence) -> dict[str, Json]:
    """Check that the flux scale was carried over to every transfer field.

    Parameters
    ----------
    given : mapping
        ``fields``: ids, as strings.
    evidence : Evidence
        Its outcome is what fluxscale returned.

    Returns
    -------
    dict
        ``flux_jy`` and ``error_jy`` by field and spectral window; a window without solutions
        (CASA's -1) is left out and named in ``warnings``.

    Raises
    ------
    StepFailedError
        If a field has no flux density in any window, one that is no positive number, or the
        exact 1 Jy of a table without amplitudes.
    """
    fluxes: dict[str, dict[str, float]] = {}
    errors: dict[str, dict[str, float]] = {}
    warnings = []
    for name in map(str, given["fields"]):
        entry = _field_entry(evidence.outcome, name)
        flux = {spw: stokes[0] for spw, stokes in _flux_densities(entry).items()}
        error = {spw: stokes[0] for spw, stokes in _flux_densities(entry, "fluxdErr").items()}
        missing = [spw for spw, value in flux.items() if value == -1]
        flux = {spw: value for spw, value in flux.items() if value != -1}
        _require_fluxes(name, flux, error, evidence)
        warnings += _odd_fluxes(name, flux, error)
        if missing:
            warnings.append(f"fluxscale: field {name} has no solutions in spw {listing(missing)}")
        fluxes[name] = flux
        errors[name] = {spw: error.get(spw, math.nan) for spw in flux}
    found: dict[str, Json] = {"flux_jy": fluxes, "error_jy": errors}
    return found | ({"warnings": warnings} if warnings else {})


def _require_fluxes(
    name: str, flux: Mapping[str, float], error: Mapping[str, float], evidence: Evidence
) -> None:
    """Refuse a transfer field whose flux densities cannot be right."""
    if not flux:
        raise failed(
            f"expected a flux density of field {name} from fluxscale, found none in any spw: "
            f"its amplitude solutions are missing or flagged{evidence.log_says()}",
            "Lengthen calibrate.solint.amp, lower calibrate.minsnr, or leave the field out of "
            "calibrators.phase.",
        )
    for spw, value in flux.items():
        if 0 < value < math.inf and not _FAINTEST_JY < value < _BRIGHTEST_JY:
            raise failed(
                f"expected a calibrator's flux density of field {name}, between "
                f"{_FAINTEST_JY * 1e3:g} mJy and {_BRIGHTEST_JY / 1e3:g} kJy, found {value:.3g} Jy "
                f"in spw {spw}: the ratio of its amplitude solutions to those of the flux "
                "calibrator is absurd",
                "Check calibrators.flux (field, standard, model); look at the amplitude table; "
                "flag bad data with flag.manual.",
            )
        if not 0 < value < math.inf:
            raise failed(
                f"expected a positive flux density of field {name}, found {value:g} Jy in spw "
                f"{spw}: its amplitude solutions or those of the flux calibrator are bad",
                "Look at the amplitude table; flag bad data with flag.manual.",
            )
    drowned = [spw for spw, value in flux.items() if error.get(spw, 0) >= value]
    if len(drowned) == len(flux):
        raise failed(
            f"expected a flux density of field {name} above its error, found "
            f"{flux[drowned[0]]:.3g} +- {error[drowned[0]]:.3g} Jy in spw {drowned[0]}: its "
            "amplitude solutions scatter as much as they amount to",
            "Lengthen calibrate.solint.amp, flag bad data with flag.manual, or leave the field out "
            "of calibrators.phase.",
        )
    if all(value == 1 and not error.get(spw) for spw, value in flux.items()):
        raise failed(
            f"expected a measured flux density of field {name}, found exactly 1 Jy without an "
            "error: the table that fluxscale was given has no amplitudes",
            "Solve amplitudes: calibrate.gaincal must not set calmode = 'p' for every table.",
        )


def _odd_fluxes(name: str, flux: Mapping[str, float], error: Mapping[str, float]) -> list[str]:
    """Return warnings about flux densities that are uncertain, or stand out."""
    warnings = [
        f"fluxscale: the flux density of field {name} in spw {spw} is uncertain: {value:.3g} +- "
        f"{error[spw]:.3g} Jy"
        for spw, value in flux.items()
        if error.get(spw, 0) > value / _POOR_SNR
    ]
    if len(flux) < 4:
        return warnings
    spws = sorted(flux, key=int)
    for number, spw in enumerate(spws):
        others = [(abs(k - number), flux[other]) for k, other in enumerate(spws) if k != number]
        near = float(np.median([value for _, value in sorted(others)[:4]]))
        if not near / _STEP < flux[spw] < near * _STEP:
            warnings.append(
                f"fluxscale: field {name} has {flux[spw]:.3g} Jy in spw {spw}, but {near:.3g} Jy "
                "in the windows beside it: look at the data of that window"
            )
    return warnings
