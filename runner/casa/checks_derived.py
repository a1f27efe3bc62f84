"""Post-conditions of MSs made from others: split, continuum subtraction, models removed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..errors import listing
from .checks_evidence import Evidence, Json, failed
from .checks_visibilities import chunks
from .integrity import has_model
from .tables import open_table

_LEFT_OVER: Final = 0.5
"""Of the continuum, at most; a fit takes it to the precision of the numbers."""

_TELL_ENOUGH: Final = 500_000
"""Visibilities that tell whether a fit of the continuum took."""


def kept(given: Mapping[str, Any], evidence: Evidence) -> dict[str, Json]:
    """Check that a split took every unflagged visibility of its fields.

    Parameters
    ----------
    given : mapping
        ``path``; ``source``, the MS that it was split from; ``fields``, their ids there;
        ``spws``, ids of spectral windows, where not all were taken.
    evidence : Evidence
        What is known of the step.

    Returns
    -------
    dict
        ``n_unflagged``.

    Raises
    ------
    StepFailedError
        If it holds another number of unflagged visibilities.
    """
    path, source = Path(given["path"]), Path(given["source"])
    fields = ",".join(str(int(number)) for number in given["fields"])
    before = _unflagged(source, f"FIELD_ID in [{fields}]{_and_windows(source, given)}")
    after = _unflagged(path, "")
    if before != after:
        raise failed(
            f"expected the {before} unflagged visibilities of field {fields} of {source} in "
            f"{path}, found {after}{evidence.log_says()}: "
            f"{'rows or flags were lost' if after < before else 'flags were lost'} on the way",
            "Check the free disk space and the step's casa.log, and run again.",
        )
    return {"n_unflagged": after}


def _and_windows(source: Path, given: Mapping[str, Any]) -> str:
    """Return the condition that a row is of one of the windows that were taken."""
    if "spws" not in given:
        return ""
    with open_table(source / "DATA_DESCRIPTION") as table:
        of_row = table.getcol("SPECTRAL_WINDOW_ID")
    rows = [str(row) for row, spw in enumerate(of_row) if int(spw) in given["spws"]]
    return f" && DATA_DESC_ID in [{','.join(rows)}]"


def _unflagged(path: Path, where: str) -> int:
    """Count unflagged visibilities."""
    return sum(int(np.count_nonzero(~chunk.flagged)) for chunk in chunks(path, (), where))


def contsub(given: Mapping[str, Any], evidence: Evidence) -> dict[str, Json]:
    """Check that no continuum is left in the line-free channels.

    uvcontsub fits each row by itself, so the mean of its line-free channels goes to zero.

    Parameters
    ----------
    given : mapping
        ``path``.
    evidence : Evidence
        Its parameters are uvcontsub's.

    Returns
    -------
    dict
        ``left_over``: what is left of the line-free channels' mean (rms over rows), by spectral
        window; ``warnings`` naming windows that ``fitspec`` leaves out, which uvcontsub copies
        with their continuum.

    Raises
    ------
    StepFailedError
        If half of it or more is left.
    """
    path, source = Path(given["path"]), Path(str(evidence.params["vis"]))
    fitspec = evidence.params.get("fitspec", "")
    if not isinstance(fitspec, str) or evidence.params.get("writemodel"):
        return {}
    channels = _channels(source, fitspec)
    column = str(evidence.params.get("datacolumn", "data")).upper()
    before = _continuum(source, channels, f"{column}_DATA" if column != "DATA" else column)
    after = _continuum(path, channels, "DATA")
    left = {str(spw): after.get(spw, 0.0) / mean for spw, mean in before.items() if mean > 0}
    for spw, fraction in left.items():
        if fraction > _LEFT_OVER:
            raise failed(
                f"expected no continuum in the line-free channels of spw {spw} of {path}, found "
                f"{fraction:.0%} of it (rms over rows of their mean: {after[int(spw)]:.3g} Jy): "
                "the fit did not take, or these channels were not fitted",
                f"Check contsub.fitspec (now '{fitspec}') and contsub.fitorder.",
            )
    missing = sorted(_windows(path) - channels.keys())
    found: dict[str, Json] = {"left_over": left}
    if missing:
        found["warnings"] = [
            f"contsub.fitspec leaves out spw {listing([str(spw) for spw in missing])}: uvcontsub "
            "copied it with its continuum; name its line-free channels, or leave it out of the "
            "image (image.spw)"
        ]
    return found


def _channels(path: Path, fitspec: str) -> dict[int, npt.NDArray[np.intp]]:
    """Return the line-free channels by spectral window, as CASA reads the selection."""
    from casatools import ms

    tool = ms()
    ranges = tool.msseltoindex(vis=str(path), spw=fitspec or "*")["channel"]
    found: dict[int, list[npt.NDArray[np.intp]]] = {}
    for spw, first, last, step in np.atleast_2d(ranges).tolist():
        found.setdefault(int(spw), []).append(np.arange(first, last + 1, step))
    return {spw: np.unique(np.concatenate(parts)) for spw, parts in found.items()}


def _continuum(
    path: Path, channels: Mapping[int, npt.NDArray[np.intp]], column: str
) -> dict[int, float]:
    """Return the rms over rows of the mean of some channels (Jy) by spectral window.

    The first piece of a window is enough to tell.
    """
    found: dict[int, float] = {}
    done: set[int] = set(_windows(path) - channels.keys())
    for chunk in chunks(path, (column,), "ANTENNA1!=ANTENNA2", done, _TELL_ENOUGH):
        chosen = channels[chunk.spw]
        good = ~chunk.flagged[:, chosen]
        count = good.sum(axis=1)
        data = np.where(good, chunk.columns[column][:, chosen], 0).sum(axis=1)
        means = data[count > 0] / count[count > 0]
        if means.size:
            found[chunk.spw] = float(np.sqrt(np.mean(np.abs(means) ** 2)))
            done.add(chunk.spw)
    return found


def _windows(path: Path) -> set[int]:
    """Return the spectral windows that have rows."""
    with open_table(path / "DATA_DESCRIPTION") as table:
        spws = table.getcol("SPECTRAL_WINDOW_ID")
    with open_table(path) as table:
        return {int(spws[number]) for number in np.unique(table.getcol("DATA_DESC_ID"))}


def no_model(given: Mapping[str, Any], evidence: Evidence) -> dict[str, Json]:
    """Check that an MS has no model of an earlier calibration.

    gaincal solves against whatever model it finds.

    Parameters
    ----------
    given : mapping
        ``path``.
    evidence : Evidence
        What is known of the step.

    Raises
    ------
    StepFailedError
        If MODEL_DATA, or a model kept as a recipe, is still there.
    """
    if has_model(Path(given["path"])):
        raise failed(
            f"expected {given['path']} to have lost its old model, found it still there"
            + evidence.log_says(),
            "Remove it from the data with CASA's delmod(vis, otf=True, scr=True).",
        )
    return {}
