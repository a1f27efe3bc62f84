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

AUTO = (("p", "auto"), ("a", "inf"), ("a", "auto"))
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
    if last:
        return None, f"all {ladder['rounds']} rounds are done"
    if entries is not None:
        return _explicit(rounds, entries, ladder)
    reached = _at_the_noise(rounds, limits)
    return (None, reached) if reached else _auto(rounds, limits, ladder)


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
    if unsettled(rounds) is not None:
        return ""
    image = state["image"]
    noise, thermal = image["near_rms_noise_jy_per_beam"], image["thermal_noise_jy_per_beam"]
    if noise is None or not thermal or noise > limits["improvement"] * thermal:
        return ""
    return f"the image's noise is {noise / thermal:.2f} times that of the data alone"


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
        return _entry(*AUTO[0], ladder), ""
    last = _kind(rounds[-2])
    if _preparatory(state):
        return _entry(*AUTO[0], ladder), ""
    if not any(one["accepted"] for one in rounds[1:]) and last == ("p", "auto"):
        # The shortest interval was refused at once: one solution a scan asks less of the data.
        longer = ("p", "inf")
        solved = (state["solve"] or {}).get("solint")
        if not state["skipped"] and solved != "inf":
            return _entry(*longer, ladder), ""
        return None, str(state["reason"])
    tried = _tried(rounds, limits)
    if not tried:
        return _entry(*AUTO[0], ladder), ""
    if not any(one["accepted"] for one in rounds[1:]) or state["skipped"]:
        return None, str(state["reason"])
    for kind in AUTO:
        if kind not in tried:
            return _entry(*kind, ladder), ""
    return (
        None,
        f"no kind of solution raises the near-field S/N by {limits['improvement']:g} any more",
    )


def _preparatory(state: Numbers) -> bool:
    """Tell that a round solved only for what the next one stands on: offsets between windows."""
    return bool((state["solve"] or {}).get("preparatory"))


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
