"""Which tables of a self-calibration are applied together. Pure, and light: no arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def composed(accepted: Sequence[Mapping[str, Any]], new: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the tables that are applied with a new one: those accepted that it does not replace.

    All rounds are solved against the original data. New phases replace earlier ones; only
    phases of each window stay below phases that are common to the windows. New amplitudes replace
    earlier ones, and phases stay.

    Parameters
    ----------
    accepted : sequence of mapping
        Tables in the order of applying: ``round``, ``calmode``, ``interp``, ``gaintype``,
        ``combine``.
    new : mapping
        The new one, described likewise.
    """
    common = "spw" in new["combine"]

    def stays(table: Mapping[str, Any]) -> bool:
        if new["calmode"] != "p":
            return bool(table["calmode"] == "p")
        return bool(table["calmode"] != "p" or (common and "spw" not in table["combine"]))

    return [dict(table) for table in accepted if stays(table)] + [dict(new)]
