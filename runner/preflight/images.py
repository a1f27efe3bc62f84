"""Whether images suit the data: pixels, field of view, Stokes planes, Taylor terms, centre."""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import attrgetter
from typing import Any, Final

from .. import heuristics
from ..errors import did_you_mean
from ..observation import Field
from ..quantities import UNITS, human_frequency, split
from ..stages.draft import Draft, Subject
from ..stages.picture import Picture
from . import averaging, cubes, masks

_FEWEST_PIXELS: Final = 3.0
_MOST_PIXELS: Final = 8.0
_ROBUST: Final = 0.5
_LARGEST_FACTOR: Final = 7
_SLOW_SIDE: Final = 500
_CONFUSED_HZ: Final = 4e9
_PRACTICAL_SIDE: Final = 16384


def check(draft: Draft, subjects: Sequence[Subject], pictures: Sequence[Picture]) -> None:
    """Hold the images and the continuum subtraction against the data.

    Parameters
    ----------
    draft : Draft
        Takes the problems and warnings.
    subjects : sequence of Subject
        The datasets with their metadata and roles.
    pictures : sequence of Picture
        The images that are to be made, with every ``auto`` decided.
    """
    for picture in draft.each("target", pictures, attrgetter("target")):
        _cell(draft, picture)
        _imsize(draft, picture)
        _stokes(draft, picture)
        _terms(draft, picture)
        _pointings(draft, picture)
        centre = _phasecenter(draft, picture)
        _uvtaper(draft, picture)
        averaging.check(draft, picture)
        masks.check(draft, picture, centre)
        masks.check_measured(draft, picture)
        if picture.cube:
            cubes.check(draft, picture)
    cubes.contsub(draft, subjects, pictures)


def _said(draft: Draft, picture: Picture, key: str) -> Any:
    """Return what the recipe itself says, ``auto`` where casarun chose."""
    return getattr(draft.recipe.image[picture.index], key)


def _cell(draft: Draft, picture: Picture) -> None:
    """Look whether the pixel samples the synthesized beam.

    The synthesized beam is 0.8 (uniform weighting) to some 1.4 times lambda/B (Briggs 0.5), and
    up to four times that by natural weighting of an array with a dense core; so either end of
    that range must be out of bounds. A taper or a selection of baselines says nothing here.
    """
    tclean = picture.image.tclean
    if _said(draft, picture, "cell") == "auto" or any(
        tclean.get(name) for name in ("uvtaper", "uvrange", "antenna")
    ):
        return
    cell, width = picture.cell_arcsec, picture.resolution_arcsec
    natural = picture.image.weighting == "natural" or (
        picture.image.weighting.startswith("briggs") and picture.image.robust > _ROBUST
    )
    widest = (4.0 if natural else 1.4) * width
    facts = (
        f"lambda/B is {width:.3g} arcsec (longest baseline {picture.longest_m:.0f} m, "
        f"{human_frequency(picture.edges_hz[1])})"
    )
    advice = f'cell = "auto" takes {heuristics.cell(picture.longest_m, picture.edges_hz[1]).value}'
    if cell >= max(widest, 2 * width):
        draft.problem(
            f"pixels of {cell:.3g} arcsec cannot sample the synthesized beam of {picture.target}: "
            f"{facts}, and a beam takes at least {_FEWEST_PIXELS:g} pixels; {advice}",
            picture.key("cell"),
        )
    elif cell * _FEWEST_PIXELS > widest:
        draft.warn(
            f"pixels of {cell:.3g} arcsec leave fewer than {_FEWEST_PIXELS:g} across the "
            f"synthesized beam of {picture.target}: {facts}; {advice}",
            picture.key("cell"),
        )
    elif cell * _MOST_PIXELS < 0.8 * width:
        draft.warn(
            f"pixels of {cell:.3g} arcsec are more than {_MOST_PIXELS:g} across the synthesized "
            f"beam of {picture.target}, which costs time and memory: {facts}; {advice}",
            picture.key("cell"),
        )


