"""Are the data themselves fit: columns, dates, values, antennas."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from ..errors import KeyPath
from ..observation import Field
from ..selection.error import listed
from ..stages.draft import Draft, Subject

_MJD_0 = datetime(1858, 11, 17)
_FIRST_MJD_S = 40587 * 86400.0  # 1970: no MeasurementSet is of older data
_MANY = 0.5
_A_FEW = 0.01


def check(draft: Draft, subjects: Sequence[Subject]) -> None:
    """Hold what is known of the data against what the recipe does with them.

    Parameters
    ----------
    draft : Draft
        Takes the problems and warnings.
    subjects : sequence of Subject
        The datasets with their metadata and roles.
    """
    for subject in draft.each("dataset", subjects):
        vis: KeyPath = ("dataset", subject.index, "vis")
        for sentence in subject.observation.warnings:
            draft.warn(f"dataset {subject.name}: {sentence}", vis)
        _columns(draft, subject)
        _antennas(draft, subject)
        _dates(draft, subject)
        _windows(draft, subject)
        _fields(draft, subject)


def _fields(draft: Draft, subject: Subject) -> None:
    """Say what is odd about the data of fields, once where it holds for several."""
    used = _used(subject)
    found: dict[tuple[str, str], list[str]] = {}
    for field in used:
        for said in (*_values(draft, subject, field), *_weights(field), *_flags(draft, field)):
            found.setdefault(said, []).append(field.name)
    for (severity, text), names in found.items():
        which = f"field {names[0]}" if len(names) == 1 else f"fields {listed(names)}"
        if 1 < len(names) == sum(one.n_rows > 0 for one in subject.observation.fields):
            which = "all fields"
        say = draft.problem if severity == "error" else draft.warn
        say(f"dataset {subject.name}, {which}: {text}", ("dataset", subject.index, "vis"))


def _used(subject: Subject) -> tuple[Field, ...]:
    """Return the fields that have a role."""
    roles = subject.roles
    return subject.fields(tuple(sorted({*roles.calibrators, *roles.targets})))


def _columns(draft: Draft, subject: Subject) -> None:
    """Refuse a dataset without the column of visibilities that the recipe takes."""
    dataset, columns = subject.dataset, subject.observation.columns
    vis: KeyPath = ("dataset", subject.index, "vis")
    wanted = dataset.datacolumn if dataset.calibrated else "data"
    if wanted == "auto":
        wanted = "corrected" if "CORRECTED_DATA" in columns else "data"
    name = {"data": "DATA", "corrected": "CORRECTED_DATA"}[wanted]
    if name in columns:
        return
    there = sorted({"DATA", "CORRECTED_DATA", "FLOAT_DATA", "MODEL_DATA"} & set(columns))
    found = f"found {', '.join(there)}" if there else "found no visibilities"
    if "FLOAT_DATA" in there:
        way = "it is a single-dish dataset; casarun reduces an interferometer's visibilities"
    elif name == "DATA" and "CORRECTED_DATA" in there and not dataset.calibrated:
        way = "to go on from its calibrated data, set dataset.calibrated = true"
    elif "DATA" in there or "CORRECTED_DATA" in there:
        way = "leave dataset.datacolumn out, and what is there is taken"
    else:
        way = "name the MS that has them"
    key = (*vis[:2], "datacolumn") if dataset.datacolumn != "auto" else vis
    draft.problem(f"dataset {subject.name}: expected the column {name}, {found}; {way}", key)


def _antennas(draft: Draft, subject: Subject) -> None:
    """Refuse a dataset with too few antennas for what is asked."""
    working = [one for one in subject.observation.antennas if one.flagged_fraction < 1]
    vis: KeyPath = ("dataset", subject.index, "vis")
    if not subject.observation.antennas:
        draft.problem(
            f"dataset {subject.name} has no cross-correlations, only the antennas' own: it is no "
            "interferometer's observation",
            vis,
        )
        return
    wanted = draft.recipe.calibrate.minblperant
    if subject.dataset.calibrated or not subject.roles.calibrators or len(working) > wanted:
        return
    draft.problem(
        f"dataset {subject.name} has {len(working)} antennas with unflagged data, so each has at "
        f"most {max(0, len(working) - 1)} baselines: calibrate.minblperant = {wanted} leaves no "
        "solution; lower it, not under 3 for amplitudes",
        ("calibrate", "minblperant"),
    )


def _dates(draft: Draft, subject: Subject) -> None:
    """Warn about dates that cannot be, or that CASA's tables of the Earth do not reach."""
    observation = subject.observation
    vis: KeyPath = ("dataset", subject.index, "vis")
    start, end = observation.start_mjd_s, observation.end_mjd_s
    until = observation.measures_until_mjd_s
    if not math.isfinite(start) or start < _FIRST_MJD_S:
        draft.warn(
            f"dataset {subject.name}: its times begin on {_date(start)}, before there were such "
            "data: positions, uvw and velocities that CASA derives from them are wrong",
            vis,
        )
    elif until and end > until:
        draft.warn(
            f"dataset {subject.name} was observed until {_date(end)}, but CASA's table of the "
            f"Earth's orientation ends on {_date(until)}: uvw coordinates and velocities that CASA "
            "computes may be slightly off; update the measures data (pip install -U casadata, or "
            "casaconfig's measures_update), or check the observing date if it is in the future",
            vis,
        )


