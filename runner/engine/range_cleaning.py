"""The cleaning of a cube's ranges: each its own way down a ladder that is the same for all."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from .. import heuristics
from ..casa.channel_range import ChannelRange
from ..errors import Cause, StepFailedError
from ..files import write_product
from ..quantities import parse
from .range_place import (
    Outcome,
    Params,
    Place,
    carry_over,
    cut_links,
    idle,
    measured,
    read_numbers,
)
from .ranges_idle import ended
from .results import SKIPPED

SETTLED: Final = 0.2
"""The noise of what is left has settled where it falls by less than this part."""

ITERATION_LIMIT, THRESHOLD, CYCLE_LIMIT = 1, 2, 9
"""tclean's codes of why it stopped."""

_AUTO: Final = "auto-multithresh"
_AUTO_REPEATS: Final = 3


def clean(params: Params) -> Outcome:
    """Clean a range down the ladder, from the dirty image or from what a round before left.

    Parameters
    ----------
    params : mapping
        As of `dirty`, with cleaning's parameters in `tclean`; `dirty`, the prefix of the dirty
        images; `own`, the JSON of these; `settling`, whether the noise of what is left counts;
        `restores`, whether to make the restored image, too, for it may be the last round, and
        `common`, whether with the beam of all channels; `start`, the JSON of `gather`; `state`,
        that of `settle` of the round before, empty in the first round; `rounds`, by number the
        prefix and the JSON of this range's earlier rounds; `prefix`, `products`, `out`.

    Returns
    -------
    dict
        `stopcode`, `iterdone`, `nmajordone`, `threshold` as tclean gives them; `rungs`, the
        iterations of each; and `how` to do it again: the `source` that it went on from, the
        `depths_jy` of the rungs, the `cycleniter`, and what differs from the `tclean` given.
    """
    place = Place(params)
    start = read_numbers(params["start"])
    state: dict[str, Any] = {"next": "clean", "rungs": None}
    if params["state"]:
        state = read_numbers(params["state"])
    earlier = {int(number): one for number, one in params["rounds"].items()}
    done = {number: read_numbers(one["out"]) for number, one in earlier.items()}
    if why := _why_not(place, state, done):
        return idle(params, why, params["products"])
    source = _source(params, state, earlier, done)
    settings = _settings(params, source, start, state)
    carry_over(params, source)
    descent = _Descent(settings, start, state.get("rungs"))
    beam = {"restoringbeam": start["common_beam"]} if params["common"] else {}
    with place.imaging({**settings, **beam}, cleaning=True) as imaging:
        descent.go(imaging, place)
        if params["restores"] and any(descent.rungs):
            imaging.restore()
    prefix = str(params["prefix"])
    numbers = {"skipped": "", **descent.told}
    if params["settling"]:
        pb, mask = f"{params['dirty']}.pb", f"{prefix}.mask"
        numbers |= measured(f"{prefix}.residual", pb, mask, place)
    write_product(params["out"], numbers)
    cut_links(params)
    how = {"source": source, "tclean": _difference(params["tclean"], settings), **descent.how}
    absent = [path for path in params["products"] if not Path(path).exists()]
    return descent.told | {"_absent": absent, "how": how}


def _difference(given: Params, used: Params) -> dict[str, Any]:
    """Return what was laid over parameters; None for what was left out."""
    names = [name for name in {**given, **used} if given.get(name) != used.get(name)]
    return {name: used.get(name) for name in names if name != "imagename"}


def _why_not(place: Place, state: Params, done: Mapping[int, Params]) -> str:
    """Return why a range has nothing to do in a round; empty if it has."""
    if place.empty:
        return "the cube has no such channels"
    if why := ended(state):
        return why
    if state["next"] == "again":
        last = done[max(done)]
        if not last["skipped"] and len(last["rungs"]) <= int(state["rungs"]):
            return "its iterations are within the limit of all channels"
    return ""


def _source(
    params: Params, state: Params, earlier: Mapping[int, Params], done: Mapping[int, Params]
) -> str:
    """Return the prefix of the images to go on from.

    A round that is done again, with fewer rungs, begins where it began the first time.
    """
    made = [number for number in sorted(done) if not done[number]["skipped"]]
    if state["next"] == "again" and made:
        made = made[:-1]
    return str(earlier[made[-1]]["prefix"]) if made else str(params["dirty"])


