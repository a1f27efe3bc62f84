"""Which paths a CASA task reads, makes new and changes in place, from its parameters.

CASA's definitions say of most inputs that they must exist. What they do not say stands in
small tables here: outputs by the name of the parameter, tasks that change their MS, and the
parameters that mean something else in one task than in the others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .tasks import ParameterSpec, task

_OUTPUTS = frozenset(
    [
        "outputvis",
        "outfile",
        "output",
        "fitsimage",
        "figfile",
        "plotfile",
        "logfile",
        "listfile",
        "linefile",
        "contfile",
        "fluxtable",
        "concatvis",
        "testconcatvis",
        "bloutput",
        "bltable",
        "output_cont",
        "residual",
        "caltable",
        "newestimates",
        "outsigma",
        "plotName",
        "rawdatafile",
        "savefig",
        "spxsol",
        "spxerr",
    ]
)
_INPUTS = frozenset(
    [
        "vis",
        "infile",
        "infiles",
        "imagename",
        "mask",
        "inpmask",
        "inpimage",
        "gaintable",
        "callib",
        "startmodel",
        "vptable",
        "outlierfile",
        "complist",
        "estimates",
        "pbimage",
        "template",
        "skymodel",
        "sdimage",
        "sdpsf",
        "weightimage",
        "region",
        "expr",
    ]
)
_MAY_BE_INLINE = frozenset(
    ["mask", "inpmask", "inpfile", "model", "pbimage", "estimates", "template", "region",
     "addantenna"]
)  # fmt: skip
"""Inputs whose value may also be an expression, a keyword or the content itself."""

_EXPRESSIONS = frozenset({"mask", "inpmask", "expr"})
"""Inputs that may be an expression in which quoted names are images."""

_CHANGES_VIS = frozenset(
    [
        "applycal",
        "clearcal",
        "delmod",
        "fixplanets",
        "flagcmd",
        "flagdata",
        "flagmanager",
        "ft",
        "initweights",
        "setjy",
        "statwt",
        "uvcontsub_old",
        "uvsub",
    ]
)
_ONLY_LOOKS: Mapping[str, tuple[str, tuple[Any, ...]]] = {
    "flagdata": ("mode", ("summary",)),
    "flagmanager": ("mode", ("list",)),
    "flagcmd": ("action", ("list", "extract", "plot")),
    "statwt": ("preview", (True,)),
    "setjy": ("listmodels", (True,)),
}
"""Tasks that change their MS, but not with these values of a parameter."""

_ROLES: Mapping[str, Mapping[str, str]] = {
    "calstat": {"caltable": "reads"},
    "clearstat": {},
    "concat": {"vis": "reads"},
    "deconvolve": {"imagename": "updates", "startmodel": "reads"},
    "exportasdm": {"asdm": "writes"},
    "exportuvfits": {"fitsfile": "writes"},
    "feather": {"imagename": "writes"},
    "flagcmd": {"inpfile": "reads"},
    "flagdata": {"inpfile": "reads", "addantenna": "reads"},
    "fluxscale": {"caltable": "reads"},
    "ft": {"model": "reads"},
    "gencal": {"infile": "reads"},
    "imfit": {
        "model": "writes",
        "residual": "writes",
        "complist": "writes",
        "summary": "writes",
    },
    "immath": {"outfile": "writes"},
    "importasdm": {"vis": "writes"},
    "importatca": {"files": "reads", "vis": "writes"},
    "importfits": {"fitsimage": "reads", "imagename": "writes"},
    "importfitsidi": {"vis": "writes"},
    "importgmrt": {"vis": "writes", "flagfile": "reads"},
    "importmiriad": {"vis": "writes"},
    "importuvfits": {"vis": "writes"},
    "importvla": {"vis": "writes"},
    "imregrid": {"template": "reads"},
    "initweights": {"tsystable": "reads"},
    "listcal": {"caltable": "reads"},
    "mstransform": {"callib": "reads"},
    "plotbandpass": {"caltable": "reads", "caltable2": "reads", "caltable3": "reads"},
    "predictcomp": {"prefix": "writes"},
    "rmfit": dict.fromkeys(("rm", "rmerr", "pa0", "pa0err", "nturns", "chisq"), "writes"),
    "rmtables": {"tablenames": "updates"},
    "sdcal": {"applytable": "reads"},
    "sdgaincal": {"applytable": "reads"},
    "setjy": {"model": ""},
    "simalma": {"project": "writes", "skymodel": "reads"},
    "simanalyze": {"project": "updates"},
    "simobserve": {"project": "writes", "skymodel": "reads"},
    "slsearch": {"tablename": "reads"},
    "specfit": {"model": "writes", "residual": "writes"},
    "splattotable": {"filenames": "reads", "table": "writes"},
    "spxfit": {"model": "writes", "residual": "writes"},
    "virtualconcat": {"vis": "updates"},
    "widebandpbcor": {"imagename": "updates"},
}
"""Parameters that mean something else in one task than their name does in the others."""

_APPENDS = {"append": ("caltable", "outfile", "logfile")}
_EMPTY_OUTPUT_CHANGES_INPUT: Mapping[str, tuple[str, str]] = {
    "defintent": ("outputvis", "vis"),
    "fixvis": ("outputvis", "vis"),
    "rerefant": ("caltable", "tablein"),
    "smoothcal": ("caltable", "tablein"),
    "sdcal": ("outfile", "infile"),
}
"""Tasks whose output may be left out: then they change this input in place."""

_MOMENTS = [
    "average",
    "integrated",
    "weighted_coord",
    "weighted_dispersion_coord",
    "median",
    "median_coord",
    "standard_deviation",
    "rms",
    "abs_mean_dev",
    "maximum",
    "maximum_coord",
    "minimum",
    "minimum_coord",
]


@dataclass(frozen=True)
class Touch:
    """A path that a call of a task touches, and the parameter that names it.

    `role` is ``reads``, ``writes`` or ``updates``.
    """

    parameter: str
    role: str
    path: str


def derive_paths(
    name: str, params: Mapping[str, Any]
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Derive which paths a call of a task touches.

    Parameters
    ----------
    name : str
        The task.
    params : mapping
        Its parameters as they will be given.

    Returns
    -------
    reads, writes, updates : tuple of str
        Paths that it reads, makes new and changes in place, as written in the parameters. Of the
        family of images that tclean makes, those that it always makes.

    Raises
    ------
    RefusedError
        If the installed CASA has no such task.
    """
    found: dict[str, dict[str, None]] = {"reads": {}, "writes": {}, "updates": {}}
    for touched in touches(name, params):
        found[touched.role][touched.path] = None
    for path in found["updates"]:
        found["reads"].pop(path, None)
        found["writes"].pop(path, None)
    return tuple(found["reads"]), tuple(found["writes"]), tuple(found["updates"])


