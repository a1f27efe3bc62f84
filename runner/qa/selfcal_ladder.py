"""Self-calibration's ladder: which solutions come next. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

Numbers = Mapping[str, Any]
Entry = dict[str, Any]

CHANGED = 0.05
"""A source whose brightness, relative to the brightest, changed by this part in a round has not
settled: the gains had taken a part of what the model lacked of it, and give it back by and by (of
a source of a hundredth, 12 antennas: 29 %, 12 % and 5 % are missing after the rounds that find it,
have it in their model, and have more of it) ..."""

CHANGED_SIGMAS = 3.0
"""... and a change of less than so many times the noise is none."""

PHASES, SCANS, SHORT = ("p", "auto"), ("a", "inf"), ("a", "auto")
AUTO = (PHASES, SCANS, SHORT)
"""What ``auto`` goes through: phases at the shortest interval that carries them, amplitudes over
a scan, amplitudes at the shortest interval."""


def after(
    state: Numbers, states: Sequence[Numbers], limits: Numbers, ladder: Numbers
) -> tuple[Entry | None, str]:
    """Say what comes after a round.

    Parameters
    ----------
    state : mapping
        The round's state, judged.
    states : sequence of mapping
        Those before it.
    limits, ladder : mapping
        Of the recipe.

    Returns
    -------
    tuple of dict or None, and str
        The next solutions (`calmode`, `solint`, `gaintype`, `combine`; of an explicit ladder its
        `entry`), or None and why it ended.
    """
    rounds = [*states, state]
    entries = _entries(ladder)
    last = state["round"] >= ladder["rounds"]
    if states and states[-1]["next"] is None:
        explicit = entries is not None and states[0]["accepted"] and not last
        if not explicit:
            return None, str(states[-1]["ended"])
    number = int(ladder["rounds"])
    done = f"all {number} rounds are done" if number > 1 else "the one round is done"
    if entries is not None:
        return (None, done) if last else _explicit(rounds, entries, ladder)
    if reached := _at_the_noise(rounds, limits):
        return None, reached
    following, ended = _auto(rounds, limits, ladder)
    if following and last:
        return None, f"{done}; more might help (selfcal.rounds)"
    return following, ended


def _entries(ladder: Numbers) -> list[tuple[str, str]] | None:
    """Return calmode and solint of each round, or None where both are ``auto``."""
    solints, calmodes = ladder["solint"], ladder["calmode"]
    if solints == "auto" and calmodes == "auto":
        return None
    if calmodes == "auto":
        calmodes = ["p"] * len(solints)
    if solints == "auto":
        solints = ["auto"] * len(calmodes)
    return list(zip(calmodes, solints, strict=True))


def _entry(calmode: str, solint: str, ladder: Numbers, **more: int) -> Entry:
    chosen = {"calmode": calmode, "solint": solint}
    return {**chosen, "gaintype": ladder["gaintype"], "combine": ladder["combine"], **more}


def _explicit(
    rounds: Sequence[Numbers], entries: Sequence[tuple[str, str]], ladder: Numbers
) -> tuple[Entry | None, str]:
    """Go down a ladder that the recipe gives, an entry a round.

    What was refused at one interval would be at a shorter one: rounds of its kind are passed over.
    Of the entries none beyond the next round's is looked at, so that a round is not run again
    because a later one was edited.
    """
    place = int(rounds[-1]["round"])
    tried = [number for number, before in enumerate(rounds[:-1]) if before["next"] is not None]
    if tried:
        refused = rounds[tried[-1] + 1]
        if not refused["accepted"] and entries[tried[-1]][0] == entries[place][0]:
            return None, str(refused["reason"])
    return _entry(*entries[place], ladder, entry=place), ""


def _at_the_noise(rounds: Sequence[Numbers], limits: Numbers) -> str:
    """Tell that no round can help any more, for the image is as good as its data's noise."""
    state = next((one for one in reversed(rounds) if one["accepted"]), None)
    if state is None or len(rounds) == 1:
        return ""
    due = unsettled(rounds) is not None or carries_shorter(rounds, limits)
    if due and not _unchanged(rounds[-1]):
        return ""
    image = state["image"]
    noise, thermal = image["near_rms_noise_jy_per_beam"], image["thermal_noise_jy_per_beam"]
    if noise is None or not thermal or noise > limits["improvement"] * thermal:
        return ""
    return f"the image has the noise of its data ({noise / thermal:.2f} times){_left(rounds)}"


def _left(rounds: Sequence[Numbers]) -> str:
    """Say what phases of long intervals leave, as of a source too weak for shorter ones."""
    solved = [one["solve"] or {} for one in rounds if one["accepted"]]
    phases = [solve for solve in solved if solve.get("calmode") == "p" and solve.get("candidates")]
    solint = phases[-1]["solint"] if phases else ""
    if not phases or solint == phases[-1]["candidates"][0]["solint"]:
        return ": nothing is left to gain"
    interval = "a scan" if solint == "inf" else solint
    return (
        f"; shorter intervals than {interval} have too little signal, and what phases do within "
        "one stays"
    )


