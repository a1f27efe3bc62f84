"""What the keys of a recipe say about each other: checks that need no data.

They read the document as it is, which may have other problems: what is not of the type that
the schema asks for is passed over, since the schema's check has said so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from ..errors import KeyPath, Problem, did_you_mean
from ..standards import STANDARDS
from . import cube_rules
from .naming import label
from .schema import against, resolved, shown

Document = Mapping[str, Any]

_SELECTED: Final = {"vis": "", "selectdata": "", "field": "", "docallib": "", "callib": ""}
_CHAIN: Final = {
    "gaintable": "",
    "gainfield": "",
    "interp": "",
    "spwmap": "",
    "parang": "calibrate.parang",
}
_SOLVED: Final = {
    **_SELECTED,
    **_CHAIN,
    "caltable": "",
    "append": "",
    "spw": "calibrate.spw",
    "solint": "calibrate.solint",
    "refant": "calibrate.refant",
    "minsnr": "calibrate.minsnr",
    "minblperant": "calibrate.minblperant",
}
_FLUX: Final = ("standard", "model", "fluxdensity", "spix", "reffreq")
_IMAGE: Final = (
    "spw", "stokes", "imsize", "cell", "weighting", "robust", "deconvolver", "scales", "nterms",
    "niter", "threshold", "pbcor", "specmode", "start", "nchan", "width", "restfreq",
)  # fmt: skip

FALLBACKS: Final = (
    "gain", "cyclefactor", "cycleniter", "minpsffraction", "maxpsffraction", "nmajor", "niter",
    "deconvolver", "scales", "smallscalebias", "fusedthreshold", "largestscale",
)  # fmt: skip
"""What a fallback of a clean may change: neither what is imaged, nor on which pixels, nor the
depth that is asked for."""

DECONVOLVERS: Final = ("hogbom", "clark", "multiscale", "clarkstokes", "asp")
"""Deconvolvers that make the same images, so that one can do another's work."""

_CLEANED: Final = {
    "vis": "dataset.vis",
    "selectdata": "",
    "imagename": "image.name",
    "interactive": "",
    "parallel": "",
    "restart": "",
    "calcres": "",
    "calcpsf": "",
    "restoration": "",
    "savemodel": "",
}

OF_AN_IMAGE: Final = (
    "spw", "imsize", "cell", "weighting", "robust", "deconvolver", "scales", "nterms", "niter",
)  # fmt: skip
"""Keys of an image that a self-calibration may have its own of, in its `tclean`."""

OF_SOME_DATA: Final = ("field", "scan", "timerange", "antenna", "intent", "observation")
"""Selections that an image may have and a self-calibration has not: it corrects all data."""

SET_BY_CASARUN: Final[dict[tuple[str, str], dict[str, str]]] = {
    ("image", "tclean"): {
        **_CLEANED,
        "field": "image.targets",
        "datacolumn": "image.from",
        "usemask": "image.mask",
        "mask": "image.mask",
        "nsigma": "image.threshold",
        **{name: f"image.{name}" for name in _IMAGE},
    },
    ("selfcal", "tclean"): {
        **_CLEANED,
        **dict.fromkeys(OF_SOME_DATA, ""),
        "imagename": "",
        **dict.fromkeys(("datacolumn", "usemask", "mask", "nsigma", "threshold"), ""),
        **dict.fromkeys(("specmode", "start", "nchan", "width", "restfreq", "pbcor"), ""),
        "stokes": "",
        "startmodel": "",
    },
    ("image", "immoments"): {"imagename": "", "outfile": "", "moments": "image.moments"},
    ("calibrate", "gaincal"): {**_SOLVED, "gaintype": "calibrate.gaintype", "calmode": ""},
    ("calibrate", "bandpass"): dict(_SOLVED),
    ("calibrate", "setjy"): {
        "vis": "",
        "selectdata": "",
        "field": "calibrators.flux.field",
        "usescratch": "",
        "listmodels": "",
        **{name: f"calibrators.flux.{name}" for name in _FLUX},
    },
    ("calibrate", "fluxscale"): {
        "vis": "",
        "caltable": "",
        "fluxtable": "",
        "listfile": "",
        "append": "",
        "incremental": "",
        "display": "",
        "reference": "calibrators.flux",
        "transfer": "calibrators.phase",
    },
    ("calibrate", "applycal"): {
        **_SELECTED,
        **_CHAIN,
        "calwt": "calibrate.calwt",
        "applymode": "calibrate.applymode",
        "flagbackup": "",
    },
    ("flag", "flagdata"): {
        "vis": "",
        "mode": "flag.rfi",
        "action": "",
        "datacolumn": "",
        "inpfile": "flag.manual",
        "autocorr": "flag.autocorr",
        "clipzeros": "flag.zeros",
        "quackinterval": "flag.quack",
        "flagbackup": "",
        "outfile": "",
        "savepars": "",
        "overwrite": "",
        "display": "",
    },
    ("contsub", "uvcontsub"): {
        "vis": "",
        "outputvis": "",
        "field": "targets.fields",
        "datacolumn": "",
        "fitspec": "contsub.fitspec",
        "fitorder": "contsub.fitorder",
    },
}
"""Parameters of tasks that are not passed through, and the recipe's own key for each."""


