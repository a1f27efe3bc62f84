"""Post-conditions of images: finite pixels, a sane synthesized beam, a clean that cleaned."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ..errors import listing
from ..quantities import split
from .checks_evidence import Evidence, Json, diverged, failed
from .image_planes import Planes, read_beams, read_planes

STOP_CODES: Final[Mapping[int, str]] = {
    0: "no reason given",
    1: "iteration limit",
    2: "threshold reached",
    3: "stopped by force, or zero iterations asked for",
    4: "no change of the peak residual across two major cycles",
    5: "peak residual grew by more than 3 times since the previous major cycle",
    6: "peak residual grew by more than 3 times from its minimum",
    7: "the mask is empty",
    8: "n-sigma threshold or another criterion reached",
    9: "limit of major cycles",
    10: "stopped by the user",
}
"""What tclean's ``stopcode`` means (casatasks, imagerhelpers)."""

_BELOW_THRESHOLD = (2, 8)
_DIVERGED = (5, 6)
PSF_TOLERANCE = 0.05
_LONG, _NEEDLE = 20, 100  # bmaj over bmin; an east-west array near the equator reaches the first
_ODD, _ABSURD = 1.5, 3.0  # restored peak over the dirty one
_FACTORS = {"Jy": 1.0, "mJy": 1e-3, "uJy": 1e-6, "": 1.0}


def image_table(given: Mapping[str, Any], evidence: Evidence) -> dict[str, Json]:
    """Check that a CASA image exists and has finite pixels that are not 0.

    Parameters
    ----------
    given : mapping
        ``path``.
    evidence : Evidence
        What is known of the step.

    Raises
    ------
    StepFailedError
        If there is no image, or it is blank.
    """
    path = Path(given["path"])
    planes = require(path, evidence)
    if not planes.n_nonzero:
        raise failed(
            f"expected pixels in {path}, found none that is finite, unmasked and not 0: the image "
            "that it comes from is blank, or all was excluded",
            "Check image.immoments and the primary-beam cutoff.",
        )
    if evidence.params.get("pbimage"):
        _require_like(path, planes, Path(str(evidence.params["imagename"])))
    return {"shape": list(planes.shape), "peak": max(planes.peak)}


def _require_like(path: Path, planes: Planes, source: Path) -> None:
    """Refuse a primary-beam correction that lost planes of its image, or changed its shape."""
    before = read_planes(source)
    if planes.shape != before.shape:
        shapes = [" x ".join(map(str, one.shape)) for one in (before, planes)]
        raise failed(
            f"expected {path} in the shape of {source}, {shapes[0]}, found {shapes[1]}",
            "Check the step's casa.log, and run again.",
        )
    pairs = zip(before.peak, planes.peak, strict=True)
    lost = [str(number) for number, (old, new) in enumerate(pairs) if old and not new]
    if lost or planes.n_not_finite:
        what = f"channel {listing(lost)} blank" if lost else f"{planes.n_not_finite} NaN pixels"
        raise failed(
            f"expected {path} to have pixels wherever {source} has, found {what}: the primary beam "
            "is unknown or under the cutoff there",
            "Check image.cell and image.imsize: the field of view may lie outside the primary "
            "beam; or set image.pbcor = false.",
        )


def dirty(given: Mapping[str, Any], evidence: Evidence) -> dict[str, Json]:
    """Check a dirty image: its PSF, and a residual image that is finite and not blank.

    Parameters
    ----------
    given : mapping
        ``prefix``, tclean's imagename; ``suffix``, empty or ``.tt0``.
    evidence : Evidence
        What is known of the step.

    Raises
    ------
    StepFailedError
        If the PSF or the residual is blank or not finite, or the synthesized beam insane.
    """
    prefix, suffix = given["prefix"], given.get("suffix", "")
    found = _psf(Path(f"{prefix}.psf{suffix}"), evidence)
    residual = sky(Path(f"{prefix}.residual{suffix}"), evidence)
    blank = blank_channels(residual, f"{prefix}.residual{suffix}", Path(f"{prefix}.sumwt{suffix}"))
    warnings = [*found.pop("warnings"), *blank.pop("warnings", ())]
    found |= {"peak": max(residual.peak)} | blank
    return found | ({"warnings": warnings} if warnings else {})


