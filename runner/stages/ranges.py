"""Steps of a cube that is imaged by channel ranges, and joined.

Ranges are imaged side by side, each by steps of its own: dirty, cleaned, restored. Small steps
between gather what all must know: the noise and the peak, from which the depth of each cycle
follows, and the beam. Rounds of cleaning are unrolled; whether a round takes place is known when
it comes to it, as with self-calibration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..plan import Json
from . import drawn_mask
from .chunks import Chunk
from .draft import Draft, check
from .picture import MOSAIC_GRIDDERS, Picture

SETTLING_ROUNDS: Final = 4
"""Rounds to a multiple of the noise, which is measured again after each; the last of them only if
the iterations of the one before are over the limit."""

ROUNDS: Final = 2
"""A clean to a flux density takes one, or a second one if its iterations are over the limit."""


@dataclass(frozen=True)
class Divided:
    """A cube, its ranges, and tclean's parameters of it.

    Attributes
    ----------
    picture : Picture
        The cube.
    chunks : tuple of Chunk
        Its ranges.
    grid : mapping
        tclean's parameters but for the cleaning.
    cleaning : mapping
        All of them; empty for a dirty cube.
    sigmas : float
        The threshold as a multiple of the noise; 0 for one in Jy.
    mask_file : str
        The file of a mask, if there is one.
    fallbacks : tuple of mapping
        What is laid over a clean's parameters each time that it has diverged.
    """

    picture: Picture
    chunks: tuple[Chunk, ...]
    grid: Mapping[str, Any]
    cleaning: Mapping[str, Any]
    sigmas: float = 0.0
    mask_file: str = ""
    fallbacks: tuple[Mapping[str, Json], ...] = ()

    @property
    def place(self) -> str:
        """The path that all files of the ranges share."""
        return f"images/chunks/{self.picture.name}"

    @property
    def axis(self) -> str:
        """Where the cube's coordinates are kept."""
        return f"{self.place}.axis.json"

    @property
    def common(self) -> bool:
        """Whether all channels are restored with one beam."""
        return bool(self.grid.get("restoringbeam") == "common")

    @property
    def rounds(self) -> range:
        """The rounds of cleaning that there may be."""
        if not self.cleaning:
            return range(0)
        return range(1, 1 + (SETTLING_ROUNDS if self.sigmas else ROUNDS))

    @property
    def weights(self) -> tuple[str, ...]:
        """The kinds of images that cleaning leaves alone."""
        kinds = ("pb", "psf", "sumwt")
        return (*kinds, "weight") if self.picture.gridder in MOSAIC_GRIDDERS else kinds

    @property
    def results(self) -> tuple[str, ...]:
        """The kinds of images that cleaning and restoring make."""
        return ("image", "mask", "model", "residual") if self.cleaning else ("image", "residual")

    @property
    def joined(self) -> dict[str, tuple[str, ...]]:
        """The kinds of images that a step joins, by its name."""
        if not self.cleaning:
            return {"weights": self.weights, "image": self.results}
        found = {"weights": self.weights, "image": ("image", "mask")}
        return found | {"residual": ("model", "residual")}

    def prefix(self, chunk: Chunk, what: str) -> str:
        """Return the path that a range's images of a kind share."""
        return f"{self.place}.{chunk.index}.{what}"

    def numbers(self, chunk: Chunk, what: str) -> str:
        """Return where a range's numbers are kept."""
        return f"{self.prefix(chunk, what)}.json"

    def state(self, round_: int) -> str:
        """Return where is kept how it goes on after a round; empty before the first."""
        return f"{self.place}.{round_}.settled.json" if round_ else ""

    def names(self, prefix: str, kinds: tuple[str, ...]) -> tuple[str, ...]:
        """Return the paths of images of some kinds."""
        return tuple(f"{prefix}.{kind}" for kind in kinds)

    def dirty(self, chunk: Chunk) -> tuple[str, ...]:
        """Return the images that a range's dirty step makes."""
        return self.names(self.prefix(chunk, "dirty"), (*self.weights, "residual"))

    def cleaned(self, chunk: Chunk, round_: int) -> tuple[str, ...]:
        """Return the images that a round of cleaning makes of a range."""
        made = ("image",) if self.restores(chunk) else ()
        kinds = ("mask", "model", "residual", "sumwt", *made)
        return self.names(self.prefix(chunk, f"clean{round_}"), kinds)

    def restores(self, chunk: Chunk) -> bool:
        """Say whether a round of cleaning restores, too: if it may well be the last one.

        Then nothing need be set up again for that. The noise settles in more rounds, and where
        channels are imaged beside a range's own, they are cut away afterwards.
        """
        return not self.sigmas and not chunk.margin

    def where(self, chunk: Chunk) -> str:
        """Return where is kept which images of a range are the last ones."""
        return self.numbers(chunk, "restored")

    def restored(self, chunk: Chunk) -> tuple[str, ...]:
        """Return a range's images that are joined, but for those that are as they were dirty."""
        kinds = (*self.results, *self.weights) if chunk.margin else self.results
        return self.names(self.prefix(chunk, "restored"), kinds)

    def channels(self, chunk: Chunk) -> dict[str, Json]:
        """Return what each step of a range must know of its place in the cube."""
        return {
            "axis": self.axis,
            "first": chunk.first,
            "last": chunk.last,
            "margin": chunk.margin,
        }

    def earlier(self, chunk: Chunk, before: int) -> dict[str, Json]:
        """Return prefix and numbers of a range's rounds before one, by number."""
        return {
            str(round_): {
                "prefix": self.prefix(chunk, f"clean{round_}"),
                "out": self.numbers(chunk, f"clean{round_}"),
            }
            for round_ in self.rounds
            if round_ < before
        }

    def made_before(self, chunk: Chunk, before: int) -> tuple[str, ...]:
        """Return all that a range's rounds before one have made."""
        return tuple(
            path
            for round_ in self.rounds
            if round_ < before
            for path in (
                *self.cleaned(chunk, round_),
                self.numbers(chunk, f"clean{round_}"),
            )
        )


