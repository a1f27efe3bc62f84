"""Cubes that are imaged by channel ranges: what their steps do.

Every range goes the same way whatever the others do: dirty; down a ladder of depths that is
laid down from the peak and the PSFs of all channels; restored with a beam common to all. What
all ranges must know of each other are a few numbers, which small steps between gather.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np

from .. import heuristics
from ..casa import channel_range, range_images
from ..casa.channel_range import Axis, CubeRange
from ..errors import Cause, StepFailedError
from ..files import copy_tree, read_json, remove_tree, write_json
from ..qa import images, metrics
from ..quantities import parse
from .results import SKIPPED

Params = Mapping[str, Any]
Outcome = dict[str, Any]

SETTLED: Final = 0.2
"""The noise of what is left has settled where it falls by less than this part."""

ITERATION_LIMIT, THRESHOLD, CYCLE_LIMIT = 1, 2, 9
"""tclean's codes of why it stopped."""

_AUTO: Final = "auto-multithresh"
_AUTO_REPEATS: Final = 3


def axis(params: Params) -> Outcome:
    """Lay out the whole cube's frequency axis, which all ranges share.

    Parameters
    ----------
    params : mapping
        `tclean`, its parameters of the whole cube; `out`, the JSON to write.
    """
    found = channel_range.axis(params["tclean"])
    write_json(Path(params["out"]), asdict(found))
    ends = found.frequencies_hz
    return {"n_chan": found.n_chan, "first_hz": ends[0], "last_hz": ends[-1]}


class _Place:
    """Where a range lies in its cube: its own channels, and those imaged with them."""

    def __init__(self, params: Params) -> None:
        self.whole = Axis(**read_json(Path(params["axis"])))
        last, end = params["last"], self.whole.n_chan - 1
        self.first = int(params["first"])
        self.last = end if last is None else min(int(last), end)
        margin = int(params.get("margin", 0))
        self.from_ = max(0, self.first - margin)
        self.to = min(end, self.last + margin)

    @property
    def empty(self) -> bool:
        """Whether the cube turned out to have none of the channels."""
        return self.first > self.last

    def own(self, values: Sequence[Any]) -> list[Any]:
        """Return what belongs to the range's own channels, of a value for each that is imaged."""
        start = self.first - self.from_
        return list(values[start : start + self.last - self.first + 1])

    def imaging(self, tclean: Params, *, cleaning: bool) -> CubeRange:
        """Set up the imaging."""
        return CubeRange(tclean, self.whole, self.from_, self.to, cleaning=cleaning)


def _idle(params: Params, why: str, products: Iterable[str]) -> Outcome:
    """Write that nothing was to be done, and return it."""
    write_json(Path(params["out"]), {"skipped": why})
    return {SKIPPED: why, "_absent": list(products)}


def dirty(params: Params) -> Outcome:
    """Make the dirty images of a range, and measure them.

    Parameters
    ----------
    params : mapping
        `tclean` of the whole cube; `axis`; `first` and `last` channel (None: to the end) and the
        `margin` that is imaged with them; `prefix` of the images, `products`; `out`.

    Returns
    -------
    dict
        By channel: `rms`, `peak`, `lowest` in Jy/beam, `beams`; `peak_jy_per_beam` (the largest
        absolute residual) and `psf_sidelobe` of all that was imaged.
    """
    place, prefix = _Place(params), str(params["prefix"])
    if place.empty:
        return _idle(params, "the cube has no such channels", params["products"])
    with place.imaging({**params["tclean"], "imagename": prefix}, cleaning=True) as imaging:
        imaging.dirty()
        found = imaging.peak()
    numbers = {
        "skipped": "",
        "first": place.first,
        "last": place.last,
        "peak_jy_per_beam": found.highest_jy,
        "psf_sidelobe": found.sidelobe,
        "beams": place.own(range_images.beams(f"{prefix}.psf")),
        **_measured(f"{prefix}.residual", f"{prefix}.pb", "", place),
    }
    write_json(Path(params["out"]), numbers)
    return {key: value for key, value in numbers.items() if not isinstance(value, list)} | {
        "_absent": [path for path in params["products"] if not Path(path).exists()]
    }


def _measured(residual: str, pb: str, mask: str, place: _Place) -> dict[str, Any]:
    """Return noise and extremes of a range's own channels; null where a channel has none."""
    found = images.scan(residual, pb, mask if Path(mask).exists() and mask else "")
    listed = {"rms": found.rms, "peak": found.peak, "lowest": found.lowest}
    return {
        **{
            name: [float(v) if math.isfinite(v) else None for v in place.own(values.tolist())]
            for name, values in listed.items()
        },
        "pixels": found.pixels,
    }


