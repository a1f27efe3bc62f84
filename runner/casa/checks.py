"""Post-conditions: a CASA task that returned has not always done what it should.

Each check reads the products of a step, in its work folder, and either returns numbers worth
recording (``warnings`` among them, a list of sentences) or raises `StepFailedError` with what
was expected, what was found, the likely cause, and which recipe key to change.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import Cause, StepFailedError
from ..plan import Check
from . import (
    checks_calibrated,
    checks_derived,
    checks_images,
    checks_known,
    checks_ranges,
    checks_tables,
    checks_visibilities,
    image_planes,
    integrity,
)
from .checks_evidence import CheckFunction, Evidence, Json, failed
from .logscan import LogFindings


def run(
    check: Check, params: Mapping[str, Any], outcome: Any, findings: LogFindings | None = None
) -> dict[str, Json]:
    """Run a post-condition in the step's work folder.

    Parameters
    ----------
    check : Check
        Which one, with its parameters; paths in them are relative to the current folder.
    params : mapping
        The parameters that the step ran with.
    outcome : object
        What the step's task returned.
    findings : LogFindings, optional
        What the step's log holds.

    Returns
    -------
    dict
        Numbers worth recording; sentences for a person under ``warnings``.

    Raises
    ------
    StepFailedError
        If the post-condition does not hold, or no check has this name.
    """
    try:
        function = REGISTRY[check.name]
    except KeyError:
        raise StepFailedError(Cause.PARAMETER, f"no check is called '{check.name}'") from None
    result = outcome if isinstance(outcome, Mapping) else {}
    return function(check.params, Evidence(params, result, findings or LogFindings()))


def explain(
    error: BaseException, task: str, params: Mapping[str, Any], findings: LogFindings
) -> StepFailedError | None:
    """Put a task's exception into words, where its own are of no use to a person.

    Parameters
    ----------
    error : BaseException
        What the task raised.
    task : str
        The task.
    params : mapping
        Its parameters.
    findings : LogFindings
        What its log holds.

    Returns
    -------
    StepFailedError or None
        None where the exception's own words have to do.
    """
    if task in _IMPORTS:
        return _explain_import(task, params)
    if task == "gencal":
        return checks_known.explain_gencal(params, findings.severe)
    if task != "flagdata":
        return None
    return checks_visibilities.explain_flag_commands(error, Evidence(params, {}, findings))


_IMPORTS = {"importuvfits": ("fitsfile", "UVFITS file"), "importasdm": ("asdm", "ASDM")}


def _explain_import(task: str, params: Mapping[str, Any]) -> StepFailedError | None:
    """Say what is wrong with what could not be imported."""
    key, what = _IMPORTS[task]
    path = Path(str(params.get(key, "")))
    cause = integrity.what_is(path) if task == "importuvfits" else integrity.what_of_asdm(path)
    if not cause:
        return None
    return StepFailedError(Cause.PARAMETER, f"{path}: expected a {what}, but {cause}")


def _exists(given: Mapping[str, Any], evidence: Evidence) -> dict[str, Json]:
    """Check that a product is there."""
    path = Path(given["path"])
    if not path.exists():
        raise failed(
            f"expected the product {path}, found nothing there: the task returned without "
            f"making it{evidence.log_says()}",
            "Check the step's parameters and its casa.log.",
        )
    return {}


def _fits(given: Mapping[str, Any], evidence: Evidence) -> dict[str, Json]:
    """Check that a FITS image opens and holds finite values."""
    from astropy.io import fits

    path = Path(given["path"])
    _exists(given, evidence)
    again = "Remove the file and run again; check the free disk space."
    try:
        # A plane at a time: of a file that is mapped, all that was read counts as memory.
        with fits.open(path, memmap=False) as hdus:
            shape = [int(side) for side in hdus[0].shape]
            finite, peak = 0, 0.0
            for place in np.ndindex(*shape[:-2]) if shape else ():
                plane = hdus[0].section[place] if place else hdus[0].section[:]
                good = plane[np.isfinite(plane)]
                finite += good.size
                peak = max(peak, float(np.abs(good).max(initial=0.0)))
    except (OSError, ValueError, TypeError) as error:
        raise failed(
            f"expected a FITS image in {path}, but it cannot be read: {error}", again
        ) from error
    if not shape:
        raise failed(f"expected an image in {path}, found no data in its first HDU", again)
    if not finite:
        raise failed(
            f"expected finite pixels in {path}, found none among {int(np.prod(shape))}: "
            "the image it comes from is blank",
            "Look at the image's flags and mask before the export.",
        )
    if evidence.params.get("imagename"):
        _require_same(path, shape, peak, Path(str(evidence.params["imagename"])))
    return {"shape": shape, "finite_fraction": finite / int(np.prod(shape))}


def _require_same(path: Path, shape: list[int], peak: float, source: Path) -> None:
    """Refuse a FITS file that is not the image it was written from."""
    if not (source / "table.dat").is_file():
        return
    wanted, highest = image_planes.shape_and_peak(source)
    ours = sorted(side for side in shape if side > 1)
    if ours != sorted(side for side in wanted if side > 1):
        raise failed(
            f"expected {path} in the shape of {source}, {' x '.join(map(str, wanted))}, found "
            f"{' x '.join(map(str, reversed(shape)))}",
            "Check the free disk space, and run again.",
        )
    if not np.isclose(peak, highest, rtol=1e-4, atol=1e-12):
        raise failed(
            f"expected the largest absolute pixel of {source}, {highest:.6g}, in {path}, found "
            f"{peak:.6g}: it was written from something else, or damaged",
            "Check the free disk space, and run again.",
        )


REGISTRY: Mapping[str, CheckFunction] = {
    "exists": _exists,
    "fits": _fits,
    "caltable": checks_tables.caltable,
    "known_table": checks_known.known_table,
    "setjy": checks_tables.setjy,
    "fluxscale": checks_tables.fluxscale,
    "amplitude": checks_calibrated.amplitude,
    "contsub": checks_derived.contsub,
    "kept": checks_derived.kept,
    "no_model": checks_derived.no_model,
    "ms": checks_visibilities.ms,
    "flagged_fraction": checks_visibilities.flagged_fraction,
    "corrected": checks_visibilities.corrected,
    "flag_commands": checks_visibilities.flag_commands,
    "dirty": checks_images.dirty,
    "image": checks_images.image,
    "image_table": checks_images.image_table,
    "range_dirty": checks_ranges.dirty,
    "range_clean": checks_ranges.cleaned,
    "range_restored": checks_ranges.restored,
    "joined_cube": checks_ranges.cube,
}
"""The checks by name."""