def _imsize(draft: Draft, picture: Picture) -> None:
    """Say what an image leaves out of the primary beam where that does harm, and slow sides.

    Below 4 GHz there is a source of 10 mJy in most primary beams; above, and where the whole beam
    would take too many pixels (very long baselines), small images of a target are the custom.
    """
    if _said(draft, picture, "imsize") == "auto":
        return
    low = picture.edges_hz[0]
    width = heuristics.primary_beam_arcsec(picture.diameter_m, low)
    shorter = min(picture.sides) * picture.cell_arcsec
    covers = heuristics.friendly(math.ceil(width / picture.cell_arcsec))
    if shorter < 0.5 * width and low < _CONFUSED_HZ and covers <= _PRACTICAL_SIDE:
        draft.warn(
            f"the image of {picture.target} covers {shorter / 60:.3g} of the {width / 60:.3g} "
            f"arcmin of the primary beam (full width at half maximum, {human_frequency(low)}): "
            f"sources outside are not cleaned, and their sidelobes stay; imsize = {covers} covers "
            "it",
            picture.key("imsize"),
        )
    slow = sorted({side for side in picture.sides if _largest_prime(side) > _LARGEST_FACTOR})
    if slow and slow[-1] >= _SLOW_SIDE:
        draft.warn(
            f"{slow[-1]} pixels are slow to transform: the number has the prime factor "
            f"{_largest_prime(slow[-1])}; {heuristics.friendly(slow[-1])} is quick",
            picture.key("imsize"),
        )


def _largest_prime(number: int) -> int:
    largest, factor = 1, 2
    while factor * factor <= number:
        while number % factor == 0:
            largest, number = factor, number // factor
        factor += 1
    return max(largest, number)


_CIRCULAR: Final = {
    "I": {"RR", "LL"}, "V": {"RR", "LL"}, "Q": {"RL", "LR"}, "U": {"RL", "LR"},
}  # fmt: skip
_LINEAR: Final = {
    "I": {"XX", "YY"}, "Q": {"XX", "YY"}, "U": {"XY", "YX"}, "V": {"XY", "YX"},
}  # fmt: skip


def _stokes(draft: Draft, picture: Picture) -> None:
    """Refuse Stokes planes that the correlations cannot give: tclean makes them of zeros."""
    stokes = picture.image.stokes
    if stokes in ("I", "pseudoI"):
        return
    for band in picture.bands:
        have = set(band.spw.correlations)
        if not have:
            continue
        if stokes[0] in "RLX" or stokes == "YY":
            need = {stokes[i : i + 2] for i in range(0, len(stokes), 2)}
        else:
            table = _LINEAR if have & {"XX", "YY", "XY", "YX"} else _CIRCULAR
            need = {hand for plane in stokes for hand in table[plane]}
        missing = sorted(need - have)
        if missing:
            draft.problem(
                f"stokes = '{stokes}' needs the correlations {', '.join(sorted(need))}; spw "
                f"{band.spw.id} of dataset {band.subject.name} has {', '.join(sorted(have))}: "
                "tclean would make blank planes",
                picture.key("stokes"),
                dataset=band.subject.name,
            )
            return


_NARROW: Final = 0.002


def _terms(draft: Draft, picture: Picture) -> None:
    """Warn of Taylor terms in a band in which no spectrum can be seen."""
    image = picture.image
    if image.deconvolver != "mtmfs" or int(image.nterms) < 2:
        return
    low, high = picture.edges_hz
    fraction = 2 * (high - low) / (high + low)
    if fraction < _NARROW:
        draft.warn(
            f"the band of {picture.target} is {(high - low) / 1e6:.3g} MHz wide, "
            f"{100 * fraction:.2g} % of its frequency: {image.nterms} Taylor terms find noise "
            'in it, not spectra; deconvolver = "auto" or nterms = 1',
            picture.key("nterms"),
        )