def image(given: Mapping[str, Any], evidence: Evidence) -> dict[str, Json]:
    """Check what tclean made, and that it cleaned where that was asked.

    Parameters
    ----------
    given : mapping
        ``prefix``, tclean's imagename; ``suffix``, empty or ``.tt0``; ``cleaned``; ``specmode``;
        ``niter``.
    evidence : Evidence
        Its outcome is what tclean returned. With ``dirty`` among its parameters, the prefix of
        the dirty image, the residual is compared with that.

    Returns
    -------
    dict
        ``bmaj_arcsec``, ``bmin_arcsec``, ``bpa_deg`` (of the middle channel with a beam),
        ``peak``, ``residual_peak``, ``stopcode``, ``stop_reason``, ``iterations``,
        ``model_flux_jy`` and ``warnings``.

    Raises
    ------
    StepFailedError
        If the image or PSF is blank or not finite, the synthesized beam insane, the model empty
        though the residual is above the threshold, the mask empty, or the clean diverged.
    """
    prefix, suffix = given["prefix"], given.get("suffix", "")
    found = _psf(Path(f"{prefix}.psf{suffix}"), evidence)
    if given.get("cleaned"):
        require_bounded(given, evidence)
    shown = sky(Path(f"{prefix}.image{suffix}"), evidence)
    blank = blank_channels(shown, f"{prefix}.image{suffix}", Path(f"{prefix}.sumwt{suffix}"))
    warnings = [*found.pop("warnings"), *blank.pop("warnings", ())]
    found |= {"peak": max(shown.peak)} | blank
    if given.get("cleaned"):
        numbers = _cleaned(given, evidence)
        warnings += numbers.pop("warnings")
        warnings += _require_brightness(given, evidence, shown)
        found |= numbers
    return found | {"warnings": warnings}


def require_bounded(
    given: Mapping[str, Any], evidence: Evidence, kinds: Sequence[str] = ("model", "image")
) -> None:
    """Refuse a clean that made NaN of a finite dirty image: the data are not to blame."""
    prefix, suffix = given["prefix"], given.get("suffix", "")
    before = _dirty_residual(evidence, suffix)
    if before is None or read_planes(before).n_not_finite:
        return
    for name in kinds:
        path = Path(f"{prefix}.{name}{suffix}")
        if require(path, evidence).n_not_finite:
            raise diverged(
                f"expected the clean of {prefix} to converge, found NaN or infinity in {path}, "
                f"though the dirty image is finite: it diverged{_with_gain(evidence)}"
            )


def _with_gain(evidence: Evidence) -> str:
    """Name the parameters that a clean diverges for, where they are known."""
    params = evidence.params.get("tclean", evidence.params)
    named = [f"{key} = {params[key]}" for key in ("gain", "niter") if key in params]
    return f" with {' and '.join(named)}" if named else ""


def _dirty_residual(evidence: Evidence, suffix: str) -> Path | None:
    """Return the residual of the dirty image that a clean went on from, where it is there."""
    if "dirty" not in evidence.params:
        return None
    path = Path(f"{evidence.params['dirty']}.residual{suffix}")
    return path if (path / "table.dat").is_file() else None


def _cleaned(given: Mapping[str, Any], evidence: Evidence) -> dict[str, Any]:
    """Check that a clean cleaned, and converged."""
    prefix, suffix = given["prefix"], given.get("suffix", "")
    outcome = evidence.outcome
    code = int(outcome.get("stopcode", 0))
    reason = STOP_CODES.get(code) or f"a reason that casarun does not know: {code}"
    residual = require(Path(f"{prefix}.residual{suffix}"), evidence)
    model = require(Path(f"{prefix}.model{suffix}"), evidence)
    peak = max(residual.peak)
    numbers = {
        "stopcode": code,
        "stop_reason": reason,
        "iterations": int(outcome.get("iterdone", 0)),
        "residual_peak": peak,
        "model_peak": max(model.peak),
        "warnings": [],
    }
    require_converged(given, evidence, code, residual)
    if not model.n_nonzero:
        numbers["warnings"] = [_empty_model(given, evidence, code, peak)]
    elif code == 1:
        numbers["warnings"] = [
            f"clean of {prefix} stopped at its iteration limit, with a peak residual of "
            f"{peak:.3g} Jy/beam: raise image.niter to reach the threshold"
        ]
    elif code not in STOP_CODES:
        numbers["warnings"] = [f"clean of {prefix} stopped for {reason}"]
    _require_mask(Path(f"{prefix}.mask"), bool(model.n_nonzero), evidence)
    return numbers