def _date(mjd_s: float) -> str:
    """Write a date for a person."""
    try:
        return (_MJD_0 + timedelta(seconds=mjd_s)).strftime("%Y-%m-%d")
    except (OverflowError, ValueError):
        return f"MJD {mjd_s / 86400:g}"


def _windows(draft: Draft, subject: Subject) -> None:
    """Refuse spectral windows of the used fields that have no width or no frequency."""
    observation = subject.observation
    used = observation.spws_of_fields({field.id for field in _used(subject)})
    for spw in (one for one in observation.spws if one.id in used):
        low = min(spw.first_hz, spw.last_hz)
        if not low > 0:
            what = f"channels at {low:g} Hz"
        elif not spw.chan_width_hz or not math.isfinite(spw.chan_width_hz):
            what = f"channels of width {spw.chan_width_hz:g} Hz"
        else:
            continue
        draft.problem(
            f"dataset {subject.name}: spw {spw.id} has {what}: its SPECTRAL_WINDOW table is "
            "damaged, or was written without frequencies; get the data again",
            ("dataset", subject.index, "vis"),
        )


def _values(draft: Draft, subject: Subject, field: Field) -> Iterator[tuple[str, str]]:
    """Yield severity and words about NaN and zeros among a field's unflagged visibilities."""
    flags_them = draft.recipe.flag.zeros and not subject.dataset.calibrated
    for fraction, what, harm, little in (
        (field.not_finite_fraction, "NaN or infinite", "one of them blanks a whole image", 0.0),
        (field.zero_fraction, "exactly 0", "they pull fluxes down", _A_FEW),
    ):
        said = f"{_percent(fraction)} of the unflagged visibilities are {what}"
        if fraction >= 1:
            yield (
                "error",
                f"all unflagged visibilities are {what}: there is nothing to calibrate or image; "
                "get the data again",
            )
        elif fraction > _MANY:
            yield "warning", f"{said}: what was recorded, or written, went wrong"
        elif fraction > little and not flags_them:
            way = (
                "flag them before (flagdata with mode='clip', clipzeros=True)"
                if subject.dataset.calibrated
                else "set flag.zeros = true, which flags both"
            )
            yield "warning", f"{said}: {harm}; {way}"
        elif fraction > 0 and what != "exactly 0":  # correlators write zeros for what they lost
            yield "warning", f"{said}; flag.zeros flags them"


def _weights(field: Field) -> Iterator[tuple[str, str]]:
    """Yield severity and words about weights that are zero, negative or not finite."""
    fraction = field.no_weight_fraction
    if fraction >= _MANY:
        yield (
            "error" if fraction >= 1 else "warning",
            f"{_percent(fraction)} of the rows with unflagged data have weights that are 0, "
            "negative or not finite: CASA leaves them out without a word; set them anew with "
            "CASA's initweights or statwt",
        )


def _flags(draft: Draft, field: Field) -> Iterator[tuple[str, str]]:
    """Yield a warning where a field came with more flags than the recipe lets a step leave."""
    limit = draft.recipe.qa.max_flagged_fraction
    if limit < field.flagged_fraction < 1:
        yield (
            "warning",
            f"{field.flagged_fraction:.1%} of its data came flagged, more than "
            f"qa.max_flagged_fraction = {limit:g}; the verdict will say so",
        )


def _percent(fraction: float) -> str:
    """Write a fraction so that little is not nothing, and nearly all not all."""
    percent = 100 * fraction
    if 0 < percent < 0.01:
        return "under 0.01%"
    if percent < 10 or fraction >= 1:
        return f"{percent:.3g}%"
    return f"{min(percent, 99.9):.3g}%"
