"""Where a range of a cube's channels lies, and the files that its steps begin with."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ..casa.channel_range import Axis, ChannelRange
from ..files import copy_tree, read_json, write_product
from ..qa import image_scan
from .results import SKIPPED

Params = Mapping[str, Any]
Outcome = dict[str, Any]


class Place:
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

    def imaging(self, tclean: Params, *, cleaning: bool) -> ChannelRange:
        """Set up the imaging."""
        return ChannelRange(tclean, self.whole, self.from_, self.to, cleaning=cleaning)


def idle(params: Params, why: str, products: Iterable[str]) -> Outcome:
    """Write that nothing was to be done, and return it."""
    write_product(params["out"], {"skipped": why})
    return {SKIPPED: why, "_absent": list(products)}


def measured(residual: str, pb: str, mask: str, place: Place) -> dict[str, Any]:
    """Return noise and extremes of a range's own channels; null where a channel has none."""
    found = image_scan.scan(residual, pb, mask if Path(mask).exists() and mask else "")
    listed = {"rms": found.rms, "peak": found.peak, "lowest": found.lowest}
    return {
        **{
            name: [float(v) if math.isfinite(v) else None for v in place.own(values.tolist())]
            for name, values in listed.items()
        },
        "pixels": found.pixels,
    }


def read_numbers(path: str) -> dict[str, Any]:
    """Read what an earlier step of the cube has written."""
    found: dict[str, Any] = read_json(Path(path))
    return found


LINKED: Final = ("psf", "pb", "weight")
COPIED: Final = ("residual", "sumwt", "model", "mask")


def carry_over(params: Params, source: str) -> None:
    """Put in place what a clean goes on from: copies of what it changes, links to the rest."""
    prefix = Path(params["prefix"])
    for kind in COPIED:
        found = Path(f"{source}.{kind}")
        if not found.exists():
            found = Path(f"{params['dirty']}.{kind}")
        if found.exists():
            copy_tree(found.resolve(), Path(f"{prefix}.{kind}"))
    for kind in LINKED:
        found = Path(f"{params['dirty']}.{kind}")
        if found.exists():
            Path(f"{prefix}.{kind}").symlink_to(found.resolve())


def cut_links(params: Params) -> None:
    """Remove what was only linked or copied to work with."""
    for kind in LINKED:
        Path(f"{params['prefix']}.{kind}").unlink(missing_ok=True)