def steps(draft: Draft, cube: Divided) -> None:
    """Add the steps that make a cube by ranges."""
    _axis(draft, cube)
    for chunk in cube.chunks:
        _dirty(draft, cube, chunk)
    _gather(draft, cube)
    if cube.cleaning:
        drawn_mask.step(draft, cube.picture, f"{cube.prefix(cube.chunks[0], 'dirty')}.residual")
    for round_ in cube.rounds:
        for chunk in cube.chunks:
            _clean(draft, cube, chunk, round_)
        _settle(draft, cube, round_)
    for chunk in cube.chunks:
        _restore(draft, cube, chunk)
    for name, kinds in cube.joined.items():
        _join(draft, cube, name, kinds)


def _add(
    draft: Draft, cube: Divided, name: str, action: str, params: Mapping[str, Json], title: str,
    **more: Any,
) -> None:  # fmt: skip
    picture = cube.picture
    draft.add(
        f"{picture.name}.{name}", action, params, stage="image",
        title=f"{title} of cube '{picture.image.name}' of {picture.target}",
        target=picture.target, image=picture.image.name, **more,
    )  # fmt: skip


def _axis(draft: Draft, cube: Divided) -> None:
    params = {"tclean": cube.grid, "out": cube.axis}
    reads, writes = cube.picture.vis, (cube.axis,)
    _add(
        draft, cube, "axis", "ranges.axis", params, "frequency axis", reads=reads, writes=writes,
        intermediates=writes,
    )  # fmt: skip


def _dirty(draft: Draft, cube: Divided, chunk: Chunk) -> None:
    products, out = cube.dirty(chunk), cube.numbers(chunk, "dirty")
    prefix = cube.prefix(chunk, "dirty")
    params = {
        **cube.channels(chunk),
        "tclean": cube.grid,
        "prefix": prefix,
        "products": list(products),
        "out": out,
    }
    _add(
        draft, cube, f"dirty.{chunk.index}", "ranges.dirty", params, f"dirty {chunk.words}",
        reads=(*cube.picture.vis, cube.axis),
        writes=(*products, out),
        intermediates=(*products, out),
        checks=(check("range_dirty", prefix=prefix),),
    )  # fmt: skip


def _gather(draft: Draft, cube: Divided) -> None:
    ranges = [cube.numbers(chunk, "dirty") for chunk in cube.chunks]
    out = cube.picture.noise
    params = {"ranges": ranges, "residual": f"{cube.picture.prefix}.residual", "out": out}
    _add(
        draft, cube, "noise", "ranges.gather", params, "noise and common beam",
        reads=tuple(ranges), writes=(out,),
    )  # fmt: skip