def require_converged(
    given: Mapping[str, Any], evidence: Evidence, code: int, residual: Planes
) -> None:
    """Refuse a clean whose residual grew."""
    prefix, suffix = given["prefix"], given.get("suffix", "")
    if code in _DIVERGED:
        raise diverged(
            f"expected the clean of {prefix} to converge, but the {STOP_CODES[code]}: it diverged"
        )
    before = _dirty_residual(evidence, suffix)
    if before is None:
        return
    start = read_planes(before).peak
    worse = [
        number
        for number, (old, new) in enumerate(zip(start, residual.peak, strict=False))
        if new > 1.01 * old and new > 0.5 * max(start)
    ]
    if worse:
        number = worse[0]
        where = f" in channel {number}" if len(start) > 1 else ""
        raise diverged(
            f"expected the clean of {prefix} to lower the peak residual, found "
            f"{residual.peak[number]:.3g} Jy/beam after {start[number]:.3g} in the dirty "
            f"image{where}: it diverged"
        )


def _empty_model(given: Mapping[str, Any], evidence: Evidence, code: int, peak: float) -> str:
    """Return why an empty model is right; refuse one that is not."""
    prefix = given["prefix"]
    threshold = _threshold(evidence)
    if code == 7:
        raise failed(
            f"expected clean components in {prefix}.model, found none: the mask is empty, and "
            f"the peak of the dirty image is {peak:.3g} Jy/beam",
            "Check image.mask: a file must exist, cover emission and be a CRTF or DS9 region or an "
            "image; for 'auto-multithresh' lower image.tclean.noisethreshold, sidelobethreshold "
            "or minbeamfrac, or set image.mask = 'none'.",
        )
    if code in _BELOW_THRESHOLD or peak <= threshold:
        limit = f" ({threshold:.3g} Jy)" if threshold else ""
        return (
            f"nothing to clean in {prefix}: the peak of the dirty image, {peak:.3g} Jy/beam, is "
            f"below the threshold{limit}"
        )
    raise failed(
        f"expected clean components in {prefix}.model, found none after "
        f"{int(evidence.outcome.get('iterdone', 0))} iterations (tclean stopped: "
        f"{STOP_CODES.get(code, code)}); the peak of the dirty image is {peak:.3g} Jy/beam",
        "Check image.niter, image.threshold and image.mask.",
    )


def _threshold(evidence: Evidence) -> float:
    """Return the threshold of a clean in Jy; 0 where it is not known."""
    value = evidence.outcome.get("threshold")
    if value is None:
        params = evidence.params.get("tclean", evidence.params)
        value = params.get("threshold", 0)
    if isinstance(value, str):
        try:
            number, unit = split(value)
        except ValueError:
            return 0.0
        return number * _FACTORS.get(unit, 0.0)
    return float(value) if isinstance(value, (int, float)) else 0.0


def _require_mask(path: Path, has_model: bool, evidence: Evidence) -> None:
    """Refuse a clean within a mask that has no pixels."""
    if has_model and (path / "table.dat").is_file() and not read_planes(path).n_nonzero:
        raise failed(
            f"expected pixels in the mask {path}, found none{evidence.log_says()}",
            "Check image.mask.",
        )


def sky(path: Path, evidence: Evidence) -> Planes:
    """Return the numbers of an image of the sky; refuse one that is blank or not finite."""
    planes = require(path, evidence)
    if planes.n_not_finite:
        raise failed(
            f"expected finite pixels in {path}, found {planes.n_not_finite} that are NaN or "
            "infinite: a visibility or weight is",
            "Set flag.zeros = true (its clip flags NaN too); check steps that change weights.",
        )
    if not planes.n_nonzero:
        raise failed(
            f"expected an image in {path}, found zeros only: all selected data are flagged",
            "Look at the flagged fractions; check image.spw and [flag].",
        )
    return planes


def blank_channels(planes: Planes, what: str, sumwt: Path) -> dict[str, Any]:
    """Return the channels of a cube that have no data, with a warning.

    Raises
    ------
    StepFailedError
        If a blank channel has data: its sum of weights is not 0.
    """
    blank = [number for number, peak in enumerate(planes.peak) if not peak]
    if not blank:
        return {}
    weights = read_planes(sumwt).peak if (sumwt / "table.dat").is_file() else []
    lost = [str(number) for number in blank if number < len(weights) and weights[number] > 0]
    if lost:
        raise failed(
            f"expected an image of channel {listing(lost)} in {what}, found it blank, though data "
            "were gridded into it: its pixels are masked or 0",
            "Check image.mask and image.tclean.pblimit (a negative one masks nothing); leave the "
            "channels out with image.start and image.nchan.",
        )
    return {
        "blank_channels": blank,
        "warnings": blank_words(blank, len(planes.peak), what),
    }


