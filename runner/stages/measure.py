"""Stage ``measure``: the numbers and plots of the QA report."""

from __future__ import annotations

from typing import Any, Final

from ..plan import Json
from ..quantities import parse
from ..recipe.model import Qa
from .applied_tables import Table, Tables
from .cube import Product
from .draft import Draft, Subject
from .image import Picture, final, suffixes
from .picture import MOSAIC_GRIDDERS
from .selfcal import Loop

CATALOGUE_SUFFIXES: Final = (".ecsv", ".xml", ".reg")
"""A table for Astropy and people, a VOTable, and regions for DS9."""


_ROLES: Final = ("flux", "bandpass", "phase", "targets")


def _viewer(draft: Draft) -> dict[str, Json]:
    """Return what a measuring step is told of the report's viewers; nothing of what is usual."""
    wanted = draft.recipe.qa.viewer
    if wanted == Qa.viewer:
        return {}
    return {"viewer_bytes": 0 if wanted == "none" else round(parse(wanted, "size"))}


def _shown(table: Table) -> dict[str, Json]:
    """Return what the step is told of a calibration table."""
    told = {"path": table.path, "kind": table.kind}
    if not table.known:
        return told
    beside = {"beside": table.known.beside} if table.known.beside else {}
    return told | {"title": table.known.title, **beside}


def dataset(draft: Draft, subject: Subject, tables: Tables) -> None:
    """Add the step that measures a dataset's flags, tables and corrected data."""
    data, plots = f"qa/data/{subject.name}.json", f"qa/plots/{subject.name}"
    vis = subject.pristine if subject.dataset.calibrated else subject.working
    scale = f"{tables['fluxscale'].path}.json" if "fluxscale" in tables else ""
    roles = {name: getattr(subject.roles, name) for name in _ROLES}
    roles["phase_of"] = {str(k): v for k, v in subject.roles.phase_of.items()}
    draft.add(
        f"{subject.name}.measure",
        "measure.dataset",
        {
            "dataset": subject.name,
            "ms": vis,
            "column": "auto" if subject.dataset.calibrated else "corrected",
            "caltables": [_shown(table) for table in tables.values()],
            "fluxscale": scale,
            "fields": roles,
            "calibrator_spws": {
                str(field): list(subject.observation.spws_of_fields({field}))
                for field in subject.roles.calibrators
            },
            "places": {
                field.name: [field.ra_deg, field.dec_deg]
                for field in subject.observation.fields
                if field.id in subject.roles.calibrators
            },
            "data": data,
            "plots": plots,
            **_viewer(draft),
        },
        stage="measure",
        title="measure flags, tables and calibrated data",
        reads=(
            vis,
            *(table.path for table in tables.values()),
            *(t.known.beside for t in tables.values() if t.known and t.known.beside),
            *([scale] if scale else []),
        ),
        writes=(data, plots),
        dataset=subject.name,
    )


def picture(draft: Draft, picture: Picture) -> None:
    """Add the step that measures an image."""
    data, plots = f"qa/data/images/{picture.name}.json", f"qa/plots/{picture.name}"
    prefix = picture.prefix if picture.cleaned else picture.dirty
    names = {f"{prefix}.{suffix}" for suffix in suffixes(picture, cleaned=picture.cleaned)}
    moments = [f"{picture.prefix}.mom{moment}" for moment in picture.image.moments]
    catalogue, tables = _catalogue(picture)
    draft.add(
        f"{picture.name}.measure",
        "measure.image",
        {
            "target": picture.target,
            "image": picture.image.name,
            "prefix": prefix,
            "displayed": final(picture),
            "specmode": picture.image.specmode,
            "suffix": picture.first,
            "fits": f"{picture.prefix}.fits",  # only named, so that it is written meanwhile
            "moments": list(picture.image.moments),
            "moment_prefix": picture.prefix,
            "noise": picture.noise,
            "expected": _expected(picture),
            "data": data,
            "plots": plots,
            **catalogue,
            **_viewer(draft),
            **({"regions": list(picture.image.regions)} if picture.image.regions else {}),
        },
        stage="measure",
        title=f"measure the image '{picture.image.name}' of {picture.target}",
        reads=(
            *sorted(names),
            *moments,
            picture.noise,
            *picture.vis,
            *picture.image.regions,
        ),
        writes=(data, plots, *tables),
        target=picture.target,
        image=picture.image.name,
    )


