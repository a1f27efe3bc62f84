"""Which field is what: from scan intents, known calibrators and the observing pattern."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from .. import standards
from ..observation import Field, Observation
from ..quantities import human_frequency

# A position for a name: 1445+099, J0238+1636, B1934-638, 1445+09900002_0.
_POSITION: Final = re.compile(r"[JB]?\d{4}[+-]\d{2,}", re.IGNORECASE)
_GOOD: Final = ("3C286", "3C48", "3C147", "3C138", "1934-638", "3C295", "3C196", "3C123", "3C380")
"""Flux standards that an array hardly resolves, the most used first."""


@dataclass(frozen=True)
class Seen:
    """What was observed under one name.

    Attributes
    ----------
    field : Field
        The first field of this name that has data.
    ids : tuple of int
        The fields of this name.
    visits : tuple of int
        Its places in the order of what was observed, a visit being all it had at a stretch.
    seconds : float
        Time on it.
    """

    field: Field
    ids: tuple[int, ...]
    visits: tuple[int, ...]
    seconds: float

    @property
    def name(self) -> str:
        """Its name."""
        return self.field.name

    @property
    def visit_s(self) -> float:
        """How long a visit lasts, on average, in s."""
        return self.seconds / max(1, len(self.visits))

    def intended(self, word: str) -> bool:
        """Tell whether one of its scans' intents contains a word."""
        return any(word in intent for intent in self.field.intents)

    @property
    def like_a_calibrator(self) -> bool:
        """Tell whether it is a known calibrator, or called by a position as calibrators are."""
        one = self.field
        known = standards.by_name(one.name) or standards.by_position(one.ra_deg, one.dec_deg)
        return known is not None or bool(_POSITION.match(one.name))


@dataclass
class Guess:
    """What each field of a dataset is for, and how sure that is.

    `standard` is CASA's name of the flux standard, empty where none knows the flux calibrator.
    `reasons` and `doubts` are sentences by role.
    """

    calibrated: bool = False
    flux: Seen | None = None
    standard: str = ""
    bandpass: Seen | None = None
    phase: tuple[Seen, ...] = ()
    targets: tuple[Seen, ...] = ()
    reasons: dict[str, str] = field(default_factory=dict)
    doubts: dict[str, str] = field(default_factory=dict)


def guess(observation: Observation) -> Guess:
    """Give each field of a dataset its role.

    Parameters
    ----------
    observation : Observation
        The dataset's metadata.

    Returns
    -------
    Guess
        With at least one target, where the dataset has any data.
    """
    found = seen(observation)
    intents = any(one.field.intents for one in found)
    if _is_calibrated(observation, found):
        return _calibrated(observation, found, intents=intents)
    result = Guess()
    flux = _flux(result, observation, found)
    _phase(result, flux, found)
    _targets(result, flux, found)
    _bandpass(result, observation, flux, found)
    return result


def seen(observation: Observation) -> tuple[Seen, ...]:
    """Return what was observed, by name; fields without a good visibility are left out."""
    names = {
        one.id: one.name
        for one in observation.fields
        if one.n_rows > 0 and one.flagged_fraction < 1
    }
    order: list[str] = []
    seconds: dict[str, float] = {}
    for scan in sorted(observation.scans, key=lambda scan: scan.start_mjd_s):
        mine = [names[i] for i in scan.field_ids if i in names]
        for name in mine:
            share = (scan.end_mjd_s - scan.start_mjd_s) / len(mine)
            seconds[name] = seconds.get(name, 0.0) + share
            if order[-1:] != [name]:
                order.append(name)
    found = []
    for name in dict.fromkeys(names.values()):
        ids = tuple(i for i in names if names[i] == name)
        visits = tuple(place for place, other in enumerate(order) if other == name)
        found.append(Seen(observation.field(ids[0]), ids, visits, seconds.get(name, 0.0)))
    return tuple(found)


def standard_for(observation: Observation, one: Seen) -> tuple[str, bool]:
    """Return the flux standard for a field, and whether it holds at all its frequencies.

    The first in the order of `standards.STANDARDS` by which ``setjy`` knows the field; empty
    where none does.
    """
    low, high = _frequencies(observation, one)
    partial = ""
    for name in standards.STANDARDS:
        source = standards.as_setjy(one.name, one.field.ra_deg, one.field.dec_deg, name)
        if source is None or name not in source.standards:
            continue
        from_hz, to_hz = source.standards[name]
        if from_hz <= low and high <= to_hz:
            return name, True
        if from_hz < high and low < to_hz:
            partial = partial or name
    return partial, False