def _clean(draft: Draft, cube: Divided, chunk: Chunk, round_: int) -> None:
    name = f"clean{round_}"
    products, out = cube.cleaned(chunk, round_), cube.numbers(chunk, name)
    own, start, state = cube.numbers(chunk, "dirty"), cube.picture.noise, cube.state(round_ - 1)
    prefix, dirty = cube.prefix(chunk, name), cube.prefix(chunk, "dirty")
    params = {
        **cube.channels(chunk),
        "round": round_,
        "tclean": cube.cleaning,
        "dirty": dirty,
        "own": own,
        "settling": bool(cube.sigmas),
        "restores": cube.restores(chunk),
        "common": cube.common,
        "start": start,
        "state": state,
        "rounds": cube.earlier(chunk, round_),
        "prefix": prefix,
        "products": list(products),
        "out": out,
    }
    given = (cube.mask_file, state)
    _add(
        draft, cube, f"clean{round_}.{chunk.index}", "ranges.clean", params,
        f"clean {chunk.words}" if round_ == 1 else f"round {round_} of {chunk.words}",
        reads=(
            *cube.picture.vis, *cube.dirty(chunk), own, cube.axis, start,
            *(path for path in given if path), *cube.made_before(chunk, round_),
        ),
        writes=(*products, out),
        intermediates=(*products, out),
        checks=(check("range_clean", prefix=prefix, dirty=dirty),),
        fallbacks=cube.fallbacks,
    )  # fmt: skip


def _settle(draft: Draft, cube: Divided, round_: int) -> None:
    ranges = [
        [cube.numbers(chunk, f"clean{each}") for each in cube.rounds if each <= round_]
        for chunk in cube.chunks
    ]
    before, out = cube.state(round_ - 1), cube.state(round_)
    params = {
        "round": round_,
        "last": cube.rounds[-1],
        "ranges": ranges,
        "state": before,
        "sigmas": cube.sigmas,
        "niter": cube.picture.image.niter,
        "out": out,
    }
    _add(
        draft, cube, f"settle{round_}", "ranges.settle", params, f"depth after round {round_}",
        reads=(*(path for each in ranges for path in each), *((before,) if before else ())),
        writes=(out,),
        intermediates=(out,),
    )  # fmt: skip


def _restore(draft: Draft, cube: Divided, chunk: Chunk) -> None:
    products, prefix = cube.restored(chunk), cube.prefix(chunk, "restored")
    last, out = (cube.rounds[-1] if cube.rounds else 0), cube.where(chunk)
    params = {
        **cube.channels(chunk),
        "tclean": cube.cleaning or cube.grid,
        "dirty": cube.prefix(chunk, "dirty"),
        "start": cube.picture.noise,
        "rounds": cube.earlier(chunk, last + 1),
        "prefix": prefix,
        "products": list(products),
        "common": cube.common,
        "out": out,
    }
    state = cube.state(last)
    _add(
        draft, cube, f"restore.{chunk.index}", "ranges.restore", params, f"restore {chunk.words}",
        reads=(
            *cube.picture.vis, *cube.dirty(chunk), cube.axis, cube.picture.noise,
            *((state,) if state else ()),
            *cube.made_before(chunk, last + 1),
        ),
        writes=(*products, out),
        intermediates=(*products, out),
        checks=(check("range_restored", out=out),),
    )  # fmt: skip


def _join(draft: Draft, cube: Divided, name: str, kinds: tuple[str, ...]) -> None:
    """Join images of some kinds; those that cleaning leaves alone, meanwhile."""
    picture = cube.picture
    trimmed = any(chunk.margin for chunk in cube.chunks)
    what = "restored" if name != "weights" or trimmed else "dirty"
    parts = [cube.prefix(chunk, what) for chunk in cube.chunks]
    where = [cube.where(chunk) for chunk in cube.chunks] if what == "restored" else []
    cleaned = [
        path
        for chunk in cube.chunks
        if where and cube.restores(chunk)
        for round_ in cube.rounds
        for path in cube.cleaned(chunk, round_)
    ]
    prefix = picture.prefix if picture.cleaned else picture.dirty
    state = cube.state(cube.rounds[-1]) if name == "residual" else ""
    # With the noise the cleans are ready as well, which go first: they take longer.
    after = (picture.noise,) if name == "weights" and cube.cleaning else ()
    params = {
        "axis": cube.axis,
        "parts": parts,
        "where": where,
        "kinds": list(kinds),
        "prefix": prefix,
        "state": state,
    }
    _add(
        draft, cube, f"join.{name}", "ranges.join", params, f"join {', '.join(kinds)}",
        reads=(
            cube.axis, *after, *((state,) if state else ()),
            *(path for part in parts for path in cube.names(part, kinds)), *where,
            *(path for path in cleaned if path.endswith(tuple(f".{kind}" for kind in kinds))),
        ),
        writes=cube.names(prefix, kinds),
        checks=(
            check("joined_cube", prefix=prefix, kinds=list(kinds), axis=cube.axis, state=state,
                  niter=picture.image.niter),
        ),
    )  # fmt: skip
