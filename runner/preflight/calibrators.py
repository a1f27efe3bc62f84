"""Calibrators: known to the flux standard, observed around the targets, in all their windows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .. import heuristics, standards
from ..errors import KeyPath, did_you_mean
from ..observation import Field, Scan, SpectralWindow
from ..quantities import human_frequency, human_seconds
from ..stages.draft import Draft, Subject

STANDARD: KeyPath = ("calibrators", "flux", "standard")
MODEL: KeyPath = ("calibrators", "flux", "model")
FIELD: KeyPath = ("calibrators", "flux", "field")
PHASE: KeyPath = ("calibrators", "phase")

FAR_DEG = 20.0
"""Farther than this a phase calibrator looks through another atmosphere (the VLA's guide to
calibration asks for less than 10 to 15 deg)."""
TOO_FAR_OUT = 3.0
"""A polynomial that is used at this many times the end of its range says nothing any more."""
EPHEMERIS_FROM_MJD = 55197
"""Where casadata's J2000 ephemerides of the solar system begin: 1 January 2010."""
OLDER_EPHEMERIS_FROM_MJD = {"Uranus": 51910}


def check(draft: Draft, subjects: Sequence[Subject]) -> None:
    """Hold the calibrators of each dataset against its metadata and the flux standards.

    Parameters
    ----------
    draft : Draft
        Takes the problems and warnings.
    subjects : sequence of Subject
        The datasets; those that came calibrated have no calibrators.
    """
    for subject in draft.each("dataset", subjects):
        roles = subject.roles
        if not draft.recipe.calibrators.flux.fluxdensity:
            for field in draft.each("field", subject.fields(roles.flux)):
                _flux(draft, subject, field)
        for target in draft.each("target", subject.fields(roles.targets)):
            serving = subject.fields(roles.phase_of.get(target.id, ()))
            if serving:
                _separation(draft, subject, target, serving)
                _around(draft, subject, target, serving)
                _windows(draft, subject, target, serving)


def _flux(draft: Draft, subject: Subject, field: Field) -> None:
    """Check that the standard has a flux density of a field, at its frequencies."""
    standard = draft.recipe.calibrators.flux.standard
    if standard not in standards.STANDARDS:
        return  # The recipe's own check has said so.
    found = standards.as_setjy(field.name, field.ra_deg, field.dec_deg, standard)
    if found is None or standard not in found.standards:
        message, key = _unknown(subject, field, standard, found)
        draft.problem(message, key)
        return
    _place(draft, field, found)
    _range(draft, subject, field, found)
    _ephemeris(draft, subject, field, found)
    _model(draft, subject, field, found)
    _resolved(draft, subject, field, found)


def _unknown(
    subject: Subject, field: Field, standard: str, found: standards.Calibrator | None
) -> tuple[str, KeyPath]:
    """Say that a standard does not know a field, and what would; with the key to change."""
    head = (
        f"the standard '{standard}' has no flux density of {field.name} in dataset "
        f"{subject.name}: setjy would take it for a source of 1 Jy"
    )
    meant = (
        found or standards.by_name(field.name) or standards.by_position(field.ra_deg, field.dec_deg)
    )
    own = "give its flux density (calibrators.flux.fluxdensity)"
    if meant and standard not in meant.standards:
        return f"{head}; {_instead(subject, field, meant)}, or {own}", STANDARD
    if meant and meant.moves:
        wanted = f"setjy wants the field to be called just '{meant.name}'"
        return f"{head}; {wanted}; rename it, or {own}", FIELD
    if meant:
        distance = 3600 * standards.separation_deg(
            field.ra_deg, field.dec_deg, meant.ra_deg, meant.dec_deg
        )
        heard = ", ".join(alias for alias in meant.aliases if alias.isupper() or alias[0].isdigit())
        return (
            f"{head}; it is {meant.name}, {distance:.3g} arcsec from its catalogued position, but "
            f"setjy goes by a name that holds one of {heard}, or by a position within 1 arcsec: "
            f"{own}"
        ), FIELD
    others = [one.name for one in subject.observation.fields if _known(one, standard)]
    another = (
        f"the dataset has {', '.join(others)}, which it knows: name that (calibrators.flux.field)"
        if others
        else "it knows no field of the dataset: name another standard (calibrators.flux.standard)"
    )
    return f"{head}; {another}, or {own}", FIELD


