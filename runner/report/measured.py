"""Datasets and images as the report shows them: rows of words made from measured numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any, Final
from urllib.parse import quote

from ..quantities import human_bytes
from ..stages.calibrate import TITLES
from . import calibration, observing, regions, sources, words

_ROLES = {
    "flux": "flux",
    "bandpass": "bandpass",
    "phase": "phase",
    "target": "target",
    "targets": "target",
}
_KINDS = {**TITLES, "fluxscale": "amplitudes on the flux scale"}


def dataset(
    name: str,
    observed: Mapping[str, Any],
    numbers: Mapping[str, Any],
    roles: Mapping[str, Any],
    models: Mapping[str, Any],
) -> dict[str, Any]:
    """Return what the report shows of a dataset.

    Parameters
    ----------
    name : str
        The dataset's name.
    observed : mapping
        Its metadata (`Observation.to_json`), or nothing.
    numbers : mapping
        What `measure_dataset` wrote, or nothing.
    roles : mapping
        Field ids or names by role.
    models : mapping
        Flux densities that ``setjy`` set (Jy), by field and window.
    """
    flagged = numbers.get("flagged_fraction", {})
    fields = [_field(field, roles, flagged) for field in observed.get("fields", ())]
    drawn, closer = plots(numbers), viewers(numbers, "calibration", "points")
    tables = [_caltable(table, drawn, closer) for table in numbers.get("caltables", ())]
    return {
        "name": name,
        "anchor": f"dataset-{quote(name, safe='')}",
        "facts": _facts(observed, flagged),
        "fields": fields,
        "observing": observing.chart(observed, fields),
        "spws": [_spw(spw, flagged) for spw in observed.get("spws", ())],
        "scans": [_scan(scan, observed) for scan in observed.get("scans", ())],
        "antennas": [_antenna(item, flagged) for item in observed.get("antennas", ())],
        "flagged": words.percent(flagged.get("total")) if flagged else "",
        "caltables": tables,
        "fluxes": calibration.fluxes(numbers, models),
        "fits": calibration.fits(numbers),
        "points": calibration.points(numbers),
        "spectra": calibration.spectra(numbers),
        "plots": drawn,
        "viewers": [*closer, *viewers(numbers, "visibilities", "points")],
    }


def _facts(observed: Mapping[str, Any], flagged: Mapping[str, Any]) -> list[tuple[str, str]]:
    if not observed:
        return []
    start, end = observed["start_mjd_s"], observed["end_mjd_s"]
    antennas = observed["antennas"]
    facts = [
        ("telescope", str(observed["telescope"])),
        ("observer", str(observed["observer"])),
        ("observed", f"{words.instant(start)} to {words.instant(end, '%H:%M:%S')} UTC"),
        ("antennas", str(len(antennas))),
        ("baselines", f"{observed['shortest_baseline_m']:.0f} m to "
                      f"{observed['longest_baseline_m']:.0f} m"),
        ("rows", words.count(observed["n_rows"])),
        ("size on disk", human_bytes(observed["size_bytes"])),
    ]  # fmt: skip
    if flagged:
        facts.append(("flagged in the end", words.percent(flagged.get("total"))))
    return facts


def _field(
    field: Mapping[str, Any], roles: Mapping[str, Any], flagged: Mapping[str, Any]
) -> dict[str, str]:
    own = [
        word
        for role, word in _ROLES.items()
        if any(member in (field["id"], field["name"]) for member in roles.get(role) or ())
    ]
    return {
        "id": str(field["id"]),
        "name": str(field["name"]),
        "roles": ", ".join(own) or words.NONE,
        "ra": words.right_ascension(field["ra_deg"]),
        "dec": words.declination(field["dec_deg"]),
        "intents": ", ".join(field.get("intents", ())) or words.NONE,
        "rows": words.count(field["n_rows"]),
        "flagged": _share(flagged, "field", str(field["name"])),
    }


def _spw(spw: Mapping[str, Any], flagged: Mapping[str, Any]) -> dict[str, str]:
    low, high = sorted((spw["first_hz"], spw["last_hz"]))
    return {
        "id": str(spw["id"]),
        "name": str(spw["name"]),
        "channels": str(spw["n_chan"]),
        "width": f"{abs(spw['chan_width_hz']) / 1e3:.4g} kHz",
        "range": words.frequency_range(low, high),
        "frame": str(spw["frame"]),
        "correlations": " ".join(spw["correlations"]),
        "flagged": _share(flagged, "spw", str(spw["id"])),
    }


def _scan(scan: Mapping[str, Any], observed: Mapping[str, Any]) -> dict[str, str]:
    names = {field["id"]: str(field["name"]) for field in observed.get("fields", ())}
    return {
        "number": str(scan["number"]),
        "fields": ", ".join(names.get(i, str(i)) for i in scan["field_ids"]),
        "start": words.instant(scan["start_mjd_s"], "%H:%M:%S"),
        "end": words.instant(scan["end_mjd_s"], "%H:%M:%S"),
        "integration": f"{scan['integration_s']:g} s",
        "spws": ", ".join(str(spw) for spw in scan["spw_ids"]),
    }


def _antenna(antenna: Mapping[str, Any], flagged: Mapping[str, Any]) -> dict[str, str]:
    return {
        "name": str(antenna["name"]),
        "station": str(antenna["station"]),
        "distance": f"{antenna['distance_m']:.0f} m",
        "before": words.percent(antenna["flagged_fraction"]),
        "flagged": _share(flagged, "antenna", str(antenna["name"])),
    }


def _share(flagged: Mapping[str, Any], key: str, name: str) -> str:
    """Write a flagged fraction, or a dash where it was not measured."""
    value = (flagged.get(key) or {}).get(name)
    return words.NONE if value is None else words.percent(value)


def _caltable(
    table: Mapping[str, Any], drawn: dict[str, list[dict[str, str]]], closer: list[dict[str, str]]
) -> dict[str, Any]:
    """Return what is shown of a table; of a dataset's plots and viewers it takes its own out."""
    kind = str(table.get("title") or _KINDS.get(str(table["kind"]), str(table["kind"])))
    fraction, snr = table.get("flagged_fraction"), table.get("median_snr")
    # What was known before, and not solved for, has none.
    none = words.NONE if "told" in table else words.UNKNOWN
    return {
        "kind": kind,
        "plots": _taken(drawn.get("calibration", []), kind),
        "viewers": _taken(closer, f"look closer: {kind}"),
        "path": str(table["path"]),
        "type": str(table.get("type", words.NONE)),
        "intervals": str(table.get("intervals", words.NONE)),
        "solutions": words.count(table.get("solutions")),
        "flagged": words.percent(fraction),
        "snr": none if snr is None else words.significant(snr),
        "reason": str(table.get("flagged_fraction_reason", "")),
        "told": [str(said) for said in table.get("told", ())],
        "drawn": calibration.of_table(table),
    }