def unsettled(rounds: Sequence[Numbers]) -> float | None:
    """Return by which part the source changed most that has not settled in the last two images.

    A round is solved against the image of the round before. What that lacked of a source, as
    of one that artefacts had hidden, the gains take over in part, and more of it is seen in the
    next round: another is due, whatever the noise says.

    Parameters
    ----------
    rounds : sequence of mapping
        The states so far.

    Returns
    -------
    float or None
        As a part of the source; 1 for one that is new. None where all have settled, or nothing
        is known.
    """
    accepted = [one["image"] for one in rounds if one["accepted"]]
    if len(accepted) < 2:
        return None
    before, now = accepted[-2:]
    if not (before.get("sources") and now.get("sources") and now.get("rms_noise_jy_per_beam")):
        return None
    changes = [_change(one, before, now) for one in now["sources"]]
    worst = max((one for one in changes if one is not None), default=None)
    return worst if worst is not None and worst > CHANGED else None


def carries_shorter(rounds: Sequence[Numbers], limits: Numbers) -> bool:
    """Tell whether the image of a round of phases has the flux for a shorter interval.

    The signal to noise of a solution goes with the flux of its model, and phases that scatter
    within an interval take flux away: of a weak source the noise is that of the data long before
    its flux has come back (4 mJy, S/N of an antenna's solution 7 in 90 s, phases of 30 deg in a
    minute: 3.75 mJy after a round that was solved against 3.0).

    Parameters
    ----------
    rounds : sequence of mapping
        The states so far.
    limits : mapping
        Of the recipe.
    """
    state = rounds[-1]
    solve = state["solve"] or {}
    if not state["accepted"] or solve.get("calmode") != "p" or _preparatory(state):
        return False
    best = rounds[rounds[-2]["best_round"]]["image"]
    before, now = best.get("model_flux_jy"), state["image"].get("model_flux_jy")
    if not before or not now:
        return False
    limit = limits["min_solution_snr"] * before / now
    for one in solve.get("candidates", ()):
        if one["solint"] == solve["solint"]:
            return False
        if one["snr"] is not None and one["snr"] >= limit:
            return True
    return False


def _change(source: Numbers, before: Numbers, now: Numbers) -> float | None:
    """Return by which part a source changed since the image before; None for noise."""
    reach = now.get("beam_pixels") or 1.0
    near = [
        one["peak_jy_per_beam"]
        for one in before["sources"]
        if math.hypot(one["x"] - source["x"], one["y"] - source["y"]) <= reach
    ]
    scale = now["sources"][0]["peak_jy_per_beam"] / before["sources"][0]["peak_jy_per_beam"]
    peak = source["peak_jy_per_beam"]
    change = abs(peak - scale * max(near, default=0.0))
    return change / peak if change > CHANGED_SIGMAS * now["rms_noise_jy_per_beam"] else None


def _auto(rounds: Sequence[Numbers], limits: Numbers, ladder: Numbers) -> tuple[Entry | None, str]:
    """Repeat what helps; go on to what has not been tried since something last did."""
    state = rounds[-1]
    if len(rounds) == 1:
        return _entry(*PHASES, ladder), ""
    last = _kind(rounds[-2])
    if _preparatory(state) or carries_shorter(rounds, limits):
        return _entry(*PHASES, ladder), ""
    if not any(one["accepted"] for one in rounds[1:]) and last == PHASES:
        # The shortest interval was refused at once: one solution a scan asks less of the data.
        longer = ("p", "inf")
        solved = (state["solve"] or {}).get("solint")
        if not state["skipped"] and solved != "inf":
            return _entry(*longer, ladder), ""
        return None, str(state["reason"])
    tried = _tried(rounds, limits)
    if not tried:
        return _entry(*PHASES, ladder), ""
    ended = state["skipped"] and not _unchanged(state)
    if ended or not any(one["accepted"] for one in rounds[1:]):
        return None, str(state["reason"])
    for kind in _order(rounds):
        if kind not in tried:
            return _entry(*kind, ladder), ""
    return (
        None,
        f"no kind of solution raises the near-field S/N by {limits['improvement']:g} any more",
    )


def _order(rounds: Sequence[Numbers]) -> tuple[tuple[str, str], ...]:
    """Return the kinds of solutions in the order in which they are tried.

    Amplitudes over a scan that were accepted lead on to shorter ones, and these take their place:
    what drifts within a scan stays in the image otherwise, round after round.
    """
    accepted = [
        (_kind(before), (state["solve"] or {}).get("solint"))
        for before, state in pairwise(rounds)
        if state["accepted"]
    ]
    if any(kind == SHORT and solint != "inf" for kind, solint in accepted):
        return PHASES, SHORT
    return (PHASES, SHORT, SCANS) if any(kind == SCANS for kind, _ in accepted) else AUTO


def _preparatory(state: Numbers) -> bool:
    """Tell that a round solved only for what the next one stands on: offsets between windows."""
    return bool((state["solve"] or {}).get("preparatory"))


def _unchanged(state: Numbers) -> bool:
    """Tell that a round was passed over because its solutions are those there were."""
    return bool((state["solve"] or {}).get("unchanged"))


def _kind(before: Numbers) -> tuple[str, str]:
    """Return calmode and solint of the round that a state led to."""
    return str(before["next"]["calmode"]), str(before["next"]["solint"])


def _tried(rounds: Sequence[Numbers], limits: Numbers) -> set[tuple[str, str]]:
    """Return the kinds of solutions that were tried since one last helped."""
    tried: set[tuple[str, str]] = set()
    best = rounds[0]
    for before, state in pairwise(rounds):
        if not _preparatory(state):
            tried.add(_kind(before))
        if state["accepted"]:
            now, was = state["image"]["near_snr"], best["image"]["near_snr"]
            helped = now is None or was is None or now >= limits["improvement"] * was
            if helped or unsettled([best, state]) is not None:
                tried = set()
            best = state
    return tried
