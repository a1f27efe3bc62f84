"""Stage ``image``: dirty image, its noise, the clean image, primary-beam correction, moments.

The dirty image comes first: its noise is what ``threshold = "3sigma"`` means, and the clean
goes on from it, so that nothing is gridded twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from .. import heuristics
from ..errors import KeyPath, did_you_mean
from ..folder import file_safe
from ..observation import SpectralWindow
from ..plan import Json
from ..quantities import arcsec, parse, split
from ..recipe.model import Image
from .draft import Draft, Subject, check
from .split import targets as targets_of

MOSAIC_GRIDDERS = ("mosaic", "awproject", "awphpg", "awp2")


@dataclass(frozen=True)
class Picture:
    """One image of one target: its settings, its datasets, its place."""

    image: Image
    index: int
    target: str
    subjects: tuple[Subject, ...]

    @property
    def name(self) -> str:
        """The name that its files share: ``N5921_2.hi``."""
        return f"{file_safe(self.target)}.{self.image.name}"

    @property
    def prefix(self) -> str:
        """The path that its files share, from the run folder."""
        return f"images/{self.name}"

    @property
    def dirty(self) -> str:
        """The path that the dirty image's files share.

        In a folder of its own: tclean adds its history to every image whose name begins with
        its own image's, and would change the dirty image while cleaning.
        """
        return f"images/dirty/{self.name}"

    @property
    def noise(self) -> str:
        """Where the noise of the dirty image is written."""
        return f"{self.prefix}.noise.json"

    @property
    def vis(self) -> tuple[str, ...]:
        """The MSs that are imaged together."""
        contsub = self.image.source == "contsub"
        return tuple(subject.target_ms(self.target, contsub=contsub) for subject in self.subjects)

    @property
    def gridder(self) -> str:
        """CASA's gridder."""
        return str(self.image.tclean.get("gridder", "standard"))

    @property
    def first(self) -> str:
        """The suffix of the first Taylor term, where there are terms."""
        return ".tt0" if self.image.deconvolver == "mtmfs" else ""

    @property
    def cleaned(self) -> bool:
        """Whether the image is to be deconvolved."""
        return self.image.niter > 0

    def key(self, *more: str) -> KeyPath:
        """Return a key path in the recipe."""
        return ("image", self.index, *more)

    def late_noise(self, times: float, unit: str) -> Json:
        """Return a multiple of the noise, to be taken when the step runs."""
        source = {"path": self.noise, "key": "rms_jy_per_beam"}
        return {"$late": {**source, "times": times, "unit": unit}}


def pictures(draft: Draft, subjects: Sequence[Subject]) -> list[Picture]:
    """Return the images of all targets, datasets of one target together."""
    by_target: dict[str, list[Subject]] = {}
    for subject in subjects:
        for name in targets_of(subject):
            by_target.setdefault(name, []).append(subject)
    found = []
    for index, image in enumerate(draft.recipe.image):
        for pattern in image.targets:
            if by_target and not any(fnmatchcase(name, pattern) for name in by_target):
                draft.problem(
                    f"no target matches '{pattern}'; targets: {', '.join(by_target)}"
                    f"{did_you_mean(pattern, by_target)}",
                    ("image", index, "targets"),
                )
        for name, having in by_target.items():
            if any(fnmatchcase(name, pattern) for pattern in image.targets):
                found.append(Picture(image, index, name, tuple(having)))
    return found


def steps(draft: Draft, picture: Picture) -> None:
    """Add the steps that make an image and what comes from it."""
    image = picture.image
    if image.mask.lower().endswith(".reg"):
        draft.problem(
            "DS9 region files are not read as masks yet: CASA would take one for an empty mask "
            "without a word; save the region as CRTF (.crtf)",
            picture.key("mask"),
        )
    params = _grid(draft, picture) | dict(image.tclean)
    _dirty(draft, picture, params)
    _noise(draft, picture)
    if picture.cleaned:
        _clean(draft, picture, params)
    if image.pbcor:
        _pbcor(draft, picture)
    for moment in image.moments:
        _moment(draft, picture, moment)