def _pointings(draft: Draft, picture: Picture) -> None:
    """Warn where pointings of one name are gridded as if they were one."""
    if picture.gridder in ("mosaic", "awproject", "awphpg", "awp2"):
        return
    fields = picture.pointings
    apart = max(heuristics.separation_deg(a, b) for a in fields for b in fields) * 60
    width = heuristics.primary_beam_arcsec(picture.diameter_m, picture.edges_hz[1]) / 60
    if apart > 0.05 * width:
        draft.warn(
            f"{len(fields)} pointings of {picture.target} are up to {apart:.3g} arcmin apart "
            f"(primary beam: {width:.3g} arcmin): gridder = '{picture.gridder}' takes them for "
            'one; gridder = "auto" makes a mosaic',
            picture.key("gridder" if "gridder" not in picture.image.tclean else "tclean"),
        )


def _phasecenter(draft: Draft, picture: Picture) -> Field | None:
    """Return the image's centre, None where it cannot be told; refuse one that is no place."""
    key = picture.key("tclean", "phasecenter")
    given = picture.image.tclean.get("phasecenter", "")
    fields = picture.parts[0][1].fields
    if isinstance(given, int) or (isinstance(given, str) and given.strip().isdigit()):
        for field in fields:
            if field.id == int(given):
                return field
        draft.problem(
            f"the MS of {picture.target} has no field {given}: its fields are numbered anew, "
            f"{', '.join(f'{field.id} ({field.name})' for field in fields)}",
            key,
        )
        return None
    if not given:
        return fields[0]
    words = str(given).split()
    if words[0].upper() not in ("J2000", "ICRS") or len(words) != 3:
        if words[0].upper() in ("J2000", "ICRS"):
            draft.problem(
                f"'{given}' is no direction: expected a frame, a right ascension and a "
                'declination, "J2000 19h30m00s -40d00m00s"',
                key,
            )
        return None
    try:
        ra, dec = masks.direction(words[1], words[2])
    except ValueError:
        draft.problem(
            f"'{given}' is no direction: {words[1]} and {words[2]} are to be written "
            '"19h30m00s -40d00m00s" or "292.5deg -40deg"',
            key,
        )
        return None
    if math.isnan(ra) or math.isnan(dec):
        return None
    centre = Field(-1, str(given), ra, dec)
    _off_target(draft, picture, centre)
    return centre


def _off_target(draft: Draft, picture: Picture, centre: Field) -> None:
    """Warn of a phase centre from which no pointing is in the image's reach."""
    away = 60 * min(heuristics.separation_deg(centre, field) for field in picture.pointings)
    width = heuristics.primary_beam_arcsec(picture.diameter_m, picture.edges_hz[0]) / 60
    half = 0.5 * math.hypot(*picture.sides) * picture.cell_arcsec / 60
    if away > width + half:
        draft.warn(
            f"the phase centre is {away:.4g} arcmin from {picture.target}: the image, "
            f"{2 * half:.3g} arcmin across its corners, is outside of the primary beam "
            f"({width:.3g} arcmin)",
            picture.key("tclean", "phasecenter"),
        )


_TAPER_UNITS: Final = ("", "lambda", "klambda", "Mlambda", "m", "km", *UNITS["angle"])


def _uvtaper(draft: Draft, picture: Picture) -> None:
    """Refuse a taper that is no length on the uv plane or the sky."""
    given = picture.image.tclean.get("uvtaper", ())
    for text in [given] if isinstance(given, str) else given:
        if not isinstance(text, str) or not text:
            continue
        try:
            _, unit = split(text)
        except ValueError:
            unit = text
        if unit not in _TAPER_UNITS:
            draft.problem(
                f"'{text}' is no taper: a number with one of {', '.join(_TAPER_UNITS[1:])}"
                f"{did_you_mean(unit, _TAPER_UNITS[1:])}",
                picture.key("tclean", "uvtaper"),
            )
