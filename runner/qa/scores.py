"""Checks that hold measured numbers against what they should be: noise, calibrators, residuals."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

PASS, WARN, FAIL = "pass", "warn", "fail"

MAX_CLOSURE: Final = 0.05
MAX_FLUX_SCATTER: Final = 0.05
MAX_OFFSET_BEAMS: Final = 0.1
MAX_PHASE_RMS_DEG: Final = 30.0
MAX_NOISE_RATIO: Final = 2.0
HIGH_DYNAMIC_RANGE: Final = 10_000.0
"""An image that has reached it may be noisier: what calibration leaves of the peak is its noise."""
MAX_KURTOSIS: Final = 1.0
MAX_BOWL_SIGMA: Final = 1.0
MIN_BOWL_SIGNIFICANCE: Final = 5.0

Numbers = Mapping[str, Any]


def check(
    name: str, subject: str, verdict: str, value: Any, limit: Any, text: str
) -> dict[str, Any]:
    """Return a check as ``qa/metrics.json`` holds it."""
    return {
        "name": name,
        "subject": subject,
        "verdict": verdict,
        "value": value,
        "limit": limit,
        "text": text,
    }


def at_most(
    name: str, subject: str, value: float | None, limit: float, text: str, otherwise: str
) -> dict[str, Any]:
    """Judge a number that must not exceed a limit; an unknown number is judged like a bad one."""
    good = value is not None and value <= limit
    return check(name, subject, PASS if good else otherwise, value, limit, text)


def of_dataset(name: str, numbers: Numbers) -> Iterator[dict[str, Any]]:
    """Yield the checks of a dataset's solutions and calibrators."""
    tables = [table for table in numbers.get("caltables", ()) if "outliers" in table]
    if tables:
        yield _outliers(name, tables)
    scale = (numbers.get("fluxscale") or {}).get("flux_jy", {})
    for field, measured in numbers.get("calibrators", {}).items():
        subject = f"{name}, {field}"
        model = numbers.get("model_flux_jy", {}).get(field) or scale.get(field) or {}
        yield from _closure(subject, measured, model, field in scale)
        yield from _point(subject, measured)
    fits = (numbers.get("fluxscale") or {}).get("fit", {})
    for field, fit in fits.items():
        if fit.get("max_deviation") is not None:
            text = (
                f"is the largest distance of a window from the spectrum of all "
                f"(index {fit['spectral_index']:.2f})"
            )
            yield at_most("fluxscale_consistency", f"{name}, {field}", fit["max_deviation"],
                          MAX_FLUX_SCATTER, text, WARN)  # fmt: skip


def _outliers(name: str, tables: list[Numbers]) -> dict[str, Any]:
    found: dict[str, str] = {}
    for table in tables:
        for one in table["outliers"]:
            said = (
                f"{one['what']} {one['value']:.3g} in {table['kind']}, typical {one['typical']:.3g}"
            )
            found.setdefault(str(one["antenna"]), said)
    if not found:
        return check("antenna_outliers", name, PASS, 0, 0, "no antenna's solutions stand out")
    text = "; ".join(f"antenna {antenna}: {said}" for antenna, said in list(found.items())[:8])
    return check("antenna_outliers", name, WARN, len(found), 0, text)


def _closure(
    subject: str, measured: Numbers, model: Numbers, transferred: bool
) -> Iterator[dict[str, Any]]:
    """Yield how far the corrected visibilities' flux density is from what it was set to."""
    worst: tuple[float, str] | None = None
    for spw, flux in measured.get("flux_jy", {}).items():
        wanted = model.get(spw)
        if flux is None or not wanted:
            continue
        off = abs(flux / wanted - 1)
        if worst is None or off > worst[0]:
            source = "of fluxscale" if transferred else "of the model"
            worst = off, f"corrected visibilities give {flux:.4g} Jy, {wanted:.4g} Jy {source}"
    if worst is not None:
        spws = len(measured["flux_jy"])
        text = worst[1] + (" in the window furthest off" if spws > 1 else "")
        yield at_most("flux_closure", subject, worst[0], MAX_CLOSURE, text, WARN)


def _point(subject: str, measured: Numbers) -> Iterator[dict[str, Any]]:
    """Yield what the point fitted to a calibrator says of its position and its phases."""
    east, north = measured.get("east_arcsec"), measured.get("north_arcsec")
    width = measured.get("resolution_arcsec")
    if east is not None and north is not None and width:
        known = measured.get("catalogue")
        where = f"its place in the ICRF ({known['name']})" if known else "the phase centre"
        off = math.hypot(
            *((known["east_arcsec"], known["north_arcsec"]) if known else (east, north))
        )
        text = f"off {where}: {off:.2g} arcsec (error {measured['position_error_arcsec']:.1g})"
        yield at_most("astrometry", subject, off / width, MAX_OFFSET_BEAMS, text, WARN)
    excess = measured.get("phase_excess_deg")
    if excess is not None:
        text = (
            "scatter of the corrected visibilities' phases beyond their noise; "
            f"{measured['phase_rms_deg']:.1f} degrees in all"
        )
        yield at_most("phase_rms", subject, excess, MAX_PHASE_RMS_DEG, text, WARN)


def of_image(subject: str, numbers: Numbers) -> Iterator[dict[str, Any]]:
    """Yield the checks of an image's noise and residual."""
    ratio = numbers.get("noise_over_thermal")
    if ratio is not None:
        expected = numbers["thermal_noise_jy_per_beam"]
        text = f"the visibilities' own noise allows {1e3 * expected:.3g} mJy/beam"
        reached = numbers.get("dynamic_range") or 0.0
        bright = ratio > MAX_NOISE_RATIO and reached >= HIGH_DYNAMIC_RANGE
        text += f"; the dynamic range of {reached:.0f} limits it" if bright else ""
        verdict = PASS if bright or ratio <= MAX_NOISE_RATIO else WARN
        yield check("thermal_noise", subject, verdict, ratio, MAX_NOISE_RATIO, text)
    array = numbers.get("visibility_over_array")
    if array is not None:
        text = (
            f"a visibility's noise is {numbers['visibility_noise_jy']:.3g} Jy, {array:.2f} times "
            f"what the array's SEFD gives ({numbers['sefd'].partition(' (')[0]})"
        )
        off = max(array, 1 / array) if array > 0 else None
        yield at_most("array_noise", subject, off, MAX_NOISE_RATIO, text, WARN)
    kurtosis = numbers.get("residual_kurtosis")
    if kurtosis is not None:
        # What a few independent beams may come to by chance is no finding.
        chance = 5 * math.sqrt(24 / max(1.0, numbers.get("residual_independent") or 1.0))
        text = "excess kurtosis of the residual off source: 0 for noise, more where artefacts are"
        yield at_most("gaussian_residuals", subject, abs(kurtosis), max(MAX_KURTOSIS, chance),
                      text, WARN)  # fmt: skip
    depth = numbers.get("bowl_sigma")
    if depth is not None:
        sure = numbers["bowl_significance"] >= MIN_BOWL_SIGNIFICANCE
        text = "what surrounds the emission lies below the rest of the image"
        text += "" if sure else ", which may be chance"
        good = depth <= MAX_BOWL_SIGMA or not sure
        yield check("negative_bowl", subject, PASS if good else WARN, depth, MAX_BOWL_SIGMA, text)