def _settings(params: Params, source: str, start: Params, state: Params) -> dict[str, Any]:
    """Return tclean's parameters for this range and round."""
    settings = {**params["tclean"], "imagename": params["prefix"]}
    if settings.get("usemask") == "user" and source != params["dirty"]:
        settings.pop("mask", None)  # CASA has made an image of the mask already
    if state.get("threshold_jy") is not None:
        settings["threshold"] = f"{state['threshold_jy']:.9g}Jy"
        settings["niter"] = int(settings["niter"]) - int(state["earlier_iterations"])
    if settings.get("usemask") == _AUTO:
        own = read_numbers(params["own"])
        # CASA scales this by the PSFs of the range alone.
        scale = start["psf_sidelobe"] / own["psf_sidelobe"] if own["psf_sidelobe"] else 1.0
        settings["sidelobethreshold"] = float(settings["sidelobethreshold"]) * scale
    return settings


class _Descent:
    """A clean's way down the ladder.

    Parameters
    ----------
    settings : mapping
        tclean's parameters.
    start : mapping
        What `gather` found of all ranges.
    most : int or None
        How many rungs there may be; None for all.
    """

    def __init__(self, settings: Params, start: Params, most: int | None) -> None:
        self.threshold_jy = parse(str(settings["threshold"]), "flux")
        self.depths = heuristics.ladder(
            float(start["peak_residual_jy_per_beam"]), self.threshold_jy,
            float(start["psf_sidelobe"]), settings,
        )  # fmt: skip
        self.automatic = settings.get("usemask") == _AUTO
        repeats = _AUTO_REPEATS if self.automatic else heuristics.DEEPEST_REPEATS
        self.depths += (self.depths[-1],) * (repeats - 1)
        self.most = len(self.depths) if most is None else most
        self.niter = int(settings["niter"])
        cycleniter = int(settings.get("cycleniter", -1))
        self.cycleniter = self.niter if cycleniter < 0 else min(cycleniter, self.niter)
        self.rungs: list[int] = []
        self.majors = 0
        self.stopcode = CYCLE_LIMIT

    def go(self, imaging: ChannelRange, place: Place) -> None:
        """Go down, rung by rung, until the threshold or the iterations' limit is reached."""
        imaging.peak()
        imaging.update_mask()
        lowest = math.inf
        for depth in self.depths[: self.most]:
            masked = imaging.peak().masked_jy
            lowest = self._require_bounded(masked, lowest)
            if masked <= self.threshold_jy and not self.automatic:
                self.stopcode = THRESHOLD
                return
            self._rung(imaging, place, depth, masked)
            if sum(self.rungs) >= self.niter:
                self.stopcode = ITERATION_LIMIT
                return
        masked = imaging.peak().masked_jy
        self._require_bounded(masked, lowest)
        if self.most < len(self.depths):
            self.stopcode = ITERATION_LIMIT
        elif masked <= self.threshold_jy or self.automatic:
            self.stopcode = THRESHOLD

    def _rung(self, imaging: ChannelRange, place: Place, depth: float, masked: float) -> None:
        """Clean to a depth, and look at the visibilities again.

        Where no channel is above the depth the model would stay as it is; only CASA's own masks
        may grow all the same.
        """
        if masked <= depth and not self.automatic:
            self.rungs.append(0)
            return
        count = imaging.minor(depth, self.cycleniter)
        own = range(place.first - place.from_, place.last - place.from_ + 1)
        self.rungs.append(sum(number for channel, number in count.items() if channel in own))
        if any(count.values()):
            imaging.major()
            self.majors += 1
        if self.automatic:
            imaging.update_mask()

    def _require_bounded(self, masked: float, lowest: float) -> float:
        """Refuse a residual that grew as tclean would; return the lowest so far."""
        if not math.isfinite(masked) or masked > _GROWTH * lowest:
            raise StepFailedError(
                Cause.DIVERGED,
                "expected the clean to converge, but the peak residual grew to "
                f"{masked:.3g} Jy/beam from {lowest:.3g}: it diverged",
                "Lower the gain (image.tclean.gain), raise image.tclean.cyclefactor, mask the "
                "emission (image.mask), or use image.deconvolver = 'hogbom'.",
            )
        return min(masked, lowest)

    @property
    def how(self) -> dict[str, Any]:
        """What it takes to go the same way again."""
        gone = self.depths[: len(self.rungs)]
        return {"depths_jy": gone, "cycleniter": self.cycleniter}

    @property
    def told(self) -> dict[str, Any]:
        """What tclean would return, and the iterations of each rung."""
        return {
            "stopcode": self.stopcode,
            "iterdone": sum(self.rungs),
            "nmajordone": self.majors,
            "threshold": self.threshold_jy,
            "rungs": list(self.rungs),
        }


