"""What was measured over regions that a person drew, as rows of the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import words

Row = tuple[str, str, str]


def rows(numbers: Mapping[str, Any]) -> list[Row]:
    """Return (what, value, remark) for each region of an image's numbers."""
    return [_row(region) for region in numbers.get("regions", ())]


def _row(region: Mapping[str, Any]) -> Row:
    name, file = str(region["region"]), str(region["file"])
    what = f"flux density in {file}" if name == "all" else f"flux density in {name} ({file})"
    flux, error, unit = region["flux_jy"], region["flux_error_jy"], "Jy"
    if "flux_jy_by_channel" in region:
        what = what.replace("flux density", "line flux", 1)
        flux, error = region["line_flux_jy_km_s"], region["line_flux_error_jy_km_s"]
        unit = "Jy km/s"
    value = words.brightness(flux, unit)
    if flux is not None and error is not None:
        value += f" ± {words.brightness(error, unit)}"
    peak = words.brightness(region["peak_jy_per_beam"])
    remark = f"{words.count(region['n_pixels'])} pixels, peak {peak}"
    if "peak_channel" in region:
        remark += f" in channel {region['peak_channel']}"
    reason = region.get("flux_jy_reason" if unit == "Jy" else "line_flux_jy_km_s_reason")
    return what, value, str(reason or remark) if flux is None else remark