def _frequencies(observation: Observation, one: Seen) -> tuple[float, float]:
    """Return the lowest and the highest frequency at which a field was observed, in Hz."""
    ids = observation.spws_of_fields(set(one.ids))
    spws = [observation.spw(i) for i in ids] or list(observation.spws)
    return min(min(s.first_hz, s.last_hz) for s in spws), max(s.highest_hz for s in spws)


def _is_calibrated(observation: Observation, found: Sequence[Seen]) -> bool:
    """Tell whether there is nothing in a dataset to calibrate with."""
    if any(one.field.intents for one in found):
        words = ("CALIBRATE_FLUX", "CALIBRATE_BANDPASS", "CALIBRATE_PHASE", "CALIBRATE_AMPLI")
        return not any(one.intended(word) for one in found for word in words)
    if len(found) < 2:
        return True
    return not any(standard_for(observation, one)[0] for one in found) and not _pattern(found)


def _calibrated(observation: Observation, found: Sequence[Seen], *, intents: bool) -> Guess:
    result = Guess(calibrated=True, targets=tuple(found))
    if "CORRECTED_DATA" in observation.columns:
        result.reasons["calibrated"] = (
            "no calibrators, and a column CORRECTED_DATA: it is taken as it is"
        )
    else:
        why = "no scan is meant to calibrate" if intents else "no field looks like a calibrator"
        result.reasons["calibrated"] = f"{why}: the visibilities are taken as they are"
        result.doubts["calibrated"] = (
            f"{why}, so the data are taken for calibrated. If they are not, remove `calibrated` "
            "and name the calibrators in [calibrators]"
        )
    return result


def _flux(result: Guess, observation: Observation, found: Sequence[Seen]) -> Seen:
    """Choose the flux calibrator and its standard, and return it."""
    meant = [one for one in found if one.intended("CALIBRATE_FLUX")]
    ranked = sorted(meant or found, key=lambda one: _worth(observation, one))
    best = ranked[0]
    result.standard, whole = standard_for(observation, best)
    if not (meant or result.standard):
        best = _strongest_guess(found)
        result.standard, whole = standard_for(observation, best)
    result.flux = best
    known = standards.by_name(best.name) or standards.by_position(
        best.field.ra_deg, best.field.dec_deg
    )
    why = "its scans have the intent CALIBRATE_FLUX" if meant else "it is observed as one"
    if known is not None and not meant:
        why = f"it is {known.name}" if known.name != best.name else "a known flux standard"
    result.reasons["flux"] = why
    _flux_doubts(result, observation, best, whole=whole)
    return best


def _flux_doubts(result: Guess, observation: Observation, best: Seen, *, whole: bool) -> None:
    low, high = (human_frequency(hertz) for hertz in _frequencies(observation, best))
    if not result.standard:
        result.doubts["flux"] = (
            f"no flux standard of CASA knows {best.name} at {low}, so 1 Jy stands in for it: "
            "all flux densities are relative until you give its own (fluxdensity, spix, reffreq)"
        )
    elif not whole:
        result.doubts["flux"] = (
            f"{result.standard} does not hold for {best.name} all the way from {low} to {high}"
        )
    elif not best.intended("CALIBRATE_FLUX") and not _is_good(best):
        result.doubts["flux"] = (
            f"{best.name} is the only known flux standard in the data, but it is large on the sky: "
            "maybe it was the target"
        )


def _worth(observation: Observation, one: Seen) -> tuple[bool, bool, int, float]:
    """Rank a field as flux calibrator, the best first."""
    standard, whole = standard_for(observation, one)
    rank = standards.STANDARDS.index(standard) if standard else len(standards.STANDARDS)
    return not whole, not _is_good(one), rank, -one.seconds


def _is_good(one: Seen) -> bool:
    known = standards.by_name(one.name) or standards.by_position(
        one.field.ra_deg, one.field.dec_deg
    )
    return known is not None and (known.moves or known.name in _GOOD)


def _strongest_guess(found: Sequence[Seen]) -> Seen:
    """Return the field that an observer would have calibrated with, where none is known."""
    others = [one for one in found if one.intended("CALIBRATE_BANDPASS")]
    others = others or list(_pattern(found)) or [one for one in found if one.like_a_calibrator]
    return max(others or found, key=lambda one: one.seconds)