def _grid(draft: Draft, picture: Picture) -> dict[str, Any]:
    """Return what tclean must know but for the cleaning."""
    image = picture.image
    params: dict[str, Any] = {
        "vis": list(picture.vis),
        "datacolumn": "data",
        "specmode": image.specmode,
        "spw": image.spw,
        "stokes": image.stokes,
        **_geometry(draft, picture),
        "weighting": image.weighting,
        "gridder": "standard",
        "deconvolver": image.deconvolver,
        "interactive": False,
        "parallel": False,
    }
    if image.weighting.startswith("briggs"):
        params["robust"] = image.robust
    if image.deconvolver in ("multiscale", "mtmfs", "asp"):
        params["scales"] = _scales(draft, picture, params["cell"])
    if image.deconvolver == "mtmfs":
        params["nterms"] = image.nterms
    if image.specmode == "cube":
        params |= {"start": image.start, "width": image.width, "nchan": image.nchan}
        params |= {"restoringbeam": "common"}
        if image.restfreq:
            params["restfreq"] = image.restfreq
    return params


def _geometry(draft: Draft, picture: Picture) -> dict[str, Any]:
    """Return pixel and image size, chosen where the recipe leaves them to casarun."""
    image = picture.image
    spws = _spws(picture)
    if image.cell == "auto":
        choice = heuristics.cell(_longest(picture), max(spw.highest_hz for spw in spws))
        cell = str(draft.choose("image.cell", picture.name, choice))
    else:
        cell = image.cell
    if image.imsize == "auto":
        antennas = [a for s in picture.subjects for a in s.observation.antennas]
        choice = heuristics.imsize(
            min(antenna.diameter_m for antenna in antennas),
            min(min(spw.first_hz, spw.last_hz) for spw in spws),
            arcsec(parse(cell, "angle")),
            cube=image.specmode == "cube",
        )
        side = draft.choose("image.imsize", picture.name, choice)
        return {"imsize": [side, side], "cell": cell}
    sides = [image.imsize] * 2 if isinstance(image.imsize, int) else list(image.imsize)
    return {"imsize": sides, "cell": cell}


def _scales(draft: Draft, picture: Picture, cell: str) -> list[int]:
    if picture.image.scales != "auto":
        return list(picture.image.scales)
    choice = heuristics.scales(
        picture.image.deconvolver,
        heuristics.resolution_arcsec(_longest(picture), max(s.highest_hz for s in _spws(picture))),
        arcsec(parse(cell, "angle")),
    )
    return list(draft.choose("image.scales", picture.name, choice))


def _longest(picture: Picture) -> float:
    """Return the longest baseline of a picture's datasets in m."""
    return max(subject.observation.longest_baseline_m for subject in picture.subjects)


def _spws(picture: Picture) -> list[SpectralWindow]:
    """Return the spectral windows in which the picture's target was observed."""
    found = []
    for subject in picture.subjects:
        fields = set(targets_of(subject)[picture.target])
        observation = subject.observation
        wanted = observation.spws_of_fields(fields)
        found += [spw for spw in observation.spws if spw.id in wanted]
    return found


def suffixes(picture: Picture, *, cleaned: bool) -> list[str]:
    """Return the suffixes of the images that tclean writes."""
    terms = picture.image.nterms if picture.image.deconvolver == "mtmfs" else 0
    each = ["residual"] + (["image", "model"] if cleaned else [])
    if not picture.cleaned:
        each.append("image")
    weights = ["psf", "sumwt"] + (["weight"] if picture.gridder in MOSAIC_GRIDDERS else [])
    if terms:
        found = [f"{kind}.tt{t}" for kind in each for t in range(terms)]
        found += [f"{kind}.tt{t}" for kind in weights for t in range(2 * terms - 1)]
        found += ["pb.tt0"] + (["alpha", "alpha.error"] if cleaned and terms > 1 else [])
    else:
        found = [*each, *weights, "pb"]
    return sorted(found + (["mask"] if cleaned else []))


def _dirty(draft: Draft, picture: Picture, params: Mapping[str, Any]) -> None:
    prefix = picture.dirty
    draft.add(
        f"{picture.name}.dirty",
        "casa:tclean",
        {**params, "imagename": prefix, "niter": 0, "restoration": not picture.cleaned},
        stage="image",
        title=f"dirty {_what(picture)}",
        reads=picture.vis,
        writes=tuple(f"{prefix}.{suffix}" for suffix in suffixes(picture, cleaned=False)),
        checks=(check("dirty", prefix=prefix, suffix=picture.first),),
        target=picture.target,
        image=picture.image.name,
        memory_bytes=_memory(params, picture),
    )


def _noise(draft: Draft, picture: Picture) -> None:
    residual = f"{picture.dirty}.residual{picture.first}"
    pb = f"{picture.dirty}.pb{picture.first}"
    draft.add(
        f"{picture.name}.noise",
        "noise",
        {"image": residual, "pb": pb, "out": picture.noise},
        stage="image",
        title=f"noise of the dirty {_what(picture)}",
        reads=(residual, pb),
        writes=(picture.noise,),
        target=picture.target,
        image=picture.image.name,
    )