_ONLY_SOME = ("uvtaper", "uvrange", "timerange", "scan", "antenna", "field", "intent")
"""tclean's parameters that leave the noise of an image to CASA alone."""


def _expected(picture: Picture) -> dict[str, Json]:
    """Return what the noise that an image should have is reckoned from, or why it is not."""
    image = picture.image
    if picture.gridder in MOSAIC_GRIDDERS or len({f.name for f in picture.pointings}) > 1:
        return {"reason": "the noise of a mosaic differs from place to place"}
    own = [key for key in _ONLY_SOME if image.tclean.get(key)]
    if own:
        return {"reason": f"image.tclean.{own[0]} leaves out, or weighs down, some of the data"}
    return {
        "vis": list(picture.vis),
        "spw": picture.spw,
        "column": picture.datacolumn.upper().replace("CORRECTED", "CORRECTED_DATA"),
        "size": list(picture.sides),
        "cell_arcsec": picture.cell_arcsec,
        "weighting": str(image.tclean.get("weighting", image.weighting)),
        "robust": float(image.tclean.get("robust", image.robust)),
    }


def _catalogue(picture: Picture) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the parameters for a catalogue of sources and its files; nothing for cubes."""
    if not picture.image.catalogue or picture.cube:
        return {}, ()
    prefix = f"{picture.prefix}.sources"
    wanted = {"prefix": prefix, "sigma": picture.image.catalogue_sigma}
    return {"catalogue": wanted}, tuple(f"{prefix}{suffix}" for suffix in CATALOGUE_SUFFIXES)


def product(draft: Draft, product: Product) -> None:
    """Add the step that measures and draws what was made of a cube."""
    cube, prefix = product.cube, product.prefix
    setup, pieces = f"{product.heap}/setup", product.pieces
    moments = {str(moment): f"{prefix}.mom{moment}" for moment in cube.moments}
    displayed = f"{prefix}.image" if product.changes else product.source
    data, plots = f"qa/data/cubes/{product.name}.json", f"qa/plots/cubes/{product.name}"
    mask = (f"{prefix}.mask",) if cube.mask is not None else ()
    draft.add(
        f"{product.name}.cube.measure",
        "measure.cube",
        {
            "target": product.target,
            "image": cube.name,
            "of": cube.image,
            "done": product.words,
            "products": product.images,
            "fits": f"{prefix}.fits" if cube.fits and (product.changes or product.copied) else "",
            "displayed": displayed,
            "moments": moments,
            "masked": cube.mask is not None,
            "mask": "".join(mask),
            "stats": cube.stats,
            "setup": setup,
            "pieces": pieces,
            "data": data,
            "plots": plots,
            **_viewer(draft),
        },
        stage="measure",
        title=f"measure the cube '{cube.name}'"
        + (f" of {product.target}" if product.target else ""),
        reads=(setup, *pieces, displayed, *moments.values(), *mask),
        writes=(data, plots),
        target=product.target,
        image=cube.name,
    )


def selfcal(draft: Draft, loop: Loop) -> None:
    """Add the step that draws a self-calibration: images of its rounds, solutions against time."""
    summary, rounds = loop.summary, (0, *loop.rounds)
    tables = {str(round_): loop.tables(round_) for round_ in loop.rounds}
    out = f"qa/plots/selfcal/{loop.safe}"
    draft.add(
        f"{loop.safe}.selfcal.plots",
        "selfcal.plots",
        {
            "summary": summary,
            "prefixes": {str(round_): loop.prefix(round_) for round_ in rounds},
            "tables": tables,
            "out": out,
            **_viewer(draft),
        },
        stage="measure",
        title=f"plots of the self-calibration of {loop.target}",
        reads=(
            summary,
            *(path for round_ in rounds for path in loop.products(round_)),
            *(path for of_round in tables.values() for path in of_round.values()),
        ),
        writes=(out,),
        target=loop.target,
    )