def check(document: Document) -> list[Problem]:
    """Return what does not fit together in a document."""
    rules: tuple[Callable[[Document], Iterator[Problem]], ...] = (
        _names,
        _watch,
        _passed_through,
        _flux,
        _images,
        _fallbacks,
        _moments,
        _selfcal,
        _steps,
        _contsub,
        cube_rules.check,
    )
    return [problem for rule in rules for problem in rule(document)]


def tables(document: Document, array: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield index and table of an array of tables, passing over what is no table."""
    found = document.get(array)
    for index, table in enumerate(found if isinstance(found, list) else ()):
        if isinstance(table, dict):
            yield index, table


def _listed(value: object) -> list[Any]:
    """Return a list as it is, and nothing for what is none."""
    return value if isinstance(value, list) else []


def _names(document: Document) -> Iterator[Problem]:
    """Yield names that stand twice: files of one would overwrite the other's."""
    for array in ("image", "cube", "step"):
        seen: dict[str, int] = {}
        for index, table in tables(document, array):
            name = label(array, table)
            if name and name in seen:
                said = "name" in table
                first = f"{array}[{seen[name]}]"
                message = (
                    f"{shown(name)} is already the name of {first}"
                    if said
                    else f"{first} is {shown(name)}, too: give one of them a name"
                )
                yield Problem(message, (array, index, "name" if said else "task"))
            seen.setdefault(name, index)


def _watch(document: Document) -> Iterator[Problem]:
    for index, table in tables(document, "dataset"):
        if "settle" in table and table.get("watch") is not True:
            message = "has no effect without watch = true"
            yield Problem(message, ("dataset", index, "settle"), "warning", at_key=True)


def _passed_through(document: Document) -> Iterator[Problem]:
    """Yield parameters that casarun sets itself."""
    for (table, task), names in SET_BY_CASARUN.items():
        found = document.get(table)
        places: list[tuple[KeyPath, dict[str, Any]]] = (
            [((table,), found)]
            if isinstance(found, dict)
            else [((table, index), entry) for index, entry in tables(document, table)]
        )
        for key, entry in places:
            params = entry.get(task)
            for name in params if isinstance(params, dict) else ():
                if name in names:
                    instead = f"; use {names[name]}" if names[name] else ""
                    yield Problem(
                        f"casarun sets this parameter of {task} itself{instead}",
                        (*key, task, name),
                        at_key=True,
                    )


def _flux(document: Document) -> Iterator[Problem]:
    """Yield a flux standard that there is not, and settings that have no effect."""
    calibrators = document.get("calibrators")
    flux = calibrators.get("flux") if isinstance(calibrators, dict) else None
    if not isinstance(flux, dict):
        return
    key: KeyPath = ("calibrators", "flux")
    standard = flux.get("standard")
    given = bool(flux.get("fluxdensity"))
    if isinstance(standard, str) and standard in ("manual", "fluxscale"):
        if not given:
            message = f"{shown(standard)} needs a flux density: calibrators.flux.fluxdensity"
            yield Problem(message, (*key, "standard"))
    elif isinstance(standard, str) and standard and standard not in STANDARDS:
        names = ", ".join(shown(name) for name in STANDARDS)
        yield Problem(
            f"{shown(standard)} is not one of CASA's flux standards: {names}"
            f"{did_you_mean(standard, STANDARDS)}",
            (*key, "standard"),
        )
    for name in ("model",) if given else ("spix", "reffreq"):
        if name in flux and flux[name] not in ("auto", "point"):
            why = "with" if given else "without"
            message = f"has no effect {why} calibrators.flux.fluxdensity"
            yield Problem(message, (*key, name), "warning", at_key=True)


def _images(document: Document) -> Iterator[Problem]:
    """Yield settings of an image that exclude each other, or that have no effect."""
    for index, image in tables(document, "image"):
        key: KeyPath = ("image", index)
        cube = image.get("specmode") == "cube"
        deconvolver = image.get("deconvolver", "hogbom")
        tclean = image.get("tclean")
        weighting = image.get("weighting", "briggs")
        if image.get("from") == "contsub" and "contsub" not in document:
            yield Problem("there is no [contsub] in the recipe", (*key, "from"))
        if deconvolver == "mtmfs" and cube:
            yield Problem(
                "'mtmfs' is for specmode = \"mfs\": a cube's channels have no Taylor terms",
                (*key, "deconvolver"),
            )
        idle = {
            "robust": weighting in ("natural", "uniform", "superuniform")
            and f"weighting = {shown(weighting)}",
            "scales": deconvolver in ("hogbom", "clark", "clarkstokes")
            and not any(
                isinstance(fallback, dict) and fallback.get("deconvolver") == "multiscale"
                for fallback in _listed(image.get("fallback"))
            )
            and f"deconvolver = {shown(deconvolver)}",
            "nterms": deconvolver not in ("mtmfs", "auto")
            and f"deconvolver = {shown(deconvolver)}",
            "mask": image.get("mask") != "none" and image.get("niter") == 0 and "niter = 0",
            "gridder": isinstance(tclean, dict)
            and "gridder" in tclean
            and "a gridder in tclean, which is taken",
            **dict.fromkeys(("start", "nchan", "width"), not cube and "specmode = 'mfs'"),
        }
        for name, why in idle.items():
            if name in image and why:
                yield Problem(f"has no effect with {why}", (*key, name), "warning", at_key=True)


def _fallbacks(document: Document) -> Iterator[Problem]:
    """Yield what no fallback of a clean may change, and fallbacks that change nothing."""
    for index, image in tables(document, "image"):
        key: KeyPath = ("image", index, "fallback")
        found = _listed(image.get("fallback"))
        own = image.get("deconvolver", "hogbom")
        for place, fallback in enumerate(found):
            if isinstance(fallback, dict):
                yield from _fallback(fallback, own, (*key, place))
        if found and image.get("niter") == 0:
            yield Problem("has no effect with niter = 0", key, "warning", at_key=True)


def _fallback(fallback: Document, own: object, key: KeyPath) -> Iterator[Problem]:
    """Yield what is wrong with one fallback of an image with its own deconvolver."""
    if not fallback:
        yield Problem("says nothing to change: { gain = 0.05 }, for example", key)
    for name in fallback:
        if name not in FALLBACKS:
            known = name in SET_BY_CASARUN["image", "tclean"]
            yield Problem(
                "is nothing that a fallback may change, only how the clean goes on: "
                f"{', '.join(FALLBACKS)}{'' if known else did_you_mean(name, FALLBACKS)}",
                (*key, name),
                at_key=True,
            )
    niter = fallback.get("niter")
    if isinstance(niter, int) and niter < 1:
        yield Problem(f"a clean of {shown(niter)} iterations is none", (*key, "niter"))
    message = other_images(own, fallback.get("deconvolver", own))
    if message:
        yield Problem(message, (*key, "deconvolver"))


def other_images(own: object, fallback: object) -> str:
    """Say why a clean cannot fall back from one deconvolver to another, if it cannot.

    Parameters
    ----------
    own : str
        The image's deconvolver; with ``auto`` only what is wrong with any is told.
    fallback : str
        The one to fall back to.
    """
    if fallback == own:
        return ""
    if "mtmfs" in (own, fallback):
        return (
            f"a clean with {shown(own)} cannot fall back to {shown(fallback)}: 'mtmfs' makes other "
            "images, one for each Taylor term"
        )
    if isinstance(fallback, str) and fallback not in DECONVOLVERS:
        choices = ", ".join(shown(name) for name in DECONVOLVERS)
        near = did_you_mean(fallback, DECONVOLVERS)
        return f"{shown(fallback)} is not one of {choices}{near}"
    return ""


def _moments(document: Document) -> Iterator[Problem]:
    for index, image in tables(document, "image"):
        if image.get("moments") and image.get("specmode", "mfs") == "mfs":
            yield Problem('moments are of a cube: specmode = "cube"', ("image", index, "moments"))


def _selfcal(document: Document) -> Iterator[Problem]:
    """Yield what of a self-calibration does not fit together."""
    targets: dict[str, int] = {}
    for index, table in tables(document, "selfcal"):
        key: KeyPath = ("selfcal", index)
        target = table.get("target")
        if isinstance(target, str) and target in targets:
            yield Problem(
                f"selfcal[{targets[target]}] is of {shown(target)}, too: one [[selfcal]] a target",
                (*key, "target"),
            )
        elif isinstance(target, str):
            targets[target] = index
        yield from _model_image(document, table, key)
        yield from _rounds(table, key)
        yield from _own_settings(table, key)
        snr = table.get("min_solution_snr")
        if isinstance(snr, (int, float)) and not isinstance(snr, bool) and 1 <= snr < _TRUSTED_SNR:
            yield Problem(
                f"solutions of {snr:g} times the noise make fluxes {83 / snr**2:.2g} % too high, "
                f"and sources where there are none; {_TRUSTED_SNR:g} or more: 3 % or less",
                (*key, "min_solution_snr"),
                "warning",
            )


_TRUSTED_SNR: Final = 5.3
"""From here on 0.83 / a^2, by which solutions from noise raise a flux, is under 3 %."""


def _model_image(document: Document, table: Document, key: KeyPath) -> Iterator[Problem]:
    """Yield that a self-calibration names an image that is none, or is a cube."""
    name = table.get("image")
    if not isinstance(name, str) or not name:
        return
    images = {label("image", image): image for _, image in tables(document, "image")}
    images = {known: image for known, image in images.items() if known}
    if name not in images:
        there = ", ".join(shown(known) for known in images) or "none"
        near = did_you_mean(name, images)
        message = f"no [[image]] is named {shown(name)}; there is {there}{near}"
        yield Problem(message, (*key, "image"))
    elif images[name].get("specmode") == "cube":
        flat = [known for known, image in images.items() if image.get("specmode") != "cube"]
        instead = f"image = {shown(flat[0])}, or " if flat else ""
        yield Problem(
            f"{shown(name)} is a cube, and a model for self-calibration is of the continuum: "
            f"{instead}leave the key out",
            (*key, "image"),
        )


def _own_settings(table: Document, key: KeyPath) -> Iterator[Problem]:
    """Yield own settings of the rounds' images that are not what ``[[image]]`` takes."""
    tclean = table.get("tclean")
    known = resolved({"$ref": "#/$defs/image"})["properties"]
    for name, value in tclean.items() if isinstance(tclean, dict) else ():
        if name in OF_AN_IMAGE:
            yield from against(value, known[name], (*key, "tclean", name))


def _rounds(table: Document, key: KeyPath) -> Iterator[Problem]:
    """Yield rounds that do not fit together: intervals, what is solved for, how many."""
    solint, calmode = _listed(table.get("solint")), _listed(table.get("calmode"))
    if solint and calmode and len(solint) != len(calmode):
        yield Problem(
            f"{_counted(len(calmode))} for {_counted(len(solint))} of solint: give one for each "
            'round, or leave it out for "p" in all',
            (*key, "calmode"),
        )
    for place, text in enumerate(solint):
        if isinstance(text, str) and "," in text:
            yield Problem(
                f"{shown(text)} divides the band, which is for a bandpass: a gain for "
                "self-calibration has an interval of time only",
                (*key, "solint", place),
            )
    given, rounds = len(solint) or len(calmode), table.get("rounds", 6)
    if not given or not isinstance(rounds, int) or isinstance(rounds, bool):
        return
    name = "solint" if solint else "calmode"
    if rounds < given:
        yield Problem(
            f"only the first {rounds} of its {_counted(given)} can take place: rounds = {rounds}",
            (*key, name),
            "warning",
        )
    elif "rounds" in table and rounds > given:
        message = f"has no effect with {_counted(given)} of {name}"
        yield Problem(message, (*key, "rounds"), "warning", at_key=True)


def _counted(rounds: int) -> str:
    return f"{rounds} round{'s' if rounds != 1 else ''}"


def _steps(document: Document) -> Iterator[Problem]:
    for index, step in tables(document, "step"):
        key: KeyPath = ("step", index)
        if step.get("after") and step.get("before"):
            yield Problem("give either after or before, not both", (*key, "before"), at_key=True)
        elif not (step.get("after") or step.get("before")):
            yield Problem('say where the step goes: after = "apply", for example', key)
        for name in ("writes", "updates"):
            paths = step.get(name)
            for position, path in enumerate(paths if isinstance(paths, list) else ()):
                if isinstance(path, str) and _outside(path):
                    yield Problem(
                        f"{shown(path)} is outside of the run folder", (*key, name, position)
                    )


def _outside(path: str) -> bool:
    return path.startswith(("/", "~")) or ".." in path.split("/")


def _contsub(document: Document) -> Iterator[Problem]:
    contsub = document.get("contsub")
    if not isinstance(contsub, dict):
        return
    if not contsub.get("fitspec"):
        message = "no fitspec: all channels count as free of lines"
        yield Problem(message, ("contsub",), "warning")
    if not any(image.get("from") == "contsub" for _, image in tables(document, "image")):
        message = 'no [[image]] is made from it: from = "contsub"'
        yield Problem(message, ("contsub",), "warning")
