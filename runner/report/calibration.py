"""Calibration as the report draws it: tables by antenna, time and frequency; fluxes; spectra."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from . import charts, words

_BY_ANTENNA: Final = {
    "snr": ("S/N", "median S/N by antenna"),
    "flagged_fraction": ("flagged (%)", "flagged solutions by antenna"),
    "amplitude": ("amplitude", "median amplitude by antenna"),
    "phase_rms_deg": ("phase rms (deg)", "scatter of phases by antenna, solution to solution"),
    "delay_ns": ("delay (ns)", "median delay by antenna"),
}
_SAID: Final = {
    "flagged solutions": "flagged_fraction", "S/N": "snr", "amplitude": "amplitude",
    "scatter of phases": "phase_rms_deg", "delay": "delay_ns",
}  # fmt: skip
MOST_SPECTRA: Final = 12
"""Fields whose spectra are drawn."""


def of_table(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the charts of a calibration table, and its antennas that stand out in words."""
    found = table.get("outliers", ())
    return {
        "outliers": [
            f"{one['antenna']}: {one['what']} {one['value']:.3g}, typical {one['typical']:.3g}"
            for one in found
        ],
        "by_antenna": list(_antennas(table, found)),
        "against": list(_against(table.get("against") or {})),
    }


def _antennas(
    table: Mapping[str, Any], found: Sequence[Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    antennas: Mapping[str, Mapping[str, float | None]] = table.get("antennas") or {}
    for key, (axis, label) in _BY_ANTENNA.items():
        times = 100 if key == "flagged_fraction" else 1
        values = {name: _times(one[key], times) for name, one in antennas.items() if key in one}
        marked = [str(one["antenna"]) for one in found if _SAID.get(str(one["what"])) == key]
        chart = charts.by_name(values, marked, label, axis) if values else None
        if chart:
            yield {**chart, "title": label}


def _times(value: float | None, factor: int) -> float | None:
    return None if value is None else factor * value


def _against(parts: Mapping[str, Mapping[str, Sequence[Any]]]) -> Iterator[dict[str, Any]]:
    for name, axis in (("time", "time (UTC)"), ("frequency", "frequency (MHz)")):
        part = parts.get(name)
        if not part:
            continue
        clock = _clock if name == "time" else None
        for key, word, unit, times in (("snr", "S/N", "", 1), ("flagged", "flagged", " (%)", 100)):
            points = [(x, _times(y, times)) for x, y in zip(part["x"], part[key], strict=True)]
            chart = charts.lines(
                {word: points}, f"{word} against {name}", (axis, word + unit), height=170.0,
                width=500.0, from_zero=True, clock=clock,
            )  # fmt: skip
            if chart:
                yield {**chart, "title": f"{word} against {name}"}


def _clock(value: float) -> str:
    return words.instant(value, "%H:%M")


def fluxes(numbers: Mapping[str, Any], models: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return a row for each calibrator and window: what was set or found, and what the data give.

    Parameters
    ----------
    numbers : mapping
        What `measure_dataset` wrote.
    models : mapping
        Flux densities that ``setjy`` set (Jy), by field and window.
    """
    scale = numbers.get("fluxscale") or {}
    measured = numbers.get("calibrators") or {}
    rows = []
    for field in dict.fromkeys([*models, *scale.get("flux_jy", {}), *measured]):
        model, found = models.get(field, {}), scale.get("flux_jy", {}).get(field, {})
        point = (measured.get(field) or {}).get("flux_jy", {})
        for spw in dict.fromkeys([*model, *found, *point]):
            error = scale.get("error_jy", {}).get(field, {}).get(spw)
            known = model.get(spw) or found.get(spw)
            vis = point.get(spw)
            resolved = (measured.get(field) or {}).get("resolved", {}).get(spw)
            rows.append({
                "field": field,
                "spw": spw,
                "model": _jy(model.get(spw)) if model else words.NONE,
                "found": _jy(found.get(spw)) if found else words.NONE,
                "error": _jy(error) if error is not None else words.NONE,
                "solutions": str(scale.get("solutions", {}).get(field, {}).get(spw, words.NONE)),
                "vis": _jy(vis) if point else words.NONE,
                "off": f"{100 * (vis / known - 1):+.2f} %" if vis and known else words.NONE,
                "remark": "resolved: extrapolated to zero spacing" if resolved else "",
                "reason": scale.get("flux_jy_reason", {}).get(field, {}).get(spw, ""),
            })  # fmt: skip
    return rows


def _jy(value: float | None) -> str:
    return words.UNKNOWN if value is None else f"{value:.4f} Jy"


def fits(numbers: Mapping[str, Any]) -> list[str]:
    """Return the spectra that fluxscale fitted, in words."""
    said = []
    for field, fit in ((numbers.get("fluxscale") or {}).get("fit") or {}).items():
        text = (
            f"{field}: {fit['flux_jy']:.4f} Jy at {fit['frequency_hz'] / 1e9:.4f} GHz, spectral "
            f"index {fit['spectral_index']:.3f} ± {fit['spectral_index_error']:.3f}"
        )
        if fit.get("max_deviation") is not None:
            text += f"; a window is at most {100 * fit['max_deviation']:.2f} % off"
        said.append(text)
    return said


def points(numbers: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return what the point fitted to each calibrator says of its place and its phases."""
    rows = []
    for field, one in (numbers.get("calibrators") or {}).items():
        east, north = one.get("east_arcsec"), one.get("north_arcsec")
        excess = one.get("phase_excess_deg")
        rows.append({
            "field": field,
            "offset": _offset(east, north),
            "known": _known(one.get("catalogue")),
            "error": _arcsec(one.get("position_error_arcsec")),
            "resolution": words.angle(one.get("resolution_arcsec")),
            "phase": words.UNKNOWN if one.get("phase_rms_deg") is None
            else f"{one['phase_rms_deg']:.2f}°",
            "excess": words.UNKNOWN if excess is None else f"{excess:.2f}°",
            "reason": str(one.get("phase_excess_deg_reason") or ""),
        })  # fmt: skip
    return rows


def _offset(east: float | None, north: float | None) -> str:
    if east is None or north is None:
        return words.UNKNOWN
    return f"{round(east, 3) + 0.0:+.3f}″, {round(north, 3) + 0.0:+.3f}″"


def _known(place: Mapping[str, Any] | None) -> str:
    """Write how far a calibrator is from its place in the catalogue, where it is in that."""
    if not place:
        return words.NONE
    return f"{_offset(place['east_arcsec'], place['north_arcsec'])} ({place['name'].split()[0]})"


def _arcsec(value: float | None) -> str:
    return words.UNKNOWN if value is None else f"{value:.3f}″"


def spectra(numbers: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return charts of the mean corrected spectra, field by field."""
    targets = set(numbers.get("target_fields", ()))
    drawn = []
    for field, windows in list((numbers.get("spectra") or {}).items())[:MOST_SPECTRA]:
        target = field in targets or field not in (numbers.get("calibrators") or {})
        own = [
            chart
            for key, axis in (
                ("amplitude_jy", "amplitude (Jy)"),
                ("scatter_jy", "scatter (Jy)") if target else ("phase_deg", "phase (deg)"),
            )
            if (chart := _spectrum(field, windows, key, axis))
        ]
        if own:
            drawn.append({"field": field, "charts": own})
    return drawn


def _spectrum(
    field: str, windows: Sequence[Mapping[str, Any]], key: str, axis: str
) -> dict[str, Any] | None:
    points: list[tuple[float, float | None]] = []
    for window in windows:
        points += zip(window["frequency_mhz"], window[key], strict=True)
        points.append((window["frequency_mhz"][-1], None))
    label = f"{axis} of {field} against frequency"
    return charts.lines({axis: points}, label, ("frequency (MHz)", axis), height=190.0, width=500.0)
