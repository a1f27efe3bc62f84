"""Stage ``image``: dirty image, its noise, the clean image, primary-beam correction, moments.

The dirty image comes first: its noise is where ``threshold = "3sigma"`` begins, and the clean
goes on from it, so that nothing is gridded twice. What the dirty image shows may be sidelobes
rather than noise; so the clean measures again what it leaves (`engine.actions`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import heuristics
from ..quantities import split
from ..recipe.rules import other_images
from . import chunks, drawn_mask, ranges
from .draft import Draft, check
from .picture import MOSAIC_GRIDDERS, Picture, pictures

__all__ = ["MOSAIC_GRIDDERS", "Picture", "final", "grid", "pictures", "steps", "suffixes"]


def steps(draft: Draft, picture: Picture) -> None:
    """Add the steps that make an image and what comes from it."""
    image = picture.image
    params = grid(picture) | dict(image.tclean)
    why = chunks.why_whole(picture) if picture.cube else "it is no cube"
    if not why:
        _by_ranges(draft, picture, params)
    else:
        if picture.cube:
            draft.choose(picture.setting("chunk"), picture.name, heuristics.Choice("none", why))
        _dirty(draft, picture, params)
        _noise(draft, picture)
        if picture.cleaned:
            drawn_mask.step(draft, picture, f"{picture.dirty}.residual{picture.first}")
            _clean(draft, picture, params)
    if image.pbcor:
        _pbcor(draft, picture)
    for moment in image.moments:
        _moment(draft, picture, moment)


def _by_ranges(draft: Draft, picture: Picture, params: dict[str, Any]) -> None:
    """Add the steps of a cube that is imaged by channel ranges."""
    parts = chunks.chunks(draft, picture, params)
    if not picture.cleaned:
        ranges.steps(draft, ranges.Divided(picture, parts, params, {}))
        return
    settings, sigmas = _cleaning(draft, picture, params)
    mask = settings.get("mask", "")
    fallbacks = _fallbacks(draft, picture)
    ranges.steps(draft, ranges.Divided(picture, parts, params, settings, sigmas, mask, fallbacks))


def grid(picture: Picture) -> dict[str, Any]:
    """Return what tclean must know but for the cleaning."""
    image = picture.image
    params: dict[str, Any] = {
        "vis": list(picture.vis),
        "datacolumn": picture.datacolumn,
        "specmode": image.specmode,
        "spw": picture.spw,
        "stokes": image.stokes,
        "imsize": list(picture.sides),
        "cell": image.cell,
        "weighting": image.weighting,
        "gridder": picture.gridder,
        "deconvolver": image.deconvolver,
        "interactive": False,
        "parallel": False,
    }
    if image.weighting.startswith("briggs"):
        params["robust"] = image.robust
    if image.deconvolver in _WITH_SCALES:
        params["scales"] = list(image.scales)
    if image.deconvolver == "mtmfs":
        params["nterms"] = image.nterms
    if image.specmode == "cube":
        params |= {"start": image.start, "width": image.width, "nchan": image.nchan}
        params |= {"restoringbeam": "common"}
        if image.restfreq:
            params["restfreq"] = image.restfreq
    return params


def suffixes(picture: Picture, *, cleaned: bool) -> list[str]:
    """Return the suffixes of the images that tclean writes."""
    terms = int(picture.image.nterms) if picture.image.deconvolver == "mtmfs" else 0
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
    made = tuple(f"{prefix}.{suffix}" for suffix in suffixes(picture, cleaned=False))
    action, reads = "casa:tclean", picture.vis
    given = {**params, "imagename": prefix, "niter": 0, "restoration": not picture.cleaned}
    if picture.reached and picture.reached.images:
        action, given = "selfcal.dirty", {"summary": picture.reached.summary, "tclean": given}
        reads = (*reads, picture.reached.summary, *picture.reached.images)
    draft.add(
        f"{picture.name}.dirty",
        action,
        given,
        stage="image",
        title=f"dirty {_what(picture)}",
        reads=reads,
        writes=made,
        intermediates=made if picture.cleaned else (),
        checks=(check("dirty", prefix=prefix, suffix=picture.first),),
        target=picture.target,
        image=picture.image.name,
    )


def _noise(draft: Draft, picture: Picture) -> None:
    reached = picture.reached
    residual = f"{picture.dirty}.residual{picture.first}"
    pb = f"{picture.dirty}.pb{picture.first}"
    draft.add(
        f"{picture.name}.noise",
        "noise",
        {"image": residual, "pb": pb, "out": picture.noise}
        | ({"reached": reached.summary} if reached else {}),
        stage="image",
        title=f"noise of the dirty {_what(picture)}",
        reads=(residual, pb, *([reached.summary] if reached else [])),
        writes=(picture.noise,),
        target=picture.target,
        image=picture.image.name,
    )


def _clean(draft: Draft, picture: Picture, params: Mapping[str, Any]) -> None:
    image = picture.image
    prefix = picture.prefix
    cleaning, sigmas = _cleaning(draft, picture, params)
    # The dirty image is what the first major cycle would make again.
    settings = {**cleaning, "imagename": prefix, "calcpsf": False, "calcres": False, **image.tclean}
    given: dict[str, Any] = {"dirty": picture.dirty, "tclean": settings}
    if sigmas:
        given["until"] = {"sigmas": sigmas, "suffix": picture.first}
    begins = picture.reached if picture.reached and picture.reached.begins else None
    if begins:
        given["selfcal"] = begins.summary
    dirty = [f"{picture.dirty}.{suffix}" for suffix in suffixes(picture, cleaned=False)]
    mask = drawn_mask.mask_of(picture)
    draft.add(
        f"{picture.name}.clean",
        "clean",
        given,
        stage="image",
        title=f"clean {_what(picture)}",
        reads=(
            *picture.vis, *dirty, *([mask] if mask else []), *([picture.noise] if sigmas else []),
            *([begins.summary, *begins.images] if begins else []),
        ),
        writes=tuple(f"{prefix}.{suffix}" for suffix in suffixes(picture, cleaned=True)),
        checks=(
            check(
                "image", prefix=prefix, suffix=picture.first, cleaned=True,
                specmode=image.specmode, niter=image.niter,
            ),
        ),
        target=picture.target,
        image=image.name,
        fallbacks=_fallbacks(draft, picture),
    )  # fmt: skip


def _cleaning(
    draft: Draft, picture: Picture, params: Mapping[str, Any]
) -> tuple[dict[str, Any], float]:
    """Return tclean's parameters of a clean, and its depth as a multiple of the noise, or 0."""
    image = picture.image
    number, unit = split(image.threshold)
    sigmas = number if unit == "sigma" else 0.0
    threshold = picture.late_noise(number, "Jy", reached=True) if sigmas else image.threshold
    settings = {**params, "niter": image.niter, "threshold": threshold}
    return settings | _mask(draft, picture) | dict(image.tclean), sigmas


