"""The sources of an image as a table: ECSV, VOTable, DS9 regions, and rows for the report."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import quoteattr

import numpy as np
import numpy.typing as npt

from ..files import write_atomic
from . import sources
from .sky import Sky
from .sources import Source

Floats = npt.NDArray[np.float64]
Row = dict[str, Any]

MOST_IN_METRICS: Final = 200
"""Sources, the brightest, that ``metrics.json`` holds; the tables hold all."""


@dataclass(frozen=True)
class Column:
    """A column: its type and unit as VOTable and ECSV know them, and what it holds."""

    name: str
    kind: str
    unit: str
    said: str


COLUMNS: Final = (
    Column("id", "int", "", "Number, the brightest island first"),
    Column("ra_deg", "double", "deg", "Right ascension (galactic longitude in a galactic image)"),
    Column("dec_deg", "double", "deg", "Declination (galactic latitude)"),
    Column("ra_error_arcsec", "double", "arcsec", "Error of the position to the east"),
    Column("dec_error_arcsec", "double", "arcsec", "Error of the position to the north"),
    Column("flux_jy", "double", "Jy", "Integrated flux density"),
    Column("flux_error_jy", "double", "Jy", "Its error"),
    Column("peak_jy_per_beam", "double", "Jy/beam", "Peak brightness"),
    Column("peak_error_jy_per_beam", "double", "Jy/beam", "Its error"),
    Column("major_arcsec", "double", "arcsec", "Major axis (FWHM) as the beam shows it"),
    Column("minor_arcsec", "double", "arcsec", "Minor axis as the beam shows it"),
    Column("pa_deg", "double", "deg", "Position angle, from north through east"),
    Column("major_error_arcsec", "double", "arcsec", "Error of the major axis"),
    Column("minor_error_arcsec", "double", "arcsec", "Error of the minor axis"),
    Column("pa_error_deg", "double", "deg", "Error of the position angle"),
    Column("resolved", "boolean", "", "Wider than the beam, at 98 % confidence"),
    Column("own_major_arcsec", "double", "arcsec", "Major axis behind the beam (deconvolved)"),
    Column("own_minor_arcsec", "double", "arcsec", "Minor axis behind the beam"),
    Column("own_pa_deg", "double", "deg", "Position angle behind the beam"),
    Column("own_major_error_arcsec", "double", "arcsec", "Error of the major axis behind the beam"),
    Column("own_minor_error_arcsec", "double", "arcsec", "Error of the minor axis behind the beam"),
    Column("own_major_limit_arcsec", "double", "arcsec", "Its major axis at most, if unresolved"),
    Column("noise_jy_per_beam", "double", "Jy/beam", "Local noise"),
    Column("snr", "double", "", "Peak over local noise"),
    Column("primary_beam", "double", "", "The primary beam that brightness was divided by"),
    Column("island", "int", "", "Which island of bright pixels"),
    Column("components", "int", "", "How many sources that island was taken for"),
    Column("method", "char", "", "gaussian, beam (a Gaussian of the beam's shape) or moments"),
    Column("x_pixel", "double", "", "Pixel, from 0"),
    Column("y_pixel", "double", "", "Pixel, from 0"),
)


@dataclass(frozen=True)
class Catalogue:
    """The sources of an image.

    `rows` have the keys of `COLUMNS`, None where a number is not known; `about` are words and
    numbers for the tables' heads.
    """

    rows: tuple[Row, ...]
    frame: str
    about: Mapping[str, str]

    def summary(self, files: Sequence[str], threshold_sigma: float) -> dict[str, Any]:
        """Return what ``metrics.json`` says of it."""
        brightest = sorted(self.rows, key=lambda row: -row["peak_jy_per_beam"])
        return {
            "number": len(self.rows),
            "threshold_sigma": threshold_sigma,
            "frame": self.frame,
            "files": list(files),
            "brightest": brightest[:MOST_IN_METRICS],
        }


def marks(numbers: Mapping[str, Any]) -> list[tuple[float, float, str]]:
    """Return the places (x, y) and numbers of an image's sources, for its pictures."""
    rows = (numbers.get("sources") or {}).get("brightest", ())
    return [(row["x_pixel"], row["y_pixel"], str(row["id"])) for row in rows]


