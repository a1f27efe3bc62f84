"""Stage ``selfcal``: rounds of image, model, solution, application and judgement of a target.

All rounds are unrolled into steps of the plan. What a round does with its turn is known when it
comes to it: the judgement before it says what is next, or that nothing is, and then its steps
are skipped. Tables are always solved and applied on DATA of a copy, which never change;
the split MS stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Final

from .. import heuristics
from ..casa.image_copies import WEIGHTS
from ..folder import file_safe
from ..plan import Json
from ..recipe.model import Image, Selfcal
from ..recipe.rules import OF_AN_IMAGE, OF_SOME_DATA
from .draft import Draft, Subject, check
from .image import grid, suffixes
from .picture import Picture, Reached, decided, mosaicked
from .split import selfcal_of

NITER: Final = 10000
"""Most iterations of a clean where the image of the recipe is a dirty one."""

_NOT_KEPT: Final = ("alpha", "alpha.error")
_GRIDDED: Final = ("vis", "datacolumn")


@dataclass(frozen=True)
class Loop:
    """The self-calibration of one target: its settings, its datasets, its places.

    `index` is its place in the recipe; `picture` has the settings of its images, without any
    ``auto``.
    """

    settings: Selfcal
    index: int
    target: str
    subjects: tuple[Subject, ...]
    picture: Picture
    refant: str = "auto"

    @property
    def safe(self) -> str:
        """The target's name as part of a path."""
        return file_safe(self.target)

    @property
    def rounds(self) -> range:
        """The numbers of the rounds that there may be; round 0 is the image before any."""
        given = self.settings.solint
        most = self.settings.rounds
        return range(1, 1 + (most if given == "auto" else min(most, len(given))))

    @cached_property
    def vis(self) -> dict[str, str]:
        """The MS that is worked on, by dataset."""
        return {
            subject.name: subject.target_ms(self.target, selfcal=True) for subject in self.subjects
        }

    def prefix(self, round_: int) -> str:
        """Return the path that the images of a round share."""
        return f"images/selfcal/{self.safe}.{round_}"

    def tables(self, round_: int) -> dict[str, str]:
        """Return the tables of a round, by dataset."""
        return {name: f"caltables/{self.safe}.selfcal.{round_}.{name}" for name in self.vis}

    def data(self, round_: int, what: str = "") -> str:
        """Return where a round's numbers are kept: its state, or what its image or solve found."""
        return f"qa/data/selfcal/{self.safe}.{round_}{what}.json"

    @property
    def summary(self) -> str:
        """Where the sum of it all is kept."""
        return f"qa/data/selfcal/{self.safe}.json"

    def products(self, round_: int) -> tuple[str, ...]:
        """Return the images of a round; the dirty one is called ``dirty``."""
        made = [each for each in suffixes(self.picture, cleaned=True) if each not in _NOT_KEPT]
        made += [each.replace("residual", "dirty") for each in made if "residual" in each]
        return tuple(f"{self.prefix(round_)}.{each}" for each in made)

    def some(self, round_: int, *kinds: str) -> tuple[str, ...]:
        """Return the images of a round of these kinds, all Taylor terms of each."""
        prefix = f"{self.prefix(round_)}."
        found = self.products(round_)
        return tuple(path for path in found if path[len(prefix) :].split(".")[0] in kinds)

    @cached_property
    def tclean(self) -> dict[str, Any]:
        """What tclean must know but for data, names and cleaning."""
        settings = grid(self.picture) | dict(self.picture.image.tclean)
        return {name: value for name, value in settings.items() if name not in _GRIDDED}

    @property
    def niter(self) -> int:
        """The most iterations of a clean."""
        return self.picture.image.niter or NITER

    @property
    def limits(self) -> dict[str, float]:
        """What a round is held to."""
        return {
            **asdict(self.settings.stop),
            "min_solution_snr": self.settings.min_solution_snr,
        }

    def ladder(self, round_: int) -> dict[str, Json]:
        """Return what the judgement of a round knows of the rounds: up to the next one.

        So that rounds are not run again because one that comes after the next was edited.
        """
        settings, seen = self.settings, min(round_ + 1, self.rounds[-1])
        return {
            "solint": _first(settings.solint, seen),
            "calmode": _first(settings.calmode, seen),
            "gaintype": settings.gaintype,
            "combine": settings.combine,
            "rounds": seen,
        }