def _fallbacks(draft: Draft, picture: Picture) -> tuple[dict[str, Any], ...]:
    """Return what is laid over the clean's parameters each time that it has diverged."""
    image, found = picture.image, []
    for place, fallback in enumerate(image.fallback):
        settings = dict(fallback)
        deconvolver = settings.get("deconvolver", image.deconvolver)
        message = other_images(image.deconvolver, deconvolver)
        if message:
            draft.problem(message, picture.key("fallback", place, "deconvolver"))
        elif deconvolver == "multiscale" and image.deconvolver not in _WITH_SCALES:
            # The image's own deconvolver has no use for scales, so none were chosen.
            settings.setdefault("scales", list(image.scales) or _scales(draft, picture))
        found.append({"tclean": settings})
    return tuple(found)


def _scales(draft: Draft, picture: Picture) -> list[int]:
    """Choose the scales of a fallback."""
    choice = heuristics.scales("multiscale", picture.resolution_arcsec, picture.cell_arcsec)
    return list(draft.choose("image.fallback.scales", picture.name, choice))


_WITH_SCALES = ("multiscale", "mtmfs", "asp")


def _mask(draft: Draft, picture: Picture) -> dict[str, Any]:
    """Return tclean's mask parameters."""
    mask = picture.image.mask
    if mask == "none":
        return {}
    if mask != "auto-multithresh":
        return {"usemask": "user", "mask": drawn_mask.mask_of(picture)}
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
