"""One page over many runs: ``index.html``, with ``dashboard.csv`` and ``dashboard.json``."""

from __future__ import annotations

import csv
import hashlib
import io
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from markupsafe import Markup

from ..files import now, write_atomic, write_json
from . import survey, thumbnails, trend_plots, trends, words
from .places import relative, require_own
from .render import environment
from .runs import Run
from .survey import Row
from .viewers import template_text

VERSION: Final = 1
"""Of ``dashboard.json``."""

_DATA, _PAGE = "dashboard.json", "index.html"
_STATES = {
    "failed": "a step failed",
    "died": "killed",
    "unheard": "silent",
    "unknown": "not judged",
}
_CLASSES = {"pass": "pass", "warn": "warn", "fail": "fail", "failed": "fail", "died": "fail"}
_CSV = (
    "run", "title", "state", "verdict", "datasets", "target", "image", "peak_jy_per_beam",
    "rms_noise_jy_per_beam", "dynamic_range", "bmaj_arcsec", "bmin_arcsec", "bpa_deg",
    "flagged_fraction", "observed", "started", "ended", "wall_s", "versions", "concerns", "folder",
)  # fmt: skip
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""How a cell begins that a spreadsheet would compute."""


def write(runs: Sequence[Run], output: Path) -> Path:
    """Write the page over some runs, its data and its thumbnails.

    Parameters
    ----------
    runs : sequence of Run
        The runs, in the order in which they are shown.
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
    require_own(output, _DATA, "dashboard")
    page = environment().get_template("dashboard.html").render(_context(runs, output))
    write_atomic(output / _PAGE, page.encode("utf-8", "backslashreplace"), durable=False)
    return output / _PAGE


def _context(runs: Sequence[Run], output: Path) -> dict[str, Any]:
    """Return what the template shows; writes the data and thumbnails that the page links to."""
    owned = [
        (row, run)
        for run, label in zip(runs, survey.labels(runs), strict=True)
        for row in survey.rows(run, label)
    ]
    rows = [row for row, _ in owned]
    date = trends.date_of(rows)
    plots, odd = trend_plots.all_of(rows, date)
    made = now()
    _write_data(output, rows, odd, made)
    script = template_text("dashboard.js")
    return {
        "rows": [_shown(row, run, output, odd, index) for index, (row, run) in enumerate(owned)],
        "plots": plots,
        "frame": trend_plots.FRAME,
        "outliers": [{**asdict(one), "off": _off(one.sigma)} for one in odd],
        "counts": [_count(name, number) for name, number in trends.counted(rows).items()],
        "n_runs": len(runs),
        "n_images": sum(bool(row.image) for row in rows),
        "date": date,
        "made": words.moment(made),
        "choices": _choices(rows),
        "script": Markup(script),  # noqa: S704 (casarun's own file)
        "script_hash": _hash(script),
    }


def _hash(script: str) -> str:
    """Return what the page's policy calls its one script: no other can run."""
    return b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _count(name: str, number: int) -> dict[str, Any]:
    return {"name": _word(name), "number": number, "class": _CLASSES.get(name, "idle")}


def _word(outcome: str) -> str:
    return _STATES.get(outcome, outcome)


def _off(sigma: float) -> str:
    return f"{abs(sigma):.0f} sigma {'high' if sigma > 0 else 'low'}"


def _choices(rows: Sequence[Row]) -> dict[str, list[str]]:
    """Return what the table can be narrowed to."""
    return {
        "outcome": list(dict.fromkeys(_word(trends.outcome(row)) for row in rows)),
        "image": sorted({row.image for row in rows if row.image}),
        "target": sorted({row.target for row in rows if row.target}),
    }


def _shown(
    row: Row, run: Run, output: Path, odd: Sequence[trends.Outlier], index: int
) -> dict[str, Any]:
    """Return a row with its numbers written, as the template lays it out."""
    outcome = trends.outcome(row)
    link = relative(run.folder.report, output) if run.folder.report.is_file() else ""
    place = quote(f"{row.target}.{row.image}", safe="", errors="backslashreplace")
    anchor = f"#image-{place}" if row.image else ""
    thumbnail = _thumbnail(row, run, output)
    return {
        "row": row,
        "outcome": _word(outcome),
        "class": _CLASSES.get(outcome, "idle"),
        "link": link,
        "image_link": f"{link}{anchor}" if link else "",
        "thumbnail": thumbnail,
        "numbers": [
            (key, getattr(row, key), trends.written(key, getattr(row, key)))
            for key in ("peak_jy_per_beam", "rms_noise_jy_per_beam", "dynamic_range")
        ],
        "beam": words.synthesized_beam({
            "bmaj_arcsec": row.bmaj_arcsec,
            "bmin_arcsec": row.bmin_arcsec if row.bmin_arcsec is not None else row.bmaj_arcsec,
            "bpa_deg": row.bpa_deg,
        }) if row.bmaj_arcsec is not None else words.NONE,
        "flagged": trends.written("flagged_fraction", row.flagged_fraction),
        "wall": words.seconds(row.wall_s),
        "odd": [one.what for one in odd if one.row == index],
    }  # fmt: skip


def _thumbnail(row: Row, run: Run, output: Path) -> str:
    """Return the link to a row's thumbnail, which is made if need be; empty where there is none."""
    image = run.inside(row.fits)
    if image is None or not row.image:
        return ""
    # By place, so that pages written again find those that they have.
    name = f"{row.folder}\0{row.target}\0{row.image}".encode("utf-8", "backslashreplace")
    path = Path("thumbs") / f"{hashlib.sha256(name).hexdigest()[:20]}.png"
    return str(path) if thumbnails.make(image, row.channel, output / path) else ""


def _write_data(
    output: Path, rows: Sequence[Row], odd: Sequence[trends.Outlier], made: str
) -> None:
    """Write the rows for programs: JSON, and CSV for spreadsheets."""
    data = {
        "dashboard_version": VERSION,
        "made": made,
        "rows": [row.as_json() for row in rows],
        "outliers": [asdict(one) for one in odd],
    }
    write_json(output / _DATA, data, durable=False)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_CSV)
    for row in rows:
        writer.writerow([_cell(getattr(row, key)) for key in _CSV])
    content = text.getvalue().encode("utf-8", "backslashreplace")
    write_atomic(output / "dashboard.csv", content, durable=False)


def _cell(value: Any) -> Any:
    """Return a value for a cell: text from data that a spreadsheet would compute stays text."""
    if value is None:
        return ""
    if isinstance(value, tuple):
        value = "; ".join(value)
    if isinstance(value, str):
        value = " ".join(value.split("\0"))
        return f"'{value}" if value.startswith(_FORMULA) else value
    return value