def _first(ladder: str | tuple[str, ...], number: int) -> Json:
    return ladder if isinstance(ladder, str) else list(ladder[:number])


def loops(draft: Draft, subjects: Sequence[Subject], pictures: Sequence[Picture]) -> list[Loop]:
    """Return the self-calibrations of a recipe, one a target, all ``auto`` of images decided.

    Parameters
    ----------
    draft : Draft
        Takes the choices, and problems where a target cannot be self-calibrated.
    subjects : sequence of Subject
        The datasets.
    pictures : sequence of Picture
        The images that are to be made, whose settings may serve.
    """
    by_target: dict[str, list[Subject]] = {}
    for subject in subjects:
        for name in subject.targets:
            by_target.setdefault(name, []).append(subject)
    found = []
    for name, having in by_target.items():
        index = selfcal_of(draft.recipe, name)
        if index is not None:
            found.append(_loop(draft, index, name, having, pictures))
    return found


def _loop(
    draft: Draft,
    index: int,
    target: str,
    subjects: Sequence[Subject],
    pictures: Sequence[Picture],
) -> Loop:
    settings = draft.recipe.selfcal[index]
    picture = _picture(draft, index, target, tuple(subjects), pictures)
    if mosaicked(picture):
        draft.problem(
            f"{target} is a mosaic of {len(picture.pointings)} pointings, and a model of one "
            "pointing is no model of the others: self-calibration of mosaics is not available in "
            "this version of casarun; name single pointings in targets.fields, or leave "
            f"{target} out of [[selfcal]]",
            ("selfcal", index, "target"),
            target=target,
        )
    refant = settings.refant
    if refant == "auto" and draft.recipe.calibrate.refant != "auto":
        given = heuristics.Choice(draft.recipe.calibrate.refant, "that of calibrate.refant")
        refant = str(draft.choose("selfcal.refant", target, given))
    return Loop(settings, index, target, tuple(subjects), picture, refant)


def _picture(
    draft: Draft,
    index: int,
    target: str,
    subjects: tuple[Subject, ...],
    pictures: Sequence[Picture],
) -> Picture:
    """Return the settings of the rounds' images: those of an image, and its own over them."""
    settings, recipe = draft.recipe.selfcal[index], draft.recipe
    flat = [p for p in pictures if p.target == target and not p.cube]
    # Of a subtracted continuum there is nothing left to solve for, but pixels are pixels.
    flat.sort(key=lambda picture: picture.image.source == "contsub")
    if settings.image:
        flat = [p for p in flat if p.image.name == settings.image]
    named = [image for image in recipe.image if image.name == settings.image]
    if flat:
        image = flat[0].image
        if not settings.image:
            first = "the first with specmode = 'mfs' of the target"
            draft.choose("selfcal.image", target, heuristics.Choice(image.name, first))
    elif named:  # made of other targets only
        image = named[0]
    else:
        image = Image("selfcal", deconvolver="auto", nterms="auto")
        why = "no image of the target has specmode = 'mfs'"
        draft.choose("selfcal.image", target, heuristics.Choice("defaults", why))
        if recipe.contsub is not None and recipe.contsub.fitspec:
            image = replace(image, spw=recipe.contsub.fitspec)
            lines = heuristics.Choice(image.spw, "the channels of contsub.fitspec, free of lines")
            draft.choose("selfcal.tclean.spw", target, lines)
    picture = Picture(image, index, target, subjects, selfcal=True, table="selfcal")
    picture = replace(picture, image=_one_plane(draft, picture))
    return decided(draft, replace(picture, image=_over(picture.image, settings.tclean)))


def _over(image: Image, tclean: Mapping[str, Any]) -> Image:
    """Return an image with own parameters of tclean over its own, its name that of the stage."""
    own: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in tclean.items()
        if name in OF_AN_IMAGE
    }
    if own.get("deconvolver", image.deconvolver) != image.deconvolver:
        own = {"scales": "auto", "nterms": "auto", **own}
    rest = {name: value for name, value in image.tclean.items() if name not in OF_SOME_DATA}
    rest |= {name: value for name, value in tclean.items() if name not in OF_AN_IMAGE}
    return replace(image, **own, name="selfcal", source="calibrated", average=None, tclean=rest)


