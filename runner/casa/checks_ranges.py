"""Post-conditions of cubes that are imaged by channel ranges, and of the cube joined from them.

A range may be blank, or hold nothing to clean, where a cube may not; what a range is held to
beside that is what any image is held to.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ..errors import listing
from ..files import read_json
from . import checks_images, range_images
from .checks_evidence import Evidence, Json, failed
from .checks_images import STOP_CODES

_HERTZ_TOLERANCE: Final = 1e-12
_LOOK: Final = "Look at the flagged fractions; check image.spw and [flag]."


def dirty(given: Mapping[str, Any], evidence: Evidence) -> dict[str, Json]:
    """Check a range's dirty images: as a dirty image, or blank for want of data.

    Parameters
    ----------
    given : mapping
        ``prefix``.
    evidence : Evidence
        What is known of the step.

    Raises
    ------
    StepFailedError
        If PSF or residual are not finite, insane, or blank though data were gridded into them.
    """
    prefix = given["prefix"]
    weights = checks_images.require(Path(f"{prefix}.sumwt"), evidence)
    residual = checks_images.require(Path(f"{prefix}.residual"), evidence)
    if not weights.n_nonzero:
        return {"blank_channels": list(range(len(weights.peak)))}
    if residual.n_not_finite:
        checks_images.sky(Path(f"{prefix}.residual"), evidence)
    blank = checks_images.blank_channels(residual, f"{prefix}.residual", Path(f"{prefix}.sumwt"))
    found = checks_images.synthesized_beam(Path(f"{prefix}.psf"))
    peaks = range_images.centres(f"{prefix}.psf")
    wrong = [
        peak
        for peak, weight in zip(peaks, weights.peak, strict=False)
        if weight > 0 and not abs(peak - 1) <= checks_images.PSF_TOLERANCE
    ]
    if wrong:
        raise failed(
            f"expected a PSF with a peak of 1 in {prefix}.psf, found {wrong[0]:.3g}: weights are "
            "not finite or not positive",
            _LOOK,
        )
    found |= {"peak": max(residual.peak)} | blank
    found.pop("warnings", None)  # those of the whole cube are told once
    return found


def cleaned(given: Mapping[str, Any], evidence: Evidence) -> dict[str, Json]:
    """Check that a range's clean converged, and made a model where something was to be cleaned.

    Parameters
    ----------
    given : mapping
        ``prefix``; ``dirty``, the prefix of the dirty images.
    evidence : Evidence
        Its outcome is that of the clean.

    Raises
    ------
    StepFailedError
        If model or residual are not finite, the residual grew, or the model is empty though the
        residual within the mask is above the threshold.
    """
    prefix, outcome = given["prefix"], evidence.outcome
    about = {"prefix": prefix, "suffix": ""}
    residual = checks_images.require(Path(f"{prefix}.residual"), evidence)
    iterations, code = int(outcome.get("iterdone", 0)), int(outcome.get("stopcode", 0))
    found = {
        "iterations": iterations,
        "stopcode": code,
        "residual_peak": max(residual.peak),
    }
    if not iterations and not Path(f"{prefix}.model").exists():
        return found  # nothing was above the threshold; CASA makes the model with the first cycle
    checks_images.require_bounded(about, evidence, ("model",))
    checks_images.require_converged(about, evidence, code, residual)
    model = checks_images.require(Path(f"{prefix}.model"), evidence)
    if iterations and not model.n_nonzero:
        raise failed(
            f"expected clean components in {prefix}.model, found none after {iterations} "
            "iterations",
            "Check image.niter, image.threshold and image.mask.",
        )
    return found | {"model_peak": max(model.peak)}


def restored(given: Mapping[str, Any], evidence: Evidence) -> dict[str, Json]:
    """Check a range's restored image: finite, and no brighter than its dirty one allows.

    Parameters
    ----------
    given : mapping
        ``out``, the JSON that says the prefix of the range's images.
    evidence : Evidence
        What is known of the step.
    """
    path = Path(f"{read_json(Path(given['out']))['prefix']}.image")
    image = checks_images.require(path, evidence)
    if image.n_not_finite:
        raise failed(
            f"expected finite pixels in {path}, found {image.n_not_finite} that "
            "are NaN or infinite",
            _LOOK,
        )
    return {"peak": max(image.peak)}


def cube(given: Mapping[str, Any], evidence: Evidence) -> dict[str, Json]:
    """Check a cube that was joined: all its channels, each at its frequency.

    Parameters
    ----------
    given : mapping
        ``prefix``, ``kinds`` of images, ``axis``, ``state`` of the last round, ``niter``.
    evidence : Evidence
        What is known of the step.

    Raises
    ------
    StepFailedError
        If an image has other channels or frequencies than the cube that was laid out, or no data.
    """
    prefix, warnings = given["prefix"], list[str]()
    wanted = read_json(Path(given["axis"]))["frequencies_hz"]
    for kind in given["kinds"]:
        path = Path(f"{prefix}.{kind}")
        if path.is_dir():
            _require_axis(path, wanted)
            _require_parts(evidence, kind, path)
    found: dict[str, Json] = {"channels": len(wanted)}
    if "sumwt" in given["kinds"]:
        weights = checks_images.require(Path(f"{prefix}.sumwt"), evidence)
        blank = [number for number, weight in enumerate(weights.peak) if not weight]
        found["blank_channels"] = blank
        warnings += checks_images.blank_words(blank, len(weights.peak), prefix)
    if "model" in given["kinds"]:
        warnings += _clean_words(given, evidence)
    return found | ({"warnings": warnings} if warnings else {})


def _require_parts(evidence: Evidence, kind: str, path: Path) -> None:
    """Refuse a cube whose planes at the edges of its ranges are not those of the ranges."""
    parts = [Path(f"{prefix}.{kind}") for prefix in range_images.prefixes(evidence.params)]
    lost = range_images.lost_planes([part for part in parts if part.exists()], path)
    if lost:
        raise failed(
            f"expected in {path} the planes of its ranges, found others in channel "
            f"{listing([str(channel) for channel in lost])}",
            "Check the free disk space, and run again.",
        )


def _require_axis(path: Path, wanted: list[float]) -> None:
    found = range_images.frequencies_hz(path)
    if len(found) != len(wanted):
        raise failed(
            f"expected {len(wanted)} channels in {path}, found {len(found)}",
            "Check the steps of its ranges, and run again.",
        )
    wrong = [
        number
        for number, (ours, theirs) in enumerate(zip(found, wanted, strict=True))
        if abs(ours - theirs) > _HERTZ_TOLERANCE * abs(theirs)
    ]
    if wrong:
        number = wrong[0]
        raise failed(
            f"expected channel {number} of {path} at {wanted[number]:.3f} Hz, found it at "
            f"{found[number]:.3f} Hz: the ranges do not follow each other",
            "Check the steps of its ranges, and run again.",
        )


def _clean_words(given: Mapping[str, Any], evidence: Evidence) -> list[str]:
    """Return what is to be told of the cleaning of all ranges."""
    code = int(evidence.outcome.get("stopcode", 2))
    prefix = given["prefix"]
    if code == 2:
        if not evidence.outcome.get("iterations", 1):
            return [f"nothing to clean in {prefix}: no channel is above the threshold"]
        return []
    if code == 1:
        return [
            f"clean of {prefix} stopped at its iteration limit: raise image.niter to reach the "
            "threshold"
        ]
    return [f"clean of {prefix} stopped in some channels: {STOP_CODES.get(code, code)}"]
