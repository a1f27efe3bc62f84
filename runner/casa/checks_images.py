"""Post-conditions of images: finite pixels, a sane synthesized beam, a clean that cleaned."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from ..quantities import split
from .checks_evidence import Evidence, Json, failed, listing

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
_PSF_TOLERANCE = 0.05
_FACTORS = {"Jy": 1.0, "mJy": 1e-3, "uJy": 1e-6, "": 1.0}


@dataclass(frozen=True)
class _Planes:
    """Numbers of an image's channels.

    Attributes
    ----------
    shape : tuple of int
        Of the image.
    peak : list of float
        Largest absolute value of each channel's valid, finite pixels; 0 where there are none.
    largest : float
        Largest value.
    n_not_finite : int
        Valid pixels that are NaN or infinite.
    n_nonzero : int
        Valid, finite pixels that are not 0.
    """

    shape: tuple[int, ...]
    peak: list[float]
    largest: float
    n_not_finite: int
    n_nonzero: int


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
    planes = _require(path, evidence)
    if not planes.n_nonzero:
        raise failed(
            f"expected pixels in {path}, found none that is finite, unmasked and not 0: the image "
            "that it comes from is blank, or all was excluded",
            "Check image.immoments and the primary-beam cutoff.",
        )
    return {"shape": list(planes.shape), "peak": max(planes.peak)}


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
    residual = _sky(Path(f"{prefix}.residual{suffix}"), evidence)
    return found | {"peak": max(residual.peak)} | _blank(residual, "residual")


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
    sky = _sky(Path(f"{prefix}.image{suffix}"), evidence)
    blank = _blank(sky, "image")
    found |= {"peak": max(sky.peak)} | blank
    if given.get("cleaned"):
        numbers = _cleaned(given, evidence)
        numbers["warnings"] = [*blank.get("warnings", ()), *numbers["warnings"]]
        found |= numbers
    return found


def _cleaned(given: Mapping[str, Any], evidence: Evidence) -> dict[str, Any]:
    """Check that a clean cleaned, and converged."""
    prefix, suffix = given["prefix"], given.get("suffix", "")
    outcome = evidence.outcome
    code = int(outcome.get("stopcode", 0))
    reason = STOP_CODES.get(code) or f"a reason that casarun does not know: {code}"
    residual = _require(Path(f"{prefix}.residual{suffix}"), evidence)
    model = _require(Path(f"{prefix}.model{suffix}"), evidence)
    peak = max(residual.peak)
    numbers = {
        "stopcode": code,
        "stop_reason": reason,
        "iterations": int(outcome.get("iterdone", 0)),
        "residual_peak": peak,
        "model_peak": max(model.peak),
        "warnings": [],
    }
    _require_converged(given, evidence, code, residual)
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


def _require_converged(
    given: Mapping[str, Any], evidence: Evidence, code: int, residual: _Planes
) -> None:
    """Refuse a clean whose residual grew."""
    prefix, suffix = given["prefix"], given.get("suffix", "")
    advice = (
        "Lower the gain (image.tclean.gain), raise image.tclean.cyclefactor, mask the emission "
        "(image.mask), or use image.deconvolver = 'hogbom'."
    )
    if code in _DIVERGED:
        raise failed(
            f"expected the clean of {prefix} to converge, but the {STOP_CODES[code]}: it diverged",
            advice,
        )
    before = Path(f"{evidence.params.get('dirty', '')}.residual{suffix}")
    if "dirty" not in evidence.params or not (before / "table.dat").is_file():
        return
    start = _planes(before).peak
    worse = [
        number
        for number, (old, new) in enumerate(zip(start, residual.peak, strict=False))
        if new > 1.01 * old and new > 0.5 * max(start)
    ]
    if worse:
        number = worse[0]
        where = f" in channel {number}" if len(start) > 1 else ""
        raise failed(
            f"expected the clean of {prefix} to lower the peak residual, found "
            f"{residual.peak[number]:.3g} Jy/beam after {start[number]:.3g} in the dirty "
            f"image{where}: it diverged",
            advice,
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
    if has_model and (path / "table.dat").is_file() and not _planes(path).n_nonzero:
        raise failed(
            f"expected pixels in the mask {path}, found none{evidence.log_says()}",
            "Check image.mask.",
        )


def _sky(path: Path, evidence: Evidence) -> _Planes:
    """Return the numbers of an image of the sky; refuse one that is blank or not finite."""
    planes = _require(path, evidence)
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


def _blank(planes: _Planes, what: str) -> dict[str, Any]:
    """Return the channels of a cube that have no data, with a warning."""
    blank = [str(number) for number, peak in enumerate(planes.peak) if not peak]
    if not blank:
        return {}
    return {
        "blank_channels": [int(number) for number in blank],
        "warnings": [
            f"{len(blank)} of {len(planes.peak)} channels of the {what} are blank: {listing(blank)}"
        ],
    }


def _psf(path: Path, evidence: Evidence) -> dict[str, Json]:
    """Check the PSF and the synthesized beam fitted to it."""
    advice = "Look at the flagged fractions; check image.spw, image.cell and [flag]."
    planes = _require(path, evidence)
    if not planes.n_nonzero:
        raise failed(
            f"expected a PSF in {path}, found a blank one: all selected data are flagged", advice
        )
    if planes.n_not_finite or abs(planes.largest - 1) > _PSF_TOLERANCE:
        raise failed(
            f"expected a PSF with a peak of 1 in {path}, found "
            f"{'NaN' if planes.n_not_finite else format(planes.largest, '.3g')}: "
            "weights are not finite or not positive",
            advice,
        )
    beams, cell = _beams(path)
    side = cell * max(planes.shape[:2])
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
    return {"bmaj_arcsec": bmaj, "bmin_arcsec": bmin, "bpa_deg": bpa}


@contextmanager
def _open_image(path: Path) -> Iterator[Any]:
    """Open a CASA image for reading, and close it however the block ends."""
    from casatools import image as image_tool

    tool = image_tool()
    tool.open(str(path))
    try:
        yield tool
    finally:
        tool.close()


def _require(path: Path, evidence: Evidence) -> _Planes:
    """Return the numbers of an image; refuse one that is not there or cannot be read."""
    if not (path / "table.dat").is_file():
        raise failed(
            f"expected the image {path}, found none{evidence.log_says()}",
            "Check the image's parameters and the step's casa.log.",
        )
    try:
        return _planes(path)
    except RuntimeError as error:
        first = (str(error).splitlines() or ["no reason given"])[0]
        raise failed(
            f"expected to read the image {path}, but CASA failed: {first}",
            "Check the free disk space.",
        ) from error


def _planes(path: Path) -> _Planes:
    """Read an image a channel at a time; axes are x, y, Stokes, channel."""
    peak: list[float] = []
    largest, not_finite, nonzero = -math.inf, 0, 0
    with _open_image(path) as tool:
        shape = tuple(int(side) for side in tool.shape())
        last = [side - 1 for side in shape]
        for channel in range(shape[3] if len(shape) > 3 else 1):
            blc, trc = [0] * len(shape), list(last)
            if len(shape) > 3:
                blc[3] = trc[3] = channel
            pixels = tool.getchunk(blc, trc)
            valid = pixels[tool.getchunk(blc, trc, getmask=True)]
            finite = valid[np.isfinite(valid)]
            not_finite += valid.size - finite.size
            nonzero += int(np.count_nonzero(finite))
            peak.append(float(np.abs(finite).max(initial=0.0)))
            largest = max(largest, float(finite.max(initial=-math.inf)))
    return _Planes(shape, peak, largest, not_finite, nonzero)


def _beams(path: Path) -> tuple[list[tuple[float, float, float]], float]:
    """Return an image's synthesized beams (arcsec, arcsec, deg) and its pixel (arcsec)."""
    with _open_image(path) as tool:
        record = tool.restoringbeam()
        increment = tool.coordsys().increment(type="direction", format="n")["numeric"]
    beams = []
    for beam in _flat(record):
        major, minor = (beam[axis] for axis in ("major", "minor"))
        angle = beam.get("positionangle", beam.get("pa"))
        beams.append(
            (_in(major, "arcsec"), _in(minor, "arcsec"), _in(angle, "deg") if angle else 0.0)
        )
    return beams, float(np.degrees(np.abs(increment)).min() * 3600)


def _flat(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the beams in what ``image.restoringbeam`` gives, in the order of channels."""
    if "major" in record:
        return [record]
    channels = record.get("beams", {})
    ordered = sorted(channels.items(), key=lambda item: int(item[0].lstrip("*")))
    return [next(iter(stokes.values())) for _, stokes in ordered]


def _in(quantity: Mapping[str, Any], unit: str) -> float:
    """Return a CASA quantity of an angle in arcsec or deg."""
    per_deg = {"deg": 1.0, "arcmin": 1 / 60, "arcsec": 1 / 3600, "rad": math.degrees(1)}
    degrees = float(quantity["value"]) * per_deg[str(quantity["unit"])]
    return degrees * 3600 if unit == "arcsec" else degrees