_GROWTH: Final = 3.0


def settle(params: Params) -> Outcome:
    """Look at what all ranges have left, and say whether and how they go on.

    Parameters
    ----------
    params : mapping
        `round`; `last`, the number of the last round; `ranges`, by range the JSON of its rounds so
        far; `state` of the round before, empty in the first; `sigmas`, the threshold as a
        multiple of the noise, 0 for one in Jy; `niter`; `out`.

    Returns
    -------
    dict
        `next`: ``clean`` to the `threshold_jy`; ``again``, the round with `rungs` only, because the
        iterations of all ranges are over the limit; or ``end``. The `reason`; `iterations`,
        `stopcode` and the `thresholds_jy` so far.
    """
    before = read_numbers(params["state"]) if params["state"] else {}
    if why := ended(before):
        write_product(params["out"], before)
        return {**before, SKIPPED: why, "_absent": []}
    latest = [_latest(rounds) for rounds in params["ranges"]]
    ranges = [one for one in latest if one is not None]
    state = _next(params, before, ranges)
    if params["round"] >= params["last"] - 1 and state["next"] == "clean":
        # The last round is for what is done again: a limit must never hang on the ranges.
        state |= {"next": "end", "reason": f"after {params['round']} rounds"}
        state["threshold_jy"] = state["thresholds_jy"][-1]
    write_product(params["out"], state)
    return state


def _latest(rounds: Sequence[str]) -> dict[str, Any] | None:
    made = [one for one in map(read_numbers, rounds) if not one["skipped"]]
    return made[-1] if made else None


def _next(params: Params, before: Params, ranges: Sequence[Params]) -> dict[str, Any]:
    """Return the state after a round that took place."""
    thresholds = [*before.get("thresholds_jy", []), max(one["threshold"] for one in ranges)]
    used = int(before.get("earlier_iterations", 0))
    iterations = used + sum(one["iterdone"] for one in ranges)
    stopped = [int(one["stopcode"]) for one in ranges]
    state: dict[str, Any] = {
        "next": "end", "reason": "", "threshold_jy": thresholds[-1], "thresholds_jy": thresholds,
        "iterations": iterations, "earlier_iterations": used, "rungs": None,
        "stopcode": _worst(stopped),
    }  # fmt: skip
    left = int(params["niter"]) - used
    cut = heuristics.rungs_within([one["rungs"] for one in ranges], left)
    if before.get("next") == "again" or ITERATION_LIMIT in stopped or cut is not None:
        state |= {"stopcode": ITERATION_LIMIT, "reason": "the iterations' limit is reached"}
        if before.get("next") != "again" and any(len(one["rungs"]) > (cut or 0) for one in ranges):
            state |= {"next": "again", "rungs": cut, "thresholds_jy": thresholds[:-1]}
        return state
    if state["stopcode"] != THRESHOLD:
        return state | {"reason": "the cycles' limit is reached"}
    if not params["sigmas"]:
        return state | {"reason": "the threshold is reached"}
    noise = [value for one in ranges for value in one["rms"] if value is not None]
    threshold = float(params["sigmas"]) * float(np.median(noise))
    if threshold > (1 - SETTLED) * thresholds[-1]:
        return state | {"reason": "the noise of what is left has settled"}
    return state | {
        "next": "clean", "threshold_jy": threshold, "earlier_iterations": iterations,
        "reason": "the noise of what is left has fallen",
    }  # fmt: skip


def _worst(stopped: Sequence[int]) -> int:
    """Return the one reason that stands for all ranges."""
    return next((code for code in (ITERATION_LIMIT, CYCLE_LIMIT) if code in stopped), THRESHOLD)
