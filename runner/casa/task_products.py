"""How the products of any CASA task are proven, from its name and its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..plan import Check
from .task_paths import tclean_products, touches
from .tasks import task

_MS_OUTPUTS = ("outputvis", "concatvis", "vis")
_TABLE_OUTPUTS = ("caltable", "fluxtable")
_IMAGE_OUTPUTS = ("outfile", "output", "imagename", "linefile", "contfile", "model", "residual")
_MAKES_IMAGES = frozenset(
    [
        "feather",
        "imbaseline",
        "imcollapse",
        "imcontsub",
        "imdev",
        "imfit",
        "immath",
        "immoments",
        "impbcor",
        "importfits",
        "impv",
        "imrebin",
        "imreframe",
        "imregrid",
        "imsmooth",
        "imsubimage",
        "imtrans",
        "specfit",
        "specsmooth",
        "spxfit",
    ]
)
_POLYNOMIALS = {"gaintype": ("GSPLINE",), "bandtype": ("BPOLY",)}
"""Solutions that are polynomials, not numbers with flags."""


def proofs(
    name: str, params: Mapping[str, Any], writes: tuple[str, ...], updates: tuple[str, ...]
) -> tuple[Check, ...]:
    """Return the post-conditions that prove a call of a task.

    An MS that it makes or changes must be readable, with rows that are not all flagged; a
    calibration table must hold solutions that are not all flagged; an image, pixels that are
    finite and not all 0; anything else must be there.

    Parameters
    ----------
    name : str
        The task.
    params : mapping
        Its parameters.
    writes, updates : tuple of str
        What it makes and changes, from the run folder.

    Raises
    ------
    RefusedError
        If the installed CASA has no such task.
    """
    kinds = _kinds(name, params)
    found = [Check(kinds.get(path, "exists"), {"path": path}) for path in writes]
    return (*found, *(Check("ms", {"path": p}) for p in updates if kinds.get(p) == "ms"))


def _kinds(name: str, params: Mapping[str, Any]) -> dict[str, str]:
    """Return the check for each path in a call's parameters that has one of its own."""
    if "single dish" in task(name).categories or params.get("datacolumn") == "float_data":
        return {}  # FLOAT_DATA, which the check of an MS does not know
    checks = _checks(name, params)
    kinds = {
        touched.path: checks[touched.parameter]
        for touched in touches(name, params)
        if touched.role != "reads" and touched.parameter in checks
    }
    if name == "tclean" and isinstance(params.get("imagename"), str):
        prefix = params["imagename"]
        images = (f"{prefix}.image", f"{prefix}.image.tt0")
        kinds |= {path: "image_table" for path in tclean_products(prefix, params) if path in images}
    return kinds


def _checks(name: str, params: Mapping[str, Any]) -> dict[str, str]:
    """Return the check for each output of a task, by parameter."""
    checks = dict.fromkeys(_MS_OUTPUTS, "ms")
    if not any(params.get(key) in values for key, values in _POLYNOMIALS.items()):
        checks |= dict.fromkeys(_TABLE_OUTPUTS, "caltable")
    if name in _MAKES_IMAGES:
        checks |= dict.fromkeys(_IMAGE_OUTPUTS, "image_table")
    elif name == "exportfits":
        checks["fitsimage"] = "fits"
    return checks