def _instead(subject: Subject, field: Field, meant: standards.Calibrator) -> str:
    """Name the standards that know a source, those that hold at the field's frequencies first."""
    frequencies = [spw.centre_hz for spw in _spws(subject, field)]
    ranked = sorted(meant.standards, key=standards.STANDARDS.index)
    holding = [
        name
        for name in ranked
        if all(
            meant.standards[name][0] <= hertz <= meant.standards[name][1] for hertz in frequencies
        )
    ]
    if holding:
        return f"standards that know {meant.name} there: {_quoted(holding)}"
    spans = ", ".join(f"'{name}' ({_span(*meant.standards[name])})" for name in ranked)
    return f"standards that know {meant.name}, elsewhere: {spans}"


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def _known(field: Field, standard: str) -> bool:
    found = standards.as_setjy(field.name, field.ra_deg, field.dec_deg, standard)
    return field.n_rows > 0 and found is not None and standard in found.standards


def _place(draft: Draft, field: Field, found: standards.Calibrator) -> None:
    """Warn where setjy takes a field for a source by its name that stands elsewhere."""
    if found.moves:
        return
    distance = standards.separation_deg(field.ra_deg, field.dec_deg, found.ra_deg, found.dec_deg)
    if distance > 0.1:
        draft.warn(
            f"by its name setjy takes {field.name} for {found.name}, which is {distance:.3g} deg "
            "away: if it is another source, give its flux density (calibrators.flux.fluxdensity)",
            ("calibrators", "flux"),
        )


def _range(draft: Draft, subject: Subject, field: Field, found: standards.Calibrator) -> None:
    """Check that the standard holds at the frequencies of a field."""
    standard = draft.recipe.calibrators.flux.standard
    low, high = found.standards[standard]
    outside = [spw for spw in _spws(subject, field) if not low <= spw.centre_hz <= high]
    if not outside:
        return
    worst = max(max(low / max(spw.centre_hz, 1.0), spw.centre_hz / high) for spw in outside)
    holding = [
        name
        for name in sorted(found.standards, key=standards.STANDARDS.index)
        if all(
            found.standards[name][0] <= spw.centre_hz <= found.standards[name][1] for spw in outside
        )
    ]
    instead = f"'{holding[0]}' holds there; or " if holding else ""
    message = (
        f"the standard '{standard}' holds for {found.name} at {_span(low, high)}; "
        f"{_windows_at(outside)} of dataset {subject.name} would be calibrated with an "
        f"extrapolation; {instead}give its flux density (calibrators.flux.fluxdensity)"
    )
    # The models of the solar system end with their tables: setjy fails beyond.
    if worst >= TOO_FAR_OUT or found.moves:
        draft.problem(message, STANDARD)
    else:
        draft.warn(message, STANDARD)


def _ephemeris(draft: Draft, subject: Subject, field: Field, found: standards.Calibrator) -> None:
    """Refuse a body of the solar system before the time of CASA's ephemerides."""
    if not found.moves or draft.recipe.calibrators.flux.standard != "Butler-JPL-Horizons 2012":
        return
    begin = OLDER_EPHEMERIS_FROM_MJD.get(found.name, EPHEMERIS_FROM_MJD)
    if subject.observation.start_mjd_s < begin * 86400:
        draft.problem(
            f"CASA's ephemeris of {found.name} begins with MJD {begin}; dataset {subject.name} was "
            f"observed from MJD {subject.observation.start_mjd_s / 86400:.1f}: give the flux "
            f"density of {field.name} (calibrators.flux.fluxdensity)",
            STANDARD,
        )


def _model(draft: Draft, subject: Subject, field: Field, found: standards.Calibrator) -> None:
    """Check a model image of CASA's that the recipe names."""
    model = draft.recipe.calibrators.flux.model
    if model in ("auto", "point") or "/" in model:
        return
    known = [image for one in standards.CALIBRATORS for image in one.images]
    if model not in known:
        theirs = f"; CASA's of {found.name}: {', '.join(found.images)}" if found.images else ""
        draft.problem(
            f"CASA has no model image '{model}', and an image of your own is given as a path with "
            f"a '/'{theirs}{did_you_mean(model, known)}",
            MODEL,
        )
    elif model not in found.images:
        draft.warn(
            f"{model} is an image of {model.split('_')[0]}, but {field.name} of dataset "
            f'{subject.name} is {found.name}: use model = "auto"',
            MODEL,
        )


