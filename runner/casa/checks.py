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
from . import checks_images, checks_tables, checks_visibilities
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
    if task != "flagdata":
        return None
    return checks_visibilities.explain_flag_commands(error, Evidence(params, {}, findings))


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
        with fits.open(path, memmap=True) as hdus:
            data = hdus[0].data
            shape = [] if data is None else [int(side) for side in data.shape]
            finite = 0
            if shape:
                for plane in np.reshape(data, (-1, *data.shape[-2:])):
                    finite += int(np.isfinite(plane).sum())
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
    return {"shape": shape, "finite_fraction": finite / int(np.prod(shape))}


REGISTRY: Mapping[str, CheckFunction] = {
    "exists": _exists,
    "fits": _fits,
    "caltable": checks_tables.caltable,
    "setjy": checks_tables.setjy,
    "fluxscale": checks_tables.fluxscale,
    "ms": checks_visibilities.ms,
    "flagged_fraction": checks_visibilities.flagged_fraction,
    "corrected": checks_visibilities.corrected,
    "flag_commands": checks_visibilities.flag_commands,
    "dirty": checks_images.dirty,
    "image": checks_images.image,
    "image_table": checks_images.image_table,
}
"""The checks by name."""