def _phase(result: Guess, flux: Seen, found: Sequence[Seen]) -> None:
    """Choose the phase calibrators."""
    others = [one for one in found if one is not flux]
    meant = [one for one in found if one.intended("CALIBRATE_PHASE")]
    if meant:
        result.phase = tuple([one for one in meant if one is not flux] or meant)
        result.reasons["phase"] = "its scans have the intent CALIBRATE_PHASE"
        return
    result.phase = _pattern(others)
    if result.phase:
        result.reasons["phase"] = "visited before and after other fields"
        return
    named = [one for one in others if one.like_a_calibrator]
    if named and len(named) < len(others):
        result.phase = tuple(named)
        names = ", ".join(one.name for one in named)
        result.reasons["phase"] = "called by a position, as calibrators are"
        result.doubts["phase"] = f"{names} may be a target: no field is visited in between others"
    elif flux in _pattern(found):
        result.phase = (flux,)
        result.reasons["phase"] = "the flux calibrator, visited before and after other fields"
    else:
        result.phase = (flux,)
        result.reasons["phase"] = "no other calibrator was observed"
        result.doubts["phase"] = (
            f"no field is visited in between others, so the targets' phases come from "
            f"{flux.name}: they hold as long as the array was stable"
        )


def _pattern(found: Sequence[Seen]) -> tuple[Seen, ...]:
    """Return the fields that are visited in between others, as phase calibrators are.

    For each two fields that take turns, one serves the other: the one that looks like a
    calibrator, else the one that begins and ends, else the one of the shorter visits.
    """
    serving = []
    for one in found:
        turns = [other for other in found if other is not one and _take_turns(one, other)]
        if any(_serves(one, other) for other in turns) and not any(
            _serves(other, one) for other in turns
        ):
            serving.append(one)
    return tuple(serving)


def _take_turns(one: Seen, other: Seen) -> bool:
    """Tell whether one field is visited between two visits of another, at least once."""
    return _between(one, other) or _between(other, one)


def _between(one: Seen, other: Seen) -> bool:
    return any(
        any(before < place < after for place in other.visits)
        for before, after in pairwise(one.visits)
    )


def _serves(one: Seen, other: Seen) -> bool:
    """Tell whether the first of two fields that take turns is the calibrator of the second."""
    if len(one.visits) < 2:
        return False
    if one.like_a_calibrator != other.like_a_calibrator:
        return one.like_a_calibrator
    if len(one.visits) != len(other.visits):
        return len(one.visits) > len(other.visits)
    return one.visit_s < 0.8 * other.visit_s


def _targets(result: Guess, flux: Seen, found: Sequence[Seen]) -> None:
    """Choose the targets: those meant to be, else the rest."""
    taken = {one.name for one in (flux, *result.phase)}
    meant = [one for one in found if one.intended("TARGET") and one.name not in taken]
    if meant:
        result.targets = tuple(meant)
        result.reasons["targets"] = "their scans have the intent OBSERVE_TARGET"
        return
    intended = any(one.field.intents for one in found)
    rest = [one for one in found if one.name not in taken
            and not (intended and one.intended("CALIBRATE_"))]  # fmt: skip
    longest = max((one.seconds for one in rest), default=0.0)
    brief = [one for one in rest
             if len(one.visits) == 1 and one.seconds < 0.05 * longest]  # fmt: skip
    result.targets = tuple(one for one in rest if one not in brief)
    result.reasons["targets"] = "all the fields that are no calibrators"
    if brief:
        names = ", ".join(one.name for one in brief)
        result.doubts["targets"] = f"observed once and briefly, so left out: {names}"
    if not result.targets:
        _without_targets(result, flux, found)


def _without_targets(result: Guess, flux: Seen, found: Sequence[Seen]) -> None:
    """Make targets of the phase calibrators where there is nothing else."""
    result.targets = tuple(one for one in found if one is not flux)
    result.phase = (flux,)
    result.reasons["targets"] = "all the fields but the flux calibrator"
    result.reasons["phase"] = "no other calibrator was observed"
    result.doubts["targets"] = "every field looks like a calibrator"


def _bandpass(result: Guess, observation: Observation, flux: Seen, found: Sequence[Seen]) -> None:
    """Choose the bandpass calibrator: the one meant to be, else the flux calibrator."""
    taken = {one.name for one in result.targets}
    meant = [one for one in found if one.intended("CALIBRATE_BANDPASS") and one.name not in taken]
    if meant:
        result.bandpass = max(meant, key=lambda one: (one is flux, one.seconds))
        result.reasons["bandpass"] = "its scans have the intent CALIBRATE_BANDPASS"
        return
    result.bandpass = flux
    result.reasons["bandpass"] = "the flux calibrator, as no field is meant for the bandpass"
    wanted = observation.spws_of_fields({i for one in result.targets for i in one.ids})
    lacking = set(wanted) - set(observation.spws_of_fields(set(flux.ids)))
    if lacking:
        spws = ", ".join(map(str, sorted(lacking)))
        result.doubts["bandpass"] = f"{flux.name} was not observed in spw {spws}"