def _taken(found: list[dict[str, str]], name: str) -> list[dict[str, str]]:
    """Take out those whose title is a name, or begins with it and a colon."""
    own = [
        one for one in found
        if one["title"].lower() == name.lower() or one["title"].lower().startswith(f"{name}:")
    ]  # fmt: skip
    found[:] = [one for one in found if one not in own]
    return own


def plots(numbers: Mapping[str, Any]) -> dict[str, list[dict[str, str]]]:
    """Return the plots by section; one that points out of ``qa/`` is left out."""
    found: dict[str, list[dict[str, str]]] = {}
    for plot in numbers.get("plots", ()):
        pure = PurePosixPath(str(plot["file"]))
        if not pure.is_absolute() and ".." not in pure.parts:
            found.setdefault(plot["section"], []).append({**plot, "src": quote(str(pure))})
    return found


def viewers(numbers: Mapping[str, Any], section: str, kind: str) -> list[dict[str, str]]:
    """Return what the report's viewers of a kind, ``image`` or ``points``, show in a section."""
    found = plots(numbers).get(f"{section}-viewer", [])
    return [{**one, "section": section, "kind": kind} for one in found]


def image(
    target: str, name: str, numbers: Mapping[str, Any], link: Callable[[str], str]
) -> dict[str, Any]:
    """Return what the report shows of an image.

    Parameters
    ----------
    target, name : str
        Whose image it is, and its name in the recipe.
    numbers : mapping
        What `measure_image` wrote, or nothing.
    link : callable
        Turns a path of the run folder into a link.
    """
    shown: dict[str, Any] = {
        "target": target,
        "name": name,
        "anchor": f"image-{quote(f'{target}.{name}', safe='')}",
        "plots": plots(numbers).get("image", []),
        "viewers": viewers(numbers, "image", "image"),
    }
    if not numbers:
        return shown
    return shown | {
        "summary": {
            "peak": words.brightness(numbers["peak_jy_per_beam"]),
            "noise": words.brightness(numbers["rms_noise_jy_per_beam"]),
            "dynamic_range": _number(numbers, "dynamic_range"),
            "beam": words.synthesized_beam(dict(numbers)),
        },
        "sort": {
            "peak": numbers["peak_jy_per_beam"],
            "noise": numbers["rms_noise_jy_per_beam"],
            "dynamic_range": numbers.get("dynamic_range"),
            "beam": numbers.get("bmaj_arcsec"),
        },
        "rows": _image_rows(numbers),
        "sources": sources.table(numbers, link),
        "fits": str(numbers.get("fits") or ""),
        "fits_link": link(str(numbers.get("fits") or "")),
    }


