"""A comparison as one page that opens from disk, without network or scripts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from ..files import now, write_atomic, write_json
from ..qa.sky import scaled
from ..report import survey, words
from ..report.places import relative, require_own
from ..report.render import environment
from ..report.runs import text
from . import pictures
from .comparison import Comparison, ImagePair
from .judged import Judged
from .solutions import TableDifference
from .told import Difference

_DATA, _PAGE = "compare.json", "index.html"
_CLASSES: Final = {"identical": "pass", "agree": "pass", "differ": "fail"}
_MARKS: Final = {"identical": "=", "agree": "✓", "differ": "≠"}
_VERDICTS: Final = {"same": "idle", "agrees": "pass", "differs": "fail"}
_UNITS: Final = {
    "jy_per_beam": "Jy/beam", "jy": "Jy", "arcsec": "arcsec", "deg": "deg", "ns": "ns", "hz": "Hz",
}  # fmt: skip
_TITLES: Final = {"flags_changed": "flagged in one only", "median_snr": "median S/N"}
_FRACTIONS: Final = ("flagged_fraction", "flags_changed", "blank_in_one_only")


def write(comparison: Comparison, output: Path) -> Path:
    """Write the page, its pictures, and ``compare.json``.

    Parameters
    ----------
    comparison : Comparison
        What to show.
    output : Path
        The folder to write to; an earlier page in it is replaced.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    DataError
        If `output` holds something else than such a page.
    """
    require_own(output, _DATA, "comparison")
    images = [_image(pair, output) for pair in comparison.images]
    headline, _, detail = comparison.summary().partition(": ")
    page = environment().get_template("compare.html").render(
        outcome=comparison.outcome,
        outcome_class=_CLASSES[comparison.outcome],
        mark=_MARKS[comparison.outcome],
        headline=headline,
        summary=detail,
        runs=list(_runs(comparison, output)),
        made=words.moment(now()),
        notes=comparison.notes,
        unknown=comparison.unknown,
        only=[str(one) for one in comparison.only],
        told=_told(comparison),
        notes_told=comparison.told.notes,
        numbers=[row(one) for one in comparison.numbers if has_line(one)],
        n_hidden=sum(not has_line(one) for one in comparison.numbers),
        images=images,
        tables=[_table(table) for table in comparison.tables],
        flags=comparison.flags,
        tolerance=str(comparison.tolerances.default),
    )  # fmt: skip
    write_json(output / _DATA, comparison.as_json(), durable=False)
    write_atomic(output / _PAGE, page.encode("utf-8", "backslashreplace"), durable=False)
    return output / _PAGE


def _runs(comparison: Comparison, output: Path) -> Iterator[dict[str, str]]:
    runs = comparison.a, comparison.b
    for side, run, label in zip("AB", runs, survey.labels(runs), strict=True):
        yield {
            "side": side,
            "label": label,
            "folder": str(run.folder.root),
            "link": relative(run.folder.report, output) if run.folder.report.is_file() else "",
            "title": text(run.about.get("title")),
            "state": run.state,
            "verdict": run.verdict or "unknown",
            "started": words.moment(text(run.about.get("started"))),
        }


def _told(comparison: Comparison) -> list[tuple[str, str, Sequence[Difference]]]:
    """Return the parts of what the runs were told: title, what it means if equal, differences."""
    told = comparison.told
    return [
        ("Recipe as run", "The recipes are the same.", told.recipe),
        ("Chosen by casarun", "The same values were chosen.", told.autos),
        ("Steps", "The steps and their parameters are the same.", told.steps),
        ("Versions", "The versions are the same.", told.versions),
        ("Data", "The inputs are the same.", told.inputs),
    ]


def has_line(one: Judged) -> bool:
    """Say whether a number has a line: not if it is the same; of many alike, if it differs."""
    return one.verdict == "differs" or (one.verdict == "agrees" and not one.number.minor)


def row(one: Judged) -> dict[str, Any]:
    """Return a number as a person reads it."""
    of = one.number
    name, unit = title(of.name)
    return {
        "subject": of.subject,
        "title": name,
        "a": "" if of.of_both else written(of.a, unit, of.name),
        "b": written(of.b, unit, of.name),
        "relative": "" if of.relative is None else _signed(100 * of.relative, " %"),
        "significance": "" if of.significance is None else _signed(of.significance, " sigma"),
        "verdict": one.verdict,
        "class": _VERDICTS[one.verdict],
        "note": of.note,
    }


def title(name: str) -> tuple[str, str]:
    """Split ``rms_noise_jy_per_beam`` into words and unit."""
    if name in _TITLES:
        return _TITLES[name], ""
    for ending, unit in _UNITS.items():
        if name.endswith(f"_{ending}"):
            return name.removesuffix(f"_{ending}").replace("_", " "), unit
    return name.replace("_", " "), ""


def written(value: float | None, unit: str, name: str = "") -> str:
    """Write a number with its unit, with enough digits to see a difference."""
    if value is None:
        return words.UNKNOWN
    if name in _FRACTIONS:
        return f"{100 * value:.4g} %"
    if unit in ("Jy", "Jy/beam"):
        factor, prefix = scaled(abs(value)) if value else (1.0, "")
        return f"{value * factor:.5g} {prefix}{unit}"
    return f"{_small(value, '.6g')}{f' {unit}' if unit else ''}"


def _small(value: float, form: str) -> str:
    """Write a number; of one that is all but zero, only that."""
    return "0" if value == 0 else "< 1e-06" if abs(value) < 1e-6 else f"{value:{form}}"


def _signed(value: float, unit: str) -> str:
    if value == 0:
        return f"0{unit}"
    if abs(value) < 1e-3:
        return f"< 0.001{unit}"
    return f"{value:+.2g}{unit}" if abs(value) < 100 else f"{value:+.0f}{unit}"


def _image(pair: ImagePair, output: Path) -> dict[str, Any]:
    found = pair.difference
    shown: dict[str, Any] = {
        "subject": pair.subject,
        "anchor": quote(f"image-{pair.subject}", safe="", errors="backslashreplace"),
        "note": pair.note,
        "identical": found is not None and found.identical,
        "notes": found.notes if found else [],
        "pictures": [],
        "facts": [],
    }
    if found is None or found.identical:
        return shown
    cube = f", channel {found.at[2]}" if found.n_channels > 1 else ""
    where = f"at pixel {found.at[0]}, {found.at[1]}{cube} of A"
    facts = [
        ("largest difference", words.brightness(found.largest, found.unit), where),
        ("rms of the difference", words.brightness(found.rms, found.unit), ""),
        ("noise", words.brightness(found.noise, found.unit), "the larger of the two"),
    ]
    if found.shift_arcsec is not None:
        east, north = found.shift_arcsec
        error = f"± {found.shift_error_arcsec:.2g}" if found.shift_error_arcsec else ""
        facts.append(("B stands from A", f"{east:+.3g}″ east, {north:+.3g}″ north", error))
    if found.ratio is not None:
        facts.append(("brightness of B to A", f"{found.ratio:.4f}", f"± {found.ratio_error:.2g}"))
    shown["facts"] = facts
    shown["pictures"] = pictures.draw(pair, output)
    shown["channel"] = found.channel if found.n_channels > 1 else None
    return shown


def _table(table: TableDifference) -> dict[str, Any]:
    return {
        "subject": table.subject,
        "note": table.note,
        "identical": table.identical,
        "matched": table.matched,
        "only_a": table.only_a,
        "only_b": table.only_b,
        "reference": table.reference,
        "antennas": [
            {
                "antenna": one.antenna,
                "solutions": one.matched,
                "flagged_a": words.percent(one.flagged_a),
                "flagged_b": words.percent(one.flagged_b),
                "amplitude": _optional(one.amplitude_ratio, "{:.5f}"),
                "phase": _optional(one.phase_rms_deg, "{:.3g}°"),
                "delay": _optional(one.delay_rms_ns, "{:.3g} ns"),
            }
            for one in table.antennas
        ],
        "delays": any(one.delay_rms_ns is not None for one in table.antennas),
    }


def _optional(value: float | None, form: str) -> str:
    return words.NONE if value is None else form.format(value)