def _clean(draft: Draft, picture: Picture, params: Mapping[str, Any]) -> None:
    image = picture.image
    prefix = picture.prefix
    settings: dict[str, Any] = {**params, "imagename": prefix, "niter": image.niter}
    number, unit = split(image.threshold)
    sigmas = unit == "sigma"
    settings["threshold"] = picture.late_noise(number, "Jy") if sigmas else image.threshold
    settings |= _mask(draft, picture)
    # The dirty image is what the first major cycle would make again.
    settings |= {"calcpsf": False, "calcres": False, **image.tclean}
    dirty = [f"{picture.dirty}.{suffix}" for suffix in suffixes(picture, cleaned=False)]
    mask_file = [] if image.mask in ("none", "auto-multithresh") else [image.mask]
    draft.add(
        f"{picture.name}.clean",
        "clean",
        {"dirty": picture.dirty, "tclean": settings},
        stage="image",
        title=f"clean {_what(picture)}",
        reads=(*picture.vis, *dirty, *mask_file, *([picture.noise] if sigmas else [])),
        writes=tuple(f"{prefix}.{suffix}" for suffix in suffixes(picture, cleaned=True)),
        checks=(
            check(
                "image", prefix=prefix, suffix=picture.first, cleaned=True,
                specmode=image.specmode, niter=image.niter,
            ),
        ),
        target=picture.target,
        image=image.name,
        memory_bytes=_memory(params, picture),
    )  # fmt: skip


def _mask(draft: Draft, picture: Picture) -> dict[str, Any]:
    """Return tclean's mask parameters."""
    mask = picture.image.mask
    if mask == "none":
        return {}
    if mask != "auto-multithresh":
        return {"usemask": "user", "mask": mask}
    choice = heuristics.automask(picture.subjects[0].observation)
    own = draft.choose("image.mask", picture.name, choice)
    if picture.image.specmode == "cube":
        own = own | {"minbeamfrac": min(0.1, own["minbeamfrac"])}
    return {"usemask": "auto-multithresh", **own}


def final(picture: Picture) -> str:
    """Return the path of the image that a user looks at first."""
    return f"{picture.prefix if picture.cleaned else picture.dirty}.image{picture.first}"


def _pbcor(draft: Draft, picture: Picture) -> None:
    source = final(picture)
    pb = f"{picture.prefix if picture.cleaned else picture.dirty}.pb{picture.first}"
    out = f"{picture.prefix}.pbcor"
    draft.add(
        f"{picture.name}.pbcor",
        "casa:impbcor",
        {"imagename": source, "pbimage": pb, "outfile": out, "cutoff": 0.2},
        stage="image",
        title=f"correct the {_what(picture)} for the primary beam",
        reads=(source, pb),
        writes=(out,),
        checks=(check("image_table", path=out),),
        target=picture.target,
        image=picture.image.name,
    )


def _moment(draft: Draft, picture: Picture, moment: int) -> None:
    """Add a moment map; from the first moment on, without the pixels under 3 sigma.

    A velocity is a mean weighted by intensity: noise far from the line would pull it
    anywhere. The integrated intensity stays unclipped, for clipping biases it.
    """
    source = final(picture)
    out = f"{picture.prefix}.mom{moment}"
    params: dict[str, Any] = {"imagename": source, "moments": [moment], "outfile": out}
    reads = [source]
    if moment > 0 and not {"includepix", "excludepix"} & set(picture.image.immoments):
        params["excludepix"] = [-1e9, picture.late_noise(3, "")]
        reads.append(picture.noise)
    draft.add(
        f"{picture.name}.mom{moment}",
        "casa:immoments",
        {**params, **picture.image.immoments},
        stage="image",
        title=f"moment {moment} of the {_what(picture)}",
        reads=tuple(reads),
        writes=(out,),
        checks=(check("image_table", path=out),),
        target=picture.target,
        image=picture.image.name,
    )


def _what(picture: Picture) -> str:
    kind = "cube" if picture.image.specmode == "cube" else "image"
    return f"{kind} '{picture.image.name}' of {picture.target}"


def _memory(params: Mapping[str, Any], picture: Picture) -> int:
    """Estimate tclean's memory: 0.4 GB and some 80 bytes a pixel and channel at a time.

    Source: pclean's memory model (76 bytes a pixel and channel, times nterms squared).
    """
    width, height = params["imsize"]
    terms = picture.image.nterms**2 if picture.image.deconvolver == "mtmfs" else 1
    return int(4e8 + 80 * width * height * terms)