def _resolved(draft: Draft, subject: Subject, field: Field, found: standards.Calibrator) -> None:
    """Warn about a source that the array resolves and that is taken for a point."""
    flux, calibrate = draft.recipe.calibrators.flux, draft.recipe.calibrate
    if flux.model not in ("auto", "point") or "uvrange" in calibrate.gaincal:
        return
    longest = subject.observation.longest_baseline_m
    for spw in _spws(subject, field):
        if longest <= 0 or spw.highest_hz <= 0:
            continue  # Damaged metadata, of which another check speaks.
        beam = heuristics.resolution_arcsec(longest, spw.highest_hz)
        image = str(heuristics.model_image(field, spw.centre_hz, flux.standard).value)
        if found.size_arcsec < beam or (image and flux.model == "auto"):
            continue
        # The compact standards have images in all their bands; what extends them is faint.
        if not image and len(found.images) > 1:
            continue
        way = (
            f'model = "auto" takes CASA\'s image {image}'
            if image
            else "name an image of it (calibrators.flux.model), or solve on the short baselines: "
            "calibrate.gaincal = { uvrange = "
            f'"<{heuristics.SPEED_OF_LIGHT / spw.highest_hz / found.size_arcsec * 206265:.2g}m" }}'
        )
        draft.warn(
            f"{found.name} spans some {found.size_arcsec:g} arcsec, and dataset {subject.name} "
            f"resolves {beam:.2g} arcsec in {_windows_at([spw])}: as a point source it would "
            f"bias the gains; {way}",
            MODEL,
        )
        return


def _separation(draft: Draft, subject: Subject, target: Field, serving: tuple[Field, ...]) -> None:
    """Warn about a phase calibrator that is far from its target."""
    nearest = min(serving, key=lambda field: heuristics.separation_deg(target, field))
    distance = heuristics.separation_deg(target, nearest)
    moving = standards.by_name(target.name)
    if distance <= FAR_DEG or (moving is not None and moving.moves):
        return
    closer = sorted(
        (heuristics.separation_deg(target, field), field.name)
        for field in subject.fields(subject.roles.calibrators)
        if field not in serving
    )
    better = (
        f"; {closer[0][1]} is {closer[0][0]:.3g} deg away"
        if closer and closer[0][0] < distance
        else ""
    )
    draft.warn(
        f"phase calibrator {nearest.name} is {distance:.3g} deg from {target.name} in dataset "
        f"{subject.name}: beyond {FAR_DEG:.0f} deg its phases say little about the target's"
        f"{better}",
        PHASE,
    )


def _around(draft: Draft, subject: Subject, target: Field, serving: tuple[Field, ...]) -> None:
    """Warn about scans of a target whose phases are extrapolated, or carried over too long."""
    names = subject.names(tuple(field.id for field in serving))
    wanted = [scan for scan in subject.observation.scans if target.id in scan.field_ids]
    solved = [
        scan
        for scan in subject.observation.scans
        if {field.id for field in serving} & set(scan.field_ids)
    ]
    if not wanted:
        return
    if not solved:
        draft.problem(
            f"dataset {subject.name} has no scan of {names}, the phase calibrator of "
            f"{target.name}: name another (calibrators.phase or targets.phase)",
            PHASE,
        )
        return
    limit = _longest_wait_s(subject, target)
    late = [gap for scan in wanted if (gap := _gap_s(scan, solved)) > limit]
    if late:
        worst = human_seconds(max(late))
        longest = "a little more than" if worst == human_seconds(limit) else "up to"
        draft.warn(
            f"between {_of(late, wanted)} of {target.name} in dataset {subject.name} and the "
            f"nearest scan of {names} are {longest} {worst}; phases hold for "
            f"{human_seconds(limit)} or so",
            PHASE,
        )
        return
    _extrapolated(draft, subject, target, wanted, solved, limit / 12, names)


def _extrapolated(
    draft: Draft, subject: Subject, target: Field, wanted: list[Scan], solved: list[Scan],
    tolerated_s: float, names: str,
) -> None:  # fmt: skip
    """Warn about scans before the first or after the last one of the calibrator."""
    first = min(scan.start_mjd_s for scan in solved)
    last = max(scan.end_mjd_s for scan in solved)
    before = [first - scan.start_mjd_s for scan in wanted if first - scan.start_mjd_s > tolerated_s]
    after = [scan.end_mjd_s - last for scan in wanted if scan.end_mjd_s - last > tolerated_s]
    for beyond, word in ((before, "before the first"), (after, "after the last")):
        if beyond:
            draft.warn(
                f"phases of {_of(beyond, wanted)} of {target.name} in dataset {subject.name} are "
                f"extrapolated: up to {human_seconds(max(beyond))} {word} scan of {names}",
                PHASE,
            )