def ellipses(numbers: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the sources as the report's image viewer draws them; widths are in pixels."""
    cell = float(numbers["cell_arcsec"])
    return [
        {
            "id": row["id"],
            "x": row["x_pixel"],
            "y": row["y_pixel"],
            "major": row["major_arcsec"] / cell,
            "minor": row["minor_arcsec"] / cell,
            "pa_deg": row["pa_deg"],
            "flux_jy": row["flux_jy"],
        }
        for row in (numbers.get("sources") or {}).get("brightest", ())
    ]


def measure(
    pixels: sources.Pixels,
    sky: Sky,
    noise: float,
    primary_beam: sources.Pixels | None,
    threshold_sigma: float,
    about: Mapping[str, str],
) -> Catalogue:
    """Find the sources of an image.

    Parameters
    ----------
    pixels : array, shape (n_y, n_x)
        Jy/beam, not corrected for the primary beam; NaN where blank.
    sky : Sky
        With the synthesized beam.
    noise : float
        Of the whole image, Jy/beam.
    primary_beam : array, shape (n_y, n_x), or None
        1 at its centre; brightness and errors are divided by it.
    threshold_sigma : float
        How far above the local noise a source's peak must be.
    about : mapping
        Words for the heads of the tables.
    """
    if sky.beam is None:
        raise ValueError("an image without a synthesized beam has no flux densities")
    cells = (sky.increment_deg[0] * 3600, sky.increment_deg[1] * 3600)
    local = sources.local_noise(pixels, sky.beam[0] / abs(cells[1]), noise)
    found = sources.find(sources.Plane(pixels, local, cells, sky.beam), threshold_sigma)
    places = np.array([(one.x, one.y) for one in found]).reshape(-1, 2)
    world = sky.wcs().wcs_pix2world(places, 0) if found else places
    weak = np.ones(len(found)) if primary_beam is None else _at(primary_beam, places)
    rows = tuple(
        _row(number + 1, one, tuple(world[number].tolist()), float(weak[number]))
        for number, one in enumerate(found)
    )
    return Catalogue(rows, sky.frame, about)


def _at(plane: sources.Pixels, places: Floats) -> Floats:
    """Return a plane's values at places (x, y), between pixels."""
    from scipy.ndimage import map_coordinates

    filled = np.where(np.isfinite(plane) & (plane > 0), plane, np.nan)
    near = map_coordinates(filled, places[:, ::-1].T, order=1, mode="nearest")
    rows, columns = (np.clip(np.round(places[:, i]).astype(int), 0, plane.shape[1 - i] - 1)
                     for i in (1, 0))  # fmt: skip
    return np.asarray(np.where(np.isfinite(near), near, filled[rows, columns]), float)


def _row(number: int, one: Source, world: tuple[float, float], weak: float) -> Row:
    """Return a source as a row, with brightness corrected for the primary beam."""
    errors, own, own_errors = one.errors, one.true.size, one.true.errors
    values = {
        "id": number, "ra_deg": world[0], "dec_deg": world[1],
        "ra_error_arcsec": errors.east, "dec_error_arcsec": errors.north,
        "flux_jy": one.flux / weak, "flux_error_jy": errors.flux / weak,
        "peak_jy_per_beam": one.peak / weak, "peak_error_jy_per_beam": errors.peak / weak,
        "major_arcsec": one.shape[0], "minor_arcsec": one.shape[1], "pa_deg": one.shape[2],
        "major_error_arcsec": errors.major, "minor_error_arcsec": errors.minor,
        "pa_error_deg": errors.pa_deg, "resolved": own is not None,
        **dict.fromkeys(("own_major_arcsec", "own_minor_arcsec", "own_pa_deg",
                         "own_major_error_arcsec", "own_minor_error_arcsec")),
        "own_major_limit_arcsec": one.true.limit, "noise_jy_per_beam": one.noise / weak,
        "snr": one.peak / one.noise, "primary_beam": weak, "island": one.island,
        "components": one.n_components, "method": one.method, "x_pixel": one.x, "y_pixel": one.y,
    }  # fmt: skip
    if own is not None and own_errors is not None:
        values |= {"own_major_arcsec": own[0], "own_minor_arcsec": own[1], "own_pa_deg": own[2],
                   "own_major_error_arcsec": own_errors[0],
                   "own_minor_error_arcsec": own_errors[1]}  # fmt: skip
    if one.method == "moments":
        values["resolved"] = None  # what is no Gaussian has no such size
    return {name: _known(value) for name, value in values.items()}


def _known(value: Any) -> Any:
    """Return a value rounded to what it means, or None for no number."""
    if isinstance(value, float):
        return float(f"{value:.9g}") if math.isfinite(value) else None
    return value


def of_image(
    params: Mapping[str, Any],
    pixels: sources.Pixels | None,
    primary_beam: sources.Pixels | None,
    sky: Sky,
    noise: float | None,
) -> dict[str, Any]:
    """Find the sources of an image and write them.

    Parameters
    ----------
    params : mapping
        ``target``, ``image``, ``fits``, and ``catalogue``: ``prefix`` (of the files) and
        ``sigma`` (the threshold).
    pixels, primary_beam : array, shape (n_y, n_x), or None
        Its plane, NaN where blank.
    sky : Sky
        Its coordinates and synthesized beam.
    noise : float or None
        Its noise, Jy/beam.

    Returns
    -------
    dict
        ``sources`` for the image's numbers: `Catalogue.summary`, or None and a reason. Tables
        are written in any case.
    """
    wanted = params["catalogue"]
    about = {"target": str(params["target"]), "image": str(params["image"]),
             "fits": str(params["fits"])}  # fmt: skip
    why = ""
    if sky.beam is None:
        why = "the image has no synthesized beam"
    elif pixels is None or noise is None:
        why = "the noise is not known"
    if why or pixels is None or noise is None:
        write(Catalogue((), sky.frame, {**about, "empty": why}), wanted["prefix"])
        return {"sources": None, "sources_reason": why}
    found = measure(pixels, sky, noise, primary_beam, float(wanted["sigma"]), about)
    files = write(found, wanted["prefix"])
    return {"sources": found.summary(files, float(wanted["sigma"]))}


def write(found: Catalogue, prefix: str) -> list[str]:
    """Write the tables and regions; return their paths."""
    texts = {".ecsv": ecsv(found), ".xml": votable(found), ".reg": regions(found)}
    for suffix, text in texts.items():
        write_atomic(Path(f"{prefix}{suffix}"), text, durable=False)
    return [f"{prefix}{suffix}" for suffix in texts]


def ecsv(found: Catalogue) -> str:
    """Return the table as ECSV, which any reader of CSV takes, too."""
    kinds = {"int": "int64", "double": "float64", "boolean": "bool", "char": "string"}
    lines = ["# %ECSV 1.0", "# ---", "# delimiter: ','", "# datatype:"]
    for one in COLUMNS:
        unit = f", unit: {one.unit.replace('/', ' / ')}" if one.unit else ""
        lines.append(f"# - {{name: {one.name}{unit}, datatype: {kinds[one.kind]}, "
                     f"description: {_yaml(one.said)}}}")  # fmt: skip
    about = {"frame": found.frame, **found.about}
    lines += ["# meta:", *(f"#   {name}: {_yaml(text)}" for name, text in about.items())]
    lines.append("# schema: astropy-2.0")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([one.name for one in COLUMNS])
    for row in found.rows:
        writer.writerow(["" if row[one.name] is None else row[one.name] for one in COLUMNS])
    return "\n".join(lines) + "\n" + text.getvalue()


def _yaml(text: str) -> str:
    """Write a text in YAML's double quotes, whatever it holds."""
    import json

    return json.dumps(text, ensure_ascii=True)


_UCDS: Final = {
    "id": "meta.id;meta.main", "ra_deg": "pos.eq.ra;meta.main", "dec_deg": "pos.eq.dec;meta.main",
    "flux_jy": "phot.flux.density;em.radio", "flux_error_jy": "stat.error;phot.flux.density",
    "peak_jy_per_beam": "phot.flux.density;stat.max", "snr": "stat.snr",
}  # fmt: skip


def votable(found: Catalogue) -> str:
    """Return the table as VOTable 1.3 (IVOA recommendation of 2013), with blank cells for none."""
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        '<VOTABLE version="1.3" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">',
        '<RESOURCE type="results">',
        _system(found.frame),
        '<TABLE name="sources">',
        *(f'<PARAM name="{name}" datatype="char" arraysize="*" value={quoteattr(text)}/>'
          for name, text in found.about.items()),
    ]  # fmt: skip
    for one in COLUMNS:
        kind = 'char" arraysize="*' if one.kind == "char" else one.kind
        unit = f' unit="{one.unit}"' if one.unit else ""
        ucd = f' ucd="{_UCDS[one.name]}"' if one.name in _UCDS else ""
        if found.frame == "GALACTIC":
            ucd = ucd.replace("eq.ra", "galactic.lon").replace("eq.dec", "galactic.lat")
        ref = ' ref="system"' if one.name in ("ra_deg", "dec_deg") else ""
        lines.append(f'<FIELD name="{one.name}" datatype="{kind}"{unit}{ucd}{ref}>'
                     f"<DESCRIPTION>{one.said}</DESCRIPTION></FIELD>")  # fmt: skip
    lines.append("<DATA><TABLEDATA>")
    for row in found.rows:
        cells = "".join(f"<TD>{_cell(row[one.name], one.kind)}</TD>" for one in COLUMNS)
        lines.append(f"<TR>{cells}</TR>")
    return "\n".join([*lines, "</TABLEDATA></DATA>", "</TABLE>", "</RESOURCE>", "</VOTABLE>", ""])


def _cell(value: Any, kind: str) -> str:
    if kind == "boolean":
        return "?" if value is None else str(value).lower()
    return "" if value is None else str(value)


def _system(frame: str) -> str:
    systems = {"J2000": "eq_FK5", "B1950": "eq_FK4", "GALACTIC": "galactic"}
    return f'<COOSYS ID="system" system="{systems.get(frame, "ICRS")}"/>'


def regions(found: Catalogue) -> str:
    """Return the sources as DS9 ellipses: their widths as the beam shows them, numbered."""
    frames = {"J2000": "fk5", "B1950": "fk4", "ICRS": "icrs", "GALACTIC": "galactic"}
    lines = ["# Region file format: DS9 version 4.1", "global color=cyan",
             frames.get(found.frame, "fk5")]  # fmt: skip
    for row in found.rows:
        # DS9 counts an ellipse's angle from its first axis, here the minor one, to the west.
        lines.append(
            f'ellipse({row["ra_deg"]:.8f},{row["dec_deg"]:.8f},{row["minor_arcsec"] / 2:.3f}",'
            f'{row["major_arcsec"] / 2:.3f}",{row["pa_deg"]:.2f}) # text={{{row["id"]}}}'
        )
    return "\n".join(lines) + "\n"
