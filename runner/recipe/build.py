"""From a checked document to the typed recipe: shorthands written out, lists as tuples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any, TypeVar

from ..folder import file_safe
from .model import (
    KINDS,
    Average,
    Calibrate,
    Calibrators,
    CalTable,
    Cluster,
    ClusterStage,
    Contsub,
    Cube,
    CubeContsub,
    CubeMask,
    CubeRebin,
    CubeRegrid,
    CubeSmooth,
    CustomStep,
    Dataset,
    Flag,
    FluxCalibrator,
    Image,
    KeptDataset,
    Notify,
    Priors,
    Project,
    Qa,
    Recipe,
    Resources,
    Retry,
    RetryCauses,
    Selfcal,
    Solint,
    Split,
    Stop,
    Targets,
)

_T = TypeVar("_T")


def build(document: Mapping[str, Any], path: Path) -> Recipe:
    """Build the recipe.

    Parameters
    ----------
    document : mapping
        Free of problems; the paths in it are absolute and the datasets named.
    path : Path
        The recipe's file, from which the run has its name where the recipe gives none.
    """
    plain = {name: dict(document.get(name, {})) for name in _TABLES}
    project = plain["project"]
    project["name"] = project.get("name") or file_safe(path.stem)[:64]
    project["output"] = project.get("output") or f"runs/{project['name']}"
    tables = {name: _make(cls, plain[name]) for name, cls in _TABLES.items()}
    contsub = document.get("contsub")
    return Recipe(
        casarun=document["casarun"],
        dataset=tuple(dataset(table) for table in document.get("dataset", ())),
        calibrators=_calibrators(document.get("calibrators", {})),
        targets=_targets(document.get("targets", {})),
        calibrate=_calibrate(document.get("calibrate", {})),
        selfcal=tuple(_selfcal(table) for table in document.get("selfcal", ())),
        contsub=None if contsub is None else _make(Contsub, contsub),
        image=tuple(_image(table) for table in document.get("image", ())),
        cube=tuple(_cube(table) for table in document.get("cube", ())),
        notify=_make(Notify, _listed(document.get("notify", {}), "to")),
        retry=_retry(document.get("retry", {})),
        cluster=_cluster(document.get("cluster", {})),
        step=tuple(_make(CustomStep, _listed(table, "only")) for table in document.get("step", ())),
        **tables,
    )


def dataset(table: Mapping[str, Any]) -> Dataset:
    """Build one dataset; its path is absolute."""
    return _make(Dataset, table)


def kept_dataset(table: Mapping[str, Any], form: str) -> KeptDataset:
    """Build a dataset whose files are gone, by what is known of it."""
    return _make(KeptDataset, {**table, "form": form})


_TABLES: dict[str, type[Any]] = {
    "project": Project,
    "flag": Flag,
    "split": Split,
    "qa": Qa,
    "resources": Resources,
}


def _calibrators(table: Mapping[str, Any]) -> Calibrators:
    plain = _listed(table, "phase")
    flux = plain.get("flux", {})
    flux = {"field": flux} if isinstance(flux, str) else _listed(flux, "fluxdensity")
    if "fluxdensity" in flux:
        flux["fluxdensity"] = [float(value) for value in flux["fluxdensity"]]
    return _make(Calibrators, plain | {"flux": _make(FluxCalibrator, flux)})


def _targets(table: Mapping[str, Any]) -> Targets:
    plain = _listed(table, "fields")
    if "mosaics" in plain:
        mosaics = plain["mosaics"]
        plain["mosaics"] = {name: tuple(_listed(mosaics, name)[name]) for name in mosaics}
    return _make(Targets, plain)


def _refant(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table in which reference antennas are one text, as CASA takes them."""
    plain = _listed(table, "refant")
    if "refant" in plain:
        plain["refant"] = ",".join(str(antenna) for antenna in plain["refant"])
    return plain


