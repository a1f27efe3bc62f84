"""What to do about a check that did not pass: which key of the recipe, and how."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

ADVICE: Final[Mapping[str, tuple[str, str]]] = {
    "product_made": (
        "",
        "The reason names the step and, where it can, the key: mend it and run the recipe again.",
    ),
    "flagged_fraction": (
        "flag.rfi",
        "See under Flagging which step, scan or antenna it is: a narrower flag.manual or rfi = "
        "'none' keeps more; if the data are as bad as that, raise qa.max_flagged_fraction.",
    ),
    "antennas_lost": (
        "flag.manual",
        "Find under Flagging the step that took them. An antenna that came flagged is lost; one "
        "that lost its solutions may be kept by a longer calibrate.solint or lower minsnr.",
    ),
    "antenna_outliers": (
        "flag.manual",
        "Look at these antennas in the table's plots; where the data are bad, flag the antenna "
        "(flag.manual) for the time or window in question and run again.",
    ),
    "solutions_flagged": (
        "calibrate.solint",
        "A longer solint, or a lower calibrate.minsnr, keeps more solutions; see which antennas "
        "and times failed, and flag them first if they are bad.",
    ),
    "fluxscale": (
        "flag.manual",
        "Antennas disagree about the flux density: flag those whose amplitudes stand out, on both "
        "calibrators, and see that the flux calibrator is not resolved.",
    ),
    "fluxscale_consistency": (
        "calibrate.spw",
        "A window stands off the spectrum of the others: look for RFI in it or take it out of "
        "calibrate.spw.",
    ),
    "flux_closure": (
        "calibrators.flux",
        "The corrected data do not give back the model: check calibrators.flux.standard and model, "
        "whether the source is resolved, and whether its solutions were flagged.",
    ),
    "astrometry": (
        "calibrators.phase",
        "The calibrator is off its place: check its position in the data, look at the phases "
        "(calibrate.solint.phase shorter), and see whether it is confused or resolved.",
    ),
    "phase_rms": (
        "calibrate.solint",
        "Phases scatter: take a shorter calibrate.solint.phase where the S/N allows it, flag bad "
        "times or antennas, or self-calibrate ([[selfcal]]).",
    ),
    "dynamic_range": (
        "image.niter",
        "Clean deeper (image.threshold, niter), look for artefacts in the residual and "
        "self-calibrate ([[selfcal]]); or lower qa.min_dynamic_range for a faint field.",
    ),
    "thermal_noise": (
        "image.threshold",
        "More noise than the data carry: clean deeper (image.threshold, mask), image sources "
        "further out (imsize), flag RFI (flag.rfi), or self-calibrate.",
    ),
    "array_noise": (
        "flag.rfi",
        "The visibilities are noisier, or quieter, than the array should make them: look for RFI, "
        "for bad antennas, and at the flux scale.",
    ),
    "gaussian_residuals": (
        "image.threshold",
        "The residual is no noise: clean deeper or with a wider image.mask, or image a larger "
        "field (imsize).",
    ),
    "negative_bowl": (
        "image.deconvolver",
        "Emission larger than the shortest baselines see: use deconvolver = 'multiscale', a "
        "deeper image.threshold or a wider mask; else the flux is missing from the data.",
    ),
    "model_not_empty": (
        "image.threshold",
        "Lower image.threshold or widen image.mask, unless there is nothing to see.",
    ),
    "residual_peak": (
        "image.threshold",
        "Raise image.niter, lower image.threshold or widen image.mask, so that what is left is "
        "cleaned; if it looks like stripes or rings, self-calibrate.",
    ),
    "beam_sampling": ("image.cell", "Set image.cell to a third of the beam's minor axis or less."),
    "fallbacks_used": (
        "image.fallback",
        "Compare the image with its neighbours; if it is good, write its parameters into the "
        "recipe's image.",
    ),
    "selfcal_accepted": (
        "selfcal.solint",
        "The S/N is too low or the model too poor: a longer selfcal.solint, combine = 'spw' or "
        "gaintype = 'T' may carry it. The image before is kept.",
    ),
    "selfcal_flux_bias": (
        "selfcal.solint",
        "Take a longer selfcal.solint, combine = 'spw', or raise selfcal.min_solution_snr.",
    ),
    "selfcal_dead_antennas": (
        "flag.manual",
        "Look at their amplitudes: an antenna without signal is better flagged from the start.",
    ),
}  # fmt: skip
"""By name of a check: the recipe's key to look at first (empty for none), and what to do."""


def advised(check: Mapping[str, Any]) -> dict[str, Any]:
    """Return a check with what to do about it where it is bad, and the recipe's key for that."""
    key, advice = ADVICE[str(check["name"])]
    return {**check, "key": key, "advice": advice}