def blank_words(blank: Sequence[int], channels: int, what: str) -> list[str]:
    """Return a warning of channels that have no data, if there are any."""
    if not blank:
        return []
    numbers = listing([str(number) for number in blank])
    return [
        f"{len(blank)} of {channels} channels of {what} have no unflagged data and are blank: "
        f"{numbers}"
    ]


def _require_brightness(given: Mapping[str, Any], evidence: Evidence, sky: Planes) -> list[str]:
    """Return warnings about channels far brighter than they were dirty; refuse absurd ones.

    Cleaning takes sidelobes away and a little more; a restored peak of several times the dirty
    one is made of components that the data do not ask for.
    """
    prefix, suffix = given["prefix"], given.get("suffix", "")
    before = _dirty_residual(evidence, suffix)
    if before is None:
        return []
    start = read_planes(before).peak
    ratios = [new / old if old else 0.0 for old, new in zip(start, sky.peak, strict=False)]
    if max(ratios, default=0.0) > _ABSURD:
        number = ratios.index(max(ratios))
        where = f" in channel {number}" if len(start) > 1 else ""
        raise diverged(
            f"expected a peak near the dirty image's {start[number]:.3g} Jy/beam in "
            f"{prefix}.image{suffix}{where}, found {sky.peak[number]:.3g}: the model grew without "
            "bounds, the clean diverged"
        )
    odd = [str(number) for number, ratio in enumerate(ratios) if ratio > _ODD]
    if not odd:
        return []
    return [
        f"the peak of {prefix}.image{suffix} is over {_ODD:g} times the dirty image's in channel "
        f"{listing(odd)}: the clean may have diverged there; compare with image.deconvolver = "
        "'hogbom'"
    ]


def _psf(path: Path, evidence: Evidence) -> dict[str, Json]:
    """Check the PSF and the synthesized beam fitted to it."""
    advice = "Look at the flagged fractions; check image.spw, image.cell and [flag]."
    planes = require(path, evidence)
    if not planes.n_nonzero:
        raise failed(
            f"expected a PSF in {path}, found a blank one: all selected data are flagged", advice
        )
    if planes.n_not_finite or abs(planes.largest - 1) > PSF_TOLERANCE:
        raise failed(
            f"expected a PSF with a peak of 1 in {path}, found "
            f"{'NaN' if planes.n_not_finite else format(planes.largest, '.3g')}: "
            "weights are not finite or not positive",
            advice,
        )
    return synthesized_beam(path)


def synthesized_beam(path: Path) -> dict[str, Json]:
    """Return the synthesized beam of a PSF's middle channel; refuse one that is insane."""
    advice = "Look at the flagged fractions; check image.spw, image.cell and [flag]."
    beams, cell, shape = read_beams(path)
    side = cell * max(shape[:2])
    sane = [b for b in beams if b[1] > 0.5 * cell and b[0] < side and all(map(math.isfinite, b))]
    if not sane:
        found = f"{beams[0][0]:.3g} x {beams[0][1]:.3g} arcsec" if beams else "none"
        raise failed(
            f"expected a synthesized beam between half a pixel ({0.5 * cell:.3g} arcsec) and the "
            f"image's size ({side:.3g} arcsec) in {path}, found {found}: the data are flagged "
            "or the cell does not suit them",
            advice,
        )
    bmaj, bmin, bpa = sane[len(sane) // 2]
    if bmaj > _NEEDLE * bmin:
        raise failed(
            f"expected a synthesized beam less than {_NEEDLE} times as long as wide in {path}, "
            f"found {bmaj:.3g} x {bmin:.3g} arcsec: the data that are left lie in one line of the "
            "uv plane",
            advice,
        )
    warnings = []
    if bmaj > _LONG * bmin:
        warnings.append(
            f"the synthesized beam of {path} is {bmaj:.3g} x {bmin:.3g} arcsec, over {_LONG} times "
            "as long as wide: the uv coverage is nearly a line"
        )
    return {"bmaj_arcsec": bmaj, "bmin_arcsec": bmin, "bpa_deg": bpa, "warnings": warnings}


def require(path: Path, evidence: Evidence) -> Planes:
    """Return the numbers of an image; refuse one that is not there or cannot be read."""
    if not (path / "table.dat").is_file():
        raise failed(
            f"expected the image {path}, found none{evidence.log_says()}",
            "Check the image's parameters and the step's casa.log.",
        )
    try:
        return read_planes(path)
    except RuntimeError as error:
        first = (str(error).splitlines() or ["no reason given"])[0]
        raise failed(
            f"expected to read the image {path}, but CASA failed: {first}",
            "Check the free disk space.",
        ) from error
