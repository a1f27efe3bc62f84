"""What to cite for a run: its software, methods and standards, by what the plan really did."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from ..plan import Plan, Step

_CASA: Final = (
    "CASA Team, Bean, B., Bhatnagar, S., et al. 2022, CASA, the Common Astronomy Software "
    "Applications for Radio Astronomy, PASP 134, 114501"
)
_STANDARDS: Final = {
    "Perley-Butler 2017": "Perley, R. A. & Butler, B. J. 2017, ApJS 230, 7",
    "Perley-Butler 2013": "Perley, R. A. & Butler, B. J. 2013, ApJS 204, 19",
    "Perley-Butler 2010": "Perley, R. A. & Butler, B. J. 2013, ApJS 204, 19",
    "Scaife-Heald 2012": "Scaife, A. M. M. & Heald, G. H. 2012, MNRAS 423, L30",
    "Stevens-Reynolds 2016": "Partridge, B., López-Caniego, M., Perley, R. A., et al. 2016, "
    "ApJ 821, 61",
    "Baars": "Baars, J. W. M., Genzel, R., Pauliny-Toth, I. I. K. & Witzel, A. 1977, A&A 61, 99",
    "Butler-JPL-Horizons 2012": "Butler, B. J. 2012, ALMA Memo 594",
}
_DECONVOLVERS: Final = {
    "hogbom": "Högbom, J. A. 1974, A&AS 15, 417",
    "clark": "Clark, B. G. 1980, A&A 89, 377",
    "multiscale": "Cornwell, T. J. 2008, IEEE J. Sel. Top. Signal Process. 2, 793",
    "mtmfs": "Rau, U. & Cornwell, T. J. 2011, A&A 532, A71",
}
_OTHERS: Final = {
    "briggs": "Briggs, D. S. 1995, PhD thesis, New Mexico Institute of Mining and Technology",
    "auto-multithresh": "Kepley, A. A., Tsutsumi, T., Brogan, C. L., et al. 2020, PASP 132, 024505",
    "wproject": "Cornwell, T. J., Golap, K. & Bhatnagar, S. 2008, "
    "IEEE J. Sel. Top. Signal Process. 2, 647",
}
_RFI: Final = {"tfcrop": "TFCrop", "rflag": "RFlag"}


def text(plan: Plan, versions: Mapping[str, Any]) -> dict[str, Any]:
    """Return sentences for a paper's section on data reduction, and what they cite.

    Parameters
    ----------
    plan : Plan
        Of the run.
    versions : mapping
        Of the software.

    Returns
    -------
    dict
        ``sentences`` and ``references``, lists of text.
    """
    casa = versions.get("casatasks", "")
    sentences = [
        f"The data were reduced with casarun {versions.get('casarun', '')} and CASA {casa} "
        "(CASA Team et al. 2022)."
    ]
    references = [_CASA]
    for sentence, own in (*_calibration(plan.steps), *_imaging(plan.steps)):
        sentences.append(sentence)
        references += own
    return {"sentences": sentences, "references": sorted(dict.fromkeys(references))}


def _calibration(steps: Iterable[Step]) -> Iterator[tuple[str, list[str]]]:
    steps = list(steps)
    rfi = _found(step.params.get("mode") for step in steps if step.action == "casa:flagdata")
    named = [_RFI[mode] for mode in rfi if mode in _RFI]
    if named:
        yield f"Interference was flagged by {' and '.join(named)}.", []
    standards = _found(s.params.get("standard") for s in steps if s.action == "casa:setjy")
    if standards:
        cited = [_STANDARDS[name] for name in standards if name in _STANDARDS]
        yield f"The flux density scale is that of {' and '.join(standards)}.", cited
    if any(step.action.startswith("selfcal.") for step in steps):
        yield "The targets were self-calibrated.", []


def _imaging(steps: Iterable[Step]) -> Iterator[tuple[str, list[str]]]:
    steps = list(steps)
    settings = [dict(_settings(step.params)) for step in steps if step.image]
    ways = _found(one.get("deconvolver") for one in settings)
    weights = _found(
        f"{one['weighting']} weighting"
        + (f" (robust {one['robust']:g})" if one.get("weighting") == "briggs"
           and isinstance(one.get("robust"), (int, float)) else "")
        for one in settings if one.get("weighting")
    )  # fmt: skip
    if not ways:
        return
    cited = [_DECONVOLVERS[way] for way in ways if way in _DECONVOLVERS]
    cited += [
        cite
        for word, cite in _OTHERS.items()
        if any(word in (one.get("weighting"), one.get("usemask"), one.get("gridder"))
               for one in settings)
    ]  # fmt: skip
    said = f"Images were made with {' and '.join(weights)}" if weights else "Images were made"
    yield f"{said} and deconvolved with tclean ({', '.join(ways)}).", cited


def _settings(params: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield tclean's parameters, which some steps hold one level down."""
    for key, value in params.items():
        if isinstance(value, Mapping):
            yield from _settings(value)
        elif key in ("deconvolver", "weighting", "robust", "usemask", "gridder"):
            yield key, value


def _found(values: Iterable[Any]) -> list[str]:
    """Return the texts among some values, each once, in order."""
    return list(dict.fromkeys(value for value in values if isinstance(value, str) and value))