def _one_plane(draft: Draft, picture: Picture) -> Image:
    """Return the image's settings with a single Stokes plane, that of the sum of the hands."""
    image = picture.image
    hands = {hand for band in picture.bands for hand in band.spw.correlations}
    if image.stokes in ("I", "pseudoI") or hands == {image.stokes}:
        return image
    why = f"gains are solved from total intensity, whatever the image has ({image.stokes})"
    draft.choose("selfcal.stokes", picture.target, heuristics.Choice("I", why))
    return replace(image, stokes="I")


def knowing(draft: Draft, pictures: Sequence[Picture], loops: Sequence[Loop]) -> list[Picture]:
    """Return the images, those of a self-calibration's own weights with what they can begin with.

    Parameters
    ----------
    draft : Draft
        Takes the choices.
    pictures : sequence of Picture
        All images.
    loops : sequence of Loop
        The self-calibrations.
    """
    return [_knowing(draft, picture, loops) for picture in pictures]


def _knowing(draft: Draft, picture: Picture, loops: Sequence[Loop]) -> Picture:
    image = picture.image
    if picture.cube or picture.averages or image.source == "contsub":
        return picture
    settings = grid(picture) | dict(image.tclean)
    own = {name: value for name, value in settings.items() if name not in _GRIDDED}
    for loop in loops:
        if loop.target != picture.target or loop.tclean != own:
            continue
        # Steps of the recipe's own may change the data once they are self-calibrated.
        if not picture.cleaned or draft.recipe.step or picture.vis != tuple(loop.vis.values()):
            return replace(picture, reached=Reached(loop.summary))
        images = [path for round_ in (0, *loop.rounds) for path in loop.products(round_)]
        begins = image.mask == "none" and image.threshold.endswith("sigma")
        if begins and "startmodel" not in own:
            why = "of the best round of the self-calibration, whose weights are the same"
            model = heuristics.Choice("the model", why)
            draft.choose("image.tclean.startmodel", picture.name, model)
        return replace(picture, reached=Reached(loop.summary, tuple(images), begins))
    return picture


def steps(draft: Draft, loop: Loop) -> None:
    """Add the steps of a target's self-calibration."""
    for subject in loop.subjects:
        _copy(draft, loop, subject)
    _image(draft, loop, 0)
    _judge(draft, loop, 0)
    for round_ in loop.rounds:
        _predict(draft, loop, round_)
        _solve(draft, loop, round_)
        _apply(draft, loop, round_)
        _image(draft, loop, round_)
        _judge(draft, loop, round_)
    _finish(draft, loop)


def _copy(draft: Draft, loop: Loop, subject: Subject) -> None:
    source, target = subject.target_ms(loop.target), loop.vis[subject.name]
    draft.add(
        f"{loop.safe}.selfcal.copy.{subject.name}",
        "copy",
        {"source": source, "target": target},
        stage="selfcal",
        title=f"copy {loop.target} to self-calibrate",
        reads=(source,),
        writes=(target,),
        checks=(check("ms", path=target),),
        dataset=subject.name,
        target=loop.target,
    )


def _add(
    draft: Draft, loop: Loop, name: str, params: Mapping[str, Json], title: str, **more: Any
) -> None:
    """Add a step of the loop: ``<target>.selfcal.<name>``, its action after the last dot."""
    action = name.rpartition(".")[2]
    draft.add(
        f"{loop.safe}.selfcal.{name}",
        f"selfcal.{action}",
        params,
        stage="selfcal",
        title=title,
        target=loop.target,
        **more,
    )


def _image(draft: Draft, loop: Loop, round_: int) -> None:
    out = loop.data(round_, ".image")
    state, solve = "", ""
    if round_:
        state, solve = loop.data(round_ - 1), loop.data(round_, ".solve")
    params = {
        "round": round_,
        "vis": list(loop.vis.values()),
        "datacolumn": "corrected" if round_ else "data",
        "tclean": loop.tclean,
        "prefix": loop.prefix(round_),
        "like": loop.prefix(0) if round_ else "",
        "state": state,
        "solve": solve,
        "out": out,
        "niter": loop.niter,
    }
    title = f"image {loop.target} {'after' if round_ else 'before self-calibration'}"
    _add(
        draft, loop, f"{round_}.image", params, f"{title} round {round_}" if round_ else title,
        reads=(*loop.vis.values(), *([state, solve, *loop.some(0, *WEIGHTS)] if round_ else [])),
        writes=(*loop.products(round_), out),
        intermediates=loop.products(round_),
    )  # fmt: skip