def touches(name: str, params: Mapping[str, Any]) -> list[Touch]:
    """Return what a call of a task touches, parameter by parameter.

    Raises
    ------
    RefusedError
        If the installed CASA has no such task.
    """
    specs = task(name).by_name
    found = []
    for key, value in params.items():
        role = _role(name, specs[key], params) if key in specs else ""
        if role == "writes" and _appended(key, params):
            role = "updates"
        for path in _paths(key, value, role) if role else ():
            found += [Touch(key, role, product) for product in _products(name, key, path, params)]
    return found


def roles(name: str) -> dict[str, str]:
    """Return the role of each parameter of a task that names paths, with its defaults else.

    Raises
    ------
    RefusedError
        If the installed CASA has no such task.
    """
    spec = task(name)
    defaults = {parameter.name: parameter.default for parameter in spec.parameters}
    found = {parameter.name: _role(name, parameter, defaults) for parameter in spec.parameters}
    return {key: role for key, role in found.items() if role}


def _role(name: str, spec: ParameterSpec, params: Mapping[str, Any]) -> str:
    """Return ``reads``, ``writes``, ``updates`` or nothing for a parameter."""
    own = _ROLES.get(name, {})
    if spec.name in own:
        return own[spec.name]
    if _changes_in_place(name, spec.name, params):
        return "updates"
    if name in {"tclean", "sdintimaging"} and spec.name == "imagename":
        return "writes"
    if spec.name in _OUTPUTS:
        return "writes"
    paths = {"path", "pathVec"} & set(spec.types)
    return "reads" if spec.must_exist or paths or spec.name in _INPUTS else ""