def _number(numbers: Mapping[str, Any], key: str) -> str:
    value = numbers.get(key)
    return words.UNKNOWN if value is None else words.significant(value)


def _brightness(numbers: Mapping[str, Any], key: str) -> str:
    """Write a brightness; nothing where an older run has none."""
    return words.brightness(numbers[key]) if key in numbers else ""


def _small(numbers: Mapping[str, Any], key: str, unit: str = "") -> str:
    if key not in numbers:
        return ""
    value = numbers[key]
    return words.UNKNOWN if value is None else f"{value:.2f}{unit}"


def _ratio(numbers: Mapping[str, Any], key: str, what: str) -> str:
    value = numbers.get(key)
    return "" if value is None else f"{value:.2f} {what}"


_UNMEASURED: Final = {
    "dynamic range": "dynamic_range", "noise": "rms_noise_jy_per_beam",
    "peak": "peak_jy_per_beam", "flux density in the model": "model_flux_jy",
    "synthesized beam": "bmaj_arcsec",
    "largest residual": "residual_peak_jy_per_beam",
    "noise that the data allow": "thermal_noise_jy_per_beam",
    "noise of the array's SEFD": "array_noise_jy_per_beam",
    "residual's excess kurtosis": "residual_kurtosis",
    "bowl around the emission": "bowl_sigma",
}  # fmt: skip
"""By row of an image's table, the number whose ``_reason`` says why there is none."""


def _image_rows(numbers: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return (what, value, remark) for the table of an image's numbers."""
    position = numbers["peak_position"]
    cube = numbers["shape"][3] > 1
    place = (
        f"{words.right_ascension(position['ra_deg'])} "
        f"{words.declination(position['dec_deg'])} ({position['frame']})"
    )
    where = f"channel {position['channel']}" if cube else ""
    n_x, n_y, _, n_chan = numbers["shape"]
    size = f"{n_x} {words.BY} {n_y} pixels" + (f", {n_chan} channels" if cube else "")
    noise = "median over channels" if cube else "off source, from the median absolute deviation"
    ratio = numbers.get("residual_peak_sigma")
    rows = [
        ("peak", words.brightness(numbers["peak_jy_per_beam"]), f"at {place}"),
        ("brightest channel", where.removeprefix("channel "), "counted from 0"),
        ("lowest pixel", words.brightness(numbers["min_jy_per_beam"]), ""),
        ("noise", words.brightness(numbers["rms_noise_jy_per_beam"]), noise),
        ("noise that the data allow", _brightness(numbers, "thermal_noise_jy_per_beam"),
         _ratio(numbers, "noise_over_thermal", "times as much was measured")),
        ("noise of the array's SEFD", _brightness(numbers, "array_noise_jy_per_beam"),
         str(numbers.get("sefd", ""))),
        ("dynamic range", _number(numbers, "dynamic_range"), "peak over noise"),
        ("synthesized beam", words.synthesized_beam(dict(numbers)),
         "of the median channel" if numbers.get("beams_differ_by_channel") else ""),
        ("size", size, f"cell {words.angle(numbers['cell_arcsec'])}"),
        ("frequency", words.frequency_range(numbers["frequency_min_hz"],
                                            numbers["frequency_max_hz"]), ""),
        ("flux density in the model", words.brightness(numbers.get("model_flux_jy"), "Jy"),
         "of the channel that has most" if cube else ""),
        ("largest residual", words.brightness(numbers.get("residual_peak_jy_per_beam")),
         "" if ratio is None else f"{ratio:.1f} times the noise"),
        ("residual's excess kurtosis", _small(numbers, "residual_kurtosis"),
         _ratio(numbers, "residual_tail_ratio",
                "times as many pixels beyond 4 sigma as noise alone would have")),
        ("bowl around the emission", _small(numbers, "bowl_sigma", " sigma"),
         _ratio(numbers, "bowl_significance", "standard errors deep")),
        *regions.rows(numbers),
    ]  # fmt: skip
    return [
        (what, value, str(numbers.get(f"{_UNMEASURED.get(what, '')}_reason") or remark))
        for what, value, remark in rows
        if value
    ]