def _of(some: Sequence[float], every: Sequence[Scan]) -> str:
    return f"{len(some)} of {len(every)} scan{'s' if len(every) != 1 else ''}"


def _gap_s(scan: Scan, others: list[Scan]) -> float:
    """Return the time between a scan and the nearest of others, in s."""
    return min(
        max(other.start_mjd_s - scan.end_mjd_s, scan.start_mjd_s - other.end_mjd_s, 0.0)
        for other in others
    )


def _longest_wait_s(subject: Subject, target: Field) -> float:
    """Return how long phases hold at most, in s.

    Several times what the VLA's guide to calibration recommends as a cycle, 15 min at 1 GHz
    and a few at 40 GHz: beyond this it is no matter of taste.
    """
    highest = max((spw.centre_hz for spw in _spws(subject, target)), default=0.0)
    return 3600.0 if highest < 18e9 else 1800.0


def _windows(draft: Draft, subject: Subject, target: Field, serving: tuple[Field, ...]) -> None:
    """Check that every spectral window of a target has data of its calibrators."""
    observation, roles = subject.observation, subject.roles
    wanted = set(observation.spws_of_fields({target.id}))
    spws = {spw.id: spw for spw in observation.spws}
    phase = {field.id for field in serving}
    for key, ids in ((("calibrators", "bandpass"), set(roles.bandpass)), (PHASE, phase)):
        solved = observation.spws_of_fields(ids)
        lacking = sorted(wanted - set(solved))
        if not lacking or not solved:
            continue
        instead = heuristics.spwmap(wanted, solved, spws)
        mapped = ", ".join(f"those of spw {instead[spw]} for spw {spw}" for spw in lacking)
        draft.warn(
            f"{target.name} of dataset {subject.name} was observed in "
            f"{_windows_at([spws[spw] for spw in lacking])}, but not "
            f"{subject.names(tuple(sorted(ids)))}; solutions come from the nearest window: "
            f"{mapped}",
            key,
        )
    _scaled(draft, subject, target, phase)


def _scaled(draft: Draft, subject: Subject, target: Field, phase: set[int]) -> None:
    """Refuse windows of a target that no flux density can be carried over to."""
    observation, roles = subject.observation, subject.roles
    if phase <= set(roles.flux) or "refspwmap" in draft.recipe.calibrate.fluxscale:
        return
    reference = observation.spws_of_fields(set(roles.flux))
    used = set(observation.spws_of_fields({target.id})) & set(observation.spws_of_fields(phase))
    lacking = sorted(used - set(reference))
    if not lacking or not roles.flux:
        return
    spws = {spw.id: spw for spw in observation.spws}
    refspwmap = heuristics.spwmap(used, reference, spws)
    way_out = (
        f"; or take the gains of another window, where the receivers allow it: "
        f"calibrate.fluxscale = {{ refspwmap = {refspwmap} }}"
        if refspwmap
        else ""
    )
    draft.problem(
        f"{target.name} of dataset {subject.name} was observed in "
        f"{_windows_at([spws[spw] for spw in lacking])}, but not the flux calibrator "
        f"{subject.names(roles.flux)}: fluxscale would leave that on an arbitrary scale without a "
        f"word; name a flux calibrator that was observed in them (calibrators.flux.field){way_out}",
        ("calibrators", "flux"),
    )


def _spws(subject: Subject, field: Field) -> list[SpectralWindow]:
    return [subject.observation.spw(spw) for spw in subject.observation.spws_of_fields({field.id})]


def _windows_at(spws: Sequence[SpectralWindow]) -> str:
    """Name spectral windows with their frequencies, the first few of them."""
    named = ", ".join(f"{spw.id} ({human_frequency(spw.centre_hz)})" for spw in spws[:4])
    return f"spw {named}" + (f" and {len(spws) - 4} more" if len(spws) > 4 else "")


def _span(low: float, high: float) -> str:
    if high == float("inf"):
        return "any frequency"
    return f"{_short(low)} to {_short(high)}"


def _short(hertz: float) -> str:
    return f"{hertz / 1e9:.4g} GHz" if hertz >= 1e9 else f"{hertz / 1e6:.4g} MHz"