def _changes_in_place(name: str, key: str, params: Mapping[str, Any]) -> bool:
    """Tell whether a task changes the MS or table that a parameter names."""
    if name in _EMPTY_OUTPUT_CHANGES_INPUT:
        output, changed = _EMPTY_OUTPUT_CHANGES_INPUT[name]
        return key == changed and not params.get(output)
    if name == "imhead":
        return key == "imagename" and params.get("mode") in {"put", "add", "del"}
    if name == "vishead":
        return key == "vis" and params.get("mode") == "put"
    if name == "imhistory":
        return key == "imagename" and params.get("mode") == "append"
    if name in {"tclean", "sdintimaging"}:
        return key == "vis" and params.get("savemodel", "none") != "none"
    if key != "vis" or name not in _CHANGES_VIS:
        return False
    switch, harmless = _ONLY_LOOKS.get(name, ("", ()))
    return not (switch in params and params[switch] in harmless)


def _paths(key: str, value: Any, role: str) -> list[str]:
    """Return the paths in a parameter's value."""
    items: Iterable[Any] = value if isinstance(value, (list, tuple)) else [value]
    paths = [item for item in items if isinstance(item, str) and item.strip()]
    if key == "expr":
        return [image for path in paths for image in _quoted(path)]
    if key in _MAY_BE_INLINE and role == "reads":
        inside = [i for path in paths for i in (_quoted(path) if key in _EXPRESSIONS else ())]
        return [path for path in paths if _looks_like_a_path(path)] + inside
    return paths


def _quoted(expression: str) -> list[str]:
    """Return the images that an expression quotes, without the names of masks in them."""
    names = (found[0] or found[1] for found in re.findall(r"'([^']+)'|\"([^\"]+)\"", expression))
    return [re.sub(r":\w+$", "", name) for name in names]


def _looks_like_a_path(text: str) -> bool:
    """Tell a path from a region, an expression, a keyword such as ``pb`` or a flag command."""
    plain = re.fullmatch(r"[\w./+@:~-]+", text) is not None
    return plain and ("/" in text or "." in text) and not re.fullmatch(r"[\d.~]+", text)


def _products(name: str, key: str, path: str, params: Mapping[str, Any]) -> list[str]:
    """Return what a parameter's path stands for: itself, or the family that it names."""
    if name == "tclean" and key == "imagename":
        return tclean_products(path, params)
    if name == "immoments" and key == "outfile":
        moments = params.get("moments", [0])
        if isinstance(moments, (list, tuple)) and len(moments) > 1:
            return [f"{path}.{_MOMENTS[int(moment) + 1]}" for moment in moments]
    return [path]


def tclean_products(prefix: str, params: Mapping[str, Any]) -> list[str]:
    """Return the images that a tclean of an unused `imagename` makes.

    Parameters
    ----------
    prefix : str
        tclean's ``imagename``.
    params : mapping
        tclean's parameters.
    """
    many = params.get("deconvolver") == "mtmfs"
    terms = range(int(params.get("nterms", 2))) if many else range(0)

    def family(kind: str, last: int = 0) -> list[str]:
        return [f"{prefix}.{kind}.tt{n}" for n in range(last or len(terms))] or [f"{prefix}.{kind}"]

    products = (
        family("residual") + family("model") + [f"{prefix}.pb.tt0" if many else f"{prefix}.pb"]
    )
    products += family("psf", 2 * len(terms) - 1) + family("sumwt", 2 * len(terms) - 1)
    if params.get("restoration", True):
        products += family("image")
        if params.get("pbcor"):
            products += [f"{prefix}.image.tt{n}.pbcor" for n in terms] or [f"{prefix}.image.pbcor"]
        if len(terms) > 1:
            products += [f"{prefix}.alpha", f"{prefix}.alpha.error"]
    if params.get("niter"):
        products.append(f"{prefix}.mask")
    if params.get("gridder", "standard") in {"mosaic", "awproject", "awphpg", "awp2", "mosaicft"}:
        products += family("weight", 2 * len(terms) - 1)
    return products


def _appended(key: str, params: Mapping[str, Any]) -> bool:
    """Tell whether a task appends to an output."""
    return any(params.get(switch) is True and key in keys for switch, keys in _APPENDS.items())