def gather(params: Params) -> Outcome:
    """Gather what all ranges must know of each other before they are cleaned.

    Parameters
    ----------
    params : mapping
        `ranges`, the JSON of their dirty images in order; `residual`, what to call these; `out`.

    Returns
    -------
    dict
        As `qa.collect.measure_noise` gives of one image; and the largest `psf_sidelobe`, the
        largest absolute residual `peak_residual_jy_per_beam`, and the `common_beam`.

    Raises
    ------
    StepFailedError
        If no channel has a noise that can be measured.
    """
    ranges = [one for one in map(_read, params["ranges"]) if not one["skipped"]]
    rms = [value for one in ranges for value in one["rms"]]
    peak = [value for one in ranges for value in one["peak"] if value is not None]
    known = [value for value in rms if value is not None]
    if not known or not peak:
        why = "it has no valid pixels" if not peak else _NO_NOISE
        raise StepFailedError(
            Cause.POSTCONDITION,
            f"the noise of {params['residual']} cannot be measured: {why}",
            "Are all visibilities flagged, or is imsize too small?",
        )
    beams = [beam for one in ranges for beam in one["beams"]]
    numbers = {
        "rms_jy_per_beam": statistics.median(known),
        "peak_jy_per_beam": max(peak),
        "method": metrics.NOISE_METHOD,
        "pixels": sum(one["pixels"] for one in ranges),
        "per_channel": rms,
        "statistic": "the median over channels",
        "psf_sidelobe": max(one["psf_sidelobe"] for one in ranges),
        "peak_residual_jy_per_beam": max(one["peak_jy_per_beam"] for one in ranges),
        "common_beam": range_images.common_beam(beams),
        "threshold_jy": None,
        "next": {"sources": "dirty"},
    }
    write_json(Path(params["out"]), numbers)
    return {key: value for key, value in numbers.items() if key != "per_channel"}


_NO_NOISE = f"fewer than {metrics.MIN_PIXELS} pixels are off source, or most pixels are equal"


def _read(path: str) -> dict[str, Any]:
    found: dict[str, Any] = read_json(Path(path))
    return found


def clean(params: Params) -> Outcome:
    """Clean a range down the ladder, from the dirty image or from what a round before left.

    Parameters
    ----------
    params : mapping
        As of `dirty`, with cleaning's parameters in `tclean`; `dirty`, the prefix of the dirty
        images; `own`, the JSON of these; `settling`, whether the noise of what is left counts;
        `start`, the JSON of `gather`; `state`, that of `settle` of the round before, empty
        in the first round; `rounds`, by number the prefix and the JSON of this range's earlier
        rounds; `prefix`, `products`, `out`.

    Returns
    -------
    dict
        `stopcode`, `iterdone`, `nmajordone`, `threshold` as tclean gives them; `rungs`, the
        iterations of each.
    """
    place = _Place(params)
    start = _read(params["start"])
    state: dict[str, Any] = {"next": "clean", "rungs": None}
    if params["state"]:
        state = _read(params["state"])
    earlier = {int(number): one for number, one in params["rounds"].items()}
    done = {number: _read(one["out"]) for number, one in earlier.items()}
    if why := _why_not(place, state, done):
        return _idle(params, why, params["products"])
    source = _source(params, state, earlier, done)
    settings = _settings(params, source)
    if state.get("threshold_jy") is not None:
        settings["threshold"] = f"{state['threshold_jy']:.9g}Jy"
    _carry_over(params, source)
    descent = _Descent(settings, start, state.get("rungs"))
    own = _read(params["own"])
    if settings.get("usemask") == _AUTO:
        # CASA scales this by the PSFs of the range alone.
        scale = start["psf_sidelobe"] / own["psf_sidelobe"] if own["psf_sidelobe"] else 1.0
        settings["sidelobethreshold"] = float(settings["sidelobethreshold"]) * scale
    with place.imaging(settings, cleaning=True) as imaging:
        descent.go(imaging, place)
    prefix = str(params["prefix"])
    numbers = {"skipped": "", **descent.told}
    if params["settling"]:
        pb, mask = f"{params['dirty']}.pb", f"{prefix}.mask"
        numbers |= _measured(f"{prefix}.residual", pb, mask, place)
    write_json(Path(params["out"]), numbers)
    _cut_links(params)
    return descent.told | {
        "_absent": [path for path in params["products"] if not Path(path).exists()]
    }


def _why_not(place: _Place, state: Params, done: Mapping[int, Params]) -> str:
    """Return why a range has nothing to do in a round; empty if it has."""
    if place.empty:
        return "the cube has no such channels"
    if state["next"] != "clean" and state["next"] != "again":
        return str(state["reason"])
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


def _settings(params: Params, source: str) -> dict[str, Any]:
    settings = {**params["tclean"], "imagename": params["prefix"]}
    if settings.get("usemask") == "user" and source != params["dirty"]:
        settings.pop("mask", None)  # CASA has made an image of the mask already
    return settings


_LINKED: Final = ("psf", "pb", "weight")
_COPIED: Final = ("residual", "sumwt", "model", "mask")