def _judge(draft: Draft, loop: Loop, round_: int) -> None:
    image, out = loop.data(round_, ".image"), loop.data(round_)
    solve = loop.data(round_, ".solve") if round_ else ""
    states = [loop.data(earlier) for earlier in range(round_)]
    params = {
        "round": round_,
        "image": image,
        "solve": solve,
        "states": states,
        "limits": loop.limits,
        "ladder": loop.ladder(round_),
        "out": out,
    }
    title = f"judge round {round_}" if round_ else "judge whether there is enough to begin with"
    _add(
        draft, loop, f"{round_}.judge", params, f"{title} of {loop.target}" if round_ else title,
        reads=(image, *([solve] if round_ else []), *states),
        writes=(out,),
    )  # fmt: skip


def _predict(draft: Draft, loop: Loop, round_: int) -> None:
    state, vis = loop.data(round_ - 1), tuple(loop.vis.values())
    params = {
        "round": round_,
        "state": state,
        "vis": list(vis),
        "tclean": loop.tclean,
        "prefixes": {str(earlier): loop.prefix(earlier) for earlier in range(round_)},
    }
    images = [path for earlier in range(round_) for path in loop.products(earlier)]
    _add(
        draft, loop, f"{round_}.predict", params, f"model of {loop.target} for round {round_}",
        reads=(state, *images),
        updates=vis,
    )  # fmt: skip


def _solve(draft: Draft, loop: Loop, round_: int) -> None:
    settings, state = loop.settings, loop.data(round_ - 1)
    tables, out = loop.tables(round_), loop.data(round_, ".solve")
    earlier = {str(before): loop.tables(before) for before in range(1, round_)}
    params = {
        "round": round_,
        "state": state,
        "vis": loop.vis,
        "tables": tables,
        "earlier": earlier,
        "spw": loop.picture.image.spw,
        "uvrange": loop.tclean.get("uvrange", ""),
        "minsnr": settings.minsnr,
        "refant": loop.refant,
        "limits": loop.limits,
        "out": out,
    }
    _add(
        draft, loop, f"{round_}.solve", params, f"solve round {round_} of {loop.target}",
        reads=(*loop.vis.values(), state, *_paths(earlier)),
        writes=(*tables.values(), out),
    )  # fmt: skip


def _apply(draft: Draft, loop: Loop, round_: int) -> None:
    state, solve = loop.data(round_ - 1), loop.data(round_, ".solve")
    tables = {str(number): loop.tables(number) for number in range(1, round_ + 1)}
    params = {
        "round": round_,
        "state": state,
        "solve": solve,
        "vis": loop.vis,
        "tables": tables,
        "mode": loop.settings.apply,
    }
    _add(
        draft, loop, f"{round_}.apply", params, f"apply round {round_} of {loop.target}",
        reads=(state, solve, *_paths(tables)),
        updates=tuple(loop.vis.values()),
    )  # fmt: skip


def _finish(draft: Draft, loop: Loop) -> None:
    states = [loop.data(round_) for round_ in (0, *loop.rounds)]
    tables = {str(round_): loop.tables(round_) for round_ in loop.rounds}
    script, out = f"scripts/{loop.safe}.selfcal.py", loop.summary
    params = {
        "target": loop.target,
        "states": states,
        "vis": loop.vis,
        "tables": tables,
        "mode": loop.settings.apply,
        "script": script,
        "out": out,
    }
    _add(
        draft, loop, "finish", params, f"apply the best round of {loop.target}",
        reads=(*states, *_paths(tables)),
        writes=(script, out),
        updates=tuple(loop.vis.values()),
        checks=tuple(check("ms", path=vis, column="CORRECTED_DATA") for vis in loop.vis.values()),
    )  # fmt: skip


def _paths(tables: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """Yield the tables of several rounds."""
    for of_round in tables.values():
        yield from of_round.values()
