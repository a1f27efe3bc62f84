"""Solutions: whether the antennas and scans allow those that the recipe asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from ..errors import KeyPath
from ..observation import Antenna, Scan
from ..quantities import human_seconds, parse
from ..recipe.model import Solint
from ..stages.draft import Draft, Subject

INTERVALS = tuple(field.name for field in fields(Solint))
FEWEST_ANTENNAS = 3
"""Amplitudes of two antennas are one number for two unknowns: gaincal makes no table."""
POOR = 0.5
"""A reference antenna without data in more than this share makes the reference jump."""


def check(draft: Draft, subjects: Sequence[Subject]) -> None:
    """Hold ``[calibrate]`` against the antennas and scans of each dataset.

    Parameters
    ----------
    draft : Draft
        Takes the problems and warnings.
    subjects : sequence of Subject
        The datasets; those that came calibrated are not solved for.
    """
    for subject in draft.each("dataset", subjects):
        if subject.dataset.calibrated or not subject.roles.calibrators:
            continue
        _antennas(draft, subject)
        _refant(draft, subject)
        _delay(draft, subject)
        for name in INTERVALS:
            _interval(draft, subject, name)


def _antennas(draft: Draft, subject: Subject) -> None:
    """Refuse so few antennas that gains are not determined, whatever ``minblperant`` says."""
    working = [one for one in subject.observation.antennas if one.flagged_fraction < 1]
    if draft.recipe.calibrate.minblperant < len(working) < FEWEST_ANTENNAS:
        draft.problem(
            f"dataset {subject.name} has {len(working)} antennas with unflagged data: gains can be "
            f"solved with {FEWEST_ANTENNAS} or more; set dataset.calibrated = true if the data are "
            "calibrated",
            ("dataset", subject.index),
        )


def _refant(draft: Draft, subject: Subject) -> None:
    """Warn about a reference antenna that is mostly flagged or absent."""
    if draft.recipe.calibrate.refant == "auto":
        return
    antennas = subject.observation.antennas
    first = draft.recipe.calibrate.refant.split(",")[0].strip()
    found = [one for one in antennas if one.name == first] or [
        one for one in antennas if str(one.id) == first
    ]
    if found and (found[0].flagged_fraction > POOR or found[0].present_fraction < POOR):
        better = min(antennas, key=_badness)
        draft.warn(
            f"reference antenna {first} of dataset {subject.name} is "
            f"{found[0].flagged_fraction:.0%} flagged and has data in "
            f"{found[0].present_fraction:.0%} of the scans: phases jump where it lacks; "
            + (f"{better.name} is better, or " if better is not found[0] else "")
            + 'refant = "auto"',
            ("calibrate", "refant"),
        )


def _badness(antenna: Antenna) -> tuple[float, float]:
    return antenna.flagged_fraction + 1 - antenna.present_fraction, antenna.distance_m


def _delay(draft: Draft, subject: Subject) -> None:
    """Refuse delays of a single channel: most solutions would be flagged, the data with them."""
    if draft.recipe.calibrate.delay != "yes":
        return
    observation = subject.observation
    ids = observation.spws_of_fields(set(subject.roles.bandpass))
    single = [spw for spw in ids if observation.spw(spw).n_chan == 1]
    if single:
        draft.problem(
            f"spw {', '.join(map(str, single))} of dataset {subject.name} "
            f"{'have' if len(single) > 1 else 'has'} a single channel, and a delay is a slope of "
            "the phase over channels: leave calibrate.delay out",
            ("calibrate", "delay"),
        )


def _interval(draft: Draft, subject: Subject, name: str) -> None:
    """Warn about a solution interval that the data turn into another one."""
    text: str = getattr(draft.recipe.calibrate.solint, name)
    time, _, frequency = (part.strip() for part in text.partition(","))
    key: KeyPath = ("calibrate", "solint", name)
    roles = subject.roles
    own = roles.bandpass if name in ("delay", "bandpass") else roles.calibrators
    scans = [scan for scan in subject.observation.scans if set(own) & set(scan.field_ids)]
    if scans and time not in ("inf", "int", "auto"):
        _duration(draft, subject, key, parse(time, "duration"), scans)
    if name == "bandpass" and frequency.endswith("ch"):
        _channels(draft, subject, key, int(frequency.removesuffix("ch")), scans)


def _duration(
    draft: Draft, subject: Subject, key: KeyPath, seconds: float, scans: list[Scan]
) -> None:
    name = key[-1]
    integration = min(scan.integration_s for scan in scans)
    longest = max(scan.end_mjd_s - scan.start_mjd_s for scan in scans)
    # Times of integrations carry rounding; a hundredth is none of the author's doing.
    if seconds < 0.99 * integration:
        draft.warn(
            f"solint.{name} = {human_seconds(seconds)} is shorter than an integration of dataset "
            f"{subject.name} ({human_seconds(integration)}): each integration gets one solution, "
            'as with "int"',
            key,
        )
    combined = name in ("delay", "bandpass") or "scan" in str(
        draft.recipe.calibrate.gaincal.get("combine", "")
    )
    if not combined and seconds > 1.01 * longest + integration:
        draft.warn(
            f"solint.{name} = {human_seconds(seconds)} is longer than any scan of a calibrator in "
            f"dataset {subject.name} ({human_seconds(longest)}): each scan gets one solution, as "
            'with "inf"; to solve over several, calibrate.gaincal = { combine = "scan" }',
            key,
        )


def _channels(draft: Draft, subject: Subject, key: KeyPath, number: int, scans: list[Scan]) -> None:
    ids = {spw for scan in scans for spw in scan.spw_ids}
    narrow = [spw for spw in subject.observation.spws if spw.id in ids and spw.n_chan < number]
    if narrow:
        draft.warn(
            f"solint.bandpass averages {number} channels, but spw "
            f"{', '.join(str(spw.id) for spw in narrow)} of dataset {subject.name} has "
            f"{min(spw.n_chan for spw in narrow)}: it gets one solution for all of them",
            key,
        )
