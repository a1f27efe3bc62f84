"""Cubes that are imaged by channel ranges: what their steps do, but for the cleaning.

Every range goes the same way whatever the others do: dirty; down a ladder of depths that is
laid down from the peak and the PSFs of all channels; restored with a beam common to all. What
all ranges must know of each other are a few numbers, which small steps between gather.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..casa import channel_range, range_images
from ..errors import Cause, StepFailedError
from ..files import remove_tree, write_product
from ..qa import metrics
from .range_cleaning import clean, settle
from .range_place import (
    COPIED,
    LINKED,
    Outcome,
    Params,
    Place,
    carry_over,
    idle,
    measured,
    read_numbers,
)
from .results import SKIPPED


def axis(params: Params) -> Outcome:
    """Lay out the whole cube's frequency axis, which all ranges share.

    Parameters
    ----------
    params : mapping
        `tclean`, its parameters of the whole cube; `out`, the JSON to write.
    """
    found = channel_range.axis(params["tclean"])
    write_product(params["out"], asdict(found))
    ends = found.frequencies_hz
    return {"n_chan": found.n_chan, "first_hz": ends[0], "last_hz": ends[-1]}


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
    place, prefix = Place(params), str(params["prefix"])
    if place.empty:
        return idle(params, "the cube has no such channels", params["products"])
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
        **measured(f"{prefix}.residual", f"{prefix}.pb", "", place),
    }
    write_product(params["out"], numbers)
    return {key: value for key, value in numbers.items() if not isinstance(value, list)} | {
        "_absent": [path for path in params["products"] if not Path(path).exists()]
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
    ranges = [one for one in map(read_numbers, params["ranges"]) if not one["skipped"]]
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
    write_product(params["out"], numbers)
    return {key: value for key, value in numbers.items() if key != "per_channel"}


_NO_NOISE = f"fewer than {metrics.MIN_PIXELS} pixels are off source, or most pixels are equal"


def restore(params: Params) -> Outcome:
    """Restore a range with the beam of all, and cut away what was imaged beside it.

    Parameters
    ----------
    params : mapping
        `axis`, `first`, `last`, `margin`, `tclean`, `start` as of `clean`; `dirty`, the prefix of
        the dirty images; `rounds`, by number the prefix and the JSON of the range's cleans, none
        for a dirty cube; `prefix` of what is made, `products`; `common`, whether the beam of all
        channels is taken; `out`, the JSON that says where the images are: those of a clean that
        has restored already stay there.

    Returns
    -------
    dict
        `how`: the `source` that was restored, and the `restoringbeam`.
    """
    place, prefix = Place(params), Path(params["prefix"])
    if place.empty:
        write_product(params["out"], {"prefix": str(prefix)})
        return {SKIPPED: "the cube has no such channels", "_absent": list(params["products"])}
    made = [
        one["prefix"]
        for _, one in sorted(params["rounds"].items(), key=lambda item: int(item[0]))
        if not read_numbers(one["out"])["skipped"]
    ]
    source = made[-1] if made else str(params["dirty"])
    settings = {**params["tclean"], "imagename": str(prefix), "start": "", "width": ""}
    settings |= {"nchan": place.to - place.from_ + 1, "niter": 0}
    if params["common"]:
        settings["restoringbeam"] = read_numbers(params["start"])["common_beam"]
    how = {"source": source, "restoringbeam": settings.get("restoringbeam", "")}
    if Path(f"{source}.image").exists():
        write_product(params["out"], {"prefix": source})
        return {"how": how, "_absent": list(params["products"])}
    write_product(params["out"], {"prefix": str(prefix)})
    _restore(params, place, source, settings)
    return {
        "_absent": [path for path in params["products"] if not Path(path).exists()],
        "how": how,
    }


def _restore(params: Params, place: Place, source: str, settings: dict[str, Any]) -> None:
    """Restore copies of a range's images, and leave the products only."""
    carry_over(params, source)
    if settings.get("usemask") == "user":
        settings["mask"] = ""  # there is an image of it, and CASA refuses to make another
    channel_range.restore(settings)
    if place.from_ < place.first or place.to > place.last or params["margin"]:
        _trim(params, place)
    for kind in (*LINKED, *COPIED):
        path = Path(f"{params['prefix']}.{kind}")
        if path.is_symlink():
            path.unlink()
        elif str(path) not in params["products"]:
            _remove(path)


def _trim(params: Params, place: Place) -> None:
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
        `parts`, the prefixes of the ranges in order, or `where`, the JSON files that say them;
        `kinds` of images; `prefix` of the cube; `state`, the JSON of the last `settle`, or empty.
    """
    absent, prefix = [], params["prefix"]
    for kind in params["kinds"]:
        found = [Path(f"{part}.{kind}") for part in range_images.prefixes(params)]
        there = [path.resolve() for path in found if path.exists()]
        out = Path(f"{prefix}.{kind}")
        if there:
            range_images.join(there, out)
        else:
            absent.append(str(out))
    state = read_numbers(params["state"]) if params["state"] else {}
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
