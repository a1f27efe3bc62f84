"""Self-calibration: whether targets, antennas, scans and spws allow what the recipe asks for."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from operator import attrgetter

from .. import selection
from ..errors import KeyPath, did_you_mean
from ..observation import Antenna, Observation, Scan
from ..quantities import human_frequency, human_seconds, parse
from ..selection.error import listed
from ..stages.draft import Draft, Subject
from ..stages.selfcal import Loop
from .solutions import POOR

FEWEST_ANTENNAS = 4
"""Of fewer antennas no amplitude closes, and a gain for each fits whatever the data say."""


FAR = 1.2
"""Windows whose frequencies are further apart than this factor are of different bands."""


def check(draft: Draft, subjects: Sequence[Subject], loops: Sequence[Loop]) -> None:
    """Hold ``[[selfcal]]`` against the data of its targets.

    Parameters
    ----------
    draft : Draft
        Takes the problems and warnings.
    subjects : sequence of Subject
        The datasets with their metadata and roles.
    loops : sequence of Loop
        The self-calibrations, one a target.
    """
    _targets(draft, subjects)
    for loop in draft.each("target", loops, attrgetter("target")):
        parts = [
            (subject, subject.observation.part(subject.targets[loop.target]))
            for subject in loop.subjects
        ]
        for subject, part in draft.each("dataset", parts, lambda pair: pair[0].name):
            _antennas(draft, loop, subject)
            _refant(draft, loop, subject)
            _intervals(draft, loop, subject, part)
            _channels(draft, loop, subject, part)
            _bands(draft, loop, subject, part)
        _halves(draft, loop)


def _targets(draft: Draft, subjects: Sequence[Subject]) -> None:
    """Refuse patterns that mean no target, or a target that another means, too."""
    names = list(dict.fromkeys(name for subject in subjects for name in subject.targets))
    taken: dict[str, int] = {}
    for index, settings in enumerate(draft.recipe.selfcal):
        key: KeyPath = ("selfcal", index, "target")
        meant = [name for name in names if fnmatchcase(name, settings.target)]
        if names and not meant:
            draft.problem(
                f"no target matches '{settings.target}'; targets: {listed(names)}"
                f"{did_you_mean(settings.target, names)}",
                key,
            )
        for name in meant:
            if name in taken:
                other = draft.recipe.selfcal[taken[name]].target
                draft.problem(
                    f"'{settings.target}' and '{other}' of selfcal[{taken[name]}] both mean "
                    f"{name}: one [[selfcal]] a target",
                    key,
                    target=name,
                )
            taken.setdefault(name, index)


def _antennas(draft: Draft, loop: Loop, subject: Subject) -> None:
    """Refuse so few antennas that gains fit anything."""
    working = [one for one in subject.observation.antennas if one.flagged_fraction < 1]
    if len(working) < FEWEST_ANTENNAS:
        draft.problem(
            f"dataset {subject.name} has {len(working)} antenna{'s' * (len(working) != 1)} with "
            f"unflagged data: self-calibration takes {FEWEST_ANTENNAS} or more, fewer gains fit "
            f"any sky; leave {loop.target} out of [[selfcal]]",
            ("selfcal", loop.index, "target"),
        )


def _refant(draft: Draft, loop: Loop, subject: Subject) -> None:
    """Refuse reference antennas of which none is there, warn about a poor first one."""
    key: KeyPath = ("selfcal", loop.index, "refant")
    if loop.settings.refant == "auto":
        return
    antennas = subject.observation.antennas
    by_name = {one.name: one for one in antennas} | {
        str(one.id): one for one in antennas if str(one.id) not in {a.name for a in antennas}
    }
    given = [word.strip() for word in loop.settings.refant.split(",")]
    unknown = [word for word in given if word not in by_name]
    if unknown:
        names = [one.name for one in antennas]
        draft.problem(
            f"dataset {subject.name} has no antenna '{unknown[0]}'; antennas: "
            f"{', '.join(names)}{did_you_mean(unknown[0], names)}",
            key,
        )
        return
    first = by_name[given[0]]
    if first.flagged_fraction > POOR or first.present_fraction < POOR:
        better = min(antennas, key=_badness)
        draft.warn(
            f"reference antenna {first.name} of dataset {subject.name} is "
            f"{first.flagged_fraction:.0%} flagged and has data in {first.present_fraction:.0%} "
            "of the scans: phases jump where it lacks; "
            + (f"{better.name} is better, or " if better is not first else "")
            + 'refant = "auto"',
            key,
        )


def _badness(antenna: Antenna) -> tuple[float, float]:
    return antenna.flagged_fraction + 1 - antenna.present_fraction, antenna.distance_m


def _intervals(draft: Draft, loop: Loop, subject: Subject, part: Observation) -> None:
    """Warn about intervals that the data turn into other ones."""
    solint = loop.settings.solint
    if isinstance(solint, str) or not part.scans:
        return
    for place, text in enumerate(solint[: len(loop.rounds)]):
        if text not in ("inf", "int", "auto"):
            key: KeyPath = ("selfcal", loop.index, "solint", place)
            _interval(draft, loop, subject, key, (text, part.scans))


def _interval(
    draft: Draft, loop: Loop, subject: Subject, key: KeyPath, given: tuple[str, Sequence[Scan]]
) -> None:
    text, scans = given
    seconds = parse(text, "duration")
    integration = min(scan.integration_s for scan in scans)
    longest = max(scan.end_mjd_s - scan.start_mjd_s for scan in scans)
    if seconds < 0.99 * integration:
        draft.warn(
            f"{human_seconds(seconds)} is shorter than an integration of {loop.target} in dataset "
            f"{subject.name} ({human_seconds(integration)}): each integration gets one solution, "
            'as with "int"',
            key,
        )
    elif "scan" not in loop.settings.combine and seconds > 1.01 * longest + integration:
        draft.warn(
            f"{human_seconds(seconds)} is longer than any scan of {loop.target} in dataset "
            f"{subject.name} ({human_seconds(longest)}): each scan gets one solution, as with "
            '"inf"; to solve over several, combine = "scan"',
            key,
        )


def _channels(draft: Draft, loop: Loop, subject: Subject, part: Observation) -> None:
    """Refuse own selections of the rounds' images that select nothing of a dataset."""
    own = {name: loop.settings.tclean.get(name) for name in ("spw", "uvrange")}
    given = {name: value for name, value in own.items() if isinstance(value, str) and value}
    for name, message in selection.check(given, part).items():
        draft.problem(
            f"{loop.target} of dataset {subject.name}: {message}",
            ("selfcal", loop.index, "tclean", name),
        )