def _selfcal(table: Mapping[str, Any]) -> Selfcal:
    """Build a self-calibration; of `solint` and `calmode` one may stand for the other's length."""
    plain = _refant(table)
    solint, calmode = plain.get("solint", "auto"), plain.get("calmode", "auto")
    if isinstance(solint, list) and calmode == "auto":
        plain["calmode"] = ["p"] * len(solint)
    elif isinstance(calmode, list) and solint == "auto":
        plain["solint"] = ["auto"] * len(calmode)
    plain["stop"] = _make(Stop, table.get("stop", {}))
    return _make(Selfcal, plain)


def _calibrate(table: Mapping[str, Any]) -> Calibrate:
    plain = _refant(table)
    plain = _worded(plain, "delay", "calwt")
    if "solint" in plain:
        plain["solint"] = _make(Solint, plain["solint"])
    if "priors" in plain:
        plain["priors"] = _priors(plain["priors"])
    plain["tables"] = [_caltable(entry) for entry in plain.get("tables", ())]
    return _make(Calibrate, plain)


def _priors(table: Mapping[str, Any]) -> Priors:
    plain = _worded(table, "gaincurve")
    opacity = plain.get("opacity")
    if opacity is not None and not isinstance(opacity, str):
        values = opacity if isinstance(opacity, list) else [opacity]
        plain["opacity"] = [float(value) for value in values]
    moved = plain.get("antenna_positions", {})
    plain["antenna_positions"] = {name: tuple(map(float, moved[name])) for name in moved}
    return _make(Priors, plain)


def _caltable(entry: str | Mapping[str, Any]) -> CalTable:
    table = {"table": entry} if isinstance(entry, str) else entry
    return _make(CalTable, _worded(table, "calwt"))


def _worded(table: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """Return a table in which ``true`` and ``false`` are ``yes`` and ``no``, as beside ``auto``."""
    words = {True: "yes", False: "no"}
    return {k: words[v] if k in keys and isinstance(v, bool) else v for k, v in table.items()}


def _retry(table: Mapping[str, Any]) -> Retry:
    return _make(Retry, {**table, "causes": _make(RetryCauses, table.get("causes", {}))})


def _cluster(table: Mapping[str, Any]) -> Cluster:
    stages = {key: _make(ClusterStage, value) for key, value in table.items() if key in KINDS}
    return _make(Cluster, {**table, **stages})


def _image(table: Mapping[str, Any]) -> Image:
    plain = _listed(table, "targets")
    if "from" in plain:
        plain["source"] = plain.pop("from")
    if "average" in plain:
        plain["average"] = _average(plain["average"])
    return _make(Image, plain)


def _average(value: str | Mapping[str, Any]) -> Average | None:
    if isinstance(value, str):
        return Average("auto", "auto") if value == "auto" else None
    return _make(Average, value)


def _cube(table: Mapping[str, Any]) -> Cube:
    plain = _listed(table, "targets")
    for key, cls in _CUBE.items():
        if key in plain:
            plain[key] = _make(cls, plain[key])
    return _make(Cube, plain)


_CUBE: dict[str, type[Any]] = {
    "contsub": CubeContsub,
    "smooth": CubeSmooth,
    "rebin": CubeRebin,
    "regrid": CubeRegrid,
    "mask": CubeMask,
}


def _listed(table: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return a table in which a value that may stand for a list of itself is one."""
    plain = dict(table)
    if key in plain and not isinstance(plain[key], list):
        plain[key] = [plain[key]]
    return plain


def _make(cls: type[_T], table: Mapping[str, Any]) -> _T:
    """Build one class from a table of the same keys."""
    known = {attribute.name: attribute for attribute in fields(cls)}  # type: ignore[arg-type]
    return cls(**{name: _typed(value, known[name]) for name, value in table.items()})


def _typed(value: Any, attribute: Field[Any]) -> Any:
    """Make lists tuples, and integers floats where the model holds floats."""
    if isinstance(value, list):
        return tuple(value)
    if isinstance(value, int) and attribute.default is not MISSING:
        return float(value) if isinstance(attribute.default, float) else value
    return value