def _carry_over(params: Params, source: str) -> None:
    """Put in place what a clean goes on from: copies of what it changes, links to the rest."""
    prefix = Path(params["prefix"])
    for kind in _COPIED:
        found = Path(f"{source}.{kind}")
        if not found.exists():
            found = Path(f"{params['dirty']}.{kind}")
        if found.exists():
            copy_tree(found.resolve(), Path(f"{prefix}.{kind}"))
    for kind in _LINKED:
        found = Path(f"{params['dirty']}.{kind}")
        if found.exists():
            Path(f"{prefix}.{kind}").symlink_to(found.resolve())


def _cut_links(params: Params) -> None:
    """Remove what was only linked or copied to work with."""
    for kind in _LINKED:
        Path(f"{params['prefix']}.{kind}").unlink(missing_ok=True)


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

    def go(self, imaging: CubeRange, place: _Place) -> None:
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

    def _rung(self, imaging: CubeRange, place: _Place, depth: float, masked: float) -> None:
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
    before = _read(params["state"]) if params["state"] else {}
    if before.get("next") == "end":
        write_json(Path(params["out"]), before)
        return {**before, SKIPPED: before["reason"], "_absent": []}
    latest = [_latest(rounds) for rounds in params["ranges"]]
    ranges = [one for one in latest if one is not None]
    state = _next(params, before, ranges)
    if params["round"] == params["last"] and state["next"] != "end":
        state |= {"next": "end", "reason": f"after {params['round']} rounds"}
    write_json(Path(params["out"]), state)
    return state


def _latest(rounds: Sequence[str]) -> dict[str, Any] | None:
    made = [one for one in map(_read, rounds) if not one["skipped"]]
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
    if not params["sigmas"] or state["stopcode"] != THRESHOLD:
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


def restore(params: Params) -> Outcome:
    """Restore a range with the beam of all, and cut away what was imaged beside it.

    Parameters
    ----------
    params : mapping
        `axis`, `first`, `last`, `margin`, `tclean`, `start` as of `clean`; `dirty`, the prefix of
        the dirty images; `rounds`, by number the prefix and the JSON of the range's cleans, none
        for a dirty cube; `prefix` of what is made, `products`; `common`, whether the beam of all
        channels is taken.
    """
    place, prefix = _Place(params), Path(params["prefix"])
    if place.empty:
        return {SKIPPED: "the cube has no such channels", "_absent": list(params["products"])}
    made = [
        one["prefix"]
        for _, one in sorted(params["rounds"].items(), key=lambda item: int(item[0]))
        if not _read(one["out"])["skipped"]
    ]
    source = made[-1] if made else str(params["dirty"])
    _carry_over(params, source)
    settings = {**params["tclean"], "imagename": str(prefix), "start": "", "width": ""}
    settings |= {"nchan": place.to - place.from_ + 1, "niter": 0}
    if params["common"]:
        settings["restoringbeam"] = _read(params["start"])["common_beam"]
    channel_range.restore(settings)
    if place.from_ < place.first or place.to > place.last or params["margin"]:
        _trim(params, place)
    for kind in (*_LINKED, *_COPIED):
        path = Path(f"{prefix}.{kind}")
        if path.is_symlink():
            path.unlink()
        elif str(path) not in params["products"]:
            _remove(path)
    return {"_absent": [path for path in params["products"] if not Path(path).exists()]}


def _trim(params: Params, place: _Place) -> None:
    """Leave the range's own channels of all images."""
    first = place.first - place.from_
    last = first + place.last - place.first
    for path in map(Path, params["products"]):
        if path.exists():
            whole = path.with_name(f"{path.name}.whole")
            if path.is_symlink():
                whole.symlink_to(path.resolve())
                path.unlink()
            else:
                path.rename(whole)
            range_images.trim(whole, path, first, last)
            _remove(whole)


def _remove(path: Path) -> None:
    if path.is_symlink():
        path.unlink()
    else:
        remove_tree(path)


def join(params: Params) -> Outcome:
    """Join the ranges' images of some kinds into the cube's.

    Parameters
    ----------
    params : mapping
        `parts`, the prefixes of the ranges in order; `kinds` of images; `prefix` of the cube;
        `state`, the JSON of the last `settle`, or empty.
    """
    absent, prefix = [], params["prefix"]
    for kind in params["kinds"]:
        found = [Path(f"{part}.{kind}") for part in params["parts"]]
        there = [path.resolve() for path in found if path.exists()]
        out = Path(f"{prefix}.{kind}")
        if there:
            range_images.join(there, out)
        else:
            absent.append(str(out))
    state = _read(params["state"]) if params["state"] else {}
    told = ("iterations", "stopcode", "thresholds_jy", "reason")
    return {key: state[key] for key in told if key in state} | {"_absent": absent}


ACTIONS: dict[str, Callable[[Params], Outcome]] = {
    "ranges.axis": axis,
    "ranges.dirty": dirty,
    "ranges.gather": gather,
    "ranges.clean": clean,
    "ranges.settle": settle,
    "ranges.restore": restore,
    "ranges.join": join,
}