def _bands(draft: Draft, loop: Loop, subject: Subject, part: Observation) -> None:
    """Refuse to correct a window by solutions from another band: phases go with the frequency."""
    imaged = [band.spw for band in loop.picture.bands if band.subject is subject]
    ids = {spw.id for spw in imaged}
    for spw_id in part.spws_of_fields({field.id for field in part.fields}):
        spw = part.spw(spw_id)
        if spw.id in ids or not imaged:
            continue
        near = min(imaged, key=lambda one: abs(one.centre_hz - spw.centre_hz))
        low, high = sorted((near.centre_hz, spw.centre_hz))
        if high > FAR * low:
            given = "spw" in loop.settings.tclean
            draft.problem(
                f"spw {spw.id} of dataset {subject.name} ({human_frequency(spw.centre_hz)}) is not "
                f"among those that {loop.target} is imaged from for self-calibration; the nearest, "
                f"spw {near.id} ({human_frequency(near.centre_hz)}), is of another band, whose "
                "phases are not its own: write a recipe for each band, or self-calibrate from all "
                'of them, selfcal.tclean = { spw = "", deconvolver = "mtmfs" }',
                ("selfcal", loop.index, "tclean", "spw") if given else ("selfcal", loop.index),
            )
            return


def _halves(draft: Draft, loop: Loop) -> None:
    """Warn where the data have no independent halves to compare solutions of.

    They are the two parallel hands; of a single one, halves of its channels.
    """
    for band in loop.picture.bands:
        hands = {"RR", "LL", "XX", "YY"} & set(band.spw.correlations)
        if len(hands) != 1 or len(band.channels) > 1:
            return
    draft.warn(
        f"{loop.target} has one polarization and single channels: whether phases are solved from "
        "signal or from noise is told by solving for them from two halves of the data, and there "
        "are none here; stop.consistency is not looked at, min_solution_snr and the images have "
        "to do",
        ("selfcal", loop.index, "target"),
    )
